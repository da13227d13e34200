"""What kernels share: the precision they compute in, means, scalars."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from graphopt.op import Array, Xp


def wide(xp: Xp, *arrays: Array) -> list[Array]:
    """The arrays (None: absent) in one dtype to compute in: float32, or float64 if any has it."""
    dtype = xp.result_type(xp.float32, *(item.dtype for item in arrays if item is not None))
    return [None if item is None else xp.asarray(item, dtype) for item in arrays]


def single(xp: Xp, x: Array) -> Array:
    """x, in float32 if it is a 16-bit float: what is computed in several steps is rounded once."""
    return x.astype(xp.float32) if x.dtype.itemsize == 2 and x.dtype.kind not in "iu" else x


def mean_over(xp: Xp, x: Array, axes: Sequence[int]) -> Array:
    """The mean over some axes, which stay with size 1; NaN of nothing."""
    count = prod(x.shape[axis] for axis in axes)
    return xp.sum(x, axis=tuple(axes), keepdims=True) / count


def number(value: Array) -> int:
    """The one integer of an array."""
    return int(value.reshape(()))
