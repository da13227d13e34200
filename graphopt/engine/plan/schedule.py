"""When and on which lane each step runs: list scheduling by critical path, with memory in mind.

A lane is a sequence of steps that one thread runs. Whenever a lane could start something, it takes
what has the longest path of work behind it (HEFT: Topcuoglu, Hariri, Wu 2002), then what leaves
less memory in use, then what is earlier in the program. A lane sees what another has done only
after a crossing, and a step too small to be worth one runs where one of its producers ran.

Unbridled, critical paths open several times the buffers that program order does. So there is a
budget of bytes alive: what would exceed it waits, except for the first step that is left.

Times are whole nanoseconds and a step takes at least one, so that starts never tie along an edge.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from graphopt.engine.plan.steps import StepGraph


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
    slack: float = 0.05  # by how much the plan may be slower than the fastest, for less memory


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
    graph: StepGraph, lanes: int, policy: Policy, budget: float = float("inf")
) -> Timeline:
    """Place every step on one of some lanes, with at most `budget` bytes alive where possible."""
    return _Scheduler(graph, lanes, policy, budget).run()


def peak(graph: StepGraph) -> int:
    """The most bytes of step buffers alive at once in program order, none computed in place."""
    live, most = _Live(graph), 0
    for step in range(len(graph.steps)):
        most = max(most, live.bytes + live.opens[step])
        live.place(step)
    return most


def _ranks(graph: StepGraph) -> list[int]:
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


class _Live:
    """The bytes of step buffers alive while steps are placed one by one."""

    def __init__(self, graph: StepGraph) -> None:
        self.bytes = 0
        self.left: dict[str, int] = {}
        self.opens = [0] * len(graph.steps)
        self.uses: list[list[tuple[str, int]]] = [[] for _ in graph.steps]
        for each in graph.buffers:
            users = graph.users[each.name]
            if each.kind == "step" and users:
                self.left[each.name] = len(users)
                self.opens[users[0]] += each.nbytes
                for user in users:
                    self.uses[user].append((each.name, each.nbytes))

    def delta(self, step: int) -> int:
        """By how much a step raises the bytes alive once it is done."""
        return self.opens[step] - sum(size for name, size in self.uses[step] if self.left[name] < 2)

    def place(self, step: int) -> None:
        """Count a step as run."""
        self.bytes += self.delta(step)
        for name, _ in self.uses[step]:
            self.left[name] -= 1


class _Scheduler:
    """The state of one list scheduling: a clock a lane, and what is ready."""

    def __init__(self, graph: StepGraph, lanes: int, policy: Policy, budget: float) -> None:
        self.graph, self.budget = graph, budget
        self.took, self.rank, self.live = durations(graph), _ranks(graph), _Live(graph)
        self.crossing = nanoseconds(policy.crossing)
        self.tied = _tied(graph, policy)
        self.clock = [0] * lanes
        count = len(graph.steps)
        self.lane, self.start, self.end = [0] * count, [0] * count, [0] * count
        self.waits = [len(earlier) for earlier in graph.before]
        self.ready = {step: self.arrivals(step) for step in range(count) if not self.waits[step]}

    def run(self) -> Timeline:
        """Place one by one what can start soonest, the most urgent first."""
        while self.ready:
            start, able = self.soonest()
            step = min(able, key=lambda step: (-self.rank[step], self.live.delta(step), step))
            self.place(step, able[step], start)
        return Timeline(self.crossing, tuple(self.lane), tuple(self.start), tuple(self.end))

    def soonest(self) -> tuple[int, dict[int, int]]:
        """The soonest time at which anything may start, and what may then on which lane."""
        soonest, able = -1, dict[int, int]()
        first = min(self.ready)
        for step, arrivals in self.ready.items():
            # Of lanes where it starts as soon, one that needs no crossing leaves the others free.
            start, _, lane = min((max(self.clock[k], at), at, k) for k, at in arrivals.items())
            if 0 <= soonest < start or (step != first and not self.affordable(step)):
                continue
            if start != soonest:
                soonest, able = start, {}
            able[step] = lane
        return soonest, able

    def affordable(self, step: int) -> bool:
        """Whether a step keeps to the budget, or frees what it takes."""
        fits = self.live.bytes + self.live.opens[step] <= self.budget
        return fits or self.live.delta(step) <= 0

    def place(self, step: int, lane: int, start: int) -> None:
        """Run a step on a lane; what waited for it alone is ready."""
        self.lane[step], self.start[step], self.end[step] = lane, start, start + self.took[step]
        self.clock[lane] = self.end[step]
        self.live.place(step)
        del self.ready[step]
        for later in self.graph.after[step]:
            self.waits[later] -= 1
            if not self.waits[later]:
                self.ready[later] = self.arrivals(later)

    def arrivals(self, step: int) -> dict[int, int]:
        """The lanes that may run a step, and when each sees that all is done that it waits for.

        One that is small and has no producer stays on the first lane.
        """
        tied, lanes = self.tied[step], range(len(self.clock))
        homes = lanes if tied is None else [self.lane[producer] for producer in tied] or [0]
        waits = self.graph.before[step]
        if not waits:  # the first lane wakes the others
            return {lane: (lane > 0) * self.crossing for lane in homes}
        return {
            lane: max(self.end[k] + (self.lane[k] != lane) * self.crossing for k in waits)
            for lane in homes
        }
