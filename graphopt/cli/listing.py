"""The lists: passes with their options, rules with their soundness, a pipeline as text."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import MISSING
from typing import Any

from graphopt import api
from graphopt.cli.options import Options
from graphopt.pipeline import Pass, UntilStable
from graphopt.pipeline_text import print_pipeline


def show_lists(options: Options) -> int:
    """Print the lists that are asked for."""
    found: dict[str, Any] = {"schema_version": 1}
    lines: list[str] = []
    if options.list_passes:
        found["passes"] = passes = list(_passes())
        width = max(len(item["usage"]) for item in passes)
        lines += [f"{item['usage']:<{width}}  {item['doc']}" for item in passes]
    if options.list_rules:
        found["rules"] = rules = list(_rules())
        for rule in rules:
            lines += _told(rule)
    if options.dump_pipeline:
        found["pipeline"] = print_pipeline(api.resolve_pipeline(options.pipeline))
        lines.append(found["pipeline"])
    print(json.dumps(found) if options.json else "\n".join(lines))
    return 0


def _passes() -> Iterable[dict[str, Any]]:
    known = dict(sorted(api.known_passes().items())) | {UntilStable.name: UntilStable}
    for name, kind in known.items():
        given = _options(kind)
        told = ",".join(f"{option}={value}" for option, value in given.items())
        usage = f"{name}{{{told}}}" if told else name
        if kind is UntilStable:
            usage += "(...)"
        yield {"name": name, "usage": usage, "options": given, "doc": first_line(kind.__doc__)}


def _options(kind: type[Pass]) -> dict[str, Any]:
    """The options of a pass and their defaults, by the names that texts use."""
    return {
        item.name.replace("_", "-"): None if item.default is MISSING else item.default
        for item in kind.options()
        if not isinstance(item.default, tuple)  # the passes of a fixpoint stand in parentheses
    }


def _rules() -> Iterable[dict[str, Any]]:
    from graphopt.rewriting.show import equation, expression

    for rule in api.known_rules():
        yield {
            "name": rule.key,
            "soundness": rule.soundness.name.lower(),
            "doc": first_line(rule.doc),
            "equation": equation(rule),
            "guards": [guard.name for guard in rule.guards],
            "fires": expression(rule.fires()) if rule.fires else "",
            "misses": [expression(miss()) for miss in rule.near_misses],
        }


def _told(rule: dict[str, Any]) -> Iterable[str]:
    """A rule on four lines or more."""
    yield f"{rule['name']} ({rule['soundness']}): {rule['doc']}".rstrip()
    yield f"  {rule['equation']}"
    yield f"  fires:  {rule['fires']}"
    for miss in rule["misses"]:
        yield f"  misses: {miss}"


def first_line(doc: str | None) -> str:
    """The first line of a docstring."""
    return doc.strip().splitlines()[0] if doc and doc.strip() else ""
