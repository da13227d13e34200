"""Convolution.

It is a product of matrices: the filters, and the windows' contents gathered as columns.
Half-precision inputs are computed in float32 and rounded once.
"""

from __future__ import annotations

from math import prod
from typing import Any

from graphopt.dims import Size
from graphopt.ir import Node
from graphopt.op import Array, Facts, Ints, Xp, op, refuse
from graphopt.ops.checks import (
    check_rank,
    check_rank_from,
    check_size,
    float_dtype,
    one_size,
    size_at,
)
from graphopt.ops.common import tensor
from graphopt.ops.examples import given
from graphopt.ops.kernels import wide
from graphopt.ops.window import Window, columns, padded, refusing, window
from graphopt.types import DType, Type

BLOCK = 1 << 22
"""How many elements of columns are gathered at a time."""

Sizes = tuple[Size | None, ...]


def convolve(xp: Xp, x: Array, w: Array, win: Window, group: int) -> Array:
    """The convolution of x (N, C, ...) with filters w (M, C / group, ...), both of one dtype."""
    x, counts = padded(xp, x, win, 0)
    n, m = x.shape[0], w.shape[0]
    count = prod(w.shape[1:])
    filters = w.reshape(group, m // group, count)
    rows = counts[0]
    step = rows if prod(w.shape[2:]) == 1 else BLOCK // max(n * group * count * prod(counts[1:]), 1)
    parts: list[Array] = []
    for row in range(0, max(rows, 1), max(step, 1)):
        taken = (min(max(step, 1), rows - row), *counts[1:])
        block = columns(xp, x[:, :, row * win.strides[0] :], win, taken, group)
        parts.append(xp.matmul(filters, block).reshape(n, m, *taken))
    return parts[0] if len(parts) == 1 else xp.concatenate(parts, axis=2)


def add_bias(y: Array, bias: Array | None) -> Array:
    """y (N, M, ...) with one element of the bias added to each channel."""
    if bias is None:
        return y
    check_size("the number of filters", y.shape[1], *bias.shape)
    return y + bias.reshape((-1,) + (1,) * (y.ndim - 2))


def kernel_of(x: Array, w: Array, kernel_shape: Ints | None) -> Ints:
    """The filters' spatial sizes; raises ValueError when x or the attribute says otherwise."""
    check_size("the rank", x.ndim, w.ndim)
    kernel: Ints = w.shape[2:]
    if kernel_shape and kernel_shape != kernel:
        raise ValueError(f"kernel_shape is {kernel_shape} for filters of {kernel}")
    return kernel


def kernel_sizes(x: Node, w: Node, kernel_shape: Ints | None) -> Sizes | None:
    """The filters' spatial sizes as far as they are known, None if not even their number is.

    Raises TypeRuleError when x, w and the attribute disagree.
    """
    check_rank_from(x, 3)
    check_rank_from(w, 3)
    stated = len(kernel_shape) + 2 if kernel_shape else None
    rank = one_size("the rank", x.rank, w.rank, stated)
    if not isinstance(rank, int):
        return None
    sizes: Sizes = kernel_shape or (None,) * (rank - 2)
    if w.shape is None:
        return sizes
    return tuple(one_size("the kernel", a, b) for a, b in zip(sizes, w.shape[2:], strict=True))


def all_known(sizes: Sizes) -> tuple[Size, ...] | None:
    """The sizes if each is known."""
    known = tuple(size for size in sizes if size is not None)
    return known if len(known) == len(sizes) else None


def conv_shape(
    x: Node,
    w: Node,
    bias: Node | None = None,
    *,
    group: int,
    kernel_shape: Ints | None,
    strides: Ints | None,
    pads: Ints | None,
    dilations: Ints | None,
    auto_pad: str,
) -> Sizes | None:
    """The shape of a convolution; refuses inputs that do not fit together."""
    check_rank(bias, (1,), "the bias")
    if group < 1:
        raise refuse(f"group is {group}")
    kernel = kernel_sizes(x, w, kernel_shape)
    channels = size_at(w, 1)
    one_size(
        "the number of channels", size_at(x, 1), None if channels is None else channels * group
    )
    filters = one_size("the number of filters", size_at(w, 0), size_at(bias, 0))
    if isinstance(filters, int) and filters % group:
        raise refuse(f"{filters} filters do not make {group} groups")
    if kernel is None:
        return None
    counts: Sizes = (None,) * len(kernel)
    if (known := all_known(kernel)) is not None:
        with refusing():
            win = window(known, strides, pads, dilations, auto_pad)
            if x.shape is not None:
                counts = win.counts(x.shape[2:])
    return (size_at(x, 0), filters, *counts)


@op("Conv", facts=Facts(signed_zero="passed"))
def conv(
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
    """Convolve x (N, C, D1, ...) with filters w (M, C / group, k1, ...): (N, M, counts).

    The filters are not flipped. Each group of filters sees its own group of channels.
    """
    dtype = x.dtype
    x, w, bias = wide(xp, x, w, bias)
    win = window(kernel_of(x, w, kernel_shape), strides, pads, dilations, auto_pad)
    return xp.asarray(add_bias(convolve(xp, x, w, win, group), bias), dtype)


@conv.infer
def _(x: Node, w: Node, bias: Node | None, **geometry: Any) -> Type:
    return tensor(float_dtype(x, w, bias), conv_shape(x, w, bias, **geometry))


@conv.examples
def _() -> list[Node]:
    x, w = given("x", 2, 4, 7, 6), given("w", 6, 4, 3, 2)
    batch = given("x", "N", 4, "H", 6)
    half = [
        given(name, *s, dtype=DType.FLOAT16) for name, s in (("x", (1, 2, 5)), ("w", (3, 2, 2)))
    ]
    return [
        conv(x, w),
        conv(x, w, given("b", 6), pads=(1, 0, 2, 1), strides=(2, 1), dilations=(1, 2)),
        conv(x, given("w", 6, 2, 3, 3), group=2, auto_pad="SAME_UPPER", strides=(2, 2)),
        conv(x, given("w", 8, 1, 2, 3), group=4, auto_pad="VALID", kernel_shape=(2, 3)),
        conv(batch, given("w", 3, 4, 1, 1), strides=(2, 1)),
        conv(batch, w, pads=(1, 1, 1, 1)),
        conv(*half, pads=(1, 1)),
        conv(given("x", 1, 2, 4, 3, 5), given("w", 2, 2, 2, 1, 3), auto_pad="SAME_LOWER"),
        conv(given("x", 0, 4, 7, 6), w),
    ]
