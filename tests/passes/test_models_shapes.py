"""Masks, positions and statistics as exporters write them: what is left of them after O2."""

from __future__ import annotations

import numpy as np
import pytest

from graphopt.ir import Node
from graphopt.ops.activation import relu
from graphopt.ops.arithmetic import add, div, max_, mul, sub
from graphopt.ops.functions import exp
from graphopt.ops.generate import constant_of_shape, range_
from graphopt.ops.indexing import gather_nd
from graphopt.ops.logic import and_, where
from graphopt.ops.reduction import reduce_max, reduce_sum
from graphopt.ops.shape import expand, reshape, shape, squeeze, unsqueeze
from graphopt.ops.slicing import concat
from graphopt.rewriting.examples import example, filled, ints
from graphopt.structural import constant
from graphopt.tensor import Tensor
from tests.passes.test_models_rules import graph_of, held

X = example("float32[N, M]")
TRUE = Tensor.of(np.ones(1, np.bool_))


def count(axis: int, start: int = 0, x: Node = X) -> Node:
    """0, 1, 2, … as many as an axis is long."""
    size = squeeze(shape(x, start=axis, end=axis + 1))
    made: Node = range_(constant(start), size, constant(1))
    return made


def taken(rows: Node, columns: Node, x: Node = X) -> Node:
    """x[i, j] where i and j are broadcast to one shape, as a mask of attention is taken."""
    sizes = shape(max_(rows, columns))
    indices = [unsqueeze(expand(item, sizes), ints(-1)) for item in (rows, columns)]
    made: Node = gather_nd(x, concat(*indices, axis=-1))
    return made


def test_a_mask_that_is_taken_whole_is_the_mask() -> None:
    mask = taken(unsqueeze(count(0), ints(1, 2, 3)), unsqueeze(count(1), ints(0, 1, 2)))
    for sizes in ((2, 3), (1, 1), (3, 0)):
        made = held(graph_of(mask), np.arange(np.prod(sizes), dtype=np.float32).reshape(sizes))
        assert len(made) == 1 and made[0] in ("Unsqueeze", "Reshape")


@pytest.mark.parametrize(
    "root",
    [
        taken(unsqueeze(count(0), ints(0)), unsqueeze(count(1), ints(1))),  # transposed
        taken(unsqueeze(count(0, 1), ints(1)), unsqueeze(count(1), ints(0))),  # from 1 on
        taken(unsqueeze(count(0), ints(1)), unsqueeze(count(0), ints(0))),  # as wide as long
    ],
)
def test_what_is_taken_elsewhere_is_gathered(root: Node) -> None:
    made = held(graph_of(root), np.arange(9, dtype=np.float32).reshape(3, 3))
    assert "GatherND" in made


def test_a_mask_that_broadcasts_where_it_is_added_is_not_broadcast_before() -> None:
    mask, scores = example("bool[N, 1, 1, M]"), example("float32[N, 4, M, M]", "scores")
    sizes = concat(ints(1, 1), shape(mask, start=3, end=4), ints(1), axis=0)
    square = and_(constant_of_shape(sizes, value=TRUE), mask)
    root = add(scores, where(square, filled(0), filled(-1e38)))
    feeds = np.ones((1, 4, 3, 3), np.float32), np.array([True, False, True]).reshape(1, 1, 1, 3)
    assert held(graph_of(root), *feeds) == ["Where", "Add"]


def test_a_mask_that_is_seen_broadcast_stays_so() -> None:
    mask = example("bool[N, M]")
    square = and_(constant_of_shape(ints(3, 1, 1), value=TRUE), mask)
    made = held(graph_of(where(square, filled(0), filled(1))), np.array([[True, False]]))
    assert sorted(made) == ["Expand", "Where"]


def test_work_is_done_before_copies_are_made() -> None:
    copies = expand(X, shape(example("float32[K, N, M]", "like")))
    feeds = np.array([[-1, 2]], np.float32), np.zeros((3, 1, 2), np.float32)
    made = held(graph_of(relu(mul(copies, filled(2)))), *feeds)
    assert made == ["Mul", "Relu", "Shape", "Expand"]
    made = held(graph_of(relu(copies), copies), *feeds)
    assert made == ["Shape", "Expand", "Relu"]


def test_a_softmax_whose_statistics_are_shaped_back() -> None:
    x = example("float32[N, 5]")
    powers = exp(sub(x, reshape(reduce_max(x, ints(1), keepdims=0), ints(0, 1))))
    total = reduce_sum(powers, ints(1), keepdims=0, noop_with_empty_axes=1)
    graph = graph_of(div(powers, reshape(total, ints(0, 1))))
    feed = np.random.default_rng(0).standard_normal((3, 5)).astype(np.float32)
    assert held(graph, feed, exact=False) == ["ReduceMax", "Sub", "Exp", "ReduceSum", "Div"]


@pytest.mark.parametrize(("factor", "mean"), [(0.25, True), (0.2, False)])
def test_a_sum_over_its_length_is_a_mean(factor: float, mean: bool) -> None:
    x = example("float32[N, 4]")
    graph = graph_of(mul(reduce_sum(x, ints(1)), filled(factor)))
    feed = np.random.default_rng(0).standard_normal((3, 4)).astype(np.float32)
    made = held(graph, feed, exact=False)
    assert made == (["ReduceMean"] if mean else ["ReduceSum", "Mul"])
    unknown = mul(reduce_sum(x, ints(0)), filled(factor))
    assert "ReduceMean" not in held(graph_of(unknown), feed, exact=False)
