"""A slice of each soak test, and that it notices what it is there to notice."""

from __future__ import annotations

import os
from random import Random

import pytest

from graphopt.engine import Engine
from tools import soak
from tools.soak_programs import Cells, Later, SoakError, small_program


@pytest.mark.skipif(not hasattr(os, "fork"), reason="it needs signals to threads, and forks")
@pytest.mark.parametrize(("what", "count"), [("interrupts", 15), ("forks", 10)])
@pytest.mark.parametrize("how", [[], ["--plain"]], ids=["accelerated", "plain"])
def test_slice(what: str, count: int, how: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    assert soak.main([what, "--count", str(count), *how]) == 0, capfd.readouterr().err
    out = capfd.readouterr().out
    assert f"{what}: passed: " in out


def test_load_for_two_seconds(capsys: pytest.CaptureFixture[str]) -> None:
    assert soak.main(["load", "--minutes", str(2 / 60)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1].startswith("load: passed: it grew by ") and "programs" in lines[-2]


def test_lost_task_is_noticed() -> None:
    """A result that is not the serial program's, a deletion that frees nothing."""
    with Engine(2) as engine:
        cells = Cells(engine, Random(1), Later())
        for _ in range(100):
            cells.step()
        cells.settle()
        small_program(engine)
        cells.asynchronous(3)  # it has a value now, whatever was poisoned
        engine.wait(cells.variables[3])
        cells.boxes[3][0] += 1
        with pytest.raises(SoakError, match="cell 3 is"):
            cells.settle()
        lost = engine.new_variable("lost")
        engine.delete(lost)
        cells.doomed.append((lost, []))
        with pytest.raises(SoakError, match="freed 0 times"):
            cells.settle()


def test_rounds_that_go_wrong_are_counted(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Process:
        """A child that has a good and a bad round, then dies."""

        stdout = ("interrupted\n", "wrong\n")
        returncode = -6

        def __init__(self, *_: object, **__: object) -> None:
            """Nothing starts."""

        def __enter__(self) -> Process:
            return self

        def __exit__(self, *_: object) -> None:
            """Nothing ends."""

        def send_signal(self, signal: int) -> None:
            """Nobody is there."""

    monkeypatch.setattr("tools.soak.subprocess.Popen", Process)
    assert soak.main(["interrupts", "--count", "3"]) == 1
    assert capsys.readouterr().out.startswith("interrupts: FAILED: 1 hang, 1 interrupted, 1 wrong")


def test_growth_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = iter(range(100, 100_000, 50))
    monkeypatch.setattr(soak, "memory", lambda: float(next(sizes)))
    assert soak.main(["load", "--minutes", "0.01"]) == 1
