"""Rules of what only repeats elements: enlarged by a neutral operand, or beside itself."""

from __future__ import annotations

from graphopt.analysis import same_shape
from graphopt.ir import Node
from graphopt.ops.arithmetic import add, div, mul, sub
from graphopt.ops.logic import and_, or_
from graphopt.ops.slicing import concat, tile
from graphopt.passes.algebra.elements import shown
from graphopt.passes.movement.expands import target
from graphopt.passes.movement.positions import vector
from graphopt.rewriting import (
    Attr,
    Declined,
    Equations,
    Integer,
    Many,
    Rule,
    Soundness,
    Value,
    rules,
)
from graphopt.rewriting.examples import example, filled


def enlarged(x: Node, root: Node) -> Node | Declined | None:
    """A value as it is broadcast, where sizes are known."""
    return None if same_shape(x, root) else target(x, root)


def beside_itself(root: Node) -> Node | Declined | None:
    """One value several times along an axis, as a Tile of it."""
    first = root.inputs[0]
    if root.rank is None or len(root.inputs) < 2:
        return None
    if any(item is not first for item in root.inputs):
        return Declined("the operands are different values")
    counts = [1] * root.rank
    counts[root.attrs["axis"] % root.rank] = len(root.inputs)
    made: Node = tile(first, vector(counts))
    return made


@rules(Soundness.EXACT)
def enlarging(x: Value, n: Integer) -> Equations:
    """x * 1 = x / 1 = x - 0 = x and true = x or false = expand(x), where it is broadcast."""
    for op, unit, dtype in (
        (mul, 1.0, "float32"),
        (div, 1.0, "float32"),
        (sub, 0.0, "float32"),
        (add, -0.0, "float32"),
        (and_, True, "bool"),
        (or_, False, "bool"),
    ):
        yield Rule(
            op.name.lower(),
            op(x, unit),
            enlarged,
            fires=shown(
                lambda op, unit, dtype: op(
                    example(f"{dtype}[1, 3]"), filled(unit, 2, 3, dtype=dtype)
                ),
                op,
                unit,
                dtype,
            ),
            misses=shown(
                lambda op, unit, dtype: op(example(f"{dtype}[N, 3]"), filled(unit, 3, dtype=dtype)),
                op,
                unit,
                dtype,
            ),
        )
    yield Rule(
        "add_integer",
        add(n, 0.0),
        lambda n, root: enlarged(n, root),
        fires=lambda: add(example("int32[1, 3]"), filled(0, 2, 3, dtype="int32")),
        misses=lambda: add(example("int32[N, 3]"), filled(0, 3, dtype="int32")),
    )


@rules(Soundness.EXACT)
def beside(xs: Many, k: Attr) -> Equations:
    """concat(x, x, x) = tile(x, [3, 1])"""
    yield Rule(
        "concat",
        concat(xs, axis=k),
        beside_itself,
        fires=lambda: concat(example("float32[2, 3]"), example("float32[2, 3]"), axis=0),
        misses=lambda: concat(example("float32[2, 3]"), example("float32[2, 3]", "y"), axis=0),
    )


REPEATED = enlarging + beside
