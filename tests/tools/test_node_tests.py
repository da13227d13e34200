"""Running ONNX's own tests, without a network: the wheel is made here."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import graphopt
from graphopt.op import OPSET
from tools import models, node_tests
from tools.node_runs import RUNS

ROOT = "onnx/backend/test/data/node"
ONE = np.array([1.5, -2], np.float32)
WRONG = np.array([7, 7], np.float32)


def model(op_type: str, version: int = 7, dtype: int = TensorProto.FLOAT) -> onnx.ModelProto:
    """A model of one operator of one input."""
    ports = [helper.make_tensor_value_info(name, dtype, [2]) for name in "xy"]
    node = helper.make_node(op_type, ["x"], ["y"])
    graph = helper.make_graph([node], "g", ports[:1], ports[1:])
    opsets = [helper.make_opsetid("", version)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=7)


def wheel(path: Path, tests: Mapping[str, tuple[onnx.ModelProto, Any, Any]]) -> Path:
    """A wheel with some tests: a model, its input, and what is expected."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, (proto, given, wanted) in tests.items():
            archive.writestr(f"{ROOT}/{name}/model.onnx", proto.SerializeToString())
            for what, value in (("input", given), ("output", wanted)):
                content = numpy_helper.from_array(value).SerializeToString()
                archive.writestr(f"{ROOT}/{name}/test_data_set_0/{what}_0.pb", content)
    return path


@pytest.fixture
def shipped(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """Put a made release for opset 7 in the place of the real ones; the list of downloads."""
    monkeypatch.setenv("GRAPHOPT_MODELS", str(tmp_path / "cache"))
    made = wheel(
        tmp_path / "made.whl",
        {
            "test_good": (model("Neg"), ONE, -ONE),
            "test_bad": (model("Neg"), ONE, WRONG),
            "test_known": (model("Neg"), ONE, WRONG),
            "test_strange": (model("Strange"), ONE, ONE),
            "test_old": (model("Neg", 6), ONE, -ONE),
        },
    )
    downloads: list[str] = []

    def download(package: str, folder: Path, target: Sequence[str]) -> Path:
        downloads.append(f"{package} {target[0]}")
        copy = folder / "onnx.whl"
        copy.write_bytes(made.read_bytes())
        return copy

    release = node_tests.Release("1.0", "3.6", models.digest(made))
    known = node_tests.Excuse("test_kn*", (7, 8), "it is known")
    monkeypatch.setattr(models, "download", download)
    monkeypatch.setattr(node_tests, "RELEASES", {7: release})
    monkeypatch.setattr(node_tests, "EXCUSES", [known])
    return downloads


def test_report(shipped: list[str]) -> None:
    made = node_tests.report(7)
    assert (made.total, made.taken, made.passed) == (5, 4, 2)
    assert set(made.failed) == {"test_bad", "test_known"}
    assert made.untaken == {("", "Strange"): 1}
    assert set(node_tests.unexpected(7, made)) == {"test_bad"}
    assert node_tests.report(7).total == 5
    assert shipped == ["onnx==1.0 --python-version=3.6"]


def test_exception_that_nothing_needs_is_told(shipped: list[str]) -> None:
    nothing = node_tests.Report()
    assert node_tests.needless(7, nothing) == {"test_kn*": "the exception is not needed"}
    assert node_tests.needless(7, node_tests.report(7)) == {}
    assert node_tests.needless(9, nothing) == {}


def test_other_wheel_is_refused(shipped: list[str]) -> None:
    release = node_tests.Release("1.0", "3.6", "0" * 64)
    with pytest.raises(models.FetchError, match=r"sha256 of onnx.whl is .*, expected 000"):
        release.fetch()
    assert not release.path.exists()


def test_command_line(shipped: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert node_tests.main(["7", "--untaken"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split() == ["7", "1.0", "5", "4", "2", "2"]
    assert lines[2].lstrip().startswith("test_bad: ")
    assert lines[3].split() == ["untaken:", "Strange", "(1)"]
    with pytest.raises(SystemExit, match="2"):
        node_tests.main(["6"])


def test_bfloat16_was_stored_as_integers(tmp_path: Path) -> None:
    bits = np.array([0x3F80, 0x4000], np.uint16)
    one = model("Identity", 13, TensorProto.BFLOAT16)
    (test,) = node_tests.shipped(wheel(tmp_path / "made.whl", {"test_bf": (one, bits, bits)}))
    ((inputs, _),) = test.data()
    assert inputs[0].dtype == ml_dtypes.bfloat16
    assert inputs[0].tolist() == [1, 2]


@pytest.mark.parametrize(
    ("found", "wanted"),
    [
        (np.ones(1, np.float32), np.ones(1)),
        (np.ones(1), np.ones((1, 1))),
        (np.ones(1), np.array([1.01])),
        (np.array(["a"], object), np.array(["b"], object)),
        ([ONE], [ONE, ONE]),
        (ONE, None),
    ],
)
def test_differences_are_found(found: Any, wanted: Any) -> None:
    with pytest.raises(AssertionError):
        node_tests.compare(found, wanted, 1e-3, 1e-7)


def test_equals_are_equal() -> None:
    bf16 = np.array([1, 2], ml_dtypes.bfloat16)
    node_tests.compare([bf16, None], [np.array([1.01, 2], ml_dtypes.bfloat16), None], 1e-3, 0)
    node_tests.compare(np.array(["a"], object), np.array([b"a".decode()], object), 1e-3, 0)


def test_tables_are_complete() -> None:
    assert list(node_tests.RELEASES) == list(range(7, OPSET))
    for release in node_tests.RELEASES.values():
        assert len(bytes.fromhex(release.sha256)) == 32
    for excuse in node_tests.EXCUSES:
        assert excuse.reason
        assert excuse.opsets[0] <= excuse.opsets[1] <= OPSET


@pytest.mark.parametrize("run", RUNS)
def test_every_way_runs_the_model_on_its_inputs(shipped: list[str], run: str) -> None:
    made = node_tests.report(7, RUNS[run])
    assert (made.passed, set(made.failed)) == (2, {"test_bad", "test_known"})


def test_folded_models_have_no_inputs_left(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    genuine = graphopt.optimize

    def optimize(graph: graphopt.Graph, level: str, *, strict: bool) -> graphopt.Graph:
        made = genuine(graph, level, strict=strict)
        seen.append(len(made.inputs))
        return made

    monkeypatch.setattr(graphopt, "optimize", optimize)
    (found,) = RUNS["folded"](model("Neg"), {"x": ONE})
    assert found.tolist() == (-ONE).tolist()
    assert seen == [0]
