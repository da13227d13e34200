"""Painting: which nodes are to compute in half the bits, told by lists and by their neighbours.

The steps are those of TensorFlow's mixed precision: what gains is painted; what loses, and what
follows it, is not; what lies between two that are painted is, so that no casts are needed there;
then what follows one that is painted, then what moves its elements.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from graphopt.ir import Node
from graphopt.passes.precision.mixed_lists import Kind

Links = Mapping[Node, list[Node]]
"""The neighbours of nodes, of which those with a kind take part."""


@dataclass
class Painting:
    """Some nodes in order, inputs first, with their kinds, and how they feed each other.

    `able` says whether a node can be painted at all. A node whose value is carried round a loop
    stands in the loop's body and meets it through the body's parameters, which take no part: what
    is carried has one dtype, its own.
    """

    kinds: Mapping[Node, Kind]
    inputs: Links
    users: Links
    able: Callable[[Node], bool]
    painted: set[Node] = field(default_factory=set[Node])
    denied: set[Node] = field(default_factory=set[Node])

    def run(self) -> set[Node]:
        """The nodes that are painted."""
        self.painted = {node for node in self._all("allow") if self.able(node)}
        self._deny()
        self._fill()
        self._extend()
        self._clear()
        return self.painted

    def _all(self, *kinds: Kind) -> Iterator[Node]:
        return (node for node, kind in self.kinds.items() if kind in kinds)

    def _open(self, *kinds: Kind) -> set[Node]:
        """The nodes of some kinds that are neither painted nor denied."""
        return {n for n in self._all(*kinds) if n not in self.painted and n not in self.denied}

    def _deny(self) -> None:
        """What loses, and what follows through ops that would otherwise be painted, is denied.

        A clear op that nothing but painted ones use, after one that is denied, does no harm.
        """
        self.denied = set(self._all("deny"))
        self.denied |= {n for n in self._all("allow", "infer", "clear") if not self.able(n)}
        careful = reached(self._all("deny", "infer"), self.inputs, self._open("clear"))
        self.denied |= reached(self._all("deny"), self.users, careful | self._open("infer"))

    def _fill(self) -> None:
        """What is between two painted nodes, with no denied one on the way, is painted."""
        through = self._open("infer", "clear")
        after = reached(self.painted, self.users, through)
        before = reached(self.painted, self.inputs, through)
        self.painted |= after & before

    def _extend(self) -> None:
        """What is fed by painted nodes alone, perhaps through clear ones, is painted."""
        for node in self._in_order("infer", "clear"):
            fed = self.inputs.get(node, [])
            if fed and all(item in self.painted for item in fed):
                self.painted.add(node)

    def _clear(self) -> None:
        """What moves elements for painted nodes alone is painted, so that it moves fewer bytes."""
        for node in reversed(list(self._in_order("clear"))):
            users = self.users.get(node, [])
            if users and all(item in self.painted for item in users):
                self.painted.add(node)

    def _in_order(self, *kinds: Kind) -> Iterator[Node]:
        still = self._open(*kinds)
        return (node for node in self.kinds if node in still)


def reached(starts: Iterable[Node], links: Links, through: Collection[Node]) -> set[Node]:
    """The nodes of `through` that some links lead to from `starts` by others of `through`."""
    found: set[Node] = set()
    stack = list(starts)
    while stack:
        for item in links.get(stack.pop(), ()):
            if item in through and item not in found:
                found.add(item)
                stack.append(item)
    return found
