"""How an engine begins and ends: stopping, being dropped, forks, and the end of the interpreter."""

from __future__ import annotations

import atexit
import os
import warnings
import weakref
from collections.abc import Callable
from contextlib import suppress

from graphopt.engine.errors import (
    DeadlockError,
    EngineBrokenError,
    StallError,
    StallWarning,
    WaitTimeoutError,
)
from graphopt.engine.lanes import Lane
from graphopt.engine.scheduler import Scheduler
from graphopt.engine.task import DONE, REQUEST, Task
from graphopt.engine.threads import Threads
from graphopt.engine.waits import Cancel

EXIT_PATIENCE = 5.0  # seconds without progress after which the end of the interpreter gives up

_alive: weakref.WeakSet[Scheduler] = weakref.WeakSet()


class Ask:
    """A request: call a function inside the critical section."""

    state = REQUEST

    def __init__(self, call: Callable[[], object]) -> None:
        self.call = call

    def apply(self, scheduler: Scheduler) -> None:
        """Call it."""
        self.call()


def ask(scheduler: Scheduler, call: Callable[[], object]) -> None:
    """Let a function be called inside the critical section, after all pushes so far."""
    scheduler.inbox.append(Ask(call))
    scheduler.driver.ring()


def begin(scheduler: Scheduler) -> None:
    """An engine exists."""
    if isinstance(scheduler.driver, Threads):
        scheduler.driver.start()
    _alive.add(scheduler)


def stop(scheduler: Scheduler, *, abort: bool = False) -> None:
    """Refuse pushes, wait for what is pending or cancel it, and end the threads."""
    if scheduler.stopped or scheduler.broken is not None:
        scheduler.driver.stop()
        return
    if (inside := scheduler.driver.inside()) is not None:
        raise DeadlockError("stops the engine that runs it", at=inside.describe())
    limit, scheduler.limit = scheduler.limit, -1
    try:
        lanes, why = scheduler.driver.lanes, "the engine was stopped"
        while abort:
            scheduler.inbox.append(Cancel(lambda: pending(scheduler, lanes), why))
            with suppress(WaitTimeoutError):  # an asynchronous task may have been about to start
                scheduler.waits.level(0, timeout=0.1)
                abort = False
        scheduler.waits.level(0)
    except EngineBrokenError:
        pass
    except BaseException:  # an interrupt, say: it can be stopped again, or go on
        scheduler.limit = limit
        raise
    scheduler.driver.stop()
    _alive.discard(scheduler)


def pending(scheduler: Scheduler, lanes: list[Lane]) -> list[Task]:
    """All tasks that are not over; inside the critical section."""
    found: dict[Task, None] = dict.fromkeys(task for lane in lanes for task in lane.queued())
    found.update(
        dict.fromkeys([*scheduler.driver.running_tasks(), *scheduler.outstanding, *scheduler.cheap])
    )
    reached = list(found)
    for task in reached:  # grows while it is walked
        parked = [other for group in task.groups for other in group.members]
        for follower in (*(task.then or ()), *(task.after or ()), *parked):
            if follower.state != DONE and follower not in found:
                found[follower] = None
                reached.append(follower)
    return [task for task in found if task.options is not scheduler.joint]


def abandon(scheduler: Scheduler) -> None:
    """The engine was dropped: end the threads once nothing is pending. Never waits."""
    if not isinstance(scheduler.driver, Threads):
        scheduler.driver.stop()
        return

    driver = scheduler.driver

    def end() -> None:
        scheduler.stopped = True
        driver.wake_all()

    def at_quiet() -> None:
        scheduler.waits.at_quiet(end)

    ask(scheduler, at_quiet)


def _at_exit() -> None:
    """Finish what is pending, unless nothing moves: then say so, and go."""
    for scheduler in [each for each in _alive if not each.stopped]:
        done = -1
        with suppress(EngineBrokenError, DeadlockError):
            while done != scheduler.completed:
                done = scheduler.completed
                try:
                    scheduler.waits.level(0, EXIT_PATIENCE)
                    stop(scheduler)
                    break
                except (WaitTimeoutError, StallError):
                    continue
            else:
                text = f"the program ends with tasks that do not: {scheduler.waits.busy()}"
                warnings.warn(StallWarning(text), stacklevel=1)


_forking: list[Scheduler] = []  # that `_before_fork` holds


def _before_fork() -> None:
    for scheduler in tuple(_alive):
        scheduler.driver.before_fork()
        _forking.append(scheduler)


def _after_fork_in_parent() -> None:
    while _forking:
        _forking.pop().driver.after_fork_in_parent()


def _after_fork_in_child() -> None:
    while _forking:
        _forking.pop().driver.after_fork_in_child()


atexit.register(_at_exit)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork,
        after_in_parent=_after_fork_in_parent,
        after_in_child=_after_fork_in_child,
    )
