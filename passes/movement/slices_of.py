"""Rules of slices of concatenations, pads and broadcasts: taken of what they reach only."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from graphopt import dims
from graphopt.ir import Node
from graphopt.ops.padding import pad
from graphopt.ops.shape import expand
from graphopt.ops.slicing import concat, slice_, split
from graphopt.passes.movement.pads import operands, padded, widths_of
from graphopt.passes.movement.positions import (
    Span,
    Spans,
    bounds,
    cuts,
    edges_of,
    sliced,
    spans_of,
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
from graphopt.rewriting.examples import example, filled, ints
from graphopt.structural import out, out_op

Uses = Callable[[Node], int]
UNKNOWN = Declined("what is taken is not known")


def of_concat(xs: Sequence[Node], inner: Node, root: Node, uses: Uses) -> Node | Declined | None:
    """A slice of a concatenation, of those operands only that it reaches."""
    spans, rank, sizes = spans_of(root), inner.rank, inner.shape
    if spans is None or rank is None or sizes is None:
        return UNKNOWN
    axis: int = inner.attrs["axis"] % rank
    edges = edges_of(xs, axis)
    found = bounds(spans[axis], sizes[axis]) if axis in spans else None
    place = None if found is None or edges is None else within(edges, *found)
    if found is None or edges is None or place is None:
        return Declined("it does not lie between operands, or in one")
    first, last = place
    rest = {k: span for k, span in spans.items() if k != axis}
    if last - first > 1:
        if last - first == len(xs) or uses(inner) > 1:
            return Declined("all operands are taken, or others take them")
        return sliced(concat(*xs[first:last], axis=axis), rest)
    span = Span(found[0] - edges[first], found[1] - edges[first])
    piece = xs[first]
    whole = found == (edges[first], edges[last])
    return sliced(piece, rest if whole else {**rest, axis: span})


def of_pad(x: Node, inner: Node, root: Node) -> Node | Declined | None:
    """A slice of a pad: of the data where it takes no more of it, or a narrower pad."""
    spans, widths, sizes = spans_of(root), widths_of(inner), inner.shape
    if spans is None or widths is None or sizes is None or x.shape is None:
        return UNKNOWN
    if any(number < 0 for pair in widths.values() for number in pair):
        return Declined("elements are removed")
    taken: dict[int, Span] = {}
    left = dict(widths)
    for axis, span in spans.items():
        before, behind = widths.get(axis, (0, 0))
        size = x.shape[axis]
        found = bounds(span, sizes[axis])
        if before == behind == 0:
            taken[axis] = span
        elif found is None:
            return UNKNOWN
        elif dims.at_most(before, found[0]) and dims.at_most(found[1], before + size):
            taken[axis] = Span(found[0] - before, found[1] - before)
            del left[axis]
        elif found[0] == 0 and isinstance(number := found[1] - (before + size), int):
            left[axis] = (before, number)
        elif found[1] == before + size + behind and isinstance(found[0], int):
            left[axis] = (before - found[0], behind)
        else:
            return Declined(f"the slice cuts both the data and the pad along axis {axis}")
    return _cut(x, inner, taken, left)


def _cut(
    x: Node, inner: Node, taken: Spans, left: dict[int, tuple[int, int]]
) -> Node | Declined | None:
    if any(number < 0 for pair in left.values() for number in pair):
        return Declined("the slice cuts both the data and the pad")
    if left and taken:
        return Declined("both a slice and a pad remain")
    if not left:
        return sliced(x, taken)
    mode = inner.attrs.get("mode", "constant")
    if mode not in ("constant", "edge"):
        return Declined("what is filled in depends on how much")
    value = operands(inner, 3)[2]
    return padded(x, left, None if value.is_absent else value, mode=mode)


def of_expand(x: Node, inner: Node, root: Node) -> Node | Declined | None:
    """A slice of axes along which something is expanded: expanded less."""
    spans, sizes = spans_of(root), root.shape
    if spans is None or x.shape is None or inner.rank is None or sizes is None:
        return UNKNOWN
    lead = inner.rank - len(x.shape)
    if any(axis >= lead and x.shape[axis - lead] != 1 for axis in spans):
        return Declined("the slice takes parts of the data")
    numbers = [size for size in sizes if isinstance(size, int)]
    if len(numbers) < len(sizes):
        return UNKNOWN
    made: Node = expand(x, vector(numbers))
    return made


def _joined() -> Node:
    made: Node = concat(example("float32[N, 3]", "a"), example("float32[N, 4]", "b"), axis=1)
    return made


def _bordered() -> Node:
    made: Node = pad(example("float32[5, N]"), ints(2, 0, 3, 0), filled(7.0))
    return made


@rules(Soundness.EXACT)
def slices_of(x: Value, y: Value, s: Value, e: Value, t: Maybe, v: Maybe, t2: Maybe, v2: Maybe,
              inner: Value, xs: Many, k: Attr, a: Attr) -> Equations:  # fmt: skip
    """A slice of a concatenation, pad or broadcast is one of what it reaches, or nothing."""
    yield Rule(
        "concat",
        slice_(inner.of(concat(xs, axis=k)), s, e, t, v),
        of_concat,
        fires=lambda: slice_(_joined(), ints(3), ints(5), ints(1)),
        misses=lambda: slice_(_joined(), ints(1), ints(5), ints(1)),
    )
    yield Rule(
        "pad",
        slice_(inner.of(pad(x, y, t2, v2, attrs=a)), s, e, t, v),
        of_pad,
        fires=lambda: slice_(_bordered(), ints(2), ints(4), ints(0)),
        misses=lambda: slice_(_bordered(), ints(1), ints(4), ints(0)),
    )
    yield Rule(
        "expand",
        slice_(inner.of(expand(x, y)), s, e, t, v),
        of_expand,
        fires=lambda: slice_(
            expand(example("float32[4, 1]"), ints(4, 9)), ints(2), ints(5), ints(1)
        ),
        misses=lambda: slice_(
            expand(example("float32[4, 1]"), ints(4, 9)), ints(1), ints(4), ints(0)
        ),
    )


def port_of_concat(xs: Sequence[Node], inner: Node, root: Node) -> Node | Declined | None:
    """An output of a Split of a concatenation: the operand that it is, or a part of it."""
    node = root.inputs[0]
    index: int = root.attrs["index"]
    found, rank = cuts(node), inner.rank
    if found is None or rank is None or inner.attrs["axis"] % rank != found[0]:
        return UNKNOWN
    axis, at = found
    edges = edges_of(xs, axis)
    place = None if edges is None else within(edges, at[index], at[index + 1])
    if edges is None or place is None or place[1] - place[0] > 1:
        return Declined("it is no part of one operand")
    begin, end = at[index] - edges[place[0]], at[index + 1] - edges[place[0]]
    if (begin, end) == (0, edges[place[1]] - edges[place[0]]):
        return xs[place[0]]
    return sliced(xs[place[0]], {axis: Span(begin, end)})


@rules(Soundness.EXACT)
def ports(xs: Many, inner: Value, s: Maybe, k: Attr, a: Attr, i: Attr) -> Equations:
    """An output of a split of a concatenation is one of its operands, or a part of one."""
    yield Rule(
        "concat",
        out_op(split(inner.of(concat(xs, axis=k)), s, attrs=a), index=i),
        port_of_concat,
        fires=lambda: out(split(_joined(), ints(3, 4), axis=1, outputs=2), 1),
        misses=lambda: out(split(_joined(), ints(2, 5), axis=1, outputs=2), 1),
    )


SLICES_OF = slices_of + ports
