"""The README's Python runs, in order and in one namespace, and shows what it says."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

import graphopt
from graphopt.graph import Graph
from graphopt.ir import Node
from graphopt.ops.arithmetic import add
from graphopt.rewriting.examples import example
from graphopt.rewriting.rule import Math
from graphopt.structural import graph_input

ROOT = Path(__file__).parent.parent
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


@pytest.fixture
def ran(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> tuple[dict[str, Any], str]:
    """The names that the README's blocks define, and what they print."""
    monkeypatch.chdir(tmp_path)
    x: Node = example("float32[N, 3]")
    graphopt.save(Graph((x,), (add(x, x),), ("y",)), "model.onnx")
    names: dict[str, Any] = {}
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for block in BLOCK.findall(text):
        exec(compile(block, "README.md", "exec"), names)
    return names, capsys.readouterr().out


def test_blocks_run(ran: tuple[dict[str, Any], str]) -> None:
    names, printed = ran
    assert Path("small.onnx").exists()
    text = printed[printed.index("graph example") : printed.index("history {")]
    assert "Reshape" not in text and "Neg" not in text
    assert "cube_roots.product 1" in printed
    assert names["MergeRoots"]().text() == "merge-roots"


def test_programs_run(ran: tuple[dict[str, Any], str]) -> None:
    names, printed = ran
    assert "[2.4545455 2.4545455]]" in printed, "what the traced function returns"
    assert str(graphopt.load("layer.onnx").inputs[0].type) == "float32[N, 3]"
    assert "2 steps on 1 lane" in printed and "Relu.maximum" in printed
    assert str(names["profile"]) in printed
    assert json.loads(Path("trace.json").read_text(encoding="utf-8"))["traceEvents"]
    assert "numpy 3/3 ok\njax 3/3 ok\n" in printed
    assert names["run"].by_value == {1}
    assert "[3., 4., 5.]], dtype=float32),) frozenset({1})" in printed


def used_once(node: Node) -> int:
    return 1


def test_the_worked_op_and_rule_hold(ran: tuple[dict[str, Any], str]) -> None:
    names, _ = ran
    (rule,) = names["cube_roots"]
    assert rule.apply(rule.fires(), Math.DEFAULT, used_once) is not None
    assert rule.apply(rule.misses(), Math.DEFAULT, used_once) is None
    value = names["cbrt"](graph_input("v", example("float32[2, N]").type))
    assert str(value.type) == "float32[2, N]"
