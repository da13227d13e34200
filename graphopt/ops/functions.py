"""Element-wise functions of one variable: rounding, exponentials, trigonometry."""

from __future__ import annotations

import math
import operator
from math import inf, pi

from graphopt.ir import Node
from graphopt.op import Array, Facts, Xp, op
from graphopt.ops.bounds import between, down, even, increasing, nearest, sign_of, up
from graphopt.ops.dtypes import FLOATS, NUMBERS, SIGNED
from graphopt.ops.elementwise import known_absolute, unary, unary_examples, unary_rule
from graphopt.ops.intervals import absolute as size_of
from graphopt.ops.intervals import div, negative, point
from graphopt.ops.kernels import single
from graphopt.ops.special import erf as erf_of
from graphopt.ranges import ValueFacts

SIZE = Facts(idempotent=True, signed_zero="absorbed")
ROUNDING = Facts(idempotent=True, monotone="increasing", signed_zero="passed")
NEAR = Facts(ulps=4, signed_zero="passed")
EVEN = Facts(ulps=4, signed_zero="absorbed")
INCREASING = Facts(ulps=4, monotone="increasing", signed_zero="passed")

absolute = unary("Abs", "absolute", "|x|", NUMBERS, SIZE, known=known_absolute)
neg = unary(
    "Neg",
    "negative",
    "-x; of the least integer of a dtype, itself",
    (*FLOATS, *SIGNED),
    Facts(involution=True, signed_zero="passed"),
    known=operator.neg,
)
sign = unary(
    "Sign", "sign", "-1, 0 or 1 as x is negative, 0 or positive; NaN of NaN", NUMBERS, ROUNDING
)
floor = unary("Floor", "floor", "The greatest integer that is at most x", facts=ROUNDING)
ceil = unary("Ceil", "ceil", "The least integer that is at least x", facts=ROUNDING)
round_ = unary("Round", "rint", "The nearest integer, of two the even one", facts=ROUNDING)
reciprocal = unary("Reciprocal", "reciprocal", "1 / x")
sqrt = unary(
    "Sqrt", "sqrt", "The square root; NaN of negative numbers", facts=Facts(signed_zero="passed")
)
exp = unary(
    "Exp",
    "exp",
    "e to the power of x",
    facts=Facts(ulps=4, monotone="increasing", signed_zero="absorbed"),
)
log = unary("Log", "log", "The natural logarithm; NaN of negative numbers", facts=EVEN)
sin = unary("Sin", "sin", "The sine of x radians", facts=NEAR)
cos = unary("Cos", "cos", "The cosine of x radians", facts=EVEN)
tan = unary("Tan", "tan", "The tangent of x radians", facts=NEAR)
asin = unary("Asin", "arcsin", "The angle whose sine is x; NaN outside [-1, 1]", facts=NEAR)
acos = unary("Acos", "arccos", "The angle whose cosine is x; NaN outside [-1, 1]", facts=EVEN)
atan = unary("Atan", "arctan", "The angle whose tangent is x", facts=INCREASING)
sinh = unary("Sinh", "sinh", "The hyperbolic sine", facts=INCREASING)
cosh = unary("Cosh", "cosh", "The hyperbolic cosine", facts=EVEN)
tanh = unary("Tanh", "tanh", "The hyperbolic tangent", facts=INCREASING)
asinh = unary("Asinh", "arcsinh", "The inverse of the hyperbolic sine", facts=INCREASING)
acosh = unary("Acosh", "arccosh", "The inverse of cosh; NaN of numbers below 1", facts=EVEN)
atanh = unary("Atanh", "arctanh", "The inverse of tanh; NaN outside [-1, 1]", facts=NEAR)


@op(
    "Erf",
    facts=Facts(signed_zero="passed", elementwise=True, total=True, monotone="increasing", ulps=4),
)
def erf(xp: Xp, x: Array) -> Array:
    """The error function, 2/√π times the integral of exp(-t²) from 0 to x."""
    return erf_of(xp, single(xp, x)).astype(x.dtype)


erf.infer(unary_rule(FLOATS))
erf.examples(lambda: unary_examples(erf, FLOATS))

# What is proven of the results; domains end where the result is NaN.


def _log(x: float) -> float:
    return math.log(x) if x else -inf


def _atanh(x: float) -> float:
    return math.atanh(x) if abs(x) < 1 else math.copysign(inf, x)


@neg.bounds
def _(node: Node, x: ValueFacts) -> ValueFacts:
    return negative(node.dtype, x)


@reciprocal.bounds
def _(node: Node, x: ValueFacts) -> ValueFacts:
    return div(node.dtype, point(1), x)


absolute.bounds(lambda node, x: size_of(x))
sign.bounds(sign_of)
floor.bounds(down)
ceil.bounds(up)
round_.bounds(nearest)
sqrt.bounds(increasing(math.sqrt, domain=(0, inf), zero="signed"))
exp.bounds(increasing(math.exp, least=0, zero="never"))
log.bounds(increasing(_log, domain=(0, inf)))
sin.bounds(between(-1, 1))
cos.bounds(between(-1, 1))
tan.bounds(between(-inf, inf))
asin.bounds(between(-pi / 2, pi / 2, end=1))
acos.bounds(between(0, pi, end=1))
atan.bounds(increasing(math.atan, zero="signed"))
sinh.bounds(increasing(math.sinh, zero="signed"))
cosh.bounds(even(math.cosh, 1))
tanh.bounds(increasing(math.tanh, least=-1, most=1, zero="signed"))
asinh.bounds(increasing(math.asinh, zero="signed"))
acosh.bounds(increasing(math.acosh, domain=(1, inf)))
atanh.bounds(increasing(_atanh, domain=(-1, 1), zero="signed"))
erf.bounds(increasing(math.erf, zero="signed"))  # XLA's is an ulp above 1 in places
