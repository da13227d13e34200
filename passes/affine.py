"""Per-channel affine maps folded into the weights of the node before them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from graphopt.analysis import finite_and_normal
from graphopt.ir import Node
from graphopt.op import Op
from graphopt.ops.arithmetic import add, mul
from graphopt.ops.conv import conv
from graphopt.ops.normalization import batch_normalization
from graphopt.rewriting import (
    Attr,
    Const,
    Equations,
    Function,
    Guard,
    MaybeConst,
    Rule,
    Soundness,
    Value,
    rules,
)
from graphopt.rewriting.examples import example, filled, weights
from graphopt.structural import constant
from graphopt.tensor import Tensor

Vector = np.ndarray[Any, np.dtype[np.float64]]


def exact(value: Node) -> Vector:
    """A constant in float64, one element for a splat."""
    tensor = value.constant
    assert tensor is not None
    if tensor.is_splat:
        return np.full((1,) * len(tensor.shape), tensor.element, np.float64)
    return tensor.array.astype(np.float64)


def rounded(made: Vector, like: Node, shape: tuple[int, ...]) -> Node | None:
    """`made` in the dtype of `like`; None when an element overflows or becomes subnormal."""
    with np.errstate(all="ignore"):
        array = made.astype(like.dtype.numpy)
    if not finite_and_normal(array):
        return None
    if array.size == 1 and shape != ():
        return constant(Tensor.splat(like.dtype, shape, array.reshape(-1)[0]))
    return constant(Tensor.of(np.ascontiguousarray(np.broadcast_to(array, shape))).compact())


def channels(value: Node, root: Node, axis: int = 1) -> Vector | None:
    """A constant that varies along `axis` of `root` only, as a vector; of length 1: nowhere.

    None when it varies along another axis: that sizes happen to coincide proves nothing.
    """
    tensor, rank = value.constant, root.rank
    if tensor is None or rank is None or len(tensor.shape) > rank:
        return None
    aligned = (1,) * (rank - len(tensor.shape)) + tensor.shape
    if tensor.is_splat:
        return exact(value).reshape(-1)
    if any(size != 1 for k, size in enumerate(aligned) if k != axis):
        return None
    return exact(value).reshape(-1)


def stored(*values: Node) -> int:
    """The bytes that constants take, one element for a splat."""
    return sum(value.constant.stored_bytes for value in values if value.constant is not None)


def scaled_conv(
    x: Node, w: Node, b: Node, map_: tuple[Vector, Vector], spent: Sequence[Node], attrs: Any
) -> Node | None:
    """conv(x, w, b) * factor + shift as one convolution; factor and shift have one element or M.

    None when the weights would take more bytes than they and the `spent` constants do: a splat
    that becomes dense would grow the file.
    """
    factor, shift = map_
    assert w.constant is not None
    shape = w.constant.shape
    weight = exact(w) * factor.reshape(-1, *(1,) * (len(shape) - 1))
    new_w = rounded(weight, w, shape)
    if new_w is None:
        return None
    if b.is_absent and not shift.any():
        made: Node = conv(x, new_w, **attrs)
        return made if stored(new_w) <= stored(w, *spent) else None
    bias = np.zeros(1) if b.is_absent else exact(b)
    new_b = rounded(bias * factor + shift, w, shape[:1])
    if new_b is None:
        return None
    made = conv(x, new_w, new_b, **attrs)
    return made if stored(new_w, new_b) <= stored(w, b, *spent) else None


def normalizer(s: Node, o: Node, m: Node, v: Node, epsilon: float) -> tuple[Vector, Vector]:
    """The factor and shift that an inference batch normalization applies to each channel."""
    factor = exact(s) / np.sqrt(exact(v) + epsilon)
    return factor, exact(o) - exact(m) * factor


def normalized_conv(
    x: Node, w: Node, b: Node, s: Node, o: Node, m: Node, v: Node, e: float, a: Any
) -> Node | None:
    """conv(x, w, b), then normalized, as one convolution."""
    return scaled_conv(x, w, b, normalizer(s, o, m, v, e), (s, o, m, v), a)


def used_once(op: Op) -> Guard:
    """The profitability guard of a fold: nobody else needs the inner node, which is of `op`."""
    return Guard(
        f"the {op.name} is used once",
        lambda root, uses: any(uses(item) == 1 for item in root.inputs if item.op is op),
    )


def convolved() -> Node:
    """A convolution of four channels, four wide, for examples."""
    made: Node = conv(example("float32[N, 3, 8, 4]"), weights(4, 3, 1, 1), weights(4))
    return made


def _by_channel(op: Op, make: Callable[[], Node]) -> Node:
    made: Node = op(make(), weights(4, 1, 1, seed=5))
    return made


def _by_width(op: Op, make: Callable[[], Node]) -> Node:
    """Along the width, which is four as well: that sizes coincide proves nothing."""
    made: Node = op(make(), weights(4, seed=5))
    return made


def statistics() -> list[Node]:
    """Scale, offset, mean and variance of four channels, for examples."""
    return [weights(4, seed=1), weights(4, seed=2), weights(4, seed=3), filled(0.5, 4)]


def normalized() -> Node:
    """A batch normalization of four channels, four wide, for examples."""
    made: Node = batch_normalization(example("float32[N, 4, 5, 4]"), *statistics())
    return made


Right = Function[Node | None]


@rules(Soundness.ROUNDING)
def conv_affine(
    x: Value, w: Const, b: MaybeConst, s: Const, o: Const, m: Const, v: Const, c: Const,
    a: Attr, e: Attr, n: Attr,
) -> Equations:  # fmt: skip
    """A normalization, product or sum per output channel goes into a convolution's weights."""

    def folded(op: Op) -> Right:
        def right(x: Node, w: Node, b: Node, c: Node, a: Any, root: Node) -> Node | None:
            vector = channels(c, root)
            if vector is None or vector.size not in (1, w.constant.shape[0] if w.constant else 0):
                return None
            map_ = (vector, np.zeros(1)) if op is mul else (np.ones(1), vector)
            return scaled_conv(x, w, b, map_, (c,), a)

        return right

    yield Rule(
        "batch_norm",
        batch_normalization(conv(x, w, b, attrs=a), s, o, m, v, epsilon=e, momentum=n),
        normalized_conv,
        worth=used_once(conv),
        fires=lambda: batch_normalization(convolved(), *statistics()),
        misses=lambda: batch_normalization(convolved(), *statistics()[:3], example("float32[4]")),
    )
    for op in (mul, add):
        yield Rule(
            op.name.lower(),
            op(conv(x, w, b, attrs=a), c),
            folded(op),
            worth=used_once(conv),
            fires=partial(_by_channel, op, convolved),
            misses=partial(_by_width, op, convolved),
        )


@rules(Soundness.ROUNDING)
def norm_affine(x: Value, s: Const, o: Const, m: Const, v: Const, c: Const, a: Attr) -> Equations:
    """A product or sum per channel goes into the scale and offset of a batch normalization."""

    def folded(op: Op) -> Right:
        def right(
            x: Node, s: Node, o: Node, m: Node, v: Node, c: Node, a: Any, root: Node
        ) -> Node | None:
            vector, shape = channels(c, root), o.constant.shape if o.constant else ()
            if vector is None or vector.size not in (1, *shape):
                return None
            scale = rounded(exact(s) * vector, s, shape) if op is mul else s
            shifted = exact(o) * vector if op is mul else exact(o) + vector
            offset = rounded(shifted, o, shape)
            if scale is None or offset is None:
                return None
            made: Node = batch_normalization(x, scale, offset, m, v, **a)
            return made

        return right

    for op in (mul, add):
        yield Rule(
            op.name.lower(),
            op(batch_normalization(x, s, o, m, v, attrs=a), c),
            folded(op),
            worth=used_once(batch_normalization),
            fires=partial(_by_channel, op, normalized),
            misses=partial(_by_width, op, normalized),
        )


AFFINE = conv_affine + norm_affine
