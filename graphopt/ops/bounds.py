"""What ops prove of their results: rules for `Op.bounds` that several ops share."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from math import ceil, floor, inf, log, sqrt
from typing import Any, Literal

from graphopt.dims import Size, lower
from graphopt.ir import Node
from graphopt.op import BoundsRule
from graphopt.ops.intervals import (
    absolute,
    has_infinity,
    magnitude,
    may_be_signed,
    monotone,
    point,
    same_sign,
    spread,
    square,
    total,
    union,
    within,
)
from graphopt.ranges import ANYTHING, ValueFacts, integer_limits, outward, top_of
from graphopt.types import DType

MOST = (1 << 63) - 1
"""No tensor has more elements, and no axis more places."""
COUNTS = ValueFacts(0, MOST, integer_valued=True)
"""What holds of positions and sizes of which nothing else is known."""
TRUTH = top_of(DType.BOOL)
NOTHING = point(0)


def attribute(node: Node, name: str) -> Any:
    """The value of a node's attribute, its default if it is left out."""
    return node.op.arguments(node.attrs)[name]


def always(facts: ValueFacts) -> BoundsRule:
    """What holds whatever the inputs are."""

    def rule(node: Node, *inputs: Any) -> ValueFacts:
        return facts

    return rule


def outputs(*facts: ValueFacts | Literal["first"]) -> BoundsRule:
    """What holds of several outputs, "first" of those that hold elements of the first input."""

    def rule(node: Node, x: ValueFacts, *others: Any) -> ValueFacts | tuple[ValueFacts, ...]:
        made = tuple(x if each == "first" else each for each in facts)
        count = node.op.arguments(node.attrs).get("outputs", len(made))
        return made[:count] if count > 1 else made[0]

    return rule


def united(node: Node, *inputs: ValueFacts | None) -> ValueFacts:
    """What holds of elements of all inputs."""
    return union(*inputs)


def with_zeros(node: Node, x: ValueFacts, *others: Any) -> ValueFacts:
    """What holds of elements of the first input, and of 0."""
    return x.union(NOTHING)


def increasing(
    function: Callable[[float], float],
    *,
    least: float = -inf,
    most: float = inf,
    domain: tuple[float, float] = (-inf, inf),
    zero: Literal["signed", "never", "perhaps"] = "perhaps",
) -> Callable[[Node, ValueFacts], ValueFacts]:
    """Of a function that increases on its domain and is NaN outside.

    On any backend its results are between `least` and `most`. A "signed" one has the sign of x, so
    that it is -0.0 only where x is not positive.
    """

    def rule(node: Node, x: ValueFacts) -> ValueFacts:
        low, high = max(x.low, domain[0]), min(x.high, domain[1])
        if low > high:
            return ANYTHING
        nan = x.may_be_nan or x.low < low or x.high > high
        bottom, top = least, most
        if zero == "signed":
            bottom, top = (0 if x.low >= 0 else least), (0 if x.high <= 0 else most)
        inner = ValueFacts(low, high)
        made = monotone(node.dtype, inner, function, node.op.facts.ulps, least=bottom, most=top)
        may = zero == "perhaps" or (zero == "signed" and may_be_signed(x))
        return within(made.low, made.high, nan=nan, zero=may)

    return rule


def between(low: float, high: float, *, end: float = inf) -> BoundsRule:
    """Of a function between two numbers, within its error, that is NaN where |x| is over `end`.

    With an `end` that is infinite, it is NaN of infinity.
    """

    def rule(node: Node, x: ValueFacts) -> ValueFacts:
        outside = has_infinity(x) if end == inf else magnitude(x) > end
        made = within(low, high, nan=x.may_be_nan or outside, zero=True)
        return spread(node.dtype, made, node.op.facts.ulps)

    return rule


def whole(function: Callable[[float], int], *, up: bool) -> BoundsRule:
    """Of a rounding to whole numbers; `up`: small negative numbers may become -0.0."""

    def apply(x: float) -> float:
        return x if x in (inf, -inf) else float(function(x))

    def rule(node: Node, x: ValueFacts) -> ValueFacts:
        zero = x.may_be_negative_zero or (up and x.low < 0)
        return within(apply(x.low), apply(x.high), nan=x.may_be_nan, zero=zero, whole=True)

    return rule


