"""Quantized numbers that are only moved or compared between two conversions stay as they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from graphopt.ir import Node
from graphopt.op import Op
from graphopt.ops.indexing import gather
from graphopt.ops.pool import max_pool
from graphopt.ops.quantize import dequantize_linear, quantize_linear
from graphopt.ops.shape import expand
from graphopt.ops.slicing import concat, slice_, tile
from graphopt.passes.contractions.maps import exact
from graphopt.passes.contractions.quantized import OTHER, moved, unlike
from graphopt.rewriting import (
    Attr,
    Const,
    Declined,
    Equations,
    Many,
    Maybe,
    MaybeConst,
    Rule,
    RuleSet,
    Soundness,
    Value,
    rules,
)
from graphopt.rewriting.examples import example, filled, ints
from graphopt.structural import absent
from graphopt.types import DType

POOLED = frozenset({DType.INT8, DType.UINT8})
"""Dtypes of small integers that pooling takes."""


def side_by_side(
    xs: Sequence[Node], s: Node, z: Node, root: Node, k: int, b: Mapping[str, Any]
) -> Node | Declined:
    """Parts that were quantized alike, put together as they are."""
    parts: list[Node] = []
    for real in xs:
        x, scale, *more = real.inputs if real.op is dequantize_linear else (real, absent)
        if scale is not s or (more[0] if more else absent) is not z:
            return OTHER
        if wrong := _strange(x, s, z, root, real.attrs, b):
            return wrong
        parts.append(x)
    made: Node = concat(*parts, axis=k)
    return made


def _strange(x: Node, s: Node, z: Node, root: Node, *attrs: Mapping[str, Any]) -> Declined | None:
    if any(item.rank != 0 and item.shape != (1,) for item in (s, z) if not item.is_absent):
        return Declined("the scale differs along an axis")
    return unlike(x, s, root, *attrs)


def pooled(
    x: Node, s: Node, z: Node, root: Node, a: Mapping[str, Any], b: Mapping[str, Any],
    m: Mapping[str, Any],
) -> Node | Declined:  # fmt: skip
    """The greatest of quantized numbers, which are in the order of what they stand for."""
    if wrong := _strange(x, s, z, root, a, b):
        return wrong
    padded = any(m.get("pads") or ()) or m.get("auto_pad", "NOTSET") not in ("NOTSET", "VALID")
    if x.dtype not in POOLED or (exact(s) <= 0).any() or padded or m.get("ceil_mode"):
        return Declined("windows see nothing but bytes, of a scale above 0")
    made: Node = max_pool(x, **m)
    return made


def _trip(move: Op, *operands: Node, scale: float = 0.3, **attrs: Any) -> Node:
    s, z = filled(scale), filled(3, dtype="uint8")
    real = dequantize_linear(example("uint8[2, 1, 4]"), s, z)
    made: Node = quantize_linear(move(real, *operands, **attrs), s, z)
    return made


def _joined(scale: float) -> Node:
    s, z = filled(0.3), filled(3, dtype="uint8")
    first = dequantize_linear(example("uint8[2, 4]"), s, z)
    second = dequantize_linear(example("uint8[2, 4]", "y"), filled(scale), z)
    made: Node = quantize_linear(concat(first, second, axis=0), s, z)
    return made


def _pooled(scale: float) -> Node:
    s, z = filled(scale), filled(3, dtype="uint8")
    real = dequantize_linear(example("uint8[1, 2, 4, 4]"), s, z)
    made: Node = quantize_linear(max_pool(real, kernel_shape=(2, 2)), s, z)
    return made


@rules(Soundness.EXACT)
def quantized_moves(
    x: Value, s: Const, z: MaybeConst, t: Value, u: Value, v: Maybe, w: Maybe, xs: Many,
    a: Attr, b: Attr, m: Attr, k: Attr,
) -> Equations:  # fmt: skip
    """quantize(move(dequantize(x))) = move(x): slices, gathers, broadcasts, joints, maxima."""
    real = dequantize_linear(x, s, z, attrs=a)
    indices = example("int64[3]", "i")
    for op, pattern, shown in (
        (slice_, slice_(real, t, u, v, w), partial(_trip, slice_, ints(0), ints(1), ints(0))),
        (gather, gather(real, t, attrs=m), partial(_trip, gather, indices, axis=2)),
        (expand, expand(real, t), partial(_trip, expand, ints(2, 3, 4))),
        (tile, tile(real, t), partial(_trip, tile, ints(1, 2, 3))),
    ):  # fmt: skip
        yield Rule(
            op.name.lower(),
            quantize_linear(pattern, s, z, attrs=b),
            moved,
            fires=shown,
            misses=partial(shown, scale=1e-30),
        )
    yield Rule(
        "concat",
        quantize_linear(concat(xs, axis=k), s, z, attrs=b),
        side_by_side,
        fires=partial(_joined, 0.3),
        misses=partial(_joined, 0.4),
    )
    yield Rule(
        "max_pool",
        quantize_linear(max_pool(real, attrs=m), s, z, attrs=b),
        pooled,
        fires=partial(_pooled, 0.3),
        misses=partial(_pooled, -0.3),
    )


QUANTIZED_MOVES: RuleSet = quantized_moves
