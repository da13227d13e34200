"""What the tests of algebra share: all of its rules, applied until nothing changes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from graphopt.backends.reference import evaluate_all
from graphopt.ir import Node, walk
from graphopt.passes.algebra.booleans import BOOLEANS
from graphopt.passes.algebra.clips import CLIPS
from graphopt.passes.algebra.comparisons import COMPARISONS
from graphopt.passes.algebra.extremes import EXTREMES
from graphopt.passes.algebra.factors import FACTORS
from graphopt.passes.algebra.functions import FUNCTIONS
from graphopt.passes.algebra.identities import ALGEBRA
from graphopt.passes.algebra.integers import INTEGERS
from graphopt.passes.algebra.monotone import MONOTONE
from graphopt.passes.algebra.nary import NARY
from graphopt.passes.algebra.powers import POWERS
from graphopt.passes.algebra.products import PRODUCTS
from graphopt.passes.algebra.signs import SIGNS
from graphopt.passes.algebra.sums import SUMS
from graphopt.rewriting.rule import Math, RuleSet
from graphopt.rewriting.sweep import Sweep, rewriter_of
from graphopt.rewriting.uses import Uses

Array = np.ndarray[Any, np.dtype[Any]]
EVERY: RuleSet = (
    ALGEBRA
    + BOOLEANS
    + COMPARISONS
    + INTEGERS
    + POWERS
    + PRODUCTS
    + SIGNS
    + SUMS
    + EXTREMES
    + CLIPS
    + FUNCTIONS
    + MONOTONE
    + FACTORS
    + NARY
)


def simplified(root: Node, math: Math = Math.DEFAULT, rules: RuleSet = EVERY) -> Node:
    """What sweeps of the rules leave of a value."""
    for _ in range(8):
        uses = Uses((root,))
        state = Sweep(rewriter_of(rules, math, lambda key: True, uses), uses=uses)
        (made,) = state.run((root,))
        if made is root:
            return made
        root = made
    raise AssertionError("the rules do not come to an end")


def ops(root: Node) -> list[str]:
    """The ops under a value, without inputs and constants, in order."""
    return [n.op.name for n in walk((root,)) if n.op.name not in ("Input", "Constant", "Absent")]


def value_of(root: Node, **feeds: Any) -> Array:
    """The value by the reference backend, of inputs by name."""
    nodes = list(walk((root,)))
    given: Mapping[Any, Any] = {
        node: np.asarray(feeds[node.attrs["name"]], node.dtype.numpy)
        for node in nodes
        if node.op.name == "Input"
    }
    made: Array = evaluate_all(nodes, (root,), dict(given))[0]
    return made


def agree(root: Node, made: Node, **feeds: Any) -> None:
    """Assert that two values have equal bits, all NaNs being alike."""
    left, right = value_of(root, **feeds), value_of(made, **feeds)
    assert (left.dtype, left.shape) == (right.dtype, right.shape)
    if left.dtype.kind == "f":
        nan = np.isnan(left)
        np.testing.assert_array_equal(nan, np.isnan(right))
        left, right = np.where(nan, 0, left), np.where(nan, 0, right)
    assert left.tobytes() == right.tobytes(), f"{left} became {right}"
