"""Latency of the development models: the numpy and jax backends beside ONNX Runtime.

    python -m tools.latency [MODEL...] [--threads 2] [--rounds 9] [--backends numpy,jax,ort]
                            [--top 5] [--json FILE]

Each model runs at its first input size and at its largest, `light_*` with seeded random weights:
our backends run the graph optimized at O2, ONNX Runtime the original with all its optimizations.
All are in one process, on the same number of threads (and processors, since XLA cannot be told),
and take turns. A turn begins when no thread is busy any more, so that those that wait, BLAS's and
ONNX Runtime's, may spin and disturb nobody else; ONNX Runtime runs with spinning, its default, and
without, and the better counts. The time to the first result is that of compiling
(or of making a session) and of one call; optimizing at O2 comes before. Where the time of the
numpy backend goes is told by its steps, held to what this machine can do; and above 8x of ONNX
Runtime, the main cause.

Exit status: 0 done, 2 wrong usage, or an environment that chooses BLAS's kernels, 3 a model cannot
be had or run by anyone.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import onnx

import graphopt
from graphopt.backends.executable import Executable, processors
from graphopt.backends.numpy import lower
from graphopt.backends.numpy.program import NumpyProgram
from graphopt.backends.numpy.ways import MEASURED, ROUNDS
from graphopt.errors import GraphoptError, UsageError, nearest
from graphopt.frontends.onnx import from_proto
from graphopt.graph import Graph
from tools import latency_causes, latency_peaks, models, zoo
from tools.latency_peaks import Peaks
from tools.latency_race import race
from tools.latency_tables import Row, header, line, ms_text, report
from tools.seeded import seeded

BACKENDS = ("numpy", "jax", "ort")
WARM = MEASURED + 4 * ROUNDS
"""Calls before anything counts: the numpy backend finds its best way during the first ones."""
PARKED = "ort, parked"
"""ONNX Runtime whose threads sleep while they wait."""
TOLERANCE = 1e-2
"""By how much results may differ from ONNX Runtime's, relative to the largest, untold."""

Feeds = Mapping[str, Any]
Run = Callable[[Feeds], Sequence[Any]]


@dataclass(frozen=True)
class Settings:
    """Who is measured, how, and what the machine can do."""

    backends: Sequence[str]
    threads: int
    rounds: int
    top: int
    peaks: Peaks


@dataclass(frozen=True)
class Subject:
    """A model to be measured: as it is for ONNX Runtime, and optimized."""

    name: str
    proto: onnx.ModelProto
    graph: Graph

    @classmethod
    def load(cls, name: str) -> Subject:
        """A development model by name. Raises FetchError, and what optimizing it raises."""
        proto = onnx.load(models.fetch(name))  # pyright: ignore[reportUnknownMemberType]
        if name.startswith("light_"):
            proto = seeded(proto)
        return cls(name, proto, graphopt.optimize(from_proto(proto), "O2"))


def session(
    proto: onnx.ModelProto, threads: int, spinning: bool = True, optimized: bool = True
) -> Any:
    """An ONNX Runtime session, with all of its optimizations or with none."""
    runtime: Any = import_module("onnxruntime")
    options = runtime.SessionOptions()
    levels = runtime.GraphOptimizationLevel
    options.graph_optimization_level = (
        levels.ORT_ENABLE_ALL if optimized else levels.ORT_DISABLE_ALL
    )
    options.intra_op_num_threads = threads
    options.log_severity_level = 4
    options.add_session_config_entry("session.intra_op.allow_spinning", str(int(spinning)))
    content = proto.SerializeToString()
    return runtime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


@dataclass(frozen=True)
class Compiled:
    """An executable as a function of its inputs by name."""

    executable: Executable

    def __call__(self, feeds: Feeds) -> Sequence[Any]:
        return self.executable(**feeds)


def build(backend: str, subject: Subject, threads: int) -> Run:
    """A model as a function of its inputs by name."""
    if backend == "ort":
        return partial(session(subject.proto, threads).run, None)
    return Compiled(graphopt.compile(subject.graph, backend, threads=threads))


def sizes(name: str, proto: onnx.ModelProto) -> list[Feeds]:
    """A model's first inputs, and the largest where these are others."""
    every = zoo.feeds_of(name, zoo.runtime(proto))
    largest = max(every, key=lambda feeds: sum(array.nbytes for array in feeds.values()))
    return [every[0]] if largest is every[0] else [every[0], largest]


def size_text(feeds: Feeds) -> str:
    """The shape of the largest input."""
    shapes: list[tuple[int, ...]] = [array.shape for array in feeds.values()]
    return "×".join(map(str, max(shapes, key=math.prod)))


