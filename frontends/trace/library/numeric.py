"""Functions of lines of elements: differences, interpolation, convolution, polynomials."""

from __future__ import annotations

from math import pi
from typing import Any

import numpy as np

from graphopt.errors import UnsupportedError
from graphopt.frontends.trace.library import nodes
from graphopt.frontends.trace.library.joining import concatenate
from graphopt.frontends.trace.library.nodes import END, apply, normal, slice_axis, take_axis, where
from graphopt.frontends.trace.library.operands import (
    NO_VALUE,
    cast,
    is_weak,
    lift,
    rank_of,
    real_only,
    result_dtype,
    sizes_of,
    static,
    static_size,
    traced,
    untyped,
)
from graphopt.frontends.trace.library.products import arrays, matmul
from graphopt.frontends.trace.library.reductions import accumulate, reduce
from graphopt.frontends.trace.library.sorting import argsort, searchsorted
from graphopt.frontends.trace.library.ufuncs import value
from graphopt.ir import Node
from graphopt.ops.conv import conv
from graphopt.ops.padding import pad as pad_op


def diff(
    a: Any, n: int = 1, axis: int = -1, prepend: Any = NO_VALUE, append: Any = NO_VALUE
) -> Node:
    """numpy.diff."""
    if n < 0:
        raise ValueError(f"order must be non-negative but got {n!r}")
    x = lift(a)
    if n == 0:
        return x
    if rank_of(x) == 0:
        raise ValueError("diff requires input that is at least one dimensional")
    along = normal(axis, rank_of(x))
    parts = [_edge(x, part, along) for part in (prepend, x, append) if part is not NO_VALUE]
    x = concatenate(parts, along) if len(parts) > 1 else x
    name = "not_equal" if x.dtype.kind == "b" else "subtract"
    for _ in range(n):
        x = value(name, slice_axis(x, along, 1, END), slice_axis(x, along, 0, -1))
    return x


def _edge(x: Node, part: Any, axis: int) -> Node:
    """What stands before or behind x along an axis: a scalar is expanded."""
    made = lift(part)
    if rank_of(made):
        return made
    sizes: list[nodes.SizeLike] = list(sizes_of(x))
    sizes[axis] = 1
    return nodes.expand(made, sizes, (x,))


def ediff1d(ary: Any, to_end: Any = None, to_begin: Any = None) -> Node:
    """numpy.ediff1d."""
    x = nodes.flatten(lift(ary))
    parts = [diff(x)]
    if to_begin is not None:
        parts.insert(0, nodes.flatten(lift(to_begin)))
    if to_end is not None:
        parts.append(nodes.flatten(lift(to_end)))
    return nodes.concat([cast(part, x.dtype.numpy) for part in parts])


def trapezoid(y: Any, x: Any = None, dx: Any = 1.0, axis: int = -1) -> Node:
    """numpy.trapezoid."""
    heights = lift(y)
    along = normal(axis, rank_of(heights))
    width: Any = dx
    if x is not None:
        places = lift(x)
        if rank_of(places) == 1:
            others = [k for k in range(rank_of(heights)) if k != along]
            width = nodes.unsqueeze(diff(places), others)
        else:
            width = diff(places, axis=axis)
    both = value("add", slice_axis(heights, along, 1, END), slice_axis(heights, along, 0, -1))
    return reduce("add", value("divide", value("multiply", width, both), 2.0), along)


def gradient(f: Any, *varargs: Any, axis: Any = None, edge_order: int = 1) -> Any:
    """numpy.gradient, by steps or by coordinates along axes of known sizes."""
    x = lift(f)
    axes = nodes.normal_axes(axis, rank_of(x))
    steps = [1.0] * len(axes) if not varargs else list(varargs)
    steps = steps * len(axes) if len(steps) == 1 and _is_number(steps[0]) else steps
    if len(steps) != len(axes):
        raise TypeError("invalid number of arguments")
    if edge_order > 2:
        raise ValueError("'edge_order' greater than 2 not supported")
    x = cast(x, np.float64) if x.dtype.kind in "iu" else x
    made = [_gradient(x, k, _spacing(by), edge_order) for k, by in zip(axes, steps, strict=True)]
    return made[0] if len(made) == 1 else tuple(made)


