"""Expectations: probabilities over the channels, times a number for each, as a product.

Detectors write a coordinate as the mean of a distribution: Softmax along axis 1, then a convolution
of one filter of size 1. Along the last axis both are dense.
"""

from __future__ import annotations

from typing import Any

from graphopt.ir import Node
from graphopt.ops.conv import conv
from graphopt.ops.linalg import matmul
from graphopt.ops.movement import transpose
from graphopt.ops.shape import squeeze, unsqueeze
from graphopt.ops.softmax import softmax
from graphopt.passes.movement.positions import vector
from graphopt.rewriting import (
    Attr,
    Const,
    Declined,
    Equations,
    Float,
    Rule,
    Soundness,
    Value,
    guards,
    rules,
)
from graphopt.rewriting.examples import example, weights
from graphopt.structural import constant


def is_pointwise(w: Node, a: dict[str, Any]) -> bool:
    """Whether a convolution with filters w and these attributes looks at one position at a time."""
    sizes = w.shape
    steps = a.get("strides") or ()
    return (
        sizes is not None
        and all(size == 1 for size in sizes[2:])
        and all(step == 1 for step in steps)
        and not any(a.get("pads") or ())
        and a.get("auto_pad", "NOTSET") in ("NOTSET", "VALID")
        and a.get("group", 1) == 1
    )


def expected(x: Node, w: Node, p: Any, a: dict[str, Any]) -> Node | Declined | None:
    """The mean of each distribution, with the channels as the last axis."""
    if p is None or w.constant is None or not is_pointwise(w, a):
        return Declined("the filters are not of size 1")
    if w.shape is None or w.shape[0] != 1:
        return Declined("there is one filter")
    perm = tuple(axis % len(p) for axis in p)
    last = (perm[0], *perm[2:], perm[1])
    column = constant(w.constant.array.reshape(-1, 1), w.dtype)
    mean = matmul(softmax(transpose(x, perm=last), axis=-1), column)
    made: Node = unsqueeze(squeeze(mean, vector([len(perm) - 1])), vector([1]))
    return made


def _detected(filters: int = 1, axis: int = 1) -> Node:
    x = example("float32[N, 4, 8, M]")
    chances = softmax(transpose(x, perm=(0, 2, 1, 3)), axis=axis)
    made: Node = conv(chances, weights(filters, 8, 1, 1))
    return made


@rules(Soundness.ROUNDING)
def expectations(x: Float, w: Const, chances: Value, moved: Value, p: Attr, a: Attr) -> Equations:
    """Conv(Softmax(transpose(x)), w) = Softmax(x) @ w, of one filter of size 1"""
    yield Rule(
        "softmax_conv",
        conv(chances.of(softmax(moved.of(transpose(x, perm=p)), axis=1)), w, attrs=a),
        expected,
        worth=(guards.used_once("chances"), guards.used_once("moved")),
        fires=_detected,
        misses=lambda: _detected(axis=2),
    )


EXPECTATIONS = expectations
