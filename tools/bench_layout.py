"""Hold the cost model of layouts to what is measured: channels first, last, and as it chooses.

    python -m tools.bench_layout [MODEL...] [--backend numpy] [--backend jax] [--rounds 15]

Each model, optimized at O2 and at its first input size, is compiled three times: as it is, with
channels last wherever that is possible, and as the pass `layout` chooses. The three must give the
same results up to rounding. Calls are timed in turns, in one process, on one thread; compiling in
processor time. Shown are the median of the turns' medians in milliseconds, what the cost model
predicts of the parts that depend on layouts, and whether both agree on what wins: where they
differ by less than the margin below which the pass changes nothing, either is right.

    python -m tools.bench_layout --figures [MODEL...] [--backend numpy]

times every convolution and pool of the models, and some other operators, in both layouts, alone,
and shows the figures that fit best, as they stand in passes/layout/cost.py, in microseconds.

Exit status: 0 if model and measurement agree and no choice loses, 1 if not, 2 wrong usage, 3 a
model cannot be had.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import chain
from math import prod
from statistics import median
from typing import Any

import numpy as np
import onnx

import graphopt
from graphopt.errors import UsageError
from graphopt.frontends.onnx import from_proto
from graphopt.fusion import expanded
from graphopt.graph import Graph
from graphopt.ir import Node
from graphopt.ops.channels_last import TO_LAST
from graphopt.ops.conv_transpose import conv_transpose
from graphopt.ops.movement import depth_to_space, space_to_depth
from graphopt.ops.normalization import (
    batch_normalization,
    group_normalization,
    instance_normalization,
)
from graphopt.ops.norms import lrn
from graphopt.ops.pool import average_pool, max_pool
from graphopt.ops.pool_global import global_average_pool
from graphopt.ops.resize import resize
from graphopt.ops.softmax import softmax
from graphopt.passes.layout.cost import TARGETS, Amounts, Target, amounts_of
from graphopt.passes.layout.forms import relaid, works
from graphopt.passes.layout.layout import Images, Layout
from graphopt.passes.movement.permuted import permuted
from graphopt.passes.movement.transposes import moved
from graphopt.pipeline import Context
from graphopt.specialize import specialize
from graphopt.structural import constant, graph_input
from graphopt.types import DType, TensorType
from tools import latency_race, models, zoo
from tools.latency_peaks import blas_kernels
from tools.seeded import seeded

MODELS = ("oww_embedding", "ppocr_cls", "light_squeezenet", "light_densenet121", "nudenet_yolov8n")
MARGIN = 0.05
"""By how much times may differ, and count as the same."""
TOLERANCE = 1e-3
DEAR = Amounts(calls=1e9)


@dataclass(frozen=True)
class Row:
    """Milliseconds of a model by way (first, last, auto): measured, predicted, compiling."""

    name: str
    backend: str
    measured: Mapping[str, float]
    predicted: Mapping[str, float]
    compiling: Mapping[str, float]

    @property
    def agrees(self) -> bool:
        """Whether the same layout of the whole wins, as predicted and as measured."""
        told, seen = (each["last"] / each["first"] for each in (self.predicted, self.measured))
        return abs(told - 1) < MARGIN or abs(seen - 1) < MARGIN or (told < 1) is (seen < 1)

    @property
    def loses(self) -> bool:
        """Whether what is chosen is slower than leaving it as it is."""
        return self.measured["auto"] > self.measured["first"] * (1 + MARGIN)

    def __str__(self) -> str:
        parts = (
            " ".join(f"{each[way]:8.2f}" for way in ("first", "last", "auto"))
            for each in (self.measured, self.predicted, self.compiling)
        )
        verdict = ("agree" if self.agrees else "DIFFER") + (", LOSES" if self.loses else "")
        return "  ".join((f"{self.name:18} {self.backend:5}", *parts, verdict))


HEADER = f"{'':24}  {'measured ms':26}  {'predicted ms':26}  {'compiling, CPU ms':26}\n{'':24}" + (
    f"  {'first':>8} {'last':>8} {'auto':>8}" * 3
)


def loaded(name: str) -> tuple[Graph, tuple[Any, ...]]:
    """A development model, optimized for the shapes of its first inputs; these. May raise."""
    proto: Any = onnx.load(models.fetch(name))  # pyright: ignore[reportUnknownMemberType]
    if name.startswith("light_"):
        proto = seeded(proto)
    feeds = zoo.feeds_of(name, zoo.runtime(proto))[0]
    graph = specialize(from_proto(proto), shapes={k: v.shape for k, v in feeds.items()})
    return expanded(graphopt.optimize(graph)), tuple(feeds[each] for each in graph.input_names)


def all_last(graph: Graph) -> Graph:
    """A graph with channels last wherever that is possible, whatever it costs."""
    kinds = ("conv", "point", "depthwise", "group", "pool", "whole")
    wanted = Target("last", dict.fromkeys(kinds, (DEAR, Amounts())), (Amounts(1), Amounts(1)))
    images = Images(graph, TO_LAST, target=wanted)
    chosen = images.chosen(lambda: None)
    return graph if chosen is None else moved(images, chosen, Context())


def measure(name: str, backend: str, rounds: int) -> Row:
    """Compile and time a model in three ways. Raises FetchError, AssertionError if they differ."""
    graph, inputs = loaded(name)
    auto = graphopt.optimize(graph, [Layout(backend)], strict=True)
    ways = {"first": graph, "last": all_last(graph), "auto": auto}
    same = {way: "first" for way, each in ways.items() if each.outputs == graph.outputs}
    runs: dict[str, Any] = {}
    compiling: dict[str, float] = {}
    for way, each in ways.items():
        if way != same.get(way, way):
            runs[way], compiling[way] = runs["first"], compiling["first"]
            continue
        start = time.process_time()
        runs[way] = graphopt.compile(each, backend, threads=1, layout="keep")
        runs[way].prepare(*inputs)
        compiling[way] = (time.process_time() - start) * 1e3
    expected = runs["first"](*inputs)
    for way in ("last", "auto"):
        for ours, theirs in zip(runs[way](*inputs), expected, strict=True):
            gap = zoo.difference(np.asarray(ours), np.asarray(theirs))
            if gap > TOLERANCE:
                raise AssertionError(f"{name}, {way}: results differ by {gap:g}")

    def call(way: str) -> Any:
        run = runs[way]
        return lambda: [np.asarray(each) for each in run(*inputs)]

    measured = turns({way: call(way) for way in ways if way == same.get(way, way)}, rounds)
    measured = {way: measured[same.get(way, way)] for way in ways}
    target = TARGETS[backend]
    predicted = {
        way: Images(each, TO_LAST, target=target).seconds() * 1e3 for way, each in ways.items()
    }
    return Row(name, backend, measured, predicted, compiling)


def turns(calls: Mapping[str, latency_race.Call], rounds: int) -> dict[str, float]:
    """Milliseconds of calls; ratios to the first are medians of those within rounds."""
    base = next(iter(calls))
    medians: dict[str, list[float]] = {way: [] for way in calls}
    for _ in range(rounds):
        for way, found in latency_race.race(calls, 1).items():
            medians[way].append(found.median)
    ratios = {
        way: median(a / b for a, b in zip(found, medians[base], strict=True))
        for way, found in medians.items()
    }
    return {way: median(medians[base]) * ratio * 1e3 for way, ratio in ratios.items()}


# The figures.


SIZES = ((16, 80), (32, 56), (64, 40), (128, 20), (256, 14), (512, 8))
"""Channels, and rows and columns, of images for operators that few models have."""


def others() -> Iterator[Node]:
    """Nodes of operators that few models have."""
    for c, side in SIZES:
        x = graph_input("x", TensorType(DType.FLOAT32, (1, c, side, side)))
        vectors = [filled(0.5 + k, c) for k in range(4)]
        yield batch_normalization(x, *vectors)
        yield instance_normalization(x, *vectors[:2])
        yield group_normalization(x, *vectors[:2], num_groups=8)
        yield lrn(x, size=5)
        yield global_average_pool(x)
        yield softmax(x, axis=1)
        for mode in ("nearest", "linear"):
            yield resize(x, None, constant([2, 2], DType.FLOAT32), axes=(2, 3), mode=mode)
        for blocksize in (2, 4):
            yield depth_to_space(x, blocksize=blocksize)
        yield space_to_depth(x, blocksize=2)
        for size in (2, 3, 4):
            filters = filled(0.1, c, c // 2, size, size)
            yield conv_transpose(x, filters, strides=(2, 2), pads=(size - 2, 0, 1, 1))
        for size, stride in ((2, 2), (3, 1), (3, 2), (5, 1)):
            attrs = {"kernel_shape": (size, size), "strides": (stride, stride)}
            yield max_pool(x, **attrs)
            yield average_pool(x, **attrs)


def filled(number: float, *shape: int) -> Node:
    """A constant of numbers from one on."""
    return constant(np.linspace(number, 1 + number, prod(shape), dtype=np.float32).reshape(shape))


def alone(node: Node, backend: str, last: bool, rounds: int = 40) -> float:
    """The microseconds of a node over an image, in a layout; of the fastest call."""
    order = TO_LAST if last else (0, 1, 2, 3)
    shape = tuple(int(str((node.inputs[0].shape or ())[axis])) for axis in order)
    x = graph_input("x", TensorType(node.dtype, shape))
    inputs = (x, *node.inputs[1:])
    if last:
        made = (relaid if works(node) else permuted)(node, TO_LAST, inputs)
    else:
        made = node.with_inputs(inputs)
    graph = Graph((x,), (made,), ("y",))
    run = graphopt.compile(graph, backend, threads=1, layout="keep")
    array = np.random.default_rng(0).standard_normal(shape).astype(node.dtype.numpy)
    seconds = [latency_race.seconds_of(lambda: np.asarray(run(array)[0])) for _ in range(rounds)]
    return min(seconds) * 1e6


def fitted(amounts: Sequence[Amounts], seen: Sequence[float]) -> Amounts:
    """The prices, none below 0, by which amounts explain times best, all times counting alike."""
    names = [each.name for each in fields(Amounts)]
    scaled = np.array([[getattr(each, name) for name in names] for each in amounts], np.float64)
    scaled /= np.array(seen)[:, None]
    kept = [k for k in range(len(names)) if scaled[:, k].any()]
    while kept:
        found = np.linalg.lstsq(scaled[:, kept], np.ones(len(seen)), rcond=None)[0]
        if (found >= 0).all():
            return Amounts(**{names[k]: float(x) for k, x in zip(kept, found, strict=True)})
        kept.pop(int(np.argmin(found)))
    return Amounts()


def figures(names: Sequence[str], backend: str) -> None:
    """Show the figures of a backend that fit what is measured best."""
    nodes: dict[tuple[Any, ...], Node] = {}
    for node in chain(*(loaded(name)[0].nodes for name in names), others()):
        if amounts_of(node, True)[0] and (works(node) or node.op is softmax):
            types = tuple(item.derived_type for item in node.inputs[:2])
            nodes.setdefault((node.op, types, str(node.attrs)), node)
    kinds: dict[str, list[tuple[Node, tuple[Amounts, Amounts]]]] = {}
    for node in nodes.values():
        kind, amounts = amounts_of(node, True)
        kinds.setdefault(kind, []).append((node, amounts))
    for kind, found in kinds.items():
        times = [[alone(node, backend, last) for node, _ in found] for last in (False, True)]
        print(f"{kind}: {len(found)} nodes")
        for last in (False, True):
            made = fitted([amounts[last] for _, amounts in found], times[last])
            print(f"  {'last ' if last else 'first'} {made}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run; see the module's text."""
    chosen = _parser().parse_args(arguments)
    backends: list[str] = chosen.backend or list(TARGETS)
    names: list[str] = chosen.models or list(MODELS)
    failed = False
    try:
        print(f"BLAS: {blas_kernels()}")
        if chosen.figures:
            for backend in backends:
                print(backend)
                figures(names, backend)
            return 0
        print(HEADER)
        for name in names:
            for backend in backends:
                row = measure(name, backend, chosen.rounds)
                failed |= row.loses or not row.agrees
                print(row, flush=True)
    except models.FetchError as error:
        print(error, file=sys.stderr)
        return 3
    except UsageError as error:
        print(error, file=sys.stderr)
        return 2
    return int(failed)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tools.bench_layout")
    parser.add_argument("models", nargs="*", metavar="MODEL", choices=[*models.names(), []])
    parser.add_argument("--backend", action="append", choices=list(TARGETS))
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--figures", action="store_true")
    return parser


if __name__ == "__main__":
    sys.exit(main())
