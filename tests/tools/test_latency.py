"""The latency tools: tables are complete, shares sum up, causes are named, overrides refused."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import graphopt
from graphopt.backends.executable import Options, Spec, processors
from graphopt.backends.numpy import lower
from graphopt.backends.numpy.block import Call
from graphopt.backends.numpy.profile import Profile, Span
from graphopt.backends.numpy.steps import step_graph
from graphopt.errors import ExecutionError, UsageError
from graphopt.frontends.onnx import from_proto
from tools import bench_plans, latency, latency_causes, latency_peaks, latency_race, zoo
from tools.latency import Settings
from tools.latency_causes import CATEGORIES, Cost
from tools.latency_peaks import OVERRIDES, Peaks
from tools.latency_race import Timing
from tools.latency_tables import Row, report

PEAKS = Peaks({1: 100e9, 2: 200e9}, bandwidth=10e9, exp=1e9, call=1e-6)
NAME = "magika"  # a model's name; what it stands for here is `small`


def small() -> onnx.ModelProto:
    """A model with a product, an exponential, a sum and a tiny addition."""
    return onnx.parser.parse_model(  # pyright: ignore
        """<ir_version: 8, opset_import: ["" : 17]>
        g (float[64, 256] x, float[256, 512] w, float[1] b) => (float y, float[1] c)
        { p = MatMul(x, w)  e = Exp(p)  y = ReduceSum<keepdims = 0>(e)  c = Add(b, b) }"""
    )


@pytest.fixture
def native(monkeypatch: pytest.MonkeyPatch) -> None:
    """No variable chooses BLAS's kernels, and `NAME` is the small model; turns are one call."""
    for name in OVERRIDES:
        monkeypatch.delenv(name, raising=False)

    def feeds(*_: Any) -> list[dict[str, Any]]:
        rng = np.random.default_rng(0)
        shapes = {"x": (64, 256), "w": (256, 512), "b": (1,)}
        return [{k: rng.random(s, np.float32) * 0.01 for k, s in shapes.items()}]

    def load(name: str) -> latency.Subject:
        assert name == NAME
        return latency.Subject(name, small(), graphopt.optimize(from_proto(small()), "O2"))

    monkeypatch.setattr(latency.Subject, "load", load)
    monkeypatch.setattr(zoo, "feeds_of", feeds)
    monkeypatch.setattr(latency_race, "TURN", 0.0)
    monkeypatch.setattr(latency_peaks, "measure", lambda *_: PEAKS)  # pyright: ignore


# The environment.


