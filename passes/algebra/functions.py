"""Rules of functions that are spelled out: log-softmax, sigmoid, softplus."""

from __future__ import annotations

from graphopt.ir import Node
from graphopt.ops.activation import sigmoid, softplus
from graphopt.ops.arithmetic import add
from graphopt.ops.common import normal_axis
from graphopt.ops.functions import exp, log, neg, reciprocal
from graphopt.ops.softmax import log_softmax, softmax
from graphopt.passes.algebra.elements import anything, element_of, keeps_shape
from graphopt.rewriting import (
    Attr,
    Const,
    Equations,
    Float,
    Guard,
    Rule,
    Soundness,
    guards,
    rules,
)
from graphopt.rewriting.examples import example, filled
from graphopt.structural import constant
from graphopt.types import DType

X = example("float32[2, 3]")
WIDER = (4, 1, 1)


@rules(Soundness.ROUNDING)
def spelled_out(x: Float, k: Attr, p: Float, q: Float) -> Equations:
    """log(softmax(x)), 1 / (1 + exp(-x)) and log(1 + exp(x)) as one op, which is more accurate.

    Where the sum or the probability leaves the range of floats, one op still gives the number.
    """
    yield Rule(
        "log_softmax",
        log(p.of(softmax(x, axis=k))),
        log_softmax(x, axis=k),
        worth=guards.used_once("p"),
        fires=lambda: log(softmax(X)),
        misses=lambda: softmax(log(X)),
    )
    yield Rule(
        "sigmoid",
        reciprocal(p.of(add(q.of(exp(neg(x))), 1.0))),
        sigmoid(x),
        when=keeps_shape(),
        worth=(guards.used_once("p"), guards.used_once("q")),
        fires=lambda: reciprocal(add(filled(1), exp(neg(X)))),
        misses=lambda: reciprocal(add(filled(1, *WIDER), exp(neg(anything("float32"))))),
    )
    yield Rule(
        "softplus",
        log(p.of(add(q.of(exp(x)), 1.0))),
        softplus(x),
        when=keeps_shape(),
        worth=(guards.used_once("p"), guards.used_once("q")),
        fires=lambda: log(add(exp(X), filled(1))),
        misses=lambda: log(add(exp(anything("float32")), filled(1, *WIDER))),
    )


def _even_along(x: Node, c: Node, axis: int) -> bool:
    """Whether a constant adds the same to all elements along an axis, and enlarges nothing."""
    tensor, sizes = c.constant, x.shape
    if tensor is None or sizes is None or len(tensor.shape) > len(sizes):
        return False
    aligned = (1,) * (len(sizes) - len(tensor.shape)) + tensor.shape
    return element_of(c) is not None or aligned[normal_axis(axis, len(sizes))] == 1


@rules(Soundness.FAST)
def shifted(x: Float, c: Const, k: Attr) -> Equations:
    """softmax(x + c) = softmax(x) where c is the same along the axis."""
    yield Rule(
        "softmax",
        softmax(add(x, c), axis=k),
        softmax(x, axis=k),
        when=Guard("the constant is the same along the axis", _even_along, ("x", "c", "k")),
        fires=lambda: softmax(add(X, filled(3))),
        misses=lambda: softmax(add(X, constant([0, 1, 2], DType.FLOAT32))),
    )


FUNCTIONS = spelled_out + shifted
