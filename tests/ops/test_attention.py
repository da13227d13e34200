"""Attention: equivalent ways to say the same, masks, caches, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphopt.errors import TypeRuleError
from graphopt.ir import Node, types_of
from graphopt.ops.attention import attention
from graphopt.ops.rotary import rotary_embedding
from graphopt.structural import constant, graph_input
from tests.ops import harness
from tests.ops.harness import tensor

Array = Any
RNG = np.random.default_rng(4)


def value(node: Node) -> Array:
    return harness.run(node, {})[node]


def normal(*shape: int) -> Array:
    return RNG.normal(size=shape)


def f32(name: str, *shape: int | str) -> Node:
    return graph_input(name, tensor("float32", *shape))


def naive(q: Array, k: Array, v: Array, seen: Array) -> Array:
    """One query at a time; `seen` (batch, queries, keys) says which keys it sees."""
    y = np.zeros((*q.shape[:3], v.shape[3]))
    group = q.shape[1] // k.shape[1]
    for b, h, i in np.ndindex(*q.shape[:3]):
        keys = np.flatnonzero(seen[b, i])
        if len(keys):
            scores = np.exp(k[b, h // group, keys] @ q[b, h, i] / np.sqrt(q.shape[3]))
            y[b, h, i] = scores @ v[b, h // group, keys] / scores.sum()
    return y


@given(
    sizes=st.tuples(*[st.integers(1, 3)] * 4),
    past=st.integers(0, 2),
    causal=st.booleans(),
    window=st.tuples(st.integers(-1, 2), st.integers(-1, 2)),
    masked=st.booleans(),
)
def test_attention_is_its_definition(
    sizes: tuple[int, ...], past: int, causal: bool, window: tuple[int, int], masked: bool
) -> None:
    batch, group, queries, new = sizes
    keys = past + new
    q, k, v = (
        normal(batch, 2 * group, queries, 4),
        normal(batch, 2, keys, 4),
        normal(batch, 2, keys, 3),
    )
    mask = RNG.random((queries, keys)) < 0.7 if masked else np.ones((queries, keys), bool)
    ahead = np.arange(keys) - np.arange(queries)[:, None] - past
    seen = mask & ((ahead <= 0) | (not causal))
    seen &= (ahead >= -window[0]) | (window[0] < 0)
    seen &= (ahead <= window[1]) | (window[1] < 0)
    inputs: list[Node | None] = [constant(a) for a in (q, k[:, :, past:], v[:, :, past:])]
    inputs.append(constant(mask) if masked else None)
    if past:
        inputs += [constant(k[:, :, :past]), constant(v[:, :, :past])]
    bounds = {"left_window_size": window[0], "right_window_size": window[1]}
    y, all_keys, values = value(attention(*inputs, is_causal=int(causal), outputs=3, **bounds))
    np.testing.assert_allclose(y, naive(q, k, v, np.broadcast_to(seen, (batch, queries, keys))))
    assert (all_keys == k).all() and (values == v).all()


@given(st.lists(st.integers(0, 4), min_size=1, max_size=3), st.booleans())
def test_keys_beyond_the_length_are_not_seen(lengths: list[int], causal: bool) -> None:
    batch, queries, keys = len(lengths), 2, 4
    q, k, v = normal(batch, 1, queries, 4), normal(batch, 1, keys, 4), normal(batch, 1, keys, 4)
    inputs = [constant(q), constant(k), constant(v), None, None, None, constant(lengths)]
    seen = np.arange(keys) < np.array(lengths)[:, None, None]
    offsets = np.array(lengths)[:, None, None] - queries
    seen = seen & ((np.arange(keys) <= np.arange(queries)[:, None] + offsets) | (not causal))
    seen = np.broadcast_to(seen, (batch, queries, keys))
    made = value(attention(*inputs, is_causal=int(causal)))
    np.testing.assert_allclose(made, naive(q, k, v, seen))


def test_heads_may_be_packed() -> None:
    q, k, v = normal(2, 4, 3, 8), normal(2, 2, 5, 8), normal(2, 2, 5, 6)
    wanted = value(attention(constant(q), constant(k), constant(v)))
    packed = [constant(a.transpose(0, 2, 1, 3).reshape(2, a.shape[2], -1)) for a in (q, k, v)]
    made = value(attention(*packed, q_num_heads=4, kv_num_heads=2))
    np.testing.assert_allclose(made, wanted.transpose(0, 2, 1, 3).reshape(2, 3, -1))


def test_scores_of_every_stage() -> None:
    q, k, v = normal(1, 1, 2, 4), normal(1, 1, 3, 4), normal(1, 1, 3, 4)
    mask = np.array([[0, 1.0, -np.inf], [-np.inf] * 3])
    raw = q @ k.swapaxes(2, 3) * 0.25
    capped = np.tanh(raw / 0.5) * 0.5
    shares = np.exp(capped[0, 0, 0, :2] + mask[0, :2])
    wanted = [raw, capped, capped + mask, [[[[*shares / shares.sum(), 0], [0, 0, 0]]]]]
    inputs = [constant(a) for a in (q, k, v, mask)]
    for mode, stage in enumerate(wanted):
        node = attention(*inputs, scale=0.25, softcap=0.5, qk_matmul_output_mode=mode, outputs=4)
        y, _, _, scores = value(node)
        np.testing.assert_allclose(scores, stage, atol=1e-12)
        assert not y[0, 0, 1].any()


def test_a_short_mask_is_continued() -> None:
    q, k, v = normal(1, 1, 2, 4), normal(1, 1, 4, 4), normal(1, 1, 4, 4)
    whole = value(attention(constant(q), constant(k[:, :, :3]), constant(v[:, :, :3])))
    for mask in (np.ones((2, 3), bool), np.zeros((2, 3))):
        made = value(attention(constant(q), constant(k), constant(v), constant(mask)))
        np.testing.assert_allclose(made, whole)


def test_types_with_symbols() -> None:
    q, k, v = f32("q", "B", "S", 32), f32("k", "B", "T", 16), f32("v", "B", "T", "D")
    past = [f32(name, "B", 2, "P", 8) for name in ("pk", "pv")]
    node = attention(q, k, v, None, past[0], past[1], q_num_heads=4, kv_num_heads=2, outputs=4)
    kinds = [str(kind) for kind in types_of(node)]
    assert kinds == [
        "float32[B, S, 32]",
        "float32[B, 2, P + T, 8]",
        "float32[B, 2, P + T, 8]",
        "float32[B, 4, S, P + T]",
    ]
    same = attention(q, k, v, q_num_heads=4, kv_num_heads=2)
    assert str(same.type) == "float32[B, S, 4*div(D, 2)]"


def test_attention_refuses_what_does_not_fit() -> None:
    q, k, v = f32("q", 2, 4, 3, 8), f32("k", 2, 2, 5, 8), f32("v", 2, 2, 5, 6)
    flat = f32("q", 2, 3, 32)
    lengths = graph_input("n", tensor("int64", 2))
    past = f32("p", 2, 2, 3, 8), f32("p", 2, 2, 3, 6)
    for inputs, attrs, message in (
        ((flat, k, v), {}, "None heads"),
        ((flat, k, v), {"q_num_heads": 5}, "32 elements cannot be split into 5 heads"),
        ((q, f32("k", 2, 3, 5, 8), f32("v", 2, 3, 5, 6)), {}, "4 heads of q cannot share 3"),
        ((q, k, f32("v", 2, 2, 4, 6)), {}, "number of keys is both 5 and 4"),
        ((q, k, v, None, past[0]), {}, "go together"),
        ((q, k, v, None, *past, lengths), {}, "excludes past_key"),
        ((q, k, v, f32("m", 3, 6)), {}, "attn_mask is 6 wide where there are 5 keys"),
        ((q, k, v, f32("m", 2, 5)), {}, "both 2 and 3"),
        ((q, k, v), {"left_window_size": -2}, "window is -2"),
        ((q, k, v), {"qk_matmul_output_mode": 4}, "mode 4"),
        ((q, f32("k", 2, 2, 5, 7), v), {}, "size of a head is both 8 and 7"),
    ):
        with pytest.raises(TypeRuleError, match=message):
            attention(*inputs, **attrs)


@given(st.booleans(), st.sampled_from([0, 2, 4]))
def test_rotation_keeps_lengths_and_position_zero(interleaved: bool, turned: int) -> None:
    x, half = normal(2, 3, 4, 6), (turned or 6) // 2
    ids = RNG.integers(0, 9, (2, 4))
    ids[:, 0] = 0
    angles = np.arange(9)[:, None] / 10.0 ** np.arange(half)
    caches = constant(np.cos(angles)), constant(np.sin(angles))
    node = rotary_embedding(
        constant(x.astype(np.float32)),
        *(constant(c.constant.array.astype(np.float32)) for c in caches if c.constant),
        constant(ids),
        interleaved=int(interleaved),
        rotary_embedding_dim=turned,
    )
    made = value(node)
    np.testing.assert_allclose(np.linalg.norm(made, axis=3), np.linalg.norm(x, axis=3), rtol=1e-5)
    np.testing.assert_allclose(made[:, :, 0], x[:, :, 0], rtol=1e-6)
    assert (made[..., 2 * half :] == x.astype(np.float32)[..., 2 * half :]).all()


def test_rotation_is_checked() -> None:
    x, cache = f32("x", 2, 3, 4, 8), f32("c", 9, 4)
    ids = graph_input("i", tensor("int64", 2, 4))
    for inputs, attrs, message in (
        ((x, cache, cache), {}, "rank 2 where 3"),
        ((x, cache, cache, ids), {"rotary_embedding_dim": 4}, "half of what is turned is both"),
        ((x, cache, cache, ids), {"rotary_embedding_dim": 10}, "cannot be turned"),
        ((f32("x", 2, 4, 24), cache, cache, ids), {}, "into None heads"),
        ((graph_input("x", tensor("float64", 2, 3, 4, 8)), cache, cache, ids), {}, "differ"),
    ):
        with pytest.raises(TypeRuleError, match=message):
            rotary_embedding(*inputs, **attrs)
