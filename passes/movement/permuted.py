"""How an op works on operands whose axes are permuted: what transposes can be moved across."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from graphopt.ir import Node
from graphopt.ops.cumulative import cum_prod, cum_sum
from graphopt.ops.indexing import gather
from graphopt.ops.movement import transpose
from graphopt.ops.norms import lp_normalization
from graphopt.ops.padding import pad
from graphopt.ops.quantize import dequantize_linear, quantize_linear
from graphopt.ops.reduction import arg_max, arg_min
from graphopt.ops.shape import shape, unsqueeze
from graphopt.ops.slicing import concat, slice_, split, tile
from graphopt.ops.softmax import hardmax, log_softmax, softmax
from graphopt.passes.movement.kept_axes import keeps, reduced_axes
from graphopt.passes.movement.pads import operands, padded, widths_of
from graphopt.passes.movement.positions import numbers_of, vector
from graphopt.structural import constant
from graphopt.tensor import Tensor
from graphopt.types import TensorType, TupleType

Perm = tuple[int, ...]
LARGEST = 1 << 20
"""Constants with more elements are not permuted."""
ALONG = (softmax, log_softmax, hardmax, lp_normalization)


def inverse(perm: Sequence[int]) -> Perm:
    """The permutation that undoes one."""
    return tuple(sorted(range(len(perm)), key=lambda k: perm[k]))


def turned(x: Node, perm: Sequence[int]) -> Node:
    """x transposed; of a transpose, both at once."""
    if x.op is transpose:
        first = x.attrs.get("perm") or tuple(reversed(range(len(perm))))
        x, perm = x.inputs[0], [first[axis] for axis in perm]
    made: Node = x if list(perm) == sorted(perm) else transpose(x, perm=tuple(perm))
    return made


def rank_of(node: Node) -> int | None:
    """The rank of a node's value, or of all its values."""
    kind = node.derived_type
    kinds = kind.elements if isinstance(kind, TupleType) else (kind,)
    ranks = {item.rank if isinstance(item, TensorType) else None for item in kinds}
    return ranks.pop() if len(ranks) == 1 else None


def flows(node: Node, *, strict: bool = False) -> tuple[int, ...] | None:
    """The inputs that a node may take permuted, all at once; None where it may not.

    With `strict` only where the bits stay: sums over axes in another order are rounded otherwise.
    """
    if node.op.facts.elementwise:
        return _elementwise(node)
    if node.op is concat:
        ranks = {item.rank for item in node.inputs}
        return tuple(range(len(node.inputs))) if len(ranks) == 1 and None not in ranks else None
    found = TABLE.get(node.op.name)
    if found is None or not node.inputs or not isinstance(node.inputs[0].derived_type, TensorType):
        return None
    if node.inputs[0].rank is None or (strict and node.op.name in ROUNDED):
        return None
    return (0,) if found[0](node) else None


def _elementwise(node: Node) -> tuple[int, ...] | None:
    rank = rank_of(node)
    if rank is None:
        return None
    found: list[int] = []
    for k, item in enumerate(node.inputs):
        if item.is_absent:
            continue
        held = item.constant
        if held is not None:
            if held.size > LARGEST and not held.is_splat:
                return None
        elif not isinstance(item.derived_type, TensorType) or item.rank not in (0, 1, rank):
            return None
        elif item.rank == rank:
            found.append(k)
    return tuple(found) or None


def ends(node: Node) -> bool:
    """Whether a node's value is the same, or is at once made so, for permuted operands."""
    return node.op is shape or (node.op.name in REDUCING and not keeps(node))


def permuted(node: Node, perm: Perm, inputs: Sequence[Node]) -> Node:
    """The node over permuted inputs: its value permuted, or as it was where `ends` says so."""
    if node.op.facts.elementwise:
        rank = len(perm)
        return node.with_inputs(tuple(_aligned(item, old, perm, rank) for item, old in
                                      zip(inputs, node.inputs, strict=True)))  # fmt: skip
    if node.op is concat:
        return Node(node.op, tuple(inputs), {"axis": perm.index(node.attrs["axis"] % len(perm))})
    return TABLE[node.op.name][1](node, perm, inputs)


def _aligned(item: Node, old: Node, perm: Perm, rank: int) -> Node:
    """An operand: a constant is permuted itself, with axes in front as many as it lacks."""
    held = old.constant
    if held is None and old.rank == 1 < rank:
        behind = rank - 1 - perm.index(rank - 1)
        made: Node = unsqueeze(item, vector(range(1, 1 + behind))) if behind else item
        return made
    if held is None or held.size == 1:
        return item
    if held.is_splat:
        sizes = (1,) * (rank - len(held.shape)) + held.shape
        return constant(Tensor.splat(held.dtype, [sizes[k] for k in perm], held.element))
    array = held.array.reshape((1,) * (rank - held.array.ndim) + held.array.shape)
    moved = np.ascontiguousarray(array.transpose(perm))
    return constant(Tensor.of(moved, held.dtype))


