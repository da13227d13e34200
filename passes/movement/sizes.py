"""Sizes: computed once where they are equal, and taken from an input where one has them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from graphopt import dims
from graphopt.dims import Dim
from graphopt.graph import Graph
from graphopt.ir import Node
from graphopt.ops.arithmetic import div
from graphopt.ops.shape import shape, size
from graphopt.pipeline import Context, ScopePass
from graphopt.rewriting import Declined, Equations, Integer, Rule, Soundness, rules
from graphopt.rewriting.examples import example
from graphopt.rewriting.plan import Made
from graphopt.structural import constant
from graphopt.types import DType, TensorType

Key = tuple[DType, Any, tuple[Any, ...]]


def key_of(node: Node) -> Key | None:
    """What tells a value of known elements, sizes among them, from others; None of other values."""
    kind = node.derived_type
    if not isinstance(kind, TensorType) or kind.known is None or not kind.dtype.is_integer:
        return None
    if None in kind.known or not any(isinstance(item, Dim) for item in kind.known):
        return None
    return kind.dtype, kind.shape, kind.known


@dataclass(frozen=True)
class Sizes(ScopePass):
    """Take equal sizes from one place: the shape of an input, or where they are computed first.

    Given:   %1 = Exp(%x); %2 = Shape(%1); return %1, %2       Result:   %2 = Shape(%x)
    """

    name: ClassVar[str] = "sizes"
    own: ClassVar[tuple[str, ...]] = ("known",)

    def scope(self, graph: Graph, context: Context) -> Graph:
        if not any(key_of(node) for node in graph.order):
            return graph
        first = _of_inputs(graph)

        def planned(node: Node, made: Node, new: Made) -> tuple[str, Node] | None:
            key = key_of(made) if node.inputs else None
            return None if key is None else ("sizes.known", first.setdefault(key, made))

        return context.follow(graph, planned)


def _of_inputs(graph: Graph) -> dict[Key, Node]:
    """The inputs that are sizes, and every run of axes of the others, by their sizes."""
    found = {key: value for value in graph.inputs if (key := key_of(value)) is not None}
    for value in graph.inputs:
        rank = value.rank if isinstance(value.derived_type, TensorType) else None
        for begin in range(rank or 0):
            for end in range(begin + 1, (rank or 0) + 1):
                made: Node = shape(value, start=begin, end=end if end < (rank or 0) else None)
                key = key_of(made)
                if key is not None:
                    found.setdefault(key, made)
    return found


def ratio(n: Node, m: Node, root: Node) -> Node | Declined | None:
    """The quotients of sizes as numbers, where those that depend on running cancel.

    They are what the division gives wherever it does not fail, which it does by 0.
    """
    shape_: Any = root.shape
    if n.known is None or m.known is None or shape_ is None:
        return None
    if n.shape != shape_ or m.shape != shape_:
        return Declined("sizes are broadcast")
    found = [
        None if a is None or b is None else dims.divide_exact(a, b)
        for a, b in zip(n.known, m.known, strict=True)
    ]
    if not all(isinstance(item, int) for item in found):
        return Declined("the quotients depend on sizes")
    return constant(np.array(found, root.dtype.numpy).reshape(shape_))


@rules(Soundness.EXACT)
def sizes(n: Integer, m: Integer) -> Equations:
    """A size over another one of which it is a multiple is a number."""
    yield Rule(
        "ratio",
        div(n, m),
        ratio,
        fires=lambda: div(size(example("float32[N, 6]")), size(example("float32[N, 2]", "y"))),
        misses=lambda: div(size(example("float32[N, 2]")), size(example("float32[N, 6]", "y"))),
    )


SIZES = sizes
