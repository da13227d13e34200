"""Factors that are one number, taken into the constants of what they multiply.

s * y is y with other constants where y is made of them by products, sums and what only moves
elements: s (x W + b) = x (s W) + s b, whatever is transposed or reshaped in between. Attention's
1 / sqrt(d) goes into the weights of the queries so. Each constant is rounded once, as the product
with s was. The factor is at most 1 in magnitude, so that nothing overflows that did not before, and
at least 2^-32, so that nothing that ordinary numbers make becomes subnormal.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from graphopt.analysis import same_shape
from graphopt.ir import Node
from graphopt.op import Op
from graphopt.ops.arithmetic import add, div, mul
from graphopt.ops.conv import conv
from graphopt.ops.linalg import gemm, matmul
from graphopt.ops.movement import transpose
from graphopt.ops.shape import reshape, squeeze
from graphopt.passes.contractions.maps import Uses, grows, halves_gelu
from graphopt.passes.contractions.scaling import DEEPEST, MOVES, Scaling, number_of, ordinary
from graphopt.rewriting import (
    Attr,
    Const,
    Declined,
    Equations,
    Maybe,
    Rule,
    RuleSet,
    Soundness,
    Value,
    rules,
)
from graphopt.rewriting.examples import example, filled, ints, weights
from graphopt.rewriting.reassociate import combined_product

NOT_ONE = Declined("the factor is not one number, or broadcasts")
RANGE = Declined("the factor is more than 1, or very small, for numbers of this kind")
SHARED = Declined("a constant is used elsewhere")
NO_CONSTANT = Declined("no constants are near that nothing else uses")


def times(y: Node, c: Node, root: Node, uses: Uses) -> Node | Declined:
    """y * c by other constants, or y / c."""
    factor = number_of(c)
    if not factor or not same_shape(root, y):
        return NOT_ONE
    if root.op is div:
        factor = 1 / factor
    if not ordinary(factor, y):
        return RANGE
    scaling = Scaling(uses)
    made = scaling(y, np.array(factor))
    if made is None or not scaling.contracted:
        return NO_CONSTANT
    return SHARED if grows(scaling.new, [*scaling.old, c], uses) else made


def stripped(value: Node, uses: Uses) -> tuple[Node, float, Node] | None:
    """(the value without a factor that is one number, the factor, its constant)."""
    moves: list[Node] = []
    while value.op in MOVES and uses(value) == 1 and len(moves) < DEEPEST:
        moves.append(value)
        value = value.inputs[0]
    if value.op not in (mul, div) or uses(value) != 1 or halves_gelu(value):
        return None
    first, second = value.inputs
    inner, c = (
        (second, first) if value.op is mul and first.constant is not None else (first, second)
    )
    factor = number_of(c)
    if not factor or not same_shape(value, inner):
        return None
    for move in reversed(moves):
        inner = move.with_inputs((inner, *move.inputs[1:]))
    return inner, 1 / factor if value.op is div else factor, c


def from_operand(position: int) -> Callable[[Node, Uses], Node | Declined]:
    """The right side that takes the factor of one operand into the constants of the other."""

    def right(root: Node, uses: Uses) -> Node | Declined:
        found = stripped(root.inputs[position], uses)
        if found is None:
            return Declined("the operand is not a product with one number")
        inner, factor, c = found
        other = root.inputs[1 - position]
        if other.constant is None and not ordinary(factor, other):
            return RANGE
        scaling = Scaling(uses)
        made = scaling.operand(root, 1 - position, np.array(factor))
        if made is None:
            return NO_CONSTANT
        if grows(scaling.new, [*scaling.old, c], uses):
            return SHARED
        inputs = list(root.inputs)
        inputs[position], inputs[1 - position] = inner, made
        return root.with_inputs(tuple(inputs))

    return right


def both(x: Node, y: Node, s: Node, t: Node, root: Node, uses: Uses) -> Node | Declined:
    """(x s) @ (y t) with one factor."""
    left, right = root.inputs
    if number_of(s) is None or number_of(t) is None:
        return NOT_ONE
    if not same_shape(left, x) or not same_shape(right, y) or max(uses(left), uses(right)) > 1:
        return NOT_ONE
    factor = combined_product(s, t)
    if isinstance(factor, Declined):
        return factor
    made: Node = matmul(mul(x, factor), y)
    return made


def queries() -> Node:
    """Rows times weights plus a bias, in heads, for examples."""
    sum_ = add(matmul(example("float32[2, 5, 6]"), weights(6, 8)), weights(8, seed=1))
    made: Node = transpose(reshape(sum_, ints(2, 5, 2, 4)), perm=(0, 2, 1, 3))
    return made


def keys() -> Node:
    """Heads of keys, turned, for examples."""
    return example("float32[2, 2, 4, N]", "k")


def turned_keys() -> Node:
    """Half of the keys, for examples."""
    made: Node = transpose(halved(example("float32[2, 2, N, 4]", "k")), perm=(0, 1, 3, 2))
    return made


def halved(x: Node) -> Node:
    """x / 2, for examples."""
    made: Node = mul(x, filled(0.5))
    return made


def _scores(op: Op, factor: float) -> Node:
    made: Node = op(matmul(queries(), keys()), filled(factor))
    return made


@rules(Soundness.ROUNDING)
def scales(
    x: Value, y: Value, w: Value, b: Maybe, c: Const, s: Const, t: Const, a: Attr
) -> Equations:
    """A factor that is one number goes into the weights of a product that is near."""
    for op, good, bad in ((mul, 0.125, 1e-12), (div, 6.0, 1e12)):
        yield Rule(
            op.name.lower(),
            op(y, c),
            times,
            fires=partial(_scores, op, good),
            misses=partial(_scores, op, bad),
        )
    image, rows = example("float32[N, 3, 4, 4]"), example("float32[N, 3]")
    for name, pattern, place, fires, misses in (
        ("left", matmul(x, w), 0,
         lambda: matmul(transpose(halved(example("float32[2, 3, N]")), perm=(0, 2, 1)),
                        weights(3, 4)),
         lambda: matmul(halved(rows), example("float32[3, 4]", "w"))),
        ("right", matmul(x, w), 1,
         lambda: matmul(queries(), turned_keys()),
         lambda: matmul(rows, halved(example("float32[3, 4]", "w")))),
        ("gemm", gemm(x, w, b, attrs=a), 0,
         lambda: gemm(squeeze(halved(example("float32[1, N, 3]")), ints(0)), weights(3, 4),
                      weights(4), alpha=2),
         lambda: gemm(rows, halved(example("float32[3, 4]", "w")), weights(4))),
        ("conv", conv(x, w, b, attrs=a), 0,
         lambda: conv(squeeze(halved(example("float32[N, 3, 4, 4, 1]")), ints(4)),
                      weights(2, 3, 2, 2), weights(2), pads=(1, 1, 1, 1)),
         lambda: conv(add(image, filled(0.5)), weights(2, 3, 2, 2), weights(2))),
    ):  # fmt: skip
        yield Rule(name, pattern, from_operand(place), fires=fires, misses=misses)
    yield Rule(
        "both",
        matmul(mul(x, s), mul(y, t)),
        both,
        fires=lambda: matmul(halved(rows), halved(example("float32[3, 4]", "w"))),
        misses=lambda: matmul(halved(rows), mul(example("float32[3, 4]", "w"), filled(3.0))),
    )


SCALES: RuleSet = scales
