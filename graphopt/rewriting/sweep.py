"""One bottom-up sweep: every value is rebuilt over its rewritten inputs, then rewritten itself.

Linear in the size of the graph and in what the rules build; nothing recurses over its depth.
Bodies are swept as their nodes are met, each once. A replacement's type must refine that of what
it replaces: the sweep checks, so no rule repeats it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from graphopt.body import Body
from graphopt.errors import GraphoptError, RewriteError
from graphopt.graph import Graph
from graphopt.ir import Node, walk
from graphopt.op import Op
from graphopt.records import Derivation
from graphopt.refine import refines
from graphopt.rewriting.rule import Math, Rule, RuleSet, UseFacts
from graphopt.rewriting.uses import Uses

Rewriter = Callable[[Node], tuple[Node, str] | None]
"""What replaces a node, and the name of the rule that said so; None to keep it."""

MAX_CHAIN = 128
"""Rewrites of each other's results before the rules are taken to go round in circles."""
SHOWN = 6
"""How many of them the message shows."""
TICK = 1024
"""After so many steps the budget is looked at."""


def _nothing() -> None:
    return None


def _unheard(rule: str, old: Node, new: Node) -> None:
    return None


@dataclass
class Sweep:
    """The state of one sweep.

    `memo` maps every visited value to what it became; `derivations` says by which rule. `tick` is
    called now and then and raises when a budget is spent. `fuel` bounds the number of rewrites:
    with less of it the last ones are left out, which finds the one that does harm. `uses` is told
    what each value became, for rewriters that ask it; `applied` is told of each rewrite.
    """

    rewriter: Rewriter
    tick: Callable[[], None] = _nothing
    uses: Uses | None = None
    fuel: int | None = None
    applied: Callable[[str, Node, Node], None] = _unheard
    memo: dict[Node, Node] = field(default_factory=dict[Node, Node])
    derivations: dict[Node, Derivation] = field(default_factory=dict[Node, Derivation])
    counts: Counter[str] = field(default_factory=Counter[str])
    _forward: dict[Node, Node] = field(default_factory=dict[Node, Node])
    _depth: dict[Node, int] = field(default_factory=dict[Node, int])
    _bodies: dict[Body, Body] = field(default_factory=dict[Body, Body])
    _last: str = ""
    _steps: int = 0

    def run(self, roots: tuple[Node, ...], order: Iterable[Node] | None = None) -> tuple[Node, ...]:
        """The rewritten roots; `order` holds what `walk` would yield."""
        memo = self.memo
        for node in walk(roots) if order is None else order:
            if node in memo:
                continue
            made = self._step(node, tuple([memo[item] for item in node.inputs]))
            if made is node:
                memo[node] = node
            else:
                self._advance(node, made)
                self._visit([node, made])
        return tuple([memo[root] for root in roots])

    def _visit(self, stack: list[Node]) -> None:
        """Rewrite what rules have made of a node, until none finds anything."""
        memo, forward = self.memo, self._forward
        while stack:
            node = stack[-1]
            if node in memo:
                stack.pop()
                continue
            made = forward.get(node)
            if made is not None:
                if made not in memo:  # it is among what this very node has become
                    raise self._in_circles(node, made)
                self._settle(node, memo[made])
                stack.pop()
                continue
            inputs = tuple([memo.get(item) for item in node.inputs])
            if None in inputs:
                self._push(stack, node)
                continue
            made = self._step(node, inputs)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
            if made is node:
                memo[node] = node
                stack.pop()
            else:
                self._advance(node, made)
                stack.append(made)

    def _advance(self, node: Node, made: Node) -> None:
        """Note what a node becomes next; refuse rules that undo each other or never end."""
        self._forward[node] = made
        if made in self.memo:
            return
        self._depth[made] = depth = self._depth.get(node, 0) + 1
        if depth > MAX_CHAIN or made in self._forward:
            raise self._in_circles(node, made)

    def _push(self, stack: list[Node], node: Node) -> None:
        """Visit the inputs of a node first."""
        pending = [item for item in node.inputs if item not in self.memo]
        stack.extend(reversed(pending))
        if node in self._depth:  # what a rule made beside its result counts as one with it
            for item in pending:
                self._depth.setdefault(item, self._depth[node])

    def _settle(self, node: Node, made: Node) -> None:
        """Note what a node has become."""
        self.memo[node] = made
        if self.uses is not None and made is not node:
            self.uses.became(node, made)

    def _step(self, node: Node, inputs: tuple[Node, ...]) -> Node:
        """One step for a node whose inputs are done: over these new inputs, or by a rule."""
        self._steps += 1
        if self._steps % TICK == 0:
            self.tick()
        if inputs != node.inputs or node.op.has_bodies:
            rebuilt = self._rebuilt(node, inputs)
            if rebuilt is not node:
                self._derive(rebuilt, "", node)
                return rebuilt
        if self.fuel is not None and self.counts.total() >= self.fuel:
            return node
        found = self.rewriter(node)
        if found is None:
            return node
        made, rule = found
        if not refines(made, node):
            raise RewriteError(f"{made.type} does not refine {node.type} of {node!r}", at=rule)
        self._last = rule
        self.counts[rule] += 1
        self.applied(rule, node, made)
        self._derive(made, rule, node)
        return made

    def _rebuilt(self, node: Node, inputs: tuple[Node, ...]) -> Node:
        try:
            if node.op.has_bodies and not (node.op.facts.sealed or node.op.facts.opaque):
                bodies = {name: self._swept(body) for name, body in node.bodies}
                if any(body is not node.attrs[name] for name, body in bodies.items()):
                    return Node(node.op, inputs, {**node.attrs, **bodies})
            return node.with_inputs(inputs)
        except GraphoptError as error:
            error.add_note(f"while rebuilding {node!r}")
            raise

    def _swept(self, body: Body) -> Body:
        if body not in self._bodies:
            outputs = self.run(body.outputs)
            same = outputs == body.outputs
            made = body if same else Body(body.params, outputs, body.captures)
            self._bodies[body] = self._bodies[made] = made
        return self._bodies[body]

    def _derive(self, made: Node, rule: str, old: Node) -> None:
        if made not in self.derivations and made is not old:
            earlier = self.derivations.get(old)
            plain = not rule and earlier is not None and not earlier.rule
            self.derivations[made] = earlier if plain and earlier else Derivation(rule, (old,))

    def _in_circles(self, node: Node, made: Node) -> RewriteError:
        """The error that tells by which rules a node goes round in circles."""
        chain = self._chain(node)
        name = chain[-1][1] if chain else "?"
        lines = [f"  {old!r}\n    by {rule}" for old, rule in chain[-SHOWN:]]
        shown = "\n".join([*lines, f"  {made!r}"])
        return RewriteError(f"rules go round in circles:\n{shown}", at=name)

    def _chain(self, last: Node) -> list[tuple[Node, str]]:
        """How a value came to be, rule by rule: (the value before, the rule)."""
        made: list[tuple[Node, str]] = []
        seen: set[Node] = set()
        node = last
        while node not in seen:
            seen.add(node)
            earlier = self.derivations.get(node)
            if earlier is None:
                break
            node = earlier.olds[0]
            made.append((node, earlier.rule or "its operands' change"))
        made.reverse()
        return [*made, (last, self._last)]


