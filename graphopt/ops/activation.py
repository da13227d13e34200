"""Activation functions. 16-bit floats are computed in float32 and rounded once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import copysign, exp, expm1, inf, log1p, pi, sqrt
from typing import Any

from graphopt import dims
from graphopt.ir import Node
from graphopt.op import Array, Facts, Op, Xp, op, refuse
from graphopt.ops.bounds import NOTHING, attribute, gate, gated, increasing
from graphopt.ops.checks import float_dtype, same_dtype
from graphopt.ops.common import broadcast_shapes
from graphopt.ops.dtypes import FLOATS, NUMBERS, SIGNED, WIDE_NUMBERS, Dtypes
from graphopt.ops.elementwise import unary_examples, unary_rule
from graphopt.ops.examples import given
from graphopt.ops.intervals import (
    above,
    add,
    below,
    has_infinity,
    maximum,
    minimum,
    monotone,
    mul,
    point,
    spread,
    sub,
    union,
    with_nan,
    within,
)
from graphopt.ops.kernels import single
from graphopt.ops.special import erf
from graphopt.ranges import ANYTHING, ValueFacts
from graphopt.types import DType, TensorType, Type, dtype_of

SHRUNK = tuple(dtype for dtype in NUMBERS if dtype is not DType.BFLOAT16)
SMOOTH = Facts(elementwise=True, total=True, ulps=8, signed_zero="passed")
INCREASING = Facts(
    elementwise=True, total=True, ulps=8, monotone="increasing", signed_zero="passed"
)
POSITIVE = replace(INCREASING, signed_zero="absorbed")


def activation(
    name: str, facts: Facts = SMOOTH, dtypes: Dtypes = FLOATS, **attrs: Any
) -> Callable[[Callable[..., Array]], Op]:
    """Declare a function of one variable; `attrs` are attributes that its examples show."""

    def declare(kernel: Callable[..., Array]) -> Op:
        def run(xp: Xp, x: Array, **given: Any) -> Array:
            return xp.cast(kernel(xp, single(xp, x), **given), dtype_of(x.dtype))

        run.__wrapped__ = kernel  # type: ignore[attr-defined]  # the signature that Op reads
        run.__doc__ = kernel.__doc__
        made = Op(name, run, facts=facts)
        made.infer(unary_rule(dtypes))
        made.examples(
            lambda: (
                unary_examples(made, dtypes)
                + (unary_examples(made, dtypes, **attrs) if attrs else [])
            )
        )
        return made

    return declare


@activation("Relu", replace(INCREASING, idempotent=True, ulps=0),
            (*FLOATS, *SIGNED))  # fmt: skip
def relu(xp: Xp, x: Array) -> Array:
    """The greater of x and 0; NaN of NaN."""
    return xp.where(x <= 0, 0, x)


@relu.bounds
def _(node: Node, x: ValueFacts) -> ValueFacts:
    return within(max(x.low, 0), max(x.high, 0), nan=x.may_be_nan, whole=x.integer_valued)


@activation("LeakyRelu", alpha=0.25)
def leaky_relu(xp: Xp, x: Array, *, alpha: float = 0.01) -> Array:
    """x, or alpha * x where x is negative."""
    return xp.where(x < 0, alpha * x, x)


@leaky_relu.bounds
def _(node: Node, x: ValueFacts) -> ValueFacts:
    return _sloped(node, x, point(attribute(node, "alpha")))


def _sloped(node: Node, x: ValueFacts, slope: ValueFacts) -> ValueFacts:
    """Of x, or slope * x where x is negative."""
    part = below(x, 0) if x.low < 0 else None
    steep = None if part is None else mul(node.dtype, part, slope)
    return with_nan(union(above(x, 0), steep), x.may_be_nan)


@activation("ThresholdedRelu", alpha=0.5)
def thresholded_relu(xp: Xp, x: Array, *, alpha: float = 1.0) -> Array:
    """x where it is greater than alpha, else 0."""
    return xp.where(x > alpha, x, 0)


@thresholded_relu.bounds
def _(node: Node, x: ValueFacts) -> ValueFacts:
    return union(NOTHING, above(x, attribute(node, "alpha")))  # of NaN, 0


@activation("Elu", alpha=0.5)
def elu(xp: Xp, x: Array, *, alpha: float = 1.0) -> Array:
    """x, or alpha * (exp(x) - 1) where x is negative."""
    return xp.where(x < 0, alpha * xp.expm1(x), x)


def _curved(node: Node, x: ValueFacts) -> ValueFacts | None:
    """Of alpha * (exp(x) - 1) where x is not positive, None if it always is."""
    part = below(x, 0)
    if part is None:
        return None
    made = monotone(node.dtype, part, expm1, node.op.facts.ulps, least=-1, most=0)
    return spread(node.dtype, mul(node.dtype, made, point(attribute(node, "alpha"))), 2)


@elu.bounds
def _(node: Node, x: ValueFacts) -> ValueFacts:
    return with_nan(union(above(x, 0), _curved(node, x)), x.may_be_nan)


@activation("Celu", alpha=0.5)
def celu(xp: Xp, x: Array, *, alpha: float = 1.0) -> Array:
    """max(0, x) + min(0, alpha * (exp(x / alpha) - 1))."""
    return xp.maximum(x, 0) + xp.minimum(0, alpha * xp.expm1(x / alpha))


@celu.bounds
def _(node: Node, x: ValueFacts) -> ValueFacts:
    alpha = attribute(node, "alpha")
    if not 2**-20 < alpha < 2**20:
        return ANYTHING
    least = 0 if x.low >= 0 else -inf
    ulps = node.op.facts.ulps
    return monotone(
        node.dtype, x, lambda a: a if a >= 0 else alpha * expm1(a / alpha), ulps, least=least
    )


@activation("Selu", alpha=1.5, gamma=2.0)
def selu(
    xp: Xp, x: Array, *, alpha: float = 1.67326319217681884765625,
    gamma: float = 1.05070102214813232421875,
) -> Array:  # fmt: skip
    """gamma * x, or gamma * alpha * (exp(x) - 1) where x is not positive."""
    return gamma * xp.where(x > 0, x, alpha * xp.expm1(x))


@selu.bounds
def _(node: Node, x: ValueFacts) -> ValueFacts:
    made = with_nan(union(above(x, 0), _curved(node, x)), x.may_be_nan)
    made = mul(node.dtype, made, point(attribute(node, "gamma")))
    return spread(node.dtype, made, 2, least=0 if made.low >= 0 else -inf)


@activation("Sigmoid", POSITIVE)
def sigmoid(xp: Xp, x: Array) -> Array:
    """1 / (1 + exp(-x))."""
    small = xp.exp(-xp.abs(x))
    return xp.where(x >= 0, 1, small) / (1 + small)


def _sigmoid(x: float) -> float:
    return 1 / (1 + exp(-x)) if x > -700 else 0


sigmoid.bounds(increasing(_sigmoid, least=0, most=1, zero="never"))


@activation("HardSigmoid", alpha=0.5, beta=0.25)
def hard_sigmoid(xp: Xp, x: Array, *, alpha: float = 0.2, beta: float = 0.5) -> Array:
    """alpha * x + beta, at least 0 and at most 1."""
    return xp.maximum(xp.minimum(alpha * x + beta, 1), 0)


@hard_sigmoid.bounds
def _(node: Node, x: ValueFacts) -> ValueFacts:
    alpha, beta = point(attribute(node, "alpha")), point(attribute(node, "beta"))
    line = add(node.dtype, mul(node.dtype, x, alpha), beta)
    return maximum(minimum(spread(node.dtype, line, 4), point(1)), NOTHING)


@activation("Swish", alpha=0.5)
def swish(xp: Xp, x: Array, *, alpha: float = 1.0) -> Array:
    """x * Sigmoid(alpha * x)."""
    return x * sigmoid.kernel(xp, alpha * x)


@swish.bounds
def _(node: Node, x: ValueFacts) -> ValueFacts:
    return _swished(node, x)


def _swished(node: Node, x: ValueFacts) -> ValueFacts:
    alpha = attribute(node, "alpha")
    if not 2**-20 < alpha < 2**20:
        return ANYTHING
    return gated(node.dtype, x, -0.2785 / alpha, node.op.facts.ulps)


@activation("HardSwish")
def hard_swish(xp: Xp, x: Array) -> Array:
    """x * HardSigmoid(x) with alpha = 1/6 and beta = 1/2."""
    return x * xp.maximum(xp.minimum(x / 6 + 0.5, 1), 0)


hard_swish.bounds(gate(-0.376))


@activation("Softplus", POSITIVE)
def softplus(xp: Xp, x: Array) -> Array:
    """log(1 + exp(x))."""
    return xp.maximum(x, 0) + xp.log1p(xp.exp(-xp.abs(x)))


def _softplus(x: float) -> float:
    return max(x, 0) + log1p(exp(-abs(x)))


softplus.bounds(increasing(_softplus, least=0, zero="never"))


@activation("Mish")
def mish(xp: Xp, x: Array) -> Array:
    """x * tanh(Softplus(x))."""
    return x * xp.tanh(softplus.kernel(xp, x))


mish.bounds(gate(-0.309))


@activation("Softsign", replace(SMOOTH, ulps=2))
def softsign(xp: Xp, x: Array) -> Array:
    """x / (1 + |x|); NaN of infinity."""
    return x / (1 + xp.abs(x))


@softsign.bounds
def _(node: Node, x: ValueFacts) -> ValueFacts:
    made = increasing(_softsign, least=-1, most=1, zero="signed")(node, x)
    return with_nan(made, has_infinity(x))


def _softsign(x: float) -> float:
    return x / (1 + abs(x)) if abs(x) < inf else copysign(1, x)


@activation("Gelu", approximate="tanh")
def gelu(xp: Xp, x: Array, *, approximate: str = "none") -> Array:
    """x * (1 + erf(x / √2)) / 2, or with approximate="tanh" an approximation of it by tanh."""
    if approximate == "tanh":
        return 0.5 * x * (1 + xp.tanh(sqrt(2 / pi) * (x + 0.044715 * x * x * x)))
    return 0.5 * x * (1 + erf(xp, x * sqrt(0.5)))


gelu_rule = unary_rule(FLOATS)


@gelu.infer
def _(x: Node, *, approximate: str) -> Type:
    if approximate not in ("none", "tanh"):
        raise refuse(f"approximate is 'none' or 'tanh', not {approximate!r}")
    return gelu_rule(x)


gelu.bounds(gate(-0.1705))


@activation("Shrink", replace(SMOOTH, ulps=0), SHRUNK, bias=1.5, lambd=1.0)
def shrink(xp: Xp, x: Array, *, bias: float = 0.0, lambd: float = 0.5) -> Array:
    """x + bias below -lambd, x - bias above lambd, else 0."""
    return xp.where(x < -lambd, x + bias, xp.where(x > lambd, x - bias, 0))


@shrink.bounds
def _(node: Node, x: ValueFacts) -> ValueFacts:
    if not node.dtype.is_float:
        return ANYTHING
    bias, lambd = point(attribute(node, "bias")), attribute(node, "lambd")
    low, high = below(x, -lambd), above(x, lambd)
    return union(
        NOTHING,  # of NaN, too
        None if low is None else add(node.dtype, low, bias),
        None if high is None else sub(node.dtype, high, bias),
    )


@op("PRelu", facts=Facts(signed_zero="passed", elementwise=True, total=True))
def prelu(xp: Xp, x: Array, slope: Array) -> Array:
    """x, or slope * x where x is negative; slope is broadcast to the shape of x."""
    return xp.where(x < 0, xp.broadcast_to(slope, x.shape) * x, x)


@prelu.bounds
def _(node: Node, x: ValueFacts, slope: ValueFacts) -> ValueFacts:
    return _sloped(node, x, slope)


@prelu.infer
def _(x: Node, slope: Node) -> Type:
    same_dtype(x, slope, among=WIDE_NUMBERS)
    kind = x.tensor_type
    shape, other = x.shape, slope.shape
    if shape is not None and other is not None:
        both = broadcast_shapes((shape, other))
        assert both is not None
        grown = any(one == 1 and not isinstance(made, dims.Dim) and made != 1
                    for one, made in zip(shape, both[-len(shape) :], strict=False))  # fmt: skip
        if len(both) > len(shape) or grown:
            raise refuse(f"the slope {slope.type} cannot be broadcast to {x.type}")
    return TensorType(kind.dtype, shape)


@prelu.examples
def _() -> list[Node]:
    x = given("x", "N", 3, 4)
    slopes = [given("slope", *shape) for shape in ((3, 1), (1,), (), (4,), ("N", 1, 1))]
    kinds = [
        prelu(given("x", 5, 7, dtype=dtype), given("slope", 5, 7, dtype=dtype))
        for dtype in WIDE_NUMBERS
    ]
    return [*(prelu(x, slope) for slope in slopes), *kinds]


@op("SwiGLU", facts=SMOOTH)
def swiglu(xp: Xp, a: Array, b: Array, *, alpha: float = 1.0) -> Array:
    """Swish(a) * b; nothing is broadcast."""
    if a.shape != b.shape:
        raise ValueError(f"the shapes {a.shape} and {b.shape} differ")
    return (swish.kernel(xp, single(xp, a), alpha=alpha) * single(xp, b)).astype(
        a.dtype, copy=False
    )


@swiglu.infer
def _(a: Node, b: Node, *, alpha: float) -> Type:
    float_dtype(a, b)
    kind, other = a.tensor_type, b.tensor_type
    if kind.shape is None or other.shape is None:
        return TensorType(kind.dtype, other.shape if kind.shape is None else kind.shape)
    pairs = list(zip(kind.shape, other.shape, strict=False))
    apart = any(type(x) is type(y) is int and x != y for x, y in pairs)
    if len(kind.shape) != len(other.shape) or apart:
        raise refuse(f"the inputs' shapes differ: {kind} and {other}")
    return TensorType(kind.dtype, tuple(x if isinstance(x, int) else y for x, y in pairs))


@swiglu.examples
def _() -> list[Node]:
    pairs = [(given("a", 5, 7, dtype=dtype), given("b", 5, 7, dtype=dtype)) for dtype in FLOATS]
    pairs.append((given("a", "N", 3), given("b", "M", 3)))
    pairs.append((given("a", 0), given("b", 0)))
    return [*(swiglu(a, b) for a, b in pairs), swiglu(*pairs[0], alpha=0.5)]


@swiglu.bounds
def _(node: Node, a: ValueFacts, b: ValueFacts) -> ValueFacts:
    return mul(node.dtype, _swished(node, a), b)
