"""Gates of six: relu6(x + 3) / 6 is HardSigmoid, before its constants go elsewhere.

The operator is less accurate near -3, so that it stands there in fast mode, and where x is the
result of a contraction, whose error is larger. x * HardSigmoid(x) is told to be HardSwish later.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from graphopt.analysis import same_shape
from graphopt.ir import Node
from graphopt.ops.activation import hard_sigmoid
from graphopt.ops.arithmetic import add, clip, div, mul, sub
from graphopt.ops.conv import conv
from graphopt.ops.conv_transpose import conv_transpose
from graphopt.ops.linalg import gemm, matmul
from graphopt.ops.normalization import batch_normalization
from graphopt.passes.fusion.idioms import about, unused_outside
from graphopt.rewriting import (
    Const,
    Declined,
    Equations,
    Float,
    Guard,
    Rule,
    RuleSet,
    Soundness,
    rules,
)
from graphopt.rewriting.examples import example, filled, weights

MAX_STEPS = 4
SHORT = Declined("a sixth is a float32 there")
BROADCAST = Declined("a constant makes it larger than x")


def of_product(x: Node) -> bool:
    """Whether a value is a contraction's result, or that times and plus constants."""
    for _ in range(MAX_STEPS):
        if x.op in (conv, conv_transpose, gemm, matmul, batch_normalization):
            return True
        others = [item for item in x.inputs if item.constant is None]
        if x.op not in (add, mul, sub) or len(others) != 1:
            return False
        (x,) = others
    return False


def relu6(x: Any, three: Any, zero: Any, six: Any) -> Any:
    """relu6(x + 3), a pattern or a node."""
    return clip(add(x, three), zero, six)


def spelled(x: Any, c: Any, numbers: tuple[Any, Any, Any]) -> Iterator[tuple[str, float, Any]]:
    """The name, the constant c, and a sixth of the gate or of what it lets through."""
    gate = relu6(x, *numbers)
    yield "gate_div", 6.0, div(gate, c)
    yield "gate_mul", 1 / 6, mul(gate, c)
    yield "product_div", 6.0, div(mul(x, gate), c)
    yield "product_mul", 1 / 6, mul(mul(x, gate), c)


def gate(x: Node, root: Node) -> Node | Declined:
    """HardSigmoid(x) in place of the root."""
    if x.dtype.bits > 32:
        return SHORT
    made: Node = hard_sigmoid(x, alpha=1 / 6)
    return made if same_shape(made, root) else BROADCAST


def gated(x: Node, root: Node) -> Node | Declined:
    """x * HardSigmoid(x) in place of the root."""
    made = gate(x, root)
    if isinstance(made, Declined):
        return made
    product: Node = mul(x, made)
    return product


def _plain() -> Node:
    return example("float32[N, 3]")


def _convolved() -> Node:
    made: Node = conv(example("float32[N, 3, 4]"), weights(3, 3, 1))
    return made


def _shown(name: str, c: float, of: Callable[[], Node] = _convolved) -> Node:
    numbers = filled(3), filled(0), filled(6)
    made: dict[str, Node] = {key: node for key, _, node in spelled(of(), filled(c), numbers)}
    return made[name]


@rules(Soundness.ROUNDING)
def gates(x: Float, c: Const) -> Equations:
    """relu6(x + 3) / 6 = HardSigmoid(x), x * relu6(x + 3) / 6 = x * HardSigmoid(x)"""
    inexact = Guard("x is a contraction's result", of_product)
    for name, wanted, left in spelled(x, c, (3.0, 0.0, 6.0)):
        right, near = gate if name.startswith("gate") else gated, wanted * 1.02
        yield Rule(
            name,
            left,
            right,
            when=(about(wanted, "c"), inexact),
            worth=unused_outside("x"),
            fires=partial(_shown, name, wanted),
            misses=(partial(_shown, name, near), partial(_shown, name, wanted, _plain)),
        )
        yield Rule(
            f"{name}_fast",
            left,
            right,
            when=about(wanted, "c"),
            worth=unused_outside("x"),
            soundness=Soundness.FAST,
            fires=partial(_shown, name, wanted, _plain),
            misses=partial(_shown, name, near, _plain),
        )


GATES: RuleSet = gates
