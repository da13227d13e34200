"""TensorProto and Tensor: every dtype, raw and typed fields, sparse tensors, packed elements."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
import onnx

from graphopt.errors import ModelError
from graphopt.frontends.onnx.external import DataFiles, Sink
from graphopt.tensor import Tensor, file_bytes
from graphopt.types import BY_CODE, DType

TYPED_FIELDS = (
    "float_data",
    "int32_data",
    "string_data",
    "int64_data",
    "double_data",
    "uint64_data",
)
MAX_RANK = 64
"""The most axes that an array may have in NumPy."""
MAX_DENSIFIED = 1 << 28
"""The most bytes that one sparse tensor may take when its zeros are written out."""

_FIELD_OF: dict[DType, tuple[str, type]] = {
    DType.FLOAT32: ("float_data", np.float32),
    DType.COMPLEX64: ("float_data", np.float32),
    DType.FLOAT64: ("double_data", np.float64),
    DType.COMPLEX128: ("double_data", np.float64),
    DType.INT64: ("int64_data", np.int64),
    DType.UINT32: ("uint64_data", np.uint64),
    DType.UINT64: ("uint64_data", np.uint64),
}
_NARROW: tuple[str, type] = ("int32_data", np.int32)


def dtype_by_code(code: int) -> DType:
    """The dtype of a code of TensorProto.DataType; raises ModelError for one that is not known."""
    dtype = BY_CODE.get(code)
    if dtype is None:
        raise ModelError("it has no dtype" if not code else f"its dtype {code} is not known")
    return dtype


def read_tensor(proto: onnx.TensorProto, files: DataFiles) -> Tensor:
    """The content of a TensorProto; external data is mapped, not read.

    Raises ModelError, without the tensor's name, when dtype, sizes and data do not fit together.
    """
    dtype, shape = dtype_by_code(proto.data_type), tuple(proto.dims)
    if len(shape) > MAX_RANK:
        raise ModelError(f"it has {len(shape)} axes, more than {MAX_RANK}")
    if any(size < 0 for size in shape):
        raise ModelError(f"its shape {list(shape)} has a negative size")
    if proto.HasField("segment"):
        raise ModelError("it is one segment of a tensor, which is not supported")
    if proto.data_location == onnx.TensorProto.EXTERNAL:
        if dtype is DType.STRING:
            raise ModelError("strings cannot stand in external data")
        return Tensor.from_raw(dtype, shape, files.read(proto, file_bytes(dtype, prod(shape))))
    raw = proto.raw_data if proto.HasField("raw_data") else None  # a copy each time it is read
    field = _data_field(proto, raw)
    if dtype is DType.STRING:
        if field == "raw_data":
            raise ModelError("strings cannot stand in raw_data")
        _expect(len(proto.string_data), prod(shape), dtype, shape, "strings")
        return Tensor.strings(list(proto.string_data), shape)
    if raw is not None and field == "raw_data":
        _expect(len(raw), file_bytes(dtype, prod(shape)), dtype, shape, "bytes of raw_data")
        if dtype is DType.BOOL:  # any other byte than 0 and 1 is no bool to NumPy
            return Tensor(dtype, shape, (np.frombuffer(raw, np.uint8) != 0).reshape(shape))
        return Tensor.from_raw(dtype, shape, raw)
    return _from_typed(proto, dtype, shape, field)


def _data_field(proto: onnx.TensorProto, raw: bytes | None) -> str:
    filled = [name for name in TYPED_FIELDS if len(getattr(proto, name))]
    if raw is not None and (raw or not filled):
        filled.append("raw_data")
    if len(filled) > 1:
        raise ModelError(f"it holds data twice, in {' and '.join(filled)}")
    return filled[0] if filled else ""


def _from_typed(
    proto: onnx.TensorProto, dtype: DType, shape: tuple[int, ...], field: str
) -> Tensor:
    wanted, word = _FIELD_OF.get(dtype, _NARROW)
    if field not in ("", wanted):
        raise ModelError(f"the data of a {dtype} tensor stands in {field}, not in {wanted}")
    words: np.ndarray[Any, Any] = np.array(getattr(proto, wanted), word)
    count = prod(shape)
    if dtype.kind == "c":
        count *= 2
    elif dtype.bits < 8:
        count = file_bytes(dtype, count)
    _expect(len(words), count, dtype, shape, f"items of {wanted}")
    if dtype.bits < 8:
        return Tensor.from_raw(dtype, shape, words.astype(np.uint8).tobytes())
    if dtype.kind == "c":
        return Tensor(dtype, shape, words.view(dtype.numpy).reshape(shape))
    if dtype.kind == "f" and wanted == "int32_data":  # the items are the elements' bits
        words = words.astype(f"u{dtype.bits // 8}").view(dtype.numpy)
    return Tensor(dtype, shape, words.astype(dtype.numpy, copy=False).reshape(shape))


def _expect(found: int, wanted: int, dtype: DType, shape: tuple[int, ...], what: str) -> None:
    if found != wanted:
        raise ModelError(f"{dtype}{list(shape)} takes {wanted} {what}, it has {found}")


def read_sparse(proto: onnx.SparseTensorProto, files: DataFiles) -> Tensor:
    """A sparse tensor with its zeros written out.

    Raises ModelError when it would take more than MAX_DENSIFIED bytes or an index is out of range.
    """
    shape = tuple(proto.dims)
    values, indices = read_tensor(proto.values, files), read_tensor(proto.indices, files)
    if any(size < 0 for size in shape) or values.dtype is DType.STRING or values.dtype.bits < 8:
        raise ModelError(f"a sparse tensor of {values.dtype}{list(shape)} is not supported")
    if prod(shape) * values.dtype.bits // 8 > MAX_DENSIFIED:
        raise ModelError(f"a sparse tensor of shape {list(shape)} is too large to be densified")
    places = indices.array
    if indices.dtype is not DType.INT64 or places.ndim not in (1, 2) or not shape:
        raise ModelError("the indices of a sparse tensor are not int64[n] or int64[n, rank]")
    if len(values.shape) != 1 or places.shape not in ((values.size,), (values.size, len(shape))):
        raise ModelError("a sparse tensor's values and indices differ in number")
    limits = np.array(shape if places.ndim == 2 else prod(shape))
    if bool((places < 0).any()) or bool((places >= limits).any()):
        raise ModelError(f"an index of a sparse tensor is outside its shape {list(shape)}")
    dense: np.ndarray[Any, Any] = np.zeros(shape, values.dtype.numpy)
    if places.ndim == 2:
        dense[tuple(places.T)] = values.array
    else:
        dense.reshape(-1)[places] = values.array
    return Tensor(values.dtype, shape, dense)


def write_tensor(tensor: Tensor, proto: onnx.TensorProto, sink: Sink) -> None:
    """Write a tensor into a TensorProto; `sink` may take its content for an external file."""
    proto.data_type = tensor.dtype.code
    proto.dims.extend(tensor.shape)
    if tensor.dtype is DType.STRING:
        proto.string_data.extend(tensor.items)
    elif not sink.take(tensor, proto):
        proto.raw_data = tensor.tobytes()
