"""What models with linear attention carry along: its state, and that of a causal convolution."""

from __future__ import annotations

from graphopt.dims import Size
from graphopt.ir import Node
from graphopt.op import Array, Xp, op, refuse
from graphopt.ops.attention import head_sizes, merge_heads, split_heads, spread_heads
from graphopt.ops.checks import check_rank, check_size, one_size, same_dtype, size_at
from graphopt.ops.dtypes import SHORT_FLOATS
from graphopt.ops.examples import given
from graphopt.ops.kernels import wide
from graphopt.types import DType, TensorType, Type

RULES = {
    "linear": (False, False),
    "gated": (True, False),
    "delta": (False, True),
    "gated_delta": (True, True),
}
"""For each update rule, whether it takes decay and beta."""


@op("LinearAttention")
def linear_attention(
    xp: Xp,
    query: Array,
    key: Array,
    value: Array,
    past_state: Array | None = None,
    decay: Array | None = None,
    beta: Array | None = None,
    *,
    chunk_size: int = 64,
    kv_num_heads: int,
    q_num_heads: int,
    scale: float = 0.0,
    update_rule: str = "gated_delta",
    outputs: int = 2,
) -> Array:
    """scale * q S, step by step, where every step writes its key and value into the state S.

    S' = e^decay * S + k ⊗ v; the delta rules write beta * (v - k (e^decay * S)) instead of v.
    query, key and value are (batch, time, heads * size). Outputs: (batch, time, q heads * value
    size), and the last state (batch, kv heads, key size, value size). `chunk_size` is a hint.
    """
    dtype, kept = query.dtype, (query if past_state is None else past_state).dtype
    query, key, value, past_state, decay, beta = wide(
        xp, query, key, value, past_state, decay, beta
    )
    q = split_heads(xp, query, q_num_heads)
    k, v = (split_heads(xp, item, kv_num_heads) for item in (key, value))
    batch = check_size("the batch", q.shape[0], k.shape[0], v.shape[0])
    length = check_size("the time", q.shape[2], k.shape[2], v.shape[2])
    shape = (batch, kv_num_heads, k.shape[3], v.shape[3])
    state = xp.zeros(shape, q.dtype) if past_state is None else past_state.reshape(shape)
    if decay is not None:
        decay = xp.exp(split_heads(xp, decay, kv_num_heads))
    if beta is not None:
        beta = split_heads(xp, beta, beta.shape[2])
    factor = scale or q.shape[3] ** -0.5
    steps = [xp.zeros((batch, q_num_heads, 0, v.shape[3]), q.dtype)]
    for time in range(length):
        row, new = k[:, :, time : time + 1], v[:, :, time : time + 1]
        if decay is not None:
            state = state * decay[:, :, time, :, None]
        if beta is not None:
            new = beta[:, :, time : time + 1] * (new - row @ state)
        state = xp.broadcast_to(state + xp.swapaxes(row, 2, 3) * new, shape)
        steps.append(q[:, :, time : time + 1] @ spread_heads(xp, state, q_num_heads) * factor)
    y = merge_heads(xp, xp.concatenate(steps, axis=2)).astype(dtype)
    return (y, state.astype(kept)) if outputs == 2 else y


@linear_attention.infer
def _(
    query: Node,
    key: Node,
    value: Node,
    past_state: Node | None,
    decay: Node | None,
    beta: Node | None,
    *,
    chunk_size: int,
    kv_num_heads: int,
    q_num_heads: int,
    scale: float,
    update_rule: str,
    outputs: int,
) -> Type | tuple[Type, ...]:
    dtype = same_dtype(query, key, value, decay, beta, among=SHORT_FLOATS)
    kept = dtype if past_state is None else same_dtype(past_state, among=SHORT_FLOATS)
    if RULES.get(update_rule) != (decay is not None, beta is not None):
        raise refuse(f"the update rule {update_rule!r} does not take these inputs")
    if kv_num_heads < 1 or q_num_heads < 1 or q_num_heads % kv_num_heads:
        raise refuse(f"{q_num_heads} heads of q cannot share {kv_num_heads} of k and v")
    if outputs not in (1, 2):
        raise refuse(f"{outputs} outputs")
    for item in (query, key, value, decay, beta):
        check_rank(item, (3,), "an input")
    check_rank(past_state, (4,), "past_state")
    of_q, of_k = head_sizes(query, q_num_heads), head_sizes(key, kv_num_heads)
    of_v = head_sizes(value, kv_num_heads)
    others = [size_at(item, 0) for item in (past_state, decay, beta)]
    batch = one_size("the batch", of_q[0], of_k[0], of_v[0], *others)
    length = one_size("the time", of_q[2], of_k[2], of_v[2], size_at(decay, 1), size_at(beta, 1))
    size = one_size("the size of a head", of_q[3], of_k[3], size_at(past_state, 2))
    v_size = one_size("the size of a head of v", of_v[3], size_at(past_state, 3))
    one_size("the number of heads", kv_num_heads, size_at(past_state, 1))
    for item, widths in ((decay, (1, size)), (beta, (1,))):
        check_gate(item, kv_num_heads, widths)
    y = TensorType(dtype, (batch, length, None if v_size is None else v_size * q_num_heads))
    state = TensorType(kept, (batch, kv_num_heads, size, v_size))
    return (y, state) if outputs == 2 else y


