"""Data movement: transposes, reshapes, broadcasts, casts, reductions, pads, before and after."""

from __future__ import annotations

from graphopt.dims import maximum, symbol
from graphopt.ops.activation import relu
from graphopt.ops.arithmetic import add, mul
from graphopt.ops.cast import cast
from graphopt.ops.functions import exp
from graphopt.ops.indexing import gather
from graphopt.ops.movement import transpose
from graphopt.ops.padding import pad
from graphopt.ops.pool import max_pool
from graphopt.ops.pool_global import global_average_pool
from graphopt.ops.reduction import reduce_max, reduce_mean, reduce_sum
from graphopt.ops.shape import expand, flatten, reshape, shape, squeeze, unsqueeze
from graphopt.ops.slicing import concat, tile
from graphopt.passes.movement.pads import PADS
from graphopt.passes.movement.reductions import REDUCTIONS
from graphopt.rewriting.examples import example, filled, ints
from graphopt.rewriting.rule import Math
from graphopt.types import DType
from tests.passes.movement import after, by_rules, check_same, graph_of, ops, optimized

# Transposes and reshapes.


def test_transposed_twice_then_doubled() -> None:
    x = example("float32[2, 3, 4]")
    turned = transpose(transpose(x, perm=(2, 0, 1)), perm=(2, 0, 1))
    made = optimized(mul(turned, filled(2.0)))
    assert ops(made) == {"Transpose": 1, "Mul": 1}


def test_a_sum_of_a_transpose() -> None:
    x = example("float32[2, 3, N]")
    turned = transpose(x, perm=(2, 0, 1))
    made = optimized(reduce_sum(turned, ints(0), keepdims=0), exact=False)
    assert made.outputs == (reduce_sum(x, ints(2), keepdims=0),)
    strict = after(reduce_sum(turned, ints(0), keepdims=0), math=Math.STRICT)
    assert ops(strict) == {"Transpose": 1, "ReduceSum": 1}


def test_a_flattening_of_computed_shape() -> None:
    x = example("float32[?, 5, 6]")
    rows = gather(shape(x), ints(0))
    made = optimized(reshape(x, concat(rows, ints(-1), axis=0)))
    assert ops(made) == {"Reshape": 1}
    assert made.outputs[0].inputs[1].constant is not None


def test_attention_heads_merged_and_split_around_a_transpose() -> None:
    keys = example("float32[N, 12, M, 32]")
    merged = transpose(
        reshape(keys, concat(ints(-1), shape(keys, start=2), axis=0)), perm=(0, 2, 1)
    )
    sizes = concat(shape(keys, start=0, end=1), ints(12, 32), shape(keys, start=2, end=3), axis=0)
    made = optimized(reshape(merged, sizes))
    assert made.outputs == (transpose(keys, perm=(0, 1, 3, 2)),)


def test_axes_merged_between_two_transposes() -> None:
    x = example("float32[T, 2, N, 4]")
    merged = reshape(transpose(x, perm=(0, 2, 1, 3)), ints(0, 0, -1))
    made = optimized(transpose(merged, perm=(1, 0, 2)))
    assert ops(made) == {"Transpose": 1, "Reshape": 1}


def test_reshapes_around_what_is_done_to_each_element() -> None:
    x = example("float32[2, 12]")
    assert optimized(reshape(exp(reshape(x, ints(4, 6))), ints(2, 12))).outputs == (exp(x),)
    assert optimized(flatten(unsqueeze(x, ints(0)), axis=2)).outputs == (x,)


def test_a_broadcast_that_happens_anyway() -> None:
    x, y = example("float32[N, 1]"), example("float32[N, 4]", "y")
    assert optimized(add(expand(x, shape(y)), y)).outputs == (add(x, y),)
    assert optimized(mul(tile(x, ints(1, 4)), y)).outputs == (mul(x, y),)
    assert optimized(add(unsqueeze(example("float32[4]", "z"), ints(0)), y)).outputs == (
        add(example("float32[4]", "z"), y),
    )
    alone = add(expand(x, ints(1, 4)), x)
    assert ops(optimized(alone)) == {"Expand": 1, "Add": 1}


