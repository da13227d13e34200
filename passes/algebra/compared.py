"""Comparisons with extremes, of shifted integers, of casts: of the operands themselves."""

from __future__ import annotations

from collections.abc import Callable
from math import ceil, floor
from typing import Any

import numpy as np

from graphopt.ir import Node
from graphopt.op import Op
from graphopt.ops.arithmetic import add, max_, min_, mod, mul, sub
from graphopt.ops.cast import cast
from graphopt.ops.functions import absolute
from graphopt.ops.logic import equal, greater, greater_or_equal, less, less_or_equal, not_
from graphopt.passes.algebra.elements import (
    anything,
    element_of,
    evaluated,
    filled_like,
    keeps_shape,
    no_negative_zero,
    scalar,
    shown,
)
from graphopt.passes.movement.casts import limits, lossless
from graphopt.ranges import facts_of
from graphopt.rewriting import (
    Attr,
    Boolean,
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
from graphopt.structural import constant
from graphopt.types import DType

X, Y = example("float32[2, 3]"), example("float32[2, 3]", "y")
M, N = example("int32[2, 3]"), example("int32[2, 3]", "y")
P = example("bool[2, 3]", "p")
COMPARISONS = (less, less_or_equal, greater, greater_or_equal, equal)
AGAINST: tuple[tuple[str, Op, Op, Op], ...] = (
    ("max", max_, less, less),
    ("max", max_, greater_or_equal, greater_or_equal),
    ("max", max_, equal, greater_or_equal),
    ("min", min_, greater, greater),
    ("min", min_, less_or_equal, less_or_equal),
    ("min", min_, equal, less_or_equal),
)
"""x op extreme(x, y) = x made y: (extreme, its op, op, made)."""
MIRRORED = {less: greater, less_or_equal: greater_or_equal, greater: less,
            greater_or_equal: less_or_equal, equal: equal}  # fmt: skip


def _true(flipped: bool, op: Op, extreme: Op, x: Node, y: Node) -> Node:
    made: Node = MIRRORED[op](extreme(x, y), x) if flipped else op(x, extreme(x, y))
    return made


@rules(Soundness.EXACT)
def against_extremes(x: Value, y: Value, inner: Value) -> Equations:
    """x < max(x, y) is x < y, x = max(x, y) is x >= y, x <= max(x, y) is true, and so for min."""
    for name, extreme, op, made in AGAINST:
        yield Rule(
            f"{name}_{op.name.lower()}",
            op(x, inner.of(extreme(x, y))),
            made(x, y),
            worth=guards.used_once("inner"),
            fires=shown(lambda op, extreme: op(X, extreme(X, Y)), op, extreme),
            misses=shown(lambda op, extreme: op(example("float32[3]", "z"), extreme(X, Y)), op,
                         extreme),
        )  # fmt: skip
        if op is equal:
            continue
        yield Rule(
            f"{name}_{op.name.lower()}_flipped",
            MIRRORED[op](inner.of(extreme(x, y)), x),
            made(x, y),
            worth=guards.used_once("inner"),
            fires=shown(lambda op, extreme: op(extreme(X, Y), X), MIRRORED[op], extreme),
            misses=shown(lambda op, extreme: op(extreme(X, Y), example("float32[3]", "z")),
                         MIRRORED[op], extreme),
        )  # fmt: skip
    for name, extreme, op in (("max", max_, less_or_equal), ("min", min_, greater_or_equal)):
        for flipped in (False, True):
            left = MIRRORED[op](extreme(x, y), x) if flipped else op(x, extreme(x, y))
            yield Rule(
                f"{name}_true{'_flipped' if flipped else ''}",
                left,
                lambda root, x, y: filled_like(root, True, x, y),
                when=(guards.never_nan("x"), guards.never_nan("y")),
                fires=shown(_true, flipped, op, extreme, M, N),
                misses=(
                    shown(_true, flipped, op, extreme, X, absolute(cast(N, to=DType.FLOAT32))),
                    shown(_true, flipped, op, extreme, absolute(cast(N, to=DType.FLOAT32)), X),
                ),
            )


def _absorbing(outer: Op, inner: Op, x: Node, y: Node) -> Node:
    made: Node = outer(x, inner(x, y))
    return made


def _number(x: Node) -> Node:
    """Floats that are numbers, and never -0.0."""
    made: Node = cast(x, to=DType.FLOAT32)
    return made


@rules(Soundness.EXACT)
def absorbed(x: Float, y: Value, n: Integer) -> Equations:
    """max(x, min(x, y)) = x and min(x, max(x, y)) = x"""
    wide = example("int32[4, 1, 1]", "y")
    for outer, inner in ((max_, min_), (min_, max_)):
        name = outer.name.lower()
        yield Rule(
            f"{name}_integer",
            outer(n, inner(n, y)),
            n,
            when=keeps_shape("n"),
            fires=shown(lambda outer, inner: outer(M, inner(M, N)), outer, inner),
            misses=shown(_absorbing, outer, inner, anything("int32"), wide),
        )
        yield Rule(
            f"{name}_float",
            outer(x, inner(x, y)),
            x,
            when=(guards.never_nan("y"), keeps_shape()),
            unobserved=no_negative_zero("x", "y"),
            fires=shown(_absorbing, outer, inner, _number(M), _number(N)),
            misses=(
                shown(_absorbing, outer, inner, _number(M), absolute(Y)),
                shown(_absorbing, outer, inner, _number(anything("int32")), _number(wide)),
            ),
            soundness=Soundness.VALUE,
        )


def _fits(dtype: DType, *bounds: float) -> bool:
    low, high = limits(dtype)
    return all(low <= bound <= high for bound in bounds)


def _sum_fits(x: Node, c: Node) -> bool:
    one, two = facts_of(x), facts_of(c)
    return _fits(x.dtype, one.low + two.low, one.high + two.high)


def _product_fits(x: Node, c: Node) -> bool:
    facts, factor = facts_of(x), element_of(c)
    return factor is not None and _fits(x.dtype, facts.low * factor, facts.high * factor)


def _unshifted(op: Op, *, first: bool) -> Any:
    """x + c compared with d, as x compared with d - c."""

    def right(x: Node, c: Node, d: Node) -> Node | Declined:
        one, two = facts_of(d), facts_of(c)
        if op is not equal and not _fits(x.dtype, one.low - two.high, one.high - two.low):
            return Declined("the difference of the constants wraps around")
        bound = evaluated(sub, d, c)
        if isinstance(bound, Declined):
            return bound
        made: Node = op(x, bound) if first else op(bound, x)
        return made

    return right


def _unscaled(op: Op, rounding: Callable[[float], int], *, first: bool) -> Any:
    """x * c compared with d, as x compared with d / c."""

    def right(x: Node, c: Node, d: Node, root: Node) -> Node | Declined:
        factor, number = element_of(c), element_of(d)
        if not factor or factor < 0 or number is None:
            return Declined("both constants are one number, the factor being above 0")
        bound = number // factor if rounding is floor else -(-number // factor)
        held = scalar(x, bound)
        made: Node = op(x, held) if first else op(held, x)
        return made if made.derived_type == root.derived_type else Declined("x is broadcast")

    return right


NO_WRAP = Guard("the sum cannot wrap around", _sum_fits, ("x", "c"))
IN_RANGE = Guard("the product cannot wrap around", _product_fits, ("x", "c"))


def _whole(value: int) -> Node:
    return filled(value, dtype="int32")


def _few() -> Node:
    made: Node = mod(M, _whole(100))
    return made


def _ordered(op: Op, first: bool, x: Any, d: Any) -> Any:
    return op(x, d) if first else op(d, x)


@rules(Soundness.EXACT)
def bounded_integers(x: Integer, c: Const, d: Const, inner: Integer) -> Equations:
    """x + c < d is x < d - c, x * c < d is x < d / c rounded up: where nothing wraps around."""
    once = guards.used_once("inner")
    for op in COMPARISONS:
        for first in (True, False) if op is not equal else (True,):
            label = op.name.lower() + ("" if first else "_flipped")
            near = add(M, _whole(3)) if op is not equal else mul(M, _whole(3))
            yield Rule(
                f"sum_{label}",
                _ordered(op, first, inner.of(add(x, c)), d),
                _unshifted(op, first=first),
                when=() if op is equal else NO_WRAP,
                worth=once,
                fires=shown(_ordered, op, first, add(_few(), _whole(3)), _whole(10)),
                misses=shown(_ordered, op, first, near, _whole(10)),
            )
            if op is equal:
                continue
            rounding = ceil if (op in (less, greater_or_equal)) == first else floor
            yield Rule(
                f"product_{label}",
                _ordered(op, first, inner.of(mul(x, c)), d),
                _unscaled(op, rounding, first=first),
                when=IN_RANGE,
                worth=once,
                fires=shown(_ordered, op, first, mul(_few(), _whole(3)), _whole(10)),
                misses=shown(_ordered, op, first, mul(M, _whole(2)), _whole(10)),
            )


def _of_flag(op: Op, *, first: bool) -> Any:
    """A bool that was cast to a number and compared with one: itself, or its negation."""

    def right(p: Node, c: Node, root: Node) -> Node | Declined | None:
        number = element_of(c)
        if number is None:
            return Declined("it is compared with one number")
        at = [bool(_compare(op, *((k, number) if first else (number, k)))) for k in (0, 1)]
        if at[0] == at[1]:
            return None
        made: Node = p if at[1] else not_(p)
        return made if made.derived_type == root.derived_type else Declined("it is broadcast")

    return right


def _compare(op: Op, a: float, b: float) -> bool:
    below, above = op in (less, less_or_equal), op in (greater, greater_or_equal)
    return (below and a < b) or (above and a > b) or (op not in (less, greater) and a == b)


COMPARED = frozenset({DType.INT32, DType.INT64, DType.FLOAT32, DType.FLOAT64})
"""Dtypes that every runtime compares."""


def _of_narrow(op: Op, *, first: bool) -> Any:
    """What was cast to a wider dtype and compared with constants, compared as it was before."""

    def right(x: Node, c: Node, wide: Node) -> Node | Declined | None:
        tensor = c.constant
        if not {x.dtype, wide.dtype} <= COMPARED or not lossless(x.dtype, wide.dtype):
            return Declined("the cast may change what is compared")
        assert tensor is not None
        with np.errstate(all="ignore"):
            narrow = tensor.array.astype(x.dtype.numpy)
        if not np.array_equal(narrow.astype(tensor.array.dtype), tensor.array):
            return Declined("the constant is no number of the narrower dtype")
        held = constant(narrow, x.dtype)
        made: Node = op(x, held) if first else op(held, x)
        return made

    return right


@rules(Soundness.EXACT)
def of_casts(p: Boolean, x: Value, c: Const, wide: Value, a: Attr) -> Equations:
    """cast(p) > 0 is p, cast(p) = 0 is not p, cast(x) < c is x < c in the narrower dtype."""
    for op in COMPARISONS:
        for first in (True, False) if op is not equal else (True,):
            label = op.name.lower() + ("" if first else "_flipped")
            middle = 0.5 if op is not equal else 1
            yield Rule(
                f"flag_{label}",
                _ordered(op, first, cast(p, attrs=a), c),
                _of_flag(op, first=first),
                fires=shown(_ordered, op, first, cast(P, to=DType.FLOAT32), filled(middle)),
                misses=shown(_ordered, op, first, cast(P, to=DType.FLOAT32), filled(2)),
            )
            yield Rule(
                f"narrow_{label}",
                _ordered(op, first, wide.of(cast(x, attrs=a)), c),
                _of_narrow(op, first=first),
                worth=guards.used_once("wide"),
                fires=shown(_ordered, op, first, cast(M, to=DType.INT64), filled(7, dtype="int64")),
                misses=shown(
                    _ordered, op, first, cast(M, to=DType.INT64), filled(1 << 40, dtype="int64")
                ),
            )


COMPARED_VALUES = against_extremes + absorbed + bounded_integers + of_casts
