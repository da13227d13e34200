"""Programs: lanes on real threads, errors in any step, and what a step costs."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graphopt.engine.plan import Buffer, PlanError, Program, Step, StepGraph, load_plan, make_plan
from graphopt.engine.plan.store import dump_plan
from graphopt.errors import ExecutionError
from tests.engine.plan.stepping import FORCED, Memory, expected, run_threads, step_graphs


def slow(call: Callable[[], None], seconds: float) -> Callable[[], None]:
    """A call that takes some time in which other threads run."""

    def run() -> None:
        time.sleep(seconds)
        call()

    return run


def bound(
    graph: StepGraph, lanes: int, broken: tuple[int, ...] = ()
) -> tuple[Program, Memory, list[bool]]:
    """A program over a real arena in which some steps fail while the flag is up."""
    plan = load_plan(dump_plan(make_plan(graph, lanes, FORCED)))
    memory, flag = Memory(graph, plan), [True]

    def failing(step: Step) -> Callable[[], None]:
        call = memory.call(step)

        def run() -> None:
            if flag[0]:
                raise ValueError(f"{step.name} is broken")
            call()

        return run

    calls = {
        step.name: failing(step)
        if index in broken
        else slow(memory.call(step), 2e-5 * (index * 7 % 3))
        for index, step in enumerate(graph.steps)
    }
    return Program(plan, calls), memory, flag


@given(step_graphs(), st.sampled_from((1, 2, 4)))
@settings(max_examples=60)
def test_lanes_do_what_program_order_does(graph: StepGraph, lanes: int) -> None:
    program, memory, _ = bound(graph, lanes)
    fresh, once = expected(graph), memory.outcome()
    program.run()
    assert memory.outcome() == fresh
    for again in range(3):  # runs follow one another without rearming
        for name, content in once.items():
            memory.view[name][:] = content
        assert run_threads(program) == [], again
        assert memory.outcome() == fresh


def kept(program: Program) -> BaseException | None:
    """The failure of a run, which type checkers believe never to change."""
    return program.failure


@given(step_graphs(), st.sampled_from((1, 2, 4)), st.data())
@settings(max_examples=60)
def test_error_stops_all_lanes_and_is_named(
    graph: StepGraph, lanes: int, data: st.DataObject
) -> None:
    if not graph.steps:
        return
    broken = data.draw(st.sets(st.integers(0, len(graph.steps) - 1), min_size=1, max_size=3))
    program, memory, flag = bound(graph, lanes, tuple(broken))
    once = memory.outcome()
    names = {graph.steps[index].name for index in broken}
    with pytest.raises(ExecutionError) as caught:
        program.run()
    assert caught.value.at in names
    raised = run_threads(program)
    failed = [error.at for error in raised if isinstance(error, ExecutionError)]
    assert len(failed) == len(raised) >= 1
    assert set(failed) <= names
    order = {step.name: index for index, step in enumerate(graph.steps)}
    first = min(failed, key=order.__getitem__)
    assert str(kept(program)) == f"{first}: ValueError: {first} is broken"
    flag[0] = False
    program.rearm()
    for name, content in once.items():
        memory.view[name][:] = content
    assert run_threads(program) == []
    assert kept(program) is None
    assert memory.outcome() == expected(graph)


def meeting(first: Callable[[], object], second: Callable[[], object]) -> Program:
    """Two lanes, each of whose steps waits for the other's first."""
    names = ["a", "b", "c", "d"]
    steps = [
        Step("a", first, write=("a",), cost=1e-3),
        Step("b", second, write=("b",), cost=1e-3),
        Step("c", lambda: None, read=("a", "b"), write=("c",), cost=1e-3),
        Step("d", lambda: None, read=("a", "b"), write=("d",), cost=1e-3),
    ]
    graph = StepGraph([Buffer(name, 8) for name in names], steps)
    program = Program(make_plan(graph, 2), read=["r"], mutate=["m"])
    assert (program.lanes, program.read, program.mutate) == (2, ("r",), ("m",))
    return program


def test_error_that_comes_first_in_program_order_is_kept() -> None:
    both = threading.Barrier(2)

    def fail() -> None:
        both.wait()
        raise ValueError("broken")

    program = meeting(fail, fail)
    for _ in range(50):
        assert len(run_threads(program)) == 2
        assert str(program.failure) == "a: ValueError: broken"
        program.rearm()


def test_interrupt_stops_all_lanes_and_keeps_its_type() -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    program = meeting(interrupted, lambda: time.sleep(1e-3))
    raised = run_threads(program)
    assert [type(error) for error in raised] == [KeyboardInterrupt]
    assert program.failure is raised[0]


def test_step_that_is_not_bound_is_refused() -> None:
    plan = load_plan(dump_plan(make_plan(StepGraph([], [Step("s")]))))
    with pytest.raises(PlanError, match="s: there is nothing to call for this step"):
        Program(plan)
    seen: list[int] = []
    Program(plan, {"s": lambda: seen.append(1)}).run()
    assert seen == [1]


def nothing() -> None:
    """A step that takes no time."""


def chains(count: int, length: int) -> StepGraph:
    """Chains of steps that do nothing, said to be long enough for a lane each."""
    names = [[f"{chain}.{link}" for link in range(length)] for chain in range(count)]
    steps = [
        Step(name, nothing, mutate=(names[chain][0],), cost=1e-3)
        if link
        else Step(name, nothing, write=(name,), cost=1e-3)
        for chain in range(count)
        for link, name in enumerate(names[chain])
    ]
    return StepGraph([Buffer(chain[0], 8) for chain in names], steps)


@pytest.mark.parametrize("lanes", [1, 2])
def test_step_costs_no_more_than_a_bare_call(lanes: int) -> None:
    program = Program(make_plan(chains(2, 5000), lanes, FORCED))
    assert program.lanes == lanes
    calls = [nothing] * 10_000
    ratios: list[float] = []
    for _ in range(15):
        started = time.thread_time_ns()
        for call in calls:
            call()
        bare = time.thread_time_ns() - started
        started = time.thread_time_ns()
        for lane in range(lanes):  # without a sync, lanes may also run in turn
            program.run_lane(lane)
        ratios.append((time.thread_time_ns() - started) / bare)
    assert not program.plan.syncs
    assert statistics.median(ratios) < 1.5
