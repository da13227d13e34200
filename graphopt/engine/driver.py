"""What the scheduler needs of whoever runs the tasks: the threads, or the caller's own thread."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from graphopt.engine.lanes import Lane
    from graphopt.engine.task import Task
    from graphopt.engine.waits import Wait


class Driver(Protocol):
    """Runs what the scheduler releases. Modes `serial` and `sim` have one, `threads` the other."""

    lanes: list[Lane]

    def waker(self, lane: Lane) -> Callable[[], object]:
        """Prepare a new lane; returns what wakes one of its sleeping workers.

        It raises IndexError where none sleeps. Waking is one step that no signal can split.
        """
        ...

    def pushed(self, task: Task) -> None:
        """A task is in the inbox, and nobody may be awake to see it."""
        ...

    def ring(self) -> None:
        """A request is in the inbox: let somebody take it soon."""
        ...

    def expand(self, lane: Lane, task: Task) -> Task:
        """What a worker of a lane runs of a plan: the task itself, or the first of its parts."""
        ...

    def inside(self) -> Task | None:
        """The task that the calling thread runs."""
        ...

    def block(self, wait: Wait, timeout: float | None) -> bool:
        """Return True when the wait, which is in the inbox, is over; False after `timeout` s."""
        ...

    def running_tasks(self) -> list[Task]:
        """The tasks that run now."""
        ...

    def now(self) -> float:
        """Seconds, of the clock that tasks are timed with."""
        ...

    def stop(self) -> None:
        """Nothing is pending any more: end the threads."""
        ...

    def before_fork(self) -> None:
        """Hold everything, so that both processes can go on from here."""
        ...

    def after_fork_in_parent(self) -> None:
        """Go on."""
        ...

    def after_fork_in_child(self) -> None:
        """Go on with one thread."""
        ...
