"""What the latency tool prints: Markdown tables of latencies, shares of time, and causes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from tools import latency_causes
from tools.latency_causes import CATEGORIES, Cost
from tools.latency_race import Timing

LIMIT = 8.0
"""Above so many times ONNX Runtime's latency a cause is named."""


@dataclass
class Row:
    """What one model showed at one input size; times in seconds."""

    model: str
    size: str
    first: dict[str, float] = field(default_factory=dict[str, float])
    timings: dict[str, Timing] = field(default_factory=dict[str, Timing])
    notes: list[str] = field(default_factory=list[str])
    steps: int = 0
    lanes: int = 0
    shares: dict[str, float] = field(default_factory=dict[str, float])
    top: list[Cost] = field(default_factory=list[Cost])

    def ratio(self, backend: str) -> float | None:
        """How many times ONNX Runtime's latency a backend's is."""
        if backend not in self.timings or "ort" not in self.timings:
            return None
        return self.timings[backend].median / self.timings["ort"].median

    @property
    def cause(self) -> str | None:
        """The main cause where the numpy backend is above the limit."""
        ratio = self.ratio("numpy")
        if ratio is None or ratio <= LIMIT:
            return None
        cause = latency_causes.main_cause(self.shares) if self.shares else "not profiled"
        return f"{self.model} {self.size}: {ratio:.1f}x of ONNX Runtime; {cause}"


def header(backends: Sequence[str]) -> str:
    """The head of the table of latencies."""
    ours = [each for each in backends if each != "ort"] if "ort" in backends else []
    cells = [f"{each} ms (p10)" for each in backends] + [f"{each} / ort" for each in ours]
    cells += [f"first {' / '.join(backends)}, ms"]
    return f"| model | input | {' | '.join(cells)} |\n|{'---|' * (len(cells) + 2)}"


def line(row: Row, backends: Sequence[str], first_note: int) -> str:
    """A model's line; its notes are numbered from `first_note`."""
    ours = [each for each in backends if each != "ort"] if "ort" in backends else []
    cells: list[str] = []
    for each in backends:
        timing = row.timings.get(each)
        cells.append(f"{ms_text(timing.median)} ({ms_text(timing.low)})" if timing else "-")
    for each in ours:
        ratio = row.ratio(each)
        cells.append("-" if ratio is None else f"{ratio:.2f}x")
    cells.append(" / ".join(ms_text(row.first[b]) if b in row.first else "-" for b in backends))
    marks = "".join(f"[^{first_note + k}]" for k in range(len(row.notes)))
    return f"| {row.model}{marks} | {row.size} | {' | '.join(cells)} |"


def ms_text(seconds: float | None) -> str:
    """Milliseconds with three digits that count; - for None."""
    if seconds is None:
        return "-"
    value = seconds * 1e3
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.3g}"


def share_table(rows: Sequence[Row]) -> str:
    """Where the time of the numpy backend goes, in percent."""
    lines = [
        f"| model | input | steps | lanes | {' | '.join(CATEGORIES)} |",
        f"|{'---|' * (len(CATEGORIES) + 4)}",
    ]
    for row in rows:
        cells = [f"{100 * row.shares[each]:.0f}" for each in CATEGORIES]
        lines.append(
            f"| {row.model} | {row.size} | {row.steps} | {row.lanes} | {' | '.join(cells)} |"
        )
    lines.append("")
    lines += [f"- {name}: {text}" for name, text in CATEGORIES.items()]
    return "\n".join(lines)


def report(rows: Sequence[Row]) -> str:
    """All that follows the table of latencies."""
    parts: list[str] = []
    notes = [note for row in rows for note in row.notes]
    parts.append("\n".join(f"[^{k}]: {note}" for k, note in enumerate(notes, 1)))
    if explained := [row for row in rows if row.shares]:
        parts.append(f"Where the numpy backend's time goes (%)\n\n{share_table(explained)}")
        for row in explained:
            texts = [f"- {each}  {each.origin}".rstrip() for each in row.top]
            parts.append("\n".join([f"{row.model} {row.size}: the longest steps", "", *texts]))
    causes = [row.cause for row in rows if row.cause is not None]
    named = "\n".join(f"- {cause}" for cause in causes) or "none"
    parts.append(f"Above {LIMIT:.0f}x of ONNX Runtime:\n\n{named}")
    return "\n\n".join(part for part in parts if part)
