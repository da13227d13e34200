"""Affine maps per channel behind what moves a convolution's result, folded into its weights."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from graphopt.ir import Node
from graphopt.ops.conv import conv
from graphopt.ops.movement import transpose
from graphopt.ops.shape import reshape, squeeze
from graphopt.passes.contractions.affine import FOLDS, MAPS
from graphopt.passes.contractions.maps import AXIS, Uses, map_of
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
from graphopt.rewriting.examples import example, ints, weights


def channel_axis(moved: Node, y: Node) -> int | None:
    """Where the channels of y, its axis 1, are after it was moved; None where that is not known."""
    before, after = y.shape, moved.shape
    if before is None or after is None:
        return None
    if moved.op is transpose:
        perm = moved.attrs.get("perm") or tuple(reversed(range(len(before))))
        return tuple(perm).index(1)
    if moved.op is squeeze:
        axes = moved.inputs[1].ints if len(moved.inputs) > 1 else None
        gone = None if axes is None else {axis % len(before) for axis in axes}
        return None if gone is None or 1 in gone else 1 - sum(axis < 1 for axis in gone)
    return 1 if len(after) > 1 and before[:2] == after[:2] else None


def folded_before(y: Node, moved: Node, root: Node, uses: Uses) -> Node | Declined:
    """A map of a moved value as the value with other constants, moved."""
    axis = channel_axis(moved, y)
    if axis is None:
        return AXIS
    map_ = map_of(root, moved, axis)
    made = map_ if isinstance(map_, Declined) else FOLDS[y.op](y, map_, uses)
    if isinstance(made, Declined):
        return made
    return moved.with_inputs((made, *moved.inputs[1:]))


def _convolved() -> Node:
    made: Node = conv(example("float32[N, 3, 1, 4]"), weights(4, 3, 1, 1), weights(4))
    return made


def _squeezed() -> Node:
    made: Node = squeeze(_convolved(), ints(2))
    return made


def _last() -> Node:
    made: Node = transpose(_convolved(), perm=(0, 2, 3, 1))
    return made


def _flat() -> Node:
    made: Node = reshape(_convolved(), ints(0, 4, 4))
    return made


def _mapped(apply: Callable[[Any, Any], Any], moved: Callable[[], Node], *shape: int) -> Node:
    made: Node = apply(moved(), weights(*shape, seed=5))
    return made


@rules(Soundness.ROUNDING)
def moved_affine(
    x: Value, w: Const, b: MaybeConst, y: Value, c: Const, t: Value, moved: Value, a: Attr, m: Attr
) -> Equations:
    """A product or sum per channel goes into a convolution's weights, whatever moves in between."""
    inner = y.of(conv(x, w, b, attrs=a))
    for name, pattern, shown, good, bad in (
        ("squeeze", squeeze(inner, t), _squeezed, (4, 1), (4,)),
        ("transpose", transpose(inner, attrs=m), _last, (4,), (4, 1)),
        ("reshape", reshape(inner, t, attrs=m), _flat, (4, 1), (4,)),
    ):
        for kind, apply in MAPS.items():
            yield Rule(
                f"{name}_{kind}",
                apply(moved.of(pattern), c),
                folded_before,
                worth=(guards.used_once("moved"), guards.used_once("y")),
                fires=partial(_mapped, apply, shown, *good),
                misses=partial(_mapped, apply, shown, *bad),
            )


AFFINE_MOVES: RuleSet = moved_affine
