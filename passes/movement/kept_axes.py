"""Rules of the axes that reductions keep as axes of size 1, or drop, as what follows wants."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from graphopt.analysis import same_shape
from graphopt.ir import Node
from graphopt.op import Op
from graphopt.ops.pool_global import global_average_pool
from graphopt.ops.reduction import (
    arg_max,
    arg_min,
    reduce_l1,
    reduce_l2,
    reduce_max,
    reduce_mean,
    reduce_min,
    reduce_prod,
    reduce_sum,
    reduce_sum_square,
)
from graphopt.ops.shape import flatten, reshape, squeeze, unsqueeze
from graphopt.passes.movement.positions import vector
from graphopt.passes.movement.row_major import ROW_MAJOR, merged
from graphopt.rewriting import (
    Attr,
    Declined,
    Equations,
    Maybe,
    Rule,
    Soundness,
    Value,
    guards,
    rules,
)
from graphopt.rewriting.examples import example, ints

PICKING = (reduce_sum, reduce_max, reduce_min, reduce_prod, reduce_mean)
"""Of one element they are that element."""
ORDERLESS = (reduce_max, reduce_min, reduce_sum, reduce_mean, reduce_l1, reduce_l2,
             reduce_sum_square)  # fmt: skip
"""In which order elements are taken makes no difference but that of rounding."""

REDUCTIONS_OF_AXES = (*dict.fromkeys((*PICKING, *ORDERLESS)),)
"""The reductions that take their axes as an input."""


def reduced_axes(node: Node) -> tuple[int, ...] | None:
    """The axes that a reduction is over, counted from the front; None where they are not known."""
    rank = node.inputs[0].rank
    axes = node.inputs[1] if len(node.inputs) > 1 else None
    if axes is None or axes.is_absent or axes.shape == (0,):
        if node.attrs.get("noop_with_empty_axes"):
            return ()
        return None if rank is None else tuple(range(rank))
    if rank is None or axes.ints is None:
        return None
    return tuple(sorted(axis % rank for axis in axes.ints))


def reduced(op: Op, x: Node, axes: tuple[int, ...], *, keepdims: bool) -> Node:
    """A reduction over some axes, one or more."""
    made: Node = op(x, vector(axes), keepdims=int(keepdims))
    return made


def keeps(node: Node) -> bool:
    """Whether a reduction keeps its axes, as axes of size 1."""
    return bool(node.attrs.get("keepdims", 1))


def dropped(root: Node, inner: Node) -> Node | Declined | None:
    """A reshape that takes the axes away which a reduction kept: it does not keep them."""
    if not keeps(inner):
        return None
    made = inner.op(*inner.inputs, **{**inner.attrs, "keepdims": 0})
    return made if same_shape(made, root) else Declined("it changes other axes")


def of_shape(op: Op, x: Node, axes: Iterable[int], root: Node) -> Node | None:
    """The reduction of x over some axes, those of size 1 left out or all taken in, that has the
    shape of `root`; None where none has."""
    sizes = x.shape or ()
    own = {axis for axis in axes if sizes[axis] != 1}
    ones = {axis for axis, size in enumerate(sizes) if size == 1}
    for chosen in (own, own | ones) if own else ():
        for keepdims in (True, False):
            made = reduced(op, x, tuple(sorted(chosen)), keepdims=keepdims)
            if same_shape(made, root):
                return made
    return None


def reshaped(root: Node, inner: Node) -> Node | Declined:
    """A reshape that takes the axes away which a reduction kept, or brings them back."""
    made: Node = inner.op(*inner.inputs, **{**inner.attrs, "keepdims": int(not keeps(inner))})
    if same_shape(made, root):
        return made
    x, axes = inner.inputs[0], reduced_axes(inner) if inner.op in REDUCTIONS_OF_AXES else None
    other = None if axes is None or x.shape is None else of_shape(inner.op, x, axes, root)
    return other or Declined("it changes other axes")


def kept(root: Node, inner: Node) -> Node | Declined | None:
    """An Unsqueeze that brings the axes back which a reduction took away: it keeps them."""
    if keeps(inner):
        return None
    made = inner.op(*inner.inputs, **{**inner.attrs, "keepdims": 1})
    axes = root.inputs[1].ints
    gone = _gone(inner)
    if axes is None or root.rank is None or gone is None:
        return None
    same = tuple(sorted(axis % root.rank for axis in axes)) == gone
    return made if same else Declined("it adds other axes")


def _gone(inner: Node) -> tuple[int, ...] | None:
    if inner.op in (arg_max, arg_min):
        rank = inner.inputs[0].rank
        return None if rank is None else (inner.attrs.get("axis", 0) % rank,)
    return reduced_axes(inner)


def straight(root: Node, inner: Node) -> Node | Declined | None:
    """A reduction of a reshaped value as one of what has the same elements in more axes."""
    if inner.op not in ROW_MAJOR:
        return None
    axes, x = reduced_axes(root), inner.inputs[0]
    if x.shape is None or inner.shape is None or not axes:
        return None
    groups = merged(x.shape, inner.shape)
    if groups is None:
        return Declined("axes are split")
    own = [axis for k in axes for axis in groups[k]]
    made = of_shape(root.op, x, own, root)
    return made or Declined("it has another shape without the reshape")


def pooled(root: Node, x: Node) -> Node | Declined | None:
    """GlobalAveragePool without its axes of size 1 as a mean that drops them."""
    if x.rank is None or x.rank < 3:
        return None
    made = reduced(reduce_mean, x, tuple(range(2, x.rank)), keepdims=False)
    return made if same_shape(made, root) else Declined("it changes other axes")


@rules(Soundness.EXACT)
def reduce_axes(inner: Value, x: Value, a: Maybe, i: Value, q: Attr, r: Attr) -> Equations:
    """Axes that a reduction keeps and a reshape drops are not kept; those brought back are."""
    f = "float32[2, 3, 4]"

    def with_axis(change: Op, op: Op, keepdims: int, axis: int) -> Node:
        operands = (example(f),) if op in (arg_max, arg_min) else (example(f), ints(1))
        attrs = {"axis": 1} if op in (arg_max, arg_min) else {}
        made: Node = change(op(*operands, **attrs, keepdims=keepdims), ints(axis))
        return made

    def shaped(op: Op, *target: int) -> Node:
        attrs = {"axis": 1} if op in (arg_max, arg_min) else {}
        operands = (example(f),) if op in (arg_max, arg_min) else (example(f), ints(1))
        made: Node = reshape(op(*operands, **attrs), ints(*target))
        return made

    def first_squeezed(op: Op) -> Node:
        x, last = example("float32[1, 3, 4]"), op in (arg_max, arg_min)
        made: Node = squeeze(op(x, axis=2) if last else op(x, ints(2)), ints(0))
        return made

    for op in (*dict.fromkeys((*PICKING, *ORDERLESS)), arg_max, arg_min):
        left = op(x, attrs=q) if op in (arg_max, arg_min) else op(x, a, attrs=q)
        label = op.name.lower()
        yield Rule(
            f"squeeze_{label}",
            squeeze(inner.of(left), i),
            dropped,
            worth=guards.used_once("inner"),
            fires=partial(with_axis, squeeze, op, 1, 1),
            misses=partial(first_squeezed, op),
        )
        yield Rule(
            f"reshape_{label}",
            reshape(inner.of(left), i, attrs=r),
            reshaped,
            worth=guards.used_once("inner"),
            fires=partial(shaped, op, 2, 4),
            misses=partial(shaped, op, 4, 2),
        )
        yield Rule(
            f"unsqueeze_{label}",
            unsqueeze(inner.of(left), i),
            kept,
            worth=guards.used_once("inner"),
            fires=partial(with_axis, unsqueeze, op, 0, 1),
            misses=partial(with_axis, unsqueeze, op, 0, 0),
        )


@rules(Soundness.ROUNDING)
def reduce_pool(inner: Value, x: Value, i: Value, r: Attr) -> Equations:
    """A global average whose axes of size 1 are dropped is a mean over the positions."""
    f = "float32[N, 3, 4, 5]"
    wide = example(f)
    rows = {
        "squeeze": (squeeze(inner.of(global_average_pool(x)), i), ints(2, 3), ints(2)),
        "reshape": (reshape(inner.of(global_average_pool(x)), i, attrs=r), ints(0, 3), ints(3, -1)),
    }
    for name, (left, target, other) in rows.items():
        change = squeeze if name == "squeeze" else reshape
        yield Rule(
            name,
            left,
            pooled,
            worth=guards.used_once("inner"),
            fires=partial(change, global_average_pool(wide), target),
            misses=partial(change, global_average_pool(wide), other),
        )
    yield Rule(
        "flatten",
        flatten(inner.of(global_average_pool(x)), attrs=r),
        pooled,
        worth=guards.used_once("inner"),
        fires=lambda: flatten(global_average_pool(wide)),
        misses=lambda: flatten(global_average_pool(wide), axis=0),
    )


@rules(Soundness.EXACT)
def reduce_reshaped(inner: Value, a: Maybe, q: Attr) -> Equations:
    """A reduction of a value whose axes were only merged, dropped or added is one of that value."""
    dropped = squeeze(example("float32[2, 1, N]"), ints(1))
    split = reshape(example("float32[2, 6]"), ints(2, 3, 2))
    for op in REDUCTIONS_OF_AXES:
        yield Rule(
            op.name.removeprefix("Reduce").lower(),
            op(inner, a, attrs=q),
            straight,
            worth=guards.used_once("inner"),
            fires=partial(op, dropped, ints(1), keepdims=0),
            misses=partial(op, split, ints(1), keepdims=0),
            soundness=Soundness.EXACT if op in (reduce_max, reduce_min) else Soundness.ROUNDING,
        )


KEPT_AXES = reduce_axes + reduce_pool + reduce_reshaped
