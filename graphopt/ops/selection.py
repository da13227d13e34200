"""Elements chosen by what they are: NonZero, Compress, TopK, Unique."""

from __future__ import annotations

from typing import Any

from graphopt.dims import Size
from graphopt.ir import Node
from graphopt.op import Array, Facts, Xp, op, refuse
from graphopt.ops.bounds import COUNTS, always, outputs
from graphopt.ops.checks import check_dtype, check_single, older_dtype
from graphopt.ops.common import normal_axis, tensor
from graphopt.ops.dtypes import NUMBERS
from graphopt.ops.examples import given
from graphopt.ops.sizes import known_array
from graphopt.structural import constant
from graphopt.types import DType, TensorType, Type


@op("NonZero", facts=Facts(signed_zero="absorbed", total=True))
def non_zero(xp: Xp, X: Array) -> Array:
    """The indices of the elements that are not 0, in C order: a row for each axis of X."""
    found = xp.stack(xp.nonzero(xp.atleast_1d(X)))
    return found if X.ndim else found[:0]


@non_zero.infer
def _(X: Node) -> Type:
    older_dtype(X)
    elements = known_array(X)
    if elements is not None and all(isinstance(item, int) for item in X.known or ()):
        found = non_zero.kernel(_numpy(), elements)
        return TensorType(DType.INT64, found.shape).with_known(found.reshape(-1).tolist())
    return tensor(DType.INT64, None if X.rank is None else (X.rank, None))


def _numpy() -> Any:
    import numpy as np

    return np


non_zero.bounds(always(COUNTS))


@non_zero.examples
def _() -> list[Node]:
    flags = constant([[True, False], [True, True]])
    made = [non_zero(given("x", *shape)) for shape in ((2, 3), (4,), (0, 2))]
    return [*made, non_zero(flags), non_zero(given("x", 3, dtype=DType.BOOL))]


@op("Compress", facts=Facts(moves=True, host_inputs=(1,)))
def compress(xp: Xp, input: Array, condition: Array, *, axis: int | None = None) -> Array:
    """The slices of input along `axis` where the condition is true; of its elements without axis.

    The condition may be shorter than the axis. Raises IndexError where it is true behind its end.
    """
    (taken,) = xp.nonzero(condition)
    return xp.take(xp.reshape(input, -1) if axis is None else input, taken, axis or 0)


@compress.infer
def _(input: Node, condition: Node, *, axis: int | None) -> Type:
    dtype, sizes = older_dtype(input), input.shape
    check_dtype(condition, (DType.BOOL,), "the condition")
    if condition.rank not in (1, None):
        raise refuse(f"the condition has {condition.rank} axes, not 1")
    known = condition.known
    count = None if known is None or None in known else sum(known)
    if axis is None:
        return tensor(dtype, (count,))
    if sizes is None:
        return tensor(dtype, None)
    axis = normal_axis(axis, len(sizes))
    return tensor(dtype, (*sizes[:axis], count, *sizes[axis + 1 :]))


@compress.examples
def _() -> list[Node]:
    x, some = given("x", 3, 2, 2), constant([False, True])
    flags = given("c", 4, dtype=DType.BOOL)
    made = [compress(x, some, axis=axis) for axis in (None, 0, 1, -1)]
    return [*made, compress(given("x", 4), flags), compress(x, constant([], DType.BOOL), axis=0)]


def _order(xp: Xp, x: Array) -> Array:
    """x, or numbers in the same order that every namespace can sort."""
    return x.astype(xp.float32) if x.dtype.kind not in "biufcOSU" else x


@op("TopK", facts=Facts(signed_zero="passed", host_inputs=(1,)))
def top_k(
    xp: Xp,
    X: Array,
    K: Array,
    *,
    axis: int = -1,
    largest: int = 1,
    sorted: int = 1,
    outputs: int = 2,
) -> tuple[Array, Array]:
    """(values, indices) of the K largest or smallest elements along `axis`, the first one first.

    Of equal elements the one of the lower index comes first; a NaN is larger than any number.
    `sorted` off leaves the order open; here it is always sorted.
    """
    count, size = int(K.reshape(-1)[0]), X.shape[axis]
    if not 0 <= count <= size:
        raise ValueError(f"{count} of {size} elements")
    keys = _order(xp, X)
    if largest:  # backwards, so that a stable sort has the lower index last
        order = size - 1 - xp.argsort(xp.flip(keys, axis), axis, kind="stable")
        order = xp.flip(order, axis)
    else:
        order = xp.argsort(keys, axis, kind="stable")
    taken = xp.take(order, xp.arange(count), axis).astype(xp.dtype(DType.INT64))
    return xp.take_along_axis(X, taken, axis), taken


