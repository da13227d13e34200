"""Compiling a graph for a backend, and what comes of it: a function of arrays.

A program is made for the shapes and dtypes that it meets, and kept. Where a shape, an axis or a
branch depends on what an input contains, the program is made for that content too: which inputs
these are is found when a backend first asks (`NeedsValues`).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib import import_module
from threading import RLock
from typing import Any, Protocol

import numpy as np

from graphopt.backends.inputs import bind_inputs
from graphopt.errors import ExecutionError, UsageError, nearest
from graphopt.fusion import expanded
from graphopt.graph import Graph
from graphopt.types import TensorType

Array = Any
Key = tuple[Any, ...]

BACKENDS = {
    "jax": "graphopt.backends.jax",
    "numpy": "graphopt.backends.numpy",
    "reference": "graphopt.backends.reference",
}
"""The module of each backend; its `lower` makes programs."""

MAX_PROGRAMS = 32
"""How many programs an executable keeps; the one that was made first goes first."""

MAX_CONTENTS = 16
"""For how many contents of inputs programs are made before backends must do without, if they can:
what changes at every call, like a position, is no option that a program should be made for."""


class NeedsValues(Exception):  # noqa: N818 - no failure: what a backend asks for
    """A program depends on what these inputs contain, by their positions."""

    def __init__(self, inputs: Iterable[int]) -> None:
        super().__init__()
        self.inputs = frozenset(inputs)


@dataclass(frozen=True, slots=True)
class Options:
    """How a graph is compiled: on how many threads, and which inputs' memory may be reused.

    `ask` says whether a program may be made for what inputs contain where it could do without.
    """

    threads: int = 1
    donate: frozenset[str] = frozenset()
    ask: bool = True


@dataclass(frozen=True, slots=True)
class Spec:
    """The shape and dtype of an array that is not there yet."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]


class Program(Protocol):
    """A compiled graph for inputs of certain shapes and dtypes: one array each, in their order."""

    def __call__(self, *arrays: Array) -> tuple[Array, ...]: ...


class Lower(Protocol):
    """What a backend's module does: make a program of a graph.

    `inputs` have the shapes and dtypes; only the content of those in `by_value`, by position, may
    be used. Raises NeedsValues when there must be more of them.
    """

    def __call__(
        self,
        graph: Graph,
        inputs: Sequence[Array | Spec],
        by_value: Mapping[int, Array],
        options: Options,
    ) -> Program: ...


Prepare = Callable[[Graph], Graph]
"""What makes another graph of one, with the same inputs and outputs, for a backend."""


def unchanged(graph: Graph) -> Graph:
    """The graph itself."""
    return graph


