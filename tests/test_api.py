"""The three verbs: load, optimize, save."""

from __future__ import annotations

import gc
import io
from pathlib import Path

import pytest
from onnx import TensorProto, helper

import graphopt
from graphopt.api import checked_globs, is_text, resolve_pipeline
from graphopt.errors import GraphoptError, ModelError, PipelineError, UsageError
from graphopt.graph import Graph
from graphopt.pipeline import Listener, Pass
from graphopt.report import PassRecord


@pytest.fixture
def model(tmp_path: Path) -> Path:
    graph = helper.make_graph(
        [
            helper.make_node("Neg", ["x"], ["a"]),
            helper.make_node("Neg", ["a"], ["b"]),
            helper.make_node("Relu", ["b"], ["y"]),
        ],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N"])],
    )
    path = tmp_path / "m.onnx"
    opsets = [helper.make_opsetid("", 18)]
    made = helper.make_model(graph, opset_imports=opsets, ir_version=9)
    path.write_bytes(made.SerializeToString())
    return path


def test_round_of_the_verbs(model: Path, tmp_path: Path) -> None:
    before = graphopt.load(model)
    after = graphopt.optimize(before)
    assert (len(before), len(after)) == (3, 1)
    assert after.report is not None
    assert after.report.rules
    graphopt.check_equivalent(before, after)
    for name in ("out.onnx", "out.gir"):
        graphopt.save(after, tmp_path / name)
        assert graphopt.load(tmp_path / name).outputs == after.outputs


def test_collector_is_left_as_it_was(model: Path) -> None:
    seen: list[bool] = []

    class Asks(Listener):
        def before(self, pass_: Pass, graph: Graph) -> None:
            seen.append(gc.isenabled())

        def after(self, pass_: Pass, before: Graph, after: Graph, record: PassRecord) -> None:
            seen.append(gc.isenabled())

    graphopt.optimize(graphopt.load(model), listeners=[Asks()])
    assert seen and not any(seen)
    assert gc.isenabled()
    with pytest.raises(ModelError):
        graphopt.load(b"\x00")
    assert gc.isenabled()
    gc.disable()
    try:
        graphopt.load(model)
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_load_takes_paths_bytes_and_files(model: Path, tmp_path: Path) -> None:
    graph = graphopt.load(str(model))
    graphopt.save(graph, tmp_path / "m.gir")
    for path in (model, tmp_path / "m.gir"):
        assert graphopt.load(path.read_bytes()).outputs == graph.outputs
        with path.open("rb") as file:
            assert graphopt.load(file).outputs == graph.outputs
    stream = io.BytesIO()
    graphopt.save(graph, stream)
    assert graphopt.load(stream.getvalue()).outputs == graph.outputs


@pytest.mark.parametrize(
    ("head", "text"),
    [
        (b"graph g\n", True),
        (b"", True),
        ("ä".encode() * 2048, True),
        (("a" + "ä" * 2048).encode()[:4096], True),
        (b"\x08\x0a\x12", False),
        (b"\xff\xfe\xff\xfe\xff", False),
        (b"\xc3", False),
    ],
)
def test_text_is_told_from_models(head: bytes, text: bool) -> None:
    assert is_text(head) is text


@pytest.mark.parametrize("content", [b"", b"\x08", b"hello", bytes(100), b"\xff" * 100])
def test_what_is_no_model_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "bad"
    path.write_bytes(content)
    for source in (content, path):
        with pytest.raises(GraphoptError):
            graphopt.load(source)
    with pytest.raises(ModelError, match="empty"):
        graphopt.load(b"")


def test_pipeline_is_a_level_a_text_or_passes(model: Path) -> None:
    graph = graphopt.load(model)
    assert len(graphopt.optimize(graph, "O0")) == 3
    assert len(graphopt.optimize(graph, "simplify")) == 1
    assert len(graphopt.optimize(graph, resolve_pipeline("simplify"))) == 1
    assert len(graphopt.optimize(graph, "")) == 3
    with pytest.raises(PipelineError, match="did you mean 'fold'"):
        graphopt.optimize(graph, "fodl")


def test_rules_are_switched_off(model: Path) -> None:
    graph = graphopt.load(model)
    assert len(graphopt.optimize(graph, disable=["involutions.*", "fuse"])) == 3
    assert len(graphopt.optimize(graph, math="strict")) == 1
    with pytest.raises(PipelineError, match="no pass or rule is called 'nothing.*'"):
        checked_globs(["fold", "nothing.*"])
    with pytest.raises(UsageError, match="did you mean 'strict'"):
        graphopt.optimize(graph, math="strickt")  # type: ignore[arg-type]  # pyright: ignore
