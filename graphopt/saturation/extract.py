"""Extraction: which term of each class is taken, so that the values wanted cost least together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from graphopt.costs import node_cost
from graphopt.errors import GraphoptError
from graphopt.ir import Node
from graphopt.saturation.egraph import EGraph, Term

Choice = dict[int, Term]
"""The term that is taken of each class."""
NEVER = 1 << 200
"""The cost of what cannot be made, for it would need itself."""


@dataclass
class Extraction:
    """The cheapest terms that are found: greedily first, then by exchanging one at a time.

    What several values share is paid once. To find the least is NP-hard; this finds none that is
    dearer than the terms that it is told to begin with.
    """

    graph: EGraph
    roots: Sequence[int]

    def __post_init__(self) -> None:
        self._costs: dict[int, list[tuple[Term, int]]] = {
            class_: [(term, self._own(term)) for term in self.graph.terms(class_)]
            for class_ in self.graph.classes
        }
        self._own_costs = {id(term): own for made in self._costs.values() for term, own in made}

    def _own(self, term: Term) -> int:
        if term.op is None:
            return 0
        operands = tuple(self.graph.stand_in(self.graph.find(child)) for child in term.children)
        try:
            return node_cost(Node(term.op, operands, term.attrs))
        except GraphoptError:
            return NEVER

    def cost(self, choice: Choice) -> int:
        """What the roots cost; NEVER where the terms need each other."""
        done: dict[int, int] = {}
        open_: set[int] = set()
        stack = list(self.roots)
        while stack:
            class_ = stack.pop()
            if class_ in done:
                continue
            term = choice.get(class_)
            if term is None:
                return NEVER
            children = [self.graph.find(child) for child in term.children]
            if class_ in open_:
                done[class_] = self._own_costs[id(term)]
                continue
            open_.add(class_)
            stack.append(class_)
            for child in children:
                if child in open_ and child not in done:
                    return NEVER
                if child not in done:
                    stack.append(child)
        return sum(done.values())

    def cheapest(self, first: Choice) -> tuple[Choice, int]:
        """A choice and its cost, which is at most that of `first`."""
        greedy = self._greedy()
        start = min((first, greedy), key=self.cost)
        return self._improved(start, greedy)

    def _greedy(self) -> Choice:
        """Of each class the term whose whole tree costs least, what it shares counted once."""
        best: dict[int, Mapping[int, int]] = {}
        choice: Choice = {}
        changed = True
        while changed:
            changed = False
            for class_, terms in self._costs.items():
                for term, own in terms:
                    tree = self._tree(class_, term, own, best)
                    known = best.get(class_)
                    if tree and (known is None or sum(tree.values()) < sum(known.values())):
                        best[class_], choice[class_] = tree, term
                        changed = True
        return choice

    def _tree(
        self, class_: int, term: Term, own: int, best: Mapping[int, Mapping[int, int]]
    ) -> Mapping[int, int] | None:
        """The costs of all that a term needs, None where that is not known or needs itself."""
        made: dict[int, int] = {}
        for child in term.children:
            tree = best.get(self.graph.find(child))
            if tree is None or class_ in tree:
                return None
            made.update(tree)
        made[class_] = own
        return made

    def _improved(self, choice: Choice, greedy: Choice) -> tuple[Choice, int]:
        """The choice after exchanging terms one at a time while that makes it cheaper."""
        choice = {**greedy, **choice}
        least = self.cost(choice)
        better = True
        while better:
            better = False
            for class_ in sorted(self._needed(choice)):
                others = self.graph.terms(class_)
                for term in others if len(others) > 1 else ():
                    other = {**choice, class_: term}
                    cost = self.cost(other)
                    if cost < least:
                        choice, least, better = other, cost, True
        return choice, least

    def _needed(self, choice: Choice) -> set[int]:
        needed, stack = set[int](), list(self.roots)
        while stack:
            class_ = stack.pop()
            if class_ not in needed:
                needed.add(class_)
                stack += map(self.graph.find, choice[class_].children)
        return needed

    def build(self, choice: Choice) -> list[Node]:
        """The roots as nodes over leaves. Raises TypeRuleError where a type is lost."""
        made: dict[int, Node] = {}
        stack = list(self.roots)
        while stack:
            class_ = stack[-1]
            term = choice[class_]
            children = [self.graph.find(child) for child in term.children]
            pending = [child for child in children if child not in made]
            if pending:
                stack += pending
                continue
            stack.pop()
            if term.leaf is not None:
                made[class_] = term.leaf
            elif term.op is None:
                made[class_] = made[children[0]]
            else:
                made[class_] = Node(term.op, tuple(made[c] for c in children), term.attrs)
        return [made[root] for root in self.roots]
