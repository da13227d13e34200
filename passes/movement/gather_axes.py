"""Rules of the axis that a Gather takes away or keeps, as what follows wants it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from graphopt.ir import Node
from graphopt.ops.indexing import gather
from graphopt.ops.shape import squeeze, unsqueeze
from graphopt.ops.slicing import slice_
from graphopt.passes.movement.positions import (
    END,
    numbers_of,
    spans_of,
    taken,
    vector,
)
from graphopt.rewriting import (
    Attr,
    Declined,
    Equations,
    Maybe,
    Rule,
    Soundness,
    Value,
    guards,
    rules,
)
from graphopt.rewriting.examples import example, ints
from graphopt.structural import constant

Attributes = Mapping[str, Any]


def axis_of(x: Node, a: Attributes) -> int | None:
    """The axis of a Gather, counted from the front."""
    axis: int = a.get("axis", 0)
    return axis if axis >= 0 else None if x.rank is None else axis % x.rank


def size_of(x: Node, axis: int) -> Any:
    """The size of an axis, None where nothing is known of it."""
    return x.shape[axis] if x.shape is not None else None


def at(number: int) -> Node:
    """A position, a scalar of int64."""
    return constant(np.array(number, np.int64))


def with_axis(x: Node, i: Node, j: Node, a: Attributes) -> Node | None:
    """Unsqueeze(Gather(x, position)) as the Gather of a vector of one position."""
    axis, number = axis_of(x, a), numbers_of(i)
    if axis is None or number is None or i.rank != 0 or x.rank is None:
        return None
    if j.ints is None or [item % x.rank for item in j.ints] != [axis]:
        return None
    made: Node = gather(x, vector(number), axis=axis)
    return made


def without_axis(x: Node, inner: Node, j: Node) -> Node | Declined | None:
    """Squeeze of a slice of one position as the Gather of that position."""
    spans, rank = spans_of(inner), x.rank
    if spans is None or rank is None or j.ints is None or len(j.ints) != 1:
        return None
    axis = j.ints[0] % rank
    if set(spans) != {axis}:
        return Declined("the slice is along other axes")
    span, size = spans[axis], size_of(x, axis)
    found = span.ints
    if found is None:
        return None
    if isinstance(size, int):
        whole = taken(size, span)
        number = whole[0] if whole else None
    else:
        start, end, step = found
        one = step == 1 and (end == start + 1 if start != -1 else end == END)
        number = start if one else None
    if number is None:
        return Declined("which position is taken depends on the size of the axis")
    made: Node = gather(x, at(number), axis=axis)
    return made


@rules(Soundness.EXACT)
def gather_axes(x: Value, i: Value, j: Value, s: Value, e: Value, t: Maybe, v: Maybe, a: Attr,
                inner: Value) -> Equations:  # fmt: skip
    """The axis that a position takes away is brought back by a vector of one position."""
    wide, last = "float32[2, 5]", {"axis": 1}
    yield Rule(
        "unsqueeze",
        unsqueeze(inner.of(gather(x, i, attrs=a)), j),
        with_axis,
        worth=guards.used_once("inner"),
        fires=lambda: unsqueeze(gather(example(wide), at(-2), **last), ints(1)),
        misses=lambda: unsqueeze(gather(example(wide), at(-2), **last), ints(0)),
    )
    yield Rule(
        "squeeze",
        squeeze(inner.of(slice_(x, s, e, t, v)), j),
        without_axis,
        fires=lambda: squeeze(
            slice_(example("float32[?, 2]"), ints(-1), ints(END), ints(0)), ints(0)
        ),
        misses=lambda: squeeze(
            slice_(example("float32[?, 2]"), ints(1), ints(-1), ints(0)), ints(0)
        ),
    )


GATHER_AXES = gather_axes
