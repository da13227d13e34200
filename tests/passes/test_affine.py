"""Folding per-channel maps into weights: what it gains, and what it must not cost."""

from __future__ import annotations

import numpy as np

import graphopt
from graphopt.graph import Graph, operations
from graphopt.ir import Node
from graphopt.ops.activation import relu
from graphopt.ops.arithmetic import add, clip, mul, sub
from graphopt.ops.conv import conv
from graphopt.ops.normalization import batch_normalization
from graphopt.passes.contractions.affine import statistics
from graphopt.rewriting.examples import example, filled, weights
from graphopt.structural import constant
from graphopt.tensor import Tensor
from graphopt.types import DType

UNFUSED = "fixpoint(simplify,fold,prune,affine)"


def optimized(output: Node) -> list[str]:
    """The operators that are left of a function of one image, before any are fused."""
    graph = Graph((example("float32[N, 3, 8, 4]"),), (output,), ("y",))
    return [node.op.name for node in operations(graphopt.optimize(graph, UNFUSED).nodes)]


def normalized(w: Node) -> Node:
    """A convolution of the image and its batch normalization."""
    made: Node = batch_normalization(conv(example("float32[N, 3, 8, 4]"), w), *statistics())
    return made


def test_a_whole_chain_becomes_one_convolution() -> None:
    scaled = mul(normalized(weights(4, 3, 3, 3)), weights(4, 1, 1, seed=8))
    assert optimized(add(scaled, weights(1, 4, 1, 1, seed=9))) == ["Conv"]


def test_a_convolution_that_others_need_is_not_copied() -> None:
    """Hard-swish: the sum inside must not be folded into a second copy of the convolution."""
    y = normalized(weights(4, 3, 3, 3))
    inner = clip(add(y, filled(3.0)), filled(0.0), filled(6.0))
    assert sorted(optimized(mul(y, inner))) == ["Add", "Clip", "Conv", "Mul"]


def test_weights_that_are_all_alike_stay_so() -> None:
    w = constant(Tensor.splat(DType.FLOAT32, (4, 3, 3, 3), np.float32(0.5)))
    assert optimized(normalized(w)) == ["Conv", "BatchNormalization"]


def test_a_product_that_overflows_is_left() -> None:
    y = conv(example("float32[N, 3, 8, 4]"), filled(1e30, 4, 3, 1, 1))
    assert optimized(mul(y, filled(1e30, 4, 1, 1))) == ["Conv", "Mul"]
    assert optimized(mul(y, filled(1e-38, 4, 1, 1))) == ["Conv"]
    assert optimized(
        mul(conv(example("float32[N, 3, 8, 4]"), filled(1e-30, 4, 3, 1, 1)), filled(1e-12, 4, 1, 1))
    ) == ["Conv", "Mul"]  # it would be subnormal


def test_weights_of_two_convolutions_are_not_copied() -> None:
    w, image = weights(64, 3, 3, 3), example("float32[N, 3, 8, 4]")
    first = mul(conv(image, w), weights(64, 1, 1, seed=1))
    second = mul(conv(relu(image), w), weights(64, 1, 1, seed=2))
    assert sorted(optimized(add(first, second))) == ["Add", "Conv", "Conv", "Mul", "Mul", "Relu"]


def test_a_channel_whose_bias_cancels_is_no_reason_to_keep_the_sum() -> None:
    y = conv(example("float32[N, 3, 8, 4]"), weights(4, 3, 1, 1), weights(4, seed=7))
    bias = np.array(weights(4, seed=7).constant.array)  # type: ignore[union-attr]  # a constant
    assert optimized(sub(y, constant(bias[:, None, None][:1]))) == ["Conv"]


def test_subnormal_weights_beside_ordinary_ones_do_not_count() -> None:
    w = np.ones((4, 3, 1, 1), np.float32)
    w[:, 1] = 1e-40
    image = example("float32[N, 3, 8, 4]")
    assert optimized(mul(conv(image, constant(w)), weights(4, 1, 1))) == ["Conv"]
    w[2] = 1e-40
    kept = optimized(mul(conv(image, constant(w)), weights(4, 1, 1)))
    assert sorted(kept) == ["Conv", "Mul"]


def test_a_channel_that_is_dead_has_its_bias() -> None:
    """Training drives the weights of channels that nobody needs to nothing; their bias stays."""
    w = np.ones((4, 3, 1, 1), np.float32)
    w[2] = 1e-40
    image = example("float32[N, 3, 8, 4]")
    assert optimized(add(conv(image, constant(w)), weights(4, 1, 1))) == ["Conv"]
    assert optimized(mul(conv(image, constant(w), weights(4)), weights(4, 1, 1))) == ["Conv"]
    assert optimized(conv(mul(image, weights(3, 1, 1)), constant(w), weights(4))) == ["Conv"]
    bias = constant(np.array([1.0, 1.0, 1e-30, 1.0], np.float32))
    kept = optimized(mul(conv(image, constant(w), bias), weights(4, 1, 1)))
    assert sorted(kept) == ["Conv", "Mul"]
