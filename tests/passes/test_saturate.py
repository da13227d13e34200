"""Saturate: what the order of rules lost is found, it is right, and it is the same every time."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from graphopt.backends import reference
from graphopt.check import check_equivalent
from graphopt.costs import total_cost
from graphopt.errors import MissingExtraError
from graphopt.graph import Graph, operations
from graphopt.ir import Node, walk
from graphopt.ops.arithmetic import add, max_, min_, mul, sub
from graphopt.ops.functions import absolute, exp, log, neg
from graphopt.ops.linalg import matmul
from graphopt.ops.movement import transpose
from graphopt.passes import O2
from graphopt.passes.saturate import REGION, Saturate
from graphopt.pipeline import Context, run_pipeline
from graphopt.remarks import Log, Replay
from graphopt.rewriting.examples import example, filled
from graphopt.rewriting.rule import Math

pytest.importorskip("egglog")
ROOT = Path(__file__).resolve().parents[2]


def graph_of(*outputs: Node) -> Graph:
    """A graph of some outputs over the inputs that they have."""
    inputs = tuple(node for node in walk(outputs) if node.op.name == "Input")
    return Graph(inputs, outputs, tuple(f"y{k}" for k in range(len(outputs))))


def names(graph: Graph) -> Counter[str]:
    """How many nodes of each op a graph has."""
    return Counter(node.op.name for node in operations(walk(graph.roots)))


def saturated(graph: Graph, math: Math = Math.DEFAULT, **options: Any) -> Graph:
    """A graph after saturation alone; a pass that fails raises."""
    return run_pipeline(graph, [Saturate(**options)], Context(math=math, strict=True))


def values(dtype: str, shape: str = "64, 64") -> list[Node]:
    """Four inputs."""
    return [example(f"{dtype}[{shape}]", name) for name in "abcd"]


A, B, C, D = values("float32")
P, Q, R, S = values("int32")
TALL, WIDE = example("float32[64, 2]", "t"), example("float32[2, 64]", "w")

LOST: dict[str, tuple[Callable[[], Node], Math, dict[str, int]]] = {
    "the common factor of two terms that a third stands between": (
        lambda: add(add(mul(P, Q), S), mul(P, R)), Math.DEFAULT, {"Mul": 1, "Add": 2},
    ),
    "two exponentials that another factor stands between": (
        lambda: mul(mul(exp(A), B), exp(C)), Math.FAST, {"Exp": 1, "Mul": 1, "Add": 1},
    ),
    "the common matrix of two products, of which each took a sum in": (
        lambda: add(add(matmul(A, B), D), matmul(A, C)), Math.FAST, {"Add": 1, "Gemm": 1},
    ),
    "products of the same vector": (
        lambda: add(matmul(A, C), matmul(B, C)), Math.FAST, {"Add": 1, "MatMul": 1},
    ),
    "the logarithm of a product with an exponential": (
        lambda: add(log(exp(A)), log(mul(exp(B), C))), Math.FAST, {"Log": 1, "Add": 2},
    ),
    "a factor that meets its inverse only when it is distributed": (
        lambda: mul(add(mul(A, filled(2.0)), B), filled(0.5)), Math.FAST, {"Add": 1, "Mul": 1},
    ),
}  # fmt: skip
"""What the greedy passes leave longer than need be."""


@pytest.mark.parametrize("case", LOST)
def test_what_the_order_of_rules_lost_is_found(case: str) -> None:
    make, math, wanted = LOST[case]
    graph = graph_of(make())
    greedy = run_pipeline(graph, O2[:2], Context(math=math, strict=True))
    made = saturated(greedy, math)
    assert names(made) == wanted
    assert names(greedy) != wanted and total_cost(made.roots) < total_cost(greedy.roots)
    rng = np.random.default_rng(0)
    inputs = {
        node.attrs["name"]: (rng.random((64, 64)) + 0.5).astype(node.dtype.numpy)
        for node in graph.inputs
    }
    check_equivalent(graph, made, inputs=inputs)


def test_what_is_found_is_remarked_counted_and_derived() -> None:
    log_ = Log()
    before = graph_of(add(add(mul(P, Q), S), mul(P, R)))
    made = run_pipeline(before, [Saturate()], Context(strict=True, log=log_))
    assert made.report is not None and made.report.rules == {REGION: 1}
    assert made.tables.derivations[made.outputs[0]].rule == REGION
    assert made.history(made.outputs[0])[0] == REGION
    assert [remark.kind for remark in log_] == ["analysis", "passed"]
    assert "17.3 us become 13 us by estimate" in log_.remarks[0].reason
    replayed = run_pipeline(before, [Saturate()], Context(strict=True, only=Replay(log_)))
    assert replayed.outputs == made.outputs
    nothing = run_pipeline(before, [Saturate()], Context(strict=True, only=Replay([])))
    assert nothing.outputs == before.outputs
    unfuelled = run_pipeline(before, [Saturate()], Context(strict=True, fuel=0))
    assert unfuelled.outputs == before.outputs


def test_floats_are_not_reordered_in_default_math() -> None:
    graph = graph_of(add(add(mul(A, B), D), mul(A, C)))
    assert saturated(graph).outputs == graph.outputs
    assert saturated(graph, Math.FAST).outputs != graph.outputs


def test_limits_leave_the_graph_as_it_was() -> None:
    graph = graph_of(add(add(mul(P, Q), S), mul(P, R)))
    cases: list[dict[str, Any]] = [{"rounds": 0}, {"max_nodes": 1}, {"budget": 0}, {"max_terms": 5}]
    for options in cases:
        assert saturated(graph, **options).outputs == graph.outputs
    assert saturated(graph, rounds=4).outputs != graph.outputs


def test_bodies_are_saturated() -> None:
    from graphopt.body import Body
    from graphopt.ops.control import if_

    condition = example("bool[]", "p")
    then = Body.close([], [P, Q, R, S], [add(add(mul(P, Q), S), mul(P, R))])
    other = Body.close([], [P, Q, R, S], [add(P, Q)])
    made = saturated(graph_of(if_(condition, P, Q, R, S, then_branch=then, else_branch=other)))
    (node,) = made.outputs
    assert Counter(item.op.name for item in walk(node.attrs["then_branch"].outputs))["Mul"] == 1


def test_without_egglog_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = graph_of(add(add(mul(P, Q), S), mul(P, R)))
    monkeypatch.setitem(sys.modules, "egglog.bindings", None)
    with pytest.raises(MissingExtraError, match=r"graphopt\[saturate\]"):
        saturated(graph)
    log_ = Log()
    context = Context(strict=True, log=log_)
    assert run_pipeline(graph, [Saturate(optional=True)], context).outputs == graph.outputs
    assert "left out: egglog is not installed" in log_.remarks[0].reason


UNARY: tuple[Callable[[Node], Node], ...] = (
    neg,
    absolute,
    lambda x: transpose(x, perm=(1, 0)),
)
BINARY: tuple[Callable[[Node, Node], Node], ...] = (add, add, sub, mul, mul, max_, min_, matmul)


def drawn(seed: int, dtype: str, size: int = 10) -> Graph:
    """A random graph of square matrices, with constants that rules know."""
    rng = np.random.default_rng(seed)
    known = [example(f"{dtype}[3, 3]", name) for name in "abc"]
    scalars = [filled(float(k), dtype=dtype) for k in (0, 1, 2)]
    for _ in range(size):
        left, right = known[rng.integers(len(known))], known[rng.integers(len(known))]
        op = BINARY[rng.integers(len(BINARY))]
        if rng.random() < 0.2:
            known.append(UNARY[rng.integers(len(UNARY))](left))
        elif op is not matmul and rng.random() < 0.3:
            known.append(op(left, scalars[rng.integers(len(scalars))]))
        else:
            known.append(op(left, right))
    return graph_of(known[-1], known[-2])


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize(("dtype", "math"), [("int32", Math.DEFAULT), ("float32", Math.STRICT)])
def test_exact_rules_keep_every_bit(seed: int, dtype: str, math: Math) -> None:
    graph = drawn(seed, dtype)
    made = saturated(graph, math)
    rng = np.random.default_rng(seed)
    special: list[float] = [0, 1, -1, 2, 3, 1 << 30, -(1 << 31)]
    if dtype == "float32":
        special += [-0.0, np.inf, -np.inf, np.nan, 1e-45, 3e38]
    for _ in range(4):
        feeds = {
            node.attrs["name"]: rng.choice(special, (3, 3)).astype(dtype) for node in graph.inputs
        }
        for old, new in zip(reference.run(graph, feeds), reference.run(made, feeds), strict=True):
            equal = np.asarray(old).view("uint32") == np.asarray(new).view("uint32")
            assert np.all(equal | (np.isnan(old) & np.isnan(new))), f"{graph}\n{made}"


@pytest.mark.parametrize("seed", range(20))
def test_fast_math_is_near_on_tame_inputs(seed: int) -> None:
    graph = drawn(seed, "float64")
    made = saturated(graph, Math.FAST)
    rng = np.random.default_rng(seed)
    inputs = {node.attrs["name"]: rng.random((3, 3)) + 0.5 for node in graph.inputs}
    check_equivalent(graph, made, inputs=inputs, trials=1)


SHAPES = ("N, M", "1, M", "N, 1", "M", "1", "?, M", "N, ?")


def broadcast(seed: int) -> Graph:
    """A random graph of integers of symbolic, unknown and single sizes."""
    rng = np.random.default_rng(seed)
    known = [
        example(f"int32[{SHAPES[k]}]", n)
        for k, n in zip(rng.integers(7, size=4), "abcd", strict=False)
    ]
    for _ in range(10):
        left, right = known[rng.integers(len(known))], known[rng.integers(len(known))]
        if rng.random() < 0.2:
            right = filled(float(rng.integers(3)), dtype="int32")
        known.append((add, sub, mul, max_)[rng.integers(4)](left, right))
    return graph_of(known[-1], known[-2])


@pytest.mark.parametrize("seed", range(12))
def test_sizes_may_be_symbolic_and_broadcast(seed: int) -> None:
    graph = broadcast(seed)
    made = saturated(graph)
    rng = np.random.default_rng(seed)
    for n, m in ((3, 2), (1, 1), (0, 2), (1, 3)):
        feeds: dict[str, Any] = {}
        for node in graph.inputs:
            own = (n, m)[2 - len(node.shape or ()) :]
            sizes = [1 if s == 1 else k for s, k in zip(node.shape or (), own, strict=True)]
            feeds[node.attrs["name"]] = rng.integers(-(1 << 31), 1 << 31, sizes).astype("int32")
        for old, new in zip(reference.run(graph, feeds), reference.run(made, feeds), strict=True):
            np.testing.assert_array_equal(old, new, strict=True)


def test_the_random_graphs_are_changed_at_all() -> None:
    graphs = [drawn(seed, "int32") for seed in range(12)]
    assert sum(saturated(graph).outputs != graph.outputs for graph in graphs) > 4


def test_it_is_done_when_it_is_done() -> None:
    once = saturated(drawn(2, "int32"))
    assert total_cost(saturated(once).roots) <= total_cost(once.roots)


def test_it_does_not_hang_on_hashes() -> None:
    code = (
        "from graphopt.text import print_graph\n"
        "from tests.passes.test_saturate import drawn, saturated\n"
        "for seed in (2, 3): print(print_graph(saturated(drawn(seed, 'int32'))))"
    )
    told = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)},
            cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True,
        ).stdout
        for seed in ("0", "1")
    }  # fmt: skip
    assert len(told) == 1 and "Add" in told.pop()
