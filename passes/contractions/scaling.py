"""Values times a factor, by other constants: what takes a factor in, and through what it passes.

s (x W + b) = x (s W) + s b, whatever is transposed or reshaped in between. Each constant is rounded
once, as the product with s was.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod

import numpy as np

from graphopt.analysis import same_shape
from graphopt.dims import Size
from graphopt.ir import Node
from graphopt.ops.arithmetic import add, mul, sub
from graphopt.ops.conv import conv
from graphopt.ops.linalg import gemm, matmul
from graphopt.ops.movement import transpose
from graphopt.ops.shape import flatten, reshape, squeeze, unsqueeze
from graphopt.ops.slicing import slice_, split
from graphopt.passes.contractions.maps import Uses, Vector, exact, rounded_factors
from graphopt.passes.movement.positions import cuts, part_of, spans_of
from graphopt.structural import out_op
from graphopt.types import DType

DEEPEST = 12
"""How many nodes apart the factor and the constants may be."""
LEAST = 2.0**-32
MOVES = (transpose, reshape, squeeze, unsqueeze, flatten)
Factors = tuple[Vector | None, ...]
"""By operand, that by which it is multiplied; None: it stays."""
Key = tuple[Node, tuple[int, ...], bytes]
Known = dict[Key, Node | None]
Users = Mapping[Node, list[Node]]


def number_of(value: Node) -> float | None:
    """The one number that a constant is filled with."""
    tensor = value.constant
    if tensor is None or not tensor.dtype.is_float or not tensor.size:
        return None
    tensor = tensor.compact()
    return float(tensor.element) if tensor.is_splat or tensor.size == 1 else None


def ordinary(factor: float, y: Node) -> bool:
    """Whether numbers of y's dtype may be multiplied by the factor early rather than late."""
    return LEAST <= abs(factor) <= 1 and y.dtype is not DType.FLOAT16


@dataclass(frozen=True)
class Taken:
    """A constant that takes a factor in: operand `position` of `user` becomes `new`."""

    user: Node
    position: int
    new: Node

    @property
    def old(self) -> Node:
        """The constant that it is without the factor."""
        return self.user.inputs[self.position]


@dataclass
class Scaling:
    """Makes values times a factor; `taken` are the constants that take it in.

    What is scaled is a product of matrices or a convolution, or a sum of such; factors of elements
    alone are not re-associated here. The factor is one number, or has the axes of the value that it
    scales, of size 1 where it does not vary. With `users`, outputs of Splits and slices are scaled,
    too: what is made is right for that part alone. `known` holds what constants times factors are.
    """

    uses: Uses
    users: Users = field(default_factory=dict[Node, list[Node]])
    known: Known = field(default_factory=dict[Key, Node | None])
    taken: list[Taken] = field(default_factory=list[Taken])
    contracted: bool = False

    @property
    def old(self) -> list[Node]:
        """The constants that are replaced."""
        return [item.old for item in self.taken]

    @property
    def new(self) -> list[Node]:
        """Those that replace them."""
        return [item.new for item in self.taken]

    def __call__(
        self, value: Node, factor: Vector, depth: int = DEEPEST, *, inside: bool = False
    ) -> Node | None:
        """The value times the factor, None where its constants are not near."""
        return self._scaled(value, factor, depth, inside) if self.uses(value) == 1 else None

    def _scaled(self, value: Node, factor: Vector, depth: int, inside: bool) -> Node | None:
        if depth == 0:
            return None
        if value.op in MOVES:
            before = moved_back(value, factor)
            return None if before is None else self._all(value, (before,), depth, inside)
        if value.op in (out_op, slice_) and self.users:
            return self._part(value, factor, depth, inside)
        if value.op in (add, sub):
            return self._all(value, (factor, factor), depth, inside)
        if value.op in (gemm, conv, matmul):
            self.contracted = True
            factors = of_operands(value, factor)
            made = self._any if value.op is matmul else self._all
            return None if factors is None else made(value, factors, depth, True)
        if value.op is mul and inside:
            return self._any(value, (factor, factor), depth, True)
        return None

    def operand(
        self, user: Node, position: int, factor: Vector, depth: int = DEEPEST, inside: bool = True
    ) -> Node | None:
        """An operand times the factor."""
        item = user.inputs[position]
        if item.constant is None:
            if factor.size > 1 and user.op in (add, sub, mul) and not same_shape(item, user):
                return None
            return self(item, factor, depth - 1, inside=inside)
        key = (item, factor.shape, factor.tobytes())
        if key not in self.known:
            self.known[key] = taken_in(item, factor)
        made = self.known[key]
        if made is not None:
            self.taken.append(Taken(user, position, made))
        return made

    def _all(self, value: Node, factors: Factors, depth: int, inside: bool) -> Node | None:
        """A sum, or what has one operand of numbers: each of those with a factor."""
        inputs = list(value.inputs)
        for position, factor in enumerate(factors[: len(inputs)]):
            if factor is not None and not inputs[position].is_absent:
                made = self.operand(value, position, factor, depth, inside)
                if made is None:
                    return None
                inputs[position] = made
        return value.with_inputs(tuple(inputs))

    def _any(self, value: Node, factors: Factors, depth: int, inside: bool) -> Node | None:
        """A product: one of its operands, constants first."""
        for position in sorted((0, 1), key=lambda place: value.inputs[place].constant is None):
            before, factor = len(self.taken), factors[position]
            made = factor is not None and self.operand(value, position, factor, depth, inside)
            if made:
                inputs = list(value.inputs)
                inputs[position] = made
                return value.with_inputs(tuple(inputs))
            del self.taken[before:]
        return None

    def _part(self, value: Node, factor: Vector, depth: int, inside: bool) -> Node | None:
        """A part of a value whose other users take other parts, which stay what they are."""
        node = value.inputs[0] if value.op is out_op else value
        found = cut_of(value)
        if found is None or not all(
            user is node or _are_apart(found, cut_of(user)) for user in self.users[found.whole]
        ):
            return None
        axis, rank = found.axis, found.whole.rank or 0
        part = factor.reshape((1,) * rank) if factor.size == 1 else factor
        whole = np.ones((*part.shape[:axis], found.size, *part.shape[axis + 1 :]))
        whole[(slice(None),) * axis + (slice(found.begin, found.end),)] = part
        made = self._scaled(found.whole, whole, depth - 1, inside)
        if made is None:
            return None
        cut = node.with_inputs((made, *node.inputs[1:]))
        return cut if node is value else value.with_inputs((cut,))


