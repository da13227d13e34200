"""Random programs: in every mode, whatever the schedule, they mean what the serial program means.

The values are hashes of all that was read, so an order that is broken and matters is seen; what is
broken and does not matter this time is found by the happens-before check of the recording.
"""

from __future__ import annotations

import gc
import os
import weakref
from collections import defaultdict
from contextlib import suppress
from dataclasses import replace
from functools import partial
from random import Random

import pytest

import graphopt.engine.engine
from graphopt.engine import Completion, Engine, Recording
from graphopt.engine.accelerate import AVAILABLE
from graphopt.engine.errors import EngineError
from graphopt.engine.recordings.check import races
from tests.engine.programs import TASKS, Op, Program, generate, strongest, without
from tests.engine.runs import Run, examine, make
from tests.engine.scheduler_faults import FAULTS
from tests.engine.serial import Serial

FULL = os.environ.get("GRAPHOPT_FULL") == "1"
SCALE = 20 if FULL else 1


def seeds(part: int, count: int, first: int = 0) -> range:
    """Those of one part of a test."""
    return range(first + part * count * SCALE, first + (part + 1) * count * SCALE)


@pytest.mark.fuzz
@pytest.mark.parametrize("accelerated", sorted({False, AVAILABLE}))
@pytest.mark.parametrize("part", range(3))
def test_any_legal_order_means_the_serial_program(part: int, accelerated: bool) -> None:
    for seed in seeds(part, 100):
        program = generate(seed)
        engine = make(program, "sim", seed, accelerated=accelerated)
        examine(program, engine, recorded=seed % 4 != 1)


@pytest.mark.fuzz
@pytest.mark.parametrize("mode", ["serial", "timed"])
def test_programs_by_the_clock_and_in_order(mode: str) -> None:
    for seed in seeds(0, 50, first=10_000_000):
        program = generate(seed)
        examine(program, make(program, mode))


@pytest.mark.fuzz
@pytest.mark.parametrize("accelerated", sorted({False, AVAILABLE}))
@pytest.mark.parametrize("workers", [1, 2, 4])
def test_programs_on_threads(workers: int, accelerated: bool) -> None:
    for seed in seeds(workers, 20, first=20_000_000):
        program = replace(generate(seed, threads=seed % 2 == 0), workers=workers)
        engine = make(program, "threads", accelerated=accelerated)
        examine(program, engine, recorded=seed % 4 > 1)


@pytest.mark.fuzz
def test_replay_takes_the_recorded_steps() -> None:
    for seed in seeds(0, 80, first=30_000_000):
        program = generate(seed, threads=False)
        if program.timed or program.cancels or any(op.awaits or op.joins for op in program):
            continue
        run, recording = examine(program, make(program, "sim", seed))
        again, repeated = examine(program, make(program, "sim", replay=recording))
        assert again.cells == run.cells, str(program)
        assert order(repeated) == order(recording), str(program)


def order(recording: Recording) -> list[tuple[str, int]]:
    """When tasks were started and released what waited for them."""
    skipped = {task.seq for task in recording if task.started < 0}
    wanted = ("started", "completed")
    return [
        (what, seq) for what, seq in recording.events() if what in wanted and seq not in skipped
    ]


def test_seed_gives_the_same_program_and_schedule() -> None:
    first, second = generate(7, threads=False), generate(7, threads=False)
    assert str(first) == str(second)
    runs = [examine(program, make(program, "sim", 7))[0].ran for program in (first, second)]
    assert runs[0] == runs[1]


# No parallelism is lost.


def predecessors(steps: list[Op]) -> dict[int, set[int]]:
    """Whom each task must wait for and no others, derived from the accesses alone."""
    modes: dict[int, str] = {}  # of each variable's newest phase
    phases: dict[int, set[int]] = defaultdict(set)
    before: dict[int, set[int]] = defaultdict(set)  # the phases before those
    found: dict[int, set[int]] = {}
    for op in steps:
        mine = found[op.number] = set[int]()
        for variable, mode in op.modes.items():
            if modes.get(variable) != mode or mode in ("mutate", "overwrite"):
                modes[variable] = mode
                before[variable] = phases.pop(variable, set[int]())
            mine |= before[variable]
            phases[variable].add(op.number)
    return found


def test_what_can_start_starts() -> None:
    """With workers enough, each task starts when the last that it must wait for is over."""
    for seed in range(60 * SCALE):
        program, random = generate(seed, threads=False), Random(seed)
        steps = [replace(op, fails=False) for op in program.threads[0] if op.what == "push"]
        engine = Engine(workers=1000, mode="sim")
        variables = defaultdict[int, object](engine.new_variable)
        ends: dict[int, float] = {}
        sums: dict[int, set[float]] = defaultdict(set)
        with engine, engine.record() as recording:
            for op in steps:
                accesses = [
                    tuple(variables[v] for v in each)
                    for each in (op.read, op.mutate, op.overwrite, op.accumulate)
                ]
                engine.push(int, *accesses, cost=random.randint(1, 9))  # type: ignore[arg-type]
        records = [recording.tasks[seq + 1] for seq in range(len(steps))]
        for op, record in zip(steps, records, strict=True):
            assert record.end is not None
            ends[op.number] = record.end
            for variable in op.accumulate:
                sums[variable].add(record.end)
        waits = predecessors(steps)
        for op, record in zip(steps, records, strict=True):
            ready = max((ends[each] for each in waits[op.number]), default=0.0)
            exclusive = set[float]().union(*(sums[v] for v in op.accumulate))
            assert record.start == ready or record.start in exclusive, f"seed {seed}: {op}"


