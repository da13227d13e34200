"""One runnable copy of a program: an arena, and functions over it. It runs once at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextvars import Context, copy_context
from functools import partial
from time import perf_counter
from typing import Any

import numpy as np

from graphopt.backends.numpy import blas
from graphopt.backends.numpy.block import Array, Buffer, Ref
from graphopt.backends.numpy.emit import Source
from graphopt.backends.numpy.profile import Span
from graphopt.engine import Engine
from graphopt.engine.plan import Plan, Program
from graphopt.engine.plan.memory import ALIGNMENT

Run = Callable[..., tuple[Array, ...]]


def quiet() -> Context:
    """A context in which NumPy does not warn; entering one costs a tenth of `np.errstate`."""
    context = copy_context()
    context.run(np.seterr, all="ignore")
    return context


class Arena:
    """The memory of a plan's step buffers, and the arrays in it."""

    def __init__(self, plan: Plan, names: dict[Buffer, str]) -> None:
        memory = np.empty(plan.arena + ALIGNMENT, np.uint8)
        skipped = -memory.__array_interface__["data"][0] % ALIGNMENT
        self.bytes = memory[skipped : skipped + plan.arena]
        self._offsets = plan.layout.offset
        self._names = names
        self._arrays: dict[tuple[Any, ...], Array] = {}

    def array(self, ref: Ref) -> Array:
        """The array of a ref whose buffer is in the arena.

        The same object for the same place and layout: NumPy sees then, without looking further,
        that a result in place of an operand is safe.
        """
        base = ref.buffer.meta
        assert base is not None
        meta = ref.meta
        place = self._offsets[self._names[ref.buffer]]
        if not meta.size:
            return np.empty(meta.shape, meta.dtype)
        place += meta.__array_interface__["data"][0] - base.__array_interface__["data"][0]
        key = (place, meta.shape, meta.dtype, meta.strides)
        if key not in self._arrays:
            self._arrays[key] = np.ndarray(
                meta.shape, meta.dtype, self.bytes.data, place, meta.strides
            )
        return self._arrays[key]


def one_lane(source: Source, arena: Arena) -> Run:
    """A function of the inputs that runs everything on this thread."""
    return partial(quiet().run, source.bind(arena.array))


class Quiet(Program):
    """A program each of whose lanes runs in a context in which NumPy does not warn."""

    def __init__(self, plan: Plan, calls: dict[str, Callable[[], object]]) -> None:
        super().__init__(plan, calls)
        self._contexts = [quiet() for _ in plan.lanes]

    def run(self) -> None:
        self._contexts[0].run(super().run)

    def run_lane(self, lane: int) -> None:
        self._contexts[lane].run(super().run_lane, lane)


class Laned:
    """A program on the lanes of an engine; with `spans`, every step is measured."""

    def __init__(
        self,
        source: Source,
        arena: Arena,
        plan: Plan,
        engine: Engine | None,
        spans: list[Span] | None = None,
    ) -> None:
        self._start, steps, self._finish = source.bind(arena.array)
        if spans is not None:
            lanes = plan.line.lane
            steps = [_timed(step, k, lanes[k], spans) for k, step in enumerate(steps)]
        calls = {step.name: call for step, call in zip(plan.graph.steps, steps, strict=True)}
        self._engine = engine
        self._program = Quiet(plan, calls)

    def __call__(self, *arrays: Array) -> tuple[Array, ...]:
        self._start(*arrays)
        if self._engine is None:
            self._program.run()
        else:
            with blas.budget().limited(1):
                self._engine.push_plan(self._program).result()
        made: tuple[Array, ...] = self._finish()
        return made


def _timed(
    step: Callable[[], object], index: int, lane: int, spans: list[Span]
) -> Callable[[], object]:
    def run() -> None:
        start = perf_counter()
        step()
        spans.append(Span(index, lane, start, perf_counter()))

    return run


def least_of(runs: Sequence[Sequence[Span]], count: int) -> list[float]:
    """The least that each step took in some runs, in seconds."""
    least = [float("inf")] * count
    for run in runs:
        for span in run:
            least[span.step] = min(least[span.step], span.end - span.start)
    return least
