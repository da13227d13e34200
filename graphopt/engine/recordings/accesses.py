"""What the serial program means: which of its accesses must come before which.

This is derived from declared accesses alone and shares nothing with the scheduler, so that the
happens-before check and the what-if simulation are a second opinion.

The accesses to a variable fall into *phases*, maximal runs that have no order among themselves: one
write, or reads, or accumulations of one group. Each access comes after the whole phase before its
own. Older phases need no mention: no phase is empty, and "comes before" is transitive.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from graphopt.engine.recordings.recording import LaneRecord, Recording, TaskRecord

Mode = Literal["read", "accumulate", "overwrite", "mutate"]
Hazard = Literal["RAW", "WAR", "WAW", "accumulate"]
"""Why two accesses are ordered: the later one reads a written value (RAW), writes what was read
(WAR), replaces what was written (WAW); accumulations of a group only exclude each other in time."""


@dataclass(eq=False, slots=True)
class Phase:
    """Accesses to one variable without an order among themselves, and the phase before them."""

    variable: int
    mode: Mode
    before: Phase | None = field(repr=False)
    tasks: list[TaskRecord] = field(default_factory=list[TaskRecord], repr=False)


def modes(task: TaskRecord) -> dict[int, Mode]:
    """How a task accesses each of its variables. Several modes of one are a mutation.

    >>> modes(TaskRecord(1, "f", "a.py:1", "compute", "cpu:0", read=(1, 2), overwrite=(2, 3)))
    {1: 'read', 2: 'mutate', 3: 'overwrite'}
    """
    found: dict[int, Mode] = {}
    declared: tuple[tuple[Mode, tuple[int, ...]], ...] = (
        ("read", task.read),
        ("mutate", task.mutate),
        ("overwrite", task.overwrite),
        ("accumulate", task.accumulate),
    )
    for mode, variables in declared:
        for variable in variables:
            found[variable] = mode if found.get(variable, mode) == mode else "mutate"
    return found


def phases(tasks: Iterable[TaskRecord]) -> dict[int, list[Phase]]:
    """The phases that each task belongs to, one a variable, given tasks in serial order.

    The end of a group of accumulations is no task: joins are left out.
    """
    last: dict[int, Phase] = {}
    found: dict[int, list[Phase]] = {}
    for task in tasks:
        if task.kind == "join":
            continue
        mine = found[task.seq] = []
        for variable, mode in modes(task).items():
            phase = last.get(variable)
            if phase is None or mode != phase.mode or mode in ("mutate", "overwrite"):
                phase = last[variable] = Phase(variable, mode, before=phase)
            phase.tasks.append(task)
            mine.append(phase)
    return found


def groups(found: dict[int, list[Phase]]) -> list[Phase]:
    """The phases among those of `phases` that are groups of accumulations."""
    every = dict.fromkeys(phase for mine in found.values() for phase in mine)
    return [phase for phase in every if phase.mode == "accumulate"]


def hazard(earlier: Mode, later: Mode) -> Hazard | None:
    """Why an access comes after one in an earlier phase; None for two reads."""
    if earlier == "read":
        return None if later == "read" else "WAR"
    return "WAW" if later == "overwrite" else "RAW"


def between(earlier: TaskRecord, later: TaskRecord) -> tuple[Hazard, int] | None:
    """The hazard that orders two tasks and its variable; values count more than mere order."""
    before, after = modes(earlier), modes(later)
    found: list[tuple[Hazard, int]] = []
    for variable in before.keys() & after.keys():
        if before[variable] == after[variable] == "accumulate":
            found.append(("accumulate", variable))
        elif why := hazard(before[variable], after[variable]):
            found.append((why, variable))
    order = ("RAW", "WAW", "WAR", "accumulate")
    return min(found, key=lambda each: (order.index(each[0]), each[1]), default=None)


def predecessors(recording: Recording) -> dict[int, list[int]]:
    """Whom each task, and each join, waited for by the edges of a recording."""
    found: dict[int, list[int]] = defaultdict(list)
    for task in recording:
        for successor in dict.fromkeys(task.then + task.after):
            found[successor].append(task.seq)
    return dict(found)


def waited_for(recording: Recording) -> dict[int, list[TaskRecord]]:
    """As `predecessors`, but of tasks only: a join is replaced by its member completed last.

    A member that was never completed counts as the last.
    """
    before = predecessors(recording)
    found: dict[int, list[TaskRecord]] = {}
    for seq in sorted(before, key=lambda seq: (seq > 0, abs(seq))):  # joins first, in their order
        waits = found.setdefault(seq, [])
        for earlier in before[seq]:
            if earlier > 0:
                waits.append(recording.tasks[earlier])
            elif members := found.get(earlier):
                waits.append(max(members, key=completion))
    return found


def completion(task: TaskRecord) -> float:
    """The position of a task's completion, infinity if it has none."""
    return task.completed if task.completed >= 0 else float("inf")


def home(lanes: Mapping[str, LaneRecord], task: TaskRecord) -> str | None:
    """The lane whose workers run a task, None if any worker may. Deletions compute."""
    if task.lane in lanes:
        return task.lane
    compute = f"{task.device}/compute"
    return compute if task.kind == "delete" and compute in lanes else None


# Names, as messages have them.


def describe(task: TaskRecord) -> str:
    """A task's name and the line that pushed it."""
    return f"task {task.name!r} ({task.site})"


def variable_name(recording: Recording, variable: int) -> str:
    """A variable's name, its number if it has none."""
    return recording.variables.get(variable) or f"variable {variable}"
