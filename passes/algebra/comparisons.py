"""Rules of comparisons: those that are decided, those that are negated, choices by them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from graphopt.analysis import same_shape
from graphopt.ir import Node
from graphopt.op import Op
from graphopt.ops.arithmetic import max_, min_
from graphopt.ops.cast import cast
from graphopt.ops.logic import (
    and_,
    equal,
    greater,
    greater_or_equal,
    less,
    less_or_equal,
    not_,
    or_,
    where,
)
from graphopt.passes.algebra.elements import (
    alike,
    anything,
    filled_like,
    filling,
    keeps_shape,
    shown,
)
from graphopt.ranges import ValueFacts, facts_of
from graphopt.rewriting import (
    Boolean,
    Declined,
    Equations,
    Float,
    Guard,
    Integer,
    Rule,
    Soundness,
    Value,
    guards,
    rules,
)
from graphopt.rewriting.examples import example, filled
from graphopt.types import DType

NEGATED: tuple[tuple[Op, Op], ...] = (
    (less, greater_or_equal),
    (greater, less_or_equal),
    (less_or_equal, greater),
    (greater_or_equal, less),
)
X, Y = example("float32[2, 3]"), example("float32[2, 3]", "y")
M, N = example("int32[2, 3]"), example("int32[2, 3]", "y")
P = example("bool[2, 3]", "p")


def _ints(name: str = "x") -> Node:
    """Floats that are numbers."""
    made: Node = cast(example("int32[2, 3]", name), to=DType.FLOAT32)
    return made


@rules(Soundness.EXACT)
def negated(x: Integer, y: Integer, f: Float, g: Float, inner: Value) -> Equations:
    """not (x < y) = (x >= y) and its siblings, unless a number may be NaN, which is in neither."""
    for op, other in NEGATED:
        yield Rule(
            f"integer_{op.name.lower()}",
            not_(inner.of(op(x, y))),
            other(x, y),
            worth=guards.used_once("inner"),
            fires=shown(lambda op: not_(op(M, N)), op),
            misses=shown(lambda op: not_(op(X, Y)), op),
        )
        yield Rule(
            f"float_{op.name.lower()}",
            not_(inner.of(op(f, g))),
            other(f, g),
            when=(guards.never_nan("f"), guards.never_nan("g")),
            worth=guards.used_once("inner"),
            fires=shown(lambda op: not_(op(_ints(), _ints("y"))), op),
            misses=(
                shown(lambda op: not_(op(X, _ints("y"))), op),
                shown(lambda op: not_(op(_ints(), Y)), op),
            ),
        )


Decide = Callable[[ValueFacts, ValueFacts], bool | None]


def _less(x: ValueFacts, y: ValueFacts) -> bool | None:
    return True if x.high < y.low else False if x.low >= y.high else None


def _at_most(x: ValueFacts, y: ValueFacts) -> bool | None:
    return True if x.high <= y.low else False if x.low > y.high else None


def _equal(x: ValueFacts, y: ValueFacts) -> bool | None:
    if x.high < y.low or y.high < x.low:
        return False
    return True if x.low == x.high == y.low == y.high else None


DECIDED: tuple[tuple[Op, Decide], ...] = (
    (less, _less),
    (greater, lambda x, y: _less(y, x)),
    (less_or_equal, _at_most),
    (greater_or_equal, lambda x, y: _at_most(y, x)),
    (equal, _equal),
)


def _decision(decide: Decide) -> Any:
    """The right side that a comparison of ranges decides."""

    def right(root: Node, x: Node, y: Node) -> Node | Declined:
        one, two = facts_of(x), facts_of(y)
        found = decide(one, two)
        if found is None or (found and (one.may_be_nan or two.may_be_nan)):
            return Declined("the ranges of x and y decide")
        return filled_like(root, found, x, y)

    return right


@rules(Soundness.EXACT)
def decided(x: Value, y: Value) -> Equations:
    """x < y is true where the greatest x is less than the least y, and so on."""
    for op, decide in DECIDED:
        yield Rule(
            op.name.lower(),
            op(x, y),
            _decision(decide),
            fires=shown(
                lambda op: op(max_(M, filled(5, dtype="int32")), min_(N, filled(4, dtype="int32"))),
                op,
            ),
            misses=shown(lambda op: op(max_(M, filled(5, dtype="int32")), N), op),
        )


@rules(Soundness.EXACT)
def reflexive(x: Value, xs: Value, f: Float) -> Equations:
    """x < x is false, x <= x and x = x are true of what is never NaN; max(x, y) >= x."""
    for op in (less, greater):
        yield Rule(
            op.name.lower(),
            op(x, x),
            filling(False),
            fires=shown(lambda op: op(X, X), op),
            misses=shown(lambda op: op(X, Y), op),
        )
    for op in (less_or_equal, greater_or_equal, equal):
        yield Rule(
            op.name.lower(),
            op(x, x),
            filling(True),
            when=guards.never_nan("x"),
            fires=shown(lambda op: op(M, M), op),
            misses=shown(lambda op: op(X, X), op),
        )
    for name, op, extreme in (
        ("less_than_max", greater, max_),
        ("more_than_min", less, min_),
    ):
        yield Rule(
            name,
            op(x, extreme(x, xs)),
            lambda root, x, xs: filled_like(root, False, x, xs),
            fires=shown(lambda op, extreme: op(X, extreme(X, Y)), op, extreme),
            misses=shown(lambda op, extreme: op(extreme(X, Y), X), op, extreme),
        )
        flipped = less if op is greater else greater
        yield Rule(
            f"{name}_flipped",
            flipped(extreme(x, xs), x),
            lambda root, x, xs: filled_like(root, False, x, xs),
            fires=shown(lambda op, extreme: op(extreme(X, Y), X), flipped, extreme),
            misses=shown(lambda op, extreme: op(X, extreme(X, Y)), flipped, extreme),
        )


@rules(Soundness.EXACT)
def chosen(p: Boolean, x: Value, y: Value, z: Value) -> Equations:
    """where(not p, x, y) = where(p, y, x), where(p, where(p, x, y), z) = where(p, x, z), ..."""
    yield Rule(
        "not",
        where(not_(p), x, y),
        where(p, y, x),
        fires=lambda: where(not_(P), X, Y),
        misses=lambda: where(P, X, Y),
    )
    for name, left, right, inner in (
        ("inner_true", where(p, where(p, x, y), z), where(p, x, z), lambda: where(P, X, Y)),
        ("inner_false", where(p, z, where(p, y, x)), where(p, z, x), lambda: where(P, Y, X)),
    ):
        first = name == "inner_true"
        yield Rule(
            name,
            left,
            right,
            when=Guard(
                "nothing is broadcast by what is not chosen",
                lambda root, p, x, z: same_shape(root, where(p, x, z)),
            ),
            fires=shown(
                lambda inner, first: where(P, inner(), X) if first else where(P, X, inner()),
                inner,
                first,
            ),
            misses=shown(lambda first: _broadcast_choice(first), first),
        )


@rules(Soundness.EXACT)
def boolean_choices(p: Boolean, b: Boolean) -> Equations:
    """where(p, true, false) = p, where(p, b, false) = p and b, where(p, true, b) = p or b."""
    for name, made, one, two in (("to_itself", p, True, False), ("to_not", not_(p), False, True)):
        yield Rule(
            name,
            where(p, one, two),
            made,
            when=keeps_shape("p"),
            fires=shown(lambda one, two: where(P, _flag(one), _flag(two)), one, two),
            misses=shown(
                lambda one, two: where(
                    anything("bool"), filled(one, 4, 1, 1, dtype="bool"), _flag(two)
                ),
                one,
                two,
            ),
        )
    yield Rule(
        "and",
        where(p, b, False),
        and_(p, b),
        when=Guard("nothing enlarges p and b", lambda root, p, b: same_shape(root, and_(p, b))),
        fires=lambda: where(P, example("bool[2, 3]", "b"), _flag(False)),
        misses=lambda: where(anything("bool"), example("bool[3]", "b"), _flags(False)),
    )
    yield Rule(
        "or",
        where(p, True, b),
        or_(p, b),
        when=Guard("nothing enlarges p and b", lambda root, p, b: same_shape(root, or_(p, b))),
        fires=lambda: where(P, _flag(True), example("bool[2, 3]", "b")),
        misses=lambda: where(anything("bool"), _flags(True), example("bool[3]", "b")),
    )


def _flag(value: bool) -> Node:
    return filled(value, dtype="bool")


def _flags(value: bool) -> Node:
    return filled(value, 4, 1, 1, dtype="bool")


def _broadcast_choice(first: bool) -> Node:
    """What is not chosen enlarges the rest, of which the rank is not known."""
    p, enlarging = anything("bool"), example("float32[4, 2, 3]", "y")
    inner = where(p, X, enlarging) if first else where(p, enlarging, X)
    made: Node = where(p, inner, X) if first else where(p, X, inner)
    return made


@rules(Soundness.EXACT)
def integer_choices(x: Integer, y: Integer) -> Equations:
    """where(x > y, x, y) = max(x, y) and where(x < y, x, y) = min(x, y) of integers."""
    for op, extreme in (
        (greater, max_),
        (greater_or_equal, max_),
        (less, min_),
        (less_or_equal, min_),
    ):
        yield Rule(
            op.name.lower(),
            where(op(x, y), x, y),
            extreme(x, y),
            fires=shown(lambda op: where(op(M, N), M, N), op),
            misses=shown(lambda op: where(op(X, Y), X, Y), op),
        )
        other = min_ if extreme is max_ else max_
        yield Rule(
            f"{op.name.lower()}_other",
            where(op(x, y), y, x),
            other(x, y),
            fires=shown(lambda op: where(op(M, N), N, M), op),
            misses=shown(lambda op: where(op(X, Y), Y, X), op),
        )
    yield Rule(
        "equal",
        where(equal(x, y), x, y),
        y,
        when=alike("x", "y"),
        fires=lambda: where(equal(M, N), M, N),
        misses=lambda: where(equal(example("int32[4, 2, 3]"), anything("int32")),
                             example("int32[4, 2, 3]"), anything("int32")),
    )  # fmt: skip


COMPARISONS = negated + decided + reflexive + chosen + boolean_choices + integer_choices