def measure(subject: Subject, feeds: Feeds, settings: Settings) -> Row:
    """Time a model at one input size; a backend that fails gets a note instead."""
    row = Row(subject.name, size_text(feeds))
    runs: dict[str, Run] = {}
    made: dict[str, Sequence[Any]] = {}
    for backend in settings.backends:
        latency_peaks.settle()
        start = time.perf_counter()
        try:
            run = build(backend, subject, settings.threads)
            made[backend] = run(feeds)
            row.first[backend] = time.perf_counter() - start
            for _ in range(WARM):
                run(feeds)
            runs[backend] = run
        except Exception as error:  # whatever it is, the others still run
            row.notes.append(f"{backend} fails: {one_line(error)}")
    for backend in made if "ort" in made else ():
        gap = max(map(zoo.difference, made[backend], made["ort"]))
        if gap > TOLERANCE:
            row.notes.append(f"{backend} differs from ONNX Runtime by {gap:.1e}")
    if "ort" in runs and settings.threads > 1:
        runs[PARKED] = partial(session(subject.proto, settings.threads, spinning=False).run, None)
        runs[PARKED](feeds)
    row.timings = race({name: partial(run, feeds) for name, run in runs.items()}, settings.rounds)
    if PARKED in runs:
        take_better(row)
    ours = runs.get("numpy")
    if isinstance(ours, Compiled):
        explain(row, ours.executable, feeds, settings)
    return row


def one_line(error: Exception) -> str:
    """An error on one line."""
    text = f"{type(error).__name__}: {error}".partition("\n")[0]
    return text if len(text) <= 160 else f"{text[:159]}…"


def take_better(row: Row) -> None:
    """Let ONNX Runtime count with its threads asleep while they wait, where that is faster."""
    parked, usual = row.timings.pop(PARKED), row.timings["ort"]
    if parked.median < usual.median:
        row.timings["ort"] = parked
        text = f"ONNX Runtime without spinning; with it {ms_text(usual.median)} ms"
        row.notes.append(text)


def explain(row: Row, executable: Executable, feeds: Feeds, settings: Settings) -> None:
    """Fill in where the time of the numpy backend goes."""
    program, arrays = program_of(executable, feeds)
    plan = program.plan
    profile = program.profile(*arrays, runs=5)
    found = latency_causes.costs(program.recording.calls, profile, settings.peaks, plan.blas)
    row.steps, row.lanes = len(found), plan.lanes
    row.shares = latency_causes.shares(found)
    row.top = latency_causes.longest(found, settings.top)


def program_of(executable: Executable, feeds: Feeds) -> tuple[NumpyProgram, list[Any]]:
    """The program that an executable of the numpy backend has for some inputs, and these in order.

    Where it depends on what inputs contain, another one like it, which has run as often.
    """
    arrays = [np.asarray(feeds[name]) for name in executable.graph.input_names]
    program = executable.prepare(*arrays)
    if program is None:
        known = {k: arrays[k] for k in executable.by_value}
        program = lower(executable.graph, arrays, known, executable.options)
        for _ in range(WARM):
            program(*arrays)
    assert isinstance(program, NumpyProgram)
    return program, arrays


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; the exit status."""
    chosen = _parser().parse_args(arguments)
    backends: list[str] = chosen.backends.split(",")
    try:
        _check_names(chosen.models, models.names(), "model")
        _check_names(backends, BACKENDS, "backend")
        kernels = latency_peaks.blas_kernels()
        with latency_peaks.on_processors(chosen.threads):
            return _run(chosen, backends, kernels)
    except UsageError as error:
        print(f"latency: {error}", file=sys.stderr)
        return 2


def _run(chosen: argparse.Namespace, backends: list[str], kernels: str) -> int:
    peaks = latency_peaks.measure({1, chosen.threads})
    settings = Settings(backends, chosen.threads, chosen.rounds, chosen.top, peaks)
    print(f"{chosen.threads} threads; BLAS: {kernels}\n{peaks}\n\n{header(backends)}", flush=True)
    if peaks.is_disturbed:
        print("latency: the machine is busy: do not trust these figures", file=sys.stderr)
    rows: list[Row] = []
    broken: list[str] = []
    for name in chosen.models or [each for each in models.names() if each not in zoo.OPAQUE]:
        try:
            subject = Subject.load(name)
            for feeds in sizes(name, subject.proto):
                row = measure(subject, feeds, settings)
                print(line(row, backends, 1 + sum(len(r.notes) for r in rows)), flush=True)
                rows.append(row)
        except (GraphoptError, OSError) as error:
            broken.append(f"{name}: {one_line(error)}")
    print(f"\n{report(rows)}")
    for each in broken:
        print(f"latency: {each}", file=sys.stderr)
    if chosen.json:
        found = [{**asdict(row), "cause": row.cause} for row in rows]
        what = {"threads": chosen.threads, "blas": kernels, "peaks": asdict(peaks), "rows": found}
        Path(chosen.json).write_text(json.dumps(what))
    return 3 if broken or not all(row.timings for row in rows) else 0


def _check_names(names: Sequence[str], known: Sequence[str], what: str) -> None:
    for name in names:
        if name not in known:
            raise UsageError(f"unknown {what} {name!r}{nearest(name, list(known))}", at="latency")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description="Measure the development models beside ONNX Runtime."
    )
    parser.add_argument("models", nargs="*", metavar="MODEL")
    parser.add_argument("--threads", type=int, default=processors())
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--backends", default=",".join(BACKENDS), metavar="NAME,...")
    parser.add_argument("--top", type=int, default=5, help="how many of the longest steps to show")
    parser.add_argument("--json", metavar="FILE", help="write all figures there")
    return parser


if __name__ == "__main__":
    sys.exit(main())
