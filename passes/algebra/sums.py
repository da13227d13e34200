"""Rules of sums: multiples, constants that are combined, signs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from graphopt.ir import Node
from graphopt.ops.arithmetic import add, mul, sub
from graphopt.passes.algebra.elements import (
    REPLACEABLE,
    SIGNED,
    alike,
    element_of,
    negated,
    no_larger,
    scalar,
)
from graphopt.rewriting import (
    Const,
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
from graphopt.rewriting.reassociate import combined_sum

REALS, WHOLE = "float32[2, N]", "int32[2, N]"


@rules(Soundness.EXACT)
def multiples(x: Value, c: Const, inner: Value) -> Equations:
    """x + x = 2 * x and n * x + x = (n + 1) * x, up to 5 * x for floats: from 6 on they differ."""
    yield Rule(
        "twice",
        add(x, x),
        lambda x: mul(x, scalar(x, 2)),
        fires=lambda: add(example(REALS), example(REALS)),
        misses=lambda: add(example(REALS), example(REALS, "y")),
    )
    yield Rule(
        "once_more",
        add(inner.of(mul(x, c)), x),
        lambda x, c: _with(combined_sum(c, scalar(c, 1)), lambda made: mul(x, made)),
        when=Guard(
            "the multiple is 2, 3 or 4, or of integers",
            lambda c: c.dtype.is_integer or element_of(c) in (2, 3, 4),
        ),
        worth=guards.used_once("inner"),
        fires=lambda: add(example(REALS), mul(example(REALS), filled(4))),
        misses=lambda: add(example(REALS), mul(example(REALS), filled(5))),
    )


def _with(made: Node | Declined, build: Callable[[Node], Any]) -> Node | Declined:
    """What `build` makes of a constant, unless it was declined."""
    if isinstance(made, Declined):
        return made
    node: Node = build(made)
    return node


def _plus(c: Node, d: Node) -> Node | Declined:
    return no_larger(combined_sum(c, d), c, d)


def _minus(c: Node, d: Node) -> Node | Declined:
    return no_larger(combined_sum(c, negated(d)), c, d)


Combined = Callable[[Node, Node], Node | Declined]
Build = Callable[[Any, Any], Any]
Left = Callable[[Any, Any, Any, Any], Any]

REGROUPED: tuple[tuple[str, Left, Combined, Build], ...] = (
    ("add_add", lambda i, x, c, d: add(i.of(add(x, c)), d), _plus, lambda x, e: add(x, e)),
    ("rest_add", lambda i, x, c, d: add(i.of(sub(c, x)), d), _plus, lambda x, e: sub(e, x)),
    ("sub_sub", lambda i, x, c, d: sub(i.of(sub(x, c)), d), _plus, lambda x, e: sub(x, e)),
    ("add_sub", lambda i, x, c, d: sub(i.of(add(x, c)), d), _minus, lambda x, e: add(x, e)),
    ("sub_add", lambda i, x, c, d: add(i.of(sub(x, d)), c), _minus, lambda x, e: add(x, e)),
    ("rest_sub", lambda i, x, c, d: sub(i.of(sub(c, x)), d), _minus, lambda x, e: sub(e, x)),
    ("from_add", lambda i, x, c, d: sub(c, i.of(add(x, d))), _minus, lambda x, e: sub(e, x)),
    ("from_sub", lambda i, x, c, d: sub(d, i.of(sub(c, x))), _minus, lambda x, e: sub(x, e)),
)
"""Name, left side, how the constants are combined, right side. c - d of floats: opposite signs."""


def _regrouped(x: Any, c: Any, d: Any, inner: Any, dtype: str) -> Equations:
    """The equations of REGROUPED for floats or integers, which differ in their proof only.

    Of what has a sign, x - c is x + -c already (`differences`).
    """

    def right(combined: Combined, build: Build) -> Any:
        def made(x: Node, c: Node, d: Node) -> Node | Declined:
            return _with(combined(c, d), lambda e: build(x, e))

        return made

    def shown(left: Left, one: float, two: float) -> Callable[[], Node]:
        def make() -> Node:
            bound: Node = left(_Plain(), *_examples(dtype, one, two))
            return bound

        return make

    for name, left, combined, build in REGROUPED:
        if dtype == "float32" and name in ("sub_sub", "sub_add"):
            continue
        other = -2 if dtype == "float32" and combined is _minus else 2
        yield Rule(
            name,
            left(inner, x, c, d),
            right(combined, build),
            worth=guards.used_once("inner"),
            fires=shown(left, 1, other),
            misses=shown(left, 1, -other) if dtype == "float32" else lambda: _two_variables(dtype),
        )


class _Plain:
    """Stands for the variable of an inner node where a left side is built as an example."""

    def of(self, node: Node) -> Node:
        return node


def _examples(dtype: str, one: float, two: float) -> tuple[Node, Node, Node]:
    return (
        example(f"{dtype}[2, N]"),
        filled(one, 2, 1, dtype=dtype),
        filled(two, 1, dtype=dtype),
    )


def _two_variables(dtype: str) -> Node:
    x, y = example(f"{dtype}[2, N]"), example(f"{dtype}[2, N]", "y")
    made: Node = add(sub(x, y), filled(2, dtype=dtype))
    return made


@rules(Soundness.EXACT)
def integer_sums(x: Integer, y: Integer, c: Const, d: Const, inner: Integer, p: Integer,
                 q: Integer) -> Equations:  # fmt: skip
    """(x + c) + d = x + (c + d) and the other cases of signs and sides; integers wrap around."""
    yield from _regrouped(x, c, d, inner, "uint32")
    yield Rule(
        "across",
        add(p.of(add(x, c)), q.of(add(y, d))),
        lambda x, y, c, d: _with(_plus(c, d), lambda e: add(add(x, y), e)),
        worth=(alike("x", "y"), guards.used_once("p"), guards.used_once("q")),
        fires=lambda: add(
            add(example(WHOLE), filled(3, dtype="int32")),
            add(example(WHOLE, "y"), filled(4, dtype="int32")),
        ),
        misses=lambda: add(
            add(example(REALS), filled(3)),
            add(example(REALS, "y"), filled(4)),
        ),
    )


@rules(Soundness.ROUNDING)
def float_sums(x: Float, c: Const, d: Const, inner: Float) -> Equations:
    """(x + c) + d = x + (c + d) and the like where c + d is exact and nothing can cancel."""
    yield from _regrouped(x, c, d, inner, "float32")


@rules(Soundness.EXACT)
def differences(x: Value, c: Const) -> Equations:
    """x - c = x + (-c): the form in which constants are combined and folded into weights."""
    yield Rule(
        "constant",
        sub(x, c),
        lambda x, c: add(x, negated(c)),
        worth=(SIGNED, REPLACEABLE, guards.never_nan("c")),
        fires=lambda: sub(example(REALS), filled(2)),
        misses=lambda: sub(example("uint8[2]"), filled(2, dtype="uint8")),
    )


SUMS = multiples + integer_sums + float_sums + differences
