"""Fuse: several nodes become one with a body, which backends and targets may know better."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from graphopt.body import Body
from graphopt.fusion import between, expanded, fuse
from graphopt.graph import Graph
from graphopt.ir import Node, walk
from graphopt.ops.fused import fused
from graphopt.passes.fusion import (
    idioms_activation,
    idioms_attention,
    idioms_embedding,
    idioms_norm,
    idioms_quantized,
    idioms_recurrent,
)
from graphopt.passes.fusion.fuse_groups import Groups, groups_of, is_elementwise, is_group, kind_of
from graphopt.pipeline import Attempt, Context, Pass
from graphopt.records import Derivation
from graphopt.refine import refines

STAGES = (
    idioms_activation.FIRST
    + idioms_norm.FIRST
    + idioms_attention.FIRST
    + idioms_quantized.FIRST
    + idioms_recurrent.FIRST,
    idioms_activation.SECOND
    + idioms_norm.SECOND
    + idioms_attention.SECOND
    + idioms_quantized.SECOND,
    idioms_norm.THIRD + idioms_attention.THIRD + idioms_embedding.THIRD + idioms_norm.LAST,
)
"""The idioms; those of a stage contain some of the next, or are made of some of the one before."""
IDIOMS = STAGES[0] + STAGES[1] + STAGES[2]


@dataclass(frozen=True)
class OpenGroups(Pass):
    """Put neighbours that were fused back in their places, for other passes to see; idioms stay.

    Given:   %2 = Fused(%x) {body = Exp(Cos(x)), kind = "Cos+Exp"}
    Result:  %1 = Cos(%x); %2 = Exp(%1)
    """

    name: ClassVar[str] = "open"

    def run(self, graph: Graph, context: Context) -> Graph:
        return expanded(graph, opens=is_group)


@dataclass(frozen=True)
class Fuse(Pass):
    """Fuse idioms (Gelu, LayerNorm, attention), contractions with what follows, and chains.

    Groups that are there already are opened and made anew, so that doing it twice changes nothing.
    Without `groups`, idioms alone are fused.

    Given:   %1 = Cos(%x); %2 = Exp(%1); return %2
    Result:  %2 = Fused(%x) {body = Exp(Cos(x)), kind = "Cos+Exp"}
    """

    name: ClassVar[str] = "fuse"
    own: ClassVar[tuple[str, ...]] = ("chain", "epilogue")
    groups: bool = True

    def run(self, graph: Graph, context: Context) -> Graph:
        made = expanded(graph, opens=is_group)
        for stage in STAGES:
            made = context.rewrite(made, stage)
        if self.groups:
            grouping = _Grouping(context)
            made = made.with_outputs(grouping.run(made.roots), grouping.derivations)
            counts = Counter(rule for rule, _, _ in grouping.done)
            made = context.keep(Attempt(made, counts, grouping.done))
        return graph if made.roots == graph.roots else _remembering(made)


@dataclass
class _Grouping:
    """Fuses neighbours under some roots and, each once, in the bodies there."""

    context: Context
    derivations: dict[Node, Derivation] = field(default_factory=dict[Node, Derivation])
    bodies: dict[Body, Body] = field(default_factory=dict[Body, Body])
    done: list[tuple[str, Node, Node]] = field(default_factory=list[tuple[str, Node, Node]])

    def run(self, roots: tuple[Node, ...]) -> tuple[Node, ...]:
        """The roots with their groups fused."""
        nodes = list(walk(roots))
        groups = groups_of(nodes, roots)
        memo: dict[Node, Node] = {}
        for step, node in enumerate(nodes):
            if step % 256 == 0:
                self.context.tick()
            rebuilt = self._rebuilt(node, tuple(memo[item] for item in node.inputs))
            memo[node] = self._fused(node, rebuilt, groups, memo)
            if memo[node] is not node:
                self.derivations.setdefault(memo[node], Derivation("", (node,)))
        return tuple(memo[root] for root in roots)

    def _rebuilt(self, node: Node, inputs: tuple[Node, ...]) -> Node:
        if node.op.has_bodies and not node.op.facts.sealed and not node.op.facts.opaque:
            changed: dict[str, Any] = {}
            for name, body in node.bodies:
                if body not in self.bodies:
                    self.bodies[body] = Body(body.params, self.run(body.outputs), body.captures)
                changed[name] = self.bodies[body]
            return Node(node.op, inputs, {**node.attrs, **changed})
        return node.with_inputs(inputs)

    def _fused(self, node: Node, rebuilt: Node, groups: Groups, memo: dict[Node, Node]) -> Node:
        members = groups.members.get(node)
        if members is None:
            return rebuilt
        rule = "fuse.chain" if is_elementwise(members[0]) else "fuse.epilogue"
        if not self.context.allows(rule, rebuilt, len(self.done)):
            return rebuilt
        inner = [rebuilt, *(memo[member] for member in reversed(members[:-1]))]
        made = fuse(rebuilt, inner, kind_of(members))
        if not refines(made, rebuilt):
            return rebuilt
        self.done.append((rule, rebuilt, made))
        self.derivations[made] = Derivation(rule, (rebuilt,))
        if rebuilt is not node:
            self.derivations.setdefault(rebuilt, Derivation("", (node,)))
        return made


def _remembering(graph: Graph) -> Graph:
    """The graph, in which every fused node is derived from all that it is made of."""
    known = graph.tables.derivations
    found: dict[Node, Derivation] = {}
    for node, made in known.items():
        if node.op is fused and len(made.olds) == 1:
            old = made.olds[0]
            if old is not node:
                found[node] = Derivation(made.rule, tuple(between(old, node.inputs)))
    return replace(graph, tables=replace(graph.tables, derivations={**known, **found}))
