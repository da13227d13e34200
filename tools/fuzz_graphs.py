"""Random typed graphs over the table of ops, grown from their inputs; the same seed, the same one.

Every value is computed as it is made, on a first draw of inputs: what cannot run is not kept. A
step is a shape that rules look for (a chain of moves, an operation with a special constant), a node
like an example of an op, or like a rule's own example, over values that the graph has already.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np

from graphopt import passes
from graphopt.body import param_type
from graphopt.dims import Size, symbol
from graphopt.errors import GraphoptError
from graphopt.graph import Graph
from graphopt.ir import Node, rebuild, walk
from graphopt.ops import table
from graphopt.rewriting import Rule
from graphopt.structural import graph_input, results
from graphopt.types import DType, TensorType, TupleType
from tools import fuzz_steps
from tools.fuzz_compare import computed
from tools.fuzz_values import DRAWN, SYMBOLS, Sizes, Values, draw_input, draw_sizes, kind_of

MOST = 2048
"""The most elements of a value."""
UNTRIED = frozenset({"Barrier", "Refine", "State", "Bound", "Input", "Absent", "Out"})
SLOW = frozenset({"STFT", "MelWeightMatrix", "DeformConv", "RoiAlign", "SVD", "GridSample"})


@dataclass(frozen=True)
class Sample:
    """A graph, the sizes that it was grown with, and all its values for `inputs`."""

    seed: int
    graph: Graph
    sizes: Sizes
    inputs: Values


@dataclass
class Grower:
    """A graph that grows: the values it has, newest last, and what they are on the first draw."""

    rng: random.Random
    noise: np.random.Generator
    sizes: Sizes
    values: list[Node] = field(default_factory=list[Node])
    inputs: list[Node] = field(default_factory=list[Node])
    known: Values = field(default_factory=dict[Node, Any])
    examples: Sequence[Node] = ()

    def input(self, dtype: DType, shape: Sequence[Size | None]) -> Node:
        """A new input of the graph."""
        kind = TensorType(dtype, tuple(shape))
        made = graph_input(f"x{len(self.inputs)}", kind)
        self.known[made] = draw_input(kind, self.sizes, self.noise, "tame")
        self.inputs.append(made)
        self.values.append(made)
        return made

    def pick(self, fits: Callable[[Node], bool] = lambda node: True) -> Node | None:
        """A value that fits, a new one rather than an old one."""
        found = [node for node in self.values if fits(node)]
        if not found:
            return None
        rng = self.rng
        recent = found[-3:] if rng.random() < 0.5 else found
        return recent[max(rng.randrange(len(recent)), rng.randrange(len(recent)))]

    def add(self, node: Node) -> bool:
        """Keep a value, or all outputs of a node, if it can be computed."""
        if node in self.known and not isinstance(node.derived_type, TupleType):
            if node not in self.values and node.constant is None:
                self.values.append(node)
            return False
        if not all(map(_takes, walk((node,)))):
            return False
        try:
            fresh = self.computed(node)
        except (GraphoptError, KeyError, MemoryError):
            return False
        sizes = [getattr(value, "size", 1) for value in fresh.values()]
        if max(sizes) > MOST or (0 in sizes and self.rng.random() < 0.7):
            return False
        self.known.update(fresh)
        outs = results(node) if isinstance(node.derived_type, TupleType) else (node,)
        for item in outs:
            if item not in self.known:
                self.known[item] = self.known[node][item.attrs["index"]]
            if isinstance(item.derived_type, TensorType) and item not in self.values:
                self.values.append(item)
        return True

    def computed(self, node: Node) -> Values:
        """The values that a node adds to those known. Raises GraphoptError."""
        fresh: Values = {}
        with np.errstate(all="ignore"):
            for item in walk((node,)):
                if item not in self.known and item not in fresh:
                    operands = [fresh[i] if i in fresh else self.known[i] for i in item.inputs]
                    fresh[item] = computed(item, operands)
        return fresh

    def splice(self, root: Node) -> Node | None:
        """A node like `root` over values of this graph, in place of its inputs."""
        into: dict[Node, Node] = {}
        names: dict[Size, Size] = {}
        for item in walk((root,)):
            if item.op.name != "Input":
                continue
            made = self.like(item, into.values(), names)
            if made is None:
                return None
            into[item] = made
            names = _named(kind_of(item).shape or (), kind_of(made).shape or ()) | names
        return rebuild((root,), into.get)[0]

    def like(self, item: Node, taken: Collection[Node], names: Mapping[Size, Size]) -> Node | None:
        """A value that may stand where the input `item` of an example does; maybe a new input.

        It is seldom one that is `taken` for another input: x and y that differ tell more. `names`
        are the sizes that the example's names already stand for.
        """
        kind = item.derived_type
        if not isinstance(kind, TensorType):
            return None
        rng, shape = self.rng, kind.shape

        def fits(node: Node) -> bool:
            if node.dtype is not kind.dtype or node.rank is None:
                return False
            if node in taken and rng.random() < 0.9:
                return False
            if shape is None or node.rank != len(shape):
                return shape is None
            return rng.random() < 0.2 or _agree(shape, kind_of(node).shape or (), names)

        made = self.pick(fits) if rng.random() < 0.8 else None
        return self.fresh(kind, names) if made is None else made

    def fresh(self, kind: TensorType, names: Mapping[Size, Size]) -> Node | None:
        """A new input of a type, with sizes for its names; None if there are inputs enough."""
        if len(self.inputs) >= 8:
            return None
        known = dict(names)
        made: list[Size] = []
        for size in (None, None) if kind.shape is None else kind.shape:
            if size is None:
                made.append(self.size())
            elif isinstance(size, int):
                made.append(size)
            else:
                made.append(known.setdefault(size, self.size()))
        return self.input(kind.dtype, made)

    def size(self) -> Size:
        """A size of an input."""
        rng = self.rng
        if rng.random() < 0.35:
            return symbol(rng.choice(SYMBOLS))
        return rng.choice((1, 1, 2, 2, 3, 3, 3, 4, 4, 6, 0) if rng.random() < 0.9 else (0, 5))


def _agree(
    shape: Sequence[Size | None], other: Sequence[Size | None], names: Mapping[Size, Size]
) -> bool:
    """Whether sizes are those that a shape wants, as far as it and its names say."""
    wanted = [None if s is None else names.get(s, s if isinstance(s, int) else None) for s in shape]
    return all(s is None or s == t for s, t in zip(wanted, other, strict=True))


def _named(shape: Sequence[Size | None], made: Sequence[Size | None]) -> dict[Size, Size]:
    """What the names in an example's shape stand for in the shape of what takes its place."""
    found: dict[Size, Size] = {}
    for size, other in zip(shape, made, strict=False):
        if not isinstance(size, int | None) and other is not None:
            found.setdefault(size, other)
    return found


