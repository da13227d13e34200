"""Rules of positions that count up: elements taken where they are already.

Exporters take `x[batch, position]` for all batches and all positions, which is x: the indices of a
GatherND are then numbers that count up along an axis each.
"""

from __future__ import annotations

from collections.abc import Sequence

from graphopt.ir import Node
from graphopt.ops.generate import range_
from graphopt.ops.indexing import gather_nd
from graphopt.ops.shape import expand, shape, squeeze, unsqueeze
from graphopt.ops.slicing import concat
from graphopt.passes.movement.positions import numbers_of, vector
from graphopt.rewriting import (
    Attr,
    Declined,
    Equations,
    Many,
    Rule,
    Soundness,
    Value,
    rules,
)
from graphopt.rewriting.examples import example, ints
from graphopt.structural import constant

DEEPEST = 8


def counted_axis(value: Node) -> int | None:
    """The axis along which a value counts up from 0 by 1, being the same along all others."""
    steps: list[Node] = []
    while value.op in (unsqueeze, expand) and len(steps) < DEEPEST:
        steps.append(value)
        value = value.inputs[0]
    if value.op is range_:
        start, _, delta = (numbers_of(item) for item in value.inputs)
        if start != (0,) or delta != (1,):
            return None
    elif value.constant is None or value.rank != 1 or not _counts(value):
        return None
    axis = 0
    for step in reversed(steps):
        found = _behind(step, axis)
        if found is None:
            return None
        axis = found
    return axis


def _counts(value: Node) -> bool:
    numbers = numbers_of(value)
    return numbers is not None and numbers == tuple(range(len(numbers)))


def _behind(step: Node, axis: int) -> int | None:
    """Where an axis of the operand is after a step that neither repeats nor drops it."""
    inner, outer = step.inputs[0].shape, step.shape
    if inner is None or outer is None:
        return None
    if step.op is expand:
        place = axis + len(outer) - len(inner)
        return place if outer[place] == inner[axis] else None
    axes = numbers_of(step.inputs[1])
    if axes is None:
        return None
    added = {number % len(outer) for number in axes}
    return [k for k in range(len(outer)) if k not in added][axis]


def all_of(x: Node, xs: Sequence[Node], root: Node) -> Node | Declined | None:
    """x with axes put in, where every element is taken from where it stands."""
    sizes, target = x.shape, root.shape
    if sizes is None or target is None or len(xs) != len(sizes):
        return None
    places: list[int] = []
    for index in xs:
        axis = counted_axis(index)
        if axis is None or index.shape is None or index.shape[-1] != 1:
            return Declined("an index does not count up along an axis")
        places.append(axis)
    if places != sorted(set(places)) or (places and places[-1] >= len(target)):
        return Declined("the axes are not in order")
    if [target[place] for place in places] != list(sizes):
        return Declined("not all of an axis is taken")
    rest = [k for k in range(len(target)) if k not in places]
    if any(target[k] != 1 for k in rest):
        return Declined("elements are repeated")
    made: Node = unsqueeze(x, vector(rest)) if rest else x
    return made


def _taken(*order: int) -> Node:
    """x[i, j] for all i and j, `order` saying along which axis each counts up."""
    x = example("float32[N, M]")
    made: list[Node] = []
    for place, axis in enumerate(order):
        count = squeeze(shape(x, start=place, end=place + 1))
        index = unsqueeze(range_(constant(0), count, constant(1)), ints(1 - axis))
        wide = expand(index, shape(x))
        made.append(unsqueeze(wide, ints(-1)))
    node: Node = gather_nd(x, concat(*made, axis=-1))
    return node


@rules(Soundness.EXACT)
def counted(x: Value, xs: Many, k: Attr) -> Equations:
    """x[i, j] for all i and all j in order is x."""
    yield Rule(
        "gather_nd",
        gather_nd(x, concat(xs, axis=k)),
        lambda x, xs, k, root: all_of(x, xs, root) if k == -1 or xs[0].rank == k + 1 else None,
        fires=lambda: _taken(0, 1),
        misses=lambda: _taken(1, 0),
    )


IOTAS = counted
