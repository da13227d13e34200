"""Recordings for tests: random programs, run by a reference scheduler in a random legal order.

The scheduler is the textbook's: per variable the last writer, the readers since, the open group of
accumulations. It decides at random what happens next, so it reaches orders that no engine would.
"""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Any

from graphopt.engine.recordings.recording import LaneRecord, Recording, TaskRecord

LANES = {
    "cpu:0/compute": LaneRecord(2),
    "gpu:0/compute": LaneRecord(1),
    "gpu:0/copy_in": LaneRecord(1),
}


def task(seq: int, name: str = "", lane: str = "cpu:0/compute", **fields: Any) -> TaskRecord:
    """A task with a name and a site made from its number; `fields` are those of TaskRecord."""
    device, _, kind = lane.rpartition("/")
    record = TaskRecord(seq, name or f"t{seq}", f"program.py:{seq}", kind, device)
    for key, value in fields.items():
        setattr(record, key, value)
    return record


def random_program(random: Random, count: int, variables: int = 4) -> list[TaskRecord]:
    """Tasks in serial order, with random accesses, lanes and priorities; some are deletions.

    A deleted variable is not used again.
    """
    alive = list(range(1, variables + 1))
    tasks: list[TaskRecord] = []
    for seq in range(1, count + 1):
        record = task(seq, lane=random.choice([*LANES, "cpu:0/cheap"]))
        record.priority = random.choice((0, 0, 0, 1, -1, 5))
        record.nbytes = random.randrange(1000)
        record.cost = random.randrange(5) / 8
        if random.random() < 0.05 and len(alive) > 2:
            record.kind, record.overwrite = "delete", (alive.pop(random.randrange(len(alive))),)
        else:
            used = random.sample(alive, min(len(alive), random.choice((0, 1, 1, 2, 2, 3))))
            for variable in used:
                mode = random.choice(
                    ("read", "read", "mutate", "overwrite", "accumulate", "accumulate")
                )
                setattr(record, mode, (*getattr(record, mode), variable))
        tasks.append(record)
    return tasks


def random_recording(
    seed: int, count: int = 60, variables: int = 4, backlog: int = 20
) -> Recording:
    """A random program, run in a random legal order."""
    random = Random(seed)
    return Reference(random, random_program(random, count, variables), backlog).run()


@dataclass
class State:
    """Of a variable: all by number; a writer may be a join."""

    writer: int = 0
    readers: list[int] = field(default_factory=list[int])
    group: int = 0  # the open join
    base: list[tuple[int, bool]] = field(default_factory=list[tuple[int, bool]])  # before the group
    holder: int = 0  # the accumulation that runs