down, up = whole(floor, up=False), whole(ceil, up=True)
nearest = whole(round, up=True)


def gate(least: float) -> BoundsRule:
    """Of x times a number between 0 and 1 that depends on x; `least` is less than its minimum."""

    def rule(node: Node, x: ValueFacts, *others: Any) -> ValueFacts:
        return gated(node.dtype, x, least, node.op.facts.ulps)

    return rule


def gated(dtype: DType, x: ValueFacts, least: float, ulps: float) -> ValueFacts:
    """See `gate`."""
    low, high = (0 if x.low >= 0 else max(least, x.low)), max(x.high, 0)
    nan = x.may_be_nan or has_infinity(x)
    made = within(low, high, nan=nan, zero=may_be_signed(x))
    return spread(dtype, made, ulps, least=0 if low == 0 else -inf)


def converted(source: DType, dtype: DType, x: ValueFacts) -> ValueFacts:
    """x cast to a dtype of 16 bits or more, or of integers."""
    if dtype is DType.BOOL:
        never = x.has_zero and not x.may_be_nan and x.low == x.high
        return within(0 if x.has_zero else 1, 0 if never else 1, whole=True)
    if dtype.is_integer:
        if not source.is_float:
            return x
        least, most = integer_limits(dtype)
        if x.may_be_nan or not (least - 1 < x.low and x.high < most + 1):
            return top_of(dtype)
        return within(int(x.low), int(x.high), whole=True)
    if dtype.bits < 16 or source is DType.STRING:
        return top_of(dtype)
    low, high = outward(dtype, *(_enclosing(x.low, x.high)))
    narrower = source.is_float and (source, dtype) not in WIDENINGS and source is not dtype
    zero = x.may_be_negative_zero or (narrower and x.low < 0)
    return within(low, high, nan=x.may_be_nan, zero=zero, whole=x.integer_valued)


WIDENINGS = {(small, DType.FLOAT64) for small in DType if small.is_float} | {
    (small, DType.FLOAT32) for small in DType if small.is_float and small.bits <= 16
}
"""Casts between floats that are exact."""


def _enclosing(low: float, high: float) -> tuple[float, float]:
    """Doubles that enclose an interval of integers, which may have more bits."""
    below, above = float(low), float(high)
    exact = below <= low and above >= high
    return (below, above) if exact else outward(DType.FLOAT32, below - abs(below) * 2**-50,
                                                above + abs(above) * 2**-50)  # fmt: skip


def size_range(sizes: tuple[Size | None, ...] | None) -> tuple[int, int]:
    """The least and the greatest product of some sizes, None for what is not known."""
    least = most = 1
    for size in (None,) if sizes is None else sizes:
        low = 0 if size is None else max(lower(size) or 0, 0)
        least, most = least * low, most * (size if isinstance(size, int) else MOST)
    return least, min(most, MOST)


def positions_below(size: Size | None) -> ValueFacts:
    """What holds of places on an axis."""
    return within(0, max(size - 1, 0) if isinstance(size, int) else MOST, whole=True)


def mean_of(dtype: DType, x: ValueFacts, least: int, most: int) -> ValueFacts:
    """The mean of some elements; NaN of none."""
    most = max(most, 1)
    sums = total(dtype, x, max(least, 1), most)
    error = 2.0 + most  # ulps
    made = spread(dtype, x, error, *same_sign(x))
    low = -inf if sums.low == -inf and x.low < 0 else made.low
    high = inf if sums.high == inf and x.high > 0 else made.high
    zero = x.may_be_negative_zero or x.low < 0
    return within(low, high, nan=sums.may_be_nan or least == 0, zero=zero)


def sign_of(node: Node, x: ValueFacts) -> ValueFacts:
    """Of -1, 0 and 1."""
    low, high = ((value > 0) - (value < 0) for value in (x.low, x.high))
    return within(low, high, nan=x.may_be_nan, zero=x.may_be_negative_zero, whole=True)


def even(function: Callable[[float], float], least: float) -> BoundsRule:
    """Of a function that increases with |x| from `least` on."""

    def rule(node: Node, x: ValueFacts) -> ValueFacts:
        return monotone(node.dtype, absolute(x), function, node.op.facts.ulps, least=least)

    return rule


