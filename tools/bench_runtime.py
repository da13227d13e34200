"""Latency in ONNX Runtime of the models that graphopt and its peers write, beside the original.

    python -m tools.bench_runtime [MODEL...] [--peers PYTHON] [--threads 2] [--rounds 9]
                                  [--json FILE]

Each model is loaded as it is and as each tool saved it, with ONNX Runtime's own optimizations off
and with all of them on; `light_*` get seeded weights before any tool sees them. The original is
loaded twice: by how much it differs from itself is the spread. All sessions of a model at one level
stand in one process and take turns (`latency_race`), in an order drawn anew each round. A round's
figure is a turn's median over that of the original, a batch's the median over its `--rounds`, and
what is shown is the median over the batches. Each batch has sessions of its own: where the weights
happen to lie in memory is worth two per cent between equal files, so it is luck to be drawn again
and not a figure. There are as many batches, three to nine, as it takes for a small spread.

A file that does not compute what the original does is not timed. What `bench_peers` calls out of
the comparison is timed and shown in brackets, and is nobody's best peer.

Exit status: 0 when on no model graphopt's file is slower beyond the spread than the best peer's
with optimizations off, nor than the original with them on; 1 when on some, or when the machine is
too busy to tell; 2 wrong usage; 3 when a model cannot be had.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import onnx

from graphopt.errors import UsageError, nearest
from tools import bench_peers, models, zoo
from tools.bench_peers import OURS
from tools.latency_race import race
from tools.seeded import seeded

ORIGINAL = "original"
AGAIN = "original again"
LEVELS: Mapping[str, bool] = {"off": False, "on": True}
SMALL = 0.02
"""The spread at which no more rounds are needed."""
NOISY = 0.1
"""The spread above which nothing can be told."""
LEAST, MOST = 3, 9
"""Batches of a model at a level."""
Call = Callable[[], object]


@dataclass(frozen=True)
class Row:
    """A model at one level of ONNX Runtime's optimizations.

    `ratios` are latencies over the original's; `spread` is how far the original is from itself, as
    a part of 1; `out` names the tools that are out of the comparison, with the reason.
    """

    model: str
    level: str
    milliseconds: float
    spread: float
    ratios: Mapping[str, float]
    out: Mapping[str, str]

    @property
    def rival(self) -> tuple[str, float]:
        """Whom graphopt is held to and its ratio: the best peer's, or the original's where on."""
        peers = {t: r for t, r in self.ratios.items() if t != OURS and t not in self.out}
        if self.level == "on" or not peers:
            return ORIGINAL, 1.0
        best = min(peers, key=peers.__getitem__)
        return best, peers[best]

    @property
    def verdict(self) -> str:
        """ "" where graphopt's file holds against its rival, else what is wrong."""
        if OURS not in self.ratios or OURS in self.out:
            return f"graphopt's is out: {self.out.get(OURS, 'not timed')}"
        if self.spread > NOISY:
            return f"the machine is too busy to tell: the spread is {self.spread:.3f}"
        name, ratio = self.rival
        if self.ratios[OURS] <= ratio * (1 + self.spread):
            return ""
        return f"SLOWER than {name}: {self.ratios[OURS]:.3f}x, {ratio:.3f}x ± {self.spread:.3f}"


def spread_of(ratios: Sequence[float]) -> float:
    """How far two sessions of one model are apart, from the ratio that each round gives.

    The deviation of the median from 1, and three times the median's standard error on top.
    """
    logs = [math.log(ratio) for ratio in ratios]
    middle = statistics.median(logs)
    deviation = 1.4826 * statistics.median(abs(each - middle) for each in logs)
    return math.expm1(abs(middle) + 3 * 1.2533 * deviation / math.sqrt(len(logs)))


