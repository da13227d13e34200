"""Idioms of transformers' inputs: embeddings of words and positions, rotary positions."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from graphopt.ir import Node
from graphopt.ops.arithmetic import add, mul
from graphopt.ops.functions import neg
from graphopt.ops.indexing import gather
from graphopt.ops.normalization import layer_normalization
from graphopt.ops.slicing import concat, slice_, split
from graphopt.passes.fusion.idioms import Grouping, unused_outside
from graphopt.passes.movement.positions import cuts
from graphopt.rewriting import (
    Attr,
    Const,
    Equations,
    Float,
    Guard,
    Integer,
    Maybe,
    MaybeConst,
    Rule,
    Soundness,
    Value,
    rules,
)
from graphopt.rewriting.examples import example, filled, ints, weights
from graphopt.structural import out, out_op


def _joined_elsewhere(*, divided: bool = False) -> Node:
    x, c = example("float32[1, 2]"), example("float32[2, 1]", "c")
    low, high = slice_(x, ints(0), ints(1), ints(1)), slice_(x, ints(1), ints(2), ints(1))
    if divided:
        node = split(x, ints(1, 1), axis=1, outputs=2)
        low, high = out(node, 0), out(node, 1)
    made: Node = add(mul(x, filled(1.5)), mul(concat(neg(high), low, axis=0), c))
    return made


@rules(Soundness.ROUNDING)
def embeddings(
    t: Const, u: Const, w: Value, i: Integer, j: Integer, s: Float, b: Maybe, a: Attr
) -> Equations:
    """LayerNormalization(words[i] + positions[j] + types): an embedding"""
    ids = {"i": "int64[N, 5]", "j": "int64[N, 5]"}

    def embedded(first: int = 0) -> Node:
        i, j = (example(kind, name) for name, kind in ids.items())
        words, places = gather(weights(9, 4), i), gather(weights(5, 4, seed=1), j)
        if first:
            words = gather(weights(4, 9), example("int64[4]", "i"), axis=1)
        made: Node = layer_normalization(add(words, places), weights(4, seed=2), weights(4))
        return made

    whole = Guard("whole rows of the tables are taken", lambda t, u: t.rank == u.rank == 2)
    both = add(gather(t, i), gather(u, j))
    yield Rule(
        "two",
        layer_normalization(both, s, b, attrs=a),
        Grouping("EmbedLayerNormalization", ("i", "j", "s", "b")),
        when=whole,
        worth=unused_outside("i", "j", "s", "b"),
        fires=embedded,
        misses=lambda: layer_normalization(
            add(
                gather(weights(9, 2, 4), example("int64[5]", "i")),
                gather(weights(9, 2, 4, seed=1), example("int64[5]", "j")),
            ),
            weights(4),
        ),
    )
    yield Rule(
        "three",
        layer_normalization(add(both, w), s, b, attrs=a),
        Grouping("EmbedLayerNormalization", ("i", "j", "w", "s", "b")),
        when=whole,
        worth=unused_outside("i", "j", "w", "s", "b"),
        fires=lambda: layer_normalization(
            add(
                add(
                    gather(weights(9, 4), example("int64[N, 5]", "i")),
                    gather(weights(5, 4, seed=1), example("int64[N, 5]", "j")),
                ),
                example("float32[N, 5, 4]", "w"),
            ),
            weights(4),
        ),
        misses=lambda: layer_normalization(
            add(
                add(
                    gather(weights(9, 2, 4), example("int64[5]", "i")),
                    gather(weights(9, 2, 4, seed=1), example("int64[5]", "j")),
                ),
                example("float32[5, 2, 4]", "w"),
            ),
            weights(4),
        ),
    )


Slice = tuple[Node, Node, Node]
"""The starts, ends and axes of one."""


def part(x: Node, made: Slice) -> tuple[int, int] | None:
    """From where to where a slice takes elements of the last axis, None if it is another slice."""
    size = None if not x.shape else x.shape[-1]
    start, end, axis = (value.ints for value in made)
    if start is None or end is None or axis is None or not isinstance(size, int):
        return None
    if not len(start) == len(end) == len(axis) == 1 or axis[0] not in (-1, (x.rank or 0) - 1):
        return None
    taken = range(size)[start[0] : end[0]]
    return taken.start, taken.stop


def halves(x: Node, low: Slice, high: Slice) -> bool:
    """Whether two slices are the first and the second half of the last axis."""
    size = x.shape[-1] if x.shape else None
    if not isinstance(size, int) or size % 2:
        return False
    return part(x, low) == (0, size // 2) and part(x, high) == (size // 2, size)


def _are_halves(x: Node, *ends: Node) -> bool:
    d, e, f, g, h, k = ends
    return halves(x, (d, e, f), (g, h, k))


def _is_halved(x: Node, n: Node) -> bool:
    found = cuts(n)
    if found is None:
        return False
    axis, (_, middle, size) = found
    return axis == (x.rank or 0) - 1 and 2 * middle == size


def _sliced(x: Node, half: int) -> tuple[Node, Node]:
    low = slice_(x, ints(0), ints(half), ints(3))
    return low, slice_(x, ints(half), ints(1 << 31), ints(3))


def _split(x: Node, half: int) -> tuple[Node, Node]:
    node: Node = split(x, ints(half, 4 - half), axis=-1, outputs=2)
    return out(node, 0), out(node, 1)


def _rotary(parts: Callable[[Node, int], tuple[Node, Node]], half: int = 2) -> Node:
    x, c, s = (example("float32[N, 2, 3, 4]", name) for name in ("x", "c", "s"))
    low, high = parts(x, half)
    made: Node = add(mul(x, c), mul(concat(neg(high), low, axis=-1), s))
    return made


@rules(Soundness.ROUNDING)
def rotary_embeddings(
    x: Float, c: Float, s: Float, d: Const, e: Const, f: Const, g: Const, h: Const, k: Const,
    n: Value, t: MaybeConst, a: Attr, b: Attr,
) -> Equations:  # fmt: skip
    """x * cos + concat(-x[half:], x[:half]) * sin: the elements turned by their positions"""
    joined = Guard("they are joined along it", lambda x, a: a in (-1, (x.rank or 0) - 1))
    turned = concat(neg(slice_(x, g, h, k)), slice_(x, d, e, f), axis=a)
    yield Rule(
        "halves",
        add(mul(x, c), mul(turned, s)),
        Grouping("RotaryEmbedding", ("x", "c", "s")),
        when=(
            Guard(
                "the slices are the halves of the last axis",
                _are_halves,
                ("x", *"defghk"),
            ),
            joined,
        ),
        worth=unused_outside("x", "c", "s"),
        fires=partial(_rotary, _sliced),
        misses=(partial(_rotary, _sliced, 1), _joined_elsewhere),
    )
    parts = n.of(split(x, t, outputs=2, attrs=b))
    yield Rule(
        "split",
        add(mul(x, c), mul(concat(neg(out_op(parts, index=1)), out_op(n, index=0), axis=a), s)),
        Grouping("RotaryEmbedding", ("x", "c", "s")),
        when=(Guard("the parts are the halves of the last axis", _is_halved), joined),
        worth=unused_outside("x", "c", "s"),
        fires=partial(_rotary, _split),
        misses=(partial(_rotary, _split, 1), partial(_joined_elsewhere, divided=True)),
    )


THIRD = embeddings + rotary_embeddings
