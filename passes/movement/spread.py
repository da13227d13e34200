"""Rules of broadcasts that come late: what is done to every copy is done before they are made."""

from __future__ import annotations

from functools import partial

from graphopt.analysis import same_shape
from graphopt.ir import Node
from graphopt.op import Op
from graphopt.ops.activation import relu, sigmoid
from graphopt.ops.arithmetic import add, div, max_, min_, mul, sub
from graphopt.ops.functions import exp, log, neg, sqrt, tanh
from graphopt.ops.generate import constant_of_shape
from graphopt.ops.logic import and_, equal, greater, less, not_, or_, where, xor
from graphopt.ops.shape import expand, shape
from graphopt.passes.movement.chains import over, variable_of
from graphopt.rewriting import (
    Attr,
    Const,
    Declined,
    Equations,
    Rule,
    Soundness,
    Value,
    guards,
    rules,
)
from graphopt.rewriting.examples import example, filled
from graphopt.structural import constant
from graphopt.tensor import Tensor

UNARY = (neg, exp, log, sqrt, tanh, relu, sigmoid)
PAIRS = (add, sub, mul, div, max_, min_, equal, greater, less)
LOGICAL = (and_, or_, xor)


def _sizes() -> Node:
    made: Node = shape(example("float32[N, M]", "like"))
    return made


def _spread(kind: str = "float32") -> Node:
    made: Node = expand(example(f"{kind}[M]"), _sizes())
    return made


def first(root: Node, x: Node, s: Node) -> Node | Declined:
    """A function of one broadcast value, of what it was before."""
    if variable_of(root) is None:
        return Declined("a constant is broadcast, too")
    if root.dtype.bits > x.dtype.bits:
        return Declined("wider elements would be copied")
    made = over(root, x)
    if made.rank != x.rank:
        return Declined("a constant adds axes")
    wide: Node = expand(made, s)
    return wide


def where_first(root: Node, x: Node, s: Node) -> Node | Declined:
    """As `first`; a choice between numbers is wider than the mask, but made once for each."""
    if variable_of(root) is None:
        return Declined("a constant is broadcast, too")
    made: Node = expand(over(root, x), s)
    return made


def _made(op: Op, kind: str, *more: Node, spread: bool = True) -> Node:
    value = _spread(kind) if spread else example(f"{kind}[N, M]")
    made: Node = op(value, *more)
    return made


@rules(Soundness.EXACT)
def narrow_first(x: Value, s: Value, e: Value, c: Const, d: Const) -> Equations:
    """f(expand(x)) = expand(f(x)), where the constants of f are single numbers."""
    alone = guards.used_once("e")
    for op in UNARY:
        yield Rule(
            op.name.lower(),
            op(e.of(expand(x, s))),
            first,
            worth=alone,
            fires=partial(_made, op, "float32"),
            misses=partial(_made, op, "float32", spread=False),
        )
    yield Rule(
        "not",
        not_(e.of(expand(x, s))),
        first,
        worth=alone,
        fires=partial(_made, not_, "bool"),
        misses=partial(_made, not_, "bool", spread=False),
    )
    for op in PAIRS:
        yield Rule(
            op.name.lower(),
            op(e.of(expand(x, s)), c),
            first,
            worth=alone,
            fires=partial(_made, op, "float32", filled(2)),
            misses=partial(_made, op, "float32", filled(2, 1, 1)),
        )
    yield Rule(
        "where",
        where(e.of(expand(x, s)), c, d),
        where_first,
        worth=alone,
        fires=lambda: where(_spread("bool"), filled(2), filled(3)),
        misses=lambda: where(example("bool[N, M]"), filled(2), filled(3)),
    )


def of_number(op: Op, root: Node, y: Node, s: Node, v: Tensor) -> Node | Declined:
    """An op of a value and one number of a computed shape, of the number alone, then broadcast."""
    if y.constant is not None and y.constant.size == 1:
        return Declined("folding makes one number of two")
    made: Node = op(y, constant(Tensor.splat(v.dtype, (), v.element)))
    if same_shape(made, root):
        return made
    wide: Node = expand(made, s)
    return wide


def _numbers(op: Op, kind: str) -> Node:
    y = example(f"{kind}[M]", "y")
    made: Node = op(y, constant_of_shape(_sizes(), value=Tensor.splat(y.dtype, (1,), 1)))
    return made


@rules(Soundness.EXACT)
def filled_operands(y: Value, s: Value, e: Value, v: Attr) -> Equations:
    """f(full(s, v), y) = expand(f(v, y), s)"""
    for op in (add, mul, max_, min_, *LOGICAL):
        kind = "bool" if op in LOGICAL else "float32"
        yield Rule(
            op.name.lower(),
            op(y, e.of(constant_of_shape(s, value=v))),
            partial(of_number, op),
            worth=guards.used_once("e"),
            fires=partial(_numbers, op, kind),
            misses=partial(_made, op, kind, filled(1, dtype=kind)),
        )


SPREAD = narrow_first + filled_operands
