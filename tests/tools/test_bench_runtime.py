"""Latencies of optimized models in ONNX Runtime: who is timed, the spread, who has lost."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from tools import bench_peers, bench_runtime, latency_race, models, zoo
from tools.bench_peers import OURS
from tools.bench_runtime import AGAIN, NOISY, ORIGINAL, Row, means, ratios_of, row_of, spread_of

NAME = "magika"  # a model's name; what it stands for here is `small`
COPY = "import shutil\nshutil.copy(source, target)\nseconds = 0.25\n"
WRONG = """
import onnx
model = onnx.load(source)
model.graph.node[0].op_type = "Sqrt"
onnx.save(model, target)
seconds = 0.5
"""
SLOW = """
import onnx
model = onnx.load(source)
node = model.graph.node[-1]
value = node.output[0]
node.output[0] = "v0"
for k in range(400):
    model.graph.node.add(op_type="Softplus", input=[f"v{k}"], output=[f"v{k + 1}"])
    model.graph.node.add(op_type="Identity", input=["v0"], output=[f"w{k}"])
model.graph.node.add(op_type="Mul", input=["v400", "zero"], output=["nothing"])
model.graph.node.add(op_type="Add", input=["v0", "nothing"], output=[value])
model.graph.initializer.add(name="zero", data_type=1, dims=[1], float_data=[0])
onnx.save(model, target)
seconds = 0.5
"""
BROKEN = "raise ValueError('no such thing')\n"


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """`NAME` is a small model; turns are one call."""
    model = onnx.parser.parse_model(  # pyright: ignore
        """<ir_version: 8, opset_import: ["" : 17]>
        g (float[64, 64] x) => (float[64, 64] y) { a = Neg(x)  y = MatMul(a, a) }"""
    )
    source = tmp_path / "small.onnx"
    source.write_bytes(model.SerializeToString())

    def feeds(*_: Any) -> list[dict[str, Any]]:
        return [{"x": np.random.default_rng(0).random((64, 64), np.float32)}]

    def fetch(name: str) -> Path:
        assert name == NAME
        return source

    monkeypatch.setattr(zoo, "feeds_of", feeds)
    monkeypatch.setattr(models, "fetch", fetch)
    monkeypatch.setattr(latency_race, "TURN", 0.0)
    monkeypatch.setattr(bench_runtime, "MOST", 1)
    monkeypatch.setattr(bench_runtime, "NOISY", 100.0)  # whatever else runs here


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str, **tools: str) -> int:
    """The exit status where graphopt and its peers are these scripts."""
    scripts = {OURS: tools.pop("ours"), **tools}
    monkeypatch.setattr(bench_peers, "TOOLS", scripts)

    def interpreters(_: str) -> tuple[dict[str, str], list[str]]:
        return dict.fromkeys(scripts, sys.executable), []

    monkeypatch.setattr(bench_peers, "interpreters", interpreters)
    return bench_runtime.main([NAME, "--rounds", "5", *arguments])


def test_every_file_that_computes_the_same_is_timed(
    small: None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    file = tmp_path / "rows.json"
    status = run(monkeypatch, "--json", str(file), ours=COPY, wrong=WRONG, broken=BROKEN)
    out = capsys.readouterr().out
    rows = json.loads(file.read_text())
    assert status in (0, 1)  # a file against its own copy may lose by chance
    assert [(row["model"], row["level"]) for row in rows] == [(NAME, "off"), (NAME, "on")]
    for row in rows:
        assert list(row["ratios"]) == [OURS]
        assert set(row["out"]) == {"wrong", "broken"}
    assert f"{NAME}, broken: fails: ValueError: no such thing" in out
    assert f"{NAME}, wrong: differs from the original by" in out


def test_a_slower_file_loses(
    small: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, ours=SLOW, same=COPY) == 1
    out = capsys.readouterr().out
    assert f"{NAME}, off: SLOWER than same" in out
    assert f"{NAME}, on: SLOWER than original" in out


def test_a_failing_graphopt_loses(
    small: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, ours=BROKEN, same=COPY) == 1
    assert "graphopt's is out: fails: ValueError" in capsys.readouterr().out


def test_an_unknown_model_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert bench_runtime.main(["magica"]) == 2
    assert "magika" in capsys.readouterr().err


def row(level: str, spread: float, *out: str, **ratios: float) -> Row:
    """A row of these ratios; the tools in `out` are out of the comparison."""
    return Row(NAME, level, 1.0, spread, ratios, dict.fromkeys(out, "grew"))


def test_off_the_rival_is_the_best_peer_that_is_in() -> None:
    ratios = {OURS: 0.95, "a": 0.94, "b": 0.80}
    assert row("off", 0.02, "b", **ratios).verdict == ""
    assert "SLOWER than a" in row("off", 0.0, "b", **ratios).verdict
    assert "SLOWER than b" in row("off", 0.02, **ratios).verdict
    assert row("off", 0.0, graphopt=1.0).rival == (ORIGINAL, 1.0)


def test_on_the_rival_is_the_original() -> None:
    assert row("on", 0.01, graphopt=1.005, a=0.8).verdict == ""
    assert "SLOWER than original" in row("on", 0.01, graphopt=1.02, a=0.8).verdict


def test_a_busy_machine_tells_nothing() -> None:
    assert "too busy" in row("on", NOISY * 1.01, graphopt=0.5).verdict
    assert row("on", NOISY, graphopt=0.5).verdict == ""


def test_the_spread_is_the_deviation_and_its_uncertainty() -> None:
    assert spread_of([1.0] * 9) == 0
    assert spread_of([1.1] * 9) == pytest.approx(0.1)
    assert spread_of([1 / 1.1] * 9) == pytest.approx(0.1)
    few, many = [1.01, 0.99, 1.0] * 3, [1.01, 0.99, 1.0] * 30
    assert 0 < spread_of(many) < spread_of(few) < 0.03


def test_ratios_are_to_both_sessions_of_the_original_in_the_same_round() -> None:
    batch = ratios_of({ORIGINAL: [1.0, 4.0], AGAIN: [4.0, 1.0], OURS: [1.0, 1.0]})
    assert batch == {OURS: 0.5, ORIGINAL: 2.0, AGAIN: pytest.approx(2.125)}


def test_a_row_is_the_medians_over_batches() -> None:
    lucky = {OURS: 0.9, ORIGINAL: 1.0, AGAIN: 1.0}
    batches = [lucky, {**lucky, OURS: 1.0, AGAIN: 1.1}, {**lucky, OURS: 1.3, AGAIN: 1.1}]
    found = row_of(NAME, "on", batches, {})
    assert (found.ratios, found.milliseconds) == ({OURS: 1.0}, 1000)
    assert found.spread == spread_of([1.0, 1.1, 1.1])


def test_every_batch_has_sessions_of_its_own(small: None, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []
    genuine = bench_runtime.session

    def session(file: Path, threads: int, optimized: bool) -> Any:
        made.append(file.name)
        return genuine(file, threads, optimized)

    monkeypatch.setattr(bench_runtime, "session", session)
    monkeypatch.setattr(bench_runtime, "MOST", 2)
    assert run(monkeypatch, ours=COPY) in (0, 1)
    assert len(made) == 2 * 2 * 3  # batches, levels, files


def test_means_are_over_each_ones_own_models() -> None:
    rows = [row("on", 0.0, "a", graphopt=0.5, a=0.5), row("on", 0.0, graphopt=2, a=2.0)]
    ours, theirs = means(rows, [OURS, "a"])[2:]
    assert ours.startswith("on, graphopt: 1.000x of the original over 2 models; 1.000x over the 2")
    assert theirs.startswith("on, a: 1.000x of the original over 2 models; 2.000x over the 1")
