"""Short ways to write the examples of rules."""

from __future__ import annotations

import numpy as np

from graphopt.dims import symbol
from graphopt.ir import Node
from graphopt.structural import constant, graph_input
from graphopt.types import BY_LABEL, TensorType


def example(kind: str, name: str = "x") -> Node:
    """An input of a type written like `float32[2, N, ?]`, or `float32[...]` for any rank.

    >>> print(example("float32[2, N]").type)
    float32[2, N]
    """
    dtype, _, sizes = kind.removesuffix("]").partition("[")
    if sizes == "...":
        return graph_input(name, TensorType(BY_LABEL[dtype], None))
    shape = tuple(
        None if size == "?" else int(size) if size.isdigit() else symbol(size)
        for size in (part.strip() for part in sizes.split(","))
        if size
    )
    return graph_input(name, TensorType(BY_LABEL[dtype], shape))


def weights(*shape: int, seed: int = 0) -> Node:
    """A float32 constant of seeded standard normal elements."""
    return constant(np.random.default_rng(seed).standard_normal(shape).astype(np.float32))


def filled(number: float, *shape: int, dtype: str = "float32") -> Node:
    """A constant whose every element is `number`."""
    return constant(np.full(shape, number, dtype))


def ints(*numbers: int) -> Node:
    """A 1-d int64 constant."""
    return constant(np.array(numbers, np.int64))
