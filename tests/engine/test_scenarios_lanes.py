"""Lanes, priorities, bounds, and scopes."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from threading import Lock

import pytest

from graphopt.engine import Completion, Engine, Link, Scope, Task
from graphopt.engine.errors import EngineError, TaskCancelledError, TaskSkippedError
from graphopt.engine.recordings.check import races
from tests.engine.modes import MODES, Make, boom, every_mode, nothing, threads, until

# Priorities.


def test_priorities_on_one_worker() -> None:
    """Among the ready ones: the highest first, then the order in which they became ready."""
    with Engine(1) as engine:
        gate, order = threading.Event(), list[str]()
        engine.push(gate.wait)
        for name, priority in (("low", -1), ("a", 0), ("high", 5), ("b", 0), ("higher", 6)):
            engine.push(lambda name=name: order.append(name), priority=priority)  # type: ignore[misc]  # a default
        for name in ("high2", "high3"):
            engine.push(lambda name=name: order.append(name), priority=5)  # type: ignore[misc]  # a default
        gate.set()
        engine.wait_all()
        assert order == ["higher", "high", "high2", "high3", "a", "b", "low"]


@every_mode
def test_priority_does_not_overtake_what_it_needs(make: Make) -> None:
    """Inversion: the urgent task waits for the writer of low priority, and is not starved by it."""
    with make() as engine:
        x, order = engine.new_variable(), list[str]()
        engine.push(lambda: order.append("writer"), mutate=[x], priority=-100)
        urgent = engine.push(lambda: order.append("urgent"), mutate=[x], priority=100)
        for _ in range(50):
            engine.push(nothing, priority=50)
        urgent.wait(10)
        assert order == ["writer", "urgent"]


@every_mode
def test_cheap_tasks_run_in_order_too(make: Make) -> None:
    with make() as engine:
        x, order = engine.new_variable(), list[int]()
        for k in range(300):
            engine.push(lambda k=k: order.append(k), mutate=[x], cheap=k % 3 != 0)  # type: ignore[misc]  # a default
        engine.wait(x)
        assert order == list(range(300))
        assert engine.push(lambda: 5, cheap=True).result(10) == 5


def test_cancelled_cheap_task_gives_its_turn_to_nobody() -> None:
    """A simulated worker that is busy is not given another task for it."""
    with Engine(1, "sim") as engine, engine.record() as recording:
        engine.push(lambda: engine.push(nothing, cheap=True).cancel(), cost=1.0)
        engine.push(nothing, cost=1.0)
    assert races(recording) == []
    assert [(task.start, task.end) for task in recording][:2] == [(0.0, 1.0), (1.0, 2.0)]


@every_mode
def test_cheap_task_that_fails_or_pushes(make: Make) -> None:
    with make() as engine:
        x = engine.new_variable()
        engine.push(boom, mutate=[x], cheap=True)
        with pytest.raises(TaskSkippedError):
            engine.push(nothing, read=[x], cheap=True).result(10)
        inner = engine.push(lambda: engine.push(lambda: 7, cheap=True), cheap=True).result(10)
        assert inner.result(10) == 7
        with suppress(ExceptionGroup):
            engine.wait_all()


# Lanes.


def both_lanes() -> float:
    """Real seconds of 0.1 s in each of two lanes."""
    with Engine(1) as engine:
        x, y = engine.new_variable(), engine.new_variable()
        begun = time.perf_counter()
        for _ in range(5):
            engine.push(lambda: time.sleep(0.02), mutate=[x])
            engine.push(lambda: time.sleep(0.02), mutate=[y], kind="copy_in")
        engine.wait_all()
        return time.perf_counter() - begun


def test_copies_overlap_computations() -> None:
    """Less than the sum of both lanes, at the best of three times: the machine may be busy."""
    assert 0.1 <= min(both_lanes() for _ in range(3)) < 0.18


def pipeline(engine: Engine) -> float:
    """Copy in, compute, copy out, four times; returns the seconds of the engine's clock."""
    rate = Link(bandwidth=1e6, latency=0.001)
    engine.add_device("gpu:0", links={"copy_in": rate, "copy_out": rate}, paced=True)
    begun = engine.now
    for _ in range(4):
        x, y = engine.new_variable(), engine.new_variable()
        engine.push(nothing, overwrite=[x], kind="copy_in", device="gpu:0", nbytes=9_000)
        engine.push(nothing, read=[x], mutate=[y], device="gpu:0", cost=0.01)
        engine.push(nothing, read=[y], kind="copy_out", device="gpu:0", nbytes=9_000)
    engine.wait_all()
    return engine.now - begun