@dataclass(frozen=True)
class Cut:
    """A part of a value: where it begins and ends along an axis, and how long that is."""

    whole: Node
    axis: int
    begin: int
    end: int
    size: int


def cut_of(value: Node) -> Cut | None:
    """The part that an output of a Split is, or a slice along one axis."""
    axis = None
    if value.op is out_op and value.inputs[0].op is split:
        parts = cuts(value.inputs[0])
        axis = None if parts is None else parts[0]
    elif value.op is slice_:
        spans = spans_of(value)
        axis = None if spans is None or len(spans) != 1 else next(iter(spans))
    part = None if axis is None else part_of(value, axis)
    if axis is None or part is None:
        return None
    begin, end, size = part.begin, part.end, (part.whole.shape or ())[axis]
    if isinstance(begin, int) and isinstance(end, int) and isinstance(size, int):
        return Cut(part.whole, axis, begin, end, size)
    return None


def _are_apart(one: Cut, other: Cut | None) -> bool:
    if other is None or other.whole is not one.whole or other.axis != one.axis:
        return False
    return other.end <= one.begin or one.end <= other.begin


def taken_in(value: Node, factor: Vector) -> Node | None:
    """A constant times a factor, of the same shape; None where that cannot be."""
    tensor = value.constant
    if tensor is None or not tensor.dtype.is_float:
        return None
    if factor.size > 1:
        outer = max(factor.ndim - len(tensor.shape), 0)
        if any(size != 1 for size in factor.shape[:outer]):
            return None
        factor = factor.reshape(factor.shape[outer:])
        if np.broadcast_shapes(factor.shape, tensor.shape) != tensor.shape:
            return None
    return rounded_factors(exact(value) * factor, tensor.dtype, tensor.shape)


def moved_back(value: Node, factor: Vector) -> Vector | None:
    """The factor of what a node moves, by that of what it gives."""
    before, after = value.inputs[0].shape, value.shape
    if factor.size == 1:
        return factor.reshape(())
    if before is None or after is None:
        return None
    if value.op is transpose:
        return np.transpose(factor, np.argsort(value.attrs.get("perm") or range(len(after))[::-1]))
    first = next(axis for axis, size in enumerate(factor.shape) if size != 1)
    block = _as_many(before, after[first:])
    if block is None:
        return None
    spread = np.broadcast_to(factor.reshape(factor.shape[first:]), _ints(after[first:]) or ())
    return spread.reshape((1,) * (len(before) - len(block)) + block)


def _ints(sizes: Sequence[Size | None]) -> tuple[int, ...] | None:
    known = tuple(size for size in sizes if isinstance(size, int))
    return known if len(known) == len(sizes) else None


def _as_many(
    before: Sequence[Size | None], varied: Sequence[Size | None]
) -> tuple[int, ...] | None:
    """The last axes of a shape that hold as many elements as some others."""
    wanted = _ints(varied)
    for start in range(len(before)):
        block = _ints(before[start:])
        if wanted and block and prod(block) == prod(wanted) > 0:
            return block
    return None


def of_operands(value: Node, factor: Vector) -> Factors | None:
    """By which factors of a contraction's operands its result has a factor; None: by none.

    All of them in a sum, any of them of a product. A factor that varies, along the last axis alone,
    is that of the columns of the second operand.
    """
    first = factor if value.op is matmul else None
    if factor.size == 1:
        return first, factor, factor
    rank = value.inputs[1].rank
    if value.op is conv or rank is None or rank < 2 or factor.size != factor.shape[-1]:
        return None
    columns = factor.reshape((1,) * (rank - 1) + (-1,))
    return None, columns.T if value.attrs.get("transB") else columns, factor
