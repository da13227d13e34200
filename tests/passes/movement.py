"""What the tests of data movement share: graphs made of values, run before and after."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from graphopt.backends.reference import evaluate_all
from graphopt.dims import Dim, Symbol, atoms
from graphopt.errors import GraphoptError
from graphopt.graph import Graph, operations
from graphopt.ir import Node, walk
from graphopt.passes.fold import FoldConstants
from graphopt.passes.movement.casts import CASTS
from graphopt.passes.movement.concats import CONCATS
from graphopt.passes.movement.expands import EXPANDS
from graphopt.passes.movement.gathers import GATHERS
from graphopt.passes.movement.gathers_nd import GATHERS_ND
from graphopt.passes.movement.pads import PADS
from graphopt.passes.movement.reductions import REDUCTIONS
from graphopt.passes.movement.reshape import RESHAPES
from graphopt.passes.movement.row_major import ROW_MAJORS
from graphopt.passes.movement.shapes import SHAPES
from graphopt.passes.movement.sizes import Sizes
from graphopt.passes.movement.slices import SLICES
from graphopt.passes.movement.splits import Splits
from graphopt.passes.movement.transposes import Transposes
from graphopt.pipeline import Context, Pass, UntilStable, run_pipeline
from graphopt.rewriting.rule import Math, RuleSet
from tests.passes.judge import same_bits

MOVEMENT = (
    SHAPES + RESHAPES + ROW_MAJORS + SLICES + CONCATS + GATHERS + GATHERS_ND + PADS + EXPANDS
    + CASTS + REDUCTIONS
)  # fmt: skip


class Rules(Pass):
    """All rules of data movement, in one sweep."""

    name = "movement"

    def run(self, graph: Graph, context: Context) -> Graph:
        return context.rewrite(graph, MOVEMENT)


EVERY: tuple[Pass, ...] = (
    UntilStable((Rules(), FoldConstants(), Splits(), Sizes(), Transposes())),
)
"""All of data movement, until nothing changes."""


def graph_of(*outputs: Node) -> Graph:
    """The graph with these outputs."""
    inputs = tuple(node for node in walk(outputs) if node.op.name == "Input")
    return Graph(inputs, outputs, tuple(f"y{k}" for k in range(len(outputs))))


def after(*outputs: Node, passes: Sequence[Pass] = (), math: Math = Math.DEFAULT) -> Graph:
    """The outputs after some passes; by default all of data movement, until nothing changes."""
    return run_pipeline(graph_of(*outputs), passes or EVERY, Context(math=math, strict=True))


def by_rules(*outputs: Node, rules: RuleSet = MOVEMENT) -> tuple[Node, ...]:
    """The outputs after one sweep of rules."""
    return Context(strict=True).rewrite(graph_of(*outputs), rules).outputs


def ops(graph: Graph) -> Counter[str]:
    """How often each op occurs that does work."""
    return Counter(node.op.name for node in operations(walk(graph.roots)))


def feeds_for(graph: Graph, size: int = 3, seed: int = 0) -> dict[Node, Any]:
    """Arrays for the inputs; every named size is `size`."""
    rng = np.random.default_rng(seed)
    made: dict[Node, Any] = {}
    for node in graph.inputs:
        shape = [item if isinstance(item, int) else size for item in node.shape or ()]
        array = rng.standard_normal(shape) * 4
        if node.dtype.is_float and array.size > 2:
            array.reshape(-1)[rng.integers(0, array.size, array.size // 3)] = rng.choice(
                [0.0, -0.0, np.inf, -np.inf, np.nan, 1e-40], array.size // 3
            )
        made[node] = array.astype(node.dtype.numpy)
    return made


def named(graph: Graph) -> bool:
    """Whether an input has a size that only running tells."""
    sizes = [s for node in graph.inputs for s in node.shape or () if isinstance(s, Dim)]
    return any(isinstance(atom, Symbol) for size in sizes for atom in atoms(size))


def values(graph: Graph, feeds: Mapping[Node, Any]) -> tuple[Any, ...]:
    """What the reference makes of the outputs."""
    return evaluate_all(list(walk(graph.outputs)), graph.outputs, dict(feeds))


def check_same(before: Graph, made: Graph, *, exact: bool = True) -> int:
    """Raise AssertionError unless two graphs give the same values, for some sizes and seeds.

    Where the first one fails, anything may become of it. How many values were compared.
    """
    compared = 0
    for seed, size in enumerate((3, 1, 0, 5) if named(before) else (3, 3)):
        feeds = feeds_for(before, size, seed)
        try:
            expected = values(before, feeds)
        except GraphoptError:
            continue
        for old, new in zip(expected, values(made, feeds), strict=True):
            compared += 1
            assert old.dtype == new.dtype
            assert old.shape == new.shape
            if exact:
                assert same_bits(old, new), f"{old} became {new}"
            else:
                np.testing.assert_allclose(old, new, rtol=1e-5, atol=1e-5)
    return compared


def optimized(*outputs: Node, exact: bool = True) -> Graph:
    """The outputs after all of data movement, checked to give the same values."""
    before = graph_of(*outputs)
    made = after(*outputs)
    assert check_same(before, made, exact=exact)
    return made
