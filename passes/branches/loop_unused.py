"""Outputs of loops and of If that nobody takes, and what is carried without need."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from graphopt.body import Body, all_nodes
from graphopt.graph import Graph
from graphopt.ir import Node, types_of
from graphopt.ops.control import if_
from graphopt.ops.loops import loop, scan
from graphopt.passes.branches.control import branches, rebuilt_if
from graphopt.passes.branches.loop_parts import Parts, parts_of
from graphopt.refine import refines
from graphopt.structural import out_op, results


def source_of(node: Node) -> tuple[Node, int]:
    """The node that makes a value, and as which output."""
    return (node.inputs[0], node.attrs["index"]) if node.op.name == "Out" else (node, 0)


def taken_outputs(graph: Graph) -> Mapping[Node, Collection[int]]:
    """Which outputs are taken of every node that has several."""
    found: defaultdict[Node, set[int]] = defaultdict(set)
    for node in all_nodes(graph.roots):
        if node.op is out_op:
            found[node.inputs[0]].add(node.attrs["index"])
    return found


def without_unused(
    node: Node, taken: Mapping[Node, Collection[int]], made: dict[Node, Mapping[int, Node] | None]
) -> tuple[Node, str] | None:
    """The rewriter: a value of a loop or an If without what nobody takes of it."""
    source, index = source_of(node)
    if source.op not in (loop, scan, if_) or (node is source and len(types_of(node)) > 1):
        return None
    wanted = {0} if node is source else taken.get(source)
    if wanted is None:  # made in this sweep: it is looked at in the next
        return None
    if source not in made:
        trim = trimmed_if if source.op is if_ else trimmed_loop
        made[source] = trim(source, wanted)
    values = made[source]
    if values is None or not refines(values[index], node):
        return None
    return values[index], "loops.unused"


def trimmed_if(node: Node, taken: Collection[int]) -> Mapping[int, Node] | None:
    """The outputs that are taken of an If, which has no others."""
    kept = sorted(taken)
    one, other = branches(node)
    if len(kept) == len(one.outputs):
        return None
    bodies = [
        Body(body.params, tuple(body.outputs[k] for k in kept), body.captures)
        for body in (one, other)
    ]
    made = rebuilt_if(node.inputs[0], node.inputs[1:], (bodies[0], bodies[1]))
    return dict(zip(kept, results(made), strict=True))


def trimmed_loop(node: Node, taken: Collection[int]) -> Mapping[int, Node] | None:
    """The outputs that are taken of a loop that carries and stacks nothing without need.

    What it carries and never changes it captures.
    """
    parts = parts_of(node)
    count, skipped = len(parts.carried), parts.skipped
    same = [k for k in range(count) if parts.never_changes(k)]
    kept = [k for k in sorted(needed(parts, taken)) if k not in same]
    shown = [k for k in parts.shown if k - skipped in taken]
    if len(kept) == count and len(shown) == len(parts.shown):
        return None
    made: dict[int, Node] = {k: parts.carried[k] for k in same}
    outputs = [*kept, *(k - skipped for k in shown)]
    if outputs:
        formals, returned = parts.body.open()
        own = list(formals[: parts.own])
        carried = own[parts.first : parts.first + count]
        formal = own[: parts.first] + [carried[k] for k in kept] + own[parts.first + count :]
        captured = (*formals[parts.own :], *(carried[k] for k in same))
        results_ = [*returned[:skipped], *(returned[skipped + k] for k in outputs)]
        body = Body.close(formal, captured, results_)
        inputs = (
            *node.inputs[: parts.first],
            *(parts.carried[k] for k in kept),
            *parts.scanned,
            *parts.captured,
            *(parts.carried[k] for k in same),
        )
        attrs = _stacking(node, [k - skipped - count for k in shown])
        new = node.op(
            *(None if item.is_absent else item for item in inputs),
            **{**attrs, "body": body, "outputs": len(outputs)},
        )
        made |= dict(zip(outputs, results(new), strict=True))
    return made


def needed(parts: Parts, taken: Collection[int]) -> set[int]:
    """Which carried values are taken, or make what is."""
    count, skipped = len(parts.carried), parts.skipped
    found = {k for k in taken if k < count}
    pending = list(parts.body.outputs[:skipped])
    pending += [parts.body.outputs[skipped + k] for k in taken]
    seen: set[Node] = set()
    while pending:
        node = pending.pop()
        if node in seen:
            continue
        seen.add(node)
        pending += node.inputs
        place = node.attrs["index"] - parts.first if node.op.name == "Bound" else -1
        if 0 <= place < count and place not in found:
            found.add(place)
            pending.append(parts.body.outputs[skipped + place])
    return found


def _stacking(node: Node, kept: Sequence[int]) -> dict[str, Any]:
    """The attributes of a loop that stacks only some of its results."""
    made = dict(node.attrs)
    for name in ("scan_output_axes", "scan_output_directions"):
        if made.get(name) is not None:
            made[name] = tuple(made[name][k] for k in kept) or None
    return made
