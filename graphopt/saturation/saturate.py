"""Saturation: all ways to compute a few values that rules know of, and the cheapest of them.

Rules are applied to an e-graph, where what they replace stays, so that their order does not matter.
A rule that is exact makes two classes one. Any other, and one that was matched through what another
has replaced, only lets the class of its right side stand in the place of that of its left: to round
is to replace one value by another, not to say that either may be taken for the other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice

import numpy as np

from graphopt.backends.reference import evaluate
from graphopt.costs import elements_of, fused_cost, node_cost
from graphopt.errors import GraphoptError, TypeRuleError
from graphopt.ir import Node
from graphopt.op import Op
from graphopt.refine import refines
from graphopt.rewriting.rule import Math, Rule, RuleSet, Soundness
from graphopt.saturation.egraph import EGraph, Term
from graphopt.saturation.extract import NEVER, Choice, Extraction
from graphopt.saturation.matching import instances, operations
from graphopt.structural import constant
from graphopt.tensor import Tensor
from graphopt.types import TensorType

WAYS = 64
"""How many ways in which a rule may match at a class are tried in a round."""
MAX_DATA = 1 << 12
"""Constants of more bytes are not made: nobody has asked yet for what they are part of."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What saturating one region may take: rounds over all rules, and terms in the e-graph."""

    rounds: int = 6
    terms: int = 1000


MAX_OPERANDS = 8
"""Sums and concatenations of more operands are not made: of those nested k deep there are 2^k."""


@dataclass(frozen=True, slots=True)
class Saturated:
    """The values that were asked for, made anew, what they cost before and now, and what it took.

    `complete`: no rule had anything to add, rather than the limits being reached. `values` are the
    old ones where nothing cheaper was found, and the costs 0 where there was nothing to compare.
    """

    values: tuple[Node, ...]
    before: int
    after: int
    terms: int
    complete: bool


class _Alone:
    """Uses of values of which none is known but the one at hand: extraction counts them."""

    def __call__(self, node: Node) -> int:
        return 1

    def unseen(self, node: Node) -> bool:
        return False


def by_root(rules: RuleSet, math: Math, enabled: Callable[[str], bool]) -> dict[Op, list[Rule]]:
    """The rules that are admitted, by the op at their root."""
    found: dict[Op, list[Rule]] = {}
    for rule in rules:
        if math.admits(rule.soundness) and enabled(rule.key):
            found.setdefault(rule.root, []).append(rule)
    return found


def is_plain(node: Node) -> bool:
    """Whether a node may be a term: it computes one tensor and does nothing else."""
    facts = node.op.facts
    return not (
        node.op.has_bodies
        or facts.opaque
        or facts.mutates
        or node.op.domain == "graphopt"
        or node.op.name == "Constant"
        or not node.inputs
        or not isinstance(node.derived_type, TensorType)
    )


