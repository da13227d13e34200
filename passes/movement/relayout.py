"""A graph over again, with other layouts for some of its nodes."""

from __future__ import annotations

from dataclasses import dataclass, field

from graphopt.errors import GraphoptError
from graphopt.graph import Graph
from graphopt.ir import Node
from graphopt.passes.movement.permuted import ends, inverse, turned
from graphopt.passes.movement.two_layouts import Layouts
from graphopt.records import Derivation
from graphopt.refine import signature_refines


@dataclass
class Rebuilding:
    """A graph over again, each node that works in either layout in the one that is chosen."""

    layouts: Layouts
    chosen: dict[Node, bool]
    _made: dict[Node, Node] = field(default_factory=dict[Node, Node])
    _forms: dict[tuple[Node, bool], Node] = field(default_factory=dict[tuple[Node, bool], Node])

    def graph(self) -> Graph:
        """The graph; the old one where a type rule knows less of a value in the other layout."""
        old = self.layouts.graph
        try:
            for node in self.layouts.order:
                self._node(node)
            roots = [self._own(root) for root in old.roots]
        except GraphoptError:
            return old
        if not all(map(signature_refines, roots, old.roots)):
            return old
        known, derived = old.tables.records, dict[Node, Derivation]()
        for node, made in self._made.items():
            if made is not node and made not in known:
                moved = self.chosen.get(node) not in (None, self.layouts.frame.get(node))
                derived.setdefault(made, Derivation(self.layouts.rule if moved else "", (node,)))
        return old.with_outputs(roots, derived)

    def what_became(self, node: Node) -> Node:
        """What stands for a node in the graph."""
        return self._made[node]

    def _node(self, node: Node) -> None:
        layouts = self.layouts
        if layouts.crosses(node):
            return  # made where it is wanted
        if node not in self.chosen:
            key = layouts.key(node)
            if key in self.chosen:  # an output of a node that is chosen
                self._made[node] = node.with_inputs((self._made[key],))
                self._forms[node, self.chosen[key]] = self._made[node]
                return
            made = node.with_inputs(tuple(map(self._own, node.inputs)))
            self._made[node] = made
            if node in layouts.frame:
                self._forms[node, layouts.frame[node]] = made
            return
        side, own = self.chosen[node], layouts.frame[node]
        perm = layouts.perm if own else inverse(layouts.perm)
        inputs: list[Node] = []
        for k, item in enumerate(node.inputs):
            if k not in layouts.free[node]:
                inputs.append(self._own(item))
            elif layouts.laid(item):
                inputs.append(self._form(layouts.value(item), side))
            else:
                inputs.append(self._own(item) if side is own else turned(self._own(item), perm))
        if side is own:
            made = node.with_inputs(tuple(inputs))
        else:
            made = layouts.permuted(node, perm, inputs)
        self._made[node] = made
        self._forms[node, own if ends(node) else side] = made

    def _own(self, value: Node) -> Node:
        """A value in the layout in which it was."""
        if not self.layouts.laid(value):
            return self._made[value]
        return self._form(self.layouts.value(value), self.layouts.frame[self.layouts.key(value)])

    def _form(self, value: Node, side: bool) -> Node:
        """A value that is computed, in a layout."""
        found = self._forms.get((value, side))
        if found is None:
            perm = self.layouts.perm if side is False else inverse(self.layouts.perm)
            found = self._forms[value, side] = turned(self._forms[value, not side], perm)
        return found
