"""Rules of GatherND and GatherElements where a Gather does."""

from __future__ import annotations

import numpy as np

from graphopt.ir import Node
from graphopt.ops.indexing import gather, gather_elements, gather_nd
from graphopt.ops.shape import unsqueeze
from graphopt.passes.movement.gather_axes import Attributes, axis_of
from graphopt.passes.movement.positions import vector
from graphopt.rewriting import (
    Attr,
    Const,
    Declined,
    Equations,
    Rule,
    Soundness,
    Value,
    rules,
)
from graphopt.rewriting.examples import example, ints
from graphopt.structural import constant


def last_only(i: Node, j: Node) -> bool:
    """Whether an Unsqueeze of i by axes j adds one axis, the last."""
    return j.ints is not None and (j.ints == (-1,) or j.ints == (i.rank,))


def along(x: Node, c: Node, a: Attributes) -> Node | Declined | None:
    """GatherElements by positions that are equal but for the axis, and span the other axes."""
    axis, held = axis_of(x, a), c.constant
    if axis is None or held is None or x.shape is None or not held.size or held.size > 1 << 20:
        return None
    if any(x.shape[k] != size for k, size in enumerate(held.shape) if k != axis):
        return Declined("the positions do not span the other axes")
    rows = np.moveaxis(held.array, axis, -1).reshape(-1, held.shape[axis])
    if (rows != rows[0]).any():
        return Declined("the positions vary along other axes")
    made: Node = gather(x, vector(rows[0].tolist()), axis=axis)
    return made


@rules(Soundness.EXACT)
def gather_others(x: Value, i: Value, j: Value, c: Const, a: Attr) -> Equations:
    """GatherND of single positions and GatherElements of whole slices are Gathers."""
    yield Rule(
        "nd",
        gather_nd(x, unsqueeze(i, j)),
        lambda x, i, j: gather(x, i) if last_only(i, j) else None,
        fires=lambda: gather_nd(example("float32[4, N]"), unsqueeze(_places(), ints(-1))),
        misses=lambda: gather_nd(example("float32[4, N]"), unsqueeze(_places(), ints(0))),
    )
    yield Rule(
        "nd_constant",
        gather_nd(x, c),
        lambda x, c: None if c.shape[-1] != 1 else gather(x, constant(c.constant.array[..., 0])),
        fires=lambda: gather_nd(example("float32[4, N]"), constant(np.array([[1], [3]]))),
        misses=lambda: gather_nd(example("float32[4, 4]"), constant(np.array([[1, 3]]))),
    )
    yield Rule(
        "elements",
        gather_elements(x, c, attrs=a),
        along,
        fires=lambda: gather_elements(example("float32[2, 3]"), constant([[2, 0]] * 2), axis=1),
        misses=lambda: gather_elements(
            example("float32[2, 3]"), constant([[2, 0], [0, 2]]), axis=1
        ),
    )


def _places() -> Node:
    made: Node = constant(np.array([1, 3]))
    return made


GATHERS_ND = gather_others
