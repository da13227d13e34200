"""Latencies of several implementations of one function, taken in turns.

A turn is some calls in a row after everybody's threads have come to rest; the first is not counted,
since it wakes them up. Rounds of turns interleave, so that what slows the machine down for a while
slows everybody down.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tools.latency_peaks import settle

Call = Callable[[], object]
TURN = 0.05
"""The seconds that a turn should last."""
MOST = 100
"""The most calls of a turn."""


@dataclass(frozen=True)
class Timing:
    """The median over turns of a turn's median, the tenth percentile of all calls; in seconds."""

    median: float
    low: float
    calls: int


def seconds_of(call: Call) -> float:
    """What one call takes."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def race(calls: Mapping[str, Call], rounds: int) -> dict[str, Timing]:
    """The timings of some calls, in so many rounds; each must have been called before."""
    turns: dict[str, list[list[float]]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            settle()
            turns[name].append(_turn(call))
    return {name: _timing(found) for name, found in turns.items()}


def _turn(call: Call) -> list[float]:
    count = min(max(round(TURN / max(seconds_of(call), 1e-7)), 1), MOST)
    return [seconds_of(call) for _ in range(count)]


def _timing(turns: list[list[float]]) -> Timing:
    every = sorted(seconds for turn in turns for seconds in turn)
    median = statistics.median(statistics.median(turn) for turn in turns)
    return Timing(median, every[len(every) // 10], len(every))
