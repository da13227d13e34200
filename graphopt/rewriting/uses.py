"""How the values of a graph are used: how often, and whether anybody sees the sign of a zero."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from functools import cached_property
from itertools import chain

from graphopt.body import all_nodes
from graphopt.ir import Node
from graphopt.types import DType, TensorType, Type


class Uses:
    """How often each value is used under some roots, in bodies too.

    A sweep tells it what became of each value, so that a rewritten value has the uses of what it
    stands for: profitable for one use, a rule would otherwise copy a node that has several.
    """

    def __init__(self, roots: Iterable[Node]) -> None:
        self._roots = tuple(roots)
        self._became: list[tuple[Node, Node]] = []

    @cached_property
    def _counts(self) -> Counter[Node]:  # most sweeps never ask
        return Counter(
            chain(self._roots, chain.from_iterable(map(_operands, all_nodes(self._roots))))
        )

    @cached_property
    def _seen(self) -> set[Node]:
        return seen_signs(self._roots)

    @cached_property
    def _nodes(self) -> set[Node]:
        return set(all_nodes(self._roots))

    def __call__(self, node: Node) -> int:
        """The number of uses; 1 for a value that a rule has just made."""
        counts = self._counts
        self._follow()
        return counts.get(node) or 1

    def unseen(self, node: Node) -> bool:
        """Whether nobody can tell if a zero in this value has its other sign.

        What a value is rewritten into has the same users, whose own rewrites keep what they see.
        """
        seen, nodes = self._seen, self._nodes
        self._follow()
        return node in nodes and node not in seen

    def _follow(self) -> None:
        """Take in what became of values since somebody asked."""
        for old, new in self._became:
            if "_counts" in self.__dict__ and old in self._counts:
                self._counts[new] += self._counts[old]
            if "_seen" in self.__dict__ and old in self._nodes:
                if old in self._seen or (new in self._nodes and new in self._seen):
                    self._seen.add(new)
                self._nodes.add(new)
        self._became.clear()

    def became(self, old: Node, new: Node) -> None:
        """Note that `new` stands where `old` did."""
        self._became.append((old, new))


def _operands(user: Node) -> Iterable[Node]:
    """What a node uses: its inputs, and what its bodies return."""
    if not user.op.has_bodies:
        return user.inputs
    return chain(user.inputs, *(body.outputs for _, body in user.bodies))


def seen_signs(roots: Iterable[Node]) -> set[Node]:
    """The values of which somebody may see whether a zero is 0.0 or -0.0.

    The caller sees the roots. An op that passes the sign on makes its operands seen where its own
    result is; what is used in a body, or by an op of which nothing is known, is seen.
    """
    roots = tuple(roots)
    seen = set(roots)
    nodes = list(all_nodes(roots))
    for node in nodes:  # what bodies return and take is seen, whatever becomes of it
        for _, body in node.bodies if node.op.has_bodies else ():
            seen.update(body.outputs)
    for node in reversed(nodes):
        seen.update(_shown(node, node in seen))
    return seen


def _shown(node: Node, seen: bool) -> Iterator[Node]:
    """The operands of a node of which the signs of zeros can be seen in it."""
    facts, kind = node.op.facts, node.derived_type
    if node.op.name == "Out" or facts.moves or facts.signed_zero == "passed":
        told = seen and not _is_signless(kind)
    else:
        told = facts.signed_zero != "absorbed"
    if isinstance(kind, TensorType) and kind.dtype is DType.STRING:
        told = True
    for position, item in enumerate(node.inputs):
        if (told or position in facts.revealing) and not _is_signless(item.derived_type):
            yield item


def _is_signless(kind: Type) -> bool:
    """Whether a type has but one zero."""
    return isinstance(kind, TensorType) and kind.dtype.kind in "biu"
