"""A plan: for each step a lane and a time, for each buffer a place, and who waits for whom.

It is data: `make_plan` finds one, `check_plan` proves one safe, text stores one, a `Program` runs
one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import product

from graphopt.engine.plan.memory import Layout, lay_out
from graphopt.engine.plan.schedule import Policy, Thrift, Timeline, ranks, schedule, serial
from graphopt.engine.plan.steps import PlanError, StepGraph
from graphopt.engine.plan.sync import Clocks, Edge, successions, syncs

BUDGETS = (0.5, 0.75, 0.9, 1.0, 1.25, 1.5, 2.0)
"""Bytes alive, relative to one lane's arena, for which a schedule is tried."""

PRICES = (0.0, 0.3)
"""What one lane's arena may cost of the longest path; tried with each budget."""

SPEED = 20
"""How many percent of the bytes are worth one percent of the time."""

FINALISTS = 4
"""Of how many schedules the layout is improved."""


@dataclass(frozen=True)
class Plan:
    """How some steps run: when, where their buffers lie, and which signals keep them in order."""

    graph: StepGraph
    line: Timeline
    layout: Layout
    syncs: tuple[Edge, ...]

    @property
    def lanes(self) -> tuple[tuple[str, ...], ...]:
        """The names of the steps of each lane, in their order."""
        return tuple(tuple(map(self.name, lane)) for lane in self.line.lanes)

    def name(self, step: int) -> str:
        """The name of a step, given its place in program order."""
        return self.graph.steps[step].name

    @property
    def arena(self) -> int:
        """The bytes that the step buffers need together."""
        return self.layout.arena

    @property
    def makespan(self) -> float:
        """The seconds that a run should take."""
        return self.line.makespan / 1e9

    @property
    def speedup(self) -> float:
        """How much faster than on one lane a run should be."""
        return serial(self.graph).makespan / self.line.makespan if self.graph.steps else 1.0

    def dead_after(self, step: str) -> tuple[tuple[int, int], ...]:
        """The (offset, bytes) of the arena that nobody uses from a step's end to the next write.

        Whoever runs the step may fill them with rubbish then. Buffers whose last uses are on
        several lanes that do not wait for each other have no such step.
        """
        return self._dead.get(step, ())

    @cached_property
    def _dead(self) -> dict[str, tuple[tuple[int, int], ...]]:
        """What dies with each step."""
        clocks = Clocks(self.line, self.syncs)
        found: dict[str, tuple[tuple[int, int], ...]] = {}
        inherited = {
            older
            for older, newer in successions(self.graph, self.line, self.layout)
            if self.graph.users[newer][0] in self.graph.users[older]
        }
        for name, offset in self.layout.offset.items():
            users = self.graph.users[name]
            last = max(users, key=self.line.start.__getitem__)
            if name not in inherited and all(u == last or clocks.ordered(u, last) for u in users):
                at = self.name(last)
                found[at] = (*found.get(at, ()), (offset, self.graph.buffer[name].nbytes))
        return found

    def __str__(self) -> str:
        return "\n".join(_table(self))


def make_plan(graph: StepGraph, lanes: int = 1, policy: Policy | None = None) -> Plan:
    """Plan steps for at most some lanes; one unless more are predicted to be worth it.

    Of the schedules hardly slower than the fastest, that with the least bytes is taken, unless
    another is faster by a percent for every `SPEED` percent of bytes.
    """
    if lanes < 1:
        raise PlanError(f"{lanes} lanes")
    policy = policy or Policy()
    alone = serial(graph)
    line, layout = alone, lay_out(graph, alone)
    if lanes > 1:
        found = list(_tries(graph, lanes, policy, layout.arena))
        fastest = min(each.makespan for each in found)
        if alone.makespan > fastest * (1 + policy.gain):
            fast = [each for each in found if each.makespan <= fastest * (1 + policy.slack)]
            line, layout = _best(graph, list(dict.fromkeys(fast)))
    return Plan(graph, line, layout, syncs(graph, line, layout))


def _tries(graph: StepGraph, lanes: int, policy: Policy, arena: int) -> Iterator[Timeline]:
    """Schedules worth a look, given one lane's arena: the fastest, program order's, and thrifty."""
    free = schedule(graph, lanes, policy)
    yield free
    yield schedule(graph, lanes, policy, Thrift(in_order=True))
    byte = max(ranks(graph), default=0) / max(1, arena)
    for price, budget in product(PRICES, BUDGETS):
        yield schedule(
            graph, lanes, policy, Thrift(False, budget * arena, price * byte, free.makespan)
        )


def _best(graph: StepGraph, lines: list[Timeline]) -> tuple[Timeline, Layout]:
    """The best of some schedules and its layout; only of those that look best is it a good one."""
    fastest = min(line.makespan for line in lines)

    def badness(tried: tuple[Timeline, Layout]) -> float:
        return (tried[0].makespan / fastest) ** SPEED * (tried[1].arena + 1)

    rough = sorted(((line, lay_out(graph, line, 1)) for line in lines), key=badness)
    return min(((line, lay_out(graph, line)) for line, _ in rough[:FINALISTS]), key=badness)


def _table(plan: Plan) -> Iterator[str]:
    """The lines of a plan as people read it."""
    graph, line = plan.graph, plan.line
    steps, lanes = len(graph.steps), len(line.lanes)
    yield (
        f"{steps} steps on {lanes} lane{'s' * (lanes > 1)}: {line.makespan / 1e3:.1f} µs, "
        f"{plan.speedup:.2f}x of one lane; arena {plan.arena} bytes; {len(plan.syncs)} syncs"
    )
    names = [step.name for step in graph.steps] + [buffer.name for buffer in graph.buffers]
    wide = max(map(len, [*names, "buffer"]))
    yield f"{'step':{wide}}  lane  start µs    end µs  uses; waits for"
    for step in line.order:
        each = graph.steps[step]
        uses = [*each.read, *(f"{name}*" for name in each.mutate)]
        text = f"{' '.join(uses)} -> {' '.join(each.write)}".strip()
        waits = " ".join(plan.name(earlier) for earlier, later in plan.syncs if later == step)
        text += f"; {waits}" if waits else ""
        start, end = line.start[step] / 1e3, line.end[step] / 1e3
        yield f"{each.name:{wide}}  {line.lane[step]:4}  {start:8.1f}  {end:8.1f}  {text}"
    yield f"{'buffer':{wide}}  {'bytes':>10}  {'offset':>10}  kind"
    for buffer in graph.buffers:
        offset = plan.layout.offset.get(buffer.name, "")
        yield f"{buffer.name:{wide}}  {buffer.nbytes:10}  {offset:>10}  {buffer.kind}"
