"""The levels as wholes: twice is once, in every process the same, right in any order of rules."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphopt
from graphopt.fusion import expanded
from graphopt.graph import Graph
from graphopt.ir import Node, walk
from graphopt.op import Op
from graphopt.ops.arithmetic import add
from graphopt.ops.functions import cos, exp
from graphopt.ops.movement import transpose
from graphopt.ops.shape import shape
from graphopt.ops.slicing import slice_, split, tile
from graphopt.passes import O2, PIPELINES, RULES
from graphopt.passes.fusion.fuse import Fuse, OpenGroups
from graphopt.passes.movement.sizes import Sizes
from graphopt.passes.movement.splits import Splits
from graphopt.passes.movement.transposes import Transposes
from graphopt.passes.simplify import JoinSums
from graphopt.pipeline import Context, Pass, run_pipeline
from graphopt.rewriting.examples import example, filled, ints
from graphopt.rewriting.rule import Math, Rule, RuleSet, Soundness
from graphopt.structural import constant, results
from tools.bench_scale import mixed
from tools.fuzz import case_of
from tools.fuzz_check import MATHS, Checker, Plan, applied
from tools.fuzz_graphs import sample

ROOT = Path(__file__).parents[2]
X = example("float32[N, 4]")


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Drawn graphs overflow and divide by zero."""
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def graph_of(*outputs: Node) -> Graph:
    inputs = tuple(node for node in walk(outputs) if node.op.name == "Input")
    return Graph(inputs, outputs, tuple(f"y{k}" for k in range(len(outputs))))


def twice(graph: Graph, level: str, math: Any) -> None:
    """That a second run finds nothing."""
    once = graphopt.optimize(graph, level, math=math, strict=True)
    again = graphopt.optimize(once, level, math=math, strict=True)
    assert again.roots == once.roots, f"{level} {math}: {applied(again)}"


# Twice is once


@pytest.mark.parametrize("first", range(0, 40, 10))
def test_drawn_graphs_settle(first: int) -> None:
    for seed in range(first, first + 10):
        graph = sample(seed).graph
        for level in ("O1", "O2", "O3"):
            for math in MATHS:
                twice(graph, level, math)


@pytest.mark.parametrize("math", MATHS)
def test_examples_of_rules_settle(math: str) -> None:
    for rule in RULES:
        assert rule.fires is not None
        twice(graph_of(rule.fires()), "O2", math)


@pytest.mark.parametrize("level", ["O1", "O2", "O3"])
def test_a_graph_of_everything_settles(level: str) -> None:
    twice(mixed(600), level, "default")


def test_the_bound_of_folding_holds_for_all_runs_together() -> None:
    rows = [constant(np.arange(10.0 * k, dtype=np.float32)) for k in range(1, 6)]
    graph = graph_of(*(tile(row, ints(700)) for row in rows))
    made = graphopt.optimize(graph, "O2", strict=True)
    assert 0 < len(made) < len(graph)
    twice(graph, "O2", "default")


def test_groups_are_opened_to_what_they_were_made_of() -> None:
    plain = graph_of(exp(cos(add(X, filled(1)))))
    fused = graphopt.optimize(plain, [Fuse()])
    assert len(fused) == 1
    assert (
        graphopt.optimize(fused, [OpenGroups()]).outputs == plain.outputs == expanded(fused).outputs
    )


# The same in every process

PRINT_FINGERPRINTS = """
import warnings
import numpy as np
import graphopt
from graphopt.fingerprint import Fingerprints
from graphopt.text import print_graph
from tools.bench_scale import mixed
from tools.fuzz_graphs import sample
np.seterr(all="ignore")
warnings.simplefilter("ignore")
name = Fingerprints()
for graph in (*(sample(seed).graph for seed in range(15)), mixed(150)):
    made = graphopt.optimize(graph, "O3", math="fast", remarks="passed,missed")
    print(*map(name, made.roots), name(graph.roots[0]))
    print(print_graph(made))
    print(*((r.kind, r.rule, r.step, r.fingerprint) for r in made.report.remarks), sep="\\n")
"""


def test_the_order_of_hashes_changes_nothing() -> None:
    def told(seed: str) -> str:
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-c", PRINT_FINGERPRINTS]
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, check=True, timeout=300
        )
        return done.stdout

    first = told("0")
    assert first.count("graphopt 1 opset") == 16
    assert told("1") == first and told("2") == first


# Right in any order


class Drawn(RuleSet):
    """Rules that are tried in the very order in which they stand."""

    @cached_property
    def by_root(self) -> Mapping[Op, Sequence[Rule]]:
        found: dict[Op, list[Rule]] = {}
        for rule in self.rules:
            found.setdefault(rule.root, []).append(rule)
        return found


