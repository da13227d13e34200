"""Measure graphopt beside its peers: nodes, bytes and CPU seconds of load + optimize + save.

    python -m tools.bench [--peers PYTHON] [--rounds 3] [MODEL...]
    python -m tools.bench --scale

Each run is a process of its own; the CPU time counts from after the imports. Runs are interleaved
and medians are shown. Peers (onnxslim, onnxsim, ONNX Runtime's offline optimizer at EXTENDED) run
under the interpreter that --peers names, this one by default; one that is not installed is left
out. --scale optimizes chains of 1 000 to 100 000 nodes and prints the slope of CPU time over size
on logarithmic axes.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tools import models

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
TOOLS = {"graphopt": GRAPHOPT, "onnxslim": ONNXSLIM, "onnxsim": ONNXSIM, "onnxruntime": RUNTIME}
COUNT = """
import onnx
pending, count = [onnx.load(target).graph], 0
while pending:
    for node in pending.pop().node:
        count += node.op_type != "Constant"
        pending += [item.g for item in node.attribute if item.HasField("g")]
print(json.dumps({"nodes": count}))
"""


def run(python: str, script: str, source: Path, target: Path) -> dict[str, Any] | None:
    """What a script prints of one model, None when it fails."""
    command = [python, "-c", script, str(source), str(target)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=600)
    lines = done.stdout.strip().splitlines()
    return dict(json.loads(lines[-1])) if done.returncode == 0 and lines else None


def measure(name: str, pythons: dict[str, str], rounds: int, folder: Path) -> dict[str, str]:
    """One cell a tool for a model: nodes / bytes / CPU milliseconds."""
    source = models.fetch(name)
    times: dict[str, list[float]] = {tool: [] for tool in pythons}
    for _ in range(rounds):
        for tool, python in pythons.items():
            target = folder / f"{tool}.onnx"
            target.unlink(missing_ok=True)
            told = run(python, HEADER + TOOLS[tool] + FOOTER, source, target)
            if told is not None:
                times[tool].append(told["seconds"])
    cells: dict[str, str] = {}
    for tool, python in pythons.items():
        target = folder / f"{tool}.onnx"
        counted = run(python, HEADER + COUNT, source, target) if times[tool] else None
        if counted is None:
            cells[tool] = "fails"
            continue
        milliseconds = statistics.median(times[tool]) * 1e3
        cells[tool] = f"{counted['nodes']} / {target.stat().st_size} / {milliseconds:.0f}"
    return cells


def installed(python: str, module: str) -> bool:
    """Whether an interpreter can import a module."""
    found = subprocess.run([python, "-c", f"import {module}"], check=False, capture_output=True)
    return found.returncode == 0


def chain(length: int) -> Any:
    """A model of `length` nodes in a row, half of which the optimizer removes."""
    from onnx import NodeProto, TensorProto, helper

    nodes: list[NodeProto] = []
    value = "x"
    for k in range(length):
        nodes.append(
            helper.make_node(("Neg", "Relu", "Identity", "Neg")[k % 4], [value], [f"v{k}"])
        )
        value = f"v{k}"
    kind = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "chain",
        [kind("x", TensorProto.FLOAT, ["N", 4])],
        [kind(value, TensorProto.FLOAT, ["N", 4])],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def scale(rounds: int) -> None:
    """Print CPU seconds over the length of a chain, and the slope."""
    points: list[tuple[float, float]] = []
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "chain.onnx", Path(folder) / "out.onnx"
        for length in (1_000, 10_000, 100_000):
            source.write_bytes(chain(length).SerializeToString())
            script = HEADER + GRAPHOPT + FOOTER
            told = [run(sys.executable, script, source, target) for _ in range(rounds)]
            seconds = statistics.median(item["seconds"] for item in told if item is not None)
            print(f"{length:>8} nodes {seconds:8.3f} s CPU {seconds / length * 1e6:8.1f} us a node")
            points.append((math.log(length), math.log(seconds)))
    (x0, y0), (x1, y1) = points[0], points[-1]
    print(f"log-log slope {(y1 - y0) / (x1 - x0):.3f}")


def compare(names: Sequence[str], peers: str, rounds: int) -> None:
    """Print the table of all models and tools."""
    pythons = {"graphopt": sys.executable}
    pythons |= {tool: peers for tool in TOOLS if tool != "graphopt" and installed(peers, tool)}
    print("| model | " + " | ".join(pythons) + " |")
    print("|---|" + "---|" * len(pythons))
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            cells = measure(name, pythons, rounds, Path(folder))
            print(f"| {name} | " + " | ".join(cells.values()) + " |", flush=True)


def main() -> int:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description="Measure graphopt beside its peers.")
    parser.add_argument("models", nargs="*", metavar="MODEL")
    parser.add_argument("--peers", default=sys.executable, metavar="PYTHON")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--scale", action="store_true")
    chosen = parser.parse_args()
    if chosen.scale:
        scale(chosen.rounds)
    else:
        compare(chosen.models or models.names(), chosen.peers, chosen.rounds)
    return 0


if __name__ == "__main__":
    sys.exit(main())