def sweep(graph: Graph, rewriter: Rewriter, **options: Any) -> tuple[Graph, Sweep]:
    """The graph after one sweep, and the sweep: its counts and derivations."""
    state = Sweep(rewriter, **options)
    roots = state.run(graph.roots, graph.order)
    if roots == graph.roots:
        return graph, state
    known = graph.tables.records
    derived = {node: made for node, made in state.derivations.items() if node not in known}
    return graph.with_outputs(roots, derived), state


Missed = Callable[[str, Node, str], None]
"""What is told that a rule was refused: its key, the node, the reason."""


Candidate = tuple[Rule, frozenset[Op], Callable[[Node], bool]]
"""A rule, the ops that must be among the operands, and its quick test of a node."""
Answers = dict[tuple[Node, bool], int]
"""What was told of the uses of values: how many there are, or whether signs of zeros are unseen."""


class Dispatch:
    """The rules of a set that may run, by the op at their root, for as many sweeps as are made.

    Nodes are values: what no rule makes anything of stays so, as long as those that ask how values
    are used are told the same. Such nodes are remembered with the answers, so that a second sweep
    of what has settled costs no matching. With `every`, rules whose class is not admitted are
    tried, too, to tell of them.
    """

    def __init__(
        self, rules: RuleSet, math: Math, enabled: Callable[[str], bool], every: bool = False
    ) -> None:
        self.rules, self.math, self.enabled, self.every = rules, math, enabled, every
        self._known: dict[Op, tuple[Candidate, ...]] = {}
        self._settled: dict[Node, Answers] = {}

    def _candidates(self, op: Op) -> tuple[Candidate, ...]:
        """The rules that may run, of those with an op at their root; told once an op is met."""
        found = self._known[op] = tuple(
            (rule, rule.required, rule.fits)
            for rule in self.rules.by_root.get(op, ())
            if (self.every or self.math.admits(rule.soundness)) and self.enabled(rule.key)
        )
        return found

    def rewriter(self, uses: UseFacts, missed: Missed | None = None) -> Rewriter:
        """The rewriter for one sweep. `missed` is told of rules whose left side matches, and which
        a guard or the class refuses."""
        known, math, settled = self._known, self.math, self._settled
        asked = _Asked(uses)

        def rewrite(node: Node) -> tuple[Node, str] | None:
            candidates = known.get(node.op)
            if candidates is None:
                candidates = self._candidates(node.op)
            if not candidates:
                return None
            answers = settled.get(node)
            if answers is not None and missed is None and asked.again(answers):
                return None
            operands = {item.op for item in node.inputs}
            asked.answers = {}
            for rule, required, fits in candidates:
                if not required <= operands or not fits(node):
                    continue
                try:
                    made = _applied(rule, node, math, asked, missed)
                except GraphoptError as error:
                    error.add_note(f"in the rule {rule.key} on {node!r}")
                    raise
                if made is not None:
                    return made, rule.key
            settled[node] = asked.answers
            return None

        return rewrite


