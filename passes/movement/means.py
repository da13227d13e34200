"""Rules of means that are written as sums, and of reductions whose flags say nothing."""

from __future__ import annotations

from functools import partial
from math import prod
from typing import Any

import numpy as np

from graphopt.ir import Node
from graphopt.op import Op
from graphopt.ops.arithmetic import div, mul
from graphopt.ops.reduction import reduce_mean, reduce_sum
from graphopt.passes.fusion.idioms import number
from graphopt.passes.movement.kept_axes import REDUCTIONS_OF_AXES, reduced_axes
from graphopt.rewriting import (
    Attr,
    Const,
    Declined,
    Equations,
    Float,
    Guard,
    Rule,
    Soundness,
    Value,
    guards,
    rules,
)
from graphopt.rewriting.examples import example, filled, ints

MOST = 1 << 24
"""More summands than this are no float32."""


def count_of(total: Node) -> int | None:
    """Of how many elements a reduction makes one; None where that is not known."""
    sizes, axes = total.inputs[0].shape, reduced_axes(total)
    if sizes is None or axes is None:
        return None
    counts = [size for axis in axes if isinstance(size := sizes[axis], int)]
    return prod(counts) if len(counts) == len(axes) else None


def is_share(total: Node, c: Node, divided: bool) -> bool:
    """Whether a constant is one over the number of summands, or that number."""
    count, found = count_of(total), number(c)
    if count is None or not 0 < count <= MOST or found is None or c.constant is None:
        return False
    if c.constant.size != 1 or (c.rank or 0) > (total.rank or 0):
        return False
    return found == (count if divided else float(np.asarray(1 / count).astype(c.dtype.numpy)))


def _share(op: Op, value: float, axis: int = 1) -> Node:
    made: Node = op(reduce_sum(example("float32[N, 4, 3]"), ints(axis)), filled(value))
    return made


@rules(Soundness.ROUNDING)
def means(x: Float, a: Value, c: Const, total: Value, q: Attr) -> Equations:
    """sum(x) / n = sum(x) * (1 / n) = mean(x) of n summands"""
    for op in (mul, div):
        divided = op is div
        right = 4.0 if divided else 0.25
        yield Rule(
            op.name.lower(),
            op(total.of(reduce_sum(x, a, attrs=q)), c),
            lambda x, a, q: reduce_mean(x, a, **q),
            when=Guard(
                "the constant is that of the number of summands",
                partial(is_share, divided=divided),
                ("total", "c"),
            ),
            worth=guards.used_once("total"),
            fires=partial(_share, op, right),
            misses=partial(_share, op, right, 2),
        )


def without_flag(root: Node, q: dict[str, Any]) -> Node | Declined:
    """A reduction over axes that are given, which need not say what none would mean."""
    rest = {name: value for name, value in q.items() if name != "noop_with_empty_axes"}
    made: Node = root.op(*root.inputs, **rest)
    return made


def _some(a: Node) -> bool:
    sizes = a.shape or (0,)
    return isinstance(sizes[0], int) and sizes[0] > 0


def _flagged(op: Op, axes: Node) -> Node:
    made: Node = op(example("float32[2, 3]"), axes, noop_with_empty_axes=1)
    return made


@rules(Soundness.EXACT)
def given_axes(x: Value, a: Value, q: Attr) -> Equations:
    """A reduction over axes that are given need not say what it is over where there are none."""
    for op in REDUCTIONS_OF_AXES:
        yield Rule(
            op.name.lower(),
            op(x, a, attrs=q),
            lambda root, q: without_flag(root, q) if "noop_with_empty_axes" in q else None,
            when=Guard("there are axes", _some),
            fires=partial(_flagged, op, ints(1)),
            misses=partial(_flagged, op, example("int64[K]", "axes")),
        )


MEANS = given_axes + means
