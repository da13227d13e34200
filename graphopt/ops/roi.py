"""Pooling over regions of interest: rectangles in the images of a batch."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce

from graphopt.dims import Size
from graphopt.ir import Node
from graphopt.op import Array, Ints, Xp, op, refuse
from graphopt.ops.checks import check_dtype, check_rank, check_size, float_dtype, one_size, size_at
from graphopt.ops.common import tensor
from graphopt.ops.examples import given
from graphopt.ops.kernels import wide
from graphopt.structural import constant
from graphopt.types import DType, Type


def regions(x: Node, rois: Node, columns: int, counts: tuple[int, int]) -> list[Size | None]:
    """The shape of x pooled over regions; refuses what does not fit."""
    check_rank(x, (4,), "the input")
    check_rank(rois, (2,), "rois")
    one_size("the number of columns of rois", columns, size_at(rois, 1))
    if min(counts) < 1:
        raise refuse(f"the output has {counts[0]} x {counts[1]} bins")
    return [size_at(rois, 0), size_at(x, 1), *counts]


def half_away(xp: Xp, x: Array) -> Array:
    """x rounded to whole numbers, halves away from 0."""
    return xp.where(x < 0, -1, 1) * xp.floor(xp.abs(x) + 0.5)


def bins(xp: Xp, first: Array, last: Array, count: int, size: int) -> tuple[Array, Array]:
    """Where the bins of a region from `first` to `last` begin and end on an axis of some size."""
    length = xp.maximum(last - first + 1, 1)
    width = length / count
    number = xp.arange(count, dtype=width.dtype)
    low, high = xp.floor(number * width) + first, xp.ceil((number + 1) * width) + first
    return xp.clip(low, 0, size), xp.clip(high, 0, size)


@op("MaxRoiPool")
def max_roi_pool(
    xp: Xp, x: Array, rois: Array, *, pooled_shape: Ints, spatial_scale: float = 1.0
) -> Array:
    """The greatest elements of the bins of regions of x (N, C, H, W): (R, C, *pooled_shape).

    A row of rois is [image, x1, y1, x2, y2], scaled and rounded to whole elements, both ends
    included. Bins may overlap; one that is empty gives 0.
    """
    check_size("the number of columns of rois", 5, rois.shape[1])
    (high,) = wide(xp, rois)
    made: list[Array] = []
    for row in high:
        corners = half_away(xp, row[1:] * spatial_scale)
        seen = x[xp.asarray(row[0], xp.int64)]
        empty = xp.zeros((), bool)
        # Along the width first; the bins' axis takes its place.
        for axis, first, last in ((2, corners[0], corners[2]), (1, corners[1], corners[3])):
            size, count = seen.shape[axis], pooled_shape[axis - 1]
            low, end = bins(xp, first, last, count, size)
            at = xp.arange(size)
            parts: list[Array] = []
            for k in range(count):
                inside = ((at >= low[k]) & (at < end[k])).reshape((-1,) + (1,) * (2 - axis))
                masked = xp.where(inside, seen, xp.asarray(-xp.inf, x.dtype))
                parts.append(xp.max(masked, axis=axis, initial=-xp.inf))
            seen = xp.stack(parts, axis=axis)
            empty = (end <= low)[:, None] | empty if axis == 1 else (end <= low)[None, :]
        made.append(xp.where(empty, xp.asarray(0, x.dtype), seen))
    shape = (0, x.shape[1], *pooled_shape)
    return xp.asarray(xp.stack(made) if made else xp.zeros(shape), x.dtype)


@max_roi_pool.infer
def _(x: Node, rois: Node, *, pooled_shape: Ints, spatial_scale: float) -> Type:
    if len(pooled_shape) != 2:
        raise refuse(f"pooled_shape has {len(pooled_shape)} entries")
    return tensor(float_dtype(x, rois), regions(x, rois, 5, (pooled_shape[0], pooled_shape[1])))


@max_roi_pool.examples
def _() -> list[Node]:
    rois = constant([[0, 0, 0, 3, 2], [1, 1, 1, 9, 2], [0, 7, 7, 9, 9]], DType.FLOAT32)
    batch = given("x", 2, "C", 4, 5)
    return [
        max_roi_pool(given("x", 2, 3, 4, 5), rois, pooled_shape=(2, 3)),
        max_roi_pool(batch, rois, pooled_shape=(1, 2), spatial_scale=0.5),
    ]


@dataclass(frozen=True, slots=True)
class Line:
    """The samples on one axis of a region, those of one bin after those of another.

    A sample is its lower and its upper neighbour, weighted; outside of the axis weights are 0.
    """

    samples: int
    indices: tuple[Array, Array]
    weights: tuple[Array, Array]


def line(xp: Xp, start: Array, length: Array, bins_: int, samples: int, size: int) -> Line:
    """As many samples as asked for, or if that is 0 as a bin is long, in each of some bins."""
    width = length / bins_
    samples = samples or max(int(xp.ceil(width)), 0)
    number = xp.arange(bins_ * samples)
    each = max(samples, 1)
    at = start + number // each * width + (number % each + 0.5) * width / each
    outside = (at < -1) | (at > size)
    at = xp.clip(at, 0, size - 1)
    low = xp.floor(at)
    below = xp.asarray(low, xp.int64)
    weights = xp.where(outside, 0, 1 - (at - low)), xp.where(outside, 0, at - low)
    return Line(samples, (below, xp.minimum(below + 1, size - 1)), weights)


def aligned(xp: Xp, image: Array, rows: Line, columns: Line, *, mean: bool) -> Array:
    """The bins of one region of an image (C, H, W), as (C, height, width)."""
    terms = [
        image[:, y][:, :, x] * (v[:, None] * w)
        for y, v in zip(rows.indices, rows.weights, strict=True)
        for x, w in zip(columns.indices, columns.weights, strict=True)
    ]
    combined = reduce(xp.add if mean else xp.maximum, terms)
    bins_ = [part.indices[0].shape[0] // part.samples for part in (rows, columns)]
    shape = (image.shape[0], bins_[0], rows.samples, bins_[1], columns.samples)
    inner = combined.reshape(shape)
    if mean:
        return xp.sum(inner, axis=(2, 4)) / (rows.samples * columns.samples)
    return xp.max(inner, axis=(2, 4))


@op("RoiAlign")
def roi_align(
    xp: Xp,
    x: Array,
    rois: Array,
    batch_indices: Array,
    *,
    coordinate_transformation_mode: str = "half_pixel",
    mode: str = "avg",
    output_height: int = 1,
    output_width: int = 1,
    sampling_ratio: int = 0,
    spatial_scale: float = 1.0,
) -> Array:
    """The bins of regions of x (N, C, H, W), sampled linearly: (R, C, height, width).

    A row of rois is [x1, y1, x2, y2]. A bin takes `sampling_ratio` samples each way, or if that is
    0 as many as it is long. Its value is their mean, or with "max" the greatest of the terms, one a
    neighbour, of which a sample is the sum. A region without samples gives 0.
    """
    check_size("the number of regions", rois.shape[0], *batch_indices.shape)
    check_size("the number of columns of rois", 4, rois.shape[1])
    source, corners = wide(xp, x, rois)
    shift = 0.5 if coordinate_transformation_mode == "half_pixel" else 0.0
    made: list[Array] = []
    for row, image in zip(corners * spatial_scale - shift, batch_indices, strict=True):
        lengths = row[2:] - row[:2]
        lengths = lengths if shift else xp.maximum(lengths, 1)
        rows = line(xp, row[1], lengths[1], output_height, sampling_ratio, x.shape[2])
        columns = line(xp, row[0], lengths[0], output_width, sampling_ratio, x.shape[3])
        if rows.samples * columns.samples:
            made.append(aligned(xp, source[image], rows, columns, mean=mode == "avg"))
        else:
            made.append(xp.zeros((x.shape[1], output_height, output_width), source.dtype))
    shape = (0, x.shape[1], output_height, output_width)
    return xp.asarray(xp.stack(made) if made else xp.zeros(shape), x.dtype)


@roi_align.infer
def _(
    x: Node,
    rois: Node,
    batch_indices: Node,
    *,
    coordinate_transformation_mode: str,
    mode: str,
    output_height: int,
    output_width: int,
    sampling_ratio: int,
    spatial_scale: float,
) -> Type:
    if coordinate_transformation_mode not in ("half_pixel", "output_half_pixel"):
        raise refuse(f"coordinate_transformation_mode is {coordinate_transformation_mode!r}")
    if mode not in ("avg", "max") or sampling_ratio < 0:
        raise refuse(f"mode is {mode!r}, sampling_ratio {sampling_ratio}")
    check_dtype(batch_indices, (DType.INT64,), "batch_indices")
    check_rank(batch_indices, (1,), "batch_indices")
    shape = regions(x, rois, 4, (output_height, output_width))
    shape[0] = one_size("the number of regions", shape[0], size_at(batch_indices, 0))
    return tensor(float_dtype(x, rois), shape)


@roi_align.examples
def _() -> list[Node]:
    rois = constant([[0, 0, 3, 2], [1, 0.5, 4.5, 3], [-3, 2, 9, 2.5]], DType.FLOAT32)
    image = constant([0, 1, 0], DType.INT64)
    batch = given("x", 2, "C", 4, 5)
    x = given("x", 2, 3, 4, 5)
    return [
        roi_align(x, rois, image, output_height=2, output_width=3),
        roi_align(batch, rois, image, sampling_ratio=2, spatial_scale=0.5),
        roi_align(x, rois, image, mode="max", coordinate_transformation_mode="output_half_pixel"),
    ]
