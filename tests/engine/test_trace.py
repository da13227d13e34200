"""Traces have the form that viewers need; waits, critical paths and tables say what happened."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graphopt.engine.errors import RecordingError
from graphopt.engine.recordings.recording import LaneRecord, Recording
from graphopt.engine.recordings.timeline import (
    critical_path,
    explain,
    makespan,
    overlap,
    summary,
    waits,
)
from graphopt.engine.recordings.trace import chrome_trace, write_trace
from graphopt.engine.recordings.whatif import simulate
from tests.engine.recordings import random_recording, task

COMPUTE, COPY = "cpu:0/compute", "cpu:0/copy_in"


Event = dict[str, Any]


def faults(trace: dict[str, Any]) -> list[str]:
    """What a viewer would refuse or show wrongly."""
    by_phase: dict[str, list[Event]] = defaultdict(list)
    for event in trace["traceEvents"]:
        by_phase[event["ph"]].append(event)
    slices: dict[tuple[int, int], list[tuple[int, int]]] = defaultdict(list)
    for event in by_phase["X"]:
        start = nanoseconds(event)
        slices[event["pid"], event["tid"]].append((start, start + round(event["dur"] * 1e3)))
    found = [f"a phase {phase}" for phase in by_phase.keys() - set("XMsfC")]
    timed = [event for event in trace["traceEvents"] if event["ph"] != "M"]
    found += [f"a time {event['ts']}" for event in timed if not event["ts"] >= 0]
    found += [f"a counter {e['args']}" for e in by_phase["C"] if min(e["args"].values()) < 0]
    named = {(event["name"], event["pid"], event["tid"]) for event in by_phase["M"]}
    for (pid, tid), spans in slices.items():
        if not {("thread_name", pid, tid), ("process_name", pid, 0)} <= named:
            found.append(f"no name for thread {tid} of {pid}")
        found += [f"slices overlap at {end}" for start, end in spans if crosses(start, end, spans)]
    arrows: dict[int, list[Event]] = defaultdict(list)
    for event in by_phase["s"] + by_phase["f"]:
        arrows[event["id"]].append(event)
        spans = slices[event["pid"], event["tid"]]
        if not any(start <= nanoseconds(event) <= end for start, end in spans):
            found.append(f"arrow {event['id']} begins or ends in no slice")
    return found + [
        f"arrow {number} is incomplete" for number in arrows if not whole(arrows[number])
    ]


def nanoseconds(event: Event) -> int:
    """When an event is."""
    microseconds: float = event["ts"]
    return round(microseconds * 1e3)


def crosses(start: int, end: int, spans: list[tuple[int, int]]) -> bool:
    """Whether an interval ends in the midst of one that began after it."""
    return any(start < first < end < last for first, last in spans)


def whole(arrow: list[Event]) -> bool:
    """Whether an arrow has one beginning and one end, which belong together and to slices."""
    if [event["ph"] for event in arrow] != ["s", "f"]:
        return False
    first, last = arrow
    return (first["name"], first["cat"]) == (last["name"], last["cat"]) and last.get("bp") == "e"


def example() -> Recording:
    """A copy, two computations on it, their sum; b waits for a, c for b's worker."""
    program = [
        task(1, "load", lane=COPY, cost=2.0, overwrite=(1,), nbytes=64),
        task(2, "b", cost=3.0, read=(1,), overwrite=(2,)),
        task(3, "c", cost=1.0, read=(1,), accumulate=(3,)),
        task(4, "d", cost=1.0, read=(2,), accumulate=(3,)),
        task(5, "next", lane=COPY, cost=1.5, overwrite=(1,), nbytes=64),
    ]
    recording = simulate(program)
    recording.variables = {1: "x", 2: "y", 3: "z"}
    return recording


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.booleans())
def test_trace_is_well_formed(seed: int, again: bool) -> None:
    recording = random_recording(seed)
    trace = chrome_trace(simulate(recording) if again else recording)
    assert faults(trace) == []
    assert json.loads(json.dumps(trace, allow_nan=False)) == trace


def test_planted_faults_of_a_trace_are_found() -> None:
    for index, change in [
        (-1, {"ph": "Q"}),
        (-1, {"ts": -1.0}),
        (-1, {"args": {"bytes": -1}}),
    ]:
        trace = chrome_trace(example())
        trace["traceEvents"][index].update(change)
        assert faults(trace)
    for phase, change in [
        ("s", {"ts": 9e9}),
        ("f", {"tid": 77}),
        ("f", {"bp": ""}),
        ("X", {"tid": 9}),
    ]:
        trace = chrome_trace(example())
        next(event for event in trace["traceEvents"] if event["ph"] == phase).update(change)
        assert faults(trace)


def test_slices() -> None:
    events = chrome_trace(example())["traceEvents"]
    (slice_,) = [event for event in events if event["ph"] == "X" and event["name"] == "c"]
    assert (slice_["ts"], slice_["dur"], slice_["cat"]) == (5e6, 1e6, "compute")
    assert slice_["args"] == {
        "why": "task 'c' (program.py:3) waited 2 s for 'load' (RAW on x), then 3 s for a worker of "
        "cpu:0/compute, and ran 1 s",
        "waited for others (ms)": 2000.0,
        "waited for a worker (ms)": 3000.0,
        "ran (ms)": 1000.0,
        "predicted (ms)": 1000.0,
        "read": ["x"],
        "accumulate": ["z"],
        "task": 3,
        "site": "program.py:3",
        "lane": COMPUTE,
        "priority": 0,
        "bytes": 0,
        "status": "done",
    }
    names = {
        event["args"]["name"] for event in events if event["ph"] == "M" and "name" in event["args"]
    }
    assert names == {"engine", "cpu:0", f"{COMPUTE}.0", f"{COPY}.0"}


