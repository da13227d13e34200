"""What a plan is made of: buffers, steps that use them, and what must run before what.

Program order is the meaning. A step runs after the last step that changed what it touches, and one
that changes a buffer runs after all that read it since (read after write, write after read, write
after write). Everything else may overlap.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, get_args

from graphopt.errors import GraphoptError

Kind = Literal["step", "persistent", "input", "output"]
"""Who owns a buffer: the arena (step), the program (persistent), or the caller (the others)."""

KINDS: tuple[Kind, ...] = get_args(Kind)


class PlanError(GraphoptError):
    """Steps contradict each other, or a plan's data is bad; `at` is the step or the buffer."""


@dataclass(frozen=True, slots=True)
class Buffer:
    """Some bytes that steps use. Only those of kind "step" live in the arena."""

    name: str
    nbytes: int
    kind: Kind = "step"


@dataclass(frozen=True, slots=True)
class Step:
    """One call of a plan and all that it touches, by the names of buffers.

    It reads `read`, updates `mutate` in place and produces `write`, whose old content it ignores.
    A buffer in both of the first is one that it mutates. Those in `may_share` it reads such that
    a written buffer of equal size may take their bytes.
    """

    name: str
    run: Callable[[], object] | None = field(default=None, compare=False)
    read: tuple[str, ...] = ()
    mutate: tuple[str, ...] = ()
    write: tuple[str, ...] = ()
    cost: float = 0.0
    may_share: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        read = tuple(name for name in dict.fromkeys(self.read) if name not in self.mutate)
        object.__setattr__(self, "read", read)
        object.__setattr__(self, "mutate", tuple(dict.fromkeys(self.mutate)))
        object.__setattr__(self, "write", tuple(dict.fromkeys(self.write)))

    @property
    def touches(self) -> tuple[str, ...]:
        """All buffers of the step, each once."""
        return self.read + self.mutate + self.write


@dataclass(frozen=True)
class StepGraph:
    """Buffers, and steps in program order."""

    buffers: tuple[Buffer, ...]
    steps: tuple[Step, ...]

    def __init__(self, buffers: Iterable[Buffer], steps: Iterable[Step]) -> None:
        object.__setattr__(self, "buffers", tuple(buffers))
        object.__setattr__(self, "steps", tuple(steps))
        _check_buffers(self)
        filled = {each.name for each in self.buffers if each.kind in ("persistent", "input")}
        for step in self.steps:
            _check_step(step, self.buffer, filled)
            filled.update(step.write)
        for each in self.buffers:
            if each.kind == "output" and each.name not in filled:
                raise PlanError("no step writes this output", at=each.name)

    @cached_property
    def buffer(self) -> dict[str, Buffer]:
        """Buffers by name."""
        return {each.name: each for each in self.buffers}

    @cached_property
    def users(self) -> dict[str, tuple[int, ...]]:
        """The steps that touch each buffer, in program order; the first writes a step buffer."""
        found: dict[str, list[int]] = {each.name: [] for each in self.buffers}
        for index, step in enumerate(self.steps):
            for name in step.touches:
                found[name].append(index)
        return {name: tuple(steps) for name, steps in found.items()}

    @cached_property
    def before(self) -> tuple[tuple[int, ...], ...]:
        """For each step, those that it directly waits for, as program order has it."""
        changed: dict[str, int] = {}
        readers: dict[str, list[int]] = {}
        found: list[tuple[int, ...]] = []
        for index, step in enumerate(self.steps):
            waits = {changed[name] for name in step.touches if name in changed}
            for name in step.mutate + step.write:
                waits.update(readers.pop(name, ()))
                changed[name] = index
            for name in step.read:
                readers.setdefault(name, []).append(index)
            found.append(tuple(sorted(waits)))
        return tuple(found)

    @cached_property
    def after(self) -> tuple[tuple[int, ...], ...]:
        """For each step, those that directly wait for it."""
        found: list[list[int]] = [[] for _ in self.steps]
        for index, waits in enumerate(self.before):
            for earlier in waits:
                found[earlier].append(index)
        return tuple(tuple(steps) for steps in found)


def _check_buffers(graph: StepGraph) -> None:
    """Raise on names that stand for two things and on sizes that are none."""
    for items in (graph.buffers, graph.steps):
        name, count = Counter(each.name for each in items).most_common(1)[0] if items else ("", 1)
        if count > 1:
            raise PlanError("two have this name", at=name)
    for each in graph.buffers:
        if type(each.nbytes) is not int or each.nbytes < 0:
            raise PlanError(f"{each.nbytes!r} is no number of bytes", at=each.name)
        if each.kind not in KINDS:
            raise PlanError(f"{each.kind!r} is none of {', '.join(KINDS)}", at=each.name)


def _check_step(step: Step, buffers: dict[str, Buffer], filled: set[str]) -> None:
    """Raise unless a step can run once the buffers in `filled` have their content."""

    def refuse(names: Iterable[str], why: str) -> None:
        for name in names:
            raise PlanError(f"{name} {why}", at=step.name)

    used = step.read + step.mutate
    refuse((n for n in step.touches if n not in buffers), "is no buffer")
    refuse((n for n in step.write if n in used), "is used and written: that is to mutate it")
    refuse((n for n in used if n not in filled), "is used before it is written")
    changed = step.mutate + step.write
    refuse((n for n in changed if buffers[n].kind == "input"), "is an input, which is only read")
    refuse((n for n in step.may_share if n not in step.read), "is not read, so cannot be shared")
    if not (math.isfinite(step.cost) and step.cost >= 0):
        raise PlanError(f"a cost of {step.cost} seconds", at=step.name)