class Executable:
    """A compiled graph. Call it with arrays by position or by name; it returns a tuple of arrays.

    Inputs that have a default may be left out. Safe to call from several threads at once. Raises
    ExecutionError for inputs that are missing, unknown or ill-typed, and naming the node and where
    it comes from when a kernel fails.
    """

    def __init__(
        self,
        graph: Graph,
        backend: str,
        lower: Lower,
        options: Options,
        prepare: Prepare = unchanged,
    ) -> None:
        self.graph = graph
        self.backend = backend
        self._lowered = prepare(expanded(graph))
        self.options = options
        self.by_value: frozenset[int] = frozenset()
        self._lower = lower
        self._count = len(graph.inputs)
        self._programs: dict[Key, Program] = {}
        self._latest: Program | None = None
        self._contents = 0
        self._making = RLock()
        if (specs := _static_inputs(graph)) is not None:
            self._compile_ahead(specs)

    def __call__(self, /, *arrays: Array, **named: Array) -> tuple[Array, ...]:
        if named or len(arrays) != self._count:
            arrays = self._complete(arrays, named)
        try:
            key: Key = tuple([(type(array), array.shape, array.dtype) for array in arrays])
            program = self._programs[self._key(arrays) if self.by_value else key]
        except (KeyError, AttributeError):  # new, or no arrays as they should be
            arrays, program = self._find(arrays)
        return program(*arrays)

    def prepare(self, *arrays: Array | Spec) -> Program | None:
        """The program for arrays of these shapes and dtypes, one for each input.

        None when it would depend on what they contain, too: then call the executable.
        """
        try:
            program = self._find(arrays)[1]
        except NeedsValues:
            return None
        return None if self.by_value else program

    def program(self, /, *arrays: Array, **named: Array) -> Program:
        """The program that runs for these arrays."""
        return self._find(self._complete(arrays, named))[1]

    @property
    def plan(self) -> Any:
        """How the program that was made last runs; prints. Raises UsageError when there is none."""
        if self._latest is None:
            raise UsageError("nothing is planned yet: call it with arrays first", at="plan")
        return getattr(self._latest, "plan", None)

    def profile(self, /, *arrays: Array, runs: int = 5, **named: Array) -> Any:
        """Run on these arrays and measure every step; see the backend for what it returns."""
        found, program = self._find(self._complete(arrays, named))
        measure = getattr(program, "profile", None)
        if measure is None:
            raise UsageError(f"the {self.backend} backend has no profile", at="profile")
        return measure(*found, runs=runs)

    def _key(self, arrays: Sequence[Array | Spec]) -> Key:
        """What programs are told apart by: the fast path's key, for anything."""
        key = tuple(map(_kind, arrays))
        if self.by_value:
            return (*key, *(np.asarray(arrays[k]).tobytes() for k in sorted(self.by_value)))
        return key

    def _complete(self, arrays: Sequence[Array], named: Mapping[str, Array]) -> tuple[Array, ...]:
        """One array for each input, in their order."""
        names = self.graph.input_names
        if len(arrays) > self._count:
            text = f"{len(arrays)} arrays where {self._count} inputs are taken"
            raise ExecutionError(text, at=self.graph.name)
        feeds = dict(zip(names, arrays, strict=False))
        for name, array in named.items():
            if name in feeds:
                raise ExecutionError("given twice, by position and by name", at=f"input {name!r}")
            if name not in names:
                hint = nearest(name, list(names))
                raise ExecutionError(f"the graph has no input {name!r}{hint}", at=self.graph.name)
            feeds[name] = array
        bound = bind_inputs(self.graph, feeds)
        return tuple(bound[node] for node in self.graph.inputs)

    def _find(self, arrays: Sequence[Array | Spec]) -> tuple[tuple[Array, ...], Program]:
        """The arrays as programs take them, and their program, which is made if it is new."""
        with self._making:
            if len(arrays) != self._count:
                text = f"{len(arrays)} arrays where {self._count} inputs are taken"
                raise ExecutionError(text, at=self.graph.name)
            ready = tuple(map(self._canonical, arrays))
            likes = map(_like, ready)
            bind_inputs(self.graph, dict(zip(self.graph.input_names, likes, strict=True)))
            while True:
                try:
                    return ready, self._made(ready)
                except NeedsValues as needs:
                    if any(isinstance(ready[k], Spec) for k in needs.inputs):
                        raise
                    if needs.inputs <= self.by_value:
                        raise AssertionError("asked twice for the same values") from needs
                    self.by_value |= needs.inputs
                    self._programs.clear()

    def _made(self, arrays: tuple[Array | Spec, ...]) -> Program:
        if any(isinstance(arrays[k], Spec) for k in self.by_value):
            raise NeedsValues(self.by_value)
        key = self._key(arrays)
        program = self._programs.get(_for_any(key))
        if program is None:
            known = {k: np.array(arrays[k]) for k in self.by_value}
            self._contents += bool(known)
            if self._contents > MAX_CONTENTS and self.options.ask:
                self.options = replace(self.options, ask=False)
                self.by_value = frozenset()
                self._programs.clear()
                return self._made(arrays)
            with np.errstate(all="ignore"):
                program = self._lower(self._lowered, arrays, known, self.options)
            self._keep(_for_any(key), program)
        self._keep(key, program)
        self._latest = program
        return program

    def _keep(self, key: Key, program: Program) -> None:
        if key not in self._programs and len(self._programs) >= MAX_PROGRAMS:
            del self._programs[next(iter(self._programs))]
        self._programs[key] = program

    def _canonical(self, array: Array | Spec) -> Array | Spec:
        if isinstance(array, Spec):
            return array
        if type(array) is np.ndarray and array.dtype.isnative and array.dtype.kind not in "US":
            return array
        if self.backend == "jax" and type(array).__module__.startswith("jax"):
            return array
        if isinstance(array, list) and not self._all_tensors():
            return array  # pyright: ignore[reportUnknownVariableType]  # a sequence's
        made: Any = np.asarray(array)  # pyright: ignore[reportUnknownArgumentType]  # of anything
        if made.dtype.kind in "US":
            return made.astype(object)
        return made.astype(made.dtype.newbyteorder("="), copy=False)

    def _all_tensors(self) -> bool:
        return all(isinstance(node.derived_type, TensorType) for node in self.graph.inputs)

    def _compile_ahead(self, specs: tuple[Spec, ...]) -> None:
        """Make the only program that there will be, unless it depends on values."""
        with suppress(NeedsValues):
            self._find(specs)

    def __repr__(self) -> str:
        inputs = ", ".join(f"{node.attrs['name']}: {node.type}" for node in self.graph.inputs)
        return f"<{self.graph.name} on {self.backend}, {self._count} inputs: {inputs}>"


