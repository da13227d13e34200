"""Indexing as NumPy does it: `getitem(x, index)` is x[index]."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from graphopt.errors import UnsupportedError
from graphopt.frontends.trace.library import nodes
from graphopt.frontends.trace.library.nodes import END, apply, ints
from graphopt.frontends.trace.library.operands import (
    WeakScalar,
    cast,
    is_array,
    is_sequence,
    is_slice,
    lift,
    rank_of,
    sizes_of,
    traced,
)
from graphopt.ir import Node
from graphopt.ops.indexing import gather, gather_nd
from graphopt.ops.selection import compress, non_zero
from graphopt.ops.shape import unsqueeze
from graphopt.ops.slicing import slice_
from graphopt.structural import constant
from graphopt.types import DType

Array = np.ndarray[Any, Any]


def getitem(x: Node, index: Any) -> Node:
    """x[index]: integers, slices, Ellipsis, newaxis, integer arrays and masks, traced or not.

    Raises IndexError as NumPy does, and UnsupportedError for what the graph cannot say.
    """
    items = list(map(_normal, index)) if isinstance(index, tuple) else [_normal(index)]  # pyright: ignore[reportUnknownArgumentType]
    if len(items) == 1 and isinstance(items[0], Node) and items[0].dtype is DType.BOOL:
        return masked(x, items[0])
    items = _without_ellipsis(_without_masks(items), rank_of(x))
    arrays = [item for item in items if not isinstance(item, slice | int) and item is not None]
    if all(isinstance(item, Node) and item.rank == 0 for item in arrays):
        return _basic(x, items)
    return _advanced(x, items)


def masked(x: Node, mask: Node, axis: int = 0) -> Node:
    """The elements, or the slices behind the mask's axes, where a traced mask is true."""
    sizes, wanted = sizes_of(x), sizes_of(mask)
    if not wanted:
        raise UnsupportedError("indexing by a traced bool that is no array is not supported")
    if len(wanted) > len(sizes) - axis:
        raise IndexError(f"too many indices for array: {len(sizes)}-d, {len(wanted)} indexed")
    for size, there in zip(wanted, sizes[axis:], strict=False):
        if size != there:
            if isinstance(size, int) and isinstance(there, int):
                raise IndexError(f"boolean index did not match: {there} elements, not {size}")
            raise UnsupportedError(f"a mask of size {size} for an axis of size {there}")
    if len(wanted) == len(sizes):
        return apply(compress, nodes.flatten(x), nodes.flatten(mask), axis=0)
    if len(wanted) > 1:
        x = nodes.reshape(x, [*sizes[:axis], -1, *sizes[axis + len(wanted) :]])
    return apply(compress, x, nodes.flatten(mask), axis=axis)


def _normal(item: Any) -> Any:
    """An item of an index as int, slice, None, Ellipsis, Node, or array of ints or bools."""
    if isinstance(item, WeakScalar):
        item = item.node
    if is_slice(item):
        return _normal_slice(item)
    if item is None or item is Ellipsis:
        return item
    if is_sequence(item) and traced(item):
        item = lift(item)
    if isinstance(item, Node):
        if item.dtype is not DType.BOOL and not item.dtype.is_integer:
            raise IndexError(
                f"arrays used as indices must be of integer or bool type, not {item.dtype}"
            )
        known = item.ints
        return known[0] if known is not None and item.rank == 0 else item
    return _known(item)


def _known(item: Any) -> Any:
    """An item that is not traced, as int or array."""
    if isinstance(item, bool | np.bool_):
        raise UnsupportedError("indexing by one bool is not supported: it makes a new axis")
    array = np.asarray(item)
    if array.size == 0 and isinstance(item, list):
        array = array.astype(np.intp)
    if array.dtype.kind not in "biu":
        raise IndexError(
            "only integers, slices (`:`), ellipsis (`...`), numpy.newaxis (`None`) and integer or"
            f" boolean arrays are valid indices, not {item!r}"
        )
    if array.ndim == 0:
        return int(array)
    return array if array.dtype.kind == "b" else array.astype(np.int64)


def _normal_slice(item: slice) -> slice:
    """A slice whose bounds are None, int or Node."""
    bounds = [_bound(bound) for bound in (item.start, item.stop, item.step)]
    if isinstance(bounds[2], Node):
        raise UnsupportedError("a slice with a traced step is not supported")
    if bounds[2] == 0:
        raise ValueError("slice step cannot be zero")
    return slice(*bounds)


def _bound(bound: Any) -> Any:
    if isinstance(bound, WeakScalar):
        bound = bound.node
    if isinstance(bound, Node):
        known = bound.ints
        return bound if known is None else known[0]
    return None if bound is None else bound.__index__()


def _without_masks(items: list[Any]) -> list[Any]:
    """Every mask replaced by the indices of its true elements, one array an axis."""
    made: list[Any] = []
    for item in items:
        if is_array(item) and item.dtype.kind == "b":
            made += np.nonzero(item)
        elif isinstance(item, Node) and item.dtype is DType.BOOL:
            rows = apply(non_zero, item)
            made += [nodes.take_axis(rows, k, 0) for k in range(rank_of(item))]
        else:
            made.append(item)
    return made


def _without_ellipsis(items: list[Any], rank: int) -> list[Any]:
    """The items with one for every axis, where an Ellipsis stood or at the end."""
    places = [k for k, item in enumerate(items) if item is Ellipsis]
    if len(places) > 1:
        raise IndexError("an index can only have a single ellipsis ('...')")
    used = sum(item is not None and item is not Ellipsis for item in items)
    if used > rank:
        raise IndexError(
            f"too many indices for array: array is {rank}-dimensional, but {used} were indexed"
        )
    at = places[0] if places else len(items)
    return [*items[:at], *[slice(None)] * (rank - used), *items[at + 1 :]]


