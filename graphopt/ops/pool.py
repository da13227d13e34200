"""Pooling: the greatest, the mean, or a norm of what a window sees, or of whole channels."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from math import inf, prod

from graphopt import dims
from graphopt.dims import Size
from graphopt.ir import Node
from graphopt.op import Array, Facts, Ints, Xp, op, refuse
from graphopt.ops.bounds import COUNTS, NOTHING, attribute, mean_of
from graphopt.ops.checks import check_rank, check_rank_from, float_dtype, same_dtype
from graphopt.ops.common import tensor
from graphopt.ops.dtypes import BYTES, FLOATS
from graphopt.ops.examples import given
from graphopt.ops.intervals import with_nan, within
from graphopt.ops.kernels import wide
from graphopt.ops.window import SAME, Parts, Window, combined, concrete, padded, refusing, window
from graphopt.ranges import ValueFacts, top_of
from graphopt.structural import graph_input
from graphopt.types import DType, TensorType, Type

MAXIMA = (*FLOATS, *BYTES)


def pooled(
    x: Node,
    kernel_shape: Ints,
    strides: Ints | None,
    pads: Ints | None,
    dilations: Ints | None,
    auto_pad: str,
    ceil_mode: int,
) -> Sequence[Size | None]:
    """The shape of x pooled by windows; refuses windows that do not fit."""
    check_rank_from(x, 3)
    check_rank(x, (len(kernel_shape) + 2,), "the input")
    with refusing():
        win = window(kernel_shape, strides, pads, dilations, auto_pad, ceil_mode)
        if x.shape is None:
            return (None,) * (len(kernel_shape) + 2)
        return (*x.shape[:2], *win.counts(x.shape[2:]))


def greatest(xp: Xp, x: Array, win: Window, counts: Ints, first: int = 2) -> Array:
    """The greatest element that each window sees of a padded x; NaN where it sees one."""
    return combined(lambda a, b: (xp.maximum(a[0], b[0]),), (x,), win, counts, first)[0]


def summed(xp: Xp, x: Array, win: Window, counts: Ints, first: int = 2) -> Array:
    """The sum of what each window sees of a padded x."""
    return combined(lambda a, b: (a[0] + b[0],), (x,), win, counts, first)[0]


def never_blind(node: Node) -> bool:
    """Whether every window is proven to see an element of the input, not only padding."""
    kernel: Ints = attribute(node, "kernel_shape")
    if attribute(node, "dilations") not in (None, (1,) * len(kernel)):
        return False
    if attribute(node, "auto_pad") in SAME:
        return True
    pads: Ints = attribute(node, "pads") or (0,) * (2 * len(kernel))
    shape = node.inputs[0].shape
    for axis, width in enumerate(kernel):
        size = 0 if shape is None else dims.lower(shape[axis + 2]) or 0
        begin, end = pads[axis], pads[axis + len(kernel)]
        empty = size < 1 and (begin + end >= width or attribute(node, "ceil_mode") != 0)
        if max(begin, end) >= width or empty:
            return False
    return True


def positions(xp: Xp, shape: Sequence[int], *, by_column: bool) -> Array:
    """The index of every element of x (N, C, ...), the spatial axes in C or in Fortran order."""
    n, c, *sizes = shape
    plane = xp.arange(prod(sizes), dtype=xp.int64)
    plane = xp.transpose(plane.reshape(sizes[::-1])) if by_column else plane.reshape(sizes)
    starts = xp.arange(n * c, dtype=xp.int64) * prod(sizes)
    return starts.reshape((n, c) + (1,) * len(sizes)) + plane


def first_greatest(xp: Xp, one: Parts, other: Parts) -> Parts:
    """Of two elements and their places, the greater, or the first; a place of -1 is padding."""
    (best, place), (part, there) = one, other
    first_nan = (part != part) & (best == best)
    better = (there >= 0) & ((place < 0) | (part > best) | first_nan)
    return xp.where(better, part, best), xp.where(better, there, place)


@op("MaxPool", facts=Facts(signed_zero="passed"))
def max_pool(
    xp: Xp,
    x: Array,
    *,
    kernel_shape: Ints,
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    dilations: Ints | None = None,
    pads: Ints | None = None,
    storage_order: int = 0,
    strides: Ints | None = None,
    outputs: int = 1,
) -> Array:
    """The greatest element that each window sees of x (N, C, D1, ...); NaN if it sees one.

    With two outputs, also its index in all of x, whose spatial axes are counted in Fortran order
    if `storage_order` is 1. Windows in nothing but padding give the least element.
    """
    win = window(kernel_shape, strides, pads, dilations, auto_pad, ceil_mode)
    least = xp.iinfo(x.dtype).min if x.dtype.kind in "iu" else -xp.inf
    room, counts = padded(xp, x, win, least)
    most = greatest(xp, room, win, counts)
    if outputs == 1:
        return most
    places, _ = padded(xp, positions(xp, x.shape, by_column=storage_order != 0), win, -1)
    found = combined(partial(first_greatest, xp), (room, places), win, counts)
    return most, found[1]  # which zero is the greatest does not depend on who asks for places


@max_pool.infer
def _(
    x: Node,
    *,
    kernel_shape: Ints,
    auto_pad: str,
    ceil_mode: int,
    dilations: Ints | None,
    pads: Ints | None,
    storage_order: int,
    strides: Ints | None,
    outputs: int,
) -> Type | tuple[Type, ...]:
    dtype = same_dtype(x, among=MAXIMA)
    made = tensor(dtype, pooled(x, kernel_shape, strides, pads, dilations, auto_pad, ceil_mode))
    return made if outputs == 1 else (made, made.with_dtype(DType.INT64))


@max_pool.bounds
def _(node: Node, x: ValueFacts) -> ValueFacts | tuple[ValueFacts, ...]:
    sees = never_blind(node)
    least = top_of(node.inputs[0].dtype).low
    made = x if sees else x.union(within(least, least, whole=True))
    places = COUNTS if sees else within(-1, COUNTS.high, whole=True)
    return made if attribute(node, "outputs") == 1 else (made, places)


@max_pool.examples
def _() -> list[Node]:
    x, n, h = given("x", 2, 3, 7, 6), dims.symbol("N"), dims.symbol("H")
    batch = graph_input("x", TensorType(DType.FLOAT32, (n, 3, h, 6)))
    small = given("x", 1, 2, 5, 5, dtype=DType.UINT8)
    return [
        max_pool(x, kernel_shape=(3, 2)),
        max_pool(x, kernel_shape=(3, 3), strides=(2, 2), pads=(1, 1, 1, 1)),
        max_pool(x, kernel_shape=(2, 2), strides=(2, 3), ceil_mode=1, outputs=2),
        max_pool(x, kernel_shape=(2, 2), pads=(1, 1, 1, 1), storage_order=1, outputs=2),
        max_pool(x, kernel_shape=(2, 2), dilations=(2, 3)),
        max_pool(x, kernel_shape=(3, 3), strides=(2, 2), auto_pad="SAME_LOWER"),
        max_pool(batch, kernel_shape=(1, 2), strides=(2, 1), ceil_mode=1),
        max_pool(small, kernel_shape=(3, 3), auto_pad="SAME_UPPER"),
        max_pool(given("x", 1, 2, 6, dtype=DType.FLOAT16), kernel_shape=(2,)),
        max_pool(given("x", 1, 1, 3, 4, 3), kernel_shape=(2, 2, 2), outputs=2),
    ]


def covered(xp: Xp, win: Window, axis: int, size: int, *, padding: bool) -> Array:
    """How many taps of each window on an axis see the input, or what pads it too."""
    begin, end = win.padding(axis, size)
    starts = xp.arange(concrete(win.count(axis, size))) * win.strides[axis] - begin
    at = starts[:, None] + xp.arange(concrete(win.kernel[axis])) * win.dilations[axis]
    low, high = (-begin, size + end) if padding else (0, size)
    return xp.sum((at >= low) & (at < high), axis=1)


@op("AveragePool", facts=Facts(signed_zero="passed"))
def average_pool(
    xp: Xp,
    x: Array,
    *,
    kernel_shape: Ints,
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    count_include_pad: int = 0,
    dilations: Ints | None = None,
    pads: Ints | None = None,
    strides: Ints | None = None,
) -> Array:
    """The mean of what each window sees of x (N, C, D1, ...).

    Padding counts as zeros or not at all; what `ceil_mode` lets a window see behind it never does.
    """
    win = window(kernel_shape, strides, pads, dilations, auto_pad, ceil_mode)
    (high,) = wide(xp, x)
    room, counts = padded(xp, high, win, 0)
    number = xp.ones((), xp.int64)
    for axis, size in enumerate(x.shape[2:]):
        seen = covered(xp, win, axis, size, padding=count_include_pad != 0)
        number = number[..., None] * seen
    total = summed(xp, room, win, counts)
    return xp.asarray(total / xp.asarray(number, total.dtype), x.dtype)


@average_pool.infer
def _(
    x: Node,
    *,
    kernel_shape: Ints,
    auto_pad: str,
    ceil_mode: int,
    count_include_pad: int,
    dilations: Ints | None,
    pads: Ints | None,
    strides: Ints | None,
) -> Type:
    shape = pooled(x, kernel_shape, strides, pads, dilations, auto_pad, ceil_mode)
    return tensor(float_dtype(x), shape)


@average_pool.bounds
def _(node: Node, x: ValueFacts) -> ValueFacts:
    count = prod(attribute(node, "kernel_shape"))
    seen = x.union(NOTHING) if attribute(node, "count_include_pad") else x
    return with_nan(mean_of(node.dtype, seen, 1, count), not never_blind(node))


@average_pool.examples
def _() -> list[Node]:
    x, n, w = given("x", 2, 3, 7, 6), dims.symbol("N"), dims.symbol("W")
    batch = graph_input("x", TensorType(DType.FLOAT32, (n, 3, 5, w)))
    return [
        average_pool(x, kernel_shape=(3, 2)),
        average_pool(x, kernel_shape=(3, 3), strides=(2, 2), pads=(1, 1, 1, 1)),
        average_pool(x, kernel_shape=(3, 3), pads=(1, 2, 0, 1), count_include_pad=1),
        average_pool(x, kernel_shape=(2, 2), strides=(2, 3), ceil_mode=1),
        average_pool(x, kernel_shape=(3, 3), strides=(2, 2), auto_pad="SAME_UPPER"),
        average_pool(x, kernel_shape=(2, 2), dilations=(2, 3)),
        average_pool(batch, kernel_shape=(2, 1), auto_pad="VALID"),
        average_pool(given("x", 1, 2, 6, dtype=DType.BFLOAT16), kernel_shape=(2,)),
    ]


@op("LpPool", facts=Facts(signed_zero="passed"))
def lp_pool(
    xp: Xp,
    x: Array,
    *,
    kernel_shape: Ints,
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    dilations: Ints | None = None,
    p: int = 2,
    pads: Ints | None = None,
    strides: Ints | None = None,
) -> Array:
    """The p-norm of what each window sees of x (N, C, D1, ...); padding is 0."""
    win = window(kernel_shape, strides, pads, dilations, auto_pad, ceil_mode)
    room, counts = padded(xp, wide(xp, x)[0], win, 0)
    total = summed(xp, room * room if p == 2 else xp.abs(room) ** p, win, counts)
    return xp.asarray(xp.sqrt(total) if p == 2 else total ** (1 / p), x.dtype)


@lp_pool.infer
def _(
    x: Node,
    *,
    kernel_shape: Ints,
    auto_pad: str,
    ceil_mode: int,
    dilations: Ints | None,
    p: int,
    pads: Ints | None,
    strides: Ints | None,
) -> Type:
    if p < 1:
        raise refuse(f"p is {p}")
    shape = pooled(x, kernel_shape, strides, pads, dilations, auto_pad, ceil_mode)
    return tensor(float_dtype(x), shape)


@lp_pool.bounds
def _(node: Node, x: ValueFacts) -> ValueFacts:
    return within(0, inf, nan=x.may_be_nan)


@lp_pool.examples
def _() -> list[Node]:
    x = given("x", 2, 3, 7, 6)
    return [
        lp_pool(x, kernel_shape=(3, 2), p=3),
        lp_pool(x, kernel_shape=(3, 3), strides=(2, 2), pads=(1, 1, 1, 1)),
        lp_pool(x, kernel_shape=(2, 2), strides=(2, 3), p=1, auto_pad="SAME_LOWER"),
        lp_pool(given("x", 1, 2, 6, dtype=DType.FLOAT64), kernel_shape=(2,), dilations=(3,)),
    ]
