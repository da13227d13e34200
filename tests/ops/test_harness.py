"""The checks of ops find what is wrong: each is shown an op that is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from graphopt.ir import Node
from graphopt.op import Array, Facts, Op, Xp
from graphopt.ops import table
from graphopt.structural import graph_input
from graphopt.types import DType, TensorType, Type
from tests.ops import harness
from tests.ops.harness import tensor

X = graph_input("x", tensor("float32", "N", 3))


def double(xp: Xp, x: Array) -> Array:
    """Twice x."""
    return x + x


def same(x: Node, **attrs: Any) -> Type:
    """The type rule of what keeps the type."""
    return x.type


def singles(*numbers: float) -> Array:
    return np.array(numbers, np.float32)


def planted(kind: Type | None, name: str = "Planted", **facts: Any) -> Op:
    """An op that doubles, of an inferred type of its own."""
    op = Op(name, double, facts=Facts(**facts))
    op.infer(lambda *x: kind or same(*x))
    return op


@pytest.mark.parametrize(
    "kind",
    [
        tensor("float64", "N", 3),
        tensor("float32", "N"),
        tensor("float32", "N", 4),
        tensor("float32", 7, 3),
        TensorType(DType.FLOAT32, None, (1,) * 5),
    ],
)
def test_wrong_type_is_found(kind: Type) -> None:
    harness.check_everywhere(planted(None)(X))
    with pytest.raises(AssertionError, match="is inferred"):
        harness.check_everywhere(planted(kind)(X))


def test_wrong_result_is_found() -> None:
    op = planted(None, "Abs", elementwise=True, total=True)
    with pytest.raises(AssertionError, match="is wanted"):
        harness.check_everywhere(op(X))


def test_failing_kernel_is_found() -> None:
    def fail(xp: Xp, x: Array) -> Array:
        raise ValueError("no")

    op = Op("Planted", fail)
    op.infer(same)
    with pytest.raises(AssertionError, match="fails under all bindings"):
        harness.check_everywhere(op(X))


def test_default_that_is_not_that_of_onnx_is_found() -> None:
    def leaky(xp: Xp, x: Array, *, alpha: float = 0.5) -> Array:
        return xp.where(x < 0, x * xp.float32(alpha), x)

    op = Op("LeakyRelu", leaky, facts=Facts(elementwise=True, total=True, ulps=4))
    op.infer(same)
    with pytest.raises(AssertionError, match="is wanted"):
        harness.check_everywhere(op(X))
    assert harness.check_everywhere(op(X, alpha=0.25))


def test_closeness_is_in_ulps_of_at_least_one() -> None:
    one = singles(1, 1e-9, np.nan, np.inf, 1000)
    harness.check_close(one, one + singles(1.2e-7, 1e-7, 0, 0, 6e-5), 1)
    for wrong in ([1 + 5e-7], [np.nan], [np.inf], [1, 1]):
        with pytest.raises(AssertionError):
            harness.check_close(singles(1), singles(*wrong), 2)
    with pytest.raises(AssertionError):
        harness.check_close(np.array([1, 2]), np.array([1, 3]), 100)


def test_special_feeds_are_special() -> None:
    (sizes, *_) = harness.bindings(graph_input("x", tensor("float32", "N", 500)))
    x = graph_input("x", tensor("float32", "N", 500))
    drawn = harness.feeds(x, sizes, special=True)[x]
    assert np.isnan(drawn).any() and np.isinf(drawn).any() and np.signbit(drawn[drawn == 0]).any()
    i = graph_input("i", tensor("int8", 100))
    assert {-128, 127, 0} <= set(harness.feeds(i, {}, wide=True)[i].tolist())


def test_table_has_every_op_once() -> None:
    assert len({op.key for op in table().values()}) == len(table()) > 100
