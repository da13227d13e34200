"""Plans as JSON text. What is read is checked whole, so a plan from a file is as safe as a new one.

The calls of the steps are not stored: a `Program` binds them by the names of the steps.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, cast

from graphopt.engine.plan.check import check_plan
from graphopt.engine.plan.memory import Layout
from graphopt.engine.plan.plan import Plan
from graphopt.engine.plan.schedule import Timeline
from graphopt.engine.plan.steps import Buffer, PlanError, Step, StepGraph

VERSION = 1

# The fields of each object, and their types.
PLAN: dict[str, Any] = {"version": int, "crossing": int, "arena": int}
PLAN_LISTS: dict[str, Any] = {"buffers": list, "steps": list, "syncs": list}
BUFFER: dict[str, Any] = {"name": str, "nbytes": int, "kind": str, "offset": int | None}
STEP: dict[str, Any] = {"name": str, "cost": float, "lane": int, "start": int, "end": int}
STEP_LISTS: dict[str, Any] = {"read": list, "mutate": list, "write": list, "may_share": list}


def dump_plan(plan: Plan) -> str:
    """The text of a plan, a line for each buffer, step and sync."""
    line, place = plan.line, plan.layout.offset
    buffers = [
        {"name": b.name, "nbytes": b.nbytes, "kind": b.kind, "offset": place.get(b.name)}
        for b in plan.graph.buffers
    ]
    steps = [
        {"name": step.name, "cost": float(step.cost), "lane": lane, "start": start, "end": end}
        | {key: getattr(step, key) for key in STEP_LISTS}
        for step, lane, start, end in zip(
            plan.graph.steps, line.lane, line.start, line.end, strict=True
        )
    ]
    syncs = [[plan.name(earlier), plan.name(step)] for earlier, step in plan.syncs]
    return (
        f'{{"version": {VERSION}, "crossing": {line.crossing}, "arena": {plan.arena},\n'
        f'"buffers": {_rows(buffers)},\n"steps": {_rows(steps)},\n"syncs": {_rows(syncs)}}}\n'
    )


def load_plan(text: str) -> Plan:
    """The plan that a text holds. Raises PlanError unless it is whole, consistent and safe."""
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise PlanError(f"no JSON: {error}", at="plan") from error
    data = _fields(data, PLAN | PLAN_LISTS)
    if data["version"] != VERSION:
        raise PlanError(f"version {data['version']}, not {VERSION}", at="plan")
    buffers = [_fields(item, BUFFER) for item in data["buffers"]]
    steps = [_fields(item, STEP | STEP_LISTS) for item in data["steps"]]
    graph = StepGraph(
        [Buffer(item["name"], item["nbytes"], item["kind"]) for item in buffers],
        [Step(item["name"], cost=item["cost"], **_lists(item)) for item in steps],
    )
    lane, start, end = (tuple(step[key] for step in steps) for key in ("lane", "start", "end"))
    offsets = {b["name"]: b["offset"] for b in buffers if b["offset"] is not None}
    known = {step.name: index for index, step in enumerate(graph.steps)}
    pairs = [_names(pair, "syncs") for pair in data["syncs"]]
    if any(len(pair) != 2 or not known.keys() >= set(pair) for pair in pairs):
        raise PlanError("a sync is not of two steps", at="syncs")
    plan = Plan(
        graph,
        Timeline(data["crossing"], lane, start, end),
        Layout(data["arena"], offsets),
        tuple((known[pair[0]], known[pair[1]]) for pair in pairs),
    )
    check_plan(plan)
    return plan


def _rows(items: Iterable[object]) -> str:
    """A JSON list with a line for each item."""
    return "[" + ",\n ".join(json.dumps(item) for item in items) + "]"


def _fields(item: Any, wanted: dict[str, Any]) -> dict[str, Any]:
    """A JSON object, once it has exactly the wanted fields, each of its type."""
    if not isinstance(item, dict):
        raise PlanError(f"expected an object, found {item!r}", at="plan")
    fields = cast("dict[str, Any]", item)
    at = str(fields.get("name", "plan"))
    for key in sorted(fields.keys() ^ wanted.keys()):
        raise PlanError(f"{'unknown' if key in fields else 'missing'} field {key!r}", at=at)
    for key, kind in wanted.items():
        if isinstance(fields[key], bool) or not isinstance(fields[key], kind):
            raise PlanError(f"field {key!r} is {fields[key]!r}", at=at)
    return fields


def _names(item: Any, at: str) -> tuple[str, ...]:
    """A JSON list of strings."""
    names = cast("list[object]", item) if isinstance(item, list) else [None]
    if not all(isinstance(name, str) for name in names):
        raise PlanError(f"expected a list of names, found {item!r}", at=at)
    return tuple(map(str, names))


def _lists(step: dict[str, Any]) -> dict[str, Any]:
    """The buffers that a step names."""
    return {key: _names(step[key], step["name"]) for key in STEP_LISTS}
