"""Trees of values: arguments and results taken apart into leaves, and put together.

A node of a tree is a tuple, list, dict, OrderedDict, namedtuple, dataclass or None; everything else
is a leaf. The keys of a dict stand in the order in which the dict has them.
"""

from __future__ import annotations

import dataclasses
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from graphopt.frontends.trace.kinds import class_of, is_kind


@dataclass(frozen=True, slots=True)
class Tree:
    """The form of a value: its class, its keys (a dict's, a dataclass's), its parts. LEAF has none.

    `kind` is the class; None stands for itself.
    """

    kind: Any
    keys: tuple[Any, ...] = ()
    parts: tuple[Tree, ...] = ()

    @property
    def size(self) -> int:
        """The number of leaves."""
        return 1 if self is LEAF else sum(part.size for part in self.parts)


LEAF = Tree("leaf")
NONE = Tree(None)

Make = Callable[["Tree", Sequence[Any]], Any]


def flatten(value: Any) -> tuple[list[Any], Tree]:
    """The leaves of a value, from left to right, and its form."""
    leaves: list[Any] = []
    return leaves, _take_apart(value, leaves)


def children(value: Any) -> tuple[type, tuple[Any, ...], Sequence[Any]] | None:
    """(class, keys, parts) of a node of a tree, None of a leaf."""
    kind = class_of(value)
    kind = getattr(kind, "__graphopt_original__", kind)
    if kind is dict or kind is OrderedDict:
        return kind, tuple(value), list(value.values())
    if kind is tuple or kind is list:
        return kind, (), value
    if is_kind(kind, tuple) and hasattr(kind, "_fields"):
        return kind, (), value
    if is_dataclass(kind):
        names = tuple(field.name for field in dataclasses.fields(kind))
        if all(hasattr(value, name) for name in names):
            return kind, names, [getattr(value, name) for name in names]
    return None


def is_dataclass(kind: Any) -> bool:
    """Whether a class is a dataclass that is taken apart."""
    return dataclasses.is_dataclass(kind) and not hasattr(kind, "__graphopt_leaf__")


def _take_apart(value: Any, leaves: list[Any]) -> Tree:
    if value is None:
        return NONE
    found = children(value)
    if found is None:
        leaves.append(value)
        return LEAF
    kind, keys, parts = found
    return Tree(kind, keys, tuple(_take_apart(part, leaves) for part in parts))


def unflatten(tree: Tree, leaves: Sequence[Any], make: Make | None = None) -> Any:
    """The value of a form with these leaves; `make` puts a node together in another way."""
    return _put_together(tree, iter(leaves), make or plain)


def _put_together(tree: Tree, leaves: Iterator[Any], make: Make) -> Any:
    if tree is LEAF:
        return next(leaves)
    if tree is NONE:
        return None
    return make(tree, [_put_together(part, leaves, make) for part in tree.parts])


def plain(tree: Tree, parts: Sequence[Any]) -> Any:
    """The node of a tree over its parts."""
    kind: Any = tree.kind
    if is_kind(kind, dict):
        return kind(zip(tree.keys, parts, strict=True))
    if hasattr(kind, "_fields"):
        return kind(*parts)
    if is_kind(kind, tuple | list):
        return kind(parts)
    made = object.__new__(kind)  # not by __init__, which may check or convert
    for name, part in zip(tree.keys, parts, strict=True):
        object.__setattr__(made, name, part)
    return made


def paths(tree: Tree, root: str) -> list[str]:
    """A name for each leaf: `root`, root[0], root['key'], root.field."""
    if tree is LEAF:
        return [root]
    found: list[str] = []
    for position, part in enumerate(tree.parts):
        found += paths(part, f"{root}{_step(tree, position)}")
    return found


def _step(tree: Tree, position: int) -> str:
    if not tree.keys:
        return f"[{position}]"
    key = tree.keys[position]
    return f"[{key!r}]" if is_kind(tree.kind, dict) else f".{key}"
