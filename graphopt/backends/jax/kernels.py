"""The ops whose kernel XLA would run badly, or need less for, and their kernels here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import reduce
from math import prod
from typing import Any

from graphopt.backends.jax.library import jnp, lax
from graphopt.ir import Node
from graphopt.ops import linalg
from graphopt.ops.channels_last import depthwise
from graphopt.ops.conv import add_bias, convolve, kernel_of
from graphopt.ops.kernels import single, wide
from graphopt.ops.mathematics import HERE
from graphopt.ops.window import Window, padded, reached, taps, window

Array = Any
Ints = tuple[int, ...]

MAX_TAPS = 64
"""Of at most this many taps, a depthwise convolution is written as a sum, which XLA fuses."""
MAX_SPLIT = 8
"""At most this many groups of filters become convolutions of their own."""


def conv(
    xp: Any,
    x: Array,
    w: Array,
    bias: Array | None = None,
    *,
    auto_pad: str,
    dilations: Ints | None,
    group: int,
    kernel_shape: Ints | None,
    pads: Ints | None,
    strides: Ints | None,
) -> Array:
    """Conv without gathered columns.

    As XLA's own convolution, but for a product (one tap), a sum of taps (depthwise) and a few
    groups of filters, which that is slow at: measured on CPUs, up to 6, 27 and 4 times.
    """
    dtype = x.dtype
    x, w, bias = wide(xp, x, w, bias)
    win = window(kernel_of(x, w, kernel_shape), strides, pads, dilations, auto_pad)
    if prod(w.shape[2:]) == 1:
        made = convolve(xp, x, w, win, group)
    elif _is_sum(w.shape, group):
        made = _depthwise(xp, x, w, win)
    elif 1 < group <= MAX_SPLIT:
        parts = zip(jnp.split(x, group, 1), jnp.split(w, group, 0), strict=True)
        made = jnp.concatenate([_plain(part, filters, win) for part, filters in parts], 1)
    else:
        made = _plain(x, w, win, group)
    return xp.asarray(add_bias(made, bias), dtype)


def _is_sum(filters: Ints, group: int) -> bool:
    """Whether a convolution with filters of this shape is written as a sum of taps."""
    return filters[1] == 1 and group > 1 and prod(filters[2:]) <= MAX_TAPS


def storage(node: Node, position: int, shape: Ints) -> Ints:
    """The order of axes in which a constant operand of a node, of some shape, is best stored.

    XLA's convolutions on CPUs want filters (k1, ..., C / group, M), which it would make of ours on
    every call, by code that takes as long to compile as all else.
    """
    own = tuple(range(len(shape)))
    if node.op.name not in ("Conv", "ConvLast") or position != 1 or len(shape) < 3:
        return own
    if node.op.name == "ConvLast":
        return (2, 3, 1, 0)
    if prod(shape[2:]) == 1:
        return own
    return own if _is_sum(shape, node.attrs.get("group", 1)) else (*own[2:], 1, 0)


def _plain(x: Array, w: Array, win: Window, group: int = 1) -> Array:
    return lax.conv_general_dilated(
        x,
        w,
        win.strides,
        reached(win, x.shape[2:])[1],
        rhs_dilation=win.dilations,
        feature_group_count=group,
    )


def _depthwise(xp: Any, x: Array, w: Array, win: Window) -> Array:
    """A convolution in which every group of filters sees one channel."""
    room, counts = padded(xp, x, win, 0)
    n, channels = x.shape[:2]
    filters = w.reshape(channels, w.shape[0] // channels, -1)
    behind = (1,) * len(counts)
    terms = (
        part[:, :, None] * filters[:, :, k].reshape(filters.shape[:2] + behind)
        for k, part in enumerate(taps(room, win, counts))
    )
    return reduce(jnp.add, terms).reshape(n, w.shape[0], *counts)


def conv_last(
    xp: Any,
    x: Array,
    w: Array,
    bias: Array | None = None,
    *,
    auto_pad: str,
    dilations: Ints | None,
    group: int,
    kernel_shape: Ints | None,
    pads: Ints | None,
    strides: Ints | None,
) -> Array:
    """ConvLast, as `conv`; XLA on CPUs has no other form of convolution itself."""
    dtype = x.dtype
    x, w, bias = wide(xp, x, w, bias)
    win = window(kernel_of(x, w, kernel_shape), strides, pads, dilations, auto_pad)
    if _is_sum(w.shape, group):
        room, counts = padded(xp, x, win, 0, first=1)
        made = depthwise(xp, taps(room, win, counts, first=1), w)
    elif 1 < group <= MAX_SPLIT:
        parts = zip(jnp.split(x, group, 3), jnp.split(w, group, 0), strict=True)
        made = jnp.concatenate([_plain_last(part, filters, win) for part, filters in parts], 3)
    else:
        made = _plain_last(x, w, win, group)
    return xp.asarray(made if bias is None else made + bias, dtype)


def _plain_last(x: Array, w: Array, win: Window, group: int = 1) -> Array:
    filters = lax.transpose(w, (2, 3, 1, 0))
    if (
        filters.shape[:2] == (1, 1)
        and group == 1
        and not any(map(any, reached(win, x.shape[1:3])[1]))
    ):
        rows, columns = win.strides
        return jnp.matmul(x[:, ::rows, ::columns], filters[0, 0])
    return lax.conv_general_dilated(
        x,
        filters,
        win.strides,
        reached(win, x.shape[1:3])[1],
        rhs_dilation=win.dilations,
        feature_group_count=group,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )


def gemm(
    xp: Any, a: Array, b: Array, c: Array | None = None, *, transA: int, transB: int, **factors: Any
) -> Array:
    """Gemm; of one row and a transposed B, transposed: XLA would write B out, at up to 50 times."""
    kernel = linalg.gemm.kernel
    if not transB or a.shape[1 if transA else 0] != 1:
        return kernel(xp, a, b, c, transA=transA, transB=transB, **factors)
    if c is not None:
        c = xp.transpose(xp.broadcast_to(c, (1, b.shape[0])))
    return xp.transpose(kernel(xp, b, a, c, transA=0, transB=int(not transA), **factors))


def extreme(ufunc: str) -> Callable[..., Array]:
    """Max or Min: XLA's, unlike NumPy's, order -0 below 0 themselves."""

    def kernel(xp: Any, x: Array, *more: Array) -> Array:
        return xp.asarray(reduce(getattr(xp, ufunc), more, x), x.dtype)

    return kernel


def sigmoid(xp: Any, x: Array) -> Array:
    """Sigmoid: XLA's, which does not overflow."""
    return xp.asarray(lax.logistic(single(xp, x)), x.dtype)


def complex_of(xp: Any, x: Array, y: Array) -> Array:
    """ComplexOf; a view, which JAX makes of x + y * 1j, would be NaN where a part is infinite."""
    return lax.complex(*xp.broadcast_arrays(x, y))


KERNELS: Mapping[tuple[str, str], Callable[..., Any]] = {
    ("", "Conv"): conv,
    ("", "Gemm"): gemm,
    ("", "Max"): extreme("maximum"),
    ("", "Min"): extreme("minimum"),
    ("", "Sigmoid"): sigmoid,
    (HERE, "ComplexOf"): complex_of,
    (HERE, "ConvLast"): conv_last,
}
"""By domain and name of the op."""

STATIC: Mapping[tuple[str, str], Ints] = {
    ("", "Div"): (1,),
    ("", "Gather"): (1,),
    ("", "Mod"): (1,),
    ("", "RoiAlign"): (1, 2),
}
"""Inputs that stay on the host if they are known there and small, beside the ops' host inputs.

Divisors and indices are checked, regions may say how many samples there are.
"""
