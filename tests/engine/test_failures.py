"""A failure reaches all who need what it did not write, as often as they ask, and nobody else."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import suppress
from threading import Lock

import pytest

from graphopt.engine import Completion, Engine, Task
from graphopt.engine.errors import TaskCancelledError, TaskFailedError, TaskSkippedError
from tests.engine.modes import MODES, boom, next_line, nothing


@pytest.fixture(params=list(MODES.values()), ids=list(MODES))
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    """An engine of each mode; whatever failed, it must still work at the end of the test."""
    engine: Engine = request.param()
    yield engine
    assert engine.push(lambda: "alive").result(10) == "alive"
    engine.stop(abort=True)


def test_failing_task(engine: Engine) -> None:
    """Its handle, its variable and the reports name it; the cause is what it raised."""
    x = engine.new_variable("x")
    site = next_line()
    task = engine.push(boom, mutate=[x])
    for wait in (task.result, lambda: engine.wait(x), lambda: engine.wait(task)):
        with pytest.raises(TaskFailedError, match="raised ValueError: boom") as caught:
            wait()
        assert caught.value.at == f"task 'boom' ({site})"
        assert isinstance(caught.value.__cause__, ValueError)
        assert "boom" in str(caught.value.__cause__.__traceback__.tb_next.tb_frame)  # type: ignore[union-attr]
    task.wait()
    assert task.done


def test_each_reader_is_told_every_time(engine: Engine) -> None:
    x, y, z = (engine.new_variable(name) for name in "xyz")
    first = engine.push(boom, mutate=[x])
    sites = [next_line()]
    second = engine.push(nothing, read=[x], mutate=[y], name="second")
    sites.append(next_line())
    third = engine.push(nothing, read=[y], mutate=[z], name="third")
    for _ in range(3):
        for task, variable, site in ((second, y, sites[0]), (third, z, sites[1])):
            with pytest.raises(TaskSkippedError, match="did not run") as caught:
                task.result(10)
            assert caught.value.at == f"task '{task.name}' ({site})"
            assert f"'boom' ({first.site})" in str(caught.value)
            assert isinstance(caught.value.__cause__, ValueError)
            with pytest.raises(TaskSkippedError) as other:
                engine.wait(variable)
            assert other.value is not caught.value  # each has its own, with its own traceback
            assert "'second'" in str(caught.value)  # the chain, where it is not the task itself


def test_both_outputs_of_a_failed_task_read_twice(engine: Engine) -> None:
    """Where MXNet hands uninitialised memory to the second reader."""
    x, y = engine.new_variable("x"), engine.new_variable("y")
    engine.push(boom, mutate=[x], overwrite=[y])
    ran: list[str] = []
    for variable in (x, y):
        for _ in range(2):
            with pytest.raises(TaskFailedError, match="boom"):
                engine.wait(variable)
            with pytest.raises(TaskSkippedError):
                engine.push(lambda: ran.append("read"), read=[variable]).result(10)
    assert ran == []
    assert (x.version, x.valid_version, y.version, y.valid_version) == (1, 0, 1, 0)


def test_failed_then_overwritten_then_two_readers(engine: Engine) -> None:
    """Where MXNet drops the overwrite and returns old data."""
    x, cell = engine.new_variable("x"), ["old"]
    failed = engine.push(boom, mutate=[x])
    between = engine.push(lambda: cell[0], read=[x])
    engine.push(lambda: cell.__setitem__(0, "new"), overwrite=[x])
    readers = [engine.push(lambda: cell[0], read=[x]) for _ in range(2)]
    assert [each.result(10) for each in readers] == ["new", "new"]
    engine.wait(x)
    assert (x.version, x.valid_version) == (2, 2)
    for task in (failed, between):
        with pytest.raises(TaskFailedError):
            task.result()


def test_independent_work_goes_on(engine: Engine) -> None:
    x, y = engine.new_variable("x"), engine.new_variable("y")
    engine.push(nothing, read=[y])
    engine.push(boom, read=[y], mutate=[x])
    assert engine.push(lambda: 1, mutate=[y]).result(10) == 1  # after it in order, not in need
    engine.wait(y)


def test_failure_of_a_task_that_mutates_nothing(engine: Engine) -> None:
    """Where MXNet loses it."""
    x = engine.new_variable("x")
    site = next_line()
    task = engine.push(boom, read=[x])
    engine.wait(x)
    with pytest.raises(ExceptionGroup) as caught:
        engine.wait_all()
    (error,) = caught.value.exceptions
    assert isinstance(error, TaskFailedError) and error.at == f"task 'boom' ({site})"
    engine.wait_all()  # it was reported
    with pytest.raises(TaskFailedError):
        task.result()


def test_wait_all_reports_what_failed_and_not_what_was_skipped(engine: Engine) -> None:
    x, y = engine.new_variable("x"), engine.new_variable("y")
    engine.push(boom, mutate=[x])
    engine.push(nothing, read=[x], mutate=[y])
    engine.push(lambda: 1 // 0, mutate=[y], name="divide").cancel()
    engine.push(lambda: 1 // 0, overwrite=[y], name="divides")
    with pytest.raises(ExceptionGroup, match=r"2 tasks failed|3 tasks failed") as caught:
        engine.wait_all()
    texts = [str(each) for each in caught.value.exceptions]
    assert any("'boom'" in text for text in texts) and any("'divides'" in text for text in texts)
    causes = {type(each.__cause__) for each in caught.value.exceptions}
    assert causes == {ValueError, ZeroDivisionError}
    engine.wait_all()


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_exit_raised_by_a_task(engine: Engine, kind: type[BaseException]) -> None:
    """It goes to who waits, as it is; no worker dies of it."""
    x = engine.new_variable("x")

    def leave() -> None:
        raise kind("enough")

    def push_and_wait() -> None:
        engine.push(leave, mutate=[x])
        engine.wait(x)

    with pytest.raises(kind, match="enough"):
        push_and_wait()
    with pytest.raises(kind, match="enough"):
        engine.wait(x)
    with suppress(kind):
        engine.wait_all()
    with pytest.raises(TaskSkippedError):
        engine.push(nothing, read=[x]).result(10)
    assert [engine.push(lambda k=k: k).result(10) for k in range(5)] == list(range(5))  # type: ignore[misc]  # a default


class Lanes:
    """A plan of two lanes that meet, of which one fails."""

    lanes = 2
    failure: BaseException | None = None

    def __init__(self) -> None:
        self.meet = Lock()
        self.meet.acquire()

    def run(self) -> None:
        """In order."""
        boom()

    def rearm(self) -> None:
        """Nothing was left behind."""

    def run_lane(self, lane: int) -> None:
        """The second lane waits for the first."""
        if lane == 1:
            self.meet.acquire()
            return
        try:
            boom()
        finally:
            self.meet.release()


def test_failing_plan_lane(engine: Engine) -> None:
    x, y = engine.new_variable("x"), engine.new_variable("y")
    site = next_line()
    task = engine.push_plan(Lanes(), read=[x], mutate=[y], name="plan")
    reader = engine.push(nothing, read=[y])
    for wait in (lambda: task.result(10), lambda: engine.wait(y)):
        with pytest.raises(TaskFailedError, match="raised ValueError: boom") as caught:
            wait()
        assert caught.value.at == f"task 'plan' ({site})"
    with pytest.raises(TaskSkippedError, match="'plan'"):
        reader.result(10)
    engine.push(nothing, overwrite=[y])
    engine.wait(y)


def test_failing_asynchronous_tasks(engine: Engine) -> None:
    """By its completion, by raising before it, and by raising after it, which is too late."""
    x = engine.new_variable("x")

    def completes_with_error(done: Completion) -> None:
        done(ValueError("boom"))

    def raises_before(done: Completion) -> None:
        raise ValueError("boom")

    def raises_after(done: Completion) -> None:
        done(value="well")
        raise ValueError("boom")

    for start in (completes_with_error, raises_before):
        site = next_line()
        task = engine.push_async(start, overwrite=[x])
        with pytest.raises(TaskFailedError, match="raised ValueError: boom") as caught:
            engine.wait(x)
        assert caught.value.at == f"task '{start.__name__}' ({site})"
        assert task.done
    assert engine.push_async(raises_after, overwrite=[x]).result(10) == "well"
    engine.wait(x)


def test_accumulations_fail_alone(engine: Engine) -> None:
    """The others still run; the sum is poisoned until it is overwritten."""
    x, ran = engine.new_variable("x"), list[int]()
    for k in range(3):
        engine.push(boom if k == 1 else lambda k=k: ran.append(k), accumulate=[x])  # type: ignore[misc]  # a default
    with pytest.raises(TaskFailedError, match="'boom'"):
        engine.wait(x)
    assert sorted(ran) == [0, 2]
    with pytest.raises(TaskSkippedError):
        engine.push(nothing, accumulate=[x]).result(10)
    assert engine.push(lambda: 5, overwrite=[x]).result(10) == 5
    engine.push(lambda: ran.append(3), accumulate=[x])
    engine.wait(x)
    assert ran[-1] == 3


def test_what_always_runs_does_so_though_poisoned(engine: Engine) -> None:
    x, ran = engine.new_variable("x"), list[str]()
    engine.push(boom, mutate=[x])
    task = engine.push(lambda: ran.append("always"), mutate=[x], always=True)
    task.wait(10)
    assert ran == ["always"]
    with pytest.raises(TaskFailedError):
        engine.push(nothing, read=[x]).result(10)
    engine.delete(x, lambda: ran.append("freed")).wait(10)
    assert ran == ["always", "freed"]


def test_cancelled_task(engine: Engine) -> None:
    """Its handle says so; who needs it is skipped; the message has its line."""
    x = engine.new_variable("x")
    tasks: list[Task] = []

    def outer() -> None:
        tasks.append(engine.push(nothing, mutate=[x], name="victim"))
        tasks.append(engine.push(nothing, read=[x], name="reader"))
        tasks[0].cancel()

    engine.push(outer, mutate=[x]).result(10)
    engine.wait_all()
    with pytest.raises(TaskCancelledError, match="cancelled") as caught:
        tasks[0].result(10)
    assert caught.value.at == f"task 'victim' ({tasks[0].site})"
    with pytest.raises((TaskSkippedError, TaskCancelledError)):
        tasks[1].result(10)
    with pytest.raises((TaskSkippedError, TaskCancelledError)):
        engine.wait(x)
    assert sys.exc_info() == (None, None, None)
