"""Rules of products and quotients: constants that are combined, powers of two, reciprocals."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from graphopt.analysis import finite_and_normal
from graphopt.ir import Node
from graphopt.ops.arithmetic import div, mul
from graphopt.ops.functions import reciprocal
from graphopt.passes.algebra.elements import (
    REPLACEABLE,
    anything,
    filling,
    keeps_shape,
    no_larger,
)
from graphopt.rewriting import (
    Const,
    Declined,
    Equations,
    Float,
    Guard,
    Integer,
    Rule,
    Soundness,
    Value,
    guards,
    rules,
)
from graphopt.rewriting.examples import example, filled
from graphopt.rewriting.reassociate import combined_product, exact_product
from graphopt.structural import constant
from graphopt.tensor import Tensor

Build = Callable[[Any, Any], Any]
Example = Callable[[], Node]
REALS, WHOLE = "float32[2, N]", "int32[2, N]"


def _times(c: Node, d: Node) -> Node | Declined:
    return no_larger(combined_product(c, d), c, d)


def _put(build: Build) -> Callable[[Any, Any, Any], Node | Declined]:
    """The right side that builds upon x and the product of c and d."""

    def right(x: Node, c: Node, d: Node) -> Node | Declined:
        made = _times(c, d)
        if isinstance(made, Declined):
            return made
        node: Node = build(x, made)
        return node

    return right


@rules(Soundness.EXACT)
def powers_of_two(x: Float, c: Const, d: Const) -> Equations:
    """(x * c) * d = x * (c * d) of powers of two from 1 up, and x / c = x * (1 / c) of any.

    Neither rounds, but where the result is subnormal or overflows: then both sides do alike.
    """
    yield Rule(
        "product",
        mul(mul(x, c), d),
        _put(lambda x, e: mul(x, e)),
        when=Guard("both are powers of two from 1 up", lambda c, d: exact_product(c, d)),
        fires=lambda: mul(mul(example(REALS), filled(2)), filled(1024)),
        misses=lambda: mul(mul(example(REALS), filled(3)), filled(7)),
    )
    yield Rule(
        "quotient",
        div(x, c),
        lambda x, c: mul(x, _inverse(c)),
        when=Guard("the inverse of the constant is exact", lambda c: _inverse_exact(c)),
        worth=REPLACEABLE,
        fires=lambda: div(example(REALS), filled(8)),
        misses=lambda: div(example(REALS), filled(3)),
    )


def _inverse(c: Node) -> Node:
    tensor = c.constant
    assert tensor is not None
    with np.errstate(all="ignore"):
        if tensor.is_splat:
            one = np.ones((), tensor.dtype.numpy)
            return constant(Tensor.splat(tensor.dtype, tensor.shape, one / tensor.element))
        return constant(Tensor.of(np.ones((), tensor.dtype.numpy) / tensor.array, tensor.dtype))


def _inverse_exact(c: Node) -> bool:
    """Whether a constant holds powers of two whose inverses are normal."""
    tensor = c.constant
    assert tensor is not None
    held = np.asarray(tensor.element) if tensor.is_splat else tensor.array
    inverse = _inverse(c).constant
    assert inverse is not None
    made = np.asarray(inverse.element) if inverse.is_splat else inverse.array
    fractions, _ = np.frexp(np.abs(held.astype(np.float64)))
    return bool(np.all(fractions == 0.5)) and finite_and_normal(made) and bool(np.all(made != 0))


@rules(Soundness.EXACT)
def integer_products(x: Integer, c: Const, d: Const, inner: Integer) -> Equations:
    """(x * c) * d = x * (c * d) and x * 0 = 0; integers wrap around."""
    yield Rule(
        "constants",
        mul(inner.of(mul(x, c)), d),
        _put(lambda x, e: mul(x, e)),
        worth=guards.used_once("inner"),
        fires=lambda: mul(mul(example(WHOLE), filled(3, dtype="int32")), filled(7, dtype="int32")),
        misses=lambda: mul(mul(example(REALS), filled(3)), filled(7)),
    )
    yield Rule(
        "zero",
        mul(x, 0.0),
        filling(0),
        fires=lambda: mul(example("int32[2, 3]"), filled(0, dtype="int32")),
        misses=lambda: mul(example("float32[2, 3]"), filled(0)),
    )


@rules(Soundness.ROUNDING)
def float_products(x: Float, c: Const, d: Const, inner: Float) -> Equations:
    """(x * c) * d = x * (c * d), (x / c) / d = x / (c * d), (c / x) * d = (c * d) / x.

    The product is exact, and both constants enlarge or neither does: what overflows or underflows
    on the right does so on the left.
    """
    three, seven, small = filled(3), filled(7), filled(0.375)
    cases: tuple[tuple[str, Any, Build, Example, Example], ...] = (
        ("constants", mul(inner.of(mul(x, c)), d), lambda x, e: mul(x, e),
         lambda: mul(mul(example(REALS), three), seven),
         lambda: mul(mul(example(REALS), filled(1e30)), filled(1e30))),
        ("quotients", div(inner.of(div(x, c)), d), lambda x, e: div(x, e),
         lambda: div(div(example(REALS), three), seven),
         lambda: div(div(example(REALS), three), small)),
        ("over_x", mul(inner.of(div(c, x)), d), lambda x, e: div(e, x),
         lambda: mul(div(three, example(REALS)), seven),
         lambda: mul(div(three, example(REALS)), small)),
    )  # fmt: skip
    for name, left, build, fires, misses in cases:
        yield Rule(
            name,
            left,
            _put(build),
            worth=guards.used_once("inner"),
            fires=fires,
            misses=misses,
        )


@rules(Soundness.EXACT)
def reciprocals(x: Float) -> Equations:
    """1 / x is a Reciprocal."""
    yield Rule(
        "one_over",
        div(1.0, x),
        reciprocal(x),
        when=keeps_shape(),
        fires=lambda: div(filled(1), example(REALS)),
        misses=lambda: div(filled(1, 4, 1, 1), anything("float32")),
    )


@rules(Soundness.ROUNDING)
def quotients(x: Float, y: Float, inner: Float) -> Equations:
    """x * (1 / y) = x / y, which rounds once."""
    yield Rule(
        "times_reciprocal",
        mul(x, inner.of(reciprocal(y))),
        div(x, y),
        worth=guards.used_once("inner"),
        fires=lambda: mul(example(REALS), reciprocal(example(REALS, "y"))),
        misses=lambda: div(example(REALS), reciprocal(example(REALS, "y"))),
    )


@rules(Soundness.FAST)
def fast_quotients(x: Float, y: Float, z: Value, c: Const, inner: Float) -> Equations:
    """x / c = x * (1 / c), 1 / (1 / x) = x, x / (1 / y) = x * y, (x / y) / z = x / (y * z)."""
    yield Rule(
        "by_constant",
        div(x, c),
        lambda x, c: mul(x, _inverse(c)),
        worth=(
            REPLACEABLE,
            Guard("the inverse of the constant is finite and normal", lambda c: _invertible(c)),
        ),
        fires=lambda: div(example(REALS), filled(3)),
        misses=lambda: div(example(REALS), filled(0)),
    )
    yield Rule(
        "twice",
        reciprocal(reciprocal(x)),
        x,
        fires=lambda: reciprocal(reciprocal(example(REALS))),
        misses=lambda: reciprocal(example(REALS)),
    )
    yield Rule(
        "by_reciprocal",
        div(x, inner.of(reciprocal(y))),
        mul(x, y),
        worth=guards.used_once("inner"),
        fires=lambda: div(example(REALS), reciprocal(example(REALS, "y"))),
        misses=lambda: mul(example(REALS), reciprocal(example(REALS, "y"))),
    )
    yield Rule(
        "by_quotient",
        div(x, inner.of(div(y, z))),
        lambda x, y, z: div(mul(x, z), y),
        worth=(
            guards.used_once("inner"),
            Guard("x is a constant", lambda x: x.constant is not None),
        ),
        fires=lambda: div(filled(3), div(example(REALS), example(REALS, "y"))),
        misses=lambda: div(div(example(REALS), filled(7)), example(REALS, "y")),
    )


def _invertible(c: Node) -> bool:
    made = _inverse(c).constant
    assert made is not None
    held = np.asarray(made.element) if made.is_splat else made.array
    return finite_and_normal(held) and bool(np.all(held != 0))


PRODUCTS = (
    powers_of_two + integer_products + float_products + reciprocals + quotients + fast_quotients
)
