"""Functions that give elements another place: shapes, axes, broadcasting, turning, shifting."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from graphopt.dims import Size, product
from graphopt.errors import UnsupportedError
from graphopt.frontends.trace.library import nodes
from graphopt.frontends.trace.library.indexing import getitem
from graphopt.frontends.trace.library.nodes import END, apply, normal, normal_axes, slice_axis
from graphopt.frontends.trace.library.operands import (
    WeakScalar,
    is_array,
    is_sequence,
    lift,
    rank_of,
    sizes_of,
    static,
    static_size,
    untyped,
)
from graphopt.ir import Node
from graphopt.ops.logic import equal
from graphopt.ops.movement import trilu
from graphopt.ops.padding import pad
from graphopt.structural import constant


def size_like(value: Any) -> nodes.SizeLike:
    """A size of a shape argument: an int, a symbolic size, or a traced integer."""
    if isinstance(value, WeakScalar):
        value = value.node
    if isinstance(value, Node):
        known = value.known
        return value if known is None or known[0] is None else known[0]
    return value if hasattr(value, "terms") else int(value.__index__())


def sizes_argument(shape: Any) -> list[nodes.SizeLike]:
    """A shape argument as a list of sizes: one size, several, or a traced vector."""
    if isinstance(shape, WeakScalar):
        shape = shape.node
    if isinstance(shape, Node) and shape.rank == 1:
        count = sizes_of(shape)[0]
        if not isinstance(count, int):
            raise UnsupportedError("a shape whose length is not known is not supported")
        return [size_like(nodes.take_axis(shape, k, 0)) for k in range(count)]
    if is_array(shape):
        shape = shape.tolist()
    if is_sequence(shape):
        return [size_like(item) for item in shape]
    return [size_like(shape)]


def reshape(a: Any, /, shape: Any, order: str = "C", *, copy: bool | None = None) -> Node:
    """numpy.reshape. Raises ValueError where the sizes do not fit."""
    x, sizes = lift(a), sizes_argument(shape)
    if order == "F":
        turned = nodes.transpose(x, range(rank_of(x))[::-1])
        made = reshape(turned, tuple(sizes[::-1]))
        return nodes.transpose(made, range(len(sizes))[::-1])
    total: Any = product(sizes_of(x))
    known = [size for size in sizes if isinstance(size, int)]
    if isinstance(total, int) and len(known) == len(sizes):
        if sizes.count(-1) > 1:
            raise ValueError("can only specify one unknown dimension")
        rest = int(np.prod([size for size in known if size != -1]))
        if -1 in sizes and rest and total % rest == 0:
            known = [total // rest if size == -1 else size for size in known]
            rest = total
        if rest != total or -1 in known:
            raise ValueError(f"cannot reshape array of size {total} into shape {tuple(sizes)}")
        return nodes.reshape(x, known)
    return nodes.reshape(x, sizes)


def ravel(a: Any, order: str = "C") -> Node:
    """numpy.ravel."""
    return reshape(a, -1 if order != "F" else (-1,), "F" if order == "F" else "C")


def transpose(a: Any, axes: Any = None) -> Node:
    """numpy.transpose."""
    x = lift(a)
    rank = rank_of(x)
    if axes is None:
        return nodes.transpose(x, range(rank)[::-1])
    perm = normal_axes(tuple(axes), rank)
    if len(perm) != rank:
        raise ValueError("axes don't match array")
    return nodes.transpose(x, perm)


def matrix_transpose(x: Any, /) -> Node:
    """numpy.matrix_transpose."""
    value = lift(x)
    if rank_of(value) < 2:
        raise ValueError(f"Input array must be at least 2-dimensional, but it is {value.rank}")
    return swapaxes(value, -1, -2)


def swapaxes(a: Any, axis1: int, axis2: int) -> Node:
    """numpy.swapaxes."""
    x = lift(a)
    order = list(range(rank_of(x)))
    one, other = normal(axis1, len(order)), normal(axis2, len(order))
    order[one], order[other] = order[other], order[one]
    return nodes.transpose(x, order)


def moveaxis(a: Any, source: Any, destination: Any) -> Node:
    """numpy.moveaxis."""
    x = lift(a)
    rank = rank_of(x)
    sources, targets = normal_axes(source, rank), normal_axes(destination, rank)
    if len(sources) != len(targets):
        raise ValueError(
            "`source` and `destination` arguments must have the same number of elements"
        )
    order = [axis for axis in range(rank) if axis not in sources]
    for target, origin in sorted(zip(targets, sources, strict=True)):
        order.insert(target, origin)
    return nodes.transpose(x, order)


def rollaxis(a: Any, axis: int, start: int = 0) -> Node:
    """numpy.rollaxis."""
    x = lift(a)
    rank = rank_of(x)
    axis = normal(axis, rank)
    start += rank if start < 0 else 0
    if not 0 <= start <= rank:
        raise np.exceptions.AxisError(f"'start' arg requires {-rank} <= start < {rank + 1}")
    return nodes.move_axis(x, axis, start - (axis < start))


def squeeze(a: Any, axis: Any = None) -> Node:
    """numpy.squeeze; without an axis, all sizes must be known."""
    x = lift(a)
    sizes = sizes_of(x)
    if axis is None:
        if not all(isinstance(size, int) for size in sizes):
            raise UnsupportedError("squeeze() of an array with unknown sizes needs an axis")
        return nodes.squeeze(x, [k for k, size in enumerate(sizes) if size == 1])
    axes = normal_axes(axis, len(sizes))
    if any(isinstance(sizes[k], int) and sizes[k] != 1 for k in axes):
        raise ValueError("cannot select an axis to squeeze out which has size not equal to one")
    return nodes.squeeze(x, axes)


def expand_dims(a: Any, axis: Any) -> Node:
    """numpy.expand_dims."""
    x = lift(a)
    axes: Sequence[Any] = axis if is_sequence(axis) else (axis,)
    return nodes.unsqueeze(x, normal_axes(tuple(axes), rank_of(x) + len(axes)))


def broadcast_to(array: Any, shape: Any, subok: bool = False) -> Node:
    """numpy.broadcast_to. Raises ValueError where the shapes do not fit."""
    x, sizes = lift(array), sizes_argument(shape)
    own = sizes_of(x)
    fits = len(own) <= len(sizes)
    for size, wanted in zip(reversed(own), reversed(sizes), strict=False):
        both = isinstance(size, int) and isinstance(wanted, int)
        fits = fits and not (both and size not in (1, wanted))
    if not fits:
        raise ValueError(f"cannot broadcast an array of shape {own} to shape {tuple(sizes)}")
    return nodes.expand(x, sizes)


def broadcast_arrays(*args: Any, subok: bool = False) -> tuple[Node, ...]:
    """numpy.broadcast_arrays."""
    values = [lift(item) for item in args]
    sizes = nodes.broadcast_sizes(*values)
    return tuple(nodes.expand(value, sizes, values) for value in values)


def atleast(least: int, x: Node) -> Node:
    """x with at least so many axes, the new ones where NumPy puts them."""
    rank = rank_of(x)
    if least == 3 and rank in (1, 2):
        return nodes.unsqueeze(x, [0, 2] if rank == 1 else [2])
    return nodes.unsqueeze(x, list(range(least - rank)))


def _each(least: int, arys: tuple[Any, ...]) -> Any:
    made = tuple(atleast(least, lift(item)) for item in arys)
    return made[0] if len(made) == 1 else made


def atleast_1d(*arys: Any) -> Any:
    """numpy.atleast_1d."""
    return _each(1, arys)


def atleast_2d(*arys: Any) -> Any:
    """numpy.atleast_2d."""
    return _each(2, arys)


def atleast_3d(*arys: Any) -> Any:
    """numpy.atleast_3d."""
    return _each(3, arys)


def flip(m: Any, axis: Any = None) -> Node:
    """numpy.flip."""
    x = lift(m)
    return nodes.flip_axes(x, normal_axes(axis, rank_of(x)))


def fliplr(m: Any) -> Node:
    """numpy.fliplr."""
    x = lift(m)
    if rank_of(x) < 2:
        raise ValueError("Input must be >= 2-d.")
    return flip(x, 1)


def flipud(m: Any) -> Node:
    """numpy.flipud."""
    x = lift(m)
    if rank_of(x) < 1:
        raise ValueError("Input must be >= 1-d.")
    return flip(x, 0)


def rot90(m: Any, k: int = 1, axes: Sequence[int] = (0, 1)) -> Node:
    """numpy.rot90."""
    x = lift(m)
    if len(tuple(axes)) != 2:
        raise ValueError("len(axes) must be 2.")
    first, second = normal_axes(tuple(axes), rank_of(x))
    turns = static(k, "rot90's k") % 4
    if turns == 0:
        return x
    if turns == 2:
        return flip(x, (first, second))
    if turns == 1:
        return swapaxes(flip(x, second), first, second)
    return flip(swapaxes(x, first, second), second)


def roll(a: Any, shift: Any, axis: Any = None) -> Node:
    """numpy.roll, by shifts that are known."""
    x = lift(a)
    if axis is None:
        return reshape_like(roll(nodes.flatten(x), np.sum(static(shift, "roll's shift")), 0), x)
    axes: Sequence[Any] = axis if is_sequence(axis) else (axis,)
    shifts = np.broadcast_to(np.asarray(static(shift, "roll's shift")).reshape(-1), (len(axes),))
    for along, by in zip(axes, shifts.tolist(), strict=True):
        x = _rolled(x, normal(along, rank_of(x)), by)
    return x


def _rolled(x: Node, axis: int, by: int) -> Node:
    size: Size = sizes_of(x)[axis]
    if isinstance(size, int):
        by = by % size if size else 0
    elif abs(by) > 1:
        raise UnsupportedError(f"roll by {by} along an axis of unknown size ({size})")
    if by == 0:
        return x
    parts = [slice_axis(x, axis, -by, END), slice_axis(x, axis, 0, -by)]
    return nodes.concat(parts, axis)


def reshape_like(x: Node, like: Node) -> Node:
    """x in the shape of another value."""
    return nodes.reshape(x, sizes_of(like), (like,))


def triangle(m: Any, k: Any, *, upper: bool) -> Node:
    """The triangles of the matrices in the last two axes; of a vector, in which each is a row."""
    x = lift(m)
    if rank_of(x) == 1:
        (size,) = sizes_of(x)
        x = nodes.expand(x, (size, size), (x,))
    diagonal = constant(int(k)) if not isinstance(k, Node | WeakScalar) else lift(k, np.int64)
    return apply(trilu, x, diagonal, upper=int(upper))


def tril(m: Any, k: Any = 0) -> Node:
    """numpy.tril."""
    return triangle(m, k, upper=False)


def triu(m: Any, k: Any = 0) -> Node:
    """numpy.triu."""
    return triangle(m, k, upper=True)


def copy(a: Any, order: str = "K", subok: bool = False) -> Node:
    """numpy.copy: a value never changes, so it is its own copy."""
    return lift(a)


def resize(a: Any, new_shape: Any) -> Node:
    """numpy.resize, of known sizes."""
    x = lift(a)
    target = static(new_shape, "resize's shape")
    count, total = int(untyped.prod(target)), nodes.size_of(x)
    if isinstance(total, Node):
        raise UnsupportedError("resize() of an array of unknown size")
    flat = nodes.flatten(x)
    if total == 0:
        return nodes.full(sizes_argument(target), 0, x.dtype.numpy)
    repeats = -(-count // total)
    whole = nodes.concat([flat] * repeats) if repeats else flat
    return nodes.reshape(slice_axis(whole, 0, 0, count), sizes_argument(target))


def diagonal_of(a: Any, offset: Any, axis1: int, axis2: int) -> Node:
    """The diagonals of the matrices in two axes, as a last axis; sizes known."""
    x = lift(a)
    rank = rank_of(x)
    if rank < 2:
        raise ValueError("diag requires an array of at least two dimensions")
    one, other = normal_axes((axis1, axis2), rank)
    rest = [axis for axis in range(rank) if axis not in (one, other)]
    x = nodes.transpose(x, [*rest, one, other])
    rows, columns = (static_size(size, "a diagonal") for size in sizes_of(x)[-2:])
    k = static(offset, "the diagonal's offset")
    at = np.arange(max(0, min(rows + min(k, 0), columns - max(k, 0))))
    return getitem(x, (..., at - min(k, 0), at + max(k, 0)))


def diagonal(a: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Node:
    """numpy.diagonal."""
    return diagonal_of(a, offset, axis1, axis2)


def linalg_diagonal(x: Any, /, *, offset: int = 0) -> Node:
    """numpy.linalg.diagonal."""
    return diagonal_of(x, offset, -2, -1)


def diag(v: Any, k: int = 0) -> Node:
    """numpy.diag."""
    x = lift(v)
    if rank_of(x) == 2:
        return diagonal(x, k)
    if rank_of(x) != 1:
        raise ValueError("Input must be 1- or 2-d.")
    (size,) = sizes_of(x)
    column = nodes.unsqueeze(x, [1])
    zero = nodes.scalar(0, x)
    row = nodes.arange(size, (x,))
    same = apply(equal, nodes.unsqueeze(row, [1]), row)
    made = nodes.where(same, column, zero)
    before, behind = max(k, 0), max(-k, 0)
    if not k:
        return made
    return apply(pad, made, nodes.ints([behind, before, before, behind]))


def diagflat(v: Any, k: int = 0) -> Node:
    """numpy.diagflat."""
    return diag(nodes.flatten(lift(v)), k)
