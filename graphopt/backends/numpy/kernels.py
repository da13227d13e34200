"""What steps call that NumPy has no one function for. Results are written into `out`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from graphopt.backends.namespace import NUMPY, exact_roots

Array = np.ndarray[Any, Any]


def select(out: Array, condition: Array, x: Any, y: Any) -> None:
    """x where a condition holds, else y."""
    np.copyto(out, y, "unsafe")
    np.copyto(out, x, "unsafe", where=condition)


def pad(out: Array, inner: Array, borders: Sequence[Array], x: Array, fill: Any) -> None:
    """x as the inner part of out, and one value around it."""
    for border in borders:
        border[...] = fill
    np.copyto(inner, x)


def take(out: Array, x: Array, indices: Array, axis: int) -> None:
    """The items of x along an axis at indices, which may count from the end.

    Raises IndexError for one that is out of range. (`np.take` with `out` copies everything once
    more if it checks the indices itself.)
    """
    if not out.size:
        return  # NumPy does not look at the indices then
    count = x.shape[axis]
    if indices.size and not -count <= indices.min() <= indices.max() < count:
        raise IndexError(f"an index is out of range for axis {axis} of size {count}")
    x.take(indices, axis, out, "wrap")


def combine(out: Array, ufunc: np.ufunc, at: tuple[Array, ...], updates: Array) -> None:
    """Combine what is in out at an index with updates, one by one; sums of floats in double.

    By one flat index: NumPy is several times faster at that, and at counting. Raises IndexError.
    """
    parts: list[Array] = []
    for index, count in zip(at, out.shape, strict=False):
        low = index.min(initial=0)
        if not -count <= low <= index.max(initial=-1) < count:
            raise IndexError(f"an index is out of range for an axis of size {count}")
        parts.append(np.where(index < 0, index + count, index) if low < 0 else index)
    if len(parts) < out.ndim:
        ufunc.at(out, tuple(parts), updates)
        return
    flat = parts[0] if out.ndim == 1 else np.zeros((), np.intp)
    for index, stride in zip(parts if out.ndim > 1 else (), out.strides, strict=False):
        flat = flat + index * (stride // out.itemsize)
    flat, values = flat.reshape(-1), np.broadcast_to(updates, flat.shape).reshape(-1)
    if ufunc is np.add and out.dtype in (np.float32, np.float64):
        whole = out.reshape(-1)
        np.add(whole, np.bincount(flat, values, whole.size), whole, casting="same_kind")
    else:
        ufunc.at(out.reshape(-1), flat, values)


def choose(out: Array, mask: Array, x: Array, y: Array) -> None:
    """x where the mask is all ones, y where it is zero; all are integers. x may be out."""
    np.bitwise_xor(x, y, out)
    np.bitwise_and(out, mask, out)
    np.bitwise_xor(out, y, out)


def divide_integers(out: Array, x: Array, y: Array) -> None:
    """x / y rounded toward zero. Raises ZeroDivisionError."""
    np.copyto(out, NUMPY.divide_integers(x, y))


def mend_roots(made: Array, x: Any, y: Any) -> None:
    """x to the power of y, NumPy's own: what it takes for a root is mended."""
    np.copyto(made, exact_roots(made, x, y))


def owned(func: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """What a function returns, as arrays that share no memory with its arguments.

    The memory of arguments in the arena is used again, so no result may be a view of it.
    """
    made: Any = func(*args, **kwargs)
    if isinstance(made, tuple | list):
        several: list[Any] = [*made]
        return tuple(apart(item, args) for item in several)
    return apart(made, args)


def apart(made: Any, arguments: Sequence[Any]) -> Array:
    """A result as an array, copied if it may share memory with an argument."""
    array: Array = np.asarray(made)
    for item in arguments:
        if isinstance(item, tuple | list):
            parts: list[Any] = [*item]
            array = apart(array, parts)
        elif isinstance(item, np.ndarray) and _meet(array, item):  # pyright: ignore[reportUnknownArgumentType]
            return array.copy()
    return array


def _meet(one: Array, other: Array) -> bool:
    return np.may_share_memory(one, other)
