"""Numbers of one dtype as another, by the rules of ONNX's Cast; the same in every namespace."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np

from graphopt.types import DType

Array = Any
Xp = Any

EXTENSION = 256
"""The type numbers of dtypes that are not NumPy's own start here (NPY_USERDEF)."""


def native(x: Array, source: DType) -> Array:
    """x as a dtype of NumPy's own; ml_dtypes cannot cast all of its dtypes to each other."""
    if source.bits < 8 and source.is_integer:
        return x.astype(np.int8)
    return x.astype(np.float32) if x.dtype.num >= EXTENSION else x


def converted(xp: Xp, x: Array, dtype: DType, saturate: bool, round_mode: str) -> Array:
    """Numbers of a dtype of NumPy's own as another dtype of numbers."""
    if dtype is DType.FLOAT8E8M0:
        codes = _powers_of_two(xp, x.astype(np.float32), saturate, round_mode)
        return codes.view(dtype.numpy)
    if dtype.is_integer and x.dtype.kind == "f":
        return _truncated(xp, x, dtype)
    if dtype.is_float and dtype.bits == 8:
        x = x if x.dtype.kind == "f" else x.astype(np.float32)
        if saturate:
            info: Any = ml_dtypes.finfo
            top = float(info(dtype.numpy).max)
            x = xp.clip(x, -top, top)
    return x.astype(dtype.numpy)


def _truncated(xp: Xp, x: Array, dtype: DType) -> Array:
    """Floats rounded toward zero; higher bits than those of `dtype` are discarded.

    Of NaN and of what even 64 bits do not hold, the bits are those of the least integer. ONNX
    leaves all this open; it is what x86 does, and does not depend on the position in the array.
    """
    wide = np.int32 if dtype is DType.INT32 else np.int64
    low = float(np.iinfo(wide).min)
    inside = (x > low) & (x < -low)
    whole = xp.where(inside, x, low).astype(wide)
    if dtype is DType.UINT64:
        above = (x >= -low) & (x < -2 * low)
        high = xp.where(above, x, 0).astype(np.uint64)
        return high | xp.where(above, 0, whole).astype(np.uint64)
    return whole.astype(dtype.numpy)


def _powers_of_two(xp: Xp, x: Array, saturate: bool, round_mode: str) -> Array:
    """The codes of float8_e8m0fnu that float32 numbers round to: the exponents; 255 is NaN."""
    bits = x.view(np.uint32)
    exponent, fraction = (bits >> 23) & 0xFF, bits & 0x7FFFFF
    half = 0x400000
    small = exponent == 0  # subnormal: 2**-127, the least number, has the fraction one half
    if round_mode == "up":
        more = fraction > xp.where(small, half, 0)
    elif round_mode == "nearest":
        more = fraction >= xp.where(small, half + half // 2, half)
    else:
        more = xp.zeros_like(small)
    if saturate:
        code = xp.minimum(exponent + more, 0xFE)
    else:
        code = xp.where(small & (fraction < half), 0xFF, xp.minimum(exponent + more, 0xFF))
    return xp.where(xp.isnan(x), 0xFF, code).astype(np.uint8)
