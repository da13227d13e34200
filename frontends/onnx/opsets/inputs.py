"""Attributes that became inputs: bounds, paddings, slices, splits, counts; and back."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from graphopt.errors import UnsupportedError
from graphopt.frontends.onnx.call import Call
from graphopt.frontends.onnx.opsets.steps import (
    Inexpressible,
    Upgraded,
    dtype_of,
    given,
    ints,
    known_float,
    known_ints,
    node,
    rank_of,
    setting,
    shape_of,
    size_along,
    with_input,
    without,
)
from graphopt.ir import Node
from graphopt.structural import constant, results
from graphopt.tensor import Tensor
from graphopt.types import DType


def scalar_like(value: float, like: Node) -> Node:
    """A constant scalar of a value's dtype."""
    dtype = dtype_of(like)
    if dtype is None:
        raise UnsupportedError("the dtype is not known, so a constant of it cannot be made")
    with np.errstate(over="ignore", invalid="ignore"):  # a bound beyond float16 is no bound
        return constant(Tensor.of(np.asarray(value).astype(dtype.numpy), dtype))


def axes_vector(call: Call) -> Call:
    """Squeeze and Unsqueeze 23 take a vector of axes; before, a scalar was taken for one of 1."""
    axes = given(call, 1)
    if axes is None or shape_of(axes) != ():
        return call
    return with_input(call, 1, ints(*axes.ints) if axes.ints else node("Reshape", axes, ints(1)))


def clip_bounds(call: Call) -> Call:
    """Clip 11: `min` and `max` are inputs."""
    x, attributes = call.inputs[0], call.attributes
    for position, name in enumerate(("min", "max"), 1):
        if name in attributes:
            call = with_input(call, position, scalar_like(attributes[name], x))
    return without(call, "min", "max")


def clip_attributes(call: Call) -> Call:
    """Before Clip 11, `min` and `max` are float attributes."""
    for position, name in enumerate(("min", "max"), 1):
        bound = given(call, position)
        if bound is not None:
            call = setting(call, **{name: exact_float(bound, name)})
    return replace(call, inputs=call.inputs[:1])


def exact_float(value: Node, name: str) -> float:
    """A constant's element, which a float attribute must be able to hold."""
    number = known_float(value, f"the input {name!r}")
    with np.errstate(over="ignore"):
        held = float(np.float32(number))
    if held != number and not (number != number):
        raise Inexpressible(f"{name} = {number!r} is no float32")
    return number


def pad_inputs(call: Call) -> Call:
    """Pad 11: `pads` and `value` are inputs."""
    value = call.attributes.get("value")
    made = with_input(without(call, "pads", "value"), 1, ints(*call.attributes["pads"]))
    return made if value is None else with_input(made, 2, scalar_like(value, call.inputs[0]))


def pad_attributes(call: Call) -> Call:
    """Before Pad 11, `pads` and `value` are attributes."""
    made = setting(call, pads=known_ints(call.inputs[1], "the input 'pads'"))
    value = given(call, 2)
    if value is not None:
        made = setting(made, value=exact_float(value, "value"))
    return replace(made, inputs=call.inputs[:1])


def pad_all_axes(call: Call) -> Call:
    """Before Pad 18 there is no input `axes`: all axes are padded."""
    axes = given(call, 3)
    if axes is None:
        return call
    rank = rank_of(call.inputs[0])
    named = [axis % rank for axis in known_ints(axes, "the input 'axes'")]
    pads = known_ints(call.inputs[1], "the input 'pads'")
    full = [0] * (2 * rank)
    for position, axis in enumerate(named):
        full[axis] = pads[position]
        full[axis + rank] = pads[position + len(named)]
    return with_input(with_input(call, 3, None), 1, ints(*full))


def pad_does_not_wrap(call: Call) -> Call:
    """Before Pad 19 there is no mode `wrap`."""
    if call.attributes.get("mode") == "wrap":
        raise Inexpressible("the mode is 'wrap'")
    return call


def slice_inputs(call: Call) -> Call:
    """Slice 10: `starts`, `ends` and `axes` are inputs."""
    axes = call.attributes.get("axes")
    made = with_input(without(call, "starts", "ends", "axes"), 1, ints(*call.attributes["starts"]))
    made = with_input(made, 2, ints(*call.attributes["ends"]))
    return made if axes is None else with_input(made, 3, ints(*axes))


