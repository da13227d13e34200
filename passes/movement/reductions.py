"""Rules of reductions: nested, of transposes, over axes of size 1."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from graphopt.ir import Node
from graphopt.op import Op
from graphopt.ops.functions import exp
from graphopt.ops.movement import transpose
from graphopt.ops.reduction import (
    reduce_l1,
    reduce_max,
    reduce_mean,
    reduce_min,
    reduce_prod,
    reduce_sum,
    reduce_sum_square,
)
from graphopt.ops.shape import shape, size, squeeze
from graphopt.passes.movement.kept_axes import (
    KEPT_AXES,
    ORDERLESS,
    PICKING,
    keeps,
    reduced,
    reduced_axes,
)
from graphopt.passes.movement.positions import vector
from graphopt.rewriting import (
    Attr,
    Declined,
    Equations,
    Float,
    Function,
    Integer,
    Maybe,
    Rule,
    Soundness,
    Value,
    guards,
    rules,
)
from graphopt.rewriting.examples import example, ints

NESTED: tuple[tuple[Op, Op, Op], ...] = (
    (reduce_sum, reduce_sum, reduce_sum),
    (reduce_max, reduce_max, reduce_max),
    (reduce_min, reduce_min, reduce_min),
    (reduce_mean, reduce_mean, reduce_mean),
    (reduce_l1, reduce_l1, reduce_l1),
    (reduce_sum, reduce_l1, reduce_l1),
    (reduce_sum, reduce_sum_square, reduce_sum_square),
)
"""(outer, inner, both at once)."""
OF_INTEGERS = frozenset({reduce_sum, reduce_max, reduce_min})
Right = Function[Node | Declined | None]


def single(root: Node, x: Node) -> Node | Declined | None:
    """A reduction over axes of size 1, or none: x, or x without them."""
    axes = reduced_axes(root)
    if axes == ():
        return x
    if axes is None or x.shape is None:
        return None
    if any(x.shape[axis] != 1 for axis in axes):
        return Declined("an axis is not known to have size 1")
    return x if keeps(root) else squeeze(x, vector(axes))


def single_of(name: str) -> Right:
    """`single`, of the variable of this name."""

    def of_floats(root: Node, f: Node) -> Node | Declined | None:
        return single(root, f)

    def of_integers(root: Node, n: Node) -> Node | Declined | None:
        return single(root, n)

    return of_floats if name == "f" else of_integers


def nested(op: Op) -> Right:
    """A reduction of a reduction over the axes of both."""

    def right(root: Node, inner: Node) -> Node | Declined | None:
        first, then, rank = reduced_axes(inner), reduced_axes(root), inner.inputs[0].rank
        if first is None or then is None or rank is None:
            return None
        if not first or not then:
            return Declined("one is over no axes")
        if keeps(inner) != keeps(root):
            return Declined("one keeps its axes, the other does not")
        left = [axis for axis in range(rank) if keeps(inner) or axis not in first]
        axes = sorted({*first, *(left[axis] for axis in then)})
        return reduced(op, inner.inputs[0], tuple(axes), keepdims=keeps(root))

    return right


def untransposed(op: Op) -> Right:
    """A reduction of a transpose, over the same axes where they were before."""

    def right(root: Node, inner: Node) -> Node | Declined | None:
        axes, x = reduced_axes(root), inner.inputs[0]
        if axes is None or not axes or x.rank is None:
            return None
        perm = inner.attrs.get("perm") or tuple(reversed(range(x.rank)))
        before = tuple(sorted(perm[axis] for axis in axes))
        made = reduced(op, x, before, keepdims=keeps(root))
        if keeps(root):
            return _in_order(made, perm)
        rest = [axis for axis in perm if axis not in before]
        return _in_order(made, tuple(sorted(rest).index(axis) for axis in rest))

    return right


def _in_order(made: Node, perm: tuple[int, ...]) -> Node:
    done: Node = made if perm == tuple(sorted(perm)) else transpose(made, perm=perm)
    return done


def families(
    table: tuple[tuple[Op, Op, Op], ...], x: Any, n: Any
) -> Iterator[tuple[str, Op, Op, Op, Any, Soundness, str]]:
    """Rows of a table by kinds of elements: of floats they are rounded, of integers exact."""
    for outer, inner, made in table:
        name = f"{outer.name}_{inner.name}" if outer is not inner else outer.name
        label = name.replace("Reduce", "").lower()
        yield label, outer, inner, made, x, Soundness.ROUNDING, "float32"
        if {outer, inner} <= OF_INTEGERS:
            yield f"{label}_integer", outer, inner, made, n, Soundness.EXACT, "int32"


@rules(Soundness.EXACT)
def reduce_nested(x: Float, n: Integer, a: Maybe, b: Maybe, p: Attr, q: Attr,
                  inner: Value) -> Equations:  # fmt: skip
    """A reduction of a reduction is one over the axes of both."""

    def twice(outer: Op, first: Op, kind: str, axis: int) -> Node:
        within = first(example(f"{kind}[2, 3, N]"), ints(1), keepdims=0)
        made: Node = outer(within, ints(axis), keepdims=0 if axis == 0 else 1)
        return made

    for label, outer, first, made, var, soundness, kind in families(NESTED, x, n):
        yield Rule(
            label,
            outer(inner.of(first(var, a, attrs=p)), b, attrs=q),
            nested(made),
            worth=guards.used_once("inner"),
            fires=partial(twice, outer, first, kind, 0),
            misses=partial(twice, outer, first, kind, 1),
            soundness=soundness,
        )


@rules(Soundness.EXACT)
def reduce_transposed(x: Float, n: Integer, b: Maybe, p: Attr, q: Attr,
                      inner: Value) -> Equations:  # fmt: skip
    """A reduction of a transpose is over the axes as they stood before it."""

    def after(op: Op, kind: str, *axes: int) -> Node:
        made: Node = op(transpose(example(f"{kind}[2, 3, N]"), perm=(2, 0, 1)), ints(*axes))
        return made

    def computed(op: Op, kind: str) -> Node:
        turned = transpose(example(f"{kind}[2, 3]"), perm=(1, 0))
        made: Node = op(turned, example("int64[1]", "i"))
        return made

    table = tuple((op, op, op) for op in ORDERLESS)
    for label, op, _, _, var, soundness, kind in families(table, x, n):
        yield Rule(
            label,
            op(inner.of(transpose(var, perm=p)), b, attrs=q),
            untransposed(op),
            worth=guards.used_once("inner"),
            fires=partial(after, op, kind, 0, 1),
            misses=partial(computed, op, kind),
            soundness=soundness,
        )


@rules(Soundness.EXACT)
def reduce_trivial(x: Value, f: Float, n: Integer, b: Maybe, q: Attr) -> Equations:
    """A reduction over axes of size 1 gives its elements; the product of a shape is the size."""

    def over(op: Op, axis: int, kind: str = "float32", *, positive: bool = False) -> Node:
        x = example(f"{kind}[2, 1, N]")
        made: Node = op(exp(x) if positive else x, ints(axis), keepdims=0)
        return made

    for op in PICKING:
        label = op.name.removeprefix("Reduce").lower()
        near = partial(over, op, 2)
        if op not in (reduce_sum, reduce_mean):
            yield Rule(label, op(x, b, attrs=q), single, fires=partial(over, op, 1), misses=near)
            continue
        for variable, kind in ((f, "float32"), (n, "int32")):
            yield Rule(
                label if variable is f else f"{label}_integer",
                op(variable, b, attrs=q),
                single_of(variable.name),
                unobserved=guards.never_negative_zero("f") if variable is f else None,
                fires=partial(over, op, 1, kind, positive=variable is f),
                misses=partial(over, op, 2, kind, positive=variable is f),
                soundness=Soundness.VALUE if variable is f else Soundness.EXACT,
            )
    yield Rule(
        "size",
        reduce_prod(shape(x), b, keepdims=0),
        lambda x, root: size(x) if reduced_axes(root) == (0,) else None,
        fires=lambda: reduce_prod(shape(example("float32[?, ?]")), ints(0), keepdims=0),
        misses=lambda: reduce_prod(shape(example("float32[?, ?]"), start=1), ints(0), keepdims=0),
    )


REDUCTIONS = reduce_trivial + reduce_nested + reduce_transposed + KEPT_AXES
