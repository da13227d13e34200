"""Idioms: every spelling becomes one node, what nearly is one does not, the form is as good."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphopt
from graphopt.analysis import same_shape
from graphopt.backends.reference import evaluate_all
from graphopt.fusion import form_of, opened
from graphopt.graph import Graph
from graphopt.ir import Node, walk
from graphopt.ops.arithmetic import add, clip, div, max_, mul, sub
from graphopt.ops.functions import erf, sqrt
from graphopt.ops.fused import fused
from graphopt.ops.linalg import matmul
from graphopt.ops.movement import transpose
from graphopt.ops.reduction import reduce_mean
from graphopt.ops.softmax import softmax
from graphopt.passes.fusion.fuse import IDIOMS, Fuse
from graphopt.rewriting.examples import example, filled, ints, weights
from graphopt.rewriting.rule import Math, Rule, Soundness
from graphopt.rewriting.sweep import Sweep
from graphopt.types import DType
from tests.passes.judge import ONCE

ALL = list(IDIOMS)
SIZE = 3
"""What the named sizes of the examples are."""


def rewritten(rule: Rule, root: Node) -> tuple[Node, int]:
    """The root after a sweep of one rule, and how often it was applied."""
    math = Math.FAST if rule.soundness is Soundness.FAST else Math.DEFAULT

    def rewrite(node: Node) -> tuple[Node, str] | None:
        made = rule.apply(node, math, ONCE)
        return None if made is None else (made, rule.key)

    sweep = Sweep(rewrite)
    (made,) = sweep.run((root,))
    return made, sweep.counts[rule.key]


@pytest.mark.parametrize("rule", ALL, ids=lambda rule: rule.key)
def test_fires_and_refuses(rule: Rule) -> None:
    assert rule.fires is not None, "a rule shows an example"
    before = rule.fires()
    made, count = rewritten(rule, before)
    assert count == 1
    assert made.op is fused
    assert opened(made) == (before,), "opened, it is what it was"
    assert len(rule.near_misses) >= max(1, len(rule.guards)), "one near miss a guard"
    for miss in rule.near_misses:
        near = miss()
        made, count = rewritten(rule, near)
        assert count == 0 and made is near, "the near miss does not"
    assert rule.doc


def drawn(node: Node, rng: np.random.Generator) -> np.ndarray[Any, Any]:
    shape = [size if isinstance(size, int) else SIZE for size in node.shape or ()]
    if node.dtype is DType.INT64:
        return rng.integers(0, 4, shape)
    return rng.standard_normal(shape).astype(node.dtype.numpy)


@pytest.mark.parametrize("rule", ALL, ids=lambda rule: rule.key)
def test_the_form_computes_the_same(rule: Rule) -> None:
    assert rule.fires is not None
    made, _ = rewritten(rule, rule.fires())
    form = form_of(made)
    if form is None:
        assert made.attrs["kind"] in WITHOUT_FORM
        return
    assert same_shape(form, made)
    rng = np.random.default_rng(0)
    feeds = {n: drawn(n, rng) for n in walk((made,)) if n.op.name == "Input"}
    both = [evaluate_all(list(walk((n,))), (n,), dict(feeds))[0] for n in (made, form)]
    assert both[0].dtype == both[1].dtype
    scale = float(np.abs(both[0]).max())
    np.testing.assert_allclose(both[0], both[1], rtol=0, atol=2e-6 * scale)


WITHOUT_FORM = frozenset(
    (
        "HardSwish HardSigmoid RMSNormalization EmbedLayerNormalization RotaryEmbedding"
        " DynamicQuantizeMatMul MatMulIntegerToFloat ConvIntegerToFloat QLinearMatMul QLinearConv"
        " DequantizeMatMul"
    ).split()
)
"""What no operator computes, or none as well in all spellings: a name for a later kernel."""


@pytest.mark.parametrize("constant", [0.17, 0.1666, 1 / 6 + 1e-7])
def test_a_sixth_is_a_sixth_to_an_ulp(constant: float) -> None:
    """h * relu6(h + 3) * 0.17 is no HardSwish: it differs by two per cent."""
    x = example("float32[N, 3]")
    gate = clip(add(x, filled(3)), filled(0), filled(6))
    for spelled in (mul(mul(x, gate), filled(constant)), mul(x, mul(gate, filled(constant)))):
        for rule in ALL:
            if rule.family == "hard_swishes":
                assert rewritten(rule, spelled)[1] == 0


@pytest.mark.parametrize(("slope", "is_leaky"), [(0.0, 1), (0.5, 1), (1, 1), (2, 0), (-0.1, 0)])
def test_leaky_relu_wants_a_slope_from_0_to_1(slope: float, is_leaky: int) -> None:
    """max(x, 2 x) at -1 is -1; LeakyRelu would make it -2."""
    x = example("float32[N, 3]")
    (rule,) = [rule for rule in ALL if rule.family == "leaky_relus"]
    assert rewritten(rule, max_(x, mul(x, filled(slope))))[1] == is_leaky


def test_sixteen_bit_constants_are_compared_in_their_dtype() -> None:
    x = example("float16[N, 3]")
    (rule,) = [rule for rule in ALL if rule.key == "gelu_erf.mul_half_inside"]
    for factor, count in ((0.70710678, 1), (0.72, 0)):
        scaled = erf(mul(x, filled(factor, dtype="float16")))
        gate = mul(add(scaled, filled(1, dtype="float16")), filled(0.5, dtype="float16"))
        assert rewritten(rule, mul(x, gate))[1] == count


def test_a_form_never_has_another_shape() -> None:
    """A constant of many elements makes the value larger than x: then no operator is it."""
    x = example("float32[3]")
    gate = add(erf(mul(x, filled(2**-0.5, 2, 3))), filled(1))
    (rule,) = [rule for rule in ALL if rule.key == "gelu_erf.mul_product_first"]
    made, count = rewritten(rule, mul(mul(x, gate), filled(0.5)))
    assert count == 1 and made.shape == (2, 3)
    assert form_of(made) is None


def test_a_residual_is_no_bias() -> None:
    x, other = example("float32[N, 5, 4]"), example("float32[N, 5, 4]", "y")
    d = sub(x, reduce_mean(x, ints(-1)))
    norm = div(d, sqrt(add(reduce_mean(mul(d, d), ints(-1)), filled(1e-5))))
    root = add(mul(norm, weights(4)), other)
    graph = graphopt.optimize(Graph((x, other), (root,), ("y",)), [Fuse()], strict=True)
    kinds = [node.attrs["kind"] for node in graph.nodes if node.op is fused]
    assert kinds == ["LayerNormalization"]
    (made,) = [node for node in graph.nodes if node.op is fused]
    form = form_of(made)
    assert form is not None and form.inputs[1] is weights(4)


@pytest.mark.parametrize("batches", [("3", "1"), ("1", "3"), ("1", "1")])
def test_batches_that_are_broadcast_are_not_the_operators(batches: tuple[str, str]) -> None:
    """MatMul repeats a batch of one, Attention does not."""
    one, other = batches
    q, k = (example(f"float32[{one}, 2, 3, 4]", name) for name in "qk")
    scores = matmul(q, transpose(k, perm=(0, 1, 3, 2)))
    root = matmul(softmax(scores), example(f"float32[{other}, 2, 3, 4]", "v"))
    (rule,) = [rule for rule in ALL if rule.key == "attentions.softmax"]
    made, count = rewritten(rule, root)
    assert count == 1 and made.shape == root.shape
    assert (form_of(made) is not None) == (one == other)
