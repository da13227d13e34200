"""The table of NumPy's functions: what each becomes when a kernel calls it on refs.

Every entry takes the recorder and the function's own arguments.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from math import inf
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index

from graphopt.backends.numpy import kernels
from graphopt.backends.numpy.block import RecordingError, Ref, metas
from graphopt.backends.numpy.recorder import BITS, LARGE, Recorder, number_of

Entry = Callable[..., Any]


def _view(func: Callable[..., Any]) -> Entry:
    """A function that returns a view of its first argument where it can."""

    def record(rec: Recorder, a: Ref, *args: Any, **kwargs: Any) -> Ref:
        return rec.view(a, partial(func, **kwargs) if kwargs else func, *args)

    return record


def _reduction(ufunc: np.ufunc) -> Entry:
    def record(
        rec: Recorder, a: Ref, axis: Any = None, dtype: Any = None, out: Any = None, **more: Any
    ) -> Ref:
        return rec.reduce(ufunc, a, axis, dtype, out, **more)

    return record


def _extreme(ufunc: np.ufunc) -> Entry:
    def record(rec: Recorder, a: Ref, axis: Any = None, out: Any = None, **more: Any) -> Ref:
        return rec.reduce(ufunc, a, axis, None, out, **more)

    return record


def _truth(ufunc: np.ufunc) -> Entry:
    def record(rec: Recorder, a: Ref, axis: Any = None, **more: Any) -> Ref:
        return rec.reduce(ufunc, a, axis, bool, **more)

    return record


def _position(func: Callable[..., Any]) -> Entry:
    """argmax and argmin."""

    def record(rec: Recorder, a: Ref, axis: int | None = None, *, keepdims: bool = False) -> Ref:
        if axis is None or keepdims:
            raise RecordingError("argmax over all axes, or that keeps them")
        axis = normalize_axis_index(axis, a.ndim)
        if not a.shape[axis]:
            raise ValueError("argmax of nothing")
        kept = a.shape[:axis] + a.shape[axis + 1 :]
        target = rec.temp(kept, np.intp)
        return rec.write(target, func, a, axis, target)

    return record


def _concatenate(rec: Recorder, arrays: Sequence[Any], axis: int | None = 0) -> Ref:
    if axis is None:
        arrays, axis = [np.ravel(item) for item in arrays], 0
    shapes = [np.shape(metas(item)) for item in arrays]
    axis = normalize_axis_index(axis, len(shapes[0]))
    shape = list(shapes[0])
    shape[axis] = sum(item[axis] for item in shapes)
    for item in shapes:
        if item[:axis] + item[axis + 1 :] != (*shape[:axis], *shape[axis + 1 :]):
            raise ValueError(f"shapes {shapes} cannot be concatenated along axis {axis}")
    target = rec.temp(shape, np.result_type(*map(metas, arrays)))
    return rec.write(target, np.concatenate, tuple(arrays), axis, target)


def _stack(rec: Recorder, arrays: Sequence[Any], axis: int = 0) -> Ref:
    return _concatenate(rec, [np.expand_dims(item, axis) for item in arrays], axis)


def _split(rec: Recorder, a: Ref, sections: Any, axis: int = 0) -> list[Ref]:
    before = (slice(None),) * normalize_axis_index(axis, a.ndim)
    made: list[Ref] = []
    start = 0
    for part in np.split(a.meta, sections, axis):
        made.append(a[(*before, slice(start, start + part.shape[axis]))])
        start += part.shape[axis]
    return made


def _where(rec: Recorder, condition: Any, x: Any, y: Any) -> Ref:
    shape = np.broadcast_shapes(*(np.shape(metas(item)) for item in (condition, x, y)))
    target = rec.temp(shape, np.result_type(metas(x), metas(y)))
    if metas(condition).dtype.kind != "b":
        condition = np.not_equal(condition, 0)
    if target.size >= LARGE and target.dtype in BITS and isinstance(condition, Ref):
        return _choose(rec, target, condition, x, y)
    return rec.write(target, kernels.select, target, condition, x, y)


def _choose(rec: Recorder, target: Ref, condition: Ref, x: Any, y: Any) -> Ref:
    """Choose by bits: several passes, but none that branches on what is random."""
    bits = BITS[target.dtype]
    mask = np.negative(condition.view(np.int8)).astype(bits)
    x, y = (_bits_of(rec, item, target.dtype, bits) for item in (x, y))
    out = rec.view(target, np.ndarray.view, bits)
    rec.write(out, kernels.choose, out, mask, x, y)
    return target


def _bits_of(rec: Recorder, item: Any, dtype: Any, bits: Any) -> Any:
    if isinstance(item, Ref):
        return _astype(rec, item, dtype, copy=False).view(bits)
    return np.asarray(item, dtype).reshape(np.shape(item)).view(bits)


def _clip(rec: Recorder, a: Ref, low: Any = None, high: Any = None) -> Any:
    bounds = number_of(low, -inf, a), number_of(high, inf, a)
    if a.size >= LARGE and a.dtype in BITS and None not in bounds:
        target = rec.temp(a.shape, a.dtype)
        return rec.write(target, np.clip, a, *bounds, target, inplace=True)
    made: Any = a
    if low is not None and bounds[0] != -inf:
        made = np.maximum(made, low)
    return made if high is None or bounds[1] == inf else np.minimum(made, high)


def _take(rec: Recorder, a: Any, indices: Any, axis: int | None = None) -> Any:
    a, indices = (item if isinstance(item, Ref) else np.asarray(item) for item in (a, indices))
    if axis is None:
        a, axis = a.reshape(-1), 0
    axis = normalize_axis_index(axis, a.ndim)
    if not isinstance(indices, Ref) and indices.ndim == 0:  # one item: a view
        return a[(slice(None),) * axis + (int(indices),)]
    target = rec.temp((*a.shape[:axis], *indices.shape, *a.shape[axis + 1 :]), metas(a).dtype)
    return rec.write(target, kernels.take, target, a, indices, axis)


def _pad(
    rec: Recorder, a: Ref, widths: Any, mode: str = "constant", constant_values: Any = 0
) -> Ref:
    if mode == "reflect":
        return _reflected(rec, a, np.broadcast_to(widths, (a.ndim, 2)).tolist())
    if mode != "constant" or isinstance(constant_values, Ref) or np.size(constant_values) != 1:
        more = {"constant_values": constant_values} if mode == "constant" else {}
        whole: Ref = rec.whole(np.pad, (a, widths, mode), more)
        return whole
    pairs: list[tuple[int, int]] = np.broadcast_to(widths, (a.ndim, 2)).tolist()
    target = rec.temp([n + b + e for n, (b, e) in zip(a.shape, pairs, strict=True)], a.dtype)
    inner = tuple(slice(b, b + n) for n, (b, _) in zip(a.shape, pairs, strict=True))
    borders: list[Ref] = []
    for axis, (begin, end) in enumerate(pairs):
        # Of the axes before this one, only what is inside is left.
        parts = [slice(0, begin)] * (begin > 0) + [slice(begin + a.shape[axis], None)] * (end > 0)
        borders += [target[(*inner[:axis], part)] for part in parts]
    args = (target, target[inner], borders, a, constant_values)
    return rec.write(target, kernels.pad, *args)


def _reflected(rec: Recorder, a: Ref, pairs: list[tuple[int, int]]) -> Ref:
    for axis, (begin, end) in enumerate(pairs):
        if max(begin, end) >= a.shape[axis]:
            left = [(0, 0)] * axis + pairs[axis:]  # what a has already is not added again
            whole: Ref = rec.whole(np.pad, (a, left, "reflect"), {})
            return whole
        before, last = (slice(None),) * axis, a.shape[axis] - 1
        first = slice(begin, 0, -1)
        behind = slice(last - 1, last - 1 - end if last > end else None, -1)
        parts = [a[(*before, first)]] * (begin > 0) + [a] + [a[(*before, behind)]] * (end > 0)
        a = _concatenate(rec, parts, axis) if len(parts) > 1 else a
    return a


def _filled(value: Any) -> Entry:
    """zeros_like and its kin: their content is known."""

    def record(rec: Recorder, a: Ref, *args: Any, dtype: Any = None) -> Any:
        (fill,) = args or (value,)
        return np.full(a.shape, fill, dtype or a.dtype)

    return record


def _cumsum(rec: Recorder, a: Ref, axis: int | None = None, dtype: Any = None) -> Any:
    return np.add.accumulate(a.reshape(-1) if axis is None else a, axis or 0, dtype)


def _astype(rec: Recorder, a: Ref, dtype: Any, *, copy: bool = True) -> Ref:
    return a if a.dtype == np.dtype(dtype) and not copy else rec.copy(a, np.dtype(dtype))


def _reshape(rec: Recorder, a: Ref, *shape: Any) -> Ref:
    return rec.view(a, np.reshape, shape[0] if len(shape) == 1 else shape)


def _transpose(rec: Recorder, a: Ref, *axes: Any) -> Ref:
    return rec.view(a, np.transpose, axes[0] if len(axes) == 1 else axes or None)


def _bits(rec: Recorder, a: Ref, dtype: Any) -> Ref:
    if np.dtype(dtype).itemsize != a.itemsize and a.buffer.kind in ("input", "late"):
        a = rec.copy(a)  # the last axis of what is there at run time may not be contiguous
    return rec.view(a, np.ndarray.view, np.dtype(dtype))


def _of_types(func: Callable[..., Any]) -> Entry:
    """A function of shapes and dtypes only."""

    def answer(rec: Recorder, *args: Any, **kwargs: Any) -> Any:
        return func(*map(metas, args), **kwargs)

    return answer


def _copy(rec: Recorder, a: Ref, order: str = "C") -> Ref:
    return rec.copy(a)


def _flatten(rec: Recorder, a: Ref) -> Ref:
    return rec.view(rec.copy(a), np.ravel)


FUNCTIONS: dict[Any, Entry] = {
    np.reshape: _view(np.reshape),
    np.transpose: _view(np.transpose),
    np.swapaxes: _view(np.swapaxes),
    np.moveaxis: _view(np.moveaxis),
    np.expand_dims: _view(np.expand_dims),
    np.squeeze: _view(np.squeeze),
    np.broadcast_to: _view(np.broadcast_to),
    np.flip: _view(np.flip),
    np.ravel: _view(np.ravel),
    np.diagonal: _view(np.diagonal),
    np.atleast_1d: _view(np.atleast_1d),
    np.real: _view(np.real),
    np.imag: _view(np.imag),
    np.split: _split,
    np.sum: _reduction(np.add),
    np.prod: _reduction(np.multiply),
    np.max: _extreme(np.maximum),
    np.min: _extreme(np.minimum),
    np.amax: _extreme(np.maximum),
    np.amin: _extreme(np.minimum),
    np.any: _truth(np.logical_or),
    np.all: _truth(np.logical_and),
    np.argmax: _position(np.argmax),
    np.argmin: _position(np.argmin),
    np.concatenate: _concatenate,
    np.stack: _stack,
    np.where: _where,
    np.clip: _clip,
    np.take: _take,
    np.pad: _pad,
    np.cumsum: _cumsum,
    np.zeros_like: _filled(0),
    np.ones_like: _filled(1),
    np.empty_like: _filled(0),
    np.full_like: _filled(None),
    np.shape: _of_types(np.shape),
    np.ndim: _of_types(np.ndim),
    np.size: _of_types(np.size),
    np.result_type: _of_types(np.result_type),
    np.copy: _copy,
}

DATA_DEPENDENT = frozenset(
    {np.nonzero, np.flatnonzero, np.argwhere, np.unique, np.compress, np.extract}
)
"""The shapes of what these return depend on content."""

METHODS: dict[str, Entry] = {
    "astype": _astype,
    "reshape": _reshape,
    "transpose": _transpose,
    "view": _bits,
    "copy": _copy,
    "ravel": FUNCTIONS[np.ravel],
    "flatten": _flatten,
    "squeeze": FUNCTIONS[np.squeeze],
    "swapaxes": FUNCTIONS[np.swapaxes],
    "sum": FUNCTIONS[np.sum],
    "prod": FUNCTIONS[np.prod],
    "max": FUNCTIONS[np.max],
    "min": FUNCTIONS[np.min],
    "any": FUNCTIONS[np.any],
    "all": FUNCTIONS[np.all],
    "argmax": FUNCTIONS[np.argmax],
    "argmin": FUNCTIONS[np.argmin],
    "clip": _clip,
    "take": _take,
    "cumsum": _cumsum,
}

PROPERTIES: dict[str, Entry] = {
    "T": _transpose,
    "real": FUNCTIONS[np.real],
    "imag": FUNCTIONS[np.imag],
}
