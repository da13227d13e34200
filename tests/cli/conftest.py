"""A small model for the tests of the shell's door, and a way to run the door in this process."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from graphopt.cli import main


def make_model(path: Path, nodes: list[onnx.NodeProto], **weights: Any) -> Path:
    """Write a model from x : float[N, 4] to y with weights."""
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 4])],
        [numpy_helper.from_array(np.asarray(w, np.float32), name) for name, w in weights.items()],
    )
    domains = {node.domain for node in nodes} - {""}
    opsets = [helper.make_opsetid("", 18), *(helper.make_opsetid(d, 1) for d in sorted(domains))]
    made = helper.make_model(graph, opset_imports=opsets, ir_version=9)
    path.write_bytes(made.SerializeToString())
    return path


def read_model(path: str | Path) -> onnx.ModelProto:
    """A model without its external data."""
    return onnx.load_from_string(Path(path).read_bytes())


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """y = relu(1 * -(-x) + w): five nodes, of which two remain."""
    nodes = [
        helper.make_node("Neg", ["x"], ["a"]),
        helper.make_node("Neg", ["a"], ["b"]),
        helper.make_node("Mul", ["b", "one"], ["c"]),
        helper.make_node("Add", ["c", "w"], ["d"]),
        helper.make_node("Relu", ["d"], ["y"]),
    ]
    return make_model(tmp_path / "model.onnx", nodes, one=1.0, w=[0.0, 1.0, 2.0, 3.0])


@dataclass
class Done:
    """How a command ended and what it printed."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Run = Callable[..., Done]


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Run `graphopt-opt` on arguments, in a folder of its own."""
    monkeypatch.chdir(tmp_path)

    def command(*arguments: object) -> Done:
        capfd.readouterr()
        status = main(["opt", *map(str, arguments)])
        told = capfd.readouterr()
        return Done(status, told.out, told.err)

    return command
