"""Functions that choose elements: by conditions, by positions, by masks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from graphopt.errors import UnsupportedError
from graphopt.frontends.trace.library import nodes
from graphopt.frontends.trace.library.joining import sequence
from graphopt.frontends.trace.library.nodes import apply, normal
from graphopt.frontends.trace.library.operands import (
    NO_VALUE,
    cast,
    is_weak,
    lift,
    numpy_dtype,
    rank_of,
    real_only,
    refuse,
    result_dtype,
    sizes_of,
)
from graphopt.frontends.trace.library.statistics import all_
from graphopt.frontends.trace.library.ufuncs import call, value
from graphopt.ir import Node
from graphopt.ops import logic
from graphopt.ops.indexing import gather_elements
from graphopt.ops.selection import compress as compress_op
from graphopt.ops.selection import non_zero


def where(condition: Any, x: Any = None, y: Any = None, /) -> Any:
    """numpy.where; of a condition alone, the positions where it holds."""
    if x is None and y is None:
        return nonzero(condition)
    if x is None or y is None:
        raise ValueError("either both or neither of x and y should be given")
    dtype = result_dtype(x, y)
    test, one, other = lift(condition, bool), lift(x, dtype), lift(y, dtype)
    nodes.broadcast_sizes(test, one, other)
    return apply(logic.where, test, one, other)


def nonzero(a: Any) -> tuple[Node, ...]:
    """numpy.nonzero; how many there are only running tells."""
    x = lift(a)
    if rank_of(x) == 0:
        raise ValueError("Calling nonzero on 0d arrays is not allowed.")
    rows = apply(non_zero, cast(x, bool))
    return tuple(nodes.take_axis(rows, k, 0) for k in range(rank_of(x)))


def argwhere(a: Any) -> Node:
    """numpy.argwhere."""
    x = lift(a)
    if rank_of(x) == 0:
        raise UnsupportedError("argwhere() of a scalar")
    return nodes.transpose(apply(non_zero, cast(x, bool)), (1, 0))


def flatnonzero(a: Any) -> Node:
    """numpy.flatnonzero."""
    return nonzero(nodes.flatten(lift(a)))[0]


def select(condlist: Sequence[Any], choicelist: Sequence[Any], default: Any = 0) -> Node:
    """numpy.select."""
    if len(condlist) != len(choicelist):
        raise ValueError("list of cases must be same length as list of conditions")
    if not condlist:
        raise ValueError("select with an empty condition list is not possible")
    conditions = [lift(condition) for condition in condlist]
    for k, condition in enumerate(conditions):
        if condition.dtype.kind != "b":
            raise TypeError(f"invalid entry {k} in condlist: should be boolean ndarray")
    dtype = result_dtype(*choicelist, default)
    made = lift(default, dtype)
    values = [lift(choice, dtype) for choice in choicelist]
    sizes = nodes.broadcast_sizes(made, *conditions, *values)
    for condition, choice in reversed(list(zip(conditions, values, strict=True))):
        made = apply(logic.where, condition, choice, made)
    return nodes.expand(made, sizes, (*conditions, *values))


def choose(a: Any, choices: Any, out: Any = None, mode: str = "raise") -> Node:
    """numpy.choose with mode="clip" or "wrap"; with "raise", of positions that are known."""
    refuse("choose", out=out)
    at = lift(a)
    options = sequence(choices)
    dtype = result_dtype(*(lift(option).dtype.numpy for option in options))
    values = [lift(option, dtype) for option in options]
    sizes = nodes.broadcast_sizes(at, *values)
    rows = [nodes.unsqueeze(nodes.expand(v, sizes, (at, *values)), [0]) for v in values]
    index = _wrapped(nodes.expand(at, sizes, (at, *values)), len(values), mode, "choose")
    made = apply(gather_elements, nodes.concat(rows), nodes.unsqueeze(index, [0]), axis=0)
    return nodes.squeeze(made, [0])


def _wrapped(index: Node, count: Any, mode: str, name: str) -> Node:
    """Positions as `mode` takes those that are outside."""
    index = cast(index, np.int64)
    if mode == "clip":
        return value("clip", index, 0, value("subtract", count, 1))
    if mode == "wrap":
        return value("remainder", index, count)
    if name == "choose":  # a negative position is an error for choose, an element for a gather
        if index.constant is None:
            raise UnsupportedError("choose() by traced positions needs mode='clip' or 'wrap'")
        if (index.constant.array < 0).any() or (index.constant.array >= count).any():
            raise ValueError("invalid entry in choice array")
    return index


def take(
    a: Any, indices: Any, axis: int | None = None, out: Any = None, mode: str = "raise"
) -> Node:
    """numpy.take."""
    refuse("take", out=out)
    x = lift(a)
    if axis is None:
        x, axis = nodes.flatten(x), 0
    along = normal(axis, rank_of(x))
    at = lift(indices)
    if not at.dtype.is_integer and at.dtype.kind != "b":
        raise TypeError(f"Cannot cast array data from {at.dtype} to int64 according to 'safe'")
    if mode != "raise":
        at = _wrapped(at, nodes.size_of(x, [along]), mode, "take")
        return nodes.take_axis(x, at, along)
    known, size = at.constant, sizes_of(x)[along]
    if known is not None and isinstance(size, int):
        array = known.array
        if ((array < -size) | (array >= size)).any():
            raise IndexError(f"index out of bounds for axis {along} with size {size}")
    return nodes.take_axis(x, cast(at, np.int64), along)


def take_along_axis(arr: Any, indices: Any, axis: Any = -1) -> Node:
    """numpy.take_along_axis."""
    x, at = lift(arr), lift(indices)
    if not at.dtype.is_integer:
        raise IndexError("`indices` must be an integer array")
    if axis is None:
        x, axis = nodes.flatten(x), 0
    if rank_of(x) != rank_of(at):
        raise ValueError("`indices` and `arr` must have the same number of dimensions")
    along = normal(axis, rank_of(x))
    ones = [nodes.slice_axis(v, along, 0, 1) for v in (x, at)]
    sizes = list(nodes.broadcast_sizes(*ones))
    wide_x, wide_at = list(sizes), list(sizes)
    wide_x[along], wide_at[along] = sizes_of(x)[along], sizes_of(at)[along]
    x, at = nodes.expand(x, wide_x, (x, at)), nodes.expand(at, wide_at, (x, at))
    return apply(gather_elements, x, cast(at, np.int64), axis=along)


def compress(condition: Any, a: Any, axis: int | None = None, out: Any = None) -> Node:
    """numpy.compress; how much is kept only running tells, unless the condition is known."""
    refuse("compress", out=out)
    x, test = lift(a), lift(condition, bool)
    if rank_of(test) != 1:
        raise ValueError("condition must be a 1-d array")
    if axis is None:
        return apply(compress_op, nodes.flatten(x), test, axis=0)
    return apply(compress_op, x, test, axis=normal(axis, rank_of(x)))


def extract(condition: Any, arr: Any) -> Node:
    """numpy.extract."""
    return compress(nodes.flatten(lift(condition, bool)), nodes.flatten(lift(arr)), 0)


def clip(
    a: Any, a_min: Any = NO_VALUE, a_max: Any = NO_VALUE, out: Any = None, *, min: Any = NO_VALUE,
    max: Any = NO_VALUE, **keywords: Any,
) -> Node:  # fmt: skip
    """numpy.clip; a bound that is None is none."""
    refuse("clip", out=out)
    low = min if a_min is NO_VALUE else a_min
    high = max if a_max is NO_VALUE else a_max
    low, high = (None if bound is NO_VALUE else bound for bound in (low, high))
    if (dtype := numpy_dtype(a)).kind in "iu":  # a bound out of the dtype's range is none
        low = None if type(low) is int and low <= np.iinfo(dtype).min else low
        high = None if type(high) is int and high >= np.iinfo(dtype).max else high
    if low is None and high is None:
        return value("positive", a)
    if low is None:
        return value("minimum", a, high, **keywords)
    if high is None:
        return value("maximum", a, low, **keywords)
    return value("clip", a, low, high, **keywords)


def nan_to_num(
    x: Any, copy: bool = True, nan: float = 0.0, posinf: float | None = None,
    neginf: float | None = None,
) -> Node:  # fmt: skip
    """numpy.nan_to_num."""
    made = lift(x)
    real_only("nan_to_num", made)
    if made.dtype.kind != "f":
        return made
    info = np.finfo(made.dtype.numpy)
    high = float(info.max) if posinf is None else posinf
    low = float(info.min) if neginf is None else neginf
    infinite, negative = value("isinf", made), value("less", made, 0)
    ends = nodes.where(negative, nodes.scalar(low, made), nodes.scalar(high, made))
    result = nodes.where(infinite, ends, made)
    return nodes.where(value("isnan", made), nodes.scalar(nan, made), result)


def isclose(a: Any, b: Any, rtol: Any = 1e-05, atol: Any = 1e-08, equal_nan: bool = False) -> Node:
    """numpy.isclose."""
    x, y = (item if is_weak(item) else lift(item) for item in (a, b))
    if isinstance(y, Node) and y.dtype.kind != "f":
        y = cast(y, result_dtype(y.dtype.numpy, np.dtype(np.float64)))
    elif not isinstance(y, Node):
        y = float(y) if not hasattr(y, "node") else y
    apart = value("absolute", value("subtract", x, y))
    bound = value("add", atol, value("multiply", rtol, value("absolute", y)))
    near = value("logical_and", value("less_equal", apart, bound), value("isfinite", y))
    made = value("logical_or", near, value("equal", x, y))
    if not equal_nan:
        return made
    return value("logical_or", made, value("logical_and", call("isnan", x), call("isnan", y)))


def allclose(a: Any, b: Any, rtol: Any = 1e-05, atol: Any = 1e-08, equal_nan: bool = False) -> Node:
    """numpy.allclose, as a traced bool."""
    return all_(isclose(a, b, rtol, atol, equal_nan))


def array_equal(a1: Any, a2: Any, equal_nan: bool = False) -> Any:
    """numpy.array_equal: False where the shapes differ, else a traced bool."""
    x, y = lift(a1), lift(a2)
    if not one_shape(x, y, "array_equal"):
        return False
    same = value("equal", x, y)
    if equal_nan:
        both = value("logical_and", value("isnan", x), value("isnan", y))
        same = value("logical_or", same, both)
    return all_(same)


def array_equiv(a1: Any, a2: Any) -> Any:
    """numpy.array_equiv: False where the shapes cannot be broadcast, else a traced bool."""
    x, y = lift(a1), lift(a2)
    try:
        nodes.broadcast_sizes(x, y)
    except ValueError:
        return False
    for one, other in zip(reversed(sizes_of(x)), reversed(sizes_of(y)), strict=False):
        if one != other and 1 not in (one, other):
            raise UnsupportedError(f"array_equiv() of shapes with the sizes {one} and {other}")
    return all_(value("equal", x, y))


def one_shape(x: Node, y: Node, name: str) -> bool:
    """Whether two shapes are equal; raises UnsupportedError where that is not known."""
    if rank_of(x) != rank_of(y):
        return False
    for one, other in zip(sizes_of(x), sizes_of(y), strict=True):
        if one == other:
            continue
        if isinstance(one, int) and isinstance(other, int):
            return False
        raise UnsupportedError(f"{name}() of shapes with the sizes {one} and {other}")
    return True
