"""The jax backend: a graph as one function compiled by XLA, for whatever device JAX has.

It differs from the reference where a compiled program cannot know: what depends on the content of
device arrays raises nothing. There x / 0 of integers is some number, an index outside is moved into
its axis, and what a scatter writes outside is dropped. Subnormal numbers may be taken for 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from graphopt.backends.executable import Options, Program, Spec
from graphopt.errors import MissingExtraError
from graphopt.graph import Graph

Array = Any


def lower(
    graph: Graph, inputs: Sequence[Array | Spec], by_value: Mapping[int, Array], options: Options
) -> Program:
    """A program, compiled ahead, for inputs of these shapes and dtypes.

    Raises MissingExtraError without jax, NeedsValues where a shape, an axis or a branch depends on
    the content of small integer inputs, UnsupportedError where on that of others, or for what jax
    does not have, and ExecutionError naming the node whose kernel fails on these shapes.
    """
    try:
        from graphopt.backends.jax.lowering import compiled
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in ("jax", "jaxlib"):
            raise
        raise MissingExtraError("jax", "jax") from None
    return compiled(graph, inputs, by_value, options)
