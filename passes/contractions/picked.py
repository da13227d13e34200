"""Rows that are picked of a result are picked of its operands: the rest is not computed.

A classifier takes the first position of its last layer, a language model the last one. Residual
sums are crossed for one position only: both sides are picked then.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from graphopt import dims
from graphopt.analysis import same_shape
from graphopt.ir import Node
from graphopt.ops.arithmetic import add
from graphopt.ops.indexing import gather
from graphopt.ops.linalg import gemm, matmul
from graphopt.ops.normalization import layer_normalization, rms_normalization
from graphopt.ops.shape import squeeze
from graphopt.ops.slicing import slice_
from graphopt.ops.softmax import softmax
from graphopt.passes.algebra.elements import shown
from graphopt.passes.movement.chains import LONGEST, UNMOVED, fed_by_contraction, variable_of
from graphopt.passes.movement.gather_axes import axis_of, size_of
from graphopt.passes.movement.positions import Span, numbers_of, sliced, spans_of, vector
from graphopt.rewriting import (
    Attr,
    Declined,
    Equations,
    Maybe,
    Rule,
    RuleSet,
    Soundness,
    Value,
    guards,
    rules,
)
from graphopt.rewriting.examples import example, ints, weights

FEW = 8
"""One position of so many is worth a second node that picks it."""
ELSEWHERE = Declined("what is picked runs along an axis that is summed over or normalized")
NO_FEWER = Declined("no fewer elements are picked, or along several axes")


@dataclass(frozen=True)
class Pick:
    """What a Gather or Slice takes along one axis of its operand; `drops`: the axis goes."""

    node: Node
    axis: int
    drops: bool
    span: Span | None = None

    def of(self, value: Node, axis: int) -> Node | None:
        """The same along an axis of another value."""
        if self.span is not None:
            return sliced(value, {axis: self.span})
        made: Node = gather(value, self.node.inputs[1], axis=axis)
        return made

    @property
    def thin(self) -> bool:
        """Whether it takes one position of many, as far as is known."""
        size = size_of(self.node.inputs[0], self.axis)
        one = self.drops or size_of(self.node, self.axis) == 1
        return one and not (isinstance(size, int) and size < FEW)

    @property
    def known(self) -> bool:
        """Whether it is known before the graph is run what is taken."""
        return self.span is not None or numbers_of(self.node.inputs[1]) is not None


def pick_of(root: Node) -> Pick | None:
    """A Gather or Slice as a pick that takes fewer elements, along one axis."""
    x = root.inputs[0]
    if x.shape is None or root.shape is None:
        return None
    if root.op is slice_:
        spans = spans_of(root)
        if spans is None or len(spans) != 1:
            return None
        ((axis, span),) = spans.items()
        made = Pick(root, axis, drops=False, span=span)
    else:
        found = axis_of(x, dict(root.attrs))
        if found is None or root.inputs[1].rank not in (0, 1):
            return None
        made = Pick(root, found, drops=root.inputs[1].rank == 0)
    before = x.shape[made.axis]
    after = 1 if made.drops else root.shape[made.axis]
    fewer = dims.at_most(after, before)
    return made if fewer and before != after and (before != 1 or not made.drops) else None


def of_product(root: Node, p: Node) -> Node | Declined:
    """Rows of x @ w as rows of x, @ w; columns of it by columns of constant weights."""
    pick = pick_of(root)
    if pick is None:
        return NO_FEWER
    x, w = p.inputs[:2]
    if x.rank is None or w.rank is None or x.rank < 2 or w.rank < 2 or p.rank is None:
        return ELSEWHERE
    made: Node | None = None
    last = pick.axis == p.rank - 1
    if last and p.op is matmul and pick.known and not pick.drops and w.constant is not None:
        narrow = pick.of(w, w.rank - 1)
        made = None if narrow is None else matmul(x, narrow)
    elif not last and p.op is matmul and (w.rank == 2 or _rows_of_batches(pick, x)):
        thin = pick.of(x, pick.axis)
        made = None if thin is None else matmul(thin, w)
    elif not last and p.op is gemm and not pick.drops and not p.attrs.get("transA"):
        bias = p.inputs[2] if len(p.inputs) > 2 else None
        thin = pick.of(x, 0) if bias is None or _of_columns(bias) else None
        made = None if thin is None else p.with_inputs((thin, *p.inputs[1:]))
    return made if made is not None and same_shape(made, root) else ELSEWHERE


def _of_columns(bias: Node) -> bool:
    return bias.is_absent or (bias.shape is not None and bias.shape[:-1] in ((), (1,)))


def _rows_of_batches(pick: Pick, x: Node) -> bool:
    return not pick.drops and x.rank is not None and pick.axis == x.rank - 2


def of_vectors(root: Node, p: Node) -> Node | Declined:
    """What is done to all vectors along an axis, done to those that are picked."""
    pick = pick_of(root)
    if pick is None:
        return NO_FEWER
    x, rank = p.inputs[0], p.rank
    if rank is None:
        return ELSEWHERE
    axis = p.op.arguments(p.attrs)["axis"] % rank
    norm = p.op in (layer_normalization, rms_normalization)
    if pick.axis == axis or (norm and pick.axis > axis):
        return ELSEWHERE
    if any(m.rank is None or m.rank > rank - axis for m in p.inputs[1:] if not m.is_absent):
        return ELSEWHERE
    thin = pick.of(x, pick.axis)
    if thin is None:
        return ELSEWHERE
    shifted = axis - (1 if pick.drops and pick.axis < axis else 0)
    left = rank - 1 if pick.drops else rank
    made: Node = p.op(thin, *p.inputs[1:], **{**p.attrs, "axis": shifted - left})
    return made if same_shape(made, root) else ELSEWHERE


def of_elements(root: Node, p: Node) -> Node | Declined | None:
    """gather(x + y, i) as gather(x, i) + y or, of one position of many, gather(y, i)."""
    if not p.op.facts.elementwise or p.rank is None or p.shape is None or p.dtype in UNMOVED:
        return None
    pick = pick_of(root)
    if pick is None:
        return NO_FEWER
    if variable_of(p) is not None and not (fed_by_contraction(p) and _ends_in_rows(p, pick)):
        return None  # a chain of nodes of one variable, which other rules take as a whole
    size, operands, picked = p.shape[pick.axis], list[Node](), set[Node]()
    for item in p.inputs:
        made = item if item.is_absent else _part(item, pick, p.rank, size)
        if made is None:
            return Declined("how an operand is broadcast is not known, or how it is picked")
        if made is not item and item.constant is None:
            picked.add(item)
        operands.append(made)
    if len(picked) != 1 and not (picked and pick.thin):
        return Declined("several operands would be picked")
    node = p.with_inputs(tuple(operands))
    return node if same_shape(node, root) else Declined("the shape is not known")


def _ends_in_rows(p: Node, pick: Pick) -> bool:
    """Whether a chain of element-wise nodes ends in a product of which rows are picked."""
    for _ in range(LONGEST):
        if p.op in (matmul, gemm):
            return p.rank is not None and pick.axis < p.rank - 1
        whole = [item for item in p.inputs if same_shape(item, p) and item.constant is None]
        if not p.op.facts.elementwise or len(whole) != 1:
            return False
        (p,) = whole
    return False


def _part(item: Node, pick: Pick, rank: int, size: Any) -> Node | None:
    """An operand of an element-wise node of so many axes, as far as it is picked."""
    if item.rank is None or item.shape is None or item.dtype in UNMOVED:
        return None
    axis = pick.axis - (rank - item.rank)
    if axis < 0:
        return item
    if item.shape[axis] == 1:
        if not pick.drops:
            return item
        made: Node = squeeze(item, vector([axis]))
        return made if item.constant is not None else None
    return pick.of(item, axis) if item.shape[axis] == size else None


def _row(value: Node, axis: int) -> Node:
    made: Node = gather(value, example("int64[]", "i"), axis=axis)
    return made


def _rows(value: Node, axis: int) -> Node:
    made: Node = slice_(value, ints(1), ints(3), ints(axis))
    return made


def _product() -> Node:
    made: Node = matmul(example("float32[2, 9, 4]"), example("float32[4, 5]", "w"))
    return made


def _gemm() -> Node:
    made: Node = gemm(example("float32[9, 4]"), weights(5, 4), weights(5), transB=1)
    return made


def _normalized() -> Node:
    made: Node = layer_normalization(example("float32[2, 9, 4]"), weights(4), weights(4))
    return made


def _soft() -> Node:
    made: Node = softmax(example("float32[2, 9, 4]"), axis=1)
    return made


def _biased() -> Node:
    made: Node = add(example("float32[2, 9, 4]"), example("float32[4]", "b"))
    return made


def _summed() -> Node:
    made: Node = add(example("float32[2, 4, 3]"), example("float32[2, 4, 3]", "y"))
    return made


def _shown(show: Callable[[Node, int], Node], make: Callable[[], Node], axis: int) -> Node:
    return show(make(), axis)


PICKS = (("gather", gather, _row), ("slice", slice_, _rows))


@rules(Soundness.ROUNDING)
def picked(
    x: Value, w: Value, c: Maybe, s: Value, i: Value, e: Value, t: Maybe, v: Maybe, p: Value,
    a: Attr, b: Attr,
) -> Equations:  # fmt: skip
    """(x @ w)[i] = x[i] @ w, and so for normalizations along another axis.

    Not for LogSoftmax: near 0 it is as inexact as its sum, in whose order a pick may change.
    """
    products = (
        ("matmul", matmul(x, w), _product, 1, 2),
        ("gemm", gemm(x, w, c, attrs=a), _gemm, 0, 1),
        ("layer_norm", layer_normalization(x, s, c, attrs=a), _normalized, 1, 2),
        ("softmax", softmax(x, attrs=a), _soft, 2, 1),
    )
    for name, left, make, good, bad in products:
        for verb, op, show in PICKS:
            if op is gather and name == "gemm":
                continue
            whole = p.of(left)
            yield Rule(
                f"{verb}_{name}",
                gather(whole, i, attrs=b) if op is gather else slice_(whole, i, e, t, v),
                of_product if name in ("matmul", "gemm") else of_vectors,
                worth=guards.used_once("p"),
                fires=shown(_shown, show, make, good),
                misses=shown(_shown, show, make, bad),
            )


@rules(Soundness.EXACT)
def picked_elements(i: Value, e: Value, t: Maybe, v: Maybe, p: Value, b: Attr) -> Equations:
    """(x + y)[i] = x[i] + y where y is broadcast, or x[i] + y[i] of one position of many."""
    for verb, op, show in PICKS:
        yield Rule(
            verb,
            gather(p, i, attrs=b) if op is gather else slice_(p, i, e, t, v),
            of_elements,
            worth=guards.used_once("p"),
            fires=shown(_shown, show, _biased, 1),
            misses=shown(_shown, show, _summed, 1),
        )


PICKED: RuleSet = picked + picked_elements
