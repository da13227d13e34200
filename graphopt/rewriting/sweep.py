"""One bottom-up sweep: every value is rebuilt over its rewritten inputs, then rewritten itself.

Linear in the size of the graph and in what the rules build; nothing recurses over its depth.
Bodies are swept as their nodes are met, each once. A replacement's type must refine that of what
it replaces: the sweep checks, so no rule repeats it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from typing import Any

from graphopt.body import Body, all_nodes
from graphopt.errors import GraphoptError, RewriteError
from graphopt.graph import Graph
from graphopt.ir import Node
from graphopt.records import Derivation
from graphopt.refine import refines
from graphopt.rewriting.rule import Math, Rule, RuleSet

Rewriter = Callable[[Node], tuple[Node, str] | None]
"""What replaces a node, and the name of the rule that said so; None to keep it."""

MAX_CHAIN = 128
"""Rewrites of each other's results before the rules are taken to go round in circles."""
SHOWN = 6
"""How many of them the message shows."""


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

    def run(self, roots: tuple[Node, ...]) -> tuple[Node, ...]:
        """The rewritten roots."""
        for root in roots:
            self._visit(root)
        return tuple(self.memo[root] for root in roots)

    def _visit(self, root: Node) -> None:
        memo, steps = self.memo, 0
        stack = [root]
        while stack:
            node = stack[-1]
            if node in memo:
                stack.pop()
                continue
            ahead = self._forward.get(node)
            if ahead is not None and ahead in memo:
                self._settle(node, memo[ahead])
                stack.pop()
                continue
            pending = [item for item in node.inputs if item not in memo]
            if pending:
                stack.extend(reversed(pending))
                if node in self._depth:  # what a rule made beside its result counts as one with it
                    for item in pending:
                        self._depth.setdefault(item, self._depth[node])
                continue
            steps += 1
            if steps % 256 == 0:
                self.tick()
            made = self._step(node)
            if made is node or made in memo:
                self._settle(node, memo.get(made, node))
                stack.pop()
            else:
                self._count_chain(node, made)
                self._forward[node] = made
                stack.append(made)

    def _settle(self, node: Node, made: Node) -> None:
        """Note what a node has become."""
        self.memo[node] = made
        if self.uses is not None and made is not node:
            self.uses.became(node, made)

    def _step(self, node: Node) -> Node:
        """One step for a node whose inputs are done: over its new inputs, or by a rule."""
        rebuilt = self._rebuilt(node)
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

    def _rebuilt(self, node: Node) -> Node:
        if not node.inputs and not node.op.has_bodies:
            return node
        inputs = tuple([self.memo[item] for item in node.inputs])
        try:
            if node.op.has_bodies and not node.op.facts.sealed:
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
            made = Body(body.params, outputs, body.captures)
            self._bodies[body] = self._bodies[made] = made
        return self._bodies[body]

    def _derive(self, made: Node, rule: str, old: Node) -> None:
        if made not in self.derivations and made is not old:
            earlier = self.derivations.get(old)
            plain = not rule and earlier is not None and not earlier.rule
            self.derivations[made] = earlier if plain and earlier else Derivation(rule, (old,))

    def _count_chain(self, node: Node, made: Node) -> None:
        """Refuse rules that undo each other or never end."""
        self._depth[made] = depth = self._depth.get(node, 0) + 1
        if depth > MAX_CHAIN or made in self._forward:
            chain = self._chain(node)
            name = chain[-1][1] if chain else "?"
            lines = [f"  {old!r}\n    by {rule}" for old, rule in chain[-SHOWN:]]
            shown = "\n".join([*lines, f"  {made!r}"])
            raise RewriteError(f"rules go round in circles:\n{shown}", at=name)

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
    roots = state.run(graph.roots)
    if roots == graph.roots:
        return graph, state
    known = graph.tables.records
    derived = {node: made for node, made in state.derivations.items() if node not in known}
    return graph.with_outputs(roots, derived), state


Missed = Callable[[str, Node, str], None]
"""What is told that a rule was refused: its key, the node, the reason."""


def rewriter_of(
    rules: RuleSet,
    math: Math,
    enabled: Callable[[str], bool],
    uses: Callable[[Node], int],
    missed: Missed | None = None,
) -> Rewriter:
    """The rewriter that tries a set's rules in order, those of the node's op only.

    `missed` is told of rules whose left side matches, and which a guard or the class refuses.
    """
    by_root: dict[Any, list[Rule]] = {}
    for rule in rules:
        if enabled(rule.key) and (missed or math.admits(rule.soundness)):
            by_root.setdefault(rule.root, []).append(rule)

    def rewrite(node: Node) -> tuple[Node, str] | None:
        candidates = by_root.get(node.op)
        if candidates is None:
            return None
        operands = {item.op for item in node.inputs}
        for rule in candidates:
            if not rule.required <= operands:
                continue
            try:
                made = _applied(rule, node, math, uses, missed)
            except GraphoptError as error:
                error.add_note(f"in the rule {rule.key} on {node!r}")
                raise
            if made is not None:
                return made, rule.key
        return None

    return rewrite


def _applied(
    rule: Rule, node: Node, math: Math, uses: Callable[[Node], int], missed: Missed | None
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


class Uses:
    """How often each value is used under some roots, in bodies too.

    A sweep tells it what became of each value, so that a rewritten value has the uses of what it
    stands for: profitable for one use, a rule would otherwise copy a node that has several.
    """

    def __init__(self, roots: Iterable[Node]) -> None:
        self._roots = tuple(roots)
        self._became: list[tuple[Node, Node]] = []

    @cached_property
    def _counts(self) -> Counter[Node]:  # most sweeps never ask
        return Counter(
            chain(self._roots, chain.from_iterable(map(_operands, all_nodes(self._roots))))
        )

    def __call__(self, node: Node) -> int:
        """The number of uses; 1 for a value that a rule has just made."""
        counts = self._counts
        for old, new in self._became:
            if old in counts:
                counts[new] += counts[old]
        self._became.clear()
        return counts.get(node) or 1

    def became(self, old: Node, new: Node) -> None:
        """Note that `new` stands where `old` did."""
        self._became.append((old, new))


def _operands(user: Node) -> Iterable[Node]:
    """What a node uses: its inputs, and what its bodies return."""
    if not user.op.has_bodies:
        return user.inputs
    return chain(user.inputs, *(body.outputs for _, body in user.bodies))
