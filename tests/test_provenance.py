"""Where a node comes from, in the words of its author; and failing steps that say so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

import graphopt
from graphopt.errors import ExecutionError
from graphopt.graph import Graph
from graphopt.ir import Node
from graphopt.ops.arithmetic import add, div
from graphopt.ops.functions import neg
from graphopt.provenance import described, origin
from graphopt.records import Derivation, Location, Record, Tables
from graphopt.structural import constant, graph_input
from graphopt.types import DType
from tests.ops.harness import tensor

A, B = (graph_input(name, tensor("int32", "N")) for name in "ab")
ONES = np.ones(3, np.int32)


def graph(output: Node, **tables: Any) -> Graph:
    return Graph((A, B), (output,), ("y",), tables=Tables(**tables))


def record(name: str, output: str = "out") -> Record:
    return Record(0, "Div", ("a", "b"), (output,), name=name)


def test_origin_is_file_and_line_or_a_name() -> None:
    node = div(A, B)
    assert origin(graph(node), node) == ""
    assert described(graph(node), node) == node.label
    place = {node: Location("user.py", 12)}
    assert origin(graph(node, locations=place), node) == "user.py:12"
    named = {node: (record("ratio"), record("", "quotient"))}
    assert origin(graph(node, records=named), node) == "ratio, quotient"
    assert described(graph(node, locations=place), node) == f"{node.label} (user.py:12)"


def test_what_a_node_was_made_of_is_told() -> None:
    old, node = div(B, A), div(A, B)
    derived = {node: Derivation("swap", (old,))}
    made = graph(node, derivations=derived, records={old: (record("ratio"),)})
    assert origin(made, node) == "ratio"


def test_of_many_origins_the_first_are_told() -> None:
    node = div(A, B)
    made = graph(node, records={node: tuple(record(f"n{k}") for k in range(5))})
    assert origin(made, node) == "n0, n1, n2, ..."


def test_derivations_that_go_round_end() -> None:
    one, other = div(A, B), div(B, A)
    derived = {one: Derivation("swap", (other,)), other: Derivation("swap", (one,))}
    made = graph(one, derivations=derived, locations={other: Location("user.py", 3)})
    assert origin(made, one) == "user.py:3"


@pytest.mark.parametrize("threads", [1, 2])
def test_a_failing_step_names_file_and_line(threads: int) -> None:
    node = div(A, B)
    made = graph(neg(add(node, A)), locations={node: Location("user.py", 12)})
    run = graphopt.compile(made, threads=threads)
    for call in (run, run.profile):
        with pytest.raises(ExecutionError) as caught:
            call(ONES, ONES * 0)
        assert caught.value.at == f"{node.label} (user.py:12)"
        assert caught.value.message == "ZeroDivisionError: integer division by zero"
        assert isinstance(caught.value.__cause__, ZeroDivisionError)
    np.testing.assert_array_equal(run(ONES, ONES), [-2 * ONES])


def test_a_failing_step_names_the_node_of_a_model(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Neg", ["table"], ["minus"], name="minus_table"),
        helper.make_node("Gather", ["minus", "at"], ["row"], name="look_up"),
        helper.make_node("Neg", ["row"], ["y"], name="minus_row"),
    ]
    inputs = [
        helper.make_tensor_value_info("table", TensorProto.FLOAT, ["N", 2]),
        helper.make_tensor_value_info("at", TensorProto.INT64, [70]),
    ]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, [70, 2])]
    model = helper.make_model(
        helper.make_graph(nodes, "g", inputs, outputs),
        opset_imports=[helper.make_opsetid("", 18)],
        ir_version=9,
    )
    path = tmp_path / "model.onnx"
    path.write_bytes(model.SerializeToString())
    run = graphopt.compile(graphopt.load(path))
    rows, at = np.ones((3, 2), np.float32), np.full(70, 2)
    run(rows, at)
    at[-1] = 3
    with pytest.raises(ExecutionError, match=r"Gather@\w+ \(look_up\): IndexError: .*axis 0"):
        run(rows, at)
    assert "look_up" in str(run.plan)


def test_what_a_failing_kernel_says_while_it_is_lowered() -> None:
    shapes = graph_input("x", tensor("float32", "N", "M")), graph_input("y", tensor("float32", "K"))
    node = add(*shapes)
    made = Graph(shapes, (node,), ("z",), tables=Tables(locations={node: Location("u.py", 7)}))
    with pytest.raises(ExecutionError, match=r"Add@\w+ \(u\.py:7\): ValueError: .*broadcast"):
        graphopt.compile(made)(np.ones((2, 3), np.float32), np.ones(2, np.float32))


def test_what_is_known_to_fail_says_where_it_comes_from() -> None:
    zero = constant([0], DType.INT32)
    node = div(zero, zero)
    made = Graph((), (node,), ("z",), tables=Tables(locations={node: Location("u.py", 7)}))
    with pytest.raises(ExecutionError, match=r"Div@\w+ \(u\.py:7\): .*division by zero"):
        graphopt.compile(made)
