"""Whatever a program does wrong has an error type of its own, a place, and an end."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from graphopt.engine import Completion, Engine
from graphopt.engine.errors import (
    DoubleCompletionError,
    DoubleDeleteError,
    EngineError,
    EngineStoppedError,
    ForeignVariableError,
    MissingCompletionError,
    TaskCancelledError,
    TaskFailedError,
    UseAfterDeleteError,
)
from tests.engine.modes import MODES, Make, boom, every_mode, next_line, nothing, threads, until


@pytest.fixture(params=list(MODES.values()), ids=list(MODES))
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    """An engine of each mode; whatever happened, it must still work at the end of the test."""
    engine: Engine = request.param()
    yield engine
    assert engine.push(lambda: "alive").result(10) == "alive"
    engine.stop(abort=True)


ACCESSES = ("read", "mutate", "overwrite", "accumulate")


def push_with(engine: Engine, access: str, variables: Any) -> None:
    """Push something that accesses some variables; `push_site` is where."""
    engine.push(nothing, **{access: variables})


def push_site() -> str:
    """The line of `push_with` that pushes."""
    return f"{__file__}:{push_with.__code__.co_firstlineno + 2}"


# Variables.


def test_deleted_variable_cannot_be_used(engine: Engine) -> None:
    x = engine.new_variable("x")
    engine.delete(x)
    assert x.deleted
    for access in ACCESSES:
        with pytest.raises(UseAfterDeleteError, match=r"Variable\('x'\) was deleted") as caught:
            push_with(engine, access, [x])
        assert caught.value.at == f"task 'nothing' ({push_site()})"
    with pytest.raises(UseAfterDeleteError, match="x"):
        engine.wait(x)


def test_double_deletion(engine: Engine) -> None:
    x, freed = engine.new_variable("x"), list[int]()
    engine.delete(x, lambda: freed.append(1))
    with pytest.raises(DoubleDeleteError, match="x"):
        engine.delete(x, lambda: freed.append(2))
    engine.wait_all()
    assert freed == [1]


@pytest.mark.usefixtures("fast_switches")
@threads
def test_raced_double_deletion_frees_once(make: Make) -> None:
    """One of two threads is told, at its push or by its handle."""
    with make() as engine:
        variables = [engine.new_variable(f"x{k}") for k in range(200)]
        freed: list[list[int]] = [[] for _ in variables]
        refused: list[list[EngineError]] = [[] for _ in variables]

        def delete_all(who: int) -> None:
            for k, variable in enumerate(variables):
                try:
                    engine.delete(variable, lambda k=k: freed[k].append(who)).result(10)  # type: ignore[misc]  # a default
                except UseAfterDeleteError as error:
                    refused[k].append(error)

        pair = [threading.Thread(target=delete_all, args=(who,)) for who in range(2)]
        for each in pair:
            each.start()
        for each in pair:
            each.join()
        assert all(len(each) == 1 for each in freed)
        assert all(len(each) == 1 for each in refused)


def test_foreign_variable(engine: Engine) -> None:
    with Engine(1) as other:
        x = other.new_variable("x")
        for access in ACCESSES:
            with pytest.raises(ForeignVariableError, match="'x'.* another engine") as caught:
                push_with(engine, access, [x])
            assert caught.value.at == f"task 'nothing' ({push_site()})"
        with pytest.raises(ForeignVariableError, match="'x'.* another engine"):
            engine.wait(x)
        with pytest.raises(ForeignVariableError, match="'x'.* another engine"):
            engine.delete(x)
        assert not x.deleted


@pytest.mark.parametrize("thing", ["x", None, 3, boom], ids=["str", "None", "int", "function"])
def test_what_is_no_variable(engine: Engine, thing: Any) -> None:
    for access in ACCESSES:
        with pytest.raises(ForeignVariableError, match="is no variable") as caught:
            push_with(engine, access, (thing,))
        assert caught.value.at == f"task 'nothing' ({push_site()})"
    with pytest.raises(ForeignVariableError, match="no variable"):
        engine.wait(thing)
    with pytest.raises(ForeignVariableError, match="no variable"):
        engine.delete(thing)


def test_variable_not_in_a_sequence(engine: Engine) -> None:
    x: Any = engine.new_variable("weights")
    for access in ACCESSES:
        with pytest.raises(EngineError, match=r"in a sequence, \[weights\]"):
            push_with(engine, access, x)


# Options.


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"prio": 1}, "prio"),
        ({"lane": 1}, "lane"),
        ({"asynchronous": True}, "asynchronous"),
        ({"kind": "gpu"}, "gpu.*compute, copy_in"),
        ({"kind": []}, "kind|lane"),
        ({"device": "gpu:1"}, "gpu:1.*cpu:0"),
        ({"device": []}, "device"),
        ({"priority": "high"}, "priority.*high"),
        ({"nbytes": "many"}, "nbytes.*many"),
        ({"nbytes": -1}, "nbytes.*-1"),
        ({"cost": "much"}, "cost.*much"),
        ({"scope": "mine"}, "scope.*mine"),
    ],
    ids=str,
)
def test_bad_options(engine: Engine, options: dict[str, Any], text: str) -> None:
    def start(done: Completion) -> None:
        done()

    with pytest.raises(EngineError, match=text):
        engine.push(nothing, **options)
    with pytest.raises(EngineError, match=text):
        engine.push_async(start, **options)


def test_scope_of_another_engine(engine: Engine) -> None:
    with Engine(1) as other, other.scope() as scope, pytest.raises(EngineError, match="scope"):
        engine.push(nothing, scope=scope)


@pytest.mark.parametrize(
    "bad", [{"workers": 0}, {"max_pending": 0}, {"mode": "turbo"}, {"seed": 1}]
)
def test_engine_that_cannot_be(bad: dict[str, Any]) -> None:
    with pytest.raises(EngineError):
        Engine(**bad)


def test_device_that_cannot_be(engine: Engine) -> None:
    with pytest.raises(EngineError, match="cpu:0"):
        engine.add_device("cpu:0")
    with pytest.raises(EngineError, match="0 workers"):
        engine.add_device("gpu:0", compute=0)


# Completions.


def test_double_completion(engine: Engine) -> None:
    kept: list[Completion] = []

    def start(done: Completion) -> None:
        kept.append(done)
        done(value=1)

    site = next_line()
    task = engine.push_async(start)
    assert task.result(10) == 1
    with pytest.raises(DoubleCompletionError) as caught:
        kept[0](value=2)
    assert str(caught.value) == f"task 'start' ({site}): was completed twice"
    assert task.result(10) == 1


def test_missing_completion(engine: Engine) -> None:
    x = engine.new_variable("x")

    def start(done: Completion) -> None:
        """Drops it."""

    site = next_line()
    task = engine.push_async(start, mutate=[x])
    for _ in range(2):
        with pytest.raises(TaskFailedError, match="dropped") as caught:
            engine.wait(x, timeout=10)
        assert f"task 'start' ({site}): raised" in str(caught.value)
        assert isinstance(caught.value.__cause__, MissingCompletionError)
        assert f"task 'start' ({site})" in str(caught.value.__cause__)
    assert task.done


@every_mode
def test_completion_after_abort(make: Make) -> None:
    """It comes too late, and nobody minds."""
    if make is MODES["serial"]:
        pytest.skip("the push waits for it")
    engine, kept = make(), list[Completion]()
    task = engine.push_async(kept.append)
    if engine.mode == "threads":
        until(lambda: kept)
    engine.stop(abort=True)
    with pytest.raises(TaskCancelledError, match="stopped") as caught:
        task.result(10)
    assert "append" in str(caught.value) and f"{__file__}:" in str(caught.value)
    for completion in kept:
        completion()
        with pytest.raises(DoubleCompletionError):
            completion()


# The end.


@every_mode
@pytest.mark.parametrize("abort", [False, True])
def test_nothing_after_stop(make: Make, abort: bool) -> None:
    engine = make()
    x, y = engine.new_variable("x"), engine.new_variable("y")
    task = engine.push(lambda: 3, mutate=[x])
    engine.wait(x)
    engine.stop(abort=abort)
    engine.stop()
    with pytest.raises(EngineStoppedError, match="stopped"):
        engine.push(nothing, mutate=[x])
    with pytest.raises(EngineStoppedError):
        engine.push_async(nothing)  # type: ignore[arg-type]
    waits: list[Callable[[], None]] = [
        engine.wait_all,
        lambda: engine.wait(y),
        lambda: engine.wait(x),
    ]
    for wait in waits:
        with pytest.raises(EngineStoppedError):
            wait()
    assert task.result() == 3
    freed: list[int] = []
    engine.delete(x, lambda: freed.append(1))
    assert freed == [1]


@threads
def test_push_while_it_stops(make: Make) -> None:
    """Somebody who pushes while `stop` waits is refused, not forgotten."""
    engine, refused = make(), list[BaseException]()
    going, go = threading.Event(), threading.Event()

    def blocks() -> None:
        going.set()
        go.wait(10)

    engine.push(blocks)
    going.wait(10)
    stopping = threading.Thread(target=engine.stop)
    stopping.start()

    def push() -> None:
        try:
            while True:
                engine.push(nothing)
        except EngineStoppedError as error:
            refused.append(error)

    pusher = threading.Thread(target=push, daemon=True)
    pusher.start()
    pusher.join(1)
    go.set()
    stopping.join(10)
    pusher.join(10)
    assert not stopping.is_alive() and not pusher.is_alive() and len(refused) == 1


# Completions, options and plans that cannot be.


def test_error_of_a_completion_that_is_no_exception(engine: Engine) -> None:
    """It is refused, and the task can still be completed."""
    refused: list[EngineError] = []

    def start(done: Completion) -> None:
        try:
            done("oops")  # type: ignore[arg-type]
        except EngineError as error:
            refused.append(error)
            done(value=4)

    site = next_line()
    assert engine.push_async(start).result(10) == 4
    assert "'oops'" in str(refused[0]) and f"task 'start' ({site})" in str(refused[0])


def test_options_of_another_engine(engine: Engine) -> None:
    with Engine(1) as other:
        how = other.how(priority=1)
        with pytest.raises(EngineError):
            engine.push(nothing, how=how)


class NoPlan:
    """A plan whose number of lanes is none."""

    lanes = "two"
    failure = None

    def run(self) -> None:
        """In order."""

    def run_lane(self, lane: int) -> None:
        """One lane."""

    def rearm(self) -> None:
        """Again."""


def test_what_is_no_plan(engine: Engine) -> None:
    for thing in (3, nothing, NoPlan()):
        with pytest.raises(EngineError, match="plan"):
            engine.push_plan(thing)  # type: ignore[arg-type]
