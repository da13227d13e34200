"""Where in an e-graph the left side of a rule may match: as nodes that the rule is applied to.

A node stands for each way in which terms of classes nest as the left side does; where that has a
variable, the stand-in of the class does. So a guard sees no more of what a variable stands for than
holds of all terms of its class.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

from graphopt.errors import GraphoptError
from graphopt.ir import Node
from graphopt.op import Op
from graphopt.rewriting.pattern import KINDS, Apply, Named, Var, is_filled_with
from graphopt.saturation.egraph import EGraph, Term

Instance = tuple[Node, bool]
"""A node, and whether it is made of terms alone that are equal to all others of their classes."""


def operations(graph: EGraph, term: Term) -> set[Op]:
    """The ops that operands of a term may have."""
    found: set[Op] = set()
    for child in map(graph.find, term.children):
        found.add(graph.stand_in(child).op)
        found.update(other.op for other, _ in reachable(graph, child) if other.op)
    return found


def reachable(graph: EGraph, class_: int) -> Iterator[tuple[Term, bool]]:
    """The terms of a class, then those of classes that may stand in its place, each once."""
    pending, seen = [class_], {class_}
    for current in pending:
        for term in graph.terms(current):
            if not term.is_step:
                yield term, current == class_
            elif (target := graph.find(term.children[0])) not in seen:
                seen.add(target)
                pending.append(target)


def instances(graph: EGraph, pattern: Apply, term: Term, equal: bool = True) -> Iterator[Instance]:
    """Every node that a term may be, with operations for operands where a pattern has them."""
    operands = pattern.operands
    fixed = not pattern.op.facts.commutative and not any(map(_is_many, operands))
    if fixed and len(term.children) > len(operands):
        return
    choices: list[list[Instance]] = []
    for position, child in enumerate(term.children):
        wanted = operands[position : position + 1] if fixed else operands
        choices.append(list(dict.fromkeys(_operand(graph, wanted, child))))
    for chosen in product(*choices):
        try:
            node = Node(pattern.op, tuple(item for item, _ in chosen), term.attrs)
        except GraphoptError:  # of a term whose type says more than that of its class
            continue
        yield node, equal and all(same for _, same in chosen)


def _operand(graph: EGraph, patterns: tuple[Any, ...], class_: int) -> Iterator[Instance]:
    """What an operand may be that one of some patterns is to match."""
    known = graph.stand_in(class_)
    for pattern in patterns:
        inner = pattern.pattern if isinstance(pattern, Named) else pattern
        if isinstance(inner, Apply):
            for term, equal in reachable(graph, class_):
                if term.op is inner.op:
                    yield from instances(graph, inner, term, equal)
        elif isinstance(inner, Var):
            if known.is_absent or KINDS[inner.kind](known):
                yield known, True
        elif inner is None or isinstance(inner, Node):
            if known.is_absent or inner is known:
                yield known, True
        elif is_filled_with(known, inner):
            yield known, True


def _is_many(pattern: Any) -> bool:
    return isinstance(pattern, Var) and pattern.kind == "Many"
