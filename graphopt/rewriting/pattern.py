"""Patterns: what the left side of a rule says of a node, and how it is matched.

A pattern is written by calling ops on variables, so it looks like the program that it matches:
`transpose(transpose(x, perm=p), perm=q)`. An attribute that a pattern does not mention must be at
its default; `attrs=a` binds all those that are not mentioned. A Python number matches a constant
whose every element is that number (0.0 does not match -0.0). None matches an input left out.
Operands of commutative ops match in either order. `m.of(mul(x, y))` matches as the product does,
and binds the node to m besides.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from math import copysign
from typing import Any

from graphopt.errors import RewriteError
from graphopt.ir import Node, attribute_key, attributes_key
from graphopt.op import Op, absent
from graphopt.types import TensorType

Bindings = Mapping[str, Any]
REST = "attrs"


def _any(node: Node) -> bool:
    return True


def _constant(node: Node) -> bool:
    return node.constant is not None


def _of_kind(kinds: str) -> Callable[[Node], bool]:
    """A test for tensors whose dtype is of one of some kinds, by NumPy's letters."""

    def fits(node: Node) -> bool:
        kind = node.derived_type
        return isinstance(kind, TensorType) and kind.dtype.kind in kinds

    return fits


KINDS: Mapping[str, Callable[[Node], bool]] = {
    "Value": _any,
    "Const": _constant,
    "Maybe": _any,
    "MaybeConst": _constant,
    "Many": _any,
    "Attr": _any,
    "Float": _of_kind("f"),
    "Integer": _of_kind("iu"),
    "Boolean": _of_kind("b"),
}
"""The kinds of variables, and what a node must be that one of the kind stands for."""


class Pattern:
    """A variable or an application; ops called on one build an `Apply`."""

    __slots__ = ()

    def __graphopt_apply__(
        self, op: Op, operands: tuple[Any, ...], attrs: Mapping[str, Any]
    ) -> Apply:
        return Apply(op, tuple(operands), dict(attrs))


@dataclass(frozen=True, slots=True)
class Var(Pattern):
    """A variable: binds a value, or as an attribute its value; twice the same must be equal.

    Kinds: "Value" any value, "Float", "Integer" and "Boolean" tensors of such elements, "Const" a
    constant, "Maybe" and "MaybeConst" a value or constant or an input left out, "Many" any number
    of operands of a variadic op, "Attr" an attribute's value.
    """

    name: str
    kind: str = "Value"

    def __post_init__(self) -> None:
        if self.kind not in KINDS:  # a parameter without an annotation would pass for a constant
            raise RewriteError(f"{self.kind!r} is no kind of variable", at=self.name)

    def of(self, pattern: Apply) -> Named:
        """What matches as `pattern` does and binds the node that matched to this variable."""
        return Named(self.name, pattern)


@dataclass(frozen=True, slots=True, eq=False)
class Named(Pattern):
    """A pattern whose node is bound to a name; made by `Var.of`."""

    name: str
    pattern: Apply


@dataclass(frozen=True, slots=True, eq=False)
class Apply(Pattern):
    """An op applied to operands: patterns, nodes, numbers or None."""

    op: Op
    operands: tuple[Any, ...]
    attrs: Mapping[str, Any]

    def __post_init__(self) -> None:
        for name in self.attrs:
            if name != REST and name not in self.op.attributes:
                raise RewriteError(f"no attribute {name!r}", at=f"pattern of {self.op!r}")


def match(pattern: Any, node: Node, bound: Bindings) -> Iterator[Bindings]:
    """Every way in which `pattern` matches `node` that extends the bindings `bound`.

    Recursion is as deep as the pattern, not the graph.
    """
    if isinstance(pattern, Apply):
        yield from match_apply(pattern, node, bound)
    elif isinstance(pattern, Named):
        for extended in match_apply(pattern.pattern, node, bound):
            if extended.get(pattern.name, node) is node:
                yield {**extended, pattern.name: node}
    elif isinstance(pattern, Var):
        known = bound.get(pattern.name)
        if known is None and _kind_fits(pattern.kind, node):
            yield {**bound, pattern.name: node}
        elif known is node:
            yield bound
    elif _is_literally(pattern, node):
        yield bound


def _is_literally(pattern: Any, node: Node) -> bool:
    """Whether a node is the one, the number or the absence that stands in a pattern."""
    if pattern is None:
        return node.is_absent
    return pattern is node if isinstance(pattern, Node) else is_filled_with(node, pattern)


def _kind_fits(kind: str, node: Node) -> bool:
    if node.is_absent:
        return kind.startswith("Maybe")
    return KINDS[kind](node)


