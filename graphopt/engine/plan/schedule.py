"""When and on which lane each step runs: list scheduling by critical path, with memory in mind.

A lane is a sequence of steps that one thread runs. Whenever a lane is free, it takes of what it
could start at once what has the longest path of work behind it (HEFT: Topcuoglu, Hariri, Wu 2002),
less a price for the bytes it leaves in use. A lane sees what another has done only after a
crossing, and a step too small to be worth one runs where one of its producers ran.

Unbridled, critical paths open several times the buffers that program order does. So there is a
budget of bytes alive: what would exceed it waits, except for the first step that is left, and for
what is about to miss a deadline: what is critical never pays for memory, only what has slack does.

Times are whole nanoseconds and a step takes at least one, so that starts never tie along an edge.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from heapq import heappop, heappush

from graphopt.engine.plan.alive import Alive
from graphopt.engine.plan.steps import StepGraph

MARGIN = 0.03
"""A path that would end less than this share before the deadline may not wait for memory."""

Key = tuple[float, int, int]
"""How urgent a ready step is, the least first; its delta, by which outdated keys show; the step."""


@dataclass(frozen=True, slots=True)
class Policy:
    """What the machine costs, in seconds, and what parallelism must bring.

    The defaults come from measurements of NumPy calls on CPython threads: waking a thread on
    another core takes about 10 µs, and lanes that meet more often than every 50 to 100 µs are
    slower than one.
    """

    crossing: float = 10e-6  # how much later another lane sees that a step is done
    small: float = 10e-6  # a step below this runs where one of its producers ran
    branch: float = 50e-6  # and so do branches with less work than this between joins
    gain: float = 0.15  # by how much several lanes must be faster than one
    slack: float = 0.02  # by how much the plan may be slower than the fastest, for less memory


@dataclass(frozen=True, slots=True)
class Thrift:
    """How a schedule saves memory: by default not at all."""

    in_order: bool = False  # program order instead of the longest path first
    budget: float = math.inf  # the bytes alive, where possible
    price: float = 0.0  # how many nanoseconds of a path outweigh a byte that stays alive
    deadline: float = math.inf  # when all should be done, in nanoseconds, even above the budget


@dataclass(frozen=True)
class Timeline:
    """A lane, a start and an end for each step, by its place in program order; in nanoseconds."""

    crossing: int
    lane: tuple[int, ...]
    start: tuple[int, ...]
    end: tuple[int, ...]

    @cached_property
    def makespan(self) -> int:
        """When the last step ends."""
        return max(self.end, default=0)

    @cached_property
    def order(self) -> tuple[int, ...]:
        """All steps by start: an order in which one thread may run them."""
        return tuple(sorted(range(len(self.start)), key=self.start.__getitem__))

    @cached_property
    def lanes(self) -> tuple[tuple[int, ...], ...]:
        """The steps of each lane in their order."""
        found: list[list[int]] = [[] for _ in range(1 + max(self.lane, default=0))]
        for step in self.order:
            found[self.lane[step]].append(step)
        return tuple(tuple(steps) for steps in found)

    def sees(self, step: int, earlier: int) -> bool:
        """Whether one step is seen to be done when another starts."""
        away = self.lane[earlier] != self.lane[step]
        return self.end[earlier] + away * self.crossing <= self.start[step]


def nanoseconds(seconds: float) -> int:
    """Whole nanoseconds."""
    return round(seconds * 1e9)


def durations(graph: StepGraph) -> list[int]:
    """What each step takes, at least a nanosecond."""
    return [max(1, nanoseconds(step.cost)) for step in graph.steps]


def serial(graph: StepGraph) -> Timeline:
    """Program order on one lane."""
    now, start, end = 0, list[int](), list[int]()
    for duration in durations(graph):
        start.append(now)
        now += duration
        end.append(now)
    return Timeline(0, (0,) * len(start), tuple(start), tuple(end))


def schedule(
    graph: StepGraph, lanes: int, policy: Policy, thrift: Thrift | None = None
) -> Timeline:
    """Place every step on one of some lanes."""
    return _Scheduler(graph, lanes, policy, thrift or Thrift()).run()


def ranks(graph: StepGraph) -> list[int]:
    """The longest path of work from each step on, itself included."""
    rank = durations(graph)
    for step in reversed(range(len(rank))):
        rank[step] += max((rank[later] for later in graph.after[step]), default=0)
    return rank


def _tied(graph: StepGraph, policy: Policy) -> list[tuple[int, ...] | None]:
    """For each step too small to be worth a crossing, the producers one of whose lanes it takes.

    A branch is a row of steps each of which waits for the one before it alone, which has no other
    successor. Its steps are worth what the whole row is.
    """
    took = durations(graph)
    head, work = list(range(len(took))), list(took)
    for step, waits in enumerate(graph.before):
        if len(waits) == 1 and len(graph.after[waits[0]]) == 1:
            head[step] = head[waits[0]]
            work[head[step]] += took[step]
    small, branch = nanoseconds(policy.small), nanoseconds(policy.branch)
    changed: dict[str, int] = {}
    found: list[tuple[int, ...] | None] = []
    for index, each in enumerate(graph.steps):
        used = {changed[name] for name in each.read + each.mutate if name in changed}
        worth = took[index] >= small and work[head[index]] >= branch
        found.append(None if worth else tuple(sorted(used)))
        changed.update(dict.fromkeys(each.mutate + each.write, index))
    return found


class _Scheduler:
    """The state of one list scheduling: a clock, lanes that are free, and what each may start."""

    def __init__(self, graph: StepGraph, lanes: int, policy: Policy, thrift: Thrift) -> None:
        self.graph, self.lanes, self.thrift = graph, lanes, thrift
        self.took, self.rank, self.alive = durations(graph), ranks(graph), Alive(graph)
        self.crossing = nanoseconds(policy.crossing)
        self.tied = _tied(graph, policy)
        self.critical = thrift.deadline * (1 - MARGIN)
        count = len(graph.steps)
        self.lane, self.start, self.end = [-1] * count, [0] * count, [0] * count
        self.waits = [len(earlier) for earlier in graph.before]
        self.now, self.first, self.free = 0, 0, set(range(lanes))
        self.arrival: list[dict[int, int]] = [{} for _ in range(count)]
        # What a lane may start, in heaps by the bytes that it opens: 0 for what frees as many.
        self.ready: list[dict[int, list[Key]]] = [{} for _ in range(lanes)]
        # When a step arrives at a lane; or when it ends, where the lane is -1.
        self.events: list[tuple[int, int, int]] = []
        for step in range(count):
            if not self.waits[step]:
                self.announce(step)

    def run(self) -> Timeline:
        """Whenever something has ended or arrived, start on free lanes what may start."""
        while self.events:
            self.now = self.events[0][0]
            while self.events and self.events[0][0] == self.now:
                _, step, lane = heappop(self.events)
                if lane < 0:
                    self.alive.end(step)
                    self.free.add(self.lane[step])
                elif self.lane[step] < 0:
                    self.offer(step, lane)
            while self.free and (able := list(self.able())):
                (_, _, step), _, lane = min(able)
                self.place(step, lane)
        return Timeline(self.crossing, tuple(self.lane), tuple(self.start), tuple(self.end))

    def key(self, step: int) -> Key:
        """The place of a step among what is ready."""
        delta = self.alive.delta[step]
        first = step if self.thrift.in_order else self.thrift.price * delta - self.rank[step]
        return first, delta, step

    def offer(self, step: int, lane: int) -> None:
        """Let a lane start a step."""
        opens = self.alive.opens[step] if self.alive.delta[step] > 0 else 0
        heappush(self.ready[lane].setdefault(opens, []), self.key(step))

    def able(self) -> Iterator[tuple[Key, int, int]]:
        """What may start now, the best of each kind: its key, when it arrived, and the lane."""
        room = self.thrift.budget - self.alive.bytes
        while self.lane[self.first] >= 0 and self.first + 1 < len(self.lane):
            self.first += 1
        for lane in self.free:
            for opens, heap in self.ready[lane].items():
                self.clean(heap)
                if not heap:
                    continue
                step = heap[0][2]
                if opens <= max(room, 0) or self.now + self.rank[step] >= self.critical:
                    # Of free lanes, one that needed no crossing leaves the others to other steps.
                    yield heap[0], self.arrival[step][lane], lane
            arrived = self.arrival[self.first].get(lane, self.now + 1)
            if self.lane[self.first] < 0 and arrived <= self.now:
                yield self.key(self.first), arrived, lane

    def clean(self, heap: list[Key]) -> None:
        """Drop from the top what has started, or frees more by now and is elsewhere too."""
        while heap and (self.lane[heap[0][2]] >= 0 or heap[0][1] != self.alive.delta[heap[0][2]]):
            heappop(heap)

    def place(self, step: int, lane: int) -> None:
        """Start a step on a lane; what waited for it alone will arrive."""
        self.lane[step], self.start[step] = lane, self.now
        self.end[step] = self.now + self.took[step]
        self.free.remove(lane)
        heappush(self.events, (self.end[step], step, -1))
        for other in self.alive.start(step):
            for place, arrived in self.arrival[other].items():
                if arrived <= self.now:
                    self.offer(other, place)
        for later in self.graph.after[step]:
            self.waits[later] -= 1
            if not self.waits[later]:
                self.announce(later)

    def announce(self, step: int) -> None:
        """Note when a step arrives at which lanes, now that all that it waits for has a place.

        One that is small and has no producer stays on the first lane.
        """
        tied, waits = self.tied[step], self.graph.before[step]
        homes = {self.lane[earlier] for earlier in tied or ()} or {0}
        for lane in range(self.lanes) if tied is None else homes:
            # Where there is nothing to wait for, the first lane wakes the others.
            woken = 0 if waits else (lane > 0) * self.crossing
            seen = (self.end[k] + (self.lane[k] != lane) * self.crossing for k in waits)
            self.arrival[step][lane] = max(seen, default=woken)
            heappush(self.events, (self.arrival[step][lane], step, lane))
