"""Reductions that leave NaN out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from graphopt.errors import UnsupportedError
from graphopt.frontends.trace.library import nodes, reductions
from graphopt.frontends.trace.library.nodes import apply, normal_axes, where
from graphopt.frontends.trace.library.operands import (
    NO_VALUE,
    cast,
    lift,
    rank_of,
    real_only,
    refuse,
)
from graphopt.frontends.trace.library.statistics import (
    argmax,
    argmin,
    count_of,
    cumprod,
    cumsum,
    kept,
    mask_of,
    mean,
    var,
)
from graphopt.frontends.trace.library.ufuncs import call, value
from graphopt.ir import Node
from graphopt.ops.logic import is_nan


def without_nan(x: Node, number: float) -> tuple[Node, Node | None]:
    """x with a number where it is NaN, and where that is; None where it cannot be."""
    real_only("a function that leaves NaN out", x)
    if x.dtype.kind != "f":
        return x, None
    nan = apply(is_nan, x)
    return where(nan, nodes.scalar(number, x), x), nan


def nan_running(function: Callable[..., Node], neutral: float) -> Callable[..., Node]:
    """numpy.nancumsum or numpy.nancumprod."""

    def of_numbers(a: Any, axis: Any = None, dtype: Any = None, out: Any = None) -> Node:
        return function(without_nan(lift(a), neutral)[0], axis, dtype, out)

    of_numbers.__doc__ = f"{function.__doc__} of a as if NaN were {neutral}."
    return of_numbers


def nan_sum(name: str, ufunc: str, neutral: float) -> Callable[..., Node]:
    """numpy.nansum or numpy.nanprod."""

    def function(
        a: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: Any = NO_VALUE,
        initial: Any = NO_VALUE, where: Any = NO_VALUE,
    ) -> Node:  # fmt: skip
        refuse(name, out=out)
        x, _ = without_nan(lift(a), neutral)
        return reductions.reduce(ufunc, x, axis, dtype, kept(keepdims), initial, mask_of(where))

    function.__doc__ = f"numpy.{name}."
    return function


def nan_extreme(name: str, ufunc: str, bound: float) -> Callable[..., Node]:
    """numpy.nanmax or numpy.nanmin; NaN where all elements are."""

    def function(
        a: Any, axis: Any = None, out: Any = None, keepdims: Any = NO_VALUE,
        initial: Any = NO_VALUE, where: Any = NO_VALUE,
    ) -> Node:  # fmt: skip
        refuse(name, out=out)
        x, nan = without_nan(lift(a), bound)
        mask = mask_of(where)
        made = reductions.reduce(ufunc, x, axis, None, kept(keepdims), initial, mask)
        if nan is None:
            return made
        if mask is not True or initial is not NO_VALUE:
            raise UnsupportedError(f"{name}() with `where` or `initial` on floats")
        every = reductions.reduce("logical_and", nan, axis, None, kept(keepdims))
        return nodes.where(every, float("nan"), made)

    function.__doc__ = f"numpy.{name}."
    return function


def nan_positions(name: str, find: Callable[..., Node], bound: float) -> Callable[..., Node]:
    """numpy.nanargmax or numpy.nanargmin; where all elements are NaN, any position."""

    def function(a: Any, axis: Any = None, out: Any = None, *, keepdims: Any = NO_VALUE) -> Node:
        refuse(name, out=out)
        x, nan = without_nan(lift(a), bound)
        if nan is not None:
            raise UnsupportedError(f"{name}() of floats: it raises where all elements are NaN")
        return find(x, axis, keepdims=keepdims)

    function.__doc__ = f"numpy.{name}."
    return function


def nanmean(
    a: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: Any = NO_VALUE, *,
    where: Any = NO_VALUE,
) -> Node:  # fmt: skip
    """numpy.nanmean."""
    x = lift(a)
    return mean(x, axis, dtype, out, keepdims, where=_numbers(x, where))


def nanvar(
    a: Any, axis: Any = None, dtype: Any = None, out: Any = None, ddof: float = 0,
    keepdims: Any = NO_VALUE, *, where: Any = NO_VALUE, mean: Any = NO_VALUE,
    correction: Any = NO_VALUE,
) -> Node:  # fmt: skip
    """numpy.nanvar; NaN where no degrees of freedom are left."""
    x = lift(a)
    less = ddof if correction is NO_VALUE else correction
    test = _numbers(x, where)
    made = var(x, axis, dtype, out, less, keepdims, where=test, mean=mean)
    if x.dtype.kind != "f":
        return made
    axes = normal_axes(axis, rank_of(x))
    count = count_of(x, axes, test)
    count = count if kept(keepdims) else nodes.squeeze(count, axes)
    enough = value("greater", cast(count, np.float64), lift(float(less)))
    return nodes.where(enough, made, float("nan"))


def nanstd(
    a: Any, axis: Any = None, dtype: Any = None, out: Any = None, ddof: float = 0,
    keepdims: Any = NO_VALUE, *, where: Any = NO_VALUE, mean: Any = NO_VALUE,
    correction: Any = NO_VALUE,
) -> Node:  # fmt: skip
    """numpy.nanstd; NaN where no degrees of freedom are left."""
    found = nanvar(a, axis, dtype, out, ddof, keepdims, where=where, mean=mean,
                   correction=correction)  # fmt: skip
    return value("sqrt", found)


def _numbers(x: Node, where: Any) -> Any:
    """Where the elements that count are no NaN."""
    real_only("a function that leaves NaN out", x)
    if x.dtype.kind != "f":
        return where
    numbers = call("logical_not", apply(is_nan, x))
    return numbers if mask_of(where) is True else call("logical_and", numbers, lift(where, bool))


nancumsum = nan_running(cumsum, 0)
nancumprod = nan_running(cumprod, 1)
nansum = nan_sum("nansum", "add", 0)
nanprod = nan_sum("nanprod", "multiply", 1)
nanmax = nan_extreme("nanmax", "maximum", float("-inf"))
nanmin = nan_extreme("nanmin", "minimum", float("inf"))
nanargmax = nan_positions("nanargmax", argmax, float("-inf"))
nanargmin = nan_positions("nanargmin", argmin, float("inf"))
