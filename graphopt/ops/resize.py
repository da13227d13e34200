"""Resize: the op over `interpolation`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from graphopt import dims
from graphopt.dims import Size
from graphopt.ir import Node
from graphopt.op import Array, Facts, Ints, Xp, op, refuse
from graphopt.ops.checks import check_dtype, check_rank, one_size
from graphopt.ops.common import normal_axes, shape_known, tensor
from graphopt.ops.examples import given
from graphopt.ops.interpolation import (
    COORDINATES,
    MODES,
    NEAREST,
    POLICIES,
    Method,
    coordinates,
    fitted,
    resize_axis,
    resized,
    scaled,
)
from graphopt.ops.window import refusing
from graphopt.structural import constant, graph_input
from graphopt.types import DType, TensorType, Type

ROIS = (DType.FLOAT16, DType.FLOAT32, DType.FLOAT64)


def is_given(value: Array | None) -> bool:
    """Whether an optional input is there; an empty tensor stands for one that is not."""
    return value is not None and value.shape != (0,)


@op("Resize", facts=Facts(signed_zero="passed", host_inputs=(2, 3)))
def resize(
    xp: Xp,
    x: Array,
    roi: Array | None = None,
    scales: Array | None = None,
    sizes: Array | None = None,
    *,
    antialias: int = 0,
    axes: Ints | None = None,
    coordinate_transformation_mode: str = "half_pixel",
    cubic_coeff_a: float = -0.75,
    exclude_outside: int = 0,
    extrapolation_value: float = 0.0,
    keep_aspect_ratio_policy: str = "stretch",
    mode: str = "nearest",
    nearest_mode: str = "round_prefer_floor",
) -> Array:
    """x interpolated along some axes (all by default), which get new sizes or are scaled.

    `roi` [begins, ends], in parts of an axis, counts for tf_crop_and_resize only. Integers are
    interpolated in floating point, rounded and saturated.
    """
    if antialias and mode == "nearest":
        raise ValueError("the nearest element cannot be antialiased")
    method = Method(mode, nearest_mode, cubic_coeff_a, antialias != 0, exclude_outside != 0)
    chosen = tuple(range(x.ndim)) if axes is None else normal_axes(axes, x.ndim)
    changes = resized(
        tuple(x.shape[axis] for axis in chosen),
        None if scales is None or not is_given(scales) else [float(item) for item in scales],
        None if sizes is None or not is_given(sizes) else tuple(map(int, sizes)),
        keep_aspect_ratio_policy,
    )
    crops = coordinate_transformation_mode == "tf_crop_and_resize"
    region = xp.asarray(roi, xp.float32).reshape(2, len(chosen)) if crops else None
    high = x if mode == "nearest" else xp.asarray(x, xp.result_type(x.dtype, xp.float32))
    outside: list[Array] = []
    for k, (axis, change) in enumerate(zip(chosen, changes, strict=True)):
        if change.scale == 1 and change.new == change.size and not crops:
            continue
        at = coordinates(
            xp, coordinate_transformation_mode, change, None if region is None else region[:, k]
        )
        high = resize_axis(xp, high, axis, at, change.scale, method)
        if crops:
            shape = (-1,) + (1,) * (x.ndim - axis - 1)
            outside.append(((at < 0) | (at > change.size - 1)).reshape(shape))
    for mask in outside:
        high = xp.where(mask, xp.asarray(extrapolation_value, high.dtype), high)
    return rounded(xp, high, x.dtype)


def rounded(xp: Xp, x: Array, dtype: Any) -> Array:
    """x in a dtype, rounded and saturated when that is of integers."""
    if dtype.kind in "iu" and x.dtype != dtype:
        limits = xp.iinfo(dtype)
        x = xp.clip(xp.rint(x), limits.min, limits.max)
    return xp.asarray(x, dtype)


@resize.infer
def _(
    x: Node,
    roi: Node | None,
    scales: Node | None,
    sizes: Node | None,
    *,
    axes: Ints | None,
    keep_aspect_ratio_policy: str,
    **method: Any,
) -> Type:
    check_method(x.dtype, keep_aspect_ratio_policy, **method)
    for value, allowed, what in (
        (roi, ROIS, "roi"),
        (scales, (DType.FLOAT32,), "scales"),
        (sizes, (DType.INT64,), "sizes"),
    ):
        check_dtype(value, allowed, what)
        check_rank(value, (1,), what)
    if method["coordinate_transformation_mode"] == "tf_crop_and_resize" and roi is None:
        raise refuse("tf_crop_and_resize needs a roi")
    scales, sizes = (v if v is not None and v.shape != (0,) else None for v in (scales, sizes))
    if (scales is None) == (sizes is None):
        raise refuse("one of scales and sizes is wanted")
    if x.shape is None:
        return tensor(x.dtype, None)
    chosen = tuple(range(len(x.shape))) if axes is None else normal_axes(axes, len(x.shape))
    old = [x.shape[axis] for axis in chosen]
    made: list[Size | None] = list(x.shape)
    with refusing():
        new = new_sizes(old, scales, sizes, keep_aspect_ratio_policy)
    for axis, size in zip(chosen, new, strict=True):
        made[axis] = size
    return tensor(x.dtype, made)


def new_sizes(
    old: Sequence[Size], scales: Node | None, sizes: Node | None, policy: str
) -> Sequence[Size | None]:
    """The new sizes of the axes as far as they are known; raises ValueError for what cannot be."""
    if scales is not None:
        content = scales.constant
        if content is None:
            one_size("the number of axes", len(old), *(scales.shape or ()))
            return (None,) * len(old)
        return scaled(old, [float(item) for item in content.array])
    assert sizes is not None
    wanted = shape_known(sizes) or (None,) * len(old)
    one_size("the number of axes", len(old), len(wanted))
    if any(isinstance(size, int) and size < 0 for size in wanted):
        raise ValueError(f"the sizes {wanted}")
    if policy == "stretch":
        return wanted
    numbers = [size for size in old if isinstance(size, int)]
    if sizes.ints is None or len(numbers) < len(old):
        return (None,) * len(old)
    return fitted(numbers, sizes.ints, policy)[0]


def check_method(
    dtype: DType,
    policy: str,
    *,
    antialias: int,
    coordinate_transformation_mode: str,
    mode: str,
    nearest_mode: str,
    **_: Any,
) -> None:
    """Refuse attributes that have no meaning, and elements that cannot be interpolated."""
    for value, known, name in (
        (mode, MODES, "mode"),
        (coordinate_transformation_mode, COORDINATES, "coordinate_transformation_mode"),
        (nearest_mode, NEAREST, "nearest_mode"),
        (policy, POLICIES, "keep_aspect_ratio_policy"),
    ):
        if value not in known:
            raise refuse(f"{name} is {value!r}")
    if dtype.code > DType.BFLOAT16.code or (mode != "nearest" and not dtype.is_numeric):
        raise refuse(f"{dtype} is not taken")
    if antialias and mode == "nearest":
        raise refuse("the nearest element cannot be antialiased")


@resize.examples
def _() -> list[Node]:
    x, row = given("x", 1, 2, 4, 5), given("x", 2, 6)
    n, h = dims.symbol("N"), dims.symbol("H")
    batch = graph_input("x", TensorType(DType.FLOAT32, (n, 2, h, 5)))

    def by(*items: float) -> Node:
        return constant(list(items), DType.FLOAT32)

    def to(*items: int) -> Node:
        return constant(list(items), DType.INT64)

    crop = by(0.1, 0.6, 0.8, 0.9)
    return [
        resize(x, None, by(1, 1, 2, 2)),
        resize(batch, None, by(1, 1, 1.5, 0.5), mode="linear"),
        resize(batch, None, None, to(7, 3), axes=(2, 3), mode="cubic"),
        resize(x, None, None, to(1, 2, 3, 7), nearest_mode="ceil", mode="nearest"),
        resize(row, None, by(0.6, 0.7), mode="linear", antialias=1),
        resize(
            row, None, None, to(3, 3), axes=(1, 0), mode="cubic", antialias=1, exclude_outside=1
        ),
        resize(
            row, None, by(1.3, 0.7), coordinate_transformation_mode="align_corners", mode="linear"
        ),
        resize(
            row, None, by(2, 2), coordinate_transformation_mode="asymmetric", nearest_mode="floor"
        ),
        resize(
            row,
            crop,
            None,
            to(4, 9),
            coordinate_transformation_mode="tf_crop_and_resize",
            mode="linear",
            extrapolation_value=7.0,
        ),
        resize(row, None, None, to(5, 4), keep_aspect_ratio_policy="not_larger"),
        resize(given("x", 2, 6, dtype=DType.STRING), None, by(1, 2)),
        resize(given("x", 2, 6, dtype=DType.UINT8), None, by(2, 2), mode="linear"),
        resize(given("x", 2, 6, dtype=DType.FLOAT16), None, by(1, 2), mode="cubic"),
    ]
