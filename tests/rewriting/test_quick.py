"""Quick tests of patterns: they let through all that a pattern matches."""

from __future__ import annotations

from graphopt.ir import Node
from graphopt.op import Op
from graphopt.passes import RULES
from graphopt.rewriting.pattern import match_apply


def test_what_a_rule_matches_passes_its_quick_test() -> None:
    by_op: dict[Op, dict[Node, None]] = {}
    for rule in RULES:
        for example in (rule.fires, *rule.near_misses):
            assert example is not None
            node = example()
            by_op.setdefault(node.op, {})[node] = None
    matched = refused = 0
    for rule in RULES:
        for node in by_op.get(rule.root, ()):
            matches = next(match_apply(rule.left, node, {}), None) is not None
            assert rule.fits(node) or not matches, f"{rule.key} on {node!r}"
            matched += matches
            refused += not rule.fits(node)
    assert matched > len(RULES) and refused > len(RULES)
