"""Reductions over axes: sums, extremes, norms, and the positions of extremes.

The axes are an input. Where it is absent or empty, all axes are reduced, or with
noop_with_empty_axes none: then only the element-wise part of the op is done.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from functools import reduce
from math import prod
from typing import Any

from graphopt import dims
from graphopt.ir import Node
from graphopt.op import Array, Facts, Ints, Op, Xp, refuse
from graphopt.ops import bounds
from graphopt.ops.bounds import attribute, positions_below, size_range
from graphopt.ops.checks import check_dtype
from graphopt.ops.common import normal_axes, normal_axis
from graphopt.ops.dtypes import BOOLS, FLOATS, NUMBERS, WIDE_NUMBERS, Dtypes
from graphopt.ops.elementwise import Combine, fit
from graphopt.ops.examples import given
from graphopt.ops.intervals import absolute, total
from graphopt.ops.kernels import single
from graphopt.ranges import ValueFacts
from graphopt.structural import constant, graph_input
from graphopt.types import DType, TensorType, Type

Compute = Callable[[Xp, Array, Any, bool], Array]
"""From namespace, data, axes (None: all) and keepdims to what is reduced."""
EXTREMES = (*WIDE_NUMBERS, DType.UINT8, DType.INT8, *BOOLS)


def reduction(
    name: str,
    text: str,
    compute: Compute,
    proven: bounds.Reduced,
    dtypes: Dtypes,
    known: Combine | None = None,
    start: int | None = None,
) -> Op:
    """A reduction; 16-bit floats are computed in float32.

    `proven` tells what holds of the results, `known` combines two known elements and `start` is the
    result for no elements.
    """

    def kernel(
        xp: Xp,
        data: Array,
        axes: Array | None = None,
        *,
        keepdims: int = 1,
        noop_with_empty_axes: int = 0,
    ) -> Array:
        chosen: Ints = () if axes is None else tuple(axes.tolist())
        axis = chosen if chosen or noop_with_empty_axes else None
        return compute(xp, single(xp, data), axis, bool(keepdims)).astype(data.dtype, copy=False)

    def rule(data: Node, axes: Node | None, *, keepdims: int, noop_with_empty_axes: int) -> Type:
        check_dtype(data, dtypes)
        kind = data.tensor_type
        chosen = known_axes(axes, kind.rank, bool(noop_with_empty_axes))
        made = TensorType(kind.dtype, reduced_shape(kind, axes, chosen, bool(keepdims)))
        if known is None or chosen is None or kind.known is None:
            return made
        return made.with_known(known_reduction(kind, chosen, known, start))

    kernel.__doc__ = text
    made = Op(name, kernel, facts=Facts(host_inputs=(1,), signed_zero="passed"))
    made.infer(rule)
    made.bounds(lambda node, x, axes: proven(node.dtype, x, *reduced_count(node)))
    made.examples(lambda: reduction_examples(made, dtypes))
    return made


def known_axes(axes: Node | None, rank: int | None, noop: bool) -> Ints | None:
    """The axes that are reduced, counted from the front; None when they are not known."""
    ints: Ints | None = ()
    if axes is not None:
        check_dtype(axes, (DType.INT64,))
        if axes.rank not in (1, None):
            raise refuse(f"the axes are 1-d, not {axes.type}")
        ints = () if axes.shape == (0,) else axes.ints
    if ints is None or rank is None:
        return None
    return normal_axes(ints, rank) if ints or noop else tuple(range(rank))


def reduced_shape(
    kind: TensorType, axes: Node | None, chosen: Ints | None, keepdims: bool
) -> tuple[Any, ...] | None:
    """The shape after a reduction of known or unknown axes."""
    shape = kind.shape
    if shape is None:
        return None
    if chosen is None:
        length = None if axes is None or axes.shape is None else axes.shape[0]
        if keepdims:
            return (None,) * len(shape)
        if not isinstance(length, int):
            return None
        if length > len(shape):
            raise refuse(f"{length} axes of {kind} cannot be reduced")
        return (None,) * (len(shape) - length)
    if keepdims:
        return tuple(1 if axis in chosen else size for axis, size in enumerate(shape))
    return tuple(size for axis, size in enumerate(shape) if axis not in chosen)


def reduced_count(node: Node) -> tuple[int, int]:
    """How many elements are reduced to one, at least and at most."""
    data, axes = node.inputs[0], (*node.inputs, None)[1]
    if axes is not None and axes.is_absent:
        axes = None
    kind, noop = data.tensor_type, bool(attribute(node, "noop_with_empty_axes"))
    chosen = known_axes(axes, kind.rank, noop)
    if chosen is None or kind.shape is None:
        return size_range(None)
    return size_range(tuple(kind.shape[axis] for axis in chosen))


def known_reduction(
    kind: TensorType, axes: Ints, combine: Combine, start: int | None
) -> list[Any] | None:
    """The known elements of a reduced tensor."""
    shape: Any = kind.shape
    if kind.known is None or not all(type(size) is int for size in shape):
        return None
    if 0 in shape:
        return [start] * prod(size for axis, size in enumerate(shape) if axis not in axes)
    places: list[Ints] = [()]
    for axis, size in enumerate(shape):
        kept = axis not in axes
        places = [(*place, i * kept) for place in places for i in range(size)]
    groups: dict[Ints, list[Any]] = {}
    for place, element in zip(places, kind.known, strict=True):
        groups.setdefault(place, []).append(element)
    return [
        None if None in group else fit(reduce(combine, group), kind.dtype)
        for group in groups.values()
    ]


def reduction_examples(made: Op, dtypes: Dtypes) -> list[Node]:
    """Examples of a reduction: its dtypes, its attributes, axes known and not."""
    x = given("x", "N", 3, "M")
    last, first = constant([-1]), constant([0, 2])
    none = constant([], DType.INT64)
    return [
        *(made(given("x", 4, 5, dtype=dtype), last) for dtype in dtypes),
        made(x),
        made(x, last),
        made(x, first, keepdims=0),
        made(x, none, noop_with_empty_axes=1),
        made(x, noop_with_empty_axes=1, keepdims=0),
        made(x, none, keepdims=0),
        made(given("x")),
        made(given("x", 2, 1, 3), constant([1])),
        made(given("x", 0, 3), constant([1])),
        made(given("x", 3, 1, 2, 4), given("axes", 1, dtype=DType.INT64)),
        made(given("x", 3, 1, 2, 4), given("axes", 1, dtype=DType.INT64), keepdims=0),
        made(graph_input("x", TensorType(DType.FLOAT32, None)), constant([1])),
    ]


def _sum(xp: Xp, x: Array, axis: Any, keepdims: bool) -> Array:
    return xp.sum(x, axis=axis, keepdims=keepdims, dtype=x.dtype)


def _mean(xp: Xp, x: Array, axis: Any, keepdims: bool) -> Array:
    total = _sum(xp, x, axis, keepdims)
    count = prod(x.shape[k] for k in (range(x.ndim) if axis is None else axis))
    if x.dtype.kind in "iu":
        return xp.divide_integers(total, xp.asarray(max(1, count), x.dtype))
    return total / xp.asarray(count, x.dtype)


def _max(xp: Xp, x: Array, axis: Any, keepdims: bool) -> Array:
    return xp.max(x, axis=axis, keepdims=keepdims, initial=_bound(xp, x, greatest=False))


def _min(xp: Xp, x: Array, axis: Any, keepdims: bool) -> Array:
    return xp.min(x, axis=axis, keepdims=keepdims, initial=_bound(xp, x, greatest=True))


def _bound(xp: Xp, x: Array, *, greatest: bool) -> Any:
    """The greatest or least element that an array of the dtype of x can have."""
    if x.dtype.kind == "b":
        return greatest
    if x.dtype.kind in "iu":
        return xp.iinfo(x.dtype).max if greatest else xp.iinfo(x.dtype).min
    return float("inf") if greatest else float("-inf")


def _prod(xp: Xp, x: Array, axis: Any, keepdims: bool) -> Array:
    return xp.prod(x, axis=axis, keepdims=keepdims, dtype=x.dtype)


def _norm(xp: Xp, x: Array, axis: Any, keepdims: bool) -> Array:
    real = x.astype(xp.float64) if x.dtype.kind in "iu" else x
    return xp.sqrt(_sum(xp, real * real, axis, keepdims))


def _log_sum_exp(xp: Xp, x: Array, axis: Any, keepdims: bool) -> Array:
    greatest = _max(xp, x, axis, True)
    shift = xp.where(xp.isfinite(greatest), greatest, 0)  # else inf - inf
    total = xp.log(_sum(xp, xp.exp(x - shift), axis, keepdims))
    return total + shift.reshape(total.shape)


reduce_sum = reduction("ReduceSum", "The sum over axes", _sum, total, WIDE_NUMBERS, operator.add, 0)
reduce_prod = reduction(
    "ReduceProd",
    "The product over axes",
    _prod,
    bounds.product_bounds,
    WIDE_NUMBERS,
    operator.mul,
    1,
)
reduce_mean = reduction(
    "ReduceMean",
    "The mean over axes, of integers rounded toward zero",
    _mean,
    bounds.mean_bounds,
    WIDE_NUMBERS,
)
reduce_max = reduction(
    "ReduceMax",
    "The greatest element over axes: of none, -infinity or the least number; NaN where one is",
    _max,
    bounds.extreme_bounds(greatest=False),
    EXTREMES,
    dims.maximum,
)
reduce_min = reduction(
    "ReduceMin",
    "The least element over axes: of none, infinity or the greatest number; NaN where one is",
    _min,
    bounds.extreme_bounds(greatest=True),
    EXTREMES,
    dims.minimum,
)
reduce_l1 = reduction(
    "ReduceL1",
    "The sum of |x| over axes",
    lambda xp, x, a, k: _sum(xp, xp.abs(x), a, k),
    lambda dtype, x, least, most: total(dtype, absolute(x), least, most),
    WIDE_NUMBERS,
)
reduce_l2 = reduction(
    "ReduceL2",
    "The square root of the sum of x² over axes",
    _norm,
    bounds.norm_bounds,
    WIDE_NUMBERS,
)
reduce_sum_square = reduction(
    "ReduceSumSquare",
    "The sum of x² over axes",
    lambda xp, x, a, k: _sum(xp, x * x, a, k),
    bounds.square_sum_bounds,
    WIDE_NUMBERS,
)
reduce_log_sum = reduction(
    "ReduceLogSum",
    "The logarithm of the sum over axes",
    lambda xp, x, a, k: xp.log(_sum(xp, x, a, k)),
    bounds.log_sum_bounds,
    FLOATS,
)
reduce_log_sum_exp = reduction(
    "ReduceLogSumExp",
    "The logarithm of the sum of exp(x) over axes, without overflow",
    _log_sum_exp,
    bounds.log_sum_exp_bounds,
    FLOATS,
)


def _place_bounds(node: Node, x: ValueFacts) -> ValueFacts:
    shape, axis = node.inputs[0].shape, int(attribute(node, "axis"))
    return positions_below(None if shape is None else shape[axis])


def _positions(name: str, text: str, find: str) -> Op:
    def kernel(
        xp: Xp, data: Array, *, axis: int = 0, keepdims: int = 1, select_last_index: int = 0
    ) -> Array:
        search = getattr(xp, find)
        if select_last_index:
            found = data.shape[axis] - 1 - search(xp.flip(data, axis), axis=axis)
        else:
            found = search(data, axis=axis)
        found = xp.asarray(found).astype(xp.int64)
        return xp.expand_dims(found, axis) if keepdims else found

    def rule(data: Node, *, axis: int, keepdims: int, select_last_index: int) -> Type:
        check_dtype(data, NUMBERS)
        shape = data.shape
        if shape is None:
            return TensorType(DType.INT64, None)
        axis = normal_axis(axis, len(shape))
        kept = (1,) if keepdims else ()
        return TensorType(DType.INT64, (*shape[:axis], *kept, *shape[axis + 1 :]))

    kernel.__doc__ = text
    made = Op(name, kernel, facts=Facts(signed_zero="absorbed"))
    made.infer(rule)
    made.bounds(_place_bounds)
    x = given("x", "N", 3)
    attrs: list[dict[str, int]] = [{}, {"axis": 1}, {"axis": -1, "keepdims": 0}]
    made.examples(
        lambda: [
            *(made(given("x", 4, 5, dtype=dtype), axis=-1) for dtype in NUMBERS),
            *(made(given("x", 40, dtype=dtype), select_last_index=1) for dtype in NUMBERS),
            *(made(x, **each) for each in attrs),
            made(given("x", 0, 3), axis=1),
        ]
    )
    return made


arg_max = _positions(
    "ArgMax",
    "The position of the greatest element along an axis: of the first NaN if there is one; the"
    " first of several, or the last with select_last_index. Fails on an axis of no elements.",
    "argmax",
)
arg_min = _positions(
    "ArgMin",
    "The position of the least element along an axis: of the first NaN if there is one; the"
    " first of several, or the last with select_last_index. Fails on an axis of no elements.",
    "argmin",
)
