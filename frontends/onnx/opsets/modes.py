"""Modes, defaults and attributes that changed, an op at a time."""

from __future__ import annotations

import numpy as np

from graphopt import dims
from graphopt.frontends.onnx.call import Call
from graphopt.frontends.onnx.opsets.steps import (
    Inexpressible,
    Lowering,
    dtype_of,
    given,
    rank_of,
    setting,
    shape_of,
    size_along,
    with_input,
    without,
)
from graphopt.structural import constant

CUBIC = {"bilinear": "linear", "bicubic": "cubic"}


def sampling_mode(call: Call) -> Call:
    """GridSample 20 has names of modes that fit any number of axes."""
    mode = call.attributes.get("mode", "bilinear")
    return setting(call, mode=CUBIC.get(mode, mode))


def planar_sampling_mode(call: Call) -> Call:
    """Before GridSample 20 there are two axes, and modes are named after that."""
    if rank_of(call.inputs[0]) != 4:
        raise Inexpressible("the input is no batch of images")
    mode = call.attributes.get("mode", "linear")
    names = {new: old for old, new in CUBIC.items()}
    return setting(call, mode=names.get(mode, mode))


def align_to_corners(call: Call) -> Call:
    """RoiAlign 16 shifts coordinates by half an element unless told; before, it did not."""
    return setting(call, coordinate_transformation_mode="output_half_pixel")


def aligned_to_corners(call: Call) -> Call:
    """Before RoiAlign 16, coordinates are not shifted."""
    mode = call.attributes.get("coordinate_transformation_mode", "half_pixel")
    if mode != "output_half_pixel":
        raise Inexpressible("the coordinates are shifted")
    return without(call, "coordinate_transformation_mode")


# Attention.


def heads_of_inputs(call: Call) -> Call:
    """Attention 25 refuses the numbers of heads where inputs of 4 axes tell them."""
    shape = shape_of(call.inputs[0])
    if shape is None or len(shape) != 4:
        return call
    return without(call, "q_num_heads", "kv_num_heads")


def whole_mask(call: Call) -> Call:
    """Before Attention 24, all keys count, and a mask says something of each."""
    if given(call, 6) is not None:
        raise Inexpressible("some keys are padding")
    mask, past = given(call, 3), given(call, 4)
    if mask is None:
        return call
    shapes = [shape_of(value) for value in (mask, call.inputs[1])]
    total = length_of(shapes[1])
    if past is not None and total is not None:
        before = length_of(shape_of(past))
        total = None if before is None else before + total
    if total is None or not shapes[0] or shapes[0][-1] != total:
        raise Inexpressible("the mask may be shorter than the keys")
    return call


def length_of(shape: tuple[dims.Size, ...] | None) -> dims.Size | None:
    """The length of the sequence of keys, the last axis but one in both layouts."""
    return None if shape is None or len(shape) < 3 else shape[-2]


def spatial_output_shape(call: Call) -> Call:
    """ConvTranspose 11 has only spatial axes in `output_shape`; before, it may have had all."""
    sizes, shape = call.attributes.get("output_shape", ()), shape_of(call.inputs[1])
    if shape is None or len(sizes) != len(shape):
        return call
    return setting(call, output_shape=sizes[2:])


def bias_is_there(call: Call) -> Call:
    """Before Gemm 11, C may not be left out."""
    dtype = dtype_of(call.inputs[0])
    if given(call, 2) is not None:
        return call
    if dtype is None:
        raise Inexpressible("there is no C")
    return with_input(call, 2, constant(np.zeros((), dtype.numpy), dtype))


def inputs_have_one_shape(call: Call) -> Call:
    """Before opset 8, inputs of these are not broadcast."""
    shapes = [shape_of(value) for value in call.inputs]
    if len(shapes) > 1 and (shapes[0] is None or any(shape != shapes[0] for shape in shapes)):
        raise Inexpressible("the inputs may be broadcast")
    return call


def indices_not_negative(call: Call) -> Call:
    """Before Gather 11, indices are not negative; what only running tells is taken to be so."""
    content = call.inputs[1].constant
    if content is None or not (content.array < 0).any():
        return call
    size = size_along(call.inputs[0], call.attributes.get("axis", 0))
    if not isinstance(size, int):
        raise Inexpressible("an index is negative")
    indices = np.where(content.array < 0, content.array + size, content.array)
    return with_input(call, 1, constant(indices.astype(content.dtype.numpy), content.dtype))


def inputs_have_one_dtype(call: Call) -> Call:
    """Before Pow 12, base and exponent have one dtype."""
    if dtype_of(call.inputs[0]) is not dtype_of(call.inputs[1]):
        raise Inexpressible("base and exponent have different dtypes")
    return call


def floored_integers(call: Call) -> Call:
    """Before Mod 28, a floored quotient is for integers."""
    dtype = dtype_of(call.inputs[0])
    if not call.attributes.get("fmod", 0) and (dtype is None or not dtype.is_integer):
        raise Inexpressible("floats have only fmod=1")
    return call


def zero_copies(call: Call) -> Call:
    """Before Reshape 14, a 0 in the shape takes the size from the input."""
    if call.attributes.get("allowzero", 0):
        wanted = call.inputs[1].known
        if wanted is None or not all(isinstance(s, int) and s for s in wanted):
            raise Inexpressible("a 0 in the shape may mean 0")
    return without(call, "allowzero")


def only_these_reductions(*names: str) -> Lowering:
    """Before, updates are combined with the data in these ways only."""

    def step(call: Call) -> Call:
        reduction = call.attributes.get("reduction", "none")
        if reduction not in names:
            raise Inexpressible(f"the reduction is {reduction!r}")
        return call

    return step


def values_only(call: Call) -> Call:
    """Before MaxPool 8 there is no output of indices."""
    if call.outputs > 1:
        raise Inexpressible("the indices are wanted")
    return without(call, "storage_order")


def not_symmetric(call: Call) -> Call:
    """Before Resize 19 coordinates cannot be `half_pixel_symmetric`."""
    if call.attributes.get("coordinate_transformation_mode") == "half_pixel_symmetric":
        raise Inexpressible("the coordinates are 'half_pixel_symmetric'")
    return call
