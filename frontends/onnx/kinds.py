"""TypeProto and Type."""

from __future__ import annotations

import onnx

from graphopt import dims
from graphopt.dims import Size
from graphopt.errors import ModelError
from graphopt.frontends.onnx.tensors import dtype_by_code
from graphopt.types import (
    UNKNOWN,
    MapType,
    OptionalType,
    SequenceType,
    TensorType,
    Type,
    UnknownType,
)

MAX_DEPTH = 32
ANY_SIZE = ("", "?")


def read_type(proto: onnx.TypeProto, depth: int = 0) -> Type:
    """The type that a TypeProto declares, UNKNOWN when it is empty.

    A size that is -1, '?' or missing is not known; any other name is a symbol. Raises ModelError
    for dtypes and sizes that there are not, and for sparse tensors and opaque types.
    """
    if depth > MAX_DEPTH:
        raise ModelError("its type is nested too deep")
    match proto.WhichOneof("value"):
        case None:
            return UNKNOWN
        case "tensor_type":
            return _tensor_type(proto.tensor_type)
        case "sequence_type":
            return SequenceType(read_type(proto.sequence_type.elem_type, depth + 1))
        case "optional_type":
            return OptionalType(read_type(proto.optional_type.elem_type, depth + 1))
        case "map_type":
            element = read_type(proto.map_type.value_type, depth + 1)
            return MapType(dtype_by_code(proto.map_type.key_type), element)
        case other:
            raise ModelError(f"its type is a {other}, which is not supported")


def _tensor_type(proto: onnx.TypeProto.Tensor) -> Type:
    if not proto.elem_type:
        return UNKNOWN
    dtype = dtype_by_code(proto.elem_type)
    if not proto.HasField("shape"):
        return TensorType(dtype, None)
    return TensorType(dtype, tuple(map(_size, proto.shape.dim)))


def _size(proto: onnx.TensorShapeProto.Dimension) -> Size | None:
    if proto.HasField("dim_value"):
        if proto.dim_value < -1:
            raise ModelError(f"its type has the negative size {proto.dim_value}")
        return None if proto.dim_value == -1 else proto.dim_value
    name = proto.dim_param
    if type(name) is not str:  # protobuf hands out bytes where a string is not UTF-8
        raise ModelError("the name of a size is not UTF-8 text")
    return None if name in ANY_SIZE else dims.symbol(name)


def write_type(kind: Type) -> onnx.TypeProto | None:
    """The TypeProto of a type, None of one that says nothing; sizes are numbers or names."""
    proto = onnx.TypeProto()
    match kind:
        case TensorType(dtype, shape):
            proto.tensor_type.elem_type = dtype.code
            if shape is not None:
                proto.tensor_type.shape.SetInParent()
                for size in shape:
                    _write_size(size, proto.tensor_type.shape.dim.add())
        case SequenceType(element) | OptionalType(element):
            inner = write_type(element)
            target = proto.sequence_type if isinstance(kind, SequenceType) else proto.optional_type
            target.SetInParent()
            if inner is not None:
                target.elem_type.CopyFrom(inner)
        case MapType(key, element):
            proto.map_type.key_type = key.code
            inner = write_type(element)
            if inner is not None:
                proto.map_type.value_type.CopyFrom(inner)
        case _:
            return None
    return proto


def _write_size(size: Size | None, proto: onnx.TensorShapeProto.Dimension) -> None:
    if isinstance(size, int):
        proto.dim_value = size
    elif size is not None:
        atom = dims.sole_atom(size)
        if isinstance(atom, dims.Symbol):
            proto.dim_param = atom.name


def merged(derived: Type, declared: Type) -> Type:
    """What to write of a value: what was derived, and what was declared and fits with it."""
    if isinstance(derived, UnknownType):
        return declared
    if isinstance(derived, TensorType) and isinstance(declared, TensorType):
        if derived.dtype is not declared.dtype or declared.shape is None:
            return derived
        if derived.shape is None:
            return declared
        if len(derived.shape) != len(declared.shape):
            return derived
        sizes = zip(derived.shape, declared.shape, strict=True)
        return TensorType(derived.dtype, tuple(_merged_size(a, b) for a, b in sizes))
    return derived


def _merged_size(derived: Size | None, declared: Size | None) -> Size | None:
    if derived is None or declared is None:
        return declared if derived is None else derived
    if isinstance(derived, int) or isinstance(dims.sole_atom(derived), dims.Symbol):
        return derived
    return declared
