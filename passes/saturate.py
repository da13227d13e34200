"""Saturate: in small regions, all orders of rules at once, where their order has lost something.

    a * b + d + a * c              = a * (b + c) + d        no two neighbours have the factor
    exp a * b * exp c              = exp(a + c) * b         fast: nor are two exponentials beside
    (a @ b + d) + a @ c            = Gemm(a, b + c, d)      fast: each product took a sum in first
    log(exp a) + log(exp b * c)    = a + b + log c          fast: it takes a longer form on the way
    (a * 2 + b) * 0.5              = a + b * 0.5            fast: likewise

What is greedy leaves the left sides as they are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from graphopt.body import Body
from graphopt.errors import MissingExtraError
from graphopt.graph import Graph
from graphopt.ir import Node
from graphopt.op import Op
from graphopt.passes.algebra.expansions import EXPANSIONS
from graphopt.passes.contractions.association import ASSOCIATION
from graphopt.passes.contractions.gemms import GEMMS
from graphopt.passes.simplify import ARITHMETIC, MOVEMENT
from graphopt.pipeline import Attempt, Context, Pass
from graphopt.records import Derivation
from graphopt.rewriting.pattern import Apply, Named, Var
from graphopt.rewriting.rule import Rule, RuleSet
from graphopt.saturation import Limits, Region, Saturated, Saturation, by_root, is_plain, regions_of


def over_lists(pattern: Any) -> bool:
    """Whether a pattern has a variable for any number of operands."""
    if isinstance(pattern, Named):
        return over_lists(pattern.pattern)
    if isinstance(pattern, Apply):
        return any(map(over_lists, pattern.operands))
    return isinstance(pattern, Var) and pattern.kind == "Many"


ALL: RuleSet = EXPANSIONS + MOVEMENT + ARITHMETIC + GEMMS + ASSOCIATION
SATURATED = RuleSet(tuple(rule for rule in ALL if not over_lists(rule.left)))
"""Rules over lists of operands are left to the sweep: nested k deep, lists part in 2^k ways."""
REGION = "saturate.region"


@dataclass(frozen=True)
class Saturate(Pass):
    """Find the cheapest way to compute each small region, whatever the order of rules.

    Rules are applied to a region of at most `max_nodes` nodes, and to what they make of it, for
    `rounds` rounds or until it has `max_terms` terms; the whole graph may get `budget` more. Of all
    ways to compute the region's values that are found, the one is taken that should run fastest,
    if it is faster than what was there. With `optional`, nothing is done where egglog is missing.

    Given:   %1 = Mul(%a, %b); %2 = Add(%1, %d); %3 = Mul(%a, %c); return Add(%2, %3)  : int32
    Result:  %1 = Add(%b, %c); %2 = Mul(%a, %1); return Add(%2, %d)
    """

    name: ClassVar[str] = "saturate"
    own: ClassVar[tuple[str, ...]] = ("region",)
    max_nodes: int = 32
    rounds: int = 6
    max_terms: int = 1000
    budget: int = 20_000
    optional: bool = False

    def run(self, graph: Graph, context: Context) -> Graph:
        """The graph with its regions made anew. Raises MissingExtraError without egglog."""
        work = _Work(self, context, by_root(SATURATED, context.math, context.enabled))
        try:
            roots = work.run(graph.roots)
        except MissingExtraError as error:
            if not self.optional:
                raise
            if context.log is not None:
                context.log.analysis(self.name, f"left out: {error}", graph)
            return graph
        if roots == graph.roots:
            return graph
        known = graph.tables.records
        derived = {node: made for node, made in work.derivations.items() if node not in known}
        made = graph.with_outputs(roots, derived)
        if context.log is not None:
            for value, found in work.found:
                context.log.analysis(self.name, told(found), made, value)
        return context.keep(Attempt(made, Counter({REGION: len(work.done)}), work.done))


def told(found: Saturated) -> str:
    """What came of a region, in words."""
    gain = f"{found.before / 1e6:.3g} us become {found.after / 1e6:.3g} us by estimate"
    return f"{gain}; {found.terms} terms{'' if found.complete else ', of more'}"


@dataclass
class _Work:
    """Makes the regions under some roots anew and, each once, those of the bodies there."""

    options: Saturate
    context: Context
    rules: Mapping[Op, Sequence[Rule]]
    derivations: dict[Node, Derivation] = field(default_factory=dict[Node, Derivation])
    done: list[tuple[str, Node, Node]] = field(default_factory=list[tuple[str, Node, Node]])
    found: list[tuple[Node, Saturated]] = field(default_factory=list[tuple[Node, Saturated]])
    bodies: dict[Body, Body] = field(default_factory=dict[Body, Body])
    spent: int = 0

    def run(self, roots: tuple[Node, ...]) -> tuple[Node, ...]:
        """The roots with their regions made anew."""
        into: dict[Node, Node] = {}
        for region in regions_of(roots, is_plain, self.options.max_nodes):
            if self.spent < self.options.budget:
                into.update(self._made(region))
        return self._put(roots, into)

    def _made(self, region: Region) -> dict[Node, Node]:
        """What becomes of a region's values, of those alone that change."""
        if not any(self.rules.get(node.op) for node in region.nodes):
            return {}
        limits = Limits(self.options.rounds, self.options.max_terms)
        state = Saturation(self.rules, self.context.math, limits, self.context.tick)
        found = state.run(region.values, region.leaves)
        self.spent += max(0, found.terms - len(region.nodes) - len(region.leaves))
        changed = {
            old: new for old, new in zip(region.values, found.values, strict=True) if new is not old
        }
        if not changed or not all(map(self._allows, changed)):
            return {}
        self.found.append((next(iter(changed.values())), found))
        self.done += [(REGION, old, new) for old, new in changed.items()]
        return changed

    def _allows(self, old: Node) -> bool:
        """Whether the run that the pass is part of lets this be done."""
        fuel, only = self.context.fuel, self.context.only
        if fuel is not None and len(self.done) >= fuel:
            return False
        return only is None or only.allows(Saturate.name, REGION, old)

    def _put(self, roots: tuple[Node, ...], into: Mapping[Node, Node]) -> tuple[Node, ...]:
        """The roots over what values become; what is made is made of values as they were."""
        memo: dict[Node, Node] = {}
        stack = list(reversed(roots))
        while stack:
            node = stack[-1]
            source = into.get(node, node)
            pending = [item for item in source.inputs if item not in memo]
            if node in memo or not pending:
                stack.pop()
                if node not in memo:
                    memo[node] = self._rebuilt(source, tuple(memo[item] for item in source.inputs))
                    self._derive(memo[node], node, REGION if source is not node else "")
                continue
            stack += reversed(pending)
        return tuple(memo[root] for root in roots)

    def _derive(self, made: Node, old: Node, rule: str) -> None:
        if made is not old:
            self.derivations.setdefault(made, Derivation(rule, (old,)))

    def _rebuilt(self, node: Node, inputs: tuple[Node, ...]) -> Node:
        if not node.op.has_bodies or node.op.facts.sealed or node.op.facts.opaque:
            return node.with_inputs(inputs)
        changed: dict[str, Body] = {}
        for name, body in node.bodies:
            if body not in self.bodies:
                self.bodies[body] = Body(body.params, self.run(body.outputs), body.captures)
            changed[name] = self.bodies[body]
        return Node(node.op, inputs, {**node.attrs, **changed})