def _is_number(step: Any) -> bool:
    return is_weak(step) or rank_of(lift(step)) == 0


def _spacing(step: Any) -> Any:
    """A step as a number, or the distances between coordinates: one number where all are equal."""
    if _is_number(step):
        return step
    if traced(step):
        return diff(lift(step))
    coordinates = np.asarray(step)
    if coordinates.dtype.kind in "iu":
        coordinates = coordinates.astype(np.float64)
    apart = np.diff(coordinates)
    return apart[0] if apart.size and (apart == apart[0]).all() else lift(apart)


def _gradient(x: Node, axis: int, step: Any, order: int) -> Node:
    """The derivative along one axis: central inside, one-sided at the ends."""
    size = static_size(sizes_of(x)[axis], "gradient()")
    if size < order + 1:
        raise ValueError("Shape of array too small to calculate a numerical gradient")

    def at(start: int, stop: int) -> Node:
        return slice_axis(x, axis, start, stop)

    def combined(*terms: tuple[Any, Node]) -> Node:
        products = [value("multiply", factor, term) for factor, term in terms]
        total = products[0]
        for term in products[1:]:
            total = value("add", total, term)
        return total

    varied = isinstance(step, Node) and rank_of(step) > 0
    gap: Any = None
    if varied:
        shape = [1] * rank_of(x)
        shape[axis] = -1
        gap = nodes.reshape(step, shape)
        before, behind = slice_axis(gap, axis, 0, -1), slice_axis(gap, axis, 1, END)
        inside = combined(*zip(_weights(before, behind), (at(0, -2), at(1, -1), at(2, END)),
                               strict=True))  # fmt: skip
        first, last = slice_axis(gap, axis, 0, 1), slice_axis(gap, axis, -1, END)
    else:
        double = value("multiply", 2.0, step) if isinstance(step, Node) else 2.0 * step
        inside = value("divide", value("subtract", at(2, END), at(0, -2)), double)
        first = last = step
    if order == 1:
        low = value("divide", value("subtract", at(1, 2), at(0, 1)), first)
        high = value("divide", value("subtract", at(-1, END), at(-2, -1)), last)
    else:
        begin = (first, slice_axis(gap, axis, 1, 2)) if varied else (step, step)
        end = (slice_axis(gap, axis, -2, -1), last) if varied else (step, step)
        low = combined(*zip(_one_sided(*begin), (at(0, 1), at(1, 2), at(2, 3)), strict=True))
        mirrored = _one_sided(*end[::-1])
        high = combined(*zip((value("negative", w) for w in mirrored[::-1]),
                             (at(-3, -2), at(-2, -1), at(-1, END)), strict=True))  # fmt: skip
    kind = x.dtype.numpy if x.dtype.kind == "f" else np.dtype(np.float64)
    return nodes.concat([cast(part, kind) for part in (low, inside, high)], axis)


def _weights(one: Any, other: Any) -> tuple[Node, Node, Node]:
    """What the elements before, at and behind a place count in its derivative."""
    both = value("add", one, other)
    before = value("divide", value("negative", other), value("multiply", one, both))
    here = value("divide", value("subtract", other, one), value("multiply", one, other))
    return before, here, value("divide", one, value("multiply", other, both))


def _one_sided(one: Any, other: Any) -> tuple[Node, Node, Node]:
    """What the first three elements count in the derivative at the first."""
    one, other = (item if isinstance(item, Node) else lift(float(item)) for item in (one, other))
    both = value("add", one, other)
    total = value("add", value("multiply", 2.0, one), other)
    here = value("negative", value("divide", total, value("multiply", one, both)))
    near = value("divide", both, value("multiply", one, other))
    return here, near, value("negative", value("divide", one, value("multiply", other, both)))


