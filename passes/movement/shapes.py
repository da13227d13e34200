"""Rules of data movement: what only rearranges, composed, cancelled or seen to do nothing."""

from __future__ import annotations

from collections.abc import Sequence

from graphopt.analysis import same_shape
from graphopt.ir import Node
from graphopt.ops.cast import cast, dropout, identity
from graphopt.ops.functions import neg
from graphopt.ops.movement import transpose
from graphopt.ops.padding import pad
from graphopt.ops.shape import expand, reshape
from graphopt.ops.slicing import concat, slice_, split, tile
from graphopt.rewriting import (
    Attr,
    Equations,
    Guard,
    Many,
    Maybe,
    Rule,
    Soundness,
    Value,
    rules,
)
from graphopt.rewriting.examples import example, filled, ints
from graphopt.structural import out


def permutation(perm: Sequence[int] | None, x: Node) -> tuple[int, ...] | None:
    """A transpose's permutation, its default (axes reversed) filled in; None for unknown rank."""
    if perm is not None:
        return tuple(perm)
    return None if x.rank is None else tuple(reversed(range(x.rank)))


def composed(x: Node, p: Sequence[int] | None, q: Sequence[int] | None) -> Node | None:
    """The transpose that does first p, then q."""
    first, then = permutation(p, x), permutation(q, x)
    if first is None or then is None:
        return None
    made: Node = transpose(x, perm=tuple(first[axis] for axis in then))
    return made


def keeps_order(x: Node, p: Sequence[int] | None) -> bool:
    """Whether a permutation is none."""
    perm = permutation(p, x)
    return perm is not None and perm == tuple(sorted(perm))


@rules(Soundness.EXACT)
def transposes(x: Value, p: Attr, q: Attr) -> Equations:
    """Two transposes are one; a transpose that keeps the order is none."""
    yield Rule(
        "compose",
        transpose(transpose(x, perm=p), perm=q),
        composed,
        fires=lambda: transpose(
            transpose(example("float32[2, 3, 4]"), perm=(1, 0, 2)), perm=(2, 0, 1)
        ),
        misses=lambda: transpose(identity(example("float32[2, 3]")), perm=(1, 0)),
    )
    yield Rule(
        "identity",
        transpose(x, perm=p),
        x,
        when=Guard("the order is kept", keeps_order),
        fires=lambda: transpose(example("float32[2, 3]"), perm=(0, 1)),
        misses=lambda: transpose(example("float32[3, 3]"), perm=(1, 0)),
    )


@rules(Soundness.EXACT)
def same(x: Value, a: Attr, s: Value, r: Maybe, t: Maybe) -> Equations:
    """What changes nothing: a copy, a reshape to the own shape, a cast to the own dtype."""
    f23 = "float32[2, N]"
    yield Rule(
        "identity",
        identity(x),
        x,
        fires=lambda: identity(example(f23)),
        misses=lambda: neg(example(f23)),
    )
    yield Rule(
        "dropout",
        dropout(x, r, t, attrs=a),
        x,
        fires=lambda: dropout(example(f23), filled(0.5)),
        misses=lambda: out(dropout(example(f23), filled(0.5), outputs=2), 1),
    )
    yield Rule(
        "cast",
        cast(x, attrs=a),
        x,
        fires=lambda: cast(example(f23), to=example(f23).dtype),
        misses=lambda: cast(example("float64[2, N]"), to=example(f23).dtype),
    )
    yield Rule(
        "reshape",
        reshape(x, s, attrs=a),
        x,
        when=Guard("the shape stays", same_shape, ("root", "x")),
        fires=lambda: reshape(example(f23), ints(2, -1)),
        misses=lambda: reshape(example("float32[N, 2]"), example("int64[2]", "s")),
    )
    yield Rule(
        "expand",
        expand(x, s),
        x,
        when=Guard("the shape stays", same_shape, ("root", "x")),
        fires=lambda: expand(example("float32[2, 3]"), ints(1, 3)),
        misses=lambda: expand(example("float32[2, 1]"), example("int64[2]", "s")),
    )
    yield Rule(
        "tile",
        tile(x, s),
        x,
        when=Guard("the shape stays", same_shape, ("root", "x")),
        fires=lambda: tile(example(f23), ints(1, 1)),
        misses=lambda: tile(example(f23), example("int64[2]", "r")),
    )


def forward(steps: Node) -> bool:
    """Whether the steps of a slice are left out or all 1."""
    return steps.is_absent or (steps.ints is not None and set(steps.ints) <= {1})


@rules(Soundness.EXACT)
def whole(x: Value, a: Attr, s: Value, e: Value, t: Maybe, v: Maybe) -> Equations:
    """Taking or padding nothing: a slice of everything, a pad by zero, a concatenation of one."""
    f23 = "float32[2, 3]"
    yield Rule(
        "slice",
        slice_(x, s, e, t, v),
        x,
        when=(
            Guard("the shape stays", same_shape, ("root", "x")),
            Guard("steps are 1", forward, ("v",)),
        ),
        fires=lambda: slice_(example(f23), ints(0), ints(9), ints(1)),
        misses=(
            lambda: slice_(example(f23), example("int64[1]", "s"), ints(9), ints(1)),
            lambda: slice_(example(f23), ints(2), ints(-9), ints(1), ints(-1)),
        ),
    )
    yield Rule(
        "pad",
        pad(x, s, v, t, attrs=a),
        x,
        when=Guard("every pad is 0", lambda s: s.ints is not None and not any(s.ints)),
        fires=lambda: pad(example(f23), ints(0, 0, 0, 0), filled(0)),
        misses=lambda: pad(example(f23), ints(1, 0, -1, 0), filled(0)),
    )
    yield Rule(
        "concat",
        concat(x, attrs=a),
        x,
        fires=lambda: concat(example(f23), axis=0),
        misses=lambda: concat(example(f23), example(f23), axis=0),
    )
    yield Rule(
        "split",
        split(x, s, attrs=a),
        x,
        fires=lambda: split(example(f23), ints(2), axis=0),
        misses=lambda: out(split(example("float32[4, 3]"), None, axis=0, outputs=2), 0),
    )


@rules(Soundness.EXACT)
def nested(before: Many, xs: Many, after: Many, inner: Value, k: Attr) -> Equations:
    """concat(a, concat(b, c)) = concat(a, b, c) along one axis."""
    yield Rule(
        "concat",
        concat(before, inner.of(concat(xs, axis=k)), after, axis=k),
        concat(before, xs, after, axis=k),
        worth=Guard("the inner one is used once", lambda inner, uses: uses(inner) == 1),
        fires=lambda: concat(
            example("int64[1]"), concat(example("int64[2]", "y"), ints(3), axis=0), axis=0
        ),
        misses=lambda: concat(
            example("int64[1, 2]"),
            concat(example("int64[1, 1]", "y"), filled(3, 1, 1, dtype="int64"), axis=1),
            axis=0,
        ),
    )


SHAPES = transposes + same + whole + nested
