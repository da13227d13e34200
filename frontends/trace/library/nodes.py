"""The ops that the functions are made of, with arguments as numbers; what would do nothing is
left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from graphopt import dims
from graphopt.dims import Dim, Size
from graphopt.errors import UnsupportedError
from graphopt.frontends.trace.library.operands import cast, is_sequence, lift, rank_of, sizes_of
from graphopt.ir import Node
from graphopt.op import Op
from graphopt.ops import arithmetic, generate, indexing, logic, movement, reduction, shape, slicing
from graphopt.structural import constant, results
from graphopt.tensor import Tensor
from graphopt.types import dtype_of

SizeLike = int | Dim | Node
"""A size: a number, a symbolic size, or an integer scalar of the graph."""

END = 2**63 - 1


def apply(op: Op, *inputs: Node | None, **attrs: Any) -> Node:
    """The value of an op of one output."""
    made: Node = op(*inputs, **attrs)
    return made


def apply_all(op: Op, *inputs: Node | None, **attrs: Any) -> tuple[Node, ...]:
    """The values of an op of several outputs."""
    return results(apply(op, *inputs, **attrs))


def ints(values: Sequence[int]) -> Node:
    """A constant vector of int64."""
    return constant(np.array(values, np.int64))


def normal(axis: Any, rank: int) -> int:
    """An axis counted from the front; raises numpy.exceptions.AxisError."""
    along = int(axis.__index__())
    if not -rank <= along < rank:
        raise np.exceptions.AxisError(along, rank)
    return along % rank


def normal_axes(axis: Any, rank: int) -> tuple[int, ...]:
    """One or several axes counted from the front; None: all. Raises AxisError and ValueError."""
    if axis is None:
        return tuple(range(rank))
    if rank == 0 and axis in (0, -1):
        return ()
    axes = tuple(normal(item, rank) for item in (axis if is_sequence(axis) else [axis]))
    if len(set(axes)) < len(axes):
        raise ValueError("repeated axis")
    return axes


def size_node(size: SizeLike, sources: Sequence[Node] = ()) -> Node:
    """A size as a vector of one int64; a symbolic one is taken from the shape of a source.

    Raises UnsupportedError where no source shows it.
    """
    if isinstance(size, int):
        return ints([size])
    if isinstance(size, Node):
        return reshape(cast(size, np.int64), [1])
    for source in sources:
        for axis, item in enumerate(source.shape or ()):
            if item == size:
                return apply(shape.shape, source, start=axis, end=axis + 1)
    atom = dims.sole_atom(size)
    if atom is not None:
        return _atom_node(atom, sources)
    total: Node | None = None
    for mono, coefficient in size.terms.items():
        term = ints([coefficient])
        for factor, power in mono:
            part = size_node(dims.Dim({frozenset({(factor, 1)}): 1}), sources)
            for _ in range(power):
                term = apply(arithmetic.mul, term, part)
        total = term if total is None else apply(arithmetic.add, total, term)
    assert total is not None
    return total


def _atom_node(atom: dims.Atom, sources: Sequence[Node]) -> Node:
    if isinstance(atom, dims.DimOf):
        return apply(shape.shape, atom.value, start=atom.axis, end=atom.axis + 1)
    low = dims.lower(atom.numerator) if isinstance(atom, dims.FloorDiv) else None
    if isinstance(atom, dims.FloorDiv) and low is not None and low >= 0:
        parts = (size_node(item, sources) for item in (atom.numerator, atom.denominator))
        return apply(arithmetic.div, *parts)
    if isinstance(atom, dims.Extreme):
        op = arithmetic.max_ if atom.kind == "max" else arithmetic.min_
        return apply(op, *(size_node(item, sources) for item in sorted(atom.sizes, key=str)))
    if isinstance(atom, dims.Broadcast):
        made, *rest = (size_node(item, sources) for item in sorted(atom.sizes, key=str))
        for item in rest:
            made = apply(logic.where, apply(logic.equal, made, ints([1])), item, made)
        return made
    size = dims.Dim({frozenset({(atom, 1)}): 1})
    raise UnsupportedError(f"the size {size} cannot be computed from the operands")


def shape_node(sizes: Sequence[SizeLike], sources: Sequence[Node] = ()) -> Node:
    """A shape as a vector; neighbouring numbers are one constant, a source's axes one Shape."""
    if all(isinstance(size, int) for size in sizes):
        return ints([size for size in sizes if isinstance(size, int)])
    for source in sources:
        if source.shape == tuple(sizes):
            return apply(shape.shape, source)
    parts: list[Node] = []
    pending: list[int] = []
    for size in sizes:
        if isinstance(size, int):
            pending.append(size)
            continue
        parts += [ints(pending)] if pending else []
        pending = []
        parts.append(size_node(size, sources))
    parts += [ints(pending)] if pending else []
    return parts[0] if len(parts) == 1 else apply(slicing.concat, *parts, axis=0)


def reshape(x: Node, sizes: Sequence[SizeLike], sources: Sequence[Node] = ()) -> Node:
    """x in another shape; -1 for what the others leave."""
    target = tuple(sizes)
    if x.shape is not None and x.shape == target:
        return x
    unknown = [k for k, size in enumerate(target) if not isinstance(size, int)]
    if len(unknown) == 1 and -1 not in target and 0 not in target and x.shape is not None:
        free = tuple(-1 if k in unknown else size for k, size in enumerate(target))
        made = apply(shape.reshape, x, ints([size for size in free if isinstance(size, int)]))
        if made.shape == target or isinstance(target[unknown[0]], Dim):
            return made
    wanted = shape_node(target, (x, *sources))
    return apply(shape.reshape, x, wanted, allowzero=int(0 in target))


