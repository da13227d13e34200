"""Constant folding, bounded: what is known is evaluated, the file grows no further than stated."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod
from typing import Any, ClassVar

import numpy as np

from graphopt.backends.reference import evaluate
from graphopt.body import all_nodes
from graphopt.errors import GraphoptError
from graphopt.graph import Graph
from graphopt.ir import Node, types_of, walk
from graphopt.passes.splats import filled_map
from graphopt.pipeline import Context, Pass
from graphopt.refine import refines
from graphopt.rewriting.uses import Uses
from graphopt.structural import constant
from graphopt.tensor import Tensor, file_bytes
from graphopt.types import TensorType, Type

BOUNDED = frozenset({"NonZero", "Unique", "Compress"})
"""Ops whose result is no larger than a multiple of their input, though its size is not known."""
WINDOWS = ("pads", "dilations", "kernel_shape", "strides", "size")
"""Attributes by which an op may need more room than its inputs and outputs take."""
NEVER = frozenset({"Input", "Bound", "Constant", "Absent", "State", "Out", "Barrier", "Refine"})


MAX_DENSE = 1 << 26
"""The most bytes that splats may take while a node is evaluated, when their elements are made."""
MAX_ALIKE = 1 << 20
"""The bytes of a splat beyond which no dense constant is taken for it."""
POINTER = 8
"""The least bytes that a string takes while it is in memory."""


@dataclass(frozen=True)
class FoldConstants(Pass):
    """Evaluate nodes whose inputs are constants, and shapes as far as they are known.

    The constants of the graph grow by `max_bytes` at the most in a whole run of a pipeline; a
    splat (all elements the same) counts one element. One fold takes `max_work` multiply-adds at
    the most.

    Given:   %0 = const [1, 2]; %1 = const [3, 4]; %2 = Add(%0, %1)      Result:   %2 = const [4, 6]
    """

    name: ClassVar[str] = "fold"
    own: ClassVar[tuple[str, ...]] = ("constant", "known", "filled")
    max_bytes: int = 1 << 16
    max_work: int = 1 << 31

    def run(self, graph: Graph, context: Context) -> Graph:
        """First with hope: a constant frees its bytes a share at each use that is folded.

        Where a use stays, that was too much: what counts is how much the constants really grew, and
        past the bound it is done again, trusting only what a fold frees for certain.
        """
        before = constant_bytes(graph)
        for hopeful in (True, False):
            uses = Uses(graph.roots)
            folder = _Folder(self, uses, context.grown, hopeful)
            made = context.attempt(graph, folder, uses)
            growth = constant_bytes(made.graph) - before
            if made.graph is graph or context.grown + growth <= self.max_bytes:
                break
        context.grown += growth
        return context.keep(made)


@dataclass
class _Folder:
    """The rewriter. `results` are the outputs of nodes that were run."""

    options: FoldConstants
    uses: Uses
    grown: float
    hopeful: bool
    results: dict[Node, tuple[Any, ...]] = field(default_factory=dict[Node, tuple[Any, ...]])

    def __call__(self, node: Node) -> tuple[Node, str] | None:
        if node.op.name == "Out":
            found = self._fold(node.inputs[0], node.attrs["index"])
        elif node.op.name in NEVER or type(node.derived_type) is not TensorType:
            return None
        else:
            known = materialized(node)
            if known is not None:
                return known, "fold.known"
            filled = filled_map(node)
            if filled is not None and refines(filled, node):
                return filled, "fold.filled"
            found = self._fold(node, 0)
        return None if found is None else (found, "fold.constant")

    def _fold(self, source: Node, index: int) -> Node | None:
        facts = source.op.facts
        if source.op.name in NEVER or facts.opaque or facts.mutates:
            return None
        if not all(i.constant is not None or i.is_absent for i in source.inputs):
            return None
        if source.op.has_bodies:
            return None  # the rules on If take these
        tensor = splat_result(source)
        if tensor is None and self._affords(predicted_bytes(source, index), source):
            tensor = self._evaluated(source, index)
        if tensor is None or not self._affords(tensor.stored_bytes, source, spend=True):
            return None
        return constant(tensor)

    def _evaluated(self, source: Node, index: int) -> Tensor | None:
        if source not in self.results:
            self.results[source] = self._run(source)
        results = self.results[source]
        kind = types_of(source)[index]
        if index >= len(results) or results[index] is None or not isinstance(kind, TensorType):
            return None
        return Tensor.of(results[index], kind.dtype).compact()

    def _run(self, source: Node) -> tuple[Any, ...]:
        if not self._small(source):
            return ()
        operands = [None if i.constant is None else i.constant.array for i in source.inputs]
        try:
            with np.errstate(all="ignore"):
                made = evaluate(source, operands)
        except (GraphoptError, MemoryError):
            return ()  # it fails when it runs, too: that is not for us to say
        return made if isinstance(made, tuple) else (made,)  # pyright: ignore[reportUnknownVariableType]

    def _small(self, source: Node) -> bool:
        """Whether evaluating is affordable, told by the types before anything is computed."""
        held = [item.constant for item in source.inputs if item.constant is not None]
        if sum(tensor.nbytes for tensor in held if tensor.is_splat) > MAX_DENSE:
            return False
        sizes = [tensor.size for tensor in held]
        if source.op.name in BOUNDED:
            return sum(sizes) * 8 <= self.options.max_bytes
        output = sum(filter(None, map(static_size, types_of(source))))
        if any(static_size(kind) is None for kind in types_of(source)):
            return False
        if source.op.facts.elementwise or source.op.facts.moves:
            return output <= self.options.max_work
        work = float(prod([float(size) for size in (*sizes, output)]) ** 0.5)
        return work * window(source) <= self.options.max_work

    def _affords(self, stored: int | None, source: Node, *, spend: bool = False) -> bool:
        """Whether the constants may grow by `stored` bytes, less those that become needless."""
        if stored is None:
            return False
        growth = stored - sum(self._freed(item, source) for item in set(source.inputs))
        if growth > 0 and self.grown + growth > self.options.max_bytes:
            return False
        if spend:
            self.grown += growth
        return True

    def _freed(self, item: Node, source: Node) -> float:
        """The bytes of a constant that folding one of its users frees, or may."""
        held = item.constant
        share = min(1.0, source.inputs.count(item) / self.uses(item))
        if held is None or (share < 1 and not self.hopeful):
            return 0
        return held.stored_bytes * share


def constant_bytes(graph: Graph) -> int:
    """The bytes that the constants of a graph and its bodies take."""
    held = (node.constant for node in all_nodes(graph.roots))
    return sum(tensor.stored_bytes for tensor in held if tensor is not None)


def window(node: Node) -> float:
    """A bound of how many elements of an input one element of the result may be made of."""
    given = [node.attrs.get(name) for name in WINDOWS]
    lists: list[Any] = [item if isinstance(item, tuple) else (item or 0,) for item in given]
    return prod([1.0 + abs(size) for sizes in lists for size in sizes if isinstance(size, int)])


def predicted_bytes(source: Node, index: int) -> int | None:
    """The bytes that an output of a node will take, None when its type does not tell."""
    kind = types_of(source)[index]
    if source.op.name in BOUNDED:
        return 0  # no larger than its input, a constant; what it takes is counted when it is there
    size = static_size(kind)
    if size is None or not isinstance(kind, TensorType):
        return None
    return file_bytes(kind.dtype, size) if kind.dtype.bits else size * POINTER


def static_size(kind: Type) -> int | None:
    """The number of elements of a type, None when it is not known."""
    if not isinstance(kind, TensorType) or kind.shape is None:
        return None
    sizes = [size for size in kind.shape if isinstance(size, int)]
    return prod(sizes) if len(sizes) == len(kind.shape) else None


def materialized(node: Node) -> Node | None:
    """The constant that a value is known to be although its inputs are not constants."""
    kind = node.tensor_type
    if kind.known is None or static_size(kind) != len(kind.known):
        return None
    if not all(type(item) in (int, bool) for item in kind.known):
        return None
    array = np.array(kind.known, kind.dtype.numpy).reshape(tuple(kind.shape or ()))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    return constant(Tensor.of(array, kind.dtype))


def splat_result(node: Node) -> Tensor | None:
    """The result of a node as a splat, when its inputs are splats and it keeps them so."""
    kind = node.derived_type
    if not isinstance(kind, TensorType) or kind.shape is None:
        return None
    size = static_size(kind)
    if size is None or file_bytes(kind.dtype, size) <= 64 or not node.inputs:
        return None
    shape = tuple(s for s in kind.shape if isinstance(s, int))
    tensors = [item.constant for item in node.inputs]
    if node.op.facts.moves and tensors[0] is not None and tensors[0].is_splat:
        return Tensor.splat(kind.dtype, shape, tensors[0].element)
    if node.op.name == "ConstantOfShape":
        value = node.attrs.get("value")
        return Tensor.splat(kind.dtype, shape, 0 if value is None else value.element)
    if not node.op.facts.elementwise:
        return None
    elements: list[Any] = []
    for tensor in tensors:
        if tensor is None or not (tensor.is_splat or tensor.size == 1):
            return None
        elements.append(tensor.array.reshape(-1)[:1])
    try:
        with np.errstate(all="ignore"):
            element = evaluate(node, elements).reshape(-1)[0]
        return Tensor.splat(kind.dtype, shape, element)
    except GraphoptError:
        return None


@dataclass(frozen=True)
class DedupConstants(Pass):
    """Make one of constants that have equal dtype, shape and content, a splat where there is one.

    Given:   %0 = const A; %1 = const A; f(%0, %1)      Result:   %0 = const A; f(%0, %0)
    """

    name: ClassVar[str] = "dedup"
    own: ClassVar[tuple[str, ...]] = ("constant",)

    def run(self, graph: Graph, context: Context) -> Graph:
        groups: dict[Any, list[Node]] = {}
        for node in walk(graph.roots):
            tensor = node.constant
            if tensor is not None and not (tensor.is_splat and tensor.nbytes > MAX_ALIKE):
                alike = (tensor.dtype, tensor.shape, tensor.sketch())
                groups.setdefault(alike, []).append(node)
        first: dict[bytes, Node] = {}
        into: dict[Node, Node] = {}
        for group in groups.values():
            held = [(node, node.constant) for node in group if node.constant is not None]
            for node, tensor in sorted(held, key=lambda pair: not pair[1].is_splat):
                if len(group) > 1:
                    into[node] = first.setdefault(tensor.digest(), node)
        if all(node is made for node, made in into.items()):
            return graph

        def rewrite(node: Node) -> tuple[Node, str] | None:
            made = into.get(node, node)
            return None if made is node else (made, "dedup.constant")

        return context.sweep(graph, rewrite)
