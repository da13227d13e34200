"""Forms of complex numbers by their parts: ONNX has no arithmetic on them.

A part of a sum is the sum of parts, and so on down to where complex numbers are made of real ones:
a program that takes and gives real numbers can have complex ones between. What the parts of
infinite numbers are is not that of NumPy everywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from graphopt.frontends.onnx.forms.nodes import (
    absolute,
    add,
    apply,
    div,
    equal,
    less,
    minus,
    mul,
    sub,
    where,
)
from graphopt.ir import Node
from graphopt.ops import complexes, functions, linalg, logic, mathematics
from graphopt.ops.complexes import PARTS
from graphopt.structural import constant

Part = tuple[Node, Node]
"""The real and the imaginary part."""
MOVES = frozenset(
    "Compress Concat Expand Flatten Gather GatherElements GatherND Identity Reshape Slice Squeeze"
    " Tile Transpose Unsqueeze Where".split()
)
"""Ops that give elements of their inputs: of parts they give the parts."""


def halves(x: Node) -> Part:
    """The parts of a value, as ops of it."""
    return complexes.real(x), complexes.imag(x)


def part_of(x: Node, index: int) -> Node | None:
    """A part of what an op makes, by parts of what it was given; None where that is not known."""
    known = x.constant
    if known is not None:
        array = known.array
        return constant(array.imag if index else array.real, PARTS[x.dtype])
    if not x.op.domain and x.op.name in MOVES:
        inputs = (halves(i)[index] if i.dtype.kind == "c" else i for i in x.inputs)
        return Node(x.op, tuple(inputs), x.attrs)
    if x.op.key == ("graphopt", "ComplexOf"):
        made: Node = logic.where(constant(True), x.inputs[index], x.inputs[1 - index])
        return x.inputs[index] if x.inputs[index].shape == x.shape else made
    form = PART_FORMS.get(x.op.name) if x.op.domain == "graphopt" else None
    return None if form is None else form(*map(halves, x.inputs))[index]


def real(x: Node) -> Node | None:
    """The real part."""
    return part_of(x, 0)


def imag(x: Node) -> Node | None:
    """The imaginary part."""
    return part_of(x, 1)


def magnitude(x: Node) -> Node:
    """The distance from 0."""
    made: Node = mathematics.hypot(*halves(x))
    return made


def both_equal(x: Node, y: Node) -> Node:
    """Whether both parts are equal."""
    (a, b), (c, d) = halves(x), halves(y)
    return apply(logic.and_, equal(a, c), equal(b, d))


def _sum(x: Part, y: Part) -> Part:
    return add(x[0], y[0]), add(x[1], y[1])


def _difference(x: Part, y: Part) -> Part:
    return sub(x[0], y[0]), sub(x[1], y[1])


def _opposite(x: Part) -> Part:
    return minus(x[0]), minus(x[1])


def _conjugate(x: Part) -> Part:
    return x[0], minus(x[1])


def _product(x: Part, y: Part) -> Part:
    (a, b), (c, d) = x, y
    return sub(mul(a, c), mul(b, d)), add(mul(a, d), mul(b, c))


def _quotient(x: Part, y: Part) -> Part:
    """By R. Smith: the divisor is scaled by its greater part, so that nothing overflows."""
    (a, b), (c, d) = x, y
    turned = less(absolute(c), absolute(d))
    high, low = where(turned, d, c), where(turned, c, d)
    ratio = div(low, high)
    scale = add(high, mul(low, ratio))
    one = where(turned, add(mul(a, ratio), b), add(a, mul(b, ratio)))
    other = where(turned, sub(mul(b, ratio), a), sub(b, mul(a, ratio)))
    return div(one, scale), div(other, scale)


def _matrices(x: Part, y: Part) -> Part:
    (a, b), (c, d) = x, y

    def product(one: Node, other: Node) -> Node:
        return apply(linalg.matmul, one, other)

    return sub(product(a, c), product(b, d)), add(product(a, d), product(b, c))


def _exponential(x: Part) -> Part:
    size = apply(functions.exp, x[0])
    return mul(size, apply(functions.cos, x[1])), mul(size, apply(functions.sin, x[1]))


PART_FORMS: Mapping[str, Callable[..., Part]] = {
    "ComplexAdd": _sum,
    "ComplexDiv": _quotient,
    "ComplexExp": _exponential,
    "ComplexMatMul": _matrices,
    "ComplexMul": _product,
    "ComplexNeg": _opposite,
    "ComplexSub": _difference,
    "Conjugate": _conjugate,
}
"""The parts of what an op gives, of the parts of its inputs."""
