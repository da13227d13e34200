"""Rules of indices: as narrow as the op takes them, and those that undo a search for duplicates."""

from __future__ import annotations

from graphopt.ir import Node
from graphopt.ops.cast import cast
from graphopt.ops.indexing import gather, gather_elements, scatter_elements
from graphopt.ops.selection import unique
from graphopt.passes.gather_axes import Attributes, axis_of
from graphopt.rewriting import Attr, Declined, Equations, Guard, Rule, Soundness, Value, rules
from graphopt.rewriting.examples import example
from graphopt.structural import out, out_op
from graphopt.types import DType

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


INDICES = indices + duplicates
