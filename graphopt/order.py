"""Serial order is the meaning: what must run before what, and the one order that is printed.

`dependencies` is the only place that derives an order from a graph: a node runs after its inputs,
and one that ends a version of a resource runs after everything that reads that version.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from heapq import heapify, heappop, heappush

from graphopt.ir import Node, walk
from graphopt.records import Tables


def dependencies(roots: Iterable[Node]) -> dict[Node, tuple[Node, ...]]:
    """For every node under the roots, the nodes that must have run before it."""
    before: dict[Node, list[Node]] = {}
    readers: dict[Node, list[Node]] = {}
    mutators: list[tuple[Node, Node]] = []
    for node in walk(roots):
        before[node] = list(dict.fromkeys(node.inputs))
        mutated = node.op.facts.mutates
        for position, item in enumerate(node.inputs):
            if position in mutated:
                mutators.append((node, item))
            else:
                readers.setdefault(item, []).append(node)
    for node, version in mutators:
        before[node] += [reader for reader in readers.get(version, ()) if reader is not node]
    return {node: tuple(items) for node, items in before.items()}


def canonical(roots: Sequence[Node], tables: Tables) -> tuple[Node, ...]:
    """All nodes under the roots: topological, and as near to the source's order as that allows.

    A node's rank is its smallest ordinal in the source, else that of what it was derived from,
    else the highest among its inputs. Raises ValueError when versions of resources form a cycle.
    """
    before = dependencies(roots)
    rank = _ranks(before, tables)
    waiting = {node: len(items) for node, items in before.items()}
    after: dict[Node, list[Node]] = {}
    for node, items in before.items():
        for item in items:
            after.setdefault(item, []).append(node)
    ready = [rank[node] + (node,) for node, count in waiting.items() if not count]
    heapify(ready)
    ordered: list[Node] = []
    while ready:
        node = heappop(ready)[2]
        ordered.append(node)
        for user in after.get(node, ()):
            waiting[user] -= 1
            if not waiting[user]:
                heappush(ready, rank[user] + (user,))
    if len(ordered) != len(before):
        raise ValueError("versions of a resource form a cycle")
    return tuple(ordered)


def _ranks(before: Iterable[Node], tables: Tables) -> dict[Node, tuple[float, int]]:
    """(ordinal, position in a walk) of every node; positions differ, so ranks do."""
    derived: dict[Node, float] = {}
    ranks: dict[Node, tuple[float, int]] = {}
    for position, node in enumerate(before):
        ordinal = source_ordinal(node, tables, derived)
        if ordinal is None:
            inherited = (ranks[item][0] for item in node.inputs if item in ranks)
            ordinal = max(inherited, default=-1.0)
        ranks[node] = (ordinal, position)
    return ranks


def source_ordinal(node: Node, tables: Tables, memo: dict[Node, float]) -> float | None:
    """The smallest place in the source of a value or of what it was derived from, None if none."""
    best: float | None = None
    pending, seen = [node], {node}
    for current in pending:
        known = memo.get(current)
        if known is None and current in tables.records:
            known = float(min(record.ordinal for record in tables.records[current]))
        if known is not None:
            best = known if best is None else min(best, known)
            continue
        made = tables.derivations.get(current)
        if made is not None:
            fresh = [old for old in dict.fromkeys(made.olds) if old not in seen]
            seen.update(fresh)
            pending += fresh
    if best is not None:
        memo[node] = best
    return best


def successors(nodes: Iterable[Node]) -> Mapping[Node, list[Node]]:
    """Which nodes end each version of a resource; a legal graph has at most one a version."""
    ended: dict[Node, list[Node]] = {}
    for node in nodes:
        for position in node.op.facts.mutates:
            if position < len(node.inputs):
                ended.setdefault(node.inputs[position], []).append(node)
    return ended
