"""Affine maps per channel folded into the weights of the node before them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from graphopt.ir import Node
from graphopt.op import Op, absent
from graphopt.ops.arithmetic import add, div, mul, sub
from graphopt.ops.conv import conv
from graphopt.ops.conv_transpose import conv_transpose
from graphopt.ops.linalg import gemm, matmul
from graphopt.ops.normalization import batch_normalization
from graphopt.passes.contractions.maps import (
    AXIS,
    EXTREME,
    GROWS,
    Affine,
    Uses,
    Vector,
    bias_of,
    exact,
    grows,
    map_of,
    rounded_factors,
    scaled,
)
from graphopt.rewriting import (
    Attr,
    Const,
    Declined,
    Equations,
    Guard,
    MaybeConst,
    Rule,
    RuleSet,
    Soundness,
    Value,
    rules,
)
from graphopt.rewriting.examples import example, filled, weights

Fold = Callable[[Node, Affine, Uses], Node | Declined]


def operands(node: Node, count: int) -> list[Node | None]:
    """So many operands of a node, None for each that is left out."""
    given = [None if item.is_absent else item for item in node.inputs]
    return given + [None] * (count - len(given))


def by_filter(node: Node, factor: Vector) -> Vector:
    """A factor for each output channel in the layout of a convolution's weights."""
    w = node.inputs[1].constant
    assert w is not None
    if factor.size == 1:
        return factor.reshape((1,) * len(w.shape))
    behind = (1,) * (len(w.shape) - 2)
    if node.op is conv:
        return factor.reshape(-1, 1, *behind)
    group = node.op.arguments(node.attrs)["group"]
    rows = factor.reshape(group, 1, w.shape[1])
    return np.repeat(rows, w.shape[0] // group, 1).reshape(w.shape[0], w.shape[1], *behind)


def folded_conv(node: Node, map_: Affine, uses: Uses) -> Node | Declined:
    """A map of a convolution, or of a transposed one, as one."""
    x, w, b = operands(node, 3)
    assert w is not None and w.constant is not None
    group = node.op.arguments(node.attrs)["group"]
    count = w.constant.shape[0] if node.op is conv else w.constant.shape[1] * group
    if not map_.fits(count):
        return AXIS
    along = 0 if node.op is conv else 1 if group == 1 else None
    new_b = bias_of(_absent(node, 2), map_, w.dtype, (count,))
    if isinstance(new_b, Declined):
        return new_b
    new_w = scaled(w, by_filter(node, map_.factor), along, new_b)
    if new_w is None:
        return EXTREME
    if grows(_held(new_w, new_b), _held(w, b, *map_.spent), uses):
        return GROWS
    made: Node = node.op(x, new_w, new_b, **node.attrs)
    return made


def folded_gemm(node: Node, map_: Affine, uses: Uses) -> Node | Declined:
    """A map of the columns of a Gemm as one."""
    x, w, b = operands(node, 3)
    assert w is not None and w.constant is not None
    attrs = node.op.arguments(node.attrs)
    flipped = bool(attrs["transB"])
    count = w.constant.shape[0 if flipped else 1]
    if not map_.fits(count):
        return AXIS
    shape = b.constant.shape if b is not None and b.constant is not None else ()
    wide = np.broadcast_shapes(shape, map_.shift.shape, map_.factor.shape)
    shape = shape if b is not None and max(map_.shift.size, map_.factor.size) == 1 else wide
    new_b = bias_of(_absent(node, 2), map_, w.dtype, shape, attrs["beta"])
    if isinstance(new_b, Declined):
        return new_b
    factor = map_.factor.reshape((-1, 1) if flipped else (1, -1))
    new_w = scaled(w, factor, 0 if flipped else 1, new_b)
    if new_w is None:
        return EXTREME
    if grows(_held(new_w, new_b), _held(w, b, *map_.spent), uses):
        return GROWS
    made: Node = gemm(x, new_w, new_b, **{**attrs, "beta": 1.0})
    return made


def folded_matmul(node: Node, map_: Affine, uses: Uses) -> Node | Declined:
    """A map of a matrix product's columns as a product, or as a Gemm where it has a shift."""
    x, w = node.inputs
    assert w.constant is not None
    if map_.shift.any():
        plain = node.rank == x.rank == len(w.constant.shape) == 2
        return folded_gemm(gemm(x, w), map_, uses) if plain else Declined("a MatMul has no bias")
    if len(w.constant.shape) < 2 or not map_.fits(w.constant.shape[-1]):
        return AXIS
    new_w = scaled(w, map_.factor, -1)
    if new_w is None:
        return EXTREME
    if grows([new_w], [w, *map_.spent], uses):
        return GROWS
    made: Node = matmul(x, new_w)
    return made


def folded_sum(node: Node, map_: Affine, uses: Uses) -> Node | Declined:
    """A map of x @ w + b, a sum of columns and a bias for each, as one such."""
    product = next(item for item in node.inputs if item.op is matmul)
    x, w = product.inputs
    b = node.inputs[1] if node.inputs[0] is product else node.inputs[0]
    assert w.constant is not None and b.constant is not None
    if len(w.constant.shape) < 2 or not map_.fits(w.constant.shape[-1]):
        return AXIS
    shape = b.constant.shape
    if np.broadcast_shapes(shape, map_.factor.shape, map_.shift.shape) != shape:
        return AXIS
    new_b = bias_of(b, map_, w.dtype, shape)
    if isinstance(new_b, Declined):
        return new_b
    new_w = scaled(w, map_.factor, -1, new_b)
    if new_w is None or new_b is None:
        return EXTREME
    if grows([new_w, new_b], [w, b, *map_.spent], uses):
        return GROWS
    made: Node = add(matmul(x, new_w), new_b)
    return made


def folded_norm(node: Node, map_: Affine, uses: Uses) -> Node | Declined:
    """A map of a batch normalization as one."""
    x, s, o, m, v = node.inputs
    assert s.constant is not None and o.constant is not None
    if not map_.fits(o.constant.shape[0]):
        return AXIS
    scale = rounded_factors(exact(s) * map_.factor, s.dtype, s.constant.shape)
    offset = bias_of(o, map_, o.dtype, o.constant.shape)
    if scale is None or offset is None or isinstance(offset, Declined):
        return offset if isinstance(offset, Declined) else EXTREME
    if grows([scale, offset], [s, o, *map_.spent], uses):
        return GROWS
    made: Node = batch_normalization(x, scale, offset, m, v, **node.attrs)
    return made


def _absent(node: Node, position: int) -> Node:
    """An operand, which may be left out."""
    return node.inputs[position] if position < len(node.inputs) else absent


def _held(*values: Node | None) -> list[Node]:
    return [value for value in values if value is not None]


def _subtracted(y: Any, c: Any) -> Any:
    return sub(c, y)


FOLDS: Mapping[Op, Fold] = {
    conv: folded_conv,
    conv_transpose: folded_conv,
    gemm: folded_gemm,
    matmul: folded_matmul,
    add: folded_sum,
    batch_normalization: folded_norm,
}
MAPS: Mapping[str, Callable[[Any, Any], Any]] = {
    "mul": mul,
    "div": div,
    "add": add,
    "sub_from": _subtracted,
}
"""Maps by a constant; a difference y - c is the sum y + -c (algebra.sums) before one is tried."""


def folded(y: Node, root: Node, uses: Uses) -> Node | Declined:
    """A map of y as y with other constants; the map's channels are the last axis of products."""
    rank = root.rank
    if rank is None:
        return AXIS
    map_ = map_of(root, y, rank - 1 if y.op in (matmul, add, gemm) else 1)
    return map_ if isinstance(map_, Declined) else FOLDS[y.op](y, map_, uses)


def convolved() -> Node:
    """A convolution of four channels, four wide, for examples."""
    made: Node = conv(example("float32[N, 3, 8, 4]"), weights(4, 3, 1, 1), weights(4))
    return made


def statistics() -> list[Node]:
    """Scale, offset, mean and variance of four channels, for examples."""
    return [weights(4, seed=1), weights(4, seed=2), weights(4, seed=3), filled(0.5, 4)]


def _unfolded() -> Node:
    made: Node = conv_transpose(example("float32[N, 4, 8, 4]"), weights(4, 2, 1, 1), group=2)
    return made


def _normalized() -> Node:
    made: Node = batch_normalization(example("float32[N, 4, 5, 4]"), *statistics())
    return made


def _multiplied() -> Node:
    made: Node = matmul(example("float32[4, 3]"), weights(3, 4))
    return made


def _biased() -> Node:
    made: Node = add(matmul(example("float32[N, 4, 3]"), weights(3, 4)), weights(4, seed=4))
    return made


def _affine() -> Node:
    made: Node = gemm(example("float32[4, 3]"), weights(4, 3), weights(4, seed=4), transB=1, beta=2)
    return made


def _then_normalized(y: Callable[[], Node], known: bool) -> Node:
    """A normalization of y, by a variance that is a constant or not."""
    *others, variance = statistics()
    last = variance if known else example("float32[4]", "v")
    made: Node = batch_normalization(y(), *others, last)
    return made


def _examples(map_: Any, y: Callable[[], Node], columns: bool) -> dict[str, Any]:
    """A map by channel, and one along an axis of the same size: that proves nothing."""
    good, bad = ((4,), (4, 1)) if columns else ((4, 1, 1), (4,))
    return {
        "fires": lambda: map_(y(), weights(*good, seed=5)),
        "misses": lambda: map_(y(), weights(*bad, seed=5)),
    }


USED_ONCE = Guard("the inner one is used once", lambda y, uses: uses(y) == 1)


@rules(Soundness.ROUNDING)
def affine(
    x: Value, w: Const, b: MaybeConst, y: Value, s: Const, o: Const, m: Const, v: Const, c: Const,
    z: Const, a: Attr, e: Attr,
) -> Equations:  # fmt: skip
    """A normalization, product or sum per output channel goes into the weights before it."""
    targets: Mapping[str, tuple[Any, Callable[[], Node]]] = {
        "conv": (conv(x, w, b, attrs=a), convolved),
        "conv_transpose": (conv_transpose(x, w, b, attrs=a), _unfolded),
        "gemm": (gemm(x, w, b, attrs=a), _affine),
        "norm": (batch_normalization(x, s, o, m, v, attrs=a), _normalized),
        "biased": (add(matmul(x, w), z), _biased),
        "matmul": (matmul(x, w), _multiplied),
    }
    for name, (pattern, shown) in targets.items():
        for kind, apply in MAPS.items():
            if name == "matmul" and kind not in ("mul", "div"):
                continue
            yield Rule(
                f"{name}_{kind}",
                apply(y.of(pattern), c),
                folded,
                worth=USED_ONCE,
                **_examples(apply, shown, name in ("gemm", "biased", "matmul")),
            )
    for name in ("conv", "conv_transpose", "gemm", "matmul"):
        yield Rule(
            f"{name}_batch_norm",
            batch_normalization(y.of(targets[name][0]), s, o, m, v, attrs=e),
            folded,
            worth=USED_ONCE,
            fires=partial(_then_normalized, targets[name][1], True),
            misses=partial(_then_normalized, targets[name][1], False),
        )


AFFINE: RuleSet = affine
