"""Which value a name stands for, in a graph and in the subgraphs inside it."""

from __future__ import annotations

from graphopt.body import param_type
from graphopt.errors import ModelError
from graphopt.frontends.onnx.parse import shown
from graphopt.ir import Node
from graphopt.structural import bound


class Captures:
    """What the bodies of one node take from outside; they all take the same, in one order."""

    def __init__(self) -> None:
        self.values: dict[Node, int] = {}

    def position(self, value: Node) -> int:
        return self.values.setdefault(value, len(self.values))


class Scope:
    """The names of a graph, or of a body that captures what it takes from the scopes around it.

    A constant is free in every body; any other outer value becomes a parameter after the `formals`.
    """

    def __init__(
        self, parent: Scope | None = None, captures: Captures | None = None, formals: int = 0
    ) -> None:
        self.names: dict[str, Node] = {}
        self.depth: int = 0 if parent is None else parent.depth + 1
        self.shadows = False
        self._parent = parent
        self._captures = captures
        self._formals = formals
        self._captured: dict[str, Node] = {}

    def define(self, name: str, value: Node) -> None:
        """Give a value its name; raises ModelError when the scope has that name already."""
        if name in self.names or name in self._captured:
            raise ModelError(f"the name {shown(name)} is given to two values")
        self.names[name] = value
        self.shadows = self.shadows or (self._parent is not None and self._parent.has(name))

    def has(self, name: str) -> bool:
        """Whether the name means anything here."""
        scope: Scope | None = self
        while scope is not None:
            if name in scope.names:
                return True
            scope = scope._parent
        return False

    def find(self, name: str) -> Node | None:
        """The value of a name, captured where it is from outside; None when there is none."""
        value = self.names.get(name) or self._captured.get(name)
        if value is not None:
            return value
        inward: list[Scope] = [self]  # the scopes between the value's own and this one
        while (outer := inward[-1]._parent) is not None:
            value = outer.names.get(name) or outer._captured.get(name)
            if value is not None:
                break
            inward.append(outer)
        if value is None:
            return None
        for scope in reversed(inward):
            value = scope._captured[name] = scope._capture(value)
        return value

    def _capture(self, value: Node) -> Node:
        if value.constant is not None or value.is_absent:
            return value
        assert self._captures is not None
        return bound(self._formals + self._captures.position(value), param_type(value.derived_type))
