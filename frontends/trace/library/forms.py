"""Element-wise functions as graphs of ops: what each ufunc does to operands of its loop's dtypes.

Every function here takes values whose dtypes a loop of the ufunc has, and gives its result (for
several, a tuple) in a dtype that is then cast to the loop's.
"""

from __future__ import annotations

from collections.abc import Callable
from math import pi
from typing import Any

import numpy as np

from graphopt.frontends.trace.library import nodes
from graphopt.frontends.trace.library.nodes import apply, full_like, scalar, where
from graphopt.frontends.trace.library.operands import cast
from graphopt.ir import Node
from graphopt.op import Op
from graphopt.ops import arithmetic, division, functions, linalg, logic, mathematics
from graphopt.ops.cast import bit_cast
from graphopt.types import DType

Form = Callable[..., Any]


def plain(op: Op, **attrs: Any) -> Form:
    """The form of a ufunc that one op says."""
    return lambda *values: apply(op, *values, **attrs)


def by_kind(default: Form, **others: Form) -> Form:
    """A form that depends on the kind (b, i, u, f) of the first operand's dtype."""
    return lambda *values: others.get(values[0].dtype.kind, default)(*values)


def same(x: Node) -> Node:
    """x itself."""
    return x


def truth(x: Node) -> Node:
    """Whether the elements are not 0; a NaN is true."""
    return cast(x, bool)


def on_truth(op: Op) -> Form:
    """An op of the operands' truth."""
    return lambda *values: apply(op, *map(truth, values))


def comparison(op: Op, unequal: bool, less: bool, greater: bool) -> Form:
    """A comparison: of bools as numbers, and of a signed with an unsigned integer as NumPy does.

    `less` and `greater` are its results for operands in that order (`unequal`: for !=).
    """

    def form(x: Node, y: Node) -> Node:
        if x.dtype is DType.BOOL and op is not logic.equal:
            x, y = cast(x, np.uint8), cast(y, np.uint8)
        if x.dtype is y.dtype:
            made = apply(op, x, y)
            return apply(logic.not_, made) if unequal else made
        signed, other = (x, y) if x.dtype.kind == "i" else (y, x)
        negative = apply(logic.less, signed, scalar(0, signed))
        wide = cast(signed, other.dtype.numpy)
        compared = form(wide, other) if signed is x else form(other, wide)
        apart = scalar(less if signed is x else greater, compared)
        return where(negative, apart, compared)

    return form


def minus(x: Node) -> Node:
    """-x; unsigned integers wrap around."""
    if x.dtype.kind == "u":
        return apply(arithmetic.sub, scalar(0, x), x)
    return apply(functions.neg, x)


def truncated(x: Node) -> Node:
    """x rounded toward 0."""
    negative = apply(logic.less, x, scalar(0, x))
    return where(negative, apply(functions.ceil, x), apply(functions.floor, x))


def is_finite(x: Node) -> Node:
    """Whether x is a number and not infinite."""
    strange = apply(logic.or_, apply(logic.is_nan, x), apply(logic.is_inf, x))
    return apply(logic.not_, strange)


def sign_bit(x: Node) -> Node:
    """Whether the sign bit is set: of −0 it is."""
    kinds = {16: DType.INT16, 32: DType.INT32, 64: DType.INT64}
    bits = apply(bit_cast, x, to=kinds[x.dtype.bits])
    return apply(logic.less, bits, scalar(0, bits))


def always(value: bool) -> Form:
    """A result that does not depend on the elements."""

    def form(x: Node) -> Node:
        return full_like(x, value, bool)

    return form


def times(factor: float) -> Form:
    """x times a number, which is rounded to the dtype of x (or to float32) first."""

    def form(x: Node) -> Node:
        if x.dtype is DType.FLOAT16:
            wide = cast(x, np.float32)
            return apply(arithmetic.mul, wide, scalar(factor, wide))
        return apply(arithmetic.mul, x, scalar(factor, x))

    return form


def squared(x: Node) -> Node:
    """x * x."""
    return apply(logic.and_ if x.dtype is DType.BOOL else arithmetic.mul, x, x)


def integer_reciprocal(x: Node) -> Node:
    """1 / x of integers, rounded toward 0; of 0, what NumPy gives: 0 or the least wide integer."""
    dtype = x.dtype.numpy
    least = np.iinfo(dtype).min if x.dtype.bits >= 32 else 0
    size = x if x.dtype.kind == "u" else apply(functions.absolute, x)
    made = where(apply(logic.equal, size, scalar(1, x)), x, 0)
    return where(apply(logic.equal, x, scalar(0, x)), least, made) if least else made


