"""Syncs between lanes: sufficient, and none too many."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from graphopt.engine.plan import StepGraph, make_plan
from graphopt.engine.plan.sync import Clocks
from tests.engine.plan.stepping import FORCED, closure, lane_edges, step_graphs, unsafe, wanted


@given(step_graphs(), st.integers(1, 4))
def test_syncs_are_the_transitive_reduction(graph: StepGraph, lanes: int) -> None:
    plan = make_plan(graph, lanes, FORCED)
    count, lane = len(graph.steps), plan.line.lane
    paths = closure(count, lane_edges(plan) + list(wanted(plan)))
    needed = {
        (a, b)
        for a, b in wanted(plan)
        if lane[a] != lane[b] and not any((a, m) in paths and (m, b) in paths for m in range(count))
    }
    assert set(plan.syncs) == needed
    assert unsafe(plan) == set()


@given(step_graphs(), st.integers(2, 4))
def test_clocks_are_the_closure(graph: StepGraph, lanes: int) -> None:
    plan = make_plan(graph, lanes, FORCED)
    clocks, count = Clocks(plan.line, plan.syncs), len(graph.steps)
    ordered = {(a, b) for a in range(count) for b in range(count) if clocks.ordered(a, b)}
    assert ordered == closure(count, lane_edges(plan) + list(plan.syncs))
