"""Shapes: asking for them, and giving an array's elements another shape in the same order."""

from __future__ import annotations

from math import prod

from graphopt import dims
from graphopt.ir import Node
from graphopt.op import Array, Facts, Xp, op, refuse
from graphopt.ops.bounds import COUNTS, always
from graphopt.ops.checks import check_vector, older_dtype
from graphopt.ops.common import broadcast_shapes, normal_axes, shape_known, tensor
from graphopt.ops.examples import given
from graphopt.ops.sizes import length_of, moved, reshape_sizes
from graphopt.structural import constant
from graphopt.types import DType, TensorType, Type

MOVES = Facts(moves=True, host_inputs=(1,))


@op("Shape", facts=Facts(signed_zero="absorbed", total=True))
def shape(xp: Xp, data: Array, *, start: int = 0, end: int | None = None) -> Array:
    """The sizes of data's axes from `start` up to `end`, as a vector of int64."""
    return xp.asarray(data.shape[start:end], xp.dtype(DType.INT64))


@shape.infer
def _(data: Node, *, start: int, end: int | None) -> Type:
    sizes = data.shape
    if sizes is None:
        return tensor(DType.INT64, (None,))
    taken = sizes[start:end]
    return TensorType(DType.INT64, (len(taken),)).with_known(taken)


shape.bounds(always(COUNTS))


@shape.examples
def _() -> list[Node]:
    x = given("x", 2, 1, 0, 3)
    bounds = ((0, None), (1, None), (-1, None), (0, -1), (1, 3), (3, 1), (-9, 9))
    made = [shape(x, start=start, end=end) for start, end in bounds]
    return [
        *made,
        shape(given("x", "N", "M")),
        shape(given("x")),
        shape(given("x", 3, dtype=DType.INT4)),
    ]


@op("Size", facts=Facts(signed_zero="absorbed", total=True))
def size(xp: Xp, data: Array) -> Array:
    """The number of data's elements, as a scalar of int64."""
    return xp.asarray(prod(data.shape), xp.dtype(DType.INT64))


@size.infer
def _(data: Node) -> Type:
    sizes = data.shape
    made = TensorType(DType.INT64, ())
    return made if sizes is None else made.with_known((dims.product(sizes),))


size.bounds(always(COUNTS))


@size.examples
def _() -> list[Node]:
    return [size(given("x", 2, 3)), size(given("x")), size(given("x", 4, 0, dtype=DType.BOOL))]


@op("Reshape", facts=MOVES)
def reshape(xp: Xp, data: Array, shape: Array, *, allowzero: int = 0) -> Array:
    """data's elements in another shape.

    One size may be -1: what the others leave. A size 0 means the data's there, unless `allowzero`.
    """
    target = shape.tolist()
    if not allowzero:
        target = [item or data.shape[axis] for axis, item in enumerate(target)]
    return xp.reshape(data, target)


@reshape.infer
def _(data: Node, shape: Node, *, allowzero: int) -> Type:
    check_vector(shape, "a shape")
    target = shape_known(shape)
    if target is None:
        return tensor(data.dtype, None)
    made = reshape_sizes(data.shape, target, allowzero=bool(allowzero))
    return tensor(data.dtype, made).with_known(data.known)


@reshape.examples
def _() -> list[Node]:
    x = given("x", 2, 3, 4)
    targets = ([6, 4], [-1], [0, -1], [4, 0, 2], [2, 1, 3, 1, -1], [24])
    made = [reshape(x, constant(target, DType.INT64)) for target in targets]
    empty = given("x", 2, 0, 3, dtype=DType.INT32)
    made.append(reshape(empty, constant([0, 6], DType.INT64), allowzero=1))
    made.append(reshape(empty, constant([3, -1], DType.INT64)))
    made.append(reshape(given("x", 1, dtype=DType.BOOL), constant([], DType.INT64)))
    wide = given("x", "N", "M", 6)
    made += [reshape(wide, constant(target, DType.INT64)) for target in ([-1, 6], [0, -1, 2, 3])]
    return [*made, reshape(wide, shape(given("like", "N", 3, "M", 2)))]


@op("Flatten", facts=Facts(moves=True, total=True))
def flatten(xp: Xp, input: Array, *, axis: int = 1) -> Array:
    """input as a matrix: the axes before `axis` are its rows, the others its columns."""
    axis += input.ndim if axis < 0 else 0
    return xp.reshape(input, (prod(input.shape[:axis]), prod(input.shape[axis:])))


@flatten.infer
def _(input: Node, *, axis: int) -> Type:
    sizes = input.shape
    if sizes is None:
        return tensor(input.dtype, (None, None))
    if not -len(sizes) <= axis <= len(sizes):
        raise refuse(f"there is no place {axis} among {len(sizes)} axes")
    axis += len(sizes) if axis < 0 else 0
    made = (dims.product(sizes[:axis]), dims.product(sizes[axis:]))
    return tensor(input.dtype, made).with_known(input.known)


