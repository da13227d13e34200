"""If: what both branches do, what a branch knows, and outputs that nobody takes."""

from __future__ import annotations

from collections.abc import Sequence

from graphopt.body import Body
from graphopt.ir import Node
from graphopt.ops.arithmetic import add, mul
from graphopt.ops.control import if_
from graphopt.ops.functions import exp, neg
from graphopt.ops.indexing import gather
from graphopt.ops.linalg import matmul
from graphopt.ops.logic import not_
from graphopt.ops.movement import transpose
from graphopt.ops.selection import top_k
from graphopt.passes.branches.control import told
from graphopt.rewriting.examples import example, ints
from graphopt.rewriting.rule import Declined
from graphopt.structural import opaque, out, results
from tests.passes.flows import inside, names, ran

P, Q = example("bool[]", "p"), example("bool[]", "q")
X, Y, Z = (example("float32[2, 2]", name) for name in "xyz")


ONE, OTHER = (Body.close((), (X,), (made,)) for made in (neg(X), exp(X)))


def choice(one: Sequence[Node], other: Sequence[Node], predicate: Node = P) -> Node:
    """An If over the inputs x, y, z, p and q."""
    captured = (X, Y, Z, P, Q)
    node: Node = if_(
        predicate,
        *captured,
        then_branch=Body.close((), captured, one),
        else_branch=Body.close((), captured, other),
        outputs=len(one),
    )
    return node


def test_what_both_branches_compute_is_computed_before() -> None:
    product = matmul(X, Y)
    (made,) = ran(choice([neg(product)], [exp(product)]))
    assert (names(made), sorted(inside(made))) == (["MatMul", "If"], ["Exp", "Neg"])
    assert made.inputs == (P, product)


def test_what_may_fail_is_computed_before_if_both_do() -> None:
    at = example("int64[1]", "at")
    picked = gather(X, at)
    captured = (X, at)
    node = if_(P, *captured, then_branch=Body.close((), captured, (neg(picked),)),
               else_branch=Body.close((), captured, (exp(picked),)))  # fmt: skip
    (made,) = ran(node)
    assert names(made) == ["Gather", "If"]
    alone = if_(P, *captured, then_branch=Body.close((), captured, (neg(picked),)),
                else_branch=Body.close((), captured, (exp(X),)))  # fmt: skip
    (made,) = ran(alone)
    assert names(made) == ["If"]


def test_outputs_of_which_each_branch_takes_another() -> None:
    best = top_k(X, ints(1))
    (made,) = ran(choice([neg(out(best, 0))], [exp(transpose(out(best, 0)))]))
    assert names(made).count("TopK") == 1 and "TopK" not in inside(made)


def test_branches_that_return_the_same() -> None:
    made = ran(*results(choice([add(X, Y), neg(Z)], [add(X, Y), Z])))
    assert made[0] is add(X, Y)
    assert (made[1].op.name, made[1].inputs) == ("If", (P, Z))


def test_branches_are_told_the_predicate_where_they_take_it() -> None:
    bodies = [Body.close((), (X, Y), (made,)) for made in (neg(X), exp(Y))]
    assert isinstance(told(if_(P, X, Y, then_branch=bodies[0], else_branch=bodies[1])), Declined)
    made = told(choice([if_(P, X, then_branch=ONE, else_branch=OTHER)], [X]))
    assert isinstance(made, Node) and made.op is if_


def test_a_negated_predicate() -> None:
    (made,) = ran(choice([neg(X)], [exp(Y)], not_(P)))
    assert names(made) == ["If"]
    assert made.inputs[0] is P
    (wanted,) = ran(choice([exp(Y)], [neg(X)]))
    assert set(inside(made)) == set(inside(wanted))


def test_a_nested_choice_on_the_same_predicate() -> None:
    inner = choice([neg(X)], [exp(X)])
    (made,) = ran(choice([mul(inner, Y)], [choice([Y], [Z])]))
    assert sorted(inside(made)) == ["Mul", "Neg"]
    (other,) = ran(choice([mul(choice([neg(X)], [exp(X)], Q), Y)], [Z]))
    assert "If" in inside(other)


def test_outputs_of_branches_that_nobody_takes() -> None:
    node = choice([neg(X), exp(Y), exp(Z)], [exp(X), neg(Y), neg(Z)])
    (made,) = ran(out(node, 1))
    assert (made.op.name, made.inputs) == ("If", (P, Y))
    two = ran(out(node, 0), out(node, 2))
    assert two[1].op.name == "Out" and two[1].inputs[0].inputs == (P, X, Z)


def test_what_is_not_understood_stays() -> None:
    random = opaque("", "RandomLike", (Y,), origin=1, types=(Y.type,), attrs={})
    node = choice([neg(random)], [exp(random)])
    (made,) = ran(node)
    assert sorted(inside(made)) == ["Exp", "Neg", "RandomLike", "RandomLike"]
