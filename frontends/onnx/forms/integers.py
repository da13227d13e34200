"""Forms of division, of powers and divisors of integers, and of counting bits: all are exact."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from graphopt.frontends.onnx.forms.elementary import copy_sign
from graphopt.frontends.onnx.forms.nodes import (
    absolute,
    add,
    apply,
    cast,
    div,
    either,
    equal,
    in_wide_integers,
    less,
    minus,
    mod,
    mul,
    negation,
    sub,
    where,
    widened,
)
from graphopt.ir import Node
from graphopt.ops import functions, logic
from graphopt.structural import constant
from graphopt.types import DType

STEPS = {8: 13, 16: 24, 32: 47, 64: 93}
"""How many steps Euclid's algorithm needs at most, by bits: neighbours in Fibonacci's sequence."""


Binary = Callable[[Node, Node], Node]


def by_kind(integers: Binary, floats: Binary) -> Binary:
    """One form for integers and one for floats; float16 is computed in float32."""
    whole, real = in_wide_integers(integers), widened(floats)
    return lambda x, y: (real if x.dtype.kind == "f" else whole)(x, y)


def safe(x: Node, y: Node) -> tuple[Node, Node | None]:
    """(a divisor that is not 0, nor -1 where that overflows; where y is 0).

    The second is None where the divisor is known to be harmless.
    """
    known = y.constant
    if known is not None and not ((known.array == 0) | (known.array == -1)).any():
        return y, None
    none = equal(y, 0)
    harmful = either(none, equal(y, -1)) if y.dtype.kind == "i" else none
    return where(harmful, 1, y), none


def floor_divided(x: Node, y: Node) -> Node:
    """The quotient toward 0, less 1 where there is a rest and the signs differ; by 0 it is 0."""
    divisor, none = safe(x, y)
    made = div(x, divisor)
    if x.dtype.kind == "i":
        rest = sub(x, mul(made, divisor))
        apart = apply(logic.xor, less(rest, 0), less(divisor, 0))
        lower = apply(logic.and_, negation(equal(rest, 0)), apart)
        made = sub(made, cast(lower, x.dtype))
        if none is not None:
            made = where(equal(y, -1), minus(x), made)
    return made if none is None else where(none, 0, made)


def remainder_of(x: Node, y: Node) -> Node:
    """The remainder with the sign of y; by 0 it is 0."""
    return mod(x, safe(x, y)[0])


def fmod_of(x: Node, y: Node) -> Node:
    """The remainder with the sign of x; by 0 it is 0."""
    divisor, _ = safe(x, y)
    return sub(x, mul(div(x, divisor), divisor))


def _rest(x: Node, y: Node) -> tuple[Node, Node, Node]:
    """(the exact remainder with the sign of x, whether it is 0, whether its sign is not y's)."""
    rest = mod(x, y, fmod=1)
    none = equal(rest, 0)
    apart = apply(logic.xor, less(rest, 0), less(y, 0))
    return rest, none, apply(logic.and_, negation(none), apart)


def floor_divided_floats(x: Node, y: Node) -> Node:
    """The quotient from the exact remainder, rounded to the nearest integer, as NumPy does it."""
    rest, _, apart = _rest(x, y)
    near = div(sub(x, rest), y)
    near = where(apart, sub(near, 1), near)
    low = apply(functions.floor, near)
    whole = where(less(0.5, sub(near, low)), add(low, 1), low)
    plain = div(x, y)
    return where(equal(y, 0), plain, where(equal(near, 0), mul(plain, 0), whole))


def remainder_of_floats(x: Node, y: Node) -> Node:
    """The remainder with the sign of y, from the exact one with the sign of x."""
    rest, none, apart = _rest(x, y)
    return where(none, copy_sign(rest, y), where(apart, add(rest, y), rest))


floor_divide = by_kind(floor_divided, floor_divided_floats)
remainder = by_kind(remainder_of, remainder_of_floats)
fmod = by_kind(fmod_of, lambda x, y: mod(x, y, fmod=1))


def integer_power(x: Node, y: Node) -> Node:
    """Squares multiplied where the exponent has their bit; by a negative exponent it is 1.

    There is a step for each bit that the exponent may have.
    """
    known, dtype = y.constant, y.dtype
    bits = dtype.bits - (dtype.kind == "i")
    if known is not None and known.array.size:
        bits = int(known.array.max()).bit_length()
    return in_wide_integers(partial(_power, max(bits, 1)))(x, y)


def _power(bits: int, base: Node, left: Node) -> Node:
    left = where(less(left, 0), 0, left) if left.dtype.kind == "i" else left
    made: Node | None = None
    for step in range(bits):
        factor = where(equal(mod(left, 2), 1), base, 1)
        made = factor if made is None else mul(made, factor)
        if step < bits - 1:
            base, left = mul(base, base), div(left, 2)
    assert made is not None
    return made


def _size(x: Node) -> Node:
    return absolute(x) if x.dtype.kind == "i" else x


def _gcd(bits: int) -> Binary:
    def form(x: Node, y: Node) -> Node:
        one, other = _size(x), _size(y)
        for _ in range(STEPS[bits]):
            done = equal(other, 0)
            rest = _size(mod(one, where(done, 1, other)))
            one, other = where(done, one, other), where(done, 0, rest)
        return _size(one)

    return form


def _lcm(bits: int) -> Binary:
    divisor = _gcd(bits)

    def form(x: Node, y: Node) -> Node:
        common = divisor(x, y)
        part = div(_size(x), where(equal(common, 0), 1, common))
        return mul(_size(part), _size(y))

    return form


def by_bits(form: Callable[[int], Binary]) -> Binary:
    """A form that depends on how many bits the operands have."""
    return lambda x, y: in_wide_integers(form(x.dtype.bits))(x, y)


gcd = by_bits(_gcd)
lcm = by_bits(_lcm)


def bit_count(x: Node) -> Node:
    """The ones of |x| summed in pairs, in fours, in bytes, then over the bytes by a product."""
    size = absolute(cast(x, DType.INT64)) if x.dtype.kind == "i" else x
    bits = cast(size, DType.UINT64)
    bits = sub(bits, _and(_right(bits, 1), 0x5555555555555555))
    bits = add(_and(bits, 0x3333333333333333), _and(_right(bits, 2), 0x3333333333333333))
    bits = _and(add(bits, _right(bits, 4)), 0x0F0F0F0F0F0F0F0F)
    return cast(_right(mul(bits, 0x0101010101010101), 56), DType.UINT8)


def _and(x: Node, mask: int) -> Node:
    return apply(logic.bitwise_and, x, mask)


def _right(x: Node, places: int) -> Node:
    made: Node = logic.bit_shift(x, constant(places, x.dtype), direction="RIGHT")
    return made
