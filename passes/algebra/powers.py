"""Rules of powers, roots and squares."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from graphopt.ir import Node
from graphopt.ops.arithmetic import add, div, mul, power, sub
from graphopt.ops.functions import absolute, exp, log, reciprocal, sqrt
from graphopt.ops.reduction import (
    reduce_l1,
    reduce_l2,
    reduce_log_sum,
    reduce_log_sum_exp,
    reduce_sum,
    reduce_sum_square,
)
from graphopt.passes.algebra.elements import (
    anything,
    element_of,
    filling,
    keeps_shape,
    no_larger,
    shown,
)
from graphopt.rewriting import (
    Attr,
    Const,
    Declined,
    Equations,
    Float,
    Guard,
    Integer,
    Maybe,
    Rule,
    Soundness,
    Value,
    guards,
    rules,
)
from graphopt.rewriting.examples import example, filled, ints
from graphopt.rewriting.reassociate import combined_product

REALS = "float32[2, 3]"
X, Y = example(REALS), example(REALS, "y")
WIDER = (4, 1, 1)
WIDE = Guard("the elements have 32 bits or more", lambda x: x.dtype.bits >= 32)


def _unranked(number: float) -> Node:
    made: Node = power(anything("float32"), filled(number, *WIDER))
    return made


@rules(Soundness.EXACT)
def zeroth_power(x: Value, c: Const) -> Equations:
    """x ** 0 = 1, of NaN and infinities, too."""
    yield Rule(
        "zero",
        power(x, c),
        filling(1),
        when=Guard("the exponent is 0", lambda c: element_of(c) == 0),
        fires=lambda: power(X, filled(-0.0)),
        misses=lambda: power(X, filled(1)),
    )


@rules(Soundness.EXACT)
def integer_powers(n: Integer) -> Equations:
    """n ** 2 = n * n of integers, which wrap around."""
    yield Rule(
        "square",
        power(n, 2.0),
        mul(n, n),
        when=(
            keeps_shape("n"),
            Guard("the exponent is an integer", lambda root: root.inputs[1].dtype.is_integer),
        ),
        fires=lambda: power(example("int32[2, 3]"), filled(2, dtype="int32")),
        misses=(
            lambda: power(anything("int32"), filled(2, *WIDER, dtype="int32")),
            lambda: power(example("int64[2, 3]"), filled(2)),
        ),
    )


@rules(Soundness.ROUNDING)
def powers(x: Float) -> Equations:
    """x ** 2 = x * x, x ** -1 = 1 / x, x ** 0.5 = sqrt(x) where x is at least 0."""
    yield Rule(
        "square",
        power(x, 2.0),
        mul(x, x),
        when=keeps_shape(),
        fires=lambda: power(X, filled(2)),
        misses=lambda: _unranked(2),
    )
    yield Rule(
        "inverse",
        power(x, -1.0),
        reciprocal(x),
        when=keeps_shape(),
        fires=lambda: power(X, filled(-1)),
        misses=lambda: _unranked(-1),
    )
    yield Rule(
        "root",
        power(x, 0.5),
        sqrt(x),
        when=(guards.non_negative("x"), keeps_shape()),
        worth=guards.never_negative_zero("x"),
        fires=lambda: power(absolute(X), filled(0.5)),
        misses=(
            lambda: power(log(filled(0, 2, 3)), filled(0.5, 2, 3)),
            lambda: power(absolute(anything("float32")), filled(0.5, *WIDER)),
        ),
    )


@rules(Soundness.EXACT)
def norms(x: Float, axes: Maybe, a: Attr, inner: Float) -> Equations:
    """A sum of squares, of magnitudes, its root or logarithm, is one reduction."""
    cases: tuple[tuple[str, Any, Any, Callable[[Any, Any], Any]], ...] = (
        ("sum_square", reduce_sum(inner.of(mul(x, x)), axes, attrs=a),
         reduce_sum_square(x, axes, attrs=a),
         lambda x, axes: reduce_sum(mul(x, x), axes)),
        ("l2", sqrt(inner.of(reduce_sum_square(x, axes, attrs=a))), reduce_l2(x, axes, attrs=a),
         lambda x, axes: sqrt(reduce_sum_square(x, axes))),
        ("log_sum", log(inner.of(reduce_sum(x, axes, attrs=a))), reduce_log_sum(x, axes, attrs=a),
         lambda x, axes: log(reduce_sum(x, axes))),
    )  # fmt: skip
    for name, left, right, make in cases:
        yield Rule(
            name,
            left,
            right,
            when=WIDE,
            worth=guards.used_once("inner"),
            fires=shown(lambda make: make(X, ints(1)), make),
            misses=shown(lambda make: make(example("float16[2, 3]"), ints(1)), make),
        )
    yield Rule(
        "l1",
        reduce_sum(inner.of(absolute(x)), axes, attrs=a),
        reduce_l1(x, axes, attrs=a),
        worth=guards.used_once("inner"),
        fires=lambda: reduce_sum(absolute(X), ints(1)),
        misses=lambda: reduce_sum(mul(X, X), ints(1)),
    )


@rules(Soundness.ROUNDING)
def short_norms(x: Float, axes: Maybe, a: Attr, inner: Float) -> Equations:
    """log(sum(exp(x))) is one reduction, which does not overflow."""
    cases: tuple[tuple[str, Any, Callable[[Any, Any], Any]], ...] = (
        ("log_of_sum", log(reduce_sum(inner.of(exp(x)), axes, attrs=a)),
         lambda x, axes: log(reduce_sum(exp(x), axes))),
        ("log_sum", reduce_log_sum(inner.of(exp(x)), axes, attrs=a),
         lambda x, axes: reduce_log_sum(exp(x), axes)),
    )  # fmt: skip
    for name, left, make in cases:
        yield Rule(
            f"{name}_exp",
            left,
            reduce_log_sum_exp(x, axes, attrs=a),
            worth=guards.used_once("inner"),
            fires=shown(lambda make: make(X, ints(1)), make),
            misses=lambda: log(exp(reduce_sum(X, ints(1)))),
        )


def _power_of_power(x: Node, c: Node, d: Node) -> Node | Declined:
    made = no_larger(combined_product(c, d), c, d)
    if isinstance(made, Declined):
        return made
    node: Node = power(x, made)
    return node


@rules(Soundness.FAST)
def fast_powers(x: Float, y: Float, c: Const, d: Const, inner: Float) -> Equations:
    """sqrt(x) * sqrt(x) = x, sqrt(x * x) = |x|, x / sqrt(x) = sqrt(x), (x ** c) ** d = x ** cd."""
    yield Rule(
        "root_squared",
        mul(sqrt(x), sqrt(x)),
        x,
        fires=lambda: mul(sqrt(X), sqrt(X)),
        misses=lambda: mul(sqrt(X), sqrt(Y)),
    )
    yield Rule(
        "root_of_square",
        sqrt(mul(x, x)),
        absolute(x),
        fires=lambda: sqrt(mul(X, X)),
        misses=lambda: sqrt(mul(X, Y)),
    )
    yield Rule(
        "over_root",
        div(x, sqrt(x)),
        sqrt(x),
        fires=lambda: div(X, sqrt(X)),
        misses=lambda: div(X, sqrt(Y)),
    )
    yield Rule(
        "inverse_root_squared",
        mul(reciprocal(sqrt(x)), reciprocal(sqrt(x))),
        reciprocal(x),
        fires=lambda: mul(reciprocal(sqrt(X)), reciprocal(sqrt(X))),
        misses=lambda: mul(reciprocal(sqrt(X)), reciprocal(sqrt(Y))),
    )
    yield Rule(
        "power_of_power",
        power(power(x, c), d),
        _power_of_power,
        fires=lambda: power(power(X, filled(3)), filled(5)),
        misses=lambda: power(power(X, filled(3)), Y),
    )
    yield Rule(
        "power_of_exp",
        power(inner.of(exp(x)), y),
        exp(mul(x, y)),
        worth=guards.used_once("inner"),
        fires=lambda: power(exp(X), Y),
        misses=lambda: power(X, exp(Y)),
    )


@rules(Soundness.FAST)
def fast_exponentials(x: Float, y: Float, p: Float, q: Float) -> Equations:
    """exp(log(x)) = log(exp(x)) = x, exp(x) * exp(y) = exp(x + y), and so for their quotient."""
    yield Rule(
        "exp_of_log",
        exp(log(x)),
        x,
        fires=lambda: exp(log(X)),
        misses=lambda: exp(X),
    )
    yield Rule(
        "log_of_exp",
        log(exp(x)),
        x,
        fires=lambda: log(exp(X)),
        misses=lambda: log(X),
    )
    for name, op, inner in (("product", mul, add), ("quotient", div, sub)):
        yield Rule(
            name,
            op(p.of(exp(x)), q.of(exp(y))),
            exp(inner(x, y)),
            worth=(guards.used_once("p"), guards.used_once("q")),
            fires=shown(lambda op: op(exp(X), exp(Y)), op),
            misses=shown(lambda op: op(exp(X), Y), op),
        )


POWERS = (
    zeroth_power + integer_powers + powers + norms + short_norms + fast_powers + fast_exponentials
)
