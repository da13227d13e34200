"""What the declarations of ops share: broadcasting of shapes, axes, known elements."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from graphopt import dims
from graphopt.dims import Size
from graphopt.ir import Node
from graphopt.op import refuse
from graphopt.types import DType, TensorType

Shape = tuple[Size, ...]


def broadcast_shapes(shapes: Sequence[Shape | None]) -> Shape | None:
    """The shape that shapes broadcast to, None when a rank is not known.

    Raises TypeRuleError when two sizes cannot be broadcast.
    """
    known: list[Shape] = []
    for shape in shapes:
        if shape is None:
            return None
        known.append(shape)
    rank = max(map(len, known), default=0)
    made: list[Size] = []
    for axis in range(-rank, 0):
        size: Size = 1
        for shape in known:
            if -axis <= len(shape):
                both = dims.broadcast(size, shape[axis])
                if both is None:
                    text = " and ".join(f"[{', '.join(map(str, s))}]" for s in known)
                    raise refuse(f"the shapes {text} cannot be broadcast")
                size = both
        made.append(size)
    return tuple(made)


def normal_axis(axis: int, rank: int) -> int:
    """`axis` counted from the front; raises TypeRuleError when there is no such axis."""
    if not -rank <= axis < rank:
        raise refuse(f"there is no axis {axis} among {rank}")
    return axis % rank


def normal_axes(axes: Sequence[int], rank: int) -> tuple[int, ...]:
    """Axes counted from the front; raises TypeRuleError when one is missing or named twice."""
    made = tuple(normal_axis(axis, rank) for axis in axes)
    if len(set(made)) != len(made):
        raise refuse(f"an axis is named twice in {list(axes)}")
    return made


def shape_known(value: Node) -> tuple[Any, ...] | None:
    """The elements of a 1-d integer tensor as sizes, None for each that is not known.

    None when not even its length is known.
    """
    if value.known is not None:
        return value.known
    shape = value.shape
    if shape is not None and len(shape) == 1 and isinstance(shape[0], int):
        return (None,) * shape[0]
    return None


def element(value: Node | None) -> Size | None:
    """The one element of a scalar (or of a tensor of size 1) as far as it is known."""
    known = None if value is None else value.known
    return known[0] if known is not None and len(known) == 1 else None


def tensor(dtype: DType, shape: Sequence[Size | None] | None) -> TensorType:
    """A tensor type."""
    return TensorType(dtype, None if shape is None else tuple(shape))
