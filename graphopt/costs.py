"""What a node should take to run, from its types alone: to compare ways to compute the same.

The unit is a picosecond of one core of a present-day server, an integer, so that sums are exact and
the same everywhere. The figures need only be right enough to tell which of two graphs is cheaper:
bytes read and written, multiplications and additions of products, functions that take longer than
reading their operand, and what any call costs. Sizes that are not known are taken for `TYPICAL`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from math import prod

from graphopt import dims
from graphopt.dims import Size
from graphopt.graph import SILENT
from graphopt.ir import Node, types_of, walk
from graphopt.types import DType, TensorType, Type

TYPICAL = 64
"""What a size that is not known is taken for."""
RANK = 2
"""What a rank that is not known is taken for."""
CALL = 400_000
"""A node that computes nothing."""
BYTE = 80
"""Reading or writing a byte."""
FLOP = 12
"""A multiplication or addition of a product of float32."""
STRIDED = 3
"""How many times longer it takes to move elements that do not lie one behind the other."""

VIEWS = frozenset({"Flatten", "Identity", "Reshape", "Shape", "Size", "Squeeze", "Unsqueeze"})
"""Ops that move nothing: their result is their operand, or its shape."""

ELEMENT: Mapping[str, int] = {
    "Acos": 6000, "Acosh": 6000, "Asin": 6000, "Asinh": 6000, "Atan": 6000, "Atanh": 6000,
    "Cos": 2000, "Cosh": 3000, "Div": 400, "Elu": 800, "Erf": 3000, "Exp": 600, "Gelu": 3000,
    "Log": 800, "LogSoftmax": 1500, "Mish": 3000, "Mod": 6000, "Pow": 10000, "Reciprocal": 400,
    "Selu": 800, "Sigmoid": 1000, "Sin": 2000, "Sinh": 3000, "Softmax": 1200, "Softplus": 1500,
    "Sqrt": 400, "Swish": 1000, "Tan": 4000, "Tanh": 1500,
}  # fmt: skip
"""What an element of the result takes beyond being read and written."""


def total_cost(roots: Iterable[Node]) -> int:
    """What all nodes under some roots should take, each counted once; bodies are left out."""
    return sum(map(node_cost, walk(roots)))


def fused_cost(roots: Sequence[Node], leaves: Collection[Node]) -> int:
    """What the nodes between leaves and roots should take where chains of them run as one.

    What is done element by element to the sole use of a product, or of what is done so, costs no
    call of its own, and what is between them is neither written nor read.
    """
    inside = [node for node in _until(roots, leaves) if node.inputs]
    uses = Counter(item for node in inside for item in node.inputs) + Counter(roots)
    total = 0
    for node in inside:
        total += node_cost(node)
        if _is_pointwise(node):
            within = [item for item in node.inputs if uses[item] == 1 and item not in leaves]
            joined = [item for item in within if _is_pointwise(item)]
            joined += [item for item in within if item.op.name in INNER][:1]
            total -= sum(CALL + 2 * BYTE * _bytes(item.derived_type) for item in joined)
    return total


def _is_pointwise(node: Node) -> bool:
    return (node.op.facts.elementwise or node.op.name == "BatchNormalization") and bool(node.inputs)


def _until(roots: Iterable[Node], leaves: Collection[Node]) -> Iterable[Node]:
    """The nodes that roots are made of down to leaves, each once."""
    found: dict[Node, None] = {}
    stack = list(roots)
    while stack:
        node = stack.pop()
        if node not in found and node not in leaves:
            found[node] = None
            stack += node.inputs
    return found


def node_cost(node: Node) -> int:
    """What a node should take, its inputs left out; 0 of inputs, constants and single outputs."""
    if node.op.name in SILENT:
        return 0
    if node.op.name in VIEWS:
        return CALL
    written = sum(map(_bytes, types_of(node)))
    read = sum(_bytes(item.derived_type) for item in node.inputs)
    if node.op.facts.moves:
        read = min(read, written)  # what is sliced away is not read
    spread = STRIDED if node.op.name == "Transpose" else 1
    elements = sum(map(elements_of, types_of(node)))
    own = ELEMENT.get(node.op.name, 0) * elements
    return CALL + BYTE * (read + written * spread) + own + FLOP * multiplications(node)


def multiplications(node: Node) -> int:
    """The multiplications and additions of a product or convolution, 0 of another node."""
    if node.op.name not in INNER or not node.inputs:
        return 0
    weight = 1 if node.dtype.kind in "fc" else 40  # products of integers have no fast library
    inner = prod(supposed(size) for size in INNER[node.op.name](node))
    return 2 * weight * elements_of(node.derived_type) * inner


def _columns(node: Node) -> tuple[Size | None, ...]:
    """The axis that a matrix product sums over."""
    axis = 0 if node.attrs.get("transA") else -1
    return (node.inputs[0].shape or (None,))[axis:][:1]


def _window(node: Node) -> tuple[Size | None, ...]:
    """The axes of its filter that a convolution sums over."""
    return (node.inputs[1].shape or (None,) * 4)[1:]


INNER = {
    "MatMul": _columns,
    "Gemm": _columns,
    "MatMulInteger": _columns,
    "Conv": _window,
    "ConvInteger": _window,
    "ConvTranspose": _window,
}
"""Ops that take a product for each element of the result, and the sizes that they sum over."""


def elements_of(kind: Type) -> int:
    """The number of elements of a tensor, as far as it is known; 1 of anything else."""
    if not isinstance(kind, TensorType):
        return 1
    shape = (None,) * RANK if kind.shape is None else kind.shape
    return prod(map(supposed, shape))


def supposed(size: Size | None) -> int:
    """A size as a number, where each that is not known is `TYPICAL`.

    >>> supposed(dims.symbol("N") * 2)
    128
    """
    made = None if size is None else dims.substitute(size, lambda _: TYPICAL)
    return max(0, made) if isinstance(made, int) else TYPICAL


def _bytes(kind: Type) -> int:
    bits = kind.dtype.bits if isinstance(kind, TensorType) else 0
    strings = isinstance(kind, TensorType) and kind.dtype is DType.STRING
    return elements_of(kind) * (64 if strings else bits) // 8
