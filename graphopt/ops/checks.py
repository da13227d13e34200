"""The checks that type rules and kernels share: of dtypes, of ranks, of sizes that must be one.

Kernels check the sizes that type rules trust: a rule may take a size from whichever input shows it
because a kernel fails where another input has a different one.
"""

from __future__ import annotations

from typing import overload

from graphopt.dims import Size
from graphopt.ir import Node
from graphopt.op import refuse
from graphopt.ops.dtypes import FLOATS, OLDER, Dtypes
from graphopt.types import DType


def check_dtype(value: Node | None, among: Dtypes, what: str = "") -> None:
    """Refuse a value that is there and whose dtype is not one of some."""
    if value is not None and value.dtype not in among:
        raise refuse(f"{value.dtype} is not taken{' for ' if what else ''}{what}")


def same_dtype(*values: Node | None, among: Dtypes | None = None) -> DType:
    """The one dtype of the values that are there, which is one of some.

    Raises TypeRuleError when they differ, and for any other dtype.
    """
    dtypes = [value.dtype for value in values if value is not None]
    if not dtypes:
        raise refuse("there are no inputs")
    for dtype in dtypes:
        if dtype is not dtypes[0]:
            raise refuse(f"the inputs' dtypes differ: {dtypes[0]} and {dtype}")
    if among is not None and dtypes[0] not in among:
        raise refuse(f"{dtypes[0]} is not taken")
    return dtypes[0]


def float_dtype(*values: Node | None) -> DType:
    """The one float dtype of the values that are there; raises TypeRuleError for any other."""
    return same_dtype(*values, among=FLOATS)


def older_dtype(*values: Node) -> DType:
    """The one dtype of the values, refused if it is among those that came after bfloat16."""
    return same_dtype(*values, among=OLDER)


def check_rank(value: Node | None, ranks: tuple[int, ...], what: str) -> None:
    """Refuse a value whose rank is known and not one of some."""
    if value is not None and value.rank is not None and value.rank not in ranks:
        wanted = " or ".join(map(str, ranks))
        raise refuse(f"{what} has rank {value.rank} where {wanted} is taken")


def check_rank_from(value: Node, least: int) -> None:
    """Refuse a value whose rank is known and too small."""
    if value.rank is not None and value.rank < least:
        raise refuse(f"rank {value.rank} where {least} or more is taken")


def check_vector(value: Node | None, what: str) -> None:
    """Refuse a value that is neither 1-d nor of unknown rank, or not int64."""
    check_rank(value, (1,), what)
    check_dtype(value, (DType.INT64,), what)


def check_one_element(value: Node | None, what: str) -> None:
    """Refuse a value that is proven not to have exactly one element."""
    if (
        value is not None
        and value.shape is not None
        and any(size != 1 for size in value.shape if isinstance(size, int))
    ):
        raise refuse(f"{what} is {value.type}, not one number")


def check_single(value: Node, what: str) -> None:
    """Refuse a value that is neither a scalar nor a vector of one element."""
    check_one_element(value, what)
    check_rank(value, (0, 1), what)


def size_at(value: Node | None, axis: int) -> Size | None:
    """The size of an axis, None where it is not known or there is no value."""
    shape = None if value is None else value.shape
    return None if shape is None else shape[axis]


@overload
def one_size(what: str, first: Size, /, *sizes: Size | None) -> Size: ...
@overload
def one_size(what: str, /, *sizes: Size | None) -> Size | None: ...
def one_size(what: str, /, *sizes: Size | None) -> Size | None:
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


def check_size(what: str, *sizes: int) -> int:
    """The size that all of the sizes of arrays are; raises ValueError when two differ."""
    if len(set(sizes)) > 1:
        raise ValueError(f"{what} is both {sizes[0]} and {next(s for s in sizes if s != sizes[0])}")
    return sizes[0]
