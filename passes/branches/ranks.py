"""Ranks: predicates that are known because with the other answer the graph could only fail.

Exporters write `if rank(x) == 2 then x[None] else x` before an operator that takes three axes; the
rank that it takes says which branch runs. Runs in which the graph fails do not count.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import ClassVar

import numpy as np

from graphopt.graph import Graph
from graphopt.ir import Node, walk
from graphopt.op import Op
from graphopt.ops.control import if_
from graphopt.ops.conv import conv
from graphopt.ops.movement import transpose
from graphopt.ops.rnn import gru, lstm, rnn
from graphopt.ops.shape import squeeze, unsqueeze
from graphopt.passes.branches.control import branches
from graphopt.pipeline import Context, ScopePass
from graphopt.rewriting.plan import Made
from graphopt.structural import constant, out_op
from graphopt.types import DType, TensorType, TupleType

RULE = "ranks.demanded"
MANY = 16
"""More possible ranks than this are any."""
Ranks = frozenset[int]
Possible = dict[Node, Ranks | None]
"""The ranks that a value may have; None for any."""
TAKEN: Mapping[Op, Mapping[int, int]] = {
    rnn: {0: 3, 1: 3, 2: 3, 5: 3},
    gru: {0: 3, 1: 3, 2: 3, 5: 3},
    lstm: {0: 3, 1: 3, 2: 3, 5: 3, 6: 3},
}
"""Of which rank an op takes its inputs, by their positions; with another one it fails."""


@dataclass(frozen=True)
class DemandedRanks(ScopePass):
    """Decide predicates of If by the ranks that what uses the results takes.

    Only what runs whenever the If does demands anything: what stands beside it, in no branch.

    Given:   %1 = If(%p, %x) {then_branch = x[None], else_branch = x}; %2 = Transpose(%1) {perm =
             [1, 0]}, of %x : float32[N]
    Result:  %1 = If(true, %x) …
    """

    name: ClassVar[str] = "ranks"
    own: ClassVar[tuple[str, ...]] = ("demanded",)

    def scope(self, graph: Graph, context: Context) -> Graph:
        known = predicates(graph)

        def planned(node: Node, made: Node, new: Made) -> tuple[str, Node] | None:
            return (RULE, known[node]) if node in known else None

        return context.follow(graph, planned) if known else graph


def predicates(graph: Graph) -> dict[Node, Node]:
    """The predicates, of those that an If of this scope has, which are known; as constants."""
    if not any(node.op is if_ for node in graph.order):
        return {}
    possible = possible_ranks(graph.roots, {})
    wanted: dict[Node, Ranks] = {}
    found: dict[Node, bool] = {}
    for node in reversed(graph.order):
        if node.op is if_:
            _through_branches(node, possible, wanted, found)
        for item, ranks in _demands(node, possible, wanted):
            _demand(wanted, item, ranks)
    made: dict[Node, Node] = {}
    for node, answer in found.items():
        sizes = node.shape
        if node.constant is None and sizes is not None and all(type(s) is int for s in sizes):
            made[node] = constant(np.full((1,) * len(sizes), answer), DType.BOOL)
    return made


def _demand(wanted: dict[Node, Ranks], value: Node, ranks: Ranks) -> None:
    wanted[value] = wanted.get(value, ranks) & ranks


def _through_branches(
    node: Node,
    possible: Possible,
    wanted: dict[Node, Ranks],
    found: dict[Node, bool],
) -> None:
    """What an If's wanted outputs tell of its predicate, and want of its captures."""
    demands = {k: wanted[key] for k, key in _ports(node, wanted)}
    given = dict(enumerate(map(possible.get, node.inputs[1:])))
    alive: list[bool] = []
    for body in branches(node):
        ranks = possible_ranks(body.outputs, given)
        held = [(ranks[body.outputs[k]], demand) for k, demand in demands.items()]
        alive.append(all(have is None or have & demand for have, demand in held))
    if any(alive) and not all(alive):
        found[node.inputs[0]] = alive[0]
    answer = found.get(node.inputs[0])
    if answer is None:
        return
    taken = branches(node)[not answer]
    for k, demand in demands.items():
        value = taken.outputs[k]
        if value.op.name == "Bound":
            _demand(wanted, node.inputs[1 + int(value.attrs["index"])], demand)


