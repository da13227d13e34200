"""Quotients and remainders of integers by constants, where the dividend's parts tell them apart.

Positions in flattened arrays are of this kind: (row * width + column) / width is the row.
"""

from __future__ import annotations

from math import gcd
from typing import Any

from graphopt.analysis import same_shape
from graphopt.ir import Node
from graphopt.op import Op
from graphopt.ops.arithmetic import add, div, mod, mul
from graphopt.ops.division import floor_divide, remainder
from graphopt.passes.algebra.elements import (
    anything,
    element_of,
    filled_like,
    keeps_shape,
    scalar,
    shown,
)
from graphopt.passes.movement.casts import limits
from graphopt.ranges import facts_of
from graphopt.rewriting import (
    Const,
    Declined,
    Equations,
    Guard,
    Integer,
    Rule,
    Soundness,
    guards,
    rules,
)
from graphopt.rewriting.examples import example, filled

M, N = example("int32[2, 3]"), example("int32[2, 3]", "y")
DIVISIONS: tuple[tuple[str, Op], ...] = (("div", div), ("floor", floor_divide))
REMAINDERS: tuple[tuple[str, Op, dict[str, int]], ...] = (
    ("mod", mod, {}),
    ("fmod", mod, {"fmod": 1}),
    ("rem", remainder, {}),
)
APART = Declined("neither constant is a multiple of the other one")
BROADCAST = Declined("the result has another shape")


def _whole(value: int) -> Node:
    return filled(value, dtype="int32")


def _below(x: Node, bound: int) -> Node:
    """The least numbers from 0 on, fewer than `bound`."""
    made: Node = mod(x, _whole(bound))
    return made


def positive(c: Node) -> int:
    """The one number of a constant where it is greater than 0, else 0."""
    element = element_of(c)
    return element if isinstance(element, int) and element > 0 else 0


def sum_fits(x: Node, a: Node, r: Node | None = None) -> bool:
    """Whether x * a + r cannot wrap around, a being one number above 0."""
    facts, factor = facts_of(x), positive(a)
    rest = facts_of(r) if r is not None else None
    low, high = limits(x.dtype)
    least = facts.low * factor + (min(rest.low, 0) if rest else 0)
    most = facts.high * factor + (max(rest.high, 0) if rest else 0)
    return factor > 0 and low <= least and most <= high