@top_k.infer
def _(X: Node, K: Node, *, axis: int, largest: int, sorted: int, outputs: int) -> tuple[Type, ...]:
    check_dtype(X, NUMBERS, "the input")
    check_dtype(K, (DType.INT64,), "K")
    if outputs != 2:
        raise refuse(f"there are 2 outputs, not {outputs}")
    check_single(K, "K")
    sizes = X.shape
    if sizes is None:
        return tensor(X.dtype, None), tensor(DType.INT64, None)
    axis = normal_axis(axis, len(sizes))
    count = None if K.known is None else K.known[0]
    whole = sizes[axis]
    if isinstance(count, int) and (count < 0 or (isinstance(whole, int) and count > whole)):
        raise refuse(f"{count} of {whole} elements")
    made = (*sizes[:axis], count, *sizes[axis + 1 :])
    return tensor(X.dtype, made), tensor(DType.INT64, made)


top_k.bounds(outputs("first", COUNTS))


@top_k.examples
def _() -> list[Node]:
    x, two = given("x", 3, 4), constant([2], DType.INT64)
    made = [top_k(x, two, axis=axis, largest=on) for axis in (-1, 0) for on in (0, 1)]
    ties = constant([1, 3, 1, 3, 2], DType.UINT8)
    return [*made, *(top_k(ties, constant([4], DType.INT64), largest=on) for on in (0, 1))]


@op("Unique", facts=Facts(total=True))
def unique(
    xp: Xp, X: Array, *, axis: int | None = None, sorted: int = 1, outputs: int = 1
) -> Array | tuple[Array, ...]:
    """The distinct elements of X, or slices along `axis`, in ascending order or that of occurrence.

    Further outputs: the index of the first occurrence of each, the place in the result of every
    element or slice, and how often each occurs.
    """
    x = xp.reshape(X, -1) if axis is None else X
    keys = _order(xp, x)
    if axis is not None and x.dtype.kind == "O":  # slices of ranks can be compared
        keys = xp.reshape(xp.unique(xp.reshape(x, -1), return_inverse=True)[1], x.shape)
    found = xp.unique(keys, True, True, True, axis=axis)
    first, inverse, counts = (xp.reshape(item, -1) for item in found[1:])
    if not sorted:
        order = xp.argsort(first)
        first, counts, inverse = first[order], counts[order], xp.argsort(order)[inverse]
    indices = (item.astype(xp.dtype(DType.INT64)) for item in (first, inverse, counts))
    made = (xp.take(x, first, axis or 0), *indices)
    return made[:outputs] if outputs > 1 else made[0]


@unique.infer
def _(X: Node, *, axis: int | None, sorted: int, outputs: int) -> Type | tuple[Type, ...]:
    dtype, sizes = older_dtype(X), X.shape
    if not 1 <= outputs <= 4:
        raise refuse(f"there are 1 to 4 outputs, not {outputs}")
    every: Size | None = None
    made = tensor(dtype, (None,) if axis is None else sizes)
    if axis is not None and sizes is not None:
        axis = normal_axis(axis, len(sizes))
        every = sizes[axis]
        made = tensor(dtype, (*sizes[:axis], None, *sizes[axis + 1 :]))
    elif axis is None and sizes is not None:
        from graphopt.dims import product

        every = product(sizes)
    counts = tensor(DType.INT64, (None,))
    kinds = (made, counts, tensor(DType.INT64, (every,)), counts)
    return kinds[:outputs] if outputs > 1 else made


unique.bounds(outputs("first", COUNTS, COUNTS, COUNTS))


@unique.examples
def _() -> list[Node]:
    x = constant([[2, 1, 1], [3, 4, 3], [2, 1, 1]], DType.INT64)
    made = [unique(x, axis=a, sorted=s, outputs=4) for a in (None, 0, 1, -1) for s in (0, 1)]
    floats = given("x", 2, 3)
    return [*made, unique(floats), unique(floats, outputs=2), unique(given("x", 0), outputs=3)]
