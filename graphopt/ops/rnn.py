"""RNN, GRU and LSTM; `recurrent` says how their inputs and outputs are laid out."""

from __future__ import annotations

from collections.abc import Sequence

from graphopt.ir import Node
from graphopt.op import Array, Facts, Floats, Strings, Xp, op, refuse
from graphopt.ops.checks import check_rank, float_dtype, one_size, size_at
from graphopt.ops.examples import given
from graphopt.ops.kernels import wide
from graphopt.ops.recurrent import BACKWARD, Form, States, layer_types, run_layer
from graphopt.ops.rnn_activations import Activation, activations_of, check_activations
from graphopt.structural import constant
from graphopt.types import DType, Type


def per_direction(direction: str, each: Strings) -> Strings:
    """The default activations of a layer: those of a direction, repeated."""
    return each * len(BACKWARD.get(direction, ()))


def split_by_direction(
    functions: Sequence[Activation], direction: str
) -> list[Sequence[Activation]]:
    """The activations of each direction."""
    ways = len(BACKWARD[direction])
    share = len(functions) // ways
    return [functions[k * share : (k + 1) * share] for k in range(ways)]


@op("RNN", facts=Facts(signed_zero="passed"))
def rnn(
    xp: Xp,
    x: Array,
    w: Array,
    r: Array,
    b: Array | None = None,
    sequence_lens: Array | None = None,
    initial_h: Array | None = None,
    *,
    activation_alpha: Floats | None = None,
    activation_beta: Floats | None = None,
    activations: Strings = ("Tanh", "Tanh"),
    clip: float | None = None,
    direction: str = "forward",
    hidden_size: int | None = None,
    layout: int = 0,
    outputs: int = 1,
) -> Array:
    """h' = f(x W + h R + b). Outputs: Y, Y_h."""
    dtype = x.dtype
    x, w, r, b, initial_h = wide(xp, x, w, r, b, initial_h)
    functions = activations_of(xp, activations, activation_alpha, activation_beta, clip)

    def cell(k: int, inputs: Array, r: Array, rb: Array, states: States) -> States:
        (h,) = states
        return (functions[k](inputs + (h @ r.T + rb)),)

    form = Form(1, direction, layout, hidden_size, outputs)
    return run_layer(xp, form, cell, dtype, x, w, r, b, sequence_lens, initial_h)


@rnn.infer
def _(
    x: Node,
    w: Node,
    r: Node,
    b: Node | None,
    sequence_lens: Node | None,
    initial_h: Node | None,
    *,
    activation_alpha: Floats | None,
    activation_beta: Floats | None,
    activations: Strings,
    clip: float | None,
    direction: str,
    hidden_size: int | None,
    layout: int,
    outputs: int,
) -> Type | tuple[Type, ...]:
    # The default names two functions whatever the direction: more than are needed are no mistake.
    check_activations(activations, len(BACKWARD.get(direction, ())))
    form = Form(1, direction, layout, hidden_size, outputs)
    return layer_types(form, x, w, r, b, sequence_lens, initial_h)


@op("GRU", facts=Facts(signed_zero="passed"))
def gru(
    xp: Xp,
    x: Array,
    w: Array,
    r: Array,
    b: Array | None = None,
    sequence_lens: Array | None = None,
    initial_h: Array | None = None,
    *,
    activation_alpha: Floats | None = None,
    activation_beta: Floats | None = None,
    activations: Strings | None = None,
    clip: float | None = None,
    direction: str = "forward",
    hidden_size: int | None = None,
    layout: int = 0,
    linear_before_reset: int = 0,
    outputs: int = 1,
) -> Array:
    """h' = (1 - z) * g(x Wh + (reset * h) Rh + b) + z * h, z and reset = f(x W + h R + b).

    Gates stand in the order z, reset, h. With linear_before_reset, reset scales (h Rh + its bias)
    instead of h. Outputs: Y, Y_h.
    """
    dtype = x.dtype
    x, w, r, b, initial_h = wide(xp, x, w, r, b, initial_h)
    names = activations or per_direction(direction, ("Sigmoid", "Tanh"))
    functions = activations_of(xp, names, activation_alpha, activation_beta, clip)
    shares = split_by_direction(functions, direction)

    def cell(k: int, inputs: Array, r: Array, rb: Array, states: States) -> States:
        f, g = shares[k]
        (h,) = states
        n = h.shape[1]
        gates = inputs[:, : 2 * n] + (h @ r[: 2 * n].T + rb[: 2 * n])
        z, reset = f(gates[:, :n]), f(gates[:, n:])
        if linear_before_reset:
            inner = reset * (h @ r[2 * n :].T + rb[2 * n :])
        else:
            inner = (reset * h) @ r[2 * n :].T + rb[2 * n :]
        return ((1 - z) * g(inputs[:, 2 * n :] + inner) + z * h,)

    form = Form(3, direction, layout, hidden_size, outputs)
    return run_layer(xp, form, cell, dtype, x, w, r, b, sequence_lens, initial_h)


