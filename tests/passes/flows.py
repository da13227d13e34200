"""What the tests of control flow share: passes that must not change a bit, and what is left."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from graphopt.backends import reference
from graphopt.body import all_nodes
from graphopt.errors import GraphoptError
from graphopt.graph import Graph
from graphopt.ir import Node, walk
from graphopt.passes.branches.control import CONTROL
from graphopt.passes.branches.loop_motion import Loops
from graphopt.passes.branches.loops import LOOPS
from graphopt.passes.fold import FoldConstants
from graphopt.passes.prune import Prune
from graphopt.pipeline import Context, Pass, UntilStable, run_pipeline
from graphopt.types import DType


class Simple(Pass):
    """The rules of control flow alone."""

    name = "simple"

    def run(self, graph: Graph, context: Context) -> Graph:
        return context.rewrite(graph, CONTROL + LOOPS)

    @classmethod
    def options(cls) -> tuple[Any, ...]:
        return ()


ALL = (UntilStable((Prune(), Simple(), FoldConstants(), Loops())),)


def ran(*outputs: Node, passes: Sequence[Pass] = ALL) -> tuple[Node, ...]:
    """The outputs after passes, which must not fail and not change a bit."""
    inputs = tuple(node for node in walk(outputs) if node.op.name == "Input")
    names = tuple(f"y{k}" for k in range(len(outputs)))
    graph = Graph(inputs, outputs, names)
    made = run_pipeline(graph, passes, Context(strict=True))
    rng = np.random.default_rng(0)
    if not any(node.op.facts.opaque for node in all_nodes(outputs)):
        for trips in (0, 1, 4):
            feeds = {node.attrs["name"]: draw(node, rng, trips) for node in inputs}
            try:
                wanted = reference.run(graph, feeds)
            except GraphoptError:
                continue  # a program that fails may become any
            for old, new in zip(wanted, reference.run(made, feeds), strict=True):
                assert (old.dtype, old.shape) == (new.dtype, new.shape)
                assert old.tobytes() == new.tobytes()
    return made.outputs


def draw(node: Node, rng: np.random.Generator, trips: int) -> Any:
    """An array for an input: integers are `trips`."""
    shape = [size if isinstance(size, int) else 3 for size in node.shape or ()]
    if node.dtype is DType.INT64:
        return np.full(shape, trips)
    if node.dtype is DType.BOOL:
        return np.asarray(rng.random(shape) < 0.5)
    return np.asarray(rng.random(shape) + 0.5, np.float32)


def names(*values: Node) -> list[str]:
    """The ops before a value, those of bodies left out."""
    return [node.op.name for node in walk(values) if node.inputs]


def inside(node: Node) -> list[str]:
    """The ops in the bodies of a loop or an If."""
    source = node.inputs[0] if node.op.name == "Out" else node
    return [n.op.name for _, b in source.bodies for n in walk(b.outputs) if n.inputs]
