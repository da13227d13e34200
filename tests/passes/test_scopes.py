"""Passes that plan over one scope at a time: they enter bodies, and move nothing in or out."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from graphopt.backends import reference
from graphopt.body import Body
from graphopt.graph import Graph
from graphopt.ir import Node, walk
from graphopt.ops.activation import relu
from graphopt.ops.arithmetic import add, mul
from graphopt.ops.control import if_
from graphopt.ops.functions import exp, neg
from graphopt.ops.fused import fused
from graphopt.ops.loops import loop, scan
from graphopt.ops.movement import transpose
from graphopt.ops.shape import reshape, shape
from graphopt.ops.slicing import concat, slice_
from graphopt.passes import O2
from graphopt.passes.branches.choices import MergeChoices
from graphopt.passes.movement.sizes import Sizes
from graphopt.passes.movement.splits import Splits
from graphopt.passes.movement.transposes import Transposes
from graphopt.pipeline import Context, Pass, ScopePass, run_pipeline
from graphopt.remarks import Log, Replay
from graphopt.rewriting.examples import example, ints
from graphopt.structural import constant, results
from tests.passes.before_after import drawn, graph_of

K, GO = example("int64[]", "k"), example("bool[]", "go")
N, P, Q = example("int64[]", "n"), example("bool[]", "p"), example("bool[]", "q")
X, Y = example("float32[4, 6]", "x"), example("float32[4, 6]", "y")
YES = constant(True)
Make = Callable[[Node], Node]


def of_branch(make: Make, other: Make = neg) -> Node:
    """An If, one branch of which is made."""
    bodies = [Body.close((), (X,), (branch(X),)) for branch in (make, other)]
    made: Node = if_(P, X, then_branch=bodies[0], else_branch=bodies[1])
    return made


def of_inner_branch(make: Make) -> Node:
    """An If in an If."""
    inner = [Body.close((), (X,), (branch(X),)) for branch in (neg, make)]
    inside = if_(Q, X, then_branch=inner[0], else_branch=inner[1])
    bodies = [Body.close((), (X, Q), (value,)) for value in (exp(X), relu(inside))]
    made: Node = if_(P, X, Q, then_branch=bodies[0], else_branch=bodies[1])
    return made


def of_carried(make: Make) -> Node:
    """A Loop that makes what it carries of what it carried."""
    made: Node = loop(N, None, X, body=Body.close((K, GO, X), (), (YES, make(X))))
    return made


def of_captured(make: Make) -> Node:
    """A Loop that adds what is made of what it captures."""
    made: Node = loop(N, None, X, Y, body=Body.close((K, GO, X), (Y,), (YES, add(X, make(Y)))))
    return made


def of_scanned(make: Make) -> Node:
    """A Scan that makes what it stacks of what it scans."""
    many = example("float32[3, 4, 6]", "many")
    body = Body.close((X, Y), (), (add(X, Y), make(Y)))
    made: Node = scan(X, many, body=body, num_scan_inputs=1, outputs=2)
    return results(made)[1]


PLACES = [of_branch, of_inner_branch, of_carried, of_captured, of_scanned]


def every(graph: Graph) -> dict[str, list[str]]:
    """The ops of the graph, and of each body under its node and name, inputs before users."""
    found: dict[str, list[str]] = {}
    pending = [("", graph.outputs)]
    for place, roots in pending:
        nodes = [node for node in walk(roots) if node.inputs and node.op.name != "Out"]
        found[place] = [node.op.name for node in nodes]
        for node in nodes:
            pending += [(f"{place}/{name}", body.outputs) for name, body in node.bodies]
    return found


def ran(*values: Node, passes: list[Pass]) -> Graph:
    """The graph after passes, which change no bit and find nothing in a second run."""
    before = graph_of(values)
    made = run_pipeline(before, passes, Context(strict=True))
    assert run_pipeline(made, passes, Context(strict=True)).outputs == made.outputs
    for seed in range(3):
        feeds = drawn(before, seed, tame=True)
        for old, new in zip(reference.run(before, feeds), reference.run(made, feeds), strict=True):
            assert old.tobytes() == new.tobytes()
    return made


def halves(x: Node) -> Node:
    """The halves of a value in the other order."""
    parts = [slice_(x, ints(begin), ints(begin + 3), ints(1)) for begin in (3, 0)]
    return concat(*parts, axis=1)  # type: ignore[no-any-return]


def turned(x: Node) -> Node:
    """Something done to a transposed value."""
    made: Node = transpose(relu(transpose(x, perm=(1, 0))), perm=(1, 0))
    return made


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(
    ("pass_", "make", "gone", "come"),
    [
        (Splits(), halves, ["Slice", "Slice"], ["Split"]),
        (Transposes(), turned, ["Transpose", "Transpose"], []),
    ],
)
def test_a_body_is_rewritten_as_a_graph_is(
    place: Callable[[Make], Node], pass_: Pass, make: Make, gone: list[str], come: list[str]
) -> None:
    before, made = every(graph_of(place(make))), every(ran(place(make), passes=[pass_]))
    assert before.keys() == made.keys() and before[""] == made[""]
    changed = [name for name in before if before[name] != made[name]]
    assert len(changed) == 1
    for op in {*gone, *come}:
        more = made[changed[0]].count(op) - before[changed[0]].count(op)
        assert more == come.count(op) - gone.count(op)


def test_sizes_in_a_body_are_computed_once() -> None:
    x = example("float32[N, 6]", "x")

    def twice(value: Node) -> Node:
        return concat(shape(value), shape(exp(value)), axis=0)  # type: ignore[no-any-return]

    bodies = [Body.close((), (x,), (made,)) for made in (twice(x), concat(*[shape(x)] * 2, axis=0))]
    made = ran(if_(P, x, then_branch=bodies[0], else_branch=bodies[1]), passes=[Sizes()])
    assert every(made) == {
        "": ["If"], "/then_branch": ["Shape", "Concat"], "/else_branch": ["Shape", "Concat"],
    }  # fmt: skip


def test_a_size_that_a_loop_captures_is_not_computed_in_it() -> None:
    x, y = example("float32[N, 6]", "x"), example("float32[N, 6]", "y")
    size = shape(y)

    def inside(*values: Node) -> list[str]:
        body = Body.close((K, GO, x), (size, y), (YES, add(*values)))
        (_, found) = every(ran(loop(N, None, x, size, y, body=body), passes=[Sizes()])).values()
        return found

    other = reshape(neg(y), shape(neg(y)))
    assert inside(reshape(exp(y), size), other) == ["Exp", "Reshape", "Neg", "Reshape", "Add"]
    assert inside(exp(y), other) == ["Exp", "Neg", "Shape", "Reshape", "Add"]


def test_choices_in_a_branch_and_in_a_loop_are_merged() -> None:
    def twice(value: Node) -> Node:
        sides = Body.close((), (X,), (neg(X),)), Body.close((), (X,), (exp(X),))
        one, other = (
            if_(Q, item, then_branch=sides[0], else_branch=sides[1])
            for item in (value, relu(value))
        )
        return mul(one, other)  # type: ignore[no-any-return]

    bodies = [Body.close((), (X, Q), (item,)) for item in (twice(X), X)]
    branch = if_(P, X, Q, then_branch=bodies[0], else_branch=bodies[1])
    assert every(ran(branch, passes=[MergeChoices()]))["/then_branch"] == ["Relu", "If", "Mul"]
    body = Body.close((K, GO, X), (Q,), (YES, twice(X)))
    (_, inside, *_) = every(ran(loop(N, None, X, Q, body=body), passes=[MergeChoices()])).values()
    assert inside == ["Relu", "If", "Mul"]


def test_nothing_moves_between_scopes() -> None:
    z = example("float32[6, 4]", "z")
    body = Body.close((K, GO, z), (Y,), (YES, add(z, transpose(Y, perm=(1, 0)))))
    node = loop(N, None, transpose(X, perm=(1, 0)), transpose(z, perm=(1, 0)), body=body)
    assert ran(node, transpose(node, perm=(1, 0)), passes=[Transposes()]).outputs[0] is node


def test_what_stands_outside_does_not_enter_a_loop() -> None:
    parts = [slice_(X, ints(begin), ints(begin + 3), ints(1)) for begin in (0, 3)]
    body = Body.close((K, GO, parts[0]), (parts[1],), (YES, add(parts[0], exp(parts[1]))))
    made = ran(loop(N, None, *parts, body=body), passes=[Splits()])
    assert list(every(made).values()) == [["Split", "Loop"], ["Exp", "Add"]]


class Seen(ScopePass):
    """Notes the scopes that it is given."""

    name = "seen"

    def __init__(self) -> None:
        self.scopes: list[tuple[str, ...]] = []

    def scope(self, graph: Graph, context: Context) -> Graph:
        self.scopes.append(tuple(node.op.name for node in graph.order if node.inputs))
        return graph


def test_each_body_is_seen_once_and_what_is_inside_first() -> None:
    seen = Seen()
    context = Context(strict=True)
    node = of_inner_branch(exp)
    run_pipeline(graph_of((node, neg(node), of_branch(exp))), [seen], context)
    inner = [("Neg",), ("Exp",), ("If", "Relu")]
    assert seen.scopes == [("Exp",), *inner, ("If", "Neg", "If")]
    run_pipeline(graph_of(exp(node)), [seen], context)
    assert seen.scopes[5:] == [("If", "Exp")]  # the bodies are known to stay as they are


def test_what_is_fused_is_not_entered() -> None:
    seen = Seen()
    node = fused(X, body=Body.close((X,), (), (exp(neg(X)),)), kind="Neg+Exp")
    run_pipeline(graph_of(node), [seen], Context(strict=True))
    assert seen.scopes == [("Fused",)]


def test_rewrites_in_bodies_are_counted_told_bounded_and_replayed() -> None:
    graph = graph_of((of_branch(halves, turned), halves(Y)))
    passes: list[Pass] = [Splits(), Transposes()]
    context = Context(strict=True, log=Log())
    made = run_pipeline(graph, passes, context)
    assert made.report is not None
    assert made.report.rules == {"splits.slices": 4, "transposes.move": 1}
    told = [remark for remark in made.report.remarks if remark.kind == "passed"]
    assert len(told) == 5
    replayed = run_pipeline(graph, passes, Context(strict=True, only=Replay(told)))
    assert replayed.outputs == made.outputs
    without = run_pipeline(graph, passes, Context(strict=True, only=Replay(told[:2] + told[4:])))
    assert every(without)["/then_branch"] == ["Split", "Concat"]
    assert every(without)[""].count("Slice") == 2
    none = run_pipeline(graph, passes, Context(strict=True, fuel=0))
    assert none.outputs == graph.outputs


@pytest.mark.parametrize("place", PLACES)
def test_all_of_it_at_once(place: Callable[[Make], Node]) -> None:
    made = ran(place(lambda x: halves(turned(x))), passes=list(O2))
    ops = [op for found in every(made).values() for op in found]
    assert "Transpose" not in ops and "Slice" not in ops
