"""Idioms of activation functions: all spellings of Gelu, Swish, Mish, HardSwish, LeakyRelu."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from math import nan, pi, sqrt
from typing import Any

from graphopt.fusion import between, fuse
from graphopt.ir import Node
from graphopt.op import Op, float32
from graphopt.ops.activation import (
    gelu,
    hard_sigmoid,
    hard_swish,
    leaky_relu,
    mish,
    sigmoid,
    softplus,
    swish,
)
from graphopt.ops.arithmetic import add, clip, div, max_, mul, power
from graphopt.ops.functions import erf, exp, log, tanh
from graphopt.ops.mathematics import log1p
from graphopt.passes.fusion.gates import relu6
from graphopt.passes.fusion.idioms import Grouping, about, number, unused_outside
from graphopt.rewriting import Attr, Const, Equations, Float, Guard, Rule, Soundness, rules
from graphopt.rewriting.examples import example, filled, weights
from graphopt.structural import constant
from graphopt.tensor import Tensor

TANH_SCALE = sqrt(2 / pi)
TANH_CUBE = 0.044715
QUICK = 1.702
MAX_STEPS = 4
alone = unused_outside("x")


def _x() -> Node:
    return example("float32[N, 3]")


def _of_single(op: Op, x: Node, **attrs: float) -> Node | None:
    """An operator whose attributes, which are float32, are no numbers that float64 may have."""
    made: Node | None = op(x, **attrs) if x.dtype.bits <= 32 else None
    return made


def _form(op: Op, **attrs: float) -> Callable[[Node], Node | None]:
    return lambda x: _of_single(op, x, **attrs)


def halved(x: Any, rest: Any, half: Any) -> Iterator[tuple[str, Any]]:
    """x * rest / 2 in every order."""
    yield "product_first", mul(mul(x, rest), half)
    yield "half_first", mul(mul(x, half), rest)
    yield "half_inside", mul(x, mul(rest, half))


def _half_first(op: Op) -> Callable[..., Node]:
    def form(x: Node, c: Node) -> Node:
        half, one = (constant(Tensor.splat(x.dtype, (), value)) for value in (0.5, 1))
        root = mul(mul(x, half), add(erf(op(x, c)), one))
        return fuse(root, between(root, (x,)), "Gelu", gelu(x))

    return form


@rules(Soundness.ROUNDING)
def gelu_erf(x: Float, c: Const) -> Equations:
    """x * (1 + erf(x / √2)) / 2 = Gelu(x)

    Where there is no such operator, x * (0.5 * (1 + erf)) is still written half first: runtimes
    know the function by that.
    """
    inner: Mapping[str, tuple[Any, float]] = {"div": (div, sqrt(2)), "mul": (mul, sqrt(0.5))}
    for name, (op, wanted) in inner.items():
        for order, left in halved(x, add(erf(op(x, c)), 1.0), 0.5):

            def spelled(c: float, op: Any = op, order: str = order) -> Node:
                rest = add(erf(op(_x(), filled(c))), filled(1))
                made: Node = dict(halved(_x(), rest, filled(0.5)))[order]
                return made

            yield Rule(
                f"{name}_{order}",
                left,
                Grouping("Gelu", ("x",), _half_first(op) if order == "half_inside" else gelu(x)),
                when=about(wanted, "c"),
                worth=alone,
                fires=partial(spelled, wanted),
                misses=partial(spelled, 0.7),
            )


def cubed(x: Any, a: Any, three: Any, one: Any) -> Iterator[tuple[str, Any]]:
    """x + a * x³; or what of it must still be multiplied by x."""
    yield "pow", add(x, mul(power(x, three), a))
    yield "cube", add(x, mul(mul(mul(x, x), x), a))
    yield "nested", add(x, mul(x, mul(x, mul(x, a))))
    yield "square", add(mul(mul(x, x), a), one)
    yield "twice", add(mul(mul(x, a), x), one)


def bent(x: Any, a: Any, c: Any, three: Any, one: Any) -> Iterator[tuple[str, Any]]:
    """1 + tanh(c * (x + a * x³)) in every order."""
    for name, inner in cubed(x, a, three, one):
        if name not in ("square", "twice"):
            yield name, add(tanh(mul(inner, c)), one)
        else:
            yield name, add(tanh(mul(mul(x, c), inner)), one)


@rules(Soundness.ROUNDING)
def gelu_tanh(x: Float, a: Const, c: Const) -> Equations:
    """x * (1 + tanh(√(2/π) * (x + 0.044715 x³))) / 2 = Gelu(x) {approximate = "tanh"}"""
    for name, rest in bent(x, a, c, 3.0, 1.0):
        for order, left in halved(x, rest, 0.5):

            def spelled(a: float, c: float, name: str = name, order: str = order) -> Node:
                bend = dict(bent(_x(), filled(a), filled(c), filled(3), filled(1)))[name]
                made: Node = dict(halved(_x(), bend, filled(0.5)))[order]
                return made

            yield Rule(
                f"{name}_{order}",
                left,
                Grouping("Gelu", ("x",), gelu(x, approximate="tanh")),
                when=(about(TANH_CUBE, "a"), about(TANH_SCALE, "c")),
                worth=alone,
                fires=partial(spelled, TANH_CUBE, TANH_SCALE),
                misses=(partial(spelled, 0.05, TANH_SCALE), partial(spelled, TANH_CUBE, 0.8)),
            )


def _scaled_swish(x: Node, c: Node) -> Node | None:
    alpha = number(c)
    if alpha is None or (x.dtype.bits > 32 and alpha != float32(alpha)):
        return None
    made: Node = swish(x, alpha=alpha)
    return made


@rules(Soundness.ROUNDING)
def swishes(x: Float, y: Float, c: Const) -> Equations:
    """x * sigmoid(x) = Swish(x), x * sigmoid(1.702 x) = Swish(x) {alpha = 1.702} (QuickGelu)"""
    yield Rule(
        "swish",
        mul(x, sigmoid(x)),
        Grouping("Swish", ("x",), swish(x)),
        worth=alone,
        fires=lambda: mul(_x(), sigmoid(_x())),
        misses=lambda: mul(_x(), sigmoid(example("float32[N, 3]", "y"))),
    )
    yield Rule(
        "quick_gelu",
        mul(x, sigmoid(mul(x, c))),
        Grouping("QuickGelu", ("x",), _form(swish, alpha=QUICK)),
        when=about(QUICK, "c"),
        worth=alone,
        fires=lambda: mul(_x(), sigmoid(mul(_x(), filled(QUICK)))),
        misses=lambda: mul(_x(), sigmoid(mul(_x(), filled(1.6)))),
    )
    yield Rule(
        "scaled",
        mul(x, sigmoid(mul(x, c))),
        Grouping("Swish", ("x",), _scaled_swish),
        when=Guard("c is one number", lambda c: number(c) is not None),
        worth=alone,
        fires=lambda: mul(_x(), sigmoid(mul(_x(), filled(1.6)))),
        misses=lambda: mul(_x(), sigmoid(mul(_x(), weights(3)))),
    )


def softpluses(x: Any, one: Any) -> Iterator[tuple[str, Any]]:
    """log(1 + exp(x)) as an operator and spelled out."""
    yield "softplus", softplus(x)
    yield "log", log(add(exp(x), one))
    yield "log1p", log1p(exp(x))


@rules(Soundness.ROUNDING)
def mishes(x: Float) -> Equations:
    """x * tanh(softplus(x)) = Mish(x)"""
    for name, soft in softpluses(x, 1.0):

        def spelled(factor: str, name: str = name) -> Node:
            soft = dict(softpluses(_x(), filled(1)))[name]
            made: Node = mul(example("float32[N, 3]", factor), tanh(soft))
            return made

        yield Rule(
            name,
            mul(x, tanh(soft)),
            Grouping("Mish", ("x",), mish(x)),
            worth=alone,
            fires=partial(spelled, "x"),
            misses=partial(spelled, "y"),
        )


def sixths(x: Any, gate: Any, c: Any, six: Any) -> Iterator[tuple[str, Any]]:
    """x * gate / 6 in every order; c is 1/6."""
    yield "product_div", div(mul(x, gate), six)
    yield "gate_div", mul(x, div(gate, six))
    yield "product_mul", mul(mul(x, gate), c)
    yield "gate_mul", mul(x, mul(gate, c))


def _hard_swish(order: str, c: float) -> Node:
    gate = relu6(_x(), filled(3), filled(0), filled(6))
    six = 6.0 if abs(c - 1 / 6) < 1e-6 else 1 / c
    made: Node = dict(sixths(_x(), gate, filled(c), filled(six)))[order]
    return made


@rules(Soundness.ROUNDING)
def hard_swishes(x: Float, c: Const, a: Attr, b: Attr) -> Equations:
    """x * hardsigmoid(x) = HardSwish(x), whose name x * relu6(x + 3) / 6 has, too"""
    exact_sixth = Guard(
        "it is x / 6 + 1 / 2",
        lambda a, b: a == float(hard_sigmoid.normal({"alpha": 1 / 6})["alpha"]) and b == 0.5,
    )
    yield Rule(
        "hard_sigmoid",
        mul(x, hard_sigmoid(x, alpha=a, beta=b)),
        Grouping("HardSwish", ("x",), _form(hard_swish)),
        when=exact_sixth,
        worth=alone,
        fires=lambda: mul(_x(), hard_sigmoid(_x(), alpha=1 / 6)),
        misses=lambda: mul(_x(), hard_sigmoid(_x(), alpha=0.17)),
    )
    for order, left in sixths(x, relu6(x, 3.0, 0.0, 6.0), c, 6.0):
        sixth = () if order.endswith("div") else (about(1 / 6, "c"),)
        yield Rule(
            order,
            left,
            Grouping("HardSwish", ("x",)),
            when=sixth,
            worth=alone,
            fires=partial(_hard_swish, order, 1 / 6),
            misses=partial(_hard_swish, order, 0.17),
        )


def _or_nan(value: float | None) -> float:
    return nan if value is None else value


def _slope(x: Node, a: Node) -> Node | None:
    alpha = number(a)
    if alpha is None or alpha != leaky_relu.normal({"alpha": alpha}).get("alpha", 0.01):
        return None
    made: Node = leaky_relu(x, alpha=alpha)
    return made


@rules(Soundness.ROUNDING)
def leaky_relus(x: Float, a: Const) -> Equations:
    """max(x, a * x) = LeakyRelu(x) for a from 0 to 1"""
    yield Rule(
        "max",
        max_(x, mul(x, a)),
        Grouping("LeakyRelu", ("x",), _slope),
        when=Guard("a is from 0 to 1", lambda a: 0 <= _or_nan(number(a)) <= 1),
        worth=alone,
        fires=lambda: max_(_x(), mul(_x(), filled(0.25))),
        misses=lambda: max_(_x(), mul(_x(), filled(2))),
    )


def _gate(x: Node, a: Node, b: Node) -> Node | None:
    alpha, beta = number(a), number(b)
    if alpha is None or beta is None or x.dtype.bits > 32:
        return None
    made: Node = hard_sigmoid(x, alpha=alpha, beta=beta)
    return made


@rules(Soundness.ROUNDING)
def hard_sigmoids(x: Float, a: Const, b: Const) -> Equations:
    """clip(a * x + b, 0, 1) = HardSigmoid(x)"""
    yield Rule(
        "clip",
        clip(add(mul(x, a), b), 0.0, 1.0),
        Grouping("HardSigmoid", ("x",), _gate),
        when=Guard("a and b are numbers", lambda a, b: None not in (number(a), number(b))),
        worth=alone,
        fires=lambda: clip(add(mul(_x(), filled(0.2)), filled(0.5)), filled(0), filled(1)),
        misses=lambda: clip(add(mul(_x(), weights(3)), filled(0.5)), filled(0), filled(1)),
    )
    for order, made in (("div", div), ("mul", mul)):
        wanted = 6.0 if order == "div" else 1 / 6

        def gate(number: float, made: Any = made) -> Node:
            done: Node = made(relu6(_x(), filled(3), filled(0), filled(6)), filled(number))
            return done

        yield Rule(
            f"relu6_{order}",
            made(relu6(x, 3.0, 0.0, 6.0), a),
            Grouping("HardSigmoid", ("x",)),
            when=about(wanted, "a"),
            worth=alone,
            fires=partial(gate, wanted),
            misses=partial(gate, wanted * 1.02),
        )


FIRST = gelu_erf + gelu_tanh + swishes + mishes + hard_swishes + leaky_relus
"""What holds smaller idioms and must be tried before them."""
SECOND = hard_sigmoids