@dataclass(frozen=True, slots=True)
class _Cut:
    """A range of an axis as the op Slice takes it."""

    axis: int
    start: int | Node
    stop: int | Node
    step: int


def _cut(axis: int, size: Any, item: slice) -> _Cut | None:
    """The range of an axis that a slice takes; None where it takes all."""
    step = 1 if item.step is None else item.step
    start, stop = item.start, item.stop
    if isinstance(size, int) and not isinstance(start, Node) and not isinstance(stop, Node):
        start, stop, step = item.indices(size)
        if (start, stop, step) == (0, size, 1):
            return None
        return _Cut(axis, start, -END if stop < 0 else stop, step)
    if start is None:
        start = 0 if step > 0 else -1
    if stop is None:
        stop = END if step > 0 else -END
    if isinstance(start, int) and isinstance(stop, int) and (start, stop, step) == (0, END, 1):
        return None
    return _Cut(axis, start, stop, step)


def _sliced(x: Node, cuts: Sequence[_Cut]) -> Node:
    """x cut along some axes, by one Slice."""
    if not cuts:
        return x
    starts, stops = (_vector([getattr(cut, name) for cut in cuts]) for name in ("start", "stop"))
    axes, steps = ints([cut.axis for cut in cuts]), ints([cut.step for cut in cuts])
    if all(cut.step == 1 for cut in cuts):
        return apply(slice_, x, starts, stops, axes)
    return apply(slice_, x, starts, stops, axes, steps)


def _vector(values: Sequence[int | Node]) -> Node:
    if all(isinstance(value, int) for value in values):
        return ints([value for value in values if isinstance(value, int)])
    return nodes.concat([nodes.size_node(value) for value in values])


def _basic(x: Node, items: list[Any]) -> Node:
    """x indexed by integers (also traced), slices and new axes."""
    sizes, axis = sizes_of(x), 0
    cuts: list[_Cut] = []
    fixed: list[int] = []
    gathered: list[tuple[int, Node]] = []
    new: list[int] = []
    kept = 0  # axes of the result so far
    for item in items:
        if item is None:
            new.append(kept)
            kept += 1
            continue
        if is_slice(item):
            cut = _cut(axis, sizes[axis], item)
            cuts += [] if cut is None else [cut]
            kept += 1
        elif isinstance(item, int):
            _check_bounds(item, sizes[axis], axis)
            fixed.append(axis)
            cuts.append(_Cut(axis, item, item + 1 if item != -1 else END, 1))
        else:
            gathered.append((axis, item))
        axis += 1
    if len(fixed) == len(cuts) == 1:
        place: Any = cuts[0].start
        x = apply(gather, x, constant(np.int64(place)), axis=fixed[0])
    else:
        x = nodes.squeeze(_sliced(x, cuts), fixed)
    for axis, item in reversed(gathered):
        before = axis - sum(other < axis for other in fixed)
        x = apply(gather, x, cast(item, np.int64), axis=before)
    return nodes.unsqueeze(x, new)


def _check_bounds(at: int, size: Any, axis: int) -> None:
    if isinstance(size, int) and not -size <= at < size:
        raise IndexError(f"index {at} is out of bounds for axis {axis} with size {size}")


def _advanced(x: Node, items: list[Any]) -> Node:
    """x indexed by arrays, and by slices and new axes besides; integers count as arrays."""
    sizes, axis = sizes_of(x), 0
    cuts: list[_Cut] = []
    new: list[int] = []
    arrays: list[tuple[int, Any]] = []  # (axis with new axes counted, indices)
    for place, item in enumerate(items):
        if item is None:
            new.append(place)
            continue
        if is_slice(item):
            cut = _cut(axis, sizes[axis], item)
            cuts += [] if cut is None else [cut]
        else:
            if not isinstance(item, Node):
                _check_all_bounds(np.asarray(item), sizes[axis], axis)
            arrays.append((place, item))
        axis += 1
    x = nodes.unsqueeze(_sliced(x, cuts), new)
    if len(arrays) == 1:
        ((place, item),) = arrays
        return apply(gather, x, lift(item, np.int64), axis=place)
    places = [place for place, _ in arrays]
    adjacent = places == list(range(places[0], places[0] + len(places)))
    others = [axis for axis in range(len(items)) if axis not in places]
    depth, indices = _tuples([item for _, item in arrays])
    made = apply(gather_nd, nodes.transpose(x, [*places, *others]), indices)
    if not adjacent or not places[0]:
        return made
    before = list(range(depth, depth + places[0]))
    behind = range(depth + places[0], depth + len(others))
    return nodes.transpose(made, [*before, *range(depth), *behind])


def _check_all_bounds(at: Array, size: Any, axis: int) -> None:
    if isinstance(size, int):
        for bad in at[(at < -size) | (at >= size)].reshape(-1)[:1]:
            raise IndexError(f"index {bad} is out of bounds for axis {axis} with size {size}")


def _tuples(indices: Sequence[Any]) -> tuple[int, Node]:
    """Index arrays broadcast and joined along a last axis, and how many axes they have."""
    if not any(isinstance(item, Node) for item in indices):
        try:
            joined = np.stack(np.broadcast_arrays(*indices), -1)
        except ValueError as error:
            raise IndexError(f"shape mismatch: indexing arrays {error}") from error
        return joined.ndim - 1, constant(joined.astype(np.int64))
    values = [lift(item, np.int64) for item in indices]
    sizes = nodes.broadcast_sizes(*values)
    expanded = [nodes.expand(value, sizes, values) for value in values]
    last = ints([-1])
    return len(sizes), nodes.concat([apply(unsqueeze, item, last) for item in expanded], -1)
