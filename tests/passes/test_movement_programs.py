"""Programs of data movement by chance: optimized, they give the same bits."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import numpy as np
import pytest

from graphopt.errors import GraphoptError
from graphopt.ir import Node
from graphopt.ops.arithmetic import add, max_, mul
from graphopt.ops.cast import cast
from graphopt.ops.functions import exp, neg
from graphopt.ops.indexing import gather
from graphopt.ops.logic import where
from graphopt.ops.movement import transpose
from graphopt.ops.padding import pad
from graphopt.ops.reduction import reduce_max
from graphopt.ops.shape import expand, flatten, reshape, shape, squeeze, unsqueeze
from graphopt.ops.slicing import concat, slice_, split, tile
from graphopt.passes.movement.positions import END
from graphopt.pipeline import Context, run_pipeline
from graphopt.rewriting.examples import example, filled, ints, weights
from graphopt.structural import constant, results
from graphopt.types import DType
from tests.passes.movement import EVERY, check_same, graph_of

SIZES = (1, 2, 3, 4, 6)


class Program:
    """Values drawn one after another, each of some before."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        named = self.random.random() < 0.3
        first = "N" if named else str(self.random.choice(SIZES))
        rest = [str(self.random.choice(SIZES)) for _ in range(self.random.choice((1, 2, 3)))]
        kind = f"float32[{', '.join([first, *rest])}]"
        self.values = [example(kind, name) for name in "xyz"]

    def draw(self, count: int) -> list[Node]:
        """`count` more values; what a type rule refuses is drawn anew."""
        wanted = len(self.values) + count
        tries = 0
        while len(self.values) < wanted and tries < 20 * count:
            tries += 1
            x = self.random.choice(self.values[-2:])
            try:
                made: Node = self.random.choice(STEPS)(self, x)
            except (GraphoptError, ValueError, IndexError):
                continue
            if made.rank is not None and made.rank <= 5 and made.shape is not None:
                self.values.append(made)
        return self.values

    def axis(self, x: Node) -> int:
        """An axis, from the front or the end."""
        rank = x.rank or 0
        return self.random.randrange(-rank, rank)

    def like(self, x: Node) -> Node:
        """A value of the same shape and dtype."""
        same = [v for v in self.values if v.shape == x.shape and v.dtype is x.dtype]
        return self.random.choice(same)


def _slice(p: Program, x: Node) -> Any:
    bounds = p.random.choice([(1, END), (0, -1), (-2, END), (0, 2), (1, 3), (-1, -END), (0, END)])
    step = -1 if bounds[1] == -END else p.random.choice((1, 1, 1, 2))
    return slice_(x, ints(bounds[0]), ints(bounds[1]), ints(p.axis(x)), ints(step))


def _split(p: Program, x: Node) -> Any:
    axis = p.axis(x) % (x.rank or 1)
    size = (x.shape or ())[axis]
    if not isinstance(size, int) or size < 2:
        raise IndexError
    cut = p.random.randrange(1, size)
    parts = results(split(x, ints(cut, size - cut), axis=axis, outputs=2))
    kind = p.random.randrange(4)
    if kind == 0:
        return concat(*parts, axis=axis)
    if kind == 1:
        return concat(neg(parts[1]), parts[0], axis=axis)
    if kind == 2:
        return concat(exp(parts[0]), exp(parts[1]), axis=axis)
    return p.random.choice(parts)


def _concat(p: Program, x: Node) -> Any:
    axis = p.axis(x)
    others = [x, p.like(x), *([p.like(x)] if p.random.random() < 0.3 else [])]
    if p.random.random() < 0.3:
        others = [exp(other) for other in others]
    return concat(*others, axis=axis)


def _gather(p: Program, x: Node) -> Any:
    axis = p.axis(x)
    places = p.random.choice(
        [0, -1, [0], [1], [0, 1], [1, 0], [-2, -1], [2, 1, 0], [[0, 1], [1, 1]]]
    )
    return gather(x, constant(np.array(places, np.int64)), axis=axis)


def _pad(p: Program, x: Node) -> Any:
    rank = x.rank or 0
    widths = [p.random.choice((0, 0, 1, 2, -1)) for _ in range(2 * rank)]
    return pad(x, ints(*widths), filled(p.random.choice((0.0, 0.0, 7.0))))


def _reshape(p: Program, x: Node) -> Any:
    kind = p.random.randrange(5)
    if kind == 0:
        return flatten(x, axis=p.random.randrange((x.rank or 0) + 1))
    if kind == 1:
        return unsqueeze(x, ints(p.random.randrange((x.rank or 0) + 1)))
    if kind == 2:
        ones = [k for k, size in enumerate(x.shape or ()) if size == 1]
        return squeeze(x, ints(p.random.choice(ones)))
    if kind == 3:
        return reshape(x, concat(shape(x, end=1), ints(-1), axis=0))
    sizes = [size for size in x.shape or () if isinstance(size, int)]
    p.random.shuffle(sizes)
    return reshape(x, ints(*(-1 if k == 0 else size for k, size in enumerate(sizes))))


def _transpose(p: Program, x: Node) -> Any:
    perm = list(range(x.rank or 0))
    p.random.shuffle(perm)
    return transpose(x, perm=tuple(perm))


def _broadcast(p: Program, x: Node) -> Any:
    kind = p.random.randrange(4)
    rank = x.rank or 0
    if kind == 0:
        return expand(x, ints(2, *(1,) * rank))
    if kind == 1:
        return tile(x, ints(*(p.random.choice((1, 1, 2)) for _ in range(rank))))
    if kind == 2:
        return add(expand(x, shape(p.like(x))), p.like(x))
    return mul(unsqueeze(x, ints(0)), p.like(x))


def _compute(p: Program, x: Node) -> Any:
    kind = p.random.randrange(6)
    if kind == 0:
        return cast(cast(x, to=DType.FLOAT64), to=DType.FLOAT32)
    if kind == 1:
        return max_(x, p.like(x)) if p.random.random() < 0.5 else add(x, p.like(x))
    if kind == 2:
        return where(cast(p.like(x), to=DType.BOOL), x, p.like(x))
    if kind == 3:
        width = (x.shape or (0,))[-1]
        return add(x, weights(width)) if isinstance(width, int) and width else neg(x)
    if kind == 4:
        return reduce_max(exp(x), ints(p.axis(x)), keepdims=p.random.randrange(2))
    return p.random.choice((exp, neg))(x)


STEPS: tuple[Callable[[Program, Node], Any], ...] = (
    _slice, _slice, _split, _concat, _gather, _pad, _reshape, _reshape, _transpose, _transpose,
    _broadcast, _compute, _compute,
)  # fmt: skip


def check(seed: int) -> int:
    """Draw a program, optimize it, and compare; how many values that were."""
    program = Program(seed)
    values = program.draw(program.random.randrange(6, 24))
    outputs = (values[-1], values[-2], program.random.choice(values))
    before = graph_of(*outputs)
    made = run_pipeline(before, EVERY, Context(strict=True))
    return check_same(before, made)


@pytest.mark.parametrize("seed", range(0, 200, 20))
def test_programs_of_data_movement(seed: int) -> None:
    assert sum(check(seed + k) > 0 for k in range(20)) > 10, "most of them run"
