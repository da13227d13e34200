"""Quantized numbers: zero points of zero, and round trips that give back what they were given."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from graphopt.ir import Node
from graphopt.op import Op
from graphopt.ops.integer import conv_integer, matmul_integer
from graphopt.ops.movement import transpose
from graphopt.ops.quantize import dequantize_linear, quantize_linear
from graphopt.ops.shape import flatten, reshape, squeeze, unsqueeze
from graphopt.passes.contractions.maps import exact
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
    rules,
)
from graphopt.rewriting.examples import example, filled, ints
from graphopt.types import DType

Attributes = Mapping[str, Any]
SMALL = (DType.INT8, DType.UINT8, DType.INT4, DType.UINT4, DType.INT2, DType.UINT2)


def zero(kind: str = "uint8") -> Node:
    """A zero point of 0, for examples."""
    return filled(0, dtype=kind)


def _product(*points: Node | None) -> Node:
    a, b = example("uint8[N, 3]", "a"), example("uint8[3, 4]", "b")
    made: Node = matmul_integer(a, b, *points)
    return made


def _convolution(*points: Node | None) -> Node:
    x, w = example("uint8[N, 2, 5, 5]"), example("uint8[3, 2, 2, 2]", "w")
    made: Node = conv_integer(x, w, *points, pads=(1, 0, 0, 1))
    return made


def _rest(op: Op, a: Attr) -> dict[str, Attr]:
    return {"attrs": a} if op.attributes else {}


@rules(Soundness.EXACT)
def zero_points(x: Value, y: Value, s: Value, z: Maybe, a: Attr) -> Equations:
    """A zero point of zero is left out."""
    one = filled(1, dtype="uint8")
    for name, op, shown in (
        ("matmul", matmul_integer, _product),
        ("conv", conv_integer, _convolution),
    ):
        yield Rule(
            f"{name}_right",
            op(x, y, z, 0, **_rest(op, a)),
            op(x, y, z, **_rest(op, a)),
            fires=partial(shown, one, zero()),
            misses=partial(shown, zero(), one),
        )
        yield Rule(
            f"{name}_left",
            op(x, y, 0, **_rest(op, a)),
            op(x, y, **_rest(op, a)),
            fires=partial(shown, zero()),
            misses=partial(shown, one),
        )
    yield Rule(
        "dequantize",
        dequantize_linear(x, s, 0, attrs=a),
        dequantize_linear(x, s, attrs=a),
        fires=lambda: dequantize_linear(example("int8[N, 4]"), filled(0.5), zero("int8")),
        misses=lambda: dequantize_linear(
            example("int8[N, 4]"), filled(0.5), filled(1, dtype="int8")
        ),
    )


SCALE = Declined("the scale is no ordinary float32")
OTHER = Declined("the numbers are not quantized as they were")


def unlike(x: Node, s: Node, root: Node, *attrs: Attributes) -> Declined | None:
    """Why x, dequantized and quantized again, is not x; None where it is.

    n * s and (n * s) / s have an error of 2^-24 each, relative to n of at most 2^9: the quotient
    rounds to n. It neither overflows nor underflows for ordinary s.
    """
    tensor = s.constant
    if tensor is None or tensor.dtype is not DType.FLOAT32:
        return SCALE
    held = np.abs(exact(s))
    if not bool(np.all((held >= 2.0**-64) & (held <= 2.0**64))):
        return SCALE
    if x.dtype not in SMALL or root.dtype is not x.dtype:
        return OTHER
    if any(name not in ("axis", "block_size") for given in attrs for name in given):
        return OTHER
    return None


def restored(x: Node, s: Node, root: Node, a: Attributes, b: Attributes) -> Node | Declined:
    """x for x dequantized and quantized again."""
    return unlike(x, s, root, a, b) or (x if dict(a) == dict(b) else OTHER)


def moved(x: Node, s: Node, z: Node, root: Node, a: Attributes, b: Attributes) -> Node | Declined:
    """x moved for x dequantized, moved and quantized again, by one scale and zero point."""
    move = root.inputs[0]
    points = (s,) if z.is_absent else (s, z)
    if any(item.rank != 0 and item.shape != (1,) for item in points):
        return Declined("the scale differs along an axis")
    made: Node = move.with_inputs((x, *move.inputs[1:]))
    return unlike(x, s, root, a, b) or made


def _trip(scale: Node, back: Node, point: int = 3) -> Node:
    z = filled(point, dtype="uint8")
    real = dequantize_linear(example("uint8[N, 4]"), scale, filled(3, dtype="uint8"))
    made: Node = quantize_linear(real, back, z)
    return made


def _carried(move: Op, *operands: Node, scale: Node | None = None) -> Node:
    s, z = scale or filled(0.3), filled(3, dtype="uint8")
    real = dequantize_linear(example("uint8[2, 1, 4]"), s, z)
    made: Node = quantize_linear(move(real, *operands), s, z)
    return made


@rules(Soundness.EXACT)
def round_trips(
    x: Value, s: Const, z: MaybeConst, t: Value, a: Attr, b: Attr, m: Attr
) -> Equations:
    """What is dequantized and quantized again in the same way is what it was."""
    real = dequantize_linear(x, s, z, attrs=a)
    yield Rule(
        "itself",
        quantize_linear(real, s, z, attrs=b),
        restored,
        fires=lambda: _trip(filled(0.3), filled(0.3)),
        misses=lambda: _trip(filled(0.3), filled(0.3), 4),
    )
    for op, pattern, operands in (
        (transpose, transpose(real, attrs=m), ()),
        (flatten, flatten(real, attrs=m), ()),
        (reshape, reshape(real, t, attrs=m), (ints(4, 2),)),
        (squeeze, squeeze(real, t), (ints(1),)),
        (unsqueeze, unsqueeze(real, t), (ints(1),)),
    ):
        yield Rule(
            op.name.lower(),
            quantize_linear(pattern, s, z, attrs=b),
            moved,
            fires=partial(_carried, op, *operands),
            misses=partial(_carried, op, *operands, scale=filled(1e-30)),
        )


QUANTIZED: RuleSet = zero_points + round_trips