def _kind(array: Any) -> Key:
    """What an array, or the spec of one, must have in common with another."""
    if isinstance(array, Spec):
        return (np.ndarray, array.shape, array.dtype)
    return (array.__class__, getattr(array, "shape", None), getattr(array, "dtype", None))


def _for_any(key: Key) -> Key:
    """The key of a program for NumPy's arrays, which is the same for the backend's own."""
    return tuple((np.ndarray, *item[1:]) if isinstance(item, tuple) else item for item in key)


def _like(array: Array | Spec) -> Array:
    """An array, or one without memory that has a spec's shape and dtype."""
    if isinstance(array, Spec):
        return np.broadcast_to(np.empty((), array.dtype), array.shape)
    return array


def _static_inputs(graph: Graph) -> tuple[Spec, ...] | None:
    """The inputs' specs when all have one shape that is known."""
    specs: list[Spec] = []
    for node in graph.inputs:
        kind = node.derived_type
        if not isinstance(kind, TensorType) or kind.shape is None:
            return None
        shape = tuple(size for size in kind.shape if isinstance(size, int))
        if len(shape) < len(kind.shape):
            return None
        specs.append(Spec(shape, kind.dtype.numpy))
    return tuple(specs)


def compile(
    graph: Graph,
    backend: str = "numpy",
    *,
    threads: int | None = None,
    donate: Iterable[str] = (),
    prepare: Prepare = unchanged,
) -> Executable:
    """A graph as a function of arrays: run(*arrays) or run(**named) returns a tuple of arrays.

    `backend` is numpy (threaded NumPy, on at most `threads` threads, by default one a processor),
    jax (XLA) or reference (serial NumPy, node by node: the definition of what a graph means).
    `donate` names inputs whose memory the jax backend may reuse: their arrays are gone after a
    call. `prepare` makes of the graph, with what is fused opened, the one that is run. Raises
    UsageError for an unknown backend, MissingExtraError when it is not installed, and
    UnsupportedError for a graph that it cannot run.
    """
    if backend not in BACKENDS:
        hint = nearest(backend, list(BACKENDS))
        raise UsageError(f"no backend is called {backend!r}{hint}", at="backend")
    if threads is not None and threads < 1:
        raise UsageError(f"{threads} threads", at="threads")
    given = frozenset(donate)
    for name in sorted(given.difference(graph.input_names)):
        hint = nearest(name, list(graph.input_names))
        raise UsageError(f"the graph has no input {name!r}{hint}", at="donate")
    lower: Lower = import_module(BACKENDS[backend]).lower
    options = Options(threads or processors(), given)
    return Executable(graph, backend, lower, options, prepare)


def processors() -> int:
    """How many processors this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
