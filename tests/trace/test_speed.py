"""What a call costs that has been traced before, beside NumPy's own x + 1; ratios, not times."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter
from typing import Any

import numpy as np

from graphopt.frontends.trace import function
from graphopt.frontends.trace.calls import entry_code
from graphopt.frontends.trace.functions import Function

Array = Any
LIMIT = 3.0


def fastest(*calls: Callable[[], Any], bursts: int = 200, size: int = 100) -> list[float]:
    """Seconds a call, the tenth part of bursts being faster; the calls take turns."""
    times: list[list[float]] = [[] for _ in calls]
    for _ in range(bursts):
        for call, found in zip(calls, times, strict=True):
            start = perf_counter()
            for _ in range(size):
                call()
            found.append((perf_counter() - start) / size)
    return [sorted(found)[bursts // 10] for found in times]


def test_cached_call_costs_little() -> None:
    w = np.ones(4)

    @function
    def one(x: Array) -> Array:
        return np.add(x, 1)

    @function
    def captures(x: Array) -> Array:
        return x + w

    x = np.ones(4)
    np.testing.assert_array_equal(one(x), x + 1)
    np.testing.assert_array_equal(captures(x), x + w)
    plain, ours, captured = fastest(lambda: x + 1, lambda: one(x), lambda: captures(x))
    assert ours < LIMIT * plain
    assert captured < LIMIT * plain


def test_dispatch_alone_costs_little() -> None:
    def five(a: Array, b: Array, c: Array, d: Array, e: Array) -> Array:
        return a + b + c + d + e

    x = np.ones(4)
    f: Function = function(five, backend="reference")
    f(x, x, x, x, x)
    ((pattern,), (traces,)) = f.kept()
    (key,) = pattern.table
    result = (np.ones(4),)

    def program(*arrays: Array) -> tuple[Array, ...]:
        return result

    (traced,) = traces
    pattern.table[key] = entry_code(traced, program, traced.graph.outputs, pattern.leaves)
    assert f(x, x, x, x, x) is result[0]
    plain, dispatch = fastest(lambda: x + 1, lambda: f(x, x, x, x, x))
    assert dispatch < 2 * LIMIT * plain


def test_tracing_an_operation_costs_little() -> None:
    def chain(x: Array) -> Array:
        for k in range(200):
            x = x * 1.5 + k
        return x

    f = function(chain, backend="reference")
    f.graph(np.ones(3))
    x = np.ones(4)
    plain, traced = fastest(lambda: x + 1, lambda: f.graph(x), bursts=10, size=1)
    assert traced / 400 < 400 * plain  # some 25 µs where x + 1 takes half of one
