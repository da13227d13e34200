"""numpy.linalg: norms, factorizations, inverses and solutions of real matrices.

Errors of the matrices themselves (singular, not positive definite) are raised when they are run.
"""

from __future__ import annotations

from math import inf
from typing import Any

import numpy as np

from graphopt.errors import UnsupportedError
from graphopt.frontends.trace.library import nodes, products
from graphopt.frontends.trace.library.nodes import apply, apply_all, normal, normal_axes
from graphopt.frontends.trace.library.operands import (
    NO_VALUE,
    cast,
    lift,
    rank_of,
    refuse,
    result_dtype,
    sizes_of,
    static,
)
from graphopt.frontends.trace.library.reductions import reduce
from graphopt.frontends.trace.library.statistics import any_, count_nonzero
from graphopt.frontends.trace.library.ufuncs import value
from graphopt.ir import Node
from graphopt.ops import factorizations
from graphopt.ops.generate import eye_like
from graphopt.ops.linalg import det as det_op


def inexact(*operands: Any) -> list[Node]:
    """Matrices in the dtype that NumPy works in: float32 or float64.

    Raises TypeError for float16, as NumPy does, and UnsupportedError for complex numbers.
    """
    values = [lift(item) for item in operands]
    for item in values:
        if item.dtype.kind == "c":
            raise UnsupportedError("linear algebra of complex matrices is not supported yet")
        if item.dtype.numpy == np.float16:
            raise TypeError("array type float16 is unsupported in linalg")
    kinds = [v.dtype.numpy if v.dtype.kind == "f" else np.dtype(np.float64) for v in values]
    return [cast(item, result_dtype(*kinds)) for item in values]


def matrices(*operands: Any, square: bool = True) -> list[Node]:
    """Stacks of matrices; raises LinAlgError for others."""
    values = inexact(*operands)
    for x in values:
        sizes = sizes_of(x)
        if len(sizes) < 2:
            raise np.linalg.LinAlgError(
                f"{len(sizes)}-dimensional array given. Array must be at least two-dimensional"
            )
        rows, columns = sizes[-2:]
        if square and isinstance(rows, int) and isinstance(columns, int) and rows != columns:
            raise np.linalg.LinAlgError("Last 2 dimensions of the array must be square")
    return values


def det(a: Any) -> Node:
    """numpy.linalg.det."""
    return apply(det_op, *matrices(a))


def slogdet(a: Any) -> tuple[Node, ...]:
    """numpy.linalg.slogdet."""
    return apply_all(factorizations.sign_and_log_det, *matrices(a), outputs=2)


def inv(a: Any) -> Node:
    """numpy.linalg.inv."""
    return apply(factorizations.inverse, *matrices(a))


def solve(a: Any, b: Any) -> Node:
    """numpy.linalg.solve."""
    x, y = inexact(a, b)
    matrices(x)
    return apply(factorizations.solve, x, y)


def cholesky(a: Any, /, *, upper: bool = False) -> Node:
    """numpy.linalg.cholesky."""
    return apply(factorizations.cholesky, *matrices(a), upper=int(upper))


def qr(a: Any, mode: str = "reduced") -> Any:
    """numpy.linalg.qr by the modes reduced, complete and r."""
    if mode not in ("reduced", "complete", "r"):
        raise UnsupportedError(f"qr(mode={mode!r}) is not supported")
    (x,) = matrices(a, square=False)
    made = apply_all(factorizations.qr, x, full=int(mode == "complete"), outputs=2)
    return made[1] if mode == "r" else made


def svd(
    a: Any, full_matrices: bool = True, compute_uv: bool = True, hermitian: bool = False
) -> Any:
    """numpy.linalg.svd."""
    refuse("svd", hermitian=hermitian)
    (x,) = matrices(a, square=False)
    if not compute_uv:
        return apply(factorizations.singular_values, x)
    return apply_all(factorizations.svd, x, full=int(full_matrices), outputs=3)


def svdvals(x: Any, /) -> Node:
    """numpy.linalg.svdvals."""
    made: Node = svd(x, compute_uv=False)
    return made