def not_nan(op: Op) -> Form:
    """An extreme that a NaN is only where both operands are."""

    def form(x: Node, y: Node) -> Any:
        if x.dtype.kind != "f":
            return extreme(op)(x, y)
        x_nan, y_nan = apply(logic.is_nan, x), apply(logic.is_nan, y)
        return where(x_nan, y, where(y_nan, x, apply(op, x, y)))

    return form


def extreme(op: Op) -> Form:
    """The greatest or the least; of bools whether one or both are true."""
    of_bools = logic.or_ if op is arithmetic.max_ else logic.and_
    return by_kind(plain(op), b=plain(of_bools))


def heaviside(x: Node, middle: Node) -> Node:
    """0 below 0, 1 above, `middle` at 0, NaN of NaN."""
    zero = scalar(0, x)
    step = where(apply(logic.less, x, zero), zero, scalar(1, x))
    made = where(apply(logic.equal, x, zero), middle, step)
    return where(apply(logic.is_nan, x), x, made)


def power(x: Node, y: Node) -> Node:
    """x to the power of y. Raises ValueError where an integer exponent is known to be negative."""
    if x.dtype.kind == "f":
        return apply(arithmetic.power, x, y)
    if y.constant is not None and y.dtype.kind == "i" and (y.constant.array < 0).any():
        raise ValueError("Integers to negative integer powers are not allowed.")
    if y.constant is not None and x.dtype in arithmetic.POWERS:
        return apply(arithmetic.power, x, y)
    return apply(division.integer_power, x, y)


def power_or_root(x: Node, y: Node) -> Node:
    """numpy.power: as `power`, but by one number 0.5 the square root, which differs at -0, -inf."""
    half = y.rank == 0 and y.constant is not None and y.constant.array == 0.5
    return apply(functions.sqrt, x) if half and x.dtype.kind == "f" else power(x, y)


def remainder(op: Op, *, fmod: int) -> Form:
    """A remainder: of floats ONNX's Mod, of integers one that gives 0 where the divisor is 0."""
    return by_kind(plain(op), f=plain(arithmetic.mod, fmod=fmod))


def quotient(x: Node, y: Node) -> Node:
    """x / y rounded down."""
    known = y.constant
    if x.dtype.kind == "u" and known is not None and known.array.all():
        return apply(arithmetic.div, x, y)
    return apply(division.floor_divide, x, y)


def both_parts(x: Node, y: Node) -> tuple[Node, Node]:
    """The quotient rounded down, and the remainder."""
    return quotient(x, y), remainder(division.remainder, fmod=0)(x, y)


def modf(x: Node) -> tuple[Node, Node]:
    """The fractional and the integral part, both with the sign of x."""
    whole = truncated(x)
    rest = where(apply(logic.is_inf, x), 0, apply(arithmetic.sub, x, whole))
    return apply(mathematics.copy_sign, rest, x), whole


def frexp(x: Node) -> tuple[Node, ...]:
    """Mantissa and exponent."""
    return nodes.apply_all(mathematics.frexp, x, outputs=2)


def shift(direction: str) -> Form:
    """The bits of x moved by y places; all of them out where y is negative or too large."""
    return plain(logic.bit_shift, direction=direction)


def clip(x: Node, low: Node, high: Node) -> Any:
    """The least of `high` and the greatest of x and `low`."""
    return extreme(arithmetic.min_)(extreme(arithmetic.max_)(x, low), high)


def wide_reduced(op: Op) -> Form:
    """A product of matrices or vectors: of narrow integers as 32 bits, which wrap alike."""

    def form(*values: Node) -> Node:
        dtype = values[0].dtype
        if dtype.kind in "bi" and dtype.bits < 32:
            wide = apply(op, *(cast(value, np.int32) for value in values))
            return cast(wide, dtype.numpy)
        if dtype.kind == "u" and dtype.bits < 32:
            return cast(apply(op, *(cast(value, np.uint32) for value in values)), dtype.numpy)
        return apply(op, *values)

    return form


matmul = wide_reduced(linalg.matmul)


def vecdot(x: Node, y: Node) -> Node:
    """The sums over the last axis of products, which broadcast before it."""
    row, column = nodes.unsqueeze(x, [-2]), nodes.unsqueeze(y, [-1])
    return nodes.squeeze(matmul(row, column), [-2, -1])


def matvec(x: Node, y: Node) -> Node:
    """Products of matrices with vectors."""
    return nodes.squeeze(matmul(x, nodes.unsqueeze(y, [-1])), [-1])


def vecmat(x: Node, y: Node) -> Node:
    """Products of vectors with matrices."""
    return nodes.squeeze(matmul(nodes.unsqueeze(x, [-2]), y), [-2])


