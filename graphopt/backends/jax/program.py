"""A compiled program and what a call of it adds: as little as can be."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from graphopt.backends.jax.scope import wide as wide_numbers

Array = Any


class JaxProgram:
    """A compiled graph for inputs of certain shapes and dtypes, one array each, in their order.

    Outputs are read-only NumPy arrays, or JAX's where an input is one: then a call does not wait
    for them. `taken` are the positions of the inputs that the program depends on, and `wide` says
    that it takes 64-bit numbers. `weight_bytes` is what its large constants take on the device.
    """

    __slots__ = ("_run", "_taken", "_wide", "compiled", "weight_bytes")

    def __init__(
        self,
        compiled: Callable[..., Any],
        arguments: tuple[Array, ...],
        taken: Sequence[int],
        count: int,
        wide: bool,
    ) -> None:
        self.compiled = compiled
        self._run = partial(_direct(compiled), *arguments)
        self._taken = None if len(taken) == count else tuple(taken)
        self._wide = wide
        self.weight_bytes: int = sum(array.nbytes for array in arguments)

    def __call__(self, *arrays: Array) -> tuple[Array, ...]:
        taken = self._taken
        given = arrays if taken is None else [arrays[k] for k in taken]
        kinds = {*map(type, arrays)}
        from_host = np.ndarray in kinds
        if self._wide and from_host:  # JAX would make them narrow
            with wide_numbers():
                made = self._run(*given)
        else:
            made = self._run(*given)
        return made if len(kinds) > from_host else tuple(map(np.asarray, made))


def _direct(compiled: Callable[..., Any]) -> Callable[..., Any]:
    """What a compiled function of JAX's calls, without the Python around it where that is known."""
    try:
        inner: Any = compiled
        return inner._executable.create_cpp_call(inner._params) or compiled
    except (AttributeError, TypeError):
        return compiled
