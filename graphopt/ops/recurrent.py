"""What recurrent layers share: directions, layouts, lengths of sequences, types.

X is (time, batch, input), or (batch, time, input) with layout 1. W is (directions, gates * hidden,
input), R (directions, gates * hidden, hidden), B (directions, 2 * gates * hidden), of which the
second half belongs to R. The outputs are the hidden states at all times (time, directions, batch,
hidden) and the last states (directions, batch, hidden); with layout 1 the batch comes first.
A sequence that is shorter than the time axis keeps its state beyond its end, and shows 0 there;
one of length 0 ends at 0 whatever its initial state, as in ONNX Runtime.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from graphopt.dims import Size
from graphopt.ir import Node
from graphopt.op import Array, Xp, refuse
from graphopt.ops.checks import check_dtype, check_rank, check_size, float_dtype, one_size, size_at
from graphopt.types import DType, TensorType, Type

States = tuple[Array, ...]
Cell = Callable[[int, Array, Array, Array, States], States]
"""(direction, X times W plus its bias, R, R's bias, states) -> the next states, hidden first."""
BACKWARD = {"forward": (False,), "reverse": (True,), "bidirectional": (False, True)}


@dataclass(frozen=True, slots=True)
class Form:
    """How many gates a layer has, and the attributes that every kind of layer has."""

    gates: int
    direction: str
    layout: int
    hidden_size: int | None
    outputs: int

    @property
    def backward(self) -> tuple[bool, ...]:
        """For each direction, whether it goes back in time."""
        return BACKWARD[self.direction]

    def put(self, xp: Xp, state: Array) -> Array:
        """A state (directions, batch, hidden) in the layer's layout, and back again."""
        return xp.swapaxes(state, 0, 1) if self.layout else state


def recur(
    xp: Xp,
    step: Callable[[Array, States], States],
    inputs: Array,
    states: States,
    lens: Array | None,
    backward: bool,
) -> tuple[Array, ...]:
    """The hidden states at all times and the last states, in one direction.

    Going back in time, a sequence starts at its own end: until there its state stays initial.
    """

    def advance(time: Any, states: States) -> tuple[States, Array]:
        new = step(inputs[time], states)
        if lens is None:
            return new, new[0]
        alive = (time < lens)[:, None]
        kept = tuple(xp.where(alive, a, b) for a, b in zip(new, states, strict=True))
        return kept, xp.where(alive, kept[0], xp.zeros_like(kept[0]))

    if inputs.shape[0]:
        *lasts, shown = xp.scan(advance, states, inputs.shape[0], backward)
        states = tuple(lasts)
    else:
        shown = xp.zeros((0, *states[0].shape), states[0].dtype)
    if lens is not None:
        states = tuple(xp.where(lens[:, None] > 0, s, xp.zeros_like(s)) for s in states)
    return (shown, *states)


def run_layer(
    xp: Xp,
    form: Form,
    cell: Cell,
    dtype: Any,
    x: Array,
    w: Array,
    r: Array,
    b: Array | None,
    lens: Array | None,
    *initial: Array | None,
) -> Array:
    """The outputs, in `dtype`, of a layer whose cell is given; absent states start at 0."""
    x = form.put(xp, x)
    ways, rows, hidden, batch = len(form.backward), w.shape[1], r.shape[2], x.shape[1]
    check_size("the number of directions", ways, w.shape[0], r.shape[0])
    check_size("the hidden size", hidden, form.hidden_size or hidden)
    check_size("the size of the gates", form.gates * hidden, rows, r.shape[1])
    check_size("the batch", batch, *(() if lens is None else lens.shape))
    biases = xp.zeros((ways, 2 * rows), x.dtype) if b is None else b.reshape(ways, 2 * rows)
    zero = xp.zeros((ways, batch, hidden), x.dtype)
    starts = [
        zero if state is None else form.put(xp, state).reshape(zero.shape) for state in initial
    ]
    runs: list[tuple[Array, ...]] = []
    for k, backward in enumerate(form.backward):

        def step(inputs: Array, states: States, k: int = k) -> States:
            return cell(k, inputs, r[k], biases[k, rows:], states)

        first = tuple(start[k] for start in starts)
        runs.append(recur(xp, step, x @ w[k].T + biases[k, :rows], first, lens, backward))
    ys, *lasts = zip(*runs, strict=True)
    y = xp.stack(ys, axis=1)
    made = [xp.transpose(y, (2, 0, 1, 3)) if form.layout else y]
    made += [form.put(xp, xp.stack(last)) for last in lasts]
    found = tuple(item.astype(dtype) for item in made[: form.outputs])
    return found if form.outputs > 1 else found[0]


def layer_types(
    form: Form,
    x: Node,
    w: Node,
    r: Node,
    b: Node | None,
    lens: Node | None,
    *initial: Node | None,
) -> Type | tuple[Type, ...]:
    """The types of a layer's outputs."""
    if form.direction not in BACKWARD:
        raise refuse(f"there is no direction {form.direction!r}")
    if not 1 <= form.outputs <= 1 + len(initial):
        raise refuse(f"{form.outputs} outputs")
    dtype = float_dtype(x, w, r, b, *initial)
    check_dtype(lens, (DType.INT32,), "sequence_lens")
    for value, rank in ((x, 3), (w, 3), (r, 3), (b, 2), (lens, 1), *((s, 3) for s in initial)):
        check_rank(value, (rank,), "an input")
    ways: Size = len(form.backward)
    batch_axis, way_axis = (0, 1) if form.layout else (1, 0)
    directions = [size_at(value, 0) for value in (w, r, b)]
    one_size("the number of directions", ways, *directions, *sizes_at(initial, way_axis))
    one_size("the input size", size_at(x, 2), size_at(w, 2))
    hidden = hidden_size(form, w, r, b, initial)
    batch = one_size(
        "the batch", size_at(x, batch_axis), size_at(lens, 0), *sizes_at(initial, batch_axis)
    )
    time = size_at(x, 1 - batch_axis)
    y = (batch, time, ways, hidden) if form.layout else (time, ways, batch, hidden)
    last = (batch, ways, hidden) if form.layout else (ways, batch, hidden)
    types = (TensorType(dtype, y), *(TensorType(dtype, last) for _ in initial))
    return types[: form.outputs] if form.outputs > 1 else types[0]


def sizes_at(values: Sequence[Node | None], axis: int) -> list[Size | None]:
    """The sizes of one axis of several values."""
    return [size_at(value, axis) for value in values]


def hidden_size(
    form: Form, w: Node, r: Node, b: Node | None, initial: Sequence[Node | None]
) -> Size | None:
    """The number of hidden units, from whichever input or attribute tells it."""
    rows = one_size("the size of the gates", size_at(w, 1), size_at(r, 1))
    hidden = one_size(
        "the hidden size", form.hidden_size or None, size_at(r, 2), *sizes_at(initial, 2)
    )
    if hidden is not None:
        rows = one_size("the size of the gates", hidden * form.gates, rows)
    if rows is not None:
        one_size("the size of the bias", rows * 2, size_at(b, 1))
    if isinstance(rows, int) and not isinstance(hidden, int):
        return rows // form.gates
    return hidden
