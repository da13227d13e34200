"""Softmax and the normalizations: what is normalized together, and by which statistics."""

from __future__ import annotations

from graphopt import dims
from graphopt.errors import UnsupportedError
from graphopt.frontends.onnx.call import Call
from graphopt.frontends.onnx.opsets.steps import (
    Inexpressible,
    Upgraded,
    ints,
    node,
    setting,
    shape_of,
    with_input,
    without,
)
from graphopt.ir import Node
from graphopt.op import refuse


def one_axis(call: Call) -> Upgraded:
    """Softmax 13 works along one axis; before, along all from `axis` on, as if they were one."""
    x, axis = call.inputs[0], call.attributes.get("axis", 1)
    shape = shape_of(x)
    if shape is not None and -len(shape) <= axis < len(shape):
        axis %= len(shape)
        if all(size == 1 for size in shape[axis + 1 :]):
            return setting(call, axis=axis)
    flat = node("Flatten", x, axis=axis)
    return (reshaped_like(node(call.op_type, flat, axis=-1), x),)


def last_axis(call: Call) -> Call:
    """Before Softmax 13, `axis` and those behind it are one: only one may be longer than 1."""
    axis, shape = call.attributes.get("axis", -1), shape_of(call.inputs[0])
    if axis != -1 and (shape is None or any(s != 1 for s in shape[axis % len(shape) + 1 :])):
        raise Inexpressible("the axis is not the last")
    return setting(call, axis=axis)


def reshaped_like(x: Node, like: Node) -> Node:
    """x, whose first axis is 0 long if that of `like` is, in the shape of `like`."""
    shape = shape_of(like)
    safe = shape is not None and all(dims.positive(size) for size in shape[1:])
    return node("Reshape", x, node("Shape", like), allowzero=0 if safe else 1)


def normalize_by_channel(call: Call) -> Upgraded:
    """BatchNormalization 9 has one statistic a channel; before, one an element if not `spatial`."""
    if call.attributes.get("spatial", 1):
        return without(call, "spatial")
    normalize_without_training(call)
    x, *statistics = call.inputs
    flat = [node("Reshape", item, ints(-1)) for item in statistics]
    attributes = without(call, "spatial", "momentum").attributes
    made = node("BatchNormalization", node("Flatten", x, axis=1), *flat, **attributes)
    return (reshaped_like(made, x),)


def normalize_without_training(call: Call) -> Call:
    """BatchNormalization 14 says when it trains; before, it did when it had more outputs."""
    if call.outputs > 1:
        raise UnsupportedError("a normalization in training is not understood")
    return call


def scale_by_channel(call: Call) -> Call:
    """GroupNormalization 21 has one scale and bias a channel; before, one a group."""
    x, groups = call.inputs[0], call.attributes["num_groups"]
    shape = shape_of(x)
    channels = shape[1] if shape is not None and len(shape) > 1 else None
    if groups < 1:
        raise refuse(f"there are {groups} groups")
    if isinstance(channels, int):
        sizes = ints(groups, channels // groups)
    else:
        share = node("Div", node("Shape", x, start=1, end=2), ints(groups))
        sizes = node("Concat", ints(groups), share, axis=0)
    for position in (1, 2):
        column = node("Unsqueeze", call.inputs[position], ints(1))
        spread = node("Reshape", node("Expand", column, sizes), ints(-1))
        call = with_input(call, position, spread)
    return call


def no_group_normalization(call: Call) -> Call:
    """GroupNormalization 18 was withdrawn."""
    raise Inexpressible("it has one scale a channel")
