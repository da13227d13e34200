"""Run every development model on the backends and hold the results to ONNX Runtime's.

    python -m tools.zoo_backends [--backends numpy,jax] [--threads 1,2,4] [MODEL...]

For each model, as loaded and optimized at O2, at every input size: the reference backend, the jax
backend and the numpy backend, on each number of threads, give what ONNX Runtime gives with its
optimizations off, and what the reference gives. On several threads the program is run in the way
that it has chosen for itself, and on several lanes whether it has chosen them or not. `light_*` run
with seeded random weights. Exit status: 0 when all of that held, else 1.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import onnx

import graphopt
from graphopt.backends.executable import Executable
from graphopt.backends.numpy.program import NumpyProgram
from graphopt.backends.numpy.ways import Way
from graphopt.check import shake
from graphopt.engine.plan import Policy, make_plan
from graphopt.frontends.onnx import from_proto
from graphopt.graph import Graph
from tools import models
from tools.seeded import seeded
from tools.zoo import INT8, OPAQUE, Feeds, difference, feeds_of, runtime

EAGER = Policy(crossing=0.0, small=0.0, branch=0.0, gain=0.0)
"""Lanes wherever they would help if they cost nothing."""
ALONE, INT8_ALONE = 1e-4, 2e-3
"""max|d| / max|ref| that is allowed, unless noise of 1e-7 in the inputs does a quarter of more."""

Run = Callable[[Feeds], Sequence[Any]]


@dataclass
class Outcome:
    """The largest differences of one backend on one model: to ONNX Runtime, to the reference."""

    against_runtime: float = 0.0
    against_reference: float = 0.0

    def add(self, got: Sequence[Any], wanted: Sequence[Any], told: Sequence[Any]) -> None:
        """Note the results for one input set."""
        self.against_runtime = max(self.against_runtime, *map(difference, got, wanted))
        self.against_reference = max(self.against_reference, *map(difference, got, told))

    @property
    def worst(self) -> float:
        """The larger of both."""
        return max(self.against_runtime, self.against_reference)


def ways_of(graph: Graph, backends: Sequence[str], threads: Sequence[int]) -> Iterator[Any]:
    """(label, a function of feeds) for every way to run a graph."""
    if "numpy" in backends:
        for count in threads:
            yield f"numpy {count}", numpy_run(graphopt.compile(graph, "numpy", threads=count))
    if "jax" in backends:
        yield "jax", partial(_named, graphopt.compile(graph, "jax"))


def _named(run: Executable, feeds: Feeds) -> Sequence[Any]:
    return run(**feeds)


def numpy_run(run: Executable) -> Run:
    """Two calls, of which the second has used memory; and one on lanes by force."""

    def both(feeds: Feeds) -> Sequence[Any]:
        first = [np.array(item) for item in run(**feeds)]
        again = run(**feeds)
        if max(map(difference, again, first), default=0.0) > ALONE:
            raise AssertionError("the second call gives another result")
        if run.options.threads == 1:
            return again
        program = run.program(**feeds)
        assert isinstance(program, NumpyProgram)
        return on_lanes(program, run, feeds)

    return both


def on_lanes(program: NumpyProgram, run: Executable, feeds: Feeds) -> Sequence[Any]:
    """The outputs of a program that is made to run on as many lanes as it may have threads."""
    plan = make_plan(program.way.plan.graph, run.options.threads, EAGER)
    program.adopt(Way(plan, 1))
    return run(**feeds)


def check_model(name: str, backends: Sequence[str], threads: Sequence[int]) -> dict[str, Outcome]:
    """What one model gave, by way of running it and by whether it was optimized."""
    shipped = onnx.load(models.fetch(name))  # pyright: ignore[reportUnknownMemberType]
    proto = seeded(shipped) if name.startswith("light_") else shipped
    session = runtime(proto)
    graph = from_proto(proto)
    found: dict[str, Outcome] = {}
    allowed = INT8_ALONE if name in INT8 else ALONE
    for level, each in (("", graph), (" O2", graphopt.optimize(graph, "O2", strict=True))):
        ways = dict(ways_of(each, backends, threads))
        reference = graphopt.compile(each, "reference")
        for feeds in feeds_of(name, session):
            wanted, told = session.run(None, feeds), reference(**feeds)
            noisy = {key: shake(item, np.random.default_rng(0)) for key, item in feeds.items()}
            moved = max(map(difference, session.run(None, noisy), wanted))
            allowed = max(allowed, 4 * moved)
            for label, way in ways.items():
                found.setdefault(label + level, Outcome()).add(way(feeds), wanted, told)
    for label, outcome in found.items():
        if outcome.worst > allowed:
            raise AssertionError(f"{label}: {outcome.worst:.1e} where {allowed:.1e} is allowed")
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("models", nargs="*", metavar="MODEL", help="default: all")
    parser.add_argument("--backends", default="numpy,jax")
    parser.add_argument("--threads", default="1,2,4")
    given = parser.parse_args(arguments)
    threads = [int(item) for item in given.threads.split(",")]
    names = given.models or [name for name in models.names() if name not in OPAQUE]
    failed = 0
    for name in names:
        try:
            found = check_model(name, given.backends.split(","), threads)
        except Exception as error:
            failed += 1
            print(f"{name:24} FAILED {type(error).__name__}: {error}", flush=True)
            continue
        told = "  ".join(f"{label} {outcome.worst:.1e}" for label, outcome in found.items())
        print(f"{name:24} {told}", flush=True)
    print(f"{len(names) - failed} of {len(names)} models agree")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
