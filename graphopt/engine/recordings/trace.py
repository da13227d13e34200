"""Traces that Perfetto (ui.perfetto.dev) and chrome://tracing show, with who waited for whom.

    write_trace(recording, "run.trace.json")

A process stands for a device and a thread for a worker. Each task is a slice that says why it
started when it did. Arrows lead to it from the tasks it had to wait for; that from the last of them
has the category "critical". Counters show how many tasks wait, and the bytes in flight.

The format is Chrome's Trace Event Format (JSON object form); times in it are microseconds.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator
from itertools import groupby
from typing import Any

from graphopt.engine.recordings.accesses import home, modes, variable_name
from graphopt.engine.recordings.recording import Recording, TaskRecord, write_json
from graphopt.engine.recordings.timeline import Wait, beginning, blockers, ran, reason, tell, waits

Event = dict[str, Any]
ENGINE = 0  # the process that has the counters


def write_trace(recording: Recording, path: str | os.PathLike[str]) -> None:
    """Write a trace as JSON, beside the target first. Raises OSError."""
    write_json(chrome_trace(recording), path)


def chrome_trace(recording: Recording) -> dict[str, Any]:
    """A trace as the object that JSON is made of. It has the tasks that ran."""
    others = blockers(recording)
    why = waits(recording, others)
    timing = _Timing(recording)
    events = [*timing.names()]
    for task, start, end in ran(recording):
        events.append(timing.slice(task, start, end, _details(recording, task, why[task.seq])))
    for task, _, _ in ran(recording):
        for other in others.get(task.seq, ()):
            if other.end is not None and other.end > task.entered:
                critical = other is why[task.seq].last
                events += timing.arrow(other, task, reason(recording, other, task), critical)
    events += timing.counters(why)
    return {
        "traceEvents": events,
        "displayTimeUnit": "ms",
        "otherData": {"clock": recording.clock, "unit": "seconds of this clock, in µs"},
    }


def _details(recording: Recording, task: TaskRecord, wait: Wait) -> Event:
    """What a click on a task shows."""
    accesses: dict[str, list[str]] = defaultdict(list)
    for variable, mode in modes(task).items():
        accesses[mode].append(variable_name(recording, variable))
    details: Event = {
        "why": tell(recording, task, wait),
        "waited for others (ms)": wait.for_others * 1e3,
        "waited for a worker (ms)": wait.for_worker * 1e3,
        "ran (ms)": wait.ran * 1e3,
        "predicted (ms)": None if task.cost is None else task.cost * 1e3,
        **accesses,
        "task": task.seq,
        "site": task.site,
        "lane": home(recording.lanes, task) or task.lane,
        "priority": task.priority,
        "bytes": task.nbytes,
        "status": task.status,
        "error": task.error,
    }
    return {key: value for key, value in details.items() if value not in (None, "")}


class _Timing:
    """Where and when slices are: processes, threads, and times in whole nanoseconds."""

    def __init__(self, recording: Recording) -> None:
        self.recording = recording
        self.origin = beginning(recording)
        self.flows = 0
        devices = dict.fromkeys(task.device for task in recording if task.device)
        self.processes = {device: number for number, device in enumerate(devices, ENGINE + 1)}
        self.threads: dict[tuple[str, str, int], int] = {}  # by device, worker and track
        self.places: dict[int, tuple[int, int]] = {}  # process and thread of each task
        tracks: dict[tuple[str, str], list[list[int]]] = defaultdict(list)
        for task, start, end in sorted(ran(recording), key=lambda t: (t[1], -t[2], t[0].started)):
            worker = task.worker or home(recording.lanes, task) or task.lane
            track = self.track(tracks[task.device, worker], self.ns(start), self.ns(end))
            key = task.device, worker, track
            thread = self.threads.setdefault(key, len(self.threads) + 1)
            self.places[task.seq] = self.processes[task.device], thread

    def ns(self, time: float) -> int:
        """Nanoseconds since the first push."""
        return round((time - self.origin) * 1e9)

    def track(self, tracks: list[list[int]], start: int, end: int) -> int:
        """The first track of a worker that has room: slices of a thread nest or are apart.

        Tasks of one worker overlap where they are asynchronous, nest where a task waits for others.
        On a virtual clock nothing nests, and a worker may stand for all of its lane.
        """
        for number, ends in enumerate(tracks):
            while ends and ends[-1] <= start:
                ends.pop()
            if not ends or (self.recording.clock == "real" and end <= ends[-1]):
                ends.append(end)
                return number
        tracks.append([end])
        return len(tracks) - 1

    def names(self) -> Iterator[Event]:
        """What processes and threads are called."""
        for name, process in {"engine": ENGINE, **self.processes}.items():
            yield _event("M", "process_name", process, 0, args={"name": name})
            yield _event("M", "process_sort_index", process, 0, args={"sort_index": process})
        for (device, worker, track), thread in self.threads.items():
            name = f"{worker} ({track + 1})" if track else worker
            process = self.processes[device]
            yield _event("M", "thread_name", process, thread, args={"name": name})

    def slice(self, task: TaskRecord, start: float, end: float, details: Event) -> Event:
        """A task."""
        begun, over = self.ns(start), self.ns(end)
        event = _event("X", task.name, *self.places[task.seq], ts=begun / 1e3, args=details)
        return {**event, "cat": task.kind, "dur": (over - begun) / 1e3}

    def arrow(
        self, earlier: TaskRecord, later: TaskRecord, why: str, critical: bool
    ) -> list[Event]:
        """From within the end of a slice to the start of another: that binds it to both."""
        assert earlier.start is not None and earlier.end is not None and later.start is not None
        self.flows += 1
        kind = {"cat": "critical" if critical else "dependency", "id": self.flows}
        left = max(self.ns(earlier.start), self.ns(earlier.end) - 1) / 1e3
        arrived = self.ns(later.start) / 1e3
        return [
            {**_event("s", why, *self.places[earlier.seq], ts=left), **kind},
            {**_event("f", why, *self.places[later.seq], ts=arrived), **kind, "bp": "e"},
        ]

    def counters(self, why: dict[int, Wait]) -> Iterator[Event]:
        """How many tasks wait, and for what, and the bytes of those that run, over time."""
        changes: list[tuple[int, str, int]] = []
        for task, start, end in ran(self.recording):
            entered, begun, over = self.ns(task.entered), self.ns(start), self.ns(end)
            ready = self.ns(task.entered + why[task.seq].for_others)
            changes += [(entered, "for others", 1), (ready, "for others", -1)]
            changes += [(ready, "for a worker", 1), (begun, "for a worker", -1)]
            changes += [(begun, "bytes", task.nbytes), (over, "bytes", -task.nbytes)]
        values: dict[str, int] = {"for others": 0, "for a worker": 0, "bytes": 0}
        for time, together in groupby(sorted(changes), key=lambda change: change[0]):
            for _, name, change in together:
                values[name] += change
            waiting = {name: value for name, value in values.items() if name != "bytes"}
            moved = {"bytes": values["bytes"]}
            yield _event("C", "tasks waiting", ENGINE, 0, ts=time / 1e3, args=waiting)
            yield _event("C", "in flight", ENGINE, 0, ts=time / 1e3, args=moved)


def _event(phase: str, name: str, process: int, thread: int, **fields: Any) -> Event:
    """An event of the format."""
    return {"ph": phase, "name": name, "pid": process, "tid": thread, **fields}