# Casts, reductions, pads.


def test_casts() -> None:
    half, wide = example("float16[N]"), example("float64[N]", "w")
    assert optimized(cast(cast(half, to=DType.FLOAT32), to=DType.FLOAT16)).outputs == (half,)
    there = cast(cast(wide, to=DType.FLOAT32), to=DType.FLOAT64)
    assert by_rules(there) == (there,)
    twice_rounded = cast(cast(wide, to=DType.FLOAT32), to=DType.FLOAT16)
    assert by_rules(twice_rounded) == (twice_rounded,)
    flags, whole = example("bool[N]", "b"), example("int64[N]", "i")
    assert by_rules(cast(cast(flags, to=DType.INT32), to=DType.BOOL)) == (flags,)
    narrow = cast(cast(whole, to=DType.INT32), to=DType.INT64)
    assert by_rules(narrow) == (narrow,)
    assert by_rules(cast(cast(whole, to=DType.INT32), to=DType.INT8)) == (
        cast(whole, to=DType.INT8),
    )
    count = shape(example("float32[?, ?, ?]"))
    small = cast(cast(cast(count, to=DType.BOOL), to=DType.INT64), to=DType.INT32)
    assert by_rules(cast(small, to=DType.INT64)) == (
        cast(cast(count, to=DType.BOOL), to=DType.INT64),
    )


def test_sums_of_sums() -> None:
    x = example("float32[2, 3, 4, N]")
    inner = reduce_sum(x, ints(1), keepdims=0)
    made = optimized(reduce_sum(inner, ints(1), keepdims=0), exact=False)
    assert made.outputs == (reduce_sum(x, ints(1, 2), keepdims=0),)
    means = reduce_mean(reduce_mean(x, ints(2)), ints(1))
    assert optimized(means, exact=False).outputs == (reduce_mean(x, ints(1, 2)),)


def test_kept_axes_that_are_dropped_again() -> None:
    x = example("float32[2, 3, N]")
    assert by_rules(squeeze(reduce_max(x, ints(1)), ints(1))) == (
        reduce_max(x, ints(1), keepdims=0),
    )
    dropped = reduce_max(x, ints(1), keepdims=0)
    assert by_rules(unsqueeze(dropped, ints(1))) == (reduce_max(x, ints(1)),)
    assert by_rules(unsqueeze(dropped, ints(0)))[0].op is unsqueeze


def test_a_global_average_flattened() -> None:
    x = example("float32[N, 8, 7, 7]")
    (made,) = by_rules(flatten(global_average_pool(x)), rules=REDUCTIONS)
    assert made is reduce_mean(x, ints(2, 3), keepdims=0)


def test_pads_of_pads() -> None:
    x = example("float32[N, 3]")
    twice = pad(pad(x, ints(1, 0, 2, 0)), ints(0, 1, 3, 0), filled(0.0))
    assert ops(optimized(twice)) == {"Pad": 1}
    other = pad(pad(x, ints(1, 0, 2, 0)), ints(0, 1, 3, 0), filled(-0.0))
    assert ops(optimized(other)) == {"Pad": 2}


def test_a_pad_before_pooling() -> None:
    x = relu(example("float32[1, 2, 6, 6]"))
    border = ints(0, 0, 1, 1, 0, 0, 1, 1)
    least = filled(float("-inf"))
    (made,) = by_rules(max_pool(pad(x, border, least), kernel_shape=(3, 3)), rules=PADS)
    assert made is max_pool(x, kernel_shape=(3, 3), pads=(1, 1, 1, 1))
    assert check_same(
        graph_of(max_pool(pad(x, border, least), kernel_shape=(3, 3))), graph_of(made)
    )


def test_bounds_of_bounds_are_one_size() -> None:
    n = symbol("N")
    assert maximum(0, maximum(0, n - 1) - 2) == maximum(0, n - 3)
