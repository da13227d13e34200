"""The pass manager: passes, their order, their budgets, and what happens when one fails.

A pass is a frozen dataclass; its fields are its options. A pipeline is a literal list of passes.
Each pass is verified after it ran; one that raises, breaks the graph or spends its budget is undone
and reported, and the rest still run (Grappler's policy, which keeps an optimizer harmless).
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import Field, dataclass, field, fields, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, ClassVar, Protocol

from graphopt.body import Body
from graphopt.errors import GraphoptError, PassError
from graphopt.graph import Graph
from graphopt.ir import Node
from graphopt.refine import signature_refines
from graphopt.remarks import Log, Replay
from graphopt.report import PassRecord, Report
from graphopt.rewriting.plan import Planner, followed, in_scopes
from graphopt.rewriting.rule import Math, RuleSet
from graphopt.rewriting.sweep import Dispatch, Rewriter, sweep
from graphopt.rewriting.uses import Uses
from graphopt.verify import verify_structure


class Pass(ABC):
    """A rewrite of whole graphs: valid in, valid out.

    Subclasses are frozen dataclasses with a class-level `name`; each field is an option, written
    `name{max-bytes=4096}` in a pipeline's text. The first line of the docstring is what
    `--list-passes` shows.
    """

    name: ClassVar[str]
    own: ClassVar[tuple[str, ...]] = ()
    """The names, behind its own and a dot, of rewrites that it makes beside those of rule sets."""

    @abstractmethod
    def run(self, graph: Graph, context: Context) -> Graph:
        """The rewritten graph; the very same object when there is nothing to do."""

    @classmethod
    def options(cls) -> tuple[Field[Any], ...]:
        """The fields of the dataclass that a pass is."""
        kind: Any = cls
        return fields(kind)

    def text(self) -> str:
        """The pass as a pipeline's text writes it; options at their defaults are left out."""
        options = ",".join(
            f"{item.name.replace('_', '-')}={getattr(self, item.name)}"
            for item in self.options()
            if getattr(self, item.name) != item.default
        )
        return f"{self.name}{{{options}}}" if options else self.name


class ScopePass(Pass):
    """A rewrite of one scope at a time, for what is planned by looking at all of it.

    Every body is rewritten by itself, those inside it first, then the graph: nothing moves from one
    scope to another.
    """

    def run(self, graph: Graph, context: Context) -> Graph:
        return in_scopes(graph, lambda scope: self.scope(scope, context), context.settled(self))

    @abstractmethod
    def scope(self, graph: Graph, context: Context) -> Graph:
        """The rewritten graph, or body as a graph, its own bodies left alone."""


class Listener(Protocol):
    """What is told about every pass: printing, timing and tracing are done through it."""

    def before(self, pass_: Pass, graph: Graph) -> None:
        """A pass is about to run."""

    def after(self, pass_: Pass, before: Graph, after: Graph, record: PassRecord) -> None:
        """A pass has run; `after` is `before` when it changed nothing or was undone."""


@dataclass(frozen=True)
class Budget:
    """What one run of a pass may spend: seconds of wall time, bytes of additional memory."""

    seconds: float = 600.0
    bytes: int = 16 << 30


class _SpentError(PassError):
    """A pass ran out of its budget."""


@dataclass(frozen=True)
class Attempt:
    """What a sweep made, how often each rule was applied, and to what: (rule, old, new)."""

    graph: Graph
    counts: Counter[str]
    done: Sequence[tuple[str, Node, Node]]


