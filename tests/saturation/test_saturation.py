"""Equality saturation: classes, what rules may merge, regions, extraction."""

from __future__ import annotations

from itertools import pairwise

import pytest

from graphopt.costs import CALL, fused_cost, node_cost, supposed, total_cost
from graphopt.dims import symbol
from graphopt.ir import Node, walk
from graphopt.ops.arithmetic import add, mul
from graphopt.ops.functions import absolute, cos, exp, neg, sin, sqrt
from graphopt.ops.linalg import gemm, matmul
from graphopt.ops.movement import transpose
from graphopt.ops.reduction import reduce_max
from graphopt.ops.shape import reshape
from graphopt.rewriting import Attr, Equations, Math, Rule, RuleSet, Soundness, Value, guards, rules
from graphopt.rewriting.examples import example, filled, ints
from graphopt.saturation import Saturated, Saturation, by_root, is_plain, regions_of
from graphopt.saturation.egraph import EGraph
from graphopt.saturation.extract import Extraction

pytest.importorskip("egglog")

X, Y = example("float32[64, 64]", "x"), example("float32[64, 64]", "y")


def saturate(given: RuleSet, *values: Node, math: Math = Math.DEFAULT) -> Saturated:
    """What saturation by some rules makes of values over their inputs and constants."""
    leaves = [node for node in walk(values) if not node.inputs]
    return Saturation(by_root(given, math, lambda key: True), math).run(values, leaves)


def test_classes_are_closed_under_congruence() -> None:
    graph = EGraph()
    x, y = graph.leaf(X), graph.leaf(Y)
    a, b = graph.term(neg(X), (x,)), graph.term(neg(Y), (y,))
    far, near = graph.term(exp(neg(X)), (a,)), graph.term(exp(neg(Y)), (b,))
    graph.rebuild()
    assert len({graph.find(k) for k in (x, y, a, b, far, near)}) == 6
    graph.union(x, y)
    graph.rebuild()
    assert graph.find(a) == graph.find(b) and graph.find(far) == graph.find(near)
    assert [len(graph.terms(graph.find(k))) for k in (x, a, far)] == [2, 1, 1]
    assert graph.term(neg(X), (graph.find(y),)) == graph.find(a)


def test_attributes_tell_terms_apart() -> None:
    graph = EGraph()
    x = graph.leaf(X)
    flips = [transpose(X, perm=(0, 1)), transpose(X, perm=(1, 0))]
    first, second = (graph.term(node, (x,)) for node in flips)
    graph.rebuild()
    assert graph.find(first) != graph.find(second)


@rules(Soundness.ROUNDING)
def rounded(x: Value) -> Equations:
    """cos is a better exp, for the sake of the test."""
    yield Rule("cos", exp(x), cos(x), fires=lambda: exp(X), misses=lambda: cos(X))


@rules()
def exact(x: Value) -> Equations:
    """-cos x is sin x, for the sake of the test."""
    yield Rule("sin", neg(cos(x)), sin(x), fires=lambda: neg(cos(X)), misses=lambda: cos(X))


def test_a_rule_that_rounds_is_not_turned_round() -> None:
    """cos x may stand for exp x; exp x, though it is cheaper, not for cos x."""
    assert saturate(rounded, exp(X), cos(X)).values == (cos(X), cos(X))
    assert saturate(exact, sin(X), neg(cos(X)), cos(X)).values == (
        neg(cos(X)), neg(cos(X)), cos(X),
    )  # fmt: skip


def test_nor_is_an_exact_rule_that_matched_through_it() -> None:
    """sin x may stand for -exp x, by way of -cos x, but -exp x not for sin x."""
    assert saturate(rounded + exact, sin(X), neg(exp(X))).values == (sin(X), sin(X))
    assert saturate(rounded + exact, sin(X), neg(exp(X)), exp(X)).values[0] is sin(X)


def test_what_is_known_of_one_term_is_not_believed_of_its_class() -> None:
    """exp x is not negative; what it is rounded to may be."""

    @rules()
    def positive(x: Value) -> Equations:
        """|x| = x where x is not negative."""
        yield Rule("abs", absolute(x), x, when=guards.non_negative("x"))

    known = absolute(exp(X))
    assert next(iter(positive)).apply(known, Math.DEFAULT, Once()) is exp(X)
    assert saturate(positive + rounded, known).values == (known,)
    two = filled(2.0, 64, 64)
    assert saturate(positive, add(X, absolute(two))).values == (add(X, two),)


class Once:
    def __call__(self, node: Node) -> int:
        return 1

    def unseen(self, node: Node) -> bool:
        return False


@rules()
def both_ways(x: Value, y: Value, z: Value, p: Attr) -> Equations:
    """Rules that undo each other."""
    yield Rule("there", mul(x, add(y, z)), add(mul(x, y), mul(x, z)))
    yield Rule("back", add(mul(x, y), mul(x, z)), mul(x, add(y, z)))
    yield Rule("twice", transpose(transpose(x, perm=p), perm=p), x)


def test_rules_that_undo_each_other_end() -> None:
    found = saturate(both_ways, add(mul(X, X), mul(X, Y)))
    assert found.values == (mul(X, add(X, Y)),)
    assert found.complete and found.after < found.before