def eigh(a: Any, UPLO: str = "L") -> tuple[Node, ...]:
    """numpy.linalg.eigh."""
    (x,) = matrices(a)
    if UPLO.upper() not in ("L", "U"):
        raise ValueError("UPLO argument must be 'L' or 'U'")
    return apply_all(factorizations.eigh, x, upper=int(UPLO.upper() == "U"), outputs=2)


def eigvalsh(a: Any, UPLO: str = "L") -> Node:
    """numpy.linalg.eigvalsh."""
    return eigh(a, UPLO)[0]


def pinv(a: Any, rcond: Any = None, hermitian: bool = False, *, rtol: Any = NO_VALUE) -> Node:
    """numpy.linalg.pinv, by the singular values."""
    refuse("pinv", hermitian=hermitian)
    (x,) = matrices(a, square=False)
    rows, columns = sizes_of(x)[-2:]
    if rcond is None:
        rcond = 1e-15 if rtol is NO_VALUE else rtol
    if rcond is None:
        if not isinstance(rows, int) or not isinstance(columns, int):
            raise UnsupportedError("pinv(rtol=None) of matrices of unknown size")
        rcond = max(rows, columns) * float(np.finfo(x.dtype.numpy).eps)
    u, s, vt = apply_all(factorizations.svd, x, full=0, outputs=3)
    limit = np.asarray(static(rcond, "pinv's rcond"))
    cutoff = value("multiply", limit[..., None] if limit.ndim else float(limit),
                   reduce("maximum", s, -1, keepdims=True, initial=0))  # fmt: skip
    large = value("greater", s, cutoff)
    scale = cast(nodes.where(large, value("divide", 1, s), 0), x.dtype.numpy)
    rank = rank_of(x)
    turned = [*range(rank - 2), rank - 1, rank - 2]
    scaled = value("multiply", nodes.unsqueeze(scale, [-1]), nodes.transpose(u, turned))
    return products.matmul(nodes.transpose(vt, turned), scaled)


def matrix_rank(A: Any, tol: Any = None, hermitian: bool = False, *, rtol: Any = None) -> Node:
    """numpy.linalg.matrix_rank."""
    refuse("matrix_rank", hermitian=hermitian)
    x = lift(A)
    if rank_of(x) < 2:
        return cast(any_(value("not_equal", x, 0)), np.int64)
    s = svdvals(x)
    if tol is None:
        if rtol is None:
            rows, columns = sizes_of(x)[-2:]
            if not isinstance(rows, int) or not isinstance(columns, int):
                raise UnsupportedError("matrix_rank() of matrices of unknown size needs a tol")
            rtol = max(rows, columns) * float(np.finfo(s.dtype.numpy).eps)
        greatest = reduce("maximum", s, -1, keepdims=True, initial=0)
        tol = value("multiply", greatest, rtol)
    return count_nonzero(value("greater", s, tol), -1)


def cond(x: Any, p: Any = None) -> Node:
    """numpy.linalg.cond."""
    (m,) = matrices(x, square=p not in (None, 2, -2))
    if p in (None, 2, -2):
        s = svdvals(m)
        last = rank_of(s) - 1
        ends = [nodes.take_axis(s, k, last) for k in ((-1, 0) if p == -2 else (0, -1))]
        made = value("divide", *ends)
    else:
        wide = cast(m, np.float64)
        both = (norm(wide, p, (-2, -1)), norm(inv(wide), p, (-2, -1)))
        made = cast(value("multiply", *both), m.dtype.numpy)
    lost = value("logical_not", any_(value("isnan", m), (-2, -1)))
    return nodes.where(value("logical_and", value("isnan", made), lost), inf, made)


def norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Node:
    """numpy.linalg.norm of vectors and matrices."""
    v = lift(x)
    v = v if v.dtype.kind == "f" else cast(v, np.float64)
    rank = rank_of(v)
    if axis is None and (ord is None or (ord in ("f", "fro") and rank == 2)
                         or (ord == 2 and rank == 1)):  # fmt: skip
        flat = nodes.flatten(v)
        made = value("sqrt", products.matmul(flat, flat))
        return nodes.unsqueeze(made, list(range(rank))) if keepdims else made
    axes = normal_axes(axis, rank)
    if len(axes) == 1:
        return vector_norm_of(v, ord, axes[0], keepdims)
    if len(axes) != 2:
        raise ValueError("Improper number of dimensions to norm.")
    made = _matrix_norm(v, ord, *axes)
    return nodes.unsqueeze(made, sorted(axes)) if keepdims else made


