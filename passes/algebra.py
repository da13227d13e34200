"""Rules of algebra: neutral elements, involutions, idempotent functions, decided choices."""

from __future__ import annotations

from functools import partial

from graphopt.analysis import never_negative_zero, same_shape
from graphopt.ir import Node
from graphopt.op import Op
from graphopt.ops.activation import relu
from graphopt.ops.arithmetic import add, div, mul, power, sub
from graphopt.ops.functions import absolute, ceil, floor, neg, round_
from graphopt.ops.logic import and_, bitwise_not, not_, or_, where
from graphopt.rewriting import Const, Equations, Guard, Rule, RuleSet, Soundness, Value, rules
from graphopt.rewriting.examples import example, filled


@rules(Soundness.EXACT)
def neutral(x: Value) -> Equations:
    """x * 1 = x / 1 = x - 0 = x + (-0) = x, where no broadcasting enlarges x."""
    f3 = "float32[3]"
    yield Rule(
        "mul_one",
        mul(x, 1.0),
        x,
        fires=lambda: mul(example(f3), filled(1, 3)),
        misses=lambda: mul(example(f3), filled(1, 2, 3)),
    )
    yield Rule(
        "div_one",
        div(x, 1.0),
        x,
        fires=lambda: div(example(f3), filled(1)),
        misses=lambda: div(filled(1), example(f3)),
    )
    yield Rule(
        "sub_zero",
        sub(x, 0.0),
        x,
        fires=lambda: sub(example(f3), filled(0, 1)),
        misses=lambda: sub(example(f3), filled(-0.0, 1)),
    )
    yield Rule(
        "add_negative_zero",
        add(x, -0.0),
        x,
        fires=lambda: add(filled(-0.0), example(f3)),
        misses=lambda: add(example(f3), filled(-0.0, 1, 1)),
    )
    yield Rule(
        "add_zero",
        add(x, 0.0),
        x,
        soundness=Soundness.VALUE,
        unobserved=Guard("x is never -0.0", never_negative_zero, ("x",)),
        fires=lambda: add(example("int32[3]"), filled(0, dtype="int32")),
        misses=lambda: add(example(f3), filled(0)),
    )
    yield Rule(
        "pow_one",
        power(x, 1.0),
        x,
        fires=lambda: power(example(f3), filled(1)),
        misses=lambda: power(example(f3), filled(1, 4, 1)),
    )
    yield Rule(
        "and_true",
        and_(x, True),
        x,
        fires=lambda: and_(example("bool[3]"), filled(1, dtype="bool")),
        misses=lambda: and_(example("bool[3]"), filled(0, dtype="bool")),
    )
    yield Rule(
        "or_false",
        or_(x, False),
        x,
        fires=lambda: or_(example("bool[3]"), filled(0, dtype="bool")),
        misses=lambda: or_(example("bool[3]"), filled(1, dtype="bool")),
    )


def _negated(op: Op) -> Node:
    made: Node = op(example("int32[3]"), neg(example("int32[3]", "y")))
    return made


@rules(Soundness.VALUE)
def negation(x: Value, y: Value) -> Equations:
    """A sign moves into the neighbouring sum: x - (-y) = x + y, x + (-y) = x - y.

    The sign of a NaN may differ, so it is proven to be unobserved only where there is none.
    """
    for name, outer, other in (("sub_neg", sub, add), ("add_neg", add, sub)):
        yield Rule(
            name,
            outer(x, neg(y)),
            other(x, y),
            unobserved=Guard("x has no NaN", lambda x: not x.dtype.is_float),
            fires=partial(_negated, outer),
            misses=lambda: mul(neg(example("int32[3]")), example("int32[3]", "y")),
        )


@rules(Soundness.EXACT)
def choices(p: Const, q: Value, x: Value, y: Value) -> Equations:
    """where(true, x, y) = x, where(q, x, x) = x, where nothing is broadcast."""
    yield Rule(
        "where_same",
        where(q, x, x),
        x,
        when=Guard("nothing is broadcast", lambda root, x: same_shape(root, x)),
        fires=lambda: where(example("bool[N]", "q"), example("float32[N]"), example("float32[N]")),
        misses=lambda: where(
            example("bool[...]", "q"), example("float32[3]"), example("float32[3]")
        ),
    )
    yield Rule(
        "where_known",
        where(p, x, y),
        lambda p, x, y: x if all_are(p, True) else y if all_are(p, False) else None,
        when=Guard(
            "nothing is broadcast",
            lambda p, x, y, root: same_shape(root, x if all_are(p, True) else y),
        ),
        fires=lambda: where(filled(1, 3, dtype="bool"), example("float32[3]"), filled(2)),
        misses=lambda: where(filled(1, 4, 1, 1, dtype="bool"), example("float32[...]"), filled(2)),
    )


def all_are(value: Node, wanted: bool) -> bool:
    """Whether a constant of bools holds nothing but `wanted`."""
    tensor = value.constant
    return tensor is not None and tensor.size > 0 and bool((tensor.array == wanted).all())


def involution(op: Op, kind: str) -> RuleSet:
    """f(f(x)) = x for an op whose facts say so."""

    @rules(Soundness.EXACT)
    def involutions(x: Value) -> Equations:
        """f(f(x)) = x"""
        yield Rule(
            op.name.lower(),
            op(op(x)),
            x,
            fires=lambda: op(op(example(kind))),
            misses=lambda: op(example(kind)),
        )

    assert op.facts.involution
    return involutions


def idempotence(op: Op, other: Op) -> RuleSet:
    """f(f(x)) = f(x) for an op whose facts say so."""

    @rules(Soundness.EXACT)
    def idempotent(x: Value) -> Equations:
        """f(f(x)) = f(x)"""
        yield Rule(
            op.name.lower(),
            op(op(x)),
            op(x),
            fires=lambda: op(op(example("float32[3]"))),
            misses=lambda: op(other(example("float32[3]"))),
        )

    assert op.facts.idempotent
    return idempotent


ALGEBRA = (
    neutral
    + negation
    + choices
    + involution(neg, "float32[3]")
    + involution(not_, "bool[3]")
    + involution(bitwise_not, "int32[3]")
    + idempotence(relu, neg)
    + idempotence(absolute, neg)
    + idempotence(floor, ceil)
    + idempotence(ceil, floor)
    + idempotence(round_, ceil)
)
