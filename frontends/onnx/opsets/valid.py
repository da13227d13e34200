"""Whether a call is one that its opset has: so that steps may rely on what the schema requires."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, TypeGuard

from onnx import defs

from graphopt.errors import TypeRuleError
from graphopt.frontends.onnx.call import Call
from graphopt.tensor import Tensor

Kind = defs.OpSchema.AttrType
SINGLE = defs.OpSchema.FormalParameterOption.Single

KINDS: dict[Any, type | tuple[type, ...]] = {
    Kind.INT: int,
    Kind.FLOAT: float,
    Kind.STRING: (str, bytes),
    Kind.TENSOR: Tensor,
}
LISTS: dict[Any, type | tuple[type, ...]] = {
    Kind.INTS: int,
    Kind.FLOATS: float,
    Kind.STRINGS: (str, bytes),
}
"""The Python types of attributes, and of the items of those that are tuples."""


@lru_cache(1024)
def _schema(op_type: str, version: int) -> defs.OpSchema | None:
    return defs.get_schema(op_type, version) if defs.has(op_type, version) else None


def check(call: Call, version: int) -> None:
    """Raise TypeRuleError when inputs or attributes are not those of the operator at this opset."""
    schema = _schema(call.op_type, version)
    if schema is None:
        raise TypeRuleError(f"opset {version} has no operator {call.op_type}", at=call.op_type)
    count = len(call.inputs)
    if not schema.min_input <= count <= schema.max_input:
        raise TypeRuleError(f"it cannot have {count} inputs", at=call.op_type)
    for formal, value in zip(schema.inputs, call.inputs, strict=False):
        if formal.option == SINGLE and value.is_absent:
            raise TypeRuleError(f"input {formal.name!r} is missing", at=call.op_type)
    for name, declared in schema.attributes.items():
        if name in call.attributes:
            if not _fits(call.attributes[name], declared.type):
                value = call.attributes[name]
                raise TypeRuleError(f"attribute {name!r} is {value!r:.40}", at=call.op_type)
        elif declared.required:
            raise TypeRuleError(f"attribute {name!r} is missing", at=call.op_type)


def _fits(value: Any, kind: Any) -> bool:
    if kind in LISTS:
        return _is_tuple(value) and all(isinstance(item, LISTS[kind]) for item in value)
    return kind not in KINDS or isinstance(value, KINDS[kind])


def _is_tuple(value: Any) -> TypeGuard[tuple[Any, ...]]:
    return isinstance(value, tuple)
