"""Linear attention and the causal convolution: in one go, in pieces, and by definition."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphopt.errors import TypeRuleError
from graphopt.ir import Node, types_of
from graphopt.ops.linear_attention import RULES, causal_conv_with_state, linear_attention
from graphopt.structural import constant, graph_input
from tests.ops import harness
from tests.ops.harness import tensor

Array = Any
RNG = np.random.default_rng(5)
HEADS = {"q_num_heads": 4, "kv_num_heads": 2}


def value(node: Node) -> Array:
    return harness.run(node, {})[node]


def normal(*shape: int) -> Array:
    return RNG.normal(size=shape).astype(np.float32) * 0.5


def f32(name: str, *shape: int | str) -> Node:
    return graph_input(name, tensor("float32", *shape))


def node_of(rule: str, arrays: list[Array | None]) -> Node:
    inputs = [None if a is None else constant(a) for a in arrays]
    made: Node = linear_attention(*inputs, update_rule=rule, **HEADS)
    return made


@given(st.sampled_from(list(RULES)), st.integers(0, 4), st.booleans())
def test_time_may_be_cut(rule: str, cut: int, fine: bool) -> None:
    gated, delta = RULES[rule]
    q, k, v = normal(2, 4, 12), normal(2, 4, 6), normal(2, 4, 10)
    decay = -np.abs(normal(2, 4, 6 if fine else 2)) if gated else None
    beta = normal(2, 4, 1 if fine else 2) if delta else None
    y, state = value(node_of(rule, [q, k, v, None, decay, beta]))
    pieces: list[Array] = []
    carried: Array = None
    for part in (slice(None, cut), slice(cut, None)):
        q1, k1, v1, d1, b1 = (None if a is None else a[:, part] for a in (q, k, v, decay, beta))
        piece, carried = value(node_of(rule, [q1, k1, v1, carried, d1, b1]))
        pieces.append(piece)
    np.testing.assert_allclose(np.concatenate(pieces, axis=1), y, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(carried, state, rtol=1e-5, atol=1e-6)


def test_the_linear_rule_is_attention_without_softmax() -> None:
    q, k, v = normal(2, 5, 12), normal(2, 5, 6), normal(2, 5, 10)
    y, _ = value(node_of("linear", [q, k, v]))
    for head in range(4):
        a, b = q[..., head * 3 :][..., :3], k[..., head // 2 * 3 :][..., :3]
        scores = np.tril(a @ b.swapaxes(1, 2)) / np.sqrt(3)
        wanted = scores @ v[..., head // 2 * 5 :][..., :5]
        np.testing.assert_allclose(y[..., head * 5 :][..., :5], wanted, rtol=1e-5, atol=1e-6)


def test_types_with_symbols() -> None:
    q, k, v = f32("q", "B", "T", 16), f32("k", "B", "T", 8), f32("v", "B", "T", 6)
    y, state = types_of(linear_attention(q, k, v, update_rule="linear", **HEADS))
    assert str(y) == "float32[B, T, 12]" and str(state) == "float32[B, 2, 4, 3]"
    half = graph_input("s", tensor("float16", "B", 2, 4, 3))
    y, state = types_of(linear_attention(q, k, v, half, update_rule="linear", **HEADS))
    assert str(state) == "float16[B, 2, 4, 3]"


def test_linear_attention_refuses_what_does_not_fit() -> None:
    q, k, v, gate = f32("q", 2, 3, 16), f32("k", 2, 3, 8), f32("v", 2, 3, 6), f32("g", 2, 3, 2)
    for inputs, attrs, message in (
        ((q, k, v), {}, "'gated_delta' does not take these inputs"),
        ((q, k, v, None, gate), {"update_rule": "linear"}, "does not take these inputs"),
        ((q, k, v), {"update_rule": "fast"}, "'fast'"),
        ((q, k, v, None, f32("g", 2, 3, 5)), {"update_rule": "gated"}, "gate is 5"),
        ((q, k, v, f32("s", 2, 2, 4, 4)), {"update_rule": "linear"}, "head of v is both 3 and 4"),
        ((q, k, v), {"kv_num_heads": 3, "update_rule": "linear"}, "4 heads of q cannot share 3"),
    ):
        with pytest.raises(TypeRuleError, match=message):
            linear_attention(*inputs, **{**HEADS, **attrs})


@given(st.integers(0, 5), st.integers(1, 4), st.sampled_from(["none", "silu"]))
def test_convolution_may_be_cut(cut: int, taps: int, activation: str) -> None:
    x, w, b = normal(2, 3, 5), normal(3, 1, taps), normal(3)
    attrs = {"activation": activation}
    y, state = value(causal_conv_with_state(constant(x), constant(w), constant(b), **attrs))
    pieces: list[Array] = []
    carried: Array = None
    for part in (x[..., :cut], x[..., cut:]):
        inputs = [constant(a) for a in (part, w, b)] + [constant(carried)] * (carried is not None)
        piece, carried = value(causal_conv_with_state(*inputs, **attrs))
        pieces.append(piece)
    np.testing.assert_allclose(np.concatenate(pieces, axis=2), y, rtol=1e-5, atol=1e-6)
    assert (carried == state).all() and state.shape == (2, 3, taps - 1)


def test_convolution_is_causal_and_per_channel() -> None:
    x, w = normal(1, 2, 6), normal(2, 1, 3)
    y, _ = value(causal_conv_with_state(constant(x), constant(w)))
    for channel in range(2):
        wanted = np.convolve(x[0, channel], w[channel, 0, ::-1])[:6]
        np.testing.assert_allclose(y[0, channel], wanted, rtol=1e-5, atol=1e-6)


def test_convolution_refuses_what_does_not_fit() -> None:
    x, w = f32("x", "N", 3, "L"), f32("w", 3, 1, 4)
    y, state = types_of(causal_conv_with_state(x, w))
    assert str(y) == "float32[N, 3, L]" and str(state) == "float32[N, 3, 3]"
    for inputs, attrs, message in (
        ((x, f32("w", 4, 1, 4)), {}, "number of channels is both 3 and 4"),
        ((x, f32("w", 3, 2, 4)), {}, "second axis of the weight is both 1 and 2"),
        ((x, f32("w", 3, 1, 0)), {}, "the weight is empty"),
        ((x, w, None, f32("s", 2, 3, 4)), {}, "the state is both 3 and 4"),
        ((x, w), {"activation": "relu"}, "activation 'relu'"),
    ):
        with pytest.raises(TypeRuleError, match=message):
            causal_conv_with_state(*inputs, **attrs)
