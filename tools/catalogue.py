"""Print which of our rules and passes does what each rewrite of Grappler and others does.

    python -m tools.catalogue > catalogue.md

One Markdown table a family, then one for each of those that rewrite what Grappler does not. What a
rule says, needs and shows is printed by `graphopt-opt --list-rules`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatchcase

from graphopt.cli.listing import first_line
from graphopt.passes import PASSES, RULES
from graphopt.rewriting.rule import Rule
from tools.catalogue_extras import EXTRAS
from tools.catalogue_rows import TABLES, Row


def rules_of(row: Row) -> list[Rule]:
    """The rules that a row names, in order."""
    return [rule for rule in RULES if any(fnmatchcase(rule.key, name) for name in row.by.split())]


def passes_of(row: Row) -> list[str]:
    """The passes that a row names."""
    return [name for name in row.by.split() if name in PASSES]


def unknown(row: Row) -> list[str]:
    """Names of a row that are those of no rule and no pass."""
    keys = [*PASSES, *(rule.key for rule in RULES)]
    return [name for name in row.by.split() if not any(fnmatchcase(key, name) for key in keys)]


def families(rules: Iterable[Rule]) -> Mapping[str, list[Rule]]:
    """Rules by the family that their keys begin with."""
    found: dict[str, list[Rule]] = {}
    for rule in rules:
        found.setdefault(rule.key.partition(".")[0], []).append(rule)
    return found


def cells(row: Row) -> tuple[str, ...]:
    """A row of the table: its key, its name elsewhere, what does it here, its class, the words."""
    named: list[str] = []
    said: list[str] = []
    classes: set[str] = set()
    for family, rules in families(rules_of(row)).items():
        named.append(f"`{family}` ({len(rules)})" if len(rules) > 1 else f"`{rules[0].key}`")
        said.append(first_line(rules[0].doc))
        classes |= {rule.soundness.name.lower() for rule in rules}
    for name in passes_of(row):
        named.append(f"pass `{name}`")
        said.append(first_line(PASSES[name].__doc__))
    words = "; ".join([*dict.fromkeys(said), *([row.why] if row.why else [])])
    order = [name for name in ("exact", "value", "rounding", "fast") if name in classes]
    return row.key, row.name, ", ".join(named) or "none", ", ".join(order), words


def lines() -> Iterator[str]:
    """The tables, line by line."""
    tables = [("Grappler", title, rows) for title, rows in TABLES.items()]
    for whose, title, rows in (*tables, *((name, name, rows) for name, rows in EXTRAS.items())):
        yield from (f"## {title}", "", f"| | {whose} | graphopt | class | what |", "|---" * 5 + "|")
        for row in rows:
            yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells(row)) + " |"
        yield ""


if __name__ == "__main__":
    print("\n".join(lines()))
