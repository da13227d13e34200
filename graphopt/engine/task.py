"""What the engine schedules: variables, tasks that access them, and how their failures are told.

A variable is a token for any resource: an array, a random generator, a communicator, a file. It
knows only who last wrote it and who has read it since; from these two the scheduler derives what a
new task must wait for. A task is its own handle.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from types import CodeType
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

from graphopt.engine.errors import (
    EngineError,
    TaskCancelledError,
    TaskFailedError,
    TaskSkippedError,
    UseAfterDeleteError,
)

if TYPE_CHECKING:
    from graphopt.engine.lanes import Lane
    from graphopt.engine.scheduler import Scheduler
    from graphopt.engine.scope import Scope

# The states of a task, in their order: FINISHED is a plain task that succeeded, ENDED any other
# that is to be completed. An entry of the inbox that is no task is a REQUEST.
REQUEST, NEW, RUNNING, FINISHED, ENDED, DONE = range(-1, 5)

CHAIN = 8  # how many tasks of a chain of failures are remembered


class Variable:
    """A resource that tasks read and write; `Engine.new_variable` makes one.

    `version` counts the completed writes, those that failed or were skipped too.
    """

    __slots__ = (
        "__weakref__",
        "gone",
        "group",
        "name",
        "owner",
        "readers",
        "room",
        "stale",
        "version",
        "writer",
    )

    def __init__(self, owner: Scheduler, name: str = "") -> None:
        self.owner: Scheduler | None = owner  # None once its deletion is pushed
        self.name = name
        self.version = 0
        self.stale: int | None = None  # the last good version, where the newest is poisoned
        # Of the scheduler. The writer is None where it is over and succeeded.
        self.writer: Task | None = None
        self.readers: list[Task] = []  # since the last write; those that are over may be dropped
        self.room = 16  # how long `readers` may grow before that is done
        self.gone: Mark | None = None  # its deletion, once that has its place in the program
        self.group: Join | None = None  # accumulations that more may still join

    @property
    def valid_version(self) -> int:
        """The version of the newest value that is not poisoned."""
        return self.version if self.stale is None else self.stale

    @property
    def deleted(self) -> bool:
        """Whether its deletion was pushed."""
        return self.owner is None

    def prune(self) -> None:
        """Forget the readers that are over, so that a weight read for ever does not grow."""
        self.readers = [task for task in self.readers if task.state != DONE]
        self.room = max(16, 2 * len(self.readers))

    def __repr__(self) -> str:
        return f"Variable({self.name!r})" if self.name else f"Variable(at {id(self):#x})"


class Program(Protocol):
    """A plan that is bound to what it runs on."""

    failure: BaseException | None  # of the lanes that ran last: what came first in program order

    @property
    def lanes(self) -> int:
        """How many it has."""
        ...

    def run(self) -> object:
        """Run all steps in order."""
        ...

    def run_lane(self, lane: int, /) -> object:
        """Run one lane, while others run the others."""
        ...

    def rearm(self) -> None:
        """Make the lanes ready again after a failure."""
        ...


@dataclass(slots=True, frozen=True)
class Options:
    """How tasks are run; one object serves all that are pushed alike."""

    lane: Lane
    name: str = ""
    priority: int = 0
    nbytes: int = 0
    cost: float | None = None
    always: bool = False
    cheap: bool = False
    asynchronous: bool = False
    scope: Scope | None = None
    kind: str = "compute"
    plan: Program | None = None
    special: bool = False  # whether the scheduler must look at more than the lane


class Task:
    """A pushed function, and the handle on it: `result`, `wait`, `cancel`, `done`."""

    __slots__ = (
        "__weakref__", "after", "cause", "code", "error", "fn", "lasti", "mutate", "options",
        "overwrite", "read", "seq", "state", "then", "value", "wait_count",
    )  # fmt: skip

    accumulate: tuple[Variable, ...] = ()  # those of an Accumulation
    groups: tuple[Join, ...] = ()

    def __init__(
        self,
        fn: Callable[[], Any] | str,
        read: tuple[Variable, ...],
        mutate: tuple[Variable, ...],
        options: Options,
        code: CodeType | None = None,
        lasti: int = 0,
    ) -> None:
        self.fn = fn  # its name, once it has failed; nothing of a task that is over is kept
        self.read = read
        self.mutate = mutate
        self.overwrite: tuple[Variable, ...] = ()
        self.options = options
        self.code = code  # with lasti: the line that pushed it, looked up only for a message
        self.lasti = lasti
        self.state = NEW
        self.then: list[Task] | None = None  # who waits for a value that it writes
        self.after: list[Task] | None = None  # who waits until it is over
        self.value: Any = None
        self.error: BaseException | None = None
        self.cause: Task | None = None  # the first task, in serial order, whose failure reaches it
        # Given when the scheduler takes it in:
        self.seq: int  # its number in the serial program
        self.wait_count: int  # the unfinished tasks that it waits for

    # For users.

    @property
    def done(self) -> bool:
        """Whether it is over: it returned, failed, or was skipped."""
        return self.state == DONE

    @property
    def name(self) -> str:
        """The name it was pushed with, or that of its function."""
        if self.options.name or isinstance(self.fn, str):
            return self.options.name or str(self.fn)
        inner = getattr(self.fn, "func", self.fn)  # of a partial
        return str(getattr(inner, "__name__", type(inner).__name__))

    @property
    def site(self) -> str:
        """The line that pushed it, as file:line."""
        if self.code is None:
            return "?"
        lines = list(self.code.co_positions())
        line = lines[self.lasti // 2][0] if self.lasti // 2 < len(lines) else None
        return f"{self.code.co_filename}:{line or self.code.co_firstlineno}"

    def wait(self, timeout: float | None = None) -> None:
        """Wait until it is over, whatever came of it. Raises WaitTimeoutError, DeadlockError."""
        self.options.lane.scheduler.waits.task(self, timeout)

    def result(self, timeout: float | None = None) -> Any:
        """Wait for it and return what its function returned.

        Raises TaskFailedError from what it raised, TaskSkippedError if it needed what another
        failed to write, TaskCancelledError; and what `wait` raises.
        """
        self.wait(timeout)
        if self.error is not None:
            raise_failure(self)
        return self.value

    def cancel(self) -> None:
        """Skip it if it has not started; what it was to write is poisoned. Does not wait."""
        self.options.lane.scheduler.waits.cancel(lambda: [self])

    # For the scheduler.

    @property
    def good(self) -> bool:
        """Whether what it wrote is good: it did not fail, and nothing that it needs did."""
        return self.error is None and self.cause is None

    @property
    def rank(self) -> int:
        """The place in the serial program of the failure behind its own, to tell which is first."""
        return self.seq if self.cause is None else self.cause.rank

    def blame(self, source: Task) -> None:
        """Note that a value it needs was not written."""
        if self.cause is None or source.rank < self.cause.rank:
            self.cause = source

    def precede(self, task: Task, value: bool = True) -> int:
        """Make a task wait for this one: for a value, or until it is over. Returns 1."""
        if value:
            if self.then is None:
                self.then = []
            self.then.append(task)
        else:
            if self.after is None:
                self.after = []
            self.after.append(task)
        return 1

    def label(self) -> str:
        """Its name and the line that pushed it."""
        return f"{self.name!r} ({self.site})"

    def describe(self) -> str:
        """The same, in a sentence."""
        return f"task {self.label()}"

    def __repr__(self) -> str:
        return f"<{self.describe()}>"


class Accumulation(Task):
    """A task that accumulates into variables. Its options are special."""

    __slots__ = ("accumulate", "groups")

    def __init__(
        self, fn: Callable[[], Any] | str, read: tuple[Variable, ...], mutate: tuple[Variable, ...],
        options: Options, code: CodeType | None = None, lasti: int = 0,
    ) -> None:  # fmt: skip
        super().__init__(fn, read, mutate, options, code, lasti)
        self.accumulate = ()
        self.groups = ()  # those it is a member of, once it is taken in


class Join(Task):
    """The end of a group of accumulations: it is over when the group is closed and its members are.

    Accumulations of a variable commute, so they wait for what was before the group and not for one
    another; but they exclude each other: `holder` is the one that runs, `parked` wait for it. They
    are independent: if one fails, the others still run, and the variable is poisoned after them.
    """

    __slots__ = ("base", "base_readers", "holder", "members", "parked", "variable", "version")

    def __init__(self, variable: Variable, options: Options) -> None:
        super().__init__(_nothing, (), (), options)
        self.variable = variable
        self.base = variable.writer
        self.base_readers = [task for task in variable.readers if task.state != DONE]
        self.members: dict[Task, None] = {}  # that are not over
        self.holder: Task | None = None
        self.parked: deque[Task] = deque()
        self.version: int | None = None  # the variable's before the first of them completed
        self.wait_count = 1  # until it is closed


class Mark(Task):
    """A failure that no task had: a cancellation, or the deletion of a variable."""

    __slots__ = ()

    def __init__(self, error: EngineError, options: Options) -> None:
        super().__init__(_nothing, (), (), options)
        self.seq = 0
        self.state = DONE
        self.error = error

    @property
    def rank(self) -> int:
        """Before all failures of tasks."""
        return -1


def _nothing() -> None:
    """The function of what is no real task."""


SKIPPED = TaskSkippedError("it was skipped")  # stands in `error`; `failure` says more


def skip(task: Task) -> None:
    """Give a task that cannot run the failure of its cause.

    Its `cause` becomes the task that failed first, its `value` the labels of those between, so that
    a long chain of skipped tasks keeps nothing of them.
    """
    cause = task.cause
    assert cause is not None
    if isinstance(cause, Mark):
        task.error, task.cause = cause.error, None
    else:
        task.error = SKIPPED
        task.value = chain(cause)[:CHAIN]
        task.cause = cause.cause or cause


def chain(source: Task) -> tuple[str, ...]:
    """The labels of the tasks from a failed one to where that came from, the latter left out."""
    further: tuple[str, ...] = source.value if source.error is SKIPPED else ()
    if source.cause is None or isinstance(source, Join):
        return further
    return (source.label(), *further)


def told(error: BaseException | None) -> str:
    """An exception as text, even where its own methods raise."""
    try:
        return f"{type(error).__name__}: {error}"
    except Exception:
        return type(error).__name__


def failure(task: Task) -> BaseException:
    """A new error for someone who wanted what a task failed to do."""
    error, where, root = task.error, task.describe(), task.cause
    if (error is None or error is SKIPPED) and root is not None:
        what = "did not run: it" if error else "ran, but"
        through = " <- ".join((*(task.value if error else ()), root.label()))
        text = f"{what} needs what another failed to write: {through}: {told(root.error)}"
        skipped = TaskSkippedError(text, at=where)
        skipped.__cause__ = root.error
        return skipped
    if isinstance(error, (TaskCancelledError, UseAfterDeleteError)):
        return type(error)(error.message, at=where)
    failed = TaskFailedError(f"raised {told(error)}", at=where)
    failed.__cause__ = error
    return failed


def raise_failure(task: Task) -> NoReturn:
    """Raise a task's failure; an exit or an interrupt of its own goes through as it is."""
    if isinstance(task.error, (KeyboardInterrupt, SystemExit)):
        raise task.error
    raise failure(task)
