"""Rules of concatenations: operands joined, dropped, or moved behind what is done to each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from graphopt.ir import Node
from graphopt.ops.functions import exp
from graphopt.ops.logic import where
from graphopt.ops.shape import shape
from graphopt.ops.slicing import concat, slice_, split
from graphopt.passes.movement.chains import chain_of, over
from graphopt.passes.movement.positions import Part, Span, edges_of, part_of, sliced
from graphopt.rewriting import (
    Attr,
    Const,
    Declined,
    Equations,
    Function,
    Many,
    Rule,
    Soundness,
    rules,
)
from graphopt.rewriting.examples import example, ints
from graphopt.structural import constant, results
from graphopt.tensor import Tensor

Uses = Callable[[Node], int]
SMALL = 1024
"""Constants of at most these bytes are joined although others use them, too."""


def axis_of(root: Node) -> int | None:
    """The axis of a concatenation, counted from the front."""
    axis: int = root.attrs["axis"]
    return axis if axis >= 0 else None if root.rank is None else axis % root.rank


def joined(root: Node, operands: Sequence[Node]) -> Node:
    """A concatenation of other operands; the operand itself where it is one."""
    made: Node = operands[0] if len(operands) == 1 else concat(*operands, **root.attrs)
    return made


def with_parts_joined(root: Node, uses: Uses) -> Node | Declined | None:
    """A concatenation in which neighbours that are neighbours in one value are one operand."""
    axis = axis_of(root)
    if axis is None:
        return None
    made: list[Node] = []
    run: list[tuple[Node, Part]] = []
    for value in root.inputs:
        part = part_of(value, axis)
        if run and part and part.whole is run[-1][1].whole and part.begin == run[-1][1].end:
            run.append((value, part))
            continue
        made += _one(run, axis, uses)
        run = [] if part is None else [(value, part)]
        made += [value] if part is None else []
    made += _one(run, axis, uses)
    return joined(root, made) if len(made) < len(root.inputs) else None


def _one(run: Sequence[tuple[Node, Part]], axis: int, uses: Uses) -> list[Node]:
    """Neighbours as one value, as they are where that saves nothing."""
    values = [value for value, _ in run]
    if len(run) < 2:
        return values
    whole, begin, end = run[0][1].whole, run[0][1].begin, run[-1][1].end
    if whole.shape is not None and (begin, end) == (0, whole.shape[axis]):
        return [whole]
    if not isinstance(begin, int) or not isinstance(end, int):
        return values
    if whole.op is shape:
        made: Node = shape(whole.inputs[0], start=begin, end=end)
        return [made]
    if any(value.op is not slice_ or uses(value) > 1 for value in values):
        return values  # the Split stays, or the slices do
    one = sliced(whole, {axis: Span(begin, end)})
    return values if one is None else [one]


def with_constants_joined(root: Node, uses: Uses) -> Node | Declined | None:
    """A concatenation in which neighbouring constants are one."""
    axis = axis_of(root)
    if axis is None:
        return None
    made: list[Node] = []
    for value in root.inputs:
        both = _joined_constant(made[-1], value, axis, uses) if made else None
        if both is None:
            made.append(value)
        else:
            made[-1] = both
    if len(made) == len(root.inputs):
        return Declined("the constants would take more room")
    return joined(root, made)


def _joined_constant(a: Node, b: Node, axis: int, uses: Uses) -> Node | None:
    first, second = a.constant, b.constant
    if first is None or second is None or len(first.shape) != len(second.shape):
        return None
    room = first.nbytes + second.nbytes
    if (first.is_splat or second.is_splat) and room > SMALL:
        return None
    if room > SMALL and uses(a) + uses(b) > 2:
        return None
    if room > 1 << 24 or not first.dtype.bits:
        return None
    array = np.concatenate([first.array, second.array], axis)
    return constant(Tensor.of(array, first.dtype).compact())


def without_empty(root: Node) -> Node | None:
    """A concatenation without operands of no elements along its axis; one of them stays."""
    axis = axis_of(root)
    if axis is None:
        return None
    kept = [value for value in root.inputs if value.shape is None or value.shape[axis] != 0]
    if len(kept) == len(root.inputs):
        return None
    return joined(root, kept or root.inputs[:1])


def chosen(root: Node, c: Node, a: Node, joint: Node, *, swapped: bool) -> Node | Declined | None:
    """where(mask, constant, concat) as a concatenation of pieces of both."""
    mask, other = c.constant, a.constant
    edges = edges_of(joint.inputs, 0) if joint.rank == 1 else None
    numbers = [edge for edge in edges or () if isinstance(edge, int)]
    if mask is None or other is None or edges is None or len(numbers) < len(edges):
        return Declined("the sizes of the pieces are not known")
    if root.shape != (numbers[-1],):
        return Declined("the concatenation is broadcast")
    flags = np.broadcast_to(mask.array, numbers[-1])
    filling = np.broadcast_to(other.array, numbers[-1])
    made: list[Node] = []
    for value, begin, end in zip(joint.inputs, numbers, numbers[1:], strict=False):
        picked = flags[begin:end] if not swapped else ~flags[begin:end]
        if not picked.any():
            made.append(value)
        elif picked.all():
            made.append(constant(Tensor.of(filling[begin:end].copy(), other.dtype)))
        else:
            return Declined("of one piece some elements are replaced")
    return joined(joint, made)


def chooser(swapped: bool) -> Function[Node | Declined | None]:
    """The right side of the rules on where, the concatenation being its second or third operand."""

    def right(root: Node, c: Node, a: Node) -> Node | Declined | None:
        return chosen(root, c, a, root.inputs[1 if swapped else 2], swapped=swapped)

    return right


def hoisted(root: Node, xs: Sequence[Node], uses: Uses) -> Node | Declined | None:
    """concat(f(x), f(y)) as f(concat(x, y)), for chains of element-wise nodes of one variable."""
    chains = [chain_of(value, uses) for value in dict.fromkeys(xs)]
    if len(chains) < 2 or any(found is None for found in chains):
        return Declined("its operands are not several chains of nodes of one variable")
    at = list(xs)
    steps: list[Node] = []
    for nodes in zip(*(found[0] for found in chains if found is not None), strict=False):
        if not all(alike(node, nodes[0]) for node in nodes[1:]):
            break
        first = nodes[0]
        position = next(k for k, item in enumerate(first.inputs) if item.constant is None)
        if first.inputs[position].dtype.bits > first.dtype.bits:
            break  # wider elements would be moved
        steps.append(first)
        at = [dict(zip(nodes, (n.inputs[position] for n in nodes), strict=True))[n] for n in at]
    if not steps:
        return Declined("what is done to its operands differs")
    if any(value.rank != root.rank for value in at):
        return Declined("an operand is broadcast")
    made: Node = concat(*at, **root.attrs)
    for node in reversed(steps):
        made = over(node, made)
    return made


def alike(a: Node, b: Node) -> bool:
    """Whether two nodes of one variable do the same to it."""
    if a.op is not b.op or dict(a.attrs) != dict(b.attrs) or len(a.inputs) != len(b.inputs):
        return False
    pairs = list(zip(a.inputs, b.inputs, strict=True))
    return sum(x is not y for x, y in pairs) == 1 and all(
        x is y or (x.constant is None and y.constant is None) for x, y in pairs
    )


def _where(swapped: bool, *mask: bool) -> Node:
    joint = concat(example("int64[1]"), example("int64[2]", "y"), axis=0)
    flags = constant([not flag for flag in mask] if swapped else list(mask))
    made: Node = (
        where(flags, joint, ints(7, 8, 9)) if swapped else where(flags, ints(7, 8, 9), joint)
    )
    return made


@rules(Soundness.EXACT)
def concats(xs: Many, c: Const, a: Const, k: Attr) -> Equations:
    """Parts of one value side by side are one part, constants one constant; f of each: f of all."""
    f = "float32[2, N]"
    yield Rule(
        "empty",
        concat(xs, axis=k),
        without_empty,
        fires=lambda: concat(example("float32[0, 3]"), example("float32[4, 3]", "y"), axis=0),
        misses=lambda: concat(example("float32[0, 3]"), example("float32[0, 3]", "y"), axis=1),
    )
    yield Rule(
        "parts",
        concat(xs, axis=k),
        lambda root, uses: with_parts_joined(root, uses),
        fires=lambda: concat(*_thirds(), example("float32[1, 2]", "y"), axis=0),
        misses=lambda: concat(*reversed(_thirds()), axis=0),
    )
    yield Rule(
        "constants",
        concat(xs, axis=k),
        lambda root, uses: with_constants_joined(root, uses),
        fires=lambda: concat(ints(1), ints(2, 3), example("int64[N]"), axis=0),
        misses=lambda: concat(ints(1), example("int64[N]"), ints(2, 3), axis=0),
    )
    yield Rule(
        "unary",
        concat(xs, axis=k),
        hoisted,
        fires=lambda: concat(exp(example(f)), exp(example(f, "y")), axis=1),
        misses=lambda: concat(exp(example(f)), exp(exp(example(f, "y"))), example(f, "z"), axis=1),
    )
    for swapped in (False, True):
        sides = (concat(xs, axis=k), a) if swapped else (a, concat(xs, axis=k))
        yield Rule(
            "where_else" if not swapped else "where_then",
            where(c, *sides),
            chooser(swapped),
            fires=partial(_where, swapped, True, False, False),
            misses=partial(_where, swapped, False, True, False),
        )


def _thirds() -> list[Node]:
    return list(results(split(example("float32[6, 2]"), ints(1, 2, 3), outputs=3)))


CONCATS = concats
