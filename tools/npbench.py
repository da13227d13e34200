"""Run the programs of NPBench (github.com/spcl/npbench), untouched, as `graphopt.function`s.

    python -m tools.npbench                      the programs without loops, on numpy and jax
    python -m tools.npbench --all                every program
    python -m tools.npbench gemm --preset M --backends jax

A program gets the inputs of its own `initialize`. Its first call and one with other values, after
those that are measured, are compared with NumPy's by NPBench's rule: what is returned, and all
arguments. A program with loops may be refused, by an error at its line ("not yet"); never may a
result be wrong or another exception escape. NPBench is fetched at a pinned commit and kept beside
the models of `tools/models.py`; --source or GRAPHOPT_NPBENCH names a copy, unpacked or bare.
Exit status: 0 done, 1 a program that must be right is not, 2 wrong usage, 3 no NPBench.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from copy import deepcopy
from dataclasses import asdict, dataclass, replace
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any

import numpy as np

import graphopt
from graphopt.backends.executable import BACKENDS
from graphopt.errors import GraphoptError, MissingExtraError, UsageError, nearest
from tools.models import FetchError
from tools.npbench_programs import Program, fetch, names

LOOP_FREE = (
    "arc_distance atax azimint_hist bicg cholesky2 compute covariance2 doitgen gemm gemver gesummv "
    "hdiff k2mm k3mm mlp mvt softmax"
).split()
"""The programs that must be right on every backend."""
LIMIT = 60.0
"""Seconds that a program may take on a backend, all in all."""
REPEATS, FEW, BUDGET = 20, 3, 0.5
"""A run is the best of so many, or of those that fit into so many seconds, or of a few."""

Array = Any


@dataclass(frozen=True)
class Outcome:
    """What came of a program on a backend; times are of the first call, a later one, and NumPy."""

    program: str
    backend: str
    verdict: str
    """ok, wrong, not yet (refused at a line of the program), crash, or time-out."""
    message: str = ""
    first_s: float | None = None
    run_ms: float | None = None
    numpy_ms: float | None = None
    nodes: int | None = None

    @property
    def is_failure(self) -> bool:
        """Whether it must not be: a program without loops that fails, a wrong result, a crash."""
        return self.verdict in ("wrong", "crash") or (
            self.verdict != "ok" and self.program in LOOP_FREE
        )

    def __str__(self) -> str:
        head = f"{self.program:25} {self.backend:6} {self.verdict:8}"
        if self.first_s is None or self.run_ms is None or self.numpy_ms is None:
            return f"{head} {self.message}"
        ratio = self.run_ms / self.numpy_ms
        times = f"{self.first_s:8.2f} {self.run_ms:10.3f} {self.numpy_ms:10.3f} {ratio:6.2f}"
        return f"{head} {times} {self.nodes:6d}"


HEADER = (
    f"{'program':25} {'backend':6} {'':8} {'first s':>8} {'run ms':>10} {'NumPy ms':>10} "
    f"{'ratio':>6} {'nodes':>6}"
)


def other_values(arguments: Sequence[Any]) -> list[Any]:
    """Arguments of the same shapes and dtypes, with other values where they are arrays."""
    return [scaled(item) if isinstance(item, np.ndarray) else item for item in arguments]


def scaled(array: Array) -> Array:
    """An array times 1.25 if its numbers are real or complex; else the array."""
    return array * array.dtype.type(1.25) if np.issubdtype(array.dtype, np.inexact) else array


def best_ms(function: Callable[..., Any], arguments: Sequence[Any], repeats: int) -> float:
    """The least time of a call, in milliseconds; each is made with arguments of its own."""
    times: list[float] = []
    while len(times) < repeats and (len(times) < FEW or sum(times) < BUDGET):
        given = deepcopy(arguments)
        start = time.perf_counter()
        function(*given)
        times.append(time.perf_counter() - start)
    return min(times) * 1000


def measure(program: Program, name: str, backend: str, repeats: int) -> Outcome:
    """Run a program on a backend; what it raises is part of the outcome.

    Raises MissingExtraError when the backend is not installed.
    """
    outcome = Outcome(name, backend, "crash")
    try:
        arguments = program.arguments()
        function = graphopt.function(program.function, backend=backend)
        found, first = program.compare(function, arguments)
        ours, theirs = (best_ms(each, arguments, repeats) for each in (function, program.function))
        found = found or program.compare(function, other_values(arguments))[0]
    except MissingExtraError:
        raise
    except Exception as error:  # whatever comes is the outcome
        text = f"{type(error).__name__}: {error}".replace(f"{program.file.parent}{os.sep}", "")
        clear = isinstance(error, GraphoptError) and f"{program.numpy_file.name}:" in text
        return replace(outcome, verdict="not yet" if clear else "crash", message=one_line(text))
    if not found and function.retraces:
        found = f"traced again at a later call: {function.explain_retraces()}"
    if found:
        return replace(outcome, verdict="wrong", message=one_line(found))
    nodes = sum(len(traced.graph) for traces in function.kept()[1] for traced in traces)
    return Outcome(name, backend, "ok", "", first, ours, theirs, nodes)


def one_line(text: str) -> str:
    """A text of any length as at most one line of 200 characters."""
    text = " ".join(text.split())
    return text if len(text) <= 200 else f"{text[:197]}..."


@dataclass(frozen=True)
class Settings:
    """How programs are measured: the unpacked NPBench, the size, seconds for each, repeats."""

    folder: Path
    preset: str
    limit: float
    repeats: int


def serve(jobs: Connection, settings: Settings) -> None:
    """Measure what is asked for, in a process of its own, until the other side is gone."""
    warnings.simplefilter("ignore")
    with np.errstate(all="ignore"), suppress(EOFError):
        while True:
            name, backend = jobs.recv()
            program = Program(settings.folder, name, settings.preset)
            try:
                jobs.send(measure(program, name, backend, settings.repeats))
            except MissingExtraError as error:
                jobs.send(str(error))


class Runner:
    """Measures in a process beside this one, which is ended when it takes too long."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._process: SpawnProcess | None = None

    def outcome(self, name: str, backend: str) -> Outcome:
        """What came of a program; raises UsageError when the backend is not installed."""
        if self._process is None:
            context = get_context("spawn")
            self._jobs, theirs = context.Pipe()
            self._process = context.Process(target=serve, args=(theirs, self._settings))
            self._process.start()
            theirs.close()
        self._jobs.send((name, backend))
        try:
            if self._jobs.poll(self._settings.limit):
                found: Outcome | str = self._jobs.recv()
                if isinstance(found, str):
                    raise UsageError(found)
                return found
            verdict, message = "time-out", f"took more than {self._settings.limit:g} s"
        except (EOFError, ConnectionError):
            self._process.join()
            verdict, message = "crash", f"the process died: {self._process.exitcode}"
        self.close()
        return Outcome(name, backend, verdict, message)

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._jobs.close()
            self._process = None


