"""Rules of integers and booleans, proven on all elements of 8 bits; of three variables, on many."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from graphopt.errors import GraphoptError
from graphopt.ir import Node, walk
from graphopt.passes import RULES
from graphopt.rewriting.rule import Rule
from graphopt.structural import constant, graph_input
from graphopt.types import DType, TensorType
from tests.passes.instances import INTEGERS, leaf, replaced
from tests.passes.judge import Feeds, judge, rewritten

EDGES = (-128, -127, -64, -17, -8, -4, -3, -2, -1, 0, 1, 2, 3, 4, 5, 7, 8, 15, 16, 31, 63, 64, 127)
SMALL = {True: DType.INT8, False: DType.UINT8}


def element_wise(root: Node) -> bool:
    """Whether every node above the leaves works element by element."""
    return all(leaf(node) or node.op.facts.elementwise for node in walk((root,)))


def eight_bit(root: Node, signed: bool) -> Node | None:
    """The root over vectors of 8-bit integers and booleans in place of its inputs."""
    dtype = SMALL[signed]

    def change(node: Node) -> Node:
        kind = node.derived_type
        if not isinstance(kind, TensorType):
            return node
        wanted = dtype if kind.dtype in INTEGERS else kind.dtype
        if (held := node.constant) is None:
            return graph_input(node.attrs["name"], TensorType(wanted, (None,)))
        if held.size == 0 or not (held.is_splat or held.size == 1):
            return node
        return constant(np.array(held.element).astype(wanted.numpy), wanted)

    return replaced(root, change)


def elements(dtype: DType, count: int) -> list[int]:
    """All the elements of a dtype, or those of interest when there are many inputs."""
    if dtype is DType.BOOL:
        return [0, 1]
    edges = [k if dtype is DType.INT8 else k % 256 for k in EDGES]
    whole = range(-128, 128) if dtype is DType.INT8 else range(256)
    return list(whole) if count <= 2 else edges if count == 3 else edges[::3]


def every_feed(inputs: list[Node]) -> Feeds:
    """One long vector for each input, which together hold all combinations."""
    choices = [elements(node.dtype, len(inputs)) for node in inputs]
    columns = np.array(list(product(*choices)), np.int64).T
    return {
        node: column.astype(node.dtype.numpy) for node, column in zip(inputs, columns, strict=True)
    }


def written_small(rule: Rule, signed: bool) -> tuple[Node, tuple[Node, ...]] | None:
    """A rule's example over vectors of 8-bit integers, before and after; None if it has none."""
    root = rule.fires() if rule.fires else None
    if root is None or not element_wise(root):
        return None
    kinds = [node.derived_type for node in walk((root,))]
    if not all(isinstance(kind, TensorType) and kind.dtype.kind in "biu" for kind in kinds):
        return None
    small = eight_bit(root, signed)
    if small is None:
        return None
    try:
        after, count = rewritten(rule, (small,))
    except GraphoptError:
        return None
    return (small, after) if count else None


CASES = [
    (rule, signed) for rule in RULES for signed in (True, False) if written_small(rule, signed)
]


@pytest.mark.parametrize(("rule", "signed"), CASES, ids=lambda item: getattr(item, "key", item))
def test_all_elements(rule: Rule, signed: bool) -> None:
    made = written_small(rule, signed)
    assert made is not None
    root, after = made
    inputs = [node for node in walk((root,)) if node.op.name == "Input"]
    assert judge(rule, (root,), after, every_feed(inputs)) == ""


def test_most_rules_of_integers_and_booleans_are_proven() -> None:
    assert len({rule.key for rule, _ in CASES}) >= 60
