"""Covariance and correlation of variables that are observed together."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphopt.frontends.trace.library import nodes, products
from graphopt.frontends.trace.library.joining import concatenate
from graphopt.frontends.trace.library.movement import diag
from graphopt.frontends.trace.library.operands import (
    cast,
    lift,
    rank_of,
    real_only,
    refuse,
    result_dtype,
    sizes_of,
)
from graphopt.frontends.trace.library.products import times
from graphopt.frontends.trace.library.statistics import average, sum_
from graphopt.frontends.trace.library.ufuncs import value
from graphopt.ir import Node


def _rows(m: Any, dtype: Any) -> Node:
    """Observations as a matrix: a vector is one row."""
    x = cast(lift(m), dtype)
    if rank_of(x) > 2:
        raise ValueError("m has more than 2 dimensions")
    return nodes.unsqueeze(x, list(range(2 - rank_of(x))))


def cov(
    m: Any, y: Any = None, rowvar: bool = True, bias: bool = False, ddof: int | None = None,
    fweights: Any = None, aweights: Any = None, *, dtype: Any = None,
) -> Node:  # fmt: skip
    """numpy.cov."""
    refuse("cov", fweights=fweights)
    kinds = [lift(item).dtype.numpy for item in (m, y) if item is not None]
    kind = result_dtype(*kinds, np.dtype(np.float64)) if dtype is None else np.dtype(dtype)
    x = _rows(m, kind)
    real_only("cov", x)
    if not rowvar and rank_of(lift(m)) != 1:
        x = nodes.transpose(x, (1, 0))
    if y is not None:
        other = _rows(y, kind)
        if not rowvar and sizes_of(other)[0] != 1:
            other = nodes.transpose(other, (1, 0))
        x = concatenate((x, other), 0)
    less = (0 if bias else 1) if ddof is None else ddof
    weights = None if aweights is None else lift(aweights, np.float64)
    center = average(x, 1, weights)
    apart = value("subtract", x, nodes.unsqueeze(center, [1]))
    scaled = apart if weights is None else times(apart, weights)
    made = products.matmul(apart, nodes.transpose(scaled, (1, 0)))
    factor = lift(_freedom(x, weights, less), kind)
    result = times(made, value("divide", nodes.scalar(1, made), value("maximum", factor, 0)))
    return nodes.squeeze(result, [k for k, size in enumerate(sizes_of(result)) if size == 1])


def _freedom(x: Node, weights: Node | None, less: int) -> Any:
    """What the products are divided by: the observations, or their weights, less some."""
    if weights is None:
        count = nodes.size_of(x, [1])
        return value("subtract", count, less) if isinstance(count, Node) else count - less
    total = sum_(weights)
    if less == 0:
        return total
    lost = value("divide", times(sum_(times(weights, weights)), less), total)
    return value("subtract", total, lost)


def corrcoef(x: Any, y: Any = None, rowvar: bool = True, *, dtype: Any = None) -> Node:
    """numpy.corrcoef."""
    c = cov(x, y, rowvar, dtype=dtype)
    if rank_of(c) == 0:
        return value("divide", c, c)
    deviation = value("sqrt", diag(c))
    scaled = value("divide", c, nodes.unsqueeze(deviation, [1]))
    return value("clip", value("divide", scaled, deviation), -1, 1)