def comparison_bounds(less: Callable[[ValueFacts, ValueFacts], bool | None]) -> BoundsRule:
    """Of an order relation: `less` says whether it holds of all pairs of numbers, of none, or None.

    It holds of no NaN.
    """

    def rule(node: Node, a: ValueFacts, b: ValueFacts) -> ValueFacts:
        found = less(a, b)
        if found is None or (found and (a.may_be_nan or b.may_be_nan)):
            return TRUTH
        return point(int(found))

    return rule


def is_less(a: ValueFacts, b: ValueFacts) -> bool | None:
    """Whether a < b of all numbers."""
    return True if a.high < b.low else False if a.low >= b.high else None


def is_at_most(a: ValueFacts, b: ValueFacts) -> bool | None:
    """Whether a <= b of all numbers."""
    return True if a.high <= b.low else False if a.low > b.high else None


def is_equal(a: ValueFacts, b: ValueFacts) -> bool | None:
    """Whether a = b of all numbers."""
    if a.high < b.low or b.high < a.low:
        return False
    return True if a.low == a.high == b.low == b.high else None


def folded(function: Callable[[ValueFacts, ValueFacts], ValueFacts]) -> BoundsRule:
    """Of several inputs that are combined one after the other."""

    def rule(node: Node, *inputs: ValueFacts) -> ValueFacts:
        return reduce(function, inputs)

    return rule


# Reductions of at least `least` and at most `most` elements to one.

Reduced = Callable[[DType, ValueFacts, int, int], ValueFacts]
"""From a dtype, facts of the elements, `least` and `most` to facts of the result."""


def mean_bounds(dtype: DType, x: ValueFacts, least: int, most: int) -> ValueFacts:
    """The mean, of integers rounded toward zero."""
    if dtype.is_float:
        return mean_of(dtype, x, least, most)
    sums = total(dtype, x, least, most)
    top = top_of(dtype)
    if not top.low <= sums.low <= sums.high <= top.high:
        return ANYTHING
    return x if least else x.union(NOTHING)


def extreme_bounds(*, greatest: bool) -> Reduced:
    """The greatest or least element; of none it is the least of the dtype, or the `greatest`."""

    def bounds(dtype: DType, x: ValueFacts, least: int, most: int) -> ValueFacts:
        top = top_of(dtype)
        end = top.high if greatest else top.low
        return x if least else x.union(within(end, end, whole=True))

    return bounds


def product_bounds(dtype: DType, x: ValueFacts, least: int, most: int) -> ValueFacts:
    """The product."""
    size = magnitude(x)
    if not dtype.is_float:
        if size > 1 and most > 64:
            return ANYTHING
        high = int(max(size, 1)) ** most if size > 1 else 1
        return within(0 if x.low >= 0 else -high, high, whole=True)
    high, signed = (1 if size <= 1 else inf), may_be_signed(x)
    nan = x.may_be_nan or size > 1  # infinite parts times 0
    return within(-high if x.low < 0 else 0, high, nan=nan, zero=signed, whole=x.integer_valued)


def norm_bounds(dtype: DType, x: ValueFacts, least: int, most: int) -> ValueFacts:
    """The square root of the sum of squares."""
    real = dtype if dtype.is_float else DType.FLOAT64
    sums = total(real, square(real, x), least, most)
    made = monotone(real, sums, sqrt, 4, least=0)
    return made if dtype.is_float else converted(real, dtype, made)


def log_sum_bounds(dtype: DType, x: ValueFacts, least: int, most: int) -> ValueFacts:
    """The logarithm of the sum."""
    sums = total(dtype, x, least, most)
    nan = sums.may_be_nan or sums.low < 0
    positive = within(max(sums.low, 0), max(sums.high, 0))
    made = monotone(dtype, positive, _log, 8)
    return within(made.low, made.high, nan=nan, zero=True)


def _log(x: float) -> float:
    return log(x) if x else -inf


def log_sum_exp_bounds(dtype: DType, x: ValueFacts, least: int, most: int) -> ValueFacts:
    """The logarithm of the sum of exp(x)."""
    low, high = (x.low if least else -inf), x.high + log(max(most, 1))
    return spread(dtype, within(low, high, nan=x.may_be_nan, zero=True), 64)


def square_sum_bounds(dtype: DType, x: ValueFacts, least: int, most: int) -> ValueFacts:
    """The sum of squares."""
    return total(dtype, square(dtype, x), least, most)
