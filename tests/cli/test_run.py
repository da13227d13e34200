"""What is told of a run, what the options change in it, and the check before a file is written."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper

from graphopt import api, check_onnx
from graphopt.cli.summary import SCHEMA
from graphopt.errors import RewriteError
from graphopt.graph import Graph
from graphopt.pipeline import Context
from graphopt.structural import constant
from graphopt.types import DType
from tests.cli.conftest import Run, make_model, read_model

ROOT = Path(__file__).resolve().parents[2]
START = "import sys; from graphopt.cli import opt; sys.exit(opt())"


def test_json_is_one_object_on_standard_output(run: Run, model: Path) -> None:
    done = run(model, "-o", "out.onnx", "--json", "--check=2")
    told = done.json
    assert told["schema_version"] == SCHEMA
    assert (told["input"], told["output"]) == (str(model), "out.onnx")
    assert told["ops_before"] == {"Neg": 2, "Mul": 1, "Add": 1, "Relu": 1}
    assert told["ops_after"] == {"Add": 1, "Relu": 1}
    assert told["nodes"] == {"before": 5, "after": 2}
    assert told["params_bytes"] == {"before": 20, "after": 16}
    assert told["bytes"]["before"] == model.stat().st_size
    assert told["bytes"]["after"] == Path("out.onnx").stat().st_size
    assert sum(told["rules"].values()) >= 2
    assert {"name", "seconds", "changed", "nodes_before", "nodes_after"} <= set(told["passes"][0])
    assert told["check"]["ok"] is True
    assert told["check"]["valid"] == 2
    assert "reference" in told["check"]["by"]
    assert told["seconds"] > 0
    assert "OK 5->2" in done.err


def test_json_of_a_piped_result_is_on_standard_error(run: Run, model: Path) -> None:
    done = run(model, "-S", "-o", "-", "--json")
    assert done.out.startswith("graphopt 1")
    assert json.loads(done.err)["nodes"]["after"] == 2


def test_json_tells_errors_too(run: Run) -> None:
    done = run("nowhere.onnx", "--json")
    assert done.status == 3
    assert done.json["exit_status"] == 3
    assert "nowhere.onnx" in done.json["error"]


def test_quiet_timing_and_verbose(run: Run, model: Path) -> None:
    done = run(model, "-q", "-o", "out.onnx")
    assert (done.status, done.out, done.err) == (0, "", "")
    assert "rewrites" in run(model, "--timing").err
    assert "involutions.neg" in run(model, "-v").err


def test_disable_switches_off_passes_and_rules(run: Run, model: Path) -> None:
    off = run(model, "--json", "--disable", "simplify").json
    assert off["nodes"]["after"] == 5
    assert "involutions.neg" in run(model, "--json").json["rules"]
    assert "involutions.neg" not in run(model, "--json", "--disable", "involutions.*").json["rules"]
    both = run(model, "--json", "--disable", "involutions", "--disable", "neutral.*").json
    assert not any(rule.startswith(("involutions.", "neutral.")) for rule in both["rules"])


def test_passes_are_run_as_given(run: Run, model: Path) -> None:
    told = run(model, "--json", "--passes", "prune,simplify").json
    assert [record["name"] for record in told["passes"]] == ["prune", "simplify"]
    assert told["pipeline"] == "prune,simplify"


def test_changes_are_printed_as_differences(
    run: Run, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = run(model, "-q", "--print-ir-after-change").err
    assert "+++ after simplify" in plain
    assert "-%a = Neg(%x) : float32[N, 4]" in plain
    assert "\033[" not in plain
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert "\033[31m-%a" in run(model, "-q", "--print-ir-after-change").err


def test_sizes_are_fixed(run: Run, model: Path) -> None:
    assert run(model, "--dim", "N=8", "-o", "o.onnx", "--check").status == 0
    sizes = read_model("o.onnx").graph.input[0].type.tensor_type.shape.dim
    assert [size.dim_value for size in sizes] == [8, 4]
    assert run(model, "--shape", "x=2,4", "-o", "o.onnx", "--check").status == 0
    sizes = read_model("o.onnx").graph.output[0].type.tensor_type.shape.dim
    assert [size.dim_value for size in sizes] == [2, 4]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--dim", "M=8"], "no input of the graph has a dimension 'M'; it has N"),
        (["--shape", "x=2,5"], "input 'x': axis 1 cannot be 5: it is 4"),
        (["--shape", "x=2"], "input 'x': [2] where it has 2 axes"),
        (["--shape", "x=2,4", "--dim", "N=3"], "input 'x': axis 0 cannot be 2: N is 3"),
        (["--shape", "z=2"], "no input 'z'"),
    ],
)
def test_sizes_that_contradict(run: Run, model: Path, arguments: list[str], message: str) -> None:
    done = run(model, *arguments)
    assert done.status == 2
    assert message in done.err


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Optimizing adds 1 to the output."""
    from graphopt.ops import table

    def wrong(graph: Graph, *_: object, **__: object) -> Graph:
        one = constant(1.0, DType.FLOAT32)
        return graph.with_outputs((table()["", "Add"](graph.outputs[0], one),))

    monkeypatch.setattr(api, "optimize", wrong)


