"""The rules for saturation alone: some go round in circles in a sweep, so each is applied once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from graphopt.ir import Node
from graphopt.passes.algebra.expansions import EXPANSIONS
from graphopt.rewriting.rule import Math, Rule
from graphopt.rewriting.sweep import Sweep
from tests.passes.instances import Instance, instances
from tests.passes.judge import ONCE, feeds_for, judge
from tests.passes.test_rules import KINDS

ALL = list(EXPANSIONS)


def once(rule: Rule, roots: Sequence[Node]) -> tuple[tuple[Node, ...], int]:
    """The roots after one application of a rule, and whether there was one."""

    def rewrite(node: Node) -> tuple[Node, str] | None:
        made = rule.apply(node, Math.FAST, ONCE)
        return None if made is None else (made, rule.key)

    sweep = Sweep(rewrite, fuel=1)
    return sweep.run(tuple(roots)), sweep.counts[rule.key]


def wrongs(rule: Rule, instance: Instance, seeds: int = 1) -> list[str]:
    """What is wrong with one application of a rule."""
    after, count = once(rule, instance.roots)
    found = [
        judge(rule, instance.roots, after, feeds_for(instance, size, seed, kind))
        for seed in range(seeds)
        for size in (0, 1, 3)
        for kind in KINDS[rule.soundness]
        if count
    ]
    return list(filter(None, found))


@pytest.mark.parametrize("rule", ALL, ids=lambda rule: rule.key)
def test_fires_and_refuses(rule: Rule) -> None:
    assert rule.fires is not None and once(rule, (rule.fires(),))[1] == 1
    assert len(rule.near_misses) >= max(1, len(rule.guards))
    for miss in rule.near_misses:
        assert once(rule, (miss(),))[1] == 0


@pytest.mark.parametrize("rule", ALL, ids=lambda rule: rule.key)
def test_both_sides_are_equal(rule: Rule) -> None:
    applied = 0
    for instance in instances(rule):
        assert wrongs(rule, instance) == [], instance.about
        applied += once(rule, instance.roots)[1]
    assert applied


@pytest.mark.parametrize("rule", [rule for rule in ALL if rule.guards], ids=lambda rule: rule.key)
def test_without_its_guard_the_near_miss_goes_wrong(rule: Rule) -> None:
    assert len(rule.guards) == 1
    near = Instance((rule.near_misses[0](),), "near miss")
    assert wrongs(replace(rule, when=()), near, seeds=10)


def test_they_are_no_rules_of_a_sweep() -> None:
    from graphopt.passes import RULES

    assert not {rule.key for rule in ALL} & {rule.key for rule in RULES}
    assert len({rule.key for rule in ALL}) == len(ALL)
