"""Element-wise functions that NumPy has and ONNX lacks, in the domain `graphopt`."""

from __future__ import annotations

import math
from collections.abc import Callable
from math import inf, log, pi

from graphopt.ir import Node
from graphopt.op import Array, BoundsRule, Facts, Op, Xp, op, refuse
from graphopt.ops.bounds import increasing
from graphopt.ops.checks import check_dtype
from graphopt.ops.common import broadcast_shapes
from graphopt.ops.dtypes import INTEGERS
from graphopt.ops.elementwise import binary, unary, unary_examples
from graphopt.ops.examples import given
from graphopt.ops.intervals import absolute, magnitude, maximum, spread, within
from graphopt.ranges import ValueFacts
from graphopt.types import DType, TensorType, Type

HERE = "graphopt"
REALS = (DType.FLOAT32, DType.FLOAT64, DType.FLOAT16)
NEAR = Facts(ulps=4, signed_zero="passed")
INCREASING = Facts(ulps=4, monotone="increasing", signed_zero="passed")


def one(name: str, ufunc: str, text: str, facts: Facts = INCREASING) -> Op:
    """A function of one real variable."""
    return unary(name, ufunc, text, REALS, facts, domain=HERE)


def two(name: str, ufunc: str, text: str, facts: Facts = NEAR) -> Op:
    """A function of two real variables."""
    return binary(name, ufunc, text, REALS, facts, domain=HERE)


exp2 = one("Exp2", "exp2", "2 to the power of x")
expm1 = one("Expm1", "expm1", "exp(x) - 1, exact where x is small")
log2 = one("Log2", "log2", "The logarithm to base 2; NaN of negative numbers", NEAR)
log10 = one("Log10", "log10", "The logarithm to base 10; NaN of negative numbers", NEAR)
log1p = one("Log1p", "log1p", "log(1 + x), exact where x is small; NaN below -1", NEAR)
cbrt = one("Cbrt", "cbrt", "The real cube root")
spacing = one("Spacing", "spacing", "The distance from x to the next number away from 0", Facts())

atan2 = two(
    "Atan2", "arctan2", "The angle of the point (y, x), in all four quadrants", Facts(ulps=4)
)
hypot = two("Hypot", "hypot", "√(x² + y²), without overflow", NEAR)
log_add_exp = two("LogAddExp", "logaddexp", "log(exp(x) + exp(y)), without overflow")
log_add_exp2 = two("LogAddExp2", "logaddexp2", "log2(2^x + 2^y), without overflow")
copy_sign = two("CopySign", "copysign", "|x| with the sign of y", Facts())
next_after = two("NextAfter", "nextafter", "The next number after x towards y", Facts())

gcd = binary("GCD", "gcd", "The greatest common divisor", INTEGERS, domain=HERE)
lcm = binary("LCM", "lcm", "The least common multiple; it wraps around", INTEGERS, domain=HERE)
bit_count = unary(
    "BitCount", "bitwise_count", "How many bits of |x| are 1", INTEGERS, result=DType.UINT8,
    domain=HERE,
)  # fmt: skip


@op("Ldexp", domain=HERE, facts=Facts(elementwise=True, total=True))
def ldexp(xp: Xp, x: Array, exponent: Array) -> Array:
    """x times 2 to the power of an integer."""
    return xp.ldexp(x, exponent)


@ldexp.infer
def _(x: Node, exponent: Node) -> Type:
    check_dtype(x, REALS)
    check_dtype(exponent, (DType.INT32, DType.INT64), "the exponent")
    return TensorType(x.dtype, broadcast_shapes((x.shape, exponent.shape)))


@ldexp.examples
def _() -> list[Node]:
    exponent = given("n", 5, 7, dtype=DType.INT32)
    made = [ldexp(given("x", 5, 7, dtype=dtype), exponent) for dtype in REALS]
    return [*made, ldexp(given("x", "N", 1), given("n", 3, dtype=DType.INT64))]


@op("Frexp", domain=HERE, facts=Facts(total=True))
def frexp(xp: Xp, x: Array, *, outputs: int = 2) -> tuple[Array, Array]:
    """(m, e) with x = m * 2^e and 0.5 <= |m| < 1 or m = 0; NaN and infinities are their own m."""
    mantissa, exponent = xp.frexp(x)
    return mantissa, exponent.astype(xp.int32)


@frexp.infer
def _(x: Node, *, outputs: int) -> tuple[Type, Type]:
    check_dtype(x, REALS)
    if outputs != 2:
        raise refuse(f"there are 2 outputs, not {outputs}")
    kind = x.tensor_type
    return TensorType(kind.dtype, kind.shape), TensorType(DType.INT32, kind.shape)


frexp.examples(lambda: unary_examples(frexp, REALS))

# What is proven of the results.


def _logarithm(function: Callable[[float], float], start: float) -> Callable[[float], float]:
    return lambda x: -inf if x == start else function(x)


exp2.bounds(increasing(math.exp2, least=0, zero="never"))
expm1.bounds(increasing(math.expm1, zero="signed"))
log2.bounds(increasing(_logarithm(math.log2, 0), domain=(0, inf)))
log10.bounds(increasing(_logarithm(math.log10, 0), domain=(0, inf)))
log1p.bounds(increasing(_logarithm(math.log1p, -1), domain=(-1, inf), zero="signed"))
cbrt.bounds(increasing(math.cbrt, zero="signed"))


@atan2.bounds
def _(node: Node, y: ValueFacts, x: ValueFacts) -> ValueFacts:
    made = within(-pi, pi, nan=y.may_be_nan or x.may_be_nan, zero=True)
    return spread(node.dtype, made, node.op.facts.ulps)


@hypot.bounds
def _(node: Node, x: ValueFacts, y: ValueFacts) -> ValueFacts:
    a, b = absolute(x), absolute(y)
    made = within(math.hypot(a.low, b.low), math.hypot(a.high, b.high),
                  nan=x.may_be_nan or y.may_be_nan)  # fmt: skip
    return spread(node.dtype, made, node.op.facts.ulps, least=0)


def _log_sum(step: float) -> BoundsRule:
    """Of a sum of powers in terms of their exponents: at most `step` more than the greater."""

    def rule(node: Node, x: ValueFacts, y: ValueFacts) -> ValueFacts:
        greater = maximum(x, y)
        made = within(greater.low, greater.high + step, nan=greater.may_be_nan, zero=True)
        return spread(node.dtype, made, node.op.facts.ulps)

    return rule


log_add_exp.bounds(_log_sum(log(2)))
log_add_exp2.bounds(_log_sum(1))


@copy_sign.bounds
def _(node: Node, x: ValueFacts, y: ValueFacts) -> ValueFacts:
    size = absolute(x)
    signed = y.low < 0 or y.may_be_nan or y.may_be_negative_zero
    low = -size.high if signed else size.low
    return within(low, size.high, nan=x.may_be_nan, zero=signed, whole=x.integer_valued)


@gcd.bounds
def _(node: Node, x: ValueFacts, y: ValueFacts) -> ValueFacts:
    greatest = max(magnitude(x), magnitude(y))  # |least number| is itself, which is refused
    return within(0, greatest, whole=True)


bit_count.bounds(lambda node, x: within(0, node.inputs[0].dtype.bits, whole=True))