def flatten(x: Node) -> Node:
    """x as a vector."""
    return x if x.rank == 1 else reshape(x, [-1])


def expand(x: Node, sizes: Sequence[SizeLike], sources: Sequence[Node] = ()) -> Node:
    """x broadcast to a shape."""
    if x.shape == tuple(sizes):
        return x
    return apply(shape.expand, x, shape_node(tuple(sizes), (*sources, x)))


def transpose(x: Node, perm: Sequence[int]) -> Node:
    """x with its axes permuted."""
    order = tuple(perm)
    return x if order == tuple(range(len(order))) else apply(movement.transpose, x, perm=order)


def move_axis(x: Node, source: int, target: int) -> Node:
    """x with one axis at another place."""
    order = [axis for axis in range(rank_of(x)) if axis != source]
    order.insert(target, source)
    return transpose(x, order)


def move_axis_block(x: Node, source: int, count: int) -> Node:
    """x with `count` axes from `source` on moved to the front."""
    block = list(range(source, source + count))
    return transpose(x, [*block, *(axis for axis in range(rank_of(x)) if axis not in block)])


def squeeze(x: Node, axes: Sequence[int]) -> Node:
    """x without axes of size 1."""
    return apply(shape.squeeze, x, ints(axes)) if axes else x


def unsqueeze(x: Node, axes: Sequence[int]) -> Node:
    """x with new axes at places of the result."""
    return apply(shape.unsqueeze, x, ints(axes)) if axes else x


def concat(values: Sequence[Node], axis: int = 0) -> Node:
    """Values of one dtype along an axis."""
    return values[0] if len(values) == 1 else apply(slicing.concat, *values, axis=axis)


def slice_axis(x: Node, axis: int, start: int, stop: int, step: int = 1) -> Node:
    """A range of an axis, its bounds as the op Slice takes them."""
    if start == 0 and step == 1 and stop in (END, sizes_of(x)[axis]):
        return x
    return apply(slicing.slice_, x, ints([start]), ints([stop]), ints([axis]), ints([step]))


def flip_axes(x: Node, axes: Sequence[int]) -> Node:
    """x with some axes turned around."""
    if not axes:
        return x
    count = len(axes)
    bounds = (ints([-1] * count), ints([-END] * count), ints(axes), ints([-1] * count))
    return apply(slicing.slice_, x, *bounds)


def take_axis(x: Node, at: int | Node | Sequence[int], axis: int) -> Node:
    """The slices of x at indices along an axis; of one number, without the axis."""
    where = at if isinstance(at, Node) else constant(np.asarray(at, np.int64))
    return apply(indexing.gather, x, where, axis=axis)


def size_of(x: Node, axes: Sequence[int] | None = None) -> Node | int:
    """How many elements axes (all) have: a number where it is known, else an int64 scalar."""
    sizes = sizes_of(x)
    total = dims.product(sizes if axes is None else [sizes[axis] for axis in axes])
    if isinstance(total, int):
        return total
    if axes is None or len(axes) == len(sizes):
        return apply(shape.size, x)
    return reshape(size_node(total, (x,)), [])


def full(sizes: Sequence[SizeLike], value: Any, dtype: Any, sources: Sequence[Node] = ()) -> Node:
    """An array of one element; a constant where the sizes are numbers."""
    kind = dtype_of(np.dtype(dtype))
    element = np.asarray(value, kind.numpy)
    if all(isinstance(size, int) for size in sizes):
        numbers = [size for size in sizes if isinstance(size, int)]
        return constant(Tensor.splat(kind, numbers, element))
    value_tensor = Tensor.of(element.reshape(1), kind)
    return apply(generate.constant_of_shape, shape_node(sizes, sources), value=value_tensor)


def full_like(x: Node, value: Any, dtype: Any = None) -> Node:
    """An array of x's shape whose every element is a value."""
    return full(sizes_of(x), value, x.dtype.numpy if dtype is None else dtype, (x,))


def scalar(value: Any, like: Node) -> Node:
    """A number as a constant of the dtype of a value."""
    return lift(value, like.dtype.numpy)


def arange(count: SizeLike, sources: Sequence[Node] = ()) -> Node:
    """0, 1, 2, ... as int64."""
    if isinstance(count, int):
        return constant(np.arange(count, dtype=np.int64))
    last = reshape(size_node(count, sources), [])
    return apply(generate.range_, lift(0), last, lift(1))


def where(test: Node, x: Any, y: Any) -> Node:
    """x where a condition holds, else y; a number takes the dtype of the other."""
    like = x if isinstance(x, Node) else y
    assert isinstance(like, Node)
    one, other = (item if isinstance(item, Node) else scalar(item, like) for item in (x, y))
    return apply(logic.where, test, one, other)


def reduce_by(op: Op, x: Node, axes: Sequence[int], *, keepdims: bool = False) -> Node:
    """A reduction over axes; x itself over none."""
    if not axes:
        return x
    if len(axes) == rank_of(x):
        return apply(op, x, keepdims=int(keepdims))
    return apply(op, x, ints(axes), keepdims=int(keepdims))


def reduce_sum(x: Node, axes: Sequence[int], *, keepdims: bool = False) -> Node:
    """The sum over axes."""
    return reduce_by(reduction.reduce_sum, x, axes, keepdims=keepdims)


def broadcast_sizes(*values: Node) -> tuple[Size, ...]:
    """The shape that values broadcast to; raises ValueError as NumPy does."""
    from graphopt.errors import TypeRuleError
    from graphopt.ops.common import broadcast_shapes

    try:
        made = broadcast_shapes([sizes_of(value) for value in values])
    except TypeRuleError as error:
        raise ValueError(f"operands could not be broadcast together: {error}") from error
    assert made is not None
    return made
