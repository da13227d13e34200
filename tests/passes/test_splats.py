"""Values filled with one number of a shape that only running tells."""

from __future__ import annotations

import numpy as np
import pytest

import graphopt
from graphopt.graph import Graph
from graphopt.ir import Node
from graphopt.ops.arithmetic import add, mul
from graphopt.ops.functions import exp
from graphopt.ops.generate import constant_of_shape
from graphopt.ops.logic import where
from graphopt.ops.shape import expand, shape
from graphopt.rewriting.examples import example, filled
from graphopt.structural import constant
from graphopt.tensor import Tensor

X = example("float32[N, M]")
SIZES = shape(X)
ONES = constant_of_shape(SIZES, value=Tensor.of(np.ones(1, np.float32)))


def folded(root: Node) -> Node:
    graph = Graph((X,), (root,), ("y",))
    made = graphopt.optimize(graph, "fold")
    data = np.zeros((2, 3), np.float32)
    graphs = (graph, made)
    before, after = (graphopt.compile(g, backend="reference")(data)[0] for g in graphs)
    np.testing.assert_array_equal(before, after, strict=True)
    return made.outputs[0]


@pytest.mark.parametrize(
    ("root", "element"),
    [
        (add(ONES, filled(16)), 17),
        (mul(add(ONES, ONES), filled(3, 1, 1)), 6),
        (exp(constant_of_shape(SIZES)), 1),
        (add(expand(filled(2), SIZES), ONES), 3),
        (where(filled(1, dtype="bool"), ONES, filled(7)), 1),
    ],
)
def test_filled(root: Node, element: float) -> None:
    made = folded(root)
    assert made.op is constant_of_shape
    assert made.inputs == (SIZES,)
    assert made.attrs["value"].element == element


@pytest.mark.parametrize(
    "root",
    [
        add(ONES, filled(1, 1, 1, 1)),  # one axis more
        add(ONES, constant(np.arange(3, dtype=np.float32))),  # not one element
        add(ONES, X),
        add(ONES, constant_of_shape(constant([2, 3]))),  # of another shape
    ],
)
def test_not_filled(root: Node) -> None:
    assert folded(root).op is add
