"""What became of a model, for people (a table and a verdict) and for programs (a JSON object)."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, TextIO

from graphopt.check import CheckResult
from graphopt.cli.sizes import Facts
from graphopt.cli.terminal import is_terminal
from graphopt.report import Report

SCHEMA = 1


@dataclass
class Outcome:
    """All that there is to tell."""

    input: str
    output: str | None
    before: Facts
    after: Facts
    report: Report
    pipeline: str
    math: str
    seconds: float = 0.0
    check: CheckResult | None = None
    checkers: tuple[str, ...] = ()
    notes: list[str] = field(default_factory=list[str])

    def json(self) -> dict[str, Any]:
        """As one object; its shape is versioned by `schema_version`."""
        check = None if self.check is None else {**asdict(self.check), "ok": True}
        if check is not None:
            check["by"] = list(self.checkers)
        return {
            "schema_version": SCHEMA,
            "input": self.input,
            "output": self.output,
            "pipeline": self.pipeline,
            "math": self.math,
            "ops_before": dict(self.before.ops),
            "ops_after": dict(self.after.ops),
            "nodes": {"before": self.before.nodes, "after": self.after.nodes},
            "bytes": {"before": self.before.bytes, "after": self.after.bytes},
            "params_bytes": {"before": self.before.params_bytes, "after": self.after.params_bytes},
            "passes": [asdict(record) for record in self.report.passes],
            "rules": dict(self.report.rules),
            "check": check,
            "notes": self.notes,
            "seconds": round(self.seconds, 6),
            "exit_status": 0,
        }

    def verdict(self) -> str:
        """The last line."""
        parts = [f"{self.before.nodes}->{self.after.nodes} nodes"]
        if self.before.bytes is not None and self.after.bytes is not None:
            parts.append(f"{self.before.bytes}->{self.after.bytes} B")
        if self.check is not None:
            parts.append(f"check {self.check} ({', '.join(self.checkers)})")
        if self.report.failures:
            parts.append(f"{len(self.report.failures)} passes undone")
        parts.append(f"{self.seconds * 1e3:.0f} ms")
        return f"OK {', '.join(parts)}" + ("" if self.output else " (nothing written; use -o)")

    def rows(self) -> list[tuple[str, str, str]]:
        """The lines of the table: what, before, after."""
        names = sorted(
            {**self.before.ops, **self.after.ops},
            key=lambda name: (-self.before.ops.get(name, 0), name),
        )
        counts = [(n, self.before.ops.get(n, 0), self.after.ops.get(n, 0)) for n in names]
        rows = [(name, str(old or ""), str(new or "")) for name, old, new in counts]
        rows.append(("nodes", str(self.before.nodes), str(self.after.nodes)))
        sizes = [(self.before.params_bytes, self.after.params_bytes, "parameters")]
        if self.before.bytes is not None and self.after.bytes is not None:
            sizes.append((self.before.bytes, self.after.bytes, "file"))
        rows += [(what, human_bytes(old), human_bytes(new)) for old, new, what in sizes]
        return rows


def human_bytes(count: int) -> str:
    """A number of bytes for a reader.

    >>> human_bytes(309), human_bytes(2_500_000)
    ('309 B', '2.4 MiB')
    """
    size = float(count)
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.2f} GiB"


def print_table(outcome: Outcome, stream: TextIO) -> None:
    """Draw the table: through rich on a terminal, as aligned text elsewhere."""
    rows = outcome.rows()
    totals = next(k for k, row in enumerate(rows) if row[0] == "nodes")
    if is_terminal(stream):
        from rich.console import Console
        from rich.table import Table

        table = Table("", "before", "after", box=None)
        for column in table.columns[1:]:
            column.justify = "right"
        for k, row in enumerate(rows):
            table.add_row(
                *row, style="bold" if k >= totals else "" if row[1] == row[2] else "green"
            )
        Console(file=stream).print(table)
        return
    width = max(len(row[0]) for row in rows)
    for what, old, new in [("", "before", "after"), *rows]:
        print(f"{what:<{width}}  {old:>10}  {new:>10}".rstrip(), file=stream)
