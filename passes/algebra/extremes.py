"""Rules of Max, Min and Relu: chains become one, what binds nothing goes."""

from __future__ import annotations

from math import inf
from typing import Any

from graphopt.ir import Node
from graphopt.op import Op, float32
from graphopt.ops.activation import leaky_relu, prelu, relu
from graphopt.ops.arithmetic import max_, min_, mod, mul
from graphopt.ops.cast import cast
from graphopt.ops.functions import ceil, exp, floor, neg, round_, sign, sqrt
from graphopt.passes.algebra.clips import limit
from graphopt.passes.algebra.elements import (
    anything,
    element_of,
    evaluated,
    filled_like,
    keeps_shape,
    shown,
)
from graphopt.rewriting import (
    Const,
    Declined,
    Equations,
    Float,
    Guard,
    Integer,
    Many,
    Rule,
    Soundness,
    Value,
    guards,
    rules,
)
from graphopt.rewriting.examples import example, filled
from graphopt.types import DType

X, Y, Z = (example("float32[2, 3]", name) for name in "xyz")
M, N = example("int32[2, 3]"), example("int32[2, 3]", "y")
WIDER = (4, 1, 1)
MOST = 32
"""Operands of a Max or Min that is made of several."""


def _whole(value: int, *shape: int) -> Node:
    return filled(value, *shape, dtype="int32")


def _number() -> Node:
    """A float that is proven to be a number, and never -0.0."""
    made: Node = cast(M, to=DType.FLOAT32)
    return made


def _is_limit(c: Node, *, greatest: bool) -> bool:
    return bool(element_of(c) == limit(c.dtype, greatest=greatest))


def _constant_like(root: Node, n: Node, c: Node) -> Node | Declined:
    return filled_like(root, element_of(c), n)


def _distinct(op: Op) -> Any:
    """max(x, y, x) without what is repeated; None where nothing is."""

    def right(x: Node, xs: tuple[Node, ...]) -> Node | None:
        kept = tuple(dict.fromkeys((x, *xs)))
        if len(kept) == 1 + len(xs):
            return None
        made: Node = op(*kept) if kept[1:] else x
        return made

    return right


def _gathered(op: Op) -> Any:
    """The op with its constants as one."""

    def right(x: Node, xs: tuple[Node, ...]) -> Node | Declined:
        operands = (x, *xs)
        constants = [item for item in operands if item.constant is not None]
        if len(constants) < 2 or len(constants) == len(operands):
            return Declined("two operands are constants, and one is not")
        made = evaluated(op, *constants)
        if isinstance(made, Declined):
            return made
        node: Node = op(*(item for item in operands if item.constant is None), made)
        return node

    return right


LEAST = Guard("the constant is the least number", lambda c: _is_limit(c, greatest=False))
GREATEST = Guard("the constant is the greatest number", lambda c: _is_limit(c, greatest=True))


@rules(Soundness.EXACT)
def extremes(x: Value, c: Const, n: Integer, inner: Value, xs: Many, ys: Many) -> Equations:
    """max(x, x) = x, max(max(x, y), z) = max(x, y, z), and so for min."""
    for op, greatest in ((max_, True), (min_, False)):
        name, bad = op.name.lower(), limit(DType.INT32, greatest=greatest)
        yield Rule(
            f"{name}_repeated",
            op(x, xs),
            _distinct(op),
            fires=shown(lambda op: op(X, Y, X), op),
            misses=shown(lambda op: op(X, Y, Z), op),
        )
        yield Rule(
            f"{name}_absorbing",
            op(n, c),
            _constant_like,
            when=GREATEST if greatest else LEAST,
            fires=shown(lambda op, bad: op(M, _whole(int(bad))), op, bad),
            misses=shown(lambda op: op(M, _whole(1)), op),
        )
        yield Rule(
            f"{name}_nested",
            op(inner.of(op(xs)), ys),
            op(xs, ys),
            worth=(
                Guard("there are few operands", lambda xs, ys: len(xs) + len(ys) <= MOST),
                guards.used_once("inner"),
            ),
            fires=shown(lambda op: op(op(X, Y), Z), op),
            misses=shown(lambda op: op(X, Y, Z), op),
        )
        yield Rule(
            f"{name}_constants",
            op(x, xs),
            _gathered(op),
            fires=shown(lambda op: op(filled(1), X, filled(2, 1)), op),
            misses=shown(lambda op: op(filled(1), X, Y), op),
        )


def _single(s: Node) -> bool:
    element = element_of(s)
    return element is not None and abs(element) < inf and float32(element) == element


def _leaky_double() -> Node:
    x = example("float64[2, 3]")
    made: Node = max_(x, mul(x, filled(0.1, dtype="float64")))
    return made


@rules(Soundness.EXACT)
def rectifiers(x: Float, s: Const) -> Equations:
    """max(x, 0) = relu(x); max(x, a * x) and prelu(x, a) are leaky_relu(x, a), for 0 < a <= 1."""
    yield Rule(
        "max_zero",
        max_(x, 0.0),
        relu(x),
        when=keeps_shape(),
        fires=lambda: max_(X, filled(0)),
        misses=lambda: max_(anything("float32"), filled(0, *WIDER)),
    )
    yield Rule(
        "leaky",
        max_(x, mul(x, s)),
        lambda x, s: leaky_relu(x, alpha=element_of(s)),
        when=(
            Guard("the slope is above 0, and at most 1", lambda s: 0 < (element_of(s) or 0) <= 1),
            Guard("the slope is a float32", lambda s: _single(s)),
            keeps_shape(),
        ),
        fires=lambda: max_(X, mul(X, filled(0.25))),
        misses=(
            lambda: max_(X, mul(X, filled(2))),
            lambda: _leaky_double(),
            lambda: max_(anything("float32"), mul(anything("float32"), filled(0.25, *WIDER))),
        ),
    )
    yield Rule(
        "prelu",
        prelu(x, s),
        lambda x, s: leaky_relu(x, alpha=element_of(s)),
        when=Guard("the slope is one float32", lambda s: _single(s)),
        fires=lambda: prelu(X, filled(0.25, 3)),
        misses=lambda: prelu(example("float64[2, 3]"), filled(0.1, dtype="float64")),
    )


@rules(Soundness.EXACT)
def needless(x: Float, n: Integer) -> Equations:
    """relu(x) = x where nothing is negative, floor(x) = x of whole numbers."""
    yield Rule(
        "relu_non_negative",
        relu(x),
        x,
        when=(guards.non_negative("x"), guards.never_negative_zero("x")),
        fires=lambda: relu(exp(X)),
        misses=(lambda: relu(_number()), lambda: relu(sqrt(X))),
    )
    yield Rule(
        "relu_integer",
        relu(n),
        n,
        when=guards.non_negative("n"),
        fires=lambda: relu(mod(M, _whole(7))),
        misses=lambda: relu(M),
    )
    for op in (floor, ceil, round_):
        yield Rule(
            f"{op.name.lower()}_whole",
            op(x),
            x,
            when=guards.integer_valued("x"),
            fires=shown(lambda op: op(neg(floor(X))), op),
            misses=shown(lambda op: op(neg(X)), op),
        )
    yield Rule(
        "sign_of_sign",
        sign(sign(x)),
        sign(x),
        fires=lambda: sign(sign(X)),
        misses=lambda: sign(neg(X)),
    )


EXTREMES = extremes + rectifiers + needless
