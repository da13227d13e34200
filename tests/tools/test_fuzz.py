"""The fuzzer finds nothing wrong in what there is, and finds what is planted."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np
import pytest

import graphopt
from graphopt import passes
from graphopt.body import Body
from graphopt.graph import Graph
from graphopt.ir import Node
from graphopt.ops.activation import softplus
from graphopt.ops.arithmetic import add, mul, sub
from graphopt.ops.functions import exp, log
from graphopt.ops.linalg import matmul
from graphopt.ops.loops import loop
from graphopt.ops.reduction import reduce_mean, reduce_sum
from graphopt.pipeline import Context, Pass
from graphopt.rewriting import Attr, Const, Equations, Rule, RuleSet, Soundness, Value, rules
from graphopt.rewriting.examples import example, filled, ints
from graphopt.structural import constant, graph_input
from graphopt.text import parse_graph, print_graph
from graphopt.types import DType, TensorType
from tools import fuzz
from tools.fuzz_check import (
    Case,
    Checker,
    Finding,
    Plan,
    all_pipelines,
    rule_classes,
    valid_trials,
    without_saturation,
)
from tools.fuzz_compare import Noise, bits_differ, evaluate
from tools.fuzz_graphs import sample
from tools.fuzz_rules import wrong_step
from tools.fuzz_shrink import shrink

FULL = os.environ.get("GRAPHOPT_FULL") == "1"
SEEDS = range(4000 if FULL else 100)


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


def test_examples_of_rules_take_root() -> None:
    """What a rule looks for is in a graph that grows from its example, with its names alike."""
    with np.errstate(all="ignore"):
        for key in ("integer_choices.less", "attentions.softmax", "concats.where_else"):
            rule = next(rule for rule in passes.RULES if rule.key == key)
            assert rule.fires is not None
            graphs = [sample(seed, (rule.fires(),)).graph for seed in range(12)]
            reports = [graphopt.optimize(graph, "O2", math="fast").report for graph in graphs]
            assert sum(key in report.rules for report in reports if report) >= 3, key


def test_terms_of_a_product_may_cancel() -> None:
    """w (x + 1) may be as far off as w x + w; a thousandth is more than that."""
    x, w = example("float32[4, 4]"), example("float32[4, 4]", "w")
    product = matmul(add(x, filled(1.0)), w)
    near = np.full((4, 4), -0.9931484, np.float32)
    weights = np.full((4, 4), 1.6034868, np.float32)
    given = {x: near, w: weights}
    (old,) = evaluate(dict(given), (product,))
    new = near @ weights + weights.sum(0)
    assert bits_differ(old, new) and not Noise((product,), given).explains(0, old, new)
    assert Noise((product,), given).explains(0, old, old * np.float32(1.001))


def test_double_precision_is_no_judge_of_what_it_loses() -> None:
    """log(exp(-43) + 1) is 0 in double, too: a rule that tells more is right."""
    x = example("float32[3]")
    spelled, better = log(add(exp(x), filled(1.0))), softplus(x)
    values = {x: np.array([-43.5, -11.7, 3.0], np.float32)}
    assert not wrong_step(spelled, better, Soundness.ROUNDING, values)
    assert wrong_step(spelled, mul(better, filled(1.0001)), Soundness.ROUNDING, values)


@pytest.mark.parametrize(("trips", "runs"), [(5, True), (1 << 40, False)])
def test_loops_that_hardly_end_are_not_waited_for(trips: int, runs: bool) -> None:
    x, k, go = example("float32[2]"), example("int64[]", "k"), example("bool[]", "go")
    body = Body.close((k, go, x), (), (constant(True), add(x, filled(1.0))))
    count = graph_input("trips", TensorType(DType.INT64, ()))
    graph = Graph((count, x), (loop(count, None, x, body=body),), ("y",))
    inputs = {count: np.array(trips), x: np.zeros(2, np.float32)}
    assert bool(valid_trials(graph, [("tame", inputs)])) is runs


def test_saturation_is_left_out_of_fixpoints_too() -> None:
    every = all_pipelines()
    named = {name for name, kept in every.items() if "saturate" in ",".join(p.text() for p in kept)}
    assert named == {"O3", "saturate"}
    assert set(every) - set(without_saturation(every)) == {"saturate"}
    assert not any("saturate" in p.text() for p in without_saturation(every)["O3"])


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
