"""The cheapest way to part a network in two: maximum flow by blocking flows (Dinic)."""

from __future__ import annotations

from collections.abc import Callable

FREE = 1 << 62
"""The capacity of an edge that is never cut."""


class Network:
    """Vertices 0 (the source), 1 (the sink) and those added; edges with capacities.

    >>> net = Network()
    >>> a, b = net.vertex(), net.vertex()
    >>> net.edge(0, a, 5); net.edge(a, b, 2); net.edge(b, 1, 9)
    >>> net.cut(), net.side(a), net.side(b)
    (2, True, False)
    """

    def __init__(self) -> None:
        self._edges: list[list[int]] = [[], []]
        self._to: list[int] = []
        self._room: list[int] = []
        self._level: list[int] = []

    def vertex(self) -> int:
        """A new vertex."""
        self._edges.append([])
        return len(self._edges) - 1

    def edge(self, a: int, b: int, capacity: int) -> None:
        """An edge that is cut, at the cost of its capacity, where only a is with the source."""
        if a == b:
            return
        self._edges[a].append(len(self._to))
        self._edges[b].append(len(self._to) + 1)
        self._to += (b, a)
        self._room += (capacity, 0)

    def cut(self, tick: Callable[[], None] = lambda: None) -> int:
        """The cost of the cheapest cut. `tick` is called now and then."""
        total = 0
        while self._reach():
            tick()
            at = [0] * len(self._edges)
            while pushed := self._push(at):
                total += pushed
        return total

    def side(self, vertex: int) -> bool:
        """Whether a vertex is with the source, after `cut`."""
        return self._level[vertex] >= 0

    def _reach(self) -> bool:
        """Number the vertices by their distance from the source; whether the sink is reached."""
        self._level = [-1] * len(self._edges)
        self._level[0] = 0
        queue = [0]
        for vertex in queue:
            for edge in self._edges[vertex]:
                other = self._to[edge]
                if self._room[edge] and self._level[other] < 0:
                    self._level[other] = self._level[vertex] + 1
                    queue.append(other)
        return self._level[1] >= 0

    def _push(self, at: list[int]) -> int:
        """Push flow along one shortest path; `at` remembers which edges lead nowhere."""
        path: list[int] = []
        vertex = 0
        while vertex != 1:
            edges = self._edges[vertex]
            while at[vertex] < len(edges):
                edge = edges[at[vertex]]
                ahead = self._level[self._to[edge]] == self._level[vertex] + 1
                if self._room[edge] and ahead:
                    break
                at[vertex] += 1
            else:
                if not path:
                    return 0
                vertex = self._to[path.pop() ^ 1]
                at[vertex] += 1
                continue
            path.append(edge)
            vertex = self._to[edge]
        flow = min(self._room[edge] for edge in path)
        for edge in path:
            self._room[edge] -= flow
            self._room[edge ^ 1] += flow
        return flow
