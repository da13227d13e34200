"""Profiles: every step measured, a table, and a trace that viewers open."""

from __future__ import annotations

import json
from pathlib import Path
from unittest import mock

import numpy as np
import pytest

import graphopt
from graphopt.backends.executable import Executable
from graphopt.backends.numpy.profile import Profile, Span
from graphopt.graph import Graph
from graphopt.ops.arithmetic import add, mul
from graphopt.ops.functions import exp, neg
from graphopt.records import Location, Tables
from graphopt.structural import graph_input
from tests.backends.numpy.programs import program_of, with_lanes
from tests.ops.harness import tensor

X = graph_input("x", tensor("float32", 64))
ONES = np.ones(64, np.float32)
SUM = add(exp(X), mul(X, neg(X)))


def executable(lanes: int = 1) -> Executable:
    tables = Tables(locations={SUM: Location("user.py", 5)})
    run = graphopt.compile(Graph((X,), (SUM,), ("y",), tables=tables), threads=lanes)
    if lanes > 1:
        with_lanes(program_of(run), lanes)
    return run


@pytest.mark.parametrize("lanes", [1, 2])
def test_every_step_of_every_run(lanes: int) -> None:
    profile = executable(lanes).profile(ONES, runs=3)
    assert len(profile.runs) == 3
    count = len(profile.names)
    assert sorted(profile.ops) == ["Add", "Exp", "Mul", "Neg"]
    for run in profile.runs:
        assert sorted(span.step for span in run) == list(range(count))
        assert all(span.end >= span.start for span in run)
        assert {span.lane for span in run} <= set(range(lanes))
    assert all(seconds > 0 for seconds in profile.seconds)
    assert sum(profile.by_op.values()) == pytest.approx(sum(profile.seconds))
    assert "user.py:5" in profile.origins


def test_named_inputs() -> None:
    assert executable().profile(x=ONES, runs=1).runs


def made() -> Profile:
    runs = [
        [Span(0, 0, 10.0, 10.1), Span(1, 1, 10.0, 10.4)],
        [Span(0, 0, 20.0, 20.3), Span(1, 1, 20.0, 20.2)],
        [Span(0, 0, 30.0, 30.2), Span(1, 1, 30.0, 30.3)],
    ]
    return Profile(["0:Exp", "1:Neg"], ["Exp", "Neg"], ["a.py:1", ""], [0.1, 0.2], runs)


def test_seconds_are_medians_and_the_longest_comes_first() -> None:
    profile = made()
    assert profile.seconds == pytest.approx([0.2, 0.3])
    assert list(profile.by_op) == ["Neg", "Exp"]
    lines = str(profile).splitlines()
    assert lines[0].startswith("2 steps")
    assert [line.split()[3] for line in lines[2:]] == ["1:Neg", "0:Exp"]
    assert lines[3].endswith("a.py:1")
    assert len(profile.table(1).splitlines()) == 3


def test_a_run_ends_with_the_step_that_ends_last() -> None:
    run = [Span(0, 0, 1.0, 4.0), Span(1, 1, 2.0, 3.0)]
    profile = Profile(["0:Exp", "1:Neg"], ["Exp", "Neg"], ["", ""], [0.1, 0.2], [run])
    assert str(profile).startswith("2 steps, 3000000.0 µs")


def test_the_trace_is_one_that_viewers_open(tmp_path: Path) -> None:
    path = tmp_path / "trace.json"
    made().save(path)
    trace = json.loads(path.read_text())
    assert trace["displayTimeUnit"] in ("ms", "ns")
    names = [event for event in trace["traceEvents"] if event["ph"] == "M"]
    assert [(event["name"], event["tid"]) for event in names] == [
        ("thread_name", 0),
        ("thread_name", 1),
    ]
    assert [event["args"]["name"] for event in names] == ["lane 0", "lane 1"]
    events = [event for event in trace["traceEvents"] if event["ph"] == "X"]
    assert len(events) == 6
    for event in events:
        assert isinstance(event["name"], str) and isinstance(event["cat"], str)
        assert event["pid"] == 0 and event["tid"] in (0, 1)
        assert event["ts"] >= 0 and event["dur"] >= 0
        assert set(event["args"]) == {"run", "origin"}
    assert events[0]["dur"] == pytest.approx(1e5)
    assert events[2]["ts"] == pytest.approx(1e7)


def test_a_trace_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "trace.json"
    path.write_text("what was there")
    with (
        mock.patch.object(Profile, "trace", return_value={"bad": object()}),
        pytest.raises(TypeError),
    ):
        made().save(path)
    assert path.read_text() == "what was there"
    assert list(tmp_path.iterdir()) == [path]


def test_nothing_to_measure() -> None:
    empty = Profile([], [], [], [], [[]])
    assert "0 steps" in str(empty)
    assert empty.trace()["traceEvents"] == []
