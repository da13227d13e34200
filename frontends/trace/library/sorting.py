"""Order: sorting, quantiles, positions in sorted arrays, sets."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphopt.errors import UnsupportedError
from graphopt.frontends.trace.library import nodes
from graphopt.frontends.trace.library.indexing import masked
from graphopt.frontends.trace.library.joining import concatenate, sequence
from graphopt.frontends.trace.library.nodes import END, apply, apply_all, normal, take_axis
from graphopt.frontends.trace.library.operands import (
    cast,
    lift,
    rank_of,
    real_only,
    refuse,
    result_dtype,
    sizes_of,
    static,
    static_size,
    traced,
)
from graphopt.frontends.trace.library.selection import take, take_along_axis
from graphopt.frontends.trace.library.statistics import any_, cumsum, kept, mean
from graphopt.frontends.trace.library.ufuncs import value
from graphopt.ir import Node
from graphopt.ops.indexing import scatter_elements
from graphopt.ops.search import search_sorted
from graphopt.ops.selection import compress, top_k
from graphopt.ops.selection import unique as unique_op


def ordered(x: Node, axis: int) -> tuple[Node, Node]:
    """The elements in ascending order along an axis, and where each stood; NaN is last."""
    dtype = x.dtype.numpy
    ready = cast(x, np.uint8) if dtype.kind == "b" else x
    count = nodes.size_node(sizes_of(x)[axis], (x,))
    found, places = apply_all(top_k, ready, count, axis=axis, largest=0)
    return cast(found, dtype), places


def sort(
    a: Any, axis: int | None = -1, kind: Any = None, order: Any = None, *, stable: Any = None
) -> Node:
    """numpy.sort."""
    refuse("sort", order=order)
    x = lift(a)
    if axis is None:
        x, axis = nodes.flatten(x), 0
    return ordered(x, normal(axis, rank_of(x)))[0]


def argsort(
    a: Any, axis: int | None = -1, kind: Any = None, order: Any = None, *, stable: Any = None
) -> Node:
    """numpy.argsort, always stable."""
    refuse("argsort", order=order)
    x = lift(a)
    if axis is None:
        x, axis = nodes.flatten(x), 0
    if rank_of(x) == 0:
        raise UnsupportedError("argsort() of a scalar")
    return ordered(x, normal(axis, rank_of(x)))[1]


def partition(
    a: Any, kth: Any, axis: int | None = -1, kind: str = "introselect", order: Any = None
) -> Node:
    """numpy.partition: sorted, which is one of its results."""
    return sort(a, axis, order=order)


def argpartition(
    a: Any, kth: Any, axis: int | None = -1, kind: str = "introselect", order: Any = None
) -> Node:
    """numpy.argpartition: the order of all elements, which is one of its results."""
    return argsort(a, axis, order=order)


def lexsort(keys: Any, axis: int = -1) -> Node:
    """numpy.lexsort: by the last key, then the one before, ..."""
    values = [lift(key) for key in sequence(keys)]
    along = normal(axis, rank_of(values[0]))
    places = argsort(values[0], along)
    for key in values[1:]:
        places = take_along_axis(places, argsort(take_along_axis(key, places, along), along), along)
    return places


def searchsorted(a: Any, v: Any, side: str = "left", sorter: Any = None) -> Node:
    """numpy.searchsorted."""
    line, wanted = lift(a), lift(v)
    if rank_of(line) != 1:
        raise ValueError("object too deep for desired array")
    if sorter is not None:
        line = take(line, sorter)
    dtype = result_dtype(line.dtype.numpy, wanted.dtype.numpy)
    dtype = np.dtype(np.uint8) if dtype.kind == "b" else dtype
    return apply(search_sorted, cast(line, dtype), cast(wanted, dtype), side=side)


def digitize(x: Any, bins: Any, right: bool = False) -> Node:
    """numpy.digitize, by bins that are known."""
    edges = np.asarray(static(bins, "digitize's bins"))
    if edges.ndim != 1 or ((np.diff(edges) < 0).any() and (np.diff(edges) > 0).any()):
        raise ValueError("bins must be monotonically increasing or decreasing")
    side = "left" if right else "right"
    if edges.size and edges[0] > edges[-1]:
        return value("subtract", len(edges), searchsorted(edges[::-1], x, side))
    return searchsorted(edges, x, side)


def median(
    a: Any, axis: Any = None, out: Any = None, overwrite_input: bool = False,
    keepdims: bool = False,
) -> Node:  # fmt: skip
    """numpy.median, along axes of known sizes; NaN where an element is NaN."""
    refuse("median", out=out, overwrite_input=overwrite_input)
    x, sizes, axes = _flat_axes(lift(a), axis)
    count = static_size(sizes_of(x)[-1], "median()")
    if not count:
        raise UnsupportedError("median() of no elements")
    last = rank_of(x) - 1
    line = ordered(x, last)[0]
    middle = nodes.slice_axis(line, last, (count - 1) // 2, count // 2 + 1)
    return _with_nan(mean(middle, last), line, sizes, axes, keepdims)


def _flat_axes(x: Node, axis: Any) -> tuple[Node, list[Any], tuple[int, ...]]:
    """x with the reduced axes as one last axis, the sizes that remain, and the axes."""
    rank = rank_of(x)
    axes = nodes.normal_axes(axis, rank)
    rest = [k for k in range(rank) if k not in axes]
    sizes: list[Any] = [sizes_of(x)[k] for k in rest]
    count = nodes.size_of(x, list(axes))
    return nodes.reshape(nodes.transpose(x, [*rest, *axes]), [*sizes, count], (x,)), sizes, axes


def _with_nan(
    made: Node, line: Node, sizes: list[Any], axes: tuple[int, ...], keepdims: Any
) -> Node:
    """A quantile, NaN where the greatest element is, with the reduced axes if they are kept."""
    last = rank_of(line) - 1
    if line.dtype.kind == "f":
        greatest = take_axis(line, -1, last)
        extra = rank_of(made) - rank_of(greatest)
        greatest = nodes.unsqueeze(greatest, list(range(extra)))
        made = nodes.where(value("isnan", greatest), cast(greatest, made.dtype.numpy), made)
    if not kept(keepdims):
        return made
    extra = rank_of(made) - len(sizes)
    return nodes.unsqueeze(made, [axis + extra for axis in sorted(axes)])


def quantile(
    a: Any, q: Any, axis: Any = None, out: Any = None, overwrite_input: bool = False,
    method: str = "linear", keepdims: bool = False, *, weights: Any = None,
) -> Node:  # fmt: skip
    """numpy.quantile by the methods linear, lower, higher, nearest and midpoint; q is known."""
    refuse("quantile", out=out, overwrite_input=overwrite_input, weights=weights)
    if traced(q):
        raise UnsupportedError("quantile() with a traced q")
    x, sizes, axes = _flat_axes(lift(a), axis)
    count = static_size(sizes_of(x)[-1], "quantile()")
    last = rank_of(x) - 1
    line = ordered(x, last)[0]
    wanted = np.asarray(q)
    if (wanted < 0).any() or (wanted > 1).any():
        raise ValueError("Quantiles must be in the range [0, 1]")
    wanted = wanted if wanted.dtype.kind == "f" else wanted.astype(np.float64)
    dtype = result_dtype(x, float(wanted)) if not wanted.ndim else result_dtype(x, wanted)
    dtype = dtype if dtype.kind == "f" else np.dtype(np.float64)
    below, above, share = _places(np.asarray(wanted, dtype) * (count - 1), method, count)
    low, high = (nodes.move_axis_block(take_axis(line, at, last), last, wanted.ndim)
                 for at in (below, above))  # fmt: skip
    if method in ("lower", "higher", "nearest"):
        return _with_nan(low, line, sizes, axes, keepdims)
    weight = share.astype(dtype).reshape(wanted.shape + (1,) * last)
    apart = value("subtract", high, low)
    rising = value("add", low, value("multiply", apart, weight))
    falling = value("subtract", high, value("multiply", apart, 1 - weight))
    made = nodes.where(lift(weight >= 0.5), falling, rising)
    return _with_nan(made, line, sizes, axes, keepdims)


def _places(at: Any, method: str, count: int) -> tuple[Any, Any, Any]:
    """The positions before and behind quantiles, and how far between them these are."""
    floor, ceil = np.floor(at), np.ceil(at)
    if method == "lower":
        chosen = (floor, floor, floor * 0)
    elif method == "higher":
        chosen = (ceil, ceil, ceil * 0)
    elif method == "nearest":
        near = np.rint(at)
        chosen = (near, near, near * 0)
    elif method == "midpoint":
        chosen = (floor, ceil, np.where(at % 1 == 0, 0.0, 0.5))
    elif method == "linear":
        chosen = (floor, np.minimum(floor + 1, count - 1), at - floor)
    else:
        raise UnsupportedError(f"quantile() by the method {method!r}")
    below, above, share = chosen
    return np.asarray(below, np.int64), np.asarray(above, np.int64), np.asarray(share)


def percentile(
    a: Any, q: Any, axis: Any = None, out: Any = None, overwrite_input: bool = False,
    method: str = "linear", keepdims: bool = False, *, weights: Any = None,
) -> Node:  # fmt: skip
    """numpy.percentile: see `quantile`."""
    if traced(q):
        raise UnsupportedError("percentile() with a traced q")
    kind = lift(a).dtype.numpy
    share = np.true_divide(q, kind.type(100) if kind.kind == "f" else 100)
    return quantile(a, share, axis, out, overwrite_input, method, keepdims, weights=weights)


def unique(
    ar: Any, return_index: bool = False, return_inverse: bool = False,
    return_counts: bool = False, axis: int | None = None, *, equal_nan: bool = True,
    sorted: bool = True,
) -> Any:  # fmt: skip
    """numpy.unique; how many there are only running tells."""
    x = lift(ar)
    along = None if axis is None else normal(axis, rank_of(x))
    wanted = (True, return_index, return_inverse, return_counts)
    if not equal_nan:
        real_only("unique(equal_nan=False)", x)
    if not equal_nan and axis is None and x.dtype.kind == "f":
        made = [item for item, each in zip(_apart(x), wanted, strict=True) if each]
        return tuple(made) if len(made) > 1 else made[0]
    if not any(wanted[1:]):
        return apply(unique_op, x, axis=along, outputs=1)
    found = list(apply_all(unique_op, x, axis=along, outputs=4))
    if axis is None:
        found[2] = nodes.reshape(found[2], sizes_of(x), (x,))
    return tuple(item for item, take_it in zip(found, wanted, strict=True) if take_it)


def _apart(x: Node) -> tuple[Node, Node, Node, Node]:
    """Distinct elements where no NaN equals another: they, their first places, the place of every
    element among them, and how often each occurs.
    """
    line, places = ordered(nodes.flatten(x), 0)
    first = nodes.full_like(nodes.slice_axis(line, 0, 0, 1), True, bool)
    behind, before = nodes.slice_axis(line, 0, 1, END), nodes.slice_axis(line, 0, 0, -1)
    starts = nodes.concat([first, value("not_equal", behind, before)])
    group = value("subtract", cumsum(starts), 1)
    inverse = apply(scatter_elements, nodes.full_like(places, 0), places, group, axis=0)
    begin = apply(compress, nodes.arange(sizes_of(line)[0], (line,)), starts, axis=0)
    whole = nodes.full_like(nodes.slice_axis(begin, 0, 0, 1), 0)
    whole = value("add", whole, nodes.size_of(line))
    counts = value("subtract", nodes.concat([nodes.slice_axis(begin, 0, 1, END), whole]), begin)
    elements, index = (apply(compress, item, starts, axis=0) for item in (line, places))
    return elements, index, nodes.reshape(inverse, sizes_of(x), (x,)), counts


def unique_values(x: Any) -> Node:
    """numpy.unique_values, in ascending order."""
    made: Node = unique(x, equal_nan=False)
    return made


def unique_counts(x: Any) -> Any:
    """numpy.unique_counts."""
    return unique(x, return_counts=True, equal_nan=False)


def unique_inverse(x: Any) -> Any:
    """numpy.unique_inverse."""
    return unique(x, return_inverse=True, equal_nan=False)


def unique_all(x: Any) -> Any:
    """numpy.unique_all."""
    return unique(x, True, True, True, equal_nan=False)


def isin(
    element: Any, test_elements: Any, assume_unique: bool = False, invert: bool = False, *,
    kind: Any = None,
) -> Node:  # fmt: skip
    """numpy.isin: by a search among the sorted elements, or by comparing all pairs."""
    x, among = lift(element), nodes.flatten(lift(test_elements))
    dtype = result_dtype(x.dtype.numpy, among.dtype.numpy)
    x, among = cast(x, dtype), cast(among, dtype)
    count = sizes_of(among)[0]
    if count == 0:
        return nodes.full_like(x, invert, bool)
    if isinstance(count, int) and count > 1:
        line = sort(among)
        at = value("minimum", searchsorted(line, x), count - 1)
        found = value("equal", take_axis(line, at, 0), x)
    else:
        found = any_(value("equal", nodes.unsqueeze(x, [rank_of(x)]), among), -1)
    return value("logical_not", found) if invert else found


def _values(x: Node) -> Node:
    """The distinct elements; NaN is one."""
    made: Node = unique(x)
    return made


def union1d(ar1: Any, ar2: Any) -> Node:
    """numpy.union1d."""
    return _values(concatenate((ar1, ar2), None))


def intersect1d(
    ar1: Any, ar2: Any, assume_unique: bool = False, return_indices: bool = False
) -> Node:
    """numpy.intersect1d, without indices."""
    refuse("intersect1d", return_indices=return_indices)
    x, y = _pair(ar1, ar2)
    mine = _values(x)
    return masked(mine, isin(mine, y))


def setdiff1d(ar1: Any, ar2: Any, assume_unique: bool = False) -> Node:
    """numpy.setdiff1d of arrays that may have equal elements."""
    refuse("setdiff1d", assume_unique=assume_unique)
    mine = _values(lift(ar1))
    return masked(mine, isin(mine, ar2, invert=True))


def setxor1d(ar1: Any, ar2: Any, assume_unique: bool = False) -> Node:
    """numpy.setxor1d of arrays that may have equal elements."""
    refuse("setxor1d", assume_unique=assume_unique)
    x, y = _pair(ar1, ar2)
    return sort(concatenate((setdiff1d(x, y), setdiff1d(y, x)), None))


def _pair(a: Any, b: Any) -> tuple[Node, Node]:
    """Two arrays in the dtype that they have together."""
    x, y = nodes.flatten(lift(a)), nodes.flatten(lift(b))
    dtype = result_dtype(x.dtype.numpy, y.dtype.numpy)
    return cast(x, dtype), cast(y, dtype)
