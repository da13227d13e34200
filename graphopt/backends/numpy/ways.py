"""The ways in which one recording may be run, and the race that finds the fastest.

A prediction is not trusted with threads: another lane, or BLAS on several threads, is taken only
if calls of the program were faster by it, here and now.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from statistics import median
from threading import Lock
from time import perf_counter
from typing import Any

from graphopt.backends.numpy.emit import Source
from graphopt.backends.numpy.instance import Run, least_of
from graphopt.backends.numpy.profile import Span
from graphopt.engine.plan import Plan, StepGraph, make_plan
from graphopt.engine.plan.schedule import Policy, ranks

WORTH = 200e-6
"""A program that should take less (in seconds) is never given a second thread."""
MEASURED = 3
"""How many calls measure each step before lanes are planned."""
ROUNDS = 5
"""How many calls each way is given."""
GAIN = 0.05
"""By how much a way with more threads must be faster than one with fewer."""
LOST = 1.5
"""A way whose best call is so many times slower than the best of another is out of the race."""


@dataclass(eq=False)
class Way:
    """A plan, and on how many threads BLAS is meanwhile. `free` are its idle instances.

    `source` and `stepwise` are made when they are first needed: to run, and to run step by step.
    """

    plan: Plan
    blas: int
    free: list[Run] = field(default_factory=list[Run])
    source: Source | None = None
    stepwise: Source | None = None
    seconds: list[float] = field(default_factory=list[float])

    @property
    def threads(self) -> int:
        """How many threads it uses."""
        return max(len(self.plan.lanes), self.blas)


class Race:
    """Calls of a program in several ways, in turn, until one has won.

    `measure` runs a way and returns the outputs and the spans of its steps; `run` only runs it.
    The first of `ways` is on one thread and one lane.
    """

    def __init__(
        self,
        ways: Sequence[Way],
        threads: int,
        run: Callable[..., Any],
        measure: Callable[..., Any],
        won: Callable[[Way], None],
    ) -> None:
        self.ways = list(ways)
        self.measured: list[list[Span]] = []
        self._threads = threads
        self._run, self._measure, self._won = run, measure, won
        self._lock = Lock()

    def __call__(self, *arrays: Any) -> Any:
        with self._lock:
            measuring = len(self.measured) < MEASURED
            way = min(self.ways, key=lambda each: len(each.seconds))
        if measuring:
            outputs, spans = self._measure(self.ways[0], arrays)
            with self._lock:
                self.measured.append(spans)
                if len(self.measured) == MEASURED:
                    self.ways += lanes_of(self.ways[0].plan.graph, self.measured, self._threads)
                    self._end()
            return outputs
        start = perf_counter()
        outputs = self._run(way, arrays)
        took = perf_counter() - start
        with self._lock:
            way.seconds.append(took)
            self._end()
        return outputs

    def _end(self) -> None:
        """Drop the ways that have lost, and declare the winner once there is one."""
        best = min((min(way.seconds) for way in self.ways if way.seconds), default=0.0)
        if all(way.seconds for way in self.ways):
            self.ways = [way for way in self.ways if min(way.seconds) <= best * LOST]
        if len(self.ways) > 1 and any(len(way.seconds) < ROUNDS for way in self.ways):
            return
        winner = self.ways[0]
        for way in sorted(self.ways[1:], key=lambda each: each.threads):
            if median(way.seconds) * (1 + GAIN) < median(winner.seconds):
                winner = way
        self._won(winner)


def lanes_of(steps: StepGraph, measured: Sequence[Sequence[Span]], threads: int) -> list[Way]:
    """The way on several lanes, if the steps, at what they took, are worth it."""
    took = least_of(measured, len(steps.steps))
    graph = with_costs(steps, took)
    if is_hopeless(graph):
        return []
    plan = make_plan(graph, threads)
    return [Way(plan, 1)] if len(plan.lanes) > 1 else []


def is_hopeless(steps: StepGraph) -> bool:
    """Whether several lanes cannot be worth it: too little work, or one long chain."""
    work = sum(step.cost for step in steps.steps)
    longest = max(ranks(steps), default=0) / 1e9
    return work < max(WORTH, longest * (1 + Policy().gain))


def with_costs(steps: StepGraph, seconds: Sequence[float]) -> StepGraph:
    """The same steps at other costs."""
    each = zip(steps.steps, seconds, strict=True)
    return StepGraph(steps.buffers, [replace(step, cost=cost) for step, cost in each])
