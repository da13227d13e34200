"""Arithmetic on two or more broadcast tensors: sums, products, extremes, powers, remainders."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial, reduce
from typing import Any

from graphopt import dims
from graphopt.ir import Node
from graphopt.op import Array, Facts, Op, Xp, op, refuse
from graphopt.ops import intervals
from graphopt.ops.bounds import attribute, folded
from graphopt.ops.checks import check_dtype
from graphopt.ops.common import broadcast_shapes
from graphopt.ops.dtypes import FLOATS, NUMBERS, Dtypes
from graphopt.ops.elementwise import (
    Combine,
    binary,
    binary_examples,
    broadcast_rule,
    broadcast_type,
    combine_known,
    nonnegative,
)
from graphopt.ops.examples import given
from graphopt.ops.kernels import single
from graphopt.ranges import ANYTHING, ValueFacts
from graphopt.structural import constant
from graphopt.types import DType, TensorType, Type, dtype_of

# −0 is the unit of a sum even of −0, where +0 gives +0.
add = binary(
    "Add", "add", "x + y; integers wrap around",
    facts=Facts(commutative=True, unit=-0.0, signed_zero="passed"), known=operator.add,
)  # fmt: skip
sub = binary(
    "Sub", "subtract", "x - y; integers wrap around",
    facts=Facts(unit=0.0, unit_side="right", signed_zero="passed"), known=operator.sub,
)  # fmt: skip
mul = binary(
    "Mul", "multiply", "x * y; integers wrap around",
    facts=Facts(commutative=True, unit=1.0, signed_zero="passed"), known=operator.mul,
)  # fmt: skip


@add.bounds
def _(node: Node, x: ValueFacts, y: ValueFacts) -> ValueFacts:
    return intervals.add(node.dtype, x, y)


@sub.bounds
def _(node: Node, x: ValueFacts, y: ValueFacts) -> ValueFacts:
    if node.inputs[0] is node.inputs[1]:
        nan = x.may_be_nan or intervals.has_infinity(x)
        return ValueFacts(0, 0, nan and node.dtype.is_float, integer_valued=True)
    return intervals.sub(node.dtype, x, y)


@mul.bounds
def _(node: Node, x: ValueFacts, y: ValueFacts) -> ValueFacts:
    if node.inputs[0] is node.inputs[1]:
        return intervals.square(node.dtype, x)
    return intervals.mul(node.dtype, x, y)


@op(
    "Div",
    facts=Facts(
        elementwise=True, unit=1.0, unit_side="right", signed_zero="passed", revealing=(1,)
    ),
)
def div(xp: Xp, x: Array, y: Array) -> Array:
    """x / y; of integers rounded toward zero, and an error where y is 0."""
    return xp.divide_integers(x, y) if x.dtype.kind in "iu" else xp.true_divide(x, y)


@div.bounds
def _(node: Node, x: ValueFacts, y: ValueFacts) -> ValueFacts:
    if node.dtype.is_float:
        return intervals.div(node.dtype, x, y)
    return intervals.divided_whole(x, y) or ANYTHING


def known_quotient(a: Any, b: Any) -> Any:
    """a / b of known elements, where both are proven to have a sign for which it is the floor."""
    if type(a) is type(b) is int and b:
        return abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)
    return dims.floordiv(a, b) if nonnegative(a) and dims.positive(b) else None


div.infer(broadcast_rule(NUMBERS, known_quotient))


@div.examples
def _() -> list[Node]:
    size = given("x", 2, dtype=DType.INT64)
    numbers = [constant(data) for data in ([7, -7, 7, -7, 0], [2, 2, -2, -2, 5])]
    return [*binary_examples(div, NUMBERS), div(*numbers), div(size, constant([2, -3]))]


@op("Mod", facts=Facts(signed_zero="passed", elementwise=True))
def mod(xp: Xp, x: Array, y: Array, *, fmod: int = 0) -> Array:
    """x - floor(x / y) * y, or with fmod=1 x - trunc(x / y) * y; an error where an integer y is 0.

    The result has the sign of y, or with fmod=1 that of x.
    """
    if x.dtype.kind not in "iu":
        return xp.fmod(x, y) if fmod else xp.mod(x, y)
    rest = x - xp.divide_integers(x, y) * y
    return rest if fmod else xp.where((rest != 0) & ((rest < 0) != (y < 0)), rest + y, rest)


@mod.bounds
def _(node: Node, x: ValueFacts, y: ValueFacts) -> ValueFacts:
    truncated = bool(attribute(node, "fmod"))
    return intervals.remainder(x, y, truncated=truncated, floats=node.dtype.is_float)


def known_remainder(a: Any, b: Any) -> Any:
    """a mod b of known elements that are proven to have a sign for which both kinds are equal."""
    if nonnegative(a) and dims.positive(b):
        return a - dims.floordiv(a, b) * b
    return None


mod_rule = broadcast_rule(NUMBERS, known_remainder)


@mod.infer
def _(x: Node, y: Node, *, fmod: int) -> Type:
    if fmod not in (0, 1):
        raise refuse(f"fmod is 0 or 1, not {fmod}")
    return mod_rule(x, y)


@mod.examples
def _() -> list[Node]:
    numbers = [constant(data) for data in ([7, -7, 7, -7, 0], [2, 2, -2, -2, 5])]
    examples = binary_examples(mod, NUMBERS) + binary_examples(mod, NUMBERS, fmod=1)
    return [*examples, mod(*numbers), mod(*numbers, fmod=1)]


@op("Pow", facts=Facts(elementwise=True, total=True, unit=1.0, unit_side="right", ulps=4))
def power(xp: Xp, x: Array, y: Array) -> Array:
    """x to the power of y, in the dtype of x; integers wrap around.

    An integer to a negative integer power is truncated toward zero, and 0 of 0.
    """
    if x.dtype.kind != "i":
        if x.dtype == y.dtype:
            return xp.power(x, y)
        return xp.power(x.astype(xp.float64), y.astype(xp.float64)).astype(x.dtype)
    if y.dtype.kind not in "iu":
        made = xp.power(x.astype(xp.float64), y.astype(xp.float64))
        return xp.cast(made, dtype_of(x.dtype))
    # No unit modulo 2**64 has a greater order than 2**62: the highest bit of y does not count.
    y = (y & ((1 << 63) - 1) if y.dtype == xp.uint64 else y).astype(xp.int64)
    base = x.astype(xp.int64)
    inverse = xp.where(base * base == 1, xp.where(y % 2 == 0, 1, base), 0)
    return xp.where(y < 0, inverse, xp.power(base, xp.maximum(y, 0))).astype(x.dtype)


POWERS = (DType.FLOAT32, DType.FLOAT64, DType.FLOAT16, DType.BFLOAT16, DType.INT32, DType.INT64)


@power.infer
def _(x: Node, y: Node) -> Type:
    check_dtype(x, POWERS)
    check_dtype(y, NUMBERS)
    base, exponent = x.tensor_type, y.tensor_type
    made = TensorType(base.dtype, broadcast_shapes((x.shape, y.shape)))
    if not (base.dtype.is_integer and exponent.dtype.is_integer):
        return made
    return made.with_known(combine_known((base, exponent), made.shape, base.dtype, known_power))


def known_power(a: Any, b: Any) -> Any:
    """a to the power of b of known elements, where it is small."""
    return a**b if type(a) is type(b) is int and 0 <= b <= 64 and abs(a) <= 1 << 31 else None


@power.bounds
def _(node: Node, x: ValueFacts, y: ValueFacts) -> ValueFacts:
    if node.dtype.is_float:
        return intervals.power(node.dtype, x, y, node.op.facts.ulps)
    count = y.low if y.low == y.high and node.inputs[1].dtype.is_integer else -1
    return intervals.whole_power(x, int(count)) if 0 <= count <= 64 else ANYTHING


@power.examples
def _() -> list[Node]:
    mixed = [
        (DType.FLOAT32, DType.INT64),
        (DType.FLOAT16, DType.FLOAT32),
        (DType.INT32, DType.FLOAT32),
        (DType.INT64, DType.UINT64),
        (DType.INT32, DType.INT8),
    ]
    numbers = [constant(data) for data in ([2, -3, 10, 0, 2], [3, 3, 0, 0, 63])]
    examples = [power(given("x", 2, 3, dtype=a), given("y", 3, dtype=b)) for a, b in mixed]
    return [*binary_examples(power, POWERS), *examples, power(*numbers)]


def variadic(
    name: str,
    text: str,
    fold: Callable[[Xp, tuple[Array, ...]], Array],
    dtypes: Dtypes,
    facts: Facts,
    known: Combine | None = None,
) -> Op:
    """A function of one or more variables that are broadcast."""

    def kernel(xp: Xp, x: Array, *more: Array) -> Array:
        return fold(xp, (x, *more)).astype(x.dtype, copy=False) if more else x

    kernel.__doc__ = text
    made = Op(name, kernel, facts=facts)
    made.infer(broadcast_rule(dtypes, known))
    first = dtypes[0]
    made.examples(
        lambda: [
            *binary_examples(made, dtypes),
            made(given("x", "N", dtype=first)),
            made(
                given("x", 2, 1, dtype=first),
                given("y", "N", dtype=first),
                given("z", 1, 1, 1, dtype=first),
            ),
        ]
    )
    return made


def _extreme(ufunc: str, *, greatest: bool) -> Callable[[Xp, tuple[Array, ...]], Array]:
    def fold(xp: Xp, values: tuple[Array, ...]) -> Array:
        def both(x: Array, y: Array) -> Array:
            found = getattr(xp, ufunc)(x, y)
            if x.dtype.kind in "iu":
                return found
            # Which of 0 and -0 NumPy takes depends on the position in the array.
            return xp.where(x == y, xp.where(xp.signbit(x) == greatest, y, x), found)

        return reduce(both, values)

    return fold


def _sum(xp: Xp, values: tuple[Array, ...]) -> Array:
    return reduce(xp.add, (single(xp, value) for value in values))


EXTREME = Facts(
    elementwise=True, total=True, commutative=True, idempotent=True, signed_zero="passed"
)
TOTALS = Facts(elementwise=True, total=True, commutative=True, ulps=2, signed_zero="passed")

max_ = variadic(
    "Max",
    "The greatest of the inputs, 0 being greater than -0; NaN where one is NaN",
    _extreme("maximum", greatest=True),
    NUMBERS,
    replace(EXTREME, ufunc="maximum"),
    lambda *row: reduce(dims.maximum, row),
)
min_ = variadic(
    "Min",
    "The least of the inputs, -0 being less than 0; NaN where one is NaN",
    _extreme("minimum", greatest=False),
    NUMBERS,
    replace(EXTREME, ufunc="minimum"),
    lambda *row: reduce(dims.minimum, row),
)


@max_.bounds
def _(node: Node, *inputs: ValueFacts) -> ValueFacts:
    made = reduce(intervals.maximum, inputs)
    zero = made.may_be_negative_zero and all(map(intervals.may_be_signed, inputs))
    return replace(made, may_be_negative_zero=zero)


min_.bounds(folded(intervals.minimum))
sum_ = variadic("Sum", "The sum of the inputs", _sum, FLOATS, TOTALS)
mean = variadic(
    "Mean",
    "The arithmetic mean of the inputs",
    lambda xp, values: _sum(xp, values) / len(values),
    FLOATS,
    TOTALS,
)


@sum_.bounds
def _(node: Node, *inputs: ValueFacts) -> ValueFacts:
    return intervals.sum_of(node.dtype, inputs)


@mean.bounds
def _(node: Node, *inputs: ValueFacts) -> ValueFacts:
    made = intervals.sum_of(node.dtype, inputs)
    made = intervals.div(node.dtype, made, intervals.point(len(inputs)))
    least, most = intervals.same_sign(made)
    return intervals.spread(node.dtype, made, node.op.facts.ulps, least, most)


@op("Clip", facts=Facts(signed_zero="passed", elementwise=True, total=True))
def clip(xp: Xp, x: Array, low: Array | None = None, high: Array | None = None) -> Array:
    """The least of high and the greatest of x and low, which are scalars; NaN of NaN."""
    if low is not None:
        x = xp.maximum(x, low.reshape(()))
    return x if high is None else xp.minimum(x, high.reshape(()))


@clip.bounds
def _(node: Node, x: ValueFacts, low: ValueFacts | None, high: ValueFacts | None) -> ValueFacts:
    made = x if low is None else intervals.maximum(x, low)
    return made if high is None else intervals.minimum(made, high)


@clip.infer
def _(x: Node, low: Node | None, high: Node | None) -> Type:
    check_dtype(x, NUMBERS)
    kind = x.tensor_type
    kinds = [kind]
    for bound in (low, high):
        if bound is not None:
            shape = bound.shape or ()
            if len(shape) > (0 if kind.shape == () else 1) or any(
                type(size) is int and size != 1 for size in shape
            ):
                raise refuse(f"the bounds are scalars, not {bound.type}")
            kinds.append(TensorType(bound.dtype, (), bound.known))
    known: list[Combine] = []
    known += [dims.maximum] if low is not None else []
    known += [dims.minimum] if high is not None else []
    return broadcast_type(kinds, partial(known_clip, known))


def known_clip(known: Sequence[Combine], a: Any, *bounds: Any) -> Any:
    """A known element within the bounds that there are, each with its own function."""
    for combine, bound in zip(known, bounds, strict=True):
        a = combine(a, bound)
    return a


@clip.examples
def _() -> list[Node]:
    examples: list[Node] = []
    for dtype in NUMBERS:
        x, low, high = (
            given(name, *shape, dtype=dtype)
            for name, shape in (("x", (4, 5)), ("l", ()), ("h", ()))
        )
        examples += [clip(x, low, high), clip(x, None, high), clip(x, low)]
    x = given("x", "N", 0)
    return [*examples, clip(x), clip(given("y", 3)), clip(x, given("low", 1))]
