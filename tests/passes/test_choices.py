"""MergeChoices and Commuted: what is chosen, or added up, twice is so once."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest

from graphopt.backends import reference
from graphopt.body import Body
from graphopt.ir import Node, walk
from graphopt.ops.arithmetic import add, mul, sub
from graphopt.ops.control import if_
from graphopt.ops.functions import exp, neg
from graphopt.passes.algebra.commuted import Commuted
from graphopt.passes.branches.choices import MergeChoices
from graphopt.pipeline import Context, run_pipeline
from graphopt.rewriting.examples import example
from graphopt.structural import opaque, results
from tests.passes.before_after import Made, drawn, graph_of, told

X, Y = example("float32[3]", "x"), example("float32[3]", "y")
P, Q = example("bool[]", "p"), example("bool[]", "q")


def choice(predicate: Node, captures: tuple[Node, ...], one: Made, other: Made) -> Node:
    """An If over values, with what each branch makes of them."""
    sides = [item if isinstance(item, tuple) else (item,) for item in (one, other)]
    then, otherwise = (Body.close((), captures, side) for side in sides)
    made: Node = if_(
        predicate, *captures, then_branch=then, else_branch=otherwise, outputs=len(sides[0])
    )
    return made


def of(predicate: Node, x: Node) -> Node:
    return choice(predicate, (x,), neg(x), exp(x))


def merged(*outputs: Node) -> str:
    """The ops left by the pass, which must change no bit and leave nothing for a second run."""
    before = graph_of(outputs)
    made = run_pipeline(before, [MergeChoices()], Context(strict=True))
    assert run_pipeline(made, [MergeChoices()], Context(strict=True)).outputs == made.outputs
    for seed in range(4):
        feeds = drawn(before, seed, tame=True)
        for old, new in zip(reference.run(before, feeds), reference.run(made, feeds), strict=True):
            assert old.tobytes() == new.tobytes()
    return told(made, fused=False)


def test_choices_by_one_predicate_are_one() -> None:
    both = choice(P, (X, Y), (add(X, Y), X), (Y, mul(X, Y)))
    assert merged(of(P, X), of(P, Y)) == "If"
    assert merged(of(P, X), *results(both), of(P, exp(Y))) == "Exp If"


def test_choices_by_two_predicates_are_two() -> None:
    assert merged(of(P, X), of(Q, X)) == "If If"


def test_one_that_waits_for_the_other_stays() -> None:
    assert merged(of(P, add(of(P, X), Y))) == "If Add If"


def test_none_come_to_wait_for_each_other() -> None:
    first, second = of(P, X), of(Q, Y)
    assert merged(of(Q, first), of(P, second)) == "If If If If"


def test_what_has_effects_stays_alone() -> None:
    random = opaque("", "RandomLike", (X,), origin=1, types=(X.type,), attrs={})
    before = graph_of((choice(P, (X,), random, X), of(P, Y)))
    made = run_pipeline(before, [MergeChoices()], Context(strict=True))
    assert made.outputs == before.outputs


@pytest.mark.parametrize("seed", range(20))
def test_random_graphs_of_choices(seed: int) -> None:
    rng = Random(seed)
    values: list[Node] = [X, Y]
    for _ in range(12):
        a, b = rng.choice(values), rng.choice(values)
        values.append(rng.choice((of(rng.choice((P, Q)), a), add(a, b))))
    merged(*values[-3:])


def test_sums_in_either_order_are_one() -> None:
    def after(root: Node) -> str:
        before = graph_of(root)
        made = run_pipeline(before, [Commuted()], Context(strict=True))
        feeds = drawn(before, 0, tame=True)
        np.testing.assert_array_equal(*(reference.run(g, feeds)[0] for g in (before, made)))
        return told(made, fused=False)

    assert after(mul(add(X, Y), neg(add(Y, X)))) == "Add Neg Mul"
    assert after(mul(exp(add(X, Y)), exp(add(Y, X)))) == "Add Exp Mul"
    assert after(mul(sub(X, Y), sub(Y, X))) == "Sub Sub Mul"


def test_sums_in_either_order_are_one_in_a_branch() -> None:
    product = mul(exp(add(X, Y)), add(Y, X))
    before = graph_of(choice(P, (X, Y), product, X))
    (made,) = run_pipeline(before, [Commuted()], Context(strict=True)).outputs
    inner = [node.op.name for node in walk(made.attrs["then_branch"].outputs) if node.inputs]
    assert inner == ["Add", "Exp", "Mul"]
