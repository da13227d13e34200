"""Rules of algebra: neutral elements, involutions, idempotent functions, decided choices."""

from __future__ import annotations

from functools import partial

from graphopt.analysis import same_shape
from graphopt.ir import Node
from graphopt.op import Op
from graphopt.ops.activation import relu
from graphopt.ops.arithmetic import add, div, mul, power, sub
from graphopt.ops.functions import absolute, ceil, floor, neg, round_
from graphopt.ops.logic import and_, bitwise_not, not_, or_, where
from graphopt.passes.algebra.elements import anything, keeps_shape, shown
from graphopt.rewriting import (
    Equations,
    Guard,
    Rule,
    RuleSet,
    Soundness,
    Value,
    guards,
    rules,
)
from graphopt.rewriting.examples import example, filled

F3 = "float32[3]"
WIDER = (4, 1, 1)


def _applied(op: Op, unit: float) -> Node:
    made: Node = op(example(F3), filled(unit))
    return made


def _enlarged(op: Op, unit: float, dtype: str) -> Node:
    """A value of unknown rank, enlarged by a constant."""
    made: Node = op(anything(dtype), filled(unit, *WIDER, dtype=dtype))
    return made


def _exact_power(root: Node) -> bool:
    """Whether a power is computed in a precision that has all elements of its base."""
    base, exponent = root.inputs
    return not base.dtype.is_integer or base.dtype.bits < 64 or exponent.dtype.is_integer


@rules(Soundness.EXACT)
def neutral(x: Value) -> Equations:
    """x * 1 = x / 1 = x - 0 = x + (-0) = x ** 1 = x, where no broadcasting enlarges x."""
    for name, op, unit in (
        ("mul_one", mul, 1.0),
        ("div_one", div, 1.0),
        ("sub_zero", sub, 0.0),
        ("add_negative_zero", add, -0.0),
    ):
        yield Rule(
            name,
            op(x, unit),
            x,
            when=keeps_shape(),
            fires=partial(_applied, op, unit),
            misses=partial(_enlarged, op, unit, "float32"),
        )
    yield Rule(
        "add_zero",
        add(x, 0.0),
        x,
        when=keeps_shape(),
        soundness=Soundness.VALUE,
        unobserved=guards.never_negative_zero("x"),
        fires=lambda: add(example("int32[3]"), filled(0, dtype="int32")),
        misses=partial(_enlarged, add, 0, "int32"),
    )
    yield Rule(
        "pow_one",
        power(x, 1.0),
        x,
        when=(
            keeps_shape(),
            Guard("x is exact in the precision of the power", lambda root: _exact_power(root)),
        ),
        fires=lambda: power(example(F3), filled(1)),
        misses=(
            partial(_enlarged, power, 1, "float32"),
            lambda: power(example("int64[3]"), filled(1)),
        ),
    )
    for name, op, unit in (("and_true", and_, True), ("or_false", or_, False)):
        yield Rule(
            name,
            op(x, unit),
            x,
            when=keeps_shape(),
            fires=shown(
                lambda op, unit: op(example("bool[3]"), filled(unit, dtype="bool")), op, unit
            ),
            misses=partial(_enlarged, op, unit, "bool"),
        )


@rules(Soundness.EXACT)
def choices(q: Value, x: Value) -> Equations:
    """where(q, x, x) = x, where nothing is broadcast."""
    yield Rule(
        "where_same",
        where(q, x, x),
        x,
        when=Guard("nothing is broadcast", lambda root, x: same_shape(root, x)),
        fires=lambda: where(example("bool[N]", "q"), example("float32[N]"), example("float32[N]")),
        misses=lambda: where(
            example("bool[4, 2, 3]", "q"), anything("float32"), anything("float32")
        ),
    )


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
