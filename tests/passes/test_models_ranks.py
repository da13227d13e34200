"""Predicates that are known because with the other answer the graph could only fail."""

from __future__ import annotations

from collections.abc import Callable

from graphopt.body import Body
from graphopt.ir import Node
from graphopt.ops.arithmetic import add
from graphopt.ops.control import if_
from graphopt.ops.conv import conv
from graphopt.ops.functions import exp, neg
from graphopt.ops.logic import equal
from graphopt.ops.movement import transpose
from graphopt.ops.rnn import gru
from graphopt.ops.shape import shape, size, squeeze, unsqueeze
from graphopt.passes.branches.ranks import DemandedRanks
from graphopt.passes.fold import FoldConstants
from graphopt.passes.prune import Prune
from graphopt.pipeline import UntilStable
from graphopt.rewriting.examples import example, ints, weights
from graphopt.structural import constant, out
from tests.passes.flows import Simple, names, ran

P, Q = example("bool[]", "p"), example("bool[1]", "q")
X, Y = example("float32[N, 3]", "x"), example("float32[2, N, 3]", "y")
PASSES = (UntilStable((Prune(), Simple(), FoldConstants(), DemandedRanks())),)
Made = Callable[[Node], Node]


def choice(p: Node, x: Node, one: Made, other: Made) -> Node:
    """An If over one value."""
    bodies = [Body.close((), (x,), (branch(x),)) for branch in (one, other)]
    node: Node = if_(p, x, then_branch=bodies[0], else_branch=bodies[1])
    return node


def widened(x: Node) -> Node:
    made: Node = unsqueeze(x, ints(0))
    return made


def done(*outputs: Node) -> tuple[Node, ...]:
    return ran(*outputs, passes=PASSES)


def kept(*outputs: Node) -> bool:
    return "If" in names(*done(*outputs))


def layer(x: Node) -> Node:
    made: Node = out(gru(x, weights(1, 6, 3), weights(1, 6, 2), hidden_size=2, outputs=2), 1)
    return made


def test_the_branch_of_which_an_operator_takes_the_rank() -> None:
    for either in (
        transpose(choice(P, X, widened, neg), perm=[2, 0, 1]),
        layer(choice(P, X, widened, neg)),
        conv(choice(P, X, widened, neg), weights(2, 1, 1)),
        exp(transpose(exp(choice(Q, X, widened, neg)), perm=[2, 0, 1])),
        transpose(unsqueeze(choice(P, X, widened, neg), ints(0, 1)), perm=[4, 3, 2, 1, 0]),
    ):
        made = done(either)
        assert "Unsqueeze" in names(*made)
        assert not {"If", "Neg"} & set(names(*made))
    (flat,) = done(transpose(choice(P, X, widened, neg), perm=[1, 0]))
    assert names(flat) == ["Neg", "Transpose"]


def test_what_nobody_demands_stays() -> None:
    assert kept(choice(P, X, widened, neg))
    assert kept(transpose(choice(P, X, widened, neg)))  # reverses the axes, however many
    assert kept(add(choice(P, X, widened, neg), example("float32[2, 1, 3]", "z")))
    assert kept(transpose(choice(P, Y, exp, neg), perm=[2, 0, 1]))  # both branches fit


def test_both_branches_can_only_fail() -> None:
    either = choice(P, X, widened, lambda x: unsqueeze(x, ints(0, 1)))
    assert kept(transpose(either, perm=[1, 0]))


def test_a_predicate_told_by_the_rank_that_another_if_gives() -> None:
    """x[..., 0] if it is one long; then x[None] unless that left two axes: as exporters write."""
    x = example("float32[2, 3, K]", "x")
    last = shape(x, start=2, end=3)
    narrow = choice(equal(last, ints(1)), x, lambda v: squeeze(v, ints(-1)), lambda v: v)
    rank = size(shape(narrow))
    wide = choice(equal(rank, constant(2)), narrow, lambda v: v, widened)
    (made,) = done(layer(unsqueeze(wide, ints(0))))
    assert names(made) == ["Squeeze", "Unsqueeze", "GRU", "Out"]


def test_the_predicate_is_known_wherever_it_stands() -> None:
    demanded = transpose(choice(P, X, widened, neg), perm=[2, 0, 1])
    other = choice(P, Y, exp, neg)
    made = done(demanded, other)
    assert names(made[1]) == ["Exp"]


def test_what_a_branch_demands_holds_in_it_alone() -> None:
    inner = Body.close((), (P, X), (transpose(choice(P, X, widened, neg), perm=[2, 0, 1]),))
    other = Body.close((), (P, X), (exp(choice(P, X, widened, exp)),))
    p = example("bool[]", "r")
    made = done(if_(p, P, X, then_branch=inner, else_branch=other))
    (outer,) = made
    one, two = outer.attrs["then_branch"], outer.attrs["else_branch"]
    assert names(*one.outputs) == ["Unsqueeze", "Transpose"]
    assert "If" in names(*two.outputs)


def test_captured_predicates_outside_are_not_told_by_a_branch() -> None:
    inside = Body.close((), (P, X), (transpose(choice(P, X, widened, neg), perm=[2, 0, 1]),))
    other = Body.close((), (P, X), (transpose(unsqueeze(X, ints(0)), perm=[2, 0, 1]),))
    guarded = if_(example("bool[]", "r"), P, X, then_branch=inside, else_branch=other)
    made = done(guarded, choice(P, X, exp, neg))
    assert names(made[1]) == ["If"]
