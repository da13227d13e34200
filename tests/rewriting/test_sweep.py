"""The sweep: linear, each value once, nothing that changes a type, and a history of what it did."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable

import pytest

from graphopt.body import Body
from graphopt.errors import RewriteError
from graphopt.graph import Graph
from graphopt.ir import Node
from graphopt.op import Array, Xp, op
from graphopt.records import Record, Tables
from graphopt.rewriting.rule import Equations, Guard, Math, Rule, RuleSet, Soundness, Value, rules
from graphopt.rewriting.sweep import MAX_CHAIN, Dispatch, Rewriter, Sweep, rewriter_of, sweep
from graphopt.rewriting.uses import Uses
from graphopt.structural import constant
from graphopt.types import DType, Type
from tests.toy import add, floats, forget, graph_of, neg, scale, sub

A, B = floats("a", 2), floats("b", 2)


@rules()
def toy(x: Value, y: Value) -> Equations:
    """Toy rules."""
    yield Rule("neg_neg", neg(neg(x)), x)
    yield Rule("sub_neg", sub(x, neg(y)), add(x, y))


def rewriter(rule_set: RuleSet, graph: Graph, math: Math = Math.DEFAULT) -> Rewriter:
    return rewriter_of(rule_set, math, lambda name: True, Uses(graph.roots))


def swept(rule_set: RuleSet, *outputs: Node) -> tuple[Graph, Sweep]:
    graph = graph_of(*outputs, inputs=(A, B))
    return sweep(graph, rewriter(rule_set, graph))


def test_nothing_to_do_gives_the_same_graph() -> None:
    graph = graph_of(add(neg(A), B), inputs=(A, B))
    made, state = sweep(graph, rewriter(toy, graph))
    assert made is graph
    assert not state.counts


def test_rules_apply_to_what_rules_made() -> None:
    made, state = swept(toy, sub(A, neg(neg(neg(B)))))
    assert made.outputs == (add(A, B),)
    assert state.counts == {"toy.neg_neg": 1, "toy.sub_neg": 1}


def test_shared_value_is_rewritten_once() -> None:
    shared = neg(neg(A))
    seen: Counter[Node] = Counter()

    def count(node: Node) -> None:
        seen[node] += 1

    graph = graph_of(add(shared, B), sub(shared, B), shared, inputs=(A, B))
    made, state = sweep(graph, count)
    assert made is graph
    assert set(seen.values()) == {1}
    made, state = sweep(graph, rewriter(toy, graph))
    assert made.outputs == (add(A, B), sub(A, B), A)
    assert state.counts["toy.neg_neg"] == 1


def test_deep_graph_is_swept_in_linear_steps_without_recursion() -> None:
    depth = 20 * sys.getrecursionlimit()
    node = A
    for _ in range(depth):
        node = add(neg(node), B)
    calls = 0

    def count(_: Node) -> None:
        nonlocal calls
        calls += 1

    sweep(graph_of(node, inputs=(A, B)), count)
    assert calls == 2 * depth + 2


def test_diamonds_do_not_multiply() -> None:
    node = neg(neg(A))
    for _ in range(200):
        node = add(node, node)
    made, state = swept(toy, node)
    assert state.counts.total() == 1
    assert len(made) == 200


def test_rules_that_go_round_in_circles_are_refused() -> None:
    def swap(node: Node) -> tuple[Node, str] | None:
        if node.op is add:
            return sub(*node.inputs), "there"
        return (add(*node.inputs), "back") if node.op is sub else None

    with pytest.raises(RewriteError, match="round in circles"):
        sweep(graph_of(add(A, B), inputs=(A, B)), swap)


def test_rule_that_wraps_what_it_found_is_refused() -> None:
    def wrap(node: Node) -> tuple[Node, str] | None:
        return (neg(node), "wrap") if node.op is add else None

    with pytest.raises(RewriteError, match="wrap: rules go round in circles"):
        sweep(graph_of(add(A, B), inputs=(A, B)), wrap)


def test_rule_that_never_ends_is_refused() -> None:
    def grow(node: Node) -> tuple[Node, str] | None:
        if node.op is not scale:
            return None
        return scale(A, by=node.attrs["by"] + 1), "grow"

    with pytest.raises(RewriteError, match="round in circles"):
        sweep(graph_of(scale(A, by=2.0), inputs=(A, B)), grow)


def test_long_chain_below_the_limit_is_fine() -> None:
    def shrink(node: Node) -> tuple[Node, str] | None:
        by = node.attrs.get("by", 1.0)
        return (scale(A, by=by - 1.0), "shrink") if by > 1 else None

    made, state = sweep(graph_of(scale(A, by=MAX_CHAIN - 1.0), inputs=(A, B)), shrink)
    assert made.outputs == (scale(A),)
    assert state.counts["shrink"] == MAX_CHAIN - 2


@pytest.mark.parametrize("wrong", [constant([1, 2]), constant([1.0], DType.FLOAT32), forget(A)])
def test_replacement_of_another_dtype_or_shape_is_refused(wrong: Node) -> None:
    def replace(node: Node) -> tuple[Node, str] | None:
        return (wrong, "wrong") if node.op is neg else None

    with pytest.raises(RewriteError, match="does not refine"):
        sweep(graph_of(neg(A), inputs=(A, B)), replace)


def test_replacement_may_know_more() -> None:
    made, _ = sweep(
        graph_of(forget(A), inputs=(A, B)),
        lambda node: (A, "know") if node.op is forget else None,
    )
    assert made.outputs == (A,)


def test_rule_whose_result_does_not_refine_does_not_apply() -> None:
    @rules()
    def wrong(x: Value) -> Equations:
        yield Rule("blur", neg(x), forget(x))

    made, state = swept(wrong, neg(A))
    assert made.outputs == (neg(A),)
    assert not state.counts


@op("ToyRun", domain="toy")
def run_body(xp: Xp, x: Array, *, body: Body) -> Array:
    """The body's output on x."""
    return xp.call(body, [x])[0]


