"""Forms of elementary functions of real numbers.

Each is within the few ulps that its op allows, but for `ldexp`, `frexp`, `copy_sign`, `spacing` and
`next_after`, which are exact.
"""

from __future__ import annotations

from math import log, pi

from graphopt.frontends.onnx.forms.nodes import (
    Form,
    absolute,
    add,
    apply,
    cast,
    div,
    either,
    equal,
    is_inf,
    is_nan,
    less,
    minus,
    mul,
    negation,
    sub,
    where,
    widened,
)
from graphopt.ir import Node
from graphopt.ops import arithmetic, functions
from graphopt.ops.cast import bit_cast
from graphopt.structural import constant
from graphopt.types import DType

BITS = {
    DType.FLOAT16: DType.INT16,
    DType.FLOAT32: DType.INT32,
    DType.FLOAT64: DType.INT64,
}
EXPONENTS = {DType.FLOAT32: (-126, 127, 24), DType.FLOAT64: (-1022, 1023, 53)}
"""The exponents of the least and the greatest power of 2 with all digits, and how many digits."""


def exp(x: Node) -> Node:
    """e to the power of x."""
    return apply(functions.exp, x)


def ln(x: Node) -> Node:
    """The natural logarithm."""
    return apply(functions.log, x)


def sign_bit(x: Node) -> Node:
    """Whether x is negative or -0; a NaN is not."""
    return either(less(x, 0), less(apply(functions.reciprocal, x), 0))


def copy_sign(x: Node, y: Node) -> Node:
    """|x| with the sign of y; that of a NaN is taken for +."""
    size = absolute(x)
    return where(sign_bit(y), minus(size), size)


def exp2(x: Node) -> Node:
    """2 to the power of x."""
    return apply(arithmetic.power, constant(2, x.dtype), x)


def logarithm(base: int) -> Form:
    """The form of a logarithm."""

    def form(x: Node) -> Node:
        return div(ln(x), log(base))

    return widened(form)


@widened
def expm1(x: Node) -> Node:
    """exp(x) - 1. The rounding error of exp(x) cancels against that of its logarithm (W. Kahan)."""
    power = exp(x)
    less_one = sub(power, 1)
    made = mul(less_one, div(x, ln(power)))
    made = where(either(equal(less_one, -1), is_inf(power)), less_one, made)
    return where(equal(power, 1), x, made)


@widened
def log1p(x: Node) -> Node:
    """log(1 + x). The rounding error of 1 + x cancels as that of `expm1` does."""
    total = add(x, 1)
    whole = ln(total)
    made = where(is_inf(total), whole, mul(whole, div(x, sub(total, 1))))
    return where(equal(total, 1), x, made)


@widened
def cbrt(x: Node) -> Node:
    """The cube root: a power, which one step of Newton's makes exact to an ulp."""
    root = mul(apply(functions.sign, x), apply(arithmetic.power, absolute(x), _third(x)))
    better = sub(root, div(sub(root, div(x, mul(root, root))), 3))
    return where(either(equal(x, 0), is_inf(x)), x, better)


def _third(x: Node) -> Node:
    return constant(1 / 3, x.dtype)


@widened
def atan2(y: Node, x: Node) -> Node:
    """The angle of (y, x) in the first quadrant, then reflected."""
    height, width = absolute(y), absolute(x)
    ratio = where(equal(height, width), where(equal(height, 0), height, 1), div(height, width))
    angle = apply(functions.atan, ratio)
    return copy_sign(where(sign_bit(x), sub(pi, angle), angle), y)


@widened
def hypot(x: Node, y: Node) -> Node:
    """The greater of |x| and |y| times √(1 + (less / greater)²)."""
    one, other = absolute(x), absolute(y)
    swapped = less(one, other)
    high, low = where(swapped, other, one), where(swapped, one, other)
    ratio = div(low, where(equal(high, 0), 1, high))
    made = mul(high, apply(functions.sqrt, add(mul(ratio, ratio), 1)))
    return where(either(is_inf(x), is_inf(y)), float("inf"), made)


@widened
def log_add_exp(x: Node, y: Node) -> Node:
    """The greater + log1p(exp(-|x - y|)); a difference of infinities is no number."""
    apart = log1p(exp(minus(absolute(sub(x, y)))))
    return add(where(less(x, y), y, x), where(equal(x, y), log(2), apart))


@widened
def log_add_exp2(x: Node, y: Node) -> Node:
    """The greater + log2(1 + 2^-|x - y|)."""
    apart = div(log1p(exp2(minus(absolute(sub(x, y))))), log(2))
    return add(where(less(x, y), y, x), where(equal(x, y), 1, apart))


@widened
def ldexp(x: Node, exponent: Node) -> Node:
    """x times powers of 2 that the dtype has: one, and others where it does not reach.

    Rounded twice where the exponent is below the least and the result subnormal.
    """
    least, greatest, _ = EXPONENTS[x.dtype]
    for _ in range(3):
        part = apply(arithmetic.min_, apply(arithmetic.max_, exponent, least), greatest)
        exponent = sub(exponent, part)
        x = mul(x, exp2(cast(part, x.dtype)))
    return x


def frexp(x: Node) -> tuple[Node, Node]:
    """Mantissa and exponent: the logarithm's guess, put right by what it leaves."""
    wide = cast(x, DType.FLOAT32) if x.dtype is DType.FLOAT16 else x
    least, _, digits = EXPONENTS[wide.dtype]
    itself = either(equal(wide, 0), is_inf(wide), is_nan(wide))
    ready = where(itself, 0.5, wide)
    small = less(absolute(ready), 2.0**least)
    ready = where(small, mul(ready, 2.0**digits), ready)
    guess = apply(functions.floor, div(ln(absolute(ready)), log(2)))
    exponent = add(cast(guess, DType.INT32), 1)
    mantissa = ldexp(ready, minus(exponent))
    low, high = less(absolute(mantissa), 0.5), negation(less(absolute(mantissa), 1))
    mantissa = where(low, mul(mantissa, 2), where(high, mul(mantissa, 0.5), mantissa))
    exponent = where(low, sub(exponent, 1), where(high, add(exponent, 1), exponent))
    exponent = where(small, sub(exponent, digits), exponent)
    return cast(where(itself, wide, mantissa), x.dtype), where(itself, 0, exponent)


def moved(x: Node, by: Node | int) -> Node:
    """The number whose bits are those of x plus an integer."""
    made: Node = bit_cast(add(bit_cast(x, to=BITS[x.dtype]), by), to=x.dtype)
    return made


def spacing(x: Node) -> Node:
    """The distance from x to the next number away from 0; NumPy's of float16 is to the next above.

    The next number has the bits of x plus 1, or minus 1 towards 0.
    """
    ready = where(equal(x, 0), 0, x)  # -0 counts as 0
    step: Node | int = 1
    if x.dtype is DType.FLOAT16:
        step = where(less(ready, 0), constant(-1, DType.INT16), 1)
    return where(either(is_inf(x), is_nan(x)), float("nan"), sub(moved(ready, step), ready))


def next_after(x: Node, y: Node) -> Node:
    """The next number after x towards y: its bits plus or minus 1."""
    one = constant(1, BITS[x.dtype])
    away = equal(less(x, y), less(0, x))
    step = where(away, one, minus(one))
    least: Node = bit_cast(one, to=x.dtype)
    made = where(equal(x, 0), where(less(y, 0), minus(least), least), moved(x, step))
    return where(either(is_nan(x), is_nan(y)), add(x, y), where(equal(x, y), y, made))
