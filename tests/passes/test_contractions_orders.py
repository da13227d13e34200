"""The order of products, Einstein sums, quantized numbers."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from graphopt.graph import Graph
from graphopt.ops.activation import relu
from graphopt.ops.linalg import einsum, matmul
from graphopt.ops.quantize import dequantize_linear, quantize_linear
from graphopt.passes.contractions.association import chained
from graphopt.rewriting.examples import example, filled, weights
from graphopt.rewriting.rule import Math
from tests.passes.contracted import both, close, left, optimized

# The order of products.


def multiplications(graph: Graph) -> int:
    """Of all products of matrices and vectors in a graph of known sizes."""
    total = 0
    for node in graph.nodes:
        if node.op is matmul:
            rows = int(np.prod([n for n in node.shape or () if isinstance(n, int)], dtype=np.int64))
            inner = (node.inputs[0].shape or (0,))[-1]
            total += rows * inner if isinstance(inner, int) else 0
    return total


def test_a_low_rank_product_is_never_written_out() -> None:
    y = chained("float32", "2000, 2", "2, 2000", "2000")
    assert multiplications(optimized(y)) == 2000 * 2 * 2000 + 2000 * 2000
    fast = optimized(y, math=Math.FAST)
    assert 2 * multiplications(fast) == 16_000
    assert close(y, math=Math.FAST)


def test_long_chains_are_made_in_the_best_order() -> None:
    """The textbook's example: 15125 multiplications."""
    sizes = [30, 35, 15, 5, 10, 20, 25]
    shapes = [f"{a}, {b}" for a, b in pairwise(sizes)]
    assert multiplications(optimized(chained("int32", *shapes))) == 15_125


def test_a_chain_that_is_longer_than_what_is_ordered_at_a_time() -> None:
    shapes = [f"{16 if k % 2 else 2}, {2 if k % 2 else 16}" for k in range(40)]
    y = chained("int32", *shapes, "2")
    assert multiplications(optimized(y)) < multiplications(optimized(y, math=Math.STRICT)) + 1
    old, new = both(y)
    assert old.tobytes() == new.tobytes()


def test_products_of_unknown_sizes_are_reordered_where_all_sizes_gain() -> None:
    gains = chained("int32", "N, 2", "2, N", "N, 2")
    assert optimized(gains).outputs[0].inputs[0].op is not matmul
    even = chained("int32", "N, 2", "2, 2", "2, N")
    assert optimized(even).outputs == (even,)


def test_an_inner_product_that_is_used_elsewhere_stays() -> None:
    inner = chained("int32", "100, 2", "2, 100")
    y = matmul(inner, example("int32[100]", "v"))
    assert left(y, relu(inner))["MatMul"] == 2
    assert optimized(y, inner).outputs == (y, inner)


def test_integers_wrap_around_in_any_order() -> None:
    y = chained("int32", "8, 2", "2, 8", "8")
    big: dict[str, Any] = {
        f"m{k}": np.full(s, 2**30 + 7, np.int32) for k, s in enumerate([(8, 2), (2, 8), (8,)])
    }
    old, new = both(y, math=Math.STRICT, **big)
    assert old.tobytes() == new.tobytes()
    assert optimized(y).outputs[0] is not y


# Einstein sums and quantized numbers.


@pytest.mark.parametrize(
    ("equation", "shapes", "wanted"),
    [
        ("ij,jk->ik", ("3, 4", "4, 5"), "MatMul"),
        ("ij,kj->ik", ("3, 4", "5, 4"), "Gemm"),
        ("ij,jk->ki", ("3, 4", "4, 5"), "Gemm"),
        ("bij,jk->bik", ("N, 3, 4", "4, 5"), "MatMul"),
        ("...j,j", ("N, 3, 4", "4"), "MatMul"),
        ("i,i->", ("4", "4"), "MatMul"),
        ("ij,ij->ij", ("3, 4", "3, 4"), "Mul"),
        ("bi,bi->b", ("3, 4", "3, 4"), "Einsum"),
        ("bij,bik->bjk", ("N, 3, 4", "N, 3, 5"), "Einsum"),
        ("ij,jk->ik", ("3, 1", "4, 5"), "Einsum"),
        ("ij,kl->ik", ("3, 4", "5, 4"), "Einsum"),
    ],
)
def test_einstein_sums(equation: str, shapes: tuple[str, str], wanted: str) -> None:
    x, y = (example(f"float32[{s}]", name) for s, name in zip(shapes, "xy", strict=True))
    made = einsum(x, y, equation=equation)
    assert left(made) == {wanted: 1}
    assert close(made)


def test_constant_weights_of_einstein_sums_are_turned() -> None:
    y = einsum(example("float32[N, 3, 4]"), weights(5, 4), equation="...d,kd->...k")
    assert left(y) == {"MatMul": 1}
    assert close(y)


def test_a_round_trip_of_quantized_numbers_gives_each_back() -> None:
    q = example("uint8[256]", "q")
    for scale in (0.3, 1e-19, 1e19, 255.0):
        s, z = filled(scale), filled(128, dtype="uint8")
        y = quantize_linear(dequantize_linear(q, s, z), s, z)
        assert optimized(y).outputs == (q,)
        old, _ = both(y, q=np.arange(256, dtype=np.uint8))
        assert old.tolist() == list(range(256))


@pytest.mark.parametrize("scale", [1e-44, 1e37])
def test_a_scale_that_rounds_the_numbers_away_stays(scale: float) -> None:
    s, z = filled(scale), filled(128, dtype="uint8")
    y = quantize_linear(dequantize_linear(example("uint8[256]", "q"), s, z), s, z)
    assert optimized(y).outputs == (y,)