def _ports(node: Node, wanted: Mapping[Node, Ranks]) -> list[tuple[int, Node]]:
    """The outputs of a node of which ranks are wanted: (index, value)."""
    if isinstance(node.derived_type, TupleType):
        outs = [(k, Node(out_op, (node,), {"index": k})) for k in range(node.attrs["outputs"])]
        return [(k, value) for k, value in outs if value in wanted]
    return [(0, node)] if node in wanted else []


def _demands(
    node: Node, possible: Possible, wanted: Mapping[Node, Ranks]
) -> list[tuple[Node, Ranks]]:
    """The operands whose ranks a node demands: (operand, ranks)."""
    found = [
        (node.inputs[k], frozenset((rank,)))
        for k, rank in TAKEN.get(node.op, {}).items()
        if k < len(node.inputs) and not node.inputs[k].is_absent
    ]
    if node.op is transpose and node.attrs.get("perm") is not None:
        found.append((node.inputs[0], frozenset((len(node.attrs["perm"]),))))
    if node.op is conv and (ranks := possible.get(node.inputs[1])) is not None:
        found.append((node.inputs[0], ranks))
    more = _added(node)
    if more is not None and node in wanted:
        found.append((node.inputs[0], frozenset(rank - more for rank in wanted[node])))
    return found


def _added(node: Node) -> int | None:
    """How many axes a node adds to its first operand; None where that is not known."""
    if node.op in (squeeze, unsqueeze):
        axes = node.inputs[1].shape if len(node.inputs) > 1 and not node.inputs[1].is_absent else ()
        if not axes or not isinstance(axes[0], int):
            return None
        return axes[0] if node.op is unsqueeze else -axes[0]
    alone = node.op.facts.elementwise and len(node.inputs) == 1
    return 0 if alone and isinstance(node.derived_type, TensorType) else None


def possible_ranks(roots: Sequence[Node], given: Mapping[int, Ranks | None]) -> Possible:
    """The ranks that the values of a scope may have; `given` are those of a body's parameters."""
    found: Possible = {}
    joined: dict[Node, list[Ranks | None]] = {}
    for node in walk(roots):
        kind = node.derived_type
        source = node.inputs[0] if node.op is out_op else node
        if isinstance(kind, TensorType) and kind.rank is not None:
            found[node] = frozenset((kind.rank,))
        elif node.op.name == "Bound":
            found[node] = given.get(node.attrs["index"])
        elif source.op is if_ and isinstance(kind, TensorType):
            if source not in joined:
                joined[source] = _either(source, found)
            found[node] = joined[source][node.attrs["index"] if node.op is out_op else 0]
        else:
            found[node] = _derived(node, found)
    return found


def _either(node: Node, found: Possible) -> list[Ranks | None]:
    """The ranks of the outputs of an If, whichever branch it takes."""
    given = dict(enumerate(map(found.get, node.inputs[1:])))
    both: list[list[Ranks | None]] = []
    for body in branches(node):
        ranks = possible_ranks(body.outputs, given)
        both.append([ranks[value] for value in body.outputs])
    pairs = zip(*both, strict=True)
    return [None if one is None or other is None else one | other for one, other in pairs]


def _derived(node: Node, found: Possible) -> Ranks | None:
    """The ranks of a node by those of its operands."""
    more = _added(node)
    if more is not None:
        ranks = found[node.inputs[0]]
        return None if ranks is None else frozenset(r + more for r in ranks if r + more >= 0)
    if not node.op.facts.elementwise or not isinstance(node.derived_type, TensorType):
        return None
    every = [ranks for item in node.inputs if (ranks := found[item]) is not None]
    if len(every) < len(node.inputs):
        return None
    made = every[0]
    for ranks in every[1:]:
        made = frozenset(max(pair) for pair in product(made, ranks))
    return made if len(made) <= MANY else None
