"""Rules of positions: a block that is written is a pad, what is picked twice is picked once."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from graphopt.analysis import same_shape
from graphopt.ir import Node
from graphopt.ops.indexing import gather, scatter_nd
from graphopt.ops.shape import reshape
from graphopt.ops.slicing import concat
from graphopt.passes.algebra.elements import element_of, scalar
from graphopt.passes.movement.gather_axes import Attributes, axis_of
from graphopt.passes.movement.pads import padded
from graphopt.passes.movement.positions import vector
from graphopt.rewriting import (
    Attr,
    Const,
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
from graphopt.structural import constant
from graphopt.types import DType

Positions = np.ndarray[Any, np.dtype[np.int64]]
MOST = 1 << 16
"""So many constant positions are looked at."""
PADDED = frozenset({DType.FLOAT32, DType.FLOAT64, DType.INT32, DType.INT64})
"""Dtypes that every runtime pads."""
UNKNOWN = Declined("the positions are few constants, in axes of known size")


def tuples(x: Node, i: Node) -> Positions | None:
    """The positions that are written, one in each row, counted from the front."""
    held = i.constant
    if held is None or x.shape is None or held.size > MOST or not held.size:
        return None
    rows: Positions = np.array(held.array, np.int64).reshape(-1, held.shape[-1])
    sizes = x.shape[: rows.shape[1]]
    numbers = [size for size in sizes if isinstance(size, int)]
    if len(numbers) < len(sizes):
        return None
    rows = np.where(rows < 0, rows + np.array(numbers), rows)
    return rows if ((rows >= 0) & (rows < np.array(numbers))).all() else None


def box(rows: Positions) -> tuple[tuple[int, int], ...] | None:
    """From where to where the positions are in each axis, if they are a whole block in order."""
    ends = [(int(column.min()), int(column.max()) + 1) for column in rows.T]
    counted = np.indices([stop - start for start, stop in ends]).reshape(len(ends), -1).T
    starts = np.array([start for start, _ in ends])
    return tuple(ends) if np.array_equal(rows, counted + starts) else None


def written(x: Node, i: Node, u: Node, root: Node) -> Node | Declined | None:
    """What is written all over x; in a block of a constant of one number, padded with it."""
    rows = tuples(x, i)
    block = None if rows is None else box(rows)
    if block is None or x.shape is None:
        return UNKNOWN
    sizes = [size for size in x.shape if isinstance(size, int)]
    if len(sizes) < len(x.shape):
        return UNKNOWN
    widths = {
        axis: (start, sizes[axis] - stop)
        for axis, (start, stop) in enumerate(block)
        if start or stop < sizes[axis]
    }
    number = element_of(x)
    if widths and (number is None or x.dtype not in PADDED):
        return Declined("what is not written is of one number")
    target = [stop - start for start, stop in block] + sizes[len(block) :]
    whole: Node = u if u.shape == tuple(target) else reshape(u, vector(target))
    made = padded(whole, widths, None if number is None else scalar(x, number))
    return made if same_shape(made, root) else UNKNOWN


def _places(rows: Positions) -> set[tuple[int, ...]]:
    return {tuple(map(int, row)) for row in rows}


def overwritten(x: Node, i: Node, u: Node, j: Node, v: Node) -> Node | Declined | None:
    """Two writes as one: the first is lost where the second is, or both are at once."""
    first, second = tuples(x, i), tuples(x, j)
    if first is None or second is None or first.shape[1] != second.shape[1]:
        return UNKNOWN
    before, after = _places(first), _places(second)
    if before <= after:
        lone: Node = scatter_nd(x, j, v)
        return lone
    if before & after or i.rank != 2 or j.rank != 2:
        return Declined("some positions are written twice, or not in rows")
    both = constant(np.concatenate([first, second]))
    made: Node = scatter_nd(x, both, concat(u, v, axis=0))
    return made


def _at(*rows: tuple[int, ...]) -> Node:
    return constant(np.array(rows, np.int64))


def _block(x: Node, *rows: int) -> Node:
    made: Node = scatter_nd(x, _at(*((row,) for row in rows)), example("float32[2, 3]", "u"))
    return made


def _twice(*rows: int) -> Node:
    made: Node = scatter_nd(
        _block(example("float32[5, 3]"), 1, 2),
        _at(*((row,) for row in rows)),
        example(f"float32[{len(rows)}, 3]", "v"),
    )
    return made


@rules(Soundness.EXACT)
def scattered(x: Value, i: Const, u: Value, j: Const, v: Value, inner: Value) -> Equations:
    """What is written all over x is u, in a block of zeros u padded; two writes are one."""
    yield Rule(
        "all",
        scatter_nd(x, i, u),
        lambda x, i, u, root: written(x, i, u, root),
        fires=lambda: _block(example("float32[2, 3]"), 0, 1),
        misses=lambda: _block(example("float32[2, 3]"), 1, 0),
    )
    yield Rule(
        "twice",
        scatter_nd(inner.of(scatter_nd(x, i, u)), j, v),
        overwritten,
        worth=guards.used_once("inner"),
        fires=partial(_twice, 4, 3),
        misses=partial(_twice, 2, 3),
    )


def picked_once(
    x: Node, i: Node, j: Node, inner: Node, a: Attributes, b: Attributes
) -> Node | Declined:
    """gather(gather(x, i), j) as gather(x, gather(i, j)): numbers are copied in place of rows."""
    axis = axis_of(x, a)
    if axis is None or i.rank != 1 or axis_of(inner, b) != axis or j.rank is None:
        return Declined("they are not picked along one axis by a vector")
    made: Node = gather(x, gather(i, j), axis=axis)
    return made


@rules(Soundness.EXACT)
def picked_twice(x: Value, i: Value, j: Value, inner: Value, a: Attr, b: Attr) -> Equations:
    """gather(gather(x, i), j) = gather(x, gather(i, j))"""
    rows = gather(example("float32[9, 3]"), example("int64[N]", "i"))
    yield Rule(
        "gather",
        gather(inner.of(gather(x, i, attrs=a)), j, attrs=b),
        picked_once,
        worth=(
            guards.used_once("inner"),
            Guard("rows are picked", lambda inner: inner.rank is not None and inner.rank > 1),
        ),
        fires=lambda: gather(rows, example("int64[4]", "j")),
        misses=lambda: gather(rows, example("int64[4]", "j"), axis=1),
    )


SCATTERS = scattered + picked_twice
