"""Element-wise functions of one variable: rounding, exponentials, trigonometry."""

from __future__ import annotations

import operator

from graphopt.op import Array, Facts, Xp, op
from graphopt.ops.dtypes import FLOATS, NUMBERS, SIGNED
from graphopt.ops.elementwise import known_absolute, unary, unary_examples, unary_rule
from graphopt.ops.kernels import single
from graphopt.ops.special import erf as erf_of

IDEMPOTENT = Facts(idempotent=True)
ROUNDING = Facts(idempotent=True, monotone="increasing")
NEAR = Facts(ulps=4)
INCREASING = Facts(ulps=4, monotone="increasing")

absolute = unary("Abs", "absolute", "|x|", NUMBERS, IDEMPOTENT, known=known_absolute)
neg = unary(
    "Neg",
    "negative",
    "-x; of the least integer of a dtype, itself",
    (*FLOATS, *SIGNED),
    Facts(involution=True),
    known=operator.neg,
)
sign = unary(
    "Sign", "sign", "-1, 0 or 1 as x is negative, 0 or positive; NaN of NaN", NUMBERS, ROUNDING
)
floor = unary("Floor", "floor", "The greatest integer that is at most x", facts=ROUNDING)
ceil = unary("Ceil", "ceil", "The least integer that is at least x", facts=ROUNDING)
round_ = unary("Round", "rint", "The nearest integer, of two the even one", facts=ROUNDING)
reciprocal = unary("Reciprocal", "reciprocal", "1 / x")
sqrt = unary("Sqrt", "sqrt", "The square root; NaN of negative numbers")
exp = unary("Exp", "exp", "e to the power of x", facts=INCREASING)
log = unary("Log", "log", "The natural logarithm; NaN of negative numbers", facts=NEAR)
sin = unary("Sin", "sin", "The sine of x radians", facts=NEAR)
cos = unary("Cos", "cos", "The cosine of x radians", facts=NEAR)
tan = unary("Tan", "tan", "The tangent of x radians", facts=NEAR)
asin = unary("Asin", "arcsin", "The angle whose sine is x; NaN outside [-1, 1]", facts=NEAR)
acos = unary("Acos", "arccos", "The angle whose cosine is x; NaN outside [-1, 1]", facts=NEAR)
atan = unary("Atan", "arctan", "The angle whose tangent is x", facts=INCREASING)
sinh = unary("Sinh", "sinh", "The hyperbolic sine", facts=INCREASING)
cosh = unary("Cosh", "cosh", "The hyperbolic cosine", facts=NEAR)
tanh = unary("Tanh", "tanh", "The hyperbolic tangent", facts=INCREASING)
asinh = unary("Asinh", "arcsinh", "The inverse of the hyperbolic sine", facts=INCREASING)
acosh = unary("Acosh", "arccosh", "The inverse of cosh; NaN of numbers below 1", facts=NEAR)
atanh = unary("Atanh", "arctanh", "The inverse of tanh; NaN outside [-1, 1]", facts=NEAR)


@op("Erf", facts=Facts(elementwise=True, total=True, monotone="increasing", ulps=4))
def erf(xp: Xp, x: Array) -> Array:
    """The error function, 2/√π times the integral of exp(-t²) from 0 to x."""
    return erf_of(xp, single(xp, x)).astype(x.dtype)


erf.infer(unary_rule(FLOATS))
erf.examples(lambda: unary_examples(erf, FLOATS))
