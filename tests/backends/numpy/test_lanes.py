"""Plans as they run: memory reused, lanes that agree bit by bit, failures that leave no trace."""

# pyright: reportPrivateUsage=false

from __future__ import annotations

import gc
import signal
import time
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Event, current_thread, main_thread
from typing import Any

import numpy as np
import pytest

import graphopt
from graphopt.backends.executable import Executable
from graphopt.backends.numpy import ways
from graphopt.engine.plan import check_plan
from graphopt.errors import ExecutionError
from graphopt.graph import Graph
from graphopt.ir import Node
from graphopt.op import Array, Xp, op
from graphopt.ops.arithmetic import add, div, mul
from graphopt.ops.functions import exp, neg, sqrt
from graphopt.ops.indexing import gather
from graphopt.ops.linalg import matmul
from graphopt.structural import graph_input
from graphopt.types import Type
from tests.backends.numpy.programs import (
    lanes_of,
    poison,
    program_of,
    recorded,
    watched_arenas,
    with_lanes,
)
from tests.ops.harness import tensor

LINE = 64
"""What buffers in an arena are rounded up to."""
A = graph_input("a", tensor("float32", 8, 8))
INTS = graph_input("i", tensor("int32", 16))
ACTIONS: dict[str, Callable[[], object]] = {}
"""What the op below does when it runs."""


@op("Act", domain="test")
def act(xp: Xp, x: Array, *, name: str) -> Array:
    """x, after an action of the test's."""
    if type(x) is not np.ndarray:
        x.tolist()  # asks for what is not known: it is run as a whole
    ACTIONS[name]()
    return x


@act.infer
def _(x: Node, *, name: str) -> Type:
    return x.derived_type


def graph(inputs: tuple[Node, ...], *outputs: Node) -> Graph:
    return Graph(inputs, outputs, tuple(f"y{k}" for k in range(len(outputs))))


def branches(count: int = 4, length: int = 5) -> Graph:
    """Chains side by side that meet in the end; and one that is an output of its own."""
    ends: list[Node] = []
    for k in range(count):
        x = A if k % 2 else matmul(A, A)
        for _ in range(length):
            x = sqrt(mul(add(x, A), x))
        ends.append(x)
    whole = ends[0]
    for end in ends[1:]:
        whole = add(whole, neg(end))
    return graph((A,), whole, ends[-1])


VALUES = np.random.default_rng(0).uniform(0.1, 1.0, (8, 8)).astype(np.float32)


# Memory.


def test_a_chain_needs_one_buffer() -> None:
    program = recorded(lambda x: np.sqrt(np.exp(np.tanh(x * 2) + 1)) * 3, (np.ones(1000),))
    assert 8000 <= program.plan.arena < 8000 + LINE


def test_disjoint_lifetimes_share_memory() -> None:
    def func(x: Any) -> Any:
        for _ in range(20):
            x = np.flip(x * 2).sum(axis=0) + x[0] - x
        return x

    program = recorded(func, (np.ones((10, 100)),))
    total = sum(buffer.nbytes for buffer in program.plan.plan.graph.buffers)
    assert program.plan.arena <= 3 * (8000 + LINE) < total / 5


def test_results_that_are_still_needed_are_not_overwritten() -> None:
    program = recorded(lambda x: [y := x * 2, np.exp(y) + y][1], (np.ones(8),))
    np.testing.assert_array_equal(program(np.ones(8))[0], np.exp(2 * np.ones(8)) + 2)


def test_no_step_reads_what_it_did_not_write() -> None:
    with watched_arenas() as arenas:
        run = graphopt.compile(branches(), threads=1)
        first = run(VALUES)
        assert arenas and arenas[0].bytes.size
        for _ in range(3):
            poison(arenas)
            for one, other in zip(run(VALUES), first, strict=True):
                np.testing.assert_array_equal(one, other)
        assert np.isfinite(first[0]).all()


def test_dead_code_is_dropped() -> None:
    program = recorded(lambda x: [np.exp(x), np.sort(x), x * 2, x + 1][-1], (np.ones(4),))
    assert len(program.recording.calls) == 1


def test_inputs_are_not_kept_alive() -> None:
    run = graphopt.compile(branches(), threads=2)
    with_lanes(program_of(run), 2)
    values = VALUES.copy()
    run(values)
    gone = weakref.ref(values)
    del values
    gc.collect()
    assert gone() is None


# Lanes.


def laned(made: Graph, lanes: int) -> Executable:
    run = graphopt.compile(made, threads=lanes)
    program = with_lanes(program_of(run), lanes)
    assert 1 < lanes_of(program) <= lanes
    return run


@pytest.mark.parametrize("lanes", [2, 4])
def test_lanes_agree_with_one_bit_by_bit(lanes: int) -> None:
    wanted = [item.tobytes() for item in graphopt.compile(branches(), threads=1)(VALUES)]
    with watched_arenas() as arenas:
        run = laned(branches(), lanes)
        for _ in range(100):
            assert [item.tobytes() for item in run(VALUES)] == wanted
            poison(arenas)
        check_plan(program_of(run).plan.plan)


