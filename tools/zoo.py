"""Optimize every development model and hold the result to the original.

    python -m tools.zoo [--level O2] [MODEL...]

For each model: load, optimize and save; onnx.checker accepts the result (full check); ONNX Runtime
with its optimizations off gives the same outputs for the original and the result, at every input
size; the reference backend gives what ONNX Runtime gives. `light_*` run with seeded random weights.
Exit status: 0 when all of that held for all models, else 1.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, cast

import numpy as np
import onnx

import graphopt
from graphopt.backends import reference
from graphopt.check import shake
from graphopt.frontends.onnx import from_proto, to_proto
from tools import model_inputs, models
from tools.seeded import seeded

OPAQUE = ("voicefilter_int8", "logreg_iris")
INT8 = ("minilm_int8", "voicefilter_int8")
Feeds = Mapping[str, Any]


@dataclass(frozen=True)
class Outcome:
    """What one model showed. Differences are max|d| / max|ref| over all outputs and sizes.

    `tolerance` is 1e-4 (2e-3 for int8), or four times what noise of 1e-7 in the inputs does.
    """

    name: str
    nodes: tuple[int, int]
    size: tuple[int, int]
    seconds: float
    against_original: float
    reference_against_runtime: float
    tolerance: float

    @property
    def passed(self) -> bool:
        """Whether both differences are within the tolerance."""
        worst = max(self.against_original, self.reference_against_runtime)
        return worst <= self.tolerance


def difference(got: Any, wanted: Any) -> float:
    """max|got - wanted| / max|wanted|; inf where shapes, dtypes or places of NaN differ."""
    if isinstance(wanted, list | dict):
        return 0.0 if _plain(got) == _plain(wanted) else float("inf")
    a, b = np.asarray(got), np.asarray(wanted)
    if a.shape != b.shape or a.dtype != b.dtype:
        return float("inf")
    if a.dtype.kind not in "fiu":
        return 0.0 if np.array_equal(a, b) else float("inf")
    a, b = a.astype(np.float64), b.astype(np.float64)
    special = ~np.isfinite(b)
    if not np.array_equal(a[special], b[special], equal_nan=True):
        return float("inf")
    if not np.isfinite(a[~special]).all():
        return float("inf")
    gap = np.abs(a[~special] - b[~special]).max(initial=0.0)
    return float(gap / max(np.abs(b[~special]).max(initial=0.0), 1e-30))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: float(item) for key, item in cast("Mapping[Any, Any]", value).items()}
    if isinstance(value, list):
        return [_plain(item) for item in cast("Sequence[Any]", value)]
    return value


def runtime(proto: onnx.ModelProto) -> Any:
    """An ONNX Runtime session with its optimizations off."""
    onnxruntime: Any = import_module("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(
        proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def feeds_of(name: str, session: Any) -> list[dict[str, Any]]:
    """All input sets of a model."""
    types = {item.name: _dtype(item.type) for item in session.get_inputs()}
    count = model_inputs.sizes(name)
    return [model_inputs.feeds(name, k, types) for k in range(count)]


def _dtype(kind: str) -> Any:
    label = kind.removeprefix("tensor(").removesuffix(")")
    return {"float": np.float32, "double": np.float64, "bool": np.bool_}.get(label, label)


def node_count(proto: onnx.ModelProto) -> int:
    """Nodes of a model and its subgraphs, without Constant nodes."""
    pending, count = [proto.graph], 0
    while pending:
        for node in pending.pop().node:
            count += node.op_type != "Constant"
            pending += (item.g for item in node.attribute if item.HasField("g"))
    return count


def check_model(name: str, level: str = "O2") -> Outcome:
    """Optimize one development model and hold the result to the original.

    `light_*` are held with seeded weights, and as they ship they must go through as well. Raises
    what goes wrong on the way.
    """
    shipped = onnx.load(models.fetch(name))  # pyright: ignore[reportUnknownMemberType]
    if not name.startswith("light_"):
        return check_proto(name, shipped, level)
    result = to_proto(graphopt.optimize(from_proto(shipped), level, strict=True))
    check_valid(result)
    runtime(result)
    return check_proto(name, seeded(shipped), level)


def check_valid(model: onnx.ModelProto) -> None:
    """Raise what onnx.checker has against a model, by its full check."""
    onnx.checker.check_model(model, full_check=True)  # pyright: ignore[reportUnknownMemberType]


def check_proto(name: str, original: onnx.ModelProto, level: str = "O2") -> Outcome:
    """Optimize a model and hold the result to it, on the inputs that go by `name`."""
    started = time.perf_counter()
    graph = from_proto(original)
    optimized = graphopt.optimize(graph, level, strict=True)
    result = to_proto(optimized)
    seconds = time.perf_counter() - started
    check_valid(result)
    before, after = runtime(original), runtime(result)
    changed = told = sensitivity = 0.0
    for feeds in feeds_of(name, before):
        wanted = before.run(None, feeds)
        noisy = {key: shake(item, np.random.default_rng(0)) for key, item in feeds.items()}
        shaken = before.run(None, noisy)
        sensitivity = max(sensitivity, *map(difference, shaken, wanted))
        changed = max(changed, *map(difference, after.run(None, feeds), wanted))
        if name not in OPAQUE:
            got = reference.run(optimized, feeds)
            told = max(told, *map(difference, got, wanted))
    return Outcome(
        name,
        (node_count(original), node_count(result)),
        (original.ByteSize(), result.ByteSize()),
        seconds,
        changed,
        told,
        max(2e-3 if name in INT8 else 1e-4, 4 * sensitivity),
    )


def main() -> int:
    """Check the models that the command line names, all without a name."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("models", nargs="*", metavar="MODEL")
    parser.add_argument("--level", default="O2")
    chosen = parser.parse_args()
    print(f"{'model':<24}{'nodes':>14}{'bytes':>24}{'ms':>9}{'vs original':>13}{'reference':>12}")
    failed = 0
    for name in chosen.models or models.names():
        try:
            seen = check_model(name, chosen.level)
        except Exception as error:
            failed += 1
            print(f"{name:<24}  FAILED: {type(error).__name__}: {error}", flush=True)
            continue
        failed += not seen.passed
        nodes = f"{seen.nodes[0]} -> {seen.nodes[1]}"
        size = f"{seen.size[0]} -> {seen.size[1]}"
        row = f"{name:<24}{nodes:>14}{size:>24}{seen.seconds * 1e3:>9.0f}"
        row += f"{seen.against_original:>13.1e}{seen.reference_against_runtime:>12.1e}"
        print(row + ("" if seen.passed else "  FAILED"), flush=True)
    print(f"{failed} failed" if failed else "all checks passed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
