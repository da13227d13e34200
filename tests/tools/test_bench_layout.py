"""The comparison of layouts: predicted and measured, what agrees, how figures are fitted."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from graphopt.graph import Graph
from graphopt.ir import Node, walk
from graphopt.ops.activation import relu
from graphopt.ops.conv import conv
from graphopt.ops.functions import neg
from graphopt.ops.pool import max_pool
from graphopt.passes.layout.cost import Amounts, amounts_of
from graphopt.structural import constant, graph_input
from graphopt.types import DType, TensorType
from tools import bench_layout, latency_race
from tools.bench_layout import Row
from tools.latency_peaks import OVERRIDES

RNG = np.random.default_rng(0)
OTHERS = {*"batch blocks linear near nearest norm pool softmax transposed whole".split()}


@pytest.fixture(autouse=True)
def native(monkeypatch: pytest.MonkeyPatch) -> None:
    """No variable chooses BLAS's kernels."""
    for name in OVERRIDES:
        monkeypatch.delenv(name, raising=False)


ROW = Row(
    "m",
    "numpy",
    {"first": 2.0, "last": 1.0, "auto": 1.0},
    {"first": 4.0, "last": 3.0, "auto": 3.0},
    {"first": 9.0, "last": 9.0, "auto": 9.0},
)


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> Graph:
    """A graph in place of every model; turns are short."""
    x = graph_input("x", TensorType(DType.FLOAT32, (1, 32, 16, 16)))
    value = x
    for _ in range(2):
        filters = constant(RNG.standard_normal((32, 32, 3, 3)).astype(np.float32) / 17)
        value = relu(conv(value, filters, pads=(1, 1, 1, 1)))
    made = Graph((x,), (max_pool(value, kernel_shape=(2, 2), strides=(2, 2)),), ("y",))
    array = RNG.standard_normal((1, 32, 16, 16)).astype(np.float32)

    def loaded(name: str) -> tuple[Graph, tuple[Any, ...]]:
        return made, (array,)

    monkeypatch.setattr(bench_layout, "loaded", loaded)
    monkeypatch.setattr(latency_race, "TURN", 0.0)
    return made


@pytest.mark.parametrize("backend", ["numpy", "jax"])
def test_row_of_a_model(model: Graph, backend: str) -> None:
    row = bench_layout.measure("m", backend, rounds=2)
    for each in (row.measured, row.predicted, row.compiling):
        assert list(each) == ["first", "last", "auto"]
        assert all(number > 0 for number in each.values())
    assert row.predicted["auto"] <= min(row.predicted["first"], row.predicted["last"])
    assert str(row).startswith("m")


def test_all_that_can_be_is_last(model: Graph) -> None:
    made = bench_layout.all_last(model)
    names = [node.op.name for node in walk(made.outputs)]
    assert (names.count("ConvLast"), names.count("MaxPoolLast")) == (2, 1)
    assert {"Conv", "MaxPool"}.isdisjoint(names)


def test_results_that_differ_are_told(model: Graph, monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(graph: Graph) -> Graph:
        return graph.with_outputs([neg(graph.outputs[0])])

    monkeypatch.setattr(bench_layout, "all_last", wrong)
    with pytest.raises(AssertionError, match=r"m, last: results differ by \d"):
        bench_layout.measure("m", "numpy", rounds=1)


def test_who_agrees() -> None:
    assert ROW.agrees
    assert not ROW.loses
    slower = replace(ROW, measured={"first": 1.0, "last": 2.0, "auto": 2.0})
    assert not slower.agrees
    assert slower.loses
    assert str(slower).endswith("DIFFER, LOSES")
    close = replace(slower, measured={"first": 1.0, "last": 1.04, "auto": 1.04})
    assert close.agrees
    assert not close.loses


def test_ratios_are_taken_within_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that is slower in one round is so for all."""
    speeds = iter([1.0, 9.0, 1.0])

    def race(calls: Any, rounds: int) -> dict[str, latency_race.Timing]:
        speed = next(speeds)
        return {name: latency_race.Timing(speed * call(), 0.0, 1) for name, call in calls.items()}

    monkeypatch.setattr(latency_race, "race", race)
    found = bench_layout.turns({"first": lambda: 2e-3, "last": lambda: 1e-3}, 3)
    assert found == pytest.approx({"first": 2.0, "last": 1.0})


def test_figures_are_found_again() -> None:
    prices = Amounts(calls=3.0, elements=2e-4, flops=5e-6)
    amounts = [Amounts(1, k, 1000.0 * k, 0, 7000.0 * k * k) for k in range(1, 9)]
    made = bench_layout.fitted(amounts, [each.at(prices) * 1e6 for each in amounts])
    for name in ("calls", "elements", "flops"):
        assert getattr(made, name) == pytest.approx(getattr(prices, name), rel=0.05), name
    assert bench_layout.fitted([Amounts()], [1.0]) == Amounts()


def test_figures_are_shown(
    model: Graph, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def alone(node: Node, backend: str, last: bool) -> float:
        return 1.0

    monkeypatch.setattr(bench_layout, "alone", alone)
    assert bench_layout.main(["ppocr_cls", "--figures", "--backend", "numpy"]) == 0
    shown = capsys.readouterr().out
    assert "conv: 1 nodes" in shown
    kinds = {line.split(":")[0]: line for line in shown.splitlines() if line.endswith(" nodes")}
    assert kinds.keys() == {"conv", *OTHERS}
    assert shown.count("Amounts(") == 2 * len(kinds)


def test_figures_of_operators_that_few_models_have(monkeypatch: pytest.MonkeyPatch) -> None:
    """One node of each kind, in both layouts."""
    monkeypatch.setattr(bench_layout, "SIZES", ((16, 6),))
    nodes = {amounts_of(node, True)[0]: node for node in bench_layout.others()}
    assert nodes.keys() == OTHERS
    for kind, node in nodes.items():
        for last in (False, True):
            assert bench_layout.alone(node, "numpy", last, rounds=1) > 0, kind


def test_exit_status(monkeypatch: pytest.MonkeyPatch) -> None:
    def row(name: str, backend: str, rounds: int) -> Row:
        return ROW if backend == "numpy" else replace(ROW, measured={**ROW.compiling, "last": 99.0})

    monkeypatch.setattr(bench_layout, "measure", row)
    assert bench_layout.main(["ppocr_cls", "--backend", "numpy"]) == 0
    assert bench_layout.main(["ppocr_cls", "--backend", "jax"]) == 1
    with pytest.raises(SystemExit) as stopped:
        bench_layout.main(["ppocr"])
    assert stopped.value.code == 2
    monkeypatch.setenv(OVERRIDES[0], "Haswell")
    assert bench_layout.main(["ppocr_cls"]) == 2