@pytest.mark.usefixtures("broken")
def test_mismatch_writes_nothing(run: Run, model: Path, tmp_path: Path) -> None:
    done = run(model, "-o", "out.onnx", "--check", "--json")
    assert done.status == 1
    assert "CHECK FAILED, nothing written: output 'y'[0, " in done.err
    assert done.json["exit_status"] == 1
    assert done.json["check"] == {"ok": False}
    assert not (tmp_path / "out.onnx").exists()
    assert run(model, "-o", "out.onnx").status == 0


@pytest.mark.usefixtures("broken")
def test_tolerances_are_the_users(run: Run, model: Path) -> None:
    assert run(model, "--check", "--atol", "0.5").status == 1
    assert run(model, "--check", "--atol", "1.1").status == 0
    assert run(model, "--check", "--rtol", "1.1").status == 0


def test_check_does_not_run_an_endless_loop(run: Run, tmp_path: Path) -> None:
    (tmp_path / "m.gir").write_text(
        """graphopt 1 opset 28
graph g
input %x : float32[2]
%0 = tensor(int64[], [4611686018427387904])
%1 = tensor(bool[], [true])
%2 = Loop(%0, %1, %x) {body = body(%k : int64[], %go : bool[], %s : float32[2]) {
  %3 = Exp(%s) : float32[2]
  return %go, %3
}} : float32[2]
output y = %2
end
"""
    )
    done = run("m.gir", "--check", "-o", "out.onnx")
    assert done.status == 1
    assert "not checked by reference: the loop Loop" in done.err
    assert "would run 4611686018427387904 times" in done.err
    assert not (tmp_path / "out.onnx").exists()


