"""Constants of sums and products combined in any case, as fast mode allows: rounded once more."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from graphopt.ir import Node
from graphopt.ops.arithmetic import add, div, mul, sub
from graphopt.passes.algebra.elements import no_larger
from graphopt.rewriting import Const, Declined, Equations, Float, Rule, Soundness, guards, rules
from graphopt.rewriting.examples import example, filled
from graphopt.rewriting.reassociate import roughly

X = example("float32[2, N]")
Of = Callable[[Any, Any], Any]
"""A node, or a pattern of one, of a value and a constant."""
Case = tuple[str, Of, Of, Any, Of]
"""The name, the inner node of x and c, the outer of it and d, the ufunc of c and d, the result."""


def plus(x: Any, c: Any) -> Any:
    return add(x, c)


def minus(x: Any, c: Any) -> Any:
    return sub(x, c)


def less(x: Any, c: Any) -> Any:
    return sub(c, x)


def times(x: Any, c: Any) -> Any:
    return mul(x, c)


def over(x: Any, c: Any) -> Any:
    return div(x, c)


def under(x: Any, c: Any) -> Any:
    return div(c, x)


def _back(c: Any, d: Any) -> Any:
    return np.subtract(d, c)


def _ratio(c: Any, d: Any) -> Any:
    return np.divide(d, c)


CASES: tuple[Case, ...] = (
    ("add_add", plus, plus, np.add, plus),
    ("add_sub", plus, minus, np.subtract, plus),
    ("rest_add", less, plus, np.add, less),
    ("rest_sub", less, minus, np.subtract, less),
    ("from_add", plus, less, _back, less),
    ("from_rest", less, less, _back, plus),
    ("mul_mul", times, times, np.multiply, times),
    ("mul_div", times, over, np.divide, times),
    ("over_mul", under, times, np.multiply, under),
    ("over_div", under, over, np.divide, under),
    ("by_mul", times, under, _ratio, under),
)
"""The others are among them: x - c is x + -c, x / c is x * (1 / c), c / (d / x) is c * x / d."""


def combined(operation: Any, c: Node, d: Node) -> Node | Declined:
    """What a ufunc makes of two constants, if it is no larger than they are."""
    return no_larger(roughly(operation, c, d), c, d)


def _right(operation: Any, build: Of) -> Callable[[Node, Node, Node], Node | Declined]:
    def right(x: Node, c: Node, d: Node) -> Node | Declined:
        made = combined(operation, c, d)
        return made if isinstance(made, Declined) else build(x, made)

    return right


def _shown(inner: Of, outer: Of, *numbers: float) -> Callable[[], Node]:
    first, second = (filled(number) for number in numbers)
    return lambda: outer(inner(X, first), second)


@rules(Soundness.FAST)
def push_down(x: Float, c: Const, d: Const, inner: Float) -> Equations:
    """(x + c) - d = x + (c - d), (x * c) / d = x * (c / d), and so on, however that is rounded."""
    for name, first, then, operation, build in CASES:
        yield Rule(
            name,
            then(inner.of(first(x, c)), d),
            _right(operation, build),
            worth=guards.used_once("inner"),
            fires=_shown(first, then, 3, 0.3),
            misses=_shown(first, then, float("inf"), 0.3),
        )


PUSH_DOWN = push_down
