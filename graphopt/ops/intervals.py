"""Arithmetic on what is proven of values: from facts of operands to facts of a result.

Each function is of a dtype, in which floats are rounded (outwards here) and overflow; integers are
exact: that they wrap around where they do not fit is seen to by `graphopt.ranges`. Facts of an
operand that is a number are `point(number)`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from math import copysign, inf, isinf, isnan, nextafter, pow

from graphopt.ranges import ValueFacts, epsilon, outward
from graphopt.types import DType


def point(number: float) -> ValueFacts:
    """What holds of one number."""
    if isnan(number):
        return ValueFacts(-inf, inf, may_be_nan=True)
    negative_zero = number == 0 and copysign(1, number) < 0
    whole = isinf(number) or number == int(number)
    return ValueFacts(number, number, may_be_negative_zero=negative_zero, integer_valued=whole)


def within(low: float, high: float, *, nan: bool = False, zero: bool = False,
           whole: bool = False) -> ValueFacts:  # fmt: skip
    """Facts; bounds that are not numbers are taken for infinite ones."""
    # Not isnan, which takes no integer of a thousand bits.
    return ValueFacts(low if low == low else -inf, high if high == high else inf, nan, zero, whole)


def union(*facts: ValueFacts | None) -> ValueFacts:
    """What holds of the elements of several values; None is none."""
    made: ValueFacts | None = None
    for each in facts:
        if each is not None:
            made = each if made is None else made.union(each)
    assert made is not None
    return made


def below(x: ValueFacts, most: float) -> ValueFacts | None:
    """The elements that are numbers up to `most`, None if there are none."""
    if not x.low <= most:
        return None
    return replace(x, high=min(x.high, most), may_be_nan=False)


def above(x: ValueFacts, least: float) -> ValueFacts | None:
    """The elements that are numbers from `least` on, None if there are none."""
    if not x.high >= least:
        return None
    return replace(x, low=max(x.low, least), may_be_nan=False)


def with_nan(x: ValueFacts, nan: bool) -> ValueFacts:
    """The same, perhaps with a NaN."""
    return replace(x, may_be_nan=True) if nan and not x.may_be_nan else x


def rounded(dtype: DType, x: ValueFacts) -> ValueFacts:
    """The same after an operation in doubles stood for one in a dtype (if it is one of floats)."""
    if not dtype.is_float:
        return x
    low, high = outward(dtype, x.low, x.high)
    if dtype is DType.FLOAT64 and not x.integer_valued:  # the bounds have been rounded, too
        low = nextafter(low, -inf) if low else low
        high = nextafter(high, inf) if high else high
    return x if low == x.low and high == x.high else replace(x, low=low, high=high)


def spread(
    dtype: DType, x: ValueFacts, ulps: float, least: float = -inf, most: float = inf
) -> ValueFacts:
    """The same with an error of `ulps` units of eps * max(1, |x|), still between two numbers."""
    unit = ulps * epsilon(dtype)
    low = x.low if isinf(x.low) else x.low - unit * max(1.0, abs(x.low))
    high = x.high if isinf(x.high) else x.high + unit * max(1.0, abs(x.high))
    made = rounded(dtype, replace(x, low=low, high=high, integer_valued=False))
    low, high = max(least, made.low), min(most, made.high)
    return made if low == made.low and high == made.high else replace(made, low=low, high=high)


def same_sign(x: ValueFacts) -> tuple[float, float]:
    """Between what numbers results stay whose error never changes the sign of x."""
    return (0 if x.low >= 0 else -inf), (0 if x.high <= 0 else inf)


def may_be_signed(x: ValueFacts) -> bool:
    """Whether a number among the elements may have its sign bit set."""
    return x.low < 0 or x.may_be_negative_zero


def opposite(a: ValueFacts, b: ValueFacts) -> bool:
    """Whether elements of two values may have unlike signs, so that a product of 0 is -0.0."""
    return (may_be_signed(a) and b.high >= 0) or (a.high >= 0 and may_be_signed(b))


def has_infinity(x: ValueFacts) -> bool:
    """Whether an element may be infinite."""
    return x.low == -inf or x.high == inf


def magnitude(x: ValueFacts) -> float:
    """The greatest |x|."""
    return max(abs(x.low), abs(x.high))


def negative(dtype: DType, x: ValueFacts) -> ValueFacts:
    """-x."""
    zero = dtype.is_float and x.has_zero
    return ValueFacts(-x.high, -x.low, x.may_be_nan, zero, x.integer_valued)


def absolute(x: ValueFacts) -> ValueFacts:
    """|x|."""
    low = 0 if x.has_zero else min(abs(x.low), abs(x.high))
    return ValueFacts(low, magnitude(x), x.may_be_nan, integer_valued=x.integer_valued)


def add(dtype: DType, a: ValueFacts, b: ValueFacts) -> ValueFacts:
    """a + b."""
    nan = a.may_be_nan or b.may_be_nan
    nan = nan or (a.high == inf and b.low == -inf) or (a.low == -inf and b.high == inf)
    zero = a.may_be_negative_zero and b.may_be_negative_zero
    whole = a.integer_valued and b.integer_valued
    made = within(a.low + b.low, a.high + b.high, nan=nan, zero=zero, whole=whole)
    return rounded(dtype, made)


def sub(dtype: DType, a: ValueFacts, b: ValueFacts) -> ValueFacts:
    """a - b."""
    return add(dtype, a, negative(dtype, b))


def mul(dtype: DType, a: ValueFacts, b: ValueFacts) -> ValueFacts:
    """a * b."""
    nan = a.may_be_nan or b.may_be_nan
    nan = nan or (a.has_zero and has_infinity(b)) or (has_infinity(a) and b.has_zero)
    ends = [_times(x, y) for x in (a.low, a.high) for y in (b.low, b.high)]
    zero = dtype.is_float and opposite(a, b)
    whole = a.integer_valued and b.integer_valued
    return rounded(dtype, within(min(ends), max(ends), nan=nan, zero=zero, whole=whole))


def _times(x: float, y: float) -> float:
    """x * y, 0 where one is: what is 0 times infinity is no number."""
    return x * y if x and y else 0


def square(dtype: DType, x: ValueFacts) -> ValueFacts:
    """x * x of one x."""
    size = absolute(x)
    low, high = size.low * size.low, size.high * size.high
    return rounded(dtype, within(low, high, nan=x.may_be_nan, whole=x.integer_valued))


def div(dtype: DType, a: ValueFacts, b: ValueFacts) -> ValueFacts:
    """a / b of floats."""
    nan = a.may_be_nan or b.may_be_nan
    nan = nan or (a.has_zero and b.has_zero) or (has_infinity(a) and has_infinity(b))
    if b.has_zero and (b.low < 0 or b.may_be_negative_zero):
        return within(-inf, inf, nan=nan, zero=True)
    ends = list(_quotients(a, b))
    if not ends:
        return within(-inf, inf, nan=True, zero=True)
    return rounded(dtype, within(min(ends), max(ends), nan=nan, zero=opposite(a, b)))


def _quotients(a: ValueFacts, b: ValueFacts) -> Iterable[float]:
    """What quotients of numbers have for limits, where b is on one side of 0 and 0.0 positive."""
    for x in (a.low, a.high):
        for y in (b.low, b.high):
            if y == 0:
                yield copysign(inf, x) if x else 0.0
            elif not (isinf(x) and isinf(y)):
                yield x / y


def divided_whole(a: ValueFacts, b: ValueFacts, *, down: bool = False) -> ValueFacts | None:
    """a / b of integers where b is not 0, rounded toward zero or `down`; None if b always is."""
    parts = [part for part in ((b.low, min(b.high, -1)), (max(b.low, 1), b.high))
             if part[0] <= part[1]]  # fmt: skip
    ends = [_whole_quotient(int(x), int(y), down) for x in (a.low, a.high)
            for part in parts for y in part]  # fmt: skip
    return within(min(ends), max(ends), whole=True) if ends else None


def _whole_quotient(x: int, y: int, down: bool) -> int:
    floor = x // y
    return floor if down or floor * y == x or (x < 0) == (y < 0) else floor + 1


def remainder(a: ValueFacts, b: ValueFacts, *, truncated: bool, floats: bool) -> ValueFacts:
    """a - floor(a / b) * b, of the sign of b, or `truncated`, of the sign of a; b not 0."""
    nan = floats and (a.may_be_nan or b.may_be_nan or has_infinity(a) or b.has_zero)
    one = 0 if floats else 1  # how far an integer remainder stays from b
    if truncated:
        most = max(magnitude(b) - one, 0)
        low, high = max(min(a.low, 0), -most), min(max(a.high, 0), most)
    else:
        low, high = min(b.low + one, 0), max(b.high - one, 0)
        if a.low >= 0 and b.low >= 0:
            high = min(high, a.high)
    whole = a.integer_valued and b.integer_valued
    return within(low, high, nan=nan, zero=floats, whole=whole)


def maximum(a: ValueFacts, b: ValueFacts) -> ValueFacts:
    """The greater of two numbers, either of 0.0 and -0.0; NaN where one is."""
    return replace(a.union(b), low=max(a.low, b.low), high=max(a.high, b.high))


def minimum(a: ValueFacts, b: ValueFacts) -> ValueFacts:
    """The lesser of two numbers, either of 0.0 and -0.0; NaN where one is."""
    return replace(a.union(b), low=min(a.low, b.low), high=min(a.high, b.high))


def monotone(
    dtype: DType,
    x: ValueFacts,
    function: Callable[[float], float],
    ulps: float,
    *,
    least: float = -inf,
    most: float = inf,
) -> ValueFacts:
    """An increasing function of numbers, by a double of it with an error of an ulp or less.

    It raises OverflowError for what is infinite. The result is between `least` and `most` on any
    backend; a NaN stays one, and -0.0 may arise wherever 0 may.
    """
    low, high = _value(function, x.low), _value(function, x.high)
    return spread(dtype, within(low, high, nan=x.may_be_nan, zero=True), ulps, least, most)


def _value(function: Callable[[float], float], x: float) -> float:
    try:
        return function(x)
    except OverflowError:
        return copysign(inf, x)


def total(dtype: DType, x: ValueFacts, least: int, most: int) -> ValueFacts:
    """The sum of at least `least` and at most `most` elements, in any order."""
    if not dtype.is_float:
        low = x.low * (most if x.low < 0 else least)
        return within(low, x.high * (most if x.high > 0 else least), whole=True)
    unit = epsilon(dtype)
    low, high = _least_sum(x.low, least, most, unit), -_least_sum(-x.high, least, most, unit)
    parts = rounded(dtype, within(min(low, 0), max(high, 0)))  # what is summed before the rest
    nan = x.may_be_nan or (parts.low == -inf and parts.high == inf)
    made = within(low, high, nan=nan, zero=x.may_be_negative_zero, whole=x.integer_valued)
    return rounded(dtype, made)


def _least_sum(bound: float, least: int, most: int, unit: float) -> float:
    """A lower bound of sums of numbers that are at least `bound`.

    Rounding is monotone: no sum is less than that of as many equal bounds in the same order. The
    error of a sum of n numbers is less than n ulps of their sizes' sum, whatever n is.
    """
    if bound < 0:
        return bound * most * (1 + unit * most)
    if least == 0 or bound == 0:
        return 0
    return max(bound, bound * least - unit * most * bound * most)


def sum_of(dtype: DType, facts: Sequence[ValueFacts]) -> ValueFacts:
    """The sum of a few values, in any order."""
    if len(facts) == 1:
        return facts[0]
    unit = len(facts) * epsilon(dtype)
    low = _sum_of_lows([each.low for each in facts], unit)
    high = -_sum_of_lows([-each.high for each in facts], unit)
    least = _sum_of_lows([min(each.low, 0) for each in facts], unit)
    most = -_sum_of_lows([min(-each.high, 0) for each in facts], unit)
    parts = rounded(dtype, within(least, most))  # what is summed before the rest
    nan = any(each.may_be_nan for each in facts) or (parts.low == -inf and parts.high == inf)
    zero = all(each.may_be_negative_zero for each in facts)
    return rounded(dtype, within(low, high, nan=nan, zero=zero))


def _sum_of_lows(ends: list[float], unit: float) -> float:
    """A lower bound of sums of numbers with these lower bounds, as in `_least_sum`."""
    made = sum(ends) - unit * sum(map(abs, ends))
    if isnan(made):
        made = -inf
    return max(made, 0) if min(ends) >= 0 else made


def power(dtype: DType, x: ValueFacts, y: ValueFacts, ulps: float) -> ValueFacts:
    """x to the power of y, of floats."""
    nan = x.may_be_nan or y.may_be_nan
    exponent = y.low if y.low == y.high and abs(y.low) < inf and not y.may_be_nan else None
    if x.low >= 0 and not x.may_be_negative_zero:
        if exponent is None or (x.has_zero and exponent < 0):
            return within(0, inf, nan=nan)
        ends = sorted(_power(end, exponent) for end in (x.low, x.high))
        return spread(dtype, within(*ends, nan=nan), ulps, least=0)
    if not y.integer_valued and x.low < 0:
        return within(-inf, inf, nan=True, zero=True)
    if exponent is not None and exponent > 0 and exponent % 2 == 0:
        size = absolute(x)
        ends = [_power(end, exponent) for end in (size.low, size.high)]
        return spread(dtype, within(*ends, nan=nan), ulps, least=0)
    return within(-inf, inf, nan=nan, zero=True)


def _power(x: float, y: float) -> float:
    try:
        return pow(x, y)
    except OverflowError:
        return inf


def whole_power(x: ValueFacts, count: int) -> ValueFacts:
    """x to the power of one number, 0 or more, of integers."""
    if count % 2 or x.low >= 0:
        return within(x.low**count, x.high**count, whole=True)
    size = absolute(x)
    return within(size.low**count, size.high**count, whole=True)