# Programs that must mean the same.


def meaning(program: Program) -> Serial:
    """Of a program of one thread."""
    meant = Serial(program)
    meant.run(program.threads[0])
    return meant


def moved(op: Op, by: int) -> Op:
    """An op with other numbers and variables."""
    moved = replace(op, number=op.number + by)
    for name in ("read", "mutate", "overwrite", "accumulate", "awaits"):
        setattr(moved, name, tuple(each + by for each in getattr(op, name)))
    for name in ("target", "completes"):
        setattr(moved, name, getattr(op, name) + by if getattr(op, name) >= 0 else -1)
    moved.modes = strongest(moved)
    return moved


def alone(seed: int) -> Program | None:
    """A program of one thread without nested tasks, cancellations, and waits for all; or none."""
    program = generate(seed, threads=False)
    if not program.flat or program.cancels:
        return None
    return without(program, [op.number for op in program if op.what == "all"])


def test_programs_that_share_nothing_do_not_touch_each_other() -> None:
    for seed in range(40 * SCALE):
        first, second, random = alone(seed), alone(seed + 1), Random(seed)
        if first is None or second is None:
            continue
        left = list(first.threads[0])
        right = [moved(op, 1_000_000) for op in second.threads[0]]
        expected = [meaning(first), meaning(replace(second, threads=[list(right)]))]
        both: list[Op] = []
        while left or right:
            both.append((left if random.random() < len(left) / len(left + right) else right).pop(0))
        run, _ = examine(replace(first, threads=[both]), make(first, "sim", seed))
        cells = {**expected[0].cells, **expected[1].cells}
        assert {v: value for v, value in run.cells.items() if v in cells} == cells
        for meant in expected:
            for variable, state in meant.states.items():
                assert run.variables[variable].version == state.version


def test_tasks_that_do_nothing_change_nothing() -> None:
    for seed in range(40 * SCALE):
        program, random = alone(seed), Random(seed)
        if program is None:
            continue
        steps: list[Op] = []
        for op in program.threads[0]:
            steps.append(op)
            while random.random() < 0.3:
                # Not a read: it may end a group of accumulations, and so change who fails.
                steps.append(Op(2_000_000 + len(steps), "push", cheap=random.random() < 0.3))
        run, _ = examine(replace(program, threads=[steps]), make(program, "sim", seed))
        assert run.cells == meaning(program).cells


# What is over is forgotten.


class Work:
    """A function that can be seen to be gone, with an array of its own."""

    def __init__(self) -> None:
        self.array = bytearray(100)

    def __call__(self) -> None:
        self.array[0] = 1

    def fail(self, completion: Completion) -> None:
        """It does not raise: a traceback keeps all that its frames know."""
        completion(ValueError())


@pytest.mark.parametrize("mode", ["sim", "threads"])
def test_nothing_is_kept_of_what_is_over(mode: str) -> None:
    for seed in range(10):
        program = generate(seed, threads=False)
        engine = make(program, mode, seed)
        names = ("read", "mutate", "overwrite", "accumulate")
        variables = {v: engine.new_variable() for op in program for v in op.modes}
        kept: list[weakref.ref[object]] = [weakref.ref(each) for each in variables.values()]
        handles: list[object] = []
        for op in program.threads[0]:
            if op.what not in TASKS:
                continue
            work = Work()
            accesses = [[variables[v] for v in getattr(op, name)] for name in names]
            if op.fails:
                push = partial(engine.push_async, work.fail, always=op.always)
            else:
                push = partial(engine.push, work, always=op.always)
            handles.append(push(*accesses))
            kept.append(weakref.ref(work))
            del work, accesses, push
        variables.clear()
        with suppress(ExceptionGroup):
            engine.wait_all()
        gc.collect()  # an open group of accumulations and its variable know each other
        left = [ref() for ref in kept if ref() is not None]
        assert not left, f"seed {seed}: {left[:5]}"
        engine.stop()


# The checks are worth something.


def caught(seed: int) -> tuple[bool, bool]:
    """Whether the happens-before check finds a planted fault, and whether the values show it."""
    program = generate(seed, threads=False)
    if any(op.awaits or op.joins for op in program):
        return False, False
    run = Run(program, make(program, "sim", seed, accelerated=False))
    recording = Recording()
    values = False
    try:
        with run.engine.record() as recording:
            run.go()
        run.finish()
        values = bool(run.check())
    except (EngineError, KeyError):  # some faults leave tasks behind, or have no value to show
        values = True
    return any(race.rule not in ("life", "lane") for race in races(recording)), values


@pytest.mark.parametrize("name", FAULTS)
def test_planted_fault_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the happens-before check, in one of a few dozen programs."""
    monkeypatch.setattr(graphopt.engine.engine, "Scheduler", FAULTS[name])
    for seed in range(100):
        if caught(seed)[0]:
            return
    raise AssertionError(f"{name} is not found")


def test_there_are_many_faults() -> None:
    assert len(FAULTS) >= 20
