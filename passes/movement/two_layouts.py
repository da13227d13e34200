"""Two layouts that a permutation and its inverse exchange, and in which of them each node works.

Between the transposes lie nodes that work in either layout. Each value has one form in A and one in
B; whoever computes it chooses one, whoever takes it wants one, and where they differ a transpose is
paid for, once a value. The cheapest choice for all nodes at once is a minimum cut.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from graphopt import dims
from graphopt.graph import Graph
from graphopt.ir import Node
from graphopt.ops.movement import transpose
from graphopt.passes.movement.mincut import FREE, Network
from graphopt.passes.movement.permuted import Perm, ends, flows, inverse, permuted, rank_of, turned
from graphopt.passes.movement.row_major import is_still, order_of
from graphopt.structural import out_op
from graphopt.types import TupleType, Type

ASSUMED = 64
"""What a size that only running tells is taken for."""
EACH = 256
"""What a transpose costs beside the bytes that it moves."""


@dataclass
class Layouts:
    """Two layouts, and what may be computed in either.

    `free` holds the nodes that work in both, with the inputs by which they take permuted values.
    `frame` says of them, and of the values and transposes around them, whether they are in layout
    A as the graph stands; `perm` leads from A to B. Outputs of one node count as the node.
    """

    rule: ClassVar[str] = "transposes.move"
    graph: Graph
    perm: Perm
    strict: bool = False
    saved: int = 0
    order: list[Node] = field(default_factory=list[Node])
    free: dict[Node, tuple[int, ...]] = field(default_factory=dict[Node, tuple[int, ...]])
    frame: dict[Node, bool] = field(default_factory=dict[Node, bool])
    _costs: dict[Type, int] = field(default_factory=dict[Type, int])

    def chosen(self, tick: Callable[[], None]) -> dict[Node, bool] | None:
        """Which nodes had better work in A, so that transposes are cheaper and no more of them.

        None where nothing is saved.
        """
        self.order = list(self.graph.order)
        for node in self.order:
            found = self.flows(node)
            if found is not None:
                self.free[node] = found
        if not self._assign():
            return None
        wanted = self._wanted()
        network, vertices = self._network(wanted)
        now = self._bill(wanted, {})
        if network.cut(tick) >= now[0]:
            return None
        chosen = {node: network.side(vertex) for node, vertex in vertices.items()}
        then = self._bill(wanted, chosen)
        if not self.pays(now, then):
            return None
        self.saved = now[1] - then[1]
        return chosen

    def pays(self, now: tuple[int, int], then: tuple[int, int]) -> bool:
        """Whether the cheapest choice is worth it, by costs and numbers of transposes."""
        return then[1] <= now[1]

    def flows(self, node: Node) -> tuple[int, ...] | None:
        """The inputs that a node may take in either layout, all at once; None where it may not."""
        rank = len(self.perm)
        if node.op is transpose or (rank_of(node) != rank and not ends(node)):
            return None
        found = flows(node, strict=self.strict)
        fits = found and all(node.inputs[k].rank == rank for k in found)
        return found if fits else None

    def permuted(self, node: Node, perm: Perm, inputs: Sequence[Node]) -> Node:
        """A free node over permuted inputs; see `graphopt.passes.movement.permuted.permuted`."""
        return permuted(node, perm, inputs)

    def seeds(self) -> Iterator[tuple[Node, bool]]:
        """Values whose layout is known from the first, and whether it is A."""
        for node in self.order:
            leads = self.leads(node)
            if leads is not None:
                yield self.key(node.inputs[0]), leads

    def cost(self, value: Node) -> int:
        """What a transpose of a value costs."""
        kind = value.derived_type
        if kind not in self._costs:
            self._costs[kind] = bytes_of(value, self.perm)
        return self._costs[kind]

    def work(self, node: Node) -> tuple[int, int]:
        """What a free node costs in A and in B beside transposes, as far as that differs."""
        return 0, 0

    def key(self, value: Node) -> Node:
        """What stands for a value: the node, if it works in either layout, of which it is one."""
        owner = value.inputs[0] if value.op is out_op else value
        return owner if owner in self.free else value

    def laid(self, value: Node) -> bool:
        """Whether a value is in one of the layouts."""
        key = self.key(value)
        if key not in self.frame or type(value.derived_type) is TupleType:
            return False
        return key not in self.free or not ends(key)

    def leads(self, node: Node) -> bool | None:
        """Whether a transpose leads from A to B; None where it does not lead to the other."""
        order = order_of(node) if node.op is transpose else None
        if order == self.perm:
            source = self.frame.get(self.key(node.inputs[0]), True)
            return source if self.perm == inverse(self.perm) else True
        return False if order == inverse(self.perm) else None

    def crosses(self, node: Node) -> bool:
        """Whether a node is a transpose between the forms of one value."""
        if node.op is not transpose or node not in self.frame:
            return False
        source = self.frame.get(self.key(node.inputs[0]))
        return source is not None and self.leads(node) is source is not self.frame[node]

    def value(self, value: Node) -> Node:
        """The value that is computed of which this is one form."""
        while self.crosses(value):
            value = value.inputs[0]
        return value

    def _assign(self) -> bool:
        """Find `frame`; whether there is a transpose and a node that works on both sides of it."""
        users: dict[Node, list[Node]] = {node: [] for node in self.order}
        for node in self.order:
            for item in node.inputs:
                users[item].append(node)
        for _ in range(3):
            self.frame = {}
            blamed: set[Node] = set()
            for source, frame in self.seeds():
                if source not in self.frame:
                    blamed |= self._spread(source, frame, users)
                elif self.frame[source] is not frame and source in self.free:
                    blamed.add(source)
            if not blamed:
                return any(node in self.frame for node in self.free)
            for node in blamed:
                del self.free[node]
        return False

    def _spread(self, start: Node, frame: bool, users: dict[Node, list[Node]]) -> set[Node]:
        """Note the layouts of all that hangs together; the nodes that would be in both."""
        blamed: set[Node] = set()
        stack = [(start, frame, start)]
        while stack:
            node, frame, via = stack.pop()
            if node in self.frame:
                if self.frame[node] is not frame:
                    blamed |= {item for item in (node, via) if item in self.free}
                continue
            if node not in self.free and (node.constant or rank_of(node) != len(self.perm)):
                continue
            self.frame[node] = frame
            stack += ((each, side, node) for each, side in self._around(node, frame, users))
        return blamed

    def _around(
        self, node: Node, frame: bool, users: dict[Node, list[Node]]
    ) -> Iterator[tuple[Node, bool]]:
        """What hangs together with a node in a layout, and the layouts."""
        leads = self.leads(node)
        both = self.perm == inverse(self.perm)
        if leads is not None and (both or leads is not frame):
            yield self.key(node.inputs[0]), not frame
        yield from ((self.key(node.inputs[k]), frame) for k in self.free.get(node, ()))
        if node in self.free and ends(node):
            return
        outs = [user for user in users[node] if user.op is out_op and node in self.free]
        for value in outs or [node]:
            for user in users[value]:
                leads = self.leads(user)
                if leads is not None and (both or leads is frame):
                    yield user, not frame
                elif any(user.inputs[k] is value for k in self.free.get(user, ())):
                    yield user, frame

    def _wanted(self) -> dict[Node, list[Node | bool]]:
        """Who takes each value: nodes that work in either layout, and the layouts others need."""
        wanted: dict[Node, list[Node | bool]] = {}
        for node in self.order:
            chosen = self.free.get(node, ()) if node in self.frame else ()
            for k, item in enumerate(node.inputs):
                if self.laid(item) and not self.crosses(node):
                    own = self.frame[self.key(item)]
                    wanted.setdefault(self.value(item), []).append(node if k in chosen else own)
        for root in self.graph.roots:
            if self.laid(root):
                wanted.setdefault(self.value(root), []).append(self.frame[self.key(root)])
        return wanted

    def _network(self, wanted: dict[Node, list[Node | bool]]) -> tuple[Network, dict[Node, int]]:
        network = Network()
        vertices = {node: network.vertex() for node in self.free if node in self.frame}

        def place(item: Node | bool) -> int:
            if isinstance(item, Node):
                return vertices[item]
            return 0 if item else 1

        for value, takers in wanted.items():
            key, cost = self.key(value), self.cost(value)
            source = place(key if key in vertices else self.frame[key])
            to_b, to_a = network.vertex(), network.vertex()
            network.edge(source, to_b, cost)
            network.edge(to_a, source, cost)
            for vertex in {place(taker) for taker in takers}:
                network.edge(to_b, vertex, FREE)
                network.edge(vertex, to_a, FREE)
        for node, vertex in vertices.items():
            in_a, in_b = self.work(node)
            network.edge(vertex, 1, in_a)
            network.edge(0, vertex, in_b)
            if ends(node):
                a, b = (0, vertex) if self.frame[node] else (vertex, 1)
                network.edge(a, b, self.end_cost(node)[0])
        return network, vertices

    def end_cost(self, node: Node) -> tuple[int, int]:
        """What a node whose value is in no layout costs in the other: bytes, and transposes."""
        perm = self.perm if self.frame[node] else inverse(self.perm)
        made = self.permuted(node, perm, [turned(node.inputs[0], perm), *node.inputs[1:]])
        if made.op is transpose:
            return bytes_of(node, order_of(made) or ()), 1
        return (EACH // 4 if made.op is not node.op else 0), 0

    def _bill(
        self, wanted: dict[Node, list[Node | bool]], chosen: dict[Node, bool]
    ) -> tuple[int, int]:
        """The bytes that transposes move, and their number, by what is chosen."""
        total = number = 0

        def side(item: Node | bool) -> bool:
            if isinstance(item, Node):
                return chosen.get(item, self.frame[item])
            return item

        for value, takers in wanted.items():
            if any(side(taker) is not side(self.key(value)) for taker in takers):
                total += self.cost(value)
                number += 1
        for node in self.free:
            if node in self.frame:
                total += self.work(node)[0 if side(node) else 1]
        for node in chosen:
            if ends(node) and chosen[node] is not self.frame[node]:
                cost, more = self.end_cost(node)
                total, number = total + cost, number + more
        return total, number


def bytes_of(value: Node, perm: Perm) -> int:
    """About how many bytes a transpose of a value moves; next to nothing of axes of size 1."""
    if value.shape is None or is_still(transpose(value, perm=perm)):
        return 1

    def assumed(size: dims.Size) -> int:
        found = dims.substitute(size, lambda atom: ASSUMED)
        return max(found, 1) if isinstance(found, int) else ASSUMED

    number = 1
    for size in value.shape:
        number *= assumed(size)
    return EACH + number * max(value.dtype.bits, 8) // 8
