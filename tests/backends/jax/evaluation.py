"""Example nodes evaluated as the jax backend evaluates a graph's nodes, many in one program."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from graphopt.backends.executable import NeedsValues, Spec
from graphopt.backends.jax import scope
from graphopt.backends.jax.library import jax
from graphopt.backends.jax.trace import Subject, Trace
from graphopt.backends.jax.weights import Weights
from graphopt.errors import ExecutionError, GraphoptError
from graphopt.graph import Graph
from graphopt.ir import Node, types_of, walk
from graphopt.op import Op
from graphopt.types import DType, TensorType
from tests.ops import harness

Array = Any
QUICK = {"xla_backend_optimization_level": 0}
"""Half the time to compile; what XLA makes of the graph stays."""


@dataclass(frozen=True)
class Case:
    """An example with its inputs and what the reference makes of it."""

    node: Node
    feeds: harness.Values
    wanted: Sequence[Array]

    def __str__(self) -> str:
        return f"{self.node!r} of {[str(item.type) for item in self.node.inputs]}"


def cases(op: Op, *, seed: int = 1) -> Iterator[Case]:
    """The examples of an op under all bindings; elementwise ops get special numbers."""
    assert op.example is not None
    for node in op.example():
        for sizes in harness.bindings(node):
            hard = op.facts.elementwise
            feeds = harness.feeds(node, sizes, seed, special=hard, wide=hard and op.facts.total)
            try:
                values = harness.run(node, feeds)
            except ExecutionError:
                continue
            yield Case(node, feeds, harness.outputs_of(node, values))


def is_numeric(node: Node) -> bool:
    """Whether all values that a node depends on are tensors of numbers."""
    kinds = [kind for item in walk((node,)) if not item.is_absent for kind in types_of(item)]
    return all(isinstance(kind, TensorType) and kind.dtype is not DType.STRING for kind in kinds)


def shaping_inputs(node: Node) -> set[Node]:
    """The graph inputs whose content shapes the result: they are given by value."""
    found: set[Node] = set()
    for item in walk((node,)):
        for position in item.op.facts.host_inputs:
            if position < len(item.inputs):
                found.update(n for n in walk((item.inputs[position],)) if n.op.name == "Input")
    return found


def function(case: Case) -> tuple[Callable[..., list[Array]], list[Array]]:
    """A function of JAX arrays that evaluates a case, and its arguments."""
    host = shaping_inputs(case.node)
    device = [item for item in case.feeds if item not in host]
    graph = Graph(tuple(case.feeds), (case.node,), ("y",))

    def evaluate(*arrays: Array) -> list[Array]:
        weights = Weights([])
        weights.begin([])
        specs = [Spec(a.shape, a.dtype) for a in case.feeds.values()]
        position = {item: k for k, item in enumerate(case.feeds)}
        trace = Trace(Subject(graph, specs, weights), {k: frozenset({position[k]}) for k in device})
        values = {**case.feeds, **dict(zip(device, arrays, strict=True))}
        (made,) = trace.run(list(walk((case.node,))), (case.node,), values)
        several = types_of(case.node) != (case.node.derived_type,)
        elements: list[Array] = [*made] if several else [made]
        return list(map(trace.on_device, elements))

    return evaluate, [case.feeds[item] for item in device]


def problems(op: Op, ulps: float | None = None) -> list[str]:
    """Where JAX and the reference differ on an op's examples, strings and sequences left out.

    `ulps` is the tolerance if not the op's own.
    """
    found: list[str] = []
    ready: list[tuple[Case, Callable[..., list[Array]], list[Array]]] = []
    with scope.numpy_semantics():
        for case in cases(op):
            if not is_numeric(case.node):
                continue
            evaluate, arguments = function(case)
            try:
                jax.eval_shape(evaluate, *arguments)
            except (GraphoptError, NeedsValues) as error:
                found.append(f"{case}: {type(error).__name__}: {error}")
            else:
                ready.append((case, evaluate, arguments))

        def whole(arguments: list[list[Array]]) -> list[list[Array]]:
            return [each(*a) for (_, each, _), a in zip(ready, arguments, strict=True)]

        given = [arguments for _, _, arguments in ready]
        compiled: Any = jax.jit(whole).lower(given).compile(compiler_options=QUICK)
        results = compiled(given)
    for (case, _, _), made in zip(ready, results, strict=True):
        found += _differences(case, made, harness.tolerance(case.node) if ulps is None else ulps)
    return found


def _differences(case: Case, made: Sequence[Array], ulps: float) -> Iterator[str]:
    for one, other in zip(map(np.asarray, made), case.wanted, strict=True):
        try:
            assert one.dtype == other.dtype, f"{one.dtype} where {other.dtype} is wanted"
            harness.check_close(one, other, ulps, overall=not case.node.op.facts.elementwise)
            if case.node.op.facts.elementwise and other.dtype.kind == "f" and not ulps:
                zero = (one == 0) & (other == 0)
                same = np.signbit(one) == np.signbit(other)
                assert same[zero].all(), "a zero has another sign"
        except AssertionError as error:
            yield f"{case}: {error}"
