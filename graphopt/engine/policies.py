"""Who decides, on one thread, what is next: in order, by a clock, at random, or as recorded."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Protocol

from graphopt.engine.errors import RecordingError

if TYPE_CHECKING:
    from graphopt.engine.inline import Inline
    from graphopt.engine.recordings.recording import Recording
    from graphopt.engine.task import Task


class Policy(Protocol):
    """Takes legal steps of an `Inline` driver."""

    virtual: bool  # whether time is simulated; else a push waits for what others must complete

    def step(self, driver: Inline) -> bool:
        """Take one step: start, finish or resume something. False where there is none to take."""
        ...

    def after_push(self, driver: Inline) -> None:
        """Take the steps that shall happen before the next push."""

    def late(self, task: Task) -> bool:
        """Whether the function of a task is called when it ends, not when it starts."""
        ...


class InOrder:
    """`serial`: each task when it is pushed, whatever its priority."""

    virtual = False

    def step(self, driver: Inline) -> bool:
        """Finish what has started, else start what was pushed first."""
        if driver.running:
            driver.finish(0)
            return True
        if driver.resumable:
            driver.resume(0)
            return True
        lanes = [lane for lane in driver.lanes if len(lane)]
        if len(lanes) == 1 and len(lanes[0]) == 1:
            driver.start(lanes[0])
        elif lanes:
            queued = [(task.seq, lane, i) for lane in lanes for i, task in enumerate(lane.queued())]
            _, lane, place = min(queued, key=lambda each: each[0])
            driver.start(lane, place)
        return bool(lanes)

    def after_push(self, driver: Inline) -> None:
        """Run it."""
        driver.run_all()

    def late(self, task: Task) -> bool:
        """At its start."""
        return False


class Timed:
    """`sim`: each worker takes the next of its lane's queue as soon as it is free."""

    virtual = True

    def step(self, driver: Inline) -> bool:
        """Start what can start, else let time pass until a task ends."""
        if driver.resumable:
            driver.resume(0)
        elif lane := driver.first_free():
            driver.start(lane)
        elif driver.running:
            ends = [(run.end, run.order) for run in driver.running]
            driver.finish(ends.index(min(ends)))
        else:
            return False
        return True

    def after_push(self, driver: Inline) -> None:
        """Pushing takes no time on this clock."""

    def late(self, task: Task) -> bool:
        """At its start."""
        return False


class Seeded:
    """`sim` with a seed: any legal step, at random. It ignores queues and priorities."""

    virtual = True

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)

    def step(self, driver: Inline) -> bool:
        """One of all tasks that are ready, all that run, and all that can go on."""
        free = [(lane, len(lane)) for lane in driver.free_lanes()]
        count = len(driver.running) + len(driver.resumable) + sum(queued for _, queued in free)
        if not count:
            return False
        chosen = self.random.randrange(count)
        if chosen < len(driver.running):
            driver.finish(chosen)
            return True
        chosen -= len(driver.running)
        if chosen < len(driver.resumable):
            driver.resume(chosen)
            return True
        chosen -= len(driver.resumable)
        for lane, queued in free:
            if chosen < queued:
                driver.start(lane, chosen)
                break
            chosen -= queued
        return True

    def after_push(self, driver: Inline) -> None:
        """As many steps as it likes: some programs run as they are pushed, some much later."""
        driver.integrate()
        while self.random.random() < 0.5 and self.step(driver):
            driver.integrate()

    def late(self, task: Task) -> bool:
        """Either."""
        return self.random.random() < 0.5


class Replayed:
    """`sim` with a recording: its steps. Raises RecordingError where the program is another one.

    Waits inside of tasks, and what other threads complete, are not steps: such programs may take
    another way, and fail for it.
    """

    virtual = True

    def __init__(self, recording: Recording) -> None:
        ran = {task.seq: task for task in recording if task.started >= 0 and task.kind != "cheap"}
        self.lates = {seq for seq, task in ran.items() if task.late}
        self.events = [
            (what, seq)
            for what, seq in recording.events()
            if seq > 0
            and (what == "integrated" or (what in ("started", "finished") and seq in ran))
        ]
        self.events.reverse()

    def step(self, driver: Inline) -> bool:
        """The next recorded one, if it is not a push."""
        while (
            self.events
            and self.events[-1][0] == "integrated"
            and self.events[-1][1] <= driver.scheduler.count
        ):
            self.events.pop()
        if driver.resumable:
            driver.resume(0)
            return True
        if not self.events or self.events[-1][0] == "integrated":
            return False
        what, seq = self.events.pop()
        if what == "finished":
            for place, run in enumerate(driver.running):
                if run.task.seq == seq:
                    driver.finish(place)
                    return True
            return self.step(driver)  # it was asynchronous
        for lane in driver.lanes:
            for place, task in enumerate(lane.queued()):
                if task.seq == seq:
                    driver.start(lane, place)
                    return True
        raise RecordingError(
            f"the recording starts task {seq} here, which is not ready: another program?"
        )

    def after_push(self, driver: Inline) -> None:
        """All that was recorded before the next push."""
        driver.integrate()
        while self.step(driver):
            driver.integrate()

    def late(self, task: Task) -> bool:
        """As recorded."""
        return task.seq in self.lates