def match_apply(pattern: Apply, node: Node, bound: Bindings) -> Iterator[Bindings]:
    """As `match`, for an application."""
    op = pattern.op
    if node.op is not op:
        return
    extended = match_attributes(pattern, node, bound)
    if extended is None:
        return
    yield from _operands(pattern.operands, node.inputs, extended)
    if op.facts.commutative and len(node.inputs) == 2 and node.inputs[0] is not node.inputs[1]:
        yield from _operands(pattern.operands, node.inputs[::-1], extended)


def match_attributes(pattern: Apply, node: Node, bound: Bindings) -> Bindings | None:
    """The bindings extended by those of attributes, None when an attribute does not match."""
    if not pattern.attrs:
        return bound if not node.attrs else None
    arguments = node.op.arguments(node.attrs)
    extended = dict(bound)
    for name, wanted in pattern.attrs.items():
        if name == REST:
            continue
        value = arguments[name]
        if not isinstance(wanted, Var):
            if attribute_key(value) != attribute_key(wanted):
                return None
        elif wanted.name not in extended:
            extended[wanted.name] = value
        elif attribute_key(extended[wanted.name]) != attribute_key(value):
            return None
    unmentioned = {k: v for k, v in node.attrs.items() if k not in pattern.attrs}
    if REST in pattern.attrs:
        known = extended.setdefault(pattern.attrs[REST].name, unmentioned)
        return extended if attributes_key(known) == attributes_key(unmentioned) else None
    return None if unmentioned else extended


def _operands(
    patterns: tuple[Any, ...], inputs: tuple[Node, ...], bound: Bindings
) -> Iterator[Bindings]:
    if not patterns:
        if all(item is absent for item in inputs):
            yield bound
        return
    first, rest = patterns[0], patterns[1:]
    if isinstance(first, Var) and first.kind == "Many":
        longest = len(inputs) - sum(not _is_many(p) for p in rest)
        for count in range(longest, -1, -1) if not rest else range(longest + 1):
            if first.name in bound and bound[first.name] != inputs[:count]:
                continue
            yield from _operands(rest, inputs[count:], {**bound, first.name: inputs[:count]})
            if not rest:
                return
        return
    head = inputs[0] if inputs else absent
    for extended in match(first, head, bound):
        yield from _operands(rest, inputs[1:], extended)


def _is_many(pattern: Any) -> bool:
    return isinstance(pattern, Var) and pattern.kind == "Many"


def is_filled_with(node: Node, number: float | bool) -> bool:
    """Whether a node is a constant whose every element is `number`, to the sign of zero."""
    tensor = node.constant
    if tensor is None or tensor.size == 0 or tensor.dtype.kind not in "biuf":
        return False
    if not tensor.is_splat and tensor.size > 1:
        tensor = tensor.compact()
        if not tensor.is_splat:
            return False
    element = tensor.element
    if tensor.dtype.kind == "b" or isinstance(number, bool):
        return tensor.dtype.kind == "b" and isinstance(number, bool) and bool(element) == number
    return bool(element == number) and copysign(1, float(element)) == copysign(1, number)


def build(pattern: Any, bound: Bindings) -> Node:
    """The node that the right side of a rule stands for under bindings."""
    made: Node
    if isinstance(pattern, Var):
        made = bound[pattern.name]
        return made
    if isinstance(pattern, Apply):
        operands: list[Node | None] = []
        for operand in pattern.operands:
            if _is_many(operand):
                operands += bound[operand.name]
            else:
                operands.append(None if operand is None else build(operand, bound))
        attrs: dict[str, Any] = {}
        for name, value in pattern.attrs.items():
            if name == REST:
                attrs |= bound[value.name]
            else:
                attrs[name] = bound[value.name] if isinstance(value, Var) else value
        made = pattern.op(*operands, **attrs)
        return made
    if isinstance(pattern, Node):
        return pattern
    raise RewriteError(f"{pattern!r} cannot stand on a right side; use a function for constants")


def strictness(pattern: Apply) -> int:
    """How much a pattern asks for: an op each, and twice as much for each value that comes again.

    >>> from graphopt.ops.arithmetic import add, mul
    >>> x, y = Var("x"), Var("y")
    >>> strictness(mul(x, y)), strictness(mul(x, add(x, y))), strictness(mul(x, x))
    (1, 4, 3)
    """
    parts: list[Any] = [pattern]
    for part in parts:
        if isinstance(part, Named):
            parts.append(part.pattern)
        elif isinstance(part, Apply):
            parts += part.operands
    names = [part.name for part in parts if isinstance(part, Var | Named)]
    ops = sum(isinstance(part, Apply) for part in parts)
    return ops + 2 * (len(names) - len(set(names)))


def variables(pattern: Any) -> set[str]:
    """The names of the variables in a pattern."""
    if isinstance(pattern, Var):
        return {pattern.name}
    if isinstance(pattern, Named):
        return {pattern.name} | variables(pattern.pattern)
    if not isinstance(pattern, Apply):
        return set()
    parts = (*pattern.operands, *pattern.attrs.values())
    return set[str]().union(*map(variables, parts))
