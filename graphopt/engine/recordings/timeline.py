"""Where the time of a recording went: why each task waited, the critical path, how busy lanes were.

A task's life has three parts: it waits for others (the last of them counts), then for a worker of
its lane, then it runs. All times are seconds of the recording's clock, real or virtual.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from graphopt.engine.errors import RecordingError
from graphopt.engine.recordings.accesses import (
    between,
    describe,
    groups,
    home,
    phases,
    variable_name,
    waited_for,
)
from graphopt.engine.recordings.recording import Recording, TaskRecord


@dataclass(frozen=True, slots=True)
class Wait:
    """How a task's time was spent, and the task it waited for longest, None if it did not wait.

    `reason` is a hazard and its variable, such as "RAW on x"; "accumulate on x" if another of its
    group had its turn; "order" if the two share no variable.
    """

    for_others: float
    for_worker: float
    ran: float
    last: TaskRecord | None
    reason: str


@dataclass(frozen=True, slots=True)
class Step:
    """A task of the critical path, and why it did not start earlier.

    `reason` is that of `Wait`, or "worker" if a worker was busy until then, or "pushed" if nothing
    but the program that pushed it was. `waited` are seconds since the step before ended, or since
    the recording began.
    """

    task: TaskRecord
    reason: str
    waited: float
    ran: float

    def __str__(self) -> str:
        waited = f"{seconds(self.waited):>9} {self.reason:<16}"
        return f"{waited}{seconds(self.ran):>9} {describe(self.task)}"


def seconds(value: float) -> str:
    """A duration to read.

    >>> seconds(0.00314), seconds(12), seconds(2.5e-6)
    ('3.14 ms', '12 s', '2.5 µs')
    """
    unit, size = next(
        (each for each in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)) if abs(value) >= each[1]),
        ("ns", 1e-9),
    )
    return f"{value / size:.3g} {unit}" if value else "0 s"


def ran(recording: Recording) -> Iterator[tuple[TaskRecord, float, float]]:
    """The tasks that ran, with their starts and ends."""
    for task in recording:
        if task.start is not None and task.end is not None:
            yield task, task.start, task.end


def beginning(recording: Recording) -> float:
    """When the first of the tasks that ran was pushed."""
    return min((task.entered for task, _, _ in ran(recording)), default=0.0)


def makespan(recording: Recording) -> float:
    """Seconds from the first push to the last end."""
    return max((end for _, _, end in ran(recording)), default=0.0) - beginning(recording)


def blockers(recording: Recording) -> dict[int, list[TaskRecord]]:
    """For each task, those that had to end before it started and have times.

    These are the tasks it waited for by edges and, in a group of accumulations, the one before it.
    """
    found = waited_for(recording)
    for group in groups(phases(sorted(recording, key=lambda task: task.seq))):
        members = sorted(
            (task for task in group.tasks if task.started >= 0), key=lambda t: t.started
        )
        for first, second in pairwise(members):
            found.setdefault(second.seq, []).append(first)
    return {
        seq: [each for each in earlier if each.end is not None] for seq, earlier in found.items()
    }


def waits(
    recording: Recording, others: dict[int, list[TaskRecord]] | None = None
) -> dict[int, Wait]:
    """Why each task that ran did not start when it was pushed, given `blockers` if at hand."""
    others = blockers(recording) if others is None else others
    found: dict[int, Wait] = {}
    for task, start, end in ran(recording):
        last = max(others.get(task.seq, ()), key=lambda t: (_end(t), t.completed), default=None)
        ready = task.entered if last is None else min(_end(last), start)
        if last is None or ready <= task.entered:
            found[task.seq] = Wait(0.0, start - task.entered, end - start, None, "")
        else:
            why = reason(recording, last, task)
            found[task.seq] = Wait(ready - task.entered, start - ready, end - start, last, why)
    return found


def reason(recording: Recording, earlier: TaskRecord, later: TaskRecord) -> str:
    """Why a task had to wait for another."""
    why = between(earlier, later)
    return f"{why[0]} on {variable_name(recording, why[1])}" if why else "order"


def explain(recording: Recording, seq: int) -> str:
    """Why a task ran when it did, in a line. Raises RecordingError if there is no such task."""
    if seq not in recording.tasks:
        raise RecordingError(f"there is no task {seq}")
    task = recording.tasks[seq]
    return tell(recording, task, waits(recording).get(seq))


def tell(recording: Recording, task: TaskRecord, wait: Wait | None) -> str:
    """As `explain`, given the task's entry of `waits`, which it has if it ran."""
    if wait is None:
        told = f"{describe(task)} is {task.status}"
        return f"{told}: {task.error}" if task.error else told
    parts: list[str] = []
    if wait.last is not None:
        parts.append(f"{seconds(wait.for_others)} for {wait.last.name!r} ({wait.reason})")
    if wait.for_worker > 0:
        lane = home(recording.lanes, task) or "any lane"
        parts.append(f"{seconds(wait.for_worker)} for a worker of {lane}")
    waited = f"waited {', then '.join(parts)}, and" if parts else "started at once and"
    return f"{describe(task)} {waited} ran {seconds(wait.ran)}"


