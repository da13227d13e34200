"""The steps of a generated graph that move elements: what rules compose and cancel."""

from __future__ import annotations

import random
from math import prod
from typing import TYPE_CHECKING

import numpy as np

from graphopt.ir import Node
from graphopt.structural import constant, results
from tools.fuzz_parts import UNARY, call, ints, ranked, real_shape
from tools.fuzz_values import draw_constant

if TYPE_CHECKING:
    from tools.fuzz_graphs import Grower


def transpose(grower: Grower) -> Node | None:
    """A transpose; of a transpose the inverse, sometimes."""
    rng, x = grower.rng, grower.pick(ranked(1))
    if x is None or x.rank is None:
        return None
    perm = list(range(x.rank))
    rng.shuffle(perm)
    if x.op.name == "Transpose" and rng.random() < 0.4 and "perm" in x.attrs:
        perm = np.argsort(x.attrs["perm"]).tolist()
    return call("Transpose", x, perm=tuple(perm)) if rng.random() < 0.9 else call("Transpose", x)


def factored(rng: random.Random, total: int) -> list[int]:
    """Sizes whose product is `total`."""
    made: list[int] = []
    for prime in (2, 2, 3, 2, 5, 3):
        if total > 1 and total % prime == 0:
            total //= prime
            made.append(prime)
    made.append(total)
    while len(made) > rng.randint(1, 4):
        k = rng.randrange(len(made) - 1)
        made[k : k + 2] = [made[k] * made[k + 1]]
    if rng.random() < 0.2:
        made.insert(rng.randrange(len(made) + 1), 1)
    return made


def reshape(grower: Grower) -> Node | None:
    """A reshape: to constant sizes, with a -1 or a 0, back, or to the shape of another value."""
    rng, x = grower.rng, grower.pick()
    if x is None:
        return None
    shape, how = real_shape(grower, x), rng.random()
    if how < 0.2:
        like = grower.pick(lambda node: prod(real_shape(grower, node)) == prod(shape))
        return None if like is None else call("Reshape", x, call("Shape", like))
    if how < 0.35:
        return call("Flatten", x, axis=rng.randint(0, len(shape)))
    target = factored(rng, prod(shape))
    if how < 0.5 and len(shape):
        target = [0, *factored(rng, prod(shape[1:]))]
        if rng.random() < 0.3:
            first = call("Shape", x, start=0, end=1)
            return call("Reshape", x, call("Concat", first, ints(-1), axis=0))
    if rng.random() < 0.5:
        target[rng.randrange(len(target))] = -1
    return call("Reshape", x, ints(*target))


def axes(grower: Grower) -> Node | None:
    """Axes of size 1 come or go."""
    rng, x = grower.rng, grower.pick()
    if x is None or x.rank is None:
        return None
    ones = [k for k, size in enumerate(real_shape(grower, x)) if size == 1]
    if ones and rng.random() < 0.6:
        chosen = ones if rng.random() < 0.3 else [rng.choice(ones)]
        return call("Squeeze", x, ints(*chosen)) if rng.random() < 0.85 else call("Squeeze", x)
    count = rng.choice((1, 1, 2))
    if x.rank + count > 6:
        return None
    at = rng.sample(range(x.rank + count), count)
    return call(
        "Unsqueeze", x, ints(*(k - x.rank - count if rng.random() < 0.2 else k for k in at))
    )


def join(grower: Grower) -> Node | None:
    """A concatenation: of values alike, of all outputs of one node, of functions of them."""
    rng, x = grower.rng, grower.pick(ranked(1))
    if x is None or x.rank is None:
        return None
    axis = rng.randrange(x.rank)
    shape = real_shape(grower, x)

    def fits(node: Node) -> bool:
        other = real_shape(grower, node)
        return (
            node.dtype is x.dtype
            and len(other) == len(shape)
            and all(a == b for k, (a, b) in enumerate(zip(shape, other, strict=True)) if k != axis)
        )

    parts = [x, *(grower.pick(fits) for _ in range(rng.randint(0, 3)))]
    if x.op.name == "Out" and rng.random() < 0.7:
        parts = list(results(x.inputs[0]))
        axis = x.inputs[0].attrs.get("axis", axis)
    if rng.random() < 0.4:
        name = rng.choice(UNARY)
        parts = [call(name, part) for part in parts if part is not None]
    if rng.random() < 0.25:
        size = list(shape)
        size[axis] = rng.randint(1, 2)
        parts += [
            constant(draw_constant(rng, x.dtype, tuple(size))) for _ in range(rng.randint(1, 2))
        ]
    return call("Concat", *parts, axis=axis - x.rank if rng.random() < 0.2 else axis)


