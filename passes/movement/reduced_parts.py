"""Reductions of what was put together or repeated: of the parts, each once."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from graphopt import dims
from graphopt.analysis import same_shape
from graphopt.ir import Node
from graphopt.op import Op
from graphopt.ops.arithmetic import add, max_, min_, mul, sum_
from graphopt.ops.functions import exp
from graphopt.ops.reduction import reduce_max, reduce_mean, reduce_min, reduce_prod, reduce_sum
from graphopt.ops.shape import expand, squeeze, unsqueeze
from graphopt.ops.slicing import concat
from graphopt.passes.algebra.elements import scalar
from graphopt.passes.movement.expands import target
from graphopt.passes.movement.kept_axes import keeps, reduced, reduced_axes
from graphopt.passes.movement.positions import vector
from graphopt.ranges import facts_of, integer_limits
from graphopt.rewriting import (
    Attr,
    Declined,
    Equations,
    Float,
    Guard,
    Integer,
    Many,
    Maybe,
    Rule,
    Soundness,
    Value,
    guards,
    rules,
)
from graphopt.rewriting.examples import example, ints

MOST = 8
"""So many parts at the most are combined by one op."""
FEW, LARGE = 3, 1 << 17
"""So many parts at the most are worth a node more each, and only if they have so many elements."""
PARTS = Declined("the parts are not one element thick along the axis, and few")


def side_by_side(root: Node, inner: Node, xs: Sequence[Node]) -> Node | Declined | None:
    """A reduction of values side by side, as one of what each is reduced to.

    Where they are stacked, one element thick, as an op of the values themselves.
    """
    axes, rank = reduced_axes(root), inner.rank
    if axes is None or rank is None or not 2 <= len(xs) <= MOST:
        return PARTS
    axis: int = inner.attrs["axis"] % rank
    if axes != (axis,) or any(x.shape is None or x.shape[axis] != 1 for x in xs):
        return in_parts(root, inner, xs, axes)
    thin = [_unstacked(x, axis) for x in xs]
    bare = [x for x in thin if x is not None]
    made = _combined(root, bare if len(bare) == len(xs) else xs)
    if made is None:
        return PARTS
    stacked = len(bare) < len(xs)
    if stacked and not keeps(root):
        made = squeeze(made, vector([axis]))
    elif not stacked and keeps(root):
        made = unsqueeze(made, vector([axis]))
    return made if same_shape(made, root) else Declined("the shape is not known")


def in_parts(root: Node, inner: Node, xs: Sequence[Node], axes: tuple[int, ...]) -> Node | Declined:
    """Large values, each reduced for itself: they need not be copied to stand side by side."""
    axis: int = inner.attrs["axis"] % (inner.rank or 1)
    sizes = [dims.product(x.shape or (0,)) for x in xs]
    whole = sum(size if isinstance(size, int) else 0 for size in sizes)
    if not axes or 0 in sizes or whole < LARGE or len(xs) > FEW:
        return Declined("the parts are not few, large and of known size")
    parts = [reduced(root.op, x, axes, keepdims=keeps(root)) for x in xs]
    if axis in axes:
        made = _combined(root, parts)
    else:
        place = axis if keeps(root) else axis - sum(k < axis for k in axes)
        made = concat(*parts, axis=place)
    if made is None:
        return PARTS
    return made if same_shape(made, root) else Declined("the shape is not known")


def _unstacked(x: Node, axis: int) -> Node | None:
    """What an axis of size 1 was added to."""
    if x.op is not unsqueeze or x.rank is None or x.inputs[1].ints is None:
        return None
    return x.inputs[0] if [k % x.rank for k in x.inputs[1].ints] == [axis] else None


def _combined(root: Node, xs: Sequence[Node]) -> Node | None:
    pair = len(xs) == 2
    made: dict[Op, Op | None] = {
        reduce_max: max_,
        reduce_min: min_,
        reduce_sum: add if pair else sum_ if root.dtype.is_float else None,
        reduce_prod: mul if pair else None,
    }
    op = made[root.op]
    return None if op is None else op(*xs)


def unrepeated(root: Node, inner: Node) -> Node | Declined | None:
    """A reduction of a broadcast, over what is not repeated; what is counts as often."""
    axes, sizes, x = reduced_axes(root), inner.shape, inner.inputs[0]
    if axes is None or sizes is None or x.shape is None:
        return None
    lead = len(sizes) - len(x.shape)
    again = [k for k in axes if k < lead or (x.shape[k - lead] == 1 and sizes[k] != 1)]
    count = dims.product([sizes[k] for k in again])
    if not again or not dims.positive(count):
        return Declined("nothing that is repeated is reduced, or perhaps nothing is left of it")
    own = tuple(k - lead for k in axes if k >= lead)
    made = reduced(root.op, x, own, keepdims=keeps(root)) if own else x
    if root.op is reduce_sum:
        if not isinstance(count, int) or not _holds(root, count):
            return Declined("how often it is repeated is not known")
        made = mul(made, scalar(root, count))
    if same_shape(made, root):
        return made
    wide = target(made, root)
    fits = isinstance(wide, Node) and same_shape(wide, root)
    return wide if fits else Declined("the shape is not known")


def _holds(root: Node, count: int) -> bool:
    if root.dtype.is_integer:
        return count <= integer_limits(root.dtype)[1]
    return count <= 2048  # of every float: it is exact, and nothing overflows that did not


def _signless(xs: Sequence[Node]) -> bool:
    return not any(facts_of(x).may_be_negative_zero for x in xs)


SIGNLESS = Guard("no part is ever -0.0", _signless, ("xs",))


def _stack(op: Op) -> Node:
    parts = [unsqueeze(exp(example("float32[2, 3]", name)), ints(1)) for name in "xy"]
    made: Node = op(concat(*parts, axis=1), ints(1), keepdims=0)
    return made


def _thick(op: Op) -> Node:
    parts = [exp(example("float32[2, 2, 3]", name)) for name in "xy"]
    made: Node = op(concat(*parts, axis=1), ints(1), keepdims=0)
    return made


def _repeated(op: Op, kind: str, axis: int) -> Node:
    made: Node = op(expand(example(f"{kind}[2, 1, 3]"), ints(2, 4, 3)), ints(axis))
    return made


@rules(Soundness.VALUE)
def reduce_stacked(i: Maybe, xs: Many, inner: Value, k: Attr, q: Attr) -> Equations:
    """max over a stack of x and y = max(x, y), and so for sums and products."""
    for op in (reduce_max, reduce_min, reduce_sum, reduce_prod):
        rounds = op in (reduce_sum, reduce_prod)
        yield Rule(
            op.name.removeprefix("Reduce").lower(),
            op(inner.of(concat(xs, axis=k)), i, attrs=q),
            side_by_side,
            worth=guards.used_once("inner"),
            unobserved=None if rounds else SIGNLESS,
            fires=partial(_stack, op),
            misses=partial(_thick, op),
            soundness=Soundness.ROUNDING if rounds else Soundness.VALUE,
        )


@rules(Soundness.EXACT)
def reduce_repeated(
    x: Value, f: Float, n: Integer, s: Value, i: Maybe, inner: Value, q: Attr
) -> Equations:
    """max(expand(x)) = max(x), mean(expand(x)) = mean(x), sum(expand(x)) = n * sum(x)."""
    worth = guards.used_once("inner")
    rows: tuple[tuple[str, Op, Any, Soundness, str], ...] = (
        ("max", reduce_max, x, Soundness.EXACT, "float32"),
        ("min", reduce_min, x, Soundness.EXACT, "float32"),
        ("mean", reduce_mean, f, Soundness.ROUNDING, "float32"),
        ("sum", reduce_sum, f, Soundness.ROUNDING, "float32"),
        ("sum_integer", reduce_sum, n, Soundness.EXACT, "int32"),
    )
    for name, op, var, soundness, kind in rows:
        yield Rule(
            name,
            op(inner.of(expand(var, s)), i, attrs=q),
            unrepeated,
            worth=worth,
            fires=partial(_repeated, op, kind, 1),
            misses=partial(_repeated, op, kind, 0),
            soundness=soundness,
        )


REDUCED_PARTS = reduce_stacked + reduce_repeated
