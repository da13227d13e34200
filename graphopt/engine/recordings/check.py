"""The happens-before check: did an engine order what the serial program orders, or was it lucky?

    assert_ordered(recording)

Two conflicting accesses are ordered if the scheduler had completed the earlier task before it took
the later one in, or if recorded edges lead from one to the other, through joins of accumulations
too. That the clock, or the same worker, put them in the right order proves nothing: the next run
may not. "Happens before" is Lamport's (1978). Where race detectors such as FastTrack (Flanagan and
Freund 2009) compare vector clocks (Mattern 1989), one entry a thread, this keeps for each task the
set of tasks before it: the engine's tasks are ordered by edges, not by the threads they ran on.

The other rules are about a single run: edges were obeyed, accumulations of a group did not overlap,
lanes did not run more than their workers, and each task lived in the right order.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from graphopt.engine.errors import EngineError
from graphopt.engine.recordings.accesses import (
    Hazard,
    between,
    completion,
    describe,
    groups,
    hazard,
    modes,
    phases,
    predecessors,
    variable_name,
    waited_for,
)
from graphopt.engine.recordings.recording import Recording, TaskRecord
from graphopt.engine.recordings.window import Window

Rule = Literal[Hazard, "edge", "life", "lane", "order"]


class RaceError(EngineError):
    """A recording shows that the engine did not keep the serial order; the message lists where."""


@dataclass(frozen=True, slots=True)
class Race:
    """A finding. `rule` is the hazard on the variable, or what else was broken.

    That is an edge that no access explains, the life of a task, the size of a lane, or the order
    of integration; `variable` is "" then.
    """

    rule: Rule
    earlier: TaskRecord
    later: TaskRecord  # the same task, where one is concerned
    variable: str
    text: str

    def __str__(self) -> str:
        where = f" on {self.variable}" if self.variable else ""
        return f"{self.rule}{where}: {self.text}"


def races(recording: Recording) -> list[Race]:
    """All findings, by rule. The time grows with the tasks, and with the backlog of pending ones.

    Nothing is said about tasks that were pushed before the recording began. Accesses are those that
    tasks declared: that they touch nothing else is not checked here.
    """
    return [
        *_lives(recording),
        *_serial(recording),
        *_edges(recording),
        *_conflicts(recording),
        *_exclusions(recording),
        *_lanes(recording),
    ]


def assert_ordered(recording: Recording) -> None:
    """Raise RaceError with the first ten findings, if there are any."""
    found = races(recording)
    if found:
        lines = [str(race) for race in found[:10]]
        if len(found) > len(lines):
            lines.append(f"and {len(found) - len(lines)} more")
        raise RaceError(
            "\n  ".join([f"the serial order was broken in {len(found)} places:", *lines])
        )


# One task.


def _lives(recording: Recording) -> Iterator[Race]:
    """Tasks that did not go through integrated, started, finished, completed, once and in time."""
    taken: dict[int, TaskRecord] = {}
    last = max((task.completed for task in recording), default=-1)
    for task in recording:
        if task.kind == "join":
            continue
        for text in _faults(task, last):
            yield Race("life", task, task, "", f"{describe(task)} {text}")
        for position in (task.integrated, task.started, task.finished, task.completed):
            if position < 0:
                continue
            other = taken.setdefault(position, task)
            if other is not task:
                text = f"{describe(other)} and {describe(task)} both have an event at {position}"
                yield Race("life", other, task, "", text)


def _faults(task: TaskRecord, last: int) -> Iterator[str]:
    """What is wrong with the life of a task, given the last completion of the recording.

    A task that finished must also be completed, unless the recording ended before anything that
    was completed after.
    """
    events = {
        "integrated": task.integrated,
        "started": task.started,
        "finished": task.finished,
        "completed": task.completed,
    }
    happened = [what for what, position in events.items() if position >= 0]
    for first, second in pairwise(happened):
        if events[first] >= events[second]:
            yield f"was {second} before it was {first}"
    if happened and task.integrated < 0:
        yield f"was {happened[0]}, but never integrated"
    ran = task.status in ("done", "failed")
    if ran and not (task.started >= 0 and task.finished >= 0):
        yield f"is {task.status}, but its function did not run"
    given_up = task.status == "cancelled" and task.yielded  # while it waited for its completion
    if task.status in ("skipped", "cancelled") and task.started >= 0 and not given_up:
        yield f"is {task.status}, but was started"
    if task.completed < 0 and (task.status != "pending" or 0 <= task.finished < last):
        yield "was never completed"
    times = [time for time in (task.entered, task.start, task.end) if time is not None]
    if times != sorted(times):
        yield f"entered, started and ended at {', '.join(map(str, times))}"


def _serial(recording: Recording) -> Iterator[Race]:
    """Neighbours in the order of integration that the serial program has the other way round."""
    tasks = [task for task in recording if task.integrated >= 0 and task.kind != "join"]
    for first, second in pairwise(sorted(tasks, key=lambda task: task.integrated)):
        if first.seq > second.seq:
            text = f"{describe(first)} was integrated before the earlier {describe(second)}"
            yield Race("order", second, first, "", text)


# Edges.


def _edges(recording: Recording) -> Iterator[Race]:
    """Edges that were not obeyed, or that lead back in the serial program."""
    newest: dict[int, int] = {}  # of the members of a join
    for seq, before in sorted(predecessors(recording).items()):
        last = max(newest.get(each, each) for each in before)
        newest[seq] = last if seq < 0 else seq
        if last >= seq > 0 and seq in recording.tasks:
            earlier, later = recording.tasks[last], recording.tasks[seq]
            text = f"{describe(later)} waits for {describe(earlier)}, which was pushed after it"
            yield _on_edge(recording, earlier, later, text)
    for seq, waits in waited_for(recording).items():
        if seq < 0 or seq not in recording.tasks:
            continue  # a join never runs; or the recording ended before
        later = recording.tasks[seq]
        for earlier in waits:
            if not _obeyed(earlier, later):
                text = f"{describe(later)} did not wait until {describe(earlier)} was completed"
                yield _on_edge(recording, earlier, later, text)


def _obeyed(earlier: TaskRecord, later: TaskRecord) -> bool:
    """Whether a task was completed before another started, or was over without having started."""
    begun = later.started if later.started >= 0 else later.completed
    if 0 <= begun <= completion(earlier):
        return False
    return earlier.end is None or later.start is None or earlier.end <= later.start


def _on_edge(recording: Recording, earlier: TaskRecord, later: TaskRecord, text: str) -> Race:
    """A finding on an edge between two tasks; what they share says for which hazard it stands."""
    why = between(earlier, later)
    if why is None:
        return Race("edge", earlier, later, "", text)
    return Race(why[0], earlier, later, variable_name(recording, why[1]), text)


# Pairs of accesses.


def _conflicts(recording: Recording) -> Iterator[Race]:
    """Conflicting accesses that nothing orders.

    Neighbours suffice: each access is checked against the phase before its own. If those are
    ordered, all are, for "happens before" is transitive here: what was completed before a task was
    taken in was so, too, before anything that waits for that task was.
    """
    tasks = sorted(recording, key=lambda task: task.seq)
    found, window = phases(tasks), Window(predecessors(recording))
    events = [(task.integrated, False, task.seq) for task in tasks if task.seq in found]
    events += [(task.completed, True, task.seq) for task in tasks if task.seq in found]
    for position, over, seq in sorted(events):
        task = recording.tasks[seq]
        if position < 0:
            continue
        if over:
            window.complete(task)
            continue
        ran = task.started >= 0 or task.completed >= 0  # else it may have waited rightly
        for earlier, phase in window.integrate(task, found[seq]):
            if not ran:
                continue
            why = hazard(modes(earlier)[phase.variable], phase.mode)
            assert why is not None
            variable = variable_name(recording, phase.variable)
            text = f"nothing orders {describe(earlier)} before {describe(task)}"
            yield Race(why, earlier, task, variable, text)


# Times and places.


def _exclusions(recording: Recording) -> Iterator[Race]:
    """Accumulations of one group of which one started before another was completed."""
    for group in groups(phases(sorted(recording, key=lambda task: task.seq))):
        ran = sorted((task for task in group.tasks if task.started >= 0), key=lambda t: t.started)
        for first, second in pairwise(ran):
            if not _obeyed(first, second):
                text = f"{describe(first)} and {describe(second)} ran at the same time"
                variable = variable_name(recording, group.variable)
                yield Race("accumulate", first, second, variable, text)


def _lanes(recording: Recording) -> Iterator[Race]:
    """Tasks that started in a lane all of whose workers were busy, by times or by positions.

    A task that yields its worker, for it waits inside or is asynchronous, keeps none busy.
    """
    found: dict[int, Race] = {}
    for start, end in (("start", "end"), ("started", "finished")):
        for race in _crowds(recording, start, end):
            found.setdefault(race.later.seq, race)
    yield from found.values()


def _crowds(recording: Recording, start: str, end: str) -> Iterator[Race]:
    """Tasks that started where all workers were busy, by two fields that say from when to when."""
    events: list[tuple[float, bool, int]] = []  # what ends at an instant ends before another starts
    for task in recording:
        begun, over = getattr(task, start), getattr(task, end)
        if task.lane not in recording.lanes or task.yielded:
            continue
        if begun is None or begun < 0 or begun == over:
            continue
        events.append((begun, True, task.seq))
        if over is not None and over >= 0:
            events.append((over, False, task.seq))
    running: dict[str, dict[int, TaskRecord]] = defaultdict(dict)
    for _, starts, seq in sorted(events):
        task = recording.tasks[seq]
        workers, busy = recording.lanes[task.lane].workers, running[task.lane]
        if not starts:
            busy.pop(seq, None)
            continue
        if len(busy) >= workers:
            first = next(iter(busy.values()))
            text = f"{describe(task)} started while {describe(first)} ran, and all {workers} "
            yield Race("lane", first, task, "", f"{text}workers of {task.lane} were busy")
        busy[seq] = task
