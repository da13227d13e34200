"""Chains of element-wise nodes of one variable: what data movement is exchanged with."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from graphopt.analysis import same_shape
from graphopt.ir import Node
from graphopt.types import DType, TensorType

__all__ = ["LONGEST", "chain_of", "fed_by_contraction", "over", "rebuilt", "variable_of"]

LONGEST = 32
"""Chains with more nodes are left alone: each exchange has its bound."""
UNMOVED = frozenset(
    kind
    for kind in DType
    if kind is not DType.BOOL and (0 < kind.bits < 8 or (kind.bits == 8 and kind.kind == "f"))
)
"""Dtypes that most ops that move elements do not take."""
CONTRACTIONS = frozenset(
    {"Conv", "ConvTranspose", "ConvInteger", "MatMul", "MatMulInteger", "Gemm", "Einsum"}
    | {"BatchNormalization", "InstanceNormalization", "LayerNormalization", "GroupNormalization"}
)
"""Ops that take an element-wise node after them into themselves."""
SUMS = frozenset({"Add", "Sum", "Mul"})
MAPS = 4
"""So many products and sums by channel may follow a contraction."""


def variable_of(node: Node) -> int | None:
    """The position of the only operand that varies, of a node that computes element by element.

    The others are constants of one element that do not raise the rank. None of any other node, and
    where the elements before or after it cannot be moved.
    """
    if not node.op.facts.elementwise or not isinstance(node.derived_type, TensorType):
        return None
    varying = [k for k, item in enumerate(node.inputs) if not item.is_absent and not _one(item)]
    if len(varying) != 1:
        return None
    operand = node.inputs[varying[0]]
    if not isinstance(operand.derived_type, TensorType) or operand.rank is None:
        return None
    if operand.dtype in UNMOVED or node.dtype in UNMOVED:
        return None
    ranks = [item.rank or 0 for item in node.inputs if not item.is_absent]
    return varying[0] if max(ranks) == operand.rank else None


def _one(value: Node) -> bool:
    return value.constant is not None and value.constant.size == 1


def over(node: Node, operand: Node) -> Node:
    """A node of one variable over another operand."""
    position = variable_of(node)
    assert position is not None
    inputs = (*node.inputs[:position], operand, *node.inputs[position + 1 :])
    return node.with_inputs(inputs)


def rebuilt(chain: Sequence[Node], operand: Node) -> Node:
    """A chain, its last node first, over another operand."""
    for node in reversed(chain):
        operand = over(node, operand)
    return operand


def chain_of(value: Node, uses: Callable[[Node], int]) -> tuple[list[Node], Node] | None:
    """The nodes of one variable, each used once, that end in `value`, and what they start from.

    None where there are none or too many.
    """
    chain: list[Node] = []
    while uses(value) == 1:
        position = variable_of(value)
        if position is None or fed_by_contraction(value):
            break
        chain.append(value)
        value = value.inputs[position]
        if len(chain) > LONGEST:
            return None
    return (chain, value) if chain else None


def fed_by_contraction(node: Node) -> bool:
    """Whether a node may be taken into a contraction, or one and its factors and bias, before it.

    Normalizations stand as several products and sums by channel until they are folded.
    """
    for item in node.inputs:
        for _ in range(MAPS):
            whole = [each for each in item.inputs if same_shape(each, item)]
            if item.op.name not in SUMS or len(whole) != 1:
                break
            (item,) = whole
        if item.op.name in CONTRACTIONS:
            return True
        if item.op.name in SUMS and any(each.op.name in CONTRACTIONS for each in item.inputs):
            return True
    return False
