"""How often values occur: bincount and histograms."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphopt.errors import UnsupportedError
from graphopt.frontends.trace.library import nodes, spaces
from graphopt.frontends.trace.library.nodes import apply, take_axis, where
from graphopt.frontends.trace.library.numeric import diff
from graphopt.frontends.trace.library.operands import (
    cast,
    is_sequence,
    lift,
    rank_of,
    result_dtype,
    sizes_of,
    static,
    traced,
)
from graphopt.frontends.trace.library.selection import one_shape
from graphopt.frontends.trace.library.sorting import argsort, searchsorted, sort
from graphopt.frontends.trace.library.statistics import cumsum, max_, min_, sum_
from graphopt.frontends.trace.library.ufuncs import value
from graphopt.ir import Node
from graphopt.ops.indexing import scatter_elements


def added(size: nodes.SizeLike, at: Node, weights: Node) -> Node:
    """Zeros to which each weight is added at its position, in order."""
    zeros = nodes.full([size], 0, weights.dtype.numpy, (at,))
    return apply(scatter_elements, zeros, at, weights, axis=0, reduction="add")


def bincount(x: Any, /, weights: Any = None, minlength: int = 0) -> Node:
    """numpy.bincount. A negative element fails when it is run."""
    at = lift(x)
    if rank_of(at) != 1:
        raise ValueError("object too deep for desired array")
    if at.dtype.kind not in "biu" or at.dtype.numpy == np.uint64:
        raise TypeError(f"Cannot cast array data from {at.dtype} to int64 according to 'safe'")
    at = cast(at, np.int64)
    least = int(static(minlength, "bincount's minlength"))
    count = max_(at, initial=least - 1)
    size = value("add", count, 1)
    outside = value("less", at, 0)
    at = where(outside, nodes.expand(size, sizes_of(at), (at,)), at)
    heavy = nodes.full_like(at, 1) if weights is None else lift(weights, np.float64)
    return added(size, at, heavy)


def histogram(
    a: Any, bins: Any = 10, range: Any = None, density: bool | None = None, weights: Any = None
) -> tuple[Node, Any]:
    """numpy.histogram of equal bins or between edges. NaN without a range fails when it is run."""
    x = nodes.flatten(lift(a))
    if x.dtype.kind == "b":
        x = cast(x, np.uint8)
    if isinstance(bins, str):
        raise UnsupportedError(f"histogram(bins={bins!r})")
    heavy = None
    if weights is not None:
        if not one_shape(lift(weights), lift(a), "histogram"):
            raise ValueError("weights should have the same shape as a.")
        heavy = nodes.flatten(lift(weights))
    if traced(bins) and _edges_traced(bins):
        edges: Node = lift(bins)
    elif np.ndim(static(bins, "histogram's bins")):
        known = np.asarray(static(bins, "histogram's bins"))
        if (known[:-1] > known[1:]).any():
            raise ValueError("`bins` must increase monotonically, when an array")
        edges = lift(known)
    else:
        count = int(static(bins, "histogram's bins"))
        edges, found = _equal_bins(x, count, range, heavy)
        return _density(found, edges, density), edges
    if rank_of(edges) != 1:
        raise ValueError("`bins` must be 1d, when an array")
    return _density(_between(x, edges, heavy), edges, density), edges


def _edges_traced(bins: Any) -> bool:
    return is_sequence(bins) or (isinstance(bins, Node) and bins.rank != 0)


def histogram_bin_edges(a: Any, bins: Any = 10, range: Any = None, weights: Any = None) -> Any:
    """numpy.histogram_bin_edges."""
    return histogram(a, bins, range)[1]


def outer_edges(x: Node, range: Any) -> tuple[Any, Any]:
    """The first and the last edge: of the range, or of the elements."""
    if range is None and 0 not in sizes_of(x):
        first, last = min_(x), max_(x)
        if first.dtype.is_integer:
            first, last = cast(first, np.float64), cast(last, np.float64)
        return _apart(first, last)
    low, high = (0, 1) if range is None else range
    if traced((low, high)):
        return _apart(lift(low), lift(high))
    if low > high:
        raise ValueError("max must be larger than min in range parameter.")
    if not (np.isfinite(low) and np.isfinite(high)):
        raise ValueError(f"supplied range of [{low}, {high}] is not finite")
    return (low - 0.5, high + 0.5) if low == high else (low, high)


def _apart(first: Node, last: Node) -> tuple[Node, Node]:
    """Two edges, moved away from each other where they are equal."""
    same = value("equal", first, last)
    before, behind = value("subtract", first, 0.5), value("add", last, 0.5)
    kind = before.dtype.numpy
    return where(same, before, cast(first, kind)), where(same, behind, cast(last, kind))


def _equal_bins(x: Node, count: int, range: Any, weights: Node | None) -> tuple[Node, Node]:
    """The edges of equal bins, and what falls in each, as NumPy decides at their edges."""
    if count < 1:
        raise ValueError("`bins` must be positive, when an integer")
    first, last = outer_edges(x, range)
    kind = result_dtype(first, last, x)
    kind = kind if kind.kind == "f" else result_dtype(kind, np.dtype(np.float64))
    edges = lift(spaces.linspace(first, last, count + 1, dtype=kind))
    inside = value("logical_and", value("greater_equal", x, first), value("less_equal", x, last))
    ready = cast(x, kind)
    share = value("divide", value("subtract", ready, first), value("subtract", last, first))
    at = cast(value("multiply", share, count), np.int64)
    at = where(inside, at, 0)
    at = where(value("equal", at, count), count - 1, at)
    at = value("subtract", at, cast(value("less", ready, take_axis(edges, at, 0)), np.int64))
    following = take_axis(edges, value("add", at, 1), 0)
    more = value("logical_and", value("greater_equal", ready, following),
                 value("not_equal", at, count - 1))  # fmt: skip
    at = value("add", at, cast(more, np.int64))
    kind_of_count = np.dtype(np.int64) if weights is None else weights.dtype.numpy
    heavy = nodes.full_like(x, 1, np.int64) if weights is None else weights
    heavy = cast(heavy, np.int64 if heavy.dtype.kind in "biu" else np.float64)
    place = where(inside, at, _nowhere(x, range, first, count))
    found = added(count, place, where(inside, heavy, 0))
    return edges, cast(found, kind_of_count)


def _nowhere(x: Node, range: Any, first: Any, count: int) -> Any:
    """Where an element that is in no bin adds its 0; outside, to fail, where the range is NaN."""
    if range is not None or x.dtype.kind != "f" or not isinstance(first, Node):
        return 0
    wrong = where(value("isfinite", first), lift(np.int64(0)), lift(np.int64(count)))
    return nodes.expand(wrong, sizes_of(x), (x,))


def _between(x: Node, edges: Node, weights: Node | None) -> Node:
    """What falls between edges; the last bin has both its edges."""
    left = searchsorted_of(x, edges)
    if weights is None:
        return diff(left)
    order = argsort(x)
    heavy = take_axis(weights, order, 0)
    kind = heavy.dtype.numpy
    zero = nodes.full([1], 0, kind)
    total = nodes.concat([zero, cast(cumsum(heavy), kind)])
    return diff(take_axis(total, left, 0))


def searchsorted_of(x: Node, edges: Node) -> Node:
    """How many elements lie before each edge; of the last, up to it."""
    line = sort(x)
    before = searchsorted(line, nodes.slice_axis(edges, 0, 0, -1), "left")
    up_to = searchsorted(line, nodes.slice_axis(edges, 0, -1, nodes.END), "right")
    return nodes.concat([before, up_to])


def _density(found: Node, edges: Node, density: bool | None) -> Node:
    """A histogram as a density if that is asked for."""
    if not density:
        return found
    widths = cast(diff(edges), np.float64)
    return value("divide", value("divide", found, widths), sum_(found))
