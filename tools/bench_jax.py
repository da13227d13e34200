"""Hold the jax backend to functions and models written by hand for `jax.jit`.

    python -m tools.bench_jax [CASE...] [--rounds 41] [--json FILE]

Each case (see `tools/bench_jax_models.py`) is compiled by graphopt, optimized at O2, and by
`jax.jit`, which must give the same results. Measured in turns, in one process: compiling, from
tracing to the executable, five times with empty caches, after O2; a call with JAX's arrays until
its results are ready; and a call from NumPy's arrays to NumPy's. Two ratios are held to the limit
of 1.05: that of the latencies, and of the processor time of compiling, which unlike the clock's
does not depend on who else is busy. The ratio of latencies is the median of the rounds' ratios,
each of a turn's medians; p10 is that of the tenth percentiles of all calls.

Last, the cached call of a trivial function, x + 1 of four floats: `graphopt.function` on the numpy
backend must cost less than `jax.jit`'s call; NumPy's own x + 1 is shown beside them.

Exit status: 0 all held, 1 not, 2 wrong usage, 3 a model cannot be had.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

import graphopt
from graphopt.backends.executable import Executable
from graphopt.backends.jax.scope import wide
from graphopt.errors import UsageError, nearest
from tools import zoo
from tools.bench_jax_models import FUNCTIONS, MODELS, Case, case, jax
from tools.latency_peaks import blas_kernels
from tools.latency_race import Call, seconds_of
from tools.models import FetchError

LIMIT = 1.05
FRESH = 5
"""How often each is compiled with empty caches."""
TOLERANCE = 1e-4
TURN = 0.02
"""The seconds that a turn of calls should last."""
MOST = 200
"""The most calls of a turn."""
LOOP = 200
"""How many cached calls are timed at once."""
MODES = ("jax", "numpy")


@dataclass(frozen=True)
class Pair:
    """Seconds that graphopt takes, and what is written by hand; the ratio, and that of the p10."""

    ours: float
    hand: float
    ratio: float
    p10: float

    @property
    def held(self) -> bool:
        """Whether the ratio is within the limit."""
        return self.ratio <= LIMIT


@dataclass(frozen=True)
class Row:
    """What was measured of a case; `calls` by mode, `cpu` and `clock` of compiling."""

    name: str
    cpu: Pair
    clock: Pair
    calls: Mapping[str, Pair]

    @property
    def held(self) -> bool:
        """Whether it is held to the limit in everything that counts."""
        return self.cpu.held and all(pair.held for pair in self.calls.values())

    def __str__(self) -> str:
        calls = (
            f"{pair.ours * 1e6:9.1f} {pair.hand * 1e6:9.1f} {pair.ratio:6.3f} {pair.p10:6.3f}"
            for pair in self.calls.values()
        )
        compiling = f"{self.cpu.ours * 1e3:6.0f} {self.cpu.hand * 1e3:6.0f} {self.cpu.ratio:6.3f}"
        clock = f"{self.clock.ratio:6.3f}"
        failed = "" if self.held else "  above the limit"
        return f"{self.name:18} {compiling} {clock}  {'  '.join(calls)}{failed}"


HEADER = (
    f"{'':18} {'compiling, CPU ms':20} {'clock':>6}  {'µs a call, JAX arrays':33} NumPy arrays\n"
    f"{'':18} {'ours':>6} {'hand':>6} {'ratio':>6} {'ratio':>6}"
    + f"  {'ours':>9} {'hand':>9} {'ratio':>6} {'p10':>6}"
    * 2
)


def compile_ours(subject: Case, graph: graphopt.Graph) -> Executable:
    """The executable, its program for the case's inputs made."""
    made = graphopt.compile(graph, "jax")
    if made.prepare(*subject.inputs) is None:
        raise AssertionError(f"{subject.name}: the program depends on what inputs contain")
    return made


def compile_hand(subject: Case) -> Callable[..., Any]:
    """The jitted function of the inputs, compiled for those of the case, its weights placed.

    Products are as exact as graphopt's: on a GPU, JAX's own default is fewer bits.
    """

    def exact(*arguments: Any) -> Any:
        with jax.default_matmul_precision("highest"):
            return subject.hand(*arguments)

    made: Any = jax.jit(exact)
    first = [subject.weights] if subject.weights else []
    made.lower(*first, *subject.inputs).compile()
    return subject.of_inputs(made)


def compiling(subject: Case, graph: graphopt.Graph, times: int) -> tuple[Pair, Pair]:
    """What compiling takes, in processor time and by the clock."""
    spent: dict[str, list[tuple[float, float]]] = {"ours": [], "hand": []}
    ways: dict[str, Call] = {
        "ours": lambda: compile_ours(subject, graph),
        "hand": lambda: compile_hand(subject),
    }
    for round_ in range(times + 1):  # the first imports what compiling needs
        for name in sorted(ways, reverse=bool(round_ % 2)):
            jax.clear_caches()
            cpu = time.process_time()
            clock = seconds_of(ways[name])
            if round_:
                spent[name].append((time.process_time() - cpu, clock))
    cpu_pair, clock_pair = (
        compared([s[k] for s in spent["ours"]], [s[k] for s in spent["hand"]]) for k in (0, 1)
    )
    return cpu_pair, clock_pair


def compared(ours: Sequence[float], hand: Sequence[float]) -> Pair:
    """The medians of samples, and of the ratios of those that belong together."""
    ratio = statistics.median(a / b for a, b in zip(ours, hand, strict=True))
    return Pair(statistics.median(ours), statistics.median(hand), ratio, min(ours) / min(hand))


