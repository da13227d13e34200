"""Mixed precision: what is painted, where casts stand, what keeps its bits, how far it is off."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphopt
from graphopt.body import Body
from graphopt.check import Trials
from graphopt.errors import NoTrialError, UsageError
from graphopt.fusion import fuse
from graphopt.graph import Graph, operations
from graphopt.ir import Node, walk
from graphopt.ops import table
from graphopt.ops.activation import relu
from graphopt.ops.arithmetic import add, mul
from graphopt.ops.functions import exp, sqrt
from graphopt.ops.linalg import matmul
from graphopt.ops.loops import loop
from graphopt.ops.movement import transpose
from graphopt.passes import O2
from graphopt.passes.precision.mixed import RULE, Mixed, report
from graphopt.passes.precision.mixed_lists import ALLOW, CLEAR, INFER, kind_of
from graphopt.pipeline import Context, run_pipeline
from graphopt.remarks import Log, Replay
from graphopt.rewriting.examples import example, filled, weights
from graphopt.structural import constant, graph_input, results
from graphopt.types import DType, TensorType
from tools import models

X = example("float32[N, 4]")
W, V = weights(4, 4, seed=1), weights(4, 4, seed=2)


def graph_of(*outputs: Node) -> Graph:
    """A graph of some outputs over the inputs that they have."""
    inputs = tuple(node for node in walk(outputs) if node.op.name == "Input")
    return Graph(inputs, outputs, tuple(f"y{k}" for k in range(len(outputs))))


def mixed(graph: Graph, log: Log | None = None, **options: Any) -> Graph:
    """A graph in mixed precision; a pass that fails raises."""
    return run_pipeline(graph, [Mixed(**options)], Context(strict=True, log=log))


def dtypes(graph: Graph) -> list[str]:
    """The ops of a graph in order with h for half the bits, f for float32."""
    short = {DType.FLOAT16: "h", DType.BFLOAT16: "h", DType.FLOAT32: "f"}
    return [f"{node.op.name} {short[node.dtype]}" for node in operations(walk(graph.roots))]


HALF = "Cast h"
FULL = "Cast f"

PAINTED: dict[str, tuple[Callable[[], Node], list[str]]] = {
    "what gains is painted, and casts stand on its border": (
        lambda: matmul(X, W), [HALF, "MatMul h", FULL],
    ),
    "what is between two that gain is painted": (
        lambda: matmul(relu(add(matmul(X, W), filled(1.0, 4))), V),
        [HALF, "MatMul h", "Add h", "Relu h", "MatMul h", FULL],
    ),
    "what follows is painted": (
        lambda: relu(sqrt(matmul(X, W))), [HALF, "MatMul h", "Sqrt h", "Relu h", FULL],
    ),
    "what only bears it is not painted alone": (
        lambda: relu(sqrt(add(X, filled(1.0, 4)))), ["Add f", "Sqrt f", "Relu f"],
    ),
    "what loses is not painted": (
        lambda: exp(matmul(X, W)), [HALF, "MatMul h", FULL, "Exp f"],
    ),
    "nor what follows it and rounds": (
        lambda: matmul(relu(sqrt(exp(matmul(X, W)))), V),
        [HALF, "MatMul h", FULL, "Exp f", "Sqrt f", HALF, "Relu h", "MatMul h", FULL],
    ),
    "what moves elements for what is painted moves fewer bytes": (
        lambda: matmul(transpose(X, perm=(1, 0)), X), [HALF, "Transpose h", "MatMul h", FULL],
    ),
    "a move that is not for what is painted keeps all bits": (
        lambda: add(transpose(exp(matmul(X, W)), perm=(1, 0)), filled(1.0)),
        [HALF, "MatMul h", FULL, "Exp f", "Transpose f", "Add f"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", PAINTED)
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_what_is_painted(case: str, dtype: str) -> None:
    make, wanted = PAINTED[case]
    graph = graph_of(make())
    made = mixed(graph, dtype=dtype)
    assert dtypes(made) == wanted
    assert [value.type for value in made.outputs] == [value.type for value in graph.outputs]
    assert all(off.max_rel < 0.05 for off in report(graph, made))


def test_a_value_is_cast_once() -> None:
    made = mixed(graph_of(matmul(X, W), matmul(X, V), exp(X)))
    assert Counter(dtypes(made)) == {HALF: 1, "MatMul h": 2, FULL: 2, "Exp f": 1}


def test_an_output_that_moves_elements_keeps_all_bits() -> None:
    turned = transpose(X, perm=(1, 0))
    graph = graph_of(turned, matmul(turned, X))
    made = mixed(graph)
    assert made.outputs[0] is turned
    assert report(graph, made)[0].max_abs == 0


def test_constants_are_cast_now() -> None:
    made = mixed(graph_of(matmul(X, W)))
    held = [node.constant for node in walk(made.roots) if node.constant is not None]
    assert [tensor.dtype for tensor in held] == [DType.FLOAT16]
    assert W.constant is not None
    np.testing.assert_array_equal(held[0].array, W.constant.array.astype(np.float16))


def test_a_constant_that_would_overflow_keeps_its_node_wide() -> None:
    log = Log()
    mask = constant(np.array([0, -1e9, 0, -3e38], np.float32))
    graph = graph_of(matmul(add(matmul(X, W), mask), V))
    made = mixed(graph, log)
    assert dtypes(made) == [HALF, "MatMul h", FULL, "Add f", HALF, "MatMul h", FULL]
    assert "stays: 2 of 4 would be infinite" in [remark.reason for remark in log]
    assert "Add h" in dtypes(mixed(graph, dtype="bfloat16"))


def test_an_epsilon_that_would_vanish_keeps_its_node_wide() -> None:
    log = Log()
    graph = graph_of(matmul(sqrt(add(matmul(X, W), filled(1e-12))), V))
    made = mixed(graph, log)
    assert dtypes(made)[2:6] == [FULL, "Add f", "Sqrt f", HALF]
    assert "stays: would be 0" in [remark.reason for remark in log]


def test_weights_that_underflow_are_told() -> None:
    log = Log()
    array = np.ones((4, 4), np.float32)
    array[0, :2] = 1e-30
    made = mixed(graph_of(matmul(X, constant(array))), log)
    assert dtypes(made) == [HALF, "MatMul h", FULL]
    assert "2 of 16 become 0" in [remark.reason for remark in log]


def test_infinities_and_nan_of_a_constant_are_no_overflow() -> None:
    odd = constant(np.array([np.inf, -np.inf, np.nan, 1], np.float32))
    assert "Add h" in dtypes(mixed(graph_of(add(matmul(X, W), odd))))


def test_ops_that_are_kept() -> None:
    graph = graph_of(relu(add(matmul(X, W), filled(1.0, 4))))
    assert mixed(graph, keep="MatMul").outputs == graph.outputs
    assert dtypes(mixed(graph, keep="A*|Gemm"))[2:4] == [FULL, "Add f"]


def test_other_dtypes_are_left_alone() -> None:
    for dtype in ("float64", "int32", "float16"):
        x = example(f"{dtype}[3, 3]")
        graph = graph_of(add(matmul(x, x), x))
        assert mixed(graph).outputs == graph.outputs


def test_what_has_several_outputs_is_painted_as_one() -> None:
    split = table()["", "Split"]
    first, second = results(split(matmul(X, W), axis=1, num_outputs=2, outputs=2))
    graph = graph_of(matmul(first, weights(2, 2)), exp(second))
    made = mixed(graph)
    kinds = [n for n in walk(made.roots) if n.op.name == "Out"]
    assert {node.dtype for node in kinds} == {DType.FLOAT16}
    assert all(off.max_rel < 0.02 for off in report(graph, made))


def test_what_a_loop_carries_keeps_its_dtype() -> None:
    k, go, x = graph_input("k", TensorType(DType.INT64, ())), example("bool[]", "go"), X
    body = Body.close((k, go, x), (), (go, matmul(matmul(x, W), V)))
    trips = constant(np.int64(2))
    graph = graph_of(loop(trips, constant(True), X, body=body))
    made = mixed(graph)
    (node,) = made.outputs
    inner = node.attrs["body"]
    assert inner.params == body.params and inner.outputs[1].dtype is DType.FLOAT32
    assert Counter(item.op.name for item in walk(inner.outputs))["Cast"] == 2
    assert all(off.max_rel < 0.02 for off in report(graph, made))


def test_fused_nodes_are_opened() -> None:
    sum_ = add(matmul(X, W), filled(1.0, 4))
    graph = graph_of(fuse(sum_, [sum_, sum_.inputs[0]], "MatMul+Add"))
    assert dtypes(mixed(graph)) == [HALF, "MatMul h", "Add h", FULL]


def test_it_is_counted_derived_replayed_and_fuelled() -> None:
    graph, log = graph_of(relu(matmul(X, W))), Log()
    made = mixed(graph, log)
    assert made.report is not None and made.report.rules == {RULE: 2}
    half = next(node for node in walk(made.roots) if node.op is relu)
    assert made.tables.derivations[half].rule == RULE
    again = run_pipeline(graph, [Mixed()], Context(strict=True, only=Replay(log)))
    assert again.outputs == made.outputs
    nothing = run_pipeline(graph, [Mixed()], Context(strict=True, only=Replay([])))
    assert nothing.outputs == graph.outputs
    one = run_pipeline(graph, [Mixed()], Context(strict=True, fuel=1))
    assert dtypes(one) == [HALF, "MatMul h", FULL, "Relu f"]
    assert mixed(made).outputs == made.outputs


def test_wrong_dtype() -> None:
    with pytest.raises(UsageError, match="float16 or bfloat16, not 'float32'"):
        mixed(graph_of(matmul(X, W)), dtype="float32")


def test_remarks_tell_how_far_it_is_off() -> None:
    log = Log()
    graph = graph_of(matmul(X, W))
    run_pipeline(graph, [Mixed(trials=2)], Context(strict=True, log=log))
    assert [r.reason.split(":")[0] for r in log if r.kind == "analysis"] == ["y0"]
    (off,) = report(graph, mixed(graph))
    assert off.max_abs > 0 and 0 < off.max_rel < 2e-3
    (far,) = report(graph, graph_of(mul(matmul(X, W), filled(float("inf")))))
    assert far.max_rel == float("inf")
    (none,) = report(graph, graph)
    assert none.max_abs == none.max_rel == 0
    failing = graph_of(matmul(example("float32[?, ?]", "a"), example("float32[?, ?]", "b")))
    given = {"a": np.ones((2, 3), np.float32), "b": np.ones((2, 3), np.float32)}
    with pytest.raises(NoTrialError, match="ran on none"):
        report(failing, failing, Trials(inputs=given))


def test_lists_name_ops_each_once() -> None:
    lists = (ALLOW, INFER, CLEAR)
    everything = [name for names in lists for name in names]
    assert len(everything) == len(set(everything))
    assert [name for name in everything if ("", name) not in table()] == []
    assert kind_of("ReduceSum", DType.FLOAT16) == "deny"
    assert kind_of("ReduceSum", DType.BFLOAT16) == "infer"
    for name in ("Exp", "Pow", "CumSum", "ReduceProd", "NobodyKnows"):
        assert kind_of(name, DType.FLOAT16) == kind_of(name, DType.BFLOAT16) == "deny"


REAL = {"ppocr_cls": 120, "minimol_gnn": 200, "rxnmap_transformer": 300}
"""Models of the zoo, and the least number of nodes that compute in half the bits."""


@pytest.mark.parametrize("name", REAL)
def test_real_models(name: str) -> None:
    if not models.table()[name].is_cached():
        pytest.skip("the model is not here: run tools.models")
    graph = run_pipeline(graphopt.load(models.table()[name].path), O2, Context(strict=True))
    made = mixed(graph)
    assert made.report is not None and made.report.rules[RULE] >= REAL[name]
    assert all(off.max_rel < 2e-2 for off in report(graph, made, Trials(1)))
