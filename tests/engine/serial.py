"""What a program means: its tasks run one after the other. Shares nothing with the engine.

A task that fails poisons what it writes; what needs a poisoned value is skipped, and poisons what
it was to write. The cause is the task that raised, the first in serial order if there are several.
Accumulations between two other accesses are a group: they need the value before, not one another.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable
from dataclasses import dataclass, field

from tests.engine.programs import TASKS, Op, Program

MASK = (1 << 61) - 1

Verdict = tuple[str, int, str]
"""Of a task: (done, value, "") or (failed | skipped | cancelled, the task that raised, what)."""


Seen = Verdict | frozenset[int] | tuple[tuple[int, str] | None, int]
"""By a wait for a task, for everything (who failed), for a variable (its error and its value)."""


def blurred(given: Verdict) -> Verdict:
    """A verdict as far as an error tells: one on a completion or cancellation names no task."""
    status, root, what = given
    return (status, -1 if what else root, what)


def fault(given: Verdict) -> tuple[int, str] | None:
    """Who is to blame, as `blurred` and `Serial.fault` have it."""
    return None if given[0] == "done" else given[1:]


def masked(given: tuple[int, str] | None) -> tuple[int, str] | None:
    """As `blurred`, for a variable."""
    return None if given is None else (-1 if given[1] else given[0], given[1])


def mixed(*values: object) -> int:
    """A hash that is the same in every process: of numbers only."""
    return hash(values) & MASK


def text_number(text: str) -> int:
    """A number for a short text."""
    return int.from_bytes(text.encode()[:7], "big")


def compute(op: Op, cells: dict[int, int], awaited: Iterable[Verdict] = ()) -> int:
    """The value of a task: of all it reads and has waited for."""
    found = [op.number]
    for variable, mode in op.modes.items():
        if mode in ("read", "mutate"):
            found.append(cells.get(variable, 0))
    for status, value, what in awaited:
        found += (text_number(status), value, text_number(what))
    return mixed(*found)


def store(
    op: Op, cells: dict[int, int], value: int, between: Callable[[], object] | None = None
) -> None:
    """Write what a task writes. Other tasks may run `between` reading and writing."""
    for variable, mode in op.modes.items():
        if mode == "accumulate":
            before = cells.get(variable, 0)
            if between is not None:
                between()
            cells[variable] = (before + value) & MASK
        elif mode != "read":
            cells[variable] = mixed(value, variable)


@dataclass(slots=True)
class Group:
    """Accumulations that more may still join."""

    base: Op | None  # who is to blame for the value before
    version: int
    failed: Op | None = None


@dataclass(slots=True)
class State:
    """Of a variable."""

    version: int = 0
    stale: int | None = None  # the last good version, where the newest is poisoned
    poison: Op | None = None  # who is to blame
    writer: Op | None = None  # who says so to those that wait
    group: Group | None = None
    deleted: bool = False

    def close(self) -> None:
        """Something needs the sum."""
        if self.group is not None:
            self.poison = self.writer = self.group.failed
            self.group = None

    @property
    def blame(self) -> Op | None:
        """Who is to blame if it is waited for."""
        return self.writer if self.group is None else self.group.failed


@dataclass
class Serial:
    """The interpreter. It is told which tasks were cancelled, and which of those ran."""

    program: Program
    cancelled: Container[int] = ()
    ran_cancelled: Container[int] = ()
    cells: dict[int, int] = field(default_factory=dict[int, int])
    states: dict[int, State] = field(default_factory=dict[int, State])
    verdicts: dict[int, Verdict] = field(default_factory=dict[int, Verdict])
    causes: dict[int, Op] = field(default_factory=dict[int, Op])  # of tasks that needed too much
    seen: dict[int, Seen] = field(default_factory=dict[int, Seen])  # by waits
    ran: set[int] = field(default_factory=set[int])
    failures: set[int] = field(default_factory=set[int])  # not yet reported
    order: dict[int, int] = field(default_factory=dict[int, int])

    def state(self, variable: int) -> State:
        """Of a variable."""
        if (found := self.states.get(variable)) is None:
            found = self.states[variable] = State()
        return found

    def run(self, steps: Iterable[Op]) -> None:
        """Steps in serial order, children among them."""
        for op in steps:
            if op.what in TASKS:
                self.task(op)
            else:
                self.step(op)

    def step(self, op: Op) -> None:
        """What the program sees as it waits."""
        if op.what == "result":
            self.seen[op.number] = self.verdicts[op.target]
        elif op.what == "all":
            self.seen[op.number] = frozenset(self.failures)
            self.failures.clear()
        elif op.what == "wait":
            state = self.state(op.target)
            state.close()
            self.seen[op.number] = (self.fault(state.blame), self.cells.get(op.target, 0))

    def fault(self, op: Op | None) -> tuple[int, str] | None:
        """Who is to blame for a variable, and for what."""
        return None if op is None else self.verdicts[op.number][1:]

    def cause(self, op: Op) -> Op | None:
        """The first task that wrote, and did not, what a task needs. Opens and closes groups."""
        found: list[Op] = []
        for variable, mode in op.modes.items():
            state = self.state(variable)
            blamed: Op | None = None
            if mode == "accumulate":
                if state.group is None:
                    state.group = Group(state.poison, state.version)
                blamed = state.group.base
            else:
                state.close()
                if mode != "overwrite":
                    blamed = state.poison
            if blamed is not None:
                found.append(blamed)
        return self.first(*found)

    def first(self, *found: Op | None) -> Op | None:
        """The first of some in serial order."""
        known = [op for op in found if op is not None]
        return min(known, key=lambda each: self.order[each.number], default=None)

    def task(self, op: Op) -> None:
        """Run a task, or skip it."""
        self.order[op.number] = len(self.order)
        cause, number = self.cause(op), op.number
        root = op
        if number in self.cancelled:
            if number in self.ran_cancelled:
                self.effect(op)
            verdict: Verdict = ("cancelled", number, "cancelled")
        elif cause is not None and not op.always:
            verdict, root = self.skipped(op, cause), cause
        else:
            verdict = ("done", self.effect(op), "")
            if op.fails:
                verdict = ("failed", number, "missing" if op.how == "drop" else "")
                self.failures.add(number)
            root = cause or op  # it may have run in vain
        self.verdicts[number] = verdict
        good = verdict[0] == "done" and cause is None
        for variable, mode in op.modes.items():
            if mode != "read":
                state = self.states[variable]
                self.written(None if good else root, state, mode)
                if mode != "accumulate" and not good:
                    state.writer = op if verdict[0] == "failed" else root
                state.deleted |= op.what == "delete"

    def skipped(self, op: Op, cause: Op) -> Verdict:
        """Of a task that could not run, or ran in vain."""
        self.causes[op.number] = cause
        _, root, what = self.verdicts[cause.number]
        return ("skipped", root, what)

    def effect(self, op: Op) -> int:
        """What a task does when it runs, whether it raises then or not."""
        self.ran.add(op.number)
        awaited = [blurred(self.verdicts[each]) for each in op.awaits]
        value = compute(op, self.cells, awaited)
        store(op, self.cells, value)
        return value

    def written(self, blamed: Op | None, state: State, mode: str) -> None:
        """A write is over; who is to blame, if anybody."""
        state.version += 1
        before = state.version - 1
        if mode == "accumulate":
            group = state.group
            assert group is not None
            group.failed, before = self.first(group.failed, blamed), group.version
        else:
            state.poison = state.writer = blamed
        if blamed is not None:
            state.stale = before if state.stale is None else state.stale
        elif mode != "accumulate":
            state.stale = None
