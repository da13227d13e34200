"""Rules of ops that change nothing, or of which nothing is left: no axes, no choice, a zero."""

from __future__ import annotations

from functools import partial

from graphopt.analysis import same_shape
from graphopt.ir import Node
from graphopt.ops.arithmetic import add, div, max_, min_, mul
from graphopt.ops.functions import sin
from graphopt.ops.linalg import matmul
from graphopt.ops.logic import where
from graphopt.ops.shape import squeeze
from graphopt.passes.algebra.elements import (
    alike,
    anything,
    filled_like,
    filling,
    keeps_shape,
    shown,
)
from graphopt.passes.movement.expands import target
from graphopt.ranges import facts_of
from graphopt.rewriting import (
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
from graphopt.rewriting.examples import example, filled

REALS, WHOLE = "float32[2, 3]", "int32[2, 3]"


def all_are(value: Node, wanted: bool) -> bool:
    """Whether a constant of bools holds nothing but `wanted`."""
    tensor = value.constant
    return tensor is not None and tensor.size > 0 and bool((tensor.array == wanted).all())


def one_side(root: Node, p: Node, x: Node, y: Node) -> Node | Declined | None:
    """The side that a constant chooses everywhere, broadcast to the shape of the choice."""
    side = x if all_are(p, True) else y if all_are(p, False) else None
    return side if side is None or same_shape(root, side) else target(side, root)


@rules(Soundness.EXACT)
def still(x: Value, axes: Maybe, p: Const, y: Value) -> Equations:
    """squeeze(x) = x without axes of size 1, where(true, x, y) = expand(x)."""
    yield Rule(
        "squeeze",
        squeeze(x, axes),
        x,
        when=guards.same_shape("root", "x"),
        fires=lambda: squeeze(example(REALS), None),
        misses=lambda: squeeze(example("float32[N, 3]"), None),
    )
    yield Rule(
        "where",
        where(p, x, y),
        one_side,
        fires=lambda: where(
            filled(1, 2, 3, dtype="bool"), example("float32[3]"), example("float32[3]", "y")
        ),
        misses=lambda: where(
            example("bool[2, 3]", "p"), example("float32[3]"), example("float32[3]", "y")
        ),
    )


def _settled(x: Node, c: Node, *, greatest: bool) -> bool:
    """Whether the greater of x and c, or the lesser, is always x, to the sign of a zero."""
    of_x, of_c = facts_of(x), facts_of(c)
    if greatest:
        apart, meet = of_x.low > of_c.high, of_x.low == of_c.high
    else:
        apart, meet = of_x.high < of_c.low, of_x.high == of_c.low
    same = meet and (x.dtype.is_integer or of_c.high != 0)
    return not of_c.may_be_nan and (apart or same)


@rules(Soundness.EXACT)
def bounded(x: Value, c: Const) -> Equations:
    """max(x, c) = x where x is at least c, and min(x, c) = x where it is at most c."""
    for op, greatest in ((max_, True), (min_, False)):
        word, beyond = ("least", -2) if greatest else ("most", 2)
        settled = partial(_settled, greatest=greatest)
        yield Rule(
            op.name.lower(),
            op(x, c),
            x,
            when=(
                keeps_shape(),
                Guard(f"x is at {word} the constant", settled, ("x", "c")),
            ),
            fires=shown(lambda op, beyond: op(sin(example(REALS)), filled(beyond)), op, beyond),
            misses=(
                shown(
                    lambda op, beyond: op(sin(anything("float32")), filled(beyond, 4, 1, 1)),
                    op,
                    beyond,
                ),
                shown(lambda op, beyond: op(example(REALS), filled(beyond)), op, beyond),
            ),
        )


def _zero(dtype: str, *sizes: int) -> Node:
    return filled(0, *sizes, dtype=dtype)


@rules(Soundness.EXACT)
def integer_absorbing(n: Integer) -> Equations:
    """A product of a matrix of integers and zeros is zeros."""
    yield Rule(
        "matmul_right",
        matmul(n, 0.0),
        lambda root: filled_like(root, 0),
        fires=lambda: matmul(example(WHOLE), _zero("int32", 3, 4)),
        misses=lambda: matmul(example(REALS), _zero("float32", 3, 4)),
    )
    yield Rule(
        "matmul_left",
        matmul(0.0, n),
        lambda root: filled_like(root, 0),
        fires=lambda: matmul(_zero("int32", 4, 2), example(WHOLE)),
        misses=lambda: matmul(_zero("float32", 4, 2), example(REALS)),
    )


@rules(Soundness.FAST)
def float_absorbing(x: Float) -> Equations:
    """x * 0 = 0 / x = 0, and so for products of matrices: but for NaN and infinities."""
    yield Rule(
        "product",
        mul(x, 0.0),
        filling(0),
        fires=lambda: mul(example(REALS), filled(0)),
        misses=lambda: mul(example(REALS), filled(1)),
    )
    yield Rule(
        "quotient",
        div(0.0, x),
        filling(0),
        fires=lambda: div(filled(0), example(REALS)),
        misses=lambda: div(filled(1), example(REALS)),
    )
    yield Rule(
        "matmul_right",
        matmul(x, 0.0),
        lambda root: filled_like(root, 0),
        fires=lambda: matmul(example(REALS), _zero("float32", 3, 4)),
        misses=lambda: matmul(example(REALS), filled(1, 3, 4)),
    )
    yield Rule(
        "matmul_left",
        matmul(0.0, x),
        lambda root: filled_like(root, 0),
        fires=lambda: matmul(_zero("float32", 4, 2), example(REALS)),
        misses=lambda: matmul(filled(1, 4, 2), example(REALS)),
    )


def _summed(dtype: str) -> Node:
    inner = add(example(f"{dtype}[2, N]"), filled(3, dtype=dtype))
    made: Node = add(inner, example(f"{dtype}[2, N]", "y"))
    return made


VARYING = Guard("y is no constant", lambda y: y.constant is None)
BETWEEN = (VARYING, alike("x", "y"), guards.used_once("p"))


@rules(Soundness.EXACT)
def integer_constants_last(x: Integer, y: Value, c: Const, p: Value) -> Equations:
    """(x + c) + y = (x + y) + c, so that the constants of a chain of sums meet."""
    yield Rule(
        "sum",
        add(p.of(add(x, c)), y),
        add(add(x, y), c),
        worth=BETWEEN,
        fires=lambda: _summed("int32"),
        misses=lambda: _summed("float32"),
    )


@rules(Soundness.FAST)
def float_constants_last(x: Float, y: Value, c: Const, p: Value) -> Equations:
    """(x + c) + y = (x + y) + c, so that the constants of a chain of sums meet."""
    yield Rule(
        "sum",
        add(p.of(add(x, c)), y),
        add(add(x, y), c),
        worth=BETWEEN,
        fires=lambda: _summed("float32"),
        misses=lambda: _summed("int32"),
    )


NOTHING = still + bounded + integer_absorbing + float_absorbing
CONSTANTS_LAST = integer_constants_last + float_constants_last
