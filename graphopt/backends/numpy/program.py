"""A recording that can be called: the way in which it runs, instances of it, its errors.

A program that may be worth several threads is tuned by its first calls (`ways`).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from threading import Lock
from typing import Any, NoReturn

from graphopt.backends.executable import Options
from graphopt.backends.numpy import blas
from graphopt.backends.numpy.block import Array
from graphopt.backends.numpy.cost import product_flops
from graphopt.backends.numpy.emit import STEPS, Source, separate, straight_line
from graphopt.backends.numpy.instance import Arena, Laned, Run, least_of, one_lane
from graphopt.backends.numpy.plan import ProgramPlan
from graphopt.backends.numpy.profile import Profile, Span
from graphopt.backends.numpy.steps import Recording, step_graph
from graphopt.backends.numpy.ways import WORTH, Race, Way, is_hopeless
from graphopt.engine import Engine
from graphopt.engine.plan import make_plan
from graphopt.errors import ExecutionError, GraphoptError
from graphopt.graph import Graph
from graphopt.provenance import described, origin

SHARED = 2e5
"""Products of more operations than this BLAS shares among threads."""


_making = Lock()


def engine(workers: int) -> Engine:
    """The engine on which all programs of so many lanes run."""
    with _making:
        return _engine(workers)


@cache
def _engine(workers: int) -> Engine:
    return Engine(workers)


class NumpyProgram:
    """A graph for inputs of certain shapes, on NumPy: call it with an array for each input.

    Raises ExecutionError naming the node whose kernel fails, and where it comes from.
    """

    def __init__(self, graph: Graph, recording: Recording, options: Options) -> None:
        self.graph = graph
        self.recording = recording
        self.threads = options.threads
        self.way = Way(make_plan(step_graph(recording)), 1)
        self._names = recording.buffers
        self._products = any(product_flops(call) > SHARED for call in recording.calls)
        self._measured: Sequence[Sequence[Span]] = ()
        self._race = self._contest()

    def __call__(self, *arrays: Array) -> tuple[Array, ...]:
        try:
            race = self._race
            if race is not None:
                raced: tuple[Array, ...] = race(*arrays)
                return raced
            return self._run(self.way, arrays)
        except Exception as error:
            self._blame(error)

    def _run(self, way: Way, arrays: Sequence[Array]) -> tuple[Array, ...]:
        try:
            run = way.free.pop()
        except IndexError:
            run = self._instance(way)
        try:
            return run(*arrays)
        finally:
            way.free.append(run)

    @property
    def plan(self) -> ProgramPlan:
        """How it runs."""
        count = len(self.recording.calls)
        least = least_of(self._measured, count) if self._measured else [None] * count
        return ProgramPlan(self.way.plan, self._origins(), least, self.way.blas)

    def profile(self, *arrays: Array, runs: int = 5) -> Profile:
        """Measure every step of some runs on these arrays, after one that is not counted."""
        try:
            found = [self._measure(self.way, arrays)[1] for _ in range(runs + 1)]
        except Exception as error:
            self._blame(error)
        steps = self.way.plan.graph.steps
        return Profile(
            [step.name for step in steps],
            [call.node.op.name if call.node else "output" for call in self.recording.calls],
            self._origins(),
            [step.cost for step in steps],
            found[1:],
        )

    # Ways and instances.

    def _contest(self) -> Race | None:
        """The race between ways on one and on several threads, None where one is sure to win."""
        plan = self.way.plan
        if self.threads == 1 or plan.makespan < WORTH:
            return None
        if not self._products and is_hopeless(plan.graph):
            return None
        ways = [self.way, *([Way(plan, self.threads)] if self._products else [])]
        return Race(ways, self.threads, self._run, self._measure, self.adopt)

    def adopt(self, way: Way) -> None:
        """Run in this way from now on."""
        race = self._race
        if race is not None:
            self._measured = race.measured
        self.way, self._race = way, None

    def _instance(self, way: Way) -> Run:
        """A new instance, idle."""
        lanes, arena = len(way.plan.lanes), Arena(way.plan, self._names)
        if lanes > 1:
            return Laned(self._stepwise(way), arena, way.plan, engine(lanes))
        if way.source is None:
            way.source = straight_line(self.recording)
        return self._budgeted(one_lane(way.source, arena), way.blas)

    def _measure(self, way: Way, arrays: Sequence[Array]) -> tuple[Any, list[Span]]:
        """Run in a way, step by step; returns the outputs and when each step ran."""
        plan, spans = way.plan, list[Span]()
        arena, lanes = Arena(plan, self._names), len(plan.lanes)
        many = engine(lanes) if lanes > 1 else None
        run = Laned(self._stepwise(way), arena, plan, many, spans)
        outputs = run(*arrays) if lanes > 1 else self._budgeted(run, way.blas)(*arrays)
        return outputs, sorted(spans, key=lambda span: span.start)

    def _stepwise(self, way: Way) -> Source:
        """The source of a way whose steps are apart."""
        if way.stepwise is None:
            way.stepwise = separate(self.recording, way.plan.line.order)
        return way.stepwise

    def _budgeted(self, run: Run, threads: int) -> Run:
        """The same, with BLAS on so many threads, if it matters."""
        if not self._products:
            return run

        def limited(*arrays: Array) -> tuple[Array, ...]:
            with blas.budget().limited(threads):
                return run(*arrays)

        return limited

    # Errors and names.

    def _origins(self) -> list[str]:
        nodes = [call.node for call in self.recording.calls]
        return ["" if node is None else origin(self.graph, node) for node in nodes]

    def _blame(self, error: Exception) -> NoReturn:
        """Raise what a failing step raised as an error that names its node."""
        index = self._failed_step(error)
        if index is None:
            raise error
        call = self.recording.calls[index]
        at = "an output" if call.node is None else described(self.graph, call.node)
        cause = error.__cause__ or error
        text = f"{type(cause).__name__}: {cause}"
        if isinstance(cause, GraphoptError):
            text = cause.message
        raise ExecutionError(text, at=at) from cause

    def _failed_step(self, error: BaseException) -> int | None:
        """The step in whose line an error, or what caused it, was raised."""
        at: BaseException | None = error
        while at is not None:
            frame = at.__traceback__
            while frame is not None:
                steps = frame.tb_frame.f_globals.get(STEPS)
                if steps is not None and steps[frame.tb_lineno - 1] >= 0:
                    found: int = steps[frame.tb_lineno - 1]
                    return found
                frame = frame.tb_next
            at = at.__cause__ or at.__context__
        return None
