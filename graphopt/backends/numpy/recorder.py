"""What NumPy's functions mean when a kernel calls them on refs: views, or calls with `out`.

Shapes follow from rules, dtypes from trying a function on arrays of one element. What a function
returns is written into the arena where it can be told to (`out`); where not, it returns an array
of its own. What has no entry in the table is called as it is, and tried on zeros to learn the type
of its result.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from math import inf, prod
from typing import Any, SupportsIndex, cast

import numpy as np
from numpy.lib.array_utils import normalize_axis_tuple

from graphopt.backends.numpy import kernels
from graphopt.backends.numpy.block import (
    Array,
    Block,
    DataDependentError,
    RecordingError,
    Ref,
    metas,
)

SAMPLES: dict[type, Any] = {bool: True, int: 1, float: 1.5, complex: 1.5j}
"""The numbers of Python, whose own values do not count for a result's dtype (but for ints)."""


LARGE = 4096
"""From so many elements on, a call that is slow to make but fast to run is worth it."""

BITS: dict[Any, Any] = {np.dtype(np.float32): np.int32, np.dtype(np.float64): np.int64}
"""Floats that are chosen by bits, and the integers of their size."""

BOUNDS: dict[Any, Callable[[float], tuple[float, float]]] = {
    np.maximum: lambda x: (x, inf),
    np.minimum: lambda x: (-inf, x),
}
"""What these are to `np.clip`, which is several times faster where one operand is a number."""


