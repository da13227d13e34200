"""Normalization: the formulas in float64, half precision, what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphopt.errors import ExecutionError, TypeRuleError
from graphopt.ir import Node, types_of
from graphopt.ops.normalization import (
    batch_normalization,
    group_normalization,
    instance_normalization,
    layer_normalization,
    rms_normalization,
)
from graphopt.ops.norms import lp_normalization, lrn, mean_variance_normalization
from graphopt.structural import constant, graph_input
from graphopt.types import DType
from tests.ops import harness
from tests.ops.harness import tensor

Array = Any
RNG = np.random.default_rng(1)


def value(node: Node) -> Array:
    return harness.run(node, {})[node]


def normal(*shape: int, dtype: str = "float64") -> Array:
    return RNG.normal(size=shape).astype(dtype)


def f32(name: str, *shape: int | str) -> Node:
    return graph_input(name, tensor("float32", *shape))


@given(st.integers(0, 3), st.integers(1, 4), st.lists(st.integers(0, 3), max_size=2))
def test_batch_normalization_is_the_formula(n: int, c: int, rest: list[int]) -> None:
    x, s, b, m = normal(n, c, *rest), normal(c), normal(c), normal(c)
    v = np.abs(normal(c))
    made = value(batch_normalization(*map(constant, (x, s, b, m, v)), epsilon=0.5))
    s, b, m, v = (p.reshape(1, c, *(1 for _ in rest)) for p in (s, b, m, v))
    np.testing.assert_allclose(made, (x - m) / np.sqrt(v + 0.5) * s + b)


def test_batch_normalization_takes_statistics_of_another_dtype() -> None:
    half = [constant(normal(3, dtype="float16")) for _ in range(2)]
    node = batch_normalization(
        constant(normal(2, 3, dtype="float16")), *half, constant([0.0] * 3), constant([1.0] * 3)
    )
    assert value(node).dtype == node.dtype.numpy == np.float16


def test_batch_normalization_refuses_training_and_other_sizes() -> None:
    x, c = f32("x", "N", 4, "H"), f32("c", 4)
    with pytest.raises(TypeRuleError, match="training"):
        batch_normalization(x, c, c, c, c, training_mode=1)
    with pytest.raises(TypeRuleError, match="the number of channels is both 4 and 5"):
        batch_normalization(x, c, c, c, f32("d", 5))
    with pytest.raises(TypeRuleError, match="float16"):
        batch_normalization(x, c, graph_input("h", tensor("float16", 4)), c, c)
    with pytest.raises(TypeRuleError, match="int32"):
        batch_normalization(graph_input("i", tensor("int32", 2, 4)), c, c, c, c)


@given(st.integers(1, 3), st.integers(1, 3), st.integers(1, 4))
def test_a_group_a_channel_is_instance_normalization(n: int, c: int, d: int) -> None:
    arguments = [constant(a) for a in (normal(n, c, d), normal(c), normal(c))]
    one = value(group_normalization(*arguments, num_groups=c, epsilon=0.1))
    np.testing.assert_allclose(one, value(instance_normalization(*arguments, epsilon=0.1)))


@given(st.integers(1, 3), st.integers(1, 4), st.integers(1, 4))
def test_one_group_is_layer_normalization(n: int, c: int, d: int) -> None:
    x, s, b = normal(n, c, d), normal(c), normal(c)
    one = value(group_normalization(constant(x), constant(s), constant(b), num_groups=1))
    layer = layer_normalization(constant(x), constant(s[:, None]), constant(b[:, None]), axis=1)
    np.testing.assert_allclose(one, value(layer))


def test_groups_divide_the_channels() -> None:
    x, c = f32("x", "N", 6, 2), f32("c", 6)
    assert group_normalization(x, c, c, num_groups=3).shape == x.shape
    for count in (0, 4):
        with pytest.raises(TypeRuleError, match="6 channels cannot be split"):
            group_normalization(x, c, c, num_groups=count)


def test_layer_normalization_saves_statistics() -> None:
    x = f32("x", "N", 3, 4)
    node = layer_normalization(x, f32("s", 4), axis=-2, outputs=3, stash_type=DType.BFLOAT16)
    _, mean, deviation = types_of(node)
    assert str(mean) == str(deviation) == "bfloat16[N, 1, 1]"
    y, mean, inverse = value(
        layer_normalization(constant(normal(5, 3)), constant([1.0, 1.0, 1.0]), outputs=3)
    )
    np.testing.assert_allclose(y.mean(axis=1), 0, atol=1e-12)
    assert mean.shape == inverse.shape == (5, 1) and mean.dtype == np.float32


def test_half_precision_does_not_overflow_inside() -> None:
    x, one = np.array([[300.0, -300.0, 250.0]], np.float16), np.ones(3, np.float16)
    for node in (
        layer_normalization(constant(x), constant(one)),
        rms_normalization(constant(x), constant(one)),
        lp_normalization(constant(x)),
    ):
        made = value(node)
        assert made.dtype == np.float16 and np.isfinite(made).all() and made.any()


def test_scale_only_broadcasts_to_x() -> None:
    x = f32("x", 2, "H")
    for shape in ((3, 1), (1, 1, 4), (2, 3, 4)):
        with pytest.raises(TypeRuleError, match="both|rank"):
            layer_normalization(x, f32("s", *shape))
    unknown = graph_input("s", tensor("float32", "N", "M"))
    node = rms_normalization(x, unknown)
    arrays = {x: np.ones((2, 1), np.float32), unknown: np.ones((2, 3), np.float32)}
    with pytest.raises(ExecutionError):
        harness.run(node, arrays)


def test_rms_normalization_has_the_dtype_of_scale() -> None:
    x, scale = graph_input("x", tensor("float16", 2, 4)), f32("s", 4)
    assert rms_normalization(x, scale).dtype is DType.FLOAT32
    x = constant(normal(3, 4))
    made = value(rms_normalization(x, constant(np.ones(4)), epsilon=0.0))
    np.testing.assert_allclose((made**2).mean(axis=1), 1)


@given(st.integers(1, 2), st.integers(-2, 1))
def test_lp_normalization_gives_norm_one_or_zero(p: int, axis: int) -> None:
    x = normal(3, 4)
    x[1], x[:, 2] = 0, 0
    made = value(lp_normalization(constant(x), p=p, axis=axis))
    norms = np.linalg.norm(made, ord=p, axis=axis)
    np.testing.assert_allclose(norms, np.linalg.norm(x, ord=p, axis=axis) > 0)


@given(st.integers(1, 7), st.integers(0, 5))
def test_lrn_is_a_window_over_channels(size: int, channels: int) -> None:
    x = normal(2, channels, 3)
    wanted = np.empty_like(x)
    for c in range(channels):
        first, last = max(0, c - (size - 1) // 2), c + size // 2 + 1
        squares = (x[:, first:last] ** 2).sum(axis=1)
        wanted[:, c] = x[:, c] / (2 + 0.5 / size * squares) ** 0.75
    np.testing.assert_allclose(value(lrn(constant(x), size=size, alpha=0.5, bias=2.0)), wanted)


def test_mean_variance_normalization_of_a_constant_is_zero() -> None:
    x = constant(np.full((2, 3, 4, 5), 0.1, np.float32))
    assert np.abs(value(mean_variance_normalization(x))).max() < 20  # 1 ulp over 1e-9 at most
    made = value(mean_variance_normalization(constant(normal(4, 5)), axes=()))
    np.testing.assert_allclose((made.mean(), made.std()), (0, 1), atol=1e-8)


def test_parameters_are_checked() -> None:
    x = f32("x", 2, 3)
    with pytest.raises(TypeRuleError, match="p is 3"):
        lp_normalization(x, p=3)
    with pytest.raises(TypeRuleError, match="size is 0"):
        lrn(x, size=0)
    with pytest.raises(TypeRuleError, match="no axis 2"):
        mean_variance_normalization(x, axes=(0, 2))
    with pytest.raises(TypeRuleError, match="rank 2 where 3 or more"):
        instance_normalization(x, f32("s", 3), f32("s", 3))
    with pytest.raises(TypeRuleError, match="stash_type is float16"):
        layer_normalization(x, f32("s", 3), stash_type=DType.FLOAT16)
    with pytest.raises(TypeRuleError, match="4 outputs"):
        layer_normalization(x, f32("s", 3), outputs=4)
