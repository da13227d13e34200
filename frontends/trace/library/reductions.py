"""Reductions and running reductions of ufuncs."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from graphopt.dims import Size
from graphopt.errors import UnsupportedError
from graphopt.frontends.trace.library import nodes, ufuncs
from graphopt.frontends.trace.library.nodes import apply, concat, reduce_by, slice_axis, unsqueeze
from graphopt.frontends.trace.library.operands import (
    NO_VALUE,
    NumpyDType,
    cast,
    lift,
    rank_of,
    sizes_of,
    static_size,
)
from graphopt.ir import Node
from graphopt.op import Op
from graphopt.ops import complexes, cumulative, reduction
from graphopt.structural import constant

IDENTITIES: dict[str, Any] = {
    "add": 0,
    "multiply": 1,
    "logical_and": True,
    "logical_or": False,
    "logical_xor": False,
    "bitwise_and": -1,
    "bitwise_or": 0,
    "bitwise_xor": 0,
    "gcd": 0,
}
"""The result for no elements, of ufuncs that have one."""


def loop_dtype(name: str, dtype: NumpyDType, wanted: Any) -> NumpyDType:
    """The dtype that a reduction works in: of narrow integers' sums and products, the widest."""
    if name.startswith("logical"):
        return np.dtype(bool)
    if wanted is not None:
        chosen: NumpyDType = np.dtype(wanted)
        return chosen
    if name in ("add", "multiply") and dtype.kind in "biu" and dtype.itemsize < 8:
        return np.dtype(np.uint64 if dtype.kind == "u" else np.int64)
    found: NumpyDType = ufuncs.loop_dtypes(
        ufuncs.ufunc_of(name), [dtype, dtype], None, "same_kind"
    )[0]
    return found


def reduce(
    name: str,
    operand: Any,
    axis: Any = 0,
    dtype: Any = None,
    keepdims: bool = False,
    initial: Any = NO_VALUE,
    where: Any = True,
) -> Node:
    """A ufunc's `reduce`: the elements along axes (None: all) combined.

    Raises ValueError where there are no elements and the ufunc has no identity.
    """
    x = lift(operand)
    working = loop_dtype(name, x.dtype.numpy, dtype)
    x = cast(x, working)
    axes = nodes.normal_axes(axis, rank_of(x))
    identity = IDENTITIES.get(name, NO_VALUE)
    start = identity if initial is NO_VALUE or initial is None else initial
    if where is not True:
        if start is NO_VALUE:  # a masked element counts as one that changes nothing
            raise ValueError(
                f"reduction operation '{name}' does not have an identity, so to use a where mask"
                " one has to specify 'initial'"
            )
        x = _masked(x, where, start if identity is NO_VALUE else identity)
    _check_elements(name, x, axes, start)
    if 0 in [sizes_of(x)[axis] for axis in axes] and (name not in DIRECT or working.kind == "c"):
        sizes = sizes_of(x)
        kept = [1 if axis in axes else size for axis, size in enumerate(sizes)]
        made = nodes.full(kept, np.asarray(start).astype(working), working, (x,))
        made = made if keepdims else nodes.squeeze(made, axes)
    else:
        reducer = COMPLEX_REDUCERS.get(name) if x.dtype.kind == "c" else REDUCERS[name]
        if reducer is None:
            raise UnsupportedError(f"numpy.{name}.reduce of complex numbers is not supported")
        made = reducer(x, axes, bool(keepdims))
    if initial is not NO_VALUE and initial is not None:
        made = ufuncs.call(name, lift(initial, working), made)
    return made


def _masked(x: Node, where: Any, start: Any) -> Node:
    test = lift(where, bool)
    other = lift(start, x.dtype.numpy)
    sizes = nodes.broadcast_sizes(test, x)
    made = nodes.where(test, x, other)
    return made if made.shape == sizes else nodes.expand(made, sizes, (test, x))


def _check_elements(name: str, x: Node, axes: tuple[int, ...], start: Any) -> None:
    if start is NO_VALUE and 0 in [sizes_of(x)[axis] for axis in axes]:
        raise ValueError(f"zero-size array to reduction operation {name} which has no identity")


Reducer = Callable[[Node, tuple[int, ...], bool], Node]


def by_op(op: Op, *, narrow: bool = False) -> Reducer:
    """A reduction that one op says; `narrow` integers and bools are reduced in a wider dtype."""

    def reducer(x: Node, axes: tuple[int, ...], keepdims: bool) -> Node:
        dtype = x.dtype.numpy
        if narrow and dtype.kind == "b":  # a sum of bools is `or`, a product `and`
            small = reduction.reduce_min if op is reduction.reduce_prod else reduction.reduce_max
            return reduce_by(small, x, axes, keepdims=keepdims)
        if not (narrow and dtype.kind in "iu" and dtype.itemsize < 4):
            return reduce_by(op, x, axes, keepdims=keepdims)
        wide = cast(x, np.uint32 if dtype.kind == "u" else np.int32)
        return cast(reduce_by(op, wide, axes, keepdims=keepdims), dtype)

    return reducer


def extreme(op: Op) -> Reducer:
    """The greatest or least element; the op lacks 16-bit integers."""
    narrow = by_op(op, narrow=True)

    def reducer(x: Node, axes: tuple[int, ...], keepdims: bool) -> Node:
        if x.dtype.kind in "iu" and x.dtype.bits == 16:
            return narrow(x, axes, keepdims)
        return reduce_by(op, x, axes, keepdims=keepdims)

    return reducer


