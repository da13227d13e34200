"""Measure graphopt beside its peers: nodes, bytes and CPU seconds of load + optimize + save.

    python -m tools.bench [--peers PYTHON] [--rounds 3] [MODEL...]
    python -m tools.bench --scale

Each run is a process of its own; the CPU time counts from after the imports. Runs are interleaved
and medians are shown. Peers (OnnxSlim, onnxsim, onnxoptimizer, onnxscript, ONNX Runtime's offline
optimizer at EXTENDED) run at their defaults under the interpreter that --peers names, this one by
default; one that is not installed is left out. `bench_nodes` says what counts as a node and
`bench_peers` which results are out of the comparison; both are told under the table. --scale
optimizes chains of 1 000 to 100 000 nodes and prints the slope of CPU time over size on
logarithmic axes.

Exit status: 0 when graphopt leaves at most the nodes of the best peer on every model, 1 when not,
2 when no peer is installed, 3 when a model cannot be had.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tools import bench_peers, models
from tools.bench_peers import Result


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
            seconds = statistics.median(_seconds(source, target) for _ in range(rounds))
            print(f"{length:>8} nodes {seconds:8.3f} s CPU {seconds / length * 1e6:8.1f} us a node")
            points.append((math.log(length), math.log(seconds)))
    (x0, y0), (x1, y1) = points[0], points[-1]
    print(f"log-log slope {(y1 - y0) / (x1 - x0):.3f}")


def _seconds(source: Path, target: Path) -> float:
    told = bench_peers.run(sys.executable, bench_peers.GRAPHOPT, source, target)
    if isinstance(told, str):
        raise RuntimeError(told)
    return float(told["seconds"])


def measure(name: str, pythons: Mapping[str, str], rounds: int, folder: Path) -> list[Result]:
    """What each tool makes of a model. Raises FetchError."""
    source = models.fetch(name)
    told = bench_peers.optimize(pythons, source, folder, rounds)
    return [
        bench_peers.judge(name, source, folder / f"{tool}.onnx", tool, told[tool])
        for tool in pythons
    ]


def cell(result: Result) -> str:
    """A result's cell: nodes / bytes / CPU milliseconds."""
    if not result.size:
        return "fails"
    return f"{result.nodes} / {result.size} / {result.seconds * 1e3:.0f}"


def compare(names: Sequence[str], pythons: Mapping[str, str], rounds: int) -> int:
    """Print the table of all models and tools, then the verdicts; how many models are lost."""
    print("| model | " + " | ".join(pythons) + " |")
    print("|---|" + "---|" * len(pythons))
    verdicts: list[str] = []
    refusals: list[str] = []
    lost = 0
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            results = measure(name, pythons, rounds, Path(folder))
            print(f"| {name} | " + " | ".join(map(cell, results)) + " |", flush=True)
            held, line = bench_peers.verdict(results)
            lost += not held
            verdicts.append(f"{name}: {line}")
            refusals += [f"{name}, {r.tool}: {r.refusal}" for r in results if r.refusal]
    print("\nOut of the comparison:", *refusals, sep="\n  ")
    print("\nNodes left, Constants and ConstantOfShape of constants aside:", *verdicts, sep="\n  ")
    print(f"\n{lost} of {len(names)} models have more nodes than the best peer leaves")
    return lost


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the command line asks for; the exit status."""
    parser = argparse.ArgumentParser(description="Measure graphopt beside its peers.")
    parser.add_argument("models", nargs="*", metavar="MODEL")
    parser.add_argument("--peers", default=sys.executable, metavar="PYTHON")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--scale", action="store_true")
    chosen = parser.parse_args(arguments)
    if chosen.scale:
        scale(chosen.rounds)
        return 0
    pythons, absent = bench_peers.interpreters(chosen.peers)
    for tool in absent:
        print(f"bench: {tool} is left out: {chosen.peers} cannot import it", file=sys.stderr)
    if len(pythons) == 1:
        print("bench: no peer is installed; --peers names an interpreter", file=sys.stderr)
        return 2
    try:
        return 1 if compare(chosen.models or models.names(), pythons, chosen.rounds) else 0
    except models.FetchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 3


if __name__ == "__main__":
    sys.exit(main())
