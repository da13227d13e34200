"""Patterns: what they match, in how many ways, and what they build."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from graphopt.errors import RewriteError
from graphopt.op import absent
from graphopt.rewriting.pattern import Apply, Var, build, is_filled_with, match, variables
from graphopt.structural import constant
from graphopt.tensor import Tensor
from graphopt.types import DType
from tests.toy import add, floats, forget, neg, scale, sub, total

x, y, z = Var("x"), Var("y"), Var("z")
c = Var("c", "Const")
xs, ys = Var("xs", "Many"), Var("ys", "Many")
p, rest = Var("p", "Attr"), Var("rest", "Attr")
A, B, C = floats("a", 2), floats("b", 2), floats("c", 2)
ONE = constant([1.0, 1.0], DType.FLOAT32)


def matches(pattern: Any, node: Any) -> list[dict[str, Any]]:
    return [dict(bound) for bound in match(pattern, node, {})]


def test_variable_binds_any_value() -> None:
    assert matches(x, A) == [{"x": A}]
    assert matches(neg(x), neg(A)) == [{"x": A}]


def test_another_op_does_not_match() -> None:
    assert matches(neg(x), forget(A)) == []
    assert matches(neg(neg(x)), neg(A)) == []


def test_variable_twice_wants_the_same_value() -> None:
    assert matches(sub(x, x), sub(A, A)) == [{"x": A}]
    assert matches(sub(x, x), sub(A, B)) == []
    assert matches(sub(neg(x), x), sub(neg(A), A)) == [{"x": A}]


def test_constant_variable_wants_a_constant() -> None:
    assert matches(neg(c), neg(ONE)) == [{"c": ONE}]
    assert matches(neg(c), neg(A)) == []


def test_commutative_operands_match_in_either_order() -> None:
    assert matches(add(neg(x), y), add(A, neg(B))) == [{"x": B, "y": A}]
    assert matches(add(x, y), add(A, B)) == [{"x": A, "y": B}, {"x": B, "y": A}]
    assert matches(add(x, y), add(A, A)) == [{"x": A, "y": A}]
    assert matches(sub(neg(x), y), sub(A, neg(B))) == []


def test_commutative_match_backtracks() -> None:
    """The inner sum must be turned round because of what the outer operand says."""
    pattern = sub(add(x, y), x)
    assert matches(pattern, sub(add(A, B), B)) == [{"x": B, "y": A}]
    deep = add(add(x, y), add(neg(y), z))
    found = matches(deep, add(add(A, neg(B)), add(C, neg(A))))
    assert {"x": neg(B), "y": A, "z": C} in found


def test_node_in_a_pattern_matches_itself_only() -> None:
    assert matches(add(x, A), add(A, B)) == [{"x": B}]
    assert matches(neg(A), neg(B)) == []


@pytest.mark.parametrize(
    ("number", "data", "dtype", "fits"),
    [
        (1.0, [1.0, 1.0], DType.FLOAT32, True),
        (1.0, [1.0, 2.0], DType.FLOAT32, False),
        (1, 1.0, DType.FLOAT32, True),
        (1, [1, 1], DType.INT64, True),
        (0.0, 0.0, DType.FLOAT32, True),
        (0.0, -0.0, DType.FLOAT32, False),
        (-0.0, -0.0, DType.FLOAT64, True),
        (-0.0, 0.0, DType.FLOAT64, False),
        (0.0, 0, DType.INT32, True),
        (1.0, True, DType.BOOL, False),
        (True, [True, True], DType.BOOL, True),
        (True, 1, DType.INT64, False),
        (0.5, 0.5, DType.BFLOAT16, True),
        (1.0, np.zeros((0,)), DType.FLOAT32, False),
        (float("nan"), float("nan"), DType.FLOAT32, False),
    ],
)
def test_number_matches_a_constant_filled_with_it(
    number: float, data: Any, dtype: DType, fits: bool
) -> None:
    node = constant(data, dtype)
    assert is_filled_with(node, number) is fits
    assert bool(matches(number, node)) is fits


def test_number_matches_a_splat_but_no_variable_value() -> None:
    assert matches(add(x, 2.0), add(A, constant(Tensor.splat(DType.FLOAT32, (2,), 2.0))))
    assert matches(add(x, 2.0), add(A, B)) == []


def test_attribute_not_mentioned_must_be_at_its_default() -> None:
    assert matches(scale(x), scale(A, by=1.0)) == [{"x": A}]
    assert matches(scale(x), scale(A, by=2.0)) == []
    assert matches(scale(x, by=2.0), scale(A, by=2.0)) == [{"x": A}]
    assert matches(scale(x, by=2.0), scale(A, by=2.0, axis=1)) == []


def test_attributes_compare_by_kind_and_bits() -> None:
    assert matches(scale(x, by=0.0), scale(A, by=-0.0)) == []
    assert matches(scale(x, axis=1), scale(A, axis=1)) == [{"x": A}]
    assert matches(scale(x, axis=True), scale(A, axis=1)) == []


def test_attribute_variable_binds_defaults_too() -> None:
    assert matches(scale(x, by=p), scale(A)) == [{"x": A, "p": 1.0}]
    twice = scale(scale(x, by=p), by=p)
    assert matches(twice, scale(scale(A, by=2.0), by=2.0)) == [{"x": A, "p": 2.0}]
    assert matches(twice, scale(scale(A, by=2.0), by=3.0)) == []


def test_rest_binds_all_other_attributes() -> None:
    node = scale(A, by=2.0, axis=1, mode="m")
    assert matches(scale(x, by=p, attrs=rest), node) == [
        {"x": A, "p": 2.0, "rest": {"axis": 1, "mode": "m"}}
    ]
    assert matches(scale(x, attrs=rest), scale(A)) == [{"x": A, "rest": {}}]


def test_unknown_attribute_is_refused() -> None:
    with pytest.raises(RewriteError, match="no attribute 'wrong'"):
        scale(x, wrong=1)


def test_none_matches_an_input_left_out() -> None:
    assert matches(scale(x, None), scale(A)) == [{"x": A}]
    assert matches(scale(x), scale(A)) == [{"x": A}]
    assert matches(scale(x, None), scale(A, B)) == []
    assert matches(scale(x), scale(A, B)) == []
    assert matches(scale(x, y), scale(A)) == []
    assert matches(scale(x, y), scale(A, B)) == [{"x": A, "y": B}]


def test_maybe_takes_an_input_left_out() -> None:
    m, k = Var("m", "Maybe"), Var("k", "MaybeConst")
    assert matches(scale(x, m), scale(A)) == [{"x": A, "m": absent}]
    assert matches(scale(x, m), scale(A, B)) == [{"x": A, "m": B}]
    assert matches(scale(x, k), scale(A)) == [{"x": A, "k": absent}]
    assert matches(scale(x, k), scale(A, ONE)) == [{"x": A, "k": ONE}]
    assert matches(scale(x, k), scale(A, B)) == []
    assert build(scale(x, m), {"x": A, "m": absent}) is scale(A)


def test_unknown_kind_of_variable_is_refused() -> None:
    with pytest.raises(RewriteError, match="no kind of variable"):
        Var("x", "<class 'inspect._empty'>")


def test_many_takes_any_number_of_operands() -> None:
    assert matches(total(xs), total(A, B, C)) == [{"xs": (A, B, C)}]
    assert matches(total(x, xs), total(A)) == [{"x": A, "xs": ()}]
    found = matches(total(xs, neg(x), ys), total(A, neg(B), C, neg(A)))
    assert found == [
        {"xs": (A,), "x": B, "ys": (C, neg(A))},
        {"xs": (A, neg(B), C), "x": A, "ys": ()},
    ]


def test_many_twice_wants_the_same_operands() -> None:
    pattern = sub(total(xs), total(xs))
    assert matches(pattern, sub(total(A, B), total(A, B))) == [{"xs": (A, B)}]
    assert matches(pattern, sub(total(A, B), total(A, C))) == []


def test_build_is_the_inverse_of_match() -> None:
    node = total(A, scale(neg(B), by=3.0, mode="m"), C)
    pattern = total(xs, scale(x, by=p, attrs=rest), ys)
    (bound,) = matches(pattern, node)
    assert build(pattern, bound) is node
    assert build(scale(x, None, by=p), bound) is scale(neg(B), by=3.0)


def test_number_cannot_stand_on_a_right_side() -> None:
    with pytest.raises(RewriteError, match="right side"):
        build(add(x, 1.0), {"x": A})


def test_variables_of_a_pattern() -> None:
    assert variables(total(xs, scale(neg(x), by=p, attrs=rest))) == {"xs", "x", "p", "rest"}
    assert variables(neg(A)) == set()
    assert isinstance(neg(x), Apply)
