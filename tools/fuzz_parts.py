"""What the steps of a generated graph share: short calls, and constants that fit a value."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from graphopt.ir import Node
from graphopt.op import find_op
from graphopt.structural import constant
from tools.fuzz_values import FLOATS, draw_array, draw_constant, kind_of

if TYPE_CHECKING:
    from tools.fuzz_graphs import Grower

UNARY = (
    "Relu", "Sigmoid", "Tanh", "Exp", "Log", "Sqrt", "Abs", "Neg", "Neg", "Reciprocal", "Floor",
    "Ceil", "Round", "Sign", "Erf", "Sin", "Cos", "Identity", "Softplus", "LeakyRelu", "Elu",
    "HardSigmoid", "HardSwish", "Gelu", "Not", "IsNaN", "BitwiseNot", "Softsign",
)  # fmt: skip


def call(name: str, *inputs: Node | None, **attrs: Any) -> Node:
    """A node of an op of the standard's domain."""
    made: Node = find_op("", name)(*inputs, **attrs)
    return made


def ints(*numbers: int) -> Node:
    """A vector of int64."""
    return constant(np.array(numbers, np.int64))


def is_float(node: Node) -> bool:
    """Whether a value is of one of the usual floats."""
    return node.dtype in FLOATS


def ranked(least: int) -> Callable[[Node], bool]:
    """Whether a value has a known rank, that high at least."""
    return lambda node: (node.rank or 0) >= least


def real_shape(grower: Grower, x: Node) -> tuple[int, ...]:
    """The shape of a value as it is on the first draw."""
    return tuple(np.shape(grower.known[x]))


def number(grower: Grower, x: Node) -> Node:
    """A constant to compute with x: a scalar, a row, or of its whole shape."""
    rng, shape = grower.rng, kind_of(x).shape or ()
    fixed: list[int] = []
    for size in reversed(shape):
        if not isinstance(size, int):
            break
        fixed.insert(0, size)
    choices: list[tuple[int, ...]] = [(), (), (), (1,), (1,) * len(shape)]
    choices += [tuple(fixed), tuple(fixed[-1:])]
    if len(fixed) >= 2:
        choices.append((fixed[-2], 1))
    if rng.random() < 0.05:
        choices.append((2, *(1,) * len(shape)))
    return constant(draw_constant(rng, x.dtype, rng.choice(choices)))


def weights(grower: Grower, x: Node, *shape: int, positive: bool = False) -> Node:
    """A constant of random elements, or now and then of one special one."""
    rng = grower.rng
    if rng.random() < 0.15 and not positive:
        return constant(draw_constant(rng, x.dtype, shape))
    noise = np.random.default_rng(rng.getrandbits(32))
    return constant(draw_array(x.dtype, shape, noise, "positive" if positive else "tame"))