def by_halves(name: str) -> Reducer:
    """An associative ufunc over axes of known sizes: the halves are combined until one is left."""

    def reducer(x: Node, axes: tuple[int, ...], keepdims: bool) -> Node:
        for axis in axes:
            x = halved(name, x, axis)
        if name == "gcd":  # of one element too, it is not negative
            x = ufuncs.value("absolute", x)
        return x if keepdims else nodes.squeeze(x, axes)

    return reducer


def halved(name: str, x: Node, axis: int) -> Node:
    """The elements along an axis combined by a ufunc; the axis stays with size 1."""
    size = static_size(sizes_of(x)[axis], f"numpy.{name}.reduce")
    while size > 1:
        half = size // 2
        first, second = slice_axis(x, axis, 0, half), slice_axis(x, axis, half, 2 * half)
        made = ufuncs.value(name, first, second)
        if size % 2:
            made = concat([made, slice_axis(x, axis, size - 1, size)], axis)
        x, size = made, half + size % 2
    return x


REDUCERS: dict[str, Reducer] = {
    "add": by_op(reduction.reduce_sum, narrow=True),
    "multiply": by_op(reduction.reduce_prod, narrow=True),
    "maximum": extreme(reduction.reduce_max),
    "minimum": extreme(reduction.reduce_min),
    "logical_and": by_op(reduction.reduce_min),
    "logical_or": by_op(reduction.reduce_max),
    **{
        name: by_halves(name)
        for name in ("bitwise_and", "bitwise_or", "bitwise_xor", "fmax", "fmin", "gcd",
                     "logical_xor")
    },
}  # fmt: skip


def complex_sum(x: Node, axes: tuple[int, ...], keepdims: bool) -> Node:
    """The sum of complex numbers: of their parts."""
    parts = (apply(part, x) for part in (complexes.real, complexes.imag))
    totals = (nodes.reduce_sum(part, axes, keepdims=keepdims) for part in parts)
    return apply(complexes.complex_of, *totals)


COMPLEX_REDUCERS: dict[str, Reducer] = {"add": complex_sum, "multiply": by_halves("multiply")}
DIRECT = ("add", "multiply", "maximum", "minimum", "logical_and", "logical_or")
"""The reductions that one op says, for no elements too."""


def accumulate(name: str, array: Any, axis: int = 0, dtype: Any = None) -> Node:
    """A ufunc's `accumulate`: the elements up to each along an axis combined."""
    x = lift(array)
    working = loop_dtype(name, x.dtype.numpy, dtype)
    x = cast(x, working)
    if working.kind == "c":
        raise UnsupportedError(f"numpy.{name}.accumulate of complex numbers is not supported")
    if rank_of(x) == 0:
        raise TypeError("cannot accumulate on a scalar")
    return RUNNING[name](x, nodes.normal(axis, rank_of(x)))


def running(op: Op) -> Callable[[Node, int], Node]:
    """A running sum or product; of narrow integers in a wider dtype, which wraps alike."""

    def accumulator(x: Node, axis: int) -> Node:
        dtype = x.dtype.numpy
        if dtype.kind == "b":  # a running sum of bools is `or`, a product `and`
            return doubling("logical_or" if op is cumulative.cum_sum else "logical_and")(x, axis)
        if dtype.kind in "iu" and dtype.itemsize < 4:
            wide = cast(x, np.uint32 if dtype.kind == "u" else np.int32)
            return cast(apply(op, wide, constant(axis)), dtype)
        return apply(op, x, constant(axis))

    return accumulator


def doubling(name: str) -> Callable[[Node, int], Node]:
    """The running reduction of an associative ufunc along an axis of known size.

    After step k, every element combines the 2**k up to it.
    """

    def accumulator(x: Node, axis: int) -> Node:
        size: Size = sizes_of(x)[axis]
        count = static_size(size, f"numpy.{name}.accumulate")
        reach = 1
        while reach < count:
            behind = slice_axis(x, axis, 0, count - reach)
            ahead = slice_axis(x, axis, reach, count)
            made = ufuncs.value(name, behind, ahead)
            x = concat([slice_axis(x, axis, 0, reach), made], axis)
            reach *= 2
        return x

    return accumulator


RUNNING: dict[str, Callable[[Node, int], Node]] = {
    "add": running(cumulative.cum_sum),
    "multiply": running(cumulative.cum_prod),
    **{
        name: doubling(name)
        for name in ("bitwise_and", "bitwise_or", "bitwise_xor", "fmax", "fmin", "gcd",
                     "logical_and", "logical_or", "logical_xor", "maximum", "minimum")
    },
}  # fmt: skip


def positions(op: Op, x: Node, axis: int | None, *, keepdims: bool) -> Node:
    """Where the extreme element is along an axis, or (None) among all elements."""
    if x.dtype.kind == "b":
        x = cast(x, np.uint8)
    if axis is not None:
        return apply(op, x, axis=axis, keepdims=int(keepdims))
    made = apply(op, nodes.flatten(x), axis=0, keepdims=0)
    return unsqueeze(made, list(range(rank_of(x)))) if keepdims else made


REDUCTIONS: dict[str, Callable[..., Node]] = {name: partial(reduce, name) for name in REDUCERS}
"""ufunc.reduce by the ufunc's name: f(operand, axis=0, dtype, keepdims, initial, where)."""

ACCUMULATIONS: dict[str, Callable[..., Node]] = {
    name: partial(accumulate, name) for name in RUNNING
}
"""ufunc.accumulate by the ufunc's name: f(array, axis=0, dtype=None)."""
