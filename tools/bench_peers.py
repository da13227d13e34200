"""The optimizers that are measured beside graphopt, each run on a file in a process of its own.

A result is out of the comparison, with the reason, when its tool fails; when the file grew by more
than 64 KiB and 1 % of the original; when it has operators that are neither standard ONNX nor in the
original, so that only one runtime takes it; and when it does not compute what the original does.
"""

from __future__ import annotations

import json
import math
import os
import statistics
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from graphopt.check import shake
from tools import zoo
from tools.bench_nodes import foreign_operators, node_count

OURS = "graphopt"
HEADER = "import json, sys, time\nsource, target = sys.argv[1:]\n"
FOOTER = "print(json.dumps({'seconds': seconds}))\n"
GRAPHOPT = """
import graphopt
from graphopt import api, passes
from graphopt.frontends import onnx
from graphopt.ops import table
table()
started = time.process_time()
graphopt.save(graphopt.optimize(graphopt.load(source), "O2"), target)
seconds = time.process_time() - started
"""
ONNXSLIM = """
import onnx, onnxslim
started = time.process_time()
onnx.save(onnxslim.slim(onnx.load(source)), target)
seconds = time.process_time() - started
"""
ONNXSIM = """
import onnx, onnxsim
started = time.process_time()
onnx.save(onnxsim.simplify(onnx.load(source))[0], target)
seconds = time.process_time() - started
"""
ONNXOPTIMIZER = """
import onnx, onnxoptimizer
started = time.process_time()
onnx.save(onnxoptimizer.optimize(onnx.load(source)), target)
seconds = time.process_time() - started
"""
ONNXSCRIPT = """
import onnx, onnxscript.optimizer
started = time.process_time()
onnx.save(onnxscript.optimizer.optimize(onnx.load(source)), target)
seconds = time.process_time() - started
"""
RUNTIME = """
import onnxruntime
started = time.process_time()
options = onnxruntime.SessionOptions()
options.log_severity_level = 3
options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
options.optimized_model_filepath = target
onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
seconds = time.process_time() - started
"""
TOOLS: Mapping[str, str] = {
    OURS: GRAPHOPT,
    "onnxslim": ONNXSLIM,
    "onnxsim": ONNXSIM,
    "onnxoptimizer": ONNXOPTIMIZER,
    "onnxscript": ONNXSCRIPT,
    "onnxruntime": RUNTIME,
}
PEERS = tuple(tool for tool in TOOLS if tool != OURS)


@dataclass(frozen=True)
class Result:
    """What a tool made of a model; `refusal` says why it is out of the comparison, "" if it is in.

    All but `tool` and `refusal` are 0 when the tool failed.
    """

    tool: str
    nodes: int
    size: int
    seconds: float
    refusal: str = ""


def run(python: str, script: str, source: Path, target: Path) -> dict[str, Any] | str:
    """What a script prints last, as JSON; the last line of its errors where it fails."""
    target.unlink(missing_ok=True)
    command = [python, "-c", HEADER + script + FOOTER, str(source), str(target)]
    try:
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=600)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{type(error).__name__}: {error}".partition("\n")[0]
    lines = done.stdout.strip().splitlines()
    if done.returncode == 0 and lines and target.is_file():
        return dict(json.loads(lines[-1]))
    errors = done.stderr.strip().splitlines() or [f"ended with code {done.returncode}"]
    return errors[-1][:160]


def optimize(
    tools: Mapping[str, str], source: Path, folder: Path, rounds: int
) -> dict[str, float | str]:
    """Seconds of each tool under its interpreter, median of interleaved runs, or how it failed.

    Leaves each one's file as `folder`/TOOL.onnx.
    """
    times: dict[str, list[float]] = {tool: [] for tool in tools}
    failures: dict[str, str] = {}
    for _ in range(rounds):
        for tool, python in tools.items():
            if tool in failures:
                continue
            told = run(python, TOOLS[tool], source, folder / f"{tool}.onnx")
            if isinstance(told, str):
                failures[tool] = told
            else:
                times[tool].append(told["seconds"])
    return {tool: failures.get(tool) or statistics.median(times[tool]) for tool in tools}