@pytest.mark.parametrize("name", OVERRIDES)
def test_chosen_kernels_are_refused(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(UsageError, match=f"{name}=Some.*unset {name}"):
        latency_peaks.blas_kernels({name: "Some"})
    for each in OVERRIDES:
        monkeypatch.delenv(each, raising=False)
    monkeypatch.setenv(name, "Some")
    assert latency.main([NAME]) == 2
    assert bench_plans.main(["steps"]) == 2
    seen = capsys.readouterr()
    assert "|" not in seen.out
    assert seen.err.count(f"{name}=Some") == seen.err.count(f"unset {name}\n") == 2


def test_kernels_of_blas_are_told() -> None:
    assert latency_peaks.blas_kernels({}).endswith("kernels")


@pytest.mark.usefixtures("native")
@pytest.mark.parametrize(
    "arguments", [["no_such_model"], [NAME, "--backends", "numpy,tpu"], [NAME, "--threads", "999"]]
)
def test_wrong_usage_is_told(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert latency.main(arguments) == 2
    assert capsys.readouterr().err.startswith("latency: ")


def test_processors_are_given_back() -> None:
    before = processors()
    with latency_peaks.on_processors(1):
        assert processors() == 1 or not hasattr(os, "sched_setaffinity")
    assert processors() == before


def test_peaks_are_positive() -> None:
    seen = latency_peaks.measure([1], size=64, rounds=2)
    assert min(seen.flops[1], seen.bandwidth, seen.exp, seen.call) > 0
    assert "GFLOP/s" in str(seen)


def test_a_busy_machine_is_seen() -> None:
    assert not PEAKS.is_disturbed
    assert replace(PEAKS, flops={1: 100e9, 2: 110e9}).is_disturbed


# Taking turns.


def test_turns_interleave_and_their_first_call_does_not_count(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[str] = []
    turns = iter([9.0, 1.0, 9.0, 5.0, 9.0, 3.0, 9.0, 7.0])

    def seconds_of(call: Callable[[], object]) -> float:
        call()
        return next(turns)

    monkeypatch.setattr(latency_race, "seconds_of", seconds_of)
    monkeypatch.setattr(latency_race, "settle", lambda: seen.append("|"))
    calls = {name: (lambda name=name: seen.append(name)) for name in "ab"}
    found = latency_race.race(calls, 2)
    assert "".join(seen) == "|aa|bb|aa|bb"
    assert found == {"a": Timing(2.0, 1.0, 2), "b": Timing(6.0, 5.0, 2)}


# The tables.


def cells(text: str) -> list[list[list[str]]]:
    """The Markdown tables of a text, as rows of cells; each must be rectangular."""
    tables: list[list[list[str]]] = [[]]
    for each in text.splitlines():
        if each.startswith("|"):
            tables[-1].append([cell.strip() for cell in each.strip("|").split("|")])
        elif tables[-1]:
            tables.append([])
    for table in tables:
        assert len({len(row) for row in table}) <= 1
    return [table for table in tables if table]


@pytest.mark.usefixtures("native")
def test_the_table_is_complete(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "figures.json"
    arguments = [NAME, "--threads", "1", "--rounds", "1", "--backends", "numpy,ort", "--top", "2"]
    assert latency.main([*arguments, "--json", str(path)]) == 0
    out = capsys.readouterr().out
    latencies, where = cells(out)
    assert latencies[0][2:] == [
        "numpy ms (p10)",
        "ort ms (p10)",
        "numpy / ort",
        "first numpy / ort, ms",
    ]
    model, size, ours, theirs, ratio, first = latencies[2]
    assert (model, size) == (NAME, "256×512")
    assert all(float(cell.split(" (")[0]) > 0 for cell in (ours, theirs))
    assert ratio.endswith("x")
    assert first.count(" / ") == 1
    assert where[0] == ["model", "input", "steps", "lanes", *CATEGORIES]
    assert abs(sum(map(int, where[2][4:])) - 100) <= len(CATEGORIES)  # each is rounded
    assert out.count(" µs ") >= 2
    (row,) = json.loads(path.read_text())["rows"]
    assert sum(row["shares"].values()) == pytest.approx(1)
    assert len(row["top"]) == 2
    assert "differs" not in out


@pytest.mark.usefixtures("native")
def test_a_backend_that_fails_gets_a_note(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    right = graphopt.compile

    def compile(graph: Any, backend: str, **options: Any) -> Any:
        if backend == "jax":
            raise ExecutionError("no such luck", at="here")
        return right(graph, backend, **options)

    monkeypatch.setattr(graphopt, "compile", compile)
    assert latency.main([NAME, "--threads", "1", "--rounds", "1", "--backends", "numpy,jax"]) == 0
    out = capsys.readouterr().out
    row = cells(out)[0][2]
    assert row[0] == f"{NAME}[^1]"
    assert row[3] == "-"
    assert row[-1].endswith("/ -")
    assert "[^1]: jax fails: ExecutionError: here: no such luck" in out


@pytest.mark.usefixtures("native")
def test_results_that_differ_are_told() -> None:
    subject = latency.Subject.load(NAME)
    other = onnx.ModelProto()
    other.CopyFrom(subject.proto)
    other.graph.node[2].op_type = "ReduceMax"
    wrong = latency.Subject(NAME, other, subject.graph)
    (feeds,) = latency.sizes(NAME, other)
    notes = latency.measure(wrong, feeds, Settings(["numpy", "ort"], 1, 1, 1, PEAKS)).notes
    assert len(notes) == 1
    assert notes[0].startswith("numpy differs from ONNX Runtime by")


def row(ours: float, theirs: float, **shares: float) -> Row:
    timings = {"numpy": Timing(ours, ours, 1), "ort": Timing(theirs, theirs, 1)}
    return Row("m", "1×2", timings=timings, shares=dict.fromkeys(CATEGORIES, 0.0) | shares)


def test_a_cause_is_named_above_the_limit_only() -> None:
    slow = row(9.0, 1.0, overhead=0.5, columns=0.3, products=0.2)
    assert slow.cause == (
        f"m 1×2: 9.0x of ONNX Runtime; 50% of the time goes to {CATEGORIES['overhead']}"
    )
    assert row(7.9, 1.0, overhead=1.0).cause is None
    assert Row("m", "1×2").cause is None
    text = report([slow, row(1.0, 1.0, products=1.0)])
    assert text.endswith(f"Above 8x of ONNX Runtime:\n\n- {slow.cause}")


def test_the_better_of_the_runtime_counts() -> None:
    seen = row(1.0, 0.5)
    seen.timings[latency.PARKED] = Timing(0.25, 0.2, 1)
    latency.take_better(seen)
    assert seen.ratio("numpy") == 4.0
    assert seen.notes == ["ONNX Runtime without spinning; with it 500 ms"]


# Where the time goes.


def recorded(proto: onnx.ModelProto, **shapes: tuple[int, ...]) -> list[Call]:
    """The calls of a model for inputs of some shapes."""
    specs = [Spec(shape, np.dtype(np.float32)) for shape in shapes.values()]
    return list(lower(from_proto(proto), specs, {}, Options()).recording.calls)


def explained(calls: list[Call], seconds: list[float], blas: int = 1) -> list[Cost]:
    """What steps that took so long cost."""
    names = [f"s{k}" for k in range(len(calls))]
    spans = [Span(k, 0, 0.0, took) for k, took in enumerate(seconds)]
    profile = Profile(names, names, names, seconds, [spans])
    return latency_causes.costs(calls, profile, PEAKS, blas)


@pytest.mark.parametrize(
    ("took", "blas", "category"),
    [(200e-6, 1, "products"), (200e-6, 2, "slow products"), (400e-6, 1, "slow products")],
)
def test_products_are_held_to_the_peak_of_their_threads(
    took: float, blas: int, category: str
) -> None:
    calls = recorded(small(), x=(64, 256), w=(256, 512), b=(1,))
    found = explained(calls, [took, 60e-6, 20e-6, 1e-6], blas)
    assert [each.category for each in found] == [
        category, "transcendental", "reductions", "overhead"
    ]  # fmt: skip
    assert found[0].rate == pytest.approx(2 * 64 * 256 * 512 / took)
    assert found[1].rate == pytest.approx(2 * 4 * 64 * 512 / 60e-6)
    share = latency_causes.shares(found)
    assert set(share) == set(CATEGORIES)
    assert sum(share.values()) == pytest.approx(1)
    assert latency_causes.longest(found, 1) == found[:1]
    assert latency_causes.shares([*found, *found]) == pytest.approx(share)


def test_a_product_of_one_row_is_held_to_memory() -> None:
    proto = onnx.parser.parse_model(  # pyright: ignore
        """<ir_version: 8, opset_import: ["" : 17]>
        g (float[1, 256] x, float[256, 512] w) => (float[1, 512] y) { y = MatMul(x, w) }"""
    )
    (found,) = explained(recorded(proto, x=(1, 256), w=(256, 512)), [100e-6])
    assert found.category == "thin products"
    assert found.rate == pytest.approx(4 * (256 + 256 * 512 + 512) / 100e-6)
    assert str(found) == "100.0 µs s0: thin products, 5.3 of 10 GB/s"


def test_a_tiny_step_that_takes_long_is_no_call_overhead() -> None:
    calls = recorded(small(), x=(64, 256), w=(256, 512), b=(1,))
    found = explained(calls, [1e-3, 1e-3, 1e-3, 1e-3])
    assert found[3].category == "element-wise"


def test_copies_of_columns_are_told_from_others() -> None:
    proto = onnx.parser.parse_model(  # pyright: ignore
        """<ir_version: 8, opset_import: ["" : 17]>
        g (float[1, 8, 64, 64] x, float[8, 8, 3, 3] w) => (float[2, 8, 62, 62] z)
        { y = Conv(x, w)  z = Concat<axis = 0>(y, y) }"""
    )
    kinds = [
        latency_causes.kind(call) for call in recorded(proto, x=(1, 8, 64, 64), w=(8, 8, 3, 3))
    ]
    assert kinds == ["columns", "products", "copies"]


def test_what_is_broadcast_counts_once() -> None:
    proto = onnx.parser.parse_model(  # pyright: ignore
        """<ir_version: 8, opset_import: ["" : 17]>
        g (float[1, 1000] x, float[500, 1000] y) => (float[500, 1000] z)
        <int64[2] s = {500, 1000}> { e = Expand(x, s)  z = Mul(e, y) }"""
    )
    last = recorded(proto, x=(1, 1000), y=(500, 1000))[-1]
    assert latency_causes.moved(last) == 4 * (1000 + 2 * 500_000)


# Plans.


def test_the_chain_by_hand_is_the_chain() -> None:
    x = np.ones(1, np.float32)
    for count in (2, 5, 6):
        (expected,) = graphopt.compile(bench_plans.chain(count), "reference")(x)
        (got,) = bench_plans.by_hand(count)(x)
        assert got == expected == 1 + count * (count + 1) / 2


@pytest.mark.usefixtures("native")
def test_the_bare_loop_computes_the_same() -> None:
    subject = latency.Subject.load(NAME)
    (feeds,) = latency.sizes(NAME, subject.proto)
    program, arrays = bench_plans.planned(subject, feeds, 1)
    expected = program(*arrays)
    got = bench_plans.bare(program, program.plan.plan)(*arrays)
    for a, b in zip(got, expected, strict=True):
        np.testing.assert_array_equal(a, b)
    one, four, kept, ideal = bench_plans.arenas(step_graph(program.recording))
    assert one <= four
    assert kept <= 1 <= ideal


@pytest.mark.usefixtures("native")
def test_all_tables_of_plans_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert bench_plans.main(["--models", NAME, "--rounds", "1", "--threads", "1"]) == 0
    tables = cells(capsys.readouterr().out)
    assert [table[0][0] for table in tables] == ["what", "model", "model", "what"]
    assert [len(table) for table in tables][:3] == [6, 3, 3]
    assert tables[1][2][:2] == [NAME, "256×512"]
