"""Images made larger by repeating their pixels: written as a broadcast between reshapes."""

from __future__ import annotations

from graphopt import dims
from graphopt.dims import Size
from graphopt.ir import Node
from graphopt.ops.resize import resize
from graphopt.ops.shape import expand, reshape, unsqueeze
from graphopt.passes.movement.row_major import merged
from graphopt.rewriting import (
    Attr,
    Declined,
    Equations,
    Rule,
    Soundness,
    Value,
    guards,
    rules,
)
from graphopt.rewriting.examples import example, ints
from graphopt.structural import constant
from graphopt.types import DType

NEAREST = {
    "mode": "nearest",
    "coordinate_transformation_mode": "asymmetric",
    "nearest_mode": "floor",
}
IMAGE = 4
"""Axes of a batch of images: those behind the second are made larger."""
MOST = 16
"""Pixels are repeated so often at the most: a coordinate over this number is told from the next."""


def factors(x: Node, thin: Node, wide: Node, root: Node) -> list[int] | None:
    """How often the elements along each axis are repeated, one behind the other."""
    sizes = [value.shape for value in (x, thin, wide, root)]
    if any(shape is None for shape in sizes) or x.rank != IMAGE or root.rank != IMAGE:
        return None
    before, fine, broad, after = (shape or () for shape in sizes)
    groups = merged(broad, after) if len(fine) == len(broad) else None
    if groups is None:
        return None
    made: list[int] = []
    for own, group in zip(before, groups, strict=True):
        kept: list[Size] = []
        count: Size = 1
        for axis in group:
            if fine[axis] == broad[axis] and (count == 1 or broad[axis] == 1):
                kept.append(broad[axis])
            elif fine[axis] == 1:
                count = count * broad[axis]
            else:
                return None
        if dims.product(kept) != own or not isinstance(count, int):
            return None
        made.append(count)
    return made


def resized(x: Node, thin: Node, wide: Node, root: Node) -> Node | Declined:
    """The repetition of pixels as a Resize."""
    found = factors(x, thin, wide, root)
    if found is None or found[:2] != [1, 1] or not 1 < max(found) <= MOST or 0 in found:
        return Declined("not each pixel of an image is repeated where it stands")
    if x.dtype is not DType.FLOAT32:
        return Declined("images of other dtypes are not resized everywhere")
    scales = constant([float(factor) for factor in found], DType.FLOAT32)
    made: Node = resize(x, None, scales, **NEAREST)
    return made


def _pixels(*thin: int) -> Node:
    """Rows twice and columns three times, of an image of 4 by 5, where `thin` puts axes."""
    wide = [2 if size == 1 else size for size in thin]
    narrow = reshape(example("float32[2, 3, 4, 5]"), ints(*thin))
    made: Node = reshape(expand(narrow, ints(*wide)), ints(2, 3, 8, 10))
    return made


def _between(axis: int) -> Node:
    """Rows twice, of an image of 4 by 5: each behind itself for axis 3."""
    thin = unsqueeze(example("float32[2, 3, 4, 5]"), ints(axis))
    wide = [2, 3, 4, 5]
    wide.insert(axis, 2)
    made: Node = reshape(expand(thin, ints(*wide)), ints(2, 3, 8, 5))
    return made


@rules(Soundness.EXACT)
def pixels(
    x: Value, i: Value, s: Value, t: Value, thin: Value, wide: Value, a: Attr, b: Attr
) -> Equations:
    """reshape(expand(reshape(x))) = resize(x), where each pixel is repeated where it stands."""
    worth = (guards.used_once("thin"), guards.used_once("wide"))
    yield Rule(
        "reshape",
        reshape(wide.of(expand(thin.of(reshape(x, i, attrs=a)), s)), t, attrs=b),
        resized,
        worth=worth,
        fires=lambda: _pixels(2, 3, 4, 1, 5, 1),
        misses=lambda: _pixels(2, 3, 1, 4, 1, 5),
    )
    yield Rule(
        "unsqueeze",
        reshape(wide.of(expand(thin.of(unsqueeze(x, i)), s)), t, attrs=b),
        resized,
        worth=worth,
        fires=lambda: _between(3),
        misses=lambda: _between(2),
    )


UPSAMPLED = pixels
