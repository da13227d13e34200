"""The benchmark beside peers: what counts as a node, who is out of the comparison, who has lost."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import ModelProto, inliner

from tools import bench, bench_peers, models, zoo
from tools.bench_nodes import foreign_operators, node_count
from tools.bench_peers import OURS, Result, allowance, difference, refusal, verdict

NAME = "magika"  # a model's name; what it stands for here is `small`
SMALL = """<ir_version: 8, opset_import: ["" : 17]>
g (float[4] x) => (float[4] y) { a = Neg(x)  b = Neg(a)  y = Relu(b) }"""


def parsed(text: str) -> ModelProto:
    """A model from its text."""
    return onnx.parser.parse_model(text)  # pyright: ignore


# What counts as a node.


def test_constants_are_no_nodes() -> None:
    model = parsed(
        """<ir_version: 8, opset_import: ["" : 17]>
        g (float[N] x) => (float[2] y, float[N] z) <int64[1] two = {2}> {
            one = Constant<value = int64[1] {1}>()
            a = ConstantOfShape(two)
            b = ConstantOfShape(one)
            n = Shape(x)
            z = ConstantOfShape(n)
            y = Add(a, b)
        }"""
    )
    assert node_count(model) == 3  # Shape, the ConstantOfShape of its result, Add


@pytest.mark.parametrize(("ir_version", "expected"), [(3, 1), (4, 2)])
def test_an_initializer_that_a_caller_may_override_is_no_constant(
    ir_version: int, expected: int
) -> None:
    model = parsed(
        """<ir_version: 8, opset_import: ["" : 9]>
        g (int64[1] n) => (float[M] y) <int64[1] n = {2}> { a = ConstantOfShape(n)  y = Neg(a) }"""
    )
    if not any(item.name == "n" for item in model.graph.input):  # the parser's choice
        model.graph.input.append(
            onnx.helper.make_tensor_value_info("n", onnx.TensorProto.INT64, [1])
        )
    model.ir_version = ir_version
    assert node_count(model) == expected


def test_nodes_of_subgraphs_count_and_see_outer_constants() -> None:
    model = parsed(
        """<ir_version: 8, opset_import: ["" : 17]>
        g (bool c, float[2] x) => (float[2] y) <int64[1] two = {2}> {
            y = If(c) <
                then_branch = t () => (float[2] p) { a = ConstantOfShape(two)  p = Add(a, x) },
                else_branch = e () => (float[2] q) { b = Neg(x)  q = Neg(b) }
            >
        }"""
    )
    assert node_count(model) == 4


FUNCTIONS = """<ir_version: 10, opset_import: ["" : 17, "own" : 1]>
g (float[2] x) => (float[2] y) { a = own.Twice(x)  b = own.Twice(a)  y = Neg(b) }
<domain: "own", opset_import: ["" : 17, "own" : 1]>
Twice (p) => (q) { s = own.Once(p)  q = own.Once(s) }
<domain: "own", opset_import: ["" : 17]>
Once (p) => (q) { k = Constant<value = float[1] {2.0}>()  s = Mul(p, k)  q = Exp(s) }
"""


def test_a_function_counts_at_each_call_as_if_it_were_inlined() -> None:
    model = parsed(FUNCTIONS)
    assert node_count(model) == 2 * 2 * 2 + 1
    assert node_count(inliner.inline_local_functions(model)) == node_count(model)


def test_operators_of_one_runtime_are_foreign_unless_the_original_has_them() -> None:
    fused = parsed(
        """<ir_version: 8, opset_import: ["" : 17, "com.microsoft" : 1]>
        g (float[2] x) => (float[2] y) { a = com.microsoft.QuickGelu(x)  y = Neg(a) }"""
    )
    assert foreign_operators(fused, parsed(SMALL)) == ["com.microsoft::QuickGelu"]
    assert foreign_operators(fused, fused) == []
    assert foreign_operators(parsed(FUNCTIONS), parsed(SMALL)) == []
    unknown = parsed(SMALL)
    unknown.graph.node[0].op_type = "Negate"
    assert foreign_operators(unknown, parsed(SMALL)) == ["::Negate"]


def test_operators_in_branches_are_seen() -> None:
    model = parsed(
        """<ir_version: 8, opset_import: ["" : 17, "com.microsoft" : 1]>
        g (bool c, float[2] x) => (float[2] y) {
            y = If(c) <
                then_branch = t () => (float[2] p) { p = com.microsoft.QuickGelu(x) },
                else_branch = e () => (float[2] q) { q = Neg(x) }
            >
        }"""
    )
    assert foreign_operators(model, parsed(SMALL)) == ["com.microsoft::QuickGelu"]


# Who is out of the comparison.


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """`NAME` is the small model, lying in a file."""
    source = tmp_path / "small.onnx"
    source.write_bytes(parsed(SMALL).SerializeToString())

    def feeds(*_: Any) -> list[dict[str, Any]]:
        return [{"x": np.array([-1, 0, 2, 3], np.float32)}]

    def fetch(name: str) -> Path:
        assert name == NAME
        return source

    monkeypatch.setattr(zoo, "feeds_of", feeds)
    monkeypatch.setattr(models, "fetch", fetch)
    return source


def grown(by: int) -> ModelProto:
    """The small model, larger by so many bytes."""
    model = parsed(SMALL)
    size = model.ByteSize()
    model.doc_string = "x" * by
    model.doc_string = "x" * (2 * by - (model.ByteSize() - size))
    assert model.ByteSize() == size + by
    return model


def test_a_file_may_grow_by_64_kib_and_one_percent(small: Path) -> None:
    original = parsed(SMALL)
    assert allowance(1_000_000) == 65_536 + 10_000
    most = allowance(original.ByteSize())
    assert refusal(NAME, original, grown(most)) == ""
    assert refusal(NAME, original, grown(most + 1)).startswith(f"grew by {most + 1} bytes")


def test_a_file_that_computes_something_else_is_out(small: Path) -> None:
    original, wrong = parsed(SMALL), parsed(SMALL)
    wrong.graph.node[2].op_type = "Abs"
    assert difference(NAME, original, original) == ""
    assert difference(NAME, original, wrong).startswith("differs from the original by")
    wrong.graph.node[2].op_type = "Transpose"
    wrong.graph.node[2].input[0] = "nowhere"
    assert refusal(NAME, original, wrong).startswith("does not run")


def result(tool: str, nodes: int, refusal: str = "") -> Result:
    return Result(tool, nodes, 100, 0.1, refusal)


def test_graphopt_holds_against_the_best_peer_that_is_in() -> None:
    ours = result(OURS, 10)
    assert verdict([ours, result("a", 10), result("b", 12)])[0]
    assert verdict([ours, result("a", 9, "grew"), result("b", 12)])[0]
    held, line = verdict([ours, result("a", 9), result("b", 9), result("c", 12)])
    assert not held
    assert line == "10 nodes, best peer 9 (a, b): MORE"
    assert verdict([ours, result("a", 9, "fails")])[0]
    assert not verdict([result(OURS, 1, "grew"), result("a", 9)])[0]


# The command line, with tools that are written here.

COPY = "import shutil\nshutil.copy(source, target)\nseconds = 0.25\n"
SHORT = """
import onnx
model = onnx.load(source)
model.graph.node[2].input[0] = "x"
del model.graph.node[:2]
onnx.save(model, target)
seconds = 0.5
"""
BROKEN = "raise ValueError('no such thing')\n"


def run(monkeypatch: pytest.MonkeyPatch, *names: str, **tools: str) -> int:
    """The exit status where graphopt and its peers are these scripts."""
    scripts = {OURS: tools.pop("ours"), **tools}
    monkeypatch.setattr(bench_peers, "TOOLS", scripts)

    def interpreters(_: str) -> tuple[dict[str, str], list[str]]:
        return dict.fromkeys(scripts, sys.executable), []

    monkeypatch.setattr(bench_peers, "interpreters", interpreters)
    return bench.main([*(names or (NAME,)), "--rounds", "1"])


def test_the_table_and_the_verdict(
    small: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, ours=SHORT, same=COPY, broken=BROKEN) == 0
    out = capsys.readouterr().out
    cells = [part.strip() for part in out.splitlines()[2].strip("|").split("|")]
    assert cells[0] == NAME
    assert cells[2] == f"3 / {small.stat().st_size} / 250"
    assert cells[3] == "fails"
    assert f"{NAME}, broken: fails: ValueError: no such thing" in out
    assert "1 nodes, best peer 3 (same): ok" in out
    assert "0 of 1 models" in out


def test_a_lost_model_is_told_by_the_exit_status(
    small: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, ours=COPY, short=SHORT) == 1
    assert "3 nodes, best peer 1 (short): MORE" in capsys.readouterr().out
    assert run(monkeypatch, ours=BROKEN, same=COPY) == 1


def test_graphopt_itself_is_measured(
    small: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, ours=bench_peers.GRAPHOPT, same=COPY) == 0
    assert "1 nodes, best peer 3 (same): ok" in capsys.readouterr().out


def test_without_peers_nothing_is_compared(
    small: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, ours=COPY) == 2
    assert "no peer is installed" in capsys.readouterr().err


def test_a_model_that_cannot_be_had(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "no_such_model", ours=COPY, same=COPY) == 3
    assert "no_such_model" in capsys.readouterr().err


def test_what_an_interpreter_lacks_is_left_out() -> None:
    assert bench_peers.installed(sys.executable, "onnx")
    assert not bench_peers.installed(sys.executable, "no_such_module")
