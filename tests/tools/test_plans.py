"""Our plans against classical ones on five graphs: the figures that the design promises."""

from __future__ import annotations

from functools import cache

import pytest

from graphopt.engine.plan import Plan, check_plan
from graphopt.engine.plan.alive import peak
from graphopt.engine.plan.schedule import schedule
from tools.plan_graphs import GRAPHS
from tools.plans import CLASSICAL, EAGER, classical, main, ours

# Bytes relative to those alive in program order at most, and speed-up at least, by lanes.
PROMISED = {
    "resnet": {1: (0.75, 1.0), 2: (0.75, 1.04), 4: (0.75, 1.04)},
    "transformer": {1: (0.67, 1.0), 2: (0.67, 1.36), 4: (0.67, 1.65)},
    "inception": {1: (1.0, 1.0), 2: (1.08, 1.88), 4: (1.08, 3.34)},
    "lstm": {1: (0.94, 1.0), 2: (0.6, 1.99), 4: (0.98, 3.91)},
    "random": {1: (1.03, 1.0), 2: (1.04, 1.99), 4: (1.42, 3.2)},
}


@cache
def plans(name: str) -> dict[int, Plan]:
    """Our plans by the number of lanes."""
    return dict(zip((1, 2, 4), ours(GRAPHS[name]()), strict=True))


def figures(plan: Plan) -> tuple[float, float]:
    """Relative bytes and speed-up, as the table rounds them."""
    return round(plan.arena / peak(plan.graph), 2), round(plan.speedup, 2)


@cache
def rivals(name: str, planner: str) -> tuple[float, float, float]:
    """What a classical planner reaches."""
    return classical(GRAPHS[name](), CLASSICAL[planner])


@pytest.mark.parametrize("name", GRAPHS)
@pytest.mark.parametrize("lanes", [1, 2, 4])
def test_promised_figures_are_kept(name: str, lanes: int) -> None:
    plan = plans(name)[lanes]
    most, least = PROMISED[name][lanes]
    size, speedup = figures(plan)
    assert size <= most
    assert speedup >= least
    assert plan.speedup >= 0.95 * (1.0, *rivals(name, "no reuse")[1:])[lanes // 2]
    check_plan(plan)


@pytest.mark.parametrize("name", GRAPHS)
@pytest.mark.parametrize("lanes", [2, 4])
def test_memory_hardly_costs_speed(name: str, lanes: int) -> None:
    plan = plans(name)[lanes]
    free = schedule(plan.graph, lanes, EAGER)
    assert plan.line.makespan <= 1.01 * free.makespan


@pytest.mark.parametrize("name", GRAPHS)
@pytest.mark.parametrize("planner", [each for each in CLASSICAL if each != "no reuse"])
def test_no_classical_planner_is_better(name: str, planner: str) -> None:
    size, *speedups = rivals(name, planner)
    for lanes, speedup in zip((2, 4), speedups, strict=True):
        plan = plans(name)[lanes]
        mine = plan.arena / peak(plan.graph)
        assert plan.speedup > speedup - 0.01
        assert plan.speedup / mine > speedup / size - 0.01
        assert size >= mine or speedup < 0.95 * plan.speedup


def test_table_is_printed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["plans", "resnet"])
    assert main() == 0
    assert capsys.readouterr().out.splitlines()[-1] == "| ours, 4 lanes | 0.75x; 1.04 |"
