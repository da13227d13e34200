"""The form of a search in a sorted vector."""

from __future__ import annotations

from graphopt.frontends.onnx.forms.nodes import (
    WIDE,
    apply,
    cast,
    either,
    is_nan,
    less,
    negation,
)
from graphopt.ir import Node
from graphopt.ops import logic
from graphopt.ops.reduction import reduce_sum
from graphopt.ops.shape import unsqueeze
from graphopt.structural import constant
from graphopt.types import DType


def search_sorted(sorted: Node, values: Node, *, side: str = "left") -> Node:
    """How many elements of the vector are less than each value, or not greater.

    It compares each value with each element: time and memory grow with the product of their sizes.
    """
    dtype = WIDE.get(sorted.dtype, sorted.dtype)
    last = constant([-1], DType.INT64)
    line, wanted = cast(sorted, dtype), unsqueeze(cast(values, dtype), last)
    before = _before(line, wanted) if side == "left" else negation(_before(wanted, line))
    made: Node = reduce_sum(cast(before, DType.INT64), last, keepdims=0)
    return made


def _before(x: Node, y: Node) -> Node:
    """Whether x < y, where a NaN is greater than any number."""
    if x.dtype.kind != "f":
        return less(x, y)
    return either(less(x, y), apply(logic.and_, is_nan(y), negation(is_nan(x))))
