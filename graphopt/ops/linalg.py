"""Linear algebra: products of matrices, Einstein sums, determinants.

Half-precision inputs are computed in float32 and rounded once.
"""

from __future__ import annotations

from graphopt import dims
from graphopt.dims import Size
from graphopt.ir import Node
from graphopt.op import Array, Facts, Xp, op, refuse
from graphopt.ops.checks import check_rank, float_dtype, one_size, same_dtype
from graphopt.ops.common import Shape, broadcast_shapes, tensor
from graphopt.ops.dtypes import NUMBERS, WIDE_NUMBERS
from graphopt.ops.einsum import parse
from graphopt.ops.examples import given
from graphopt.ops.kernels import single, wide
from graphopt.structural import graph_input
from graphopt.types import DType, TensorType, Type


def matmul_shape(a: Node, b: Node) -> Shape | None:
    """The shape of a product as NumPy's matmul makes it; refuses what does not fit."""
    left, right = a.shape, b.shape
    if left == () or right == ():
        raise refuse("a scalar is not a matrix")
    if left is None or right is None:
        return None
    one_size("the inner size", left[-1], right[max(-2, -len(right))])
    batch = broadcast_shapes([left[:-2], right[:-2]])
    assert batch is not None
    return (*batch, *left[-2:-1], *(right[-1:] if len(right) > 1 else ()))


@op("MatMul", facts=Facts(signed_zero="passed"))
def matmul(xp: Xp, a: Array, b: Array) -> Array:
    """The product of matrices in the last two axes; the axes before them broadcast.

    A vector counts as a row on the left and as a column on the right. Integers wrap around.
    """
    return xp.asarray(xp.matmul(single(xp, a), single(xp, b)), a.dtype)


@matmul.infer
def _(a: Node, b: Node) -> Type:
    return tensor(same_dtype(a, b, among=WIDE_NUMBERS), matmul_shape(a, b))


@matmul.examples
def _() -> list[Node]:
    n, k = dims.symbol("N"), dims.symbol("K")
    ints = [given(name, *s, dtype=DType.INT32) for name, s in (("a", (2, 3)), ("b", (3, 2)))]
    half = [given(name, *s, dtype=DType.FLOAT16) for name, s in (("a", (2, 9)), ("b", (9, 2)))]
    return [
        matmul(given("a", 2, 3), given("b", 3, 4)),
        matmul(given("a", 2, 1, 2, 3), given("b", 5, 3, 4)),
        matmul(given("a", 3), given("b", 2, 3, 4)),
        matmul(given("a", 2, 4, 3), given("b", 3)),
        matmul(given("a", 3), given("b", 3)),
        matmul(given("a", 2, 0), given("b", 0, 3)),
        matmul(
            graph_input("a", TensorType(DType.FLOAT64, (n, 2, k))),
            graph_input("b", TensorType(DType.FLOAT64, (1, k, 3))),
        ),
        matmul(*ints),
        matmul(*half),
    ]


@op("Gemm", facts=Facts(signed_zero="passed"))
def gemm(
    xp: Xp,
    a: Array,
    b: Array,
    c: Array | None = None,
    *,
    alpha: float = 1.0,
    beta: float = 1.0,
    transA: int = 0,
    transB: int = 0,
) -> Array:
    """alpha * A @ B + beta * C over matrices, of which A and B may be transposed first.

    C broadcasts to the product; it is left out where beta is 0. Integers are scaled as float64.
    """
    dtype = a.dtype
    left, right = single(xp, a), single(xp, b)
    y = xp.matmul(xp.transpose(left) if transA else left, xp.transpose(right) if transB else right)
    y = y if alpha == 1 else y * alpha
    if c is not None and beta != 0:
        term = xp.broadcast_to(single(xp, c), y.shape)
        y = y + (term if beta == 1 else term * beta)
    return xp.asarray(y, dtype)


@gemm.infer
def _(
    a: Node, b: Node, c: Node | None, *, alpha: float, beta: float, transA: int, transB: int
) -> Type:
    dtype = same_dtype(a, b, c, among=WIDE_NUMBERS)
    check_rank(a, (2,), "A")
    check_rank(b, (2,), "B")
    check_rank(c, (0, 1, 2), "C")
    rows, inner = (None, None) if a.shape is None else a.shape[:: -1 if transA else 1]
    inner2, columns = (None, None) if b.shape is None else b.shape[:: -1 if transB else 1]
    one_size("the inner size", inner, inner2)
    made: list[Size | None] = [rows, columns]
    for axis, size in enumerate(reversed((None if c is None else c.shape) or ()), 1):
        if isinstance(size, int) and size != 1:
            made[-axis] = one_size("a size of the product", made[-axis], size)
    return tensor(dtype, made)


