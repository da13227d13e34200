"""What is known of an array before its values are: shape, dtype and strides.

Layouts are interned: an equal layout is, as a rule, the same object, so that what was inferred once
is found by identity.
"""

from __future__ import annotations

from typing import Any, TypeAlias, TypeGuard
from weakref import WeakValueDictionary

import numpy as np

Raw: TypeAlias = np.ndarray[Any, np.dtype[Any]]
Shape: TypeAlias = tuple[int, ...]

ALIGNMENT = 64  # bytes: a cache line, and the widest vector
_interned: WeakValueDictionary[Any, Layout] = WeakValueDictionary()


class Layout:
    """Shape, dtype and strides of an array; `strides` is None for a C-contiguous one.

    `scalar` marks what NumPy would return as a scalar: nothing writes to it.
    """

    __slots__ = ("__weakref__", "capacity", "dtype", "nbytes", "scalar", "shape", "size", "strides")

    def __init__(
        self, shape: Shape, dtype: np.dtype[Any], strides: Shape | None, scalar: bool
    ) -> None:
        self.shape = shape
        self.dtype = dtype
        self.strides = strides
        self.scalar = scalar
        self.size = 1
        for extent in shape:
            self.size *= extent
        self.nbytes = self.size * dtype.itemsize
        self.capacity = capacity(self.nbytes)

    def stand_in(self) -> Raw:
        """An array of this layout, to ask NumPy what a function returns: zeros, or identities."""
        if self.strides is None:
            raw: Raw = np.zeros(self.shape, self.dtype)
        else:
            extents = [(n - 1) * s for n, s in zip(self.shape, self.strides, strict=True)]
            before = -sum(min(0, extent) for extent in extents)
            after = sum(max(0, extent) for extent in extents) + self.dtype.itemsize
            buffer = np.zeros(before + after if self.size else 0, np.uint8)
            raw = np.ndarray(
                self.shape, self.dtype, buffer, before if self.size else 0, self.strides
            )
        return raw

    def regular(self) -> Raw:
        """A stand-in that can be inverted, where that is possible at all."""
        raw = np.zeros(self.shape, self.dtype)
        if len(self.shape) > 1:
            diagonal = range(min(self.shape[-2:]))
            raw[..., diagonal, diagonal] = 1
        return raw

    def hollow(self) -> Raw:
        """An array of this shape and dtype that occupies one element, for NumPy to refuse."""
        element = np.zeros((), self.dtype)
        return np.lib.stride_tricks.as_strided(element, self.shape, (0,) * len(self.shape))

    def __repr__(self) -> str:
        return f"{self.dtype}{list(self.shape)}"


def intern(
    shape: Shape, dtype: np.dtype[Any], strides: Shape | None = None, scalar: bool = False
) -> Layout:
    """The layout with these properties."""
    key = (shape, dtype, strides, scalar)
    found = _interned.get(key)
    if found is None:
        found = _interned.setdefault(key, Layout(shape, dtype, strides, scalar))
    return found


def layout_of(raw: Any, scalar: bool = False) -> Layout:
    """The layout of a NumPy array."""
    strides = None if raw.flags.c_contiguous else raw.strides
    return intern(raw.shape, raw.dtype, strides, scalar)


def is_raw(value: Any) -> TypeGuard[Raw]:
    """Whether something is an array of NumPy."""
    return isinstance(value, np.ndarray)


def is_scalar(value: Any) -> TypeGuard[np.generic[Any]]:
    """Whether something is a scalar of NumPy."""
    return isinstance(value, np.generic)


def kind_of(value: Any) -> Any:
    """The type of something, about which nothing is known."""
    return value.__class__


def as_tuple(value: Any) -> tuple[Any, ...]:
    """Something as a tuple; what is no tuple becomes one of it."""
    return value if issubclass(kind_of(value), tuple) else (value,)


def capacity(nbytes: int) -> int:
    """The size of the blocks that hold so many bytes: at most an eighth more, and a cache line.

    >>> capacity(8), capacity(1000), capacity(1_000_000)
    (64, 1024, 1048576)
    """
    step = max(ALIGNMENT, 1 << max(0, nbytes.bit_length() - 4))
    return max(ALIGNMENT, -(-nbytes // step) * step)
