"""Values of which nothing is known, an opaque op's of which the model says nothing: no obstacle."""

from __future__ import annotations

from itertools import count

import pytest

import graphopt
from graphopt.ir import Node, walk
from graphopt.ops.activation import relu
from graphopt.ops.quantize import dynamic_quantize_linear
from graphopt.ops.shape import reshape, squeeze, unsqueeze
from graphopt.ops.slicing import split
from graphopt.passes import RULES
from graphopt.rewriting.examples import example, ints
from graphopt.structural import opaque, results
from graphopt.types import UNKNOWN, Type
from tests.passes.before_after import graph_of

X = example("float32[N, 3]", "x")
ORIGINS = count(1)


def strange(kind: Type = UNKNOWN) -> Node:
    made: Node = opaque("odd", "Op", (X,), origin=next(ORIGINS), types=(kind,), attrs={})
    return made


def estranged(root: Node, turn: int) -> Node:
    """A value whose inputs come from an opaque op, of which every second, or with 2 all, are
    of unknown types."""
    memo: dict[Node, Node] = {}
    inputs = 0
    for node in walk((root,)):
        memo[node] = node.with_inputs(tuple(memo[item] for item in node.inputs))
        if node.op.name == "Input":
            inputs += 1
            unknown = turn in (2, inputs % 2)
            memo[node] = strange(UNKNOWN if unknown else node.derived_type)
    return memo[root]


@pytest.mark.parametrize("turn", range(3))
def test_no_rule_stumbles_over_its_own_example(turn: int) -> None:
    for rule in RULES:
        assert rule.fires is not None
        graph = graph_of(results(estranged(rule.fires(), turn)))
        graphopt.optimize(graph, strict=True)


def test_what_is_known_is_optimized_all_the_same() -> None:
    around = unsqueeze(squeeze(strange(), ints(1)), ints(1))
    parts = results(split(strange(), outputs=2))
    made = graphopt.optimize(
        graph_of((around, *parts, relu(relu(reshape(X, ints(-1)))))), strict=True
    )
    kept = [node.op.name for node in walk(made.outputs)]
    assert kept.count("Relu") == 1
    assert {"Op", "Unsqueeze", "Squeeze", "Split"} <= set(kept)


def test_ops_of_several_outputs_have_them() -> None:
    assert len(results(dynamic_quantize_linear(strange()))) == 3