@run_body.infer
def _(x: Node, *, body: Body) -> Type:
    return body.result_types([x])[0]


def test_bodies_are_swept_once() -> None:
    p = floats("p", 2)
    body = Body.close((p,), (), (neg(neg(neg(p))),))
    made, state = swept(toy, run_body(A, body=body), neg(run_body(B, body=body)))
    assert state.counts == {"toy.neg_neg": 1}
    assert made.outputs[0] is run_body(A, body=Body.close((p,), (), (neg(p),)))
    assert made.outputs[1].inputs[0] is run_body(B, body=made.outputs[0].attrs["body"])


def test_history_names_the_rules_and_the_source() -> None:
    source = sub(A, neg(neg(neg(B))))
    record = Record(7, "Sub", ("a", "n"), ("y",), name="the_sub")
    tables = Tables(records={source: (record,)}, origin=(source,))
    graph = Graph((A, B), (source,), ("y",), tables=tables)
    made, _ = sweep(graph, rewriter(toy, graph))
    assert made.history(made.outputs[0]) == ["toy.sub_neg", "", "the_sub"]
    assert not made.untouched


def test_fuel_bounds_the_number_of_rewrites() -> None:
    outputs = (neg(neg(A)), neg(neg(B)), sub(A, neg(B)))
    graph = graph_of(*outputs, inputs=(A, B))
    for fuel in range(4):
        made, state = sweep(graph, rewriter(toy, graph), fuel=fuel)
        assert state.counts.total() == fuel
        changed = sum(new is not old for new, old in zip(made.outputs, outputs, strict=True))
        assert changed == fuel


def test_tick_is_called_and_may_stop_the_sweep() -> None:
    node = A
    for _ in range(2000):
        node = neg(add(node, B))

    def stop() -> None:
        raise TimeoutError

    with pytest.raises(TimeoutError):
        sweep(graph_of(node, inputs=(A, B)), lambda node: None, tick=stop)


@pytest.mark.parametrize(
    ("soundness", "unobserved", "modes"),
    [
        (Soundness.EXACT, False, {"STRICT", "DEFAULT", "FAST"}),
        (Soundness.VALUE, False, {"FAST"}),
        (Soundness.VALUE, True, {"DEFAULT", "FAST"}),
        (Soundness.ROUNDING, False, {"DEFAULT", "FAST"}),
        (Soundness.FAST, False, {"FAST"}),
    ],
)
def test_math_admits_rules_by_soundness(
    soundness: Soundness, unobserved: bool, modes: set[str]
) -> None:
    def proof(root: Node) -> bool:
        return root.op is neg

    @rules(soundness)
    def one(x: Value) -> Equations:
        yield Rule("r", neg(neg(x)), x, unobserved=Guard("p", proof) if unobserved else None)

    graph = graph_of(neg(neg(A)), inputs=(A, B))
    admitted = {
        math.name for math in Math if sweep(graph, rewriter(one, graph, math))[0] is not graph
    }
    assert admitted == modes


