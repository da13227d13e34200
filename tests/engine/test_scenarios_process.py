"""Forks and the end of the interpreter, each in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
ENGINES = ["Engine(1)", "Engine(2)", "Engine(2, 'serial')", "Engine(2, 'sim')"]
forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")


def python(script: str, seconds: float = 30.0) -> tuple[str, str]:
    """What a script prints, and its errors; it must end well, and in time."""
    text = "from graphopt.engine import Engine\nimport os, sys, threading, time\n"
    text += textwrap.dedent(script)
    warned = ["-W", "always", "-W", "ignore:This process:DeprecationWarning"]  # of any fork
    command = [sys.executable, "-X", "faulthandler", *warned, "-c", text]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=seconds, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


AFTER_FORK = """
    def go_on(who):
        engine.wait(x, timeout=10)
        assert cells == list(range(300)), (who, len(cells))
        more = [engine.push(lambda k=k: cells.append(k), mutate=[x]) for k in range(300, 400)]
        engine.wait_all(timeout=10)
        assert cells == list(range(400)), who
        engine.stop()
"""


@forks
@pytest.mark.parametrize(
    "engine", ["Engine(1)", "Engine(2)", "Engine(2, 'serial')", "Engine(2, 'sim')"]
)
def test_both_sides_of_a_fork_go_on(engine: str) -> None:
    """In the midst of pending work; the child has its own workers, and ends well."""
    head = f"engine = {engine}\nx, cells = engine.new_variable('x'), []\n"
    body = """
    for k in range(300):
        engine.push(lambda k=k: cells.append(k) or time.sleep(0.0002), mutate=[x])
    child = os.fork()
    go_on("child" if child == 0 else "parent")
    if child == 0:
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    print("well")
    """
    out, errors = python(head + textwrap.dedent(AFTER_FORK) + textwrap.dedent(body))
    assert out == "well\n" and errors == ""


@forks
def test_what_others_ran_fails_in_the_child() -> None:
    """A task that does not end while the fork waits, and one that the network is to complete."""
    out, _ = python("""
    from graphopt.engine import threads
    from graphopt.engine.errors import ForkedError, TaskFailedError, TaskSkippedError
    threads.FORK_PATIENCE = 0.05
    engine = Engine(2)
    x, y = engine.new_variable("x"), engine.new_variable("y")
    gate, kept = threading.Event(), []
    slow = engine.push(lambda: gate.wait(20), mutate=[x], name="slow")
    receive = engine.push_async(kept.append, mutate=[y], name="receive")
    reader = engine.push(int, read=[x, y])
    while not kept or not engine.pending:
        time.sleep(0.001)
    child = os.fork()
    if child == 0:
        for task in (slow, receive):
            try:
                task.result(10)
            except TaskFailedError as error:
                assert type(error.__cause__) is ForkedError, error
                assert task.name in str(error) and task.site in str(error)
        try:
            reader.result(10)
        except TaskSkippedError:
            pass
        assert engine.push(lambda: 4, overwrite=[x]).result(10) == 4
        engine.stop()
        os._exit(0)
    gate.set()
    kept[0](value=6)
    assert slow.result(10) is True and receive.result(10) == 6 and reader.result(10) == 0
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    engine.stop()
    print("well")
    """)
    assert out == "well\n"


@forks
def test_fork_inside_a_task() -> None:
    """The child is the task; what it pushes there runs, and it can wait for it."""
    out, _ = python("""
    engine = Engine(1)
    def task():
        child = os.fork()
        if child == 0:
            good = engine.push(lambda: 5).result(10) == 5
            os._exit(0 if good else 1)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert engine.push(task).result(20) == 0
    assert engine.push(lambda: 6).result(10) == 6
    engine.stop()
    print("well")
    """)
    assert out == "well\n"


@pytest.mark.parametrize(
    "engine", ["Engine(1)", "Engine(2)", "Engine(2, 'sim')", "Engine(2, 'sim', seed=1)"]
)
def test_the_interpreter_finishes_what_is_pending(engine: str) -> None:
    head = f"engine = {engine}\n"
    body = """
    x = engine.new_variable()
    for k in range(100):
        engine.push(lambda k=k: time.sleep(0.0003) or print(k), mutate=[x])
    """
    out, errors = python(head + textwrap.dedent(body))
    assert out.split() == [str(k) for k in range(100)] and errors == ""


def test_failure_nobody_waited_for_does_not_disturb_the_end() -> None:
    out, errors = python("""
    engine = Engine(2)
    engine.push(lambda: 1 // 0)
    print("well")
    """)
    assert out == "well\n" and "Traceback" not in errors


@pytest.mark.parametrize("engine", ["Engine(2)", "Engine(1, stall_raises=True, stall_after=0.05)"])
def test_the_interpreter_ends_though_something_is_never_completed(engine: str) -> None:
    """It says what it leaves behind."""
    head = (
        f"from graphopt.engine import lifetime\nlifetime.EXIT_PATIENCE = 0.2\nengine = {engine}\n"
    )
    body = """
    kept = []
    engine.push_async(kept.append, name="receive")
    print("well")
    """
    out, errors = python(head + textwrap.dedent(body), seconds=10)
    assert out == "well\n"
    assert "StallWarning" in errors and "task 'receive' (<string>:" in errors
    assert "Traceback" not in errors


def test_task_that_blocks_does_not_keep_the_interpreter() -> None:
    out, errors = python(
        """
    from graphopt.engine import lifetime
    lifetime.EXIT_PATIENCE = 0.2
    engine = Engine(1)
    engine.push(threading.Event().wait, name="blocked")
    print("well")
    """,
        seconds=10,
    )
    assert out == "well\n" and "task 'blocked' (<string>:" in errors


def test_engine_in_a_cycle_at_the_end() -> None:
    """Finalizers that push while the interpreter goes down."""
    out, errors = python("""
    class Array:
        def __init__(self, engine):
            self.engine, self.variable, self.me = engine, engine.new_variable(), self
        def __del__(self):
            self.engine.delete(self.variable)
    engine = Engine(2)
    kept = [Array(engine) for _ in range(50)]
    engine.push(int, mutate=[kept[0].variable])
    print("well")
    """)
    assert out == "well\n" and errors == ""


@forks
def test_fork_with_plans_under_way() -> None:
    """Of a plan that runs, the child has no half; those that wait run there as well."""
    out, _ = python("""
    from graphopt.engine.errors import TaskFailedError
    from graphopt.engine import threads
    threads.FORK_PATIENCE = 0.05
    class Plan:
        lanes, failure = 2, None
        def __init__(self, gate):
            self.gate, self.ran = gate, []
        def run(self):
            self.ran.append("in order")
        def run_lane(self, lane):
            self.gate.wait(20)
            self.ran.append(lane)
        def rearm(self):
            pass
    engine = Engine(2)
    gate, x = threading.Event(), engine.new_variable()
    first, second = Plan(gate), Plan(threading.Event())
    second.gate.set()
    one = engine.push_plan(first, mutate=[x])
    two = engine.push_plan(second, overwrite=[x])
    time.sleep(0.05)
    child = os.fork()
    if child == 0:
        try:
            one.result(10)
        except TaskFailedError as error:
            assert "parent" in str(error), error
        else:
            assert False, "it cannot have run here"
        two.result(10)
        assert sorted(second.ran) == [0, 1] and engine.push(lambda: 3).result(10) == 3
        engine.stop()
        os._exit(0)
    gate.set()
    one.result(10), two.result(10)
    assert sorted(first.ran) == sorted(second.ran) == [0, 1]
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    print("well")
    """)
    assert out == "well\n"