@dataclass
class Context:
    """What a pass may ask of the run that it is part of.

    `math` says which classes of rules are admitted, `disabled` are globs over the names of passes
    and rules. `log` keeps remarks; `only` allows the rewrites of a log and no others; `fuel` is how
    many rewrites may still be made. `grown` is by how many bytes folding has enlarged the constants
    so far, in this run and those before; folding bounds it.
    """

    math: Math = Math.DEFAULT
    disabled: tuple[str, ...] = ()
    budget: Budget = field(default_factory=Budget)
    listeners: Sequence[Listener] = ()
    records: list[PassRecord] = field(default_factory=list[PassRecord])
    strict: bool = False
    log: Log | None = None
    only: Replay | None = None
    fuel: int | None = None
    grown: int = 0
    _running: str = ""
    _counts: Counter[str] = field(default_factory=Counter[str])
    _deadline: float = float("inf")
    _resident: int = 0
    _dispatches: dict[int, Dispatch] = field(default_factory=dict[int, Dispatch])
    _settled: tuple[Graph | None, set[Pass]] = field(default_factory=lambda: (None, set[Pass]()))
    _bodies: dict[Pass, set[Body]] = field(default_factory=dict[Pass, set[Body]])

    def enabled(self, name: str) -> bool:
        """Whether a pass or rule is not switched off; `family` switches off `family.rule` too."""
        family = name.split(".")[0]
        return not any(
            fnmatchcase(name, glob) or fnmatchcase(family, glob) for glob in self.disabled
        )

    def count(self, rule: str, times: int = 1) -> None:
        """Note that a rule was applied."""
        self._counts[rule] += times

    def tick(self) -> None:
        """Raise when the running pass has spent its budget; cheap enough to call often."""
        if time.monotonic() > self._deadline:
            raise _SpentError(f"out of its time budget of {self.budget.seconds:g} s")
        if resident_bytes() - self._resident > self.budget.bytes:
            raise _SpentError(f"out of its memory budget of {self.budget.bytes} bytes")

    def sweep(self, graph: Graph, rewriter: Rewriter, uses: Uses | None = None) -> Graph:
        """The graph after one sweep of a rewriter, its rewrites counted and told."""
        return self.keep(self.attempt(graph, rewriter, uses))

    def attempt(self, graph: Graph, rewriter: Rewriter, uses: Uses | None = None) -> Attempt:
        """A sweep that counts for nothing until it is kept, for a pass that may try another."""
        done: list[tuple[str, Node, Node]] = []

        def applied(rule: str, old: Node, new: Node) -> None:
            done.append((rule, old, new))

        options: dict[str, Any] = {"tick": self.tick, "uses": uses, "fuel": self.fuel}
        if self.log is not None:
            options["applied"] = applied
        swept, state = sweep(graph, self._filtered(rewriter), **options)
        return Attempt(swept, state.counts, done)

    def keep(self, made: Attempt) -> Graph:
        """The graph of an attempt, its rewrites counted and told."""
        self._counts.update(made.counts)
        if self.fuel is not None:
            self.fuel -= made.counts.total()
        if self.log is not None:
            self.log.passed(self._running, made.graph, made.done)
        return made.graph

    def follow(self, graph: Graph, planner: Planner, order: Iterable[Node] | None = None) -> Graph:
        """The graph after what a pass has planned, its rewrites counted and told.

        `order` is that of `graphopt.rewriting.plan.followed`.
        """
        made = followed(graph, planner, self.allows, self.tick, order)
        counts = Counter(rule for rule, _, _ in made.done)
        return self.keep(Attempt(made.graph, counts, made.done))

    def allows(self, rule: str, node: Node, made: int = 0) -> bool:
        """Whether a rule is switched on and may replace a node, by the log and what fuel is left.

        For passes that build what they make themselves; `made` rewrites are not kept yet.
        """
        if not self.enabled(rule) or (self.fuel is not None and made >= self.fuel):
            return False
        return self.only is None or self.only.allows(self._running, rule, node)

    def _filtered(self, rewriter: Rewriter) -> Rewriter:
        """A rewriter of nothing but what is switched on and what `only` allows."""
        if self.only is None and not self.disabled:
            return rewriter

        def rewrite(node: Node) -> tuple[Node, str] | None:
            found = rewriter(node)
            return None if found is None or not self.allows(found[1], node) else found

        return rewrite

    def rewrite(self, graph: Graph, rules: RuleSet) -> Graph:
        """The graph after one sweep of a rule set."""
        uses = Uses(graph.roots)
        refused: list[tuple[str, Node, str]] = []

        def note(rule: str, node: Node, reason: str) -> None:
            refused.append((rule, node, reason))

        missed = note if self.log is not None and self.log.wants("missed") else None
        dispatch = self._dispatches.get(id(rules))
        if dispatch is None:
            every = self.log is not None and self.log.wants("missed")
            dispatch = Dispatch(rules, self.math, self.enabled, every)
            self._dispatches[id(rules)] = dispatch
        swept = self.sweep(graph, dispatch.rewriter(uses, missed), uses)
        if self.log is not None:
            self.log.missed(self._running, swept, refused)
        return swept

    def apply(self, pass_: Pass, graph: Graph) -> Graph:
        """The graph after one pass: verified, or as it was if the pass failed."""
        if not self.enabled(pass_.name):
            return graph
        if isinstance(pass_, UntilStable):
            return pass_.run(graph, self)
        for listener in self.listeners:
            listener.before(pass_, graph)
        self._counts = Counter()
        self._running = pass_.name
        started = time.monotonic()
        self._deadline = started + self.budget.seconds
        self._resident = resident_bytes()
        made, error = self._guarded(pass_, graph)
        self._deadline = float("inf")
        record = PassRecord(
            pass_.name,
            time.monotonic() - started,
            made is not graph,
            len(graph),
            len(made) if made is not graph else len(graph),
            dict(self._counts) if not error else {},
            error,
        )
        self.records.append(record)
        if self._settled[0] is not made:
            self._settled = (made, set[Pass]())
        if made is graph:
            self._settled[1].add(pass_)
        for listener in self.listeners:
            listener.after(pass_, graph, made, record)
        return made

    def settled(self, pass_: Pass) -> set[Body]:
        """The bodies that a pass ran on and left alone; it adds to them."""
        return self._bodies.setdefault(pass_, set())

    def is_settled(self, pass_: Pass, graph: Graph) -> bool:
        """Whether a pass ran on this very graph and left it alone."""
        return graph is self._settled[0] and pass_ in self._settled[1]

    def _guarded(self, pass_: Pass, graph: Graph) -> tuple[Graph, str]:
        try:
            made = pass_.run(graph, self)
            if made is not graph:
                check_signature(graph, made)
                verify_structure(made)
        except Exception as error:
            if self.strict:
                ran = ", ".join(record.name for record in self.records) or "none"
                error.add_note(f"in the pass {pass_.text()}, after: {ran}")
                raise
            kind = "" if isinstance(error, GraphoptError) else f"{type(error).__name__}: "
            if self.log is not None:
                self.log.failed(pass_.name, f"{kind}{error}")
            return graph, f"{kind}{error}"
        return made, ""


