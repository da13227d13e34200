"""What other engines hang, crash or leak at: fixed programs, most of them in every mode."""

from __future__ import annotations

import gc
import random
import sys
import threading
import time
from collections.abc import Callable

import pytest

from graphopt.engine import Completion, Engine, Task, Variable
from graphopt.engine.errors import (
    EngineStoppedError,
    TaskCancelledError,
    TaskFailedError,
    WaitTimeoutError,
)
from tests.engine.modes import MODES, Make, boom, every_mode, nothing, threads, until


@pytest.fixture
def workers() -> Callable[[], int]:
    """How many threads there are that were not there when the test began."""
    before = set(threading.enumerate())
    return lambda: len(set(threading.enumerate()) - before)


# Pushers.


@pytest.mark.usefixtures("fast_switches")
@threads
def test_two_pushers_over_eight_variables(make: Make) -> None:
    """Where MXNet hangs in 3 of 3 runs: each variable's tasks are counted, and never overlap."""
    with make(max_pending=512) as engine:
        variables = [engine.new_variable(f"x{k}") for k in range(8)]
        counts, busy = [0] * 8, [0] * 8

        def push_many(seed: int) -> None:
            dice = random.Random(seed)
            for _ in range(3000):
                chosen = dice.sample(range(8), dice.randrange(1, 4))

                def run(chosen: list[int] = chosen) -> None:
                    for k in chosen:
                        busy[k] += 1
                        assert busy[k] == 1
                        counts[k] += 1
                    for k in chosen:
                        busy[k] -= 1

                engine.push(run, mutate=[variables[k] for k in chosen])

        pushers = [threading.Thread(target=push_many, args=(seed,)) for seed in range(2)]
        for each in pushers:
            each.start()
        for each in pushers:
            each.join()
        engine.wait_all()
        assert sum(counts) == sum(variable.version for variable in variables) >= 6000


# Asynchronous tasks: see also test_bad_input (twice, never) and test_failures.


@every_mode
def test_completion_before_the_function_returns(make: Make) -> None:
    with make() as engine:
        x, order = engine.new_variable("x"), list[str]()

        def start(done: Completion) -> None:
            order.append("started")
            done(value="early")
            assert done.called

        task = engine.push_async(start, mutate=[x])
        engine.push(lambda: order.append("reader"), read=[x])
        assert task.result(10) == "early"
        engine.wait_all()
        assert order == ["started", "reader"]


@every_mode
def test_completion_from_another_thread(make: Make) -> None:
    """What needs it waits; what does not goes on."""
    with make() as engine:
        x, box = engine.new_variable("x"), list[str]()

        def start(done: Completion) -> None:
            def finish() -> None:
                box.append("received")
                done()

            threading.Timer(0.02, finish).start()

        engine.push_async(start, overwrite=[x])
        assert engine.push(lambda: list(box), read=[x]).result(10) == ["received"]


@threads
def test_stop_with_one_that_never_completes(make: Make, workers: Callable[[], int]) -> None:
    engine, kept = make(), list[Completion]()
    task = engine.push_async(kept.append)
    until(lambda: kept)
    engine.stop(abort=True)
    with pytest.raises(TaskCancelledError):
        task.result()
    kept[0]()
    assert workers() == 0


# Waiting inside of tasks.


@every_mode
def test_wait_in_a_task(make: Make) -> None:
    with make() as engine:
        x = engine.new_variable("x")

        def outer() -> int:
            inner = engine.push(lambda: 20, mutate=[x])
            engine.wait(x)
            return int(inner.result()) + 1

        assert engine.push(outer).result(10) == 21


@pytest.mark.parametrize("make", [MODES["threads1"], MODES["sim"], MODES["sim7"]])
def test_waits_many_levels_deep(make: Make, workers: Callable[[], int]) -> None:
    with make() as engine:

        def level(left: int) -> int:
            return 0 if not left else 1 + engine.push(lambda: level(left - 1)).result()

        assert level(60) == 60
        assert engine.push(lambda: level(60)).result(20) == 60
        assert engine.push(lambda: 1).result(10) == 1
        if engine.mode == "threads":
            until(lambda: workers() == 2)  # those that stood in are gone


# Beginning and end.


@threads
def test_start_and_stop_many_times(make: Make, workers: Callable[[], int]) -> None:
    for k in range(150):
        engine = make()
        task = engine.push(lambda: 1) if k % 3 else None
        engine.stop(abort=k % 2 == 0)
        assert task is None or task.done
    assert workers() == 0


@threads
def test_engine_dropped_without_stop(make: Make, workers: Callable[[], int]) -> None:
    """What is pending is done; then its threads end."""
    engine, ran = make(), list[int]()
    x = engine.new_variable()
    for k in range(20):
        engine.push(lambda k=k: ran.append(k), mutate=[x])  # type: ignore[misc]  # a default
    del engine
    gc.collect()
    until(lambda: len(ran) == 20)
    until(lambda: workers() == 0)


def test_dropped_sim_engine_leaves_no_thread(workers: Callable[[], int]) -> None:
    def program() -> None:
        engine = Engine(1, "sim")
        engine.push(lambda: engine.push(nothing).wait()).wait()

    program()
    gc.collect()
    until(lambda: workers() == 0)


