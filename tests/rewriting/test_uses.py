"""Uses: how often a value is used, and whether somebody sees the sign of a zero in it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import graphopt
from graphopt.body import Body
from graphopt.graph import Graph
from graphopt.ir import Node
from graphopt.ops.activation import relu
from graphopt.ops.arithmetic import add, div, mul
from graphopt.ops.cast import cast
from graphopt.ops.control import if_
from graphopt.ops.functions import absolute, exp, reciprocal
from graphopt.ops.logic import equal
from graphopt.ops.movement import transpose
from graphopt.rewriting.examples import example, filled
from graphopt.rewriting.uses import Uses
from graphopt.types import DType

X, Y = example("float32[2, 2]"), example("float32[2, 2]", "y")
SUM = add(X, filled(0))

Consumer = Callable[[Node], Node]
ABSORB: list[Consumer] = [
    exp,
    absolute,
    lambda x: equal(x, Y),
    lambda x: cast(x, to=DType.INT32),
    lambda x: exp(transpose(mul(relu(x), Y))),
]
REVEAL: list[Consumer] = [
    reciprocal,
    lambda x: div(Y, x),
    transpose,
    lambda x: exp(reciprocal(x)),
    lambda x: mul(x, Y),
]


@pytest.mark.parametrize("consumer", ABSORB)
def test_absorbed_signs_are_unseen(consumer: Consumer) -> None:
    assert Uses((consumer(SUM),)).unseen(SUM)
    assert not Uses((consumer(SUM), SUM)).unseen(SUM), "the caller sees an output"
    graph = Graph((X, Y), (consumer(SUM),), ("z",))
    assert graphopt.optimize(graph, "simplify").outputs == (consumer(X),)
    assert graphopt.optimize(graph, "simplify", math="strict").outputs == (consumer(SUM),)


@pytest.mark.parametrize("consumer", REVEAL)
def test_revealed_signs_are_seen(consumer: Consumer) -> None:
    assert not Uses((consumer(SUM),)).unseen(SUM)
    graph = Graph((X, Y), (consumer(SUM),), ("z",))
    report = graphopt.optimize(graph, "simplify").report
    assert report is not None
    assert "neutral.add_zero" not in report.rules


def test_what_a_body_takes_or_returns_is_seen() -> None:
    cond = example("bool[]", "c")
    same = Body.close((), (X,), (exp(X),))
    node = if_(cond, SUM, then_branch=same, else_branch=same)
    assert not Uses((node,)).unseen(SUM)


def test_what_a_rule_has_just_made_counts_as_seen_unless_it_took_a_place() -> None:
    uses = Uses((exp(SUM),))
    fresh = add(X, Y)
    assert not uses.unseen(fresh)
    uses.became(SUM, fresh)
    assert uses.unseen(fresh)
