"""A recording is data: what is stored is what is loaded, and nothing else can be loaded."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from graphopt.engine import Engine, Link, Recording
from graphopt.engine.errors import RecordingError
from graphopt.engine.recordings.check import races
from graphopt.engine.recordings.whatif import simulate


def recorded() -> Recording:
    """Of a run with every kind of access, a failure, a link and a priority."""
    with Engine(2, "sim", seed=3) as engine:
        engine.add_device("cpu:1", links={"copy_in": Link(1e6, 1e-3)})
        x, y, z = (engine.new_variable(name) for name in "xyz")
        with engine.record() as recording:
            engine.push(int, mutate=[x], name="first", cost=0.5)
            engine.push(int, read=[x], overwrite=[y], kind="copy_in", device="cpu:1", nbytes=100)
            engine.push(lambda: 1 // 0, read=[y], mutate=[z], priority=2)
            for _ in range(3):
                engine.push(int, accumulate=[x])
            engine.push(int, read=[x, z])
        with pytest.raises(ExceptionGroup):
            engine.wait_all()
    return recording


def test_round_trip(tmp_path: Path) -> None:
    recording = recorded()
    recording.save(tmp_path / "run.json")
    again = Recording.load(tmp_path / "run.json")
    assert again == recording
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]
    assert races(again) == []
    assert simulate(again).tasks.keys() == simulate(recording).tasks.keys()


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"format": "another"}', '{"format": "graphopt-recording-1"}', "\x00"],
)
def test_anything_else_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(RecordingError, match=r"run\.json: (no recording can be read|the format)"):
        Recording.load(tmp_path / "run.json")


def test_tasks_with_other_fields_are_refused(tmp_path: Path) -> None:
    recorded().save(tmp_path / "run.json")
    data = json.loads((tmp_path / "run.json").read_text())
    data["tasks"][0]["colour"] = "red"
    (tmp_path / "run.json").write_text(json.dumps(data))
    with pytest.raises(RecordingError, match="colour"):
        Recording.load(tmp_path / "run.json")


def test_missing_file_and_folder(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="No such file"):
        Recording.load(tmp_path / "none.json")
    with pytest.raises(OSError, match="No such file"):
        recorded().save(tmp_path / "none" / "run.json")
