"""The fuzzer finds nothing wrong in what there is, and finds what is planted."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from typing import ClassVar

import pytest

from graphopt import passes
from graphopt.graph import Graph
from graphopt.ir import Node
from graphopt.ops.arithmetic import add, mul, sub
from graphopt.ops.reduction import reduce_mean, reduce_sum
from graphopt.pipeline import Context, Pass
from graphopt.rewriting import Attr, Const, Equations, Rule, RuleSet, Soundness, Value, rules
from graphopt.rewriting.examples import example, filled, ints
from graphopt.structural import constant
from graphopt.text import parse_graph, print_graph
from graphopt.types import DType
from tools import fuzz
from tools.fuzz_check import Case, Checker, Finding, Plan, rule_classes
from tools.fuzz_graphs import sample
from tools.fuzz_shrink import shrink

FULL = os.environ.get("GRAPHOPT_FULL") == "1"
SEEDS = range(4000 if FULL else 120)


@pytest.mark.fuzz
def test_nothing_is_wrong() -> None:
    tally = fuzz.run_seeds(SEEDS, Plan())
    assert tally.graphs == len(SEEDS)
    assert tally.trials > 2 * len(SEEDS)
    assert not tally.told, "\n\n".join(tally.told)


def test_the_same_seed_gives_the_same_graph() -> None:
    for seed in range(20):
        one, other = sample(seed), sample(seed)
        assert print_graph(one.graph) == print_graph(other.graph)
        assert one.sizes == other.sizes


def test_graphs_are_various() -> None:
    graphs = [sample(seed).graph for seed in range(200)]
    ops = {node.op.name for graph in graphs for node in graph.nodes}
    assert len(ops) > 120
    assert {"If", "Split", "Conv", "Where", "Cast", "Concat", "Transpose", "MaxPool"} <= ops
    assert max(map(len, graphs)) > 20
    assert any(len(graph.outputs) > 2 for graph in graphs)


@dataclass(frozen=True)
class Planted(Pass):
    """Applies rules that are wrong, among those that are not."""

    name: ClassVar[str] = "planted"
    found: RuleSet = field(default_factory=lambda: RuleSet(()))

    def run(self, graph: Graph, context: Context) -> Graph:
        return context.rewrite(graph, self.found + passes.RULES)


@rules(Soundness.EXACT)
def exactly_wrong(x: Value, y: Value, s: Value, a: Attr) -> Equations:
    """What is not so."""
    one, other = example("float32[N, 3]"), example("float32[N, 3]", "y")
    yield Rule("sign_lost", sub(x, y), add(x, y), fires=lambda: sub(one, other))
    yield Rule("positive_zero", add(x, 0.0), x, fires=lambda: add(one, filled(0.0)))


def shifted(x: Node, c: Node) -> Node | None:
    """x * 3 as x * 3.03; None for any other constant."""
    tensor = c.constant
    assert tensor is not None
    if tensor.dtype is not DType.FLOAT32 or not tensor.size or not (tensor.array == 3).all():
        return None
    made: Node = mul(x, constant((tensor.array * 1.01).astype("float32")))
    return made


@rules(Soundness.ROUNDING)
def roundly_wrong(x: Value, y: Value, c: Const, s: Value, a: Attr) -> Equations:
    """Off by a hundredth, or not by rounding alone."""
    one, other = example("float32[N, 3]"), example("float32[N, 3]", "y")
    last = ints(-1)
    yield Rule("shifted", mul(x, c), shifted, fires=lambda: mul(one, filled(3.0)))
    yield Rule("unordered", sub(add(x, y), x), y, fires=lambda: sub(add(one, other), one))
    yield Rule(
        "averaged",
        reduce_mean(x, s, attrs=a),
        reduce_sum(x, s, attrs=a),
        fires=lambda: reduce_mean(one, last),
    )


def planted(found: RuleSet, name: str) -> tuple[Plan, RuleSet]:
    """A plan that applies one of some rules."""
    chosen = RuleSet(tuple(rule for rule in found if rule.name == name))
    assert len(chosen) == 1
    classes = {**rule_classes(), **{rule.key: rule.soundness for rule in chosen}}
    return Plan({"planted": (Planted(chosen),)}, ("default",), classes, others=False), chosen


def first_finding(plan: Plan, rule: Rule, seeds: range) -> tuple[int, Case, Finding]:
    """The first seed whose graph, with more of the rule's example, shows a finding; and that."""
    assert rule.fires is not None
    for seed in seeds:
        case = fuzz.case_of(seed, (rule.fires(),))
        for finding in Checker(case, plan).findings():
            return seed, case, finding
    raise AssertionError("nothing is found")


@pytest.mark.parametrize(
    ("found", "name", "kinds"),
    [
        (exactly_wrong, "sign_lost", {"bits", "step"}),
        (exactly_wrong, "positive_zero", {"bits", "step"}),
        (roundly_wrong, "shifted", {"value", "step"}),
        (roundly_wrong, "unordered", {"value", "step"}),
        (roundly_wrong, "averaged", {"value", "step"}),
    ],
)
def test_what_is_planted_is_found(found: RuleSet, name: str, kinds: set[str]) -> None:
    plan, chosen = planted(found, name)
    seed, case, finding = first_finding(plan, chosen.rules[0], range(200))
    assert finding.kind in kinds, finding
    assert chosen.rules[0].key in finding.rules
    small, again = shrink(case, plan, finding, seconds=10)
    assert again.key == finding.key
    assert len(small.graph) <= min(len(case.graph), 6)
    assert name in str(again.rules)
    assert parse_graph(print_graph(small.graph)).output_names == small.graph.output_names
    told = fuzz.told(seed, small, plan, again)
    assert f"seed {seed}" in told and chosen.rules[0].key in told


def test_a_finding_is_an_exit_status(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fuzz.main(["--graphs", "3"]) == 0
    assert "3 graphs" in capsys.readouterr().out
    plan, _ = planted(exactly_wrong, "sign_lost")
    monkeypatch.setattr(fuzz, "Plan", lambda: replace(plan))
    assert fuzz.main(["--graphs", "12"]) == 1
    assert "sign_lost" in capsys.readouterr().out
