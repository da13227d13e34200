"""Every rule: its example fires, its near miss does not, and both sides compute the same."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graphopt.backends.reference import evaluate_all
from graphopt.dims import Dim, Symbol, atoms
from graphopt.ir import Node, walk
from graphopt.passes import RULES
from graphopt.refine import refines
from graphopt.rewriting.rule import Math, Rule, Soundness
from graphopt.rewriting.sweep import Sweep
from graphopt.types import DType

ALL = list(RULES)
SPECIAL = [0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, 1e-40, 3e38]


def rewritten(rule: Rule, root: Node) -> tuple[Node, int]:
    """`root` after a sweep of one rule, and how often it fired."""

    math = Math.FAST if rule.soundness is Soundness.FAST else Math.DEFAULT

    def rewrite(node: Node) -> tuple[Node, str] | None:
        made = rule.apply(node, math, lambda _: 1)
        return (made, rule.key) if made is not None and refines(made, node) else None

    sweep = Sweep(rewrite)
    (made,) = sweep.run((root,))
    return made, sweep.counts[rule.key]


def sizes_for(nodes: list[Node], size: int) -> dict[str, int]:
    """A size for every symbol that the inputs name."""
    named: set[str] = set()
    for node in nodes:
        for axis in node.shape or ():
            if isinstance(axis, Dim):
                named |= {atom.name for atom in atoms(axis) if isinstance(atom, Symbol)}
    return dict.fromkeys(named, size)


def draw_input(node: Node, sizes: dict[str, int], rng: np.random.Generator, special: bool) -> Any:
    """An array for an input, with special values sprinkled in where asked."""
    shape = tuple(
        axis if isinstance(axis, int) else sizes.get(str(axis), 2) for axis in node.shape or ()
    )
    dtype = node.dtype
    if dtype is DType.BOOL:
        return rng.random(shape) < 0.5
    if dtype.is_integer:
        return rng.integers(-9, 9, shape).astype(dtype.numpy)
    array = rng.standard_normal(shape).astype(dtype.numpy)
    if special and array.size:
        flat = array.reshape(-1)
        places = rng.integers(0, flat.size, max(1, flat.size // 3))
        flat[places] = rng.choice(np.array(SPECIAL, dtype.numpy), places.size)
    return array


def both_sides(rule: Rule, size: int, seed: int) -> tuple[Any, Any]:
    """The results of the example before and after the rule, on the same inputs."""
    assert rule.fires is not None
    before = rule.fires()
    after, _ = rewritten(rule, before)
    nodes = list(walk((before, after)))
    inputs = [node for node in nodes if node.op.name == "Input"]
    rng = np.random.default_rng(seed)
    special = rule.soundness <= Soundness.VALUE
    feeds = {n: draw_input(n, sizes_for(inputs, size), rng, special) for n in inputs}
    (left,) = evaluate_all(list(walk((before,))), (before,), dict(feeds))
    (right,) = evaluate_all(list(walk((after,))), (after,), dict(feeds))
    return left, right


@pytest.mark.parametrize("rule", ALL, ids=lambda rule: rule.key)
def test_fires_and_refuses(rule: Rule) -> None:
    assert rule.fires is not None, "a rule shows an example"
    assert rewritten(rule, rule.fires())[1] > 0, "the example fires"
    assert len(rule.near_misses) >= max(1, len(rule.guards)), "one near miss a guard"
    for miss in rule.near_misses:
        near = miss()
        made, count = rewritten(rule, near)
        assert count == 0 and made is near, "the near miss does not"
    assert rule.doc


@pytest.mark.parametrize("rule", ALL, ids=lambda rule: rule.key)
@settings(max_examples=12)
@given(size=st.sampled_from([0, 1, 2, 5]), seed=st.integers(0, 1000))
def test_both_sides_are_equal(rule: Rule, size: int, seed: int) -> None:
    left, right = both_sides(rule, size, seed)
    assert left.dtype == right.dtype
    assert left.shape == right.shape
    if rule.soundness is Soundness.EXACT:
        assert left.tobytes() == right.tobytes()
    elif rule.soundness is Soundness.VALUE:
        np.testing.assert_array_equal(left, right)
    else:
        scale = float(np.abs(left).max(initial=1e-3))
        np.testing.assert_allclose(left, right, rtol=0, atol=4e-6 * scale)


def test_names_are_unique() -> None:
    keys = [rule.key for rule in ALL]
    assert len(set(keys)) == len(keys)
