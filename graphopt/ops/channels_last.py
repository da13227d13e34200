"""Convolution and pooling of images whose channels are the last axis: x (N, H, W, C).

ONNX has them channels first only. The filters and the attributes are those of ONNX's operators.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import Any

from graphopt.ir import Node
from graphopt.op import Array, Facts, Ints, Op, Xp, op
from graphopt.ops.checks import check_rank, check_size
from graphopt.ops.common import tensor
from graphopt.ops.conv import BLOCK, conv, kernel_of
from graphopt.ops.conv_transpose import conv_transpose, crop, transposed
from graphopt.ops.examples import given
from graphopt.ops.kernels import wide
from graphopt.ops.movement import transpose
from graphopt.ops.pool import average_pool, covered, greatest, max_pool, summed
from graphopt.ops.window import Window, padded, taps, window
from graphopt.ranges import ValueFacts
from graphopt.types import DType, TensorType, Type

TO_LAST = (0, 2, 3, 1)
"""What makes channels that are first the last axis."""
TO_FIRST = (0, 3, 1, 2)
Gather = Callable[[Xp, Array, Window, Ints], Array]


def gathered(xp: Xp, x: Array, win: Window, counts: Ints) -> Array:
    """What the windows over a padded x see: (N, *counts, taps, C), or without the taps of one."""
    found = taps(x, win, counts, first=1)
    return found[0] if len(found) == 1 else xp.stack(found, axis=3)


def convolve_last(
    xp: Xp, x: Array, w: Array, win: Window, group: int, gather: Gather = gathered
) -> Array:
    """The convolution of x (N, H, W, C) with filters w (M, C / group, h, w), both of one dtype."""
    x, (rows, width) = padded(xp, x, win, 0, first=1)
    if w.shape[1] == 1 and group > 1:
        return depthwise(xp, taps(x, win, (rows, width), first=1), w, along=width)
    n, channels = x.shape[0], x.shape[3]
    m, inner, high, wide_ = w.shape
    count = high * wide_
    filters = w.reshape(group, m // group, inner, count).transpose(0, 3, 2, 1)
    filters = filters.reshape(group, count * inner, m // group)
    step = rows if count == 1 else max(BLOCK // max(n * channels * count * width, 1), 1)
    parts: list[Array] = []
    for row in range(0, max(rows, 1), max(step, 1)):
        taken = (min(step, rows - row), width)
        block = gather(xp, x[:, row * win.strides[0] :], win, taken)
        made = _product(xp, block.reshape(-1, count, group, inner), filters)
        parts.append(made.reshape(n, *taken, m))
    return parts[0] if len(parts) == 1 else xp.concatenate(parts, axis=1)


def _product(xp: Xp, block: Array, filters: Array) -> Array:
    """Windows (number, taps, group, C / group) times the filters of each group: (number, M)."""
    number, count, group, inner = block.shape
    if group == 1:
        return xp.matmul(block.reshape(number, count * inner), filters[0])
    block = xp.transpose(block, (2, 0, 1, 3)).reshape(group, number, count * inner)
    return xp.transpose(xp.matmul(block, filters), (1, 0, 2)).reshape(number, -1)


def depthwise(xp: Xp, parts: list[Array], w: Array, along: int = 1) -> Array:
    """A convolution in which every group of filters sees one channel, as a sum over the taps.

    The factors are repeated `along` a row: what is not broadcast NumPy multiplies in longer runs.
    """
    n, rows, width, channels = parts[0].shape
    each = w.shape[0] // channels
    filters = w.transpose(2, 3, 0, 1).reshape(len(parts), channels, each)
    if each > 1:
        terms = (part[..., None] * f for part, f in zip(parts, filters, strict=True))
        return reduce(xp.add, terms).reshape(n, rows, width, w.shape[0])
    factors = (repeated(xp, f[:, 0], along) for f in filters)
    return reduce(xp.add, (part * f for part, f in zip(parts, factors, strict=True)))


def repeated(xp: Xp, vector: Array, along: int) -> Array:
    """A vector along the last axis, so many times if that is not once: (along, C)."""
    return vector if along == 1 else xp.ones((along, 1), vector.dtype) * vector


def add_bias_last(xp: Xp, y: Array, bias: Array | None) -> Array:
    """y (N, H, W, M) with one element of the bias added to each channel."""
    if bias is None:
        return y
    check_size("the number of filters", y.shape[3], *bias.shape)
    return y + repeated(xp, bias, y.shape[2])


@op("ConvLast", domain="graphopt", facts=Facts(signed_zero="passed"))
def conv_last(
    xp: Xp,
    x: Array,
    w: Array,
    bias: Array | None = None,
    *,
    auto_pad: str = "NOTSET",
    dilations: Ints | None = None,
    group: int = 1,
    kernel_shape: Ints | None = None,
    pads: Ints | None = None,
    strides: Ints | None = None,
) -> Array:
    """Convolve x (N, H, W, C) with filters w (M, C / group, h, w): (N, rows, columns, M)."""
    dtype = x.dtype
    x, w, bias = wide(xp, x, w, bias)
    check_size("the number of channels", x.shape[3], w.shape[1] * group)
    win = window(kernel_of(x, w, kernel_shape), strides, pads, dilations, auto_pad)
    made = convolve_last(xp, x, w, win, group)
    return xp.asarray(add_bias_last(xp, made, bias), dtype)


@op("ConvTransposeLast", domain="graphopt", facts=Facts(signed_zero="passed"))
def conv_transpose_last(
    xp: Xp,
    x: Array,
    w: Array,
    bias: Array | None = None,
    *,
    auto_pad: str = "NOTSET",
    dilations: Ints | None = None,
    group: int = 1,
    kernel_shape: Ints | None = None,
    output_padding: Ints | None = None,
    output_shape: Ints | None = None,
    pads: Ints | None = None,
    strides: Ints | None = None,
) -> Array:
    """The transpose of a convolution of x (N, H, W, C) with filters w (C, M / group, h, w)."""
    dtype = x.dtype
    x, w, bias = wide(xp, x, w, bias)
    win = window(kernel_of(x, w, kernel_shape), strides, pads, dilations, auto_pad)
    extents = transposed(win, x.shape[1:3], output_padding, output_shape)
    n, rows, columns, c = x.shape
    check_size("the number of channels", c, w.shape[0])
    each, high, wide_ = w.shape[1:]
    filters = w.reshape(group, c // group, each, high * wide_).swapaxes(2, 3)
    filters = filters.reshape(group, c // group, high * wide_ * each)
    maps = xp.swapaxes(x.reshape(n * rows * columns, group, c // group), 0, 1)
    blocks = xp.matmul(maps, filters).reshape(group, n, rows, columns, high, wide_, each)
    blocks = xp.transpose(blocks, (1, 4, 5, 2, 3, 0, 6))
    blocks = blocks.reshape(n, high, wide_, rows, columns, group * each)
    return xp.asarray(add_bias_last(xp, crop(xp, blocks, win, extents, first=1), bias), dtype)


@op("MaxPoolLast", domain="graphopt", facts=Facts(signed_zero="passed"))
def max_pool_last(
    xp: Xp,
    x: Array,
    *,
    kernel_shape: Ints,
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    dilations: Ints | None = None,
    pads: Ints | None = None,
    strides: Ints | None = None,
) -> Array:
    """The greatest element that each window sees of x (N, H, W, C); NaN if it sees one."""
    win = window(kernel_shape, strides, pads, dilations, auto_pad, ceil_mode)
    least = xp.iinfo(x.dtype).min if x.dtype.kind in "iu" else -xp.inf
    room, counts = padded(xp, x, win, least, first=1)
    return greatest(xp, room, win, counts, first=1)


@op("AveragePoolLast", domain="graphopt", facts=Facts(signed_zero="passed"))
def average_pool_last(
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
    """The mean of what each window sees of x (N, H, W, C), as AveragePool's."""
    win = window(kernel_shape, strides, pads, dilations, auto_pad, ceil_mode)
    (high,) = wide(xp, x)
    room, counts = padded(xp, high, win, 0, first=1)
    rows, columns = (
        covered(xp, win, axis, size, padding=count_include_pad != 0)
        for axis, size in enumerate(x.shape[1:3])
    )
    total = summed(xp, room, win, counts, first=1)
    number = xp.asarray(rows[:, None, None] * columns[:, None], total.dtype)
    return xp.asarray(total / number, x.dtype)


