"""Division with the conventions of NumPy, which differ from ONNX's: quotients are rounded down, and
an integer divided by 0 gives 0. In the domain `graphopt`.
"""

from __future__ import annotations

from graphopt.ir import Node
from graphopt.op import Array, BoundsRule, Facts, Op, Xp, op
from graphopt.ops.bounds import NOTHING
from graphopt.ops.dtypes import INTEGERS
from graphopt.ops.elementwise import binary_examples, broadcast_rule
from graphopt.ops.intervals import divided_whole, union
from graphopt.ops.intervals import remainder as rest_of
from graphopt.ops.mathematics import HERE, REALS
from graphopt.ranges import ANYTHING, ValueFacts
from graphopt.structural import constant

TOTAL = Facts(elementwise=True, total=True)
KINDS = (*REALS, *INTEGERS)


def quotient(name: str, function: str, text: str) -> Op:
    """A division of which an integer by 0 gives 0."""

    def kernel(xp: Xp, x: Array, y: Array) -> Array:
        if x.dtype.kind == "f":
            return getattr(xp, function)(x, y)
        none = y == 0
        made = getattr(xp, function)(x, xp.where(none, xp.ones_like(y), y))
        return xp.where(none, xp.zeros_like(made), made)

    kernel.__doc__ = text
    made = Op(name, kernel, domain=HERE, facts=TOTAL)
    made.infer(broadcast_rule(KINDS))

    def examples() -> list[Node]:
        numbers = [constant(data) for data in ([7, -7, 7, -7, 0, 3], [2, 2, -2, -2, 5, 0])]
        return [*binary_examples(made, KINDS), made(*numbers)]

    made.examples(examples)
    return made


floor_divide = quotient("FloorDivide", "floor_divide", "x / y rounded down; of an integer by 0, 0")
remainder = quotient(
    "Remainder", "remainder", "x - floor(x / y) * y, with the sign of y; of an integer by 0, 0"
)
fmod = quotient("Fmod", "fmod", "x - trunc(x / y) * y, with the sign of x; of an integer by 0, 0")


@floor_divide.bounds
def _(node: Node, x: ValueFacts, y: ValueFacts) -> ValueFacts:
    if node.dtype.is_float:
        return ANYTHING
    made = divided_whole(x, y, down=True)
    return union(made, NOTHING if y.has_zero else None)


def _rest(truncated: bool) -> BoundsRule:
    def rule(node: Node, x: ValueFacts, y: ValueFacts) -> ValueFacts:
        return rest_of(x, y, truncated=truncated, floats=node.dtype.is_float)  # 0 is in it

    return rule


remainder.bounds(_rest(truncated=False))
fmod.bounds(_rest(truncated=True))


@op("IntegerPower", domain=HERE, facts=Facts(elementwise=True))
def integer_power(xp: Xp, x: Array, y: Array) -> Array:
    """x to the power of y, integers that wrap around; raises ValueError where y is negative."""
    return xp.power(x, y)


integer_power.infer(broadcast_rule(INTEGERS))
integer_power.examples(lambda: binary_examples(integer_power, INTEGERS))
