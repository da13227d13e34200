"""Checks: what counts as the same, what is told when it is not, and which inputs are tried."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphopt import dims
from graphopt.check import (
    CheckResult,
    Tolerance,
    Trials,
    check_equivalent,
    compare,
    float_bits,
    why_unrunnable,
)
from graphopt.errors import CheckError, NoTrialError, UnsupportedError
from graphopt.graph import Graph
from graphopt.ops.arithmetic import mul
from graphopt.ops.functions import sin
from graphopt.samples import LADDER, Feeds, Guess, guesses, sample_inputs
from graphopt.structural import constant, graph_input, opaque
from graphopt.tensor import Tensor
from graphopt.types import DType, MapType, OptionalType, SequenceType, TensorType
from tests.toy import add, floats, graph_of, neg, sub

A, B = floats("a", 2, 3), floats("b", 2, 3)
N, M = dims.symbol("N"), dims.symbol("M")
USUAL = Tolerance()


def outputs(old: Any, new: Any, tolerance: Tolerance = USUAL) -> CheckResult:
    """Compare two programs that return one value each."""
    graph = graph_of(neg(A), inputs=(A,))
    return compare(graph, lambda _: [old], lambda _: [new], Trials(1), tolerance)


def test_equal_programs() -> None:
    result = check_equivalent(
        graph_of(neg(neg(A)), add(A, B), inputs=(A, B)), graph_of(A, add(B, A), inputs=(A, B))
    )
    assert result == CheckResult(trials=3, valid=3)
    assert str(result) == "3/3 ok"


def test_difference_names_output_place_and_size() -> None:
    before = graph_of(neg(A), sub(A, B), inputs=(A, B))
    after = graph_of(neg(A), sub(B, A), inputs=(A, B))
    with pytest.raises(CheckError, match=r"output 'y1'\[\d, \d\]: .*largest difference .* 2\)"):
        check_equivalent(before, after)


@pytest.mark.parametrize(
    ("dtype", "inside", "outside"),
    [
        (DType.FLOAT64, 1e-10, 1e-8),
        (DType.FLOAT32, 5e-5, 2e-4),
        (DType.FLOAT16, 5e-3, 2e-2),
        (DType.BFLOAT16, 8e-3, 3e-2),
    ],
)
def test_tolerance_follows_the_dtype(dtype: DType, inside: float, outside: float) -> None:
    x = graph_input("x", TensorType(dtype, (2,)))
    graph = graph_of(neg(x), inputs=(x,))
    old = np.array([100.0, 0.0]).astype(dtype.numpy)

    def off(by: float) -> CheckResult:
        new = (old.astype(np.float64) + np.array([0.0, 100 * by])).astype(dtype.numpy)
        return compare(graph, lambda _: [old], lambda _: [new], Trials(1), Tolerance())

    assert off(inside).max_rel == pytest.approx(inside, rel=0.1)
    with pytest.raises(CheckError):
        off(outside)


def test_coarsest_dtype_on_the_way_decides() -> None:
    x = graph_input("x", TensorType(DType.FLOAT16, (2,)))
    graph = graph_of(neg(x), neg(A), inputs=(x, A))
    assert [float_bits(graph, k) for k in range(2)] == [16, 32]


@pytest.mark.parametrize(
    "values",
    [
        ([1, 2], [1, 3]),
        ([True, False], [True, True]),
        (["a", "b"], ["a", "c"]),
    ],
)
def test_all_but_floats_must_be_equal(values: tuple[list[Any], list[Any]]) -> None:
    old, new = (np.array(v, object if isinstance(v[0], str) else None) for v in values)
    outputs(old, old.copy())
    with pytest.raises(CheckError, match=r"\[1\].*1 of 2 elements differ"):
        outputs(old, new, Tolerance(atol=10.0))


NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        ([NAN, 1.0], [NAN, 1.0], True),
        ([INF, -INF], [INF, -INF], True),
        ([0.0], [-0.0], True),
        ([NAN], [0.0], False),
        ([0.0], [NAN], False),
        ([INF], [-INF], False),
        ([INF], [NAN], False),
        ([1e30], [INF], False),
        ([0.0], [1e-30], False),
        ([], [], True),
    ],
)
def test_nan_and_infinity_stand_in_the_same_places(
    old: list[float], new: list[float], same: bool
) -> None:
    arrays = np.array(old, np.float32), np.array(new, np.float32)
    if same:
        outputs(*arrays)
    else:
        with pytest.raises(CheckError):
            outputs(*arrays)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (np.zeros((2, 1)), np.zeros((1, 2))),
        (np.zeros(2), np.zeros(2, np.float32)),
        ([np.zeros(2)], [np.zeros(2), np.zeros(2)]),
        ([np.zeros(2)], np.zeros(2)),
        ([np.zeros(2)], [np.ones(2)]),
        (None, np.zeros(2)),
        ({"a": 1}, {"a": 2}),
    ],
)
def test_values_of_other_kinds_differ(old: Any, new: Any) -> None:
    outputs(old, old)
    with pytest.raises(CheckError):
        outputs(old, new)


def test_users_tolerance_replaces_the_usual() -> None:
    old, new = np.array([100.0, 1.0]), np.array([101.0, 1.0])
    outputs(old, new, Tolerance(rtol=0.02))
    outputs(old, new, Tolerance(atol=1.5))
    outputs(old, new, Tolerance(rtol=0.005, atol=0.6))
    for tolerance in (Tolerance(), Tolerance(rtol=0.005), Tolerance(atol=0.5)):
        with pytest.raises(CheckError):
            outputs(old, new, tolerance)


@given(st.lists(st.floats(width=32), max_size=8), st.integers(0, 7))
def test_every_array_equals_itself_and_no_changed_one(items: list[float], place: int) -> None:
    array = np.array(items, np.float32)
    outputs(array, array.copy())
    if items:
        changed = array.copy()
        k = place % len(items)
        changed[k] = 1.0 if not np.isfinite(array[k]) else np.float32(np.nan)
        with pytest.raises(CheckError, match=rf"\[{k}\]"):
            outputs(array, changed)


def refusing(accept: Any) -> Any:
    """A program that runs on some inputs only."""

    def run(feeds: Feeds) -> Sequence[Any]:
        if not accept(feeds):
            raise ValueError("too small")
        return [np.zeros(1)]

    return run


IMAGE = graph_input("x", TensorType(DType.FLOAT32, (N, 3, M, M)))


def test_sizes_climb_until_the_original_runs() -> None:
    graph = graph_of(neg(IMAGE), inputs=(IMAGE,))
    tried: list[tuple[int, ...]] = []

    def accept(feeds: Feeds) -> bool:
        tried.append(feeds["x"].shape)
        return bool(feeds["x"].shape[2] >= 32)

    result = compare(graph, refusing(accept), lambda _: [np.zeros(1)], Trials(), Tolerance())
    assert result.valid == 3
    assert (1, 3, 32, 32) in tried
    assert max(shape[2] for shape in tried) == 32, "nothing larger than needed"


def never(_: Feeds) -> bool:
    return False


def test_trial_that_the_original_refuses_does_not_count() -> None:
    graph = graph_of(neg(A), inputs=(A,))
    with pytest.raises(NoTrialError, match="too small"):
        compare(graph, refusing(never), lambda _: [], Trials(), Tolerance())


def test_result_that_fails_where_the_original_runs() -> None:
    graph = graph_of(neg(A), inputs=(A,))

    def fail(_: Feeds) -> Sequence[Any]:
        raise ValueError("no kernel")

    with pytest.raises(CheckError, match=r"inputs a\[2, 3\]: the result fails .*: no kernel"):
        compare(graph, lambda _: [np.zeros(1)], fail, Trials(), Tolerance())


def test_no_time_is_a_result_of_its_own() -> None:
    graph = graph_of(neg(IMAGE), inputs=(IMAGE,))
    calls = 0

    def slow(_: Feeds) -> bool:
        nonlocal calls
        calls += 1
        return False

    with pytest.raises(NoTrialError):
        compare(graph, refusing(slow), lambda _: [], Trials(seconds=0.0), Tolerance())
    assert calls == 1


def test_given_inputs_are_not_drawn() -> None:
    x = np.full((2, 3), 7.0, np.float32)
    before = graph_of(sub(A, constant(x)), inputs=(A,))
    after = graph_of(sub(constant(x), A), inputs=(A,))
    assert check_equivalent(before, after, inputs={"a": x}).valid == 3
    with pytest.raises(CheckError):
        check_equivalent(before, after)


def test_input_that_cannot_be_drawn() -> None:
    x = graph_input("x", MapType(DType.INT64, TensorType(DType.FLOAT32, ())))
    with pytest.raises(NoTrialError, match="input 'x': no value of type map"):
        check_equivalent(graph_of(x, inputs=(x,)), graph_of(x, inputs=(x,)))


def test_unknown_operators_cannot_be_run() -> None:
    assert why_unrunnable(graph_of(neg(A), inputs=(A,))) == ""
    kind = TensorType(DType.FLOAT32, (2, 3))
    strange = opaque("far", "Op", (A,), origin=1, types=(kind,), attrs={})
    assert "far::Op" in why_unrunnable(graph_of(strange, inputs=(A,)))


# Drawing.


def drawn(kind: Any, **options: Any) -> Any:
    x = graph_input("x", kind)
    return sample_inputs(graph_of(x, inputs=(x,)), **options)["x"]


@pytest.mark.parametrize("dtype", list(DType))
def test_every_dtype_is_drawn(dtype: DType) -> None:
    for shape in ((), (0,), (2, 3)):
        value = drawn(TensorType(dtype, shape))
        assert value.shape == shape
        assert value.dtype == dtype.numpy
        if dtype.is_integer:
            assert (value.astype(int) >= 0).all()
            assert (value.astype(int) <= 3).all()


def test_seed_decides() -> None:
    kind = TensorType(DType.FLOAT32, (4,))
    assert (drawn(kind, seed=1) == drawn(kind, seed=1)).all()
    assert (drawn(kind, seed=1) != drawn(kind, seed=2)).any()


def test_equal_names_are_equal_sizes_and_vary() -> None:
    x = graph_input("x", TensorType(DType.FLOAT32, (N, M)))
    y = graph_input("y", TensorType(DType.FLOAT32, (M, N, 2 * M + 1)))
    graph = graph_of(x, inputs=(x, y))
    seen: set[tuple[int, ...]] = set()
    for seed in range(3):
        feeds = sample_inputs(graph, seed)
        n, m = feeds["x"].shape
        assert feeds["y"].shape == (m, n, 2 * m + 1)
        seen.add((n, m))
    assert len(seen) == 3
    feeds = sample_inputs(graph, 0, {"N": 7})
    assert feeds["x"].shape[0] == feeds["y"].shape[1] == 7


def test_given_arrays_fix_the_names_in_their_types() -> None:
    x = graph_input("x", TensorType(DType.FLOAT32, (N, M)))
    y = graph_input("y", TensorType(DType.FLOAT32, (M,)))
    feeds = sample_inputs(graph_of(x, inputs=(x, y)), given={"x": np.zeros((2, 9))})
    assert feeds["y"].shape == (9,)


def test_first_axis_is_the_batch() -> None:
    assert drawn(TensorType(DType.FLOAT32, (None, None)), guess=Guess(2, 8)).shape == (2, 8)
    assert drawn(TensorType(DType.FLOAT32, (None,)), guess=Guess(2, 8)).shape == (8,)


def test_large_guesses_are_for_small_inputs() -> None:
    sound = TensorType(DType.FLOAT32, (None, None))
    assert drawn(sound, guess=LADDER[-1]).shape == (1, 16000)
    with pytest.raises(UnsupportedError, match="too large"):
        drawn(TensorType(DType.FLOAT32, (N, 3, M, M)), guess=Guess(1, 2048))
    fixed = TensorType(DType.FLOAT32, (1, 3, 2048, 2048))
    assert drawn(fixed, guess=Guess(1, 224)).size == 3 << 22


def test_only_last_axes_may_be_long() -> None:
    sound, state = (graph_input(n, TensorType(DType.FLOAT32, (2, None, None))) for n in "ab")
    feeds = sample_inputs(graph_of(sound, inputs=(sound, state)), guess=Guess(1, 256, last=True))
    assert {name: value.shape for name, value in feeds.items()} == dict.fromkeys("ab", (2, 1, 256))


def test_containers_are_drawn() -> None:
    kind = TensorType(DType.FLOAT32, (2,))
    assert [item.shape for item in drawn(SequenceType(kind))] == [(2,), (2,)]
    assert drawn(OptionalType(kind)).shape == (2,)


def test_input_with_a_default_is_left_out() -> None:
    graph = Graph(
        (A, B), (add(A, B),), ("y",), defaults={B: Tensor.of(np.ones((2, 3), np.float32))}
    )
    assert set(sample_inputs(graph)) == {"a"}


def test_last_good_guess_is_tried_early() -> None:
    good = LADDER[5]
    assert list(guesses(1, good))[1] is good
    assert sorted(map(hash, list(guesses(0, good))[1:])) == sorted(map(hash, LADDER))
    assert len({next(guesses(trial)) for trial in range(3)}) == 3


def test_a_sensitive_model_is_held_to_its_own_sensitivity() -> None:
    x = graph_input("x", TensorType(DType.FLOAT32, (64,)))
    big = constant(np.full(64, 3000.0, np.float32))
    before = graph_of(sin(mul(x, big)), inputs=(x,))
    close = constant(np.full(64, np.nextafter(np.float32(3000), np.float32(4000)), np.float32))
    far = constant(np.full(64, 3000.5, np.float32))
    result = check_equivalent(before, graph_of(sin(mul(x, close)), inputs=(x,)))
    assert result.sensitive and result.max_rel > 1e-4
    with pytest.raises(CheckError):
        check_equivalent(before, graph_of(sin(mul(x, far)), inputs=(x,)))
    with pytest.raises(CheckError):
        check_equivalent(before, graph_of(sin(mul(x, close)), inputs=(x,)), rtol=1e-5)
