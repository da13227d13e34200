"""Remarks: what the optimizer did, what it left undone and why, told one by one.

A list of remarks is a log, too: run the same pipeline with `only` the rewrites that a log holds (a
`Replay` of it), and it does these and no others. A log without some of its lines finds the rewrite
that does harm.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from graphopt.errors import UsageError, nearest
from graphopt.fingerprint import Fingerprints
from graphopt.graph import Graph
from graphopt.ir import Node
from graphopt.provenance import origin

Kind = Literal["passed", "missed", "failed", "analysis"]
KINDS: tuple[Kind, ...] = ("passed", "missed", "failed", "analysis")


@dataclass(frozen=True, slots=True)
class Remark:
    """One thing that is told.

    `kind`: passed, a rewrite was made; missed, a rule's left side matched and it was refused;
    failed, a pass was undone; analysis, what a pass found out. `pass_name` and `rule` say by whom,
    `node` is the value, `source` the places in a program or the nodes of a file that it comes from,
    `reason` says why not, or what. `step` counts the rewrites of a run from 1; `fingerprint` tells
    the value that was replaced from all others, in any process.
    """

    kind: Kind
    pass_name: str
    rule: str = ""
    node: str = ""
    source: str = ""
    reason: str = ""
    step: int = 0
    fingerprint: str = ""

    def __str__(self) -> str:
        where = f" at {self.source or self.node}" if self.node else ""
        told = f": {self.reason}" if self.reason else ""
        return f"{self.kind}: {self.rule or self.pass_name}{where}{told}"


@dataclass
class Log:
    """The remarks of one run, of the kinds that are wanted; see `Context`."""

    kinds: frozenset[str] = frozenset(KINDS)
    remarks: list[Remark] = field(default_factory=list[Remark])
    _steps: int = 0
    _fingerprints: Fingerprints = field(default_factory=Fingerprints)

    def wants(self, kind: Kind) -> bool:
        """Whether remarks of a kind are kept."""
        return kind in self.kinds

    def passed(self, pass_name: str, graph: Graph, done: Iterable[tuple[str, Node, Node]]) -> None:
        """Keep the rewrites of a sweep: rule, old value, new value; `graph` came out of it."""
        for rule, old, new in done:
            self._steps += 1
            if self.wants("passed"):
                made = f"{new.op.name} : {new.type}"
                fingerprint = self._fingerprints(old)
                self._keep("passed", pass_name, graph, rule, old, made, self._steps, fingerprint)

    def missed(
        self, pass_name: str, graph: Graph, refused: Iterable[tuple[str, Node, str]]
    ) -> None:
        """Keep what a sweep refused: rule, value, reason; the same once."""
        for rule, node, reason in dict.fromkeys(refused):
            self._keep("missed", pass_name, graph, rule, node, reason)

    def failed(self, pass_name: str, reason: str) -> None:
        """Keep that a pass was undone."""
        if self.wants("failed"):
            self.remarks.append(Remark("failed", pass_name, reason=reason))

    def analysis(self, pass_name: str, reason: str, graph: Graph, node: Node | None = None) -> None:
        """Keep what a pass found out, about a value or the whole graph."""
        if self.wants("analysis"):
            if node is None:
                self.remarks.append(Remark("analysis", pass_name, reason=reason))
            else:
                self._keep("analysis", pass_name, graph, "", node, reason)

    def _keep(
        self,
        kind: Kind,
        pass_name: str,
        graph: Graph,
        rule: str,
        node: Node,
        reason: str,
        step: int = 0,
        fingerprint: str = "",
    ) -> None:
        label = f"{node.op.name} : {node.type}"
        source = origin(graph, node)
        made = Remark(kind, pass_name, rule, label, source, reason, step, fingerprint)
        self.remarks.append(made)

    def __iter__(self) -> Iterator[Remark]:
        return iter(self.remarks)


def lines_of(remarks: Iterable[Remark]) -> Iterator[str]:
    """Each remark as a JSON object on a line; what is empty is left out."""
    for remark in remarks:
        yield json.dumps({name: value for name, value in asdict(remark).items() if value})


def parse_kinds(text: str) -> frozenset[str]:
    """The kinds that a list such as `passed,missed` names; raises UsageError."""
    given = [name.strip() for name in text.split(",") if name.strip()]
    for name in given:
        if name not in KINDS:
            raise UsageError(f"no kind of remarks is called {name!r}{nearest(name, list(KINDS))}")
    return frozenset(given)


class Replay:
    """What allows only the rewrites that a log holds.

    Made of remarks, or of the lines of a file of them; those of other kinds are passed over.
    """

    def __init__(self, log: Iterable[Remark | str]) -> None:
        self._allowed: set[tuple[str, str, str]] = set()
        for entry in log:
            told: Any = json.loads(entry) if isinstance(entry, str) else asdict(entry)
            if told.get("kind") == "passed":
                self._allowed.add((told["pass_name"], told["rule"], told["fingerprint"]))
        self._fingerprints = Fingerprints()

    def allows(self, pass_name: str, rule: str, node: Node) -> bool:
        """Whether a rewrite of a value is among those of the log."""
        return (pass_name, rule, self._fingerprints(node)) in self._allowed