def _takes(node: Node) -> bool:
    """Whether the bodies of a node are of the sizes of what it gives them, named ones too."""
    for _, body in node.bodies:
        count = min(len(body.params), len(node.inputs))
        for wanted, item in zip(body.params[-count:], node.inputs[-count:], strict=True):
            if count and wanted != param_type(item.derived_type) and dims_in(wanted):
                return False
    return True


def dims_in(kind: Any) -> bool:
    """Whether a type has a size that is no number."""
    return any(not isinstance(size, int) for size in getattr(kind, "shape", None) or ())


@cache
def templates() -> tuple[tuple[Node, ...], ...]:
    """The examples of ops, one tuple an op."""
    tried = [op for op in table().values() if op.name not in UNTRIED | SLOW]
    return tuple(tuple(op.example()) for op in tried if op.example is not None)


@cache
def rule_templates() -> tuple[tuple[Node, ...], ...]:
    """The examples of rules, one tuple a rule: first that to which it applies, as often as all
    that only look so."""
    return tuple(_examples(rule) for rule in passes.RULES)


def _examples(rule: Rule) -> tuple[Node, ...]:
    near = [make() for make in rule.near_misses]
    return (*[rule.fires()] * max(len(near), 1), *near) if rule.fires else tuple(near)


def like_an_op(grower: Grower) -> Node | None:
    """A node like an example of some op."""
    return grower.splice(grower.rng.choice(grower.rng.choice(templates())))


def like_a_rule(grower: Grower) -> Node | None:
    """Nodes like an example of some rule."""
    known = grower.examples or grower.rng.choice(rule_templates())
    return grower.splice(grower.rng.choice(known))


def start(grower: Grower) -> None:
    """The first inputs: of one dtype and alike in shape, mostly."""
    rng = grower.rng
    dtype = rng.choice(DRAWN)
    rank = rng.choice((0, 1, 2, 2, 2, 3, 3, 4))
    shape: list[Size | None] = [grower.size() for _ in range(rank)]
    for _ in range(rng.randint(1, 3)):
        one = list(shape)
        if rng.random() < 0.3:
            one = [1 if rng.random() < 0.3 else size for size in one][rng.choice((0, 0, 1)) :]
        if rng.random() < 0.06 and one:
            one[0] = None
        grower.input(dtype if rng.random() < 0.85 else rng.choice(DRAWN), one)


def sample(seed: int, examples: Sequence[Node] = ()) -> Sample:
    """The graph of a seed; `examples` stand in for those of all rules."""
    rng = random.Random(seed)
    sizes = draw_sizes(rng)
    grower = Grower(rng, np.random.default_rng(seed), sizes, examples=examples)
    start(grower)
    wanted = rng.choice((3, 4, 5, 6, 7, 8, 10, 12, 15, 18, 22, 30))
    kept, focus = 0, rng.choice((None, None, *fuzz_steps.STEPS))
    for _ in range(wanted * 4):
        if kept >= wanted:
            break
        kept += grow(grower, focus)
    return Sample(seed, finished(grower), sizes, {i: grower.known[i] for i in grower.inputs})


def grow(grower: Grower, focus: Any) -> bool:
    """One more step; whether it gave something new."""
    chance = grower.rng.random()
    try:
        if chance < 0.3:
            made = like_a_rule(grower)
        elif chance < 0.45:
            made = like_an_op(grower)
        elif chance < 0.65 and focus is not None:
            made = focus(grower)
        else:
            made = grower.rng.choice(fuzz_steps.STEPS)(grower)
        return made is not None and grower.add(made)
    except (GraphoptError, ValueError, IndexError, OverflowError):
        return False  # such a node there cannot be


def _height(node: Node) -> int:
    return sum(1 for _ in walk((node,)))


def finished(grower: Grower) -> Graph:
    """The graph of what has grown: the last value, others that nobody uses, and some inner one."""
    rng = grower.rng
    inner = [node for node in grower.values if node.op.name != "Input"] or grower.values
    used = {item for node in inner for item in node.inputs}
    ends = sorted((node for node in inner if node not in used), key=_height, reverse=True)
    chosen = ends[: rng.choice((1, 1, 2, 3, 4, 9))] or [inner[-1]]
    if rng.random() < 0.4:
        chosen.append(rng.choice(inner))
    if rng.random() < 0.05:
        chosen.append(rng.choice(grower.values))
    names = tuple(f"y{k}" for k in range(len(chosen)))
    return Graph(tuple(grower.inputs), tuple(chosen), names, "fuzz")
