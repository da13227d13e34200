"""The happens-before check: legal recordings are clean, and every planted fault is found."""

from __future__ import annotations

import time
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graphopt.engine.recordings.check import RaceError, assert_ordered, races
from graphopt.engine.recordings.recording import LaneRecord, Recording
from tests.engine.faults import FAULTS
from tests.engine.recordings import edges, random_recording, task, unordered, without


@pytest.mark.parametrize("seed", range(60))
def test_legal_recording_is_clean(seed: int) -> None:
    recording = random_recording(seed, count=40 + seed, variables=2 + seed % 6, backlog=3 + seed)
    assert races(recording) == [] and unordered(recording) == set()
    assert_ordered(recording)


@pytest.mark.parametrize("name", FAULTS)
def test_planted_fault_is_found(name: str) -> None:
    plant, rules = FAULTS[name]
    planted = 0
    for seed in range(200):
        recording = random_recording(seed, count=50, backlog=25)
        assert races(recording) == []
        if plant(recording, Random(seed)):
            planted += 1
            assert rules & {race.rule for race in races(recording)}, f"seed {seed}"
        if planted == 5:
            return
    raise AssertionError(f"planted {planted} times")


def test_there_are_many_faults() -> None:
    assert len(FAULTS) >= 20


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 6), st.floats(0, 1))
def test_neighbours_suffice(seed: int, variables: int, share: float) -> None:
    """With edges dropped at random: something is found exactly where all pairs have something."""
    random = Random(seed)
    recording = random_recording(seed, count=30, variables=variables, backlog=15)
    for record, seq, _ in [*edges(recording)]:
        if random.random() < share / 4:
            without(record, seq)
    expected = unordered(recording)
    found = {(race.earlier.seq, race.later.seq) for race in races(recording)}
    assert found <= expected and bool(found) == bool(expected)


def chain(*names: str) -> Recording:
    """Tasks that ran one after the other, nothing recorded between them."""
    recording = Recording(variables={1: "x"}, lanes={"cpu:0/compute": LaneRecord(1)})
    for seq, name in enumerate(names, 1):
        record = task(seq, name, worker="w", status="done", start=float(seq), end=seq + 0.5)
        record.integrated, record.started = seq, 100 * seq
        record.finished, record.completed = 100 * seq + 1, 100 * seq + 2
        recording.tasks[seq] = record
    return recording


def test_luck_is_no_order() -> None:
    recording = chain("a", "b")
    recording.tasks[1].mutate = recording.tasks[2].read = (1,)
    (race,) = races(recording)
    assert (race.rule, race.variable, race.earlier.name, race.later.name) == ("RAW", "x", "a", "b")
    assert str(race) == (
        "RAW on x: nothing orders task 'a' (program.py:1) before task 'b' (program.py:2)"
    )
    recording.tasks[1].then = (2,)
    assert races(recording) == []


def test_what_was_completed_needs_no_edge() -> None:
    recording = chain("a", "b")
    recording.tasks[1].mutate = recording.tasks[2].read = (1,)
    recording.tasks[2].integrated = 150
    assert races(recording) == []


def test_recording_may_end_early() -> None:
    recording = chain("a", "b", "c")
    recording.tasks[1].then = (2, 7)
    recording.tasks[1].mutate = recording.tasks[2].mutate = (1,)
    recording.tasks[3] = task(3, integrated=3)
    recording.tasks[2].completed, recording.tasks[2].status = -1, "pending"
    assert races(recording) == []
    assert races(Recording()) == []


def test_what_has_not_run_may_have_waited_rightly() -> None:
    """Edges of a task are recorded when it is completed: here they may be missing."""
    recording = Recording(lanes={"cpu:0/compute": LaneRecord(1)})
    recording.tasks[1] = task(1, mutate=(1,), integrated=1, started=3, start=0.0, worker="w")
    recording.tasks[2] = task(2, read=(1,), integrated=2)
    assert races(recording) == []
    recording.tasks[2].started = 4
    assert {race.rule for race in races(recording)} == {"RAW", "lane"}


def test_explicit_order_is_obeyed_too() -> None:
    recording = chain("a", "b")
    recording.tasks[1].after = (2,)
    assert races(recording) == []
    recording.tasks[1].completed = 250
    assert [race.rule for race in races(recording)] == ["edge"]


def test_task_that_yields_its_worker_keeps_none_busy() -> None:
    recording = chain("waits", "other")
    recording.tasks[1].finished, recording.tasks[1].completed = 300, 301
    recording.tasks[1].end = 4.0
    assert [race.rule for race in races(recording)] == ["lane"]
    recording.tasks[1].yielded = True
    assert races(recording) == []


def test_error_lists_the_first_ten() -> None:
    recording = chain(*"abcdefghijklmnop")
    for record in recording:
        record.mutate = (1,)
    with pytest.raises(RaceError) as error:
        assert_ordered(recording)
    lines = str(error.value).splitlines()
    assert lines[0] == "the serial order was broken in 15 places:"
    assert len(lines) == 12 and lines[-1] == "  and 5 more"


def mesh(count: int, backlog: int) -> Recording:
    """A large recording: tasks read two neighbours of what they mutate, completed in order."""
    recording = Recording(clock="virtual", lanes={"cpu:0/compute": LaneRecord(1)})
    readers: dict[int, list[int]] = {}
    writer: dict[int, int] = {}
    for seq in range(1, count + 1):
        cell = seq % 100
        record = task(seq, status="done", mutate=(cell,))
        record.read = ((cell + 1) % 100, (cell + 99) % 100)
        record.integrated = 4 * seq
        record.started = 4 * (seq + backlog) + 1
        record.finished, record.completed = record.started + 1, record.started + 2
        for variable in (*record.read, cell):
            if variable in writer:
                recording.tasks[writer[variable]].then += (seq,)
        for reader in readers.pop(cell, ()):
            recording.tasks[reader].after += (seq,)
        for variable in record.read:
            readers.setdefault(variable, []).append(seq)
        writer[cell] = seq
        recording.tasks[seq] = record
    return recording


def test_large_recording_takes_no_longer_than_its_backlog() -> None:
    recording = mesh(20_000, 4096)
    begun = time.process_time()
    assert races(recording) == []
    assert time.process_time() - begun < 10
    recording.tasks[19_000].then = recording.tasks[19_000].after = ()
    assert {race.earlier.seq for race in races(recording)} == {19_000}
