"""Softmax, its relatives, and the losses: extremes, ignored labels, what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphopt.errors import ExecutionError, TypeRuleError
from graphopt.ir import Node, types_of
from graphopt.ops.losses import negative_log_likelihood_loss, softmax_cross_entropy_loss
from graphopt.ops.softmax import hardmax, log_softmax, softmax
from graphopt.structural import constant, graph_input
from tests.ops import harness
from tests.ops.harness import tensor

Array = Any
RNG = np.random.default_rng(2)


def value(node: Node) -> Array:
    return harness.run(node, {})[node]


def f32(name: str, *shape: int | str) -> Node:
    return graph_input(name, tensor("float32", *shape))


@given(st.integers(-2, 1))
def test_softmax_sums_to_one_at_any_magnitude(axis: int) -> None:
    x = constant((RNG.normal(size=(3, 4)) * 1e4).astype(np.float32))
    made = value(softmax(x, axis=axis))
    np.testing.assert_allclose(made.sum(axis=axis), 1, rtol=1e-6)
    assert np.isfinite(value(log_softmax(x, axis=axis))).all()


def test_softmax_of_infinities() -> None:
    x = constant(np.array([[0, -np.inf], [-np.inf, -np.inf]], np.float32))
    made = value(softmax(x))
    assert made[0].tolist() == [1, 0] and np.isnan(made[1]).all()


def test_hardmax_takes_the_first_maximum() -> None:
    x = constant([[1.0, 3.0, 3.0], [0.0, -0.0, 0.0]])
    assert value(hardmax(x)).tolist() == [[0, 1, 0], [1, 0, 0]]
    assert value(hardmax(x, axis=0)).tolist() == [[1, 1, 1], [0, 0, 0]]


@pytest.mark.parametrize("op", [softmax, log_softmax, hardmax])
def test_axes_and_dtypes_are_checked(op: Any) -> None:
    assert op(f32("x", "N", 3), axis=-2).shape == f32("x", "N", 3).shape
    with pytest.raises(TypeRuleError, match="no axis 2 among 2"):
        op(f32("x", "N", 3), axis=2)
    with pytest.raises(TypeRuleError, match="int64"):
        op(graph_input("i", tensor("int64", 3)))


losses = st.tuples(
    st.sampled_from(["none", "sum", "mean"]),
    st.booleans(),
    st.sampled_from([None, -1, 1]),
    st.lists(st.integers(1, 3), max_size=2),
)


def naive(logs: Array, labels: Array, weights: Array, ignored: int | None, reduction: str) -> Array:
    """The loss, one label at a time."""
    loss, counted = np.zeros(labels.shape), np.zeros(labels.shape)
    for index in np.ndindex(*labels.shape):
        label = labels[index]
        if label != ignored:
            counted[index] = weights[label]
            loss[index] = -logs[(index[0], label, *index[1:])] * weights[label]
    if reduction == "none":
        return loss
    return loss.sum() if reduction == "sum" else loss.sum() / counted.sum()


@given(losses)
def test_losses_are_the_definition(drawn: tuple[str, bool, int | None, list[int]]) -> None:
    reduction, weighted, ignored, rest = drawn
    scores = RNG.normal(size=(3, 4, *rest))
    labels = RNG.integers(0, 4, (3, *rest))
    labels.reshape(-1)[0] = 0  # one at least counts
    labels.reshape(-1)[1:2] = labels.reshape(-1)[1:2] if ignored is None else ignored
    weights = np.abs(RNG.normal(size=4)) if weighted else np.ones(4)
    inputs = [constant(scores), constant(labels), constant(weights) if weighted else None]
    attrs = {"reduction": reduction, "ignore_index": ignored}
    made = value(negative_log_likelihood_loss(*inputs, **attrs))
    np.testing.assert_allclose(made, naive(scores, labels, weights, ignored, reduction))
    logs = value(log_softmax(constant(scores), axis=1))
    made, probabilities = value(softmax_cross_entropy_loss(*inputs, **attrs, outputs=2))
    np.testing.assert_allclose(made, naive(logs, labels, weights, ignored, reduction))
    np.testing.assert_allclose(probabilities, logs)


def test_an_ignored_label_hides_what_stands_there() -> None:
    logs = np.array([[np.nan, -1.0], [-2.0, np.nan]])
    made = value(negative_log_likelihood_loss(constant(logs), constant([7, 0]), ignore_index=7))
    assert made == 2.0


def test_shapes_of_losses() -> None:
    scores, labels = f32("x", "N", "C", 5), graph_input("l", tensor("int64", "N", 5))
    node = softmax_cross_entropy_loss(scores, labels, reduction="none", outputs=2)
    assert [str(kind) for kind in types_of(node)] == ["float32[N, 5]", "float32[N, C, 5]"]
    assert negative_log_likelihood_loss(scores, labels).shape == ()


def test_losses_refuse_what_does_not_fit() -> None:
    scores = f32("x", 2, 3, 5)
    loss = negative_log_likelihood_loss
    with pytest.raises(TypeRuleError, match="rank 1 where 2"):
        loss(scores, graph_input("l", tensor("int64", 2)))
    with pytest.raises(TypeRuleError, match="both 5 and 4"):
        loss(scores, graph_input("l", tensor("int64", 2, 4)))
    with pytest.raises(TypeRuleError, match="number of classes is both 3 and 4"):
        loss(scores, graph_input("l", tensor("int64", 2, 5)), f32("w", 4))
    with pytest.raises(TypeRuleError, match="reduction is 'max'"):
        loss(scores, graph_input("l", tensor("int64", 2, 5)), reduction="max")
    with pytest.raises(TypeRuleError, match="float32 is not taken for labels"):
        loss(scores, f32("l", 2, 5))
    labels = graph_input("l", tensor("int64", "N", "M"))
    arrays = {scores: np.zeros((2, 3, 5), np.float32), labels: np.zeros((5, 2), np.int64)}
    with pytest.raises(ExecutionError, match="labels of shape"):
        harness.run(loss(scores, labels), arrays)
