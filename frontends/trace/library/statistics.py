"""Sums, extremes, means and what else puts all elements of some axes together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from graphopt.frontends.trace.library import nodes, reductions
from graphopt.frontends.trace.library.nodes import normal_axes
from graphopt.frontends.trace.library.operands import (
    NO_VALUE,
    cast,
    lift,
    rank_of,
    real_only,
    refuse,
    result_dtype,
    sizes_of,
)
from graphopt.frontends.trace.library.ufuncs import call, value
from graphopt.ir import Node
from graphopt.ops import reduction


def kept(keepdims: Any) -> bool:
    """Whether reduced axes stay with size 1."""
    return False if keepdims is NO_VALUE else bool(keepdims)


def mask_of(where: Any) -> Any:
    """A `where` argument; left out, True."""
    return True if where is NO_VALUE or where is True else where


def sum_(
    a: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: Any = NO_VALUE,
    initial: Any = NO_VALUE, where: Any = NO_VALUE,
) -> Node:  # fmt: skip
    """numpy.sum."""
    refuse("sum", out=out)
    return reductions.reduce("add", a, axis, dtype, kept(keepdims), initial, mask_of(where))


def prod(
    a: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: Any = NO_VALUE,
    initial: Any = NO_VALUE, where: Any = NO_VALUE,
) -> Node:  # fmt: skip
    """numpy.prod."""
    refuse("prod", out=out)
    return reductions.reduce("multiply", a, axis, dtype, kept(keepdims), initial, mask_of(where))


def max_(
    a: Any, axis: Any = None, out: Any = None, keepdims: Any = NO_VALUE, initial: Any = NO_VALUE,
    where: Any = NO_VALUE,
) -> Node:  # fmt: skip
    """numpy.max."""
    refuse("max", out=out)
    return reductions.reduce("maximum", a, axis, None, kept(keepdims), initial, mask_of(where))


def min_(
    a: Any, axis: Any = None, out: Any = None, keepdims: Any = NO_VALUE, initial: Any = NO_VALUE,
    where: Any = NO_VALUE,
) -> Node:  # fmt: skip
    """numpy.min."""
    refuse("min", out=out)
    return reductions.reduce("minimum", a, axis, None, kept(keepdims), initial, mask_of(where))


def any_(
    a: Any, axis: Any = None, out: Any = None, keepdims: Any = NO_VALUE, *, where: Any = NO_VALUE
) -> Node:
    """numpy.any."""
    refuse("any", out=out)
    return reductions.reduce("logical_or", a, axis, None, kept(keepdims), where=mask_of(where))


def all_(
    a: Any, axis: Any = None, out: Any = None, keepdims: Any = NO_VALUE, *, where: Any = NO_VALUE
) -> Node:
    """numpy.all."""
    refuse("all", out=out)
    return reductions.reduce("logical_and", a, axis, None, kept(keepdims), where=mask_of(where))


def ptp(a: Any, axis: Any = None, out: Any = None, keepdims: Any = NO_VALUE) -> Node:
    """numpy.ptp."""
    high = max_(a, axis, out, keepdims)
    return value("subtract", high, min_(a, axis, out, keepdims))


def count_nonzero(a: Any, axis: Any = None, *, keepdims: bool = False) -> Node:
    """numpy.count_nonzero."""
    return sum_(cast(lift(a), bool), axis, np.int64, keepdims=keepdims)


def working_dtype(x: Node, dtype: Any) -> tuple[Any, Any]:
    """The dtypes that a mean is computed in, and that it has."""
    own = x.dtype.numpy
    if dtype is not None:
        return np.dtype(dtype), np.dtype(dtype)
    if own.kind in "biu":
        return np.dtype(np.float64), np.dtype(np.float64)
    return (np.dtype(np.float32) if own == np.float16 else own), own


def count_of(x: Node, axes: tuple[int, ...], where: Any) -> Any:
    """How many elements are combined: a number, or of a mask a value that keeps the axes."""
    if where is True:
        return nodes.size_of(x, axes)
    mask = lift(where, bool)
    mask = nodes.expand(mask, sizes_of(x), (x,))
    return reductions.reduce("add", cast(mask, np.int64), axes, keepdims=True)


def divided(total: Node, count: Any, dtype: Any) -> Node:
    """A sum over a count, as a dtype."""
    number = nodes.scalar(count, total) if not isinstance(count, Node) else count
    if number.dtype is not total.dtype:
        number = cast(number, total.dtype.numpy)
    return cast(value("divide", total, number), dtype)


def mean(
    a: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: Any = NO_VALUE, *,
    where: Any = NO_VALUE,
) -> Node:  # fmt: skip
    """numpy.mean. float16 is added in float32."""
    refuse("mean", out=out)
    x, mask = lift(a), mask_of(where)
    axes = normal_axes(axis, rank_of(x))
    wide, made = working_dtype(x, dtype)
    total = reductions.reduce("add", x, axes, wide, True, where=mask)
    result = divided(total, count_of(x, axes, mask), made)
    return result if kept(keepdims) else nodes.squeeze(result, axes)


def var(
    a: Any, axis: Any = None, dtype: Any = None, out: Any = None, ddof: float = 0,
    keepdims: Any = NO_VALUE, *, where: Any = NO_VALUE, mean: Any = NO_VALUE,
    correction: Any = NO_VALUE,
) -> Node:  # fmt: skip
    """numpy.var. float16 is computed in float32."""
    refuse("var", out=out)
    x, mask = lift(a), mask_of(where)
    axes = normal_axes(axis, rank_of(x))
    wide, made = working_dtype(x, dtype)
    real_only("var", x)
    x = cast(x, wide)
    count = count_of(x, axes, mask)
    if mean is NO_VALUE:
        total = reductions.reduce("add", x, axes, wide, True, where=mask)
        center = divided(total, count, wide)
    else:
        center = lift(mean, wide)
    apart = value("subtract", x, center)
    squares = reductions.reduce("add", call("multiply", apart, apart), axes, wide, True, where=mask)
    less = ddof if correction is NO_VALUE else correction
    result = divided(squares, _freedom(count, less, wide), made)
    return result if kept(keepdims) else nodes.squeeze(result, axes)


def _freedom(count: Any, less: float, dtype: Any) -> Any:
    """A count less the degrees of freedom, at least 0."""
    if not isinstance(count, Node):
        return max(count - less, 0)
    rest = call("subtract", cast(count, dtype), lift(less, dtype))
    return call("maximum", rest, lift(0, dtype))


def std(
    a: Any, axis: Any = None, dtype: Any = None, out: Any = None, ddof: float = 0,
    keepdims: Any = NO_VALUE, *, where: Any = NO_VALUE, mean: Any = NO_VALUE,
    correction: Any = NO_VALUE,
) -> Node:  # fmt: skip
    """numpy.std. float16 is computed in float32."""
    x = lift(a)
    wide, made = working_dtype(x, dtype)
    found = var(cast(x, wide), axis, wide, out, ddof, keepdims, where=where, mean=mean,
                correction=correction)  # fmt: skip
    return cast(value("sqrt", found), made)


def average(
    a: Any, axis: Any = None, weights: Any = None, returned: bool = False, *,
    keepdims: Any = NO_VALUE,
) -> Any:  # fmt: skip
    """numpy.average."""
    x = lift(a)
    axes = normal_axes(axis, rank_of(x))
    if weights is None:
        result = mean(x, axis, keepdims=keepdims)
        total = nodes.full_like(result, 0)
        count = count_of(x, axes, True)
        total = value("add", total, lift(count, result.dtype.numpy))
        return (result, total) if returned else result
    w = lift(weights)
    floats = x.dtype.kind in "biu"
    kind = result_dtype(x, w, np.dtype(np.float64)) if floats else result_dtype(x, w)
    if sizes_of(w) != sizes_of(x):
        if axis is None or rank_of(w) != len(axes):
            raise TypeError("Axis must be specified when shapes of a and weights differ.")
        order = sorted(range(len(axes)), key=lambda k: axes[k])
        w = nodes.transpose(w, order)
        w = nodes.unsqueeze(w, [k for k in range(rank_of(x)) if k not in axes])
    scale = sum_(w, axes, kind, keepdims=keepdims)
    products = value("multiply", x, w, dtype=kind, casting="unsafe")
    result = value("divide", sum_(products, axes, kind, keepdims=keepdims), scale)
    if not returned:
        return result
    return result, nodes.expand(scale, sizes_of(result), (result,))


def positions(name: str, op: Any) -> Callable[..., Node]:
    """numpy.argmax or numpy.argmin."""

    def function(a: Any, axis: Any = None, out: Any = None, *, keepdims: Any = NO_VALUE) -> Node:
        refuse(name, out=out)
        x = lift(a)
        sizes = sizes_of(x)
        along = None if axis is None else nodes.normal(axis, len(sizes))
        if 0 in (sizes if along is None else sizes[along : along + 1]):
            raise ValueError(f"attempt to get {name} of an empty sequence")
        return reductions.positions(op, x, along, keepdims=kept(keepdims))

    function.__doc__ = f"numpy.{name}."
    return function


argmax = positions("argmax", reduction.arg_max)
argmin = positions("argmin", reduction.arg_min)


def running(name: str, ufunc: str) -> Callable[..., Node]:
    """numpy.cumsum or numpy.cumprod."""

    def function(a: Any, axis: Any = None, dtype: Any = None, out: Any = None) -> Node:
        refuse(name, out=out)
        x = lift(a)
        if axis is None:
            x, axis = nodes.flatten(x), 0
        return reductions.accumulate(ufunc, x, axis, dtype)

    function.__doc__ = f"numpy.{name}."
    return function


def cumulative(ufunc: str, start: int) -> Callable[..., Node]:
    """numpy.cumulative_sum or numpy.cumulative_prod."""

    def function(
        x: Any, /, *, axis: Any = None, dtype: Any = None, out: Any = None,
        include_initial: bool = False,
    ) -> Node:  # fmt: skip
        refuse(f"cumulative {ufunc}", out=out)
        value = lift(x)
        if axis is None:
            if rank_of(value) > 1:
                raise ValueError("For arrays which have more than one dimension ``axis`` argument"
                                 " is required.")  # fmt: skip
            value, axis = nodes.unsqueeze(value, [0] if rank_of(value) == 0 else []), 0
        along = nodes.normal(axis, rank_of(value))
        made = reductions.accumulate(ufunc, value, along, dtype)
        if not include_initial:
            return made
        sizes: list[nodes.SizeLike] = list(sizes_of(made))
        sizes[along] = 1
        first = nodes.full(sizes, start, made.dtype.numpy, (made,))
        return nodes.concat([first, made], along)

    function.__doc__ = f"numpy.cumulative of {ufunc}."
    return function


cumsum = running("cumsum", "add")
cumprod = running("cumprod", "multiply")
cumulative_sum = cumulative("add", 0)
cumulative_prod = cumulative("multiply", 1)
