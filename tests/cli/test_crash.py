"""Reproducers: what they hold, what they leave out, and that they repeat what happened."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from graphopt import api
from graphopt.graph import Graph
from graphopt.passes import PASSES
from graphopt.pipeline import Context
from tests.cli.conftest import Run, make_model

SECRET = np.full((4, 400), 0.123456789, np.float32)


@pytest.fixture
def weighty(tmp_path: Path) -> Path:
    """A model with weights that must not leave the house."""
    nodes = [
        helper.make_node("MatMul", ["x", "k"], ["a"]),
        helper.make_node("MatMul", ["a", "l"], ["b"]),
        helper.make_node("Mul", ["b", "one"], ["y"]),
    ]
    return make_model(tmp_path / "m.onnx", nodes, k=SECRET, l=SECRET.T, one=[1.0])


def failing(error: Exception) -> Callable[[Any, Graph, Context], Graph]:
    """A pass's `run` that raises."""

    def run(self: Any, graph: Graph, context: Context) -> Graph:
        raise error

    return run


@pytest.mark.parametrize(
    "error", [ValueError("planted"), RecursionError("planted"), AssertionError(), MemoryError()]
)
def test_pass_that_raises_is_undone_and_reported(
    run: Run, model: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    monkeypatch.setattr(PASSES["fold"], "run", failing(error))
    done = run(model, "-o", "out.onnx", "--check")
    assert done.status == 0
    told = f"the pass fold was undone (harmless, the others ran): {type(error).__name__}: {error}"
    assert f"graphopt-opt: remark: {told}\n" in done.err
    assert "passes undone" in done.err
    assert not list(Path().glob("*.tar"))


def test_error_in_a_strict_run_is_reproduced(
    run: Run, weighty: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api, "optimize", partial(api.optimize, strict=True))
    monkeypatch.setattr(PASSES["fold"], "run", failing(ValueError("planted")))
    done = run(weighty, "-o", "out.onnx", "--passes", "prune,fold", "--seed", "3")
    assert done.status == 4
    first, second = done.err.splitlines()
    assert "internal error: " in first
    assert "planted" in first
    assert not Path("out.onnx").exists()
    (archive,) = Path().glob("graphopt-crash-*.tar")
    assert second == f"graphopt-opt: reproduce: graphopt-opt --run-reproducer {archive}"
    assert SECRET.tobytes()[:64] not in archive.read_bytes()
    assert archive.stat().st_size < 20480
    with tarfile.open(archive) as members:
        found = {name: members.extractfile(name).read() for name in members.getnames()}  # type: ignore[union-attr]  # pyright: ignore[reportOptionalMemberAccess]
    assert set(found) == {"model.onnx", "request.json", "traceback.txt"}
    assert json.loads(found["request.json"])["arguments"] == [
        "--passes",
        "prune,fold",
        "--seed",
        "3",
    ]
    assert b"ValueError: planted" in found["traceback.txt"]
    again = run("--run-reproducer", archive)
    assert again.status == 4
    assert "ValueError: planted" in again.err
    assert len(list(Path().glob("*.tar"))) == 1


def test_weights_beside_a_model_are_replaced_too(
    run: Run, weighty: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    proto = onnx.load_from_string(weighty.read_bytes())
    for tensor in proto.graph.initializer:
        Path(tensor.name).write_bytes(tensor.raw_data)
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value=tensor.name)
    weighty.write_bytes(proto.SerializeToString())
    with monkeypatch.context() as patched:
        patched.setattr(api, "optimize", partial(api.optimize, strict=True))
        patched.setattr(PASSES["fold"], "run", failing(ValueError("planted")))
        assert run(weighty, "--crash-reproducer", "here.tar").status == 4
        assert run("--run-reproducer", "here.tar").status == 4
    for name in "kl":
        Path(name).unlink()
    assert run("--run-reproducer", "here.tar").status == 0
