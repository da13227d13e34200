"""Convolutions with what stands before them: maps of their input channels."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from graphopt.analysis import same_shape
from graphopt.ir import Node
from graphopt.ops.arithmetic import add, mul
from graphopt.ops.conv import conv
from graphopt.ops.normalization import batch_normalization
from graphopt.passes.contractions.maps import (
    EXTREME,
    GROWS,
    ONE,
    ZERO,
    Affine,
    Uses,
    Vector,
    channels,
    exact,
    grows,
    normalizer,
    rounded,
    scaled,
    whole_gelu,
)
from graphopt.rewriting import (
    Attr,
    Const,
    Declined,
    Equations,
    MaybeConst,
    Rule,
    RuleSet,
    Soundness,
    Value,
    guards,
    rules,
)
from graphopt.rewriting.examples import example, filled, weights

Attributes = dict[str, Any]
MODEST = 256.0
"""Greater constants are not taken out of a sum before a convolution: they may hide what they are
added to."""


def by_input(w: Node, vector: Vector, group: int) -> Vector | None:
    """An element for each input channel in the layout of a convolution's weights."""
    assert w.constant is not None
    m, each, *kernel = w.constant.shape
    behind = (1,) * len(kernel)
    if vector.size == 1:
        return vector.reshape(1, 1, *behind)
    if vector.size != each * group:
        return None
    return np.repeat(vector.reshape(group, each), m // group, 0).reshape(m, each, *behind)


def folded_input(
    x: Node, w: Node, b: Node, map_: Affine, a: Attributes, uses: Uses
) -> Node | Declined:
    """conv(x * factor + shift) as a convolution of x."""
    assert w.constant is not None
    group = a.get("group", 1)
    factor, shift = (by_input(w, v, group) for v in (map_.factor, map_.shift))
    if factor is None or shift is None:
        return Declined("there is not one element for each channel")
    if map_.shift.any():
        if any(a.get("pads") or ()) or a.get("auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
            return Declined("what pads the value is not shifted")
        if w.dtype.bits < 32 or float(np.abs(map_.shift).max()) > MODEST:
            return Declined("the sum may round on purpose")
    new_b: Node | None = None if b.is_absent else b
    if map_.shift.any():
        held = np.broadcast_to(exact(w), w.constant.shape)
        total = (held * shift).reshape(w.constant.shape[0], -1).sum(1)
        new_b = rounded(total + (ZERO if b.is_absent else exact(b)), w.dtype, total.shape)
    new_w = scaled(w, factor, 0, new_b)
    if new_w is None or (new_b is None and map_.shift.any()):
        return EXTREME
    if grows([new_w, *([new_b] if new_b else [])], [w, b, *map_.spent], uses):
        return GROWS
    made: Node = conv(x, new_w, new_b, **a)
    return made


def folded_factor(
    x: Node, w: Node, b: Node, c: Node, inner: Node, a: Attributes, uses: Uses
) -> Node | Declined:
    """conv(x * c) as a convolution of x, where c has one element a channel."""
    vector = channels(c, inner)
    if vector is None or not same_shape(inner, x):
        return Declined("the constant does not vary by channel alone")
    return folded_input(x, w, b, Affine(vector, ZERO, (c,)), a, uses)


def folded_offset(
    x: Node, w: Node, b: Node, c: Node, inner: Node, a: Attributes, uses: Uses
) -> Node | Declined:
    """conv(x + c) as a convolution of x, where c has one element a channel."""
    vector = channels(c, inner)
    if vector is None or not same_shape(inner, x):
        return Declined("the constant does not vary by channel alone")
    return folded_input(x, w, b, Affine(ONE, vector, (c,)), a, uses)


def folded_normalizer(
    x: Node, w: Node, b: Node, inner: Node, a: Attributes, uses: Uses
) -> Node | Declined:
    """A convolution of a batch normalization as one of what it normalizes."""
    return folded_input(x, w, b, normalizer(inner), a, uses)


def _scaled_input(*shape: int) -> Node:
    image = example("float32[N, 4, 4, 4]")
    made: Node = conv(mul(image, weights(*shape, seed=3)), weights(6, 2, 1, 1), group=2)
    return made


def _shifted(border: int) -> Node:
    image = add(example("float32[N, 2, 4, 4]"), weights(2, 1, 1, seed=3))
    made: Node = conv(image, weights(3, 2, 3, 3), pads=(border,) * 4)
    return made


def _normalized(border: int) -> Node:
    held = [weights(2, seed=k) for k in range(3)]
    image = batch_normalization(example("float32[N, 2, 4, 4]"), *held, filled(0.5, 2))
    made: Node = conv(image, weights(3, 2, 3, 3), weights(3), pads=(border,) * 4)
    return made


@rules(Soundness.ROUNDING)
def conv_inputs(
    x: Value, w: Const, b: MaybeConst, c: Const, inner: Value, s: Const, o: Const, m: Const,
    v: Const, a: Attr, e: Attr,
) -> Equations:  # fmt: skip
    """A map per input channel goes into the weights of the convolution behind it.

    The constant of a sum is then one more input: the error is within gamma_k (|x| |w| + |c| |w|).
    """
    worth = (guards.used_once("inner"), whole_gelu)
    yield Rule(
        "mul",
        conv(inner.of(mul(x, c)), w, b, attrs=a),
        folded_factor,
        worth=worth,
        fires=lambda: _scaled_input(4, 1, 1),
        misses=lambda: _scaled_input(4, 1),
    )
    for name, pattern, right, shown in (
        ("add", add(x, c), folded_offset, _shifted),
        (
            "batch_norm",
            batch_normalization(x, s, o, m, v, attrs=e),
            folded_normalizer,
            _normalized,
        ),
    ):
        yield Rule(
            name,
            conv(inner.of(pattern), w, b, attrs=a),
            right,
            worth=worth,
            fires=partial(shown, 0),
            misses=partial(shown, 1),
        )


CONVS: RuleSet = conv_inputs
