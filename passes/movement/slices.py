"""Rules of slices: composed, put in their shortest form, taken from what they reach only."""

from __future__ import annotations

from collections.abc import Callable

from graphopt import dims
from graphopt.dims import Size
from graphopt.ir import Node
from graphopt.ops.functions import exp
from graphopt.ops.shape import shape
from graphopt.ops.slicing import concat, slice_
from graphopt.passes.movement.chains import chain_of, rebuilt
from graphopt.passes.movement.positions import (
    END,
    Span,
    after,
    part_of,
    sliced,
    spans_of,
)
from graphopt.passes.movement.slices_of import SLICES_OF, UNKNOWN
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

Uses = Callable[[Node], int]


def fixed(at: Size | None, size: Size | None) -> Size | None:
    """A position as a number: one that is a number below the size of its axis is so from the end.

    >>> n = dims.symbol("N")
    >>> print(fixed(n + 2, n + 3), fixed(n, n + 0), fixed(n - 1, n))
    -1 9223372036854775807 N - 1
    """
    if at is None or size is None or isinstance(at, int):
        return at
    below = at - size
    if below == 0:
        return END
    return below if isinstance(below, int) and below < 0 and dims.at_most(0, at) else at


def shortened(x: Node, root: Node) -> Node | Declined | None:
    """A slice without the axes of which it takes all, its bounds constant where they may be."""
    spans = spans_of(root)
    if spans is None:
        return UNKNOWN
    made: dict[int, Span] = {}
    for axis, span in spans.items():
        size = x.shape[axis] if x.shape is not None else None
        made[axis] = Span(fixed(span.start, size), fixed(span.end, size), span.step)
    return sliced(x, made)


def composed(x: Node, inner: Node, root: Node) -> Node | Declined | None:
    """A slice of a slice as one."""
    first, second = spans_of(inner), spans_of(root)
    if first is None or second is None or x.shape is None:
        return UNKNOWN
    merged: dict[int, Span] = {**first, **second}
    for axis in first:
        if axis in second:
            both = after(first[axis], second[axis], x.shape[axis])
            if both is None:
                return Declined(f"what is taken of axis {axis} depends on its size")
            merged[axis] = both
    return sliced(x, merged)


def of_chain(y: Node, root: Node, uses: Uses) -> Node | Declined | None:
    """f(slice(x)) for slice(f(x)), f computing element by element what nobody else takes."""
    found = chain_of(y, uses)
    if found is None:
        return None
    if root.derived_type == y.derived_type:
        return Declined("nothing is left out")
    chain, x = found
    return rebuilt(chain, root.with_inputs((x, *root.inputs[1:])))


def of_shape(root: Node) -> Node | Declined | None:
    """A slice of a shape: the shape's axes."""
    part = part_of(root, 0)
    inner = None if part is None else part_of(part.whole, 0)
    if part is None or inner is None:
        return UNKNOWN
    begin, end = inner.begin + part.begin, inner.begin + part.end
    made: Node = shape(inner.whole.inputs[0], start=begin, end=end)
    return made


@rules(Soundness.EXACT)
def slices(x: Value, y: Value, s: Value, e: Value, t: Maybe, v: Maybe, s2: Value, e2: Value,
           t2: Maybe, v2: Maybe, inner: Value, a: Attr) -> Equations:  # fmt: skip
    """A slice of a slice or shape is one; it takes no more than it must, and is taken early."""
    wide = "float32[N, 9]"
    yield Rule(
        "bounds",
        slice_(x, s, e, t, v),
        shortened,
        fires=lambda: slice_(example(wide), ints(0, 2), ints(END, 5)),
        misses=lambda: slice_(example(wide), ints(-3), ints(END), ints(0)),
    )
    yield Rule(
        "slice",
        slice_(inner.of(slice_(x, s, e, t, v)), s2, e2, t2, v2),
        composed,
        fires=lambda: slice_(
            slice_(example(wide), ints(1, 8), ints(END, -END), ints(0, 1), ints(1, -2)),
            ints(2, 1), ints(-1, 3), ints(0, 1),
        ),
        misses=lambda: slice_(
            slice_(example(wide), ints(1), ints(END), ints(0)), ints(-2), ints(END), ints(0)
        ),
    )  # fmt: skip
    yield Rule(
        "unary",
        slice_(y, s, e, t, v),
        of_chain,
        worth=guards.used_once("y"),
        fires=lambda: slice_(exp(exp(example(wide))), ints(1), ints(3), ints(1)),
        misses=lambda: slice_(
            concat(example(wide), example(wide), axis=0), ints(1), ints(3), ints(1)
        ),
    )
    yield Rule(
        "shape",
        slice_(shape(x, attrs=a), s, e, t, v),
        of_shape,
        fires=lambda: slice_(shape(example("float32[N, M, 4, K]"), start=1), ints(0), ints(2)),
        misses=lambda: slice_(
            shape(example("float32[N, M, 4, K]")), ints(0), ints(4), None, ints(2)
        ),
    )


SLICES = slices + SLICES_OF
