"""Plans as data: safe however lanes are timed, checked, printed, stored."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphopt.engine.plan import (
    Buffer,
    Plan,
    PlanError,
    Policy,
    Step,
    StepGraph,
    check_plan,
    dump_plan,
    load_plan,
    make_plan,
)
from tests.engine.plan.stepping import FORCED, expected, simulate, step_graphs, unsafe, without


@given(step_graphs(), st.integers(1, 4), st.integers(0, 2**32))
def test_any_interleaving_of_lanes_gives_what_program_order_does(
    graph: StepGraph, lanes: int, seed: int
) -> None:
    plan = make_plan(graph, lanes, FORCED)
    check_plan(plan)
    assert simulate(plan, random.Random(seed)) == expected(graph)


@given(step_graphs(), st.integers(2, 4))
def test_dropped_sync_is_found(graph: StepGraph, lanes: int) -> None:
    plan = make_plan(graph, lanes, FORCED)
    for sync in plan.syncs:
        worse = without(plan, sync)
        assert unsafe(worse)
        with pytest.raises(PlanError):
            check_plan(worse)


@given(step_graphs(), st.integers(1, 4), st.integers(0, 2**32))
def test_moved_buffer_is_found(graph: StepGraph, lanes: int, seed: int) -> None:
    plan = make_plan(graph, lanes, FORCED)
    for name in plan.layout.offset:
        place = {**plan.layout.offset, name: 64 * random.Random(seed).randrange(4)}
        arena = max(plan.arena, place[name] + graph.buffer[name].nbytes)
        moved = replace(plan, layout=replace(plan.layout, offset=place, arena=arena))
        safe = True
        try:
            check_plan(moved)
        except PlanError:
            safe = False
        if safe:
            assert simulate(moved, random.Random(seed)) == expected(graph)


@given(step_graphs(), st.integers(1, 4))
def test_text_round_trip(graph: StepGraph, lanes: int) -> None:
    plan = make_plan(graph, lanes, FORCED)
    again = load_plan(dump_plan(plan))
    assert again == plan
    assert dump_plan(again) == dump_plan(plan)


def small() -> Plan:
    """Two branches of a fork on two lanes."""
    graph = StepGraph(
        [Buffer("x", 64, "input"), Buffer("a", 64), Buffer("b", 100), Buffer("y", 8, "output")],
        [
            Step("left", read=("x",), write=("a",), cost=1e-3),
            Step("right", read=("x",), write=("b",), cost=1e-3),
            Step("join", read=("a",), mutate=("b",), write=("y",), cost=1e-4),
        ],
    )
    return make_plan(graph, 2)


def test_plan_prints_as_a_table() -> None:
    assert str(small()).splitlines() == [
        "3 steps on 2 lanes: 1110.0 µs, 1.89x of one lane; arena 192 bytes; 1 syncs",
        "step    lane  start µs    end µs  uses; waits for",
        "left       0       0.0    1000.0  x -> a",
        "right      1      10.0    1010.0  x -> b",
        "join       1    1010.0    1110.0  a b* -> y; left",
        "buffer       bytes      offset  kind",
        "x               64              input",
        "a               64         128  step",
        "b              100           0  step",
        "y                8              output",
    ]


def test_plan_tells_what_dies() -> None:
    plan = small()
    assert plan.dead_after("left") == ()
    assert sorted(plan.dead_after("join")) == [(0, 100), (128, 64)]
    assert plan.lanes == (("left",), ("right", "join"))


def test_lanes_are_counted_from_one() -> None:
    with pytest.raises(PlanError, match="0 lanes"):
        make_plan(small().graph, 0)


def broken(change: Callable[[dict[str, Any]], object]) -> str:
    """The text of a small plan after a change to its data."""
    data = json.loads(dump_plan(small()))
    change(data)
    return json.dumps(data)


FAULTS: dict[str, Callable[[dict[str, Any]], object]] = {
    "version": lambda d: d.update(version=2),
    "no version": lambda d: d.pop("version"),
    "unknown field": lambda d: d.update(color="red"),
    "arena too small": lambda d: d.update(arena=128),
    "arena of a float": lambda d: d.update(arena=192.0),
    "no list": lambda d: d.update(steps=None),
    "step is no object": lambda d: d["steps"].append(3),
    "step without a cost": lambda d: d["steps"][0].pop("cost"),
    "negative cost": lambda d: d["steps"][0].update(cost=-1.0),
    "names are no strings": lambda d: d["steps"][0].update(read=[1]),
    "unknown buffer": lambda d: d["steps"][0].update(read=["q"]),
    "unknown kind": lambda d: d["buffers"][0].update(kind="rented"),
    "input in the arena": lambda d: d["buffers"][0].update(offset=0),
    "step buffer outside": lambda d: d["buffers"][1].update(offset=None),
    "unaligned": lambda d: d["buffers"][1].update(offset=4),
    "overlapping": lambda d: d["buffers"][1].update(offset=64),
    "same name twice": lambda d: d["steps"][1].update(name="left"),
    "negative lane": lambda d: d["steps"][0].update(lane=-1),
    "endless lanes": lambda d: d["steps"][0].update(lane=10**9),
    "lane of a bool": lambda d: d["steps"][0].update(lane=True),
    "two at once on a lane": lambda d: d["steps"][2].update(start=999_999),
    "ends before it starts": lambda d: d["steps"][2].update(end=0),
    "no syncs": lambda d: d.update(syncs=[]),
    "sync of nobody": lambda d: d["syncs"].append(["left", "nobody"]),
    "sync of three": lambda d: d["syncs"].append(["left", "right", "join"]),
    "sync is no list": lambda d: d["syncs"].append("lr"),
    "sync twice": lambda d: d["syncs"].append(["left", "join"]),
    "sync in a lane": lambda d: d["syncs"].append(["right", "join"]),
    "sync backward": lambda d: d["syncs"].append(["join", "left"]),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_bad_text_is_refused(fault: str) -> None:
    assert load_plan(broken(lambda data: None)) == small()
    with pytest.raises(PlanError):
        load_plan(broken(FAULTS[fault]))


@pytest.mark.parametrize("text", ["", "[]", "3", "{", "[" * 10**5, '{"version": NaN}'])
def test_text_that_holds_no_plan_is_refused(text: str) -> None:
    with pytest.raises(PlanError):
        load_plan(text)


def test_plan_of_other_steps_is_refused() -> None:
    plan = small()
    with pytest.raises(PlanError, match="not every one of 3 steps has a time"):
        check_plan(replace(plan, line=replace(plan.line, end=plan.line.end[1:])))
    with pytest.raises(PlanError, match="a sync of a step that does not exist"):
        check_plan(replace(plan, syncs=(*plan.syncs, (0, 3))))


def test_in_place_must_be_allowed() -> None:
    graph = StepGraph(
        [Buffer("a", 64), Buffer("b", 64)],
        [Step("a", write=("a",)), Step("b", read=("a",), write=("b",), may_share=("a",))],
    )
    plan = make_plan(graph, 1, Policy())
    assert plan.layout.offset == {"a": 0, "b": 0}
    strict = replace(graph.steps[1], may_share=())
    with pytest.raises(PlanError, match="b: overwrites a that b may yet use"):
        check_plan(replace(plan, graph=StepGraph(graph.buffers, (graph.steps[0], strict))))
