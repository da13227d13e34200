"""Positions in sorted arrays, in the domain `graphopt`."""

from __future__ import annotations

from graphopt.ir import Node
from graphopt.op import Array, Facts, Xp, op, refuse
from graphopt.ops.bounds import COUNTS, always
from graphopt.ops.checks import check_rank, same_dtype
from graphopt.ops.dtypes import NUMBERS
from graphopt.ops.examples import given
from graphopt.structural import constant
from graphopt.types import DType, TensorType, Type

SIDES = ("left", "right")


@op("SearchSorted", domain="graphopt", facts=Facts(total=True))
def search_sorted(xp: Xp, sorted: Array, values: Array, *, side: str = "left") -> Array:
    """Where each of `values` would stand in an ascending vector: before its equals, or behind them.

    A NaN is greater than any number.
    """
    found = xp.searchsorted(sorted, values, side=side)
    return xp.asarray(found, xp.dtype(DType.INT64))


@search_sorted.infer
def _(sorted: Node, values: Node, *, side: str) -> Type:
    same_dtype(sorted, values, among=NUMBERS)
    check_rank(sorted, (1,), "the sorted vector")
    if side not in SIDES:
        raise refuse(f"side is left or right, not {side!r}")
    return TensorType(DType.INT64, values.shape)


search_sorted.bounds(always(COUNTS))


@search_sorted.examples
def _() -> list[Node]:
    line = constant([1, 2, 2, 5])
    wanted = constant([[0, 1], [2, 3], [5, 6]])
    floats = constant([-1.0, 0.0, 0.5], DType.FLOAT32)
    return [
        *(search_sorted(line, wanted, side=side) for side in SIDES),
        search_sorted(floats, given("x", "N", 3)),
        search_sorted(given("line", 0), given("x")),
        search_sorted(floats, given("x", 0, 2)),
    ]
