"""The bytes of step buffers alive while steps start and end."""

from __future__ import annotations

from graphopt.engine.plan.steps import StepGraph


class Alive:
    """What lives while steps start and end one by one, in any order that the graph allows.

    A buffer lives from the start of its first step until all its steps have ended. Of those yet to
    start it keeps their number and sum, so that the last one is known.
    """

    def __init__(self, graph: StepGraph) -> None:
        self.bytes = 0
        self.opens = [0] * len(graph.steps)  # by how much each step raises the bytes as it starts
        self.delta = [0] * len(graph.steps)  # and has raised them once it is done, as far as known
        self._uses: list[list[tuple[str, int]]] = [[] for _ in graph.steps]
        self._to_end: dict[str, int] = {}
        self._to_start: dict[str, tuple[int, int]] = {}
        for each in graph.buffers:
            users = graph.users[each.name]
            if each.kind == "step" and users:
                self._to_end[each.name] = len(users)
                self._to_start[each.name] = len(users), sum(users)
                self.opens[users[0]] += each.nbytes
                self.delta[users[0]] += each.nbytes
                if len(users) == 1:
                    self.delta[users[0]] -= each.nbytes
                for user in users:
                    self._uses[user].append((each.name, each.nbytes))

    def start(self, step: int) -> list[int]:
        """Count a step as started; returns the steps that are now known to free more."""
        self.bytes += self.opens[step]
        changed: list[int] = []
        for name, nbytes in self._uses[step]:
            count, total = self._to_start[name]
            self._to_start[name] = count - 1, total - step
            if count == 2:
                self.delta[total - step] -= nbytes
                changed.append(total - step)
        return changed

    def end(self, step: int) -> None:
        """Count a step as done."""
        for name, nbytes in self._uses[step]:
            self._to_end[name] -= 1
            if not self._to_end[name]:
                self.bytes -= nbytes


def peak(graph: StepGraph) -> int:
    """The most bytes of step buffers alive at once in program order, none computed in place."""
    alive, most = Alive(graph), 0
    for step in range(len(graph.steps)):
        alive.start(step)
        most = max(most, alive.bytes)
        alive.end(step)
    return most