def turn(call: Call) -> list[float]:
    """The seconds of some calls in a row, but for the first, which meets what others left."""
    count = min(max(round(TURN / max(seconds_of(call), 1e-7)), 3), MOST)
    return [seconds_of(call) for _ in range(count)]


def raced(ours: Call, hand: Call, rounds: int) -> Pair:
    """Time two calls in turns, of which each begins every second round."""
    every: tuple[list[float], list[float]] = ([], [])
    ratios: list[float] = []
    for round_ in range(rounds + 1):  # the first warms up
        found: dict[int, list[float]] = {}
        for which in (0, 1) if round_ % 2 else (1, 0):
            found[which] = turn((ours, hand)[which])
        if round_:
            ratios.append(statistics.median(found[0]) / statistics.median(found[1]))
            for which in (0, 1):
                every[which].extend(found[which])
    first, second = map(sorted, every)
    p10 = first[len(first) // 10] / second[len(second) // 10]
    medians = statistics.median(first), statistics.median(second)
    return Pair(*medians, statistics.median(ratios), p10)


def measure(subject: Case, rounds: int, times: int = FRESH) -> Row:
    """Measure a case. Raises AssertionError when the two do not give the same."""
    graph = graphopt.optimize(subject.graph, "O2")
    cpu, clock = compiling(subject, graph, times)
    ours, hand = compile_ours(subject, graph), compile_hand(subject)
    agree(subject, ours(*subject.inputs), hand(*subject.inputs))
    with wide():  # 64-bit inputs stay so
        placed: Sequence[Any] = jax.device_put(subject.inputs)
    narrow: Sequence[Any] = jax.device_put(subject.inputs)

    def to_numpy() -> tuple[Any, ...]:
        return tuple(map(np.asarray, hand(*subject.inputs)))

    calls = {
        "jax": raced(
            lambda: jax.block_until_ready(ours(*placed)),
            lambda: jax.block_until_ready(hand(*narrow)),
            rounds,
        ),
        "numpy": raced(lambda: ours(*subject.inputs), to_numpy, rounds),
    }
    return Row(subject.name, cpu, clock, calls)


def agree(subject: Case, ours: Sequence[Any], hand: Sequence[Any]) -> None:
    """Check that the outputs are the same; raises AssertionError."""
    gaps = [zoo.difference(a, b) for a, b in zip(ours, hand, strict=True)]
    if max(gaps) > TOLERANCE:
        raise AssertionError(f"{subject.name}: results differ by {max(gaps):.1e}")


@dataclass(frozen=True)
class Cached:
    """Seconds of the cached call of x + 1: by graphopt, by `jax.jit` at its best, by NumPy."""

    ours: float
    jitted: float
    numpy: float

    @property
    def held(self) -> bool:
        """Whether ours is cheaper than that of `jax.jit`."""
        return self.ours < self.jitted

    def __str__(self) -> str:
        texts = (f"{seconds * 1e6:.2f} µs" for seconds in (self.ours, self.jitted, self.numpy))
        ours, jitted, plain = texts
        failed = "" if self.held else "; above jax.jit"
        return f"cached call of x + 1: ours {ours}, jax.jit {jitted}, numpy {plain}{failed}"


def cached_call(rounds: int, loop: int = LOOP) -> Cached:
    """Time the cached call of a trivial function; `jax.jit`'s takes and gives JAX's arrays."""

    def plus_one(x: Any) -> Any:
        return x + 1

    x = np.ones(4, np.float32)
    placed, jitted, ours = jax.device_put(x), jax.jit(plus_one), graphopt.function(plus_one)
    if not np.array_equal(ours(x), jitted(placed)):
        raise AssertionError("x + 1 differs")
    ways = ((ours, x), (jitted, placed), (plus_one, x))
    found: list[list[float]] = [[], [], []]
    for round_ in range(rounds + 1):
        for samples, (function, argument) in zip(found, ways, strict=True):
            start = time.perf_counter()
            for _ in range(loop):
                function(argument)
            if round_:
                samples.append((time.perf_counter() - start) / loop)
    return Cached(*map(statistics.median, found))


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("cases", nargs="*", metavar="CASE", help="default: all")
    parser.add_argument("--rounds", type=int, default=41)
    parser.add_argument("--json", metavar="FILE", help="write all figures there")
    chosen = parser.parse_args(arguments)
    known = [*FUNCTIONS, *MODELS]
    try:
        for name in chosen.cases:
            if name not in known:
                raise UsageError(f"unknown case {name!r}{nearest(name, known)}", at="bench_jax")
        print(f"BLAS: {blas_kernels()}\n\n{HEADER}", flush=True)
        rows: list[Row] = []
        for name in chosen.cases or known:
            rows.append(measure(case(name), chosen.rounds))
            print(rows[-1], flush=True)
        cached = cached_call(chosen.rounds)
        print(f"\n{cached}")
    except UsageError as error:
        print(f"bench_jax: {error}", file=sys.stderr)
        return 2
    except FetchError as error:
        print(f"bench_jax: {error}", file=sys.stderr)
        return 3
    if chosen.json:
        what = {"rows": [asdict(row) for row in rows], "cached": asdict(cached)}
        Path(chosen.json).write_text(json.dumps(what))
    return 0 if cached.held and all(row.held for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
