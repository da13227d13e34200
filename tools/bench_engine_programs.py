"""The programs that the engine's benchmarks run: calls, and the cells that they read and mutate."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

Call = Callable[[], object]
MESH = 100  # cells


class Task(NamedTuple):
    """A call, the cells it reads, and the cell it mutates."""

    call: Call
    reads: tuple[int, ...]
    cell: int


Program = Sequence[Task]


def nothing() -> None:
    """The no-op."""


def chain(count: int) -> list[Task]:
    """Every task mutates the same cell."""
    return [Task(nothing, (), 0) for _ in range(count)]


def independent(count: int) -> list[Task]:
    """Every task mutates a cell of its own."""
    return [Task(nothing, (), k) for k in range(count)]


def mesh(count: int) -> list[Task]:
    """Task k reads both neighbours of cell k and mutates it, in a ring of cells."""
    return [Task(nothing, ((k - 1) % MESH, (k + 1) % MESH), k % MESH) for k in range(count)]


PROGRAMS = {make.__name__: make for make in (chain, independent, mesh)}


def cell_count(program: Program) -> int:
    """How many cells a program names."""
    return 1 + max(max((task.cell, *task.reads)) for task in program)


def predecessors(program: Program) -> list[list[int]]:
    """For each task, the earlier ones it must wait for; those that others imply are left out."""
    writer: dict[int, int] = {}
    readers: dict[int, list[int]] = {}
    found: list[list[int]] = []
    for k, (_, reads, cell) in enumerate(program):
        before = {writer[each] for each in reads if each in writer}
        since = readers.pop(cell, [])
        before.update(since or ([writer[cell]] if cell in writer else []))
        found.append(sorted(before))
        writer[cell] = k
        for each in reads:
            if each != cell:
                readers.setdefault(each, []).append(k)
    return found
