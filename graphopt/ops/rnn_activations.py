"""The activation functions that recurrent layers name in their attributes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from graphopt.op import Array, Floats, Strings, Xp, refuse

Activation = Callable[[Array], Array]


@dataclass(frozen=True, slots=True)
class Shape:
    """f(xp, x, alpha, beta), and its parameters' defaults, None for one that it does not have."""

    apply: Callable[[Xp, Array, float, float], Array]
    alpha: float | None = None
    beta: float | None = None


def sigmoid(xp: Xp, x: Array, alpha: float = 0.0, beta: float = 0.0) -> Array:
    """1 / (1 + e^-x)."""
    return 1 / (1 + xp.exp(-x))


def softplus(xp: Xp, x: Array, alpha: float, beta: float) -> Array:
    """log(1 + e^x), which does not overflow."""
    return xp.maximum(x, 0) + xp.log1p(xp.exp(-xp.abs(x)))


def elu(xp: Xp, x: Array, alpha: float, beta: float) -> Array:
    """x where it is positive, else alpha * (e^x - 1)."""
    return xp.where(x >= 0, x, alpha * xp.expm1(xp.minimum(x, 0)))


SHAPES = {
    "relu": Shape(lambda xp, x, a, b: xp.maximum(x, 0)),
    "tanh": Shape(lambda xp, x, a, b: xp.tanh(x)),
    "sigmoid": Shape(sigmoid),
    "affine": Shape(lambda xp, x, a, b: a * x + b, 1.0, 0.0),
    "leakyrelu": Shape(lambda xp, x, a, b: xp.where(x >= 0, x, a * x), 0.01),
    "thresholdedrelu": Shape(lambda xp, x, a, b: xp.where(x >= a, x, xp.zeros_like(x)), 1.0),
    "scaledtanh": Shape(lambda xp, x, a, b: a * xp.tanh(b * x), 1.0, 1.0),
    "hardsigmoid": Shape(lambda xp, x, a, b: xp.clip(a * x + b, 0, 1), 0.2, 0.5),
    "elu": Shape(elu, 1.0),
    "softsign": Shape(lambda xp, x, a, b: x / (1 + xp.abs(x))),
    "softplus": Shape(softplus),
}
"""By ONNX's names in lower case: models spell them in several ways."""


def check_activations(names: Sequence[str], wanted: int) -> None:
    """Refuse names that are unknown, or fewer of them than a layer has functions."""
    if len(names) < wanted:
        raise refuse(f"{len(names)} activations where {wanted} are taken")
    for name in names:
        if name.lower() not in SHAPES:
            raise refuse(f"there is no activation {name!r}")


def activations_of(
    xp: Xp, names: Strings, alphas: Floats | None, betas: Floats | None, clip: float | None
) -> list[Activation]:
    """The functions by name; each takes the next alpha and beta if it has such a parameter.

    `clip` bounds what goes into every function.
    """
    made: list[Activation] = []
    left, left2 = iter(alphas or ()), iter(betas or ())
    for name in names:
        shape = SHAPES[name.lower()]
        alpha = 0.0 if shape.alpha is None else next(left, shape.alpha)
        beta = 0.0 if shape.beta is None else next(left2, shape.beta)
        made.append(partial(_clipped, xp, shape, alpha, beta, clip))
    return made


def _clipped(
    xp: Xp, shape: Shape, alpha: float, beta: float, clip: float | None, x: Array
) -> Array:
    if clip is not None:
        x = xp.clip(x, -clip, clip)
    return shape.apply(xp, x, alpha, beta)
