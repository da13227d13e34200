"""`graphopt.rewrite`: two plain functions make a pass."""

from __future__ import annotations

import pytest

import graphopt
from graphopt.errors import RewriteError
from graphopt.graph import Graph
from graphopt.ir import Node
from graphopt.ops.activation import relu
from graphopt.ops.arithmetic import add, mul, sub
from graphopt.ops.functions import neg
from graphopt.rewriting.examples import example, filled
from graphopt.rewriting.rule import Const, Soundness, Value

X, Y = example("float32[N, 3]", "x"), example("float32[N, 3]", "y")


def one(output: Node) -> Graph:
    """A graph of one output."""
    return Graph((X, Y), (output,), ("z",))


def test_two_functions_make_a_pass() -> None:
    merge = graphopt.rewrite(lambda x, y: add(neg(x), neg(y)), lambda x, y: neg(add(x, y)))
    made = graphopt.optimize(one(add(neg(X), neg(Y))), [merge], strict=True)
    assert made.outputs == (neg(add(X, Y)),)
    assert made.report is not None
    assert list(made.report.rules) == ["rewrite.lambda"]


def test_a_guard_and_kinds_of_values() -> None:
    def scaled(x: Value, c: Const) -> Node:
        made: Node = mul(relu(x), c)
        return made

    def inside(x: Value, c: Const) -> Node:
        made: Node = relu(mul(x, c))
        return made

    def positive(c: Node) -> bool:
        tensor = c.constant
        return tensor is not None and bool((tensor.array > 0).all())

    push = graphopt.rewrite(scaled, inside, when=positive, soundness=Soundness.ROUNDING)
    two, minus = filled(2), filled(-2)
    assert graphopt.optimize(one(mul(relu(X), two)), [push]).outputs == (relu(mul(X, two)),)
    for kept in (mul(relu(X), minus), mul(relu(X), Y)):
        assert graphopt.optimize(one(kept), [push]).outputs == (kept,)


def test_a_class_that_is_not_admitted_does_not_run() -> None:
    wild = graphopt.rewrite(lambda x: sub(x, x), lambda x: x, soundness=Soundness.FAST)
    assert graphopt.optimize(one(sub(X, X)), [wild]).outputs == (sub(X, X),)
    assert graphopt.optimize(one(sub(X, X)), [wild], math="fast").outputs == (X,)


def test_a_replacement_of_another_type_is_never_made() -> None:
    wrong = graphopt.rewrite(lambda x, y: sub(x, y), lambda x: x)
    wider = sub(example("float32[3]", "v"), X)
    graph = Graph((example("float32[3]", "v"), X), (wider,), ("z",))
    assert graphopt.optimize(graph, [wrong]).outputs == (wider,)


def test_what_is_no_rule_is_refused() -> None:
    with pytest.raises(RewriteError, match="applied"):
        graphopt.rewrite(lambda x: x, lambda x: x)
    with pytest.raises(RewriteError, match="binds no 'y'"):
        graphopt.rewrite(lambda x: neg(x), lambda y: y)