def test_guards_see_bindings_root_and_uses() -> None:
    seen: set[int] = set()

    def not_b(x: Node, root: Node) -> bool:
        return root.op is neg and x is not B

    def used_once(x: Node, uses: Callable[[Node], int]) -> bool:
        seen.add(uses(x))
        return uses(x) == 1

    @rules()
    def guarded(x: Value) -> Equations:
        yield Rule(
            "once",
            neg(neg(x)),
            x,
            when=Guard("x is not b", not_b),
            worth=Guard("x is used once", used_once),
        )

    made, _ = swept(guarded, neg(neg(A)), neg(neg(B)))
    assert made.outputs == (A, neg(neg(B)))
    assert seen == {1}
    made, _ = swept(guarded, neg(neg(A)), add(A, B))
    assert made.outputs == (neg(neg(A)), add(A, B))


def test_unknown_variable_in_a_guard_is_refused() -> None:
    def about_z(z: Node) -> bool:
        return z.op is neg

    with pytest.raises(RewriteError, match="no variable 'z'"):

        @rules()
        def wrong(x: Value) -> Equations:
            yield Rule("r", neg(x), x, when=Guard("z is a sum", about_z))

    with pytest.raises(RewriteError, match="the left has not"):

        @rules()
        def unbound(x: Value, y: Value) -> Equations:
            yield Rule("r", neg(x), y)


def test_uses_follow_a_value_that_is_rewritten() -> None:
    shared = neg(neg(A))
    graph = graph_of(add(shared, B), add(B, shared), inputs=(A, B))
    uses = Uses(graph.roots)
    double = add(A, A)

    def rewrite(node: Node) -> tuple[Node, str] | None:
        return (double, "r") if node is shared else None

    sweep(graph, rewrite, uses=uses)
    assert uses(double) == 2, "a new value has the uses of the one that it stands for"


def test_uses_counts_roots_and_operands() -> None:
    uses = Uses((add(A, A), neg(A)))
    assert uses(A) == 3
    assert uses(neg(A)) == 1
    assert uses(neg(neg(B))) == 1


def test_what_has_settled_is_not_matched_again_unless_it_is_used_otherwise() -> None:
    asked: list[str] = []

    def told(name: str, answer: bool) -> bool:
        asked.append(name)
        return answer

    @rules()
    def counted(x: Value, y: Value) -> Equations:
        """Rules that note when they are tried."""
        yield Rule("plain", neg(x), x, when=Guard("never", lambda x: told("neg", False)))
        used = Guard("used ten times", lambda x, uses: told("sub", uses(x) > 9))
        yield Rule("used", sub(x, y), x, worth=used)

    once = graph_of(sub(neg(A), B), inputs=(A, B))
    twice = graph_of(sub(neg(A), B), neg(A), inputs=(A, B))
    dispatch = Dispatch(counted, Math.DEFAULT, lambda name: True)
    for graph, tried in ((once, ["neg", "sub"]), (once, []), (twice, ["sub"]), (twice, [])):
        asked.clear()
        assert sweep(graph, dispatch.rewriter(Uses(graph.roots)))[0] is graph
        assert asked == tried


def test_the_rule_that_asks_for_more_is_tried_first() -> None:
    @rules()
    def both(x: Value, y: Value) -> Equations:
        """A rule, and those that take what it is a part of."""
        yield Rule("any", sub(x, y), add(x, y))
        yield Rule("negated", sub(x, neg(y)), add(y, x))
        yield Rule("itself", sub(x, x), x)

    for rule_set in (both, RuleSet(both.rules[::-1])):
        assert swept(rule_set, sub(A, neg(B)))[1].counts == {"both.negated": 1}
        assert swept(rule_set, sub(neg(A), neg(A)))[1].counts == {"both.itself": 1}
