"""Running sums and products along an axis."""

from __future__ import annotations

from graphopt.ir import Node
from graphopt.op import Array, Facts, Op, Xp, refuse
from graphopt.ops.bounds import MOST
from graphopt.ops.checks import check_dtype
from graphopt.ops.common import normal_axis
from graphopt.ops.dtypes import WIDE_NUMBERS
from graphopt.ops.examples import given
from graphopt.ops.intervals import total
from graphopt.ops.kernels import single
from graphopt.structural import constant
from graphopt.types import DType, TensorType, Type


def cumulative(name: str, text: str, function: str, start: int) -> Op:
    """A running sum or product, of which `start` is that of no elements."""

    def kernel(xp: Xp, x: Array, axis: Array, *, exclusive: int = 0, reverse: int = 0) -> Array:
        along = int(axis.reshape(()))
        if not -x.ndim <= along < x.ndim:
            raise ValueError(f"there is no axis {along} among {x.ndim}")
        ready = xp.flip(single(xp, x), along) if reverse else single(xp, x)
        total = getattr(xp, function)(ready, axis=along, dtype=ready.dtype)
        if exclusive:
            count = x.shape[along]
            before = xp.full_like(xp.take(total, xp.arange(min(1, count)), axis=along), start)
            most = xp.take(total, xp.arange(max(0, count - 1)), axis=along)
            total = xp.concatenate([before, most], axis=along)
        return (xp.flip(total, along) if reverse else total).astype(x.dtype, copy=False)

    def rule(x: Node, axis: Node, *, exclusive: int, reverse: int) -> Type:
        check_dtype(x, WIDE_NUMBERS)
        kind = x.tensor_type
        check_dtype(axis, (DType.INT32, DType.INT64))
        if axis.shape not in ((), (1,)) and axis.rank not in (None, 1):
            raise refuse(f"the axis is a scalar, not {axis.type}")
        if kind.shape is not None and axis.ints is not None:
            for along in axis.ints:
                normal_axis(along, len(kind.shape))
        return TensorType(kind.dtype, kind.shape)

    kernel.__doc__ = text
    made = Op(name, kernel, facts=Facts(host_inputs=(1,), signed_zero="passed"))
    made.infer(rule)

    def examples() -> list[Node]:
        x, last, first = given("x", "N", 3), constant(-1), constant(0, DType.INT32)
        return [
            *(made(given("x", 4, 5, dtype=dtype), last) for dtype in WIDE_NUMBERS),
            made(x, last, exclusive=1),
            made(x, first, reverse=1),
            made(x, first, exclusive=1, reverse=1),
            made(given("x", 0, 3), first, exclusive=1),
            made(given("x", 2, 3, 1, 2), given("axis", dtype=DType.INT64)),
        ]

    made.examples(examples)
    return made


cum_sum = cumulative(
    "CumSum",
    "The sums of the elements up to each along an axis: with `exclusive` without that element,"
    " with `reverse` from the other end.",
    "cumsum",
    0,
)
cum_prod = cumulative(
    "CumProd",
    "The products of the elements up to each along an axis: with `exclusive` without that"
    " element, with `reverse` from the other end.",
    "cumprod",
    1,
)

# Sums of none up to all of the elements on an axis, whose size running tells.
cum_sum.bounds(lambda node, x, axis: total(node.dtype, x, 0, MOST))
