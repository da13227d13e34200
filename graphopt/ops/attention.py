"""Attention over queries, keys and values.

Q, K and V are (batch, heads, sequence, size), or (batch, sequence, heads * size) with the numbers
of heads as attributes. Everything is computed in float32 at least and rounded at the end.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from graphopt import dims
from graphopt.dims import Size
from graphopt.ir import Node
from graphopt.op import Array, Facts, Xp, op, refuse
from graphopt.ops.checks import check_dtype, check_rank, check_size, float_dtype, one_size, size_at
from graphopt.ops.dtypes import FLOATS, NUMBERS
from graphopt.ops.examples import given
from graphopt.ops.kernels import wide
from graphopt.structural import constant
from graphopt.types import DType, TensorType, Type

MASKS = (*NUMBERS, DType.BOOL)
Heads = tuple[Size | None, Size | None, Size | None, Size | None]
"""The sizes (batch, heads, sequence, head size), None where they are not known."""


def split_heads(xp: Xp, x: Array, heads: int | None) -> Array:
    """(batch, sequence, heads * size) as (batch, heads, sequence, size); 4-d arrays as they are."""
    if x.ndim == 4:
        check_size("the number of heads", x.shape[1], heads or x.shape[1])
        return x
    if not heads:
        raise ValueError("the number of heads is missing")
    batch, length, hidden = x.shape
    size = check_size("heads times their size", hidden, hidden // heads * heads) // heads
    return xp.transpose(x.reshape(batch, length, heads, size), (0, 2, 1, 3))


def spread_heads(xp: Xp, x: Array, heads: int) -> Array:
    """Each head repeated, so that there are as many as the queries have."""
    group = heads // max(1, x.shape[1])
    check_size("the number of heads", heads, group * x.shape[1])
    return xp.repeat(x, group, axis=1)


def merge_heads(xp: Xp, x: Array) -> Array:
    """The inverse of `split_heads`."""
    batch, heads, length, size = x.shape
    return xp.transpose(x, (0, 2, 1, 3)).reshape(batch, length, heads * size)


def barred(xp: Xp, allowed: Array, dtype: Any) -> Array:
    """0 where something is allowed, -inf elsewhere."""
    return xp.where(allowed, xp.zeros((), dtype), xp.full((), -xp.inf, dtype))


def frontier(xp: Xp, shape: tuple[int, int], offset: Array, left: int, right: int) -> Array:
    """Whether query i may see key j: offset + i - left <= j <= offset + i + right; -1: no bound.

    `offset` (batch or 1) counts the keys before the queries; the result is (that, 1, i, j).
    """
    queries, keys = xp.arange(shape[0])[:, None], xp.arange(shape[1])[None, :]
    ahead = keys - queries - offset[:, None, None, None]
    allowed = xp.ones(ahead.shape, bool)
    if left >= 0:
        allowed = allowed & (ahead >= -left)
    if right >= 0:
        allowed = allowed & (ahead <= right)
    return allowed


def additive_bias(
    xp: Xp,
    scores: Array,
    mask: Array | None,
    past: int,
    lengths: Array | None,
    bounds: Sequence[tuple[int, int]],
) -> Array:
    """What masks add to scores (batch, heads, queries, keys); it broadcasts to them.

    A mask shorter than the keys is continued by -inf. `lengths` says how many keys are there,
    `bounds` how far each query sees to the left and the right, -1: any distance.
    """
    shape, dtype = scores.shape, scores.dtype
    queries, keys = shape[2:]
    bias = xp.zeros((1, 1, queries, keys), dtype)
    if mask is not None:
        added = barred(xp, mask, dtype) if mask.dtype == bool else xp.asarray(mask, dtype)
        missing = [(0, 0)] * (added.ndim - 1) + [(0, keys - added.shape[-1])]
        added = xp.pad(added, missing, constant_values=-xp.inf)
        bias = bias + xp.broadcast_to(added, shape)
    offset = xp.full((1,), past)
    if lengths is not None:
        check_size("the batch", shape[0], lengths.shape[0])
        offset = lengths - queries
        bias = bias + barred(xp, xp.arange(keys) < lengths[:, None, None, None], dtype)
    for left, right in bounds:
        if (left, right) != (-1, -1):
            bias = bias + barred(xp, frontier(xp, (queries, keys), offset, left, right), dtype)
    return bias


def masked_softmax(xp: Xp, scores: Array, bias: Array) -> Array:
    """The softmax of scores + bias over the last axis; 0 in rows that see no key at all."""
    highest = xp.max(scores, axis=-1, keepdims=True, initial=-xp.inf)
    powers = xp.exp(scores - xp.where(highest == -xp.inf, xp.zeros_like(highest), highest))
    total = xp.sum(powers, axis=-1, keepdims=True)
    shares = powers / xp.where(total == 0, xp.ones_like(total), total)
    blind = xp.max(bias, axis=-1, keepdims=True, initial=-xp.inf) == -xp.inf
    return xp.where(blind, xp.zeros_like(shares), shares)


@op("Attention", facts=Facts(signed_zero="passed"))
def attention(
    xp: Xp,
    q: Array,
    k: Array,
    v: Array,
    attn_mask: Array | None = None,
    past_key: Array | None = None,
    past_value: Array | None = None,
    nonpad_kv_seqlen: Array | None = None,
    *,
    is_causal: int = 0,
    kv_num_heads: int | None = None,
    left_window_size: int = -1,
    q_num_heads: int | None = None,
    qk_matmul_output_mode: int = 0,
    right_window_size: int = -1,
    scale: float | None = None,
    softcap: float = 0.0,
    softmax_precision: DType | None = None,
    outputs: int = 1,
) -> Array:
    """softmax(scale * q kᵀ + masks) v, per head; each head of k and v serves as many heads of q.

    Outputs: y, of q's rank; the keys and the values with the past before them, 4-d; the scores
    (batch, heads, queries, keys): raw, softcapped, with the masks added, or after the softmax.
    """
    flat, dtype = q.ndim == 3, q.dtype
    q, k, v = (
        split_heads(xp, item, heads)
        for item, heads in ((q, q_num_heads), (k, kv_num_heads), (v, kv_num_heads))
    )
    past = 0
    if past_key is not None and past_value is not None:
        past = check_size("the past", past_key.shape[2], past_value.shape[2])
        k, v = xp.concatenate((past_key, k), axis=2), xp.concatenate((past_value, v), axis=2)
    check_size("the batch", q.shape[0], k.shape[0], v.shape[0])
    check_size("the heads of k and v", k.shape[1], v.shape[1])
    check_size("the number of keys", k.shape[2], v.shape[2])
    (wide_q, wide_k), (wide_v,) = wide(xp, q, k), wide(xp, v)
    wide_k, wide_v = (spread_heads(xp, item, q.shape[1]) for item in (wide_k, wide_v))
    factor = (q.shape[3] ** -0.5 if scale is None else scale) ** 0.5
    stages = [(wide_q * factor) @ (xp.swapaxes(wide_k, 2, 3) * factor)]
    stages.append(xp.tanh(stages[0] / softcap) * softcap if softcap > 0 else stages[0])
    bounds = [(left_window_size, right_window_size)] + [(-1, 0)] * bool(is_causal)
    bias = additive_bias(xp, stages[0], attn_mask, past, nonpad_kv_seqlen, bounds)
    stages.append(stages[1] + bias)
    logits = stages[2]
    if softmax_precision is DType.FLOAT64:  # narrower ones are less than what is there already
        logits = xp.asarray(logits, xp.dtype(softmax_precision))
    stages.append(masked_softmax(xp, logits, bias))
    y = (xp.asarray(stages[3], wide_v.dtype) @ wide_v).astype(dtype)
    y = merge_heads(xp, y) if flat else y
    found = (y, k, v, stages[qk_matmul_output_mode].astype(dtype))
    return found[:outputs] if outputs > 1 else y


@attention.infer
def _(
    q: Node,
    k: Node,
    v: Node,
    attn_mask: Node | None,
    past_key: Node | None,
    past_value: Node | None,
    nonpad_kv_seqlen: Node | None,
    *,
    is_causal: int,
    kv_num_heads: int | None,
    left_window_size: int,
    q_num_heads: int | None,
    qk_matmul_output_mode: int,
    right_window_size: int,
    scale: float | None,
    softcap: float,
    softmax_precision: DType | None,
    outputs: int,
) -> Type | tuple[Type, ...]:
    float_dtype(q, k, past_key)
    float_dtype(v, past_value)
    check_options(past_key, past_value, nonpad_kv_seqlen, left_window_size, right_window_size)
    if softmax_precision not in (None, *FLOATS) or qk_matmul_output_mode not in range(4):
        raise refuse(f"softmax_precision {softmax_precision}, mode {qk_matmul_output_mode}")
    if not 1 <= outputs <= 4:
        raise refuse(f"{outputs} outputs")
    batch, heads, queries, size = head_sizes(q, q_num_heads)
    of_k, of_v = head_sizes(k, kv_num_heads), head_sizes(v, kv_num_heads)
    past_k, past_v = head_sizes(past_key, None), head_sizes(past_value, None)
    batch = one_size("the batch", batch, of_k[0], of_v[0], past_k[0], size_at(nonpad_kv_seqlen, 0))
    kv_heads = one_size("the heads of k and v", of_k[1], of_v[1], past_k[1], past_v[1])
    if isinstance(heads, int) and isinstance(kv_heads, int) and heads % max(kv_heads, 1):
        raise refuse(f"{heads} heads of q cannot share {kv_heads} heads of k and v")
    new = one_size("the number of keys", of_k[2], of_v[2])
    past: Size | None = 0
    if past_key is not None:
        past = one_size("the past", past_k[2], past_v[2])
    keys = None if new is None or past is None else new + past
    check_mask(attn_mask, batch, heads, queries, keys)
    size = one_size("the size of a head", size, of_k[3], past_k[3])
    v_size = one_size("the size of a head of v", of_v[3], past_v[3])
    y: tuple[Size | None, ...] | None = None
    if q.rank == 4:
        y = (batch, heads, queries, v_size)
    elif q.rank == 3:
        y = (batch, queries, None if heads is None or v_size is None else heads * v_size)
    types = (
        TensorType(q.dtype, y),
        TensorType(k.dtype, (batch, kv_heads, keys, size)),
        TensorType(v.dtype, (batch, kv_heads, keys, v_size)),
        TensorType(q.dtype, (batch, heads, queries, keys)),
    )
    return types[:outputs] if outputs > 1 else types[0]


def head_sizes(x: Node | None, heads: int | None) -> Heads:
    """The sizes of a value whose heads are split; `heads` is used where it is 3-d."""
    check_rank(x, (3, 4), "q, k or v")
    if x is None or x.shape is None:
        return (None, None, None, None)
    if len(x.shape) == 4:
        batch, counted, length, size = x.shape
        return (batch, one_size("the number of heads", counted, heads), length, size)
    if heads is None or heads < 1:
        raise refuse(f"{heads} heads")
    batch, length, hidden = x.shape
    if isinstance(hidden, int) and hidden % heads:
        raise refuse(f"{hidden} elements cannot be split into {heads} heads")
    return (batch, heads, length, dims.floordiv(hidden, heads))


def check_options(
    past_key: Node | None, past_value: Node | None, lengths: Node | None, left: int, right: int
) -> None:
    """Refuse inputs that exclude or want one another, and windows that end before they start."""
    if (past_key is None) != (past_value is None):
        raise refuse("past_key and past_value go together")
    check_rank(past_key, (4,), "past_key")
    check_rank(past_value, (4,), "past_value")
    if lengths is not None:
        check_dtype(lengths, (DType.INT64,), "nonpad_kv_seqlen")
        check_rank(lengths, (1,), "nonpad_kv_seqlen")
        if past_key is not None:
            raise refuse("nonpad_kv_seqlen excludes past_key")
    if left < -1 or right < -1:
        raise refuse(f"the window is {left}, {right}")


def check_mask(mask: Node | None, *scores: Size | None) -> None:
    """Refuse a mask that cannot be broadcast to the scores once its last axis is continued."""
    if mask is None:
        return
    check_dtype(mask, MASKS, "attn_mask")
    check_rank(mask, (1, 2, 3, 4), "attn_mask")
    *front, last = mask.shape or (None,)
    for size, wanted in zip(reversed(front), reversed(scores[:-1]), strict=False):
        if size != 1:
            one_size("an axis of attn_mask", size, wanted)
    if isinstance(last, int) and isinstance(scores[-1], int) and last > scores[-1]:
        raise refuse(f"attn_mask is {last} wide where there are {scores[-1]} keys")


@attention.examples
def _() -> list[Node]:
    q, k, v = given("q", 2, 4, 3, 8), given("k", 2, 2, 5, 8), given("v", 2, 2, 5, 6)
    flat = given("q", 2, 3, 32), given("k", 2, 5, 16), given("v", 2, 5, 12)
    heads = {"q_num_heads": 4, "kv_num_heads": 2}
    past = given("pk", 2, 2, 3, 8), given("pv", 2, 2, 3, 6)
    half = [given(n, 1, 2, 3, 4, dtype=DType.FLOAT16) for n in "qkv"]
    seen = constant([[True, False, True, True], [True] * 4, [False] * 4])
    return [
        attention(q, k, v),
        attention(*flat, **heads, outputs=3, scale=0.25, softcap=2.0),
        attention(q, k, v, given("m", 3, 5), softcap=1.5, qk_matmul_output_mode=2, outputs=4),
        attention(q, k, v, given("m", 4, 1, 5)),
        attention(q, k, v, given("m", 2, 1, 3, 5), is_causal=1),
        attention(q, k, v, seen, qk_matmul_output_mode=3, outputs=4),
        attention(q, k, v, None, *past, is_causal=1, outputs=4, qk_matmul_output_mode=1),
        attention(q, k, v, None, None, None, constant([5, 2]), is_causal=1),
        attention(q, k, v, left_window_size=1, right_window_size=0),
        attention(*flat, None, *past, **heads, outputs=3),
        attention(*half, softmax_precision=DType.FLOAT32),
        attention(given("q", 1, 2, 0, 4), given("k", 1, 2, 3, 4), given("v", 1, 2, 3, 4)),
    ]
