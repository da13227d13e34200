"""Devices: where operations run, and what is copied when."""

from __future__ import annotations

from typing import Any

import pytest

from graphopt.engine import Engine, Link
from graphopt.engine.arrays import Arrays
from graphopt.engine.errors import EngineError


def increment(source: Any, target: Any) -> None:
    """The target is the source plus one."""
    target[...] = source + 1


def test_copies_are_made_once_until_the_original_changes(engine: Engine) -> None:
    arrays = Arrays(engine)
    with engine.record() as recording:
        w = arrays.ones(4)
        with arrays.device("cpu:1"):
            x = arrays.zeros(4)
            for _ in range(3):
                x = x + w
        w += 1
        x = x + w
        assert x.device == "cpu:1"
        assert x.to("cpu:0").device == "cpu:0"
        assert x.tolist() == [5, 5, 5, 5]
    copies = [task for task in recording if task.name == "copy to cpu:1"]
    assert [(task.lane, task.nbytes) for task in copies] == [("cpu:1/copy_in", 32)] * 2
    assert [task.lane for task in recording if task.name == "copy to cpu:0"] == ["cpu:1/copy_out"]


def test_a_pushed_function_gets_copies_on_its_device(engine: Engine) -> None:
    arrays = Arrays(engine)
    a, b = arrays.ones(3), arrays.zeros(3)
    far = b.to("cpu:1")
    arrays.push(increment, [a], [far], device="cpu:1")
    assert far.tolist() == [2, 2, 2]
    with pytest.raises(EngineError, match="cannot write on cpu:1 what is on cpu:0"):
        arrays.push(increment, [], [b], device="cpu:1")
    with pytest.raises(EngineError, match="no device"):
        a.to("cpu:7")


def test_a_link_takes_its_time_on_the_virtual_clock() -> None:
    with Engine(mode="sim") as engine:
        engine.add_device("gpu", links={"copy_in": Link(1000.0, 1.0)})
        Arrays(engine).zeros(125).to("gpu").wait_to_read()
        assert engine.now == pytest.approx(2.0)
