"""Modes `serial` and `sim`: the caller's own thread runs the tasks, one at a time.

`serial` runs each task when it is pushed: stack traces and debuggers see what pushed what. `sim`
chooses (see `policies`): with a seed, any legal step at random, so a failing schedule is a number;
with a recording, the recorded steps; with neither it keeps a virtual clock, on which tasks take the
time that costs and links predict, on as many workers as the lanes have.

A task that waits keeps its thread, and another thread goes on with the loop. Only one of them runs
at any moment, so a seed means one schedule.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from threading import Event, Lock, Thread, get_ident, main_thread

from graphopt.engine.errors import DeadlockError
from graphopt.engine.lanes import Lane
from graphopt.engine.policies import Policy
from graphopt.engine.running import start_asynchronous
from graphopt.engine.scheduler import Scheduler
from graphopt.engine.task import DONE, ENDED, Task
from graphopt.engine.waits import Wait


@dataclass(slots=True)
class Run:
    """A task that has started."""

    end: float  # seconds of the virtual clock
    order: int
    task: Task
    lane: Lane
    late: bool  # its function is called at its end


def locked() -> Lock:
    """A lock that is held."""
    lock = Lock()
    lock.acquire()
    return lock


class Inline:
    """Runs tasks on the thread that waits for them."""

    def __init__(self, scheduler: Scheduler, policy: Policy) -> None:
        self.scheduler = scheduler
        self.policy = policy
        self.lanes: list[Lane] = []
        self.free: dict[Lane, int] = {}  # workers
        self.running: list[Run] = []  # in the order in which they started
        self.resumable: list[Wait] = []  # that are over, in tasks that can go on
        self.clock = 0.0
        self.order = 0
        self.entry = Lock()  # of those who are not in a task
        self.owner = 0  # the thread that runs the loop, or the task that the loop runs
        self.root_thread = 0  # that of the caller who waits
        self.current: Task | None = None
        self.lane: Lane | None = None  # whose worker runs it
        self.batons: dict[Wait, Lock] = {}
        self.spares: list[Lock] = []  # of threads that can go on with the loop
        self.callers: list[Lock] = []  # of threads that wait for their turn, to go first
        self.bell = Event()
        self.interrupt: BaseException | None = None

    def waker(self, lane: Lane) -> Callable[[], object]:
        """Nobody sleeps here; a lane that looks as if somebody did makes each push come to us."""
        if lane.kind == "cheap":
            return int
        self.lanes.append(lane)
        self.free[lane] = lane.size
        lane.idle.append(int)
        return int

    @cached_property
    def nowhere(self) -> Lane:
        """The lane of what is cheap, which has no tasks of its own."""
        return Lane(self.scheduler, "engine", "cheap", 1)

    # The steps.

    def integrate(self) -> None:
        """Take the inbox, and run what is cheap."""
        self.scheduler.bells.clear()
        self.scheduler.drain()
        while self.scheduler.cheap:
            self.start(self.nowhere)
            self.scheduler.drain()

    def free_lanes(self) -> list[Lane]:
        """The lanes with a free worker and a task."""
        return [lane for lane in self.lanes if len(lane) and self.free[lane] > 0]

    def first_free(self) -> Lane | None:
        """The first of them."""
        return next(iter(self.free_lanes()), None)

    def start(self, lane: Lane, place: int = 0) -> None:
        """Start the queued task at some place."""
        if place:
            lane.promote(place)
        task = self.scheduler.next(lane)
        if task is None:
            return
        late = not (task.options.asynchronous or task.options.cheap) and self.policy.late(task)
        if self.scheduler.recorder is not None:
            self.scheduler.recorder.started(task, lane.name, late)
        self.current, self.lane = task, None
        if task.options.asynchronous:
            start_asynchronous(self.scheduler, task)
            self.current = None
            return
        if task.options.cheap:  # it takes no worker and no time
            self.call(task)
            self.current = None
            self.end(task)
            return
        self.order += 1
        run = Run(self.clock + (lane.seconds(task) or 0.0), self.order, task, lane, late)
        self.free[lane] -= 1
        self.lane = lane
        if not run.late:
            self.call(task)
        self.running.append(run)
        self.current = None

    def call(self, task: Task) -> None:
        """Call a task's function."""
        try:
            task.value = task.fn()  # type: ignore[operator]  # a name only once it is over
        except BaseException as error:
            task.error = error
            if isinstance(error, KeyboardInterrupt) and main_thread().ident == get_ident():
                self.interrupt = error

    def finish(self, place: int) -> None:
        """End a task that has started."""
        run = self.running.pop(place)
        self.clock = max(self.clock, run.end)
        if run.late:
            self.current, self.lane = run.task, run.lane
            self.call(run.task)
            self.current = None
        self.free[run.lane] += 1
        self.end(run.task)

    def end(self, task: Task) -> None:
        """Hand in a task whose function has returned."""
        if self.scheduler.recorder is not None:
            self.scheduler.recorder.finished(task)
        task.state = ENDED
        self.scheduler.inbox.append(task)

    def resume(self, place: int) -> None:
        """Let a task go on whose wait is over, and park this loop."""
        wait = self.resumable.pop(place)
        self.hand_over(self.batons.pop(wait), back=self.callers if self.in_root else self.spares)

    def hand_over(self, baton: Lock, back: list[Lock]) -> None:
        """Let another thread go on instead of this one, until somebody gives the turn back."""
        mine = locked()
        back.append(mine)
        baton.release()
        mine.acquire()
        self.owner = get_ident()

    # The loop.

    @property
    def in_root(self) -> bool:
        """Whether the calling thread runs the loop for a caller, and not to stand in for a task."""
        return get_ident() == self.root_thread

    def step(self, until: Wait | None = None) -> bool:
        """One step, unless a wait is over; False where there is none."""
        try:
            self.integrate()
            if until is not None and until.state == DONE:
                return True
            if self.batons:
                new = [wait for wait in self.batons if wait.state == DONE]
                self.resumable += [wait for wait in new if wait not in self.resumable]
            stepped = self.policy.step(self) or bool(self.scheduler.inbox)
        except BaseException as error:
            self.scheduler.broken = self.scheduler.broken or error
            raise
        self.pass_on()
        return stepped

    def pass_on(self) -> None:
        """An interrupt that came while a task ran is the caller's, too."""
        if (interrupt := self.interrupt) is not None:
            self.interrupt = None
            raise interrupt

    @contextmanager
    def entered(self) -> Generator[None]:
        """The calling thread, which holds `entry`, runs the loop."""
        self.owner = self.root_thread = get_ident()
        try:
            yield
        finally:
            self.owner = self.root_thread = 0
            self.entry.release()

    def run_all(self) -> None:
        """Run everything that can run."""
        while self.step():
            pass

    def rest(self) -> None:
        """Nothing can be done until somebody else has something to say."""
        self.bell.wait(0.05)
        self.bell.clear()

    def stand_in(self) -> None:
        """Go on with the loop on another thread while a task waits."""
        self.owner = get_ident()
        while not self.scheduler.stopped and self.scheduler.broken is None:
            if self.callers:  # those go first: a caller, or a task that has waited long enough
                self.hand_over(self.callers.pop(), back=self.spares)
                continue
            try:
                if not self.step():
                    self.rest()
            except BaseException as error:  # for those who wait: they must not do so for ever
                self.scheduler.broken = error
        if self.scheduler.broken is not None:
            self.give_up()

    def give_up(self) -> None:
        """Let all threads go on, to find that the engine is broken."""
        for wait in tuple(self.scheduler.waits.open):
            self.scheduler.waits.fire(wait)
        for lock in (*self.batons.values(), *self.callers, *self.spares):
            with suppress(RuntimeError):
                lock.release()

    # What the scheduler asks for.

    def pushed(self, task: Task) -> None:
        """Take steps. Not inside of a task, nor while another thread does: it will see to it."""
        if self.owner != get_ident() and self.entry.acquire(blocking=False):
            with self.entered():
                self.policy.after_push(self)
                self.pass_on()
            if not self.policy.virtual and self.scheduler.outstanding:
                self.scheduler.waits.level(0)

    def ring(self) -> None:
        """Somebody else has a request."""
        self.bell.set()

    def expand(self, lane: Lane, task: Task) -> Task:
        """A plan runs in order."""
        return task

    def inside(self) -> Task | None:
        """The task that the calling thread runs."""
        return self.current if self.owner == get_ident() else None

    def block(self, wait: Wait, timeout: float | None) -> bool:
        """Run tasks until a wait is over."""
        if self.owner == get_ident():
            return self.block_inside(wait, timeout)
        deadline = float("inf") if timeout is None else time.monotonic() + timeout
        while wait.state != DONE:
            if time.monotonic() >= deadline:
                return False
            if self.entry.acquire(blocking=False):
                with self.entered():
                    self.serve(wait, deadline)
            else:  # another thread runs the loop, and serves this wait too
                self.bell.set()
                wait.lock.acquire(timeout=0.05)
        return True

    def serve(self, wait: Wait, deadline: float) -> None:
        """Run the loop until a wait is over, or it is too late."""
        while wait.state != DONE:
            if self.step(until=wait):
                continue
            if time.monotonic() >= deadline:
                return
            if not self.scheduler.outstanding and not self.scheduler.inbox:
                raise DeadlockError(f"nothing can run: {self.scheduler.waits.busy()}")
            self.rest()

    def block_inside(self, wait: Wait, timeout: float | None) -> bool:
        """Let another thread go on, in this worker's place, while the task of this one waits."""
        task, lane = self.current, self.lane
        self.current = None
        self.integrate()
        if wait.state != DONE:
            if lane is not None:
                self.free[lane] += 1
            self.batons[wait] = baton = locked()
            if self.spares:
                self.spares.pop().release()
            else:
                Thread(target=self.stand_in, name="engine/stand-in", daemon=True).start()
            if not baton.acquire(timeout=-1 if timeout is None else timeout):
                self.callers.append(baton)  # the turn comes by this way, or as it should have
                baton.acquire()
                self.batons.pop(wait, None)
                self.callers = [each for each in self.callers if each is not baton]
                self.resumable = [each for each in self.resumable if each is not wait]
            if lane is not None:
                self.free[lane] -= 1
        self.owner, self.current, self.lane = get_ident(), task, lane
        return wait.state == DONE

    def running_tasks(self) -> list[Task]:
        """The tasks that run now."""
        return [run.task for run in self.running]

    def now(self) -> float:
        """Seconds, of the virtual clock where there is one."""
        return self.clock if self.policy.virtual else time.perf_counter()

    def stop(self) -> None:
        """End the threads."""
        self.scheduler.stopped = True
        while self.spares:
            self.spares.pop().release()
        self.bell.set()

    def before_fork(self) -> None:
        """Nothing runs beside the thread that forks."""

    def after_fork_in_parent(self) -> None:
        """Go on."""

    def after_fork_in_child(self) -> None:
        """Go on; what others were to complete is not completed here."""
        self.spares.clear()
