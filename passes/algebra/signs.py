"""Rules of signs: negations that cancel or move into what is beside them, and magnitudes."""

from __future__ import annotations

from typing import Any

from graphopt.ir import Node
from graphopt.ops.arithmetic import add, div, mul, sub
from graphopt.ops.functions import absolute, exp, neg
from graphopt.passes.algebra.elements import (
    PAYLOAD,
    REPLACEABLE,
    SIGNED,
    anything,
    keeps_shape,
    negated,
    no_negative_zero,
    shown,
)
from graphopt.ranges import facts_of
from graphopt.rewriting import Const, Equations, Float, Guard, Rule, Soundness, Value, guards, rules
from graphopt.rewriting.examples import example, filled

REALS, WHOLE = "float32[2, N]", "int32[2, N]"


def _never_zero(value: Node) -> bool:
    return not value.dtype.is_float or not facts_of(value).has_zero


def _minus_one(x: Any, f: Any) -> Equations:
    """A product or quotient by -1."""
    for name, op, value, kind in (
        ("times_minus_one", mul, x, "int32"),
        ("over_minus_one", div, f, "float32"),
    ):
        yield Rule(
            name,
            op(value, -1.0),
            neg(value),
            when=keeps_shape(value.name),
            unobserved=PAYLOAD,
            fires=shown(
                lambda op, kind: op(example(f"{kind}[2, N]"), filled(-1, dtype=kind)), op, kind
            ),
            misses=shown(
                lambda op, kind: op(anything(kind), filled(-1, 4, 1, 1, dtype=kind)), op, kind
            ),
        )


@rules(Soundness.VALUE)
def negation(x: Value, y: Value, f: Float, inner: Value) -> Equations:
    """x - (-y) = x + y, x + (-y) = x - y, -(x - y) = y - x, 0 - x = x * -1 = -x."""
    for name, outer, other in (("sub_neg", sub, add), ("add_neg", add, sub)):
        yield Rule(
            name,
            outer(x, neg(y)),
            other(x, y),
            unobserved=PAYLOAD,
            fires=shown(lambda outer: outer(example(REALS), neg(example(REALS, "y"))), outer),
            misses=shown(lambda outer: outer(example(REALS), absolute(example(REALS, "y"))), outer),
        )
    yield Rule(
        "zero_minus",
        sub(0.0, x),
        neg(x),
        when=keeps_shape(),
        worth=SIGNED,
        unobserved=Guard("x is never 0.0", lambda x: _never_zero(x)),
        fires=lambda: sub(filled(0, dtype="int32"), example(WHOLE)),
        misses=lambda: sub(filled(0, 4, 1, 1, dtype="int32"), anything("int32")),
    )
    yield Rule(
        "negative_zero_minus",
        sub(-0.0, x),
        neg(x),
        when=keeps_shape(),
        unobserved=PAYLOAD,
        fires=lambda: sub(filled(-0.0), example(REALS)),
        misses=lambda: sub(filled(-0.0, 4, 1, 1), anything("float32")),
    )
    yield from _minus_one(x, f)
    yield Rule(
        "neg_sub",
        neg(inner.of(sub(x, y))),
        sub(y, x),
        unobserved=Guard("x and y are integers", lambda x: x.dtype.is_integer),
        worth=guards.used_once("inner"),
        fires=lambda: neg(sub(example(WHOLE), example(WHOLE, "y"))),
        misses=lambda: neg(sub(example(REALS), example(REALS, "y"))),
    )


@rules(Soundness.VALUE)
def negated_products(x: Value, y: Value, f: Float, c: Const, inner: Value) -> Equations:
    """-x * -y = x * y, -x / -y = x / y, -x * c = -(x * c) = x * -c."""
    yield Rule(
        "neg_times_neg",
        mul(neg(x), neg(y)),
        mul(x, y),
        unobserved=PAYLOAD,
        fires=lambda: mul(neg(example(WHOLE)), neg(example(WHOLE, "y"))),
        misses=lambda: mul(neg(example(REALS)), example(REALS, "y")),
    )
    yield Rule(
        "neg_over_neg",
        div(neg(f), neg(y)),
        div(f, y),
        unobserved=PAYLOAD,
        fires=lambda: div(neg(example(REALS)), neg(example(REALS, "y"))),
        misses=lambda: div(neg(example(WHOLE)), neg(example(WHOLE, "y"))),
    )
    yield Rule(
        "neg_times_constant",
        mul(neg(x), c),
        lambda x, c: mul(x, negated(c)),
        worth=REPLACEABLE,
        unobserved=PAYLOAD,
        fires=lambda: mul(neg(example(WHOLE)), filled(3, dtype="int32")),
        misses=lambda: mul(neg(example(REALS)), example(REALS, "y")),
    )
    yield Rule(
        "neg_of_product",
        neg(inner.of(mul(x, c))),
        lambda x, c: mul(x, negated(c)),
        worth=(REPLACEABLE, guards.used_once("inner")),
        unobserved=PAYLOAD,
        fires=lambda: neg(mul(example(WHOLE), filled(3, dtype="int32"))),
        misses=lambda: neg(mul(example(REALS), example(REALS, "y"))),
    )


@rules(Soundness.EXACT)
def magnitudes(x: Value) -> Equations:
    """|-x| = |x|"""
    yield Rule(
        "of_neg",
        absolute(neg(x)),
        absolute(x),
        fires=lambda: absolute(neg(example(REALS))),
        misses=lambda: neg(absolute(example(REALS))),
    )


@rules(Soundness.VALUE)
def needless_magnitudes(x: Value) -> Equations:
    """|x| = x where nothing is negative, and |x| * |x| = x * x; but for the sign of a NaN."""
    yield Rule(
        "non_negative",
        absolute(x),
        x,
        when=guards.non_negative("x"),
        unobserved=no_negative_zero("x"),
        fires=lambda: absolute(exp(example(REALS))),
        misses=lambda: absolute(example(WHOLE)),
    )
    yield Rule(
        "square",
        mul(absolute(x), absolute(x)),
        mul(x, x),
        unobserved=PAYLOAD,
        fires=lambda: mul(absolute(example(WHOLE)), absolute(example(WHOLE))),
        misses=lambda: mul(absolute(example(WHOLE)), example(WHOLE)),
    )


SIGNS = negation + negated_products + magnitudes + needless_magnitudes