def test_virtual_device_takes_the_modelled_time() -> None:
    """10 ms a stage, four times: 60 ms, not 120; the same by the clock on the wall."""
    with Engine(1, "sim") as engine:
        assert pipeline(engine) == pytest.approx(0.06)
    seconds: list[float] = []
    for _ in range(3):
        with Engine(1) as engine:
            seconds.append(pipeline(engine))
    assert 0.06 <= min(seconds) < 0.115
    with Engine(1, "sim") as engine:
        engine.add_device("a", links={"copy_in": Link(1e3)})
        engine.push(nothing, kind="copy_in", device="a", nbytes=500).wait()
        assert engine.now == pytest.approx(0.5)


@pytest.mark.parametrize(("bandwidth", "latency"), [(0, 0), (-1, 0), (1, -1), (float("nan"), 0)])
def test_link_that_cannot_be(bandwidth: float, latency: float) -> None:
    with pytest.raises(EngineError, match="a link needs"):
        Link(bandwidth, latency)


@threads
def test_blocking_input_does_not_hold_up_computations(make: Make) -> None:
    with make() as engine:
        gate = threading.Event()
        waiting = [engine.push(gate.wait, kind="io") for _ in range(4)]
        assert engine.push(lambda: 1).result(10) == 1
        assert not any(task.done for task in waiting)
        gate.set()


# Bounds.


@threads
def test_max_pending_bounds_the_backlog(make: Make) -> None:
    with make(max_pending=32) as engine:
        x, highest = engine.new_variable(), 0
        for _ in range(3000):
            engine.push(nothing, mutate=[x])
            highest = max(highest, engine.pending)
        assert highest <= 33


@threads
def test_task_that_pushes_is_never_held_up(make: Make) -> None:
    """Else it would wait for itself."""
    with make(max_pending=4) as engine:
        x, ran = engine.new_variable(), list[int]()

        def outer() -> None:
            for k in range(100):
                engine.push(lambda k=k: ran.append(k), mutate=[x])  # type: ignore[misc]  # a default

        engine.push(outer).wait(10)
        engine.wait_all()
        assert ran == list(range(100))


@threads
def test_max_bytes_bounds_what_tasks_hold(make: Make) -> None:
    held, highest, lock = 0, 0, Lock()
    with make(max_bytes=1000) as engine:

        def let_go() -> None:
            nonlocal held
            with lock:
                held -= 300

        for _ in range(200):
            task = engine.push(let_go, nbytes=300)
            with lock:
                held += 300
                highest = max(highest, held)
            del task
        engine.wait_all()
        assert held == 0 and highest <= 1000
        assert engine.push(lambda: 1, nbytes=5000).result(10) == 1  # alone, it may be larger


@threads
def test_finalizer_pushes_within_the_scheduler(make: Make) -> None:
    """What a task held is freed by a worker, in the midst of its work, and pushes itself."""
    freed: list[int] = []
    with make(max_pending=8) as engine:

        class Held:
            def __init__(self) -> None:
                self.variable = engine.new_variable()

            def __del__(self) -> None:
                engine.delete(self.variable, lambda: freed.append(1))

        x = engine.new_variable()
        for _ in range(300):
            engine.push(lambda held=Held(): None, mutate=[x])  # type: ignore[misc]  # noqa: B008
        engine.wait_all()
        gc.collect()
        engine.push(nothing).wait()
        engine.wait_all()
        until(lambda: len(freed) == 300)


