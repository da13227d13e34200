"""Layouts of the arena: in place first, nothing alive overlaps, little is wasted."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from graphopt.engine.plan import Buffer, Policy, Step, StepGraph
from graphopt.engine.plan.alive import peak
from graphopt.engine.plan.memory import ALIGNMENT, lay_out
from graphopt.engine.plan.schedule import Timeline, schedule, serial
from graphopt.engine.plan.steps import Kind
from tests.engine.plan.stepping import step_graphs


@given(step_graphs(), st.integers(1, 4))
def test_nothing_alive_overlaps(graph: StepGraph, lanes: int) -> None:
    line = schedule(graph, lanes, Policy(small=0.0, branch=0.0))
    layout = lay_out(graph, line)
    spans = {
        name: (
            min(line.start[user] for user in graph.users[name]),
            max(line.end[user] for user in graph.users[name]),
        )
        for name in layout.offset
    }
    for one, (born, died) in spans.items():
        start, size = layout.offset[one], graph.buffer[one].nbytes
        assert start % ALIGNMENT == 0
        assert start + size <= layout.arena
        for other, (later, _) in spans.items():
            if one == other or not born <= later < died:
                continue
            writer = graph.steps[graph.users[other][0]]
            if one in writer.may_share and died == line.end[graph.users[other][0]]:
                continue  # may be in place
            low, high = layout.offset[other], layout.offset[other] + graph.buffer[other].nbytes
            assert high <= start or start + size <= low or start == start + size or low == high


def chain(shared: bool) -> StepGraph:
    """Four element-wise steps in a row."""
    names = ["a", "b", "c", "d"]
    steps = [Step("a", write=("a",))]
    for before, name in pairwise(names):
        may_share = (before,) if shared else ()
        steps.append(Step(name, read=(before,), write=(name,), may_share=may_share))
    return StepGraph([Buffer(name, 100) for name in names], steps)


def test_chain_is_computed_in_place() -> None:
    assert lay_out(chain(True), serial(chain(True))).arena == 128
    assert lay_out(chain(False), serial(chain(False))).arena == 256


def test_operand_with_a_later_user_is_kept() -> None:
    buffers = [Buffer(name, 64) for name in "abc"]
    steps = [
        Step("a", write=("a",)),
        Step("b", read=("a",), write=("b",), may_share=("a",)),
        Step("c", read=("a", "b"), write=("c",), may_share=("a", "b")),
    ]
    layout = lay_out(StepGraph(buffers, steps), serial(StepGraph(buffers, steps)))
    assert layout.offset["a"] != layout.offset["b"]
    assert layout.offset["c"] == layout.offset["a"]


def test_two_results_do_not_take_over_one_operand() -> None:
    buffers = [Buffer(name, 64) for name in "abc"]
    steps = [
        Step("a", write=("a",)),
        Step("split", read=("a",), write=("b", "c"), may_share=("a",)),
    ]
    layout = lay_out(StepGraph(buffers, steps), serial(StepGraph(buffers, steps)))
    assert layout.arena == 128


def test_operand_in_use_on_another_lane_is_kept() -> None:
    buffers = [Buffer(name, 64) for name in "ab"]
    steps = [
        Step("a", write=("a",)),
        Step("reader", read=("a",)),
        Step("b", read=("a",), write=("b",), may_share=("a",)),
    ]
    graph = StepGraph(buffers, steps)
    at_once = Timeline(0, (0, 1, 0), (0, 10, 10), (10, 20, 20))
    after = Timeline(0, (0, 1, 0), (0, 10, 20), (10, 20, 30))
    too_soon = Timeline(5, (0, 1, 0), (0, 15, 26), (10, 25, 36))
    assert [lay_out(graph, line).arena for line in (at_once, after, too_soon)] == [128, 64, 128]


def test_only_step_buffers_lie_in_the_arena() -> None:
    kinds: tuple[Kind, ...] = ("step", "persistent", "output")
    buffers = [Buffer("x", 64, "input"), *(Buffer(kind, 64, kind) for kind in kinds)]
    steps = [Step("s", read=("x",), write=kinds), Step("t", read=("step",))]
    graph = StepGraph(buffers, steps)
    assert lay_out(graph, serial(graph)).offset == {"step": 0}
    assert peak(graph) == 64


def test_empty_graph_needs_nothing() -> None:
    graph = StepGraph([], [])
    assert lay_out(graph, serial(graph)).arena == 0