@dataclass
class Saturation:
    """The e-graph of some values and the rules that are applied to it.

    `rules` are those admitted under `math`, by root. `tick` is called now and then and raises when
    a budget is spent.
    """

    rules: Mapping[Op, Sequence[Rule]]
    math: Math
    limits: Limits = field(default_factory=Limits)
    tick: Callable[[], None] = lambda: None
    graph: EGraph = field(default_factory=EGraph)
    _tried: set[tuple[str, int, Node]] = field(default_factory=set[tuple[str, int, Node]])

    def run(self, values: Sequence[Node], leaves: Sequence[Node]) -> Saturated:
        """The cheapest way that is found to make some values of leaves.

        It must be cheaper whether or not chains of nodes are run as one.
        """
        known = {leaf: self.graph.leaf(leaf) for leaf in leaves}
        terms = self._insert(values, known)
        self.graph.rebuild()
        complete = False
        for _ in range(self.limits.rounds):
            size = (len(self.graph), self.graph.unions)
            self._round()
            complete = size == (len(self.graph), self.graph.unions)
            if complete or len(self.graph) > self.limits.terms:
                break
        if not self.graph.unions:
            return Saturated(tuple(values), 0, 0, len(self.graph), complete)
        before, (after, made) = sum(map(node_cost, terms)), self._extracted(values, known)
        outside = set(leaves)
        if after >= before or fused_cost(made, outside) > fused_cost(values, outside):
            made, after = tuple(values), before
        return Saturated(made, before, after, len(self.graph), complete)

    def _insert(self, values: Sequence[Node], known: dict[Node, int]) -> list[Node]:
        """Add values, and what they are made of, and note their classes in `known`.

        Returns those that are terms.
        """
        terms: list[Node] = []
        stack = list(reversed(values))
        while stack:
            node = stack[-1]
            if node in known:
                stack.pop()
                continue
            found = self.graph.class_of(node)
            if found is None and is_plain(node):
                pending = [item for item in node.inputs if item not in known]
                if pending:
                    stack += pending
                    continue
                children = tuple(known[item] for item in node.inputs)
                folded = self._folded(node, children)
                found = self.graph.leaf(folded) if folded else self.graph.term(node, children)
                terms.append(node)
            known[node] = self.graph.leaf(node) if found is None else found
            stack.pop()
        return terms

    def _folded(self, node: Node, children: tuple[int, ...]) -> Node | None:
        """The constant that a small term over constants is: as a rule may need it to be.

        Only of ops that take no more room or time than their operands and results do.
        """
        if not (node.op.facts.elementwise or node.op.facts.moves):
            return None
        held = [self.graph.stand_in(child).constant for child in children]
        size = elements_of(node.derived_type) * node.dtype.bits // 8
        if size > MAX_DATA or not all(t is not None and t.nbytes <= MAX_DATA for t in held):
            return None
        try:
            with np.errstate(all="ignore"):
                made = evaluate(node, [tensor.array for tensor in held if tensor is not None])
        except GraphoptError:  # it fails when it runs, too
            return None
        return constant(Tensor.of(made, node.dtype).compact())

    def _round(self) -> None:
        """Apply every rule wherever it matches now, then let the e-graph settle."""
        found: list[tuple[int, Node, bool]] = []
        self.tick()
        for class_ in list(self.graph.classes):
            found += self._applied(class_)
        for class_, made, equal in found:
            if len(self.graph) > self.limits.terms:
                break
            known: dict[Node, int] = {}
            self._insert((made,), known)
            if known[made] != class_:
                (self.graph.union if equal else self.graph.step)(class_, known[made])
        self.graph.rebuild()

    def _applied(self, class_: int) -> Iterator[tuple[int, Node, bool]]:
        """What rules put in the place of a class, and whether each may stand for the other."""
        if self.graph.is_leaf(class_):
            return
        stand_in = self.graph.stand_in(class_)
        for rule, term in self._candidates(class_):
            for node, equal in islice(instances(self.graph, rule.left, term), WAYS):
                if (tried := (rule.key, class_, node)) in self._tried:
                    continue
                self._tried.add(tried)
                for made in self._applications(rule, node):
                    if refines(made, stand_in):
                        both = equal and rule.soundness is Soundness.EXACT
                        yield class_, made, both and refines(stand_in, made)

    def _candidates(self, class_: int) -> Iterator[tuple[Rule, Term]]:
        """The rules that may match terms of a class, and these."""
        for term in self.graph.terms(class_):
            rules = self.rules.get(term.op, ()) if term.op else ()
            found = operations(self.graph, term) if rules else set[Op]()
            for rule in rules:
                if rule.required <= found:
                    yield rule, term

    def _applications(self, rule: Rule, node: Node) -> Iterator[Node]:
        try:
            for made in rule.applications(node, self.math, _Alone()):
                if self._is_welcome(made):
                    yield made
        except GraphoptError as error:
            error.add_note(f"in the rule {rule.key} on {node!r}")
            raise

    def _is_welcome(self, made: Node) -> bool:
        """Whether a value is made of terms, leaves, stand-ins and small new constants."""
        pending, seen = [made], {made}
        for node in pending:
            tensor = node.constant
            if node.is_absent or self.graph.class_of(node) is not None:
                continue
            if len(node.inputs) > MAX_OPERANDS or (tensor is None and not is_plain(node)):
                return False
            if tensor is not None and tensor.stored_bytes > MAX_DATA:
                return False
            pending += (item for item in node.inputs if item not in seen)
            seen.update(node.inputs)
        return True

    def _extracted(
        self, values: Sequence[Node], known: Mapping[Node, int]
    ) -> tuple[int, tuple[Node, ...]]:
        """What the cheapest terms cost, and the values from them; NEVER if types are lost."""
        extraction = Extraction(self.graph, [self.graph.find(known[value]) for value in values])
        first: Choice = {}
        for class_ in known.values():  # the oldest term of a class is as the values have it
            now = self.graph.find(class_)
            first[now] = self.graph.terms(now)[0]
        choice, cost = extraction.cheapest(first)
        if cost >= NEVER:
            return NEVER, ()
        try:
            made = tuple(extraction.build(choice))
        except TypeRuleError:
            return NEVER, ()
        return (cost, made) if all(map(refines, made, values)) else (NEVER, ())
