"""What if: a recorded program on other workers and links, by simulation.

    simulate(recording, workers={"cpu:0/compute": 8}, bandwidth={"gpu:0/copy_in": 12e9})

The tasks take the time they took, or were predicted to take, and wait for whatever the serial
program makes them wait for, which is more than the recorded edges: on other workers, other tasks
are unfinished when one is taken in. Nothing runs: the clock is virtual (see `clock`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

from graphopt.engine.recordings.accesses import phases
from graphopt.engine.recordings.clock import Clock
from graphopt.engine.recordings.recording import LaneRecord, Recording, TaskRecord
from graphopt.engine.recordings.timeline import makespan, seconds

Times = Literal["measured", "predicted"]


def simulate(
    program: Recording | Iterable[TaskRecord],
    *,
    workers: Mapping[str, int] | None = None,
    bandwidth: Mapping[str, float] | None = None,
    latency: Mapping[str, float] | None = None,
    scale: Mapping[str, float] | None = None,
    times: Times = "measured",
    arrivals: bool = True,
) -> Recording:
    """Run a program again on a virtual clock; returns what would have happened.

    The program is a recording, or tasks in serial order with their `cost` in seconds. The mappings
    are by lane: workers, bytes a second and seconds of its link, and a factor on its tasks' times;
    what they leave out is as recorded, one worker where nothing is. A task in a lane with a
    bandwidth takes latency + bytes / bandwidth. `times` says which of a task's times to take first;
    the other stands in where it is missing, and 0 where both are.

    With `arrivals` no task starts before it was pushed in the recording. Without, all are there
    from the start, as if the program that pushed them had taken no time and never waited.

    A recording of a virtual clock gives the same times again, if all was pushed before the first
    wait: where pushes and completions share an instant, their order is not in the times.
    """
    recording = program if isinstance(program, Recording) else Recording()
    tasks = recording if isinstance(program, Recording) else program
    ordered = sorted((task for task in tasks if task.kind != "join"), key=lambda task: task.seq)
    lanes = _lanes(recording, ordered, workers or {}, bandwidth or {}, latency or {})
    origin = (
        min((task.entered for task in ordered), default=0.0) if recording.clock == "real" else 0.0
    )
    clock = Clock(Recording("virtual", {}, dict(recording.variables), lanes), phases(ordered))
    for task in ordered:
        arrival = max(0.0, task.entered - origin) if arrivals else 0.0
        factor = (scale or {}).get(task.lane, 1.0)
        clock.expect(task, arrival, _duration(task, lanes.get(task.lane), times, factor))
    clock.run()
    return clock.recording


def speedups(
    recording: Recording, counts: Iterable[int] = (1, 2, 4, 8), lanes: Iterable[str] | None = None
) -> str:
    """A table: the makespan with so many workers in each of some lanes, and the gain.

    The lanes are all of kind compute unless given. All tasks are there from the start; the gain is
    over the first row, and `each` is the gain per worker.
    """
    chosen = [name for name in recording.lanes if name.endswith("/compute")]
    chosen = chosen if lanes is None else list(lanes)
    lines = [f"{'workers':>7}{'makespan':>12}{'gain':>8}{'each':>7}"]
    first: tuple[int, float] | None = None
    for count in counts:
        whole = makespan(simulate(recording, workers=dict.fromkeys(chosen, count), arrivals=False))
        first = first or (count, whole)
        gain = first[1] / whole if whole else 1.0
        each = gain * first[0] / count
        lines.append(f"{count:>7}{seconds(whole):>12}{gain:>7.2f}x{each:>7.0%}")
    return "\n".join(lines)


def _lanes(
    recording: Recording,
    tasks: Iterable[TaskRecord],
    workers: Mapping[str, int],
    bandwidth: Mapping[str, float],
    latency: Mapping[str, float],
) -> dict[str, LaneRecord]:
    """The lanes as they shall be."""
    lanes = dict(recording.lanes)
    for task in tasks:
        if task.kind not in ("cheap", "delete"):
            lanes.setdefault(task.lane, LaneRecord(1))
    return {
        name: LaneRecord(
            workers.get(name, lane.workers),
            bandwidth.get(name, lane.bandwidth),
            latency.get(name, lane.latency),
        )
        for name, lane in lanes.items()
    }


def _duration(task: TaskRecord, lane: LaneRecord | None, times: Times, factor: float) -> float:
    """How long a task takes, in seconds."""
    if lane is not None and lane.bandwidth is not None:
        return lane.latency + task.nbytes / lane.bandwidth
    measured, predicted = None, task.cost
    if task.start is not None and task.end is not None:
        measured = task.end - task.start
        if predicted is not None and task.end == task.start + predicted:
            measured = predicted  # a virtual clock added it; the difference is rounded
    first, second = (measured, predicted) if times == "measured" else (predicted, measured)
    return factor * next((time for time in (first, second) if time is not None), 0.0)
