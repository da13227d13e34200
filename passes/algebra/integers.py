"""Rules that hold of integers alone: differences of equals, quotients and remainders."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from graphopt.ir import Node
from graphopt.op import Op
from graphopt.ops.arithmetic import add, div, max_, mod, mul, sub
from graphopt.ops.division import floor_divide, remainder
from graphopt.ops.logic import bit_shift
from graphopt.passes.algebra.elements import (
    anything,
    element_of,
    filling,
    keeps_shape,
    shown,
)
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
from graphopt.structural import constant
from graphopt.tensor import Tensor
from graphopt.types import DType

M, N = example("int32[2, 3]"), example("int32[2, 3]", "y")
U = example("uint32[2, 3]")


def _whole(value: int, *shape: int, dtype: str = "int32") -> Node:
    return filled(value, *shape, dtype=dtype)


def _positive(value: Node) -> int | None:
    """The one number of a constant where it is greater than 0."""
    element = element_of(value)
    return element if isinstance(element, int) and element > 0 else None


def _fits(number: int, dtype: DType) -> bool:
    low = -(1 << (dtype.bits - 1)) if dtype.kind == "i" else 0
    return low <= number < low + (1 << dtype.bits)


POSITIVE = Guard("the divisor is one number above 0", lambda c: _positive(c) is not None)


def _product_fits(x: Node, c: Node) -> bool:
    """Whether x * c cannot wrap around."""
    facts, factor = facts_of(x), _positive(c)
    return factor is not None and all(
        _fits(int(bound) * factor, x.dtype) for bound in (facts.low, facts.high)
    )


FITS = Guard("the product cannot wrap around", _product_fits, ("x", "c"))


@rules(Soundness.EXACT)
def cancelled(x: Integer, y: Integer, inner: Integer) -> Equations:
    """x - x = 0, (x + y) - y = x, (x - y) + y = x, x - (x - y) = y; integers wrap around."""
    yield Rule(
        "itself",
        sub(x, x),
        filling(0),
        fires=lambda: sub(M, M),
        misses=lambda: sub(example("float32[2, 3]"), example("float32[2, 3]")),
    )
    cases: tuple[tuple[str, Callable[[Any, Any], Any], str], ...] = (
        ("add_sub", lambda x, y: sub(add(x, y), y), "x"),
        ("sub_add", lambda x, y: add(sub(x, y), y), "x"),
        ("sub_sub", lambda x, y: sub(x, sub(x, y)), "y"),
    )
    for name, left, made in cases:
        yield Rule(
            name,
            left(x, y),
            x if made == "x" else y,
            when=keeps_shape(made),
            fires=shown(lambda left: left(M, N), left),
            misses=shown(
                lambda left, made: (
                    left(anything("int32"), example("int32[4, 2, 3]", "y"))
                    if made == "x"
                    else left(example("int32[4, 2, 3]", "y"), anything("int32"))
                ),
                left,
                made,
            ),
        )


def _few(x: Node) -> Node:
    """Small remainders, whose products fit."""
    made: Node = mod(x, _whole(100))
    return made


def _whole_of(x: Node, c: Node, **attrs: int) -> Node:
    made: Node = add(mul(div(x, c), c), mod(x, c, **attrs))
    return made


def _floor_whole_of(x: Node, c: Node) -> Node:
    made: Node = add(mul(floor_divide(x, c), c), remainder(x, c))
    return made


def _exponent(c: Node) -> int | None:
    """k where the one number of a constant is 2 to the power of k."""
    element = _positive(c)
    return element.bit_length() - 1 if element and not element & (element - 1) else None


def _shifted(x: Node, c: Node) -> Node | Declined:
    exponent, tensor = _exponent(c), c.constant
    if exponent is None or tensor is None:
        return Declined("the divisor is a power of two")
    places = constant(Tensor.splat(tensor.dtype, tensor.shape, exponent))
    made: Node = bit_shift(x, places, direction="RIGHT")
    return made


def _divided(op: Op) -> Any:
    def right(x: Node, c: Node, d: Node) -> Node | Declined:
        one, two = _positive(c), _positive(d)
        if one is None or two is None or not _fits(one * two, x.dtype):
            return Declined("both divisors are above 0, and their product fits")
        wider = d if c.rank == 0 else c
        if wider.constant is None or (d.rank != 0 and d.shape != wider.shape):
            return Declined("the divisors have one shape")
        shape = wider.constant.shape
        made: Node = op(x, constant(Tensor.splat(x.dtype, shape, one * two)))
        return made

    return right


@rules(Soundness.EXACT)
def quotients(x: Integer) -> Equations:
    """x mod 1 = 0, 0 / x = 0 mod x = 0 where x is never 0."""
    for op, attrs in ((mod, {}), (mod, {"fmod": 1}), (remainder, {})):
        yield Rule(
            "_".join(("by_one", op.name.lower(), *attrs)),
            op(x, 1.0, **attrs),
            filling(0),
            fires=shown(lambda op, attrs: op(M, _whole(1), **attrs), op, attrs),
            misses=shown(lambda op, attrs: op(M, _whole(2), **attrs), op, attrs),
        )
    for op in (div, mod):
        yield Rule(
            f"zero_{op.name.lower()}",
            op(0.0, x),
            filling(0),
            worth=Guard("x is never 0", lambda x: not facts_of(x).has_zero),
            fires=shown(lambda op: op(_whole(0), max_(M, _whole(1))), op),
            misses=shown(lambda op: op(_whole(0), M), op),
        )
    yield Rule(
        "floor_by_one",
        floor_divide(x, 1.0),
        x,
        when=keeps_shape(),
        fires=lambda: floor_divide(M, _whole(1)),
        misses=lambda: floor_divide(anything("int32"), _whole(1, 4, 1, 1)),
    )


@rules(Soundness.EXACT)
def constant_quotients(x: Integer, c: Const, d: Const, inner: Integer) -> Equations:
    """(x / c) / d = x / (c * d), (x * c) / c = x, (x * c) mod c = 0, where nothing wraps around."""
    for op in (div, floor_divide):
        name = op.name.lower()
        yield Rule(
            f"twice_{name}",
            op(inner.of(op(x, c)), d),
            _divided(op),
            worth=guards.used_once("inner"),
            fires=shown(lambda op: op(op(M, _whole(3)), _whole(7)), op),
            misses=shown(lambda op: op(op(M, _whole(1 << 20)), _whole(1 << 20)), op),
        )
        yield Rule(
            f"product_{name}",
            op(mul(x, c), c),
            x,
            when=(FITS, keeps_shape()),
            fires=shown(lambda op: op(mul(mod(M, _whole(100)), _whole(3)), _whole(3)), op),
            misses=(
                shown(lambda op: op(mul(M, _whole(3)), _whole(3)), op),
                shown(
                    lambda op: op(
                        mul(_few(anything("int32")), _whole(3, 4, 1, 1)), _whole(3, 4, 1, 1)
                    ),
                    op,
                ),
            ),
        )
    for name, op, attrs in (("mod", mod, {}), ("fmod", mod, {"fmod": 1}), ("rem", remainder, {})):
        yield Rule(
            f"product_{name}",
            op(mul(x, c), c, **attrs),
            filling(0),
            when=FITS,
            fires=shown(
                lambda op, attrs: op(mul(mod(M, _whole(100)), _whole(3)), _whole(3), **attrs),
                op,
                attrs,
            ),
            misses=shown(lambda op, attrs: op(mul(M, _whole(3)), _whole(3), **attrs), op, attrs),
        )


@rules(Soundness.EXACT)
def remainders(x: Integer, y: Integer, c: Const, p: Integer, q: Integer) -> Equations:
    """x - (x / y) * y = x mod y, and (x / y) * y + x mod y = x."""
    yield Rule(
        "rest",
        sub(x, p.of(mul(q.of(div(x, y)), y))),
        mod(x, y, fmod=1),
        worth=(guards.used_once("p"), guards.used_once("q")),
        fires=lambda: sub(M, mul(div(M, N), N)),
        misses=lambda: sub(M, mul(div(M, N), M)),
    )
    yield Rule(
        "floor_rest",
        sub(x, p.of(mul(q.of(floor_divide(x, c)), c))),
        remainder(x, c),
        when=POSITIVE,
        worth=(guards.used_once("p"), guards.used_once("q")),
        fires=lambda: sub(M, mul(floor_divide(M, _whole(7)), _whole(7))),
        misses=lambda: sub(M, mul(floor_divide(M, _whole(0)), _whole(0))),
    )
    yield Rule(
        "whole",
        add(mul(div(x, y), y), mod(x, y, fmod=1)),
        x,
        when=keeps_shape(),
        fires=lambda: add(mul(div(M, N), N), mod(M, N, fmod=1)),
        misses=lambda: _whole_of(anything("int32"), _whole(3, 4, 1, 1), fmod=1),
    )
    yield Rule(
        "whole_non_negative",
        add(mul(div(x, c), c), mod(x, c)),
        x,
        when=(guards.non_negative("x"), POSITIVE, keeps_shape()),
        fires=lambda: _whole_of(mod(M, _whole(100)), _whole(7)),
        misses=(
            lambda: _whole_of(M, _whole(7)),
            lambda: _whole_of(mod(M, _whole(100)), _whole(-7)),
            lambda: _whole_of(_few(anything("int32")), _whole(3, 4, 1, 1)),
        ),
    )
    yield Rule(
        "floor_whole",
        add(mul(floor_divide(x, c), c), remainder(x, c)),
        x,
        when=(POSITIVE, keeps_shape()),
        fires=lambda: _floor_whole_of(M, _whole(7)),
        misses=(
            lambda: _floor_whole_of(M, _whole(0)),
            lambda: _floor_whole_of(anything("int32"), _whole(3, 4, 1, 1)),
        ),
    )
    yield Rule(
        "shift",
        div(x, c),
        _shifted,
        when=Guard("x is unsigned", lambda x: x.dtype.kind == "u"),
        fires=lambda: div(U, _whole(8, dtype="uint32")),
        misses=lambda: div(M, _whole(8)),
    )


INTEGERS = cancelled + quotients + constant_quotients + remainders
