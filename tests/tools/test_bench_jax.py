"""The comparison with `jax.jit`: both sides are the same function, and what is above is told."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphopt

pytest.importorskip("jax", reason="what it is compared with is an extra")

from tools import bench_jax, model_inputs, models, zoo
from tools.bench_jax import Cached, Pair, Row
from tools.bench_jax_models import FUNCTIONS, MODELS, Case, function_case, jax, model_case
from tools.latency_peaks import OVERRIDES

GOOD, BAD = Pair(1e-3, 1e-3, 1.0, 1.0), Pair(2e-3, 1e-3, 2.0, 2.0)
FAST = Cached(1e-6, 2e-6, 5e-7)


@pytest.fixture
def native(monkeypatch: pytest.MonkeyPatch) -> None:
    """No variable chooses BLAS's kernels; turns are short."""
    for name in OVERRIDES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(bench_jax, "TURN", 0.0)


# The cases.


def check_same(case: Case) -> None:
    """By hand and by the reference, not optimized, the same comes out."""
    wanted = graphopt.compile(case.graph, "reference")(*case.inputs)
    made = case.of_inputs(jax.jit(case.hand))(*case.inputs)
    assert [each.shape for each in made] == [each.shape for each in wanted]
    assert max(map(zoo.difference, map(np.asarray, made), wanted)) < 1e-5


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_by_hand_are_the_same(name: str) -> None:
    check_same(function_case(name))


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("size", [0, 1])
def test_models_by_hand_are_the_same(name: str, size: int) -> None:
    if not models.table()[name].is_cached():
        pytest.skip("the model is not here: run tools.models")
    assert size < model_inputs.sizes(name)
    check_same(model_case(name, size))


def test_results_that_differ_are_told() -> None:
    case = function_case("chain")

    def hand(x: Any, y: Any) -> tuple[Any, ...]:
        return (jax.numpy.tanh(x) + y,)

    wrong = replace(case, hand=hand)
    with pytest.raises(AssertionError, match=r"chain: results differ by \d"):
        bench_jax.measure(wrong, rounds=1, times=1)
    bench_jax.agree(case, [np.ones(2)], [np.ones(2)])
    with pytest.raises(ValueError, match="longer"):
        bench_jax.agree(case, [np.ones(2)], [np.ones(2), np.ones(2)])


# Measuring.


def test_row_of_a_case(native: None) -> None:
    row = bench_jax.measure(function_case("chain"), rounds=2, times=1)
    assert list(row.calls) == ["jax", "numpy"]
    for pair in (row.cpu, row.clock, *row.calls.values()):
        assert 0 < pair.ours < 10
        assert 0 < pair.hand < 10
    assert row.clock.ratio == pytest.approx(row.clock.ours / row.clock.hand)
    assert str(row).startswith("chain ")


def test_ratio_is_that_of_the_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    slow, fast = (lambda: None), (lambda: None)
    seconds: dict[Callable[[], None], float] = {slow: 3e-3, fast: 1e-3}
    order: list[float] = []

    def timed(call: Callable[[], None]) -> float:
        order.append(seconds[call])
        return seconds[call]

    monkeypatch.setattr(bench_jax, "seconds_of", timed)
    pair = bench_jax.raced(slow, fast, rounds=3)
    assert (pair.ours, pair.hand) == (3e-3, 1e-3)
    assert pair.ratio == pytest.approx(3)
    assert pair.p10 == pytest.approx(3)
    assert not pair.held
    changes = sum(a != b for a, b in pairwise(order))
    assert changes == 4  # of four rounds, each begins with the one that the last ended with


def test_compiling_starts_with_empty_caches(native: None, monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[str] = []
    monkeypatch.setattr(jax, "clear_caches", lambda: events.append("clear"))
    monkeypatch.setattr(bench_jax, "compile_ours", lambda *_: events.append("ours"))  # pyright: ignore
    monkeypatch.setattr(bench_jax, "compile_hand", lambda *_: events.append("hand"))  # pyright: ignore
    case = function_case("chain")
    bench_jax.compiling(case, case.graph, times=2)
    assert events[::2] == ["clear"] * 6
    assert sorted(events[1::2]) == ["hand"] * 3 + ["ours"] * 3


def test_cached_call_is_measured() -> None:
    found = bench_jax.cached_call(rounds=3, loop=20)
    assert 0 < found.numpy < 1e-3
    assert 0 < found.ours < 1e-3
    assert 0 < found.jitted < 1e-3


# What is said.


@pytest.mark.parametrize("worse", ["", "cpu", "clock", "jax", "numpy"])
def test_what_is_above_the_limit(worse: str) -> None:
    def pair(name: str) -> Pair:
        return BAD if name == worse else GOOD

    calls = {mode: pair(mode) for mode in bench_jax.MODES}
    row = Row("case", pair("cpu"), pair("clock"), calls)
    assert row.held is (worse in ("", "clock"))  # the clock depends on others
    assert ("above" in str(row)) is not row.held


def test_cached_call_must_be_cheaper() -> None:
    assert FAST.held
    assert str(FAST) == "cached call of x + 1: ours 1.00 µs, jax.jit 2.00 µs, numpy 0.50 µs"
    slow = replace(FAST, ours=2e-6)
    assert not slow.held
    assert "above" in str(slow)


@pytest.mark.parametrize(
    ("pair", "cached", "status"),
    [(GOOD, FAST, 0), (BAD, FAST, 1), (GOOD, replace(FAST, ours=3e-6), 1)],
    ids=["held", "slow", "slow call"],
)
def test_exit_status(
    native: None,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    pair: Pair,
    cached: Cached,
    status: int,
) -> None:
    def measure(case: Case, rounds: int) -> Row:
        return Row(case.name, GOOD, GOOD, {"jax": pair, "numpy": GOOD})

    monkeypatch.setattr(bench_jax, "measure", measure)
    monkeypatch.setattr(bench_jax, "cached_call", lambda _: cached)  # pyright: ignore
    file = tmp_path / "figures.json"
    assert bench_jax.main(["chain", "mlp", "--json", str(file)]) == status
    told: dict[str, Any] = json.loads(file.read_text())
    assert [row["name"] for row in told["rows"]] == ["chain", "mlp"]
    assert told["cached"]["ours"] == cached.ours


def test_wrong_usage(
    native: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bench_jax.main(["chian"]) == 2
    assert "'chain'" in capsys.readouterr().err
    monkeypatch.setenv(OVERRIDES[0], "Haswell")
    assert bench_jax.main(["chain"]) == 2
    assert f"unset {OVERRIDES[0]}" in capsys.readouterr().err


def test_model_that_cannot_be_had(
    native: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fetch(name: str) -> Path:
        raise models.FetchError(f"cannot download {name}")

    monkeypatch.setattr(models, "fetch", fetch)
    assert bench_jax.main(["oww_embedding"]) == 3
    assert "cannot download" in capsys.readouterr().err
