"""How a program runs, to be printed: lanes, steps, memory; what they should take, and took."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from graphopt.engine.plan import Plan


@dataclass(frozen=True)
class ProgramPlan:
    """A plan and, for each step in program order, where its node comes from and what it took.

    `plan` has all the figures; `measured` is in seconds, None for a step that was not measured.
    `blas` is the number of threads that matrix products use.
    """

    plan: Plan
    origins: Sequence[str]
    measured: Sequence[float | None]
    blas: int

    def __len__(self) -> int:
        """How many steps it has."""
        return len(self.plan.graph.steps)

    @property
    def lanes(self) -> int:
        """On how many threads its steps run."""
        return len(self.plan.lanes)

    @property
    def arena(self) -> int:
        """The bytes of memory that an instance holds for values inside of the program."""
        return self.plan.arena

    def __str__(self) -> str:
        return "\n".join(self._lines())

    __repr__ = __str__

    def _lines(self) -> Iterator[str]:
        plan = self.plan
        graph, line = plan.graph, plan.line
        count = len(graph.steps)
        yield (
            f"{count} steps on {self.lanes} lane{'s' * (self.lanes > 1)}, BLAS on {self.blas}; "
            f"{plan.makespan * 1e6:.1f} µs predicted; arena {plan.arena} bytes, "
            f"{len(plan.syncs)} syncs"
        )
        wide = max([len(step.name) for step in graph.steps] + [4])
        yield f"{'step':{wide}}  lane  start µs  predicted   measured  memory; waits for; origin"
        for index in line.order:
            step = graph.steps[index]
            took = self.measured[index]
            told = "" if took is None else f"{took * 1e6:.1f}"
            uses = " ".join(f"{name}{self._at(name)}" for name in step.read)
            makes = " ".join(f"{name}{self._at(name)}" for name in (*step.mutate, *step.write))
            waits = " ".join(plan.name(before) for before, after in plan.syncs if after == index)
            parts = [f"{uses} -> {makes}".strip(), waits, self.origins[index]]
            yield (
                f"{step.name:{wide}}  {line.lane[index]:4}  {line.start[index] / 1e3:8.1f}  "
                f"{step.cost * 1e6:9.1f}  {told:>9}  {'; '.join(part for part in parts if part)}"
            )
        yield f"{'buffer':{wide}}  {'bytes':>10}  {'offset':>10}  kind"
        for buffer in graph.buffers:
            offset = plan.layout.offset.get(buffer.name, "")
            yield f"{buffer.name:{wide}}  {buffer.nbytes:10}  {offset:>10}  {buffer.kind}"

    def _at(self, name: str) -> str:
        offset = self.plan.layout.offset.get(name)
        return "" if offset is None else f"@{offset}"
