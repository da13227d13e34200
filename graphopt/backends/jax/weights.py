"""The large host arrays of a program: arguments, since literals cost compile time and memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from graphopt.backends.jax.library import jnp, lax
from graphopt.errors import UnsupportedError

Array = Any
Ints = tuple[int, ...]

LITERAL = 1 << 10
"""Arrays of at most this many bytes are written into the program."""


class Weights:
    """The arrays, and during one trace of the program, the arguments that stand for them.

    Made of the arrays that are known before any trace, each with the order of axes to store it in.
    `arrays` are the program's arguments so far: first these, so stored, then what traces asked for,
    in that order. What a trace asks for beyond is in `missing` and a literal in it: it should be
    repeated after `add_missing`.
    """

    def __init__(self, known: Sequence[tuple[Array, Ints]]) -> None:
        self._known = list(known)
        self.arrays = [np.ascontiguousarray(array.transpose(order)) for array, order in known]
        self.missing: list[Array] = []
        self._traced: Mapping[int, Array] = {}
        self._late: list[Array] = []

    def begin(self, traced: Sequence[Array]) -> None:
        """Start a trace in which these arguments stand for the arrays."""
        heads = zip(self._known, traced, strict=False)
        self._traced = {id(array): _turned_back(each, order) for (array, order), each in heads}
        self._late = list(traced[len(self._known) :])
        self.missing = []

    def add_missing(self) -> bool:
        """Take what the last trace missed among the arrays; whether that was anything."""
        self.arrays += self.missing
        return bool(self.missing)

    def device(self, array: Array) -> Array:
        """A host array as an operand of the device; raises UnsupportedError for strings.

        Scalars stay as they are: nothing indexes them, and making arrays of them takes time.
        """
        if array.dtype.kind == "O":
            raise UnsupportedError("jax has no strings: use backend='numpy'")
        if (argument := self._traced.get(id(array))) is not None:
            return argument
        if array.nbytes <= LITERAL:
            return jnp.asarray(array) if array.ndim else array
        if not any(array.strides):  # one number, everywhere
            return jnp.broadcast_to(array[(0,) * array.ndim], array.shape)
        if self._late:
            return self._late.pop(0)
        self.missing.append(array)
        return jnp.asarray(array)


def _turned_back(argument: Array, order: Ints) -> Array:
    """The array that was stored in this order of axes; XLA cancels that with what it wants."""
    return lax.transpose(argument, tuple(map(order.index, range(len(order)))))
