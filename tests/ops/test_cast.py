"""Cast and its kin: conversions of all dtypes, what stays known, and what is refused."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphopt import dims
from graphopt.backends.namespace import NUMPY
from graphopt.errors import ExecutionError, TypeRuleError
from graphopt.ops import cast
from graphopt.structural import constant, graph_input, results
from graphopt.types import DType, TensorType
from tests.ops import harness

INTEGERS = [dtype for dtype in DType if dtype.is_integer]
NUMBERS = [dtype for dtype in DType if dtype.kind in "iufb"]
INFINITY = float("inf")


def convert(data: Any, source: DType, target: DType, *rest: Any) -> Any:
    with np.errstate(all="ignore"):
        made = NUMPY.cast(np.array(data, source.numpy), target, *rest)
    assert made.dtype == target.numpy
    return made.astype(np.float32).tolist() if target.is_float else made.tolist()


@given(st.sampled_from(INTEGERS), st.sampled_from(INTEGERS), st.integers(-(2**63), 2**64 - 1))
def test_integers_lose_their_high_bits(source: DType, target: DType, value: int) -> None:
    def wrapped(number: int, dtype: DType) -> int:
        bits = number % (1 << dtype.bits)
        return bits - (1 << dtype.bits) if dtype.kind == "i" and bits >> (dtype.bits - 1) else bits

    own = wrapped(value, source)
    assert convert([own], source, target) == [wrapped(own, target)]


@given(st.sampled_from(INTEGERS), st.floats(-100, 100))
def test_floats_are_truncated(target: DType, value: float) -> None:
    whole = math.trunc(value)
    low = -(1 << (target.bits - 1)) if target.kind == "i" else 0
    if low <= whole < low + (1 << target.bits):
        assert convert([value], DType.FLOAT64, target) == [whole]


def test_floats_out_of_range_do_not_depend_on_their_position() -> None:
    for target in INTEGERS:
        for value in (math.nan, INFINITY, -INFINITY, 1e30, -3.0, 300.0):
            assert len(set(convert([value] * 37, DType.FLOAT32, target))) == 1


def test_integers_at_the_edge_of_64_bits() -> None:
    row = [2.0**63, 2.0**64, -(2.0**63), 2.0**62]
    assert convert(row, DType.FLOAT64, DType.INT64) == [-(2**63), -(2**63), -(2**63), 2**62]
    assert convert(row, DType.FLOAT64, DType.UINT64) == [2**63, 2**63, 2**63, 2**62]


def test_float8_saturates_or_not() -> None:
    row = [1e6, -INFINITY, math.nan, 448.0]
    made = convert(row, DType.FLOAT32, DType.FLOAT8E4M3FN)
    assert str(made) == "[448.0, -448.0, nan, 448.0]"
    made = convert(row, DType.FLOAT32, DType.FLOAT8E4M3FN, False)
    assert str(made) == "[nan, nan, nan, 448.0]"
    made = convert(row, DType.FLOAT32, DType.FLOAT8E5M2, False)
    assert str(made) == "[inf, -inf, nan, 448.0]"
    assert convert([70000], DType.INT32, DType.FLOAT8E5M2) == [57344.0]


@pytest.mark.parametrize(
    ("mode", "saturate", "wanted"),
    [
        ("up", True, [2, 2, 4, 2.0**127, 2.0**127, 2.0**-127]),
        ("down", True, [2, 1, 2, 2.0**127, 2.0**127, 2.0**-127]),
        ("nearest", True, [2, 2, 2, 2.0**127, 2.0**127, 2.0**-127]),
        ("nearest", False, [2, 2, 2, math.nan, math.nan, math.nan]),
    ],
)
def test_float8e8m0_rounds_to_powers_of_two(mode: str, saturate: bool, wanted: list[float]) -> None:
    row = [2, 1.5, 2.5, 3e38, INFINITY, 0]
    made = convert(row, DType.FLOAT32, DType.FLOAT8E8M0, saturate, mode)
    np.testing.assert_array_equal(made, np.array(wanted, np.float32))
    tiny = convert([2.0**-127, 1e-40], DType.FLOAT32, DType.FLOAT8E8M0, True, mode)
    assert tiny == [2.0**-127] * 2


def test_strings_are_parsed_and_printed() -> None:
    texts = ["1.5", "-INF", "nan", "+inf", "1e3"]
    assert str(convert(texts, DType.STRING, DType.FLOAT32)) == "[1.5, -inf, nan, inf, 1000.0]"
    assert convert(["100.5", "7"], DType.STRING, DType.INT32) == [100, 7]
    assert convert(["9007199254740993"], DType.STRING, DType.INT64) == [9007199254740993]
    assert convert(["18446744073709551615"], DType.STRING, DType.UINT64) == [2**64 - 1]
    assert convert([0.1, 2.0], DType.FLOAT32, DType.STRING) == ["0.1", "2.0"]
    assert convert([0.1], DType.FLOAT16, DType.STRING) == ["0.1"]
    assert convert([-3, 4], DType.INT4, DType.STRING) == ["-3", "4"]


def test_text_that_is_no_number_fails() -> None:
    node = cast.cast(constant(["Hello"]), to=DType.FLOAT32)
    with pytest.raises(ExecutionError, match="could not convert"):
        harness.run(node, {})


@given(st.sampled_from(NUMBERS), st.sampled_from(NUMBERS))
def test_all_casts_have_the_inferred_type(source: DType, target: DType) -> None:
    node = cast.cast(graph_input("x", harness.tensor(source, "N", 3)), to=target)
    for sizes in harness.bindings(node):
        given_values = harness.feeds(node, sizes, special=True, wide=True)
        harness.check_types(node, harness.run(node, given_values), sizes)


def test_sizes_stay_known_through_casts() -> None:
    kind = TensorType(DType.INT64, (2,)).with_known([dims.symbol("N"), 300])
    x = graph_input("x", kind)
    down = cast.cast(x, to=DType.INT32)
    assert cast.cast(down, to=DType.INT64).known == kind.known
    assert cast.cast(x, to=DType.UINT8).known is None
    assert cast.cast(x, to=DType.FLOAT32).known is None
    assert cast.cast(x, to=DType.BOOL).known == (None, True)
    assert cast.cast_like(x, constant(True)).known == (None, True)
    assert cast.identity(x).type == kind


def test_bits_are_kept() -> None:
    ones = cast.bit_cast(constant([1.0, -0.0], DType.FLOAT32), to=DType.UINT32)
    assert harness.run(ones, {})[ones].tolist() == [0x3F800000, 0x80000000]
    small = cast.bit_cast(constant([-1, 7], DType.INT4), to=DType.UINT4)
    assert harness.run(small, {})[small].tolist() == [15, 7]


X = graph_input("x", harness.tensor("float32", "N", 3))


def test_wrong_use_is_refused() -> None:
    with pytest.raises(TypeRuleError, match="number of bits"):
        cast.bit_cast(X, to=DType.INT16)
    with pytest.raises(TypeRuleError, match="string is not taken"):
        cast.bit_cast(constant(["a"]), to=DType.INT8)
    with pytest.raises(TypeRuleError, match="complex64 is not taken"):
        cast.cast(X, to=DType.COMPLEX64)
    with pytest.raises(TypeRuleError, match="round_mode"):
        cast.cast(X, to=DType.FLOAT8E8M0, round_mode="even")
    with pytest.raises(TypeRuleError, match="'to' is missing"):
        cast.cast(X)


def test_dropout_drops_nothing_or_is_refused() -> None:
    ratio = constant(0.5, DType.FLOAT32)
    for mode in (None, constant(False)):
        node = cast.dropout(X, ratio, mode, outputs=2)
        assert [value.type for value in results(node)] == [X.type, harness.tensor("bool", "N", 3)]
    for mode in (constant(True), graph_input("training", harness.tensor("bool"))):
        with pytest.raises(TypeRuleError, match="not a function"):
            cast.dropout(X, ratio, mode)
