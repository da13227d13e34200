"""Generated models go through, and what is planted in a rule, a kernel or a file is found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from graphopt.frontends.onnx import to_proto
from graphopt.ir import Node
from graphopt.ops.conv import conv
from graphopt.passes.contractions import maps
from tools import nnsmith_zoo
from tools.nnsmith_zoo import Outcome, check_file, files_of, told

Shape = list[int]


def weights(name: str, *shape: int) -> onnx.TensorProto:
    """Positive weights, the same for the same name."""
    rng = np.random.default_rng(len(name))
    return numpy_helper.from_array(rng.uniform(0.5, 2, shape).astype(np.float32), name)


def written(
    folder: Path,
    name: str,
    nodes: Sequence[onnx.NodeProto],
    shapes: tuple[Shape, Shape],
    weights: Sequence[onnx.TensorProto] = (),
    dtype: int = TensorProto.FLOAT,
) -> Path:
    """A file with a model of an input x and an output y."""
    x, y = map(helper.make_tensor_value_info, "xy", [dtype] * 2, shapes)
    graph = helper.make_graph(nodes, name, [x], [y], list(weights))
    opset = helper.make_opsetid("", 14)
    path = folder / name / "model.onnx"
    path.parent.mkdir()
    model = helper.make_model(graph, opset_imports=[opset], ir_version=7)
    onnx.checker.check_model(model, full_check=True)  # pyright: ignore[reportUnknownMemberType]
    path.write_bytes(model.SerializeToString())
    return path


def joined(folder: Path) -> Path:
    """Casts to and fro, a Concat of one value, a sum that is nothing, over a scalar."""
    nodes = [
        helper.make_node("Cast", ["x"], ["a"], to=TensorProto.DOUBLE),
        helper.make_node("Cast", ["a"], ["b"], to=TensorProto.FLOAT),
        helper.make_node("Concat", ["b"], ["c"], axis=0),
        helper.make_node("ReduceMax", ["c"], ["d"], axes=[0], keepdims=0),
        helper.make_node("Sub", ["d", "d"], ["e"]),
        helper.make_node("Add", ["c", "e"], ["y"]),
    ]
    return written(folder, "joined", nodes, ([3], [3]))


def normalized(folder: Path) -> Path:
    """A convolution and its normalization."""
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"]),
        helper.make_node("BatchNormalization", ["a", "s", "b!", "m!!", "v!!!"], ["y"]),
    ]
    parts = [weights("w", 4, 3, 3, 3), *(weights(name, 4) for name in ("s", "b!", "m!!", "v!!!"))]
    return written(folder, "normalized", nodes, ([1, 3, 5, 5], [1, 4, 3, 3]), parts)


def tangent(folder: Path) -> Path:
    """An op that ONNX Runtime has no kernel for at this dtype."""
    nodes = [helper.make_node("Tan", ["x"], ["y"])]
    return written(folder, "tangent", nodes, ([2], [2]), dtype=TensorProto.DOUBLE)


def kinds(outcome: Outcome) -> set[str]:
    return {finding.kind for finding in outcome.findings}


def test_nothing_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = [joined(tmp_path), normalized(tmp_path), tangent(tmp_path)]
    first, second, third = map(check_file, paths)
    assert not first.findings + second.findings + third.findings
    assert (first.nodes, first.smallest) == (6, 3)
    assert (second.nodes, second.smallest) == (2, 1)
    assert (first.trials, first.shared, first.note) == (4, 3, "")
    assert (third.trials, third.shared) == (4, 0) and "Tan" in third.note
    assert nnsmith_zoo.main([str(tmp_path)]) == 0
    assert (
        "3 models, 2 run by ONNX Runtime, 0 differ there, 0 run by none, 0 failed"
        in capsys.readouterr().out
    )


def test_a_fault_in_a_rule_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    right = maps.normalizer

    def wrong(node: Node) -> maps.Affine:
        made = right(node)
        return replace(made, shift=made.shift * 1.01)

    monkeypatch.setattr(maps, "normalizer", wrong)
    outcome = check_file(normalized(tmp_path))
    assert kinds(outcome) == {"value", "step", "saved"}
    assert "O2" in {finding.pipeline for finding in outcome.findings}
    assert "strict" not in {finding.math for finding in outcome.findings}
    assert nnsmith_zoo.main([str(tmp_path)]) == 1
    lines = capsys.readouterr().out
    assert "saved O2 default: output 0" in lines and "1 failed" in lines


def test_a_fault_in_a_kernel_is_noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    right = conv.kernel

    def wrong(*operands: Any, **attributes: Any) -> Any:
        return right(*operands, **attributes) * 1.001

    monkeypatch.setattr(conv, "kernel", wrong)
    assert "differs from the reference" in check_file(normalized(tmp_path)).note


def test_a_fault_in_a_file_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(graph: Any) -> onnx.ModelProto:
        model = to_proto(graph)
        model.graph.node[-1].op_type = "Mul"
        return model

    def torn(graph: Any) -> onnx.ModelProto:
        model = to_proto(graph)
        del model.graph.node[0]
        return model

    path = joined(tmp_path)
    monkeypatch.setattr(nnsmith_zoo, "to_proto", wrong)
    assert kinds(check_file(path)) == {"saved"}
    monkeypatch.setattr(nnsmith_zoo, "to_proto", torn)
    outcome = check_file(path)
    assert kinds(outcome) == {"save"}
    assert "ValidationError" in told(outcome)


def test_what_is_slow_is_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pads = [100, 100, 100, 100]
    node = helper.make_node("MaxPool", ["x"], ["y"], kernel_shape=[200, 200], pads=pads)
    path = written(tmp_path, "slow", [node], ([1, 1, 5, 5], [1, 1, 6, 6]))
    outcome = check_file(path)
    assert (outcome.note, outcome.trials, outcome.shared) == ("a window is too large", 0, 0)
    assert nnsmith_zoo.main([str(path)]) == 1, "none was held to anything"
    assert "1 run by none" in capsys.readouterr().out


def test_what_is_no_model_is_a_finding(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"\x08\x07 no model")
    assert kinds(check_file(broken)) == {"load"}
    assert nnsmith_zoo.main([str(broken)]) == 1
    assert "broken" in capsys.readouterr().out


def test_no_model_at_all_is_no_success(tmp_path: Path) -> None:
    assert nnsmith_zoo.main([str(tmp_path)]) == 1


def test_models_are_found_in_folders_in_order(tmp_path: Path) -> None:
    names = ("10", "9", "100")
    for name in names:
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.onnx").touch()
    (tmp_path / "9" / "model.pth").touch()
    found = files_of([tmp_path, tmp_path / "9" / "model.onnx"])
    assert [path.parent.name for path in found] == ["9", "10", "100"]