def divided(op: Op, x: Node, a: int, c: int) -> Node | Declined:
    """x * a / c by one number."""
    if a % c and c % a:
        return APART
    if a == c:
        return x
    made: Node = mul(x, scalar(x, a // c)) if a > c else op(x, scalar(x, c // a))
    return made


def _shaped(made: Node | Declined, root: Node) -> Node | Declined:
    return made if isinstance(made, Declined) or same_shape(made, root) else BROADCAST


def _quotient(op: Op) -> Any:
    def right(x: Node, a: Node, c: Node, root: Node) -> Node | Declined:
        one, two = positive(a), positive(c)
        if not one or not two or one == two:
            return APART
        return _shaped(divided(op, x, one, two), root)

    return right


def _row(op: Op) -> Any:
    """(x * a + r) / c, where r is less than a step of the row."""

    def right(x: Node, a: Node, r: Node, c: Node, root: Node) -> Node | Declined:
        one, two, rest = positive(a), positive(c), facts_of(r)
        if not one or not two or not (rest.low >= 0 and rest.high < gcd(one, two)):
            return Declined("the rest does not reach the next quotient")
        if op is div and facts_of(x).low < 0:
            return Declined("a quotient is rounded up")
        return _shaped(divided(op, x, one, two), root)

    return right


def _multiple(a: Node, c: Node) -> bool:
    return min(positive(a), positive(c)) > 0 and positive(a) % positive(c) == 0


MULTIPLE = Guard("one constant is a multiple of the other one", _multiple, ("a", "c"))
FITS = Guard("the product cannot wrap around", lambda x, a: sum_fits(x, a))
SUM_FITS = Guard("the sum cannot wrap around", lambda x, a, r: sum_fits(x, a, r))


def _negative(op: Op, attrs: dict[str, int]) -> Node:
    made: Node = op(mod(M, _whole(-17)), _whole(9), **attrs)
    return made


def _enlarged(op: Op, attrs: dict[str, int]) -> Node:
    made: Node = op(_below(anything("int32"), 7), filled(9, 4, 1, 1, dtype="int32"), **attrs)
    return made


@rules(Soundness.EXACT)
def small_residues(x: Integer, c: Const) -> Equations:
    """x / c is one number, and x mod c is x, where the range of x says so."""
    for name, op in DIVISIONS:
        yield Rule(
            name,
            op(x, c),
            lambda root, x: filled_like(root, facts_of(root).low, x),
            when=Guard(
                "the quotient is one number",
                lambda root: facts_of(root).low == facts_of(root).high,
            ),
            fires=shown(lambda op: op(_below(M, 7), _whole(9)), op),
            misses=shown(lambda op: op(_below(M, 7), _whole(5)), op),
        )
    for name, op, attrs in REMAINDERS:
        yield Rule(
            name,
            op(x, c, **attrs),
            x,
            when=(
                guards.non_negative("x"),
                Guard(
                    "x is less than the divisor", lambda x, c: facts_of(x).high < facts_of(c).low
                ),
                keeps_shape(),
            ),
            fires=shown(lambda op, attrs: op(_below(M, 7), _whole(9), **attrs), op, attrs),
            misses=(
                shown(_negative, op, attrs),
                shown(lambda op, attrs: op(_below(M, 7), _whole(5), **attrs), op, attrs),
                shown(_enlarged, op, attrs),
            ),
        )


def _flat(op: Op, rows: int, width: int, divisor: int) -> Node:
    made: Node = op(add(mul(_below(M, rows), _whole(width)), _below(N, width)), _whole(divisor))
    return made


@rules(Soundness.EXACT)
def multiples_divided(
    x: Integer, r: Integer, a: Const, c: Const, inner: Integer, p: Integer
) -> Equations:
    """(x * 6) / 3 = x * 2, (x * 3) / 6 = x / 2, (x * 6 + r) / 6 = x for r from 0 to 5."""
    once = guards.used_once("inner")
    for name, op in DIVISIONS:
        yield Rule(
            f"product_{name}",
            op(inner.of(mul(x, a)), c),
            _quotient(op),
            when=FITS,
            worth=once,
            fires=shown(lambda op: op(mul(_below(M, 9), _whole(6)), _whole(3)), op),
            misses=shown(lambda op: op(mul(M, _whole(3 << 29)), _whole(3)), op),
        )
        yield Rule(
            f"sum_{name}",
            op(inner.of(add(p.of(mul(x, a)), r)), c),
            _row(op),
            when=SUM_FITS,
            worth=(once, guards.used_once("p")),
            fires=shown(_flat, op, 9, 6, 6),
            misses=shown(_flat, op, 1 << 30, 4, 4),
        )


def _rest(root: Node, r: Node, c: Node) -> Node | Declined:
    made: Node = root.with_inputs((r, c))
    return _shaped(made, root)


def _left(op: Op, attrs: dict[str, int], x: Node, divisor: int) -> Node:
    made: Node = op(x, _whole(divisor), **attrs)
    return made


def _twice(op: Op, attrs: dict[str, int], x: Node, first: int, then: int) -> Node:
    return _left(op, attrs, _left(op, attrs, x, first), then)


def _twice_wide(op: Op, attrs: dict[str, int]) -> Node:
    inner = op(anything("int32"), filled(6, 4, 1, 1, dtype="int32"), **attrs)
    return _left(op, attrs, inner, 3)


@rules(Soundness.EXACT)
def multiples_left(
    x: Integer, r: Integer, a: Const, c: Const, inner: Integer, p: Integer
) -> Equations:
    """(x * 6) mod 3 = 0, (x * 6 + r) mod 3 = r mod 3, (x mod 6) mod 3 = x mod 3."""
    for name, op, attrs in REMAINDERS:
        yield Rule(
            f"product_{name}",
            op(mul(x, a), c, **attrs),
            lambda root, x: filled_like(root, 0, x),
            when=(MULTIPLE, FITS),
            fires=shown(_left, op, attrs, mul(_below(M, 9), _whole(6)), 3),
            misses=(
                shown(_left, op, attrs, mul(_below(M, 9), _whole(6)), 4),
                shown(_left, op, attrs, mul(M, _whole(3 << 29)), 3),
            ),
        )
        yield Rule(
            f"twice_{name}",
            op(inner.of(op(x, a, **attrs)), c, **attrs),
            op(x, c, **attrs),
            when=(MULTIPLE, guards.same_shape("root", "x")),
            worth=guards.used_once("inner"),
            fires=shown(_twice, op, attrs, M, 6, 3),
            misses=(
                shown(_twice, op, attrs, M, 6, 4),
                shown(_twice_wide, op, attrs),
            ),
        )
        if attrs:  # the sign of the sum may be another one than that of the rest
            continue
        yield Rule(
            f"sum_{name}",
            op(inner.of(add(p.of(mul(x, a)), r)), c),
            _rest,
            when=(MULTIPLE, SUM_FITS),
            worth=(guards.used_once("inner"), guards.used_once("p")),
            fires=shown(_flat, op, 9, 6, 3),
            misses=(shown(_flat, op, 9, 6, 4), shown(_flat, op, 1 << 30, 6, 6)),
        )


RESIDUES = small_residues + multiples_divided + multiples_left
