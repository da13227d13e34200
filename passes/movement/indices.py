"""Rules of indices: as narrow as the op takes them, and those that undo a search for duplicates."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from graphopt import dims
from graphopt.dims import Size
from graphopt.ir import Node
from graphopt.ops.cast import cast
from graphopt.ops.functions import exp
from graphopt.ops.indexing import gather, gather_elements, scatter_elements
from graphopt.ops.selection import unique
from graphopt.passes.contractions.tables import MOST
from graphopt.passes.movement.chains import chain_of, rebuilt
from graphopt.passes.movement.gather_axes import Attributes, axis_of
from graphopt.rewriting import (
    Attr,
    Declined,
    Equations,
    Guard,
    Rule,
    Soundness,
    Value,
    guards,
    rules,
)
from graphopt.rewriting.examples import example
from graphopt.structural import out, out_op
from graphopt.types import DType

Uses = Callable[[Node], int]
Shape = Sequence[Size | None]
WIDENED = Guard(
    "the indices were widened",
    lambda i, c: i.dtype is DType.INT32 and c.dtype is DType.INT64,
)


def looked_up(root: Node, p: Node, u: Node, a: Attributes, b: Attributes) -> Node | Declined | None:
    """Rows picked by all the numbers, where those picked once each were picked among before."""
    if u.op is not unique:
        return None
    axis = axis_of(p, b)
    if axis is None or u.inputs[0].rank != 1 or axis_of(root.inputs[0], a) != axis:
        return Declined("they are picked along another axis, or by no vector of numbers")
    made: Node = gather(p, u.inputs[0], axis=axis)
    return made


def _fewer(shape: Shape, than: Shape) -> bool:
    """Whether a value of one shape is proven to have no more elements than one of another."""
    few, many = ([size for size in sizes if size is not None] for sizes in (shape, than))
    known = len(few) == len(shape) and len(many) == len(than)
    return known and dims.at_most(dims.product(few), dims.product(many))


def picked_early(root: Node, y: Node, i: Node, uses: Uses, a: Attributes) -> Node | Declined:
    """gather(f(x), i) as f(gather(x, i)), f computing element by element what nobody else takes."""
    found = chain_of(y, uses)
    if found is None or root.shape is None or y.shape is None:
        return Declined("its operand is no chain of nodes of one variable, of known rank")
    chain, x = found
    held = x.constant is not None and x.constant.size > MOST
    if not held and (not _fewer(root.shape, y.shape) or x.dtype.bits > y.dtype.bits):
        return Declined("no fewer elements are picked, or wider ones")
    made: Node = gather(x, i, **a)
    return rebuilt(chain, made)


@rules(Soundness.EXACT)
def early(y: Value, i: Value, a: Attr) -> Equations:
    """gather(f(x), i) = f(gather(x, i)): what is left out is not computed."""
    yield Rule(
        "gather",
        gather(y, i, attrs=a),
        picked_early,
        worth=guards.used_once("y"),
        fires=lambda: gather(exp(example("float32[9, 3]")), example("int64[2]", "i")),
        misses=lambda: gather(exp(example("float32[1, 3]")), example("int64[2]", "i")),
    )


@rules(Soundness.EXACT)
def indices(x: Value, i: Value, c: Value, u: Value, a: Attr, b: Attr) -> Equations:
    """gather(x, int64(i)) = gather(x, i), and so for GatherElements and ScatterElements."""

    def widened(size: str = "4", to: DType = DType.INT64, of: str = "int32") -> Node:
        made: Node = cast(example(f"{of}[{size}]", "i"), to=to)
        return made

    yield Rule(
        "gather",
        gather(x, c.of(cast(i, attrs=b)), attrs=a),
        lambda x, i, a: gather(x, i, **a),
        when=WIDENED,
        fires=lambda: gather(example("float32[N, 3]"), widened()),
        misses=lambda: gather(example("float32[8]"), widened(to=DType.INT32, of="int64")),
    )
    yield Rule(
        "elements",
        gather_elements(x, c.of(cast(i, attrs=b)), attrs=a),
        lambda x, i, a: gather_elements(x, i, **a),
        when=WIDENED,
        fires=lambda: gather_elements(example("float32[N]"), widened()),
        misses=lambda: gather_elements(example("float32[8]"), widened(to=DType.INT32, of="int64")),
    )
    yield Rule(
        "scatter",
        scatter_elements(x, c.of(cast(i, attrs=b)), u, attrs=a),
        lambda x, i, u, a: scatter_elements(x, i, u, **a),
        when=WIDENED,
        fires=lambda: scatter_elements(
            example("float32[N]"), widened(), example("float32[4]", "u")
        ),
        misses=lambda: scatter_elements(
            example("float32[8]"), widened(to=DType.INT32, of="int64"), example("float32[4]", "u")
        ),
    )


@rules(Soundness.EXACT)
def duplicates(p: Value, u: Value, a: Attr, b: Attr) -> Equations:
    """gather(gather(p, unique(i)), where each i went) = gather(p, i): an embedding's lookup."""

    def lookup(axis: int) -> Node:
        found = unique(example("int64[4]", "i"), outputs=3)
        inner = gather(example("float32[4, 4]"), out(found, 0), axis=axis)
        made: Node = gather(inner, out(found, 2))
        return made

    yield Rule(
        "gather",
        gather(gather(p, out_op(u, index=0), attrs=b), out_op(u, index=2), attrs=a),
        looked_up,
        fires=lambda: lookup(0),
        misses=lambda: lookup(1),
    )


INDICES = indices + duplicates + early
