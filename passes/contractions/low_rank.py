"""Products by a matrix plus a product of thin ones, as in LoRA: x goes through each for itself."""

from __future__ import annotations

from functools import partial

from graphopt import dims
from graphopt.ir import Node
from graphopt.ops.arithmetic import add
from graphopt.ops.linalg import gemm, matmul
from graphopt.passes.contractions.association import GAIN, SUPPOSED, supposed
from graphopt.rewriting import (
    Declined,
    Equations,
    Float,
    Integer,
    Rule,
    RuleSet,
    Soundness,
    Value,
    guards,
    rules,
)
from graphopt.rewriting.examples import example


def apart(x: Node, w: Node, u: Node, v: Node) -> Node | Declined:
    """x @ (w + u @ v) as x @ w + (x @ u) @ v, where that takes half as many multiplications."""
    if x.shape is None or w.shape is None or u.shape is None or not w.rank == u.rank == v.rank == 2:
        return Declined("they are matrices")
    rows, (inner, columns), rank = dims.product(x.shape[:-1]), w.shape, u.shape[1]
    for number in SUPPOSED:
        m, k, n, r = (supposed(size, number) for size in (rows, inner, columns, rank))
        if GAIN * (m * k * n + m * k * r + m * r * n) > k * r * n + m * k * n:
            return Declined("no half of the multiplications is saved")
    made: Node = add(matmul(x, w), matmul(matmul(x, u), v))
    return made


def _adapted(dtype: str, rows: int, rank: int = 2) -> Node:
    w, u, v = (
        example(f"{dtype}[{shape}]", name)
        for shape, name in (("8, 8", "w"), (f"8, {rank}", "u"), (f"{rank}, 8", "v"))
    )
    made: Node = matmul(example(f"{dtype}[{rows}, 8]"), gemm(u, v, w))
    return made


def _rules(x: Value, w: Value, u: Value, v: Value, p: Value, dtype: str) -> Equations:
    yield Rule(
        "gemm",
        matmul(x, p.of(gemm(u, v, w))),
        apart,
        worth=guards.used_once("p"),
        fires=partial(_adapted, dtype, 1, rank=8),
        misses=partial(_adapted, dtype, 8),
    )


@rules(Soundness.EXACT)
def low_rank(x: Integer, w: Value, u: Value, v: Value, p: Value) -> Equations:
    """x @ (w + u @ v) = x @ w + (x @ u) @ v, of integers."""
    yield from _rules(x, w, u, v, p, "int32")


@rules(Soundness.FAST)
def float_low_rank(x: Float, w: Value, u: Value, v: Value, p: Value) -> Equations:
    """x @ (w + u @ v) = x @ w + (x @ u) @ v: another order of sums, which may cancel."""
    yield from _rules(x, w, u, v, p, "float32")


LOW_RANK: RuleSet = low_rank + float_low_rank