def split(grower: Grower) -> Node | None:
    """A split; its outputs are all values of the graph."""
    rng, x = grower.rng, grower.pick(ranked(1))
    if x is None or x.rank is None:
        return None
    axis = rng.randrange(x.rank)
    size = real_shape(grower, x)[axis]
    count = rng.choice((1, 2, 2, 3))
    if rng.random() < 0.5:
        return call("Split", x, axis=axis, num_outputs=count, outputs=count)
    cuts = sorted(rng.randint(0, size) for _ in range(count - 1))
    sizes = np.diff([0, *cuts, size]).tolist()
    return call("Split", x, ints(*sizes), axis=axis, outputs=count)


def cut(grower: Grower) -> Node | None:
    """A slice, also backwards, in steps, beyond the ends, or of everything."""
    rng, x = grower.rng, grower.pick(ranked(1))
    if x is None or x.rank is None:
        return None
    chosen = rng.sample(range(x.rank), rng.randint(1, min(2, x.rank)))
    starts: list[int] = []
    ends: list[int] = []
    steps: list[int] = []
    for axis in chosen:
        size = real_shape(grower, x)[axis]
        step = rng.choice((1, 1, 1, 2, -1, 3, -2))
        first, last = rng.randint(-1, size), rng.randint(-1, size + 1)
        if step < 0:
            first, last = max(first, last), min(first, last)
        if rng.random() < 0.25:
            first, last = (0, 1 << 40) if step > 0 else (-1, -(1 << 40))
        starts.append(first)
        ends.append(last)
        steps.append(step)
    if rng.random() < 0.3 and set(steps) == {1}:
        return call("Slice", x, ints(*starts), ints(*ends), ints(*chosen))
    return call("Slice", x, ints(*starts), ints(*ends), ints(*chosen), ints(*steps))


def pad(grower: Grower) -> Node | None:
    """A pad, in some mode, by positive or negative amounts, or by nothing."""
    rng, x = grower.rng, grower.pick(ranked(1))
    if x is None or x.rank is None or x.rank > 4:
        return None
    amounts = [rng.choice((0, 0, 0, 1, 2, -1)) for _ in range(2 * x.rank)]
    mode = rng.choice(("constant", "constant", "constant", "edge", "reflect", "wrap"))
    if mode == "constant":
        value = constant(draw_constant(rng, x.dtype, ()))
        return (
            call("Pad", x, ints(*amounts), value)
            if rng.random() < 0.7
            else call("Pad", x, ints(*amounts))
        )
    return call("Pad", x, ints(*(max(amount, 0) for amount in amounts)), mode=mode)


def spread(grower: Grower) -> Node | None:
    """An expansion or a repetition."""
    rng, x = grower.rng, grower.pick()
    if x is None or x.rank is None or x.rank > 4:
        return None
    if rng.random() < 0.4:
        return call("Tile", x, ints(*(rng.choice((1, 1, 2)) for _ in range(x.rank))))
    if rng.random() < 0.3 and (like := grower.pick()) is not None:
        return call("Expand", x, call("Shape", like))
    sizes = [size if size != 1 else rng.choice((1, 2, 3)) for size in real_shape(grower, x)]
    sizes = [1 if rng.random() < 0.3 else size for size in sizes]
    return call("Expand", x, ints(*((2,) if rng.random() < 0.2 else ()), *sizes))


def take(grower: Grower) -> Node | None:
    """A gather with constant indices, of one element or of several."""
    rng, x = grower.rng, grower.pick(ranked(1))
    if x is None or x.rank is None:
        return None
    axis = rng.randrange(x.rank)
    size = max(real_shape(grower, x)[axis], 1)
    indices = [rng.randrange(-size, size) for _ in range(rng.randint(1, 3))]
    if rng.random() < 0.4:
        return call("Gather", x, constant(np.array(indices[0])), axis=axis)
    if rng.random() < 0.2:
        indices = list(range(size))
    return call("Gather", x, ints(*indices), axis=axis)


def shapes(grower: Grower) -> Node | None:
    """A size of a value, computed with."""
    rng, x = grower.rng, grower.pick()
    if x is None:
        return None
    if rng.random() < 0.3:
        return call("Size", x)
    if rng.random() < 0.3:
        return call("ConstantOfShape", call("Shape", x))
    return call("Shape", x)
