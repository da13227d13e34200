"""Splits: slices side by side made one, parts that all go the same way put back together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from graphopt.dims import Size
from graphopt.graph import Graph
from graphopt.ir import Node, walk
from graphopt.ops.shape import reshape
from graphopt.ops.slicing import slice_, split
from graphopt.passes.movement.chains import fed_by_contraction, over, variable_of
from graphopt.passes.movement.concats import alike
from graphopt.passes.movement.positions import Span, cuts, part_of, sliced, spans_of, vector
from graphopt.passes.movement.reshape import fixed_target
from graphopt.passes.movement.row_major import ROW_MAJOR, merged
from graphopt.pipeline import Context, ScopePass
from graphopt.refine import refines
from graphopt.rewriting.plan import Made
from graphopt.structural import out, out_op

ROUNDS = 4
"""So often: what becomes a Split may have what is done to its parts before it."""
Users = Mapping[Node, list[Node]]
Plan = dict[Node, tuple[str, Callable[[Made], Node]]]
"""By node: the name of a rule, and what it makes of the node."""


def users_of(roots: tuple[Node, ...]) -> dict[Node, list[Node]]:
    """Who uses each node, once a use; a root is used by itself, too. Bodies are not entered."""
    users: dict[Node, list[Node]] = {}
    for node in walk(roots):
        for item in node.inputs:
            users.setdefault(item, []).append(node)
    for root in roots:
        users.setdefault(root, []).append(root)
    return users


@dataclass(frozen=True)
class Splits(ScopePass):
    """Make Splits of slices that part a value, one Slice of a Split of which one part is taken.

    What is done to every part of a Split is done before it, to all at once. Without `join`, slices
    stay: some idioms are told by them.

    Given:   %a, %b = Split(%x); %c = Exp(%a); %d = Exp(%b)
    Result:  %1 = Exp(%x); %c, %d = Split(%1)
    """

    name: ClassVar[str] = "splits"
    own: ClassVar[tuple[str, ...]] = ("one", "slices", "unary", "reshape")
    join: bool = True

    def scope(self, graph: Graph, context: Context) -> Graph:
        for _ in range(ROUNDS):
            before, graph = graph, self._once(graph, context)
            if graph is before:
                break
        return graph

    def _once(self, graph: Graph, context: Context) -> Graph:
        users = users_of(graph.roots)
        plan: Plan = {}
        groups: dict[tuple[Node, int], list[tuple[int, int, Node]]] = {}
        for node in users:
            if node.op is split:
                plan.update(_one_taken(node, users) or _hoisted(node, users) or {})
            elif node.op is slice_ and self.join:
                for whole, axis, begin, end in _part(node):
                    groups.setdefault((whole, axis), []).append((begin, end, node))
        for (whole, axis), parts in groups.items():
            plan.update(_parted(whole, axis, parts))

        def planned(node: Node, made: Node, new: Made) -> tuple[str, Node] | None:
            rule, make = plan.get(node, ("", None))
            return None if make is None else (rule, make(new))

        return context.follow(graph, planned) if plan else graph


def _part(node: Node) -> Iterator[tuple[Node, int, int, int]]:
    """Of what a Slice takes a part, along which axis, from where to where."""
    spans = spans_of(node)
    if spans is None or len(spans) != 1:
        return
    (axis,) = spans
    part = part_of(node, axis)
    if part is not None and isinstance(part.begin, int) and isinstance(part.end, int):
        yield part.whole, axis, part.begin, part.end


def _parted(x: Node, axis: int, parts: list[tuple[int, int, Node]]) -> Plan:
    """The slices of a value as the outputs of one Split, where they are all of it, each once."""
    size = None if x.shape is None else x.shape[axis]
    ordered = sorted(parts, key=lambda part: part[:2])
    edges = [0, *(end for _, end, _ in ordered)]
    fit = all(begin == edge for (begin, _, _), edge in zip(ordered, edges, strict=False))
    whole = isinstance(size, int) and edges[-1] == size and len(parts) > 1
    if not fit or not whole or any(begin == end for begin, end, _ in ordered):
        return {}
    sizes = vector(end - begin for begin, end, _ in ordered)

    def one(new: Made) -> Node:
        made: Node = split(new(x), sizes, axis=axis, outputs=len(parts))
        return made

    return _ports("splits.slices", [node for _, _, node in ordered], one)


def _ports(rule: str, olds: Sequence[Node], node: Callable[[Made], Node]) -> Plan:
    """Some values as the outputs of one node."""

    def port(index: int) -> Callable[[Made], Node]:
        return lambda new: out(node(new), index)

    return {old: (rule, port(k)) for k, old in enumerate(olds)}


def _one_taken(node: Node, users: Users) -> Plan | None:
    """The only output that is taken of a Split as a Slice."""
    taken = users.get(node, [])
    found = cuts(node)
    if len(taken) != 1 or taken[0].op is not out_op or found is None:
        return None
    axis, edges = found
    index: int = taken[0].attrs["index"]
    begin, end = edges[index], edges[index + 1]
    if not isinstance(begin, int) or not isinstance(end, int):
        return None
    span = Span(begin, end)
    made = sliced(node.inputs[0], {axis: span})
    if made is None or not refines(made, taken[0]):
        return None  # that the parts are all of the axis proves how long it is

    def one(new: Made) -> Node:
        return sliced(new(node.inputs[0]), {axis: span}) or out(new(node), index)

    return {taken[0]: ("splits.one", one)}


def _hoisted(node: Node, users: Users) -> Plan | None:
    """The nodes after a Split that do the same to each of its outputs, before it."""
    outs = sorted(users.get(node, []), key=lambda item: item.attrs.get("index", -1))
    count = node.op.arguments(node.attrs)["outputs"]
    if len(outs) != count or count < 2 or any(item.op is not out_op for item in outs):
        return None
    steps, at = ([], outs) if fed_by_contraction(node) else _common(outs, users)

    def before(new: Made) -> Node:
        x = new(node.inputs[0])
        for step in steps:
            x = over(step, x)
        return node.with_inputs((x, *map(new, node.inputs[1:])))

    shaped = [item for value in at if (item := _only_user(value, users)) is not None]
    found = _reshaping(before(lambda item: item), shaped)
    if found is not None:
        target, sizes, axis = found

        def reshaped(new: Made) -> Node:
            x, *_ = before(new).inputs
            made: Node = split(reshape(x, target), sizes, axis=axis, outputs=len(shaped))
            return made

        return _ports("splits.reshape", shaped, reshaped)
    return _ports("splits.unary", at, before) if steps else None


def _common(outs: list[Node], users: Users) -> tuple[list[Node], list[Node]]:
    """What is done to each of some values alike, step by step, and what they become."""
    steps: list[Node] = []
    at = outs
    while True:
        after = [_only_user(value, users) for value in at]
        known = [item for item in after if item is not None and variable_of(item) is not None]
        if len(known) < len(outs) or len(set(known)) < len(outs):
            return steps, at
        first = known[0]
        if not all(alike(item, first) for item in known[1:]) or _widens(first, at[0]):
            return steps, at
        steps.append(first)
        at = known


def _widens(step: Node, value: Node) -> bool:
    """Whether a step would make the Split move more bytes."""
    return step.dtype.bits > value.dtype.bits


def _only_user(value: Node, users: Users) -> Node | None:
    found = users.get(value, [])
    return found[0] if len(found) == 1 and found[0] is not value else None


def _reshaping(node: Node, shaped: list[Node]) -> tuple[Node, Node, int] | None:
    """How the value is reshaped, in what parts it is split then, and along which axis.

    For reshapes of all parts that split the axis, or leave it; None for others.
    """
    found, x = cuts(node), node.inputs[0]
    if found is None or len(shaped) != len(found[1]) - 1 or len(set(shaped)) < len(shaped):
        return None
    axis, edges = found
    places: set[tuple[Size, ...]] = set()
    sizes: list[int] = []
    if any(item.op not in ROW_MAJOR for item in shaped) or x.shape is None:
        return None
    for k, item in enumerate(shaped):
        part, made = edges[k + 1] - edges[k], item.shape
        if made is None:
            return None
        groups = merged(made, (*x.shape[:axis], part, *x.shape[axis + 1 :]))
        wide = None if groups is None else [a for a in groups[axis] if made[a] != 1]
        if not wide or not isinstance(size := made[wide[0]], int):
            return None
        sizes.append(size)
        places.add((wide[0], *made[: wide[0]], *made[wide[0] + 1 :]))
    if len(places) > 1:
        return None
    at, *rest = places.pop()
    if not isinstance(at, int):
        return None
    target = fixed_target(x, [*rest[:at], sum(sizes), *rest[at:]])
    if target is None:
        return None
    return vector(target), vector(sizes), at
