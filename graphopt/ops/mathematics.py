"""Element-wise functions that NumPy has and ONNX lacks, in the domain `graphopt`."""

from __future__ import annotations

from graphopt.ir import Node
from graphopt.op import Array, Facts, Op, Xp, op
from graphopt.ops.checks import check_dtype
from graphopt.ops.common import broadcast_shapes
from graphopt.ops.dtypes import INTEGERS
from graphopt.ops.elementwise import binary, unary, unary_examples
from graphopt.ops.examples import given
from graphopt.types import DType, TensorType, Type

HERE = "graphopt"
REALS = (DType.FLOAT32, DType.FLOAT64, DType.FLOAT16)
NEAR = Facts(ulps=4)
INCREASING = Facts(ulps=4, monotone="increasing")


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

atan2 = two("Atan2", "arctan2", "The angle of the point (y, x), in all four quadrants")
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
    kind = x.tensor_type
    return TensorType(kind.dtype, kind.shape), TensorType(DType.INT32, kind.shape)


frexp.examples(lambda: unary_examples(frexp, REALS))
