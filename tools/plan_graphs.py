"""Five abstract graphs for planners: what networks look like once only bytes and times are left.

Costs and sizes are round numbers, chosen so that the graphs differ in what they ask of a planner:
`resnet` has hardly anything to overlap, `transformer` a third, `inception` four even branches that
join often, `lstm` a wavefront of small cells, `random` no structure at all.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from graphopt.engine.plan.steps import Buffer, Step, StepGraph

KIB = 1024


class _Net:
    """A graph in the making. A value is the name of its buffer and of the step that writes it."""

    def __init__(self) -> None:
        self.buffers: list[Buffer] = []
        self.steps: list[Step] = []

    def input(self, name: str, kib: int) -> str:
        """A buffer that the caller fills."""
        self.buffers.append(Buffer(name, kib * KIB, "input"))
        return name

    def op(self, name: str, reads: Sequence[str], kib: int, micros: float) -> str:
        """A step with one result, which lies apart from what it reads."""
        self.buffers.append(Buffer(name, kib * KIB))
        self.steps.append(Step(name, None, tuple(reads), (), (name,), micros * 1e-6))
        return name

    def map(self, name: str, reads: Sequence[str], kib: int, micros: float) -> str:
        """An element-wise step: its result may take the place of anything it reads."""
        self.op(name, reads, kib, micros)
        step = self.steps.pop()
        self.steps.append(Step(name, None, step.read, (), step.write, step.cost, step.read))
        return name

    def done(self, reads: Sequence[str], micros: float) -> StepGraph:
        """The graph, closed by a step that writes a small output."""
        self.buffers.append(Buffer("out", 4 * KIB, "output"))
        self.steps.append(Step("out", None, tuple(reads), (), ("out",), micros * 1e-6))
        return StepGraph(self.buffers, self.steps)


def resnet() -> StepGraph:
    """50 layers: bottleneck blocks in a row, a projection beside the first of each stage."""
    net = _Net()
    x = net.op("stem", [net.input("x", 588)], 3136, 1500)
    x = net.map("stem.bn", [x], 3136, 150)
    x = net.map("stem.relu", [x], 3136, 150)
    x = net.op("pool", [x], 784, 100)
    for stage, (width, repeats) in enumerate(((784, 3), (392, 4), (196, 6), (98, 3))):
        for block in range(repeats):
            at = f"{stage}.{block}"
            skip = net.op(f"{at}.project", [x], 4 * width, 350) if block == 0 else x
            y = x
            for part, (kib, micros) in enumerate(((width, 400), (width, 900), (4 * width, 450))):
                y = net.op(f"{at}.conv{part}", [y], kib, micros)
                y = net.map(f"{at}.bn{part}", [y], kib, 30)
                if part < 2:
                    y = net.map(f"{at}.relu{part}", [y], kib, 30)
            y = net.map(f"{at}.add", [y, skip], 4 * width, 60)
            x = net.map(f"{at}.relu", [y], 4 * width, 40)
    return net.done([net.op("mean", [x], 8, 50)], 300)


def transformer() -> StepGraph:
    """Six layers with eight attention heads each."""
    net = _Net()
    x = net.op("embed", [net.input("x", 256)], 256, 60)
    for layer in range(6):
        at = f"{layer}"
        y = net.op(f"{at}.norm0", [x], 256, 60)
        qkv = net.op(f"{at}.qkv", [y], 768, 600)
        qkv = net.map(f"{at}.qkv.bias", [qkv], 768, 30)
        heads = list[str]()
        for head in range(8):
            z = net.op(f"{at}.{head}.scores", [qkv], 64, 115)
            z = net.map(f"{at}.{head}.scale", [z], 64, 35)
            z = net.map(f"{at}.{head}.softmax", [z], 64, 60)
            heads.append(net.op(f"{at}.{head}.mix", [z, qkv], 32, 100))
        y = net.op(f"{at}.join", heads, 256, 30)
        y = net.op(f"{at}.project", [y], 256, 180)
        y = net.map(f"{at}.project.bias", [y], 256, 20)
        x = net.map(f"{at}.add0", [x, y], 256, 40)
        y = net.op(f"{at}.norm1", [x], 256, 60)
        y = net.op(f"{at}.expand", [y], 1024, 450)
        y = net.map(f"{at}.bias", [y], 1024, 60)
        y = net.map(f"{at}.gelu", [y], 1024, 160)
        y = net.op(f"{at}.shrink", [y], 256, 430)
        y = net.map(f"{at}.shrink.bias", [y], 256, 20)
        x = net.map(f"{at}.add1", [x, y], 256, 40)
    return net.done([x], 100)


def inception() -> StepGraph:
    """Nine blocks of four branches of one to three convolutions."""
    net = _Net()
    x = net.op("stem", [net.input("x", 588)], 400, 200)
    for block in range(9):
        ends = list[str]()
        for branch, depth in enumerate((1, 2, 3, 1)):
            y = x
            for part in range(1, depth + 1):
                at = f"{block}.{branch}.{part}"
                kib = 100 if part == depth else 32
                y = net.op(f"{at}.conv", [y], kib, (900 if branch == 3 else 1160) / depth)
                y = net.map(f"{at}.relu", [y], kib, 30)
            ends.append(y)
        x = net.op(f"{block}.join", ends, 400, 110)
        if block % 3 == 2:
            x = net.op(f"{block}.pool", [x], 400, 90)
    return net.done([x], 100)


def lstm() -> StepGraph:
    """Four layers by forty time steps, written layer by layer; what may overlap is a wavefront."""
    net = _Net()
    row = [net.input(f"x{time}", 64) for time in range(40)]
    for layer in range(4):
        hidden, cell = net.input(f"h{layer}", 64), net.input(f"c{layer}", 64)
        for time in range(40):
            at = f"{layer}.{time}"
            new = net.op(f"{at}.new", [row[time]], 256, 250)
            old = net.op(f"{at}.old", [hidden], 256, 250)
            gates = net.map(f"{at}.gates", [new, old], 256, 40)
            gates = net.map(f"{at}.act", [gates], 256, 80)
            cell = net.map(f"{at}.cell", [gates, cell], 64, 40)
            bound = net.map(f"{at}.tanh", [cell], 64, 30)
            row[time] = hidden = net.map(f"{at}.hidden", [gates, bound], 64, 30)
    return net.done([row[-1]], 100)


def unstructured() -> StepGraph:
    """400 steps on up to three of some 14 values still open; which ones, a generator drew."""
    draw = random.Random(2)
    net = _Net()
    source = net.input("x", 64)
    pool: list[str] = []
    last = ""
    for index in range(400):
        if not pool or (len(pool) < 14 and draw.random() < 0.35):
            reads = [source]
        else:
            reads = draw.sample(pool, min(len(pool), draw.choice((1, 2, 2, 3))))
            if draw.random() < 0.5 and last:
                reads = list(dict.fromkeys([last, *reads]))
        kib, micros = draw.choice((16, 32, 64, 128, 256)), draw.uniform(50, 500)
        new = (net.map if draw.random() < 0.5 else net.op)(f"n{index}", reads, kib, micros)
        for name in reads:
            if name in pool and (draw.random() > 0.45 or len(pool) > 14):
                pool.remove(name)
        pool.append(new)
        if draw.random() < 0.5 or not last or last in reads:
            last = new
    return net.done(pool, 50)


GRAPHS: Mapping[str, Callable[[], StepGraph]] = MappingProxyType(
    {
        "resnet": resnet,
        "transformer": transformer,
        "inception": inception,
        "lstm": lstm,
        "random": unstructured,
    }
)