def test_check_without_a_valid_trial_is_a_finding(run: Run, tmp_path: Path) -> None:
    reshape = [
        helper.make_node("Shape", ["x"], ["s"]),
        helper.make_node("ConstantOfShape", ["s"], ["c"]),
        helper.make_node("Gather", ["c", "far"], ["g"], axis=1),
        helper.make_node("Add", ["x", "g"], ["y"]),
    ]
    graph = helper.make_graph(
        reshape,
        "g",
        [helper.make_tensor_value_info("x", 1, ["N", 4])],
        [helper.make_tensor_value_info("y", 1, ["N", 4])],
        [helper.make_tensor("far", 7, [1], [1000])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    done = run("m.onnx", "--check", "-o", "out.onnx")
    assert done.status == 1
    assert not (tmp_path / "out.onnx").exists()


def test_given_inputs_are_used(run: Run, model: Path) -> None:
    np.savez("in.npz", x=np.ones((5, 4), np.float32))
    assert run(model, "--check-inputs", "in.npz").status == 0
    np.savez("in.npz", x=np.ones((5, 3), np.float32))
    assert run(model, "--check-inputs", "in.npz").status == 1
    np.savez("in.npz", z=np.ones((5, 4), np.float32))
    done = run(model, "--check-inputs", "in.npz")
    assert done.status == 2
    assert "no input 'z'" in done.err
    Path("in.npz").write_bytes(b"nothing")
    assert run(model, "--check-inputs", "in.npz").status == 2
    assert run(model, "--check-inputs", "nowhere.npz").status == 3


def test_unknown_operator_needs_onnx_runtime(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nodes = [
        helper.make_node("Neg", ["x"], ["a"]),
        helper.make_node("Neg", ["a"], ["b"]),
        helper.make_node("Gelu", ["b"], ["y"], domain="com.microsoft"),
    ]
    model = make_model(tmp_path / "m.onnx", nodes)
    done = run(model, "--check", "--json")
    assert done.status == 0
    assert done.json["check"]["by"] == ["ONNX Runtime"]
    assert any("not known" in note for note in done.json["notes"])
    monkeypatch.setattr(check_onnx, "available", lambda: False)
    done = run(model, "--check")
    assert done.status == 2
    assert "pip install 'graphopt[check]'" in done.err


def test_without_onnx_runtime_the_reference_checks(
    run: Run, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(check_onnx, "available", lambda: False)
    done = run(model, "--check", "--json")
    assert done.json["check"]["by"] == ["reference"]
    assert run(model, "--check").status == 0


def test_failed_pass_is_a_remark(run: Run, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from graphopt.passes import PASSES

    def fail(self: Any, graph: Graph, context: Context) -> Graph:
        raise RewriteError("a planted failure", at="rule.x")

    monkeypatch.setattr(PASSES["fold"], "run", fail)
    done = run(model, "-o", "out.onnx", "--check")
    assert done.status == 0
    assert "remark: the pass fold was undone (harmless" in done.err
    assert "a planted failure" in done.err
    assert Path("out.onnx").exists()


def test_time_budget_undoes_slow_passes(run: Run, model: Path) -> None:
    assert run(model, "--time-budget", "0", "-o", "out.onnx").status == 0


def crash(*_: object, **__: object) -> None:
    raise AssertionError("planted")


def test_internal_error_leaves_a_reproducer_without_weights(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = np.full((4, 100), 0.123456789, np.float32)
    secrets = secret.reshape(-1).tolist()
    nodes = [
        helper.make_node("Constant", [], ["unused"], value_floats=secrets),
        helper.make_node("Constant", [], ["t"], value=helper.make_tensor("", 1, [400], secrets)),
        helper.make_node("MatMul", ["x", "k"], ["a"]),
        helper.make_node("MatMul", ["a", "l"], ["b"]),
        helper.make_node("Neg", ["b"], ["y"]),
    ]
    model = make_model(tmp_path / "m.onnx", nodes, k=secret, l=secret.T)
    with monkeypatch.context() as patched:
        patched.setattr(api, "optimize", crash)
        done = run(model, "-o", "out.onnx", "-O1", "--disable", "fold")
    assert done.status == 4
    assert "internal error: AssertionError: planted" in done.err
    (archive,) = tmp_path.glob("graphopt-crash-*.tar")
    assert f"--run-reproducer {archive.name}" in done.err
    assert secret.tobytes()[:64] not in archive.read_bytes()
    assert archive.stat().st_size < 20480
    with tarfile.open(archive) as members:
        assert set(members.getnames()) == {"model.onnx", "request.json", "traceback.txt"}
        request = json.loads(members.extractfile("request.json").read())  # type: ignore[union-attr]
    assert request["arguments"] == ["-O1", "--disable", "fold"]
    assert request["versions"]["numpy"] == np.__version__
    again = run("--run-reproducer", archive)
    assert again.status == 0
    assert "planted" in again.err
    monkeypatch.setattr(api, "optimize", crash)
    assert run("--run-reproducer", archive).status == 4
    assert len(list(tmp_path.glob("graphopt-crash-*.tar"))) == 1


def test_reproducer_of_a_text(run: Run, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(model, "-o", "m.gir").status == 0
    with monkeypatch.context() as patched:
        patched.setattr(api, "optimize", crash)
        assert run("m.gir", "--crash-reproducer", "here.tar").status == 4
    assert run("--run-reproducer", "here.tar").status == 0


def test_reproducer_can_be_refused(
    run: Run, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api, "optimize", crash)
    done = run(model, "--crash-reproducer", "off")
    assert done.status == 4
    assert "Traceback" in done.err
    assert list(tmp_path.iterdir()) == [model]


def test_what_is_no_reproducer(run: Run, model: Path) -> None:
    assert run("--run-reproducer", model).status == 3
    with tarfile.open("empty.tar", "w"):
        pass
    assert run("--run-reproducer", "empty.tar").status == 3


def terminal(*arguments: object, code: str = START, **environment: str) -> str:
    """What `graphopt-opt` writes when all its streams are a terminal."""
    parent, child = pty.openpty()
    cleared = {k: v for k, v in os.environ.items() if k not in ("CI", "NO_COLOR", "FORCE_COLOR")}
    command = [sys.executable, "-c", code, *map(str, arguments)]
    settings = {**cleared, "PYTHONPATH": str(ROOT), "TERM": "xterm", **environment}
    process = subprocess.Popen(command, stdout=child, stderr=child, env=settings)
    os.close(child)
    told = b""
    try:
        while chunk := os.read(parent, 1 << 16):
            told += chunk
    except OSError:  # the end of a terminal
        pass
    finally:
        os.close(parent)
        process.wait()
    return told.decode()


def test_terminal_gets_colours_unless_told_otherwise(model: Path) -> None:
    arguments = (model, "--print-ir-after-change")
    assert "\033[32m+" in terminal(*arguments)
    for name, value in (("NO_COLOR", "1"), ("TERM", "dumb"), ("CI", "true")):
        assert "\033[32m+" not in terminal(*arguments, **{name: value})


def test_terminal_gets_progress_when_it_takes_a_while(model: Path) -> None:
    slow = (
        "import sys, time; from graphopt import api; from graphopt.cli import opt\n"
        "load = api.load\n"
        "api.load = lambda source: (time.sleep(0.9), load(source))[1]\n"
        "sys.exit(opt())"
    )
    assert "\r\033[Kload" in terminal(model, code=slow)
    assert "\r\033[Kload" not in terminal(model, code=slow, CI="true")
