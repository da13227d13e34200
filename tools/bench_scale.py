"""Measure how the CPU time of the pipelines grows with the length of graphs.

    python -m tools.bench_scale [--levels O1,O2,O3] [--graphs muls,mixed] [--sizes 1000,10000]

Each graph is built here, of nodes that rules look at, and optimized in this process; what is shown
is CPU time, which no other process disturbs, for a node of the original, and its slope over the
number of nodes on logarithmic axes; then, for the longest graph, each pass by itself.

Exit status 1: a slope is above --limit.
"""

from __future__ import annotations

import argparse
import math
import random
import resource
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

import graphopt
from graphopt.body import Body
from graphopt.graph import Graph
from graphopt.ir import Node, walk
from graphopt.ops.activation import relu, sigmoid
from graphopt.ops.arithmetic import add, mul, sub
from graphopt.ops.control import if_
from graphopt.ops.conv import conv
from graphopt.ops.functions import neg, sqrt
from graphopt.ops.linalg import matmul
from graphopt.ops.movement import transpose
from graphopt.ops.reduction import reduce_mean
from graphopt.ops.shape import reshape, shape
from graphopt.ops.slicing import concat, slice_, split
from graphopt.pipeline import Pass
from graphopt.report import PassRecord
from graphopt.structural import constant, graph_input, input_op, out
from graphopt.types import DType, TensorType

ROWS, COLUMNS = 8, 16
KIND = TensorType(DType.FLOAT32, (ROWS, COLUMNS))
WIDTH = 8
"""So many values are carried along in a mixed graph."""
Draw = random.Random
Step = Callable[[Draw, Node, Node], Node]


def numbers(rng: Draw, *sizes: int) -> Node:
    """A constant of drawn numbers, one of 64 of its shape."""
    drawn = np.random.default_rng(rng.randrange(64)).standard_normal(sizes)
    return constant(drawn.astype(np.float32))


def ints(*items: int) -> Node:
    """A vector of integers."""
    return constant(np.array(items, np.int64))


def affine(rng: Draw, x: Node, y: Node) -> Node:
    """A product with a constant, plus another one."""
    node: Node = add(mul(x, numbers(rng, 1)), numbers(rng, COLUMNS))
    return node


def turned(rng: Draw, x: Node, y: Node) -> Node:
    """Something done to a transposed value."""
    node: Node = transpose(rng.choice((relu, neg))(transpose(x, perm=(1, 0))), perm=(1, 0))
    return node


