"""Accumulations: they commute, so those of a variable form a group without an order of their own.

A group is everything that accumulates into a variable between two other accesses. Its members wait
for what was before the group, not for one another, but they exclude each other in time; what comes
after waits for the join, which is over when the group is closed and its members are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphopt.engine.task import DONE, Accumulation, Join, Options, Task, Variable

if TYPE_CHECKING:
    from graphopt.engine.recordings.recorder import Recorder


class Groups:
    """The part of the scheduler that knows of groups."""

    __slots__ = ("joins", "joint", "recorder", "relay")

    joins: int  # so far
    joint: Options  # of joins and waits, which no lane runs
    recorder: Recorder | None
    relay: list[Task]

    def complete(self, task: Task) -> None:
        """See Scheduler."""
        raise NotImplementedError

    def release(self, task: Task) -> None:
        """See Scheduler."""
        raise NotImplementedError

    def accumulate(self, task: Accumulation) -> int:
        """Join the open group of each variable, or found one."""
        wait_count = 0
        for variable in task.accumulate:
            if variable.gone:
                task.blame(variable.gone)
                continue
            group = variable.group
            if group is None:
                group = Join(variable, self.joint)
                self.joins += 1
                group.seq = -self.joins
                variable.group = variable.writer = group
                variable.readers = []
                if self.recorder is not None:
                    self.recorder.integrated(group)
            base = group.base
            if base is not None:
                if base.state != DONE:
                    wait_count += base.precede(task)
                elif not base.good:
                    task.blame(base)
            for reader in group.base_readers:
                if reader.state != DONE:
                    wait_count += reader.precede(task, value=False)
            group.members[task] = None
            group.wait_count += task.precede(group)
            task.groups += (group,)
        return wait_count

    def close(self, variable: Variable) -> None:
        """Let nothing more join a group: something needs its sum."""
        group, variable.group = variable.group, None
        assert group is not None
        if group.wait_count > 1:
            group.wait_count -= 1
        else:  # nothing else of the relay: a task may be half taken in here
            self.complete(group)

    def hold(self, task: Accumulation) -> bool:
        """Let a task hold all its groups, or park it at the first that is held."""
        for group in task.groups:
            if group.holder is not None:
                group.parked.append(task)
                return False
        for group in task.groups:
            group.holder = task
        return True

    def let_go(self, task: Accumulation) -> None:
        """An accumulation is over: the next of each of its groups may run."""
        for group in task.groups:
            variable = group.variable
            del group.members[task]
            if group.version is None:
                group.version = variable.version
            variable.version += 1
            if not task.good and variable.stale is None:
                variable.stale = group.version
            if group.holder is task:
                group.holder = None
                while group.parked and group.holder is None:
                    self.release(group.parked.popleft())
        task.accumulate = task.groups = ()
