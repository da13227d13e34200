"""Who waits in vain is told, by name and line: deadlocks at once, timeouts and stalls in time."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Iterator

import pytest

from graphopt.engine import Completion, Engine, Task
from graphopt.engine.errors import (
    DeadlockError,
    StallError,
    StallWarning,
    TaskFailedError,
    TaskSkippedError,
    WaitTimeoutError,
)
from tests.engine.modes import MODES, Make, every_mode, next_line, nothing


@pytest.fixture(params=list(MODES.values()), ids=list(MODES))
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    """An engine of each mode; whatever was waited for, it must still work afterwards."""
    engine: Engine = request.param()
    yield engine
    assert engine.push(lambda: "alive").result(10) == "alive"
    engine.stop(abort=True)


# Waiting for what cannot come.


def test_waiting_for_what_needs_the_waiter(engine: Engine) -> None:
    """The error names the whole circle: the task that waits, and who comes after it."""
    x, y, z = (engine.new_variable(name) for name in "xyz")
    later: list[Task] = []

    def outer() -> None:
        later.append(engine.push(nothing, read=[x], mutate=[y], name="middle"))
        later.append(engine.push(nothing, read=[y], mutate=[z], name="last"))
        engine.wait(z)

    site = next_line()
    task = engine.push(outer, mutate=[x])
    with pytest.raises(TaskFailedError) as caught:
        task.result(10)
    cause = caught.value.__cause__
    assert isinstance(cause, DeadlockError) and cause.at == f"task 'outer' ({site})"
    circle = [f"task 'outer' ({site})", *(f"task '{t.name}' ({t.site})" for t in later)]
    assert cause.message.endswith(": " + " <- ".join(circle))
    with pytest.raises(TaskSkippedError, match="'middle'.*'outer'"):
        later[1].result(10)


def test_two_tasks_that_wait_for_each_other(engine: Engine) -> None:
    pair: list[Task] = []

    def outer() -> None:
        pair.append(engine.push(lambda: pair[1].result(), name="one"))
        pair.append(engine.push(lambda: pair[0].result(), name="two"))

    engine.push(outer).result(10)
    causes: list[BaseException | None] = []
    for task in pair:
        with pytest.raises(TaskFailedError) as caught:
            task.result(10)
        causes.append(caught.value.__cause__)
    (deadlock,) = [each for each in causes if isinstance(each, DeadlockError)]
    for task in pair:
        assert f"task '{task.name}' ({task.site})" in str(deadlock)


@pytest.mark.parametrize("what", ["wait_all", "stop", "own"])
def test_waiting_for_oneself(engine: Engine, what: str) -> None:
    mine: list[Task] = []

    def inner() -> None:
        {"wait_all": engine.wait_all, "stop": engine.stop, "own": lambda: mine[0].wait()}[what]()

    def outer() -> None:
        mine.append(engine.push(inner))

    engine.push(outer).result(10)
    with pytest.raises(TaskFailedError) as caught:
        mine[0].result(10)
    assert isinstance(caught.value.__cause__, DeadlockError)
    assert caught.value.__cause__.at == f"task 'inner' ({mine[0].site})"
    assert f"{__file__}:" in mine[0].site


# Waiting for too long.


def test_timeout(engine: Engine) -> None:
    if engine.mode == "serial":
        pytest.skip("the push waits for it")
    x, kept = engine.new_variable("x"), list[Completion]()
    site = next_line()
    task = engine.push_async(kept.append, mutate=[x], name="slow")

    def wait_for_variable(seconds: float) -> None:
        engine.wait(x, timeout=seconds)

    waits: list[Callable[[float], object]] = [task.result, task.wait, wait_for_variable]
    for wait in (*waits, engine.wait_all):
        with pytest.raises(WaitTimeoutError, match="0.02 s") as caught:
            wait(0.02)
        assert isinstance(caught.value, TimeoutError)
        assert f"task 'slow' ({site}) was not completed" in str(caught.value)
    kept[0](value=5)
    assert task.result(10) == 5


def test_timeout_inside_a_task(engine: Engine) -> None:
    if engine.mode == "serial":
        pytest.skip("the push waits for it")
    kept: list[Completion] = []
    slow = engine.push_async(kept.append, name="slow")
    task = engine.push(lambda: slow.wait(0.02))
    with pytest.raises(TaskFailedError) as caught:
        task.result(10)
    assert isinstance(caught.value.__cause__, WaitTimeoutError)
    kept[0]()
    slow.wait(10)


@every_mode
@pytest.mark.parametrize("raises", [False, True])
def test_stall_names_who_was_not_completed(make: Make, raises: bool) -> None:
    engine, kept = make(stall_after=0.05, stall_raises=raises), list[Completion]()
    x = engine.new_variable("x")
    timer = threading.Timer(0.3, lambda: kept[0]())
    timer.start()
    sites = list[str]()

    def provoke() -> None:
        sites.append(next_line())
        engine.push_async(kept.append, mutate=[x], name="silent")
        engine.wait(x, timeout=10)

    if raises:
        with pytest.raises(StallError, match="nothing finished in 0.05 s") as caught:
            provoke()
        text = str(caught.value)
    else:
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always", StallWarning)
            provoke()
        text = str(seen[0].message)
    assert f"task 'silent' ({sites[0]}) was not completed" in text
    timer.join()
    engine.stop()
