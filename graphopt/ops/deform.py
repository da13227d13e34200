"""Deformable convolution: a convolution that samples its input where offsets say."""

from __future__ import annotations

from math import prod
from typing import Any

from graphopt.dims import Size
from graphopt.ir import Node
from graphopt.op import Array, Ints, Xp, op, refuse
from graphopt.ops.checks import check_rank, float_dtype, one_size, size_at
from graphopt.ops.common import tensor
from graphopt.ops.conv import add_bias, conv_shape, kernel_of
from graphopt.ops.examples import given
from graphopt.ops.kernels import wide
from graphopt.ops.sampling import Neighbour, gather, neighbours
from graphopt.ops.window import concrete, window
from graphopt.types import Type


@op("DeformConv")
def deform_conv(
    xp: Xp,
    x: Array,
    w: Array,
    offset: Array,
    bias: Array | None = None,
    mask: Array | None = None,
    *,
    dilations: Ints | None = None,
    group: int = 1,
    kernel_shape: Ints | None = None,
    offset_group: int = 1,
    pads: Ints | None = None,
    strides: Ints | None = None,
) -> Array:
    """A convolution whose taps are moved by `offset` and weighted by `mask`.

    x is (N, C, D1, ..., Dr), w (M, C / group, k1, ...); offset (N, offset_group * taps * r, counts)
    and mask (N, offset_group * taps, counts). Between elements x is linear, outside it is 0.
    """
    dtype = x.dtype
    x, w, offset, bias, mask = wide(xp, x, w, offset, bias, mask)
    kernel = kernel_of(x, w, kernel_shape)
    win = window(kernel, strides, pads, dilations)
    n, c, *sizes = x.shape
    counts = tuple(concrete(size) for size in win.counts(sizes))
    if offset.shape[2:] != counts or (mask is not None and mask.shape[2:] != counts):
        raise ValueError(f"the offsets or the mask are not for {counts} windows")
    rank, spots, places = len(kernel), prod(kernel), prod(counts)
    moves = offset.reshape(n * offset_group, spots, rank, places)
    axes: list[list[Neighbour]] = []
    for axis, size in enumerate(sizes):
        starts = xp.arange(counts[axis]) * win.strides[axis] - win.begins[axis]
        steps = xp.arange(kernel[axis]) * win.dilations[axis]
        base = xp.broadcast_to(
            steps.reshape((-1,) + (1,) * (2 * rank - axis - 1))
            + starts.reshape((-1,) + (1,) * (rank - axis - 1)),
            (*kernel, *counts),
        )
        at = moves[:, :, axis] + base.reshape(spots, places)
        at = at.reshape(n * offset_group, spots * places)
        axes.append(neighbours(xp, at, size, "linear", "zeros", (0, 0)))
    seen = gather(xp, x.reshape(n * offset_group, c // offset_group, *sizes), axes, 0)
    if mask is not None:
        seen = seen * mask.reshape(n * offset_group, 1, spots * places)
    columns = seen.reshape(n, group, c // group * spots, places)
    filters = w.reshape(group, w.shape[0] // group, prod(w.shape[1:]))
    made = xp.matmul(filters, columns).reshape(n, w.shape[0], *counts)
    return xp.asarray(add_bias(made, bias), dtype)


@deform_conv.infer
def _(
    x: Node,
    w: Node,
    offset: Node,
    bias: Node | None,
    mask: Node | None,
    *,
    offset_group: int,
    **geometry: Any,
) -> Type:
    dtype = float_dtype(x, w, offset, bias, mask)
    shape = conv_shape(x, w, bias, auto_pad="NOTSET", **geometry)
    channels = size_at(x, 1)
    if offset_group < 1 or (isinstance(channels, int) and channels % offset_group):
        raise refuse(f"{channels} channels do not make {offset_group} offset groups")
    if shape is None:
        return tensor(dtype, None)
    made: list[Size | None] = list(shape)
    for value in (offset, mask):
        check_rank(value, (len(shape),), "the offset or mask")
        for axis in (0, *range(2, len(shape))):
            made[axis] = one_size("a size of the output", made[axis], size_at(value, axis))
    return tensor(dtype, made)


@deform_conv.examples
def _() -> list[Node]:
    x, w = given("x", 2, 4, 5, 4), given("w", 6, 2, 2, 3)
    offset, mask = given("offset", 2, 24, 4, 2), given("mask", 2, 12, 4, 2)
    one = given("x", 1, 1, 3, 3)
    return [
        deform_conv(one, given("w", 1, 1, 2, 2), given("offset", 1, 8, 4, 4), pads=(1, 1, 1, 1)),
        deform_conv(x, w, offset, given("b", 6), mask, group=2, offset_group=2),
        deform_conv(
            x, given("w", 6, 4, 2, 2), given("o", 2, 8, 2, 2), strides=(2, 2), dilations=(2, 1)
        ),
        deform_conv(given("x", 1, 2, 6), given("w", 2, 2, 3), given("offset", 1, 3, 4)),
    ]