def rounds_of(calls: Mapping[str, Call], rounds: int, rng: random.Random) -> dict[str, list[float]]:
    """The seconds of each call in each round; the order is drawn anew for each."""
    found: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        names = list(calls)
        rng.shuffle(names)
        for name, timing in race({name: calls[name] for name in names}, 1).items():
            found[name].append(timing.median)
    return found


def ratios_of(seconds: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """A batch: each session over both of the original's in the same round, the medians over rounds.

    Under the names of the original stand its seconds, and how far it is apart from itself.
    """
    first, again = seconds[ORIGINAL], seconds[AGAIN]
    base = [math.sqrt(a * b) for a, b in zip(first, again, strict=True)]
    ratios = {
        name: statistics.median(a / b for a, b in zip(every, base, strict=True))
        for name, every in seconds.items()
    }
    apart = statistics.median(b / a for a, b in zip(first, again, strict=True))
    return {**ratios, ORIGINAL: statistics.median(base), AGAIN: apart}


def row_of(
    model: str, level: str, batches: Sequence[Mapping[str, float]], out: Mapping[str, str]
) -> Row:
    """The row that the batches of a model at a level make."""
    ratios = {name: statistics.median(each[name] for each in batches) for name in batches[0]}
    milliseconds = ratios.pop(ORIGINAL) * 1e3
    del ratios[AGAIN]
    spread = spread_of([each[AGAIN] for each in batches])
    return Row(model, level, milliseconds, spread, ratios, dict(out))


def files_of(
    name: str, pythons: Mapping[str, str], folder: Path
) -> tuple[dict[str, Path], dict[str, str]]:
    """The files of a model, as all tools see it and as each saved it, and who is out and why.

    Files that do not compute what the original does are left out. Raises FetchError.
    """
    source = models.fetch(name)
    original = onnx.load(source)  # pyright: ignore[reportUnknownMemberType]
    if name.startswith("light_"):
        original = seeded(original)
        source = folder / "seeded.onnx"
        source.write_bytes(original.SerializeToString())
    files = {ORIGINAL: source, AGAIN: source}
    out: dict[str, str] = {}
    for tool, told in bench_peers.optimize(pythons, source, folder, 1).items():
        if isinstance(told, str):
            out[tool] = f"fails: {told}"
            continue
        path = folder / f"{tool}.onnx"
        model = onnx.load(path)  # pyright: ignore[reportUnknownMemberType]
        wrong = bench_peers.difference(name, original, model)
        reason = wrong or bench_peers.excess(original, model)
        if reason:
            out[tool] = reason
        if not wrong:
            files[tool] = path
    return files, out


def session(file: Path, threads: int, optimized: bool) -> Any:
    """An ONNX Runtime session of a file, with all of its optimizations or with none."""
    runtime: Any = import_module("onnxruntime")
    options = runtime.SessionOptions()
    levels = runtime.GraphOptimizationLevel
    level = levels.ORT_ENABLE_ALL if optimized else levels.ORT_DISABLE_ALL
    options.graph_optimization_level = level
    options.intra_op_num_threads = threads
    options.log_severity_level = 4
    return runtime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])


def measure(
    name: str, pythons: Mapping[str, str], threads: int, rounds: int, folder: Path
) -> list[Row]:
    """The rows of a model, at its first input size. Raises FetchError."""
    files, out = files_of(name, pythons, folder)
    return [
        row_of(name, level, timed(name, files, threads, level, rounds), out) for level in LEVELS
    ]


def timed(
    name: str, files: Mapping[str, Path], threads: int, level: str, rounds: int
) -> list[dict[str, float]]:
    """The batches of a model at one level of optimizations; see `ratios_of`."""
    batches: list[dict[str, float]] = []
    while len(batches) < MOST:
        rng = random.Random(len(batches))
        order = rng.sample([*files], len(files))
        calls = calls_of(name, files, order, threads, level)
        batches.append(ratios_of(rounds_of(calls, rounds, rng)))
        if len(batches) >= LEAST and row_of(name, level, batches, {}).spread <= SMALL:
            break
    return batches


