"""Rules of involutions around data movement: what is undone behind it need not be done before."""

from __future__ import annotations

from collections.abc import Callable

from graphopt.ir import Node
from graphopt.op import Op
from graphopt.ops.complexes import conjugate
from graphopt.ops.functions import neg
from graphopt.ops.logic import bitwise_not, not_
from graphopt.ops.movement import transpose
from graphopt.ops.shape import expand, flatten, reshape, squeeze, unsqueeze
from graphopt.passes.algebra.elements import shown
from graphopt.rewriting import (
    Attr,
    Equations,
    Maybe,
    Rule,
    RuleSet,
    Soundness,
    Value,
    guards,
    rules,
)
from graphopt.rewriting.examples import example, ints

MOVES: tuple[tuple[Op, Callable[[Node], Node]], ...] = (
    (transpose, lambda x: transpose(x)),
    (flatten, lambda x: flatten(x)),
    (reshape, lambda x: reshape(x, ints(-1))),
    (squeeze, lambda x: squeeze(x, ints(0))),
    (unsqueeze, lambda x: unsqueeze(x, ints(0))),
    (expand, lambda x: expand(x, ints(2, 1, 1))),
)
"""Ops that move all elements of their first input, and an example of each."""


def undone(op: Op, kind: str) -> RuleSet:
    """f(move(f(x))) = move(x) for an op f that undoes itself."""

    @rules(Soundness.EXACT)
    def undone_behind(x: Value, m: Value, s: Maybe, a: Attr) -> Equations:
        """f(move(f(x))) = move(x)"""
        for move, made in MOVES:
            inner = op(x)
            moved = (
                move(inner, attrs=a) if move in (transpose, flatten) else move(inner, s, attrs=a)
            )
            yield Rule(
                f"{op.name.lower()}_{move.name.lower()}",
                op(m.of(moved)),
                lambda m, x: m.with_inputs((x, *m.inputs[1:])),
                worth=guards.used_once("m"),
                fires=shown(lambda op, made: op(made(op(example(kind)))), op, made),
                misses=shown(lambda op, made: op(made(example(kind))), op, made),
            )

    return undone_behind


@rules(Soundness.EXACT)
def conjugates(x: Value) -> Equations:
    """conj(conj(x)) = x"""
    yield Rule(
        "twice",
        conjugate(conjugate(x)),
        x,
        fires=lambda: conjugate(conjugate(example("complex64[3]"))),
        misses=lambda: conjugate(example("complex64[3]")),
    )


MOVED = (
    conjugates
    + undone(neg, "float32[1, 3]")
    + undone(not_, "bool[1, 3]")
    + undone(bitwise_not, "int32[1, 3]")
    + undone(conjugate, "complex64[1, 3]")
)