def vector_norm_of(x: Node, ord: Any, axis: int, keepdims: bool) -> Node:
    """The norm of vectors along an axis."""
    size = value("absolute", x)
    if ord == inf:
        return reduce("maximum", size, axis, keepdims=keepdims, initial=0)
    if ord == -inf:
        return reduce("minimum", size, axis, keepdims=keepdims)
    if ord == 0:
        return reduce("add", cast(value("not_equal", x, 0), x.dtype.numpy), axis, keepdims=keepdims)
    if ord == 1:
        return reduce("add", size, axis, keepdims=keepdims)
    if ord is None or ord == 2:
        total = reduce("add", value("multiply", x, x), axis, keepdims=keepdims)
        return value("sqrt", total)
    if isinstance(ord, str):
        raise ValueError(f"Invalid norm order '{ord}' for vectors")
    total = reduce("add", value("power", size, ord), axis, keepdims=keepdims)
    return value("power", total, np.reciprocal(ord, dtype=x.dtype.numpy))


def _matrix_norm(x: Node, ord: Any, row: int, column: int) -> Node:
    """The norm of the matrices in two axes."""
    if ord in (None, "fro", "f"):
        return value("sqrt", reduce("add", value("multiply", x, x), (row, column)))
    if ord in (2, -2, "nuc"):
        rest = [axis for axis in range(rank_of(x)) if axis not in (row, column)]
        s = svdvals(nodes.transpose(x, [*rest, row, column]))
        if ord == "nuc":
            return reduce("add", s, -1)
        return reduce("maximum", s, -1, initial=0) if ord == 2 else reduce("minimum", s, -1)
    if ord not in (1, -1, inf, -inf):
        raise ValueError("Invalid norm order for matrices.")
    summed, other = (row, column) if abs(ord) == 1 else (column, row)
    totals = reduce("add", value("absolute", x), summed)
    left = other - (other > summed)
    if ord > 0:
        return reduce("maximum", totals, left, initial=0)
    return reduce("minimum", totals, left)


def matrix_norm(x: Any, /, *, keepdims: bool = False, ord: Any = "fro") -> Node:
    """numpy.linalg.matrix_norm."""
    return norm(x, ord, (-2, -1), keepdims)


def vector_norm(x: Any, /, *, axis: Any = None, keepdims: bool = False, ord: Any = 2) -> Node:
    """numpy.linalg.vector_norm."""
    v = lift(x)
    v = v if v.dtype.kind == "f" else cast(v, np.float64)
    rank = rank_of(v)
    axes = normal_axes(axis, rank)
    if isinstance(axis, int):
        return vector_norm_of(v, ord, normal(axis, rank), keepdims)
    rest = [k for k in range(rank) if k not in axes]
    sizes: list[Any] = [sizes_of(v)[k] for k in rest]
    count = nodes.size_of(v, list(axes))
    line = nodes.reshape(nodes.transpose(v, [*axes, *rest]), [count, *sizes], (v,))
    made = vector_norm_of(line, ord, 0, False)
    return nodes.unsqueeze(made, sorted(axes)) if keepdims else made


def matrix_power(a: Any, n: int) -> Node:
    """numpy.linalg.matrix_power, by squaring."""
    x, power = lift(a), static(n, "matrix_power's exponent")
    matrices(x)
    if power == 0:
        return identity_like(x)
    if power < 0:
        x, power = inv(x), -power
    made: Node | None = None
    while power:
        if power & 1:
            made = x if made is None else value("matmul", made, x)
        power >>= 1
        x = value("matmul", x, x) if power else x
    assert made is not None
    return made


def identity_like(x: Node) -> Node:
    """Identity matrices of the shape of a stack of matrices."""
    square = nodes.full(sizes_of(x)[-2:], 0, x.dtype.numpy, (x,))
    return nodes.expand(apply(eye_like, square), sizes_of(x), (x,))
