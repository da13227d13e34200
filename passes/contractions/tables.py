"""Rules of tables: rows of constants taken by position, and what is done to every row alike."""

from __future__ import annotations

from functools import partial

import numpy as np

from graphopt.ir import Node
from graphopt.op import Op
from graphopt.ops.arithmetic import add, clip, mul
from graphopt.ops.cast import cast
from graphopt.ops.indexing import gather
from graphopt.ops.linalg import matmul
from graphopt.ops.logic import equal
from graphopt.ops.shape import squeeze
from graphopt.passes.algebra.elements import evaluated
from graphopt.passes.movement.positions import vector
from graphopt.ranges import facts_of
from graphopt.rewriting import (
    Attr,
    Const,
    Declined,
    Equations,
    Float,
    Guard,
    Integer,
    Rule,
    Soundness,
    Value,
    guards,
    rules,
)
from graphopt.rewriting.examples import example, weights
from graphopt.structural import constant
from graphopt.types import DType

SMALL = 1 << 16
"""Tables of fewer bytes are stored twice where that saves the work of every run."""
MOST = 1 << 20
"""The most elements of a table that are computed with beforehand."""


def counts_up(c: Node) -> bool:
    """Whether a constant is 0, 1, 2, … along its last axis, the others having one element."""
    tensor = c.constant
    if tensor is None or not tensor.shape or tensor.is_splat or tensor.size != tensor.shape[-1]:
        return False
    return np.array_equal(tensor.array.reshape(-1), np.arange(tensor.size))


def is_finite(w: Node) -> bool:
    """Whether no element of a constant is infinite or NaN."""
    assert w.constant is not None
    return bool(np.isfinite(w.constant.array.astype(np.float64)).all())


def row_of(i: Node, c: Node, w: Node) -> Node | Declined | None:
    """The rows of a matrix at some positions, of zeros where there is none, by one Gather."""
    tensor, shape = w.constant, i.shape
    assert tensor is not None
    if tensor.array.ndim != 2 or not shape or shape[-1] != 1 or len(c.shape or ()) > len(shape):
        return None
    if i.dtype not in (DType.INT32, DType.INT64):
        return Declined("the positions are no indices")
    rows = tensor.shape[0]
    facts = facts_of(i)
    table = tensor.array + tensor.array.dtype.type(0)  # -0.0 in a sum is 0.0
    if not (facts.low >= 0 and facts.high < rows):
        table = np.concatenate([table, np.zeros_like(table[:1])])
        low, high = (constant(np.array(end, i.dtype.numpy)) for end in (-1, rows))
        i = clip(i, low, high)  # both take the row of zeros
    made: Node = gather(constant(table, w.dtype), squeeze(i, vector([len(shape) - 1])))
    return made


def _one_hot(positions: Node, count: Node, w: Node) -> Node:
    made: Node = matmul(cast(equal(positions, count), to=DType.FLOAT32), w)
    return made


cheap = Guard(
    "the matrix is small or used nowhere else",
    lambda w, uses: uses(w) == 1 or w.constant.nbytes <= SMALL,
)


@rules(Soundness.ROUNDING)
def one_hot(i: Integer, c: Const, w: Const, hot: Value, a: Attr) -> Equations:
    """(i = [0, 1, 2, …]) @ w = w[i]: a product with one-hot rows takes rows"""
    x = example("int32[N, 3, 1]")
    row = partial(constant, np.arange(5, dtype=np.int32))
    yield Rule(
        "product",
        matmul(hot.of(cast(equal(i, c), to=a)), w),
        row_of,
        when=Guard("the positions are counted", lambda c, w: _fits(c, w)),
        worth=(
            guards.used_once("hot"),
            cheap,
            Guard("the matrix is finite", lambda w: is_finite(w)),
        ),
        fires=lambda: _one_hot(x, row(), weights(5, 2)),
        misses=lambda: _one_hot(x, constant(np.array([0, 1, 3, 2, 4], np.int32)), weights(5, 2)),
    )


def _fits(c: Node, w: Node) -> bool:
    return counts_up(c) and w.shape is not None and w.shape[:1] == (c.shape or ())[-1:]


def of_table(op: Op, t: Node, c: Node, i: Node) -> Node | Declined | None:
    """A table with a constant added to all its rows, or by which they are multiplied."""
    if t.constant is None or c.constant is None or t.shape is None or c.shape is None:
        return None
    width = t.shape[1:]
    if c.shape[-1:] != width or c.constant.size != c.shape[-1]:
        return Declined("the constant is not one for each column")
    table = evaluated(op, t, constant(c.constant.array.reshape(-1), c.dtype))
    if isinstance(table, Declined):
        return table
    made: Node = gather(table, i)
    return made


SIZE = Guard("the table is not large", lambda t: t.constant.size <= MOST)
TWO = Guard("the table has two axes", lambda t: t.rank == 2)


def _shifted(op: Op, axis: int) -> Node:
    taken = gather(weights(5, 5), example("int64[N, 5]", "i"), axis=axis)
    made: Node = op(taken, weights(5, seed=1))
    return made


@rules(Soundness.EXACT)
def tables(t: Const, i: Integer, c: Const, rows: Float) -> Equations:
    """table[i] + c = (table + c)[i], table[i] * c = (table * c)[i]"""
    for op in (add, mul):
        yield Rule(
            op.name.lower(),
            op(rows.of(gather(t, i)), c),
            partial(of_table, op),
            worth=(guards.used_once("rows"), guards.used_once("t"), TWO, SIZE),
            fires=partial(_shifted, op, 0),
            misses=partial(_shifted, op, 1),
        )


def small_rows(t: Node, s: Node, i: Node, to: DType) -> Node | Declined | None:
    """Some rows of a table of small numbers, widened and scaled after they are taken."""
    if t.rank != 2 or s.rank is None or s.rank > 2 or t.shape is None or s.shape is None:
        return None
    factors = (1, 1, *s.shape)[-2:]
    tensor = s.constant
    assert tensor is not None
    if factors[0] == t.shape[0] and factors[0] != 1:
        scale: Node = gather(s, i)
    else:
        scale = constant(tensor.array.reshape(tensor.shape[-1:]), s.dtype)
    made: Node = mul(cast(gather(t, i), to=to), scale)
    return made


MANY_ROWS = 256
"""So many rows are hardly ever all taken at once."""


def _small(rows: int, *scales: int, axis: int = 0) -> Node:
    t = constant(np.arange(rows * 3, dtype=np.int8).reshape(rows, 3))
    wide = mul(cast(t, to=DType.FLOAT32), weights(*scales))
    made: Node = gather(wide, example("int64[N, 5]", "i"), axis=axis)
    return made


@rules(Soundness.EXACT)
def stored_rows(t: Const, s: Const, i: Integer, wide: Value, small: Value, to: Attr) -> Equations:
    """(cast(table) * scales)[i] = cast(table[i]) * scales[i]"""
    yield Rule(
        "scaled",
        gather(wide.of(mul(small.of(cast(t, to=to)), s)), i),
        small_rows,
        worth=(
            guards.used_once("wide"),
            guards.used_once("small"),
            Guard("the table has many rows", lambda t: (t.shape or (0,))[0] >= MANY_ROWS),
        ),
        fires=partial(_small, MANY_ROWS, MANY_ROWS, 1),
        misses=partial(_small, MANY_ROWS, MANY_ROWS, 1, axis=1),
    )


TABLES = one_hot + tables + stored_rows
