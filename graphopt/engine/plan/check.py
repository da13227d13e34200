"""Is a plan safe? It must give program order's results however fast each lane happens to run.

Times are predictions, so nothing here relies on them: only what a lane's order and the signals
between lanes enforce counts.
"""

from __future__ import annotations

from graphopt.engine.plan.memory import ALIGNMENT
from graphopt.engine.plan.plan import Plan
from graphopt.engine.plan.steps import PlanError
from graphopt.engine.plan.sync import Clocks, successions


def check_plan(plan: Plan) -> None:
    """Raise PlanError unless a plan gives program order's results however its lanes are timed."""
    _check_line(plan)
    _check_layout(plan)
    graph, line = plan.graph, plan.line
    clocks = Clocks(line, plan.syncs)
    for step, waits in enumerate(graph.before):
        for earlier in waits:
            if not clocks.ordered(earlier, step):
                raise PlanError(
                    f"does not wait for {graph.steps[earlier].name}", at=plan.name(step)
                )
    for older, newer in successions(graph, line, plan.layout):
        heir = graph.users[newer][0]
        for user in graph.users[older]:
            if user == heir and _in_place(plan, older, newer):
                continue
            if not clocks.ordered(user, heir):
                at = plan.name(heir)
                raise PlanError(f"overwrites {older} that {plan.name(user)} may yet use", at=at)


def _in_place(plan: Plan, older: str, newer: str) -> bool:
    """Whether the step that writes a buffer may read the other from the same bytes."""
    writer = plan.graph.steps[plan.graph.users[newer][0]]
    same = plan.graph.buffer[older].nbytes == plan.graph.buffer[newer].nbytes
    same = same and plan.layout.offset[older] == plan.layout.offset[newer]
    return same and older in writer.may_share


def _check_line(plan: Plan) -> None:
    """Raise unless lanes run one step at a time and syncs lead from lane to lane, forward."""
    line, count = plan.line, len(plan.graph.steps)
    if not len(line.lane) == len(line.start) == len(line.end) == count:
        raise PlanError(f"not every one of {count} steps has a time")
    if any(not 0 <= lane < max(1, count) for lane in line.lane):
        raise PlanError("a step is on no lane")
    for steps in line.lanes:
        now = 0
        for step in steps:
            if not now <= line.start[step] < line.end[step]:
                raise PlanError(
                    "starts before its lane is free, or takes no time", at=plan.name(step)
                )
            now = line.end[step]
    for earlier, step in plan.syncs:
        if not (0 <= earlier < count and 0 <= step < count):
            raise PlanError("a sync of a step that does not exist")
        if line.lane[earlier] == line.lane[step] or line.end[earlier] > line.start[step]:
            raise PlanError(f"cannot wait for {plan.name(earlier)}", at=plan.name(step))
    if len(set(plan.syncs)) < len(plan.syncs):
        raise PlanError("a sync is there twice")


def _check_layout(plan: Plan) -> None:
    """Raise unless exactly the step buffers that are used lie, aligned, in the arena."""
    graph = plan.graph
    wanted = {b.name for b in graph.buffers if b.kind == "step" and graph.users[b.name]}
    for name in sorted(wanted.symmetric_difference(plan.layout.offset)):
        raise PlanError("a buffer of steps, and no other, has a place in the arena", at=name)
    for name, offset in plan.layout.offset.items():
        if offset < 0 or offset % ALIGNMENT or offset + graph.buffer[name].nbytes > plan.arena:
            raise PlanError(f"offset {offset} is not aligned or not in the arena", at=name)