def test_a_rule_whose_type_does_not_fit_is_left_out() -> None:
    oblong = example("float32[2, 3]", "o")
    turned = transpose(transpose(oblong, perm=(1, 0)), perm=(1, 0))
    assert saturate(both_ways, turned).values == (oblong,)
    cube = example("float32[2, 3, 4]", "c")  # (1, 2, 0) is not its own inverse
    kept = transpose(transpose(cube, perm=(1, 2, 0)), perm=(1, 2, 0))
    assert saturate(both_ways, kept).values == (kept,)


def test_what_is_shared_is_paid_once() -> None:
    """x * (y + z) is cheaper than x * y + x * z, but not where x * y and x * z are wanted too."""
    z = example("float32[64, 64]", "z")
    sum_ = add(mul(X, Y), mul(X, z))
    assert saturate(both_ways, sum_).values == (mul(X, add(Y, z)),)
    wanted = (sum_, mul(X, Y), mul(X, z))
    assert saturate(both_ways, *wanted).values == wanted


def test_extraction_never_needs_itself() -> None:
    graph = EGraph()
    x = graph.leaf(X)
    a = graph.term(neg(X), (x,))
    b = graph.term(sqrt(X), (a,))
    graph.union(a, b)  # neg(x) = sqrt(neg(x)): a class that is its own operand
    graph.rebuild()
    extraction = Extraction(graph, [graph.find(a)])
    first = {k: graph.terms(k)[0] for k in graph.classes}
    loop = {**first, graph.find(a): graph.terms(graph.find(a))[1]}
    assert extraction.cost(loop) > 1 << 100
    choice, cost = extraction.cheapest(first)
    assert extraction.build(choice) == [neg(X)] and cost == node_cost(neg(X))


def test_regions_are_connected_and_convex() -> None:
    """What depends on a value that a region does not have, and the region on it, is apart."""
    a = exp(X)
    outside = reshape(a, ints(-1))
    inside = add(a, reshape(cos(outside), ints(64, 64)))

    def barred(node: Node) -> bool:
        return is_plain(node) and node.op is not reshape

    found = regions_of([inside, cos(outside)], barred, 64)
    assert all(not {a, inside} <= set(region.nodes) and len(region.nodes) > 1 for region in found)
    whole = regions_of([inside], is_plain, 64)
    assert [len(region.nodes) for region in whole] == [5]
    assert whole[0].values == (inside,) and X in whole[0].leaves


def test_large_regions_are_cut_in_order() -> None:
    value: Node = X
    for _ in range(100):
        value = neg(sin(value))
    found = regions_of([value], is_plain, 64)
    assert [len(region.nodes) for region in found] == [64, 64, 64, 8]
    for region, following in pairwise(found):
        assert following.leaves == region.values == (region.nodes[-1],)


def test_costs_follow_work_and_bytes() -> None:
    big, small = example("float32[512, 512]", "b"), example("float32[8, 8]", "s")
    assert node_cost(matmul(big, big)) > node_cost(transpose(big)) > node_cost(neg(big))
    assert node_cost(neg(big)) > node_cost(neg(small)) > CALL == node_cost(reshape(X, ints(-1)))
    assert node_cost(sin(big)) > node_cost(exp(big)) > node_cost(neg(big))
    assert node_cost(X) == node_cost(filled(1.0, 64, 64)) == 0
    column = example("float32[512, 8]", "c")
    turned = example("float32[8, 512]", "t")
    assert node_cost(gemm(column, big, transA=1)) == node_cost(gemm(turned, big))
    assert total_cost([add(neg(X), exp(neg(X)))]) == sum(
        map(node_cost, (neg(X), exp(neg(X)), add(neg(X), exp(neg(X)))))
    )


def test_chains_that_run_as_one_cost_less() -> None:
    z = example("float32[64, 64]", "z")
    product, moved = matmul(X, Y), 2 * 80 * 4 * 64 * 64
    apart = node_cost(product) + node_cost(neg(product))
    assert fused_cost([neg(product)], {X, Y}) == apart - CALL - moved
    assert fused_cost([neg(product), product], {X, Y}) == apart  # somebody else reads it
    assert fused_cost([neg(product)], {product}) == node_cost(neg(product))
    both = add(product, matmul(X, z))  # of two products, one can take in what follows
    assert fused_cost([both], {X, Y, z}) == total_cost([both]) - CALL - moved
    chain = exp(neg(sin(X)))
    assert fused_cost([chain], {X}) == total_cost([chain]) - 2 * (CALL + moved)


def test_what_would_break_a_chain_is_left() -> None:
    """A pool before the activation halves the elements, but that ran with the product for free."""

    @rules()
    def moved(x: Value, p: Attr) -> Equations:
        """A move of fewer elements, for the sake of the test."""
        yield Rule("neg", reduce_max(neg(x), keepdims=p), neg(reduce_max(x, keepdims=p)))

    free = reduce_max(neg(matmul(X, Y)), keepdims=0)
    assert saturate(moved, free).values == (free,)
    paid = reduce_max(neg(X), keepdims=0)
    assert saturate(moved, paid).values == (neg(reduce_max(X, keepdims=0)),)


def test_unknown_sizes_are_typical() -> None:
    assert supposed(None) == 64 and supposed(symbol("N") * 2) == 128 and supposed(3) == 3
    symbolic = example("float32[N, 64]", "n")
    unknown = example("float32[...]", "u")
    assert node_cost(neg(symbolic)) == node_cost(neg(unknown)) == node_cost(neg(X))
