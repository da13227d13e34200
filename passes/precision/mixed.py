"""Mixed: float32 becomes float16 or bfloat16 where it pays and does little harm."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from graphopt.backends import reference
from graphopt.body import Body
from graphopt.check import Trials
from graphopt.errors import GraphoptError, NoTrialError, UsageError
from graphopt.fusion import expanded, form_of
from graphopt.graph import Graph
from graphopt.ir import Node, types_of, walk
from graphopt.ops.cast import cast
from graphopt.passes.precision.mixed_lists import Kind, kind_of
from graphopt.passes.precision.mixed_paint import Painting
from graphopt.pipeline import Attempt, Context, Pass
from graphopt.records import Derivation
from graphopt.samples import Feeds, Guess, guesses, sample_inputs
from graphopt.structural import absent, constant, graph_input, out_op
from graphopt.tensor import Tensor
from graphopt.types import BY_LABEL, DType, TensorType, Type

HALVES = ("float16", "bfloat16")
WIDE = DType.FLOAT32
RULE = "mixed.half"
"""What each node that is made to compute in half the bits is counted as."""


@dataclass(frozen=True)
class Mixed(Pass):
    """Let products, and what is between them, compute in `dtype`: float16 or bfloat16.

    Never run unless it is named, whatever the math: to name it is to ask for fewer bits. Inputs and
    outputs keep their dtypes, as do values that a loop carries; casts stand on the border, one for
    each value, and constants are cast now. A node keeps float32 where a constant of it would become
    infinite or a number that all its elements are would become 0, where it has no such kernel, and
    where its op is one that loses much (`passes/precision/mixed_lists.py`) or is in `keep`, a glob
    or several joined by `|`. Fused nodes are opened: fuse afterwards. With `trials`, remarks tell
    how far the outputs are off.

    Given:   %1 = MatMul(%x, %w); %2 = Relu(%1); %3 = MatMul(%2, %v)   : float32
    Result:  %1 = Cast(%x) {to = float16}; ...; %5 = Cast(%4) {to = float32}
    """

    name: ClassVar[str] = "mixed"
    own: ClassVar[tuple[str, ...]] = ("half",)
    dtype: str = "float16"
    keep: str = ""
    trials: int = 0

    def run(self, graph: Graph, context: Context) -> Graph:
        """The graph in mixed precision. Raises UsageError for a dtype that is not half of one."""
        if self.dtype not in HALVES:
            raise UsageError(f"dtype is {' or '.join(HALVES)}, not {self.dtype!r}", at=self.name)
        opened = expanded(graph, form_of)
        work = _Work(self, context)
        roots = work.run(opened.roots)
        if not work.done:
            return graph
        known = graph.tables.records
        derived = {new: Derivation(RULE, (old,)) for _, old, new in work.done if new not in known}
        made = opened.with_outputs(roots, derived)
        if context.log is not None:
            for node, reason in work.notes:
                context.log.analysis(self.name, reason, graph, node)
            if self.trials:
                for line in report(graph, made, Trials(self.trials)):
                    context.log.analysis(self.name, str(line), graph)
        return context.keep(Attempt(made, Counter({RULE: len(work.done)}), work.done))


@dataclass
class _Work:
    """Rebuilds the nodes under some roots and, each once, in the bodies there."""

    options: Mixed
    context: Context
    done: list[tuple[str, Node, Node]] = field(default_factory=list[tuple[str, Node, Node]])
    notes: list[tuple[Node, str]] = field(default_factory=list[tuple[Node, str]])
    bodies: dict[Body, Body] = field(default_factory=dict[Body, Body])
    constants: dict[Node, Node | None] = field(default_factory=dict[Node, Node | None])

    @cached_property
    def half(self) -> DType:
        return BY_LABEL[self.options.dtype]

    def run(self, roots: tuple[Node, ...]) -> tuple[Node, ...]:
        """The roots, of the types that they have, over nodes that are painted or not."""
        nodes = list(walk(roots))
        painted = self._painted(nodes, roots)
        memo: dict[Node, Node] = {}
        for step, node in enumerate(nodes):
            if step % 256 == 0:
                self.context.tick()
            if node.op is out_op:
                memo[node] = node.with_inputs((memo[node.inputs[0]],))
            elif node in painted:
                inputs = (self._narrowed(item, memo[item]) for item in node.inputs)
                memo[node] = node.with_inputs(tuple(inputs))
                self.done.append((RULE, node, memo[node]))
            else:
                memo[node] = self._rebuilt(node, tuple(_widened(i, memo[i]) for i in node.inputs))
        return tuple(_widened(root, memo[root]) for root in roots)

    def _narrowed(self, value: Node, made: Node) -> Node:
        """What a value has become, in half the bits if it was one of float32."""
        if not is_wide(value) or made.dtype is self.half:
            return made
        if value.constant is None:
            narrow: Node = cast(made, to=self.half)
            return narrow
        known = self._constant(value)
        assert known is not None, "a node with such a constant is not painted"
        return known

    def _rebuilt(self, node: Node, inputs: tuple[Node, ...]) -> Node:
        if not node.op.has_bodies or node.op.facts.sealed or node.op.facts.opaque:
            return node.with_inputs(inputs)
        changed: dict[str, Body] = {}
        for name, body in node.bodies:
            if body not in self.bodies:
                self.bodies[body] = Body(body.params, self.run(body.outputs), body.captures)
            changed[name] = self.bodies[body]
        return Node(node.op, inputs, {**node.attrs, **changed})

    def _painted(self, nodes: Sequence[Node], roots: Sequence[Node]) -> set[Node]:
        """The nodes that are to compute in half the bits."""
        involved: dict[Node, Kind] = {
            node: kind_of(node.op.name, self.half)
            for node in nodes
            if not node.op.domain and node.constant is None and any(map(is_wide, _touched(node)))
        }
        inputs: dict[Node, list[Node]] = {}
        users: dict[Node, list[Node]] = {}
        for node in nodes:
            for item in filter(is_wide, node.inputs if node.op is not out_op else ()):
                source = item.inputs[0] if item.op is out_op else item
                if item.constant is None:
                    inputs.setdefault(node, []).append(source)
                    users.setdefault(source, []).append(node)
        for root in roots:  # who asks for a value is a user that wants all its bits
            users.setdefault(root.inputs[0] if root.op is out_op else root, []).append(absent)
        return self._fuelled(Painting(involved, inputs, users, self._is_able).run(), nodes)

    def _fuelled(self, painted: set[Node], nodes: Sequence[Node]) -> set[Node]:
        """Those of the nodes that the run lets be changed."""
        fuel, only = self.context.fuel, self.context.only
        wanted = [node for node in nodes if node in painted]
        if only is not None:
            wanted = [node for node in wanted if only.allows(Mixed.name, RULE, node)]
        return set(wanted if fuel is None else wanted[: max(0, fuel - len(self.done))])

    def _is_able(self, node: Node) -> bool:
        """Whether a node may compute in half the bits: its op takes them, its constants fit."""
        names = filter(None, self.options.keep.split("|"))
        if any(fnmatchcase(node.op.name, glob) for glob in names):
            return False
        if any(is_wide(i) and i.constant and self._constant(i) is None for i in node.inputs):
            return False
        inputs = tuple(
            graph_input(f"{k}\0", item.tensor_type.with_dtype(self.half)) if is_wide(item) else item
            for k, item in enumerate(node.inputs)
        )
        try:
            made = types_of(Node(node.op, inputs, node.attrs))
        except GraphoptError:  # the op does not take it here
            return False
        return all(
            not _is_wide_type(old) or (isinstance(new, TensorType) and new.dtype is self.half)
            for old, new in zip(types_of(node), made, strict=True)
        )

    def _constant(self, value: Node) -> Node | None:
        """A constant in half the bits, None where it would be another number altogether."""
        if value not in self.constants:
            self.constants[value] = self._cast(value)
        return self.constants[value]

    def _cast(self, value: Node) -> Node | None:
        tensor = value.constant
        assert tensor is not None
        old = np.asarray(tensor.array if not tensor.is_splat else tensor.element).reshape(-1)
        with np.errstate(all="ignore"):
            new = old.astype(self.half.numpy)
            infinite = int(np.count_nonzero(np.isfinite(old) & np.isinf(new)))
        lost = (old != 0) & (new == 0)
        if infinite:
            self.notes.append((value, f"stays: {infinite} of {tensor.size} would be infinite"))
            return None
        if lost.any():
            every = bool(lost.all())
            told = "stays: would be 0" if every else f"{int(lost.sum())} of {tensor.size} become 0"
            self.notes.append((value, told))
            if every:
                return None
        if tensor.is_splat:
            return constant(Tensor.splat(self.half, tensor.shape, new[0]))
        return constant(Tensor.of(new.reshape(tensor.shape), self.half))


def _widened(value: Node, made: Node) -> Node:
    """What a value has become, in float32 if it was that."""
    if not is_wide(value) or made.dtype is WIDE:
        return made
    wide: Node = cast(made, to=WIDE)
    return wide


def is_wide(value: Node) -> bool:
    """Whether a value is a tensor of float32."""
    return _is_wide_type(value.derived_type)


def _is_wide_type(kind: Type) -> bool:
    return isinstance(kind, TensorType) and kind.dtype is WIDE


def _touched(node: Node) -> Iterator[Node]:
    """What a node reads, and what it makes if that is one value."""
    yield from node.inputs
    if node.op is not out_op:
        yield node


@dataclass(frozen=True, slots=True)
class Off:
    """How far an output is off: at most, absolutely and relative to its largest value."""

    output: str
    max_abs: float
    max_rel: float

    def __str__(self) -> str:
        return f"{self.output}: off by {self.max_abs:.3g}, {self.max_rel:.3g} of the largest value"


def report(graph: Graph, mixed: Graph, trials: Trials | None = None) -> list[Off]:
    """How far each output of floats of a graph in mixed precision is off, over drawn inputs.

    Both are run by the reference backend. An infinity or NaN where the other has none is infinitely
    far off. Raises NoTrialError when `graph` ran on none of the inputs.
    """
    trials = trials or Trials()
    worst: dict[str, Off] = {}
    last: Guess | None = None
    for trial in range(trials.count):
        feeds, expected, last = _run(graph, trials, trial, last)
        results = reference.run(mixed, feeds)
        for name, old, new in zip(graph.output_names, expected, results, strict=True):
            if np.asarray(old).dtype.kind == "f":
                found = _off(name, np.asarray(old, np.float64), np.asarray(new, np.float64))
                worst[name] = max(worst.get(name, found), found, key=lambda off: off.max_rel)
    return list(worst.values())


def _run(
    graph: Graph, trials: Trials, trial: int, last: Guess | None
) -> tuple[Feeds, tuple[Any, ...], Guess]:
    """Inputs that a graph runs on, its outputs, and the guess that drew them."""
    reason = ""
    for guess in guesses(trial, last):
        seed = trials.seed + trial
        try:
            feeds = sample_inputs(graph, seed, trials.sizes, guess=guess, given=trials.inputs)
            return feeds, reference.run(graph, feeds), guess
        except Exception as error:  # whatever it is, it is the original's own
            reason = reason or str(error)
    raise NoTrialError(f"the original ran on none of the inputs that were tried: {reason}")


def _off(name: str, old: Any, new: Any) -> Off:
    finite = np.isfinite(old)
    same = (old == new) | (np.isnan(old) & np.isnan(new))
    if not np.all(same | (finite & np.isfinite(new))):
        return Off(name, float("inf"), float("inf"))
    off = float(np.abs(np.where(finite, new - np.where(finite, old, 0), 0)).max(initial=0))
    largest = float(np.abs(old).max(initial=0, where=finite))
    return Off(name, off, off / largest if largest else off and float("inf"))
