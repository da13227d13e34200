"""Functions that put arrays together, take them apart, or repeat them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeGuard

import numpy as np

from graphopt.errors import UnsupportedError
from graphopt.frontends.trace.library import movement, nodes
from graphopt.frontends.trace.library.nodes import apply, apply_all, ints, normal, slice_axis
from graphopt.frontends.trace.library.operands import (
    WeakScalar,
    cast,
    castable,
    is_array,
    is_sequence,
    lift,
    rank_of,
    refuse,
    result_dtype,
    sizes_of,
    static,
    static_size,
    untyped,
)
from graphopt.ir import Node
from graphopt.ops import slicing
from graphopt.ops.indexing import gather


def sequence(arrays: Any) -> list[Any]:
    """The arrays of a list, a tuple, or along the first axis of an array."""
    found: list[Any] = unstack(arrays) if isinstance(arrays, Node) else list(arrays)
    return found


def common(arrays: Any, dtype: Any = None, casting: str = "same_kind") -> list[Node]:
    """Arrays in the one dtype that they have together; Python numbers count as arrays."""
    values = [lift(item) for item in sequence(arrays)]
    if not values:
        raise ValueError("need at least one array to concatenate")
    kinds = [value.dtype.numpy for value in values]
    made = result_dtype(*kinds) if dtype is None else np.dtype(dtype)
    for kind in kinds:
        if not castable(kind, made, casting):
            raise TypeError(f"Cannot cast array data from {kind!r} to {made!r} by {casting!r}")
    return [cast(value, made) for value in values]


def is_list(value: object) -> TypeGuard[list[Any]]:
    """Whether a value is a list."""
    return isinstance(value, list)


def concatenate(
    arrays: Any, /, axis: int | None = 0, out: Any = None, *, dtype: Any = None,
    casting: str = "same_kind",
) -> Node:  # fmt: skip
    """numpy.concatenate."""
    refuse("concatenate", out=out)
    values = common(arrays, dtype, casting)
    if axis is None:
        return nodes.concat([nodes.flatten(value) for value in values])
    ranks = {rank_of(value) for value in values}
    if ranks == {0}:
        raise ValueError("zero-dimensional arrays cannot be concatenated")
    if len(ranks) > 1:
        raise ValueError("all the input array dimensions must match exactly")
    along = normal(axis, min(ranks))
    for k, sizes in enumerate(zip(*map(sizes_of, values), strict=True)):
        if k != along and len({size for size in sizes if isinstance(size, int)}) > 1:
            raise ValueError(f"all the input array dimensions must match exactly, not {sizes}")
    return nodes.concat(values, along)


def stack(
    arrays: Any, axis: int = 0, out: Any = None, *, dtype: Any = None, casting: str = "same_kind"
) -> Node:
    """numpy.stack."""
    refuse("stack", out=out)
    values = common(arrays, dtype, casting)
    if len({len(sizes_of(value)) for value in values}) > 1:
        raise ValueError("all input arrays must have the same shape")
    along = normal(axis, rank_of(values[0]) + 1)
    return concatenate([nodes.unsqueeze(value, [along]) for value in values], along)


def vstack(tup: Any, *, dtype: Any = None, casting: str = "same_kind") -> Node:
    """numpy.vstack."""
    rows = [movement.atleast(2, value) for value in common(tup, dtype, casting)]
    return concatenate(rows, 0)


def hstack(tup: Any, *, dtype: Any = None, casting: str = "same_kind") -> Node:
    """numpy.hstack."""
    values = [movement.atleast(1, value) for value in common(tup, dtype, casting)]
    return concatenate(values, 0 if rank_of(values[0]) == 1 else 1)


def dstack(tup: Any) -> Node:
    """numpy.dstack."""
    return concatenate([movement.atleast(3, value) for value in common(tup)], 2)


def column_stack(tup: Any) -> Node:
    """numpy.column_stack."""
    values = common(tup)
    columns = [nodes.reshape(value, [-1, 1]) if rank_of(value) < 2 else value for value in values]
    return concatenate(columns, 1)


def append(arr: Any, values: Any, axis: int | None = None) -> Node:
    """numpy.append."""
    return concatenate((arr, values), axis)


def block(arrays: Any) -> Node:
    """numpy.block."""

    def depth(item: Any) -> int:
        return 1 + max(map(depth, item)) if is_list(item) else 0

    levels = depth(arrays)

    def leaves(item: Any) -> list[Node]:
        return [x for each in item for x in leaves(each)] if is_list(item) else [lift(item)]

    rank = max(levels, *map(rank_of, leaves(arrays)))

    def joined(item: Any, level: int) -> Node:
        if is_list(item):
            return concatenate([joined(each, level + 1) for each in item], level - levels)
        x = lift(item)
        return nodes.unsqueeze(x, list(range(rank - rank_of(x))))

    return joined(arrays, 0)


def array_split(ary: Any, indices_or_sections: Any, axis: int = 0) -> list[Node]:
    """numpy.array_split."""
    x = lift(ary)
    axis = normal(axis, rank_of(x))
    sections = static(indices_or_sections, "the sections of a split")
    size = sizes_of(x)[axis]
    if is_sequence(sections) or is_array(sections):
        bounds = [int(item) for item in sections]
        return _cut(x, [0, *bounds], [*bounds, nodes.END], axis)
    if sections <= 0:
        raise ValueError("number sections must be larger than 0.")
    whole = static_size(size, "a split in sections")
    each, extra = divmod(whole, int(sections))
    lengths = extra * [each + 1] + (int(sections) - extra) * [each]
    if len(lengths) == 1:
        return [x]
    return list(apply_all(slicing.split, x, ints(lengths), axis=axis, outputs=len(lengths)))


def _cut(x: Node, starts: Sequence[int], stops: Sequence[int], axis: int) -> list[Node]:
    return [slice_axis(x, axis, start, stop) for start, stop in zip(starts, stops, strict=True)]


def split(ary: Any, indices_or_sections: Any, axis: int = 0) -> list[Node]:
    """numpy.split. Raises ValueError where the sections are not equal."""
    x = lift(ary)
    sections = static(indices_or_sections, "the sections of a split")
    size = sizes_of(x)[normal(axis, rank_of(x))]
    if isinstance(sections, int) and isinstance(size, int) and sections > 0 and size % sections:
        raise ValueError("array split does not result in an equal division")
    return array_split(x, sections, axis)


def hsplit(ary: Any, indices_or_sections: Any) -> list[Node]:
    """numpy.hsplit."""
    x = lift(ary)
    if rank_of(x) == 0:
        raise ValueError("hsplit only works on arrays of 1 or more dimensions")
    return split(x, indices_or_sections, 1 if rank_of(x) > 1 else 0)


def vsplit(ary: Any, indices_or_sections: Any) -> list[Node]:
    """numpy.vsplit."""
    x = lift(ary)
    if rank_of(x) < 2:
        raise ValueError("vsplit only works on arrays of 2 or more dimensions")
    return split(x, indices_or_sections, 0)


def dsplit(ary: Any, indices_or_sections: Any) -> list[Node]:
    """numpy.dsplit."""
    x = lift(ary)
    if rank_of(x) < 3:
        raise ValueError("dsplit only works on arrays of 3 or more dimensions")
    return split(x, indices_or_sections, 2)


def unstack(x: Any, /, *, axis: int = 0) -> Any:
    """numpy.unstack: the slices along an axis of known size."""
    value = lift(x)
    if rank_of(value) == 0:
        raise ValueError("Input array must be at least 1-d.")
    axis = normal(axis, rank_of(value))
    count = static_size(sizes_of(value)[axis], "iteration")
    return [nodes.take_axis(value, k, axis) for k in range(count)]


def tile(A: Any, reps: Any) -> Node:
    """numpy.tile."""
    x = lift(A)
    counts = movement.sizes_argument(reps)
    x = movement.atleast(len(counts), x)
    counts = [1] * (rank_of(x) - len(counts)) + counts
    if all(isinstance(count, int) and count == 1 for count in counts):
        return x
    return apply(slicing.tile, x, nodes.shape_node(counts, (x,)))


def repeat(a: Any, repeats: Any, axis: int | None = None) -> Node:
    """numpy.repeat, by one number, or by known numbers for each slice."""
    x = lift(a)
    if axis is None:
        x, axis = nodes.flatten(x), 0
    axis = normal(axis, rank_of(x))
    size = sizes_of(x)[axis]
    counts: Any = repeats.node if isinstance(repeats, WeakScalar) else repeats
    if isinstance(counts, Node) and counts.ints is None and counts.rank:
        raise UnsupportedError("repeat() by traced numbers for each element")
    if not isinstance(counts, Node) or counts.ints is not None:
        counts = static(counts, "repeat's number")
    if not isinstance(counts, Node) and np.size(counts) > 1:
        at = np.repeat(np.arange(static_size(size, "repeat by several numbers")), counts)
        return apply(gather, x, lift(at), axis=axis)
    count = counts if isinstance(counts, Node) else int(np.asarray(counts).reshape(()))
    if count == 1:
        return x
    wide = nodes.unsqueeze(x, [axis + 1])
    ones: list[nodes.SizeLike] = [1] * (rank_of(x) + 1)
    ones[axis + 1] = count
    tiled = apply(slicing.tile, wide, nodes.shape_node(ones))
    sizes: list[nodes.SizeLike] = list(sizes_of(x))
    sizes[axis] = -1 if isinstance(count, Node) else size * count
    if count == 0 or 0 in sizes:
        return nodes.reshape(tiled, [0 if s == -1 else s for s in sizes], (x,))
    return nodes.reshape(tiled, sizes, (x,))


def delete(arr: Any, obj: Any, axis: int | None = None) -> Node:
    """numpy.delete, of known positions along an axis of known size."""
    x = lift(arr)
    if axis is None:
        x, axis = nodes.flatten(x), 0
    axis = normal(axis, rank_of(x))
    size = static_size(sizes_of(x)[axis], "delete()")
    kept = np.delete(np.arange(size), static(obj, "delete's position"))
    return apply(gather, x, lift(kept), axis=axis)


def insert(arr: Any, obj: Any, values: Any, axis: int | None = None) -> Node:
    """numpy.insert, at known positions along an axis of known size."""
    x = lift(arr)
    if axis is None:
        x, axis = nodes.flatten(x), 0
    rank = rank_of(x)
    axis = normal(axis, rank)
    size = static_size(sizes_of(x)[axis], "insert()")
    at: Any = static(obj, "insert's position")
    new = cast(lift(values), x.dtype.numpy)
    if not isinstance(at, slice) and np.size(at) == 1:
        new = nodes.unsqueeze(new, list(range(rank - rank_of(new))))
        new = nodes.move_axis(new, 0, axis) if np.ndim(at) == 0 and rank else new
        count = static_size(sizes_of(new)[axis], "insert()")
        one = int(np.asarray(at).item())
        order = np.insert(np.arange(size), [one] * count, size + np.arange(count))
    else:
        line = np.arange(size)
        count = int(untyped.insert(line, at, -1).size) - size
        order = untyped.insert(line, at, size + np.arange(count))
    sizes: list[nodes.SizeLike] = list(sizes_of(x))
    sizes[axis] = count
    expanded = nodes.expand(new, sizes, (x,))
    return apply(gather, concatenate((x, expanded), axis), lift(order), axis=axis)
