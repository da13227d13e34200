"""What the tests that read like a table share: a graph, and the ops that are left of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Literal

import numpy as np

import graphopt
from graphopt.backends import reference
from graphopt.errors import GraphoptError
from graphopt.fusion import expanded
from graphopt.graph import Graph, operations
from graphopt.ir import Node, walk
from graphopt.passes import RULES
from graphopt.rewriting.rule import Soundness
from tests.passes.judge import Array, same_bits

MathName = Literal["strict", "default", "fast"]
Made = Node | tuple[Node, ...]
SPECIAL = (0.0, -0.0, np.inf, -np.inf, np.nan, 1e-40, -1.0, 3e38)


@dataclass(frozen=True)
class Row:
    """A rewrite: what it is called elsewhere, a graph to which it applies, and what is left of it.

    `left` names the ops that are left, in order; a fused node is named by its parts, joined by "+",
    where `fused` is set, else it is opened. `rounds`: the result may differ by rounding. `feeds`
    are inputs to run it on, where those drawn would not do.
    """

    key: str
    make: Callable[[], Made]
    left: str
    math: MathName = "default"
    fused: bool = False
    rounds: bool = False
    feeds: Mapping[str, Any] = field(default_factory=dict[str, Any])
    pipeline: str = "O2"

    def __str__(self) -> str:
        return self.key


def graph_of(made: Made) -> Graph:
    """The graph with these outputs."""
    outputs = made if isinstance(made, tuple) else (made,)
    inputs = tuple(node for node in walk(outputs) if node.op.name == "Input")
    return Graph(inputs, outputs, tuple(f"y{k}" for k in range(len(outputs))))


def told(graph: Graph, *, fused: bool) -> str:
    """The ops of a graph, in order; a fused node by its parts, or opened."""
    shown = graph if fused else expanded(graph)
    nodes = operations(walk(shown.outputs))
    return " ".join(node.attrs.get("kind", node.op.name) for node in nodes)


def drawn(graph: Graph, seed: int, *, tame: bool, size: int = 3) -> dict[str, Any]:
    """Arrays for the inputs; with special values unless they are to be tame."""
    rng = np.random.default_rng(seed)
    feeds: dict[str, Any] = {}
    for node in graph.inputs:
        shape = [item if isinstance(item, int) else size for item in node.shape or ()]
        array: Array
        if node.dtype.numpy == np.bool_:
            array = rng.random(shape) < 0.5
        elif node.dtype.is_float:
            array = rng.uniform(0.5, 2, shape) * (1 if tame else rng.choice([-1.0, 1.0], shape))
            if not tame and array.size > 1:
                flat = array.reshape(-1)
                flat[rng.integers(0, flat.size, flat.size // 3 + 1)] = rng.choice(
                    SPECIAL, flat.size // 3 + 1
                )
        else:
            array = rng.integers(0, 5, shape)
        with np.errstate(all="ignore"):
            feeds[node.attrs["name"]] = array.astype(node.dtype.numpy)
    return feeds


@cache
def classes() -> Mapping[str, Soundness]:
    """The class of every rule, by its key."""
    return {rule.key: rule.soundness for rule in RULES}


def fired(graph: Graph) -> set[str]:
    """The rules and passes that made an optimized graph."""
    assert graph.report is not None
    assert not graph.report.failures, graph.report
    return set(graph.report.rules)


def check_same(before: Graph, made: Graph, row: Row) -> int:
    """Raise AssertionError unless two graphs agree, for bits unless the row rounds; how often."""
    compared = 0
    for seed in range(4):
        feeds = dict(row.feeds) or drawn(before, seed, tame=row.rounds, size=(3, 1, 5, 0)[seed])
        try:
            wanted = reference.run(before, feeds)
        except GraphoptError:
            continue  # of what fails anything may become
        for old, new in zip(wanted, reference.run(made, feeds), strict=True):
            compared += 1
            assert (old.dtype, old.shape) == (new.dtype, new.shape)
            if row.rounds and old.dtype.kind not in "biu":
                scale = float(np.abs(old).max(initial=1.0))
                left, right = (np.asarray(item, np.float64) for item in (old, new))
                np.testing.assert_allclose(left, right, rtol=0, atol=2e-6 * scale)
            else:
                assert same_bits(old, new), f"{old} became {new}"
    return compared


def check_row(row: Row) -> Graph:
    """Raise AssertionError unless a row holds; the optimized graph."""
    before = graph_of(row.make())
    made = graphopt.optimize(before, row.pipeline, math=row.math, strict=True)
    used = fired(made)
    assert told(made, fused=row.fused) == row.left, f"{told(made, fused=row.fused)} by {used}"
    assert check_same(before, made, row), "no drawn inputs could be run"
    return made
