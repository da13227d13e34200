"""Runs a random program on an engine, and compares what came of it with what it means."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from threading import Lock, Thread
from typing import cast

from graphopt.engine import Completion, Engine, Recording, Task, Variable
from graphopt.engine.errors import (
    EngineError,
    MissingCompletionError,
    TaskCancelledError,
    TaskFailedError,
    TaskSkippedError,
    UseAfterDeleteError,
)
from graphopt.engine.lanes import Kind
from graphopt.engine.pushing import TaskOptions
from graphopt.engine.recordings.check import Race, races
from tests.engine.programs import LANES, TASKS, Op, Program
from tests.engine.serial import Seen, Serial, Verdict, blurred, compute, fault, masked, store

PATIENCE = 30.0  # seconds that a wait may take


class PlannedError(Exception):
    """What a task raises that shall fail."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def verdict(call: Callable[[], object]) -> Verdict:
    """What came of a task, from what waiting for it returns or raises."""
    try:
        value = call()
    except TaskCancelledError:
        return ("cancelled", -1, "cancelled")
    except TaskFailedError as error:
        status = "skipped" if isinstance(error, TaskSkippedError) else "failed"
        if isinstance(error.__cause__, PlannedError):
            return (status, error.__cause__.number, "")
        if isinstance(error.__cause__, MissingCompletionError):
            return (status, -1, "missing")
        if isinstance(error.__cause__, TaskCancelledError):
            return (status, -1, "cancelled")
        return (status, -1, repr(error.__cause__))
    return ("done", cast(int, value), "")


