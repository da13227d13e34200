"""Stripping: texts for debugging and the operators that pass their inputs on go, nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from graphopt.backends import reference
from graphopt.frontends.onnx import load, save
from graphopt.graph import Graph, operations
from graphopt.ir import walk
from graphopt.passes.strip import StripDebug
from graphopt.pipeline import Context, run_pipeline
from graphopt.pipeline_text import parse_pipeline

TRACE = ("pkg.torch.onnx.stack_trace", "File model.py, line 1")


def documented(node: onnx.NodeProto) -> onnx.NodeProto:
    """A node with a doc string and a stack trace."""
    node.doc_string = f"doc of {node.op_type}"
    pair = node.metadata_props.add()
    pair.key, pair.value = TRACE
    return node


def floats(name: str, *shape: int) -> onnx.ValueInfoProto:
    """A declared value of float32."""
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape or (3,))


def model(*nodes: onnx.NodeProto, outputs: tuple[str, ...] = ("y",)) -> onnx.ModelProto:
    """A documented model of nodes from x."""
    graph = helper.make_graph(
        list(map(documented, nodes)),
        "graph",
        [floats("x"), helper.make_tensor_value_info("p", TensorProto.BOOL, ())],
        [floats(name) for name in outputs],
        doc_string="doc of the graph",
        value_info=[floats("a")],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("my.debug", 1)]
    made = helper.make_model(graph, opset_imports=opsets, ir_version=10, doc_string="doc of it")
    helper.set_model_props(made, {"labels": "cat, dog"})
    return made


def loaded(proto: onnx.ModelProto, folder: Path) -> Graph:
    """A model as a graph, by way of a file."""
    (folder / "in.onnx").write_bytes(proto.SerializeToString())
    return load(folder / "in.onnx")


def written(graph: Graph, folder: Path) -> onnx.ModelProto:
    """A graph as a model, by way of a file."""
    save(graph, folder / "out.onnx")
    made = onnx.ModelProto()
    made.ParseFromString((folder / "out.onnx").read_bytes())
    return made


def stripped(graph: Graph, text: str = "strip-debug") -> Graph:
    """A graph after a pipeline of this pass."""
    passes = parse_pipeline(text, {"strip-debug": StripDebug})
    return run_pipeline(graph, passes, Context(strict=True))


BRANCHES: dict[str, Any] = {
    f"{name}_branch": helper.make_graph(
        [documented(helper.make_node(op, ["x"], [name]))], name, [], [floats(name)],
        doc_string="doc of the branch",
    )
    for name, op in (("then", "Neg"), ("else", "Abs"))
}  # fmt: skip


def test_texts_go_and_names_stay(tmp_path: Path) -> None:
    proto = model(
        helper.make_node("Relu", ["x"], ["a"], name="first"),
        helper.make_node("If", ["p"], ["b"], **BRANCHES),
        helper.make_node("Add", ["a", "b"], ["y"]),
    )
    graph = loaded(proto, tmp_path)
    assert b"stack_trace" in written(graph, tmp_path).SerializeToString()
    made = stripped(graph)
    assert made.outputs == graph.outputs
    assert made.report is not None and made.report.rules == {
        "strip-debug.text": 6
    }  # one of them the heads
    out = written(made, tmp_path)
    assert b"doc of" not in out.SerializeToString()
    assert b"stack_trace" not in out.SerializeToString()
    assert out.graph.node[0].name == "first"
    assert out.metadata_props[0].value == "cat, dog"
    assert not written(stripped(graph, "strip-debug{metadata}"), tmp_path).metadata_props
    assert stripped(made).tables is made.tables


def test_texts_of_a_changed_graph_go(tmp_path: Path) -> None:
    proto = model(
        helper.make_node("Relu", ["x"], ["a"]),
        helper.make_node("Neg", ["a"], ["b"]),
        helper.make_node("Neg", ["b"], ["y"]),
    )
    graph = run_pipeline(
        loaded(proto, tmp_path), parse_pipeline("strip-debug", {"strip-debug": StripDebug})
    )
    from graphopt.passes import O1

    out = written(run_pipeline(graph, O1), tmp_path)
    assert [node.op_type for node in out.graph.node] == ["Relu"]
    assert b"doc of" not in out.SerializeToString()


PRINTED = (
    helper.make_node("Print", ["x"], ["a"], domain="my.debug", message="x is"),
    helper.make_node("Relu", ["a"], ["y"]),
)


@pytest.mark.parametrize("glob", ["my.debug.*", "*.Print", "other.*|my.debug.Pr*"])
def test_operators_that_pass_on_go(tmp_path: Path, glob: str) -> None:
    graph = loaded(model(*PRINTED), tmp_path)
    made = stripped(graph, f"strip-debug{{ops={glob}}}")
    assert [node.op.name for node in operations(walk(made.roots))] == ["Relu"]
    assert made.report is not None and made.report.rules["strip-debug.op"] == 1
    x = np.array([-1, 0, 1], np.float32)
    np.testing.assert_array_equal(reference.run(made, {"x": x, "p": True})[0], [0, 0, 1])
    assert made.history(made.outputs[0])


@pytest.mark.parametrize(
    "text", ["strip-debug", "strip-debug{ops=other.*}", "strip-debug{ops=Print}"]
)
def test_operators_that_are_not_named_stay(tmp_path: Path, text: str) -> None:
    graph = loaded(model(*PRINTED), tmp_path)
    assert stripped(graph, text).outputs == graph.outputs


def test_standard_operators_never_go(tmp_path: Path) -> None:
    nodes = (
        helper.make_node("RandomNormalLike", ["x"], ["a"]),
        helper.make_node("Relu", ["a"], ["y"]),
    )
    graph = loaded(model(*nodes), tmp_path)
    assert stripped(graph, "strip-debug{ops=*}").outputs == graph.outputs


def test_outputs_pass_on_the_inputs_at_their_places(tmp_path: Path) -> None:
    nodes = (
        helper.make_node("Neg", ["x"], ["n"]),
        helper.make_node("Watch", ["x", "n"], ["a", "b"], domain="my.debug"),
        helper.make_node("Sub", ["a", "b"], ["y"]),
    )
    made = stripped(loaded(model(*nodes), tmp_path), "strip-debug{ops=*.Watch}")
    assert [node.op.name for node in operations(walk(made.roots))] == ["Neg", "Sub"]
    x = np.array([1, 2, 3], np.float32)
    np.testing.assert_array_equal(reference.run(made, {"x": x, "p": True})[0], 2 * x)


def test_one_that_changes_the_type_stays(tmp_path: Path) -> None:
    nodes = (
        helper.make_node("Print", ["p"], ["a"], domain="my.debug"),
        helper.make_node("Relu", ["a"], ["y"]),
    )
    graph = loaded(model(*nodes), tmp_path)
    assert stripped(graph, "strip-debug{ops=*}").outputs == graph.outputs


def test_those_in_branches_go(tmp_path: Path) -> None:
    inner = [
        helper.make_node("Print", ["x"], ["i"], domain="my.debug"),
        helper.make_node("Neg", ["i"], ["t"]),
    ]
    branches: dict[str, Any] = {
        "then_branch": helper.make_graph(inner, "then", [], [floats("t")]),
        "else_branch": BRANCHES["else_branch"],
    }
    graph = loaded(model(helper.make_node("If", ["p"], ["y"], **branches)), tmp_path)
    made = stripped(graph, "strip-debug{ops=*.Print}")
    assert b"Print" not in written(made, tmp_path).SerializeToString()
