"""Functions that make arrays: of known arguments an array by NumPy itself, else a value.

A size may be traced, or symbolic where a traced array shows it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from graphopt.errors import UnsupportedError
from graphopt.frontends.trace.library import nodes, spaces
from graphopt.frontends.trace.library.movement import sizes_argument
from graphopt.frontends.trace.library.operands import (
    NO_VALUE,
    cast,
    lift,
    numpy_dtype,
    rank_of,
    sizes_of,
    traced,
    untyped,
)
from graphopt.frontends.trace.library.reductions import accumulate
from graphopt.frontends.trace.library.ufuncs import value
from graphopt.ir import Node

Sizes = list[nodes.SizeLike]


def known_sizes(shape: Any) -> tuple[int, ...] | Sizes:
    """A shape argument: a tuple where all sizes are numbers, else a list."""
    sizes = sizes_argument(shape)
    numbers = tuple(size for size in sizes if isinstance(size, int))
    return numbers if len(numbers) == len(sizes) else sizes


def filled(name: str, number: int) -> Callable[..., Any]:
    """numpy.zeros, numpy.ones or numpy.empty: what is not initialised is 0 here."""

    def function(
        shape: Any, dtype: Any = None, order: str = "C", *, device: Any = None, like: Any = None
    ) -> Any:
        sizes = known_sizes(shape)
        kind = np.dtype(np.float64 if dtype is None else dtype)
        if isinstance(sizes, tuple):
            return untyped.full(sizes, number, kind, "F" if order == "F" else "C")
        return nodes.full(sizes, number, kind)

    function.__doc__ = f"numpy.{name}."
    return function


def full(
    shape: Any, fill_value: Any, dtype: Any = None, order: str = "C", *, device: Any = None,
    like: Any = None,
) -> Any:  # fmt: skip
    """numpy.full."""
    sizes = known_sizes(shape)
    kind = numpy_dtype(fill_value) if dtype is None else np.dtype(dtype)
    if isinstance(sizes, tuple) and not traced(fill_value):
        return untyped.full(sizes, fill_value, kind, "F" if order == "F" else "C")
    return nodes.expand(lift(fill_value, kind), list(sizes))


def filled_like(name: str, number: int) -> Callable[..., Any]:
    """numpy.zeros_like, numpy.ones_like or numpy.empty_like (which is 0 here)."""

    def function(
        a: Any, dtype: Any = None, order: str = "K", subok: bool = True, shape: Any = None, *,
        device: Any = None,
    ) -> Any:  # fmt: skip
        return full_like(a, number, dtype, order, subok, shape)

    function.__doc__ = f"numpy.{name}."
    return function


def full_like(
    a: Any, fill_value: Any, dtype: Any = None, order: str = "K", subok: bool = True,
    shape: Any = None, *, device: Any = None,
) -> Any:  # fmt: skip
    """numpy.full_like."""
    if not traced((a, fill_value)):
        return untyped.full_like(a, fill_value, dtype, shape=shape)
    x = lift(a)
    kind = x.dtype.numpy if dtype is None else np.dtype(dtype)
    sizes = sizes_of(x) if shape is None else sizes_argument(shape)
    if traced(fill_value) or np.ndim(fill_value):
        return nodes.expand(lift(fill_value, kind), list(sizes), (x,))
    return nodes.full(list(sizes), np.asarray(fill_value).astype(kind), kind, (x,))


def diagonal_test(rows: Any, columns: Any, k: Any, ufunc: str, dtype: Any) -> Any:
    """What compares a row's number (plus k) with a column's: 1 where it is true, else 0."""
    sizes = known_sizes((rows, columns))
    row, column = (nodes.arange(size) for size in sizes)
    made = value(ufunc, value("add", nodes.unsqueeze(row, [1]), k), column)
    return cast(made, np.dtype(dtype))


def eye(
    N: Any, M: Any = None, k: Any = 0, dtype: Any = float, order: str = "C", *,
    device: Any = None, like: Any = None,
) -> Any:  # fmt: skip
    """numpy.eye."""
    columns = N if M is None else M
    if isinstance(sizes := known_sizes((N, columns)), tuple) and not traced(k):
        return untyped.eye(*sizes, k=k, dtype=dtype, order="F" if order == "F" else "C")
    return diagonal_test(N, columns, k, "equal", dtype)


def identity(n: Any, dtype: Any = None, *, like: Any = None) -> Any:
    """numpy.identity."""
    return eye(n, dtype=float if dtype is None else dtype)


def tri(N: Any, M: Any = None, k: Any = 0, dtype: Any = float, *, like: Any = None) -> Any:
    """numpy.tri."""
    columns = N if M is None else M
    if isinstance(sizes := known_sizes((N, columns)), tuple) and not traced(k):
        return untyped.tri(*sizes, k=k, dtype=dtype)
    return diagonal_test(N, columns, k, "greater_equal", dtype)


def array(
    object: Any, dtype: Any = None, *, copy: Any = True, order: str = "K", subok: bool = False,
    ndmin: int = 0, ndmax: Any = NO_VALUE, like: Any = None,
) -> Any:  # fmt: skip
    """numpy.array: of a list with traced elements, a value."""
    if not traced(object):
        return np.array(object, dtype, ndmin=ndmin)
    x = lift(object, dtype)
    return nodes.unsqueeze(x, list(range(ndmin - rank_of(x))))


def asarray(
    a: Any, dtype: Any = None, order: str | None = None, *, device: Any = None, copy: Any = None,
    like: Any = None,
) -> Any:  # fmt: skip
    """numpy.asarray, asanyarray, ascontiguousarray and asfortranarray."""
    return lift(a, dtype) if traced(a) else np.asarray(a, dtype)


def require(a: Any, dtype: Any = None, requirements: Any = None, *, like: Any = None) -> Any:
    """numpy.require."""
    return asarray(a, dtype)


def ascontiguousarray(a: Any, dtype: Any = None, *, like: Any = None) -> Any:
    """numpy.ascontiguousarray and asfortranarray: at least one axis."""
    x = asarray(a, dtype)
    if not isinstance(x, Node):
        return np.atleast_1d(x)
    return nodes.unsqueeze(x, [] if rank_of(x) else [0])


def meshgrid(*xi: Any, copy: bool = True, sparse: bool = False, indexing: str = "xy") -> Any:
    """numpy.meshgrid."""
    if not traced(list(xi)):
        return untyped.meshgrid(*xi, copy=copy, sparse=sparse, indexing=indexing)
    if indexing not in ("xy", "ij"):
        raise ValueError("Valid values for `indexing` are 'xy' and 'ij'.")
    values = [lift(x) for x in xi]
    count = len(values)
    turned = indexing == "xy" and count > 1
    places = [1, 0, *range(2, count)] if turned else list(range(count))
    made: list[Node] = []
    for x, place in zip(values, places, strict=True):
        flat = nodes.flatten(x)
        made.append(nodes.unsqueeze(flat, [axis for axis in range(count) if axis != place]))
    if not sparse:
        sizes = nodes.broadcast_sizes(*made)
        made = [nodes.expand(x, sizes, values) for x in made]
    return tuple(made)


def vander(x: Any, N: int | None = None, increasing: bool = False) -> Node:
    """numpy.vander, of a known number of columns."""
    v = lift(x)
    if rank_of(v) != 1:
        raise ValueError("x must be a one-dimensional array or sequence.")
    count = sizes_of(v)[0] if N is None else N
    if not isinstance(count, int):
        raise UnsupportedError("vander() of an array of unknown size needs N")
    kind = np.promote_types(v.dtype.numpy, np.int64)
    ready = nodes.unsqueeze(cast(v, kind), [1])
    ones = nodes.full([*sizes_of(v), 1], 1, kind, (v,))
    columns = [ones] + [ready] * (count - 1)
    made = nodes.concat(columns, 1) if count else nodes.slice_axis(ones, 1, 0, 0)
    made = accumulate("multiply", made, 1, kind) if count > 1 else made
    return made if increasing else nodes.flip_axes(made, [1])


def fromfunction(
    function: Any, shape: Any, *, dtype: Any = float, like: Any = None, **kw: Any
) -> Any:
    """numpy.fromfunction: the function of arrays of positions."""
    return function(*np.indices(tuple(shape), dtype), **kw)


def indices(dimensions: Any, dtype: Any = int, sparse: bool = False) -> Any:
    """numpy.indices, of known sizes."""
    sizes = known_sizes(dimensions)
    if isinstance(sizes, tuple):
        return untyped.indices(sizes, dtype, sparse)
    raise UnsupportedError("indices() of sizes that are not known")


CREATION: dict[str, Callable[..., Any]] = {
    "arange": spaces.arange,
    "array": array,
    "asanyarray": asarray,
    "asarray": asarray,
    "ascontiguousarray": ascontiguousarray,
    "asfortranarray": ascontiguousarray,
    "empty": filled("empty", 0),
    "empty_like": filled_like("empty_like", 0),
    "eye": eye,
    "fromfunction": fromfunction,
    "full": full,
    "full_like": full_like,
    "geomspace": spaces.geomspace,
    "identity": identity,
    "indices": indices,
    "linspace": spaces.linspace,
    "logspace": spaces.logspace,
    "meshgrid": meshgrid,
    "ones": filled("ones", 1),
    "ones_like": filled_like("ones_like", 1),
    "require": require,
    "tri": tri,
    "vander": vander,
    "zeros": filled("zeros", 0),
    "zeros_like": filled_like("zeros_like", 0),
}
"""The functions that make arrays, by their public names."""
