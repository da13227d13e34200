"""The patterns of Grappler's remapper: what each becomes here, a graph before and after.

The keys are those of tools/catalogue.py.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest

from graphopt.ir import Node
from graphopt.ops.activation import (
    elu,
    hard_swish,
    leaky_relu,
    mish,
    relu,
    sigmoid,
    softplus,
)
from graphopt.ops.arithmetic import add, clip, div, max_, mul, power, sub
from graphopt.ops.conv import conv
from graphopt.ops.functions import erf, reciprocal, sqrt, tanh
from graphopt.ops.linalg import matmul
from graphopt.ops.movement import transpose
from graphopt.ops.normalization import batch_normalization
from graphopt.ops.padding import pad
from graphopt.ops.reduction import reduce_mean
from graphopt.ops.shape import squeeze
from graphopt.ops.softmax import softmax
from graphopt.rewriting.examples import example, filled, ints, weights
from tests.passes.before_after import MathName, Row, check_row

X = example("float32[N, 4]")
BATCH = example("float32[N, 3, 4]")
IMAGE = example("float32[N, 3, 6, 6]")
VOLUME = example("float32[N, 3, 4, 4, 4]")
W, B = weights(4, 4), weights(4)
KERNEL, FLAT = weights(4, 3, 3, 3), weights(4, 3, 6, 1)
CHANNELS = weights(4, 1, 1)
RESIDUAL = example("float32[N, 4, 4, 4]", "r")
GIVEN, OFFSET = example("float32[4, 4]", "w"), example("float32[4]", "b")
FILTERS, SHIFTS = example("float32[4, 3, 3, 3]", "w"), example("float32[4, 1, 1]", "b")


def dense() -> Node:
    """x @ w + b with what a model is trained to."""
    made: Node = add(matmul(X, W), B)
    return made


def convolved() -> Node:
    """A convolution and its bias."""
    made: Node = add(conv(IMAGE, KERNEL), CHANNELS)
    return made


def normalized(x: Node) -> Node:
    """Batch normalization with what a model is trained to."""
    made: Node = batch_normalization(x, B, weights(4, seed=1), weights(4, seed=2), filled(0.5, 4))
    return made


def gelu(x: Node) -> Node:
    made: Node = mul(mul(x, filled(0.5)), add(erf(div(x, filled(2**0.5))), filled(1)))
    return made


def gelu_tanh(x: Node) -> Node:
    cubic = add(x, mul(filled(0.044715), power(x, filled(3))))
    made: Node = mul(mul(x, filled(0.5)), add(tanh(mul(filled(0.7978845608), cubic)), filled(1)))
    return made


def hard_swish_spelled(x: Node, sixth: float = 1 / 6) -> Node:
    made: Node = mul(mul(x, clip(add(x, filled(3)), filled(0), filled(6))), filled(sixth))
    return made


def moments(x: Node, *axes: int) -> Node:
    """(x - mean) / sqrt(variance + e)"""
    d = sub(x, reduce_mean(x, ints(*axes)))
    made: Node = div(d, sqrt(add(reduce_mean(mul(d, d), ints(*axes)), filled(1e-5))))
    return made


ACTIVATIONS: tuple[tuple[Callable[[Node], Node], str], ...] = (
    (relu, "Relu"),
    (elu, "Elu"),
    (tanh, "Tanh"),
    (sigmoid, "Sigmoid"),
    (lambda x: leaky_relu(x, alpha=0.1), "LeakyRelu"),
    (lambda x: clip(x, filled(0), filled(6)), "Clip"),
)


def applied(op: Callable[[Node], Node]) -> Node:
    return op(dense())


def row(key: str, make: Callable[[], Node], left: str, math: MathName = "default") -> Row:
    return Row(key, make, left, math, fused=True, rounds=True)


ROWS = (
    row("1.3.FindContractionWithBias", dense, "Gemm"),
    row("1.3.FindContractionWithBias", lambda: add(matmul(X, GIVEN), OFFSET), "Gemm"),
    row("1.3.FindContractionWithBias", lambda: add(matmul(BATCH, W), B), "MatMul+Add"),
    row("1.3.FindContractionWithBias", convolved, "Conv"),
    row("1.3.FindContractionWithBias", lambda: add(conv(IMAGE, FILTERS), SHIFTS), "Conv+Add"),
    row("1.3.FindContractionWithBias", lambda: add(conv(IMAGE, weights(3, 1, 3, 3), group=3),
                                                   weights(3, 1, 1)), "Conv"),
    row("1.3.FindContractionWithBias", lambda: add(conv(VOLUME, weights(2, 3, 2, 2, 2)),
                                                   weights(2, 1, 1, 1)), "Conv"),
    *(
        row("1.3.FindContractionWithBiasAndActivation", partial(applied, op), f"Gemm+{name}")
        for op, name in ACTIVATIONS
    ),
    row("1.3.FindContractionWithBiasAndActivation", lambda: relu(convolved()), "Conv+Relu"),
    row("1.3.FindConvWithSqueezeAndBias", lambda: add(squeeze(conv(IMAGE, FLAT), ints(2)),
                                                      weights(4, 1)), "Conv Squeeze"),
    row("1.3.FindConv2DWithBatchNorm", lambda: normalized(conv(IMAGE, KERNEL)), "Conv"),
    row("1.3.FindConv2DWithBatchNorm", lambda: relu(normalized(convolved())), "Conv+Relu"),
    row("1.3.FindConv2DWithBatchNorm", lambda: relu(batch_normalization(
        conv(IMAGE, FILTERS), B, B, B, filled(0.5, 4))), "Conv+BatchNormalization+Relu"),
    row("1.3.FindFusedBatchNorm", lambda: batch_normalization(
        X, B, B, B, filled(0.5, 4)), "BatchNormalization"),
    row("1.3.FindFusedBatchNormEx", lambda: relu(normalized(RESIDUAL)), "BatchNormalization+Relu"),
    row("1.3.FindContractionWithBiasAddAndAdd", lambda: add(convolved(), RESIDUAL), "Conv+Add"),
    row("1.3.FindContractionWithBiasAddAndAdd", lambda: relu(add(convolved(), RESIDUAL)),
        "Conv+Add+Relu"),
    row("1.3.FindContractionWithBiasAddAndAdd", lambda: relu(add(dense(), example(
        "float32[N, 4]", "r"))), "Gemm+Add+Relu"),
    row("1.3.FindPadWithConv3D", lambda: conv(pad(VOLUME, ints(0, 0, 1, 1, 1, 0, 0, 1, 1, 1)),
                                              weights(2, 3, 2, 2, 2)), "Conv"),
    row("1.3.FindFusedConvWithFusedActivation", lambda: mish(convolved()), "Conv+Mish"),
    row("1.3.FindConv2DSwish", lambda: mul(convolved(), sigmoid(convolved())), "Conv+Swish"),
    row("1.3.FindConv2DSwish", lambda: mul(X, sigmoid(X)), "Swish"),
    row("1.3.FindSoftplusAndTanhAndMul", lambda: mul(X, tanh(softplus(X))), "Mish"),
    row("1.3.FindHardSwish", lambda: hard_swish_spelled(X), "HardSwish", math="fast"),
    row("1.3.FindHardSwish", lambda: hard_swish_spelled(X, 0.17),
        "Add+Clip+Mul+Mul"),
    row("1.3.FindHardSwish", lambda: hard_swish(convolved()), "Conv+HardSwish"),
    row("1.3.FindMatMulBiasAddAndGelu", lambda: gelu(dense()), "Gemm+Gelu"),
    row("1.3.FindMatMulBiasAddAndGelu", lambda: gelu_tanh(dense()), "Gemm+Gelu"),
    row("1.3.FindMatMulBiasMulAddElu", lambda: add(mul(elu(dense()), filled(2)), filled(1)),
        "Gemm+Elu+Mul+Add"),
    row("1.3.FindMulAndMaximum", lambda: max_(X, mul(X, filled(0.1))), "LeakyRelu"),
    row("1.3.FindFusedBatchMatMul", lambda: softmax(add(mul(matmul(BATCH, transpose(
        example("float32[N, 3, 4]", "k"), perm=(0, 2, 1))), filled(0.5)), example(
            "float32[N, 3, 3]", "m"))), "Transpose MatMul+Mul+Add Softmax"),
    row("1.3.FindMklLayerNorm", lambda: add(mul(moments(X, -1), B), weights(4, seed=1)),
        "LayerNormalization"),
    row("1.3.FindMklLayerNorm", lambda: mul(sub(X, reduce_mean(X, ints(-1))), reciprocal(sqrt(
        add(reduce_mean(power(sub(X, reduce_mean(X, ints(-1))), filled(2)), ints(-1)),
            filled(1e-5))))), "LayerNormalization"),
    row("1.3.FindInstanceNorm", lambda: relu(add(mul(moments(IMAGE, 2, 3), weights(3, 1, 1)),
                                                 weights(3, 1, 1, seed=1))),
        "InstanceNormalization+Relu"),
)  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_row(row: Row) -> None:
    check_row(row)
