"""Resize and its predecessor Upsample: the op whose meaning changed most often."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from graphopt.errors import UnsupportedError
from graphopt.frontends.onnx.call import Call
from graphopt.frontends.onnx.opsets.steps import (
    Inexpressible,
    Upgraded,
    given,
    ints,
    known_ints,
    node,
    rank_of,
    setting,
    shape_of,
    with_input,
    without,
)
from graphopt.ir import Node
from graphopt.structural import absent, constant
from graphopt.types import DType

ONE = 1.0
LIKE_UPSAMPLE = {"coordinate_transformation_mode": "asymmetric"}


def upsample_scales(call: Call) -> Call:
    """Upsample 9: the scales are an input."""
    scales = constant(list(call.attributes["scales"]), DType.FLOAT32)
    return with_input(without(call, "scales"), 1, scales)


def upsample_scales_attribute(call: Call) -> Call:
    """Before Upsample 9, the scales are an attribute."""
    scales = tuple(float(scale) for scale in constant_scales(call, 1))
    return setting(with_input(call, 1, None), scales=scales)


def upsample_resized(call: Call) -> Call:
    """Upsample went at opset 10; Resize of 11 says what it did, nothing being made smaller."""
    x, scales = call.inputs
    made = setting(replace(call, op_type="Resize", inputs=(x, absent, scales)), **LIKE_UPSAMPLE)
    return setting(made, nearest_mode="floor") if nearest(call) else made


def resize_coordinates(call: Call) -> Upgraded:
    """Resize 11: how coordinates are rounded is an attribute, and the same for all axes.

    Before, the nearest element was the next one where an axis shrinks and the last one where it
    grows; a resize that may do both is two.
    """
    x, scales = call.inputs
    made = setting(replace(call, inputs=(x, absent, scales)), **LIKE_UPSAMPLE)
    if not nearest(call):
        return made
    content = scales.constant
    if content is None or content.dtype is not DType.FLOAT32:
        ones = constant(ONE, DType.FLOAT32)
        shrunk = rounded(x, node("Min", scales, ones), "ceil")
        return (rounded(shrunk, node("Max", scales, ones), "floor"),)
    shrinking, growing = np.minimum(content.array, ONE), np.maximum(content.array, ONE)
    if (shrinking == ONE).all():
        return setting(made, nearest_mode="floor")
    if (growing == ONE).all():
        return setting(made, nearest_mode="ceil")
    return (rounded(rounded(x, constant(shrinking), "ceil"), constant(growing), "floor"),)


def rounded(x: Node, scales: Node, mode: str) -> Node:
    """x resized to the nearest elements in one direction."""
    return node("Resize", x, None, scales, mode="nearest", nearest_mode=mode, **LIKE_UPSAMPLE)


def nearest(call: Call) -> bool:
    """Whether elements are copied, not interpolated."""
    return bool(call.attributes.get("mode", "nearest") == "nearest")


def resize_inputs(call: Call) -> Call:
    """Resize 13: inputs that are not used are left out."""
    if given(call, 3) is not None:
        call = with_input(call, 2, None)
    if call.attributes.get("coordinate_transformation_mode") != "tf_crop_and_resize":
        call = with_input(call, 1, None)
    return call


def resize_without_half_pixel_for_nn(call: Call) -> Call:
    """Resize 18: one mode of coordinates is gone, which ONNX's tests had even after opset 13.

    It is `half_pixel` half an element further, which a rounding can absorb.
    """
    if call.attributes.get("coordinate_transformation_mode") != "tf_half_pixel_for_nn":
        return call
    rounding = call.attributes.get("nearest_mode", "round_prefer_floor")
    absorbed = {"floor": "round_prefer_ceil", "round_prefer_floor": "ceil"}
    if not nearest(call) or rounding not in absorbed:
        raise UnsupportedError("coordinates 'tf_half_pixel_for_nn' have no form since opset 13")
    modes = {"coordinate_transformation_mode": "half_pixel", "nearest_mode": absorbed[rounding]}
    return setting(call, **modes)


def resize_all_axes(call: Call) -> Call:
    """Before Resize 18 there is no attribute `axes`: scales and sizes are those of all axes."""
    axes = call.attributes.get("axes")
    if axes is None:
        return call
    x, call = call.inputs[0], without(call, "axes")
    rank = rank_of(x)
    named = [axis % rank for axis in axes]
    if given(call, 1) is not None:
        raise Inexpressible("some axes of a region are resized")
    if given(call, 2) is not None:
        scales = np.ones(rank, np.float32)
        scales[named] = constant_scales(call, 2)
        return with_input(call, 2, constant(scales))
    sizes = dict(zip(named, known_ints(call.inputs[3], "the input 'sizes'"), strict=True))
    shape = shape_of(x) or ()
    full = [sizes.get(axis, size) for axis, size in enumerate(shape)]
    if not all(isinstance(size, int) for size in full):
        raise Inexpressible("the size of an axis is not known")
    return with_input(call, 3, ints(*(size for size in full if isinstance(size, int))))


def resize_all_inputs(call: Call) -> Call:
    """Before Resize 13, inputs that are not used are empty tensors."""
    empty = constant([], DType.FLOAT32)
    for position in (1, 2):
        if given(call, position) is None:
            call = with_input(call, position, empty)
    return call


def resize_by_scales(call: Call) -> Call:
    """Before Resize 11 there are only scales, and what `resize_coordinates` says of coordinates."""
    attributes = call.attributes
    if given(call, 3) is not None:
        raise Inexpressible("it has sizes, not scales")
    if attributes.get("coordinate_transformation_mode", "half_pixel") != "asymmetric":
        raise Inexpressible("the coordinates are not 'asymmetric'")
    if attributes.get("mode", "nearest") not in ("nearest", "linear"):
        raise Inexpressible(f"the mode is {attributes['mode']!r}")
    if nearest(call):
        scales = constant_scales(call, 2)
        rounding = attributes.get("nearest_mode")
        grows = rounding == "floor" and bool((scales >= ONE).all())
        if not grows and not (rounding == "ceil" and bool((scales <= ONE).all())):
            raise Inexpressible("the nearest elements are not found by rounding down")
    kept = {"mode": attributes["mode"]} if "mode" in attributes else {}
    return replace(call, inputs=(call.inputs[0], call.inputs[2]), attributes=kept)


def resize_upsampled(call: Call) -> Call:
    """Before Resize 10 there is Upsample, which makes nothing smaller."""
    if bool((constant_scales(call, 1) < ONE).any()):
        raise Inexpressible("an axis shrinks")
    return replace(call, op_type="Upsample")


def constant_scales(call: Call, position: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """The scales; raises Inexpressible when they are not constant."""
    content = call.inputs[position].constant
    if content is None:
        raise Inexpressible("the scales are not constant")
    return np.asarray(content.array, np.float32)
