"""Running what is more than a plain call: recorded, asynchronous, paced, or on many lanes."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from functools import partial
from typing import Any, cast

from graphopt.engine.errors import DoubleCompletionError, EngineError, MissingCompletionError
from graphopt.engine.lanes import Lane
from graphopt.engine.scheduler import Scheduler
from graphopt.engine.task import DONE, ENDED, REQUEST, RUNNING, Program, Task

log = logging.getLogger(__name__)


class Completion:
    """What ends an asynchronous task: call it once, from any thread.

    `on_complete()`, `on_complete(value=x)`, or `on_complete(error)` where it failed. It may be
    called before the task's function has returned. Raises DoubleCompletionError the second time.
    When it is dropped uncalled, the task fails with MissingCompletionError.
    """

    __slots__ = ("_left", "_task")

    def __init__(self, task: Task) -> None:
        self._task = task
        self._left = [True]  # popping is the one step that decides who was first

    def __call__(self, error: BaseException | None = None, *, value: Any = None) -> None:
        task = self._task
        if not isinstance(error, BaseException | None):  # pyright: ignore[reportUnnecessaryIsInstance]  # users err
            raise EngineError(f"was completed with {error!r}: no exception", at=task.describe())
        try:
            self._left.pop()
        except IndexError:
            raise DoubleCompletionError("was completed twice", at=task.describe()) from None
        scheduler = task.options.lane.scheduler
        scheduler.inbox.append(Completed(task, error, value))
        scheduler.driver.ring()

    @property
    def called(self) -> bool:
        """Whether it was called."""
        return not self._left

    def __del__(self) -> None:
        if getattr(self, "_left", None):
            dropped = "its completion was dropped without being called"
            self(MissingCompletionError(dropped, at=self._task.describe()))


class Completed:
    """A request: an asynchronous task is over."""

    state = REQUEST

    def __init__(self, task: Task, error: BaseException | None, value: Any) -> None:
        self.task = task
        self.error = error
        self.value = value

    def apply(self, scheduler: Scheduler) -> None:
        """Complete the task, unless it was given up meanwhile."""
        if self.task.state != DONE:
            self.task.error = self.error
            self.task.value = self.value
            if scheduler.recorder is not None:
                scheduler.recorder.finished(self.task)
            scheduler.complete(self.task)


class Part(Task):
    """One lane of a plan. The plan's task is over when all its parts are."""

    __slots__ = ("gang", "plan", "program")

    def __init__(self, plan: Task, program: Program, lane: int, gang: list[Part]) -> None:
        super().__init__(
            partial(program.run_lane, lane), (), (), plan.options, plan.code, plan.lasti
        )
        self.plan = plan
        self.program = program
        self.gang = gang  # the parts that are not over
        gang.append(self)
        self.seq = plan.seq
        self.state = RUNNING

    def apply(self, scheduler: Scheduler) -> None:
        """A part is over."""
        self.state = DONE
        self.gang.remove(self)
        if self.error is not None:
            self.plan.error = self.program.failure or self.error
        if not self.gang and self.plan.state != DONE:
            if scheduler.recorder is not None:
                scheduler.recorder.finished(self.plan)
            scheduler.complete(self.plan)


def split(task: Task, program: Program) -> list[Part]:
    """The parts of a plan, one a lane, to run at once."""
    if program.failure is not None:
        program.rearm()
    gang: list[Part] = []
    return [Part(task, program, lane, gang) for lane in range(program.lanes)]


def run_task(scheduler: Scheduler, lane: Lane, task: Task, worker: str) -> None:
    """Run a task on the calling thread, and hand it in when it is over."""
    began = time.perf_counter()
    if scheduler.recorder is not None:
        scheduler.recorder.started(task, worker)
    if task.options.asynchronous:
        start_asynchronous(scheduler, task)
        return
    try:
        task.value = task.fn()  # type: ignore[operator]  # a name only once it is over
    except BaseException as error:
        task.error = error
    if lane.paced and (seconds := lane.seconds(task)) is not None:
        time.sleep(max(0.0, seconds - (time.perf_counter() - began)))
    if isinstance(task, Part):
        task.state = REQUEST
    else:
        task.state = ENDED
        if scheduler.recorder is not None:
            scheduler.recorder.finished(task)
    scheduler.inbox.append(task)


def start_asynchronous(scheduler: Scheduler, task: Task) -> None:
    """Call the function that starts an asynchronous task; its completion ends it."""
    completion = Completion(task)
    start = cast("Callable[[Completion], object]", task.fn)
    try:
        start(completion)
    except BaseException as error:
        if completion.called:
            log.exception("%s raised after it was completed", task.describe())
        else:
            completion(error)
