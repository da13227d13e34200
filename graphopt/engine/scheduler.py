"""The scheduler: derives what each task waits for, and releases tasks when that is over.

Everything that changes the state of the engine is an entry of one inbox, appended by whoever has
something to say (a push, a finished task, a wait, a cancellation), and taken in order by whoever
holds the lock. So pushes from any number of threads have one total order, the serial program that
the engine means; a finalizer or a network thread may push; and no signal can split a change, for
the main thread only ever appends (modes `serial` and `sim` aside).

The state, per variable: its `writer` (the last task that wrote it, while unfinished or if it
failed) and its `readers` since. A reader waits for the writer. A writer waits for the readers, if
any, else for the writer, and takes its place. Since all accesses of a task are derived at once, a
task waits only for tasks pushed before it: there is no cycle. This is the edge form of MXNet's
dependency engine (Chen et al. 2015, section 4.2), whose per-variable queues it replaces: completing
a task only counts down its successors.

Failures travel along value edges (`then`), never along mere order (`after`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from threading import Lock
from typing import TYPE_CHECKING, Any

from graphopt.engine.errors import UseAfterDeleteError
from graphopt.engine.groups import Groups
from graphopt.engine.lanes import Lane
from graphopt.engine.task import (
    DONE,
    ENDED,
    FINISHED,
    NEW,
    RUNNING,
    Accumulation,
    Join,
    Mark,
    Task,
    Variable,
    skip,
)

if TYPE_CHECKING:
    from graphopt.engine.driver import Driver
    from graphopt.engine.recordings.recorder import Recorder
    from graphopt.engine.waits import Waits

DELETE = "delete"
MAX_FAILURES = 1000  # reported by one `wait_all`


class Scheduler(Groups):
    """What may run. Who runs it, and on which threads, is the driver's business."""

    __slots__ = (
        "__weakref__", "alarm", "bells", "broken", "cheap", "completed", "count", "driver",
        "failures", "freed", "inbox", "limit", "lock", "outstanding", "plain", "stopped", "waits",
    )  # fmt: skip

    driver: Driver
    waits: Waits

    def __init__(self) -> None:
        # Tasks, and requests: these have a state of REQUEST, and `apply(scheduler)`.
        self.inbox: deque[Any] = deque()
        self.lock = Lock()
        self.count = 0  # tasks so far: the length of the serial program
        self.joins = 0
        self.freed = 0  # bytes of tasks that are over
        self.completed = 0
        self.alarm = -1  # at this many pending tasks `waits.quiet` is called
        self.limit = 0  # pushes wait above this many
        self.relay: list[Task] = []  # complete without having run; to be taken after the inbox
        self.cheap: deque[Task] = deque()  # run by whoever comes next
        self.bells: list[Lane] = []  # lanes with a task for a worker that sleeps
        self.outstanding: set[Task] = set()  # asynchronous tasks that started
        self.failures: list[Task] = []  # that no `wait_all` has reported
        self.recorder: Recorder | None = None
        self.plain = True  # tasks are just called: nothing is recorded
        self.stopped = False
        self.broken: BaseException | None = None

    @property
    def pending(self) -> int:
        """How many tasks were taken in and are not over."""
        return self.count - self.completed

    @property
    def full(self) -> bool:
        """Whether the backlog is at its limit."""
        return len(self.inbox) + self.count - self.completed >= self.limit

    def record(self, recorder: Recorder | None) -> None:
        """Tell a recorder from here on, or none."""
        self.recorder = recorder
        self.plain = recorder is None

    # The critical section: its callers hold the lock.

    def drain(self) -> None:
        """Take every entry of the inbox, in order."""
        inbox, relay = self.inbox, self.relay
        while True:
            while inbox:
                entry = inbox.popleft()
                state = entry.state
                if state == FINISHED:
                    self.complete_plain(entry)
                elif state == NEW:
                    self.integrate(entry)
                elif state == ENDED:
                    self.complete(entry)
                else:
                    entry.apply(self)
            if not relay:
                return
            self.complete(relay.pop())

    def turn(self) -> Callable[[Lane], Task | None]:
        """What a worker calls for its next task."""
        return self.next

    def next(self, lane: Lane) -> Task | None:
        """Take the inbox, then the task that a worker of a lane shall run."""
        while True:
            if self.inbox:
                self.drain()
            if self.cheap:
                task = self.cheap.popleft()
            elif lane.urgent or lane.parts:
                task = lane.take_first()
            elif lane.ready:
                task = lane.ready.popleft()
            else:
                return None
            if task.cause is None or task.options.always:
                task.state = RUNNING
                return self.special(lane, task) if task.options.special else task
            self.refuse(task)  # cancelled while it was queued

    def special(self, lane: Lane, task: Task) -> Task:
        """What is to be done when a task with special options starts; returns what is to be run."""
        if task.options.asynchronous:
            self.outstanding.add(task)
        return self.driver.expand(lane, task) if task.options.plan else task

    def integrate(self, task: Task) -> None:
        """Give a task its place in the serial program, and what it waits for."""
        self.count = task.seq = self.count + 1
        if self.recorder is not None:
            self.recorder.integrated(task)
        wait_count = 0
        for variable in task.read:
            if variable.writer is not None:
                wait_count += self.follow_writer(task, variable)
            if len(variable.readers) >= variable.room:
                variable.prune()
            variable.readers.append(task)
        for variable in task.mutate:
            wait_count += self.mutate(task, variable)
        if task.overwrite:
            wait_count += self.overwrite(task)
        if task.options.special:
            if isinstance(task, Accumulation):
                wait_count += self.accumulate(task)
            self.enter(task)
        task.wait_count = wait_count
        if not wait_count:
            self.release(task)

    def follow_writer(self, task: Task, variable: Variable) -> int:
        """Make a task wait for the value that it needs; returns for how many writers."""
        if variable.group is not None:
            self.close(variable)
        writer = variable.writer
        if writer is None:
            return 0
        if writer.state == DONE:
            task.blame(writer)
            return 0
        return writer.precede(task)

    def mutate(self, task: Task, variable: Variable) -> int:
        """Make a task the writer of a variable whose value it needs; returns its wait count."""
        if variable.writer is task:  # it stands there twice
            task.mutate = tuple(dict.fromkeys(task.mutate))
            return 0
        wait_count = 0
        if variable.writer is not None:
            wait_count = self.follow_writer(task, variable)
        if variable.gone:
            return wait_count
        if variable.readers:
            wait_count += self.follow_readers(task, variable)
        variable.writer = task
        return wait_count

    def follow_readers(self, task: Task, variable: Variable) -> int:
        """Make a writer wait for the readers of what it replaces; returns for how many."""
        wait_count = 0
        for reader in variable.readers:
            if reader.state != DONE and reader is not task:
                wait_count += reader.precede(task, value=False)
        variable.readers = []
        return wait_count

    def overwrite(self, task: Task) -> int:
        """As a mutation, but the old value is not needed: its failure does not matter."""
        wait_count = 0
        for variable in task.overwrite:
            if variable.group is not None:
                self.close(variable)
            writer = variable.writer
            if writer is task:
                distinct = dict.fromkeys(task.overwrite)
                task.overwrite = tuple(each for each in distinct if each not in task.mutate)
                continue
            if variable.gone:
                task.blame(variable.gone)
                continue
            if writer is not None and writer.state != DONE:
                wait_count += writer.precede(task, value=False)
            if variable.readers:
                wait_count += self.follow_readers(task, variable)
            variable.writer = task
        return wait_count

    def release(self, task: Task) -> None:
        """A task waits for nothing any more: queue it, or see what else becomes of it."""
        options = task.options
        if task.cause is None and not options.special:
            lane = options.lane
            lane.ready.append(task)
            if lane.idle:
                self.bells.append(lane)
        elif options is self.joint:
            self.relay.append(task)
        elif task.cause is not None and not (options.always and task.cause.rank >= 0):
            skip(task)
            self.relay.append(task)
        elif not isinstance(task, Accumulation) or self.hold(task):
            self.queue(task)

    def queue(self, task: Task) -> None:
        """Queue a task that needs more than its lane's plain queue."""
        if task.options.cheap:
            self.cheap.append(task)
            return
        lane = task.options.lane
        lane.put(task)
        if lane.idle:
            self.bells.append(lane)

    def refuse(self, task: Task) -> None:
        """Complete a task that was queued and shall not run."""
        skip(task)
        self.relay.append(task)
        while self.relay:
            self.complete(self.relay.pop())

    def complete_plain(self, task: Task) -> None:
        """A task without special options has succeeded."""
        for variable in task.mutate:
            variable.version += 1
            if variable.writer is task:
                variable.writer = None
        if task.overwrite:
            self.overwritten(task)
        task.fn = ""
        self.count_down(task)
        self.completed += 1
        if self.alarm >= 0 and self.count - self.completed <= self.alarm:
            self.waits.quiet()

    def complete(self, task: Task) -> None:
        """Any task is over, or a group, or a wait."""
        if self.recorder is not None:
            self.recorder.completed(task)
        if task.options is self.joint:
            self.settle(task)
            self.count_down(task)
            return
        failed = not task.good
        name = task.name
        if failed:
            self.fail(task)
        if isinstance(task, Accumulation):
            self.let_go(task)
        if not failed:
            self.complete_plain(task)
        else:
            self.count_down(task)
            self.completed += 1
            if self.alarm >= 0 and self.pending <= self.alarm:
                self.waits.quiet()
        task.fn = name
        if task.options.special:
            self.leave(task)

    def count_down(self, task: Task) -> None:
        """A task is over: release who waited for it last."""
        task.state = DONE
        for successors in (task.then, task.after):
            for successor in successors or ():
                if successor.wait_count > 1:
                    successor.wait_count -= 1
                else:
                    self.release(successor)
        task.then = task.after = None
        task.read = task.mutate = task.overwrite = ()

    def overwritten(self, task: Task) -> None:
        """What a task overwrote has a good value again."""
        for variable in task.overwrite:
            variable.version += 1
            variable.stale = None
            if variable.writer is task:
                variable.writer = None
        task.overwrite = ()

    def fail(self, task: Task) -> None:
        """A task raised, was skipped, or ran though a value that it needs is poisoned."""
        ran = task.state != NEW
        if not ran and task.error is None:
            skip(task)
        if ran and isinstance(task.cause, Mark):  # it was given up
            task.cause = None
        elif task.error is not None and (ran or isinstance(task.error, UseAfterDeleteError)):
            self.failures.append(task)
            del self.failures[MAX_FAILURES:]
        if task.cause is not None:
            task.cause = task.cause.cause or task.cause
        for variable in (*task.mutate, *task.overwrite):
            variable.version += 1
            if variable.stale is None:
                variable.stale = variable.version - 1
        for successor in task.then or ():
            successor.blame(task)

    def settle(self, joint: Task) -> None:
        """A group of accumulations has ended, or a wait is over."""
        if not isinstance(joint, Join):
            self.waits.fire(joint)
            return
        joint.base, joint.base_readers = None, []
        if joint.cause is not None:
            skip(joint)
            for successor in joint.then or ():
                successor.blame(joint)
        elif joint.variable.writer is joint:
            joint.variable.writer = None

    def enter(self, task: Task) -> None:
        """Count what is counted of a task with options of its own."""
        options = task.options
        if options.scope is not None:
            options.scope.enter(task)
        if options.kind == DELETE:
            (variable,) = task.overwrite
            if variable.writer is task:  # not so if it was deleted before
                message = f"{variable!r} was deleted by {task.describe()}"
                variable.writer = variable.gone = Mark(UseAfterDeleteError(message), self.joint)

    def leave(self, task: Task) -> None:
        """The opposite of `enter`."""
        options = task.options
        self.freed += options.nbytes
        if options.scope is not None:
            options.scope.leave(task)
        self.outstanding.discard(task)