@pytest.mark.parametrize("lanes", [1, 2, 4])
def test_calls_from_four_threads(lanes: int) -> None:
    serial = graphopt.compile(branches(), threads=1)
    run = laned(branches(), lanes) if lanes > 1 else graphopt.compile(branches(), threads=1)
    start = Barrier(4)

    def work(seed: int) -> bool:
        values = VALUES * np.float32(seed + 1)
        wanted = [item.tobytes() for item in serial(values)]
        start.wait()
        return all([item.tobytes() for item in run(values)] == wanted for _ in range(30))

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(work, range(4)))


def test_more_threads_than_processors_while_it_is_tuned(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first calls measure; those that come at once with the last of them are right, too."""
    monkeypatch.setattr(ways, "WORTH", 0.0)
    monkeypatch.setattr("graphopt.backends.numpy.program.WORTH", 0.0)
    wanted = [item.tobytes() for item in graphopt.compile(branches(), threads=1)(VALUES)]
    for _ in range(5):
        run = graphopt.compile(branches(), threads=2)
        program = program_of(run)
        start = Barrier(4)

        def work(_: int, run: Executable = run, start: Barrier = start) -> bool:
            start.wait()
            return all([item.tobytes() for item in run(VALUES)] == wanted for _ in range(20))

        with ThreadPoolExecutor(4) as pool:
            assert all(pool.map(work, range(4)))
        assert program._race is None


# Failures.


@pytest.mark.parametrize("lanes", [1, 2])
def test_division_by_zero_in_a_lane(lanes: int) -> None:
    failing = div(INTS, neg(INTS))
    made = graph((INTS,), add(failing, mul(INTS, INTS)), neg(mul(INTS, add(INTS, INTS))))
    run = laned(made, 2) if lanes > 1 else graphopt.compile(made, threads=1)
    ones = np.ones(16, np.int32)
    for _ in range(5):
        with pytest.raises(ExecutionError, match="ZeroDivisionError") as caught:
            run(ones * 0)
        assert caught.value.at == failing.label
        np.testing.assert_array_equal(run(ones), [ones * 0, ones * -2])


@pytest.mark.parametrize("lanes", [1, 2])
def test_index_out_of_range_in_a_lane(lanes: int) -> None:
    at = graph_input("at", tensor("int64", 80))
    found = gather(exp(A), at)
    made = graph((A, at), neg(found), sqrt(add(A, A)), neg(add(at, at)))
    run = laned(made, 2) if lanes > 1 else graphopt.compile(made, threads=1)
    for _ in range(5):
        with pytest.raises(ExecutionError, match=r"IndexError.*axis 0") as caught:
            run(VALUES, np.full(80, 8))
        assert caught.value.at == found.label
        assert run(VALUES, np.full(80, -8))[0].shape == (80, 8)


@pytest.mark.parametrize("lanes", [1, 2])
def test_an_interrupt_leaves_it_usable(lanes: int) -> None:
    """KeyboardInterrupt comes out as it is; what runs on beside the next call does no harm."""
    begun, released = Event(), Event()

    def pause() -> None:
        if begun.is_set():
            return
        begun.set()
        if current_thread() is main_thread():
            signal.raise_signal(signal.SIGINT)
        released.wait(0.3)

    ACTIONS["pause"] = pause
    side = exp(add(exp(A), A))
    made = graph((A,), add(neg(act(neg(A), name="pause")), side), sqrt(add(A, A)), neg(side))
    run = laned(made, 2) if lanes > 1 else graphopt.compile(made, threads=1)
    signal.signal(signal.SIGALRM, _interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.1)
    try:
        with pytest.raises(KeyboardInterrupt):
            _again_and_again(run)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
    serial = graphopt.compile(made, threads=1)(VALUES)
    for _ in range(20):
        for one, other in zip(run(VALUES), serial, strict=True):
            np.testing.assert_array_equal(one, other)
    released.set()


def _again_and_again(run: Executable) -> None:
    for _ in range(1000):
        run(VALUES * 5)
        time.sleep(0.001)


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


# Printing.


def test_plan_prints_steps_memory_and_lanes() -> None:
    run = laned(branches(), 2)
    text = str(run.plan)
    plan = run.plan.plan
    assert f"{len(plan.graph.steps)} steps on 2 lanes, BLAS on 1" in text
    assert f"arena {plan.arena} bytes, {len(plan.syncs)} syncs" in text
    for step in plan.graph.steps:
        assert step.name in text
    for buffer in plan.graph.buffers:
        (line,) = [row for row in text.splitlines() if row.startswith(f"{buffer.name} ")]
        fields = line.split()
        offset = plan.layout.offset.get(buffer.name)
        wanted = [buffer.name, str(buffer.nbytes), *([] if offset is None else [str(offset)])]
        assert fields == [*wanted, buffer.kind]