def judge(name: str, source: Path, target: Path, tool: str, told: float | str) -> Result:
    """The result of a tool that took `told` seconds for a model, or failed as it says."""
    if isinstance(told, str):
        return Result(tool, 0, 0, 0.0, f"fails: {told}")
    size = target.stat().st_size
    original = onnx.load(source)  # pyright: ignore[reportUnknownMemberType]
    made = onnx.load(target)  # pyright: ignore[reportUnknownMemberType]
    return Result(tool, node_count(made), size, told, refusal(name, original, made))


def refusal(name: str, original: onnx.ModelProto, made: onnx.ModelProto) -> str:
    """Why an optimized model is out of the comparison; "" when it is in."""
    return excess(original, made) or difference(name, original, made)


def excess(original: onnx.ModelProto, made: onnx.ModelProto) -> str:
    """What a model has beyond bounds: bytes, or operators of one runtime; "" for nothing."""
    size, grown = original.ByteSize(), made.ByteSize() - original.ByteSize()
    if grown > allowance(size):
        return f"grew by {grown} bytes, {allowance(size)} are allowed"
    foreign = foreign_operators(made, original)
    if foreign:
        return f"not standard: {', '.join(foreign)}"
    return ""


def allowance(size: int) -> int:
    """By how many bytes a file of this size may grow."""
    return (1 << 16) + size // 100


def difference(name: str, original: onnx.ModelProto, made: onnx.ModelProto) -> str:
    """How a model's outputs differ from the original's, run as they are; "" if they do not."""
    try:
        before, after = zoo.runtime(original), zoo.runtime(made)
        for feeds in zoo.feeds_of(name, before):
            wanted, got = before.run(None, feeds), after.run(None, feeds)
            noisy = {key: shake(item, np.random.default_rng(0)) for key, item in feeds.items()}
            sensitivity = max(map(zoo.difference, before.run(None, noisy), wanted))
            gap = max(map(zoo.difference, got, wanted))
            if gap > max(2e-3 if name in zoo.INT8 else 1e-4, 4 * sensitivity):
                return f"differs from the original by {gap:.1e}"
    except Exception as error:  # the runtime has no class of its own for a model that it refuses
        return f"does not run: {error}".partition("\n")[0][:160]
    return ""


def verdict(results: Iterable[Result]) -> tuple[bool, str]:
    """Whether graphopt leaves at most the nodes that the best peer leaves, and a line on it.

    Without a peer in the comparison graphopt's result has only to be in it itself.
    """
    every = {result.tool: result for result in results}
    ours = every.pop(OURS)
    if ours.refusal:
        return False, f"graphopt's is out: {ours.refusal}"
    rest = [result for result in every.values() if not result.refusal]
    if not rest:
        return True, f"{ours.nodes} nodes; no peer's result is in the comparison"
    best = min(rest, key=lambda result: result.nodes)
    held = ours.nodes <= best.nodes
    names = ", ".join(each.tool for each in rest if each.nodes == best.nodes)
    return held, f"{ours.nodes} nodes, best peer {best.nodes} ({names}): {'ok' if held else 'MORE'}"


def interpreters(peers: str) -> tuple[dict[str, str], list[str]]:
    """The tools with the interpreter that runs each, and those that are not installed there."""
    absent = [tool for tool in PEERS if not installed(peers, tool)]
    return {OURS: sys.executable} | {t: peers for t in PEERS if t not in absent}, absent


def installed(python: str, module: str) -> bool:
    """Whether an interpreter can import a module."""
    found = subprocess.run(
        [python, "-c", f"import {module}"], check=False, capture_output=True, env=dict(os.environ)
    )
    return found.returncode == 0


def mean(ratios: Sequence[float]) -> float:
    """The geometric mean; nan of nothing."""
    return math.exp(statistics.fmean(map(math.log, ratios))) if ratios else math.nan
