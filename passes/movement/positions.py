"""What rules of data movement share: constant vectors, and which part of an axis is taken."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from graphopt import dims
from graphopt.dims import Size
from graphopt.ir import Node, types_of
from graphopt.ops.common import shape_known
from graphopt.ops.shape import shape
from graphopt.ops.sizes import FAR, effective
from graphopt.ops.slicing import slice_, split
from graphopt.structural import constant, out_op

END = 2**63 - 1
"""As the end of a slice: that of the axis, however long it is. -END is before its begin."""


def vector(numbers: Iterable[int]) -> Node:
    """A 1-d int64 constant."""
    return constant(np.array(list(numbers), np.int64))


def numbers_of(value: Node) -> tuple[int, ...] | None:
    """The elements of a constant of integers with 4096 of them at the most, in C order."""
    tensor = value.constant
    if tensor is None or tensor.dtype.kind not in "iu" or tensor.size > 4096:
        return value.ints if tensor is None else None
    return tuple(tensor.array.reshape(-1).tolist())


@dataclass(frozen=True)
class Span:
    """What a slice takes of one axis, as ONNX's Slice says it: a position below 0 is from the end.

    A position may be a size that only running tells; None where even that is not known.
    """

    start: Size | None = 0
    end: Size | None = END
    step: int = 1

    @property
    def ints(self) -> tuple[int, int, int] | None:
        """The three numbers, None where one is not known."""
        if isinstance(self.start, int) and isinstance(self.end, int):
            return self.start, self.end, self.step
        return None

    def is_whole(self, size: Size | None) -> bool:
        """Whether all of an axis of this size is taken, in its order."""
        if isinstance(size, int) and (found := self.ints):
            return range(size)[effective(size, *found)] == range(size)
        if self.step != 1 or self.start is None or self.end is None:
            return False
        first = isinstance(self.start, int) and (self.start == 0 or self.start <= -FAR)
        if isinstance(self.end, int) and self.end >= FAR:
            return first
        return first and size is not None and _reaches(self.end, size)


def _reaches(end: Size, size: Size) -> bool:
    return dims.at_most(size, end) and (dims.lower(end) or 0) >= 0


Spans = Mapping[int, Span]
"""What a slice takes, by axis, those that it leaves alone left out."""


def spans_of(node: Node) -> Spans | None:
    """What a Slice takes of each axis; None where the axes or steps are not known."""
    data, starts, ends, axes, steps = (*node.inputs, *(None,) * 3)[:5]
    assert data is not None and starts is not None and ends is not None
    first, last = shape_known(starts), shape_known(ends)
    if first is None or last is None:
        return None
    where: Sequence[int] | None = range(len(first)) if axes is None or axes.is_absent else axes.ints
    strides = (1,) * len(first) if steps is None or steps.is_absent else steps.ints
    if where is None or strides is None:
        return None
    if any(axis < 0 for axis in where):
        if data.rank is None:
            return None
        where = [axis % data.rank for axis in where]
    rows = zip(where, first, last, strides, strict=True)
    return {axis: Span(start, end, step) for axis, start, end, step in rows}


def sliced(x: Node, spans: Spans) -> Node | None:
    """The Slice that takes these spans, in its normal form, or x where it takes all of it.

    None where a span's numbers are not known.
    """
    starts: list[int] = []
    ends: list[int] = []
    steps: list[int] = []
    axes: list[int] = []
    for axis, span in sorted(spans.items()):
        size = x.shape[axis] if x.shape is not None and axis < len(x.shape) else None
        if span.is_whole(size):
            continue
        found = span.ints
        if found is None:
            return None
        axes.append(axis)
        for numbers, number in zip((starts, ends, steps), found, strict=True):
            numbers.append(number)
    if not axes:
        return x
    plain = all(step == 1 for step in steps)
    made: Node = slice_(
        x, vector(starts), vector(ends), vector(axes), None if plain else vector(steps)
    )
    return made


def taken(size: int, span: Span) -> range | None:
    """The positions that a span takes of an axis of known size; None for unknown bounds."""
    found = span.ints
    return None if found is None else range(size)[effective(size, *found)]


def as_span(positions: range) -> Span:
    """The span that takes these positions of an axis."""
    if not positions:
        return Span(0, 0)
    end = positions.stop if positions.stop >= 0 else -END
    return Span(positions.start, end, positions.step)


def after(inner: Span, outer: Span, size: Size | None) -> Span | None:
    """The span that takes `outer` of what `inner` takes of an axis; None where none is proven.

    >>> after(Span(2), Span(1, -1), None)
    Span(start=3, end=-1, step=1)
    """
    if isinstance(size, int):
        first = taken(size, inner)
        found = outer.ints
        if first is None or found is None:
            return None
        return as_span(first[effective(len(first), *found)])
    a, b = inner.ints, outer.ints
    if a is None or b is None:
        return None
    if _is_reversal(*a) and _is_reversal(*b):
        return Span()
    if inner.step != 1 or outer.step != 1:
        return None
    return _after(*a[:2], *b[:2])


def _is_reversal(start: int, end: int, step: int) -> bool:
    return step == -1 and (start == -1 or start >= FAR) and end <= -FAR


def _after(start: int, end: int, start2: int, end2: int) -> Span | None:
    """As `after`, in an axis of any size."""
    if start < 0:  # the last ones: of them the last ones again, or all but the last
        if end < FAR:
            return None
        if start2 < 0 and end2 >= FAR:
            return Span(max(start, start2))
        return Span(start, end2) if start2 == 0 and end2 < 0 else None
    if start2 < 0:
        return None
    begin = start + start2
    if end2 >= FAR:
        return Span(begin, end)
    if end >= FAR:
        return Span(begin, start + end2 if end2 >= 0 else end2)
    if end >= 0:
        return Span(begin, min(end, start + end2)) if end2 >= 0 else None
    return Span(begin, end + end2) if end2 < 0 else None


@dataclass(frozen=True)
class Part:
    """The elements from `begin` up to `end` of `whole` along some axis."""

    whole: Node
    begin: Size
    end: Size


def bounds(span: Span, size: Size) -> tuple[Size, Size] | None:
    """Where a span of step 1 begins and ends, from 0 to `size`; None where that is not proven."""
    if span.step != 1 or span.start is None or span.end is None:
        return None
    begin, end = (_from_front(at, size) for at in (span.start, span.end))
    if begin is None or end is None or not dims.at_most(begin, end):
        return None
    return begin, end


def _from_front(at: Size, size: Size) -> Size | None:
    if isinstance(at, int) and isinstance(size, int):
        return min(max(at + size if at < 0 else at, 0), size)
    if isinstance(at, int) and at >= FAR:
        return size
    found = size + at if isinstance(at, int) and at < 0 else at
    return found if dims.at_most(0, found) and dims.at_most(found, size) else None


def part_of(value: Node, axis: int) -> Part | None:
    """Of what a value is a part along an axis: it is an output of a Split, a slice, a shape."""
    if value.op is out_op and value.inputs[0].op is split:
        return _port(value.inputs[0], value.attrs["index"], axis)
    if value.op is shape and axis == 0:
        rank = value.inputs[0].rank
        if rank is None:
            return None
        arguments = value.op.arguments(value.attrs)
        axes = range(rank)[arguments["start"] : arguments["end"]]
        return Part(shape(value.inputs[0]), axes.start, axes.stop) if axes else None
    if value.op is not slice_:
        return None
    spans, data = spans_of(value), value.inputs[0]
    if spans is None or set(spans) != {axis} or data.shape is None:
        return None
    found = bounds(spans[axis], data.shape[axis])
    return None if found is None else Part(data, *found)


def _port(node: Node, index: int, axis: int) -> Part | None:
    found = cuts(node)
    if found is None or found[0] != axis:
        return None
    return Part(node.inputs[0], found[1][index], found[1][index + 1])


def cuts(node: Node) -> tuple[int, list[Size]] | None:
    """The axis of a Split, and where its parts begin and the last one ends; None if not known."""
    data = node.inputs[0]
    if data.rank is None or data.shape is None:
        return None
    axis = node.op.arguments(node.attrs)["axis"] % data.rank
    edges: list[Size] = [0]
    for kind in types_of(node):
        sizes: Any = getattr(kind, "shape", None)
        if sizes is None or sizes[axis] is None:
            return None
        edges.append(edges[-1] + sizes[axis])
    return axis, edges


def edges_of(values: Sequence[Node], axis: int) -> list[Size] | None:
    """Where each of the operands of a concatenation begins and the last one ends."""
    edges: list[Size] = [0]
    for value in values:
        if value.shape is None:
            return None
        edges.append(edges[-1] + value.shape[axis])
    return edges


def within(edges: Sequence[Size], begin: Size, end: Size) -> tuple[int, int] | None:
    """The first piece, and that behind the last one, between whose edges a part lies.

    The piece itself where it lies in one; several only where it begins and ends at edges.

    >>> within([0, 4, 6, 9], 4, 9), within([0, 4, 6, 9], 1, 3), within([0, 4, 6], 1, 5)
    ((1, 3), (0, 1), None)
    """
    for k in range(len(edges) - 1):
        if dims.at_most(edges[k], begin) and dims.at_most(end, edges[k + 1]):
            return k, k + 1
    if begin in edges and end in edges:
        first = max(k for k, edge in enumerate(edges) if edge == begin)
        last = min(k for k, edge in enumerate(edges) if edge == end)
        return (first, last) if first < last else None
    return None