def first_of(x: Node) -> Node:
    """x with its channels first; refuses what has not four axes."""
    check_rank(x, (4,), "the input")
    made: Node = transpose(x, perm=TO_FIRST)
    return made


def type_as(made: Op) -> Callable[..., Type]:
    """The type rule of an op channels last: that of the op channels first, axes permuted."""

    def rule(x: Node, *more: Node | None, **attrs: Any) -> Type:
        kind: Type = made(first_of(x), *more, **attrs).derived_type
        assert isinstance(kind, TensorType)
        if kind.shape is None:
            return tensor(kind.dtype, (None,) * 4)
        return tensor(kind.dtype, tuple(kind.shape[axis] for axis in TO_LAST))

    return rule


conv_last.infer(type_as(conv))
conv_transpose_last.infer(type_as(conv_transpose))
max_pool_last.infer(type_as(max_pool))
average_pool_last.infer(type_as(average_pool))


def _bounds_as(made: Op) -> Callable[[Node, ValueFacts], Any]:
    """What is proven of an op channels last: the same as channels first."""

    def rule(node: Node, x: ValueFacts) -> Any:
        told: Any = made.bounds_rule
        return told(made(first_of(node.inputs[0]), **node.attrs), x)

    return rule


max_pool_last.bounds(_bounds_as(max_pool))
average_pool_last.bounds(_bounds_as(average_pool))


