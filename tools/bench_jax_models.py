"""Functions and models twice: as graphopt sees them, and by hand for `jax.jit`.

What is written by hand is what one who knows JAX would write: weights are arguments, since XLA
takes long to compile large literals, and products have the precision that NumPy's have.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax as _jax
import jax.numpy as _jnp
import numpy as np
import onnx
from onnx import numpy_helper

import graphopt
from graphopt.frontends.onnx import from_proto
from graphopt.graph import Graph
from tools import model_inputs, models

jax: Any = _jax  # its types leave much unknown
jnp: Any = _jnp
lax: Any = _jax.lax

Array = Any
Weights = Mapping[str, Array]


@dataclass(frozen=True)
class Case:
    """A graph, a function for `jax.jit` that computes the same, and what they are called with.

    `hand` takes `weights`, unless there are none, and then the inputs in the graph's order; it
    returns a tuple of arrays.
    """

    name: str
    graph: Graph
    hand: Callable[..., tuple[Array, ...]]
    weights: Weights
    inputs: tuple[Array, ...]

    def of_inputs(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """`function`, made of `hand` by JAX, as a function of the inputs alone."""
        if not self.weights:
            return function
        weights = {name: jax.device_put(array) for name, array in self.weights.items()}
        return lambda *inputs: function(weights, *inputs)


# Functions of NumPy arrays.


def mlp(x: Array, w1: Array, b1: Array, w2: Array, b2: Array, w3: Array, b3: Array) -> Array:
    """Three dense layers, softmax at the end."""
    hidden = np.maximum(np.maximum(x @ w1 + b1, 0) @ w2 + b2, 0)
    scores = hidden @ w3 + b3
    powers = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def attention(x: Array, wq: Array, wk: Array, wv: Array, wo: Array, gain: Array) -> Array:
    """Self-attention of four heads, a residual connection and a layer norm."""
    length, width = x.shape

    def heads(w: Array) -> Array:
        return (x @ w).reshape(length, 4, width // 4).transpose(1, 0, 2)

    scores = heads(wq) @ heads(wk).transpose(0, 2, 1) / np.sqrt(np.float32(width // 4))
    powers = np.exp(scores - scores.max(axis=-1, keepdims=True))
    mixed = powers / powers.sum(axis=-1, keepdims=True) @ heads(wv)
    y = x + mixed.transpose(1, 0, 2).reshape(length, width) @ wo
    centred = y - y.mean(axis=-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + 1e-5) * gain


def chain(x: Array, y: Array) -> Array:
    """Element-wise functions, one after the other."""
    a = np.tanh(x * 0.5) + y
    b = np.exp(-a * a) * np.sin(x) - np.sqrt(np.abs(y) + 1)
    c = np.maximum(b, b * 0.1) / (1 + np.exp(-a))
    return np.minimum(np.maximum(c * c + a, -1), 1) * y


# The same by hand.


def hand_mlp(
    x: Array, w1: Array, b1: Array, w2: Array, b2: Array, w3: Array, b3: Array
) -> tuple[Array, ...]:
    """`mlp` by hand."""
    hidden = jax.nn.relu(jax.nn.relu(x @ w1 + b1) @ w2 + b2)
    return (jax.nn.softmax(hidden @ w3 + b3),)


def hand_attention(
    x: Array, wq: Array, wk: Array, wv: Array, wo: Array, gain: Array
) -> tuple[Array, ...]:
    """`attention` by hand."""
    length, width = x.shape

    def heads(w: Array) -> Array:
        return (x @ w).reshape(length, 4, width // 4).transpose(1, 0, 2)

    scores = heads(wq) @ heads(wk).transpose(0, 2, 1) / (width // 4) ** 0.5
    mixed = jax.nn.softmax(scores) @ heads(wv)
    y = x + mixed.transpose(1, 0, 2).reshape(length, width) @ wo
    centred = y - y.mean(-1, keepdims=True)
    return (centred * lax.rsqrt((centred**2).mean(-1, keepdims=True) + 1e-5) * gain,)


def hand_chain(x: Array, y: Array) -> tuple[Array, ...]:
    """`chain` by hand."""
    a = jnp.tanh(x * 0.5) + y
    b = jnp.exp(-a * a) * jnp.sin(x) - jnp.sqrt(jnp.abs(y) + 1)
    c = jnp.maximum(b, b * 0.1) * jax.nn.sigmoid(a)
    return (jnp.clip(c * c + a, -1, 1) * y,)


def hand_embedding(weights: Weights, x: Array) -> tuple[Array, ...]:
    """oww_embedding: 20 convolutions, alternately along both axes, with pooling in between.

    Channels last, as the input is, and what XLA runs fastest on CPUs.
    """
    forms = ("NHWC", "HWIO", "NHWC")
    pools = {2: (2, 2), 6: (1, 2), 10: (2, 2), 14: (1, 2), 18: (2, 2)}
    for k in range(19):
        name = f"model/conv2d_{k}/Conv2D" if k else "model/conv2d/Conv2D"
        w, bias = weights[f"{name}_weights_fused_bn"], weights[f"{name}_bias_fused_bn"]
        width = [(0, 0), (1, 1)] if w.shape[1] == 3 else "VALID"
        x = lax.conv_general_dilated(x, w, (1, 1), width, dimension_numbers=forms) + bias
        x = jnp.maximum(jax.nn.leaky_relu(x, 0.2), -0.4)
        if pool := pools.get(k):
            sizes = (1, *pool, 1)
            x = lax.reduce_window(x, -jnp.inf, lax.max, sizes, sizes, "VALID")
    w = weights["model/conv2d_19/Conv2D/ReadVariableOp:0"]
    return (lax.conv_general_dilated(x, w, (1, 1), "VALID", dimension_numbers=forms),)


def hand_decoder(
    weights: Weights, prefix: Array, memory: Array, mask: Array, hidden: Array
) -> tuple[Array, ...]:
    """romanizer_decoder: two GRU cells, attention over the source, a row of log probabilities."""
    x = weights["m.emb.weight"][prefix[:, -1]]
    states: list[Array] = []
    for k in range(2):
        wi, wh, bi, bh = (
            weights[f"m.decoder.{name}_l{k}"]
            for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        )
        h = hidden[:, k]
        ri, zi, ni = jnp.split(x @ wi.T + bi, 3, 1)
        rh, zh, nh = jnp.split(h @ wh.T + bh, 3, 1)
        z = jax.nn.sigmoid(zi + zh)
        x = (1 - z) * jnp.tanh(ni + jax.nn.sigmoid(ri + rh) * nh) + z * h
        states.append(x)
    scores = jnp.einsum("bq,bsq->bs", x @ weights["onnx::MatMul_165"], memory)
    shares = jax.nn.softmax(jnp.where(mask, -1e9, scores))
    both = jnp.concatenate([x, jnp.einsum("bs,bsq->bq", shares, memory)], 1)
    mixed = jnp.tanh(both @ weights["onnx::MatMul_166"] + weights["m.combine.bias"])
    scores = mixed @ weights["m.out.weight"].T + weights["m.out.bias"]
    return jax.nn.log_softmax(scores), jnp.stack(states, 1)


# Cases.

Shapes = Sequence[tuple[int, ...]]

FUNCTIONS: Mapping[str, tuple[Callable[..., Array], Callable[..., tuple[Array, ...]], Shapes]] = {
    "mlp": (
        mlp,
        hand_mlp,
        [(64, 256), (256, 512), (512,), (512, 512), (512,), (512, 10), (10,)],
    ),
    "attention": (attention, hand_attention, [(128, 256), *[(256, 256)] * 4, (256,)]),
    "chain": (chain, hand_chain, [(256, 256), (256, 256)]),
}
"""A function of NumPy arrays, the same by hand, and the shapes of the arguments."""

MODELS: Mapping[str, Callable[..., tuple[Array, ...]]] = {
    "oww_embedding": hand_embedding,
    "romanizer_decoder": hand_decoder,
}
"""Development models by hand."""


def function_case(name: str) -> Case:
    """A function by name, on random arguments whose products stay in range."""
    function, hand, shapes = FUNCTIONS[name]
    rng = np.random.default_rng(0)
    scaled = (rng.standard_normal(shape, np.float32) / shape[0] ** 0.5 for shape in shapes)
    inputs = tuple(each.astype(np.float32) for each in scaled)
    graph = graphopt.function(function).graph(*inputs)
    return Case(name, graph, hand, {}, inputs)


def model_case(name: str, size: int = 0) -> Case:
    """A development model by name, at one of its input sizes. Raises FetchError."""
    proto: Any = onnx.load(models.fetch(name))  # pyright: ignore[reportUnknownMemberType]
    weights = {each.name: numpy_helper.to_array(each) for each in proto.graph.initializer}
    graph = from_proto(proto)
    types = {node.attrs["name"]: node.dtype.numpy for node in graph.inputs}
    feeds = model_inputs.feeds(name, size, types)
    inputs = tuple(feeds[each] for each in graph.input_names)
    used = {
        each: array.transpose(2, 3, 1, 0).copy() if array.ndim == 4 else array  # channels last
        for each, array in weights.items()
        if array.dtype.kind == "f"
    }
    return Case(name, graph, MODELS[name], used, inputs)


def case(name: str) -> Case:
    """A function or a model by name. Raises FetchError."""
    return function_case(name) if name in FUNCTIONS else model_case(name)