@dataclass
class Run:
    """One run of a program."""

    program: Program
    engine: Engine
    cells: dict[int, int] = field(default_factory=dict[int, int])
    variables: dict[int, Variable] = field(default_factory=dict[int, Variable])
    tasks: dict[int, Task] = field(default_factory=dict[int, Task])
    ran: list[int] = field(default_factory=list[int])
    seen: dict[int, Seen] = field(default_factory=dict[int, Seen])
    problems: list[str] = field(default_factory=list[str])
    starts: dict[int, Callable[[], None]] = field(default_factory=dict[int, Callable[[], None]])
    early: set[int] = field(default_factory=set[int])
    lock: Lock = field(default_factory=Lock)
    helpers: list[Thread] = field(default_factory=list[Thread])

    def go(self) -> None:
        """Run it, up to the last push."""
        threads = [
            Thread(target=self.steps, args=(steps,), daemon=True)
            for steps in self.program.threads[1:]
        ]
        for thread in threads:
            thread.start()
        self.steps(self.program.threads[0])
        for thread in threads:
            thread.join(PATIENCE)

    def finish(self) -> None:
        """Wait for the rest."""
        self.seen[-1] = self.failures()
        for helper in self.helpers:
            helper.join()

    def steps(self, steps: list[Op]) -> None:
        """What one thread pushes and waits for."""
        try:
            for op in steps:
                self.step(op)
        except BaseException as error:
            self.problems.append(f"a pushing thread raised {error!r}")
            raise

    def step(self, op: Op) -> None:
        """One step."""
        if op.what in TASKS:
            self.push(op)
        elif op.what == "result":
            self.seen[op.number] = self.outcome(op.target)
        elif op.what == "all":
            self.seen[op.number] = self.failures()
        elif op.what == "cancel":
            self.tasks[op.target].cancel()
        elif op.what == "refused":
            self.refused(op)
        else:
            variable = self.variable(op.target)
            how = partial(self.engine.wait, variable, timeout=PATIENCE, write=op.how == "write")
            came = verdict(how)
            self.seen[op.number] = (fault(came), self.cells.get(op.target, 0))

    def variable(self, number: int) -> Variable:
        """A variable, made when it is first named."""
        found = self.variables.get(number)
        if found is None:
            found = self.variables.setdefault(number, self.engine.new_variable(f"x{number}"))
        return found

    # Pushing.

    def push(self, op: Op) -> None:
        """Push a task."""
        read, mutate, overwrite, accumulate = (
            tuple([self.variable(v) for v in each]) if each else ()
            for each in (op.read, op.mutate, op.overwrite, op.accumulate)
        )
        engine, how = self.engine, TaskOptions()
        if op.lane >= 0 or op.cheap:
            device, kind = LANES[max(op.lane, 0)]
            how = TaskOptions(
                name=f"op{op.number}", device=device, kind=cast(Kind, kind),
                priority=op.priority, always=op.always, cheap=op.cheap,
            )  # fmt: skip
        if op.what == "delete":
            task = engine.delete(self.variable(op.overwrite[0]), partial(self.body, op))
        elif op.what == "async":
            start = partial(self.start, op)
            task = engine.push_async(start, read, mutate, overwrite, accumulate, **how)
        else:
            body = partial(self.body, op)
            task = engine.push(body, read, mutate, overwrite, accumulate, **how)
        self.tasks[op.number] = task

    def refused(self, op: Op) -> None:
        """Try to use a deleted variable."""
        variable = self.variable(op.overwrite[0])
        try:
            if op.how == "delete":
                self.engine.delete(variable)
            elif op.how == "wait":
                self.engine.wait(variable, timeout=PATIENCE)
            else:
                places = ("read", "mutate", "overwrite", "accumulate")
                read, mutate, overwrite, accumulate = (
                    (variable,) if op.how == each else () for each in places
                )
                self.engine.push(int, read, mutate, overwrite, accumulate)
        except UseAfterDeleteError:
            return
        self.problems.append(f"op {op.number}: a deleted variable was used by {op.how}")

    # Running.

    def body(self, op: Op) -> int:
        """The function of a task."""
        value = self.begin(op)
        store(op, self.cells, value, partial(time.sleep, 0) if op.slow else None)
        if op.completes >= 0:
            self.complete(op.completes)
        if op.fails:
            raise PlannedError(op.number)
        return value

    def begin(self, op: Op) -> int:
        """What a task does before it writes."""
        self.ran.append(op.number)
        if op.children:
            for child in op.children:
                self.push(child)
            if op.joins:
                for child in op.children:
                    self.tasks[child.number].wait(PATIENCE)
        awaited = [self.outcome(each) for each in op.awaits]
        value = compute(op, self.cells, awaited)
        if op.slow:
            time.sleep(0)
        return value

    def outcome(self, number: int) -> Verdict:
        """The result of a task."""
        return verdict(partial(self.tasks[number].result, PATIENCE))

    def start(self, op: Op, completion: Completion) -> int:
        """The function of an asynchronous task."""
        value = self.begin(op)
        if op.how in ("raise", "drop"):
            store(op, self.cells, value)
            if op.how == "raise":
                raise PlannedError(op.number)
            return 0
        end = partial(self.end, op, completion, value)
        if op.how == "late" and self.engine.mode != "serial":
            with self.lock:
                if op.number not in self.early:
                    self.starts[op.number] = end
                    return 0
        if op.how == "thread":
            helper = Thread(target=self.end_later, args=(end, value), daemon=True)
            self.helpers.append(helper)
            helper.start()
        else:
            end()
        return 0

    def end_later(self, end: Callable[[], None], value: int) -> None:
        """On a thread of its own."""
        time.sleep(value % 4 * 1e-4)
        end()

    def end(self, op: Op, completion: Completion, value: int) -> None:
        """Write, and complete the task."""
        store(op, self.cells, value)
        if op.fails:
            completion(PlannedError(op.number))
        else:
            completion(value=value)

    def complete(self, number: int) -> None:
        """End an asynchronous task, at once if it starts later."""
        with self.lock:
            end = self.starts.pop(number, None)
            if end is None:
                self.early.add(number)
        if end is not None:
            end()

    # What came of it.

    def failures(self) -> frozenset[int]:
        """What `wait_all` raises: the tasks that failed, -1 for completions that were dropped."""
        found: set[int] = set()
        try:
            self.engine.wait_all(PATIENCE)
        except ExceptionGroup as group:
            for error in group.exceptions:
                cause = error.__cause__
                known = isinstance(error, TaskFailedError) and isinstance(
                    cause, (PlannedError, MissingCompletionError)
                )
                if not known:
                    self.problems.append(f"wait_all raised {error!r}")
                found.add(cause.number if isinstance(cause, PlannedError) else -1)
        return frozenset(found)

    def serial(self) -> list[Op]:
        """The steps in serial order: of a flat program with its waits, else tasks by number."""
        if self.program.flat:
            return self.program.threads[0]
        ops = {op.number: op for op in self.program}
        pushed = sorted(self.tasks.items(), key=lambda each: each[1].seq)
        return [ops[number] for number, _ in pushed]

    def check(self) -> list[str]:
        """All differences from the serial program."""
        cancelled: set[int] = set()
        if self.program.cancels:
            cancelled = {
                number
                for number, task in self.tasks.items()
                if isinstance(task.error, TaskCancelledError)
            }
        meant = Serial(self.program, cancelled, set(self.ran))
        order = self.serial()
        meant.run(order)
        self.problems += self.check_order(order, cancelled)
        self.check_tasks(meant)
        self.check_variables(meant)
        self.check_waits(meant)
        return self.problems

    def differ(self, what: str, found: object, expected: object) -> None:
        """Note a difference, if it is one."""
        if found != expected:
            self.problems.append(f"{what}: {found}, not {expected}")

    def check_order(self, order: list[Op], cancelled: set[int]) -> list[str]:
        """Whether pushes of each thread, and of each task, have their order."""
        if len(set(self.ran)) != len(self.ran):
            return ["a task ran twice"]
        families = [op.children for op in self.program if op.children and op.number in self.ran]
        expected = [op.number for steps in (*self.program.threads, *families) for op in steps]
        tasks = {op.number for op in self.program if op.what in TASKS}
        self.differ("pushed", set(self.tasks), tasks & set(expected))
        for steps in (*self.program.threads, *families):
            seqs = [self.tasks[op.number].seq for op in steps if op.what in TASKS]
            self.differ("serial order", seqs, sorted(seqs))
        targets = {op.target for op in self.program if op.what == "cancel"}
        if not cancelled <= targets:
            return [f"{cancelled - targets} were cancelled by nobody"]
        return []

    def check_tasks(self, meant: Serial) -> None:
        """Every handle, and who is to blame."""
        numbers = {id(task): number for number, task in self.tasks.items()}
        for number, task in self.tasks.items():
            if not task.done:
                self.problems.append(f"op {number} is not over")
                continue
            expected = meant.verdicts[number]
            if expected[0] == "done" and task.error is None:
                self.differ(f"op {number}", task.value, expected[1])
                continue
            self.differ(f"op {number}", self.outcome(number), blurred(expected))
            if expected[0] == "skipped":
                self.differ(
                    f"cause of {number}", numbers.get(id(task.cause)), meant.causes[number].number
                )
        self.differ("ran", set(self.ran), meant.ran)

    def check_variables(self, meant: Serial) -> None:
        """Every value, version and error."""
        for number, variable in self.variables.items():
            state, name = meant.state(number), f"x{number}"
            self.differ(name, self.cells.get(number, 0), meant.cells.get(number, 0))
            self.differ(f"version of {name}", variable.version, state.version)
            valid = state.version if state.stale is None else state.stale
            self.differ(f"valid version of {name}", variable.valid_version, valid)
            self.differ(f"deleted {name}", variable.deleted, state.deleted)
            if not state.deleted:
                came = verdict(partial(self.engine.wait, variable, timeout=PATIENCE))
                self.differ(f"error of {name}", fault(came), masked(meant.fault(state.blame)))

    def check_waits(self, meant: Serial) -> None:
        """Everything that the program saw as it ran, as far as its place in the order is known."""
        reported: set[int] = set()
        for op in (op for steps in self.program.threads for op in steps):
            found, expected = self.seen.get(op.number), meant.seen.get(op.number)
            if op.what == "result":
                self.differ(f"seen by {op.number}", found, blurred(meant.verdicts[op.target]))
            elif isinstance(found, frozenset):
                reported |= found
                if isinstance(expected, frozenset):
                    named = {blurred(meant.verdicts[each])[1] for each in expected}
                    self.differ(f"seen by {op.number}", found, named)
            elif isinstance(expected, tuple) and len(expected) == 2:
                error, value = expected
                self.differ(f"seen by {op.number}", found, (masked(error), value))
        last = self.seen[-1]
        assert isinstance(last, frozenset)
        failed = [each for each in meant.verdicts.values() if each[0] == "failed"]
        self.differ("failures", reported | last, {blurred(each)[1] for each in failed})


