"""Rules of recurrent layers: a state that begins as zeros need not be given."""

from __future__ import annotations

from functools import partial
from typing import Any

from graphopt.ir import Node
from graphopt.op import Op
from graphopt.ops.rnn import gru, lstm, rnn
from graphopt.ranges import facts_of
from graphopt.rewriting import (
    Attr,
    Declined,
    Equations,
    Function,
    Maybe,
    Rule,
    Soundness,
    Value,
    rules,
)
from graphopt.rewriting.examples import example, filled, weights

STATES = {rnn: (5,), gru: (5,), lstm: (5, 6)}
"""At which inputs a layer takes the state that it begins with."""
GATES = {rnn: 1, gru: 3, lstm: 4}


def is_zero(value: Node) -> bool:
    """Whether every element is proven to be +0.0."""
    if value.is_absent:
        return False
    facts = facts_of(value)
    never_else = facts.low == facts.high == 0 and not facts.may_be_nan
    return never_else and not facts.may_be_negative_zero


def from_zeros(positions: tuple[int, ...]) -> Function[Node | Declined | None]:
    """The layer without those of its first states that are zeros."""

    def right(root: Node) -> Node | Declined | None:
        given: list[Node | None] = [None if item.is_absent else item for item in root.inputs]
        for k in positions:
            if k < len(given) and is_zero(root.inputs[k]):
                given[k] = None
        made: Any = root.op(*given, **root.attrs)
        return made if made is not root else Declined("the state may be other than zeros")

    return right


def _layer(op: Op, state: float) -> Node:
    gates = GATES[op]
    x, w, r = (
        example("float32[N, 2, 3]"),
        weights(1, 2 * gates, 3),
        weights(1, 2 * gates, 2, seed=1),
    )
    made: Node = op(x, w, r, None, None, filled(state, 1, 2, 2), hidden_size=2)
    return made


@rules(Soundness.EXACT)
def recurrent(x: Value, w: Value, r: Value, b: Maybe, s: Maybe, h: Maybe, c: Maybe, p: Maybe,
              a: Attr) -> Equations:  # fmt: skip
    """A recurrent layer that begins with zeros given begins with zeros by default."""
    lefts = {
        rnn: rnn(x, w, r, b, s, h, attrs=a),
        gru: gru(x, w, r, b, s, h, attrs=a),
        lstm: lstm(x, w, r, b, s, h, c, p, attrs=a),
    }
    for op, left in lefts.items():
        yield Rule(
            op.name.lower(),
            left,
            from_zeros(STATES[op]),
            fires=partial(_layer, op, 0.0),
            misses=partial(_layer, op, -0.0),
        )


RECURRENT = recurrent