@dataclass(frozen=True)
class UntilStable(Pass):
    """Run passes again and again until none changes the graph."""

    passes: tuple[Pass, ...] = ()
    max_iter: int = 8
    name: ClassVar[str] = "fixpoint"

    def run(self, graph: Graph, context: Context) -> Graph:
        settled = 0  # how many passes in a row left this very graph alone
        for pass_ in self.passes * self.max_iter:
            before = graph
            if not context.is_settled(pass_, graph):
                graph = context.apply(pass_, graph)
            settled = settled + 1 if graph is before else 0
            if settled == len(self.passes):
                break
        return graph

    def text(self) -> str:
        options = "" if self.max_iter == UntilStable.max_iter else f"{{max-iter={self.max_iter}}}"
        return f"{self.name}{options}({','.join(item.text() for item in self.passes)})"


def run_pipeline(graph: Graph, passes: Sequence[Pass], context: Context | None = None) -> Graph:
    """The graph after the passes; its `report` says what each did.

    With `context.strict` a pass that fails raises, with its name and history in the notes.
    """
    context = context or Context()
    if graph.report is not None:
        context.grown += graph.report.grown
    for pass_ in passes:
        graph = context.apply(pass_, graph)
    remarks = () if context.log is None else tuple(context.log)
    report = Report(tuple(context.records), remarks, context.grown)
    return replace(graph.without_dead_history(), report=report)


def check_signature(before: Graph, after: Graph) -> None:
    """Raise PassError when a pass changed what a caller sees of a graph."""
    if after.inputs != before.inputs or after.output_names != before.output_names:
        raise PassError("the pass changed the graph's inputs or the names of its outputs")
    if len(after.effects) != len(before.effects):
        raise PassError("the pass changed the graph's effects")
    for name, new, old in zip(before.output_names, after.outputs, before.outputs, strict=True):
        if not signature_refines(new, old):
            raise PassError(f"output {name!r} became {new.type}, it was {old.type}")


def resident_bytes() -> int:
    """The memory of this process that is in use now; 0 where the system does not tell."""
    try:
        return int(_STATM.read_bytes().split()[1]) * _PAGE
    except OSError:
        return 0


def _page_size() -> int:
    import os

    return os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096


_PAGE = _page_size()
_STATM = Path("/proc/self/statm")
