"""Bounded folding: what is folded, what is left, and by how much constants may grow."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from graphopt.graph import Graph
from graphopt.ir import Node, walk
from graphopt.ops import table
from graphopt.ops.arithmetic import add, div, mul
from graphopt.ops.cast import cast
from graphopt.ops.conv import conv
from graphopt.ops.functions import neg
from graphopt.ops.generate import constant_of_shape, range_
from graphopt.ops.indexing import gather
from graphopt.ops.linalg import matmul
from graphopt.ops.selection import top_k
from graphopt.ops.shape import expand, reshape, shape, unsqueeze
from graphopt.ops.slicing import concat
from graphopt.passes.fold import DedupConstants, FoldConstants
from graphopt.pipeline import Context, Pass, run_pipeline
from graphopt.rewriting.examples import example, filled, ints, weights
from graphopt.structural import constant, opaque, out
from graphopt.tensor import Tensor
from graphopt.types import DType, TensorType


def ran(pass_: Pass, *outputs: Node) -> tuple[Node, ...]:
    """The outputs after a pass that must not fail."""
    inputs = tuple(node for node in walk(outputs) if node.op.name == "Input")
    names = tuple(f"y{k}" for k in range(len(outputs)))
    return run_pipeline(Graph(inputs, outputs, names), [pass_], Context(strict=True)).outputs


def test_constants_are_evaluated() -> None:
    (made,) = ran(FoldConstants(), add(constant([1, 2]), constant([3, 4])))
    assert made is constant([4, 6])


def test_one_output_of_several() -> None:
    values = out(top_k(constant(np.array([3.0, 9.0, 5.0], np.float32)), ints(2)), 0)
    (made,) = ran(FoldConstants(), values)
    assert made is constant(np.array([9.0, 5.0], np.float32))


def test_shapes_are_known_without_running() -> None:
    x = example("float32[N, 3, 4]")
    (made,) = ran(FoldConstants(), gather(shape(x), constant(np.array(2, np.int64))))
    assert made is constant(np.array(4, np.int64))


def test_partly_known_shapes_are_kept_where_they_are_not() -> None:
    x = example("float32[N, 3]")
    target = concat(unsqueeze(gather(shape(x), constant(np.array(0))), ints(0)), ints(-1), axis=0)
    (made,) = ran(FoldConstants(), reshape(x, target))
    assert made is reshape(x, target)


def test_growth_is_bounded() -> None:
    small = weights(10)
    wide = expand(small, ints(1000, 10))
    assert ran(FoldConstants(max_bytes=1000), wide) == (wide,)
    assert ran(FoldConstants(max_bytes=1 << 20), wide)[0].constant is not None


def test_growth_is_bounded_over_all_folds_together() -> None:
    parts = [expand(weights(10, seed=k), ints(10, 10)) for k in range(10)]
    made = ran(FoldConstants(max_bytes=1500), *parts)
    assert sum(node.constant is not None for node in made) == 4  # each grows by 360 bytes


def test_a_constant_that_all_its_uses_fold_away_frees_its_bytes() -> None:
    big = weights(100, 100)
    made = ran(FoldConstants(max_bytes=40), neg(big), add(big, big))
    assert sum(node.constant is not None for node in made) == 0, "two would stand for one"
    twice = ran(FoldConstants(max_bytes=40_000), neg(big), add(big, big))
    assert sum(node.constant is not None for node in twice) == 2


def test_the_bound_holds_where_a_use_stays() -> None:
    big, x = weights(100, 100), example("float32[100, 100]")
    made = ran(FoldConstants(max_bytes=30_000), neg(big), add(big, x))
    assert made == (neg(big), add(big, x))


def test_a_weight_is_folded_in_place_of_its_only_source() -> None:
    big = weights(100, 100)
    (made,) = ran(FoldConstants(max_bytes=0), neg(big))
    assert made.constant is not None


def test_quantized_weights_are_not_unfolded() -> None:
    small = constant(np.arange(100000, dtype=np.int64).astype(np.int8))
    unfolded = cast(small, to=DType.FLOAT32)
    assert ran(FoldConstants(), unfolded) == (unfolded,)


def vast(*sizes: int) -> Node:
    """Zeros that take much room once there are all of them."""
    return constant(Tensor.splat(DType.FLOAT32, sizes, 0))


def test_splats_stay_compact() -> None:
    vast = constant_of_shape(ints(1 << 20, 1 << 20))
    (made,) = ran(FoldConstants(max_bytes=16), add(mul(vast, filled(3)), filled(2)))
    tensor = made.constant
    assert tensor is not None and tensor.is_splat
    assert tensor.shape == (1 << 20, 1 << 20)
    assert float(tensor.element) == 2.0


@pytest.mark.parametrize(
    "bomb",
    [
        lambda: range_(constant(0), constant(10**12), constant(1)),
        lambda: expand(weights(2), ints(10**12, 2)),
        lambda: gather(weights(2), constant_of_shape(ints(10**9), value=Tensor.of(np.array([1])))),
        lambda: table()["", "ReduceMax"](vast(1 << 26)),
        lambda: matmul(vast(1, 1 << 25), vast(1 << 25, 1)),
        lambda: conv(filled(1, 1, 1, 1), filled(1, 1, 1, 1), pads=(10**9, 10**9), strides=(10**9,)),
        lambda: expand(constant("a"), ints(10**9)),
    ],
)
def test_bombs_are_left_alone(bomb: Callable[[], Node]) -> None:
    node = bomb()
    (made,) = ran(FoldConstants(), node)
    assert made.op is node.op


def test_what_fails_when_run_is_not_folded() -> None:
    failing = div(constant([1, 2]), constant([0, 1]))
    assert ran(FoldConstants(), failing) == (failing,)


def test_opaque_ops_are_not_folded() -> None:
    kind = TensorType(DType.FLOAT32, (1,))
    node = opaque("custom", "F", (filled(1, 1),), origin=0, types=(kind,), attrs={})
    assert ran(FoldConstants(), node) == (node,)


def test_large_splats_are_told_apart_without_their_elements() -> None:
    zeros, ones = (constant(Tensor.splat(DType.FLOAT32, (1 << 50,), k)) for k in (0, 1))
    assert ran(DedupConstants(), zeros, ones) == (zeros, ones)


def test_equal_large_constants_become_one() -> None:
    data = np.arange(1000, dtype=np.float32)
    a, b = constant(data.copy()), constant(data.copy())
    other = constant(data.reshape(10, 100).copy())
    assert a is not b
    left, right, kept = ran(DedupConstants(), a, b, other)
    assert left is right
    assert kept is other


def test_a_splat_and_its_dense_form_are_one() -> None:
    dense = constant(np.full((4, 1), -1, np.float32))
    splat = constant(Tensor.splat(DType.FLOAT32, (4, 1), -1))
    assert dense is not splat
    assert ran(DedupConstants(), dense, splat) == (splat, splat)
