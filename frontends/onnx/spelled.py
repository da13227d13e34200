"""What a model spells as runtimes look for it, where it means the same.

Before ONNX had operators for norms they were written out, with a Pow of 2 where products of a value
with itself are simpler; runtimes fuse what has the Pow and nothing else.
"""

from __future__ import annotations

from graphopt.frontends.onnx.microsoft_nodes import single
from graphopt.ops.arithmetic import mul, power
from graphopt.ops.reduction import reduce_mean
from graphopt.rewriting import (
    Attr,
    Equations,
    Float,
    MaybeConst,
    Rule,
    RuleSet,
    Soundness,
    guards,
    rules,
)
from graphopt.rewriting.examples import example, ints
from graphopt.structural import constant


@rules(Soundness.ROUNDING)
def mean_of_squares(x: Float, y: Float, axes: MaybeConst, a: Attr) -> Equations:
    """mean(x * x) is mean(x^2)."""
    yield Rule(
        "pow",
        reduce_mean(y.of(mul(x, x)), axes, attrs=a),
        lambda x, axes, a: reduce_mean(power(x, constant(2, x.dtype)), axes, **a),
        when=single,
        worth=guards.used_once("y"),
        fires=lambda: reduce_mean(mul(X, X), ints(-1)),
        misses=lambda: reduce_mean(mul(D, D), ints(-1)),
    )


X, D = example("float32[N, 4]"), example("float64[N, 4]")
MEANS: RuleSet = mean_of_squares


def rules_at(opset: int) -> RuleSet:
    """The rules for a model of an opset."""
    return MEANS if opset < 23 else RuleSet(())
