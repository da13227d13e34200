"""HardSwish: told before its sixth goes into the weights of what follows."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import graphopt
from graphopt.api import MathName
from graphopt.backends import reference
from graphopt.fusion import expanded
from graphopt.graph import operations
from graphopt.ir import Node
from graphopt.ops.arithmetic import add, clip, div, mul
from graphopt.ops.conv import conv
from graphopt.rewriting.examples import example, filled, weights
from tests.frontends.onnx.test_targets import graph_of

IMAGE = example("float32[N, 3, 5, 5]")


def convolved(x: Node = IMAGE, seed: int = 0) -> Node:
    made: Node = conv(x, weights(3, 3, 3, 3, seed=seed), pads=(1, 1, 1, 1))
    return made


def relu6(x: Node, offset: Node | None = None) -> Node:
    made: Node = clip(add(x, offset or filled(3)), filled(0), filled(6))
    return made


SPELLINGS: tuple[Callable[[Node], Node], ...] = (
    lambda x: div(mul(x, relu6(x)), filled(6)),
    lambda x: mul(x, div(relu6(x), filled(6))),
    lambda x: mul(mul(relu6(x), x), filled(1 / 6)),
    lambda x: mul(mul(filled(1 / 6), relu6(x)), x),
)


def optimized(root: Node, math: MathName = "default") -> list[str]:
    """The operators behind the first convolution; they compute the same."""
    graph = graph_of(root)
    made = graphopt.optimize(graph, "O2", math=math)
    x = np.random.default_rng(0).standard_normal((2, 3, 5, 5)).astype(np.float32) * 2
    (old,), (new,) = reference.run(graph, {"x": x}), reference.run(made, {"x": x})
    np.testing.assert_allclose(new, old, rtol=1e-5, atol=1e-5)
    return sorted(node.op.name for node in operations(expanded(made).nodes))


@pytest.mark.parametrize("spelled", SPELLINGS)
def test_the_next_convolution_does_not_take_the_sixth(spelled: Callable[[Node], Node]) -> None:
    found = optimized(convolved(spelled(convolved()), seed=1))
    assert found == ["Conv", "Conv", "HardSigmoid", "Mul"]


def test_nor_does_a_product_that_follows() -> None:
    found = optimized(mul(SPELLINGS[0](convolved()), filled(1.5)))
    assert found == ["Conv", "HardSigmoid", "Mul", "Mul"]


MATHS: tuple[tuple[MathName, bool], ...] = (("strict", True), ("default", True), ("fast", False))


@pytest.mark.parametrize(("math", "kept"), MATHS)
def test_what_is_exact_stays_exact_but_in_fast_mode(math: MathName, kept: bool) -> None:
    assert ("Clip" in optimized(SPELLINGS[0](IMAGE), math)) is kept


def test_a_constant_that_enlarges_it_makes_it_no_gate() -> None:
    x = convolved(example("float32[1, 3, 5, 5]"))
    wide = div(relu6(x, filled(3, 2, 1, 1, 1)), filled(6))
    made = graphopt.optimize(graph_of(wide), "O2")
    assert "Clip" in {node.op.name for node in operations(expanded(made).nodes)}


def test_a_gate_that_others_use_stays() -> None:
    gate = relu6(convolved())
    assert "Clip" in optimized(add(div(gate, filled(6)), gate))
