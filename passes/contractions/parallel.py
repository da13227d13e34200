"""Products of one value with several constant matrices, merged into one product and a Split."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from graphopt.graph import Graph
from graphopt.ir import Node, attributes_key, walk
from graphopt.op import Op
from graphopt.ops.arithmetic import add
from graphopt.ops.conv import conv
from graphopt.ops.linalg import gemm, matmul
from graphopt.ops.slicing import split
from graphopt.passes.contractions.maps import Uses, stored
from graphopt.pipeline import Context, Pass
from graphopt.rewriting.rule import Soundness
from graphopt.rewriting.uses import Uses as Counted
from graphopt.structural import constant, out
from graphopt.tensor import Tensor
from graphopt.types import DType


@dataclass(frozen=True)
class MergeProducts(Pass):
    """Merge products of one value with several constant matrices into one product and a Split.

    The sums are the same, though a library may add up a wider product in another order: within the
    bound gamma_k |x| |w| for either. At least `least` products are merged, so that nodes get fewer;
    constants of up to `max_bytes` are made, which take no more than those that they replace.
    `convolutions` are merged only where asked for: their Split is along an inner axis, and copies.

    Given:   %1 = MatMul(%x, %a); %2 = MatMul(%x, %b); %3 = MatMul(%x, %c)
    Result:  %y = MatMul(%x, %abc); %1, %2, %3 = Split(%y)
    """

    name: ClassVar[str] = "merge-products"
    own: ClassVar[tuple[str, ...]] = ("matmul", "gemm", "conv", "add")
    least: int = 3
    max_bytes: int = 1 << 28
    convolutions: bool = False

    def run(self, graph: Graph, context: Context) -> Graph:
        if not context.math.admits(Soundness.ROUNDING):
            return graph
        places: dict[Node, tuple[Group, int]] = {}
        for group in self._groups(graph, context):
            if self._worth(group) and group.concatenate():
                places |= {m.w: (group, k) for k, m in enumerate(group.members)}
        return context.sweep(graph, Merging(self.name, places)) if places else graph

    def _groups(self, graph: Graph, context: Context) -> Iterable[Group]:
        """The products that may be merged; with one by its bias goes the product in it."""
        uses = Counted(graph.roots)
        found: dict[Node, tuple[int, Member] | None] = {}
        for number, nodes in enumerate(regions(graph.roots)):
            for node in nodes:
                member = member_of(node, uses)
                if member is None or not context.enabled(f"{self.name}.{node.op.name.lower()}"):
                    continue
                before = found.get(member.w, (number, member))
                elsewhere = before is None or before[0] != number
                found[member.w] = None if elsewhere else (number, member)
        groups: dict[Hashable, Group] = {}
        for place in found.values():
            if place is not None:
                number, member = place
                groups.setdefault((number, *member.key), Group()).members.append(member)
        return groups.values()

    def _worth(self, group: Group) -> bool:
        if len(group.members) < max(self.least, 2):
            return False
        if group.members[0].op is conv and not self.convolutions:
            return False
        held = [m.w.constant for m in group.members]
        return sum(tensor.nbytes for tensor in held if tensor is not None) <= self.max_bytes


@dataclass(frozen=True)
class Member:
    """A product by constant weights `w` and its constant bias; `op` is that of the whole."""

    op: Op
    x: Node
    w: Node
    bias: Node | None
    product: Node
    rank: int

    @property
    def axes(self) -> tuple[int, int]:
        """The axis of the weights along which they are put together, and that of the result."""
        if self.product.op is conv:
            return 0, 1
        return (0 if self.product.attrs.get("transB") else 1), self.rank - 1

    @property
    def width(self) -> int:
        """How many columns, or channels, the product has."""
        assert self.w.constant is not None
        return self.w.constant.shape[self.axes[0]]

    @property
    def key(self) -> tuple[Hashable, ...]:
        """What is the same for all members of a group."""
        assert self.w.constant is not None
        shape = list(self.w.constant.shape)
        shape[self.axes[0]] = 0
        attrs = attributes_key(self.product.attrs)
        return (self.op, self.x, attrs, self.bias is None, tuple(shape), self.rank)

    def biases(self) -> np.ndarray[Any, np.dtype[Any]] | None:
        """The bias as a vector; None where there is none that varies by column alone."""
        held = None if self.bias is None else self.bias.constant
        if held is None or any(size != 1 for size in held.shape[:-1]):
            return None
        if len(held.shape) > self.rank or held.shape[-1:] not in ((), (1,), (self.width,)):
            return None
        return np.broadcast_to(held.array.reshape(-1), (self.width,))


def member_of(node: Node, uses: Uses) -> Member | None:
    """A node as a product that may be merged: nothing else uses its constants."""
    product, bias = node, None
    if node.op is add:
        products = [item for item in node.inputs if item.op is matmul and uses(item) == 1]
        if len(products) != 1:
            return None
        product = products[0]
        bias = node.inputs[1] if node.inputs[0] is product else node.inputs[0]
    elif node.op in (gemm, conv) and len(node.inputs) == 3:
        bias = node.inputs[2]
    if product.op not in (matmul, gemm, conv) or node.rank is None:
        return None
    x, w = product.inputs[:2]
    held = w.constant
    if held is None or uses(w) != 1 or not held.dtype.is_float:
        return None
    if product.op is conv:
        if product.attrs.get("group", 1) != 1 or product.attrs.get("kernel_shape"):
            return None
    elif len(held.shape) != 2 or x.rank is None or x.rank < 2 or product.rank != node.rank:
        return None
    member = Member(node.op, x, w, bias, product, node.rank)
    return None if bias is not None and member.biases() is None else member


def regions(roots: Iterable[Node]) -> Iterator[list[Node]]:
    """The nodes of a graph, then those of each body: what is run together."""
    pending, seen = [tuple(roots)], set[Any]()
    for outputs in pending:
        nodes = list(walk(outputs))
        for node in nodes:
            for _, body in node.bodies:
                if body not in seen:
                    seen.add(body)
                    pending.append(body.outputs)
        yield nodes


@dataclass
class Group:
    """Products of one value, and what they are merged to."""

    members: list[Member] = field(default_factory=list[Member])
    weights: Node | None = None
    bias: Node | None = None

    def concatenate(self) -> bool:
        """Put the constants together, unless they take more bytes then."""
        first = self.members[0]
        held = [m.w.constant for m in self.members]
        dtype = first.w.dtype
        axis = first.axes[0]
        arrays = [tensor.array for tensor in held if tensor is not None]
        old = stored(m.w for m in self.members)
        biases = [found for m in self.members if (found := m.biases()) is not None]
        if biases:
            self.bias = merged_constant(biases, 0, dtype)
            old += stored(m.bias for m in self.members if m.bias is not None)
        if any(t.is_splat for t in held if t is not None) and not alike(held):
            return False  # what stores one element would store them all
        self.weights = merged_constant(arrays, axis, dtype)
        return stored([self.weights]) + stored([self.bias] if self.bias else []) <= old

    def output(self, x: Node, k: int) -> Node:
        """What stands for product k of a value that may have been rewritten."""
        first = self.members[0]
        if first.op is add:
            made: Node = add(matmul(x, self.weights), self.bias)
        else:
            made = (
                first.op(x, self.weights, self.bias, **first.product.attrs)
                if self.bias
                else (first.op(x, self.weights, **first.product.attrs))
            )
        parts = constant(np.array([m.width for m in self.members], np.int64))
        axis, count = first.axes[1], len(self.members)
        return out(split(made, parts, axis=axis, outputs=count), k)


def alike(held: Iterable[Tensor | None]) -> bool:
    """Whether all tensors are splats of one element."""
    found = [tensor for tensor in held if tensor is not None]
    return len({t.element.tobytes() if t.is_splat else id(t) for t in found}) == 1


def merged_constant(arrays: list[Any], axis: int, dtype: DType) -> Node:
    """Arrays one after the other along an axis."""
    return constant(Tensor.of(np.concatenate(arrays, axis), dtype).compact())


@dataclass
class Merging:
    """The rewriter: it knows products by their weights, which nothing else uses."""

    name: str
    places: dict[Node, tuple[Group, int]]

    def __call__(self, node: Node) -> tuple[Node, str] | None:
        """What takes the place of a member of a group."""
        product = node
        if node.op is add:
            product = next((i for i in node.inputs if i.op is matmul), node)
        if product.op not in (matmul, gemm, conv):
            return None
        group, k = self.places.get(product.inputs[1], (None, 0))
        if group is None or group.members[0].op is not node.op:
            return None
        return group.output(product.inputs[0], k), f"{self.name}.{node.op.name.lower()}"
