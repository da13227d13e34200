"""Matrices factored, inverted and solved for, in the domain `graphopt`.

All work on the matrices in the last two axes. float16 is computed in float32 and rounded once.
A kernel raises LinAlgError where a matrix is singular or not positive definite.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from graphopt import dims
from graphopt.dims import Size
from graphopt.ir import Node
from graphopt.op import Array, Op, Xp, op, refuse
from graphopt.ops.checks import check_rank_from, float_dtype, one_size
from graphopt.ops.common import Shape, broadcast_shapes, tensor
from graphopt.ops.examples import given
from graphopt.ops.kernels import wide
from graphopt.ops.mathematics import HERE
from graphopt.structural import constant
from graphopt.types import DType, TensorType, Type


def square(x: Node) -> Shape | None:
    """The shape of a stack of square matrices; refuses any other."""
    check_rank_from(x, 2)
    if x.shape is not None:
        one_size("the matrices' size", *x.shape[-2:])
    return x.shape


def positive_definite(*shape: int, dtype: DType = DType.FLOAT32) -> Node:
    """A constant whose matrices are symmetric and positive definite, for examples."""
    import numpy as np

    size = shape[-1]
    rows = np.arange(np.prod(shape)).reshape(shape) % 7 / 7
    return constant((rows @ np.swapaxes(rows, -1, -2) + np.eye(size)).astype(dtype.numpy))


def matrices() -> list[Node]:
    """Examples of square matrices that can be inverted."""
    symbolic = given("x", "N", 2, 2)
    half = positive_definite(3, 3, dtype=DType.FLOAT16)
    return [
        positive_definite(3, 3),
        positive_definite(2, 4, 4, dtype=DType.FLOAT64),
        positive_definite(1, 1),
        half,
        symbolic,
        given("x", 0, 3, 3),
    ]


def wide_results(xp: Xp, made: Sequence[Array], dtype: Any) -> tuple[Array, ...]:
    """Results in the dtype of the operand."""
    return tuple(xp.asarray(item, dtype) for item in made)


@op("Cholesky", domain=HERE)
def cholesky(xp: Xp, x: Array, *, upper: int = 0) -> Array:
    """The lower triangular L with L @ Lᵀ = x, or the upper one: x symmetric, positive definite.

    Only the triangle that is asked for is read.
    """
    (ready,) = wide(xp, x)
    if upper:
        made = xp.swapaxes(xp.linalg.cholesky(xp.swapaxes(ready, -1, -2)), -1, -2)
    else:
        made = xp.linalg.cholesky(ready)
    return xp.asarray(made, x.dtype)


@cholesky.infer
def _(x: Node, *, upper: int) -> Type:
    return tensor(float_dtype(x), square(x))


cholesky.examples(
    lambda: [
        *(cholesky(x) for x in matrices() if x.op.name == "Constant"),
        cholesky(positive_definite(3, 3), upper=1),
        cholesky(given("x", 0, 3, 3)),
    ]
)


@op("Inverse", domain=HERE)
def inverse(xp: Xp, x: Array) -> Array:
    """The inverses of matrices."""
    return xp.asarray(xp.linalg.inv(wide(xp, x)[0]), x.dtype)


@inverse.infer
def _(x: Node) -> Type:
    return tensor(float_dtype(x), square(x))


inverse.examples(lambda: [inverse(x) for x in matrices()])


@op("Solve", domain=HERE)
def solve(xp: Xp, a: Array, b: Array) -> Array:
    """The x with a @ x = b: one vector where b has one axis, else matrices, which broadcast."""
    left, right = wide(xp, a, b)
    made = xp.linalg.solve(left, right)
    return xp.asarray(made, a.dtype)


@solve.infer
def _(a: Node, b: Node) -> Type:
    dtype = float_dtype(a, b)
    left, right = square(a), b.shape
    check_rank_from(b, 1)
    if left is None or right is None:
        return tensor(dtype, None)
    if len(right) == 1:
        one_size("the matrices' size", left[-1], right[0])
        return tensor(dtype, left[:-1])
    one_size("the matrices' size", left[-1], right[-2])
    batch = broadcast_shapes([left[:-2], right[:-2]])
    assert batch is not None
    return tensor(dtype, (*batch, *right[-2:]))


@solve.examples
def _() -> list[Node]:
    a, half = positive_definite(3, 3), positive_definite(2, 2, dtype=DType.FLOAT16)
    return [
        solve(a, given("b", 3)),
        solve(a, given("b", 3, "K")),
        solve(a, given("b", 2, 3, 1)),
        solve(positive_definite(2, 3, 3), given("b", 3, 2)),
        solve(half, given("b", 2, 2, dtype=DType.FLOAT16)),
        solve(given("a", "N", 2, 2), given("b", 2, 0)),
    ]


def two_outputs(x: Node, outputs: int) -> DType:
    """The float dtype of an operand; refuses any other number of outputs."""
    if outputs != 2:
        raise refuse(f"there are 2 outputs, not {outputs}")
    return float_dtype(x)


def rectangles(made: Op, outputs: int) -> list[Node]:
    """Examples of a factorization of rectangular matrices."""
    shapes: list[tuple[int | str, ...]] = [(3, 2), (2, 4), (2, 3, 3), ("N", 2, 3), (0, 2, 2)]
    found: list[Any] = [
        made(given("x", *shape), full=full, outputs=outputs) for shape in shapes for full in (0, 1)
    ]
    return [*found, made(given("x", 3, 2, dtype=DType.FLOAT16), outputs=outputs)]


def factorization(
    name: str,
    text: str,
    factor: Callable[[Xp, Array, bool], Any],
    shapes: Callable[[Shape, bool], Sequence[Sequence[Size]]],
) -> Op:
    """An op with several outputs whose sizes depend on an attribute `full`."""

    def kernel(xp: Xp, x: Array, *, full: int = 0, outputs: int = 2) -> tuple[Array, ...]:
        return wide_results(xp, factor(xp, wide(xp, x)[0], bool(full)), x.dtype)

    def rule(x: Node, *, full: int, outputs: int) -> tuple[Type, ...]:
        dtype = float_dtype(x)
        check_rank_from(x, 2)
        count = len(shapes((1, 1), False))
        if outputs != count:
            raise refuse(f"there are {count} outputs, not {outputs}")
        if x.shape is None:
            return (TensorType(dtype, None),) * count
        return tuple(tensor(dtype, sizes) for sizes in shapes(x.shape, bool(full)))

    kernel.__doc__ = text
    made = Op(name, kernel, domain=HERE)
    made.infer(rule)
    made.examples(lambda: rectangles(made, len(shapes((1, 1), False))))
    return made


def _qr(xp: Xp, x: Array, full: bool) -> Any:
    return xp.linalg.qr(x, mode="complete" if full else "reduced")


def _svd(xp: Xp, x: Array, full: bool) -> Any:
    return xp.linalg.svd(x, full_matrices=full)


def _qr_shapes(shape: Shape, full: bool) -> Sequence[Sequence[Size]]:
    *batch, rows, columns = shape
    inner = rows if full else dims.minimum(rows, columns)
    return (*batch, rows, inner), (*batch, inner, columns)


def _svd_shapes(shape: Shape, full: bool) -> Sequence[Sequence[Size]]:
    *batch, rows, columns = shape
    least = dims.minimum(rows, columns)
    left, right = (rows, columns) if full else (least, least)
    return (*batch, rows, left), (*batch, least), (*batch, right, columns)


qr = factorization(
    "QR",
    "(Q, R): x = Q @ R with orthonormal columns of Q and R upper triangular; `full`: Q is square.",
    _qr,
    _qr_shapes,
)
svd = factorization(
    "SVD",
    "(U, s, Vᵀ): x = U @ diag(s) @ Vᵀ, s descending; with `full`, U and V are square.",
    _svd,
    _svd_shapes,
)


@op("Eigh", domain=HERE)
def eigh(xp: Xp, x: Array, *, upper: int = 0, outputs: int = 2) -> tuple[Array, ...]:
    """(w, V): the eigenvalues, ascending, and eigenvectors of symmetric matrices.

    Only the lower triangle is read, or the upper one.
    """
    made = xp.linalg.eigh(wide(xp, x)[0], UPLO="U" if upper else "L")
    return wide_results(xp, made, x.dtype)


@eigh.infer
def _(x: Node, *, upper: int, outputs: int) -> tuple[Type, ...]:
    dtype, shape = two_outputs(x, outputs), square(x)
    values = None if shape is None else shape[:-1]
    return tensor(dtype, values), tensor(dtype, shape)


eigh.examples(
    lambda: [
        *(eigh(x, outputs=2) for x in matrices()),
        eigh(positive_definite(3, 3), upper=1, outputs=2),
    ]
)


@op("SignAndLogDet", domain=HERE)
def sign_and_log_det(xp: Xp, x: Array, *, outputs: int = 2) -> tuple[Array, ...]:
    """(s, l): the determinants of matrices as s * exp(l), without overflow."""
    return wide_results(xp, xp.linalg.slogdet(wide(xp, x)[0]), x.dtype)


@sign_and_log_det.infer
def _(x: Node, *, outputs: int) -> tuple[Type, ...]:
    dtype, shape = two_outputs(x, outputs), square(x)
    return (tensor(dtype, None if shape is None else shape[:-2]),) * 2


sign_and_log_det.examples(lambda: [sign_and_log_det(x, outputs=2) for x in matrices()])


@op("SingularValues", domain=HERE)
def singular_values(xp: Xp, x: Array) -> Array:
    """The singular values of matrices, descending."""
    return xp.asarray(xp.linalg.svd(wide(xp, x)[0], compute_uv=False), x.dtype)


@singular_values.infer
def _(x: Node) -> Type:
    check_rank_from(x, 2)
    return tensor(float_dtype(x), None if x.shape is None else _svd_shapes(x.shape, False)[1])


singular_values.examples(
    lambda: [
        singular_values(given("x", *shape, dtype=dtype))
        for shape in ((3, 2), (0, 2, 2))
        for dtype in (DType.FLOAT32, DType.FLOAT16)
    ]
)