def _given_up(race: Race) -> bool:
    """Whether an asynchronous task was cancelled after it had started."""
    task = race.earlier
    return race.rule == "life" and task.status == "cancelled" and task.finished < 0


def make(program: Program, mode: str, seed: int = 0, **options: object) -> Engine:
    """An engine for a program. Mode "sim" draws its steps from a seed, "timed" has the clock."""
    if mode == "sim" and "replay" not in options:
        options["seed"] = seed
    options = {"stall_after": PATIENCE / 6, "stall_raises": True, **options}
    kind = "sim" if mode == "timed" else mode
    engine = Engine(workers=program.workers, mode=kind, **options)  # type: ignore[arg-type]
    engine.add_device("gpu:0")
    return engine


def examine(program: Program, engine: Engine, recorded: bool = True) -> tuple[Run, Recording]:
    """Run a program; raises AssertionError if anything is not as it shall be, or was luck."""
    run, recording = Run(program, engine), Recording()
    try:
        if recorded:
            with engine.record() as recording:
                run.go()
        else:
            run.go()
        run.finish()
        problems = run.check()
        if not problems:
            problems = [str(race) for race in races(recording) if not _given_up(race)]
    except EngineError as error:
        problems = [*run.problems, f"{type(error).__name__}: {error}"]
    with suppress(EngineError):
        engine.stop(abort=bool(problems))
    if problems:
        raise AssertionError("\n".join([*problems[:10], str(program)]))
    return run, recording
