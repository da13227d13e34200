"""What an engine did, as data: its tasks, who waited for whom, when and where each ran.

    with engine.record() as recording: ...
    recording.save("run.json")

Traces, the happens-before check, replay and what-if simulation all read this. A recording holds
one total order, the positions at which the scheduler took a task in, saw it started, and took its
completion; what is ordered by anything else than this engine is not in it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from graphopt.engine.errors import RecordingError

Status = Literal["pending", "done", "failed", "skipped", "cancelled"]
FORMAT = "graphopt-recording-1"


def write_json(data: object, path: str | os.PathLike[str]) -> None:
    """Write JSON beside the target, then rename: never half a file. Raises OSError."""
    target = Path(path)
    beside = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        beside.write_text(json.dumps(data), encoding="utf-8")
        beside.replace(target)
    finally:
        with suppress(FileNotFoundError):
            beside.unlink()


@dataclass(slots=True)
class TaskRecord:
    """A task. Times are seconds of the recording's clock; positions are in the total order.

    A `kind` of "join" is no task but the end of a group of accumulations: its members have it in
    `then`, and what reads their sum stands in its own. Its `seq` is negative.
    """

    seq: int  # its number in the serial program, from 1
    name: str
    site: str  # file:line that pushed it
    kind: str  # compute, copy_in, copy_out, comm, io, cheap, delete, join
    device: str
    priority: int = 0
    nbytes: int = 0
    cost: float | None = None  # what was predicted
    read: tuple[int, ...] = ()  # variables, by number
    mutate: tuple[int, ...] = ()
    overwrite: tuple[int, ...] = ()
    accumulate: tuple[int, ...] = ()
    entered: float = 0.0
    start: float | None = None
    end: float | None = None
    worker: str = ""
    yielded: bool = False  # others had its worker while it ran: it waited, or is asynchronous
    late: bool = False  # a simulation called its function at its end
    status: Status = "pending"
    error: str = ""
    integrated: int = -1
    started: int = -1
    finished: int = -1  # its function returned
    completed: int = -1  # the scheduler released what waited for it
    then: tuple[int, ...] = ()  # tasks that waited for a value it wrote
    after: tuple[int, ...] = ()  # tasks that waited until it was over

    @property
    def lane(self) -> str:
        """The queue it ran in, such as "cpu:0/copy_in"."""
        return f"{self.device}/{self.kind}"

    @property
    def writes(self) -> tuple[int, ...]:
        """The variables it changed, in any mode."""
        return self.mutate + self.overwrite + self.accumulate


@dataclass(slots=True)
class LaneRecord:
    """A lane: how many tasks run there at once, and its link (bytes a second, seconds), if any."""

    workers: int
    bandwidth: float | None = None
    latency: float = 0.0


@dataclass(slots=True)
class Recording:
    """Tasks in the order of the serial program, with the lanes they ran in."""

    clock: Literal["real", "virtual"] = "real"
    tasks: dict[int, TaskRecord] = field(default_factory=dict[int, TaskRecord])
    variables: dict[int, str] = field(default_factory=dict[int, str])
    lanes: dict[str, LaneRecord] = field(default_factory=dict[str, LaneRecord])

    def __iter__(self) -> Iterator[TaskRecord]:
        return iter(self.tasks.values())

    def events(self) -> list[tuple[str, int]]:
        """The total order: ("integrated" | "started" | "finished" | "completed", seq)."""
        found = [
            (position, what, task.seq)
            for task in self
            for what in ("integrated", "started", "finished", "completed")
            if (position := getattr(task, what)) >= 0
        ]
        return [(what, seq) for _, what, seq in sorted(found)]

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write it as JSON, beside the target first."""
        data = {
            "format": FORMAT,
            "clock": self.clock,
            "variables": {str(number): name for number, name in self.variables.items()},
            "lanes": {name: asdict(lane) for name, lane in self.lanes.items()},
            "tasks": [asdict(task) for task in self],
        }
        write_json(data, path)

    @staticmethod
    def load(path: str | os.PathLike[str]) -> Recording:
        """Read what `save` wrote. Raises RecordingError for anything else."""
        try:
            data: dict[str, Any] = json.loads(Path(path).read_text(encoding="utf-8"))
            if data["format"] != FORMAT:
                raise RecordingError(
                    f"the format is {data['format']!r}, not {FORMAT!r}", at=str(path)
                )
            records = [TaskRecord(**_frozen(task)) for task in data["tasks"]]
            return Recording(
                clock=data["clock"],
                tasks={task.seq: task for task in records},
                variables={int(number): name for number, name in data["variables"].items()},
                lanes={name: LaneRecord(**lane) for name, lane in data["lanes"].items()},
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise RecordingError(f"no recording can be read: {error}", at=str(path)) from error


def _frozen(task: dict[str, Any]) -> dict[str, Any]:
    """A task's fields with tuples where JSON has lists."""
    lists = ("read", "mutate", "overwrite", "accumulate", "then", "after")
    return {key: tuple(value) if key in lists else value for key, value in task.items()}