def calls_of(
    name: str, files: Mapping[str, Path], order: Sequence[str], threads: int, level: str
) -> dict[str, Call]:
    """A new session of each file, loaded in this order and warmed up, as a call."""
    calls: dict[str, Call] = {}
    for file in order:
        run = session(files[file], threads, LEVELS[level])
        calls[file] = partial(run.run, None, zoo.feeds_of(name, run)[0])
        for _ in range(3):
            calls[file]()
    return calls


def header(tools: Iterable[str]) -> str:
    """The head of the table."""
    names = ["model", "level", "original ms", "spread", *tools]
    return f"| {' | '.join(names)} |\n|---|---|{'---:|' * (len(names) - 2)}"


def line(row: Row, tools: Iterable[str]) -> str:
    """A row of the table; in brackets what is out of the comparison."""
    cells = [row.model, row.level, f"{row.milliseconds:.3f}", f"{row.spread:.3f}"]
    for tool in tools:
        text = f"{row.ratios[tool]:.3f}" if tool in row.ratios else "-"
        cells.append(f"({text})" if tool in row.out and tool in row.ratios else text)
    return f"| {' | '.join(cells)} |"


def means(rows: Sequence[Row], tools: Iterable[str]) -> list[str]:
    """The geometric means: over all that each tool wrote, and over what is in the comparison."""
    lines: list[str] = []
    for level in LEVELS:
        mine = [row for row in rows if row.level == level]
        for tool in tools:
            timed = [row for row in mine if tool in row.ratios]
            kept = [row.ratios[tool] for row in timed if tool not in row.out]
            every = bench_peers.mean([row.ratios[tool] for row in timed])
            lines.append(
                f"{level}, {tool}: {every:.3f}x of the original over {len(timed)} models; "
                f"{bench_peers.mean(kept):.3f}x over the {len(kept)} in the comparison"
            )
    return lines


def compare(
    names: Sequence[str], pythons: Mapping[str, str], threads: int, rounds: int
) -> list[Row]:
    """Print the table, the means and the verdicts; the rows."""
    rows: list[Row] = []
    print(header(pythons), flush=True)
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            for row in measure(name, pythons, threads, rounds, Path(folder)):
                print(line(row, pythons), flush=True)
                rows.append(row)
    print("\nLatency over the original's, geometric means:", *means(rows, pythons), sep="\n  ")
    out = sorted({f"{row.model}, {t}: {why}" for row in rows for t, why in row.out.items()})
    print("\nOut of the comparison:", *out, sep="\n  ")
    lost = [f"{row.model}, {row.level}: {row.verdict}" for row in rows if row.verdict]
    print(f"\n{len(lost)} of {len(rows)} rows are lost", *lost, sep="\n  ")
    return rows


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; the exit status."""
    parser = argparse.ArgumentParser(description="Latency in ONNX Runtime of optimized models.")
    parser.add_argument("models", nargs="*", metavar="MODEL")
    parser.add_argument("--peers", default=sys.executable, metavar="PYTHON")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", metavar="FILE", help="write all figures there")
    chosen = parser.parse_args(arguments)
    try:
        for name in chosen.models:
            if name not in models.names():
                hint = nearest(name, models.names())
                raise UsageError(f"unknown model {name!r}{hint}", at="bench_runtime")
        pythons, absent = bench_peers.interpreters(chosen.peers)
        for tool in absent:
            print(f"bench_runtime: {tool} is left out", file=sys.stderr)
        names = chosen.models or models.names()
        rows = compare(names, pythons, chosen.threads, chosen.rounds)
    except models.FetchError as error:
        print(f"bench_runtime: {error}", file=sys.stderr)
        return 3
    except UsageError as error:
        print(f"bench_runtime: {error}", file=sys.stderr)
        return 2
    if chosen.json:
        Path(chosen.json).write_text(json.dumps([asdict(row) for row in rows]))
    return 1 if any(row.verdict for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