@gemm.examples
def _() -> list[Node]:
    a, b, c = given("a", 2, 3), given("b", 3, 4), given("c", 4)
    n = dims.symbol("N")
    ints = [given(name, *s, dtype=DType.INT32) for name, s in (("a", (2, 3)), ("b", (3, 2)))]
    half = [given(name, *s, dtype=DType.BFLOAT16) for name, s in (("a", (2, 9)), ("b", (9, 2)))]
    return [
        gemm(a, b),
        gemm(a, b, c, alpha=0.5, beta=-2.0),
        gemm(given("a", 3, 2), given("b", 4, 3), given("c", 2, 1), transA=1, transB=1),
        gemm(a, b, given("c"), beta=0.0),
        gemm(graph_input("a", TensorType(DType.FLOAT32, (n, 3))), b, given("c", 1, 4)),
        gemm(*ints, given("c", 2, dtype=DType.INT32)),
        gemm(*half),
        gemm(given("a", 0, 3), b, c),
    ]


@op("Einsum", facts=Facts(signed_zero="passed"))
def einsum(xp: Xp, *inputs: Array, equation: str) -> Array:
    """The sum of products of the inputs' elements that `equation` describes, as NumPy reads it.

    Axes of one letter have one size, or size 1, which broadcasts. Narrow integers wrap around.
    """
    dtype = inputs[0].dtype
    return xp.asarray(
        xp.einsum(equation, *(single(xp, item) for item in inputs), optimize=True), dtype
    )


@einsum.infer
def _(*inputs: Node | None, equation: str) -> Type:
    values = [item for item in inputs if item is not None]
    dtype = same_dtype(*values, among=NUMBERS)
    if len(values) < len(inputs):
        raise refuse("an input is missing")
    return tensor(dtype, parse(equation).output_shape([item.shape for item in values]))


@einsum.examples
def _() -> list[Node]:
    n = dims.symbol("N")
    batch = graph_input("x", TensorType(DType.FLOAT32, (n, 3, 4)))
    return [
        einsum(given("x", 3, 4), equation="ij->ji"),
        einsum(given("x", 3, 4), equation="ij->i"),
        einsum(given("x", 3, 5, 5), equation="...ii ->...i"),
        einsum(given("x", 5), given("y", 5), equation="i,i"),
        einsum(batch, graph_input("y", TensorType(DType.FLOAT32, (n, 4, 5))), equation="bij,bjk"),
        einsum(batch, given("y", 4, 2), equation="...j,jk->...k"),
        einsum(given("x", 2, 3), given("y", 3, 4), given("z", 4), equation="ij,jk,k->ik"),
        einsum(given("x", 2, 3, dtype=DType.INT32), equation="ba"),
        einsum(given("x", 2, 3, dtype=DType.FLOAT16), equation="ij->"),
        einsum(given("x"), given("y", 2), equation=",i->i"),
        einsum(given("x", 0, 2), given("y", 2, 3), equation="ij,jk->ik"),
    ]


@op("Det")
def det(xp: Xp, x: Array) -> Array:
    """The determinants of the square matrices in the last two axes."""
    return xp.asarray(xp.linalg.det(wide(xp, x)[0]), x.dtype)


@det.infer
def _(x: Node) -> Type:
    dtype = float_dtype(x)
    if x.shape is None:
        return tensor(dtype, None)
    if len(x.shape) < 2:
        raise refuse(f"rank {len(x.shape)} where 2 or more is taken")
    one_size("the matrices' size", *x.shape[-2:])
    return tensor(dtype, x.shape[:-2])


@det.examples
def _() -> list[Node]:
    batch = given("x", "N", 3, 3)
    return [
        det(given("x", 2, 2)),
        det(batch),
        det(given("x", 2, 0, 3, 3, dtype=DType.FLOAT64)),
        det(given("x", 2, 2, dtype=DType.FLOAT16)),
    ]
