"""A virtual clock: tasks that take given times, on given workers.

A completion releases tasks to the queues of their lanes, and free workers take from those at once:
positive priorities first, then tasks without one as they became ready, then negative ones; equal
priorities in serial order. Then time goes on to the next completion; of several at one instant,
that of the task which started first is first. What is pushed at an instant comes after the first of
its completions, and all of it before anything starts. Accumulations of a group take turns as they
became ready, and one that waits for its turn holds no worker. What belongs to no lane starts at
once, and so does a task that yielded its worker: how long it needed one is not known.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from heapq import heappop, heappush

from graphopt.engine.recordings.accesses import Phase, home, variable_name
from graphopt.engine.recordings.recording import Recording, TaskRecord


@dataclass(eq=False, slots=True)
class Pending:
    """A task, or the join of a group of accumulations, until it is completed."""

    record: TaskRecord
    arrival: float = 0.0
    duration: float = 0.0
    lane: str | None = None
    worker: int = 0
    waits: int = 0  # for so many others
    then: list[Pending] = field(default_factory=list["Pending"])
    after: list[Pending] = field(default_factory=list["Pending"])
    groups: list[Phase] = field(default_factory=list[Phase])  # it needs its turn in each


class Clock:
    """Fills a recording that has lanes and variables; `phases` says what must wait for what."""

    def __init__(self, recording: Recording, phases: dict[int, list[Phase]]) -> None:
        self.recording = recording
        self.phases = phases
        self.now = 0.0
        self.position = 0
        self.count = 0  # of starts and of tasks queued, to break ties
        self.expected: list[Pending] = []  # in serial order
        self.pending: dict[int, Pending] = {}  # integrated
        self.joins: dict[Phase, Pending] = {}
        self.open: set[Phase] = set()  # groups that nothing waits for yet
        self.holders: dict[Phase, Pending] = {}  # whose turn it is
        self.parked: dict[Phase, list[Pending]] = {}
        self.queues: dict[str, list[tuple[int, int, Pending]]] = {
            lane: [] for lane in recording.lanes
        }
        self.free = {name: list(range(lane.workers)) for name, lane in recording.lanes.items()}
        self.running: list[tuple[float, int, Pending]] = []
        self.relays: list[Pending] = []  # over without having run

    def expect(self, task: TaskRecord, arrival: float, duration: float) -> None:
        """Let a task arrive, after those expected before; times in seconds."""
        status = task.status if task.status in ("skipped", "cancelled") else "pending"
        record = replace(
            task, start=None, end=None, worker="", status=status,
            started=-1, finished=-1, completed=-1, then=(), after=(),
        )  # fmt: skip
        if self.expected:
            arrival = max(arrival, self.expected[-1].arrival)
        lane = None if task.yielded else home(self.recording.lanes, task)
        self.recording.tasks[task.seq] = record
        self.expected.append(Pending(record, arrival, duration, lane))

    def run(self) -> None:
        """Let time pass until all is over."""
        self.expected.reverse()
        while True:
            arrival = self.expected[-1].arrival if self.expected else math.inf
            if arrival <= self.now:
                self.integrate(self.expected.pop())
                continue
            self.dispatch()
            if self.running and self.running[0][0] <= arrival:
                self.finish()
            elif self.expected:
                self.now = arrival
            else:
                break

    def at(self) -> int:
        """The next position in the total order."""
        self.position += 1
        return self.position

    def tie(self) -> int:
        """A number that grows."""
        self.count += 1
        return self.count

    # What a task waits for.

    def integrate(self, item: Pending) -> None:
        """Take a task in."""
        item.record.entered = self.now
        item.record.integrated = self.at()
        self.pending[item.record.seq] = item
        for phase in self.phases[item.record.seq]:
            if phase.before is not None:
                self.follow(item, phase, phase.before)
            if phase.mode == "accumulate":
                item.groups.append(phase)
                self.wait(self.joins.get(phase) or self.found(phase), item, True)
        if not item.waits:
            self.release(item)
            self.relay()

    def follow(self, item: Pending, phase: Phase, before: Phase) -> None:
        """Let a task of a phase wait for the phase before."""
        value = before.mode != "read" and phase.mode != "overwrite"
        if before.mode == "accumulate":
            self.close(before)
            self.wait(item, self.joins[before], value)
            return
        for task in before.tasks:
            if earlier := self.pending.get(task.seq):
                self.wait(item, earlier, value)

    def found(self, group: Phase) -> Pending:
        """The join of a group that gets its first member."""
        seq, name = -1 - len(self.joins), variable_name(self.recording, group.variable)
        record = TaskRecord(seq, f"join {name}", "", "join", "", accumulate=(group.variable,))
        record.entered, record.integrated = self.now, self.at()
        self.recording.tasks[seq] = record
        self.joins[group] = self.pending[seq] = made = Pending(
            record, waits=1
        )  # until it is closed
        self.open.add(group)
        return made

    def close(self, group: Phase) -> None:
        """Something waits for a group: it has all its members."""
        if group in self.open:
            self.open.remove(group)
            self.count_down(self.joins[group])
            self.relay()

    def wait(self, item: Pending, earlier: Pending, value: bool) -> None:
        """Let one wait for another that is not completed."""
        if earlier.record.seq in self.pending:
            (earlier.then if value else earlier.after).append(item)
            item.waits += 1

    # What becomes of it then.

    def release(self, item: Pending) -> None:
        """It waits for nothing any more: queue it, unless it does not run or it's not its turn."""
        if item.record.kind == "join" or item.record.status != "pending":
            self.relays.append(item)
        elif self.hold(item):
            if item.lane is None:
                self.start(item)
            else:
                priority = item.record.priority
                tie = item.record.seq if priority else self.tie()
                heappush(self.queues[item.lane], (-priority, tie, item))

    def hold(self, item: Pending) -> bool:
        """Take the turn in all groups, or park at the first where another has it."""
        for group in item.groups:
            if group in self.holders:
                self.parked.setdefault(group, []).append(item)
                return False
        self.holders.update(dict.fromkeys(item.groups, item))
        return True

    def dispatch(self) -> None:
        """Let free workers take from their queues."""
        for lane, queue in self.queues.items():
            free = self.free[lane]
            while queue and free:
                item = heappop(queue)[2]
                item.worker = heappop(free)
                item.record.worker = f"{lane}.{item.worker}"
                self.start(item)

    def start(self, item: Pending) -> None:
        """It runs."""
        item.record.started, item.record.start = self.at(), self.now
        heappush(self.running, (self.now + item.duration, self.tie(), item))

    def finish(self) -> None:
        """Let time pass until the next task ends."""
        self.now, _, item = heappop(self.running)
        item.record.finished, item.record.end = self.at(), self.now
        item.record.status = "done"
        if item.lane is not None:
            heappush(self.free[item.lane], item.worker)
        self.complete(item)
        self.relay()

    def complete(self, item: Pending) -> None:
        """Release those that waited for it."""
        record = item.record
        record.completed = self.at()
        record.then = tuple(each.record.seq for each in item.then)
        record.after = tuple(each.record.seq for each in item.after)
        del self.pending[record.seq]
        for group in item.groups:
            if self.holders.get(group) is item:
                del self.holders[group]
                for other in self.parked.pop(group, ()):
                    self.release(other)
        for successor in item.then + item.after:
            self.count_down(successor)

    def count_down(self, item: Pending) -> None:
        """It waits for one less."""
        item.waits -= 1
        if not item.waits:
            self.release(item)

    def relay(self) -> None:
        """Complete what is over without having run."""
        while self.relays:
            self.complete(self.relays.pop())