@gru.infer
def _(
    x: Node,
    w: Node,
    r: Node,
    b: Node | None,
    sequence_lens: Node | None,
    initial_h: Node | None,
    *,
    activation_alpha: Floats | None,
    activation_beta: Floats | None,
    activations: Strings | None,
    clip: float | None,
    direction: str,
    hidden_size: int | None,
    layout: int,
    linear_before_reset: int,
    outputs: int,
) -> Type | tuple[Type, ...]:
    check_count(activations, direction, 2)
    form = Form(3, direction, layout, hidden_size, outputs)
    return layer_types(form, x, w, r, b, sequence_lens, initial_h)


def check_count(activations: Strings | None, direction: str, each: int) -> None:
    """Refuse activations that are not `each` a direction."""
    if activations:
        wanted = each * len(BACKWARD.get(direction, ()))
        check_activations(activations, wanted)
        if len(activations) > wanted:
            raise refuse(f"{len(activations)} activations where {wanted} are taken")


@op("LSTM", facts=Facts(signed_zero="passed"))
def lstm(
    xp: Xp,
    x: Array,
    w: Array,
    r: Array,
    b: Array | None = None,
    sequence_lens: Array | None = None,
    initial_h: Array | None = None,
    initial_c: Array | None = None,
    p: Array | None = None,
    *,
    activation_alpha: Floats | None = None,
    activation_beta: Floats | None = None,
    activations: Strings | None = None,
    clip: float | None = None,
    direction: str = "forward",
    hidden_size: int | None = None,
    input_forget: int = 0,
    layout: int = 0,
    outputs: int = 1,
) -> Array:
    """c' = forget * c + i * g(x Wc + h Rc + b), h' = o * h(c'), the gates i, o, forget = f(...).

    Gates stand in the order i, o, forget, c. The peepholes p (directions, 3 * hidden) add c,
    scaled, to the gates i and forget, and c' to o. With input_forget, forget is 1 - i. `clip`
    bounds what f and g take, but not c', as in ONNX Runtime. Outputs: Y, Y_h, Y_c.
    """
    dtype = x.dtype
    x, w, r, b, initial_h, initial_c, p = wide(xp, x, w, r, b, initial_h, initial_c, p)
    names = activations or per_direction(direction, ("Sigmoid", "Tanh", "Tanh"))
    functions = activations_of(xp, names, activation_alpha, activation_beta, clip)
    functions[2::3] = activations_of(xp, names, activation_alpha, activation_beta, None)[2::3]
    shares = split_by_direction(functions, direction)
    peepholes = xp.zeros((len(shares), 3 * r.shape[2]), x.dtype) if p is None else p

    def cell(k: int, inputs: Array, r: Array, rb: Array, states: States) -> States:
        f, g, show = shares[k]
        h, c = states
        i, o, forget, new = xp.split(inputs + (h @ r.T + rb), 4, axis=1)
        pi, po, pf = xp.split(peepholes[k], 3)
        i = f(i + pi * c)
        forget = 1 - i if input_forget else f(forget + pf * c)
        c = forget * c + i * g(new)
        return f(o + po * c) * show(c), c

    form = Form(4, direction, layout, hidden_size, outputs)
    return run_layer(xp, form, cell, dtype, x, w, r, b, sequence_lens, initial_h, initial_c)