def spacing(x: Node) -> Node:
    """The distance to the next number; NaN of infinity."""
    return apply(mathematics.spacing, x)


FORMS: dict[str, Form] = {
    "absolute": by_kind(plain(functions.absolute), b=same, u=same),
    "add": by_kind(plain(arithmetic.add), b=plain(logic.or_)),
    "arccos": plain(functions.acos),
    "arccosh": plain(functions.acosh),
    "arcsin": plain(functions.asin),
    "arcsinh": plain(functions.asinh),
    "arctan": plain(functions.atan),
    "arctan2": plain(mathematics.atan2),
    "arctanh": plain(functions.atanh),
    "bitwise_and": by_kind(plain(logic.bitwise_and), b=plain(logic.and_)),
    "bitwise_count": plain(mathematics.bit_count),
    "bitwise_or": by_kind(plain(logic.bitwise_or), b=plain(logic.or_)),
    "bitwise_xor": by_kind(plain(logic.bitwise_xor), b=plain(logic.xor)),
    "cbrt": plain(mathematics.cbrt),
    "ceil": by_kind(same, f=plain(functions.ceil)),
    "clip": clip,
    "conjugate": same,
    "copysign": plain(mathematics.copy_sign),
    "cos": plain(functions.cos),
    "cosh": plain(functions.cosh),
    "deg2rad": times(pi / 180),
    "degrees": times(180 / pi),
    "divide": plain(arithmetic.div),
    "divmod": both_parts,
    "equal": comparison(logic.equal, False, False, False),
    "exp": plain(functions.exp),
    "exp2": plain(mathematics.exp2),
    "expm1": plain(mathematics.expm1),
    "fabs": plain(functions.absolute),
    "float_power": power,
    "floor": by_kind(same, f=plain(functions.floor)),
    "floor_divide": quotient,
    "fmax": not_nan(arithmetic.max_),
    "fmin": not_nan(arithmetic.min_),
    "fmod": remainder(division.fmod, fmod=1),
    "frexp": frexp,
    "gcd": plain(mathematics.gcd),
    "greater": comparison(logic.greater, False, False, True),
    "greater_equal": comparison(logic.greater_or_equal, False, False, True),
    "heaviside": heaviside,
    "hypot": plain(mathematics.hypot),
    "invert": by_kind(plain(logic.bitwise_not), b=plain(logic.not_)),
    "isfinite": by_kind(always(True), f=is_finite),
    "isinf": by_kind(always(False), f=plain(logic.is_inf)),
    "isnan": by_kind(always(False), f=plain(logic.is_nan)),
    "lcm": plain(mathematics.lcm),
    "ldexp": plain(mathematics.ldexp),
    "left_shift": shift("LEFT"),
    "less": comparison(logic.less, False, True, False),
    "less_equal": comparison(logic.less_or_equal, False, True, False),
    "log": plain(functions.log),
    "log10": plain(mathematics.log10),
    "log1p": plain(mathematics.log1p),
    "log2": plain(mathematics.log2),
    "logaddexp": plain(mathematics.log_add_exp),
    "logaddexp2": plain(mathematics.log_add_exp2),
    "logical_and": on_truth(logic.and_),
    "logical_not": on_truth(logic.not_),
    "logical_or": on_truth(logic.or_),
    "logical_xor": on_truth(logic.xor),
    "matmul": matmul,
    "matvec": matvec,
    "maximum": extreme(arithmetic.max_),
    "minimum": extreme(arithmetic.min_),
    "modf": modf,
    "multiply": by_kind(plain(arithmetic.mul), b=plain(logic.and_)),
    "negative": minus,
    "nextafter": plain(mathematics.next_after),
    "not_equal": comparison(logic.equal, True, True, True),
    "positive": same,
    "power": power_or_root,
    "rad2deg": times(180 / pi),
    "radians": times(pi / 180),
    "reciprocal": by_kind(integer_reciprocal, f=plain(functions.reciprocal)),
    "remainder": remainder(division.remainder, fmod=0),
    "right_shift": shift("RIGHT"),
    "rint": plain(functions.round_),
    "sign": plain(functions.sign),
    "signbit": sign_bit,
    "sin": plain(functions.sin),
    "sinh": plain(functions.sinh),
    "spacing": spacing,
    "sqrt": plain(functions.sqrt),
    "square": squared,
    "subtract": plain(arithmetic.sub),
    "tan": plain(functions.tan),
    "tanh": plain(functions.tanh),
    "trunc": by_kind(same, f=truncated),
    "vecdot": vecdot,
    "vecmat": vecmat,
}
"""The form of every ufunc that the graph can say, by its name."""
