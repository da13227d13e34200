"""Waiting: for a task, a variable, everything, or room in the backlog; cancelling; deadlocks.

A wait is an entry of the inbox like any other, so it sees exactly what was pushed before it. In the
graph of tasks it is a node that no lane runs. That makes finding a deadlock a search: a task that
waits, from inside, for what cannot happen before the task itself is over.
"""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Callable
from threading import Lock
from typing import NoReturn

from graphopt.engine.errors import (
    DeadlockError,
    EngineBrokenError,
    EngineStoppedError,
    StallError,
    StallWarning,
    TaskCancelledError,
    WaitTimeoutError,
)
from graphopt.engine.scheduler import Scheduler
from graphopt.engine.task import (
    DONE,
    NEW,
    REQUEST,
    Join,
    Mark,
    Task,
    Variable,
    failure,
    raise_failure,
)


class Wait(Task):
    """Somebody waits. `arm` says for what, in the critical section; `lock` is held until then."""

    __slots__ = ("arm", "inside", "lock", "problem")

    def __init__(
        self, scheduler: Scheduler, arm: Callable[[Wait], None], inside: Task | None
    ) -> None:
        super().__init__("wait", (), (), scheduler.joint)
        self.seq = 0
        self.wait_count = 0
        self.arm = arm
        self.inside = inside  # the task that waits, if one does
        self.problem: Exception | None = None
        self.lock = Lock()
        self.lock.acquire()
        self.state = REQUEST

    def apply(self, scheduler: Scheduler) -> None:
        """Become a node of the graph, or end at once."""
        self.state = NEW
        self.arm(self)
        if self.inside is not None and self.wait_count and (cycle := find_cycle(self)):
            steps = " <- ".join(task.describe() for task in cycle)
            what = "waits for what cannot be done before it is over itself"
            self.problem = DeadlockError(f"{what}: {steps}", at=self.inside.describe())
            scheduler.waits.fire(self)
        elif not self.wait_count and self.state != DONE:
            scheduler.waits.fire(self)


def find_cycle(wait: Wait) -> list[Task]:
    """The tasks from the one that waits to what it waits for, each needing the one before."""
    assert wait.inside is not None
    came: dict[Task, Task | None] = {wait.inside: None}
    reached = [wait.inside]
    for task in reached:  # grows while it is walked
        held = [member for group in task.groups if group.holder is task for member in group.members]
        for follower in (*(task.then or ()), *(task.after or ()), *held):
            if follower is wait:
                path: list[Task] = []
                step: Task | None = task
                while step is not None:
                    path.insert(0, step)
                    step = came[step]
                return [each for each in path if not isinstance(each, (Join, Wait))]
            outer = follower.inside if isinstance(follower, Wait) else follower
            if outer is not None and outer.state != DONE and outer not in came:
                came[outer] = task
                reached.append(outer)
    return []


def raise_cause(cause: Task) -> NoReturn:
    """Raise what a variable was left with."""
    while isinstance(cause, Join) and cause.cause is not None:
        cause = cause.cause
    if isinstance(cause, Mark):
        assert cause.error is not None
        raise cause.error
    raise_failure(cause)


class Cancel:
    """A request: skip tasks that have not started, or complete outstanding ones as cancelled."""

    state = REQUEST

    def __init__(self, tasks: Callable[[], list[Task]], why: str) -> None:
        self.tasks = tasks
        self.why = why

    def apply(self, scheduler: Scheduler) -> None:
        """Mark them; those that are ready are refused when a worker comes to them."""
        mark = Mark(TaskCancelledError(self.why), scheduler.joint)
        for task in self.tasks():
            if task.state == NEW and task.error is None and not task.options.always:
                task.blame(mark)
            elif task in scheduler.outstanding and task not in scheduler.driver.running_tasks():
                task.cause = mark
                task.error = mark.error
                scheduler.complete(task)