class Reference:
    """A scheduler that does, step by step, anything that is legal."""

    def __init__(self, random: Random, program: list[TaskRecord], backlog: int) -> None:
        self.random = random
        self.program = program[::-1]  # still to be pushed, the next one last
        self.backlog = backlog
        self.recording = Recording(clock="virtual", lanes=copy.deepcopy(LANES))
        self.recording.tasks = {each.seq: each for each in program}
        self.states: dict[int, State] = defaultdict(State)
        self.waits: dict[int, set[int]] = {}  # of tasks and joins that are pending: for whom
        self.ready: list[int] = []
        self.running: list[int] = []
        self.finished: list[int] = []
        self.position = 0
        self.now = 0.0

    def run(self) -> Recording:
        """Run the program to its end."""
        while self.program or max(self.waits, default=0) > 0:  # an open group has no end
            steps = [self.finish] * bool(self.running) + [self.complete_one] * bool(self.finished)
            steps += [self.start] * any(map(self.can_start, self.ready))
            if self.program and len(self.waits) < self.backlog:
                steps += [self.integrate] * 2
            self.random.choice(steps)()
        numbers = {n for each in self.recording for n in (*each.read, *each.writes)}
        self.recording.variables = {n: f"v{n}" for n in sorted(numbers)}
        return self.recording

    def at(self) -> int:
        """The next position; time passes."""
        self.position += 10  # there is room for planted events
        self.now += self.random.random()
        return self.position

    def edge(self, earlier: int, later: int, value: bool) -> None:
        """Let a task or join wait for another, if that is not over."""
        if earlier in self.waits and earlier != later:
            record = self.recording.tasks[earlier]
            if value:
                record.then += (later,)
            else:
                record.after += (later,)
            self.waits[later].add(earlier)

    def integrate(self) -> None:
        """Take in the next task of the program."""
        record = self.program.pop()
        record.integrated, record.entered = self.at(), self.now
        self.waits[record.seq] = set()
        for variable in record.accumulate:
            self.accumulate(record, variable)
        for variable in record.read + record.mutate + record.overwrite:
            state = self.states[variable]
            state.group = 0
            self.edge(state.writer, record.seq, variable not in record.overwrite)
            if variable in record.read:
                state.readers.append(record.seq)
                continue
            for reader in state.readers:
                self.edge(reader, record.seq, False)
            state.writer, state.readers = record.seq, []
        self.settle()

    def accumulate(self, record: TaskRecord, variable: int) -> None:
        """Let a task join the open group of a variable, or found one."""
        state = self.states[variable]
        if not state.group:
            state.group = min(0, *self.recording.tasks) - 1
            self.recording.tasks[state.group] = TaskRecord(state.group, "join", "", "join", "")
            state.base = [(state.writer, True), *((reader, False) for reader in state.readers)]
            state.writer, state.readers = state.group, []
            self.waits[state.group] = set()
        for earlier, value in state.base:
            self.edge(earlier, record.seq, value)
        self.edge(record.seq, state.group, True)

    def settle(self) -> None:
        """Find what waits for nothing any more: tasks are ready or skipped, joins are over."""
        opened = {state.group for state in self.states.values()}
        for seq in [seq for seq, waits in self.waits.items() if seq < 0 and not waits]:
            if seq not in opened:
                self.over(seq)
        for seq, waits in self.waits.items():
            record = self.recording.tasks[seq]
            if not waits and seq > 0 and record.status == "pending" and record.started < 0:
                if self.random.random() < 0.02:
                    record.status = self.random.choice(("skipped", "cancelled"))
                    self.finished.append(seq)
                    if seq in self.ready:
                        self.ready.remove(seq)
                elif seq not in self.ready:
                    self.ready.append(seq)

    def can_start(self, seq: int) -> bool:
        """Whether a lane has a free worker for a task, and no other of its groups runs."""
        record = self.recording.tasks[seq]
        busy = sum(self.recording.tasks[each].lane == record.lane for each in self.running)
        room = record.lane not in LANES or busy < LANES[record.lane].workers
        return room and not any(self.states[variable].holder for variable in record.accumulate)

    def start(self) -> None:
        """Run a task that may."""
        seq = self.random.choice([seq for seq in self.ready if self.can_start(seq)])
        record = self.recording.tasks[seq]
        self.ready.remove(seq)
        self.running.append(seq)
        record.started, record.start, record.worker = self.at(), self.now, f"{record.lane}.w"
        for variable in record.accumulate:
            self.states[variable].holder = seq

    def finish(self) -> None:
        """A running task returns."""
        seq = self.running.pop(self.random.randrange(len(self.running)))
        record = self.recording.tasks[seq]
        record.finished, record.end = self.at(), self.now
        record.status = "done"
        self.finished.append(seq)

    def complete_one(self) -> None:
        """Take the completion of a task."""
        seq = self.finished.pop(self.random.randrange(len(self.finished)))
        record = self.recording.tasks[seq]
        record.completed = self.at()
        for variable in record.accumulate:
            if self.states[variable].holder == seq:
                self.states[variable].holder = 0
        self.over(seq)
        self.settle()

    def over(self, seq: int) -> None:
        """Release those that waited."""
        del self.waits[seq]
        for waits in self.waits.values():
            waits.discard(seq)


# What a check should say: all pairs of accesses, and a search along edges.


def conflicting(earlier: TaskRecord, later: TaskRecord) -> bool:
    """Whether two tasks of the serial program share a variable and need an order."""
    written = set(earlier.writes) & {*later.read, *later.writes}
    written |= set(later.writes) & {*earlier.read, *earlier.writes}
    return any(
        not (variable in earlier.accumulate and variable in later.accumulate)
        for variable in written
    )


def reached(recording: Recording, seq: int) -> set[int]:
    """All that come after a task by edges."""
    found: set[int] = set()
    frontier = [seq]
    while frontier:
        record = recording.tasks[frontier.pop()]
        fresh = ({*record.then, *record.after} - found) & recording.tasks.keys()
        found |= fresh
        frontier += fresh
    return found


def unordered(recording: Recording) -> set[tuple[int, int]]:
    """Pairs that conflict without an order, found by looking at all pairs."""
    tasks = [each for each in recording if each.seq > 0]
    found: set[tuple[int, int]] = set()
    order = {each.seq: reached(recording, each.seq) for each in tasks}
    for each in sorted(tasks, key=lambda each: -each.seq):
        for other in tasks:
            if 0 <= each.completed < other.integrated:
                order[each.seq] |= {other.seq, *order[other.seq]}
        for other in tasks:
            if (
                each.seq < other.seq
                and conflicting(each, other)
                and other.seq not in order[each.seq]
            ):
                found.add((each.seq, other.seq))
    return found


def edges(recording: Recording) -> Iterator[tuple[TaskRecord, int, str]]:
    """All edges: from where, to which number, and in which field they are."""
    for record in recording:
        for name in ("then", "after"):
            yield from ((record, seq, name) for seq in getattr(record, name))


def without(record: TaskRecord, seq: int) -> None:
    """Take an edge away."""
    record.then = tuple(each for each in record.then if each != seq)
    record.after = tuple(each for each in record.after if each != seq)