@conv_last.examples
def _() -> list[Node]:
    x, w = given("x", 2, 7, 6, 4), given("w", 6, 4, 3, 2)
    batch = given("x", "N", "H", 6, 4)
    half = [
        given(name, *s, dtype=DType.FLOAT16)
        for name, s in (("x", (1, 5, 4, 2)), ("w", (3, 2, 2, 1)))
    ]
    return [
        conv_last(x, w),
        conv_last(x, w, given("b", 6), pads=(1, 0, 2, 1), strides=(2, 1), dilations=(1, 2)),
        conv_last(x, given("w", 6, 2, 3, 3), group=2, auto_pad="SAME_UPPER", strides=(2, 2)),
        conv_last(x, given("w", 8, 1, 2, 3), group=4, auto_pad="VALID", kernel_shape=(2, 3)),
        conv_last(x, given("w", 4, 1, 3, 3), given("b", 4), group=4, pads=(1, 1, 1, 1)),
        conv_last(batch, given("w", 3, 4, 1, 1), strides=(2, 1)),
        conv_last(batch, w, pads=(1, 1, 1, 1)),
        conv_last(*half, pads=(1, 1, 0, 0)),
        conv_last(given("x", 0, 7, 6, 4), w),
    ]


@conv_transpose_last.examples
def _() -> list[Node]:
    x, w = given("x", 2, 3, 4, 4), given("w", 4, 3, 3, 2)
    batch = given("x", "N", "H", 4, 4)
    return [
        conv_transpose_last(x, w),
        conv_transpose_last(
            x, w, given("b", 3), strides=(2, 3), pads=(1, 0, 2, 1), dilations=(2, 1)
        ),
        conv_transpose_last(x, w, strides=(3, 2), output_shape=(10, 8), output_padding=(1, 1)),
        conv_transpose_last(batch, w, strides=(2, 2), auto_pad="SAME_LOWER", kernel_shape=(3, 2)),
        conv_transpose_last(batch, given("w", 4, 2, 2, 2), group=2, strides=(2, 2)),
    ]


@max_pool_last.examples
def _() -> list[Node]:
    x, batch = given("x", 2, 7, 6, 3), given("x", "N", "H", 6, 3)
    small = given("x", 1, 5, 5, 2, dtype=DType.UINT8)
    return [
        max_pool_last(x, kernel_shape=(3, 2)),
        max_pool_last(x, kernel_shape=(3, 3), strides=(2, 2), pads=(1, 1, 1, 1)),
        max_pool_last(x, kernel_shape=(2, 2), dilations=(2, 3)),
        max_pool_last(batch, kernel_shape=(1, 2), strides=(2, 1), ceil_mode=1),
        max_pool_last(small, kernel_shape=(3, 3), auto_pad="SAME_UPPER"),
    ]


@average_pool_last.examples
def _() -> list[Node]:
    x, batch = given("x", 2, 7, 6, 3), given("x", "N", 5, "W", 3)
    return [
        average_pool_last(x, kernel_shape=(3, 3), strides=(2, 2), pads=(1, 1, 1, 1)),
        average_pool_last(x, kernel_shape=(3, 3), pads=(1, 2, 0, 1), count_include_pad=1),
        average_pool_last(x, kernel_shape=(2, 2), strides=(2, 3), ceil_mode=1),
        average_pool_last(batch, kernel_shape=(2, 1), auto_pad="VALID"),
        average_pool_last(given("x", 1, 6, 2, 2, dtype=DType.BFLOAT16), kernel_shape=(2, 1)),
    ]
