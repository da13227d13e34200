"""Rewrites of algebra that another optimizer gets wrong: default math changes no bit of these."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest

import graphopt
from graphopt.backends import reference
from graphopt.graph import Graph
from graphopt.ir import Node, walk
from graphopt.ops.activation import relu, sigmoid
from graphopt.ops.arithmetic import add, div, max_, mul, power, sub
from graphopt.ops.functions import exp, floor, neg, reciprocal, sqrt, tanh
from graphopt.ops.logic import greater, greater_or_equal, less, less_or_equal, not_
from graphopt.ops.reduction import arg_max, reduce_max, reduce_min
from graphopt.rewriting.examples import example, filled, ints
from graphopt.structural import constant
from graphopt.types import DType
from tests.passes.algebra import agree, simplified

INF, NAN = float("inf"), float("nan")
X = example("float32[N]")
M, S, N, T = (example("float32[N]", name) for name in "msnt")
HALF, SHORT = example("float16[N]"), example("bfloat16[N]")


def c(number: float, dtype: DType = DType.FLOAT32) -> Node:
    """A scalar constant."""
    return constant(number, dtype)


b, h = partial(c, dtype=DType.BFLOAT16), partial(c, dtype=DType.FLOAT16)
Case = tuple[str, Callable[[], Node], dict[str, Any]]

CASES: list[Case] = [
    *(
        (f"1 not {op.name}", lambda op=op: not_(op(X, c(1))), {"x": [NAN, 0.5, 2, 1, INF]})
        for op in (greater, less, greater_or_equal, less_or_equal)
    ),
    ("2 max of sqrt", lambda: reduce_max(sqrt(X)), {"x": [-1, 4]}),
    ("3 min of rsqrt", lambda: reduce_min(reciprocal(sqrt(X))), {"x": [-1, 4, 1]}),
    ("4 max of nothing", lambda: reduce_max(sigmoid(example("float32[2, 0]")), ints(1)),
     {"x": np.zeros((2, 0))}),
    ("4 relu of nothing", lambda: reduce_max(relu(X)), {"x": []}),
    ("5 max of -INT_MIN", lambda: reduce_max(neg(example("int32[N]"))), {"x": [-(2**31), 5]}),
    ("6 argmax relu", lambda: arg_max(relu(X)), {"x": [-3, -1, -2]}),
    ("6 argmax floor", lambda: arg_max(floor(X)), {"x": [1.1, 1.9]}),
    ("6 argmax tanh", lambda: arg_max(tanh(X)), {"x": [20, 30]}),
    ("6 argmax exp", lambda: arg_max(exp(X)), {"x": [100, 200]}),
    ("6 argmax -INT_MIN", lambda: arg_max(neg(example("int32[N]"))), {"x": [-(2**31), 5]}),
    *(
        (f"9 power {p}", lambda p=p: power(example("float32[]"), filled(p, 3)), {"x": 2})
        for p in (2, 3, 0.5, -0.5, -1, 1, 0)
    ),
    ("10 power of -inf", lambda: power(X, filled(0.5, 2)), {"x": [-INF, -0.0]}),
    ("11 (1 - x) + 1e-9", lambda: add(sub(c(1), X), c(1e-9)), {"x": [1]}),
    ("12 (x 1e30) 1e30", lambda: mul(mul(X, c(1e30)), c(1e30)), {"x": [0, 1e-30]}),
    ("13 (x 1e-30) 1e-30", lambda: mul(mul(X, c(1e-30)), c(1e-30)), {"x": [1e38]}),
    ("14 (x + 3e38) + 3e38", lambda: add(add(X, c(3e38)), c(3e38)), {"x": [-3e38]}),
    ("15 (x + 3e38) - 3e38", lambda: sub(add(X, c(3e38)), c(3e38)), {"x": [1]}),
    ("17 products", lambda: mul(mul(M, S), mul(N, T)),
     {"m": [1e30], "s": [1e-30], "n": [1e30], "t": [1e-30]}),
    ("17 broadcast", lambda: mul(mul(M, example("float32[]", "s")), mul(N, T)),
     {"m": [1e30], "s": 1e-30, "n": [1e30], "t": [1e-30]}),
    ("18 sums", lambda: add(add(M, S), add(N, T)),
     {"m": [1e8], "s": [-1e8], "n": [1e-3], "t": [1]}),
    ("19 a tree", lambda: add(add(M, S), add(N, T)),
     {"m": [2e38], "s": [1e38], "n": [1e38], "t": [-2e38]}),
    ("20 x / 3e38", lambda: div(X, c(3e38)), {"x": [3e38]}),
    ("21 x + 0", lambda: reciprocal(add(X, c(0))), {"x": [-0.0]}),
    ("21 0 - x", lambda: reciprocal(sub(c(0), X)), {"x": [0.0]}),
    ("22 1 / (1 / x)", lambda: reciprocal(reciprocal(X)), {"x": [1e-39]}),
    ("22 as quotients", lambda: div(c(1), div(c(1), X)), {"x": [1e-39]}),
    ("23 max(x, 2 x)", lambda: max_(X, mul(X, c(2))), {"x": [-1, 1]}),
    ("23 max(x, -x)", lambda: max_(X, mul(X, c(-1))), {"x": [-1, 1]}),
    ("25 bfloat16", lambda: add(add(SHORT, b(1)), b(2**-8)), {"x": [-1]}),
    ("25 float16", lambda: add(add(HALF, h(1)), h(4e-4)), {"x": [-1]}),
    ("factor", lambda: sub(mul(X, X), mul(X, M)), {"x": [1e20], "m": [1e20]}),
]  # fmt: skip


@pytest.mark.parametrize(("make", "feeds"), [case[1:] for case in CASES], ids=[c[0] for c in CASES])
def test_default_math_changes_no_bit(make: Callable[[], Node], feeds: dict[str, Any]) -> None:
    root = make()
    agree(root, simplified(root), **feeds)
    inputs = tuple(node for node in walk((root,)) if node.op.name == "Input")
    graph = Graph(inputs, (root,), ("y",))
    made = graphopt.optimize(graph)
    given = {n.attrs["name"]: np.asarray(feeds[n.attrs["name"]], n.dtype.numpy) for n in inputs}
    (left,), (right,) = reference.run(graph, given), reference.run(made, given)
    assert (left.dtype, left.shape) == (right.dtype, right.shape)
    assert left.tobytes() == right.tobytes() or (np.isnan(left) & np.isnan(right)).all()