def critical_path(recording: Recording, why: dict[int, Wait] | None = None) -> list[Step]:
    """The chain of tasks that determined the makespan, the first one first.

    Back from the task that ended last, each step goes to what ended last of all that the task
    waited for: another task, or the one before it on its worker. The times waited and run add up to
    the makespan. `why` is what `waits` says, if at hand.
    """
    why = waits(recording) if why is None else why
    by_worker: dict[str, list[TaskRecord]] = defaultdict(list)
    for each, _, _ in sorted(ran(recording), key=lambda item: item[0].finished):
        by_worker[each.worker].append(each)
    task = max(ran(recording), key=lambda item: (item[2], item[0].finished), default=(None,))[0]
    found: list[Step] = []
    while task is not None:
        wait = why[task.seq]
        blocker, cause = wait.last, wait.reason
        mine = by_worker[task.worker]
        place = bisect_left(mine, task.started, key=lambda each: each.finished)
        if place and task.worker and (blocker is None or _end(mine[place - 1]) > _end(blocker)):
            blocker, cause = mine[place - 1], "worker"
        if blocker is None or _end(blocker) <= task.entered or blocker.finished >= task.finished:
            blocker, cause = None, "pushed"
        since = beginning(recording) if blocker is None else _end(blocker)
        found.append(Step(task, cause, _end(task) - wait.ran - since, wait.ran))
        task = blocker
    return found[::-1]


def _end(task: TaskRecord) -> float:
    """When a task that ran ended."""
    assert task.end is not None
    return task.end


def busy(recording: Recording, lane: str) -> list[tuple[float, float]]:
    """When at least one worker of a lane was busy: intervals that do not touch, in order."""
    spans = sorted((start, end) for task, start, end in ran(recording) if task.lane == lane)
    merged: list[tuple[float, float]] = []
    for start, end in spans:
        if merged and start <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(end, merged[-1][1])
        else:
            merged.append((start, end))
    return merged


def overlap(recording: Recording, lane_a: str, lane_b: str) -> float:
    """Seconds during which both of two lanes were busy, such as copying beside computing."""
    first, second = busy(recording, lane_a), busy(recording, lane_b)
    total, i, j = 0.0, 0, 0
    while i < len(first) and j < len(second):
        common = min(first[i][1], second[j][1]) - max(first[i][0], second[j][0])
        total += max(0.0, common)
        if first[i][1] < second[j][1]:
            i += 1
        else:
            j += 1
    return total


def work(recording: Recording) -> dict[str, float]:
    """Seconds that the workers of each lane ran tasks."""
    total = dict.fromkeys(recording.lanes, 0.0)
    for task, start, end in ran(recording):
        lane = home(recording.lanes, task) or task.lane
        total[lane] = total.get(lane, 0.0) + end - start
    return total


def summary(recording: Recording) -> str:
    """A table of the lanes: how busy they were, and what their tasks waited for on average."""
    whole, why, done = makespan(recording), waits(recording), work(recording)
    tasks: dict[str, list[Wait]] = defaultdict(list)
    for task, _, _ in ran(recording):
        tasks[home(recording.lanes, task) or task.lane].append(why[task.seq])
    width = max(map(len, (*done, "lane")))
    heads = f"{'workers':>9}{'tasks':>8}{'busy':>10}{'used':>7}{'for others':>12}{'for worker':>12}"
    lines = [f"{'lane':<{width}}{heads}"]
    for lane, total in done.items():
        workers = recording.lanes[lane].workers if lane in recording.lanes else 0
        used = f"{total / (workers * whole):.0%}" if workers and whole else "-"
        mine = tasks[lane]
        others = sum(wait.for_others for wait in mine) / max(1, len(mine))
        worker = sum(wait.for_worker for wait in mine) / max(1, len(mine))
        lines.append(
            f"{lane:<{width}}{workers or '-':>9}{len(mine):>8}{seconds(total):>10}{used:>7}"
            f"{seconds(others):>12}{seconds(worker):>12}"
        )
    path = critical_path(recording, why)
    on_path = sum(step.ran for step in path)
    lines.append(f"makespan {seconds(whole)}, of which the critical path ran {seconds(on_path)}")
    return "\n".join(lines)
