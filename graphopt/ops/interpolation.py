"""Resize: interpolation from one grid to another, one axis after the other.

Coordinates and weights are float32, as ONNX Runtime has them: where the nearest of two elements is
a matter of rounding, both choose alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import floor, inf

from graphopt.dims import Size, floordiv
from graphopt.op import Array, Ints, Xp, float32

COORDINATES = (
    "half_pixel",
    "half_pixel_symmetric",
    "pytorch_half_pixel",
    "align_corners",
    "asymmetric",
    "tf_crop_and_resize",
)
NEAREST = ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")
POLICIES = ("stretch", "not_larger", "not_smaller")
MODES = ("nearest", "linear", "cubic")


@dataclass(frozen=True, slots=True)
class Axis:
    """An axis of some size that becomes one of size `new`, and the scale of coordinates.

    `width` is the new size before it was rounded, which differs only where it follows from a scale.
    """

    size: int
    new: int
    scale: float
    width: float


@dataclass(frozen=True, slots=True)
class Method:
    """How an axis is interpolated: the attributes of Resize of which sizes are independent."""

    mode: str
    nearest: str
    cubic: float
    antialias: bool
    exclude_outside: bool


def scaled_size(size: Size, scale: float) -> Size | None:
    """floor(size * scale), exact where the scale is a simple fraction, else in float32.

    None for a symbolic size and a scale that is not simple. Raises ValueError for a scale that
    makes no sense.

    >>> scaled_size(10, float32(0.7)), scaled_size(5, 1.5)
    (7, 7)
    """
    if not 0 < scale < inf:
        raise ValueError(f"a scale is {scale}")
    above, below = scale.as_integer_ratio()
    if above <= 256 and below <= 256:
        return floordiv(size * above, below)
    return floor(float32(float32(size) * scale)) if isinstance(size, int) else None


def scaled(sizes: Sequence[Size | None], scales: Sequence[float]) -> list[Size | None]:
    """The sizes times the scales; raises ValueError when they are not as many."""
    if len(sizes) != len(scales):
        raise ValueError(f"{len(scales)} scales for {len(sizes)} axes")
    pairs = zip(sizes, scales, strict=True)
    return [None if size is None else scaled_size(size, scale) for size, scale in pairs]


def fitted(sizes: Sequence[int], wanted: Sequence[int], policy: str) -> tuple[list[int], float]:
    """Sizes with the proportions of the old ones that fit into, or around, those that are wanted.

    Also returns the one scale of all axes. Raises ValueError when there is none.
    """
    if 0 in sizes or not sizes:
        raise ValueError("an empty input has no proportions to keep")
    ratios = [new / old for old, new in zip(sizes, wanted, strict=True)]
    scale = min(ratios) if policy == "not_larger" else max(ratios)
    return [floor(scale * size + 0.5) for size in sizes], scale


def resized(
    sizes: Ints, scales: Sequence[float] | None, wanted: Ints | None, policy: str
) -> list[Axis]:
    """The axes by scales, or by the sizes that are wanted; raises ValueError if they do not fit."""
    if scales is not None:
        made = [size for size in scaled(sizes, scales) if isinstance(size, int)]
        every = zip(sizes, made, scales, strict=True)
        return [Axis(size, new, scale, size * scale) for size, new, scale in every]
    if wanted is None or len(wanted) != len(sizes) or min(wanted, default=0) < 0:
        raise ValueError(f"the sizes {wanted} for {len(sizes)} axes")
    if policy != "stretch":
        fit, scale = fitted(sizes, wanted, policy)
        pairs = zip(sizes, fit, strict=True)
        return [Axis(size, new, float32(scale), new) for size, new in pairs]
    pairs = zip(sizes, wanted, strict=True)
    return [Axis(size, new, float32(new / size) if size else 1.0, new) for size, new in pairs]


def coordinates(xp: Xp, kind: str, axis: Axis, roi: Array | None) -> Array:
    """Where in an axis the elements of the new one lie, as float32; `roi` is its begin and end."""
    at, last = xp.arange(axis.new, dtype=xp.float32), axis.size - 1
    match kind:
        case "asymmetric":
            return at / axis.scale
        case "align_corners" | "pytorch_half_pixel" if axis.new <= 1:
            return at
        case "align_corners":
            return at * last / (axis.width - 1)
        case "half_pixel_symmetric":
            offset = (1 - axis.new / (axis.scale * axis.size)) * axis.size / 2
            return offset + (at + 0.5) / axis.scale - 0.5
        case "tf_crop_and_resize":
            assert roi is not None
            begin, end = roi[0], roi[1]
            if axis.new <= 1:
                return at + 0.5 * (begin + end) * last
            return begin * last + at * (end - begin) * last / (axis.new - 1)
        case _:
            return (at + 0.5) / axis.scale - 0.5


def nearest_index(xp: Xp, at: Array, rounding: str) -> Array:
    """The coordinates rounded to whole numbers."""
    low = xp.floor(at)
    if rounding == "floor":
        return low
    if rounding == "ceil":
        return xp.ceil(at)
    up = at - low > 0.5 if rounding == "round_prefer_floor" else at - low >= 0.5
    return low + up


def linear_weight(xp: Xp, t: Array, _: float) -> Array:
    """The weight of a neighbour at distance t, which is at most 1."""
    return xp.maximum(1 - xp.abs(t), 0)


def cubic_weight(xp: Xp, t: Array, a: float) -> Array:
    """The weight of a neighbour at distance t, which is at most 2 (Keys 1981, equation 4)."""
    t = xp.abs(t)
    near = ((a + 2) * t - (a + 3)) * t * t + 1
    far = ((t - 5) * t + 8) * t * a - 4 * a
    return xp.where(t <= 1, near, xp.where(t < 2, far, 0))


def neighbours(xp: Xp, at: Array, size: int, scale: float, method: Method) -> tuple[Array, Array]:
    """The indices of each coordinate's neighbours, which may lie outside, and their weights."""
    shrink = min(scale, 1.0) if method.antialias else 1.0
    support, weight = (2, cubic_weight) if method.mode == "cubic" else (1, linear_weight)
    if method.mode == "linear" and not method.antialias:
        at = xp.clip(at, 0, max(size - 1, 0))
    first = floor(-support / shrink) + 1
    steps = xp.arange(first, 2 - first, dtype=xp.float32)
    indices = (xp.ceil(at) - 1)[:, None] + steps
    weights = weight(xp, (indices - at[:, None]) * shrink, method.cubic)
    if method.exclude_outside:
        weights = xp.where((indices >= 0) & (indices < size), weights, 0)
    if method.exclude_outside or method.antialias:
        total = xp.sum(weights, axis=1, keepdims=True)
        weights = weights / xp.where(total == 0, 1, total)
    return indices, weights


def resize_axis(xp: Xp, x: Array, axis: int, at: Array, scale: float, method: Method) -> Array:
    """x with one axis interpolated at the coordinates."""
    size = x.shape[axis]
    if method.mode == "nearest":
        index = xp.clip(nearest_index(xp, at, method.nearest), 0, size - 1)
        return xp.take(x, xp.asarray(index, xp.int64), axis=axis)
    indices, weights = neighbours(xp, at, size, scale, method)
    places = xp.asarray(xp.clip(indices, 0, size - 1), xp.int64)
    shape = (-1,) + (1,) * (x.ndim - axis - 1)
    total: Array | None = None
    for k in range(weights.shape[1]):
        part = xp.take(x, places[:, k], axis=axis) * weights[:, k].reshape(shape)
        total = part if total is None else total + part
    return xp.asarray(total, x.dtype)
