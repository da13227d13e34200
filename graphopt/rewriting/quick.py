"""Quick tests that tell most nodes that a pattern cannot match, before any variable is bound.

A test is built once a pattern, of closures over its parts. It passes every node that the pattern
matches: what it leaves out are attributes, and whether a variable stands for the same twice.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from graphopt.ir import Node
from graphopt.op import absent
from graphopt.rewriting.pattern import (
    KINDS,
    Apply,
    Named,
    Var,
    is_filled_with,
)

Test = Callable[[Node], bool]


def quick_test(pattern: Apply) -> Test:
    """The test of an application."""
    op, plain = pattern.op, not pattern.attrs
    many = any(isinstance(item, Var) and item.kind == "Many" for item in pattern.operands)
    tests = [] if many else list(map(_test_of, pattern.operands))
    placed = [(k, test) for k, test in enumerate(tests) if test is not None]
    count = len(tests)
    swaps = op.facts.commutative and count == 2
    turned = [(1 - k, test) for k, test in placed] if swaps else []

    def fits(node: Node) -> bool:
        if node.op is not op or (plain and node.attrs):
            return False
        inputs = node.inputs
        if many or not placed:
            return True
        if len(inputs) < count:
            inputs = (*inputs, *(absent,) * (count - len(inputs)))
        return _all_fit(placed, inputs) or (bool(turned) and _all_fit(turned, inputs))

    return fits


def _all_fit(placed: list[tuple[int, Test]], inputs: tuple[Node, ...]) -> bool:
    for k, test in placed:  # noqa: SIM110 - a generator costs more than the tests
        if not test(inputs[k]):
            return False
    return True


def _test_of(pattern: Any) -> Test | None:
    """The test of an operand; None where anything may stand."""
    if isinstance(pattern, Named):
        return quick_test(pattern.pattern)
    if isinstance(pattern, Apply):
        return quick_test(pattern)
    if isinstance(pattern, Var):
        return None if pattern.kind in ("Value", "Maybe", "MaybeConst") else KINDS[pattern.kind]
    if pattern is None:
        return _is_absent
    if isinstance(pattern, Node):
        return lambda node: node is pattern
    number: float = pattern
    return lambda node: is_filled_with(node, number)


def _is_absent(node: Node) -> bool:
    return node.is_absent
