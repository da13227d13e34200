"""ScaleParts: factors of parts of a product, and of products that share their weights."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from graphopt.analysis import same_shape
from graphopt.graph import Graph
from graphopt.ir import Node, walk
from graphopt.ops.arithmetic import div, mul
from graphopt.passes.contractions.maps import A_NODE, Uses, stored
from graphopt.passes.contractions.scaling import (
    Known,
    Scaling,
    Taken,
    Users,
    number_of,
    ordinary,
)
from graphopt.passes.movement.splits import users_of
from graphopt.pipeline import Attempt, Context, Pass
from graphopt.rewriting.plan import Made, followed
from graphopt.rewriting.rule import Soundness
from graphopt.rewriting.uses import Uses as Counted


@dataclass(frozen=True)
class Factor:
    """A product with one number that can go into constants: it becomes its operand `x`."""

    node: Node
    x: Node
    taken: tuple[Taken, ...]


@dataclass(frozen=True)
class ScaleParts(Pass):
    """Take factors into weights of which only a part, or not only they, make what is scaled.

    Queries, keys and values are often one product, of which the queries are scaled; and layers may
    share their weights, if all of them scale them alike.

    Given:   %q, %k = Split(MatMul(%x, %w)); %1 = Mul(%q, 0.125); %2 = MatMul(%1, %k)
    Result:  %q, %k = Split(MatMul(%x, %w2)); %2 = MatMul(%q, %k)
    """

    name: ClassVar[str] = "scale-parts"
    own: ClassVar[tuple[str, ...]] = ("factor",)

    def run(self, graph: Graph, context: Context) -> Graph:
        if not context.math.admits(Soundness.ROUNDING):
            return graph
        uses = Counted(graph.roots)
        factors = agreed(list(factors_of(graph, uses)), uses)
        rule = f"{self.name}.factor"
        if not factors or not context.allows(rule, factors[0].node):
            return graph
        new = {taken.old: taken.new for each in factors for taken in each.taken}
        if stored(new.values()) > stored(new) + A_NODE * len(factors):
            return graph
        operands = {each.node: each.x for each in factors}

        def planned(node: Node, made: Node, what: Made) -> tuple[str, Node] | None:
            if node in operands:
                return rule, what(operands[node])
            return (rule, new[node]) if node in new else None

        made = followed(graph, planned, _all_of_them, context.tick)
        done = [each for each in made.done if each[1].op in (mul, div)]
        return context.keep(Attempt(made.graph, Counter({rule: len(done)}), done))


def _all_of_them(rule: str, node: Node, made: int) -> bool:
    return True


def factors_of(graph: Graph, uses: Uses) -> Iterator[Factor]:
    """The factors that constants could take in, each alone."""
    known: Known = {}
    users: Users = {}
    for node in walk(graph.roots):
        found = scaled_by(node)
        if found is not None:
            users = users or users_of(graph.roots)
            x, factor = found
            scaling = Scaling(uses, users, known)
            if scaling(x, np.array(factor)):
                yield Factor(node, x, tuple(scaling.taken))


def scaled_by(node: Node) -> tuple[Node, float] | None:
    """What a node multiplies by one number that constants may take in, and the number."""
    if node.op is not mul and node.op is not div:
        return None
    x, c = node.inputs
    if node.op is mul and x.constant is not None:
        x, c = c, x
    number = number_of(c)
    if not number or not same_shape(node, x):
        return None
    factor = 1 / number if node.op is div else number
    return (x, factor) if ordinary(factor, x) else None


def agreed(factors: list[Factor], uses: Uses) -> list[Factor]:
    """Those of some factors, inner ones first, that may go in together.

    What becomes of a constant is the same for all of its users; none is itself a factor that goes.
    """
    new: dict[Node, Node] = {}
    chosen: dict[Node, Factor] = {}
    for each in factors:
        alike = all(new.get(taken.old, taken.new) is taken.new for taken in each.taken)
        if alike and not any(taken.user in chosen for taken in each.taken):
            chosen[each.node] = each
            new.update((taken.old, taken.new) for taken in each.taken)
    kept = list(chosen.values())
    while True:
        before, counts = kept, Counter(taken.old for each in kept for taken in each.taken)
        kept = [f for f in before if all(counts[t.old] == uses(t.old) for t in f.taken)]
        if len(kept) == len(before):
            return kept
