"""Comparison, logic and bits: what gives bools, chooses by them, or works on bits."""

from __future__ import annotations

import operator
from typing import Any

from graphopt import dims
from graphopt.ir import Node
from graphopt.op import Array, Facts, Op, Xp, op, refuse
from graphopt.ops.bounds import attribute, comparison_bounds, is_at_most, is_equal, is_less
from graphopt.ops.checks import check_dtype, same_dtype
from graphopt.ops.common import broadcast_shapes
from graphopt.ops.dtypes import BOOLS, FLOAT8, FLOATS, INTEGERS, NUMBERS
from graphopt.ops.elementwise import (
    Combine,
    binary,
    binary_examples,
    broadcast_rule,
    combine_known,
    unary,
    unary_examples,
    unary_rule,
)
from graphopt.ops.examples import given
from graphopt.ops.intervals import has_infinity, maximum, minimum, point, within
from graphopt.ranges import ANYTHING, ValueFacts, top_of
from graphopt.types import DType, TensorType, Type

ORDER = Facts(signed_zero="absorbed")
SYMMETRIC = Facts(commutative=True, signed_zero="absorbed")


def known_equal(a: Any, b: Any) -> bool | None:
    """Whether known elements are equal, None where that is not proven."""
    if a == b:
        return True
    return False if known_less(a, b) or known_less(b, a) else None


def known_less(a: Any, b: Any) -> bool | None:
    """Whether a < b of known elements, None where neither that nor a >= b is proven."""
    if dims.at_most(a + 1, b):
        return True
    return False if dims.at_most(b, a) else None


def known_more(a: Any, b: Any) -> bool | None:
    """Whether a > b of known elements, None where neither that nor a <= b is proven."""
    return known_less(b, a)


def known_at_most(a: Any, b: Any) -> bool | None:
    """Whether a <= b of known elements, None where neither that nor a > b is proven."""
    found = known_less(b, a)
    return None if found is None else not found


def known_at_least(a: Any, b: Any) -> bool | None:
    """Whether a >= b of known elements, None where neither that nor a < b is proven."""
    return known_at_most(b, a)


def known_and(a: bool, b: bool) -> bool:
    """Whether both known elements are true."""
    return a and b


def known_or(a: bool, b: bool) -> bool:
    """Whether one of the known elements is true."""
    return a or b


def comparison(name: str, ufunc: str, text: str, known: Combine) -> Op:
    """An order relation; NaN is in none."""
    return binary(name, ufunc, text, NUMBERS, ORDER, known=known, result=DType.BOOL)


equal = binary(
    "Equal",
    "equal",
    "Whether x = y; NaN equals nothing",
    (*NUMBERS, DType.BOOL, DType.STRING),
    SYMMETRIC,
    known=known_equal,
    result=DType.BOOL,
)
less = comparison("Less", "less", "Whether x < y", known_less)
greater = comparison("Greater", "greater", "Whether x > y", known_more)
less_or_equal = comparison("LessOrEqual", "less_equal", "Whether x <= y", known_at_most)
greater_or_equal = comparison("GreaterOrEqual", "greater_equal", "Whether x >= y", known_at_least)

and_ = binary(
    "And",
    "logical_and",
    "Whether both are true",
    BOOLS,
    Facts(commutative=True, idempotent=True, unit=True),
    known=known_and,
)
or_ = binary(
    "Or",
    "logical_or",
    "Whether at least one is true",
    BOOLS,
    Facts(commutative=True, idempotent=True, unit=False),
    known=known_or,
)
xor = binary(
    "Xor",
    "logical_xor",
    "Whether exactly one is true",
    BOOLS,
    Facts(commutative=True, unit=False),
    known=operator.ne,
)
not_ = unary(
    "Not",
    "logical_not",
    "Whether x is false",
    BOOLS,
    Facts(involution=True),
    known=operator.not_,
)

bitwise_and = binary(
    "BitwiseAnd", "bitwise_and", "The bits that are 1 in both", INTEGERS,
    Facts(commutative=True, idempotent=True),
)  # fmt: skip
bitwise_or = binary(
    "BitwiseOr", "bitwise_or", "The bits that are 1 in at least one", INTEGERS,
    Facts(commutative=True, idempotent=True, unit=0.0),
)  # fmt: skip
bitwise_xor = binary(
    "BitwiseXor", "bitwise_xor", "The bits that are 1 in exactly one", INTEGERS,
    Facts(commutative=True, unit=0.0),
)  # fmt: skip
bitwise_not = unary(
    "BitwiseNot", "invert", "Every bit turned around", INTEGERS, Facts(involution=True)
)


@op("BitShift", facts=Facts(elementwise=True, total=True, unit=0.0, unit_side="right"))
def bit_shift(xp: Xp, x: Array, y: Array, *, direction: str) -> Array:
    """The bits of x moved by y places, to the LEFT or to the RIGHT.

    A signed x is extended by its sign. A negative y, and one that is at least the number of bits,
    moves all bits out.
    """
    bits = x.dtype.itemsize * 8
    far = (y < 0) | (y >= bits)
    y = xp.where(far, 0, y)
    if direction == "LEFT":
        return xp.where(far, 0, x << y)
    return xp.where(far, x >> (bits - 1) if x.dtype.kind == "i" else 0, x >> y)


shift_rule = broadcast_rule(INTEGERS)


@bit_shift.infer
def _(x: Node, y: Node, *, direction: str) -> Type:
    if direction not in ("LEFT", "RIGHT"):
        raise refuse(f"the direction is LEFT or RIGHT, not {direction!r}")
    return shift_rule(x, y)


