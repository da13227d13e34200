"""Complex numbers: their parts, arithmetic and elementary functions, in the domain `graphopt`.

They are ops of their own because the facts of real arithmetic do not hold: x * 1 is not x where a
part of x is infinite.
"""

from __future__ import annotations

from graphopt.ir import Node
from graphopt.op import Array, Facts, Op, Xp, op
from graphopt.ops.checks import check_dtype, same_dtype
from graphopt.ops.common import broadcast_shapes, tensor
from graphopt.ops.elementwise import binary, binary_examples, unary, unary_examples
from graphopt.ops.examples import given
from graphopt.ops.linalg import matmul_shape
from graphopt.ops.mathematics import HERE
from graphopt.types import DType, TensorType, Type, dtype_of

COMPLEX = (DType.COMPLEX128, DType.COMPLEX64)
PARTS = {DType.COMPLEX128: DType.FLOAT64, DType.COMPLEX64: DType.FLOAT32}
WHOLE = {part: whole for whole, part in PARTS.items()}
NEAR = Facts(ulps=8)
TOTAL = Facts(elementwise=True, total=True, ulps=4)


def one(name: str, ufunc: str, text: str) -> Op:
    """A function of one complex variable."""
    return unary(name, ufunc, text, COMPLEX, NEAR, domain=HERE)


def two(name: str, ufunc: str, text: str) -> Op:
    """A function of two complex variables."""
    return binary(name, ufunc, text, COMPLEX, NEAR, domain=HERE)


negate = one("ComplexNeg", "negative", "-x")
conjugate = one("Conjugate", "conjugate", "x with the opposite imaginary part")
exp = one("ComplexExp", "exp", "e to the power of x")
log = one("ComplexLog", "log", "The natural logarithm; its branch cut is the negative real axis")
sqrt = one("ComplexSqrt", "sqrt", "The square root in the right half plane")
sin = one("ComplexSin", "sin", "The sine")
cos = one("ComplexCos", "cos", "The cosine")
tanh = one("ComplexTanh", "tanh", "The hyperbolic tangent")

add = two("ComplexAdd", "add", "x + y")
subtract = two("ComplexSub", "subtract", "x - y")
multiply = two("ComplexMul", "multiply", "x * y")
divide = two("ComplexDiv", "divide", "x / y")
power = two("ComplexPow", "power", "x to the power of y")
equal = binary(
    "ComplexEqual", "equal", "Whether both parts are equal", COMPLEX, result=DType.BOOL,
    domain=HERE,
)  # fmt: skip


def part(name: str, function: str, text: str) -> Op:
    """A real function of a complex variable."""

    def kernel(xp: Xp, x: Array) -> Array:
        return getattr(xp, function)(x) + 0  # a copy: not a view of x

    def rule(x: Node) -> Type:
        check_dtype(x, COMPLEX)
        return TensorType(PARTS[x.dtype], x.shape)

    kernel.__doc__ = text
    made = Op(name, kernel, domain=HERE, facts=TOTAL)
    made.infer(rule)
    made.examples(lambda: unary_examples(made, COMPLEX))
    return made


real = part("RealPart", "real", "The real part")
imag = part("ImagPart", "imag", "The imaginary part")
magnitude = part("ComplexAbs", "absolute", "The distance from 0, without overflow")


@op("ComplexOf", domain=HERE, facts=Facts(elementwise=True, total=True))
def complex_of(xp: Xp, x: Array, y: Array) -> Array:
    """The complex numbers with real parts x and imaginary parts y."""
    parts = xp.stack(xp.broadcast_arrays(x, y), axis=-1)
    return parts.view(xp.dtype(WHOLE[dtype_of(parts.dtype)]))[..., 0]


@complex_of.infer
def _(x: Node, y: Node) -> Type:
    dtype = same_dtype(x, y, among=tuple(WHOLE))
    return TensorType(WHOLE[dtype], broadcast_shapes((x.shape, y.shape)))


complex_of.examples(lambda: binary_examples(complex_of, tuple(WHOLE)))


@op("ComplexMatMul", domain=HERE)
def matmul(xp: Xp, a: Array, b: Array) -> Array:
    """The product of matrices in the last two axes, as MatMul's."""
    return xp.matmul(a, b)


@matmul.infer
def _(a: Node, b: Node) -> Type:
    return tensor(same_dtype(a, b, among=COMPLEX), matmul_shape(a, b))


@matmul.examples
def _() -> list[Node]:
    pairs: list[tuple[tuple[int | str, ...], tuple[int | str, ...]]] = [
        ((2, 3), (3, 4)), ((2, 1, 2, 3), (5, 3, 1)), ((3,), (3,)), ((2, 0), (0, 3)),
        (("N", 2, 3), (3,)),
    ]  # fmt: skip
    return [
        matmul(given("a", *one, dtype=dtype), given("b", *other, dtype=dtype))
        for one, other in pairs
        for dtype in COMPLEX
    ]
