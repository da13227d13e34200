"""Plan versus actual: what tasks were predicted to cost, and what they did cost."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from graphopt.engine.recordings.recording import Recording
from graphopt.engine.recordings.timeline import makespan, ran, seconds, work
from graphopt.engine.recordings.whatif import simulate


@dataclass(slots=True)
class Cost:
    """The tasks of one name: how many ran, and their seconds together.

    `compared` is what those took that had a prediction, `predicted` what it was.
    """

    count: int = 0
    predicted: float = 0.0
    compared: float = 0.0
    measured: float = 0.0

    @property
    def ratio(self) -> float | None:
        """Measured over predicted, None where there is nothing to compare."""
        return self.compared / self.predicted if self.predicted else None


def costs(recording: Recording) -> dict[str, Cost]:
    """By name of task, those that took longest in all first."""
    found: dict[str, Cost] = defaultdict(Cost)
    for task, start, end in ran(recording):
        each = found[task.name]
        each.count += 1
        each.measured += end - start
        if task.cost is not None:
            each.predicted += task.cost
            each.compared += end - start
    return dict(sorted(found.items(), key=lambda item: -item[1].measured))


def plan_versus_actual(recording: Recording) -> str:
    """A table: predicted and measured seconds of tasks by name, of the whole, and of idle workers.

    The predicted whole is a simulation with predicted costs (measured ones where there is no
    prediction) on the same lanes, with each push when it was.
    """
    planned = simulate(recording, times="predicted")
    rows = costs(recording)
    rows["makespan"] = _compared(makespan(planned), makespan(recording))
    for lane in recording.lanes:
        rows[f"idle {lane}"] = _compared(_idle(planned, lane), _idle(recording, lane))
    width = max(map(len, rows))
    lines = [f"{'':<{width}}{'count':>8}{'predicted':>12}{'measured':>12}{'ratio':>8}"]
    for name, row in rows.items():
        ratio = "-" if row.ratio is None else f"{row.ratio:.2f}"
        predicted = "-" if row.ratio is None else seconds(row.predicted)
        count = row.count or ""
        lines.append(
            f"{name:<{width}}{count:>8}{predicted:>12}{seconds(row.measured):>12}{ratio:>8}"
        )
    return "\n".join(lines)


def _compared(planned: float, actual: float) -> Cost:
    """A row of something that is no task."""
    return Cost(0, planned, actual, actual)


def _idle(recording: Recording, lane: str) -> float:
    """Seconds that the workers of a lane did nothing."""
    return recording.lanes[lane].workers * makespan(recording) - work(recording)[lane]
