"""Faults planted in the real scheduler: each breaks the serial order in some programs.

A fault hides from `integrate` what it shall overlook (the writer of a variable, its readers, its
open group) or changes what came of it. What a task declares stays as it is, and so does what is
recorded of it, so a check that is worth anything finds the order that is missing.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from graphopt.engine.lanes import Lane
from graphopt.engine.scheduler import Scheduler
from graphopt.engine.task import RUNNING, Accumulation, Task, Variable

FAULTS: dict[str, type[Faulty]] = {}


class Faulty(Scheduler):
    """A scheduler that queues each task once, however often it is released."""

    def __init__(self) -> None:
        super().__init__()
        self.released: set[int] = set()

    def __init_subclass__(cls) -> None:
        FAULTS[cls.__name__] = cls

    def release(self, task: Task) -> None:
        """Once, but for what was parked meanwhile."""
        if task.options is not self.joint:
            if task.seq in self.released and not isinstance(task, Accumulation):
                return
            self.released.add(task.seq)
        super().release(task)

    def integrate(self, task: Task) -> None:
        """Hide something, integrate, and put it back where nothing else has taken its place."""
        self.before(task)
        super().integrate(task)
        self.after(task)

    def before(self, task: Task) -> None:
        """What to hide."""

    def after(self, task: Task) -> None:
        """What to change."""


def forget(variables: Iterable[Variable], writer: bool = True, readers: bool = False) -> None:
    """Let nobody know who wrote variables, or who read them; open groups stay."""
    for variable in variables:
        if writer and variable.group is None and not variable.gone:
            variable.writer = None
        if readers:
            variable.readers = []


def at_once(scheduler: Scheduler, task: Task) -> None:
    """Let a task run though it waits."""
    if task.wait_count and not isinstance(task, Accumulation):
        scheduler.release(task)


# Of reads.


class ReaderIgnoresWriter(Faulty):
    def before(self, task: Task) -> None:
        self.hidden = {v: v.writer for v in task.read if v.group is None}
        forget(task.read)

    def after(self, task: Task) -> None:
        for variable, writer in self.hidden.items():
            variable.writer = variable.writer or writer


class ReaderIgnoresRunningWriter(Faulty):
    """What has started must be over soon."""

    def before(self, task: Task) -> None:
        forget(v for v in task.read if v.writer is not None and v.writer.state == RUNNING)


class ReaderIgnoresWriterInAnotherLane(Faulty):
    def before(self, task: Task) -> None:
        lane = task.options.lane
        forget(v for v in task.read if v.writer is not None and v.writer.options.lane is not lane)


class OnlyTheFirstReadIsFollowed(Faulty):
    def before(self, task: Task) -> None:
        forget(task.read[1:])


class ReaderDoesNotCloseTheGroup(Faulty):
    """It sees the value before the group."""

    def before(self, task: Task) -> None:
        written = {*task.mutate, *task.overwrite}
        self.hidden = {v: v.group for v in task.read if v.group is not None and v not in written}
        for variable, group in self.hidden.items():
            variable.group, variable.writer = None, group.base

    def after(self, task: Task) -> None:
        for variable, group in self.hidden.items():
            variable.group = variable.writer = group


class ReaderIsForgotten(Faulty):
    """The next writer does not know of it, if it had to wait itself."""

    def after(self, task: Task) -> None:
        for variable in task.read:
            if task.wait_count and task in variable.readers:
                variable.readers.remove(task)


class ManyReadersAreForgotten(Faulty):
    """Pruning drops those that are not over."""

    def before(self, task: Task) -> None:
        forget((v for v in task.read if len(v.readers) >= 8), writer=False, readers=True)


# Of writes.


class WriterIgnoresReaders(Faulty):
    def before(self, task: Task) -> None:
        forget(task.mutate, writer=False, readers=True)


class WriterIgnoresLastWriter(Faulty):
    def before(self, task: Task) -> None:
        forget(task.mutate)


class WriterFollowsOnlyTheLastReader(Faulty):
    def before(self, task: Task) -> None:
        for variable in (*task.mutate, *task.overwrite):
            variable.readers = variable.readers[-1:]


class WriterFollowsOnlyTheFirstReader(Faulty):
    def before(self, task: Task) -> None:
        for variable in (*task.mutate, *task.overwrite):
            variable.readers = variable.readers[:1]


class OnlyTheFirstMutationIsFollowed(Faulty):
    def before(self, task: Task) -> None:
        forget(task.mutate[1:], readers=True)


class ReadAndMutationCountAsRead(Faulty):
    """Named in both modes: the readers before it are not waited for."""

    def before(self, task: Task) -> None:
        forget((v for v in task.mutate if v in task.read), writer=False, readers=True)


class WriterIsNotNoted(Faulty):
    def after(self, task: Task) -> None:
        forget(task.mutate)


class OverwriteIgnoresWriter(Faulty):
    def before(self, task: Task) -> None:
        forget(v for v in task.overwrite if v not in task.read)


class OverwriteIgnoresReaders(Faulty):
    def before(self, task: Task) -> None:
        forget(task.overwrite, writer=False, readers=True)


class OverwriteIsNotNoted(Faulty):
    def after(self, task: Task) -> None:
        forget(task.overwrite)


class DeletionDoesNotWait(Faulty):
    def before(self, task: Task) -> None:
        if task.options.kind == "delete":
            forget(task.overwrite, readers=True)


class OverwriteDoesNotWaitForTheGroup(Faulty):
    def before(self, task: Task) -> None:
        for variable in task.overwrite:
            if variable.group is not None and variable not in task.read:
                variable.writer, variable.group = variable.group.base, None


class MutationDoesNotWaitForTheGroup(Faulty):
    def before(self, task: Task) -> None:
        for variable in task.mutate:
            if variable.group is not None:
                variable.writer, variable.group = variable.group.base, None


class OlderWriterForgetsNewer(Faulty):
    """A task that is over takes the variable from whoever writes it next."""

    def complete_plain(self, task: Task) -> None:
        written = (*task.mutate, *task.overwrite)
        super().complete_plain(task)
        forget(written)


# Of accumulations.


class AccumulationsOverlap(Faulty):
    def hold(self, task: Accumulation) -> bool:
        return True


class GroupIgnoresWriter(Faulty):
    def before(self, task: Task) -> None:
        forget(v for v in task.accumulate if v.group is None)


class GroupIgnoresReaders(Faulty):
    def before(self, task: Task) -> None:
        founded = (v for v in task.accumulate if v.group is None)
        forget(founded, writer=False, readers=True)


class OnlyTheFirstMemberWaitsForReaders(Faulty):
    def before(self, task: Task) -> None:
        for variable in task.accumulate:
            if variable.group is not None:
                variable.group.base_readers = []


class OnlyTheFirstMemberWaitsForTheWriter(Faulty):
    def before(self, task: Task) -> None:
        for variable in task.accumulate:
            if variable.group is not None:
                variable.group.base = None


class JoinForgetsLaterMembers(Faulty):
    def after(self, task: Task) -> None:
        for group in task.groups:
            if len(group.members) > 1 and task.then and group in task.then:
                task.then.remove(group)
                group.wait_count -= 1


class JoinIsNotWaitedFor(Faulty):
    def before(self, task: Task) -> None:
        for variable in (*task.read, *task.mutate):
            if variable.group is not None:
                self.close(variable)
                variable.writer = None


# Of releases.


class OnePredecessorTooEarly(Faulty):
    def after(self, task: Task) -> None:
        if task.wait_count > 1 and task.seq % 3 == 0:
            task.wait_count -= 1


class SkippedTaskOvertakes(Faulty):
    """What must be skipped anyway does not wait for those that still read."""

    def after(self, task: Task) -> None:
        if task.cause is not None:
            at_once(self, task)


class PriorityJumpsTheQueue(Faulty):
    def after(self, task: Task) -> None:
        if task.options.priority > 0:
            at_once(self, task)


class CheapDoesNotWait(Faulty):
    def after(self, task: Task) -> None:
        if task.options.cheap:
            at_once(self, task)


class AlwaysDoesNotWait(Faulty):
    def after(self, task: Task) -> None:
        if task.options.always:
            at_once(self, task)


class StartReleasesSuccessors(Faulty):
    """They are counted down before the value is written."""

    def wanted(self, task: Task) -> bool:
        return task.seq % 3 == 0

    def next(self, lane: Lane) -> Any:
        task = super().next(lane)
        if task is not None and self.wanted(task):
            for successor in (*(task.then or ()), *(task.after or ())):
                if successor.wait_count > 1:
                    successor.wait_count -= 1
                elif successor.options is not self.joint:
                    self.release(successor)
        return task


class AsynchronousEndsWithItsFunction(StartReleasesSuccessors):
    def wanted(self, task: Task) -> bool:
        return task.options.asynchronous
