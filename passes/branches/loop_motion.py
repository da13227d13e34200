"""What leaves a loop: what no iteration changes, what nobody takes, and loops of few iterations.

Given:   %y = Loop(%n, _, %x, %a, %b), each iteration %x = MatMul(%a, %b) + %x
Result:  %m = MatMul(%a, %b);  %y = Loop(%n, _, %x, %m), each iteration %x = %m + %x
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import ClassVar

from graphopt.body import Body, all_nodes
from graphopt.dims import Size
from graphopt.errors import GraphoptError
from graphopt.graph import Graph
from graphopt.ir import Node, rebuild, walk
from graphopt.ops.control import if_
from graphopt.ops.indexing import gather
from graphopt.ops.loops import CONDITION, ITERATION, loop, param_shape, scan
from graphopt.ops.shape import unsqueeze
from graphopt.ops.slicing import concat
from graphopt.passes.branches.control import fixed
from graphopt.passes.branches.loop_parts import Parts, parts_of
from graphopt.passes.branches.loop_unused import source_of, taken_outputs, without_unused
from graphopt.pipeline import Context, Pass
from graphopt.refine import refines
from graphopt.structural import constant
from graphopt.tensor import Tensor
from graphopt.types import DType, TensorType

PRODUCTS = frozenset({"MatMul", "Gemm"})
MOVES = frozenset("Concat Expand Flatten Reshape Slice Split Squeeze Tile Unsqueeze".split())
"""Ops that cannot fail once the sizes of their inputs are numbers and the other inputs constant."""

Values = Sequence[Node]


@dataclass(frozen=True)
class Loops(Pass):
    """Take out of loops what no iteration changes, drop what nobody takes, write short ones out.

    A loop is written out if its iterations have `unroll` nodes together at the most, or if there is
    one iteration.

    Given:   %y = Loop(%n, _, %x, %a, %b) with MatMul(%a, %b) in its body
    Result:  %m = MatMul(%a, %b);  %y = Loop(%n, _, %x, %m)
    """

    name: ClassVar[str] = "loops"
    own: ClassVar[tuple[str, ...]] = ("unrolled", "hoisted", "unused")
    unroll: int = 32

    def run(self, graph: Graph, context: Context) -> Graph:
        looping = (loop, scan, if_)
        while any(node.op in looping for node in all_nodes(graph.roots)):
            taken = taken_outputs(graph)
            swept = context.sweep(graph, partial(without_unused, taken=taken, made={}))
            if swept is graph:
                return context.sweep(graph, _Mover(self.unroll))
            graph = swept
        return graph


@dataclass
class _Mover:
    """The rewriter that writes loops out, or takes work out of them."""

    unroll: int
    made: dict[Node, Values | None] = field(default_factory=dict[Node, "Values | None"])

    def __call__(self, node: Node) -> tuple[Node, str] | None:
        source, index = source_of(node)
        if source.op not in (loop, scan):
            return None
        if source not in self.made:
            self.made[source] = guarded(partial(written_out, source, self.unroll))
        values = self.made[source]
        if values is not None and node.op.name != "Out" and len(values) > 1:
            return None  # its outputs are replaced one by one
        if values is not None and refines(values[index], node):
            return values[index], "loops.unrolled"
        if node is not source:
            return None
        moved = guarded(partial(hoisted, node))
        if moved is None or not refines(moved[0], node):
            return None
        return moved[0], "loops.hoisted"


def guarded(make: Callable[[], Values | None]) -> Values | None:
    """What `make` returns; None where types do not allow it: the program would fail as it runs."""
    try:
        return make()
    except GraphoptError:
        return None


# What no iteration changes


def hoisted(node: Node) -> Values | None:
    """The loop over what no iteration changes, computed before it, if there is any.

    What may fail leaves only a loop that runs at least once.
    """
    parts = parts_of(node)
    formals, returned = parts.body.open()
    runs = parts.count
    sure = isinstance(runs, int) and runs > 0
    changing, leaving = set(formals[: parts.own]) | fixed(returned), set[Node]()
    for item in walk(returned):
        if item in changing or any(i in changing for i in item.inputs):
            changing.add(item)
        elif item.inputs:
            (leaving if sure or never_fails(item) else changing).add(item)
    frontier = dict.fromkeys(item for item in returned if item in leaving)
    for user in walk(returned):
        if user in changing:
            frontier |= dict.fromkeys(item for item in user.inputs if item in leaving)
    if not frontier:
        return None
    outer = dict(zip(formals[parts.own :], parts.captured, strict=True))
    values = rebuild(tuple(frontier), outer.get)
    body = Body.close(formals[: parts.own], (*frontier, *formals[parts.own :]), returned)
    first = len(node.inputs) - len(parts.captured)
    inputs = (*node.inputs[:first], *values, *parts.captured)
    return (Node(node.op, inputs, {**node.attrs, "body": body}),)


def never_fails(node: Node) -> bool:
    """Whether a node is proven not to fail: its op is total, or moves data, and the sizes fit."""
    kinds = [item.derived_type for item in node.inputs if not item.is_absent]
    shapes = [kind.shape for kind in kinds if isinstance(kind, TensorType)]
    if node.op.name == "Out":
        return True
    if node.op is if_ and not all(map(never_fails, _inside(node))):
        return False
    if len(shapes) < len(kinds) or any(shape is None for shape in shapes):
        return False
    values = [item.shape or () for item in node.inputs if not item.is_absent]
    if node.op.facts.elementwise and node.op.facts.total:
        return broadcast_fits(values)
    if node.op.name in PRODUCTS:
        return _product_fits(node, values)
    if node.op.name in MOVES:
        static = all(isinstance(size, int) for shape in values for size in shape)
        return static and all(i.constant is not None for i in node.inputs if _is_told(i, node))
    if node.op is if_:
        return all(size == 1 for size in values[0])
    return node.op.facts.total and len(values) == 1


def _inside(node: Node) -> list[Node]:
    """The nodes that compute something in the bodies of a node."""
    bodies = [body.outputs for _, body in node.bodies]
    return [item for outputs in bodies for item in walk(outputs) if item.inputs]


def _is_told(item: Node, node: Node) -> bool:
    """Whether an input says how data move, rather than being moved."""
    return node.op.name != "Concat" and item is not node.inputs[0] and not item.is_absent


def broadcast_fits(shapes: Sequence[tuple[Size, ...]]) -> bool:
    """Whether shapes are proven to broadcast: along each axis there is one size other than 1."""
    rank = max(map(len, shapes), default=0)
    for axis in range(1, rank + 1):
        sizes = {shape[-axis] for shape in shapes if axis <= len(shape)} - {1}
        if len(sizes) > 1:
            return False
    return True


def _product_fits(node: Node, shapes: Sequence[tuple[Size, ...]]) -> bool:
    """Whether the operands of a product of matrices are proven to fit."""
    a, b, *rest = shapes
    if node.op.name == "Gemm":
        a = a[::-1] if node.attrs.get("transA") else a
        b = b[::-1] if node.attrs.get("transB") else b
        product = (a[0], b[1])
        if rest and any(
            size not in (1, wanted)
            for size, wanted in zip(reversed(rest[0]), reversed(product), strict=False)
        ):
            return False
    return a[-1] == b[max(-2, -len(b))] and broadcast_fits([a[:-2], b[:-2]])


# Loops of few iterations


def written_out(node: Node, most: int) -> Values | None:
    """The outputs of a loop of a few iterations, each written out; None where there are more."""
    parts = parts_of(node)
    trips, work = parts.count, list(all_nodes(parts.body.outputs))
    if not isinstance(trips, int) or trips < 1 or fixed(parts.body.outputs):
        return None
    size = sum(bool(item.inputs) for item in work)
    if trips > 1 and trips * max(size, 1) > most:
        return None
    state: Values = parts.carried
    shown: list[Values] = []
    for k in range(trips):
        _, made = parts.body.open((*_heads(parts, k), *state, *_slices(parts, k), *parts.captured))
        state = made[parts.skipped :][: len(state)]
        shown.append([made[j] for j in parts.shown])
    axes = node.attrs.get("scan_output_axes") or (0,) * len(parts.shown)
    ways = node.attrs.get("scan_output_directions") or (0,) * len(parts.shown)
    stacked: list[Node] = []
    for j, (axis, way) in enumerate(zip(axes, ways, strict=True)):
        items = [unsqueeze(made[j], constant([axis], DType.INT64)) for made in shown]
        items = items[::-1] if way else items
        stacked.append(concat(*items, axis=axis) if len(items) > 1 else items[0])
    return [*state, *stacked]


def _heads(parts: Parts, k: int) -> list[Node]:
    """What a Loop's body is given of itself in iteration k; the condition holds."""
    if parts.node.op is not loop:
        return []
    number, flag = (param_shape(parts.body, index) for index in (ITERATION, CONDITION))
    return [
        constant(Tensor.splat(DType.INT64, number, k)),
        constant(Tensor.splat(DType.BOOL, flag, True)),
    ]


def _slices(parts: Parts, k: int) -> list[Node]:
    """What a Scan's body is given of what is scanned in iteration k."""
    ways = parts.node.attrs.get("scan_input_directions") or (0,) * len(parts.scanned)
    return [
        gather(item, constant(-1 - k if way else k, DType.INT64), axis=axis)
        for item, axis, way in zip(parts.scanned, parts.axes, ways, strict=True)
    ]
