"""The operators of ONNX Runtime: rules that write parts of a graph by `com.microsoft`.

What they make is written for ONNX Runtime only, which has these operators on CPUs for the dtypes
that the guards name. What it has and is slower at is left out: SkipLayerNormalization takes five to
eight times as long as Add and LayerNormalization (1.31, CPU).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from graphopt import analysis
from graphopt.frontends.onnx.microsoft_heads import heads
from graphopt.frontends.onnx.microsoft_nodes import operator, single
from graphopt.ir import Node
from graphopt.op import Op
from graphopt.ops.activation import gelu, hard_sigmoid, leaky_relu, relu, sigmoid, swish
from graphopt.ops.arithmetic import add
from graphopt.ops.conv import conv
from graphopt.ops.functions import tanh
from graphopt.ops.linalg import matmul
from graphopt.ops.movement import transpose
from graphopt.ops.normalization import layer_normalization, rms_normalization
from graphopt.rewriting import (
    Attr,
    Const,
    Equations,
    Float,
    Guard,
    Maybe,
    Rule,
    RuleSet,
    Soundness,
    rules,
)
from graphopt.rewriting.examples import example, filled, weights
from graphopt.rewriting.guards import same_shape, used_once


def _x(dtype: str = "float32") -> Node:
    return example(f"{dtype}[N, 3, 8]")


a_vector = Guard("the bias is a vector", lambda b: b.rank == 1)


@rules(Soundness.ROUNDING)
def bias_gelu(x: Float, b: Const, n: Float) -> Equations:
    """Gelu(x + b) = BiasGelu(x, b)"""
    yield Rule(
        "add",
        gelu(n.of(add(x, b))),
        lambda root, x, b: operator(root, "BiasGelu", x, b),
        when=(
            single,
            a_vector,
            Guard(
                "it is as long as x",
                lambda n, x, b: analysis.same_shape(n, x) and b.shape == x.shape[-1:],
            ),
        ),
        worth=used_once("n"),
        fires=lambda: gelu(add(_x(), weights(8))),
        misses=(
            lambda: gelu(add(_x("float64"), filled(1, 8, dtype="float64"))),
            lambda: gelu(add(_x(), weights(3, 8))),
            lambda: gelu(add(_x(), weights(1))),
        ),
    )


def swaps(perm: Any) -> bool:
    """Whether a permutation swaps the last two axes and nothing else."""
    if perm is None or len(perm) < 2:
        return False
    last = len(perm)
    return tuple(perm) == (*range(last - 2), last - 1, last - 2)


def _of(*shape: int, dtype: str = "float32") -> Node:
    """An input whose name is its shape, for examples."""
    sizes = ", ".join(map(str, shape))
    return example(f"{dtype}[{sizes}]", f"x{sizes}")


@rules(Soundness.EXACT)
def turned_product(x: Float, y: Float, n: Float, p: Attr) -> Equations:
    """MatMul(x, transpose(y)) = FusedMatMul(x, y) {transB = 1}"""
    turned = Guard("the last two axes are swapped", lambda p: swaps(p))
    ranks = Guard("both have the same axes", lambda x, y: x.rank is not None and x.rank == y.rank)
    yield Rule(
        "right",
        matmul(x, n.of(transpose(y, perm=p))),
        lambda root, x, y: operator(root, "FusedMatMul", x, y, transB=1),
        when=(single, turned, ranks),
        worth=used_once("n"),
        fires=lambda: matmul(_of(2, 3, 8), transpose(_of(2, 5, 8), perm=(0, 2, 1))),
        misses=(
            lambda: matmul(
                _of(2, 8, dtype="float64"), transpose(_of(5, 8, dtype="float64"), perm=(1, 0))
            ),
            lambda: matmul(_of(3, 3, 3), transpose(_of(3, 3, 3), perm=(2, 0, 1))),
            lambda: matmul(_of(2, 3, 8), transpose(_of(5, 8), perm=(1, 0))),
        ),
    )
    yield Rule(
        "left",
        matmul(n.of(transpose(x, perm=p)), y),
        lambda root, x, y: operator(root, "FusedMatMul", x, y, transA=1),
        when=(single, turned, ranks),
        worth=used_once("n"),
        fires=lambda: matmul(transpose(_of(2, 8, 3), perm=(0, 2, 1)), _of(2, 8, 5)),
        misses=(
            lambda: matmul(
                transpose(_of(8, 2, dtype="float64"), perm=(1, 0)), _of(8, 5, dtype="float64")
            ),
            lambda: matmul(transpose(_of(3, 3, 3), perm=(2, 0, 1)), _of(3, 3, 3)),
            lambda: matmul(transpose(_of(8, 3), perm=(1, 0)), _of(2, 8, 5)),
        ),
    )


def _activation(op: Op, dtype: str = "float32") -> Node:
    made: Node = op(conv(example(f"{dtype}[N, 3, 8, 8]"), example(f"{dtype}[4, 3, 3, 3]", "w")))
    return made


ACTIVATIONS: Mapping[str, tuple[Any, tuple[str, ...]]] = {
    "Relu": (relu, ()),
    "Sigmoid": (sigmoid, ()),
    "Tanh": (tanh, ()),
    "LeakyRelu": (leaky_relu, ("alpha",)),
    "HardSigmoid": (hard_sigmoid, ("alpha", "beta")),
}
"""What FusedConv may apply, and the attributes that are its activation_params."""


def _activated(name: str, params: tuple[str, ...]) -> Callable[..., Node]:
    def right(root: Node, x: Node, w: Node, b: Node, c: Any) -> Node:
        arguments = root.op.arguments(root.attrs)
        numbers: dict[str, Any] = {}
        if params:
            numbers["activation_params"] = tuple(arguments[key] for key in params)
        return operator(root, "FusedConv", x, w, b, activation=name, **numbers, **c)

    return right


@rules(Soundness.EXACT)
def activated_conv(x: Float, w: Float, b: Maybe, n: Float, a: Attr, c: Attr) -> Equations:
    """Relu(Conv(x, w, b)) = FusedConv(x, w, b) {activation = "Relu"}"""
    for name, (op, params) in ACTIVATIONS.items():
        yield Rule(
            name,
            op(n.of(conv(x, w, b, attrs=c)), attrs=a),
            _activated(name, params),
            when=single,
            worth=used_once("n"),
            fires=partial(_activation, op),
            misses=partial(_activation, op, "float64"),
        )


def _residual(z: Node) -> Node:
    x, w = example("float32[N, 3, 8, 8]"), example("float32[4, 3, 3, 3]", "w")
    made: Node = relu(add(conv(x, w), z))
    return made


def _with_residual(root: Node, x: Node, w: Node, b: Node, z: Node, c: Any) -> Node:
    return operator(root, "FusedConv", x, w, b, z, activation="Relu", **c)


@rules(Soundness.EXACT)
def residual_conv(x: Float, w: Float, b: Maybe, z: Float, m: Float, n: Float, c: Attr) -> Equations:
    """Relu(Conv(x, w, b) + z) = FusedConv(x, w, b, z) {activation = "Relu"}"""
    yield Rule(
        "Relu",
        relu(m.of(add(n.of(conv(x, w, b, attrs=c)), z))),
        _with_residual,
        when=(single, same_shape("n", "z")),
        worth=(used_once("m"), used_once("n")),
        fires=lambda: _residual(example("float32[N, 4, 6, 6]", "z")),
        misses=(
            lambda: relu(
                add(
                    conv(example("float64[1, 3, 8, 8]"), example("float64[4, 3, 3, 3]", "w")),
                    example("float64[1, 4, 6, 6]", "z"),
                )
            ),
            lambda: _residual(example("float32[4, 1, 1]", "z")),
        ),
    )


@rules(Soundness.ROUNDING)
def older_gelu(x: Float) -> Equations:
    """Gelu(x) before opset 20"""
    yield Rule(
        "erf",
        gelu(x),
        lambda root, x: operator(root, "Gelu", x),
        when=single,
        fires=lambda: gelu(_x()),
        misses=lambda: gelu(_x("float64")),
    )
    yield Rule(
        "tanh",
        gelu(x, approximate="tanh"),
        lambda root, x: operator(root, "FastGelu", x),
        when=single,
        fires=lambda: gelu(_x(), approximate="tanh"),
        misses=lambda: gelu(_x("float64"), approximate="tanh"),
    )


@rules(Soundness.ROUNDING)
def older_swish(x: Float, a: Attr) -> Equations:
    """Swish(x) before opset 24"""
    yield Rule(
        "quick",
        swish(x, alpha=a),
        lambda root, x, a: operator(root, "QuickGelu", x, alpha=a),
        when=single,
        fires=lambda: swish(_x()),
        misses=lambda: swish(_x("float64")),
    )


def _layer_norm(root: Node, x: Node, s: Node, b: Node, a: int, e: float) -> Node:
    return operator(root, "LayerNormalization", x, s, b, domain="", axis=a, epsilon=e)


@rules(Soundness.ROUNDING)
def older_layer_norm(x: Float, s: Float, b: Maybe, a: Attr, e: Attr) -> Equations:
    """LayerNormalization(x) before opset 17, which the runtime has from the first on"""
    yield Rule(
        "same_name",
        layer_normalization(x, s, b, axis=a, epsilon=e),
        _layer_norm,
        when=single,
        fires=lambda: layer_normalization(_x(), weights(8)),
        misses=lambda: layer_normalization(_x("float64"), filled(1, 8, dtype="float64")),
    )


@rules(Soundness.ROUNDING)
def older_rms_norm(x: Float, s: Float, a: Attr, e: Attr) -> Equations:
    """RMSNormalization(x) before opset 23"""
    yield Rule(
        "simplified",
        rms_normalization(x, s, axis=a, epsilon=e),
        lambda root, x, s, a, e: operator(
            root, "SimplifiedLayerNormalization", x, s, domain="", axis=a, epsilon=e
        ),
        when=single,
        fires=lambda: rms_normalization(_x(), weights(8)),
        misses=lambda: rms_normalization(_x("float64"), filled(1, 8, dtype="float64")),
    )


FUSED = heads + bias_gelu + turned_product + activated_conv + residual_conv
RENAMED: tuple[tuple[int, RuleSet], ...] = (
    (17, older_layer_norm),
    (20, older_gelu),
    (23, older_rms_norm),
    (24, older_swish),
)
"""Before which opset an operator is written by what the runtime has in its place."""
OLDER = frozenset({"Gelu", "LayerNormalization", "RMSNormalization", "Swish"})
"""The operators that these rules are about."""
ALL = FUSED + older_layer_norm + older_gelu + older_rms_norm + older_swish


def rules_at(opset: int) -> RuleSet:
    """The rules for a model of an opset."""
    made = FUSED
    for before, older in RENAMED:
        if opset < before:
            made = made + older
    return made
