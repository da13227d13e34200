"""Rules of gathers by constant positions: slices, parts of stacks, nothing at all."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphopt.ir import Node
from graphopt.ops.indexing import gather
from graphopt.ops.shape import shape, squeeze, unsqueeze
from graphopt.ops.slicing import concat, slice_
from graphopt.passes.movement.gather_axes import GATHER_AXES, Attributes, at, axis_of, size_of
from graphopt.passes.movement.positions import (
    END,
    Span,
    as_span,
    edges_of,
    numbers_of,
    sliced,
    spans_of,
    taken,
    vector,
    within,
)
from graphopt.rewriting import (
    Attr,
    Declined,
    Equations,
    Many,
    Maybe,
    Rule,
    Soundness,
    Value,
    rules,
)
from graphopt.rewriting.examples import example, ints
from graphopt.structural import constant


def positions(i: Node, size: Any) -> tuple[int, ...] | None:
    """Constant positions, counted from the front where the size of the axis is known."""
    numbers = numbers_of(i)
    if numbers is None or not isinstance(size, int):
        return numbers
    return tuple(number + size if number < 0 else number for number in numbers)


def as_slice(x: Node, i: Node, a: Attributes) -> Node | Declined | None:
    """A Gather of positions in a row as a Slice, or as x where they are all."""
    axis = axis_of(x, a)
    if axis is None or i.rank != 1:
        return None
    size = size_of(x, axis)
    numbers = positions(i, size)
    if numbers is None or len(numbers) == 0:
        return None
    step = numbers[1] - numbers[0] if len(numbers) > 1 else 1
    row = range(numbers[0], numbers[0] + step * len(numbers), step or 1)
    if tuple(row) != numbers or row.start < 0 < row.stop:
        return Declined("the positions are no row")
    if isinstance(size, int):
        if not all(0 <= number < size for number in numbers):
            return Declined("a position lies outside")
        return sliced(x, {axis: as_span(row)})
    if step < 0 or step > 1:
        return Declined("the size of the axis is not known")
    return sliced(x, {axis: Span(row.start, END if row.stop == 0 else row.stop)})


def only(x: Node, i: Node, a: Attributes) -> Node | None:
    """The one position of an axis of size 1, taken: the axis goes."""
    axis = axis_of(x, a)
    if axis is None or i.rank != 0 or size_of(x, axis) != 1 or numbers_of(i) not in ((0,), (-1,)):
        return None
    made: Node = squeeze(x, vector([axis]))
    return made


def of_slice(x: Node, inner: Node, i: Node, a: Attributes) -> Node | Declined | None:
    """Positions of a slice as positions of what is sliced."""
    spans, axis = spans_of(inner), axis_of(x, a)
    if spans is None or axis is None or set(spans) != {axis}:
        return Declined("the slice is along other axes")
    numbers, size = numbers_of(i), size_of(x, axis)
    if numbers is None:
        return None
    moved = _behind(numbers, spans[axis], size)
    if moved is None:
        return Declined("where the slice begins depends on the size of the axis")
    made: Node = gather(x, constant(np.array(moved, np.int64).reshape(_shape(i))), axis=axis)
    return made


def _behind(numbers: tuple[int, ...], span: Span, size: Any) -> list[int] | None:
    if isinstance(size, int):
        whole = taken(size, span)
        if whole is None or not all(-len(whole) <= n < len(whole) for n in numbers):
            return None
        return [whole[number] for number in numbers]
    found = span.ints
    if found is None or span.step != 1:
        return None
    start, end, _ = found
    if start >= 0 and all(number >= 0 for number in numbers):
        return [start + number for number in numbers]
    if end == END and all(number < 0 for number in numbers):
        return list(numbers)
    return None


def _shape(i: Node) -> tuple[int, ...]:
    """The shape of a value whose elements are known: so are its sizes."""
    sizes = tuple(size for size in i.shape or () if isinstance(size, int))
    assert len(sizes) == i.rank
    return sizes


def of_gather(x: Node, inner: Node, i: Node, j: Node, a: Attributes, b: Attributes) -> Node | None:
    """Positions among gathered positions along the same axis as positions of x."""
    axis = axis_of(x, a)
    if axis is None or axis != axis_of(inner, b) or i.rank != 1:
        return None
    first, then = numbers_of(i), numbers_of(j)
    if first is None or then is None or not all(-len(first) <= n < len(first) for n in then):
        return None
    chosen = np.array([first[number] for number in then], np.int64).reshape(_shape(j))
    made: Node = gather(x, constant(chosen), axis=axis)
    return made


def of_concat(inner: Node, i: Node, a: Attributes) -> Node | Declined | None:
    """Positions of a concatenation as positions of the operand in which they lie."""
    axis = axis_of(inner, a)
    rank = inner.rank
    if axis is None or rank is None or inner.attrs["axis"] % rank != axis:
        return Declined("it is along another axis")
    edges = edges_of(inner.inputs, axis)
    numbers = positions(i, edges[-1] if edges else None)
    if edges is None or not numbers:
        return None
    if min(numbers) < 0 <= max(numbers):
        return Declined("some positions are from the end")
    shift = edges[-1] if numbers[0] < 0 else 0
    place = within(edges, shift + min(numbers), shift + max(numbers) + 1)
    if place is None or place[1] - place[0] > 1:
        return Declined("they do not lie in one operand")
    first = edges[place[0]] - shift if numbers[0] >= 0 else edges[place[1]] - shift
    if not isinstance(first, int):
        return Declined("where the operand begins depends on sizes")
    moved = np.array([number - first for number in numbers], np.int64).reshape(_shape(i))
    made: Node = gather(inner.inputs[place[0]], constant(moved), axis=axis)
    return made


def of_shape(inner: Node, i: Node) -> Node | None:
    """Neighbouring sizes of a shape, by position."""
    numbers, rank = numbers_of(i), inner.inputs[0].rank
    if numbers is None or rank is None or i.rank != 1 or not numbers:
        return None
    arguments = inner.op.arguments(inner.attrs)
    axes = range(rank)[arguments["start"] : arguments["end"]]
    if not all(-len(axes) <= number < len(axes) for number in numbers):
        return None
    chosen = [axes[number] for number in numbers]
    if chosen != list(range(chosen[0], chosen[0] + len(chosen))):
        return None
    made: Node = shape(inner.inputs[0], start=chosen[0], end=chosen[-1] + 1)
    return made


@rules(Soundness.EXACT)
def gathers(x: Value, i: Value, j: Value, s: Value, e: Value, t: Maybe, v: Maybe, a: Attr, b: Attr,
            inner: Value, xs: Many) -> Equations:  # fmt: skip
    """Positions in a row are a slice; positions of a stack, slice or gather are of its operands."""
    f, wide = "float32[N, 3]", "float32[2, 5]"
    last = {"axis": 1}
    yield Rule(
        "shape",
        gather(inner.of(shape(x, attrs=a)), i),
        of_shape,
        fires=lambda: gather(shape(example("float32[N, M, 4]"), start=1), ints(-2, 1)),
        misses=lambda: gather(shape(example("float32[N, M, 4]")), ints(1, 0)),
    )
    yield Rule(
        "only",
        gather(x, i, attrs=a),
        only,
        fires=lambda: gather(example("float32[N, 1]"), at(0), **last),
        misses=lambda: gather(example(f), at(0), **last),
    )
    yield Rule(
        "concat",
        gather(inner.of(concat(xs, attrs=b)), i, attrs=a),
        of_concat,
        fires=lambda: gather(_stack(), at(1), **last),
        misses=lambda: gather(_stack(), at(1)),
    )
    yield Rule(
        "slice",
        gather(inner.of(slice_(x, s, e, t, v)), i, attrs=a),
        of_slice,
        fires=lambda: gather(
            slice_(example(wide), ints(4), ints(0), ints(1), ints(-2)), at(1), **last
        ),
        misses=lambda: gather(slice_(example(f), ints(-2), ints(END), ints(0)), at(0)),
    )
    yield Rule(
        "gather",
        gather(inner.of(gather(x, i, attrs=a)), j, attrs=b),
        of_gather,
        fires=lambda: gather(gather(example(wide), ints(3, 0, -1), **last), ints(-1, 1), **last),
        misses=lambda: gather(gather(example(wide), ints(1, 0, -1), **last), ints(1, 0)),
    )
    yield Rule(
        "row",
        gather(x, i, attrs=a),
        as_slice,
        fires=lambda: gather(example(wide), ints(3, 1), **last),
        misses=lambda: gather(example(wide), ints(3, 1, 2), **last),
    )


def _stack() -> Node:
    parts = (unsqueeze(example("float32[N]", name), ints(1)) for name in "xyz")
    made: Node = concat(*parts, axis=1)
    return made


GATHERS = gathers + GATHER_AXES