def slice_forward(call: Call) -> Call:
    """Before Slice 11, axes count from the front; what only running tells is taken to do so."""
    axes = given(call, 3)
    items = None if axes is None else axes.ints
    if axes is None or items is None or min(items, default=0) >= 0:
        return call
    rank = rank_of(call.inputs[0])
    made = constant([item % rank for item in items], dtype_of(axes))
    return with_input(call, 3, made)


def slice_attributes(call: Call) -> Call:
    """Before Slice 10, `starts`, `ends` and `axes` are attributes and each step is 1."""
    steps = given(call, 4)
    if steps is not None and any(step != 1 for step in known_ints(steps, "the input 'steps'")):
        raise Inexpressible("a step is not 1")
    for position, name in enumerate(("starts", "ends", "axes"), 1):
        value = given(call, position)
        if value is not None:
            call = setting(call, **{name: known_ints(value, f"the input {name!r}")})
    return replace(call, inputs=call.inputs[:1])


def split_counted(call: Call) -> Call:
    """Split 18: without sizes, the number of parts is an attribute."""
    return call if given(call, 1) is not None else setting(call, num_outputs=call.outputs)


def split_evenly(call: Call) -> Call:
    """Before Split 18, parts without sizes are all equal."""
    count = call.attributes.get("num_outputs")
    made = without(call, "num_outputs")
    if count is None:
        return made
    size = size_along(call.inputs[0], call.attributes.get("axis", 0))
    if not isinstance(size, int):
        raise Inexpressible("whether the parts are equal is not known")
    if size % count == 0:
        return made
    part = -(-size // count)
    sizes = [max(min(part, size - k * part), 0) for k in range(count)]
    return with_input(made, 1, ints(*sizes))


def dft_axis(call: Call) -> Call:
    """DFT 20: `axis` is an input, whose default is another."""
    axis = call.attributes.get("axis", 1)
    return with_input(without(call, "axis"), 2, constant(axis, DType.INT64))


def dft_attribute(call: Call) -> Call:
    """Before DFT 20, `axis` is an attribute."""
    axis = given(call, 2)
    value = -2 if axis is None else known_ints(axis, "the input 'axis'")[0]
    return setting(with_input(call, 2, None), axis=value)


def dropout_mask(call: Call) -> Upgraded:
    """Dropout 10: the mask is of booleans, no longer of the data's dtype."""
    if call.outputs == 1:
        return call
    output, mask = results(node("Dropout", *dropout_ratio(call).inputs, outputs=2))
    return (output, node("Cast", mask, to=dtype_of(call.inputs[0])))


def dropout_ratio(call: Call) -> Call:
    """Dropout 12: the ratio is an input, and training is asked for by another."""
    ratio: Any = call.attributes.get("ratio", 0.5)
    return with_input(without(call, "ratio"), 1, constant(ratio, DType.FLOAT32))


def dropout_inference(call: Call) -> Call:
    """Before Dropout 12 nobody can ask for training, and the ratio is an attribute."""
    training = given(call, 2)
    if training is not None and training.known != (False,):
        raise Inexpressible("it may be in training")
    ratio = given(call, 1)
    made = replace(without(call, "seed"), inputs=call.inputs[:1])
    return made if ratio is None else setting(made, ratio=known_float(ratio, "the ratio"))


def dropout_maskless(call: Call) -> Call:
    """Before Dropout 10 the mask has the data's dtype."""
    if call.outputs > 1:
        raise Inexpressible("the mask is of booleans")
    return call


def reduce_axes(call: Call) -> Call:
    """Before, `axes` was an attribute, and without axes everything was reduced."""
    axes = given(call, 1)
    items = () if axes is None else known_ints(axes, "the input 'axes'")
    if not items and call.attributes.get("noop_with_empty_axes", 0):
        raise Inexpressible("nothing is reduced")
    made = with_input(without(call, "noop_with_empty_axes"), 1, None)
    return setting(made, axes=items) if items else made


def topk_largest(call: Call) -> Call:
    """Before TopK 11, the k elements are the largest, and sorted."""
    if not call.attributes.get("largest", 1):
        raise Inexpressible("the smallest elements are wanted")
    return without(call, "largest", "sorted")  # sorted is one of the orders that unsorted allows
