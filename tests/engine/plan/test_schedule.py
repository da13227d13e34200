"""Timelines: legal for every graph, and with lanes where lanes pay."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from graphopt.engine.plan import Buffer, Policy, Step, StepGraph, make_plan
from graphopt.engine.plan.alive import peak
from graphopt.engine.plan.schedule import Thrift, durations, schedule, serial
from tests.engine.plan.stepping import step_graphs

MICRO = 1e-6
THRIFTS = (
    Thrift(),
    Thrift(in_order=True),
    Thrift(budget=0.0),
    Thrift(budget=200.0, price=1e3),
    Thrift(budget=200.0, deadline=100_000),
)


def chains(count: int, length: int, micros: float) -> StepGraph:
    """Some chains side by side, joined at the end."""
    names = [[f"{chain}.{link}" for link in range(length)] for chain in range(count)]
    steps = [
        Step(name, read=(before,) if before else (), write=(name,), cost=micros * MICRO)
        for link in range(length)
        for chain in range(count)
        for before, name in [(names[chain][link - 1] if link else "", names[chain][link])]
    ]
    steps.append(Step("join", read=tuple(chain[-1] for chain in names), cost=MICRO))
    return StepGraph([Buffer(name, 64) for chain in names for name in chain], steps)


@given(step_graphs(), st.integers(1, 4), st.sampled_from(THRIFTS))
def test_timeline_is_legal(graph: StepGraph, lanes: int, thrift: Thrift) -> None:
    line = schedule(graph, lanes, Policy(), thrift)
    assert set(line.lane) <= set(range(lanes))
    assert sorted(step for lane in line.lanes for step in lane) == list(range(len(graph.steps)))
    for lane in line.lanes:
        assert all(line.end[a] <= line.start[b] for a, b in pairwise(lane))
    for step, waits in enumerate(graph.before):
        assert all(line.sees(step, earlier) for earlier in waits)
    took = [end - start for start, end in zip(line.start, line.end, strict=True)]
    assert took == durations(graph)


def test_chains_run_side_by_side() -> None:
    graph = chains(4, 10, 100)
    assert len(make_plan(graph, 4).lanes) == 4
    assert 3.8 < make_plan(graph, 4).speedup <= 4
    assert 1.9 < make_plan(graph, 2).speedup <= 2


def test_one_lane_where_lanes_do_not_pay() -> None:
    assert len(make_plan(chains(1, 40, 100), 4).lanes) == 1
    assert len(make_plan(chains(4, 3, 2), 4).lanes) == 1  # all too small to cross
    assert len(make_plan(chains(2, 10, 100), 2, Policy(gain=1.1)).lanes) == 1
    assert len(make_plan(StepGraph([], []), 4).lanes) == 1
    assert make_plan(chains(1, 40, 100), 4).line == serial(chains(1, 40, 100))
    assert len(schedule(chains(4, 3, 2), 4, Policy()).lanes) == 1


def fork(micros: float, small: float) -> StepGraph:
    """Two branches from one step, each a long step and a small one, joined at the end."""
    sizes = {"root": 20.0, "a": micros, "b": micros, "a small": small, "b small": small}
    reads = {"a": "root", "b": "root", "a small": "a", "b small": "b"}
    steps = [
        Step(name, read=(reads[name],) if name in reads else (), write=(name,), cost=cost * MICRO)
        for name, cost in sizes.items()
    ]
    steps.append(Step("join", read=("a small", "b small"), cost=20 * MICRO))
    return StepGraph([Buffer(name, 64) for name in sizes], steps)


def test_small_step_stays_with_its_producer() -> None:
    plan = make_plan(fork(200, 5), 2)
    lane = {step.name: plan.line.lane[k] for k, step in enumerate(plan.graph.steps)}
    assert lane["a"] != lane["b"]
    assert (lane["a small"], lane["b small"]) == (lane["a"], lane["b"])


def test_short_branch_stays_on_its_lane() -> None:
    line = schedule(fork(30, 15), 2, Policy(crossing=0.0))
    assert len(line.lanes) == 1
    assert len(schedule(fork(40, 15), 2, Policy(crossing=0.0)).lanes) == 2


def wide(count: int) -> StepGraph:
    """Pairs of steps: one fills a large buffer, one turns it into a small one."""
    steps: list[Step] = []
    buffers: list[Buffer] = []
    for k in range(count):
        buffers += [Buffer(f"large{k}", 1000), Buffer(f"small{k}", 8)]
        steps.append(Step(f"large{k}", write=(f"large{k}",), cost=1e-3))
        steps.append(Step(f"small{k}", read=(f"large{k}",), write=(f"small{k}",), cost=1e-4))
    steps.append(Step("join", read=tuple(f"small{k}" for k in range(count))))
    return StepGraph(buffers, steps)


def test_budget_bounds_what_is_opened() -> None:
    graph = wide(20)
    assert peak(graph) == 1160
    free, held = schedule(graph, 2, Policy()), schedule(graph, 2, Policy(), Thrift(budget=2500))
    assert make_plan(graph, 2).arena < 2 * 1024 + 20 * 64 + 64
    assert held.makespan < 1.05 * free.makespan


def test_budget_is_exceeded_only_for_a_deadline() -> None:
    mixed = chains(4, 10, 100)
    graph = StepGraph(mixed.buffers, sorted(mixed.steps, key=lambda step: step.name))
    free = schedule(graph, 4, Policy())
    held = schedule(graph, 4, Policy(), Thrift(budget=128))
    hurried = schedule(graph, 4, Policy(), Thrift(budget=128, deadline=free.makespan))
    assert held.makespan > 1.9 * free.makespan
    assert hurried.makespan < 1.05 * free.makespan


def test_program_order_finishes_what_it_opens() -> None:
    graph = wide(20)
    line = schedule(graph, 2, Policy(), Thrift(in_order=True))
    assert line.order[:4] == (0, 2, 1, 3)
    assert line.makespan < 1.05 * schedule(graph, 2, Policy()).makespan


def test_price_puts_off_what_stays_alive() -> None:
    graph = wide(20)
    assert schedule(graph, 1, Policy()).order[:3] == (0, 2, 4)
    assert schedule(graph, 1, Policy(), Thrift(price=1e4)).order[:3] == (0, 1, 2)
