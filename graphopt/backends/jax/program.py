"""A compiled program and what a call of it adds: as little as can be."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from graphopt.backends.jax.library import jax
from graphopt.backends.jax.scope import wide as wide_numbers

Array = Any


class JaxProgram:
    """A compiled graph for inputs of certain shapes and dtypes, one array each, in their order.

    Outputs are read-only NumPy arrays, or JAX's where an input is one: then a call does not wait
    for them. `taken` are the positions of the inputs that the program depends on, and `wide` says
    that it takes 64-bit numbers. `weight_bytes` is what its large constants take on the device.
    """

    __slots__ = ("_arguments", "_executable", "_taken", "_wide", "weight_bytes")

    def __init__(
        self,
        executable: Callable[..., Any],
        arguments: tuple[Array, ...],
        taken: Sequence[int],
        count: int,
        wide: bool,
    ) -> None:
        self._executable = executable
        self._arguments = arguments
        self._taken = None if len(taken) == count else tuple(taken)
        self._wide = wide
        self.weight_bytes: int = sum(array.nbytes for array in arguments)

    def __call__(self, *arrays: Array) -> tuple[Array, ...]:
        taken = self._taken
        given = arrays if taken is None else [arrays[k] for k in taken]
        if self._wide:
            with wide_numbers():
                made = self._executable(*self._arguments, *given)
        else:
            made = self._executable(*self._arguments, *given)
        for array in arrays:
            if type(array) is not np.ndarray and isinstance(array, jax.Array):
                return tuple(made)
        return tuple(map(np.asarray, made))
