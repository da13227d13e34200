"""Constants are combined where one operation keeps what two did, and nowhere else."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphopt.ir import Node
from graphopt.rewriting.reassociate import combined_product, combined_sum, exact_product
from graphopt.rewriting.rule import Declined
from graphopt.structural import constant
from graphopt.types import BY_LABEL

FLOATS = ["float16", "bfloat16", "float32", "float64"]


def scalar(value: float, dtype: str) -> Node:
    return constant(np.array(value).astype(BY_LABEL[dtype].numpy))


def held(made: Node | Declined) -> float | None:
    if isinstance(made, Declined):
        return None
    assert made.constant is not None
    return float(made.constant.element)


@pytest.mark.parametrize("dtype", FLOATS)
def test_sums(dtype: str) -> None:
    assert held(combined_sum(scalar(1, dtype), scalar(2, dtype))) == 3
    assert held(combined_sum(scalar(-1, dtype), scalar(-0.5, dtype))) == -1.5
    assert held(combined_sum(scalar(3, dtype), scalar(-1, dtype))) is None, "opposite signs"
    little = 2**-14 if dtype.endswith("16") else 2**-60
    assert held(combined_sum(scalar(1, dtype), scalar(little, dtype))) is None, "not exact"
    greatest = float(np.finfo(np.float32).max) if dtype != "float16" else 65504.0
    if dtype in ("float16", "float32"):
        assert held(combined_sum(scalar(greatest, dtype), scalar(greatest, dtype))) is None


@pytest.mark.parametrize("dtype", FLOATS)
def test_products(dtype: str) -> None:
    assert held(combined_product(scalar(3, dtype), scalar(-2, dtype))) == -6
    assert held(combined_product(scalar(0.5, dtype), scalar(0.25, dtype))) == 0.125
    assert held(combined_product(scalar(2, dtype), scalar(0.5, dtype))) is None, "up and down"
    assert held(combined_product(scalar(0.1, dtype), scalar(0.1, dtype))) is None, "not exact"
    assert held(combined_product(scalar(0, dtype), scalar(0.5, dtype))) is None, "zero hides"


def test_wrong_answers_of_others_are_declined() -> None:
    f32 = "float32"
    assert held(combined_sum(scalar(1, f32), scalar(1e-9, f32))) is None
    assert held(combined_product(scalar(1e30, f32), scalar(1e30, f32))) is None
    assert held(combined_product(scalar(1e-30, f32), scalar(1e-30, f32))) is None
    assert held(combined_sum(scalar(3e38, f32), scalar(3e38, f32))) is None
    assert held(combined_sum(scalar(3e38, f32), scalar(-3e38, f32))) is None


def test_integers_wrap_around() -> None:
    assert held(combined_sum(scalar(100, "int8"), scalar(100, "int8"))) == -56
    assert held(combined_product(scalar(16, "int8"), scalar(16, "int8"))) == 0
    assert exact_product(scalar(7, "int32"), scalar(-3, "int32"))


def test_exact_products() -> None:
    assert exact_product(scalar(4, "float32"), scalar(-2, "float32"))
    assert not exact_product(scalar(0.5, "float32"), scalar(0.5, "float32"))
    assert not exact_product(scalar(3, "float32"), scalar(2, "float32"))


def test_shapes_are_broadcast_and_splats_stay_small() -> None:
    row, column = constant(np.ones((1, 3), np.float32)), constant(np.ones((2, 1), np.float32))
    made = combined_sum(row, column)
    assert isinstance(made, Node)
    assert made.shape == (2, 3)
    splat = combined_sum(constant(np.ones((4, 4), np.float32)), scalar(1, "float32"))
    assert isinstance(splat, Node)
    assert splat.constant is not None
    assert splat.constant.is_splat
    assert splat.shape == (4, 4)


reals = st.floats(width=32, allow_nan=False, allow_infinity=False, allow_subnormal=False)


@given(x=reals, a=reals, b=reals)
def test_what_is_combined_is_as_near_as_before(x: float, a: float, b: float) -> None:
    f32 = np.float32
    for combine, operation in ((combined_sum, np.add), (combined_product, np.multiply)):
        made = held(combine(scalar(a, "float32"), scalar(b, "float32")))
        if made is None:
            continue
        with np.errstate(all="ignore"):
            before = operation(operation(f32(x), f32(a)), f32(b))
            after = operation(f32(x), f32(made))
            oracle = operation(operation(np.longdouble(f32(x)), np.longdouble(f32(a))), f32(b))
        if not np.isfinite(before):
            continue
        assert np.isfinite(after)
        old_error, new_error = abs(np.longdouble(before) - oracle), abs(after - oracle)
        assert new_error <= old_error + np.spacing(np.abs(after)) / 2