bit_shift.examples(
    lambda: [
        *binary_examples(bit_shift, INTEGERS, direction="LEFT"),
        *binary_examples(bit_shift, INTEGERS, direction="RIGHT"),
    ]
)

is_nan = unary("IsNaN", "isnan", "Whether x is not a number", (*FLOATS, *FLOAT8), result=DType.BOOL)


@op("IsInf", facts=Facts(signed_zero="absorbed", elementwise=True, total=True))
def is_inf(xp: Xp, x: Array, *, detect_negative: int = 1, detect_positive: int = 1) -> Array:
    """Whether x is infinite; of one sign only where the other is not to be detected."""
    found = xp.isinf(x)
    if not detect_negative:
        found = found & ~xp.signbit(x)
    return found if detect_positive else found & xp.signbit(x)


is_inf.infer(unary_rule((*FLOATS, *FLOAT8), result=DType.BOOL))
is_inf.examples(
    lambda: [
        *unary_examples(is_inf, (*FLOATS, *FLOAT8)),
        *unary_examples(is_inf, FLOATS, detect_negative=0),
        *unary_examples(is_inf, FLOATS, detect_positive=0),
        *unary_examples(is_inf, FLOATS, detect_positive=0, detect_negative=0),
    ]
)

CHOICES = (*NUMBERS, DType.BOOL, DType.STRING, DType.COMPLEX64, DType.COMPLEX128)


@op("Where", facts=Facts(signed_zero="passed", elementwise=True, total=True, ufunc="where"))
def where(xp: Xp, condition: Array, x: Array, y: Array) -> Array:
    """x where the condition is true, else y."""
    return xp.where(condition, x, y)


@where.infer
def _(condition: Node, x: Node, y: Node) -> Type:
    check_dtype(condition, BOOLS)
    same_dtype(x, y, among=CHOICES)
    test, one, other = condition.tensor_type, x.tensor_type, y.tensor_type
    shape = broadcast_shapes((condition.shape, x.shape, y.shape))
    made = TensorType(one.dtype, shape)
    if one.known is None and other.known is None:
        return made
    kinds = (test, one, other)
    return made.with_known(combine_known(kinds, shape, one.dtype, known_choice, partial=True))


def known_choice(test: bool | None, a: Any, b: Any) -> Any:
    """The known element that is chosen, which both may be."""
    if test is None:
        return a if a == b else None
    return a if test else b


@where.examples
def _() -> list[Node]:
    examples = [
        where(
            given("c", 5, 7, dtype=DType.BOOL),
            given("x", 5, 7, dtype=dtype),
            given("y", 5, 7, dtype=dtype),
        )
        for dtype in CHOICES
    ]
    test, x = given("c", "N", 1, dtype=DType.BOOL), given("x", 1, "M")
    empty = given("x", 3, 0)
    return [
        *examples,
        where(test, x, given("y")),
        where(given("c", 3, 1, dtype=DType.BOOL), empty, empty),
    ]


# What is proven of the results.

equal.bounds(comparison_bounds(is_equal))
less.bounds(comparison_bounds(is_less))
greater.bounds(comparison_bounds(lambda a, b: is_less(b, a)))
less_or_equal.bounds(comparison_bounds(is_at_most))
greater_or_equal.bounds(comparison_bounds(lambda a, b: is_at_most(b, a)))
and_.bounds(lambda node, a, b: minimum(a, b))
or_.bounds(lambda node, a, b: maximum(a, b))
not_.bounds(lambda node, x: within(1 - x.high, 1 - x.low, whole=True))


@where.bounds
def _(node: Node, condition: ValueFacts, x: ValueFacts, y: ValueFacts) -> ValueFacts:
    if condition.low == 1:
        return x
    return y if condition.high == 0 else x.union(y)


@is_nan.bounds
def _(node: Node, x: ValueFacts) -> ValueFacts:
    return within(0, int(x.may_be_nan), whole=True)


@is_inf.bounds
def _(node: Node, x: ValueFacts) -> ValueFacts:
    return within(0, int(has_infinity(x)), whole=True)


@bitwise_not.bounds
def _(node: Node, x: ValueFacts) -> ValueFacts:
    most = 0 if node.dtype.kind == "i" else int(top_of(node.dtype).high) + 1
    return within(most - 1 - x.high, most - 1 - x.low, whole=True)


@bitwise_and.bounds
def _(node: Node, a: ValueFacts, b: ValueFacts) -> ValueFacts:
    highs = [x.high for x in (a, b) if x.low >= 0]
    return within(0, min(highs), whole=True) if highs else ANYTHING


@bitwise_or.bounds
def _(node: Node, a: ValueFacts, b: ValueFacts) -> ValueFacts:
    return within(max(a.low, b.low), _all_bits(a, b), whole=True) if _unsigned(a, b) else ANYTHING


@bitwise_xor.bounds
def _(node: Node, a: ValueFacts, b: ValueFacts) -> ValueFacts:
    return within(0, _all_bits(a, b), whole=True) if _unsigned(a, b) else ANYTHING


def _unsigned(a: ValueFacts, b: ValueFacts) -> bool:
    return a.low >= 0 and b.low >= 0


def _all_bits(a: ValueFacts, b: ValueFacts) -> int:
    """The number whose bits are all 1 that is just not less than any element."""
    return (1 << int(max(a.high, b.high)).bit_length()) - 1


@bit_shift.bounds
def _(node: Node, x: ValueFacts, y: ValueFacts) -> ValueFacts:
    if attribute(node, "direction") == "LEFT":
        return point(0) if x.low == x.high == 0 else ANYTHING
    return within(min(x.low, 0), x.high if x.high >= 0 else -1, whole=True)