def reshaped(rng: Draw, x: Node, y: Node) -> Node:
    """Something done to a value in another shape, told by the shape of a third one."""
    other = reshape(x, ints(ROWS // 2, 2, COLUMNS))
    node: Node = reshape(rng.choice((relu, sigmoid))(other), shape(y))
    return node


def joined(rng: Draw, x: Node, y: Node) -> Node:
    """A part of two values put together."""
    begin = rng.randrange(ROWS)
    node: Node = slice_(concat(x, y, axis=0), ints(begin), ints(begin + ROWS), ints(0))
    return node


def parted(rng: Draw, x: Node, y: Node) -> Node:
    """The same done to the parts of a value, put together in another order."""
    both = split(x, num_outputs=2, outputs=2, axis=1)
    node: Node = concat(sigmoid(out(both, 1)), sigmoid(out(both, 0)), axis=1)
    return node


def product(rng: Draw, x: Node, y: Node) -> Node:
    """A product of matrices, and a bias."""
    node: Node = add(matmul(x, numbers(rng, COLUMNS, COLUMNS)), numbers(rng, COLUMNS))
    return node


def convolved(rng: Draw, x: Node, y: Node) -> Node:
    """A convolution, and a factor for each channel."""
    made = conv(reshape(x, ints(1, ROWS, COLUMNS)), numbers(rng, ROWS, ROWS, 1))
    node: Node = reshape(mul(made, numbers(rng, ROWS, 1)), ints(ROWS, COLUMNS))
    return node


def normalized(rng: Draw, x: Node, y: Node) -> Node:
    """A value less its mean, a sum of others, a root."""
    centred = sub(x, reduce_mean(x, ints(1)))
    node: Node = sqrt(add(add(mul(centred, centred), y), x))
    return node


def chosen(rng: Draw, x: Node, y: Node) -> Node:
    """One of two branches."""
    a, b = graph_input("a", KIND), graph_input("b", KIND)
    branches = (relu(mul(a, b)), relu(mul(a, numbers(rng, 1))))
    then, other = (Body.close((), (a, b), (item,)) for item in branches)
    node: Node = if_(CONDITION, x, y, then_branch=then, else_branch=other)
    return node


CONDITION = graph_input("condition", TensorType(DType.BOOL, ()))
STEPS: Sequence[Step] = (
    affine, turned, reshaped, joined, parted, product, convolved, normalized, chosen,
)  # fmt: skip


def mixed(length: int, steps: Sequence[Step] = STEPS) -> Graph:
    """About `length` nodes of all kinds that rules look at, over a few values side by side."""
    rng = random.Random(length)
    inputs = [graph_input(f"x{k}", KIND) for k in range(WIDTH)]
    values, made = list(inputs), 0
    while made < length:
        k, other = rng.randrange(WIDTH), rng.randrange(WIDTH)
        values[k] = rng.choice(steps)(rng, values[k], values[other])
        made += 3
    names = tuple(f"y{k}" for k in range(WIDTH))
    return Graph((*inputs, CONDITION), tuple(values), names)


def chain(step: Callable[[int, Node], Node]) -> Callable[[int], Graph]:
    """Graphs of one step after the other."""

    def made(length: int) -> Graph:
        first = node = graph_input("x", KIND)
        for k in range(length):
            node = step(k, node)
        inputs = tuple(item for item in walk((first, node)) if item.op is input_op)
        return Graph(inputs, (node,), ("y",))

    return made


def _mul(k: int, x: Node) -> Node:
    node: Node = mul(x, constant(np.float32(1 + (k % 97) / 128)))
    return node


def _add(k: int, x: Node) -> Node:
    node: Node = add(x, graph_input(f"x{k % 7}", KIND)) if k % 3 else relu(x)
    return node


def _turn(k: int, x: Node) -> Node:
    node: Node = sigmoid(x) if k % 2 else transpose(x, perm=(1, 0))
    return node


def _matmul(k: int, x: Node) -> Node:
    node: Node = relu(x) if k % 2 else matmul(x, numbers(random.Random(k), COLUMNS, COLUMNS))
    return node


def fan(length: int) -> Graph:
    """Many users of one value, and one sum of them all, two by two."""
    x = graph_input("x", KIND)
    layer: list[Node] = [mul(x, constant(np.float32(k + 2))) for k in range(length // 2)]
    while len(layer) > 1:
        pairs = zip(layer[::2], layer[1::2], strict=False)
        layer = [*(sub(a, b) for a, b in pairs), *layer[len(layer) // 2 * 2 :]]
    return Graph((x,), tuple(layer), ("y",))


GRAPHS: Mapping[str, Callable[[int], Graph]] = {
    "muls": chain(_mul),
    "adds": chain(_add),
    "transposes": chain(_turn),
    "matmuls": chain(_matmul),
    "fan": fan,
    "mixed": mixed,
}


@dataclass
class Clock:
    """A listener that adds up the CPU time of passes by name."""

    seconds: dict[str, float] = field(default_factory=dict[str, float])
    runs: Counter[str] = field(default_factory=Counter[str])
    _began: float = 0.0

    def before(self, pass_: Pass, graph: Graph) -> None:
        """A pass is about to run."""
        self._began = time.process_time()

    def after(self, pass_: Pass, before: Graph, after: Graph, record: PassRecord) -> None:
        """A pass has run."""
        spent = time.process_time() - self._began
        self.seconds[pass_.name] = self.seconds.get(pass_.name, 0.0) + spent
        self.runs[pass_.name] += 1


@dataclass(frozen=True)
class Measured:
    """What one optimization took, in CPU seconds, and of passes; nodes before and after."""

    before: int
    after: int
    seconds: float
    clock: Clock


def measure(graph: Graph, level: str) -> Measured:
    """Optimize a graph once."""
    clock, began = Clock(), time.process_time()
    made = graphopt.optimize(graph, level, listeners=(clock,))
    seconds = time.process_time() - began
    if made.report is not None and made.report.failures:
        raise RuntimeError(made.report.failures[0].error)
    return Measured(len(graph), len(made), seconds, clock)


def slope(points: Sequence[Measured]) -> float:
    """How CPU time grows from the shortest graph to the longest: 1 is linear."""
    first, last = points[0], points[-1]
    if last.before <= first.before:
        return 0.0
    return math.log(last.seconds / first.seconds) / math.log(last.before / first.before)


def show(name: str, level: str, sizes: Sequence[int]) -> float:
    """Measure graphs of one kind at a level, print it; the slope."""
    measured = list[Measured]()
    for size in sizes:
        made = measure(GRAPHS[name](size), level)
        measured.append(made)
        print(
            f"{name:>12} {level} {made.before:>7} -> {made.after:>7} nodes {made.seconds:8.2f} s"
            f" {made.seconds / made.before * 1e6:7.1f} us a node {memory():6.0f} MB at most",
            flush=True,
        )
    last, found = measured[-1], slope(measured)
    each = ", ".join(
        f"{key} {seconds / last.before * 1e6:.1f} ({last.clock.runs[key]} runs)"
        for key, seconds in sorted(last.clock.seconds.items(), key=lambda item: -item[1])
    )
    print(f"{name:>12} {level} slope {found:.2f}; us a node: {each}", flush=True)
    return found


def memory() -> float:
    """The most memory that this process has had, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the command line asks for; the exit status."""
    parser = argparse.ArgumentParser(description="Measure how CPU time grows with graphs.")
    parser.add_argument("--levels", default="O1,O2,O3")
    parser.add_argument("--graphs", default=",".join(GRAPHS))
    parser.add_argument("--sizes", default="1000,10000")
    parser.add_argument("--limit", type=float, default=1.1)
    chosen = parser.parse_args(arguments)
    sizes = [int(size) for size in chosen.sizes.split(",")]
    measure(mixed(500), "O3")  # imports and caches
    slopes = [
        show(name, level, sizes)
        for name in chosen.graphs.split(",")
        for level in chosen.levels.split(",")
    ]
    return 1 if max(slopes) > chosen.limit else 0


if __name__ == "__main__":
    sys.exit(main())
