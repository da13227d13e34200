"""Fills a recording while the engine runs.

The scheduler calls it inside its critical section, workers call it as they start and end tasks.
Positions in the total order come from one counter.
"""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING

from graphopt.engine.errors import TaskCancelledError
from graphopt.engine.lanes import Lane
from graphopt.engine.recordings.recording import LaneRecord, Recording, TaskRecord
from graphopt.engine.task import SKIPPED, Join, Task, Variable

if TYPE_CHECKING:
    from graphopt.engine.scheduler import Scheduler


class Recorder:
    """Writes down what happens. Times are seconds since it began."""

    def __init__(self, scheduler: Scheduler, recording: Recording) -> None:
        self.scheduler = scheduler
        self.recording = recording
        self.began = scheduler.driver.now()
        self.next = count().__next__
        self.kept: list[Variable] = []  # so that no other gets the number of one that is gone

    def now(self) -> float:
        """Seconds since the recording began."""
        return self.scheduler.driver.now() - self.began

    def number(self, variable: Variable) -> int:
        """A variable's number."""
        variables = self.recording.variables
        if id(variable) not in variables:
            variables[id(variable)] = variable.name or f"v{len(variables)}"
            self.kept.append(variable)
        return id(variable)

    def integrated(self, task: Task) -> None:
        """A task got its place in the serial program."""
        options = task.options
        read, mutate, overwrite, accumulate = (
            tuple(dict.fromkeys(self.number(variable) for variable in variables))
            for variables in (task.read, task.mutate, task.overwrite, task.accumulate)
        )
        joint = isinstance(task, Join)
        record = TaskRecord(
            seq=task.seq,
            name=f"join {task.variable.name}" if isinstance(task, Join) else task.name,
            site=task.site,
            kind="join" if joint else "cheap" if options.cheap else options.kind,
            device="" if joint else options.lane.device,
            priority=options.priority,
            nbytes=options.nbytes,
            cost=options.cost,
            read=read,
            mutate=mutate,
            overwrite=overwrite,
            accumulate=(self.number(task.variable),) if isinstance(task, Join) else accumulate,
            yielded=options.asynchronous,
            entered=self.now(),
            integrated=self.next(),
        )
        self.recording.tasks[task.seq] = record
        if not joint and options.lane.name not in self.recording.lanes:
            self.recording.lanes = {lane.name: _lane(lane) for lane in self.scheduler.driver.lanes}

    def started(self, task: Task, worker: str, late: bool = False) -> None:
        """A worker is about to run a task."""
        if (record := self.recording.tasks.get(task.seq)) is not None and record.started < 0:
            record.worker, record.late = worker, late
            record.started = self.next()
            record.start = self.now()

    def yielded(self, task: Task) -> None:
        """A task waits, and others have its worker meanwhile."""
        if (record := self.recording.tasks.get(task.seq)) is not None:
            record.yielded = True

    def finished(self, task: Task) -> None:
        """A task's function returned, or its completion was called."""
        if (record := self.recording.tasks.get(task.seq)) is not None:
            record.end = self.now()
            record.finished = self.next()

    def completed(self, task: Task) -> None:
        """The scheduler is about to release who waits for a task."""
        if isinstance(task, Join) and task.seq not in self.recording.tasks:
            self.integrated(task)  # it is older than the recording, but others joined it since
        record = self.recording.tasks.get(task.seq)
        if record is None:  # it is older, or a wait
            return
        record.completed = self.next()
        record.then = tuple(each.seq for each in task.then or () if each.seq)
        record.after = tuple(each.seq for each in task.after or () if each.seq)
        if task.error is None and (task.cause is None or record.started >= 0):
            record.status = "done"
            return
        cancelled = isinstance(task.error, TaskCancelledError)
        skipped = task.error is SKIPPED or task.error is None
        record.status = "cancelled" if cancelled else "skipped" if skipped else "failed"
        record.error = "" if skipped else repr(task.error)


def _lane(lane: Lane) -> LaneRecord:
    """What is recorded of a lane."""
    link = lane.link
    return LaneRecord(lane.size, link.bandwidth if link else None, link.latency if link else 0.0)