@dataclass
class Shuffled(Context):
    """A run in which the rules of every set stand in another order."""

    seed: int = 0
    kind: type[RuleSet] = RuleSet
    sets: dict[int, tuple[RuleSet, RuleSet]] = field(
        default_factory=dict[int, tuple[RuleSet, RuleSet]]
    )

    def rewrite(self, graph: Graph, rules: RuleSet) -> Graph:
        if id(rules) not in self.sets:
            order = list(rules)
            random.Random(self.seed).shuffle(order)
            self.sets[id(rules)] = rules, self.kind(tuple(order))
        return super().rewrite(graph, self.sets[id(rules)][1])


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("math", ["strict", "default"])
def test_any_order_of_rules_is_right_and_ends(seed: int, math: str) -> None:
    tried = 0
    for number in range(10 * seed, 10 * seed + 10):
        case = case_of(number)
        checker = Checker(case, Plan())
        admitted = Math[math.upper()]
        made = run_pipeline(case.graph, O2, Shuffled(admitted, strict=True, seed=seed, kind=Drawn))
        again = run_pipeline(made, O2, Shuffled(admitted, strict=True, seed=seed, kind=Drawn))
        assert again.roots == made.roots
        worst = max(map(checker.class_of, applied(made)), default=Soundness.EXACT)
        wrong = checker.judge(made, worst, math) or checker.judge_steps(made, math)
        assert wrong is None, f"graph {number}: {wrong}"
        tried += bool(case.trials)
    assert tried > 5


@pytest.mark.parametrize("first", range(0, 40, 10))
def test_the_order_in_which_rules_stand_does_not_matter(first: int) -> None:
    for number in range(first, first + 10):
        graph = sample(number).graph
        listed = graphopt.optimize(graph, O2, strict=True)
        for seed in range(3):
            made = run_pipeline(graph, O2, Shuffled(strict=True, seed=seed))
            assert len(made) == len(listed), f"graph {number}, order {seed}"


def test_a_graph_of_everything_in_any_order_is_as_small() -> None:
    graph = mixed(300)
    sizes = {len(run_pipeline(graph, O2, Shuffled(strict=True, seed=seed))) for seed in range(4)}
    assert sizes == {len(graphopt.optimize(graph, O2, strict=True))}


# What passes plan is told, allowed and counted as what rules do


def parted() -> Node:
    one, two = results(split(X, num_outputs=2, outputs=2, axis=1))
    node: Node = add(exp(one), exp(two))
    return node


def cut() -> Node:
    both = [slice_(X, ints(k), ints(k + 2), ints(1)) for k in (0, 2)]
    node: Node = add(*both)
    return node


def moved() -> Node:
    x = transpose(X, perm=(1, 0))
    node: Node = transpose(add(exp(x), filled(1)), perm=(1, 0))
    return node


PLANNED: Mapping[str, tuple[Pass, Callable[[], Node]]] = {
    "splits.unary": (Splits(), parted),
    "splits.slices": (Splits(), cut),
    "sizes.known": (Sizes(), lambda: shape(exp(X))),
    "transposes.move": (Transposes(), moved),
    "fuse.chain": (Fuse(), lambda: exp(cos(X))),
    "chains.three": (JoinSums(), lambda: add(add(X, exp(X)), cos(X))),
}


@pytest.mark.parametrize("rule", PLANNED)
def test_what_is_planned_is_told_and_may_be_forbidden(rule: str) -> None:
    pass_, build = PLANNED[rule]
    graph = graph_of(build())
    made = graphopt.optimize(graph, [pass_], remarks="passed", strict=True)
    assert made.report is not None
    remarks = [remark for remark in made.report.remarks if remark.rule == rule]
    assert made.roots != graph.roots and remarks and applied(made)[rule] >= len(remarks)
    forbidden: tuple[dict[str, Any], ...] = ({"fuel": 0}, {"only": []}, {"disable": [rule]})
    for options in forbidden:
        assert graphopt.optimize(graph, [pass_], **options).roots == graph.roots
    again = graphopt.optimize(graph, [pass_], only=made.report.remarks, strict=True)
    assert again.roots == made.roots


@pytest.mark.parametrize("level", PIPELINES)
def test_fuel_is_spent_one_by_one(level: str) -> None:
    graph = mixed(60)
    whole = graphopt.optimize(graph, level, strict=True)
    total = sum(applied(whole).values())
    for fuel in {0, min(1, total), total // 2, total}:
        made = graphopt.optimize(graph, level, fuel=fuel, strict=True)
        assert sum(applied(made).values()) == fuel
    assert (total > 0) is (level != "O0")