@lstm.infer
def _(
    x: Node,
    w: Node,
    r: Node,
    b: Node | None,
    sequence_lens: Node | None,
    initial_h: Node | None,
    initial_c: Node | None,
    p: Node | None,
    *,
    activation_alpha: Floats | None,
    activation_beta: Floats | None,
    activations: Strings | None,
    clip: float | None,
    direction: str,
    hidden_size: int | None,
    input_forget: int,
    layout: int,
    outputs: int,
) -> Type | tuple[Type, ...]:
    check_count(activations, direction, 3)
    form = Form(4, direction, layout, hidden_size, outputs)
    types = layer_types(form, x, w, r, b, sequence_lens, initial_h, initial_c)
    float_dtype(x, p)
    check_rank(p, (2,), "the peepholes")
    one_size("the number of directions", len(form.backward), size_at(p, 0))
    hidden = size_at(r, 2)
    if hidden is not None:
        one_size("the size of the peepholes", hidden * 3, size_at(p, 1))
    return types


def operands(gates: int, ways: int, layout: int = 0, dtype: DType = DType.FLOAT32) -> list[Node]:
    """X, W, R, B of an example: 3 steps of a batch of 2, 4 inputs, 5 hidden units."""
    x = (2, 3, 4) if layout else (3, 2, 4)
    shapes = (x, (ways, gates * 5, 4), (ways, gates * 5, 5), (ways, gates * 10))
    return [given(name, *s, dtype=dtype) for name, s in zip("xwrb", shapes, strict=True)]


def start(name: str, ways: int, layout: int = 0) -> Node:
    """An initial state of an example."""
    return given(name, *((2, ways, 5) if layout else (ways, 2, 5)))


LENS = [3, 1]


@rnn.examples
def _() -> list[Node]:
    lens, size = constant(LENS, DType.INT32), {"hidden_size": 5}
    bent = {"activation_alpha": (0.5,), "activation_beta": (0.25,), "clip": 0.7}
    both = operands(1, 2)
    return [
        rnn(*operands(1, 1)[:3]),
        rnn(*operands(1, 1), lens, start("h", 1), outputs=2, direction="reverse", **size),
        rnn(*both, direction="bidirectional", activations=("Relu", "Affine"), **bent, **size),
        rnn(*operands(1, 1, 1), None, start("h", 1, 1), layout=1, outputs=2),
        rnn(*operands(1, 1, dtype=DType.FLOAT64), **size),
    ]


@gru.examples
def _() -> list[Node]:
    lens, size = constant(LENS, DType.INT32), {"hidden_size": 5}
    return [
        gru(*operands(3, 1)[:3], outputs=2, **size),
        gru(
            *operands(3, 1), lens, start("h", 1), direction="reverse", linear_before_reset=1, **size
        ),
        gru(*operands(3, 2), lens, direction="bidirectional", outputs=2, clip=0.5, **size),
        gru(*operands(3, 1, 1), None, start("h", 1, 1), layout=1, outputs=2),
        gru(*operands(3, 1), activations=("HardSigmoid", "Softsign"), clip=0.4, **size),
        gru(*operands(3, 1), activations=("Sigmoid", "LeakyRelu"), linear_before_reset=1, **size),
    ]


@lstm.examples
def _() -> list[Node]:
    lens, p, size = constant(LENS, DType.INT32), given("p", 1, 15), {"hidden_size": 5}
    states = [start(name, 1) for name in "hc"]
    one, bent = operands(4, 1), {"activation_alpha": (0.3, 0.4, 1.5), "activation_beta": (0.4, 0.8)}
    return [
        lstm(*one[:3], outputs=3, **size),
        lstm(*one, lens, *states, p, direction="reverse", outputs=3, clip=0.5, **size),
        lstm(*operands(4, 2), lens, direction="bidirectional", outputs=2, **size),
        lstm(*operands(4, 1, 1), None, *(start(n, 1, 1) for n in "hc"), layout=1, outputs=3),
        lstm(*one, None, *states, p, input_forget=1, **size),
        lstm(*one, activations=("HardSigmoid", "Elu", "ScaledTanh"), **bent, **size),
    ]