def check_gate(gate: Node | None, heads: int, widths: tuple[Size | None, ...]) -> None:
    """Refuse a gate whose last axis is none of the heads times a width; beta may also be one."""
    width = size_at(gate, 2)
    allowed = [None if size is None else size * heads for size in widths]
    if len(widths) == 1:
        allowed.append(1)
    if isinstance(width, int) and all(isinstance(a, int) and a != width for a in allowed):
        raise refuse(f"the last axis of a gate is {width}")


def silu(xp: Xp, x: Array) -> Array:
    """x * sigmoid(x)."""
    return x / (1 + xp.exp(-x))


@op("CausalConvWithState")
def causal_conv_with_state(
    xp: Xp,
    x: Array,
    weight: Array,
    bias: Array | None = None,
    past_state: Array | None = None,
    *,
    activation: str = "none",
    outputs: int = 2,
) -> Array:
    """A convolution of each channel of x (batch, channels, length) with the elements before each.

    weight is (channels, 1, k), bias (channels). past_state (batch, channels, k - 1) stands before
    x, else zeros do. Outputs: y, of x's shape, and the last k - 1 elements for the next call.
    """
    dtype, length, taps = x.dtype, x.shape[2], weight.shape[2]
    check_size("the number of channels", x.shape[1], weight.shape[0])
    check_size("the second axis of the weight", 1, weight.shape[1])
    before = xp.zeros((*x.shape[:2], taps - 1), dtype) if past_state is None else past_state
    check_size("the size of the state and 1", taps, before.shape[2] + 1)
    padded = xp.concatenate((before, x), axis=2)
    full, weight, bias = wide(xp, padded, weight, bias)
    made = xp.zeros(x.shape, full.dtype)
    for tap in range(taps):
        made = made + full[:, :, tap : tap + length] * weight[:, :, tap]
    if bias is not None:
        made = made + bias.reshape(x.shape[1], 1)
    if activation != "none":
        made = silu(xp, made)
    y = made.astype(dtype)
    return (y, padded[:, :, length:]) if outputs == 2 else y


@causal_conv_with_state.infer
def _(
    x: Node,
    weight: Node,
    bias: Node | None,
    past_state: Node | None,
    *,
    activation: str,
    outputs: int,
) -> Type | tuple[Type, ...]:
    dtype = same_dtype(x, weight, bias, past_state, among=SHORT_FLOATS)
    for item, rank in ((x, 3), (weight, 3), (bias, 1), (past_state, 3)):
        check_rank(item, (rank,), "an input")
    if activation not in ("none", "silu", "swish") or outputs not in (1, 2):
        raise refuse(f"activation {activation!r}, {outputs} outputs")
    sizes = (size_at(x, 1), size_at(weight, 0), size_at(bias, 0), size_at(past_state, 1))
    channels = one_size("the number of channels", *sizes)
    batch = one_size("the batch", size_at(x, 0), size_at(past_state, 0))
    one_size("the second axis of the weight", 1, size_at(weight, 1))
    taps = size_at(weight, 2)
    state = one_size("the state", None if taps is None else taps - 1, size_at(past_state, 2))
    if isinstance(state, int) and state < 0:
        raise refuse("the weight is empty")
    y = TensorType(dtype, (batch, channels, size_at(x, 2)))
    return (y, TensorType(dtype, (batch, channels, state))) if outputs == 2 else y


@linear_attention.examples
def _() -> list[Node]:
    q, k, v = given("q", 2, 3, 16), given("k", 2, 3, 8), given("v", 2, 3, 6)
    state, gate, fine = given("s", 2, 2, 4, 3), given("g", 2, 3, 2), given("g", 2, 3, 8)
    beta, heads = given("b", 2, 3, 2), {"q_num_heads": 4, "kv_num_heads": 2}
    half = [given(n, 1, 2, 4, dtype=DType.FLOAT16) for n in "qkv"]
    return [
        linear_attention(q, k, v, update_rule="linear", **heads),
        linear_attention(q, k, v, state, gate, update_rule="gated", scale=0.5, **heads),
        linear_attention(q, k, v, state, None, beta, update_rule="delta", **heads),
        linear_attention(q, k, v, None, fine, given("b", 2, 3, 1), **heads),
        linear_attention(*half, q_num_heads=2, kv_num_heads=2, update_rule="linear"),
    ]


@causal_conv_with_state.examples
def _() -> list[Node]:
    x, w, b, state = given("x", 2, 3, 5), given("w", 3, 1, 4), given("b", 3), given("s", 2, 3, 3)
    return [
        causal_conv_with_state(x, w),
        causal_conv_with_state(x, w, b, state, activation="silu"),
        causal_conv_with_state(given("x", 2, 3, 1), w, None, state, activation="swish"),
        causal_conv_with_state(x, given("w", 3, 1, 1)),
        causal_conv_with_state(given("x", 0, 3, 5), w, b),
    ]