def interp(
    x: Any, xp: Any, fp: Any, left: Any = None, right: Any = None, period: Any = None
) -> Node:
    """numpy.interp of real values."""
    wanted = lift(x, np.float64)
    places, heights = lift(xp, np.float64), lift(fp, np.float64)
    if rank_of(places) != 1 or rank_of(heights) != 1:
        raise ValueError("Data points must be 1-D sequences")
    if period is not None:
        length = abs(static(period, "interp's period"))
        wanted, places = value("remainder", wanted, length), value("remainder", places, length)
        order = argsort(places)
        places, heights = take_axis(places, order, 0), take_axis(heights, order, 0)
        first, last = (slice_axis(places, 0, 0, 1), slice_axis(places, 0, -1, END))
        places = nodes.concat([value("subtract", last, length), places,
                               value("add", first, length)])  # fmt: skip
        heights = nodes.concat([slice_axis(heights, 0, -1, END), heights,
                                slice_axis(heights, 0, 0, 1)])  # fmt: skip
        left = right = None
    count = nodes.size_of(places)
    if count == 0:
        raise ValueError("array of sample points is empty")
    last_at = value("subtract", count, 1) if isinstance(count, Node) else count - 1
    at = value("subtract", searchsorted(places, wanted, "right"), 1)
    inside = value("clip", at, 0, last_at)
    following = value("minimum", value("add", inside, 1), last_at)
    x0, y0 = take_axis(places, inside, 0), take_axis(heights, inside, 0)
    x1, y1 = take_axis(places, following, 0), take_axis(heights, following, 0)
    slope = value("divide", value("subtract", y1, y0), value("subtract", x1, x0))
    made = value("add", value("multiply", slope, value("subtract", wanted, x0)), y0)
    other = value("add", value("multiply", slope, value("subtract", wanted, x1)), y1)
    made = where(value("isnan", made), where(value("equal", y0, y1), y0, other), made)
    made = where(value("equal", x0, wanted), y0, made)
    low = take_axis(heights, 0, 0) if left is None else lift(left, np.float64)
    high = take_axis(heights, -1, 0) if right is None else lift(right, np.float64)
    made = where(value("less", wanted, take_axis(places, 0, 0)), low, made)
    made = where(value("greater", wanted, take_axis(places, -1, 0)), high, made)
    return where(value("isnan", wanted), wanted, made) if count != 1 else made


