"""Drawn programs of loops and branches: the passes change no bit of their results."""

from __future__ import annotations

from random import Random

import pytest

from graphopt.body import Body
from graphopt.ir import Node
from graphopt.ops.arithmetic import add, mul
from graphopt.ops.control import if_
from graphopt.ops.functions import neg
from graphopt.ops.indexing import gather
from graphopt.ops.linalg import matmul
from graphopt.ops.logic import less, not_
from graphopt.ops.loops import loop, scan
from graphopt.ops.movement import transpose
from graphopt.ops.reduction import reduce_sum
from graphopt.rewriting.examples import example
from graphopt.structural import constant, results
from graphopt.types import DType
from tests.passes.flows import ran

K, GO = example("int64[]", "k"), example("bool[]", "go")
TRIPS = example("int64[]", "trips")
FLAGS = [example("bool[]", name) for name in "pq"]
VALUES = [example("float32[2, 2]", name) for name in "xyz"]
HALF = constant([[0.5, 0.25], [0.0, -1.0]], DType.FLOAT32)


class Draw:
    """Draws programs; `flags` and `values` are what the next node may take."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)

    def program(self) -> list[Node]:
        """Some outputs, all 2 x 2."""
        values = self.nodes([*FLAGS], [*VALUES], 6, 2)
        return self.random.sample(values[3:], min(3, len(values) - 3))

    def nodes(self, flags: list[Node], values: list[Node], count: int, depth: int) -> list[Node]:
        """The values, and `count` nodes more."""
        values = list(values)
        for _ in range(count):
            kind = self.random.choice(("plain", "plain", "plain", "if", "loop", "scan"))
            if kind == "plain" or not depth:
                values.append(self.plain(values))
                continue
            made = getattr(self, f"{kind}_")(flags, values, depth - 1)
            values += self.random.sample(made, self.random.randint(1, len(made)))
        return values

    def plain(self, values: list[Node]) -> Node:
        """A node of no body."""
        x, y = self.random.choice(values), self.random.choice(values)
        made: list[Node] = [neg(x), add(x, y), mul(x, HALF), matmul(x, y), transpose(x)]
        made += [add(x, HALF), gather(x, constant([1, 0]))]
        return self.random.choice(made)

    def flag(self, flags: list[Node], values: list[Node]) -> Node:
        """A condition."""
        total = reduce_sum(self.random.choice(values), keepdims=0)
        computed = less(total, constant(3.0, DType.FLOAT32))
        flag = self.random.choice([*flags, computed, constant(True), constant(False)])
        made: Node = not_(flag) if self.random.random() < 0.3 else flag
        return made

    def captured(self, flags: list[Node], values: list[Node]) -> list[Node]:
        """What a body captures, each once."""
        drawn = self.random.sample(values, min(4, len(values)))
        return [item for item in dict.fromkeys([TRIPS, *flags, *drawn]) if item.constant is None]

    def if_(self, flags: list[Node], values: list[Node], depth: int) -> list[Node]:
        """The outputs of an If, whose branches have a beginning in common."""
        captured = self.captured(flags, values)
        inner = [item for item in captured if item.dtype is DType.FLOAT32]
        known = [item for item in captured if item.dtype is DType.BOOL]
        start = self.nodes(known, inner, 2, 0)
        count = self.random.randint(1, 3)
        bodies: list[Body] = []
        for _ in range(2):
            made = self.nodes(known, start, 2, depth)
            bodies.append(
                Body.close((), captured, [self.random.choice(made) for _ in range(count)])
            )
        predicate = self.flag(flags, values)
        return [
            *results(
                if_(
                    predicate,
                    *captured,
                    then_branch=bodies[0],
                    else_branch=bodies[1],
                    outputs=count,
                )
            )
        ]

    def loop_(self, flags: list[Node], values: list[Node], depth: int) -> list[Node]:
        """The carried outputs of a Loop, and a sum over one that is stacked."""
        carried = [example("float32[2, 2]", f"c{depth}{k}") for k in range(3)]
        captured = self.captured(flags, values)
        inner = [item for item in captured if item.dtype is DType.FLOAT32]
        go = example("bool[]", f"go{depth}")
        made = self.nodes([go, *flags], [*inner, *carried], 3, depth)
        kept = [self.random.choice([item, self.random.choice(made), made[-1]]) for item in carried]
        again = self.random.choice([constant(True), go, self.flag([go, *flags], made)])
        outputs = [again, *kept, self.random.choice(made)]
        body = Body.close((K, go, *carried), captured, outputs)
        trips = self.random.choice([TRIPS, *map(constant, (0, 1, 2, 3))])
        cond = self.random.choice([constant(True), self.flag(flags, values), None])
        if cond is None:  # ONNX and runtimes differ on a condition that does not count
            body = Body.close((K, go, *carried), captured, [constant(True), *outputs[1:]])
        first = [self.random.choice(values) for _ in carried]
        node = loop(trips, cond, *first, *captured, body=body, outputs=4)
        *last, stacked = results(node)
        return [*last, reduce_sum(stacked, constant([0]), keepdims=0)]

    def scan_(self, flags: list[Node], values: list[Node], depth: int) -> list[Node]:
        """The carried output of a Scan over the rows of a value, and what it stacks."""
        state, row = example("float32[2, 2]", f"s{depth}"), example("float32[2]", f"r{depth}")
        captured = self.captured(flags, values)
        inner = [item for item in captured if item.dtype is DType.FLOAT32]
        made = self.nodes([*flags], [*inner, state, add(state, row)], 2, depth)
        outputs = [self.random.choice([state, made[-1]]), neg(row), self.random.choice(made)]
        body = Body.close((state, row), captured, outputs)
        last, rows, stacked = results(
            scan(
                self.random.choice(values),
                self.random.choice(values),
                *captured,
                body=body,
                num_scan_inputs=1,
                scan_input_axes=(self.random.randint(0, 1),),
                scan_output_axes=(self.random.randint(0, 1), -1),
                scan_output_directions=(self.random.randint(0, 1), 1),
                outputs=3,
            )
        )
        return [last, rows, reduce_sum(stacked, constant([2]), keepdims=0)]


@pytest.mark.parametrize("seed", range(60))
def test_no_bit_changes(seed: int) -> None:
    outputs = Draw(seed).program()
    assert len(ran(*outputs)) == len(outputs)
