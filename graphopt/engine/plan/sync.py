"""Which steps of different lanes must signal each other, and no more than these.

A lane runs in order, so only edges between lanes need a signal: those of data, and those of reuse
(from who used some bytes to who writes the next buffer there). An edge that follows from others
needs none: each step has a clock that tells how far along every lane all is done when it starts
(vector clocks: Fidge 1988, Mattern 1989). What remains is the transitive reduction.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator

from graphopt.engine.plan.memory import Layout
from graphopt.engine.plan.schedule import Timeline
from graphopt.engine.plan.steps import StepGraph

Edge = tuple[int, int]
"""A step, and a later one that waits for it."""


def syncs(graph: StepGraph, line: Timeline, layout: Layout) -> tuple[Edge, ...]:
    """The fewest signals between lanes that keep every edge of data and of reuse."""
    if len(line.lanes) == 1:
        return ()
    edges = [(earlier, step) for step, waits in enumerate(graph.before) for earlier in waits]
    for older, newer in successions(graph, line, layout):
        heir = graph.users[newer][0]
        edges += [(user, heir) for user in graph.users[older] if user != heir]
    return tuple(sorted(Clocks(line, edges).needed))


def successions(graph: StepGraph, line: Timeline, layout: Layout) -> Iterator[tuple[str, str]]:
    """Pairs of buffers of which the second is the next to hold some bytes of the first.

    Who held them before is in order by these: each pair's steps come one after the other.
    """
    held: list[tuple[int, int, str]] = []  # spans of the arena and their latest buffers, by offset
    for name in sorted(layout.offset, key=lambda name: line.start[graph.users[name][0]]):
        low = layout.offset[name]
        high = low + graph.buffer[name].nbytes
        if low == high:
            continue
        begin = bisect_right(held, low, key=lambda span: span[1])
        end = bisect_left(held, high, key=lambda span: span[0])
        covered = held[begin:end]
        for older in dict.fromkeys(span[2] for span in covered):
            yield older, name
        left = [(start, low, older) for start, _, older in covered[:1] if start < low]
        right = [(high, stop, older) for _, stop, older in covered[-1:] if high < stop]
        held[begin:end] = [*left, (low, high, name), *right]


class Clocks:
    """How far along each lane all is done when a step starts, given edges between steps.

    A clock counts the steps of each lane that are done. Edges lead forward on the timeline.
    """

    def __init__(self, line: Timeline, edges: Iterable[Edge]) -> None:
        self.line = line
        self.place = {step: at for steps in line.lanes for at, step in enumerate(steps)}
        self.needed: list[Edge] = []
        self.at_start: dict[int, list[int]] = {}
        waits: dict[int, dict[int, int]] = {}  # the last step that each waits for on each lane
        for earlier, step in edges:
            last = waits.setdefault(step, {})
            known = last.get(line.lane[earlier], earlier)
            last[line.lane[earlier]] = max(known, earlier, key=self.place.__getitem__)
        for step in line.order:
            self._enter(step, list(waits.get(step, {}).values()))

    def _enter(self, step: int, waits: list[int]) -> None:
        """Derive a step's clock from the step before it on its lane and those that it waits for."""
        mine, at = self.line.lane[step], self.place[step]
        clock = self.at_end(self.line.lanes[mine][at - 1]) if at else [0] * len(self.line.lanes)
        fresh = [
            earlier for earlier in waits if clock[self.line.lane[earlier]] <= self.place[earlier]
        ]
        ends = {earlier: self.at_end(earlier) for earlier in fresh}
        for earlier in fresh:
            lane, count = self.line.lane[earlier], self.place[earlier]
            if not any(ends[other][lane] > count for other in fresh if other != earlier):
                self.needed.append((earlier, step))
        self.at_start[step] = [max(counts) for counts in zip(clock, *ends.values(), strict=True)]

    def at_end(self, step: int) -> list[int]:
        """How far along each lane all is done when a step ends."""
        clock = list(self.at_start[step])
        clock[self.line.lane[step]] = self.place[step] + 1
        return clock

    def ordered(self, earlier: int, step: int) -> bool:
        """Whether one step is always done when another starts."""
        return self.at_start[step][self.line.lane[earlier]] > self.place[earlier]
