"""Nothing of a task that is over is kept, and finalizers may push from anywhere."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Callable

import pytest

from graphopt.engine import Engine
from tests.engine.modes import MODES, Make, boom, every_mode, nothing, threads, until


@threads
def test_handle_that_a_waiter_drops(make: Make) -> None:
    """Where MXNet uses an op after it was freed."""
    with make() as engine:
        for _ in range(500):
            task = engine.push(nothing)
            task.wait(10)
            del task
        x = engine.new_variable("x")
        dropped = [weakref.ref(engine.push(nothing, mutate=[x])) for _ in range(500)]
        engine.wait(x)
        engine.wait_all()
        until(lambda: gc.collect() >= 0 and sum(each() is not None for each in dropped) <= 2)


class Array:
    """Something whose variable is deleted when it goes."""

    def __init__(self, engine: Engine, freed: list[int]) -> None:
        self.engine, self.freed = engine, freed
        self.variable = engine.new_variable()
        self.circle = self  # so that only the garbage collector frees it

    def __del__(self) -> None:
        freed = self.freed
        self.engine.delete(self.variable, lambda: freed.append(1))


@every_mode
def test_finalizers_that_push(make: Make) -> None:
    """Where a lock in `push` deadlocks with itself: the collector runs in the midst of anything."""
    freed: list[int] = []
    before = gc.get_threshold()
    with make() as engine:
        gc.set_threshold(5)
        try:
            array = Array(engine, freed)
            for _ in range(999):
                array = Array(engine, freed)
                engine.push(nothing, mutate=[array.variable])
                engine.push(nothing, read=[array.variable])
            engine.wait_all()
        finally:
            gc.set_threshold(*before)
        del array
        gc.collect()
        engine.wait_all()
        assert len(freed) == 1000


@pytest.mark.parametrize("make", [MODES["threads2"], MODES["sim"]], ids=["threads2", "sim"])
def test_readers_of_one_weight_then_a_writer(make: Make) -> None:
    with make(max_pending=1 << 30) as engine:
        x, gate, count = engine.new_variable("x"), threading.Event(), 100_000
        first = [engine.push(gate.wait, mutate=[x])] if engine.mode == "threads" else []
        push, reads = engine.push, (x,)
        for _ in range(count):
            push(nothing, reads)
        seen = engine.push(lambda: "writer", mutate=[x])
        gate.set()
        assert seen.result(60) == "writer"
        assert all(task.done for task in first) and x.version == 1 + len(first)
        assert len(x.readers) <= 16


@pytest.mark.parametrize("make", [MODES["threads1"], MODES["threads2"]], ids=["1", "2"])
def test_long_chain_without_recursion(make: Make) -> None:
    """It hangs together when the first task lets go, and costs nothing when it is over."""
    with make(max_pending=1 << 30) as engine:
        x, gate, count = engine.new_variable("x"), threading.Event(), 200_000
        engine.push(gate.wait, mutate=[x])
        push, mutates = engine.push, (x,)
        last = weakref.ref(push(nothing, (), mutates))
        for _ in range(count):
            push(nothing, (), mutates)
        gate.set()
        engine.wait(x, timeout=60)
        assert x.version == count + 2 and engine.pending == 0
        until(lambda: last() is None)


@every_mode
def test_poison_that_spreads_far_costs_nothing(make: Make) -> None:
    with make() as engine:
        x = engine.new_variable("x")
        engine.push(boom, mutate=[x])
        spread = [weakref.ref(engine.push(nothing, mutate=[x])) for _ in range(2000)]
        with pytest.raises(ExceptionGroup):
            engine.wait_all()
        until(lambda: gc.collect() >= 0 and sum(each() is not None for each in spread) <= 16)
        sums = [weakref.ref(engine.push(lambda: bytes(9), accumulate=[x])) for _ in range(500)]
        engine.push(nothing, overwrite=[x])
        sums += [weakref.ref(engine.push(lambda: bytes(9), accumulate=[x])) for _ in range(500)]
        engine.wait_all()
        until(lambda: gc.collect() >= 0 and sum(each() is not None for each in sums) <= 16)


class Large:
    """Stands for a large array; only a weak reference tells whether it lives."""


@every_mode
def test_large_closures_go_when_their_task_has_run(make: Make) -> None:
    with make() as engine:
        x = engine.new_variable("x")
        seen: list[int] = []
        held: list[weakref.ref[Large]] = []

        def task(large: Large) -> Callable[[], None]:
            return lambda: seen.append(id(large))

        for _ in range(10):
            large = Large()
            held.append(weakref.ref(large))
            handle = engine.push(task(large), mutate=[x])
            del large
            handle.wait(10)
        engine.push(nothing).wait(10)
        engine.wait_all()
        until(lambda: sum(each() is not None for each in held) <= 1)
        assert len(seen) == 10


@every_mode
def test_deleting_a_poisoned_variable_frees_it(make: Make) -> None:
    """Where MXNet leaks: 60 deletions of 4 MB each left 242 MB behind."""
    with make() as engine:
        held: list[weakref.ref[Large]] = []
        for _ in range(20):
            large: list[Large] = [Large()]
            held.append(weakref.ref(large[0]))
            x = engine.new_variable()
            engine.push(boom, mutate=[x])
            engine.delete(x, large.clear)
        with pytest.raises(ExceptionGroup, match="20 tasks"):
            engine.wait_all()
        assert all(each() is None for each in held)
