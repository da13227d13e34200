"""What the steps of a program took: a table, and a trace for Chrome's or Perfetto's viewer."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from statistics import median
from typing import Any

from graphopt.files import replacing


@dataclass(frozen=True, slots=True)
class Span:
    """One run of a step: its place in program order, its lane, when it began and ended (s)."""

    step: int
    lane: int
    start: float
    end: float


@dataclass(frozen=True)
class Profile:
    """The measured steps of some runs. Prints the table of what took longest; `save` the trace.

    `names`, `ops`, `origins` and `predicted` (seconds) have an entry for each step.
    """

    names: Sequence[str]
    ops: Sequence[str]
    origins: Sequence[str]
    predicted: Sequence[float]
    runs: Sequence[Sequence[Span]]

    @property
    def seconds(self) -> list[float]:
        """The median of what each step took."""
        taken: list[list[float]] = [[] for _ in self.names]
        for run in self.runs:
            for span in run:
                taken[span.step].append(span.end - span.start)
        return [median(times) if times else 0.0 for times in taken]

    @property
    def by_op(self) -> dict[str, float]:
        """The seconds of all steps of each op, the most first."""
        total: dict[str, float] = {}
        for op, seconds in zip(self.ops, self.seconds, strict=True):
            total[op] = total.get(op, 0.0) + seconds
        return dict(sorted(total.items(), key=lambda item: -item[1]))

    def __str__(self) -> str:
        return self.table()

    def table(self, most: int = 20) -> str:
        """The steps that took longest, as text."""
        seconds = self.seconds
        whole = sum(seconds) or 1.0
        walls = [max(span.end for span in run) - run[0].start for run in self.runs if run]
        lines = [f"{len(seconds)} steps, {median(walls or [0.0]) * 1e6:.1f} µs; the longest:"]
        lines.append(f"{'µs':>10} {'%':>5} {'predicted':>10}  step")
        for step in sorted(range(len(seconds)), key=lambda k: -seconds[k])[:most]:
            text = f"{self.names[step]}  {self.origins[step]}".rstrip()
            lines.append(
                f"{seconds[step] * 1e6:10.1f} {100 * seconds[step] / whole:5.1f} "
                f"{self.predicted[step] * 1e6:10.1f}  {text}"
            )
        return "\n".join(lines)

    def trace(self) -> dict[str, Any]:
        """The runs one after the other as trace events (Chrome's Trace Event Format)."""
        first = min((span.start for run in self.runs for span in run), default=0.0)
        events: list[dict[str, Any]] = [
            {
                "name": self.names[span.step],
                "cat": self.ops[span.step],
                "ph": "X",
                "pid": 0,
                "tid": span.lane,
                "ts": (span.start - first) * 1e6,
                "dur": (span.end - span.start) * 1e6,
                "args": {"run": index, "origin": self.origins[span.step]},
            }
            for index, run in enumerate(self.runs)
            for span in run
        ]
        lanes = sorted({span.lane for run in self.runs for span in run})
        names: list[dict[str, Any]] = [
            {"name": "thread_name", "ph": "M", "pid": 0, "tid": k, "args": {"name": f"lane {k}"}}
            for k in lanes
        ]
        return {"traceEvents": names + events, "displayTimeUnit": "ms"}

    def save(self, path: str | PathLike[str]) -> None:
        """Write the trace, which a viewer (ui.perfetto.dev, chrome://tracing) opens."""
        with replacing(Path(path)) as (file,):
            file.write(json.dumps(self.trace()).encode())

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        from graphopt.draw_timeline import to_html, to_svg

        return {"text/plain": str(self), "image/svg+xml": to_svg(self), "text/html": to_html(self)}