def _always(node: Node) -> bool:
    return True


def _with_axis(default: int) -> Callable[[Node, Perm, Sequence[Node]], Node]:
    def build(node: Node, perm: Perm, inputs: Sequence[Node]) -> Node:
        axis = perm.index(node.attrs.get("axis", default) % len(perm))
        return Node(node.op, tuple(inputs), node.op.normal({**node.attrs, "axis": axis}))

    return build


def _reduced(node: Node, perm: Perm, inputs: Sequence[Node]) -> Node:
    axes = reduced_axes(node)
    assert axes is not None
    moved = tuple(sorted(perm.index(axis) for axis in axes))
    made: Node = node.op(inputs[0], vector(moved), **node.attrs)
    if keeps(node):
        return made
    rest = [axis for axis in perm if axis not in axes]
    return turned(made, inverse([sorted(rest).index(axis) for axis in rest]))


def _sliced(node: Node, perm: Perm, inputs: Sequence[Node]) -> Node:
    _, starts, stops, axes, steps = operands(node, 5)
    length = starts.shape[0] if starts.shape else 0
    where = range(int(str(length))) if axes.is_absent else numbers_of(axes) or ()
    moved = vector(perm.index(axis % len(perm)) for axis in where)
    made: Node = slice_(inputs[0], starts, stops, moved, None if steps.is_absent else steps)
    return made


def _can_slice(node: Node) -> bool:
    _, starts, _, axes, _ = operands(node, 5)
    if axes.is_absent:
        return starts.shape is not None and isinstance(starts.shape[0], int)
    return numbers_of(axes) is not None


def _padded(node: Node, perm: Perm, inputs: Sequence[Node]) -> Node:
    widths = widths_of(node)
    assert widths is not None
    value = operands(node, 3)[2]
    moved = {perm.index(axis): pair for axis, pair in widths.items()}
    return padded(inputs[0], moved, None if value.is_absent else value, **node.attrs)


def _tiled(node: Node, perm: Perm, inputs: Sequence[Node]) -> Node:
    counts = numbers_of(node.inputs[1])
    assert counts is not None
    made: Node = tile(inputs[0], vector(counts[axis] for axis in perm))
    return made


def _summed(node: Node, perm: Perm, inputs: Sequence[Node]) -> Node:
    numbers = numbers_of(node.inputs[1])
    assert numbers is not None
    at = constant(np.array(perm.index(numbers[0] % len(perm)), np.int64))
    made: Node = node.op(inputs[0], at, **node.attrs)
    return made


def _shape(node: Node, perm: Perm, inputs: Sequence[Node]) -> Node:
    bounds = node.op.arguments(node.attrs)
    chosen = inverse(perm)[bounds["start"] : bounds["end"]]
    made: Node = gather(shape(inputs[0]), vector(chosen))
    return made


def _can_reduce(node: Node) -> bool:
    axes = reduced_axes(node)
    return axes is not None and bool(axes)


def _can_quantize(node: Node) -> bool:
    plain = all(item.is_absent or (item.rank or 0) <= 1 for item in node.inputs[1:])
    return plain and not node.attrs.get("block_size") and None not in [i.rank for i in node.inputs]


Entry = tuple[Callable[[Node], bool], Callable[[Node, Perm, Sequence[Node]], Node]]
REDUCING = (
    "ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceL1", "ReduceL2", "ReduceSumSquare",
    "ReduceLogSumExp",
)  # fmt: skip
ROUNDED = frozenset({*REDUCING, *(op.name for op in ALONG)}) - {"Hardmax"}
TABLE: Mapping[str, Entry] = {
    **dict.fromkeys(REDUCING, (_can_reduce, _reduced)),
    **{op.name: (_always, _with_axis(-1)) for op in ALONG},
    **{op.name: (lambda node: keeps(node), _with_axis(0)) for op in (arg_max, arg_min)},
    **{op.name: (_can_quantize, _with_axis(1)) for op in (quantize_linear, dequantize_linear)},
    **{op.name: (lambda node: numbers_of(node.inputs[1]) is not None, _summed)
       for op in (cum_sum, cum_prod)},
    split.name: (_always, _with_axis(0)),
    slice_.name: (_can_slice, _sliced),
    pad.name: (lambda node: bool(widths_of(node)), _padded),
    tile.name: (lambda node: numbers_of(node.inputs[1]) is not None, _tiled),
    shape.name: (_always, _shape),
}  # fmt: skip
"""By op: whether a node may take its first operand permuted, and the node that does."""