class _Asked:
    """Facts of uses that remember what was asked, and answered."""

    def __init__(self, uses: UseFacts) -> None:
        self.uses = uses
        self.answers: Answers = {}

    def __call__(self, node: Node) -> int:
        made = self.answers[node, False] = self.uses(node)
        return made

    def unseen(self, node: Node) -> bool:
        """As that of the facts."""
        made = self.answers[node, True] = self.uses.unseen(node)
        return made

    def again(self, answers: Answers) -> bool:
        """Whether the answers are the same now."""
        return not answers or all(
            answer == (self.uses.unseen(node) if unseen else self.uses(node))
            for (node, unseen), answer in answers.items()
        )


def rewriter_of(
    rules: RuleSet,
    math: Math,
    enabled: Callable[[str], bool],
    uses: UseFacts,
    missed: Missed | None = None,
) -> Rewriter:
    """The rewriter that tries a set's rules in order in one sweep; see `Dispatch`."""
    return Dispatch(rules, math, enabled, missed is not None).rewriter(uses, missed)


def _applied(
    rule: Rule, node: Node, math: Math, uses: UseFacts, missed: Missed | None
) -> Node | None:
    """What a rule makes of a node; why it makes nothing of it is told to `missed`."""
    if missed is None:
        return rule.apply(node, math, uses)
    reasons: list[str] = []
    made = rule.apply(node, math, uses, reasons.append)
    if made is not None and not math.admits(rule.soundness):
        made = None
        reasons.append(f"its class is {rule.soundness.name.lower()}")
    if made is None and reasons:
        missed(rule.key, node, reasons[-1])
    return made