# Scopes.


@every_mode
def test_scope_waits_for_its_tasks(make: Make) -> None:
    with make() as engine:
        ran: list[int] = []
        with engine.scope() as scope:
            for k in range(10):
                engine.push(lambda k=k: ran.append(k), scope=scope)  # type: ignore[misc]  # a default
        assert sorted(ran) == list(range(10)) and not scope.cancelled


def filled(engine: Engine, scope: Scope, ran: list[str]) -> list[Task]:
    """Some tasks in a scope, pushed before any of them can run."""
    x, tasks = engine.new_variable("x"), list[Task]()

    def outer() -> None:
        gate = threading.Event()
        if engine.mode == "threads":
            engine.push(lambda: gate.wait(10), mutate=[x])
        else:
            engine.push(nothing, mutate=[x])
        tasks.append(engine.push(lambda: ran.append("plain"), mutate=[x], scope=scope))
        tasks.append(engine.push(lambda: ran.append("always"), [x], scope=scope, always=True))
        scope.cancel()
        tasks.append(engine.push(lambda: ran.append("late"), scope=scope))
        gate.set()

    engine.push(outer).wait(10)
    return tasks


@every_mode
def test_cancelled_scope(make: Make) -> None:
    """What has not started is skipped, and what comes later; what runs always does so."""
    with make() as engine:
        ran: list[str] = []
        with engine.scope() as scope:
            plain, always, late = filled(engine, scope, ran)
        assert scope.cancelled and ran == ["always"]
        for task in (plain, late):
            with pytest.raises(TaskCancelledError, match="scope was cancelled"):
                task.result(10)
        always.wait(10)
        engine.wait_all()


@every_mode
def test_exception_that_leaves_a_scope_cancels_it(make: Make) -> None:
    with make() as engine:
        scope, kept = engine.scope(), list[Task]()

        def leave() -> None:
            with scope:
                kept.append(engine.push(nothing, scope=scope))
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            leave()
        assert scope.cancelled and kept[0].done
        with pytest.raises(TaskCancelledError):
            engine.push(nothing, scope=scope).result(10)


@pytest.mark.parametrize("make", [MODES["threads1"], MODES["sim"], MODES["sim7"]])
def test_cancelled_scope_gives_up_what_is_outstanding(make: Make) -> None:
    with make() as engine:
        kept: list[Completion] = []
        with engine.scope() as scope:
            task = engine.push_async(kept.append, scope=scope)
            if engine.mode == "threads":
                until(lambda: kept)
            scope.cancel()
        with pytest.raises(TaskCancelledError):
            task.result(10)
        for completion in kept:
            completion()


# The end of a lane's work.


@threads
def test_cheap_task_after_a_task_that_waited(make: Make) -> None:
    """The worker that ends because another stood in for it leaves nothing behind."""
    with make() as engine:
        x = engine.new_variable()

        def outer() -> None:
            engine.push(nothing).wait()
            time.sleep(0.02)

        engine.push(outer, mutate=[x])
        assert engine.push(lambda: 3, mutate=[x], cheap=True).result(10) == 3


@threads
def test_completion_while_the_engine_stops(make: Make) -> None:
    """A completion, as a deletion, may come at any moment of a stop; nobody is harmed."""
    problems: list[BaseException] = []
    for k in range(60):
        engine, kept = make(), list[Completion]()
        delete = partial(engine.delete, engine.new_variable())
        for _ in range(5):
            engine.push_async(kept.append)
        until(lambda kept=kept: len(kept) == 5)  # type: ignore[misc]  # a default

        def complete(kept: list[Completion] = kept, delete: Callable[[], Task] = delete) -> None:
            try:
                for completion in kept:
                    completion()
                delete()
            except BaseException as error:
                problems.append(error)

        late = threading.Timer(k * 2e-5, complete)
        late.start()
        engine.stop(abort=True)
        late.join()
    assert problems == []
