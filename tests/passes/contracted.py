"""The rules of contractions, run on the graph of some values."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from graphopt.backends import reference
from graphopt.graph import Graph, operations
from graphopt.ir import Node, walk
from graphopt.passes.algebra.sums import differences
from graphopt.passes.contractions.affine import AFFINE
from graphopt.passes.contractions.affine_moves import AFFINE_MOVES
from graphopt.passes.contractions.association import ASSOCIATION
from graphopt.passes.contractions.convs import CONVS
from graphopt.passes.contractions.einsums import EINSUMS
from graphopt.passes.contractions.gemms import GEMMS
from graphopt.passes.contractions.product_inputs import PRODUCT_INPUTS
from graphopt.passes.contractions.quantized import QUANTIZED
from graphopt.passes.contractions.scales import SCALES
from graphopt.passes.contractions.windows import WINDOWS
from graphopt.passes.movement.pads import pad_pool
from graphopt.pipeline import Context, Pass, UntilStable, run_pipeline
from graphopt.rewriting.examples import example
from graphopt.rewriting.rule import Math

RULES = (
    AFFINE
    + AFFINE_MOVES
    + SCALES
    + PRODUCT_INPUTS
    + CONVS
    + WINDOWS
    + QUANTIZED
    + EINSUMS
    + GEMMS
    + ASSOCIATION
    + differences
    + pad_pool
)
"""The family, and what is always run before it."""
ROWS, SMALL = example("float32[N, 6]", "rows"), example("float32[1, 6]", "one")
IMAGE = example("float32[N, 4, 8, 8]", "image")


@dataclass(frozen=True)
class Rewrite(Pass):
    """All rules of this family."""

    name: ClassVar[str] = "contractions"

    def run(self, graph: Graph, context: Context) -> Graph:
        return context.rewrite(graph, RULES)


def optimized(*outputs: Node, math: Math = Math.DEFAULT) -> Graph:
    """The graph of some values after the rules."""
    inputs = tuple(dict.fromkeys(n for n in walk(outputs) if n.op.name == "Input"))
    graph = Graph(inputs, outputs, tuple(f"y{k}" for k in range(len(outputs))))
    passes = [UntilStable((Rewrite(),))]
    made = run_pipeline(graph, passes, Context(math=math, strict=True))
    assert run_pipeline(made, passes, Context(math=math, strict=True)).outputs == made.outputs
    return made


def left(*outputs: Node, math: Math = Math.DEFAULT) -> dict[str, int]:
    """How many nodes of each operator are left."""
    nodes = operations(optimized(*outputs, math=math).nodes)
    return dict(Counter(node.op.name for node in nodes))


def both(
    output: Node, *, size: int = 3, math: Math = Math.DEFAULT, **feeds: Any
) -> tuple[Any, Any]:
    """What a value is before and after the rules."""
    made = optimized(output, math=math)
    rng = np.random.default_rng(0)
    for item in made.inputs:
        shape = [n if isinstance(n, int) else size for n in item.shape or ()]
        drawn = rng.standard_normal(shape).astype(item.dtype.numpy)
        feeds.setdefault(item.attrs["name"], drawn)
    before = Graph(made.inputs, (output,), ("y0",))
    return reference.run(before, feeds)[0], reference.run(made, feeds)[0]


def close(output: Node, **options: Any) -> bool:
    """Whether a value is the same but for rounding."""
    old, new = both(output, **options)
    scale = float(np.abs(old).max(initial=1.0))
    return old.shape == new.shape and bool(np.allclose(old, new, rtol=0, atol=1e-5 * scale))
