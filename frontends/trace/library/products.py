"""Products of vectors, matrices and tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from graphopt.errors import UnsupportedError
from graphopt.frontends.trace.library import nodes, ufuncs
from graphopt.frontends.trace.library.movement import diagonal_of
from graphopt.frontends.trace.library.nodes import apply, normal
from graphopt.frontends.trace.library.operands import (
    cast,
    lift,
    rank_of,
    refuse,
    result_dtype,
    sizes_of,
    static,
)
from graphopt.frontends.trace.library.reductions import reduce
from graphopt.ir import Node
from graphopt.ops import linalg
from graphopt.types import DType


def arrays(*operands: Any, dtype: Any = None) -> list[Node]:
    """Operands as arrays of the one dtype that they have together."""
    values = [lift(item) for item in operands]
    made = np.dtype(dtype) if dtype is not None else result_dtype(*(v.dtype.numpy for v in values))
    return [cast(value, made) for value in values]


def times(a: Any, b: Any) -> Node:
    """a * b."""
    return ufuncs.value("multiply", a, b)


def dot(a: Any, b: Any, out: Any = None) -> Node:
    """numpy.dot."""
    refuse("dot", out=out)
    x, y = arrays(a, b)
    if not rank_of(x) or not rank_of(y):
        return times(x, y)
    if rank_of(x) <= 2 and rank_of(y) <= 2:
        return matmul(x, y)
    return contract(x, y, [rank_of(x) - 1], [max(rank_of(y) - 2, 0)])


def matmul(x: Node, y: Node) -> Node:
    """x @ y; raises ValueError where the sizes do not fit."""
    _same_size(sizes_of(x)[-1], sizes_of(y)[max(-2, -rank_of(y))])
    return ufuncs.value("matmul", x, y)


def _same_size(a: Any, b: Any) -> None:
    if isinstance(a, int) and isinstance(b, int) and a != b:
        raise ValueError(f"shapes not aligned: {a} != {b}")


def contract(x: Node, y: Node, left: Sequence[int], right: Sequence[int]) -> Node:
    """The sums of products over pairs of axes; the other axes of x stand before those of y."""
    for one, other in zip(left, right, strict=True):
        _same_size(sizes_of(x)[one], sizes_of(y)[other])
    rows = [axis for axis in range(rank_of(x)) if axis not in left]
    columns = [axis for axis in range(rank_of(y)) if axis not in right]
    kept = [*(sizes_of(x)[axis] for axis in rows), *(sizes_of(y)[axis] for axis in columns)]
    if len(left) == 1 and len(rows) == 1 and len(columns) == 1:
        return matmul(nodes.transpose(x, [*rows, *left]), nodes.transpose(y, [*right, *columns]))
    inner = nodes.size_of(x, list(left))
    outer = [nodes.size_of(x, rows), nodes.size_of(y, columns)]
    flat_x = nodes.reshape(nodes.transpose(x, [*rows, *left]), [outer[0], inner], (x,))
    flat_y = nodes.reshape(nodes.transpose(y, [*right, *columns]), [inner, outer[1]], (x, y))
    return nodes.reshape(matmul(flat_x, flat_y), kept, (x, y))


def tensordot(a: Any, b: Any, axes: Any = 2) -> Node:
    """numpy.tensordot."""
    x, y = arrays(a, b)
    axes = static(axes, "tensordot's axes")
    left: list[int]
    right: list[int]
    if hasattr(axes, "__index__"):
        left, right = list(range(rank_of(x) - int(axes), rank_of(x))), list(range(int(axes)))
    else:
        left, right = (np.asarray(item).reshape(-1).tolist() for item in axes)
    left, right = [normal(k, rank_of(x)) for k in left], [normal(k, rank_of(y)) for k in right]
    if len(left) != len(right):
        raise ValueError("shape-mismatch for sum")
    return contract(x, y, left, right)


def linalg_tensordot(x1: Any, x2: Any, /, *, axes: Any = 2) -> Node:
    """numpy.linalg.tensordot."""
    return tensordot(x1, x2, axes)


def vdot(a: Any, b: Any, /) -> Node:
    """numpy.vdot, which conjugates a."""
    x, y = arrays(a, b)
    x = ufuncs.value("conjugate", x) if x.dtype.kind == "c" else x
    return matmul(nodes.flatten(x), nodes.flatten(y))


def inner(a: Any, b: Any, /) -> Node:
    """numpy.inner."""
    x, y = arrays(a, b)
    if not rank_of(x) or not rank_of(y):
        return times(x, y)
    return contract(x, y, [rank_of(x) - 1], [rank_of(y) - 1])


def outer(a: Any, b: Any, out: Any = None) -> Node:
    """numpy.outer."""
    refuse("outer", out=out)
    x, y = lift(a), lift(b)
    return times(nodes.unsqueeze(nodes.flatten(x), [1]), nodes.flatten(y))


def linalg_outer(x1: Any, x2: Any, /) -> Node:
    """numpy.linalg.outer."""
    x, y = lift(x1), lift(x2)
    if rank_of(x) != 1 or rank_of(y) != 1:
        raise ValueError("Input arrays must be one-dimensional")
    return outer(x, y)


def linalg_matmul(x1: Any, x2: Any, /) -> Node:
    """numpy.linalg.matmul."""
    return ufuncs.value("matmul", x1, x2)


def vecdot(x1: Any, x2: Any, /, *, axis: int = -1) -> Node:
    """numpy.linalg.vecdot: over any axis."""
    x, y = (nodes.move_axis(v, normal(axis, rank_of(v)), rank_of(v) - 1) for v in arrays(x1, x2))
    return ufuncs.value("vecdot", x, y)


def kron(a: Any, b: Any) -> Node:
    """numpy.kron."""
    x, y = arrays(a, b)
    rank = max(rank_of(x), rank_of(y))
    x, y = atleast_leading(x, rank), atleast_leading(y, rank)
    sizes = [one * other for one, other in zip(sizes_of(x), sizes_of(y), strict=True)]
    wide = nodes.unsqueeze(x, [2 * k + 1 for k in range(rank)])
    narrow = nodes.unsqueeze(y, [2 * k for k in range(rank)])
    return nodes.reshape(times(wide, narrow), sizes, (x, y))


def atleast_leading(x: Node, rank: int) -> Node:
    """x with new axes in front up to a number of axes."""
    return nodes.unsqueeze(x, list(range(rank - rank_of(x))))


def cross(
    a: Any, b: Any, axisa: int = -1, axisb: int = -1, axisc: int = -1, axis: int | None = None
) -> Node:
    """numpy.cross of vectors of 3 elements."""
    if axis is not None:
        axisa = axisb = axisc = axis
    x, y = arrays(a, b)
    x, y = (nodes.move_axis(v, normal(k, rank_of(v)), rank_of(v) - 1)
            for v, k in ((x, axisa), (y, axisb)))  # fmt: skip
    if sizes_of(x)[-1] != 3 or sizes_of(y)[-1] != 3:
        raise UnsupportedError("cross() of vectors that have not 3 elements")
    first, second = np.array([1, 2, 0]), np.array([2, 0, 1])

    def product(one: Any, other: Any) -> Node:
        last_x, last_y = rank_of(x) - 1, rank_of(y) - 1
        return times(nodes.take_axis(x, one, last_x), nodes.take_axis(y, other, last_y))

    made = ufuncs.value("subtract", product(first, second), product(second, first))
    return nodes.move_axis(made, rank_of(made) - 1, normal(axisc, rank_of(made)))


def linalg_cross(x1: Any, x2: Any, /, *, axis: int = -1) -> Node:
    """numpy.linalg.cross."""
    return cross(x1, x2, axis=axis)


def trace(
    a: Any, offset: int = 0, axis1: int = 0, axis2: int = 1, dtype: Any = None, out: Any = None
) -> Node:
    """numpy.trace."""
    refuse("trace", out=out)
    return reduce("add", diagonal_of(a, offset, axis1, axis2), -1, dtype)


def linalg_trace(x: Any, /, *, offset: int = 0, dtype: Any = None) -> Node:
    """numpy.linalg.trace."""
    return trace(x, offset, -2, -1, dtype)


def multi_dot(arrays: Any, *, out: Any = None) -> Node:
    """numpy.linalg.multi_dot: from the left to the right."""
    refuse("multi_dot", out=out)
    values = [lift(item) for item in arrays]
    if len(values) < 2:
        raise ValueError("Expecting at least two arrays.")
    made = values[0]
    for value in values[1:]:
        made = dot(made, value)
    return made


def einsum(
    *operands: Any, out: Any = None, optimize: Any = False, dtype: Any = None, order: str = "K",
    casting: str = "safe",
) -> Node:  # fmt: skip
    """numpy.einsum, with the subscripts as a string or as lists of axes."""
    refuse("einsum", out=out)
    if isinstance(operands[0], str):
        equation, values = operands[0], operands[1:]
    else:
        equation, values = _equation(operands), operands[: 2 * (len(operands) // 2) : 2]
    ready = arrays(*values, dtype=dtype)
    kind = ready[0].dtype
    if kind is DType.BOOL:
        raise UnsupportedError("einsum() of bools is not supported")
    return apply(linalg.einsum, *ready, equation=equation.replace(" ", ""))


def _equation(operands: Sequence[Any]) -> str:
    """Subscripts given as lists of axes, as a string."""

    def letters(axes: Sequence[Any]) -> str:
        return "".join("..." if axis is Ellipsis else chr(ord("a") + int(axis)) for axis in axes)

    lists = operands[1 : 2 * (len(operands) // 2) : 2]
    text = ",".join(map(letters, lists))
    return f"{text}->{letters(operands[-1])}" if len(operands) % 2 else text
