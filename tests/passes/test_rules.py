"""Every rule is proven by execution: on its examples, and on instances made from its own text."""

from __future__ import annotations

from dataclasses import replace

import pytest

from graphopt.ir import Node
from graphopt.passes import RULES
from graphopt.rewriting.rule import Rule, Soundness
from tests.passes.instances import Instance, instances
from tests.passes.judge import Feeds, by_forms, feeds_for, judge, nameless, rewritten

ALL = list(RULES)
KINDS = {
    Soundness.EXACT: ("plain", "special"),
    Soundness.VALUE: ("plain", "special"),
    Soundness.ROUNDING: ("plain", "wide"),
    Soundness.FAST: ("tame",),
}


def wrongs(rule: Rule, instance: Instance, sizes: tuple[int, ...] = (0, 1, 3)) -> list[str]:
    """What is wrong with a rule on an instance to which it applies."""
    after, count = rewritten(rule, instance.roots)
    if not count:
        return []
    found: list[str] = []
    for size in sizes:
        for seed, kind in enumerate(KINDS[rule.soundness]):
            feeds = feeds_for(instance, size, seed, kind)
            if wrong := judged(rule, instance, after, feeds):
                found.append(f"{rule.key}, {instance.about}, size {size}, {kind}: {wrong}")
    return found


def judged(rule: Rule, instance: Instance, after: tuple[Node, ...], feeds: Feeds) -> str:
    """What is wrong with a result, or with that of the forms of its fused nodes."""
    wrong = judge(rule, instance.roots, after, feeds)
    other = after if wrong else by_forms(after)
    if other == after:
        return wrong
    rounding = replace(rule, soundness=max(rule.soundness, Soundness.ROUNDING))
    return judge(rounding, instance.roots, other, feeds)


@pytest.mark.parametrize("rule", ALL, ids=lambda rule: rule.key)
def test_fires_and_refuses(rule: Rule) -> None:
    assert rule.fires is not None, "a rule shows an example"
    assert rewritten(rule, (rule.fires(),))[1] > 0, "the example fires"
    assert len(rule.near_misses) >= max(1, len(rule.guards)), "one near miss a guard"
    for miss in rule.near_misses:
        near = miss()
        (made,), count = rewritten(rule, (near,))
        assert count == 0, "the near miss does not"
        assert made is near
    assert rule.doc


@pytest.mark.parametrize("rule", ALL, ids=lambda rule: rule.key)
def test_both_sides_are_equal(rule: Rule) -> None:
    applied = 0
    for instance in instances(rule):
        assert wrongs(rule, instance) == []
        applied += rewritten(rule, instance.roots)[1] > 0
    assert applied


GUARDED = [(rule, k) for rule in ALL for k in range(len(rule.guards))]


@pytest.mark.parametrize(
    ("rule", "k"), GUARDED, ids=[f"{rule.key}: {rule.guards[k].name}" for rule, k in GUARDED]
)
def test_without_a_guard_the_near_miss_goes_wrong(rule: Rule, k: int) -> None:
    """The fault that is planted is a guard that always holds; it must be seen."""
    guards = rule.guards[:k] + rule.guards[k + 1 :]
    faulty = replace(rule, when=guards)
    near = Instance((rule.near_misses[k](),), "near miss")
    after, count = rewritten(faulty, near.roots)
    assert count, "no other guard refuses it"
    assert nameless(after) or any(  # with no form, the wrong name is all that goes wrong
        judged(faulty, near, after, feeds_for(near, size, seed, kind))
        for seed in range(40)
        for size in (3, 2, 1, 0)
        for kind in KINDS[rule.soundness]
    )


def test_names_are_unique() -> None:
    keys = [rule.key for rule in ALL]
    assert len(set(keys)) == len(keys)