@threads
def test_pusher_blocked_by_the_bound_then_stop(make: Make) -> None:
    engine, gate, told = make(max_pending=4), threading.Event(), list[BaseException]()
    x, pushed = engine.new_variable(), list[Task]()
    engine.push(gate.wait, mutate=[x])

    def pusher() -> None:
        try:
            for _ in range(100):
                pushed.append(engine.push(nothing, mutate=[x]))
        except EngineStoppedError as error:
            told.append(error)

    blocked = threading.Thread(target=pusher, daemon=True)
    blocked.start()
    until(lambda: len(pushed) >= 3)
    time.sleep(0.01)
    assert len(pushed) < 8
    stopping = threading.Thread(target=engine.stop, daemon=True)
    stopping.start()
    time.sleep(0.01)
    gate.set()
    blocked.join(10)
    stopping.join(10)
    assert not blocked.is_alive() and not stopping.is_alive() and len(told) == 1
    assert all(task.done for task in pushed)


# One order for all.


def drawn(make: Make) -> list[float]:
    """What tasks draw from one generator, which each of them mutates."""
    with make() as engine:
        generator, dice = engine.new_variable("generator"), random.Random(5)
        cells = [engine.new_variable() for _ in range(8)]
        found = [0.0] * 200

        def draw(k: int) -> None:
            found[k] = dice.random()

        for k in range(200):
            engine.push(lambda k=k: draw(k), [cells[k % 8]], [generator], priority=k % 5)  # type: ignore[misc]  # a default
            engine.push(lambda: sys.getswitchinterval(), mutate=[cells[k % 7]])
    return found


def test_random_stream_is_the_same_for_any_engine() -> None:
    dice = random.Random(5)
    serial = [dice.random() for _ in range(200)]
    for make in (*MODES.values(), lambda: Engine(4)):
        assert drawn(make) == serial


@pytest.mark.usefixtures("fast_switches")
def test_allreduce_is_called_in_one_order_on_all_ranks() -> None:
    """However differently their gradients become ready."""
    calls: list[list[int]] = [[], []]
    dice = random.Random(3)
    with Engine(2) as one, Engine(2) as two:
        for rank, engine in enumerate((one, two)):
            comm = engine.new_variable("comm")
            gradients: list[Variable] = [engine.new_variable(f"g{k}") for k in range(30)]
            for gradient in gradients:
                seconds = dice.random() * 0.001
                engine.push(lambda s=seconds: time.sleep(s), mutate=[gradient])  # type: ignore[misc]  # a default
            for k, gradient in enumerate(gradients):

                def reduce(k: int = k, rank: int = rank) -> None:
                    calls[rank].append(k)

                engine.push(reduce, read=[gradient], mutate=[comm], kind="comm", priority=-k)
    assert calls == [list(range(30))] * 2


@every_mode
def test_failure_stays_where_it_is(make: Make) -> None:
    """A task that mutates nothing fails; its successors in order do not care."""
    with make() as engine:
        x = engine.new_variable()
        failed = engine.push(boom, read=[x])
        assert engine.push(lambda: 3, mutate=[x]).result(10) == 3
        with pytest.raises(TaskFailedError):
            failed.result(10)
        with pytest.raises(ExceptionGroup):
            engine.wait_all()


# Several threads, each of which pushes and waits.


@every_mode
def test_threads_that_push_and_wait(make: Make) -> None:
    with make() as engine:
        x, counts = engine.new_variable(), [0]

        def add() -> None:
            counts[0] += 1

        def many() -> None:
            for _ in range(30):
                engine.push(add, mutate=[x])
                engine.wait(x)

        others = [threading.Thread(target=many, daemon=True) for _ in range(3)]
        for each in others:
            each.start()
        for each in others:
            each.join(20)
        engine.wait_all(20)
        assert counts == [90]


@every_mode
def test_network_thread_that_pushes_and_waits_before_it_completes(make: Make) -> None:
    with make() as engine:
        x = engine.new_variable()

        def start(done: Completion) -> None:
            def receive() -> None:
                engine.push(nothing, mutate=[x]).wait(10)
                done(value="received")

            threading.Thread(target=receive, daemon=True).start()

        assert engine.push_async(start).result(20) == "received"


@every_mode
def test_accumulations_of_several_variables_do_not_block_each_other(make: Make) -> None:
    """Each needs two of three sums for itself while it runs."""
    with make() as engine:
        variables, sums = [engine.new_variable(f"s{k}") for k in range(3)], [0] * 3
        dice = random.Random(1)
        for _ in range(300):
            pair = dice.sample(range(3), 2)

            def add(pair: list[int] = pair) -> None:
                for k in pair:
                    sums[k] += 1

            engine.push(add, accumulate=[variables[k] for k in pair], priority=dice.randrange(3))
        engine.wait(*variables, timeout=20)
        assert sum(sums) == 600


@pytest.mark.parametrize("make", [MODES["threads1"], MODES["threads2"], MODES["sim"]])
def test_many_timeouts_inside_a_task_cost_nothing(make: Make, workers: Callable[[], int]) -> None:
    """A thread stands in for each wait, and goes again."""
    with make() as engine:
        kept: list[Completion] = []
        never = engine.push_async(kept.append)

        def outer() -> int:
            late = 0
            for _ in range(50):
                try:
                    never.wait(0.0005)
                except WaitTimeoutError:
                    late += 1
            return late

        assert engine.push(outer).result(20) == 50
        engine.push(nothing).wait()
        until(lambda: workers() <= 3)
        kept[0]()