def outcomes(
    settings: Settings, programs: Sequence[str], backends: Sequence[str]
) -> Iterator[Outcome]:
    """What comes of programs on backends, one after the other.

    Raises UsageError for an unknown program or preset, before any runs, and for a backend that is
    not installed.
    """
    for name in programs:
        Program(settings.folder, name, settings.preset)
    runner = Runner(settings)
    try:
        for name in programs:
            for backend in backends:
                yield runner.outcome(name, backend)
    finally:
        runner.close()


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Run NPBench's programs as graphopt.functions.")
    parser.add_argument("programs", nargs="*", metavar="PROGRAM", help="default: without loops")
    parser.add_argument("--all", action="store_true", help="run all programs")
    parser.add_argument("--source", metavar="DIR", help="a copy of NPBench, unpacked or bare")
    parser.add_argument("--preset", default="S", help="the size of the inputs (default: S)")
    parser.add_argument("--backends", default="numpy,jax", help="default: numpy,jax")
    parser.add_argument("--limit", type=float, default=LIMIT, help="seconds for each program")
    parser.add_argument("--repeats", type=int, default=REPEATS, help="calls that are measured")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the outcomes there, too")
    options = parser.parse_args(arguments)
    options.backends = options.backends.split(",")
    for backend in options.backends:
        if backend not in BACKENDS:
            parser.error(f"unknown backend {backend!r}{nearest(backend, list(BACKENDS))}")
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; the exit status."""
    options = _options(arguments)
    try:
        folder = fetch(options.source)
    except (FetchError, OSError) as error:
        print(f"npbench: {error}", file=sys.stderr)
        return 3
    settings = Settings(folder, options.preset, options.limit, options.repeats)
    programs: Sequence[str] = names(folder) if options.all else options.programs or LOOP_FREE
    done: list[Outcome] = []
    try:
        for each in outcomes(settings, programs, options.backends):
            print(each if done else f"{HEADER}\n{each}", flush=True)
            done.append(each)
    except UsageError as error:
        print(f"npbench: {error}", file=sys.stderr)
        return 2
    if options.json:
        options.json.write_text(json.dumps([asdict(each) for each in done], indent=1))
    failures = sum(each.is_failure for each in done)
    right = sum(each.verdict == "ok" for each in done)
    print(f"{right} of {len(done)} right, {failures} failures")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
