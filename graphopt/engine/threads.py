"""Mode `threads`: workers that take tasks of their lane, and sleep where there is none.

A worker that is free takes the lock, the inbox with it, and the next task of its lane: one critical
section a task. Before it sleeps it says so in `Lane.idle` and looks once more, so a push that saw
nobody asleep is seen by somebody awake. Who wakes a worker takes it out of `idle` in the same step,
an iterator over C functions that no signal can split. One more worker, the attendant, answers
requests while all others are busy, and opens lanes; so the main thread never takes the lock.

A task that waits gives its worker's place to a new thread: waiting costs no parallelism, and cannot
starve what is waited for.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from operator import call
from threading import Lock, Thread, get_ident

from graphopt.engine.errors import ForkedError
from graphopt.engine.lanes import Lane
from graphopt.engine.running import Completed, Part, run_task, split
from graphopt.engine.scheduler import Scheduler
from graphopt.engine.task import DONE, ENDED, FINISHED, RUNNING, Task
from graphopt.engine.waits import Wait

FORK_PATIENCE = 10.0  # seconds that a fork waits for the tasks that run


class Worker:
    """A thread of a lane."""

    def __init__(self, driver: Threads, lane: Lane) -> None:
        self.driver = driver
        self.lane = lane
        self.task: Task | None = None  # that it runs
        self.waiting = False  # inside of that task
        self.lock = Lock()  # held while there is no reason to wake up
        self.lock.acquire()
        driver.started[lane.name] = self.number = driver.started.get(lane.name, -1) + 1
        self.thread = Thread(target=self.run, name=f"{lane.name}.{self.number}", daemon=True)
        driver.workers.append(self)
        self.thread.start()

    def run(self) -> None:
        """Work until the engine stops or the lane has a worker too many."""
        self.driver.by_thread[get_ident()] = self
        if self.driver.pin and self.lane.kind == "compute" and hasattr(os, "sched_setaffinity"):
            cores = sorted(os.sched_getaffinity(0))
            os.sched_setaffinity(0, {cores[self.number % len(cores)]})
        try:
            self.loop()
        except BaseException as error:  # a defect of the scheduler: let nobody wait for ever
            self.driver.crash(error)
        finally:
            del self.driver.by_thread[get_ident()]
            self.driver.workers.remove(self)

    def loop(self) -> None:
        """Take the inbox and a task, run it, hand it in."""
        driver, lane, scheduler = self.driver, self.lane, self.driver.scheduler
        inbox, bells, following = scheduler.inbox, scheduler.bells, scheduler.turn()
        acquire, release = scheduler.lock.acquire, scheduler.lock.release
        while True:
            acquire()  # released too if a defect shows: see `crash`
            if lane.surplus and driver.retire(lane):  # one that waited in its task is back
                release()
                return
            self.task = task = following(lane)
            if bells:
                driver.wake_lanes()
            release()
            if task is None:
                if scheduler.stopped:
                    return
                self.sleep()
            elif scheduler.plain and not task.options.special:
                try:
                    task.value = task.fn()  # type: ignore[operator]  # a name only once it is over
                    task.state = FINISHED
                except BaseException as error:
                    task.error = error
                    task.state = ENDED
                inbox.append(task)
            else:
                run_task(scheduler, lane, task, self.thread.name)
                self.task = None

    def busy(self) -> Task | None:
        """The task that it is in the midst of."""
        task = self.task
        return task if task is not None and task.state == RUNNING else None

    def ends_soon(self) -> bool:
        """Whether it runs something that ends though no other task starts."""
        task = self.busy()
        halted = isinstance(task, Part) and len(self.lane.parts) > 0  # it may wait for those
        return task is not None and not self.waiting and not halted

    def sleep(self) -> None:
        """Say that it sleeps, look once more, sleep."""
        lane, scheduler = self.lane, self.driver.scheduler
        release = self.lock.release
        lane.idle.append(release)
        if scheduler.inbox or scheduler.cheap or len(lane) or scheduler.stopped or lane.surplus:
            with suppress(ValueError):
                lane.idle.remove(release)
                return
        self.lock.acquire()  # at once, if it was woken meanwhile


class Threads:
    """The threads of an engine."""

    def __init__(self, scheduler: Scheduler, pin: bool = False) -> None:
        self.scheduler = scheduler
        self.pin = pin  # whether each compute worker stays on a core of its own
        self.workers: list[Worker] = []
        self.by_thread: dict[int, Worker] = {}
        self.started: dict[str, int] = {}  # the number of the newest worker of a lane
        self.lanes: list[Lane] = []
        self.opened: set[Lane] = set()
        self.attendant: Lane | None = None

    def start(self) -> None:
        """Start the attendant."""
        if self.attendant is None:
            self.attendant = Lane(self.scheduler, "engine", "attendant", 1)
        self.open(self.attendant)

    def waker(self, lane: Lane) -> Callable[[], object]:
        """A lane's workers are started when the first task for it is ready."""
        self.lanes.append(lane)
        lane.idle.append(partial(self.open, lane))
        return map(call, iter(lane.idle.pop, None)).__next__

    def open(self, lane: Lane) -> None:
        """Start a lane's workers. Not on the main thread: an interrupt could stop it midway."""
        if lane not in self.opened:
            self.opened.add(lane)
            lane.idle.clear()
            for _ in range(lane.size):
                Worker(self, lane)

    def pushed(self, task: Task) -> None:
        """Wake a worker for a push."""
        lane = task.options.lane
        if lane.idle and lane in self.opened:
            with suppress(IndexError):  # another was faster
                lane.wake()
        else:
            self.ring()

    def ring(self) -> None:
        """Wake the attendant."""
        assert self.attendant is not None
        with suppress(IndexError):  # it is awake, and will look before it sleeps
            self.attendant.wake()

    def wake_lanes(self) -> None:
        """Wake a worker for each task that was released to a lane where some sleep."""
        bells = self.scheduler.bells
        while bells:
            lane = bells.pop()
            if len(lane):
                with suppress(IndexError):
                    lane.wake()

    def retire(self, lane: Lane) -> bool:
        """Whether a worker can end and leave what there is to others: not what is cheap."""
        self.scheduler.drain()
        if self.scheduler.cheap:
            return False
        lane.surplus -= 1
        if len(lane):
            self.scheduler.bells.append(lane)
        self.wake_lanes()
        return True

    def expand(self, lane: Lane, task: Task) -> Task:
        """Put the lanes of a plan where they go before all else; returns the first."""
        program = task.options.plan
        if program is None or isinstance(task, Part) or not 1 < program.lanes <= lane.size:
            return task
        first, *others = split(task, program)
        lane.parts.extend(others)
        self.scheduler.bells.extend([lane] * len(others))
        return first

    def inside(self) -> Task | None:
        """The task that the calling thread runs."""
        worker = self.by_thread.get(get_ident())
        return None if worker is None else worker.task

    def running_tasks(self) -> list[Task]:
        """The tasks that run now."""
        tasks = [worker.busy() for worker in tuple(self.workers)]
        return [task for task in tasks if task is not None]

    def now(self) -> float:
        """Seconds."""
        return time.perf_counter()

    def block(self, wait: Wait, timeout: float | None) -> bool:
        """Sleep until a wait is over."""
        seconds = -1 if timeout is None else timeout
        worker = self.by_thread.get(get_ident())
        if worker is None:
            self.ring()
            return wait.lock.acquire(timeout=seconds)
        worker.waiting = True
        try:
            with self.scheduler.lock:
                self.scheduler.drain()
                self.wake_lanes()
                if wait.state == DONE:
                    return True
                Worker(self, worker.lane)
            over = wait.lock.acquire(timeout=seconds)
            with self.scheduler.lock:
                worker.lane.surplus += 1
            return over
        finally:
            worker.waiting = False

    def stop(self) -> None:
        """End the threads; the caller's own, if it is one of them, ends later."""
        self.scheduler.stopped = True
        self.wake_all()
        for worker in tuple(self.workers):
            if worker.thread.ident != get_ident():
                worker.thread.join()
        for wait in tuple(self.scheduler.waits.open):  # that came too late
            self.scheduler.waits.fire(wait)

    def wake_all(self) -> None:
        """Wake every worker, to see that the engine has stopped."""
        for lane in tuple(self.opened):
            with suppress(IndexError):
                while True:
                    lane.wake()

    def crash(self, error: BaseException) -> None:
        """The scheduler failed: its state cannot be trusted, and who waits must be told."""
        self.scheduler.broken = error
        with suppress(RuntimeError):
            self.scheduler.lock.release()
        for wait in tuple(self.scheduler.waits.open):
            self.scheduler.waits.fire(wait)

    # Forks. The lock is held meanwhile, so no task starts and nothing is half done.

    def before_fork(self) -> None:
        """Take the lock, and give the tasks that run some time to end."""
        self.scheduler.lock.acquire()
        deadline = time.monotonic() + FORK_PATIENCE
        mine = get_ident()
        while time.monotonic() < deadline:
            others = [each for each in tuple(self.workers) if each.thread.ident != mine]
            if not any(each.ends_soon() for each in others):
                break
            time.sleep(0.0005)

    def after_fork_in_parent(self) -> None:
        """Go on."""
        self.scheduler.lock.release()

    def after_fork_in_child(self) -> None:
        """Only this thread is left: what others ran fails, and their lanes open anew."""
        scheduler, mine = self.scheduler, get_ident()
        entered = {id(entry) for entry in scheduler.inbox}
        lost = set(scheduler.outstanding)
        for worker in self.workers:
            task = worker.task
            if worker.thread.ident == mine or task is None or task.state == DONE:
                continue
            if task.state == RUNNING:
                lost.add(task.plan if isinstance(task, Part) else task)
            elif id(task) not in entered:  # it had ended, but not said so
                scheduler.inbox.append(task)
        for task in lost:
            error = ForkedError("it ran in another thread of the parent", at=task.describe())
            scheduler.inbox.append(Completed(task, error, None))
        self.workers = [each for each in self.workers if each.thread.ident == mine]
        self.by_thread = dict.fromkeys([mine], self.workers[0]) if self.workers else {}
        self.opened.clear()
        for lane in self.lanes:
            parts = [part for part in lane.parts if isinstance(part, Part)]
            lane.parts = deque[Task](part for part in parts if part.plan not in lost)
            lane.surplus = sum(each.lane is lane for each in self.workers)
            lane.idle.clear()
            lane.idle.append(partial(self.open, lane))
            if len(lane):
                scheduler.bells.append(lane)
        self.scheduler.lock.release()
        self.start()
