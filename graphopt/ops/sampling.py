"""Sampling at positions that are computed: GridSample and AffineGrid."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from math import prod
from typing import Any

from graphopt import dims
from graphopt.ir import Node
from graphopt.op import Array, Facts, Xp, op, refuse
from graphopt.ops.checks import (
    check_dtype,
    check_rank,
    check_rank_from,
    check_size,
    float_dtype,
    one_size,
    size_at,
)
from graphopt.ops.common import tensor
from graphopt.ops.dtypes import FLOATS
from graphopt.ops.examples import given
from graphopt.ops.interpolation import cubic_weight, linear_weight
from graphopt.ops.kernels import wide
from graphopt.structural import constant, graph_input
from graphopt.types import DType, TensorType, Type

MODES = {
    "nearest": ((0,), None),
    "linear": ((0, 1), linear_weight),
    "cubic": ((-1, 0, 1, 2), cubic_weight),
}
"""The neighbours of a position, as steps from the one below it, and the weight by distance."""

PADDINGS = ("zeros", "border", "reflection")

Neighbour = tuple[Array, Array | None, Array | None]
"""Indices along an axis, whether they lie inside (None: all do), and weights (None: all are 1)."""


def reflected(xp: Xp, index: Array, low: float, high: float) -> Array:
    """The indices reflected at both ends until they lie between."""
    width = high - low
    if width <= 0:
        return index * 0
    along = xp.abs(index - low) % (2 * width)
    return low + xp.minimum(along, 2 * width - along)


def neighbours(
    xp: Xp, at: Array, size: int, mode: str, padding: str, ends: tuple[float, float]
) -> list[Neighbour]:
    """The neighbours along an axis of some size of positions `at`."""
    steps, weight = MODES[mode]
    base = xp.rint(at) if weight is None else xp.floor(at)
    made: list[Neighbour] = []
    for step in steps:
        index, inside = base + step, None
        if padding == "zeros":
            inside = (index >= 0) & (index < size)
        elif padding == "reflection":
            index = reflected(xp, index, *ends)
        # NaN and what is too far for an integer must not become an index.
        place = xp.asarray(xp.nan_to_num(xp.clip(index, 0, max(size - 1, 0))), xp.int64)
        made.append((place, inside, weight and weight(xp, base + step - at, -0.75)))
    return made


def gather(xp: Xp, x: Array, axes: Sequence[Sequence[Neighbour]], nothing: Any) -> Array:
    """The weighted sums of neighbours of x (N, C, D1, ...), an axis' of shape (N, P): (N, C, P).

    What lies outside is `nothing`.
    """
    n, c, *sizes = x.shape
    planes = x.reshape(n, c, prod(sizes))
    total: Array | None = None
    for chosen in product(*axes):
        flat: Array = 0
        inside: Array | None = None
        weight: Array | None = None
        for (index, within, factor), size in zip(chosen, sizes, strict=True):
            flat = flat * size + index
            inside = within if inside is None or within is None else inside & within
            weight = factor if weight is None or factor is None else weight * factor
        part = xp.take_along_axis(planes, flat[:, None, :], axis=2)
        if inside is not None:
            part = xp.where(inside[:, None, :], part, nothing)
        if weight is not None:
            part = part * weight[:, None, :]
        total = part if total is None else total + part
    return total


@op("GridSample", facts=Facts(signed_zero="passed"))
def grid_sample(
    xp: Xp,
    x: Array,
    grid: Array,
    *,
    align_corners: int = 0,
    mode: str = "linear",
    padding_mode: str = "zeros",
) -> Array:
    """x (N, C, D1, ..., Dr) sampled at the positions grid (N, E1, ..., Er, r): (N, C, E1, ..., Er).

    A position lists the coordinates of the last axis first; -1 and 1 are the ends of an axis: the
    centers of its outer elements with `align_corners`, else their edges. Integers are truncated.
    """
    n, c, *sizes = x.shape
    rank = len(sizes)
    check_size("the batch size", n, grid.shape[0])
    check_size("the number of coordinates", rank, grid.shape[-1], grid.ndim - 2)
    (points,) = wide(xp, grid)
    axes: list[list[Neighbour]] = []
    for axis, size in enumerate(sizes):
        to = points[..., rank - 1 - axis].reshape(n, prod(grid.shape[1:-1]))
        if align_corners:
            at, ends = (to + 1) / 2 * (size - 1), (0.0, size - 1.0)
        else:
            at, ends = ((to + 1) * size - 1) / 2, (-0.5, size - 0.5)
        axes.append(neighbours(xp, at, size, mode, padding_mode, ends))
    shape = (n, c, *grid.shape[1:-1])
    if 0 in sizes:
        return xp.zeros(shape, x.dtype)
    if mode == "nearest":
        return gather(xp, x, axes, "" if x.dtype == object else x.dtype.type(0)).reshape(shape)
    high = xp.asarray(x, xp.result_type(x.dtype, xp.float32))
    made = gather(xp, high, axes, 0).reshape(shape)
    return xp.asarray(xp.trunc(made) if x.dtype.kind in "iu" else made, x.dtype)


@grid_sample.infer
def _(x: Node, grid: Node, *, align_corners: int, mode: str, padding_mode: str) -> Type:
    check_dtype(grid, FLOATS, "the grid")
    if mode not in MODES or padding_mode not in PADDINGS:
        raise refuse(f"mode is {mode!r}, padding_mode {padding_mode!r}")
    if x.dtype.code > DType.BFLOAT16.code or (mode != "nearest" and not x.dtype.is_numeric):
        raise refuse(f"{x.dtype} is not taken")
    rank = one_size("the rank", x.rank, grid.rank)
    if rank is None:
        return tensor(x.dtype, None)
    assert isinstance(rank, int)
    check_rank_from(x if x.rank is not None else grid, 3)
    one_size("the number of coordinates", size_at(grid, -1), rank - 2)
    batch = one_size("the batch size", size_at(x, 0), size_at(grid, 0))
    sizes = (None,) * (rank - 2) if grid.shape is None else grid.shape[1:-1]
    return tensor(x.dtype, (batch, size_at(x, 1), *sizes))


@grid_sample.examples
def _() -> list[Node]:
    n = dims.symbol("N")
    x, grid = given("x", 2, 2, 3, 4), given("grid", 2, 2, 3, 2)
    batch = graph_input("x", TensorType(DType.FLOAT32, (n, 2, 3, 4)))
    many = graph_input("grid", TensorType(DType.FLOAT32, (n, dims.symbol("H"), 3, 2)))
    return [
        grid_sample(x, grid),
        grid_sample(x, grid, align_corners=1, padding_mode="border"),
        grid_sample(x, grid, padding_mode="reflection", mode="nearest"),
        grid_sample(x, grid, align_corners=1, padding_mode="reflection", mode="cubic"),
        grid_sample(batch, many, mode="cubic"),
        grid_sample(given("x", 1, 2, 2, 3, 2), given("grid", 1, 2, 1, 3, 3)),
        grid_sample(given("x", 1, 2, 5), given("grid", 1, 4, 1), align_corners=1),
        grid_sample(given("x", 2, 2, 3, 4, dtype=DType.INT32), grid, mode="nearest"),
    ]


@op("AffineGrid", facts=Facts(host_inputs=(1,)))
def affine_grid(xp: Xp, theta: Array, size: Array, *, align_corners: int = 0) -> Array:
    """The positions, for GridSample, of an image of `size` (N, C, D1, ...) mapped by theta.

    theta (N, r, r + 1) maps (x, y, ..., 1); the result is (N, D1, ..., r). An axis of size 1 lies
    at 0 with `align_corners`.
    """
    _, _, *sizes = map(int, size)
    rank = len(sizes)
    check_size("the number of spatial axes", rank, theta.shape[1], theta.shape[2] - 1)
    (high,) = wide(xp, theta)
    made = high[:, :, rank].reshape(theta.shape[0], *(1,) * rank, rank)
    for axis, count in enumerate(sizes):
        steps = xp.arange(count, dtype=high.dtype)
        if align_corners:
            along = steps * (2 / (count - 1)) - 1 if count > 1 else steps * 0
        else:
            along = (2 * steps + 1) / max(count, 1) - 1
        along = along.reshape((count,) + (1,) * (rank - axis))
        column = high[:, :, rank - 1 - axis].reshape(theta.shape[0], *(1,) * rank, rank)
        made = made + column * along
    return xp.asarray(made, theta.dtype)


@affine_grid.infer
def _(theta: Node, size: Node, *, align_corners: int) -> Type:
    dtype = float_dtype(theta)
    check_rank(theta, (3,), "theta")
    check_rank(size, (1,), "size")
    check_dtype(size, (DType.INT64,), "size")
    columns, known = size_at(theta, 2), size.known
    length = one_size(
        "the number of axes",
        size_at(size, 0),
        None if columns is None else columns + 1,
        None if known is None else len(known),
    )
    if not isinstance(length, int):
        return tensor(dtype, None)
    if length not in (4, 5):
        raise refuse(f"{length - 2} spatial axes where 2 or 3 are taken")
    one_size("the number of coordinates", size_at(theta, 1), length - 2)
    sizes = (None,) * (length - 2) if known is None else known[2:]
    if any(isinstance(item, int) and item < 0 for item in sizes):
        raise refuse("size has a negative entry")
    return tensor(dtype, (size_at(theta, 0), *sizes, length - 2))


@affine_grid.examples
def _() -> list[Node]:
    n = dims.symbol("N")
    batch = graph_input("theta", TensorType(DType.FLOAT32, (n, 2, 3)))
    return [
        affine_grid(batch, constant([1, 1, 3, 4], DType.INT64)),
        affine_grid(given("theta", 2, 2, 3), constant([2, 1, 3, 4], DType.INT64), align_corners=1),
        affine_grid(given("theta", 1, 3, 4), constant([1, 1, 2, 3, 4], DType.INT64)),
    ]
