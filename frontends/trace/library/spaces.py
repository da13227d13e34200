"""Evenly spaced numbers, between ends that may be traced."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphopt.errors import UnsupportedError
from graphopt.frontends.trace.library import nodes
from graphopt.frontends.trace.library.movement import size_like
from graphopt.frontends.trace.library.nodes import apply
from graphopt.frontends.trace.library.operands import (
    WeakScalar,
    cast,
    lift,
    rank_of,
    refuse,
    result_dtype,
    static,
    traced,
    untyped,
)
from graphopt.frontends.trace.library.ufuncs import value
from graphopt.ir import Node
from graphopt.ops.generate import RANGES, range_
from graphopt.ops.logic import where
from graphopt.types import dtype_of


def arange(
    start_or_stop: Any, /, stop: Any = None, step: Any = 1, *, dtype: Any = None,
    device: Any = None, like: Any = None,
) -> Any:  # fmt: skip
    """numpy.arange; of traced bounds a value, whose size only running tells."""
    refuse("arange", like=like)
    start, stop = (0, start_or_stop) if stop is None else (start_or_stop, stop)
    bounds = [size_like(b) if isinstance(b, WeakScalar) else b for b in (start, stop, step)]
    if not any(isinstance(b, Node) or hasattr(b, "terms") for b in bounds):
        return untyped.arange(*bounds, dtype=dtype)
    ready = [_bound(bound) for bound in bounds]
    kind = result_dtype(*ready) if dtype is None else np.dtype(dtype)
    working = kind if dtype_of(kind) in RANGES and kind.itemsize > 2 else result_dtype(*ready)
    if kind.kind != "f" or working.kind != "f":
        working = result_dtype(*ready)
    made = apply(range_, *(lift(bound, working) for bound in ready))
    return cast(made, kind)


def _bound(bound: Any) -> Any:
    """A bound of a range as an operand; a symbolic size cannot be found without its array."""
    if hasattr(bound, "terms"):
        raise UnsupportedError(f"arange() up to the size {bound}, which is not traced")
    return bound


def linspace(
    start: Any, stop: Any, num: int = 50, endpoint: bool = True, retstep: bool = False,
    dtype: Any = None, axis: int = 0, *, device: Any = None,
) -> Any:  # fmt: skip
    """numpy.linspace: of known ends an array, of traced ones a value."""
    count = int(static(num, "linspace's number"))
    if not traced((start, stop)):
        return untyped.linspace(start, stop, count, endpoint, retstep, dtype, axis)
    if count < 0:
        raise ValueError(f"Number of samples, {count}, must be non-negative.")
    ends = [lift(end) for end in (start, stop)]
    kinds = [_inexact(end, origin) for end, origin in zip(ends, (start, stop), strict=True)]
    inexact = result_dtype(*kinds)
    inexact = inexact if inexact.kind == "f" else np.dtype(np.float64)
    first, last = (cast(end, inexact) for end in ends)
    delta = value("subtract", last, first)
    rank = max(rank_of(first), rank_of(last))
    steps = np.arange(count, dtype=inexact).reshape((-1,) + (1,) * rank)
    parts = count - 1 if endpoint else count
    step: Any = float("nan")
    if parts > 0:
        step = value("divide", delta, parts)
        made = _scaled(steps, step, delta, parts, rank)
    else:
        made = value("multiply", steps, delta)
    made = value("add", made, first)
    if endpoint and count > 1:
        sizes = nodes.broadcast_sizes(first, last)
        end = nodes.unsqueeze(nodes.expand(last, sizes, (first, last)), [0])
        made = nodes.concat([nodes.slice_axis(made, 0, 0, count - 1), end])
    wanted = inexact if dtype is None else np.dtype(dtype)
    made = value("floor", made) if wanted.kind in "iu" else made
    made = cast(nodes.move_axis(made, 0, nodes.normal(axis, rank + 1)), wanted)
    return (made, step) if retstep else made


def _inexact(end: Node, origin: Any) -> Any:
    """What an end counts as in the promotion: a Python number is weak."""
    return origin if isinstance(origin, WeakScalar | int | float) else end.dtype.numpy


def _scaled(steps: Any, step: Node, delta: Node, parts: int, rank: int) -> Node:
    """Steps times the step, or (where a step has become 0) their shares of the whole."""
    plain = value("multiply", steps, step)
    zero = value("equal", step, 0)
    if rank:
        from graphopt.frontends.trace.library.statistics import any_

        zero = any_(zero)
    shares = value("multiply", steps / steps.dtype.type(parts), delta)
    return apply(where, zero, shares, plain)


def logspace(
    start: Any, stop: Any, num: int = 50, endpoint: bool = True, base: Any = 10.0,
    dtype: Any = None, axis: int = 0,
) -> Any:  # fmt: skip
    """numpy.logspace: of known ends an array, of traced ones a value."""
    if not traced((start, stop, base)):
        return untyped.logspace(start, stop, num, endpoint, base, dtype, axis)
    if traced(base) and not (isinstance(base, WeakScalar) or base.rank == 0):
        raise UnsupportedError("logspace() to several bases")
    line = linspace(start, stop, num, endpoint, axis=axis)
    made = value("power", base, line)
    return made if dtype is None else cast(made, np.dtype(dtype))


def geomspace(
    start: Any, stop: Any, num: int = 50, endpoint: bool = True, dtype: Any = None, axis: int = 0
) -> Any:
    """numpy.geomspace, between ends that are known."""
    if traced((start, stop)):
        raise UnsupportedError("geomspace() between traced ends")
    return untyped.geomspace(start, stop, num, endpoint, dtype, axis)
