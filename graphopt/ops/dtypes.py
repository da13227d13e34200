"""Groups of dtypes that several ops take. What only one op takes stands with that op."""

from __future__ import annotations

from graphopt.types import DType

Dtypes = tuple[DType, ...]
"""The first one is what most examples of an op are made of."""

SHORT_FLOATS = (DType.FLOAT32, DType.FLOAT16, DType.BFLOAT16)
FLOATS = (DType.FLOAT32, DType.FLOAT64, DType.FLOAT16, DType.BFLOAT16)
FLOAT8 = (DType.FLOAT8E4M3FN, DType.FLOAT8E4M3FNUZ, DType.FLOAT8E5M2, DType.FLOAT8E5M2FNUZ)
INDICES = (DType.INT64, DType.INT32)
BYTES = (DType.INT8, DType.UINT8)
SIGNED = (DType.INT64, DType.INT32, DType.INT8, DType.INT16)
INTEGERS = (*SIGNED, DType.UINT8, DType.UINT16, DType.UINT32, DType.UINT64)
NUMBERS = (*FLOATS, *INTEGERS)
WIDE_NUMBERS = (*FLOATS, DType.INT64, DType.INT32, DType.UINT32, DType.UINT64)
BOOLS = (DType.BOOL,)
OLDER = tuple(dtype for dtype in DType if dtype.code <= DType.BFLOAT16.code)
"""All but the narrow ones that came after bfloat16, to which many ops were never extended."""
