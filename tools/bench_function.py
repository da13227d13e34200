"""What `graphopt.function` costs beside NumPy's own x + 1, in turns in one process.

    python -m tools.bench_function

A cached call of x + 1 on four floats, one that reads an array from outside, one of five arguments
whose program does nothing, and tracing an operation: microseconds, and the ratio to x + 1. Exit
status: 1 when a cached call takes `LIMIT` times x + 1 or more, else 0.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from time import perf_counter
from typing import Any

import numpy as np

from graphopt.frontends.trace import function
from graphopt.frontends.trace.calls import entry_code
from graphopt.frontends.trace.functions import Function

Array = Any
LIMIT = 3.0
OPERATIONS = 400


def fastest(*calls: Callable[[], Any], bursts: int, size: int) -> list[float]:
    """Seconds a call, the tenth part of bursts being faster; the calls take turns."""
    times: list[list[float]] = [[] for _ in calls]
    for _ in range(bursts):
        for call, found in zip(calls, times, strict=True):
            start = perf_counter()
            for _ in range(size):
                call()
            found.append((perf_counter() - start) / size)
    return [sorted(found)[bursts // 10] for found in times]


def without_program() -> Function:
    """A traced function of five arrays whose program returns at once: what a call costs alone."""

    def five(a: Array, b: Array, c: Array, d: Array, e: Array) -> Array:
        return a + b + c + d + e

    x = np.ones(4)
    made: Function = function(five, backend="reference")
    made(x, x, x, x, x)
    ((pattern,), ((traced,),)) = made.kept()
    (key,) = pattern.table
    result = (np.ones(4),)

    def program(*arrays: Array) -> tuple[Array, ...]:
        return result

    pattern.table[key] = entry_code(traced, program, traced.graph.outputs, pattern.leaves)
    return made


def measure(bursts: int = 200, size: int = 100) -> dict[str, float]:
    """Microseconds of each case."""
    x, w = np.ones(4), np.ones(4)

    @function
    def one(x: Array) -> Array:
        return np.add(x, 1)

    @function
    def captures(x: Array) -> Array:
        return x + w

    def chain(x: Array) -> Array:
        for k in range(OPERATIONS // 2):
            x = x * 1.5 + k
        return x

    five, traced = without_program(), function(chain, backend="reference")
    for call in (one, captures, traced.graph):
        call(x)
    names = ("NumPy's x + 1", "x + 1", "x + an array from outside", "five arrays, no program")
    found = fastest(
        lambda: x + 1, lambda: one(x), lambda: captures(x), lambda: five(x, x, x, x, x),
        bursts=bursts, size=size,
    )  # fmt: skip
    (whole,) = fastest(lambda: traced.graph(x), bursts=max(bursts // 20, 1), size=1)
    found.append(whole / OPERATIONS)
    return {
        name: seconds * 1e6
        for name, seconds in zip((*names, "tracing an operation"), found, strict=True)
    }


def main() -> int:
    """Run the command; returns the exit status."""
    found = measure()
    plain, *cached, _ = found.values()
    for name, taken in found.items():
        print(f"{name:26} {taken:8.2f} µs {taken / plain:6.2f}x")
    return int(max(cached) >= LIMIT * plain)


if __name__ == "__main__":
    sys.exit(main())
