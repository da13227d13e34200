"""Functions and divisions of the domain `graphopt`: their conventions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from graphopt.backends.reference import evaluate
from graphopt.errors import ExecutionError, TypeRuleError
from graphopt.op import Op
from graphopt.ops import mathematics as m
from graphopt.ops.division import floor_divide, fmod, integer_power, remainder
from graphopt.ops.examples import given
from graphopt.types import DType


def apply(op: Op, *operands: Any, **attrs: Any) -> Any:
    """What the kernel of an op makes of arrays."""
    arrays = [np.asarray(operand) for operand in operands]
    inputs = [
        given(f"x{k}", *array.shape, dtype=DType[array.dtype.name.upper()])
        for k, array in enumerate(arrays)
    ]
    with np.errstate(all="ignore"):
        return evaluate(op(*inputs, **attrs), arrays)


def test_integer_division_rounds_down_and_takes_zero() -> None:
    x, y = np.array([7, -7, 7, -7, 5, -128], np.int8), np.array([2, 2, -2, -2, 0, -1], np.int8)
    assert apply(floor_divide, x, y).tolist() == [3, -4, -4, 3, 0, -128]
    assert apply(remainder, x, y).tolist() == [1, 1, -1, -1, 0, 0]
    assert apply(fmod, x, y).tolist() == [1, -1, 1, -1, 0, 0]


def test_float_division_by_zero_follows_ieee() -> None:
    assert apply(floor_divide, [1.0, -1.0], [0.0, 0.0]).tolist() == [np.inf, -np.inf]
    assert np.isnan(apply(remainder, [1.0], [0.0])).all()
    assert apply(floor_divide, [1.0, -1.0], [np.inf, np.inf]).tolist() == [0.0, -1.0]


def test_negative_integer_power_fails() -> None:
    assert apply(integer_power, [2, -3, 0], [3, 3, 0]).tolist() == [8, -27, 1]
    with pytest.raises(ExecutionError, match="negative"):
        apply(integer_power, [2], [-1])


def test_functions_keep_what_their_composition_loses() -> None:
    assert apply(m.expm1, [1e-20]).tolist() == [1e-20]
    assert apply(m.log1p, [1e-20]).tolist() == [1e-20]
    np.testing.assert_allclose(apply(m.hypot, [3e200], [4e200]), [5e200])
    assert apply(m.log_add_exp, [1000.0], [1000.0]).tolist() == [1000 + np.log(2)]
    assert apply(m.cbrt, [-27.0]).tolist() == [-3.0]
    assert apply(m.exp2, [10.0]).tolist() == [1024.0]
    assert apply(m.log10, [1000.0]).tolist() == [3.0]
    assert apply(m.log2, [8.0]).tolist() == [3.0]


def test_quadrants_and_signs() -> None:
    angles = apply(m.atan2, [1.0, 1.0, -1.0, 0.0], [1.0, -1.0, -1.0, -1.0])
    np.testing.assert_allclose(angles, np.pi * np.array([0.25, 0.75, -0.75, 1.0]))
    assert np.signbit(apply(m.copy_sign, [1.0, 1.0], [-0.0, 0.0])).tolist() == [True, False]


def test_bits_and_divisors() -> None:
    assert apply(m.bit_count, np.array([-1, 7, -128], np.int8)).tolist() == [1, 3, 1]
    assert apply(m.gcd, [12, -8], [18, 0]).tolist() == [6, 8]
    assert apply(m.lcm, [4, 0], [6, 5]).tolist() == [12, 0]


def test_mantissa_and_exponent() -> None:
    x = np.array([8.0, -0.75, 0.0, np.inf])
    mantissa, exponent = apply(m.frexp, x, outputs=2)
    assert mantissa.tolist() == [0.5, -0.75, 0.0, np.inf]
    assert exponent.tolist()[:3] == [4, 0, 0] and exponent.dtype == np.int32
    made = apply(m.ldexp, mantissa[:3], exponent[:3])
    assert made.tolist() == x.tolist()[:3]


@pytest.mark.parametrize(
    ("op", "dtypes"),
    [
        (m.exp2, ["INT64"]),
        (m.atan2, ["FLOAT32", "FLOAT64"]),
        (m.gcd, ["FLOAT32", "FLOAT32"]),
        (m.ldexp, ["FLOAT32", "FLOAT32"]),
        (floor_divide, ["BOOL", "BOOL"]),
        (integer_power, ["FLOAT32", "FLOAT32"]),
    ],
)
def test_other_dtypes_are_refused(op: Op, dtypes: list[str]) -> None:
    with pytest.raises(TypeRuleError):
        op(*(given(f"x{k}", 2, dtype=DType[name]) for k, name in enumerate(dtypes)))
