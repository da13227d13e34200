"""From a call at some opset to nodes of the ops that graphopt understands."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from graphopt.errors import ModelError, TypeRuleError
from graphopt.frontends.onnx.call import Call, items_of
from graphopt.frontends.onnx.opsets import upgrade
from graphopt.frontends.onnx.parse import describe
from graphopt.ir import Node
from graphopt.op import OPSET, Op
from graphopt.ops import table
from graphopt.records import Record
from graphopt.structural import results
from graphopt.tensor import Tensor
from graphopt.types import BY_CODE, DType

CONSTANTS: Mapping[str, tuple[type, DType | None]] = {
    "value": (Tensor, None),
    "sparse_value": (Tensor, None),
    "value_float": (float, DType.FLOAT32),
    "value_floats": (tuple, DType.FLOAT32),
    "value_int": (int, DType.INT64),
    "value_ints": (tuple, DType.INT64),
    "value_string": (str, DType.STRING),
    "value_strings": (tuple, DType.STRING),
}
EFFECTS = frozenset(
    "RandomNormal RandomNormalLike RandomUniform RandomUniformLike Multinomial Bernoulli".split()
)
"""Operators that draw from a generator: understood ones of these names are not theirs yet."""


def constant_value(record: Record) -> Tensor:
    """The content of a Constant node in whichever attribute it stands; raises ModelError."""
    where = f"node {describe(record)}"
    if len(record.attributes) != 1:
        raise ModelError(f"{where} has {len(record.attributes)} attributes where one is its value")
    ((name, value),) = record.attributes
    kind, dtype = CONSTANTS.get(name, (None, None))
    if kind is None:
        raise ModelError(f"{where} has an attribute {name!r}, which is no value")
    if kind is str and isinstance(value, bytes):
        return Tensor.strings([value], ())
    if not isinstance(value, kind) or record.inputs:
        raise ModelError(f"{where}: {name} is {value!r:.40}")
    if isinstance(value, Tensor):
        return value
    if name == "value_strings":
        items = [v if isinstance(v, bytes) else str(v).encode() for v in items_of(value)]
        return Tensor.strings(items, (len(items),))
    try:
        return Tensor.of(value, dtype)
    except (ValueError, TypeError, OverflowError) as error:
        raise ModelError(f"{where}: {name} is {value!r:.40}") from error


def is_understood(record: Record, inputs: tuple[Node, ...], attributes: Mapping[str, Any]) -> bool:
    """Whether the operator has an op here, and this use of it is no draw from a generator."""
    if (record.domain, record.op_type) not in table() or record.op_type in EFFECTS:
        return record.op_type in UPGRADED_AWAY and not record.domain
    if record.domain:
        return True
    if record.op_type == "BatchNormalization":
        return not attributes.get("training_mode")
    if record.op_type == "Dropout" and len(inputs) > 2 and not inputs[2].is_absent:
        return inputs[2].known == (False,)
    return True


UPGRADED_AWAY = frozenset({"Upsample", "Scatter"})
"""Operators of old opsets that the newest does not have: they become others."""


def values_of(call: Call, version: int) -> tuple[Node, ...]:
    """The values of a call at opset `version`.

    Raises TypeRuleError for what its op refuses, UnsupportedError for what cannot be understood.
    """
    made = upgrade(call, version) if not call.domain and version < OPSET else call
    if isinstance(made, tuple):
        return made
    op = table().get((made.domain, made.op_type))
    if op is None:
        raise TypeRuleError(f"there is no operator {made.op_type}")
    attributes = op_attributes(op, made.attributes)
    if "outputs" in op.attributes:
        attributes["outputs"] = made.outputs
    node = op(*made.inputs, **attributes)
    return results(node)


def op_attributes(op: Op, attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Attributes of a model as the op takes them; raises TypeRuleError for a wrong kind."""
    made: dict[str, Any] = {}
    for name, value in attributes.items():
        declared = op.attributes.get(name)
        kind = "" if declared is None else declared.kind
        if kind == "DType" and declared and declared.default is None and value == 0:
            continue  # ONNX's way to leave a dtype open
        made[name] = _converted(kind, name, value)
    return made


_KINDS: Mapping[str, tuple[type, type | None]] = {
    "int": (int, None),
    "float": (float, None),
    "str": (str, None),
    "Ints": (tuple, int),
    "Floats": (tuple, float),
    "Strings": (tuple, str),
    "Tensor": (Tensor, None),
}


def _converted(kind: str, name: str, value: Any) -> Any:
    if kind == "DType":
        if type(value) is not int or value not in BY_CODE:
            raise TypeRuleError(f"attribute {name!r} is {value!r:.40}, which is no dtype")
        return BY_CODE[value]
    if kind == "bool" and type(value) is int:
        return bool(value)
    if kind in _KINDS:
        outer, inner = _KINDS[kind]
        fits = isinstance(value, outer) and (
            inner is None or all(isinstance(item, inner) for item in items_of(value))
        )
        if not fits:
            raise TypeRuleError(f"attribute {name!r} is {value!r:.40}, not of kind {kind}")
    return value
