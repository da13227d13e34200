"""The tool that runs every model on the backends: it agrees where it should, and finds a fault."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
from onnx import TensorProto, helper

from graphopt.backends.numpy import operators
from tools import models, zoo_backends

Feeds = dict[str, Any]


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A model of three branches, in place of a development model."""
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 70, 70])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 70, 70])
    nodes = [
        helper.make_node("MatMul", ["x", "x"], ["a"]),
        helper.make_node("Relu", ["x"], ["b"]),
        helper.make_node("Sigmoid", ["x"], ["c"]),
        helper.make_node("Sum", ["a", "b", "c"], ["y"]),
    ]
    model = helper.make_model(
        helper.make_graph(nodes, "small", [x], [y]), opset_imports=[helper.make_opsetid("", 17)]
    )
    model.ir_version = 8
    path = tmp_path / "small.onnx"
    path.write_bytes(model.SerializeToString())
    rng = np.random.default_rng(0)
    feeds = [{"x": rng.standard_normal((n, 70, 70)).astype(np.float32)} for n in (1, 3)]
    monkeypatch.setattr(models, "fetch", mock.Mock(return_value=path))
    monkeypatch.setattr(zoo_backends, "feeds_of", mock.Mock(return_value=feeds))
    return "small"


def test_all_ways_agree(small: str) -> None:
    found = zoo_backends.check_model(small, ("numpy", "jax"), (1, 2, 4))
    ways = ("numpy 1", "numpy 2", "numpy 4", "jax")
    assert list(found) == [way + level for level in ("", " O2") for way in ways]
    assert all(0 < outcome.worst < 1e-5 for outcome in found.values())


def test_a_wrong_kernel_is_found(small: str, capsys: pytest.CaptureFixture[str]) -> None:
    def wrong(xp: Any, x: Any) -> Any:
        return x * 1.01

    with mock.patch.dict(operators.OPERATORS, {"Relu": wrong}):
        assert zoo_backends.main(["--backends", "numpy", "--threads", "1", small]) == 1
    assert "FAILED AssertionError: numpy 1" in capsys.readouterr().out


def test_lanes_are_forced(small: str) -> None:
    lanes: list[int] = []
    forced = zoo_backends.on_lanes

    def spy(program: Any, *rest: Any) -> Any:
        made = forced(program, *rest)
        lanes.append(program.plan.lanes)
        return made

    with mock.patch.object(zoo_backends, "on_lanes", spy):
        zoo_backends.check_model(small, ("numpy",), (2, 4))
    assert set(lanes) >= {2, 3} or set(lanes) >= {2, 4}