@flatten.examples
def _() -> list[Node]:
    made = [flatten(given("x", 2, 3, 1, 4), axis=axis) for axis in (-4, -1, 0, 1, 2, 4)]
    return [*made, flatten(given("x"), axis=0), flatten(given("x", 0, 3, dtype=DType.INT8))]


@op("Squeeze", facts=MOVES)
def squeeze(xp: Xp, data: Array, axes: Array | None = None) -> Array:
    """data without some axes, which must have size 1; without all such axes when none are given."""
    return xp.squeeze(data, None if axes is None else tuple(axes.tolist()))


@squeeze.infer
def _(data: Node, axes: Node | None) -> Type:
    check_vector(axes, "axes")
    sizes = data.shape
    if sizes is None:
        return tensor(data.dtype, None)
    if axes is None:
        if any(item != 1 and not _never_one(item) for item in sizes):
            return tensor(data.dtype, None)
        dropped = [axis for axis, item in enumerate(sizes) if item == 1]
    elif axes.ints is None:
        count = length_of(axes)
        return tensor(data.dtype, None if count is None else (None,) * max(len(sizes) - count, 0))
    else:
        dropped = list(normal_axes(axes.ints, len(sizes)))
        for axis in dropped:
            if isinstance(sizes[axis], int) and sizes[axis] != 1:
                raise refuse(f"axis {axis} has size {sizes[axis]}, not 1")
    kept = [item for axis, item in enumerate(sizes) if axis not in dropped]
    return tensor(data.dtype, kept).with_known(data.known)


def _never_one(item: dims.Size) -> bool:
    return isinstance(item, int) or (dims.lower(item) or 0) > 1


@squeeze.examples
def _() -> list[Node]:
    x = given("x", 1, 3, 1, 2, 1)
    made = [squeeze(x, constant(axes, DType.INT64)) for axes in ([0], [-1, 2], [4, 0, 2])]
    empty = given("x", 1, 0, 1, dtype=DType.INT32)
    return [*made, squeeze(x), squeeze(empty), squeeze(given("x")), squeeze(given("x", 1, 1))]


@op("Unsqueeze", facts=MOVES)
def unsqueeze(xp: Xp, data: Array, axes: Array) -> Array:
    """data with new axes of size 1 at the given places of the result."""
    return xp.expand_dims(data, tuple(axes.tolist()))


@unsqueeze.infer
def _(data: Node, axes: Node) -> Type:
    check_vector(axes, "axes")
    sizes, count = data.shape, length_of(axes)
    if sizes is None or count is None:
        return tensor(data.dtype, None)
    rank = len(sizes) + count
    if axes.ints is None:
        return tensor(data.dtype, (None,) * rank)
    new = normal_axes(axes.ints, rank)
    rest = iter(sizes)
    made = tuple(1 if axis in new else next(rest) for axis in range(rank))
    return tensor(data.dtype, made).with_known(data.known)


@unsqueeze.examples
def _() -> list[Node]:
    x = given("x", 2, 0, 3)
    made = [unsqueeze(x, constant(axes, DType.INT64)) for axes in ([0], [-1], [1, 3], [4, 0])]
    return [*made, unsqueeze(given("x", dtype=DType.BOOL), constant([0, 1], DType.INT64))]


@op("Expand", facts=MOVES)
def expand(xp: Xp, input: Array, shape: Array) -> Array:
    """input broadcast against an array of the given shape."""
    return xp.broadcast_to(input, xp.broadcast_shapes(input.shape, tuple(shape.tolist())))


@expand.infer
def _(input: Node, shape: Node) -> Type:
    check_vector(shape, "a shape")
    dtype = older_dtype(input)
    target, sizes = shape_known(shape), input.shape
    if target is None or sizes is None:
        return tensor(dtype, None)
    if any(isinstance(item, int) and item < 0 for item in target):
        raise refuse(f"a size of {list(target)} is negative")
    # An unknown size, taken for 1 here, tells nothing where the data's axis may be 1, too.
    unknown = {axis - len(target) for axis, item in enumerate(target) if item is None}
    plain = broadcast_shapes([sizes, tuple(1 if item is None else item for item in target)])
    assert plain is not None
    made = [
        None if axis in unknown and (not isinstance(item, int) or item == 1) else item
        for axis, item in zip(range(-len(plain), 0), plain, strict=True)
    ]
    return tensor(dtype, made).with_known(moved(expand, input, shape))


@expand.examples
def _() -> list[Node]:
    x = given("x", 3, 1)
    targets = ((3, 4), (2, 1, 6), (1,), (), (3, 0))
    made = [expand(x, constant(target, DType.INT64)) for target in targets]
    return [
        *made,
        expand(given("x", dtype=DType.BOOL), constant([2, 3], DType.INT64)),
        expand(given("x", 0, 1, dtype=DType.INT64), constant([1, 4], DType.INT64)),
        expand(given("x", "N", 1), shape(given("like", "N", "M"))),
    ]
