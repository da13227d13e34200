"""The inputs of the examples of ops."""

from __future__ import annotations

from graphopt.dims import symbol
from graphopt.ir import Node
from graphopt.structural import graph_input
from graphopt.types import DType, TensorType


def given(name: str, *shape: int | str, dtype: DType = DType.FLOAT32) -> Node:
    """An input for an example; a size may be the name of a symbol.

    >>> print(given("x", 2, "N").type)
    float32[2, N]
    """
    sizes = tuple(symbol(size) if isinstance(size, str) else size for size in shape)
    return graph_input(name, TensorType(dtype, sizes))
