"""Convolutions with what stands before them: maps of their input channels, axes put in."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from graphopt.analysis import same_shape
from graphopt.ir import Node
from graphopt.ops.arithmetic import add, mul
from graphopt.ops.conv import conv
from graphopt.ops.normalization import batch_normalization
from graphopt.ops.shape import squeeze, unsqueeze
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
)
from graphopt.rewriting import (
    Attr,
    Const,
    Declined,
    Equations,
    Maybe,
    MaybeConst,
    Rule,
    RuleSet,
    Soundness,
    Value,
    guards,
    rules,
)
from graphopt.rewriting.examples import example, filled, ints, weights
from graphopt.structural import constant
from graphopt.tensor import Tensor

Attributes = dict[str, Any]
MODEST = 256.0
"""Greater constants are not taken out of a sum before a convolution: they may hide what they are
added to."""


def flat(x: Node, w: Node, b: Node, i: Node, j: Node, a: Attributes, uses: Uses) -> Node | Declined:
    """A convolution of a value with an axis put in, which is taken out again, as one without."""
    held, rank = w.constant, x.rank
    assert held is not None
    if rank is None or i.ints is None or j.ints is None or len(i.ints) != 1 or len(j.ints) != 1:
        return Declined("the axes are not known, or several")
    axis = i.ints[0] % (rank + 1)
    place = axis - 2
    if rank < 3 or place < 0 or j.ints[0] % (rank + 1) != axis or held.shape[axis] != 1:
        return Declined("the axis is not one that a kernel of size 1 slides over")
    pads = a.get("pads") or ()
    if pads and (pads[place] or pads[place + rank - 1]):
        return Declined("the axis is padded")
    if a.get("auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
        return Declined("the padding follows from the size")
    attrs = {name: _without(value, place, rank - 1) for name, value in a.items()}
    new_w = reshaped(held, tuple(size for k, size in enumerate(held.shape) if k != axis))
    if grows([new_w], [w], uses):
        return GROWS
    made: Node = conv(x, new_w, None if b.is_absent else b, **attrs)
    return made


def _without(value: Any, place: int, axes: int) -> Any:
    """An attribute without its entries for one of some axes."""
    if not isinstance(value, tuple):
        return value
    entries: tuple[Any, ...] = value  # pyright: ignore[reportUnknownVariableType]  # of integers
    return tuple(entry for k, entry in enumerate(entries) if k % axes != place)


def reshaped(held: Tensor, shape: tuple[int, ...]) -> Node:
    """A constant in another shape."""
    if held.is_splat:
        return constant(Tensor.splat(held.dtype, shape, held.element))
    return constant(Tensor.of(held.array.reshape(shape), held.dtype))


def _wrapped(*kernel: int) -> Node:
    row = unsqueeze(example("float32[N, 2, 9]"), ints(2))
    made: Node = conv(row, weights(3, 2, *kernel), weights(3), strides=(1, 2), pads=(0, 1, 0, 1))
    return squeeze(made, ints(2))  # type: ignore[no-any-return]  # what an op returns


@rules(Soundness.ROUNDING)
def flat_convolutions(
    x: Value, w: Const, b: Maybe, i: Const, j: Const, inner: Value, a: Attr
) -> Equations:
    """A convolution between an Unsqueeze and a Squeeze is one of fewer axes."""
    yield Rule(
        "unsqueezed",
        squeeze(inner.of(conv(unsqueeze(x, i), w, b, attrs=a)), j),
        flat,
        worth=guards.used_once("inner"),
        fires=lambda: _wrapped(1, 3),
        misses=lambda: squeeze(
            conv(unsqueeze(example("float32[N, 2, 1]"), ints(2)), weights(3, 2, 1, 1)), ints(3)
        ),
    )


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
    new_w = scaled(w, factor, 0)
    new_b: Node | None = None if b.is_absent else b
    if map_.shift.any():
        held = np.broadcast_to(exact(w), w.constant.shape)
        total = (held * shift).reshape(w.constant.shape[0], -1).sum(1)
        new_b = rounded(total + (ZERO if b.is_absent else exact(b)), w.dtype, total.shape)
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
    worth = guards.used_once("inner")
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
FLAT_CONVOLUTIONS: RuleSet = flat_convolutions
"""Fewer nodes, but ONNX Runtime's blocked layouts are for two axes: not among the defaults."""
