"""Rules of broadcasts: Expand and Tile composed, or left to the op that broadcasts anyway."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from graphopt.analysis import same_shape
from graphopt.errors import TypeRuleError
from graphopt.ir import Node
from graphopt.op import Op
from graphopt.ops.arithmetic import add, div, max_, min_, mul, power, sub, sum_
from graphopt.ops.logic import (
    and_,
    equal,
    greater,
    greater_or_equal,
    less,
    less_or_equal,
    or_,
    where,
    xor,
)
from graphopt.ops.shape import expand, reshape, shape, unsqueeze
from graphopt.ops.slicing import concat, tile
from graphopt.passes.movement.positions import END, numbers_of, vector
from graphopt.rewriting import (
    Declined,
    Equations,
    Many,
    Rule,
    Soundness,
    Value,
    rules,
)
from graphopt.rewriting.examples import example, ints

BINARY = (add, sub, mul, div, power, equal, less, less_or_equal, greater, greater_or_equal)
LOGICAL = (and_, or_, xor)
VARIADIC = (max_, min_, sum_)


def narrower(value: Node) -> Node | None:
    """What a value is broadcast from: what was expanded, repeated, or given axes in front."""
    if value.op not in (expand, tile, unsqueeze, reshape) or value.rank is None:
        return None
    x = value.inputs[0]
    if x.rank is None or x.shape is None or value.shape is None:
        return None
    if value.op is expand:
        return x
    if value.op is tile:
        counts = numbers_of(value.inputs[1])
        if counts is None or any(c != 1 and s != 1 for c, s in zip(counts, x.shape, strict=True)):
            return None
        return x
    lead = value.rank - x.rank
    return x if lead > 0 and value.shape == (1,) * lead + x.shape else None


def left_to_op(root: Node) -> Node | Declined | None:
    """An element-wise op over what its operands were broadcast from, where it broadcasts too."""
    if root.shape is None:
        return None
    operands = list(root.inputs)
    for k, value in enumerate(operands):
        x = narrower(value) if operands.count(value) == 1 else None  # x + x is more than a sum
        while x is not None:
            made = _over(root, [*operands[:k], x, *operands[k + 1 :]])
            if made is None or not same_shape(made, root):
                break
            operands[k] = x
            x = narrower(x)
    if tuple(operands) == root.inputs:
        return Declined("the result has its shape from it, or an operand is not broadcast")
    return _over(root, operands)


def _over(root: Node, operands: Sequence[Node]) -> Node | None:
    try:
        return root.with_inputs(tuple(operands))
    except TypeRuleError:
        return None


def target(x: Node, root: Node) -> Node | Declined | None:
    """Expand(x) to the shape of the root, by constant sizes: 1 keeps what is there."""
    if root.shape is None or x.shape is None:
        return None
    lead = len(root.shape) - len(x.shape)
    sizes: list[int] = []
    for axis, size in enumerate(root.shape):
        if axis >= lead and x.shape[axis - lead] == size:
            sizes.append(1)
        elif isinstance(size, int):
            sizes.append(size)
        else:
            return Declined("a size is computed")
    made: Node = expand(x, vector(sizes))
    return made


def tiled_once(x: Node, i: Node, j: Node) -> Node | Declined | None:
    """Tile by two vectors of numbers at once."""
    first, second = numbers_of(i), numbers_of(j)
    if first is None or second is None:
        return None
    counts = [a * b for a, b in zip(first, second, strict=True)]
    if max(counts, default=0) > END:
        return Declined("so many repetitions are no 64-bit number")
    made: Node = tile(x, vector(counts))
    return made


def broadcast_tile(x: Node, i: Node, root: Node) -> Node | Declined | None:
    """A Tile of nothing but axes of size 1 as an Expand."""
    counts = numbers_of(i)
    if counts is None or x.shape is None or root.shape is None:
        return None
    if any(c != 1 and s != 1 for c, s in zip(counts, x.shape, strict=True)):
        return Declined("an axis of another size is repeated")
    made: Node = expand(x, vector(counts))
    return made


def without_leading(x: Node, s: Node, n: Node) -> Node | Declined | None:
    """Expand(x) where n is x with axes of size 1 in front, which the target has anyway."""
    sizes = s.shape
    if n.rank is None or sizes is None or not isinstance(sizes[0], int):
        return None
    if narrower(n) is not x or sizes[0] < n.rank:
        return Declined("it has other axes, or the target has not as many")
    made: Node = expand(x, s)
    return made


@rules(Soundness.EXACT)
def broadcasts(x: Value, y: Value, z: Value, xs: Many) -> Equations:
    """f(expand(x), y) = f(x, y) where f broadcasts x as well."""

    def pair(op: Op, kind: str, *target: int) -> Node:
        wide = expand(example(f"{kind}[3]"), ints(*target))
        made: Node = op(wide, example(f"{kind}[2, 3]", "y"))
        return made

    for op in (*BINARY, *LOGICAL):
        kind = "bool" if op in LOGICAL else "float32"
        yield Rule(
            op.name.lower(),
            op(x, y),
            left_to_op,
            fires=partial(pair, op, kind, 2, 3),
            misses=partial(pair, op, kind, 4, 2, 3),
        )
    for op in VARIADIC:
        yield Rule(
            op.name.lower(),
            op(xs),
            left_to_op,
            fires=partial(pair, op, "float32", 2, 3),
            misses=partial(pair, op, "float32", 4, 2, 3),
        )
    yield Rule(
        "where",
        where(x, y, z),
        left_to_op,
        fires=lambda: where(expand(example("bool[3]"), ints(2, 1)), *_arms()),
        misses=lambda: where(expand(example("bool[3]"), ints(4, 1, 1)), *_arms()),
    )


def _arms() -> list[Node]:
    return [example("float32[2, 1]", "y"), example("float32[2, 3]", "z")]


def _behind(op: Op, places: Node) -> Node:
    made: Node = expand(op(example("float32[N]"), places), example("int64[2]", "sizes"))
    return made


@rules(Soundness.EXACT)
def expands(x: Value, n: Value, s: Value, i: Value, j: Value) -> Equations:
    """Two broadcasts are one; a computed target is constant where the sizes allow."""
    for op, leading, trailing in (
        (unsqueeze, ints(0), ints(1)),
        (reshape, ints(1, -1), ints(-1, 1)),
    ):
        yield Rule(
            f"leading_{op.name.lower()}",
            expand(n.of(op(x, i)), s),
            without_leading,
            fires=partial(_behind, op, leading),
            misses=partial(_behind, op, trailing),
        )
    yield Rule(
        "twice",
        expand(expand(x, i), j),
        target,
        fires=lambda: expand(expand(example("float32[3, 1]"), ints(3, 4)), ints(2, 1, 1)),
        misses=lambda: expand(expand(example("float32[1]"), _computed("N")), ints(2, 1)),
    )
    yield Rule(
        "constant",
        expand(x, s),
        lambda x, s, root: None if s.constant is not None else target(x, root),
        fires=lambda: expand(example("float32[N, 1]"), _computed("N", 4)),
        misses=lambda: expand(example("float32[1, 1]"), _computed("N", 4)),
    )
    yield Rule(
        "tile_tile",
        tile(tile(x, i), j),
        tiled_once,
        fires=lambda: tile(tile(example("float32[2, N]"), ints(3, 1)), ints(1, 2)),
        misses=lambda: tile(tile(example("float32[2, N]"), example("int64[2]", "r")), ints(1, 2)),
    )
    yield Rule(
        "tile",
        tile(x, i),
        broadcast_tile,
        fires=lambda: tile(example("float32[1, N]"), ints(3, 1)),
        misses=lambda: tile(example("float32[2, N]"), ints(3, 1)),
    )


def _computed(*sizes: int | str) -> Node:
    parts = [
        ints(size) if isinstance(size, int) else shape(example(f"float32[{size}]", f"like_{size}"))
        for size in sizes
    ]
    made: Node = concat(*parts, axis=0)
    return made


EXPANDS = broadcasts + expands
