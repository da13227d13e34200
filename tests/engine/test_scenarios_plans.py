"""Plans as tasks: their lanes run at once, among eager tasks and beside one another."""

from __future__ import annotations

import time
from threading import Lock

import pytest

from graphopt.engine import Engine
from tests.engine.modes import MODES, Make, nothing

with_seed = pytest.mark.parametrize("make", [MODES["threads1"], MODES["sim7"], MODES["serial"]])


class Meeting:
    """A plan of two lanes that meet twice, so that neither ends without the other."""

    lanes = 2
    failure: BaseException | None = None

    def __init__(self, log: list[str], name: str) -> None:
        self.log, self.name = log, name
        self.locks = [Lock(), Lock()]
        for lock in self.locks:
            lock.acquire()

    def run(self) -> None:
        """In order."""
        self.log.append(f"{self.name} in order")

    def rearm(self) -> None:
        """Nothing was left behind."""

    def run_lane(self, lane: int) -> None:
        """Release one lock, wait for the other."""
        self.locks[lane].release()
        self.locks[1 - lane].acquire()
        self.log.append(f"{self.name}.{lane}")


def test_plans_among_eager_tasks_do_not_block_each_other() -> None:
    with Engine(2) as engine:
        log: list[str] = []
        x = engine.new_variable()
        arenas = [engine.new_variable(), engine.new_variable()]
        for k in range(100):
            engine.push_plan(
                Meeting(log, f"p{k}"), read=[x], mutate=[arenas[k % 2]], priority=k % 3
            )
            engine.push(nothing, priority=k % 4)
            engine.push(lambda: time.sleep(0.0001), mutate=[x] if k % 7 == 0 else [])
        engine.wait_all(timeout=20)
        assert len(log) == 200 and len(set(log)) == 200


def test_plans_beside_tasks_that_wait() -> None:
    with Engine(2) as engine:
        log: list[str] = []

        def outer(k: int) -> None:
            engine.push_plan(Meeting(log, f"q{k}")).result()

        tasks = [engine.push(lambda k=k: outer(k)) for k in range(30)]  # type: ignore[misc]  # a default
        for task in tasks:
            task.result(20)
        assert len(log) == 60


@pytest.mark.parametrize("make", [MODES["threads1"], MODES["serial"], MODES["sim"], MODES["sim7"]])
def test_plan_runs_in_order_where_there_is_one_worker(make: Make) -> None:
    with make() as engine:
        log: list[str] = []
        engine.push_plan(Meeting(log, "p"), name="plan").result(10)
        assert log == ["p in order"]


@with_seed
def test_plan_is_ordered_like_any_task(make: Make) -> None:
    with make() as engine:
        x, log = engine.new_variable(), list[str]()
        engine.push(lambda: log.append("before"), mutate=[x])
        plan = engine.push_plan(Meeting(log, "p"), mutate=[x])
        engine.push(lambda: log.append("after"), mutate=[x])
        engine.wait(x)
        assert log == ["before", "p in order", "after"] and plan.done