class Recorder(Block):
    """A block that kernels write themselves into."""

    def ufunc(self, ufunc: np.ufunc, method: str, inputs: Any, kwargs: Any) -> Any:
        """Record a ufunc: element by element (or matmul), a reduction, an accumulation, `at`."""
        if method == "__call__":
            return self._apply(ufunc, inputs, dict(kwargs))
        if method == "reduce":
            return self.reduce(ufunc, *inputs, **kwargs)
        if method == "accumulate" and not kwargs.get("out"):
            return self._accumulate(ufunc, *inputs, **kwargs)
        if method == "at" and isinstance(inputs[0], Ref):
            self.write(self._writable(inputs[0]), ufunc.at, *inputs)
            return None
        raise RecordingError(f"{ufunc.__name__}.{method}")

    def _apply(self, ufunc: np.ufunc, inputs: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        out = kwargs.pop("out", None)
        if kwargs.keys() - {"casting", "dtype"} or ufunc.nout > 1:
            if out is not None:
                raise RecordingError(f"{ufunc.__name__} with out and {sorted(kwargs)}")
            return self.whole(partial(_call_method, ufunc, "__call__"), (inputs, kwargs), {})
        if ufunc in BOUNDS and out is None and (made := self._bounded(ufunc, *inputs)) is not None:
            return made
        if ufunc is np.matmul and out is None:
            return self._matmul(*inputs)
        shapes = [np.shape(metas(item)) for item in inputs]
        if ufunc.signature is not None:
            raise RecordingError(ufunc.__name__)
        shape = np.broadcast_shapes(*shapes)
        dtype = _result_dtype(ufunc, tuple(map(_kind, inputs)), kwargs.get("dtype"))
        target = self.temp(shape, dtype) if out is None else self._writable(out[0])
        inplace = all(not isinstance(item, Ref) or item.dtype == dtype for item in inputs)
        if ufunc in BOUNDS:  # NumPy is about to take `out` of these by name only
            kwargs["out"] = target
        else:
            inputs = (*inputs, target)
        return self.write(target, ufunc, *inputs, inplace=inplace, **kwargs)

    def _bounded(self, ufunc: np.ufunc, x: Any, y: Any) -> Ref | None:
        """A large array of floats bounded by a number; None for anything else."""
        if not isinstance(x, Ref):
            x, y = y, x
        if x.size < LARGE or x.dtype not in BITS or (number := number_of(y, None, x)) is None:
            return None
        target = self.temp(x.shape, x.dtype)
        args = (x, *BOUNDS[ufunc](number), target)
        return self.write(target, np.clip, *args, inplace=True)

    def _matmul(self, a: Any, b: Any) -> Ref:
        shape = _matmul_shape(np.shape(metas(a)), np.shape(metas(b)))
        dtype = _result_dtype(np.matmul, (_kind(a), _kind(b)), None)
        target = out = self.temp(shape, dtype)
        if not isinstance(b, Ref) and b.ndim == 2:
            b = np.ascontiguousarray(b)  # BLAS is up to 9 times faster at few rows than on b.T.T
        if isinstance(a, Ref) and b.ndim == 2 < a.ndim and a.meta.flags.c_contiguous:
            rows = prod(a.shape[:-1])
            a, out = a.reshape(rows, a.shape[-1]), target.reshape(rows, shape[-1])  # one product
        self.write(out, np.matmul, a, b, out)
        return target

    def reduce(
        self,
        ufunc: np.ufunc,
        x: Ref,
        axis: Any = 0,
        dtype: Any = None,
        out: Any = None,
        keepdims: bool = False,
        initial: Any = None,
        **more: Any,
    ) -> Ref:
        """Record a reduction over axes (None: all)."""
        if out is not None or more:
            raise RecordingError(f"{ufunc.__name__}.reduce with {sorted(more) or 'out'}")
        if axis is None or (not x.ndim and axis in (0, -1)):
            axis = tuple(range(x.ndim))
        gone = normalize_axis_tuple(axis, x.ndim)
        empty = any(not x.shape[each] for each in gone) and ufunc.identity is None
        if empty and initial is None:
            raise RecordingError("a reduction of nothing fails")
        kept = [1 if k in gone else n for k, n in enumerate(x.shape) if keepdims or k not in gone]
        target = self.temp(kept, _reduced_dtype(ufunc, x.dtype, dtype))
        if ufunc is np.add and initial is None and target.dtype == x.dtype in BITS:
            count = prod(x.shape[axis] for axis in gone)
            behind = prod(x.shape[max(gone, default=0) + 1 :])
            if behind > 1 < count and _are_neighbours(gone) and x.meta.flags.c_contiguous:
                return self._sum_of_rows(x, count, behind, target)
        start = () if initial is None else (initial,)
        args = (x, gone, dtype, target, keepdims, *start)
        return self.write(target, ufunc.reduce, *args)

    def _sum_of_rows(self, x: Ref, count: int, behind: int, target: Ref) -> Ref:
        """Sums over `count` rows as a product with ones: many times as fast, and more precise."""
        ones = np.ones((1, count), x.dtype)
        out = target.reshape(-1, 1, behind)
        self.write(out, np.matmul, ones, x.reshape(-1, count, behind), out)
        return target

    def _accumulate(self, ufunc: np.ufunc, x: Ref, axis: int = 0, dtype: Any = None) -> Ref:
        target = self.temp(x.shape, _reduced_dtype(ufunc, x.dtype, dtype))
        return self.write(target, ufunc.accumulate, x, axis, dtype, target)

    def function(self, func: Any, args: Any, kwargs: Any) -> Any:
        """Record a function of NumPy that is no ufunc."""
        from graphopt.backends.numpy.functions import DATA_DEPENDENT, FUNCTIONS

        if func in DATA_DEPENDENT:
            raise DataDependentError(func.__name__)
        known = FUNCTIONS.get(func)
        return self.whole(func, args, kwargs) if known is None else known(self, *args, **kwargs)

    def whole(self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Record a function that allocates its results, whose types are learnt from zeros."""
        try:
            sample = func(*_zeros(args), **{name: _zeros(item) for name, item in kwargs.items()})
        except Exception as error:
            raise RecordingError(f"fails on zeros: {error}") from error
        several = isinstance(sample, tuple | list)
        made = cast("Sequence[Any]", sample if several else (sample,))
        late = tuple(map(self.late, map(_empty, made)))
        self.call(late, partial(kernels.owned, func), *args, **kwargs)
        return late if several else late[0]

    def getitem(self, ref: Ref, index: Any) -> Any:
        """Record indexing: a view, or a gathering by arrays of integers."""
        parts: list[Any] = [*index] if isinstance(index, tuple) else [index]
        for part in parts:
            if isinstance(part, Ref) and part.dtype.kind == "b":
                raise DataDependentError("a mask")
        if any(isinstance(part, Ref | np.ndarray | list) for part in parts):
            return self.whole(operator.getitem, (ref, tuple(parts)), {})
        if any(part is Ellipsis for part in parts):
            return self.view(ref, operator.getitem, index)
        found = self.view(ref, operator.getitem, (*parts, ...))
        one = len(parts) == ref.ndim and all(isinstance(part, SupportsIndex) for part in parts)
        return self.copy(found) if one else found  # NumPy returns one element by value

    def setitem(self, ref: Ref, index: Any, value: Any) -> None:
        """Record an assignment into an array that a kernel has made."""
        self.write(self._writable(ref), operator.setitem, ref, index, value)

    def method(self, ref: Ref, name: str) -> Any:
        """A method or property of arrays."""
        from graphopt.backends.numpy.functions import METHODS, PROPERTIES

        if name in PROPERTIES:
            return PROPERTIES[name](self, ref)
        if name in METHODS:
            return partial(METHODS[name], self, ref)
        raise RecordingError(f"an array's {name}")

    def copy(self, x: Any, dtype: Any = None) -> Ref:
        """Record a copy, of a dtype if one is given; it is contiguous."""
        target = self.temp(np.shape(metas(x)), dtype or metas(x).dtype)
        same = isinstance(x, Ref) and x.dtype == target.dtype
        return self.write(target, np.copyto, target, x, "unsafe", inplace=same)

    def _writable(self, ref: Any) -> Ref:
        if not isinstance(ref, Ref) or ref.buffer.kind != "temp":
            raise RecordingError("writes into an array that it did not make")
        return ref


def _are_neighbours(axes: Sequence[int]) -> bool:
    return max(axes) - min(axes) + 1 == len(axes)


def _call_method(ufunc: np.ufunc, method: str, inputs: Any, kwargs: dict[str, Any]) -> Any:
    return getattr(ufunc, method)(*inputs, **kwargs)


def _empty(item: Any) -> Array:
    """An array like another, or like a scalar."""
    made: Array = np.empty_like(np.asarray(item))
    return made


def _zeros(value: Any) -> Any:
    if isinstance(value, Ref):
        return np.zeros(value.shape, value.dtype)
    if type(value) in (tuple, list):
        return type(value)(map(_zeros, value))
    return value


def _kind(item: Any) -> Any:
    """What an operand is to the rules of promotion."""
    if type(item) in SAMPLES:
        return type(item), item if type(item) is int else SAMPLES[type(item)]
    return metas(item).dtype if isinstance(item, Ref) else np.asarray(item).dtype


def number_of(item: Array | float | None, default: float | None, like: Ref) -> float | None:
    """A number, or an array of one of the same dtype, as a Python float; else None."""
    if item is None:
        return default
    if type(item) in (int, float):
        return float(item)
    if not isinstance(item, np.ndarray):
        return None
    fits = item.size == 1 and item.dtype == like.dtype and item.ndim <= like.ndim
    return float(item.reshape(())) if fits else None


@lru_cache(maxsize=4096)
def _result_dtype(ufunc: np.ufunc, kinds: tuple[Any, ...], dtype: Any) -> np.dtype[Any]:
    """The dtype of what a ufunc returns."""
    ndim = 2 if ufunc is np.matmul else 1
    sample: list[Any] = [k[1] if isinstance(k, tuple) else np.ones((1,) * ndim, k) for k in kinds]
    with np.errstate(all="ignore"):
        made: np.dtype[Any] = ufunc(*sample, dtype=dtype).dtype
    return made


@lru_cache(maxsize=1024)
def _reduced_dtype(ufunc: np.ufunc, dtype: np.dtype[Any], wanted: Any) -> np.dtype[Any]:
    made: np.dtype[Any] = ufunc.reduce(np.ones(1, dtype), dtype=wanted).dtype
    return made


def _matmul_shape(a: tuple[int, ...], b: tuple[int, ...]) -> tuple[int, ...]:
    if a[-1] != b[max(-2, -len(b))]:
        raise ValueError(f"matmul of {a} and {b}")
    batch = np.broadcast_shapes(a[:-2], b[:-2])
    return (*batch, *a[-2:-1], *(b[-1:] if len(b) > 1 else ()))
