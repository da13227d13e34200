"""A group of tasks with one fate: to be waited for, bounded, or cancelled together."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING

from graphopt.engine.errors import TaskCancelledError
from graphopt.engine.task import Task

if TYPE_CHECKING:
    from graphopt.engine.scheduler import Scheduler


class Scope:
    """Tasks pushed with `scope=` this one; `Engine.scope` makes one.

        with engine.scope() as scope:
            engine.push(load, mutate=[x], scope=scope)

    Leaving the block waits for them; leaving it by an exception cancels those that have not
    started. A task pushed into a cancelled scope is skipped.
    """

    def __init__(self, scheduler: Scheduler) -> None:
        self.scheduler = scheduler
        self._tasks: set[Task] = set()
        self._cancelled = False

    @property
    def cancelled(self) -> bool:
        """Whether `cancel` was called."""
        return self._cancelled

    def cancel(self) -> None:
        """Skip those that have not started, and what will be pushed. Does not wait."""
        self._cancelled = True
        self.scheduler.waits.cancel(self._tasks_now, "its scope was cancelled")

    def wait(self, timeout: float | None = None) -> None:
        """Wait until all tasks pushed so far are over, whatever came of them."""
        self.scheduler.waits.tasks(self._tasks_now, timeout)

    def _tasks_now(self) -> list[Task]:
        """Its tasks that are not over; inside the critical section."""
        return list(self._tasks)

    def enter(self, task: Task) -> None:
        """A task was taken in; inside the critical section."""
        self._tasks.add(task)
        if self._cancelled and not task.options.always:
            self.scheduler.waits.mark(task, TaskCancelledError("its scope was cancelled"))

    def leave(self, task: Task) -> None:
        """A task is over; inside the critical section."""
        self._tasks.discard(task)

    def __enter__(self) -> Scope:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is not None:
            self.cancel()
        self.wait()
