"""An e-graph of nodes: classes of equal values, closed under congruence by egglog.

A class is named by the number of its first term. A term is an op with attributes over classes, a
leaf (a value from outside, of which only itself is known), or a step: what the class may be
replaced by, but not the other way round, as a rule that rounds or forgets something says.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from graphopt.errors import MissingExtraError, RewriteError
from graphopt.ir import Attributes, Node, attributes_key
from graphopt.op import Op
from graphopt.structural import graph_input

TRIES = 8
"""How often unions that were lost are told again."""


@dataclass(frozen=True, slots=True)
class Term:
    """One way to make a value: an `op` over classes, a `leaf`, or a step to the class `children`.

    Of an op, `children` are the operands; of a step, what stands in the place of the class.
    """

    children: tuple[int, ...] = ()
    op: Op | None = None
    attrs: Attributes = field(default_factory=dict[str, Any])
    leaf: Node | None = None

    @property
    def is_step(self) -> bool:
        """Whether this only says what a class may be replaced by."""
        return self.op is None and self.leaf is None


class EGraph:
    """Terms and their classes. Unions count from the next `rebuild` on.

    `stand_in(c)` is a value of which only the type of the class is known, or the input or constant
    that is in it: what is proven of it holds for every term of the class.
    """

    def __init__(self) -> None:
        self._egglog: Any = None
        self._pending: list[str] = ["(sort V)", "(constructor leaf (i64) V)"]
        self._heads: dict[Any, str] = {}
        self._ids: dict[Any, int] = {}
        self._terms: list[Term] = []
        self._class: list[int] = []
        self._members: dict[int, list[Term]] = {}
        self._stand_ins: dict[int, Node] = {}
        self._class_of: dict[Node, int] = {}
        self._leaves: dict[Node, Node] = {}
        self._equal: list[tuple[int, int]] = []
        self.unions = 0

    def __len__(self) -> int:
        return len(self._terms)

    def find(self, term: int) -> int:
        """The class that a term was in at the last `rebuild`."""
        return self._class[term]

    @property
    def classes(self) -> Iterator[int]:
        """All classes, the oldest first."""
        return iter(self._members)

    def terms(self, class_: int) -> list[Term]:
        """The ways to make a class's value, the oldest first."""
        return self._members[class_]

    def stand_in(self, class_: int) -> Node:
        """The leaf of a class, or an input of its type."""
        return self._stand_ins[class_]

    def is_leaf(self, class_: int) -> bool:
        """Whether a value from outside is in a class: nothing is cheaper."""
        return any(term.leaf is not None for term in self._members[class_])

    def class_of(self, node: Node) -> int | None:
        """The class that a leaf or stand-in is of."""
        found = self._class_of.get(node)
        return None if found is None else self._class[found]

    def leaf(self, node: Node) -> int:
        """The class of a value from outside."""
        key = ("leaf", node)
        if key not in self._ids:
            made = self._new(key, Term(leaf=node), f"(leaf {len(self._terms)})")
            # how an operation outside came about is not for rules to see: they would take it in
            self._leaves[node] = node if not node.inputs else _stand_in(made, node)
            self._name(made, self._leaves[node])
        return self._class[self._ids[key]]

    def term(self, node: Node, children: tuple[int, ...]) -> int:
        """The class of `node`'s op and attributes over classes; the type is that of `node`."""
        head = (node.op, attributes_key(node.attrs), len(children))
        key = (head, children)
        if key not in self._ids:
            call = self._call(head, children)
            made = self._new(key, Term(children, node.op, node.attrs), call)
            self._name(made, _stand_in(made, node))
        return self._class[self._ids[key]]

    def union(self, a: int, b: int) -> None:
        """Make two classes one: each may stand for the other."""
        self.unions += 1
        self._equal.append((a, b))
        self._unite(a, b)

    def step(self, a: int, b: int) -> None:
        """Let class b stand in the place of class a."""
        key = (("step", a), (b,))
        if key not in self._ids:
            made = self._new(key, Term((b,)), self._call(("step", a, 1), (b,)))
            self.union(a, made)

    def rebuild(self) -> None:
        """Close the classes under congruence, and let terms over equal classes be one.

        Raises MissingExtraError without egglog, which is asked for as soon as there is a union,
        and RewriteError if egglog forgets a union each time that it is told.
        """
        if not self.unions:
            return  # no two terms are equal
        for _ in range(TRIES):
            self._run()
            lost = self._settle()
            if not lost:
                break
            for a, b in lost:
                self._unite(a, b)
        else:
            raise RewriteError("egglog does not keep what it is told to be equal")
        self._members, self._ids = {}, {}
        leaves: dict[int, Node] = {}
        for number, (key, term) in enumerate(zip(self._keys(), self._terms, strict=True)):
            if key not in self._ids:
                self._ids[key] = number
                self._members.setdefault(self._class[number], []).append(term)
            if term.leaf is not None:
                leaves.setdefault(self._class[number], self._leaves[term.leaf])
        self._stand_ins.update(leaves)

    def _settle(self) -> list[tuple[int, int]]:
        """Take over egglog's classes. Returns the terms that are equal and not in one class.

        egglog 13 loses a union now and then, among hundreds in one program; told again it keeps it.
        """
        values = self._egglog.freeze().functions
        first: dict[Any, int] = {}
        found = self._class = [
            first.setdefault(values[f"$v{number}"].rows[0].output, number)
            for number in range(len(self._terms))
        ]
        oldest: dict[Any, int] = {}
        congruent = [(oldest.setdefault(key, k), k) for k, key in enumerate(self._keys())]
        return [(a, b) for a, b in (*self._equal, *congruent) if found[a] != found[b]]

    def _unite(self, a: int, b: int) -> None:
        self._pending.append(f"(union $v{a} $v{b})")

    def _keys(self) -> Iterable[Any]:
        """What tells each term from others, its operands by their classes of now."""
        for number, term in enumerate(self._terms):
            children = tuple(self._class[child] for child in term.children)
            if term.children != children:
                term = Term(children, term.op, term.attrs, term.leaf)
                self._terms[number] = term
            if term.leaf is not None:
                yield ("leaf", term.leaf)
            elif term.op is None:
                yield (("step", self._class[number]), children)
            else:
                yield ((term.op, attributes_key(term.attrs), len(children)), children)

    def _new(self, key: Any, term: Term, call: str) -> int:
        number = len(self._terms)
        self._pending.append(f"(let $v{number} {call})")
        self._terms.append(term)
        self._class.append(number)
        self._members[number] = [term]
        self._ids[key] = number
        return number

    def _name(self, class_: int, node: Node) -> None:
        self._stand_ins[class_] = node
        self._class_of[node] = class_

    def _call(self, head: Any, children: tuple[int, ...]) -> str:
        """A term in egglog's language; each op with attributes is a constructor of its own."""
        name = self._heads.get(head)
        if name is None:
            name = self._heads[head] = f"op{len(self._heads)}"
            self._pending.append(f"(constructor {name} ({'V ' * len(children)}) V)")
        return f"({name} {' '.join(f'$v{child}' for child in children)})"

    def _run(self) -> None:
        if self._egglog is None:
            try:
                from egglog.bindings import EGraph as Egglog
            except ImportError as error:
                raise MissingExtraError("egglog", "saturate") from error
            self._egglog = Egglog()
        program = self._egglog.parse_program("\n".join(self._pending))
        self._egglog.run_program(*program)
        self._pending.clear()


def _stand_in(number: int, node: Node) -> Node:
    """An input of a node's type; no model has one of this name, and it is the same in every run."""
    return graph_input(f"{number}\0", node.type)
