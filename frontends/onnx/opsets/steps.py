"""What the steps from one opset to another are made of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from graphopt.dims import Size
from graphopt.errors import UnsupportedError
from graphopt.frontends.onnx.call import Call
from graphopt.ir import Node
from graphopt.ops import table
from graphopt.structural import absent, constant
from graphopt.types import DType, TensorType

Upgraded = Call | tuple[Node, ...]
Upgrade = Callable[[Call], Upgraded]
"""A step to the form of the opset at which it stands in the table, or to nodes of the newest."""

Lowering = Callable[[Call], Call]
"""A step to the form before that opset; raises Inexpressible if there is none."""


class Inexpressible(Exception):  # noqa: N818 - it is the answer of a step, not an error
    """The opset below has no form for this call; `lower` adds which it is."""


class CannotLower(UnsupportedError):  # noqa: N818 - reads as what it says
    """An op has no form at the wanted opset; `needed` is the lowest opset that has one."""

    def __init__(self, needed: int, message: str) -> None:
        super().__init__(f"{message} (opset {needed} is needed)")
        self.needed = needed


# Calls are immutable; these make the next.


def given(call: Call, position: int) -> Node | None:
    """An input, None where it is left out."""
    if position >= len(call.inputs) or call.inputs[position].is_absent:
        return None
    return call.inputs[position]


def with_input(call: Call, position: int, value: Node | None) -> Call:
    """The call with an input put in place or left out; no absent input trails."""
    inputs = list(call.inputs) + [absent] * (position + 1 - len(call.inputs))
    inputs[position] = absent if value is None else value
    while inputs and inputs[-1].is_absent:
        inputs.pop()
    return replace(call, inputs=tuple(inputs))


def setting(call: Call, **attributes: Any) -> Call:
    """The call with some attributes set."""
    return replace(call, attributes={**call.attributes, **attributes})


def without(call: Call, *names: str) -> Call:
    """The call with some attributes left out."""
    kept = {name: value for name, value in call.attributes.items() if name not in names}
    return replace(call, attributes=kept)


def renamed(op_type: str) -> Callable[[Call], Call]:
    """A step that changes nothing but the operator's name."""
    return lambda call: replace(call, op_type=op_type)


def node(op_type: str, *inputs: Node | None, **attributes: Any) -> Node:
    """A node of the newest opset."""
    made = table()["", op_type](*inputs, **attributes)
    assert isinstance(made, Node)
    return made


def ints(*items: int) -> Node:
    """A constant 1-d tensor of int64."""
    return constant(list(items), DType.INT64)


# What is known of a value; an opaque op's may have no type at all.


def shape_of(value: Node) -> tuple[Size, ...] | None:
    """The shape, None when the rank is not known."""
    return value.shape if isinstance(value.derived_type, TensorType) else None


def dtype_of(value: Node) -> DType | None:
    """The dtype, None when it is not known."""
    return value.dtype if isinstance(value.derived_type, TensorType) else None


def rank_of(value: Node) -> int:
    """The rank; raises Inexpressible when it is not known."""
    shape = shape_of(value)
    if shape is None:
        raise Inexpressible("the rank of the input is not known")
    return len(shape)


def size_along(value: Node, axis: int) -> Size | None:
    """The size of an axis, None when the rank is not known."""
    shape = shape_of(value)
    return None if shape is None else shape[axis]


def known_ints(value: Node, what: str) -> tuple[int, ...]:
    """The elements of an integer tensor; raises Inexpressible when they are not constant."""
    found = value.ints if isinstance(value.derived_type, TensorType) else None
    if found is None and (content := value.constant) is not None and content.dtype.is_integer:
        found = tuple(content.array.reshape(-1).tolist())
    if found is None:
        raise Inexpressible(f"{what} is not constant")
    return found


def known_float(value: Node, what: str) -> float:
    """The element of a constant of one element; raises Inexpressible when it is not one."""
    content = value.constant
    if content is None or content.size != 1 or not content.dtype.is_numeric:
        raise Inexpressible(f"{what} is not constant")
    return float(content.element)


# Steps that many ops have.


def to_input(name: str, position: int) -> Upgrade:
    """A step for an attribute of integers, or of one, that became an int64 input."""

    def step(call: Call) -> Call:
        value: int | tuple[int, ...] = call.attributes.get(name, ())
        call = without(call, name)
        if value == ():
            return call
        return with_input(call, position, ints(value) if isinstance(value, int) else ints(*value))

    return step


def to_attribute(name: str, position: int, *, single: bool = False) -> Lowering:
    """A step for an input that was an attribute of integers, or of one integer if `single`."""

    def step(call: Call) -> Call:
        value = given(call, position)
        if value is None:
            return call
        items = known_ints(value, f"the input {name!r}")
        bare = with_input(call, position, None)
        return setting(bare, **{name: items[0] if single else items})

    return step


def requires(**defaults: Any) -> Lowering:
    """A step for new attributes: the opset below can only do what they do by these values."""

    def step(call: Call) -> Call:
        for name, default in defaults.items():
            value = call.attributes.get(name, default)
            if value != default:
                raise Inexpressible(f"the attribute {name!r} is {value!r}")
        return without(call, *defaults)

    return step


def ignores(*names: str) -> Lowering:
    """A step for new attributes that do nothing for the dtypes which the opset below has."""
    return lambda call: without(call, *names)


def chain(*steps: Lowering) -> Lowering:
    """Several steps as one."""

    def step(call: Call) -> Call:
        for each in steps:
            call = each(call)
        return call

    return step


def counted_from_front(extra: int = 0) -> Lowering:
    """A step for `axis`, which may not be negative below; the output has `extra` axes more."""

    def step(call: Call) -> Call:
        axis = call.attributes.get("axis")
        if axis is None or axis >= 0:
            return call
        return setting(call, axis=axis + rank_of(call.inputs[0]) + extra)

    return step


def all_counted_from_front(call: Call) -> Call:
    """A step for `axes`, which may not be negative below."""
    axes = call.attributes.get("axes")
    if axes is None or min(axes, default=0) >= 0:
        return call
    rank = rank_of(call.inputs[0]) + (len(axes) if call.op_type == "Unsqueeze" else 0)
    return setting(call, axes=tuple(axis % rank for axis in axes))


def dilations_are_ones(call: Call) -> Call:
    """A step for `dilations`, which the opset below does not have."""
    if any(size != 1 for size in call.attributes.get("dilations") or ()):
        raise Inexpressible("the windows are dilated")
    return without(call, "dilations")
