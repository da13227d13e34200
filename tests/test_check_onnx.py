"""Checks by ONNX Runtime: of models in files or in memory, known operators or not."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper

from graphopt import check_onnx, save
from graphopt.body import Body
from graphopt.check import Tolerance, Trials
from graphopt.check_onnx import check_models, session
from graphopt.errors import CheckError, MissingExtraError, NoTrialError, UnsupportedError
from graphopt.ops.arithmetic import add
from graphopt.ops.loops import loop
from graphopt.structural import constant, graph_input
from graphopt.types import DType, TensorType
from tests.toy import graph_of

pytestmark = pytest.mark.skipif(not check_onnx.available(), reason="onnxruntime is missing")
X = graph_input("x", TensorType(DType.FLOAT32, (2,)))
GRAPH = graph_of(X, inputs=(X,))


def model(*op_types: str, domain: str = "") -> bytes:
    """A model that applies operators of one input one after the other."""
    names = ["x", *(f"v{k}" for k in range(1, len(op_types))), "y0"]
    nodes = [
        helper.make_node(kind, [names[k]], [names[k + 1]], domain=domain)
        for k, kind in enumerate(op_types)
    ]
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, [2]) for n in ("x", "y0"))
    opsets = [helper.make_opsetid("", 18)]
    if domain:
        opsets.append(helper.make_opsetid(domain, 1))
    graph = helper.make_graph(nodes, "g", [x], [y])
    content: bytes = helper.make_model(
        graph, opset_imports=opsets, ir_version=9
    ).SerializeToString()
    return content


def check(before: bytes | Path, after: bytes | Path) -> int:
    return check_models(GRAPH, before, after, Trials(), Tolerance()).valid


def test_equal_models(tmp_path: Path) -> None:
    file = tmp_path / "m.onnx"
    file.write_bytes(model("Abs"))
    assert check(model("Neg", "Abs"), file) == 3
    assert check(model("Gelu", domain="com.microsoft"), model("Gelu", domain="com.microsoft")) == 3


def test_session_runs_a_model() -> None:
    (y,) = session(model("Neg"))({"x": np.array([1.0, -2.0], np.float32)})
    assert y.tolist() == [-1.0, 2.0]


def test_different_models() -> None:
    with pytest.raises(CheckError, match=r"output 'y0'\[\d\]"):
        check(model("Neg"), model("Abs"))


def test_result_that_does_not_load() -> None:
    with pytest.raises(CheckError, match="the original loads, the result does not"):
        check(model("Neg"), model("NoSuchOperator"))


def test_original_that_does_not_load_or_run() -> None:
    with pytest.raises(UnsupportedError, match="ONNX Runtime refuses"):
        check(model("NoSuchOperator"), model("Neg"))
    scalar = graph_input("x", TensorType(DType.FLOAT32, ()))
    with pytest.raises(NoTrialError):
        check_models(
            graph_of(scalar, inputs=(scalar,)), model("Neg"), model("Neg"), Trials(), Tolerance()
        )


def test_missing_runtime_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check_onnx, "available", lambda: False)
    with pytest.raises(MissingExtraError, match="pip install 'graphopt\\[check\\]'"):
        session(model("Neg"))


def test_a_loop_that_does_not_end_is_stopped() -> None:
    k, go, s = (
        graph_input(name, TensorType(kind, ()))
        for name, kind in (("k", DType.INT64), ("go", DType.BOOL), ("s", DType.INT64))
    )
    yes = constant(True)
    body = Body.close((k, go, s), (), (yes, add(s, constant(1))))
    graph = graph_of(loop(None, yes, s, body=body), inputs=(s,))
    file = BytesIO()
    save(graph, file)
    endless = file.getvalue()
    with pytest.raises(NoTrialError, match=r"stopped after 0\.2 s of running"):
        check_models(graph, endless, endless, Trials(seconds=0.2), Tolerance())


def test_what_has_no_loop_is_not_stopped() -> None:
    assert check_models(GRAPH, model("Neg"), model("Neg"), Trials(1, seconds=0), Tolerance()).valid
