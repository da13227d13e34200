"""Names for what is written: those of the file where they are still free, else new ones."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from graphopt.ir import Node
from graphopt.records import INITIALIZER, Record, Tables

MAX_HISTORY = 1000
"""How many old values are looked through for a name."""


class Names:
    """Gives every value and node of a model a name of its own.

    `reserved` are the names of inputs and outputs; `alive` are the values that may ask for theirs,
    so that nothing new takes it from them.
    """

    def __init__(self, tables: Tables, reserved: Iterable[str], alive: Iterable[Node]) -> None:
        self.tables = tables
        self._claimed = set(reserved)
        self._taken = self._claimed.union(tables.names.values())
        self._alive = frozenset(alive)
        self._counts: dict[str, int] = {}
        self._nodes: set[str] = set()

    def of_value(self, value: Node, hint: str) -> str:
        """The name of a value in its file, or of one that it replaced, or one made from `hint`."""
        for old in self.history(value):
            name = self.tables.names.get(old)
            if name and name not in self._claimed and (old is value or old not in self._alive):
                self._claimed.add(name)
                return name
        return self.fresh(hint)

    def fresh(self, hint: str) -> str:
        """A name that nothing else has or may claim."""
        while True:
            count = self._counts.get(hint, 0)
            self._counts[hint] = count + 1
            name = f"{hint}_{count}"
            if name not in self._taken:
                self._taken.add(name)
                return name

    def record_of(self, node: Node) -> Record | None:
        """The first record of a node or of what it replaced."""
        for old in self.history(node):
            for record in self.tables.records.get(old, ()):
                if record.op_type != INITIALIZER:
                    return record
        return None

    def of_node(self, name: str) -> str:
        """`name` for a node, changed where another node has it; "" stays so."""
        made, count = name, 0
        while made and made in self._nodes:
            count = self._counts.get(f"node {name}", 0) + 1
            self._counts[f"node {name}"] = count
            made = f"{name}_{count}"
        self._nodes.add(made)
        return made

    def history(self, value: Node) -> Iterator[Node]:
        """A value, then the old ones that it came from, nearest first."""
        yield value
        derivations = self.tables.derivations
        if value not in derivations:
            return
        pending, seen = [value], {value}
        for current in pending:
            made = derivations.get(current)
            for old in made.olds if made is not None else ():
                if old not in seen and len(seen) < MAX_HISTORY:
                    seen.add(old)
                    pending.append(old)
                    yield old