def test_arrows_and_counters() -> None:
    events = chrome_trace(example())["traceEvents"]
    arrows = [(event["name"], event["cat"]) for event in events if event["ph"] == "s"]
    assert sorted(arrows) == [
        ("RAW on x", "critical"),
        ("RAW on x", "critical"),
        ("RAW on y", "dependency"),
        ("WAR on x", "critical"),
        ("WAR on x", "dependency"),
        ("accumulate on z", "critical"),
    ]
    waiting = [e["args"] for e in events if e["ph"] == "C" and e["name"] == "tasks waiting"]
    assert waiting[0] == {"for others": 4, "for a worker": 0}
    assert waiting[-1] == {"for others": 0, "for a worker": 0}
    moved = [e["args"]["bytes"] for e in events if e["ph"] == "C" and e["name"] == "in flight"]
    assert moved[0] == 64 and moved[-1] == 0


def test_overlapping_tasks_of_a_worker_get_a_track_each() -> None:
    recording = Recording(lanes={COMPUTE: LaneRecord(1)})
    for seq, (start, end) in enumerate([(0.0, 4.0), (1.0, 2.0), (3.0, 5.0)], 1):
        recording.tasks[seq] = task(seq, start=start, end=end, worker="w", status="done")
    tids = [e["tid"] for e in chrome_trace(recording)["traceEvents"] if e["ph"] == "X"]
    assert tids[0] == tids[1] != tids[2], "nested ones nest, the other gets a track of its own"
    assert faults(chrome_trace(recording)) == []


def test_trace_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    write_trace(example(), path)
    assert json.loads(path.read_text()) == chrome_trace(example())
    with pytest.raises(OSError, match="missing"):
        write_trace(example(), tmp_path / "missing" / "run.json")
    assert [each.name for each in tmp_path.iterdir()] == ["run.json"]


def test_explanations() -> None:
    recording = example()
    told = [explain(recording, seq).split(") ", 1)[1] for seq in (1, 2, 5)]
    assert told == [
        "started at once and ran 2 s",
        "waited 2 s for 'load' (RAW on x), and ran 3 s",
        "waited 6 s for 'c' (WAR on x), and ran 1.5 s",
    ]
    recording.tasks[9] = task(9, status="skipped", error="ValueError('no')")
    assert explain(recording, 9) == "task 't9' (program.py:9) is skipped: ValueError('no')"
    with pytest.raises(RecordingError, match="there is no task 10"):
        explain(recording, 10)


def test_turns_of_accumulations_are_waited_for() -> None:
    recording = simulate(
        [task(seq, f"t{seq}", cost=1.0, accumulate=(1,)) for seq in (1, 2)], workers={COMPUTE: 2}
    )
    assert "waited 1 s for 't1' (accumulate on variable 1)" in explain(recording, 2)


def test_critical_path() -> None:
    path = critical_path(example())
    assert [(step.task.name, step.reason) for step in path] == [
        ("load", "pushed"),
        ("b", "RAW on x"),
        ("c", "worker"),
        ("next", "WAR on x"),
    ]
    assert [step.waited for step in path] == [0.0, 0.0, 0.0, 0.0]
    assert "1.5 s task 'next' (program.py:5)" in str(path[-1])
    assert critical_path(Recording()) == []


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.booleans())
def test_times_add_up(seed: int, again: bool) -> None:
    recording = random_recording(seed)
    recording = simulate(recording, arrivals=False) if again else recording
    path = critical_path(recording)
    assert sum(step.waited + step.ran for step in path) == pytest.approx(makespan(recording))
    for seq, wait in waits(recording).items():
        record = recording.tasks[seq]
        assert record.end is not None and min(wait.for_others, wait.for_worker, wait.ran) >= 0
        total = wait.for_others + wait.for_worker + wait.ran
        assert total == pytest.approx(record.end - record.entered)
        assert (wait.last is None) == (wait.for_others == 0)


def test_overlap() -> None:
    recording = example()
    assert overlap(recording, COMPUTE, COPY) == 1.0 == overlap(recording, COPY, COMPUTE)
    assert overlap(recording, COMPUTE, COMPUTE) == 5.0
    assert overlap(recording, COMPUTE, "gpu:0/compute") == 0.0


def test_summary() -> None:
    lines = [line.split() for line in summary(example()).splitlines()]
    assert lines[0] == "lane workers tasks busy used for others for worker".split()
    assert lines[1] == [COPY, "1", "2", "3.5", "s", "47%", "3", "s", "0", "s"]
    assert lines[2][:6] == [COMPUTE, "1", "3", "5", "s", "67%"]
    assert " ".join(lines[3]) == "makespan 7.5 s, of which the critical path ran 7.5 s"
    assert summary(Recording()).splitlines()[-1].startswith("makespan 0 s")