def correlated(a: Node, v: Node, mode: str) -> Node:
    """The sums of products of v with the windows of a; v is not longer than a."""
    long, short = (
        static_size(sizes_of(a)[0], "convolve()"),
        static_size(sizes_of(v)[0], "convolve()"),
    )
    before = {"valid": 0, "same": short // 2, "full": short - 1}[mode]
    behind = {"valid": 0, "same": short - short // 2 - 1, "full": short - 1}[mode]
    if a.dtype.kind == "f":
        signal, window = nodes.unsqueeze(a, [0, 1]), nodes.unsqueeze(v, [0, 1])
        return nodes.squeeze(apply(conv, signal, window, pads=(before, behind)), [0, 1])
    padded = nodes.concat([nodes.full([before], 0, a.dtype.numpy), a,
                           nodes.full([behind], 0, a.dtype.numpy)])  # fmt: skip
    count = long + before + behind - short + 1
    windows = take_axis(padded, lift(np.arange(count)[:, None] + np.arange(short)), 0)
    return matmul(windows, v)


def _pair(a: Any, v: Any) -> tuple[Node, Node, bool]:
    """Two vectors in one dtype, the longer first, and whether they were swapped."""
    one, other = (nodes.unsqueeze(x, [] if rank_of(x) else [0]) for x in arrays(a, v))
    if rank_of(one) != 1 or rank_of(other) != 1:
        raise ValueError("object too deep for desired array")
    sizes = [static_size(sizes_of(x)[0], "convolve()") for x in (one, other)]
    if 0 in sizes:
        raise ValueError("an array cannot be empty")
    return (one, other, False) if sizes[0] >= sizes[1] else (other, one, True)


def convolve(a: Any, v: Any, mode: str = "full") -> Node:
    """numpy.convolve, of vectors of known sizes."""
    one, other, _ = _pair(a, v)
    return correlated(one, nodes.flip_axes(other, [0]), mode)


def correlate(a: Any, v: Any, mode: str = "valid") -> Node:
    """numpy.correlate, of vectors of known sizes."""
    one, other, swapped = _pair(a, v)
    real_only("correlate", one)
    made = correlated(one, other, mode)
    return nodes.flip_axes(made, [0]) if swapped else made


def polyval(p: Any, x: Any) -> Node:
    """numpy.polyval, by Horner's scheme, of a known number of coefficients."""
    coefficients = lift(p)
    count = static_size(sizes_of(coefficients)[0], "polyval()")
    at = lift(x)
    made = nodes.full_like(at, 0)
    for k in range(count):
        made = value("add", value("multiply", made, at), take_axis(coefficients, k, 0))
    return made


def unwrap(p: Any, discont: Any = None, axis: int = -1, *, period: Any = 2 * pi) -> Node:
    """numpy.unwrap, of a known period."""
    x = lift(p)
    along = normal(axis, rank_of(x))
    apart = diff(x, axis=along)
    length = static(period, "unwrap's period")
    jump = length / 2 if discont is None else static(discont, "unwrap's discont")
    dtype = result_dtype(apart, length)
    high, exact = (length / 2, True) if dtype.kind == "f" else (length // 2, length % 2 == 0)
    shifted = value("remainder", value("subtract", apart, -high), length)
    wrapped = value("add", shifted, -high)
    if exact:
        up = value("logical_and", value("equal", wrapped, -high), value("greater", apart, 0))
        wrapped = where(up, nodes.scalar(high, wrapped), wrapped)
    change = value("subtract", wrapped, apart)
    change = where(value("less", value("absolute", apart), jump), 0, change)
    moved = value("add", slice_axis(x, along, 1, END), accumulate("add", change, along))
    return nodes.concat([cast(slice_axis(x, along, 0, 1), dtype), cast(moved, dtype)], along)


def pad(array: Any, pad_width: Any, mode: str = "constant", **kwargs: Any) -> Node:
    """numpy.pad by the modes constant, edge, reflect, symmetric and wrap, of known widths."""
    x = lift(array)
    rank = rank_of(x)
    width: Any = static(pad_width, "pad's width")
    if hasattr(pad_width, "items"):
        width = [pad_width.get(axis, pad_width.get(axis - rank, 0)) for axis in range(rank)]
        width = [np.broadcast_to(item, 2) for item in width]
    widths = np.broadcast_to(np.asarray(width), (rank, 2)).astype(int)
    if (widths < 0).any():
        raise ValueError("index can't contain negative values")
    if mode == "empty":
        mode = "constant"
    if mode == "constant":
        return _padded(x, widths, kwargs.get("constant_values", 0))
    if mode not in ("edge", "reflect", "symmetric", "wrap"):
        raise UnsupportedError(f"pad(mode={mode!r}) is not supported")
    for axis, (before, behind) in enumerate(widths.tolist()):
        if before or behind:
            size = static_size(sizes_of(x)[axis], f"pad(mode={mode!r})")
            order = untyped.pad(np.arange(size), (before, behind), mode, **kwargs)
            x = take_axis(x, lift(order), axis)
    return x


def _padded(x: Node, widths: Any, values: Any) -> Node:
    """x with constants around it: one, or others for each side of each axis."""
    if not widths.any():
        return x
    if traced(values) or np.ndim(values) == 0:
        around = nodes.ints(widths.T.reshape(-1).tolist())
        return apply(pad_op, x, around, lift(values, x.dtype.numpy))
    fills = np.broadcast_to(np.asarray(values), widths.shape)
    for axis in range(widths.shape[0]):
        for side in (0, 1):
            one = np.zeros_like(widths)
            one[axis, side] = widths[axis, side]
            x = _padded(x, one, fills[axis, side].item())
    return x
