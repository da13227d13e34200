"""The engine: functions pushed with what they read and mutate, run in parallel, meant serially."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from types import TracebackType
from typing import Any, Literal, Self, Unpack
from weakref import WeakKeyDictionary

from graphopt.engine import accelerate, lifetime, pushing
from graphopt.engine.driver import Driver
from graphopt.engine.errors import DoubleDeleteError, EngineError
from graphopt.engine.inline import Inline
from graphopt.engine.lanes import Device, Kind, Link
from graphopt.engine.policies import InOrder, Policy, Replayed, Seeded, Timed
from graphopt.engine.pushing import EnterPlain, TaskOptions
from graphopt.engine.recordings.recorder import Recorder
from graphopt.engine.recordings.recording import Recording
from graphopt.engine.running import Completion
from graphopt.engine.scheduler import DELETE, Scheduler
from graphopt.engine.scope import Scope
from graphopt.engine.task import DONE, Accumulation, Options, Program, Task, Variable
from graphopt.engine.threads import Threads
from graphopt.engine.waits import Bytes, Waits

_PROGRAM = ("failure", "lanes", "rearm", "run", "run_lane")
Mode = Literal["threads", "serial", "sim"]
_frame = sys._getframe  # pyright: ignore[reportPrivateUsage]  # the inspect module costs 10 µs


def _nothing() -> None:
    """Frees nothing."""


class Engine:
    """Runs pushed functions as soon as what they read and mutate allows.

        with Engine(workers=2) as engine:
            x, y = engine.new_variable("x"), engine.new_variable("y")
            engine.push(load, mutate=[x])
            engine.push(double, read=[x], mutate=[y])
            engine.wait(y)

    The result is that of the program that runs each function where it is pushed. Mode `threads`
    runs on `workers` threads; `serial` on the caller's; `sim` too, in an order drawn from `seed`,
    or that of a `replay` recording, or by a virtual clock. `max_pending` and `max_bytes` bound the
    backlog: a push that exceeds them waits. `stall_after` seconds of a wait without anything
    finishing give a StallWarning, or StallError with `stall_raises`. `in_order` makes
    accumulations happen in push order: sums of floats are then those of the serial program bit
    for bit. `accelerated` chooses between the two forms of the scheduler, in C, where that was
    built, and in Python. `pin` keeps each compute worker on a core of its own: Linux likes to put
    threads that wake each other on one.
    """

    def __init__(
        self,
        workers: int = 2,
        mode: Mode = "threads",
        *,
        seed: int | None = None,
        replay: Recording | None = None,
        max_pending: int = 1024,
        max_bytes: int | None = None,
        in_order: bool = False,
        stall_after: float | None = 60.0,
        stall_raises: bool = False,
        accelerated: bool = accelerate.AVAILABLE,
        pin: bool = False,
    ) -> None:
        if workers < 1 or max_pending < 1:
            raise EngineError(f"an engine needs workers and room, not {workers} and {max_pending}")
        self.mode = mode
        scheduler = accelerate.scheduler() if accelerated else Scheduler()
        self._enter: EnterPlain = accelerate.enter if accelerated else pushing.enter_plain
        scheduler.limit = max_pending
        scheduler.waits = Waits(scheduler, stall_after, stall_raises)
        scheduler.driver = _driver(mode, scheduler, seed, replay, pin)
        self._scheduler = scheduler
        self._inbox = scheduler.inbox
        self._in_order = in_order
        self._bytes = Bytes(scheduler, max_bytes)
        self._devices: dict[str, Device] = {}
        self._plans: WeakKeyDictionary[Program, Variable] = WeakKeyDictionary()
        self.add_device("cpu:0", compute=workers)
        self._default = Options(self._devices["cpu:0"].lane("compute"))
        self._idle = self._default.lane.idle
        scheduler.joint = Options(self._default.lane, special=True)
        lifetime.begin(scheduler)

    # Devices and variables.

    def add_device(
        self,
        name: str,
        *,
        compute: int = 1,
        copy_in: int = 1,
        copy_out: int = 1,
        comm: int = 1,
        io: int = 4,
        links: Mapping[Kind, Link] | None = None,
        paced: bool = False,
    ) -> None:
        """Add a device with so many workers in its lanes; their threads start at the first use.

        `links` models lanes that transfer. `paced` makes its computations take the `cost` that
        they are pushed with, at least.
        """
        if name in self._devices:
            raise EngineError(f"there is a device {name!r} already")
        workers: dict[Kind, int] = {
            "compute": compute, "copy_in": copy_in, "copy_out": copy_out, "comm": comm, "io": io
        }  # fmt: skip
        self._devices[name] = Device(self._scheduler, name, workers, dict(links or {}), paced)

    @property
    def devices(self) -> tuple[str, ...]:
        """The names of the devices."""
        return tuple(self._devices)

    def new_variable(self, name: str = "") -> Variable:
        """A token for a resource. `name` is for messages."""
        return Variable(self._scheduler, name)

    # Pushing.

    def push(
        self,
        fn: Callable[[], Any],
        read: Iterable[Variable] = (),
        mutate: Iterable[Variable] = (),
        overwrite: Iterable[Variable] = (),
        accumulate: Iterable[Variable] = (),
        how: Options | None = None,
        **options: Unpack[TaskOptions],
    ) -> Task:
        """Run a function when all pushed before that it depends on is over; returns at once.

        `read`, and `mutate` which needs the old value too, wait for it and are skipped if it could
        not be written; `overwrite` does not need it. Accumulations of a variable may happen in any
        order, one at a time. A variable may be named more than once; the strongest access counts.
        `how` is what the method of that name made of `options`.
        From inside of a task: a new task is ordered after it only where they share variables.

        Raises UseAfterDeleteError, ForeignVariableError, EngineStoppedError.
        """
        frame = _frame(1)
        if not (options or overwrite or accumulate or how):
            task = self._enter(fn, read, mutate, self._default, self._scheduler, frame)
            if task is not None:
                if self._idle:
                    self._scheduler.driver.pushed(task)
                return task
        how = self.how(**options) if options else how or self._default
        if how.lane.scheduler is not self._scheduler:
            raise EngineError("these options were made by another engine's `how`")
        accesses = read, mutate, overwrite, accumulate
        return self.submit(pushing.make_task(fn, accesses, how, frame.f_code, frame.f_lasti))

    def push_async(
        self,
        fn: Callable[[Completion], Any],
        read: Iterable[Variable] = (),
        mutate: Iterable[Variable] = (),
        overwrite: Iterable[Variable] = (),
        accumulate: Iterable[Variable] = (),
        **options: Unpack[TaskOptions],
    ) -> Task:
        """As `push`, for a function that only starts something, such as a receive.

        It is over when the completion that `fn` gets is called: see `Completion`.
        """
        frame = _frame(1)
        how = replace(self.how(**options), asynchronous=True, special=True)
        accesses = read, mutate, overwrite, accumulate
        return self.submit(pushing.make_task(fn, accesses, how, frame.f_code, frame.f_lasti))

    def push_plan(
        self,
        plan: Program,
        read: Iterable[Variable] = (),
        mutate: Iterable[Variable] = (),
        overwrite: Iterable[Variable] = (),
        **options: Unpack[TaskOptions],
    ) -> Task:
        """Run a plan as one task: its lanes at once where there are workers, else in order.

        Two runs of one plan never overlap: it has a variable of its own.
        """
        frame = _frame(1)
        if missing := [each for each in _PROGRAM if not hasattr(plan, each)]:
            raise EngineError(f"{plan!r} is no plan: it has no {', '.join(missing)}")
        pushing.check_lanes(plan)
        how = replace(self.how(**options), plan=plan, special=True)
        own = self._plans.setdefault(plan, self.new_variable("plan"))
        accesses = read, mutate, (*overwrite, own), ()
        return self.submit(pushing.make_task(plan.run, accesses, how, frame.f_code, frame.f_lasti))

    def delete(self, variable: Variable, fn: Callable[[], Any] = _nothing) -> Task:
        """Delete a variable when all pushed before that uses it is over.

        `fn` frees what it stands for. It runs though the variable is poisoned, though its scope is
        cancelled, and while the engine stops. A finalizer may call it: it never waits. Raises
        DoubleDeleteError.
        """
        frame = _frame(1)
        how = Options(self._default.lane, always=True, kind=DELETE, special=True)
        task = Task(fn, (), (), how, frame.f_code, frame.f_lasti)
        if getattr(variable, "owner", self) is None:
            raise DoubleDeleteError(f"{variable!r} was deleted before", at=task.describe())
        task.overwrite = (variable,)
        pushing.check(task, self._scheduler)
        if self._scheduler.stopped:  # everything is over
            variable.owner = None
            task.value, task.state = fn(), DONE
            return task
        variable.owner = None  # and no call before the next line, so that no signal comes between
        self._inbox.append(task)
        self._scheduler.driver.pushed(task)
        return task

    def how(self, **given: Unpack[TaskOptions]) -> Options:
        """The options of a push, to be given as `how` to many. Raises EngineError."""
        if unknown := given.keys() - TaskOptions.__annotations__.keys():
            known = ", ".join(TaskOptions.__annotations__)
            raise EngineError(f"a push has the options {known}; not {', '.join(unknown)}")
        others: dict[str, Any] = dict(given)
        pushing.check_options(others, self._scheduler)
        kind, name = others.pop("kind", "compute"), others.pop("device", "cpu:0")
        if name not in self._devices:
            raise EngineError(f"there is no device {name!r}; there are {', '.join(self._devices)}")
        lane = self._devices[name].lane(kind)
        special = lane.paced or any(others.get(each) for each in pushing.SPECIAL)
        return Options(lane, kind=kind, special=special, **others)

    def submit(self, task: Task) -> Task:
        """Push a task that was made elsewhere: check its variables, wait for room, enter it."""
        scheduler, options = self._scheduler, task.options
        pushing.check(task, scheduler)
        if isinstance(task, Accumulation):
            pushing.normalize(task, self._in_order)
        if scheduler.full:
            scheduler.waits.room()
        if options.nbytes:
            self._bytes.enter(options.nbytes)
        self._inbox.append(task)
        if options.lane.idle or options.special:
            scheduler.driver.pushed(task)
        return task

    # Waiting.

    def wait(
        self, *targets: Variable | Task, timeout: float | None = None, write: bool = False
    ) -> None:
        """Wait for the last write of variables, and for tasks; raises what failed, every time.

        With `write`, wait for a variable's readers too. Inside of a task, other tasks get its
        worker meanwhile; DeadlockError if what it waits for needs the task itself. `timeout` is in
        seconds, of each target: WaitTimeoutError.
        """
        for target in targets:
            if isinstance(target, Task):
                target.result(timeout)
                continue
            if getattr(target, "owner", None) is not self._scheduler:
                frame = _frame(1)
                wait = Task("wait", (), (), self._default, frame.f_code, frame.f_lasti)
                pushing.refuse(target, wait)
            self._scheduler.waits.variable(target, timeout, write)

    def wait_all(self, timeout: float | None = None) -> None:
        """Wait until nothing is pending; raises an ExceptionGroup of the new failures."""
        self._scheduler.waits.all(timeout)

    def scope(self) -> Scope:
        """A group of tasks that are waited for, or cancelled, together."""
        return Scope(self._scheduler)

    @property
    def pending(self) -> int:
        """How many tasks are not over, as far as the scheduler has seen."""
        return self._scheduler.pending

    @property
    def now(self) -> float:
        """Seconds, of the clock that tasks are timed with: virtual in `sim`."""
        return self._scheduler.driver.now()

    @contextmanager
    def record(self) -> Generator[Recording]:
        """Record what happens in the block, and wait for it at its end."""
        scheduler = self._scheduler
        clock: Literal["real", "virtual"] = "virtual" if self.mode == "sim" else "real"
        recording = Recording(clock)
        self._switch(Recorder(scheduler, recording))
        try:
            yield recording
            scheduler.waits.level(0)
        finally:
            self._switch(None)

    def _switch(self, recorder: Recorder | None) -> None:
        """Record from here on, in the order of pushes, or no more."""
        lifetime.ask(self._scheduler, partial(self._scheduler.record, recorder))
        self._scheduler.waits.level(sys.maxsize)

    # The end.

    def stop(self, *, abort: bool = False) -> None:
        """Wait for everything, or with `abort` cancel what has not started; then end the threads.

        Deletions and tasks that run `always` are done in any case. May be called twice.
        """
        lifetime.stop(self._scheduler, abort=abort)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            if error is None and not self._scheduler.stopped:
                self.wait_all()
        finally:
            self.stop(abort=error is not None)

    def __del__(self) -> None:
        if (scheduler := getattr(self, "_scheduler", None)) is not None and not scheduler.stopped:
            lifetime.abandon(scheduler)

    def __repr__(self) -> str:
        return f"Engine(mode={self.mode!r}, devices={self.devices})"


def _driver(
    mode: Mode, scheduler: Scheduler, seed: int | None, replay: Recording | None, pin: bool
) -> Driver:
    """The driver of a mode. Raises EngineError for options that a mode does not have."""
    if mode != "sim" and not (seed is None and replay is None):
        raise EngineError(f"a seed, or a recording to replay, needs mode='sim', not {mode!r}")
    if mode == "threads":
        return Threads(scheduler, pin)
    policy: Policy
    if mode == "serial":
        policy = InOrder()
    elif mode != "sim":
        raise EngineError(f"there is no mode {mode!r}; the modes are threads, serial, sim")
    elif replay is not None:
        policy = Replayed(replay)
    else:
        policy = Timed() if seed is None else Seeded(seed)
    return Inline(scheduler, policy)
