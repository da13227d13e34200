"""What an optimization did, pass by pass."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from graphopt.remarks import Remark


@dataclass(frozen=True, slots=True)
class PassRecord:
    """One run of one pass.

    `seconds` is wall time, `rules` counts rewrites by rule, `nodes_before` and `nodes_after` count
    operations. `error` says why the pass was undone, "" when it was not.
    """

    name: str
    seconds: float
    changed: bool
    nodes_before: int
    nodes_after: int
    rules: Mapping[str, int] = field(default_factory=dict[str, int])
    error: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """All runs of all passes, in order, and the remarks that were asked for.

    `grown` is by how many bytes folding has enlarged the constants since the graph was loaded: its
    bound holds for all runs together, or every run would fold some more.
    """

    passes: tuple[PassRecord, ...] = ()
    remarks: tuple[Remark, ...] = ()
    grown: int = 0

    @property
    def seconds(self) -> float:
        """Wall time of all passes together."""
        return sum(record.seconds for record in self.passes)

    @property
    def rules(self) -> Mapping[str, int]:
        """Rewrites by rule, the most frequent first."""
        total: Counter[str] = Counter()
        for record in self.passes:
            total.update(record.rules)
        return dict(total.most_common())

    @property
    def failures(self) -> tuple[PassRecord, ...]:
        """The runs that were undone."""
        return tuple(record for record in self.passes if record.error)

    def __str__(self) -> str:
        lines = [f"{'pass':<14}{'ms':>9}{'nodes':>16}  rewrites"]
        for record in self.passes:
            counts = ", ".join(f"{name} {count}" for name, count in record.rules.items())
            size = f"{record.nodes_before} -> {record.nodes_after}"
            told = f"undone: {record.error}" if record.error else counts
            lines.append(f"{record.name:<14}{record.seconds * 1e3:>9.1f}{size:>16}  {told}")
        return "\n".join(lines)