class Waits:
    """What users wait for."""

    def __init__(self, scheduler: Scheduler, stall_after: float | None, stall_raises: bool) -> None:
        self.scheduler = scheduler
        self.stall_after = stall_after  # seconds
        self.stall_raises = stall_raises
        self.open: set[Wait] = set()
        self.levels: list[tuple[int, Callable[[], None]]] = []  # called at so many pending tasks

    def task(self, task: Task, timeout: float | None = None) -> None:
        """Wait until a task is over, whatever came of it."""
        if task.state != DONE:
            self.tasks(lambda: [task], timeout)

    def tasks(self, tasks: Callable[[], list[Task]], timeout: float | None = None) -> None:
        """Wait until some tasks are over; which, is asked inside the critical section."""

        def arm(wait: Wait) -> None:
            for task in tasks():
                if task.state != DONE:
                    wait.wait_count += task.precede(wait, value=False)

        self._wait(arm, timeout, "for tasks")

    def variable(
        self, variable: Variable, timeout: float | None = None, write: bool = False
    ) -> None:
        """Wait for a variable's last write, with `write` its readers too; raises its failure."""

        def arm(wait: Wait) -> None:
            if variable.group is not None:
                self.scheduler.close(variable)
            writer = variable.writer
            if writer is not None and writer.state == DONE:
                wait.blame(writer)
            elif writer is not None:
                wait.wait_count += writer.precede(wait)
            if write:
                for reader in variable.readers:
                    if reader.state != DONE:
                        wait.wait_count += reader.precede(wait, value=False)

        wait = self._wait(arm, timeout, f"for {variable!r}")
        if wait.cause is not None:
            raise_cause(wait.cause)

    def all(self, timeout: float | None = None) -> None:
        """Wait until nothing is pending; raises all failures that no such wait has reported."""
        inside = self.scheduler.driver.inside()
        if inside is not None:
            what = "waits for all tasks, itself among them"
            raise DeadlockError(what, at=inside.describe())
        self.level(0, timeout)
        failures, self.scheduler.failures = self.scheduler.failures, []
        for task in failures:
            if isinstance(task.error, (KeyboardInterrupt, SystemExit)):
                raise task.error
        if failures:
            errors = [failure(task) for task in failures]
            exceptions = [error for error in errors if isinstance(error, Exception)]
            raise ExceptionGroup(f"{len(failures)} tasks failed", exceptions)

    def level(self, pending: int, timeout: float | None = None) -> None:
        """Wait until so few tasks are pending."""
        self._wait(
            lambda wait: self.at_level(pending, wait), timeout, f"for {pending} pending tasks"
        )

    def room(self) -> None:
        """Wait until the backlog has halved. A task that pushes is never held up."""
        self.check()
        if self.scheduler.driver.inside() is None:
            if self.scheduler.limit >= 0:
                self.level(self.scheduler.limit // 2)
            if self.scheduler.limit < 0:
                raise EngineStoppedError("the engine is being stopped; make a new one")

    def cancel(self, tasks: Callable[[], list[Task]], why: str = "it was cancelled") -> None:
        """Skip those of the tasks that have not started."""
        self.scheduler.inbox.append(Cancel(tasks, why))
        self.scheduler.driver.ring()

    # Inside the critical section.

    def mark(self, task: Task, error: TaskCancelledError) -> None:
        """Let a task be skipped."""
        task.blame(Mark(error, self.scheduler.joint))

    def at_level(self, level: int, wait: Wait) -> None:
        """End a wait when so few tasks are pending."""
        if self.scheduler.pending > level:
            wait.wait_count += 1
            self.levels.append((level, lambda: self.fire(wait)))
            self.scheduler.alarm = max(self.scheduler.alarm, level)

    def at_quiet(self, call: Callable[[], None]) -> None:
        """Call a function when nothing is pending."""
        if not self.scheduler.pending:
            call()
        else:
            self.levels.append((0, call))
            self.scheduler.alarm = max(self.scheduler.alarm, 0)

    def quiet(self) -> None:
        """So few tasks are pending that somebody waits for it."""
        pending = self.scheduler.pending
        due = [call for level, call in self.levels if pending <= level]
        self.levels = [each for each in self.levels if pending > each[0]]
        self.scheduler.alarm = max((level for level, _ in self.levels), default=-1)
        for call in due:
            call()

    def fire(self, wait: Task) -> None:
        """End a wait, once."""
        assert isinstance(wait, Wait)
        if wait.lock.locked():
            wait.state = DONE
            wait.lock.release()

    # Outside of it.

    def _wait(self, arm: Callable[[Wait], None], timeout: float | None, what: str) -> Wait:
        """Enter a wait and block until it is over."""
        scheduler = self.scheduler
        self.check()
        inside = scheduler.driver.inside()
        if inside is not None and scheduler.recorder is not None:
            scheduler.recorder.yielded(inside)
        wait = Wait(scheduler, arm, inside)
        self.open.add(wait)
        try:
            scheduler.inbox.append(wait)
            self._block(wait, timeout, what)
        finally:
            self.open.discard(wait)
        self.check(waited=True)
        if wait.problem is not None:
            raise wait.problem
        return wait

    def _block(self, wait: Wait, timeout: float | None, what: str) -> None:
        """Block until a wait is over, with an eye on the time and on whether anything happens."""
        scheduler = self.scheduler
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            patience = min((t for t in (left, self.stall_after) if t is not None), default=None)
            before = scheduler.completed
            if scheduler.driver.block(wait, patience):
                return
            if deadline is not None and time.monotonic() >= deadline:
                raise WaitTimeoutError(f"waited {timeout:g} s {what}: {self.busy()}")
            if scheduler.completed == before:
                self._stalled(what)

    def check(self, waited: bool = False) -> None:
        """Raise where the engine cannot be used any more."""
        if self.scheduler.broken is not None:
            why = repr(self.scheduler.broken)
            raise EngineBrokenError(f"the scheduler was interrupted ({why}); make a new engine")
        if self.scheduler.stopped and not waited:
            raise EngineStoppedError("the engine was stopped; make a new one")

    def busy(self) -> str:
        """What the engine is at: which tasks run, which have no completion yet."""
        running = self.scheduler.driver.running_tasks()
        parts = [f"{task.describe()} runs" for task in running[:5]]
        open_ones = [task for task in tuple(self.scheduler.outstanding) if task not in running]
        parts += [f"{task.describe()} was not completed" for task in open_ones[:5]]
        return f"{self.scheduler.pending} tasks are pending; " + ("; ".join(parts) or "none runs")

    def _stalled(self, what: str) -> None:
        """Say, or raise, that nothing has finished for long."""
        text = f"nothing finished in {self.stall_after:g} s of waiting {what}: {self.busy()}"
        if self.stall_raises:
            raise StallError(text)
        warnings.warn(StallWarning(text), stacklevel=5)


class Bytes:
    """The bytes that tasks hold, and the bound on them."""

    def __init__(self, scheduler: Scheduler, most: int | None) -> None:
        self.scheduler = scheduler
        self.most = most
        self.entered = 0
        self.lock = Lock()  # finalizers push nothing that has bytes

    def enter(self, nbytes: int) -> None:
        """Count a task's bytes, when there is room for them or nothing is pending."""
        scheduler = self.scheduler
        if self.most is not None and scheduler.driver.inside() is None:
            while self.entered - scheduler.freed + nbytes > self.most:
                scheduler.waits.level(sys.maxsize)  # so that the inbox is empty
                if not scheduler.pending:
                    break
                scheduler.waits.level(scheduler.pending // 2)
        with self.lock:
            self.entered += nbytes
