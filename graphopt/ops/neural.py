"""What the ops of neural networks share: their dtypes, checks of sizes, accumulation in float32.

Kernels check the sizes that type rules trust: a rule may take a size from whichever input shows it
because a kernel fails where another input has a different one.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from graphopt.dims import Size
from graphopt.ir import Node
from graphopt.op import Array, Xp, refuse
from graphopt.ops.common import same_dtype
from graphopt.structural import graph_input
from graphopt.types import DType, TensorType

FLOATS = frozenset({DType.FLOAT16, DType.FLOAT32, DType.FLOAT64, DType.BFLOAT16})
HALVES = frozenset({DType.FLOAT16, DType.FLOAT32, DType.BFLOAT16})
INDICES = frozenset({DType.INT32, DType.INT64})
NUMBERS = frozenset(
    kind for kind in DType if kind.is_numeric and kind.bits >= 16 and kind.kind != "c"
) | {DType.INT8, DType.UINT8}


def float_dtype(*values: Node | None, among: frozenset[DType] = FLOATS) -> DType:
    """The one float dtype of the values that are there; raises TypeRuleError for any other."""
    dtype = same_dtype(*values)
    if dtype not in among:
        raise refuse(f"{dtype} elements are not taken")
    return dtype


def want_dtype(value: Node | None, among: frozenset[DType], what: str) -> None:
    """Refuse a value whose dtype is not one of some."""
    if value is not None and value.dtype not in among:
        raise refuse(f"{what} has {value.dtype} elements")


def want_rank(value: Node | None, ranks: tuple[int, ...], what: str) -> None:
    """Refuse a value whose rank is known and not one of some."""
    if value is not None and value.rank is not None and value.rank not in ranks:
        wanted = " or ".join(map(str, ranks))
        raise refuse(f"{what} has rank {value.rank} where {wanted} is taken")


def want_rank_from(value: Node, least: int) -> None:
    """Refuse a value whose rank is known and too small."""
    if value.rank is not None and value.rank < least:
        raise refuse(f"rank {value.rank} where {least} or more is taken")


def want_one_element(value: Node | None, what: str) -> None:
    """Refuse a value that is proven not to have exactly one element."""
    if (
        value is not None
        and value.shape is not None
        and any(size != 1 for size in value.shape if isinstance(size, int))
    ):
        raise refuse(f"{what} is not a scalar")


def size_at(value: Node | None, axis: int) -> Size | None:
    """The size of an axis, None where it is not known or there is no value."""
    shape = None if value is None else value.shape
    return None if shape is None else shape[axis]


def one_size(what: str, *sizes: Size | None) -> Size | None:
    """The size that all of the sizes are: a number if any is, else the first that is known.

    Raises TypeRuleError when two are proven to differ.
    """
    found: Size | None = None
    for size in sizes:
        if size is None or size == found:
            continue
        if found is None:
            found = size
            continue
        rest = found - size
        if isinstance(rest, int):
            raise refuse(f"{what} is both {found} and {size}")
        if isinstance(size, int):
            found = size
    return found


def element(value: Node | None) -> Size | None:
    """The one element of a scalar (or of a tensor of size 1) as far as it is known."""
    known = None if value is None else value.known
    return known[0] if known is not None and len(known) == 1 else None


def number(value: Array) -> int:
    """The one integer of an array."""
    return int(value.reshape(()))


def check_size(what: str, *sizes: int) -> int:
    """The size that all of the sizes of arrays are; raises ValueError when two differ."""
    if len(set(sizes)) > 1:
        raise ValueError(f"{what} is both {sizes[0]} and {next(s for s in sizes if s != sizes[0])}")
    return sizes[0]


def wide(xp: Xp, *arrays: Array) -> list[Array]:
    """The arrays (None: absent) in one dtype to compute in: float32, or float64 if any has it."""
    dtype = xp.result_type(xp.float32, *(item.dtype for item in arrays if item is not None))
    return [None if item is None else xp.asarray(item, dtype) for item in arrays]


def mean_over(xp: Xp, x: Array, axes: Sequence[int]) -> Array:
    """The mean over some axes, which stay with size 1; NaN of nothing."""
    count = prod(x.shape[axis] for axis in axes)
    return xp.sum(x, axis=tuple(axes), keepdims=True) / count


def given(name: str, *shape: int, dtype: DType = DType.FLOAT32) -> Node:
    """An input for an example."""
    return graph_input(name, TensorType(dtype, shape))
