"""Recurrent layers against the equations, written out one step and one sequence at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphopt.errors import TypeRuleError
from graphopt.ir import Node, types_of
from graphopt.op import Op
from graphopt.ops.rnn import gru, lstm, rnn
from graphopt.ops.rnn_activations import SHAPES, activations_of
from graphopt.structural import constant, graph_input
from graphopt.types import DType
from tests.ops import harness
from tests.ops.harness import tensor

Array = Any
RNG = np.random.default_rng(3)
INPUT, HIDDEN = 2, 3
GATES = {rnn: 1, gru: 3, lstm: 4}
every_layer = pytest.mark.parametrize("op", GATES, ids=lambda op: op.name)


def value(node: Node) -> Array:
    return harness.run(node, {})[node]


def sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


def weights(op: Op, ways: int = 1) -> list[Array]:
    """W, R and B."""
    rows = GATES[op] * HIDDEN
    return [RNG.normal(size=(ways, *s)) for s in ((rows, INPUT), (rows, HIDDEN), (2 * rows,))]


def rnn_step(x: Array, w: Array, r: Array, b: Array, h: Array, c: Array) -> tuple[Array, Array]:
    return np.tanh(w @ x + r @ h + b[:HIDDEN] + b[HIDDEN:]), c


def gru_step(x: Array, w: Array, r: Array, b: Array, h: Array, c: Array) -> tuple[Array, Array]:
    wz, wr, wh = np.split(w @ x + b[: 3 * HIDDEN], 3)
    (rz, rr, rh), (bz, br, bh) = np.split(r, 3), np.split(b[3 * HIDDEN :], 3)
    z, reset = sigmoid(wz + rz @ h + bz), sigmoid(wr + rr @ h + br)
    return (1 - z) * np.tanh(wh + rh @ (reset * h) + bh) + z * h, c


def lstm_step(x: Array, w: Array, r: Array, b: Array, h: Array, c: Array) -> tuple[Array, Array]:
    i, o, f, g = np.split(w @ x + r @ h + b[: 4 * HIDDEN] + b[4 * HIDDEN :], 4)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(c), c


STEPS: dict[Op, Callable[..., tuple[Array, Array]]] = {
    rnn: rnn_step,
    gru: gru_step,
    lstm: lstm_step,
}


def naive(op: Op, x: Array, ws: list[Array], lens: list[int], backward: list[bool]) -> Array:
    """Y and the last hidden states."""
    time, batch, _ = x.shape
    y = np.zeros((time, len(backward), batch, HIDDEN))
    last = np.zeros((len(backward), batch, HIDDEN))
    for d, back in enumerate(backward):
        for n, length in enumerate(lens):
            h, c = np.zeros(HIDDEN), np.zeros(HIDDEN)
            for t in reversed(range(length)) if back else range(length):
                h, c = STEPS[op](x[t, n], *(w[d] for w in ws), h, c)
                y[t, d, n] = h
            last[d, n] = h
    return y, last


@every_layer
@given(
    flow=st.sampled_from(
        [("forward", [False]), ("reverse", [True]), ("bidirectional", [False, True])]
    ),
    time=st.integers(0, 4),
    lens=st.lists(st.integers(0, 4), min_size=1, max_size=3),
    given_lens=st.booleans(),
    layout=st.integers(0, 1),
)
def test_layer_is_its_equations(
    op: Op, flow: Any, time: int, lens: list[int], given_lens: bool, layout: int
) -> None:
    direction, backward = flow
    lens = [min(n, time) for n in lens] if given_lens else [time] * len(lens)
    x, ws = RNG.normal(size=(time, len(lens), INPUT)), weights(op, len(backward))
    y, last = naive(op, x, ws, lens, backward)
    node = op(
        constant(x.swapaxes(0, 1) if layout else x),
        *map(constant, ws),
        constant(lens, DType.INT32) if given_lens else None,
        direction=direction,
        layout=layout,
        outputs=2,
    )
    made, ended = value(node)
    if layout:
        made, ended = made.transpose(1, 2, 0, 3), ended.swapaxes(0, 1)
    np.testing.assert_allclose(made, y, atol=1e-12)
    np.testing.assert_allclose(ended, last, atol=1e-12)


@every_layer
def test_a_sequence_can_be_continued(op: Op) -> None:
    """Two halves, the second from the states at the end of the first, are the whole."""
    x, ws = RNG.normal(size=(5, 2, INPUT)), list(map(constant, weights(op)))
    count = 3 if op is lstm else 2
    y, *last = value(op(constant(x), *ws, outputs=count))
    _, *states = value(op(constant(x[:2]), *ws, outputs=count))
    made, *ended = value(op(constant(x[2:]), *ws, None, *map(constant, states), outputs=count))
    np.testing.assert_allclose(made, y[2:], atol=1e-12)
    np.testing.assert_allclose(ended, last, atol=1e-12)


def test_gru_resets_before_or_after_the_product() -> None:
    x, (w, r, b) = RNG.normal(size=(1, 1, INPUT)), weights(gru)
    h = RNG.normal(size=(1, 1, HIDDEN))
    inputs = [constant(a) for a in (x, w, r, b)]
    before, after = (
        value(gru(*inputs, None, constant(h), linear_before_reset=k)).reshape(-1) for k in (0, 1)
    )
    wanted, _ = gru_step(x[0, 0], w[0], r[0], b[0], h[0, 0], h[0, 0])
    np.testing.assert_allclose(before, wanted)
    assert not np.allclose(before, after)


def test_lstm_peepholes_and_coupled_gates() -> None:
    x, (w, r, b) = RNG.normal(size=(1, 1, INPUT)), weights(lstm)
    h, c, p = (RNG.normal(size=n) for n in (HIDDEN, HIDDEN, 3 * HIDDEN))
    pi, po, pf = np.split(p, 3)
    i, o, f, g = np.split(w[0] @ x[0, 0] + r[0] @ h + b[0, :12] + b[0, 12:], 4)
    inputs = [constant(a) for a in (x, w, r, b)]
    states = [constant(a.reshape(1, 1, HIDDEN)) for a in (h, c)]
    for coupled in (0, 1):
        gate = sigmoid(i + pi * c)
        forget = 1 - gate if coupled else sigmoid(f + pf * c)
        new = forget * c + gate * np.tanh(g)
        shown = sigmoid(o + po * new) * np.tanh(new)
        made = value(
            lstm(*inputs, None, *states, constant(p[None]), input_forget=coupled, outputs=3)
        )
        np.testing.assert_allclose(made[1].reshape(-1), shown)
        np.testing.assert_allclose(made[2].reshape(-1), new)


def test_activations_take_parameters_in_order() -> None:
    """Only functions that have a parameter consume one; what is missing is the default."""
    names = ("Tanh", "HardSigmoid", "elu", "HardSigmoid")
    tanh, first, elu, second = activations_of(np, names, (0.1, 2.0), (0.3,), None)
    x = np.array([-1.0, 0.5])
    np.testing.assert_allclose(tanh(x), np.tanh(x))
    np.testing.assert_allclose(first(x), [0.2, 0.35], rtol=1e-6)
    np.testing.assert_allclose(elu(x), [2 * np.expm1(-1), 0.5])
    np.testing.assert_allclose(second(x), [0.3, 0.6], rtol=1e-6)


@pytest.mark.parametrize("name", SHAPES)
def test_activations_stay_finite(name: str) -> None:
    (function,) = activations_of(np, (name,), None, None, None)
    with np.errstate(over="ignore"):
        assert np.isfinite(function(np.array([-1e30, -1.0, 0.0, 1.0, 1e30]))).all()
    (clipped,) = activations_of(np, (name,), None, None, 0.25)
    assert clipped(np.array([9.0])) == function(np.array([0.25]))


def f32(name: str, *shape: int | str) -> Node:
    return graph_input(name, tensor("float32", *shape))


def test_types_with_symbols() -> None:
    x, w, r = f32("x", "T", "N", 4), f32("w", 2, 20, 4), f32("r", 2, 20, "H")
    node = lstm(x, w, r, direction="bidirectional", outputs=3)
    y, h, c = types_of(node)
    assert str(y) == "float32[T, 2, N, 5]"
    assert str(h) == str(c) == "float32[2, N, 5]"
    flipped = gru(f32("x", "N", "T", 4), f32("w", 1, 15, 4), f32("r", 1, 15, 5), layout=1)
    assert str(flipped.type) == "float32[N, T, 1, 5]"


def test_layers_refuse_what_does_not_fit() -> None:
    x, w, r = f32("x", 3, 2, 4), f32("w", 1, 20, 4), f32("r", 1, 20, 5)
    bad: list[tuple[dict[str, Any], str]] = [
        ({"direction": "both"}, "no direction 'both'"),
        ({"direction": "bidirectional"}, "number of directions is both 2 and 1"),
        ({"hidden_size": 4}, "hidden size is both 4 and 5"),
        ({"activations": ("Tanh",)}, "1 activations where 3"),
        ({"activations": ("Tanh",) * 6}, "6 activations where 3"),
        ({"activations": ("Tanh", "Swish", "Tanh")}, "no activation 'Swish'"),
        ({"outputs": 4}, "4 outputs"),
    ]
    for attrs, message in bad:
        with pytest.raises(TypeRuleError, match=message):
            lstm(x, w, r, **attrs)
    with pytest.raises(TypeRuleError, match="size of the gates is both 15 and 20"):
        gru(x, w, r)
    with pytest.raises(TypeRuleError, match="input size is both 4 and 3"):
        lstm(x, f32("w", 1, 20, 3), r)
    with pytest.raises(TypeRuleError, match="int64 is not taken for sequence_lens"):
        lstm(x, w, r, None, graph_input("l", tensor("int64", 2)))
    with pytest.raises(TypeRuleError, match="size of the peepholes is both 15 and 20"):
        lstm(x, w, r, None, None, None, None, f32("p", 1, 20))
    with pytest.raises(TypeRuleError, match="batch is both 2 and 3"):
        lstm(x, w, r, None, None, f32("h", 1, 3, 5))
