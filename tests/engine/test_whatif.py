"""Simulation on other workers and links; plan versus actual."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graphopt.engine.recordings.accesses import modes, phases
from graphopt.engine.recordings.check import races
from graphopt.engine.recordings.recording import LaneRecord, Recording, TaskRecord
from graphopt.engine.recordings.report import costs, plan_versus_actual
from graphopt.engine.recordings.timeline import makespan, work
from graphopt.engine.recordings.whatif import simulate, speedups
from tests.engine.recordings import LANES, random_program, random_recording, task

COPY = "gpu:0/copy_in"
COMPUTE = "cpu:0/compute"


def when(recording: Recording) -> dict[str, tuple[float | None, float | None]]:
    """Starts and ends by name."""
    return {each.name: (each.start, each.end) for each in recording if each.seq > 0}


def tasks(*costs: float, **fields: Any) -> list[TaskRecord]:
    """Independent tasks a, b, … with these costs."""
    named = zip("abcdefgh", costs, strict=False)
    return [task(seq, name, cost=cost, **fields) for seq, (name, cost) in enumerate(named, 1)]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 6), st.booleans())
def test_simulation_is_legal_and_repeats_itself(seed: int, variables: int, arrivals: bool) -> None:
    recording = random_recording(seed, count=50, variables=variables)
    first = simulate(recording, arrivals=arrivals)
    assert races(first) == []
    assert first.clock == "virtual" and len(when(first)) == 50
    second = simulate(first)
    assert when(second) == when(first)
    assert second.events() == first.events()


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6))
def test_no_less_time_than_work_and_no_more_than_all_of_it(seed: int) -> None:
    program = random_program(Random(seed), 40)
    result = simulate(program, workers={name: lane.workers for name, lane in LANES.items()})
    whole = sum(each.cost or 0 for each in program)
    for lane, seconds in work(result).items():
        if lane in LANES:
            assert seconds <= LANES[lane].workers * makespan(result) + 1e-9
    assert makespan(result) <= whole + 1e-9


def test_serial_order_is_kept_where_the_recording_had_no_edge() -> None:
    """In the recording the first was over before the second came: here it is not."""
    recording = Recording(lanes={COMPUTE: LaneRecord(1)})
    recording.tasks = {
        1: task(1, "a", mutate=(1,), entered=0.0, start=0.0, end=1.0, status="done"),
        2: task(2, "b", read=(1,), entered=5.0, start=5.0, end=6.0, status="done"),
    }
    assert when(simulate(recording)) == {"a": (0.0, 1.0), "b": (5.0, 6.0)}
    result = simulate(recording, workers={COMPUTE: 2}, arrivals=False)
    assert when(result) == {"a": (0.0, 1.0), "b": (1.0, 2.0)}
    assert result.tasks[1].then == (2,)


def test_workers_share_a_queue() -> None:
    program = tasks(1.0, 1.0, 1.0, 1.0)
    assert [makespan(simulate(program, workers={COMPUTE: n})) for n in (1, 2, 3, 4)] == [4, 2, 2, 1]


def test_priorities() -> None:
    program = tasks(1.0, 1.0, 1.0, 1.0, 1.0)
    for each, priority in zip(program, (0, -1, 0, 3, 7), strict=True):
        each.priority = priority
    result = simulate(program)
    assert sorted(when(result), key=lambda name: when(result)[name][0] or 0) == list("edacb")


def test_completions_at_one_instant_are_taken_in_the_order_of_starts() -> None:
    """Both end at 1: what waits for the task that started first is queued first."""
    program = tasks(1.0, 1.0, 1.0, 1.0)
    program[0].mutate, program[3].read = (1,), (1,)
    program[1].mutate, program[2].read = (2,), (2,)
    result = simulate(program, workers={COMPUTE: 2})
    assert when(result)["c"] == when(result)["d"] == (1.0, 2.0)
    assert result.tasks[4].started < result.tasks[3].started


def test_links() -> None:
    program = [task(seq, f"t{seq}", lane=COPY, nbytes=100, cost=9.0) for seq in (1, 2)]
    result = simulate(program, bandwidth={COPY: 200.0}, latency={COPY: 0.25})
    assert when(result) == {"t1": (0.0, 0.75), "t2": (0.75, 1.5)}
    assert result.lanes[COPY] == LaneRecord(1, 200.0, 0.25)


def test_scale_and_times() -> None:
    program = tasks(1.0)
    program[0].start, program[0].end = 2.0, 5.0
    assert makespan(simulate(program, scale={COMPUTE: 0.5})) == 1.5
    assert makespan(simulate(program, times="predicted")) == 1.0
    program[0].cost = None
    assert makespan(simulate(program, times="predicted")) == 3.0
    assert makespan(simulate([task(1)])) == makespan(simulate([])) == 0.0


def test_accumulations_take_turns_but_have_no_order() -> None:
    program = [
        task(1, "slow", cost=2.0, mutate=(2,)),
        task(2, "late", cost=1.0, read=(2,), accumulate=(1,)),
        task(3, "early", cost=1.0, accumulate=(1,)),
        task(4, "other", cost=1.5, accumulate=(1,)),
        task(5, "sum", cost=1.0, read=(1,)),
    ]
    result = simulate(program, workers={COMPUTE: 4})
    assert when(result) == {
        "slow": (0.0, 2.0),
        "early": (0.0, 1.0),
        "other": (1.0, 2.5),
        "late": (2.5, 3.5),
        "sum": (3.5, 4.5),
    }
    assert result.tasks[-1].then == (5,) and -1 in result.tasks[2].then


def test_skipped_tasks_take_no_time_but_keep_the_order() -> None:
    program = tasks(1.0, 5.0, 1.0)
    for each in program:
        each.mutate = (1,)
    program[1].status = "skipped"
    result = simulate(program, workers={COMPUTE: 2})
    assert when(result) == {"a": (0.0, 1.0), "b": (None, None), "c": (1.0, 2.0)}
    assert result.tasks[2].status == "skipped"


def test_cheap_tasks_need_no_worker_and_deletions_that_of_their_device() -> None:
    program = [
        task(1, "long", cost=3.0),
        task(2, "cheap", lane="cpu:0/cheap", cost=0.5),
        task(3, "gone", lane="cpu:0/delete", overwrite=(1,), cost=0.5),
    ]
    result = simulate(program)
    assert when(result) == {"long": (0.0, 3.0), "cheap": (0.0, 0.5), "gone": (3.0, 3.5)}


def test_task_that_yields_its_worker_needs_none() -> None:
    program = tasks(1.0, 1.0, 1.0)
    program[0].yielded = True
    assert makespan(simulate(program)) == 2.0


def test_real_times_start_at_the_first_push() -> None:
    recording = Recording(lanes={COMPUTE: LaneRecord(1)})
    recording.tasks = {1: task(1, "a", entered=100.0, start=101.0, end=103.0, status="done")}
    assert when(simulate(recording)) == {"a": (0.0, 2.0)}


def test_table_of_speedups() -> None:
    recording = simulate(tasks(1.0, 1.0, 1.0, 1.0))
    lines = speedups(recording, (1, 2, 4)).splitlines()
    assert [line.split() for line in lines] == [
        ["workers", "makespan", "gain", "each"],
        ["1", "4", "s", "1.00x", "100%"],
        ["2", "2", "s", "2.00x", "100%"],
        ["4", "1", "s", "4.00x", "100%"],
    ]
    assert "1.00x" in speedups(recording, (1, 8), lanes=[COPY]).splitlines()[2]


def test_plan_versus_actual() -> None:
    recording = Recording(clock="virtual", lanes={COMPUTE: LaneRecord(1)})
    for seq, (name, cost, start, end) in enumerate(
        [("mul", 1.0, 0.0, 2.0), ("mul", None, 2.0, 3.0), ("add", 0.5, 3.0, 3.5)], 1
    ):
        recording.tasks[seq] = task(seq, name, cost=cost, start=start, end=end, status="done")
    assert list(costs(recording)) == ["mul", "add"]
    mul = costs(recording)["mul"]
    assert (mul.count, mul.predicted, mul.compared, mul.measured, mul.ratio) == (
        2,
        1.0,
        2.0,
        3.0,
        2.0,
    )
    rows = [line.split("  ") for line in plan_versus_actual(recording).splitlines()]
    assert [[cell.strip() for cell in row if cell.strip()] for row in rows] == [
        ["count", "predicted", "measured", "ratio"],
        ["mul", "2", "1 s", "3 s", "2.00"],
        ["add", "1", "500 ms", "500 ms", "1.00"],
        ["makespan", "2.5 s", "3.5 s", "1.40"],
        [f"idle {COMPUTE}", "-", "0 s", "-"],
    ]
    assert "makespan" in plan_versus_actual(Recording())


def test_phases() -> None:
    program = [
        task(1, mutate=(1,)),
        task(2, read=(1,)),
        task(3, read=(1, 1)),
        task(4, accumulate=(1,)),
        task(5, read=(1,), accumulate=(1,)),
        task(6, overwrite=(1,)),
        task(7, overwrite=(1,)),
    ]
    found = phases(program)
    assert found[2] == found[3] and [each.seq for each in found[2][0].tasks] == [2, 3]
    shown = [[phase.mode for phase in mine] for mine in found.values()]
    assert shown == [
        ["mutate"], ["read"], ["read"], ["accumulate"], ["mutate"], ["overwrite"], ["overwrite"],
    ]  # fmt: skip
    assert found[7][0].before is found[6][0] and found[1][0].before is None


@pytest.mark.parametrize(
    ("fields", "mode"),
    [
        ({"read": (1,), "mutate": (1,)}, "mutate"),
        ({"read": (1,), "overwrite": (1,)}, "mutate"),
        ({"read": (1,), "accumulate": (1,)}, "mutate"),
        ({"overwrite": (1,), "mutate": (1,)}, "mutate"),
        ({"read": (1, 1)}, "read"),
        ({"accumulate": (1, 1)}, "accumulate"),
    ],
)
def test_strongest_access_counts(fields: dict[str, Any], mode: str) -> None:
    assert modes(task(1, **fields)) == {1: mode}
