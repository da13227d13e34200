"""Inputs of drawn sizes that a type rule knows as numbers, as symbols, or not at all.

program = Program(draw)
x = program.array([2, 0, 3])            # its type may be float32[2, N1, N2], or float32[...]
target = program.ints([3, -1])          # a vector: constant, made of axes, or unknown
program.check(reshape(x, target))       # what is inferred is what running gives
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np
from hypothesis import strategies as st

from graphopt import dims
from graphopt.dims import Size
from graphopt.errors import ExecutionError
from graphopt.ir import Node
from graphopt.ops.shape import shape
from graphopt.ops.slicing import concat
from graphopt.structural import constant, graph_input
from graphopt.types import TensorType, dtype_of
from tests.ops import harness

Draw = Callable[[st.SearchStrategy[Any]], Any]


class Program:
    """Graph inputs with their arrays, and the sizes that their symbols stand for."""

    def __init__(self, draw: Draw, *, ranks: bool = True) -> None:
        self.draw = draw
        self.ranks = ranks
        self.feeds: dict[Node, Any] = {}
        self.sizes: dict[Any, int] = {}

    def symbol(self, size: int) -> Size:
        """A symbol that stands for `size`: a new one, or one that already does."""
        same = [atom for atom, known in self.sizes.items() if known == size]
        if same and self.draw(st.booleans()):
            return dims.symbol(self.draw(st.sampled_from(same)).name)
        made = dims.symbol(f"N{len(self.sizes)}")
        self.sizes[dims.Symbol(f"N{len(self.sizes)}")] = size
        return made

    def feed(self, array: Any, sizes: Sequence[Size | None] | None) -> Node:
        """A graph input of a type, fed with an array."""
        kind = TensorType(dtype_of(array.dtype), None if sizes is None else tuple(sizes))
        made = graph_input(f"i{len(self.feeds)}", kind)
        self.feeds[made] = array
        return made

    def array(self, sizes: Sequence[int], dtype: Any = np.float32) -> Node:
        """An array of distinct elements; some sizes are symbols, or even its rank is unknown."""
        array = np.arange(1, 1 + int(np.prod(sizes))).reshape(sizes).astype(dtype)
        if self.ranks and self.draw(st.integers(0, 9)) == 0:
            return self.feed(array, None)
        kinds = st.sampled_from(("number", "symbol", "unknown"))
        found: list[Size | None] = []
        for size in sizes:
            how = self.draw(kinds)
            found.append(
                size if how == "number" else self.symbol(size) if how == "symbol" else None
            )
        return self.feed(array, found)

    def ints(self, numbers: Sequence[int], known: Sequence[Node] = ()) -> Node:
        """A vector of int64 of which numbers, axes of `known` or of others, or nothing is known."""
        if not numbers or self.draw(st.integers(0, 3)) == 0:
            return constant(np.array(numbers, np.int64))
        return cast(Node, concat(*(self._number(number, known) for number in numbers), axis=0))

    def _number(self, number: int, known: Sequence[Node]) -> Node:
        axes = [
            shape(node, start=axis, end=axis + 1)
            for node in known
            if node.rank is not None
            for axis, size in enumerate(self.feeds[node].shape)
            if size == number
        ]
        how = self.draw(st.sampled_from(("constant", "axis", "axis", "symbol", "unknown")))
        if how == "axis" and axes:
            return cast(Node, self.draw(st.sampled_from(axes)))
        if how == "symbol" and 0 <= number < 100:
            like = np.zeros(number, bool)
            return cast(Node, shape(self.feed(like, (self.symbol(number),))))
        if how == "unknown":
            return self.feed(np.array([number]), (1,))
        return constant(np.array([number]))

    def run(self, node: Node) -> Any:
        """The node's result, or results, after a look at its inferred type; None where it fails."""
        try:
            values = harness.run(node, self.feeds)
        except ExecutionError:
            return None
        harness.check_types(node, values, self.sizes)
        return values[node]

    def check(self, node: Node, wanted: Any) -> None:
        """The node has the wanted result, and its inferred type is that of it."""
        made = self.run(node)
        assert made is not None, f"{node} fails"
        several = type(made) is tuple
        results: list[Any] = [*made] if several else [made]
        for one, other in zip(results, [*wanted] if several else [wanted], strict=True):
            assert one.shape == np.shape(other)
            np.testing.assert_array_equal(one, other)


def sizes(
    low: int = 0, high: int = 4, *, ranks: tuple[int, int] = (0, 4)
) -> st.SearchStrategy[list[int]]:
    """Sizes of an array."""
    return st.lists(st.integers(low, high), min_size=ranks[0], max_size=ranks[1])
