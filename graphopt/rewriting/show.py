"""Rules as text, for the catalogue: equations, guards, and the examples as expressions.

>>> from graphopt.ops.functions import neg
>>> from graphopt.rewriting.pattern import Var
>>> side(neg(neg(Var("x"))))
'Neg(Neg(x))'
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from inspect import signature
from typing import Any

from graphopt.body import Body
from graphopt.ir import Node
from graphopt.op import Op
from graphopt.rewriting.pattern import REST, Apply, Named, Var
from graphopt.rewriting.rule import Rule, as_tuple
from graphopt.tensor import Tensor
from graphopt.types import DType

FEW = 6
"""A constant of more elements is told by its type alone."""


def equation(rule: Rule) -> str:
    """A rule's two sides, with what they need."""
    told = f"{side(rule.left)} = {side(rule.right)}"
    if rule.guards:
        told += f", when {' and '.join(guard.name for guard in rule.guards)}"
    if worth := as_tuple(rule.worth):
        told += f", worth it when {' and '.join(guard.name for guard in worth)}"
    if rule.unobserved is not None:
        told += f", by default where {rule.unobserved.name}"
    return told


def side(pattern: Any) -> str:
    """One side of a rule: a pattern, or the function that makes it."""
    if isinstance(pattern, Var):
        return f"*{pattern.name}" if pattern.kind == "Many" else pattern.name
    if isinstance(pattern, Named):
        return f"{pattern.name}: {side(pattern.pattern)}"
    if isinstance(pattern, Apply):
        operands = [side(operand) for operand in pattern.operands]
        return _applied(pattern.op, operands, _pattern_attributes(pattern.attrs))
    if isinstance(pattern, Node):
        return expression(pattern)
    if callable(pattern):
        name = getattr(pattern, "__name__", "").replace("<lambda>", "").strip("_")
        return f"{name or 'made of'}({', '.join(signature(pattern).parameters)})"
    return "absent" if pattern is None else str(pattern)


def _pattern_attributes(attrs: Mapping[str, Any]) -> Iterable[str]:
    for name, value in attrs.items():
        shown = value.name if isinstance(value, Var) else _shown(value)
        yield f"**{shown}" if name == REST else f"{name}={shown}"


def expression(node: Node) -> str:
    """A small value as an expression over its inputs, with their types where they first stand."""
    return _expression(node, set())


def _expression(node: Node, told: set[Node]) -> str:
    if node.op.name in ("Input", "Bound"):
        name = str(node.attrs.get("name", node.attrs.get("index")))
        if node in told:
            return name
        told.add(node)
        return f"{name}: {node.type}"
    if node.is_absent:
        return "absent"
    if node.constant is not None:
        return _content(node.constant)
    if node.op.name == "Out":
        return f"{_expression(node.inputs[0], told)}[{node.attrs['index']}]"
    operands = [_expression(item, told) for item in node.inputs]
    attrs = [f"{name}={_shown(value)}" for name, value in node.attrs.items()]
    return _applied(node.op, operands, attrs)


def _applied(op: Op, operands: Iterable[str], attributes: Iterable[str]) -> str:
    return f"{op.name}({', '.join([*operands, *attributes])})"


def _content(tensor: Tensor) -> str:
    if tensor.size == 1 or tensor.is_splat:
        shape = f" x {list(tensor.shape)}" if tensor.shape else ""
        return f"{_shown(tensor.element)}{shape}"
    if tensor.size <= FEW:
        return str(tensor.array.tolist())
    return f"{tensor.dtype}{list(tensor.shape)}"


def _shown(value: Any) -> str:
    if isinstance(value, Body):
        return "(" + ", ".join(map(expression, value.outputs)) + ")"
    if isinstance(value, Tensor):
        return _content(value)
    if isinstance(value, DType):
        return value.label
    if hasattr(value, "item"):
        value = value.item()
    return repr(value) if isinstance(value, str) else str(value)
