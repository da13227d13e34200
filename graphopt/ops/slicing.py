"""Parts of arrays along their axes, and whole arrays put together: Slice, Split, Concat, Tile."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any

from graphopt.dims import Size
from graphopt.ir import Node
from graphopt.op import Array, Facts, Ints, Xp, op, refuse
from graphopt.ops.bounds import united
from graphopt.ops.checks import check_dtype, check_vector, older_dtype, one_size
from graphopt.ops.common import Shape, normal_axes, normal_axis, shape_known, tensor
from graphopt.ops.dtypes import INDICES
from graphopt.ops.examples import given
from graphopt.ops.sizes import effective, known_array, moved, slice_size
from graphopt.structural import constant
from graphopt.types import DType, Type


@op("Slice", facts=Facts(moves=True, host_inputs=(1, 2, 3, 4)))
def slice_(
    xp: Xp,
    data: Array,
    starts: Array,
    ends: Array,
    axes: Array | None = None,
    steps: Array | None = None,
) -> Array:
    """data from `starts` up to `ends`, in `steps`, along `axes` (all, from the first, by default).

    Negative positions count from the end; positions outside are clamped to the axis.
    """
    first, last = starts.tolist(), ends.tolist()
    where = range(len(first)) if axes is None else axes.tolist()
    strides = [1] * len(first) if steps is None else steps.tolist()
    taken = [slice(None)] * data.ndim
    for axis, start, end, step in zip(where, first, last, strides, strict=True):
        taken[axis] = effective(data.shape[axis], start, end, step)
    return data[tuple(taken)]


@slice_.infer
def _(data: Node, starts: Node, ends: Node, axes: Node | None, steps: Node | None) -> Type:
    dtype = older_dtype(data)
    for item in (starts, ends, axes, steps):
        check_dtype(item, INDICES, "positions")
        if item is not None and item.rank not in (1, None):
            raise refuse("positions must have one axis")
    sizes = data.shape
    if sizes is None:
        return tensor(dtype, None)
    first, last = shape_known(starts), shape_known(ends)
    unknown = tensor(dtype, (None,) * len(sizes))
    if first is None or last is None:
        return unknown
    where = tuple(range(len(first))) if axes is None else axes.ints
    strides = (1,) * len(first) if steps is None else shape_known(steps)
    if where is None or strides is None:
        return unknown
    made = _sliced(sizes, first, last, normal_axes(where, len(sizes)), strides)
    return tensor(dtype, made).with_known(moved(slice_, data, starts, ends, axes, steps))


def _sliced(
    sizes: Shape, first: Sequence[Any], last: Sequence[Any], axes: Ints, steps: Sequence[Any]
) -> list[Size | None]:
    if not len(first) == len(last) == len(axes) == len(steps):
        raise refuse("starts, ends, axes and steps differ in length")
    made: list[Size | None] = list(sizes)
    for axis, start, end, step in zip(axes, first, last, steps, strict=True):
        if step == 0:
            raise refuse("a step is 0")
        known = isinstance(step, int)
        made[axis] = slice_size(sizes[axis], start, end, step) if known else None
    return made


@slice_.examples
def _() -> list[Node]:
    def at(*positions: int, dtype: DType = DType.INT64) -> Node:
        return constant(positions, dtype)

    x, far = given("x", 5, 4, 0, 1), 2**63 - 1
    return [
        slice_(x, at(1), at(3)),
        slice_(x, at(1, 0), at(-1, far), at(0, 1)),
        slice_(x, at(0, -3), at(far, -1), at(0, -3), at(2, 1)),
        slice_(x, at(-1), at(-far), at(0), at(-1)),
        slice_(x, at(4, 9), at(-9, -9), at(0, 1), at(-3, -2)),
        slice_(x, at(3), at(1), at(1)),
        slice_(given("x", 3, dtype=DType.INT8), at(0, dtype=DType.INT32), at(2, dtype=DType.INT32)),
        slice_(x, at(0, 0), at(1, 1), at(2, 3), at(-1, -1)),
        slice_(given("x", "N", "M"), at(1, -2), at(far, far)),
        slice_(given("x", "N", "M"), at(0, -1), at(-1, -far), at(0, 1), at(2, -1)),
    ]


@op("Split", facts=Facts(signed_zero="passed", moves=True, host_inputs=(1,)))
def split(
    xp: Xp,
    input: Array,
    split: Array | None = None,
    *,
    axis: int = 0,
    num_outputs: int | None = None,
    outputs: int = 1,
) -> Array | tuple[Array, ...]:
    """input cut along `axis` in parts of sizes `split`, or in equal ones, the last the smallest.

    Raises ValueError when the parts are more or less than the axis.
    """
    whole = input.shape[axis]
    part = -(-whole // outputs)
    sizes = [part] * (outputs - 1) + [whole - part * (outputs - 1)]
    if split is not None:
        sizes = split.tolist()
    if min(sizes) < 0 or sum(sizes) != whole or len(sizes) != outputs:
        raise ValueError(f"an axis of size {whole} cannot be split in {sizes}")
    taken, begin = [slice(None)] * input.ndim, 0
    made: list[Array] = []
    for part in sizes:
        taken[axis] = slice(begin, begin + part)
        made.append(input[tuple(taken)])
        begin += part
    return tuple(made) if outputs > 1 else made[0]


@split.infer
def _(
    input: Node, cut: Node | None, *, axis: int, num_outputs: int | None, outputs: int
) -> Type | tuple[Type, ...]:
    dtype = older_dtype(input)
    check_vector(cut, "split")
    if cut is not None and num_outputs is not None:
        raise refuse("both split and num_outputs are given")
    if num_outputs not in (None, outputs) or outputs < 1:
        raise refuse(f"num_outputs is {num_outputs}, but there are {outputs} outputs")
    sizes = input.shape
    if sizes is None:
        return (tensor(dtype, None),) * outputs if outputs > 1 else tensor(dtype, None)
    axis = normal_axis(axis, len(sizes))
    parts = _parts(sizes[axis], cut, outputs)
    kinds = [tensor(dtype, (*sizes[:axis], part, *sizes[axis + 1 :])) for part in parts]
    if input.known is not None and (known := _split_known(input, parts, axis)) is not None:
        kinds = [kind.with_known(items) for kind, items in zip(kinds, known, strict=True)]
    return tuple(kinds) if outputs > 1 else kinds[0]


def _parts(whole: Size, cut: Node | None, outputs: int) -> Sequence[Size | None]:
    if cut is None:
        part = (whole + (outputs - 1)) // outputs
        last = whole - part * (outputs - 1)
        if isinstance(last, int) and last < 0:
            raise refuse(f"an axis of size {whole} cannot be split in {outputs}")
        return [part] * (outputs - 1) + [last]
    parts = shape_known(cut)
    if parts is None:
        return (None,) * outputs
    if len(parts) != outputs:
        raise refuse(f"split has {len(parts)} sizes, but there are {outputs} outputs")
    ints = [part for part in parts if isinstance(part, int)]
    if len(ints) == outputs and isinstance(whole, int) and sum(ints) != whole:
        raise refuse(f"an axis of size {whole} cannot be split in {ints}")
    if any(part < 0 for part in ints):
        raise refuse(f"a size of {ints} is negative")
    return parts


def _split_known(
    input: Node, parts: Sequence[Size | None], axis: int
) -> list[list[Any] | None] | None:
    if not all(isinstance(part, int) for part in parts):
        return None
    made: list[list[Any] | None] = []
    begin = 0
    for part in parts:
        assert isinstance(part, int)
        at = (constant([item], DType.INT64) for item in (begin, begin + part, axis))
        made.append(moved(slice_, input, *at))
        begin += part
    return made


@split.examples
def _() -> list[Node]:
    x = given("x", 7, 6, 0)
    return [
        split(x, num_outputs=3, outputs=3),
        split(x, axis=1, num_outputs=2, outputs=2),
        split(x, num_outputs=1, outputs=1),
        split(given("x", 2, "N"), axis=1, num_outputs=2, outputs=2),
        split(x, constant([1, 0, 5], DType.INT64), axis=-2, outputs=3),
        split(given("x", 2, dtype=DType.BOOL), constant([2], DType.INT64)),
    ]


@op("Concat", facts=Facts(signed_zero="passed"))
def concat(xp: Xp, *inputs: Array, axis: int) -> Array:
    """The inputs one after the other along `axis`; their other sizes are equal."""
    return xp.concatenate(inputs, axis)


@concat.infer
def _(*inputs: Node | None, axis: int) -> Type:
    values = [value for value in inputs if value is not None]
    if not values or len(values) < len(inputs):
        raise refuse("an input is missing")
    dtype = older_dtype(*values)
    shapes = [value.shape for value in values]
    known = [sizes for sizes in shapes if sizes is not None]
    if not known:
        return tensor(dtype, None)
    rank = len(known[0])
    if any(len(sizes) != rank for sizes in known):
        raise refuse(f"the inputs have {' and '.join(str(len(sizes)) for sizes in known)} axes")
    axis = normal_axis(axis, rank)
    sizes = list(known[0])
    for other in known[1:]:
        sizes = [
            a + b if k == axis else one_size("a size", a, b)
            for k, (a, b) in enumerate(zip(sizes, other, strict=True))
        ]
    made: list[Size | None] = [*sizes]
    if len(known) < len(shapes):
        made[axis] = None
    return tensor(dtype, made).with_known(_concat_known(values, axis, rank))


def _concat_known(values: list[Node], axis: int, rank: int) -> Iterable[Any] | None:
    if not any(value.known for value in values):
        return None
    if rank == 1:
        parts = [part for value in values if (part := shape_known(value)) is not None]
        return chain(*parts) if len(parts) == len(values) else None
    arrays = [array for value in values if (array := known_array(value)) is not None]
    if len(arrays) < len(values):
        return None
    import numpy as np

    return np.concatenate(arrays, axis).reshape(-1).tolist()


concat.bounds(united)


@concat.examples
def _() -> list[Node]:
    x, y = given("x", 2, 3), given("y", 2, 1)
    flags = given("x", 0, dtype=DType.BOOL), given("y", 2, dtype=DType.BOOL)
    return [
        concat(x, y, axis=1),
        concat(x, y, x, axis=-1),
        concat(x, x, axis=0),
        concat(x, axis=0),
        concat(given("x", "N", 3), x, axis=0),
        concat(*flags, axis=0),
    ]


@op("Tile", facts=Facts(moves=True, host_inputs=(1,)))
def tile(xp: Xp, input: Array, repeats: Array) -> Array:
    """input repeated along each axis; `repeats` has a number for each of them."""
    counts = repeats.tolist()
    if len(counts) != input.ndim:
        raise ValueError(f"{len(counts)} repeats for {input.ndim} axes")
    return xp.tile(input, counts)


@tile.infer
def _(input: Node, repeats: Node) -> Type:
    dtype = older_dtype(input)
    check_vector(repeats, "repeats")
    sizes, counts = input.shape, shape_known(repeats)
    if sizes is None:
        return tensor(dtype, None if counts is None else (None,) * len(counts))
    if counts is None:
        return tensor(dtype, (None,) * len(sizes))
    if len(counts) != len(sizes):
        raise refuse(f"{len(counts)} repeats for {len(sizes)} axes")
    if any(isinstance(count, int) and count < 0 for count in counts):
        raise refuse(f"one of the repeats {list(counts)} is negative")
    made = [
        None if count is None else size * count for size, count in zip(sizes, counts, strict=True)
    ]
    return tensor(dtype, made).with_known(moved(tile, input, repeats))


@tile.examples
def _() -> list[Node]:
    def times(*counts: int) -> Node:
        return constant(counts, DType.INT64)

    x = given("x", 2, 1, 3)
    made = [tile(x, times(*counts)) for counts in ((1, 1, 1), (2, 3, 1), (1, 0, 2))]
    return [*made, tile(given("x"), constant([], DType.INT64)), tile(given("x", 0), times(3))]
