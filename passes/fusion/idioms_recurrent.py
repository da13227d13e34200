"""Idioms of recurrent cells as exporters spell them out: a step of a GRU."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from graphopt.analysis import same_shape
from graphopt.fusion import between, fuse, used_outside
from graphopt.ir import Node
from graphopt.ops.activation import sigmoid
from graphopt.ops.arithmetic import add, mul, sub
from graphopt.ops.functions import tanh
from graphopt.ops.linalg import gemm
from graphopt.ops.rnn import gru
from graphopt.ops.shape import squeeze, unsqueeze
from graphopt.ops.slicing import split
from graphopt.passes.contractions.maps import Uses
from graphopt.passes.movement.positions import cuts, vector
from graphopt.rewriting import Declined, Equations, Float, Rule, Soundness, rules
from graphopt.rewriting.examples import example, filled, ints, weights
from graphopt.structural import constant, out, out_op
from graphopt.types import DType

GATES = 3
NO_CELL = Declined("it is no cell of a GRU")
Place = tuple[Node, int]
"""A product that is split into gates, and which of them."""


@dataclass(frozen=True)
class Weights:
    """The rows of a product's weights and bias, by gate."""

    x: Node
    w: np.ndarray[Any, Any]
    b: np.ndarray[Any, Any]


def gate_of(value: Node) -> Place | None:
    """Of which product a value is one of three equal parts."""
    if value.op is not out_op or value.inputs[0].op is not split:
        return None
    found = cuts(value.inputs[0])
    if found is None or found[0] != 1 or len(found[1]) != GATES + 1:
        return None
    _, first, second, last = found[1]
    same = isinstance(first, int) and first > 0 and (second, last) == (2 * first, 3 * first)
    return (value.inputs[0].inputs[0], value.attrs["index"]) if same else None


def gate_sum(value: Node, op: Any, inner: Node, outer: Node) -> int | None:
    """Which gate of both products a value is: op of their sum."""
    places = [gate_of(item) for item in value.inputs[0].inputs] if value.op is op else []
    if value.inputs[0].op is not add or None in places:
        return None
    found = {place for place in places if place}
    gates = {gate for _, gate in found}
    both = {product for product, _ in found} == {inner, outer}
    return gates.pop() if both and len(gates) == 1 else None


def weights_of(product: Node, uses: Uses) -> Weights | None:
    """What a Gemm multiplies its first operand by, and adds, as a GRU has it."""
    if product.op is not gemm:
        return None
    arguments = product.op.arguments(product.attrs)
    if arguments["alpha"] != 1 or arguments["beta"] != 1 or arguments["transA"]:
        return None
    x, w, *rest = product.inputs
    b = rest[0] if rest and not rest[0].is_absent else None
    if w.constant is None or uses(w) > 1 or (b is not None and b.constant is None):
        return None
    rows = w.constant.array if arguments["transB"] else w.constant.array.T
    bias = np.zeros(1, rows.dtype) if b is None or b.constant is None else b.constant.array
    if bias.size > 1 and not bias.shape[-1] == bias.size == len(rows):
        return None  # it varies by row
    return Weights(x, rows, np.broadcast_to(bias.reshape(-1), (len(rows),)))


def ordered(made: np.ndarray[Any, Any], gates: Sequence[int]) -> np.ndarray[Any, Any]:
    """Rows by gate in another order."""
    parts = np.split(made, GATES)
    return np.concatenate([parts[gate] for gate in gates])


def one_step(z: Node, c: Node, h: Node, root: Node, uses: Uses) -> Node | Declined:
    """The cell (1 - z) * c + z * h as a layer of one step."""
    found = products_of(c)
    if found is None or root.dtype is not DType.FLOAT32:
        return NO_CELL
    inner, outer, r, last = found
    gates = gate_sum(z, sigmoid, inner, outer), gate_sum(r, sigmoid, inner, outer), last
    given, state = weights_of(inner, uses), weights_of(outer, uses)
    if given is None or state is None or state.x is not h or set(gates) != {0, 1, 2}:
        return NO_CELL
    if not same_shape(root, h) or not same_shape(inner, outer):
        return Declined("something is broadcast")
    if used_outside(between(root, (given.x, h)), root, uses):
        return Declined("a part of it is used elsewhere")
    order = [gate for gate in gates if gate is not None]
    w, s = (constant(ordered(item.w, order)[None]) for item in (given, state))
    b = np.concatenate([ordered(item.b, order) for item in (given, state)])[None]
    x, before = (unsqueeze(item, vector([0])) for item in (given.x, h))
    size = len(state.w) // GATES
    layer = gru(x, w, s, constant(b), None, before, hidden_size=size, linear_before_reset=1)
    return fuse(root, between(root, (given.x, h)), "GRU", squeeze(layer, vector([0, 1])))


def products_of(c: Node) -> tuple[Node, Node, Node, int] | None:
    """Of tanh(i + r * s): the products whose parts i and s are, r, and which part that is."""
    if c.inputs[0].op is not add:
        return None
    for i, term in (c.inputs[0].inputs, c.inputs[0].inputs[::-1]):
        for r, s in (term.inputs, term.inputs[::-1]) if term.op is mul else ():
            given, state = gate_of(i), gate_of(s)
            if given and state and given[1] == state[1] and given[0] is not state[0]:
                return given[0], state[0], r, given[1]
    return None


def _gates(x: Node, seed: int, columns: int) -> list[Node]:
    product = gemm(x, weights(6, columns, seed=seed), weights(6, seed=seed + 1), transB=1)
    node: Node = split(product, ints(2, 2, 2), axis=1, outputs=GATES)
    return [out(node, gate) for gate in range(GATES)]


def _cell(kept: str = "h") -> Node:
    i = _gates(example("float32[N, 4]"), 0, 4)
    s = _gates(example("float32[N, 2]", "h"), 2, 2)
    r, z = (sigmoid(add(i[gate], s[gate])) for gate in (0, 1))
    c = tanh(add(i[2], mul(r, s[2])))
    made: Node = add(mul(sub(filled(1), z), c), mul(z, example("float32[N, 2]", kept)))
    return made


@rules(Soundness.ROUNDING)
def gru_cells(z: Float, t: Float, c: Float, h: Float) -> Equations:
    """(1 - z) * tanh(x W + b + r * (h R + d)) + z * h: a GRU of one step"""
    yield Rule(
        "split",
        add(mul(sub(1.0, z), c.of(tanh(t))), mul(z, h)),
        one_step,
        fires=_cell,
        misses=partial(_cell, "other"),
    )


FIRST = gru_cells
