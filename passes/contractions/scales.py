"""Factors that are one number, taken into the constants of what they multiply.

s * y is y with other constants where y is made of them by products, sums and what only moves
elements: s (x W + b) = x (s W) + s b, whatever is transposed or reshaped in between. Attention's
1 / sqrt(d) goes into the weights of the queries so. Each constant is rounded once, as the product
with s was. The factor is at most 1 in magnitude, so that nothing overflows that did not before, and
at least 2^-32, so that nothing that ordinary numbers make becomes subnormal.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from graphopt.analysis import same_shape
from graphopt.ir import Node
from graphopt.op import Op
from graphopt.ops.arithmetic import add, div, mul, sub
from graphopt.ops.conv import conv
from graphopt.ops.linalg import gemm, matmul
from graphopt.ops.movement import transpose
from graphopt.ops.shape import flatten, reshape, squeeze, unsqueeze
from graphopt.passes.contractions.maps import Uses, Vector, exact, grows, rounded_factors
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
from graphopt.types import DType

DEEPEST = 12
"""How many nodes apart the factor and the constants may be."""
LEAST = 2.0**-32
MOVES = (transpose, reshape, squeeze, unsqueeze, flatten)

NOT_ONE = Declined("the factor is not one number, or broadcasts")
RANGE = Declined("the factor is more than 1, or very small, for numbers of this kind")
SHARED = Declined("a constant is used elsewhere")
NO_CONSTANT = Declined("no constants are near that nothing else uses")


def number_of(value: Node) -> float | None:
    """The one number that a constant is filled with."""
    tensor = value.constant
    if tensor is None or not tensor.dtype.is_float or not tensor.size:
        return None
    tensor = tensor.compact()
    return float(tensor.element) if tensor.is_splat or tensor.size == 1 else None


@dataclass
class Scaling:
    """Makes values times a factor; `old` are the constants that it replaces by `new` ones.

    What is scaled is a product of matrices or a convolution, or a sum of such; factors of elements
    alone are not re-associated here.
    """

    factor: float
    uses: Uses
    old: list[Node] = field(default_factory=list[Node])
    new: list[Node] = field(default_factory=list[Node])
    contracted: bool = False

    def __call__(self, value: Node, depth: int = DEEPEST, *, inside: bool = False) -> Node | None:
        """The value times the factor, None where its constants are not near."""
        if value.constant is not None:
            return self._constant(value)
        if depth == 0 or self.uses(value) != 1:
            return None
        if value.op in MOVES:
            inner = self(value.inputs[0], depth - 1, inside=inside)
            return None if inner is None else value.with_inputs((inner, *value.inputs[1:]))
        if value.op in (add, sub):
            return self._all(value, 0, depth, inside)
        if value.op in (gemm, conv, matmul):
            self.contracted = True
            return (
                self._any(value, depth) if value.op is matmul else self._all(value, 1, depth, True)
            )
        return self._any(value, depth) if value.op is mul and inside else None

    def _constant(self, value: Node) -> Node | None:
        tensor = value.constant
        assert tensor is not None
        if not tensor.dtype.is_float:
            return None
        scaled: Vector = exact(value) * self.factor
        made = rounded_factors(scaled, tensor.dtype, tensor.shape)
        if made is not None:
            self.old.append(value)
            self.new.append(made)
        return made

    def _all(self, value: Node, first: int, depth: int, inside: bool) -> Node | None:
        """A sum: each term, those of a Gemm and a convolution behind their first operand."""
        made: list[Node] = []
        for item in value.inputs[first:]:
            term = item if item.is_absent else self(item, depth - 1, inside=inside)
            if term is None:
                return None
            made.append(term)
        return value.with_inputs((*value.inputs[:first], *made))

    def _any(self, value: Node, depth: int) -> Node | None:
        """A product: one of its operands, constants first."""
        pairs = sorted(enumerate(value.inputs), key=lambda pair: pair[1].constant is None)
        for position, item in pairs:
            before = len(self.old)
            made = self(item, depth - 1, inside=True)
            if made is not None:
                inputs = list(value.inputs)
                inputs[position] = made
                return value.with_inputs(tuple(inputs))
            del self.old[before:], self.new[before:]
        return None


def ordinary(factor: float, y: Node) -> bool:
    """Whether numbers of y's dtype may be multiplied by the factor early rather than late."""
    return LEAST <= abs(factor) <= 1 and y.dtype is not DType.FLOAT16


def times(y: Node, c: Node, root: Node, uses: Uses) -> Node | Declined:
    """y * c by other constants, or y / c."""
    factor = number_of(c)
    if not factor or not same_shape(root, y):
        return NOT_ONE
    if root.op is div:
        factor = 1 / factor
    if not ordinary(factor, y):
        return RANGE
    scaling = Scaling(factor, uses)
    made = scaling(y)
    if made is None or not scaling.contracted:
        return NO_CONSTANT
    return SHARED if grows(scaling.new, [*scaling.old, c], uses) else made


def stripped(value: Node, uses: Uses) -> tuple[Node, float, Node] | None:
    """(the value without a factor that is one number, the factor, its constant)."""
    moves: list[Node] = []
    while value.op in MOVES and uses(value) == 1 and len(moves) < DEEPEST:
        moves.append(value)
        value = value.inputs[0]
    if value.op not in (mul, div) or uses(value) != 1:
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
        scaling = Scaling(factor, uses)
        made = scaling(other, inside=True)
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
    for op, good, bad in ((mul, 0.125, 1e-12), (div, 8.0, 1e12)):
        yield Rule(
            op.name.lower(),
            op(y, c),
            times,
            fires=partial(_scores, op, good),
            misses=partial(_scores, op, bad),
        )
    image, kernel = example("float32[N, 3, 4, 4]"), weights(2, 3, 2, 2)
    rows, matrix = example("float32[N, 3]"), weights(3, 4)
    for name, pattern, place, fires, misses in (
        ("left", matmul(x, w), 0,
         lambda: matmul(transpose(halved(example("float32[3, N]")), perm=(1, 0)), matrix),
         lambda: matmul(halved(rows), example("float32[3, 4]", "w"))),
        ("right", matmul(x, w), 1,
         lambda: matmul(queries(), turned_keys()),
         lambda: matmul(rows, halved(example("float32[3, 4]", "w")))),
        ("gemm", gemm(x, w, b, attrs=a), 0,
         lambda: gemm(halved(rows), matrix, weights(4), alpha=2),
         lambda: gemm(rows, halved(example("float32[3, 4]", "w")), weights(4))),
        ("conv", conv(x, w, b, attrs=a), 0,
         lambda: conv(halved(image), kernel, weights(2), pads=(1, 1, 1, 1)),
         lambda: conv(add(image, filled(0.5)), kernel, weights(2))),
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
