"""Linear maps one after another as one, where that takes fewer multiplications.

The weights are then products of weights, made beforehand in float64: the error stays within the
bound gamma |x| |w| |v| of the two in a row. But where x is infinite, the two make NaN of infinities
of both signs, and the one may not; so two products of x are one in fast mode only.
"""

from __future__ import annotations

from functools import partial
from math import prod
from typing import Any

import numpy as np

from graphopt.ir import Node
from graphopt.ops.arithmetic import add
from graphopt.ops.conv import conv
from graphopt.ops.indexing import gather
from graphopt.ops.linalg import gemm, matmul
from graphopt.ops.slicing import concat
from graphopt.passes.contractions.expectations import is_pointwise
from graphopt.passes.contractions.linear import NOT_LINEAR, linear, product_weights
from graphopt.passes.contractions.maps import EXTREME, GROWS, Uses, Vector, exact, grows, rounded
from graphopt.passes.contractions.tables import MOST
from graphopt.rewriting import (
    Attr,
    Const,
    Declined,
    Equations,
    Float,
    Many,
    Maybe,
    MaybeConst,
    Rule,
    RuleSet,
    Soundness,
    Value,
    guards,
    rules,
)
from graphopt.rewriting.examples import example, weights
from graphopt.structural import constant

Attributes = dict[str, Any]
DEARER = Declined("one map would take more multiplications than the two")


def once(root: Node, inner: Node, uses: Uses) -> Node | Declined:
    """(x @ w + b) @ v + c as x @ (w @ v) + (b @ v + c)."""
    first, second = linear(inner), linear(root)
    if first is None or second is None:
        return NOT_LINEAR
    (rows, middle), last = first.weights.shape, second.weights.shape[1]
    if rows * last > rows * middle + middle * last:
        return DEARER
    both = second.behind(first.weights, first.bias, first.spent)
    return both.of(first.x, root.dtype, uses)


def unpadded(a: Attributes) -> bool:
    """Whether a convolution sees nothing but its input."""
    return not any(a.get("pads") or ()) and a.get("auto_pad", "NOTSET") in ("NOTSET", "VALID")


def pointwise_first(
    x: Node, w: Node, b: Node, v: Node, d: Node, a: Attributes, e: Attributes, uses: Uses
) -> Node | Declined:
    """conv(conv(x, w) + b, v) + d as one convolution, w being of size 1."""
    if not is_pointwise(w, a) or e.get("group", 1) != 1:
        return Declined("the first filters are of size 1, and all channels are seen by all")
    if not b.is_absent and exact(b).any() and not unpadded(e):
        return Declined("what pads the value between has no bias")
    assert w.constant is not None and v.constant is not None
    (middle, before), (after, _, *kernel) = w.constant.shape[:2], v.constant.shape
    taps, steps = prod(kernel), prod(e.get("strides") or ())
    if after * before * taps > middle * before * steps + after * middle * taps:
        return DEARER
    first = np.broadcast_to(exact(w), w.constant.shape).reshape(middle, before)
    then = np.broadcast_to(exact(v), v.constant.shape).reshape(after, middle, taps)
    with np.errstate(all="ignore"):
        made = np.einsum("omk,mc->ock", then, first).reshape(after, before, *kernel)
    bias = _passed_on(then.sum(2), b, d)
    held = product_weights(made, w.dtype, 0)
    offset = None if bias is None else rounded(bias, w.dtype, bias.shape)
    if held is None or (offset is None and bias is not None):
        return EXTREME
    if grows([held, *([offset] if offset else [])], [w, b, v, d], uses):
        return GROWS
    result: Node = conv(x, held, offset, **e)
    return result


def _passed_on(then: Vector, b: Node, c: Node) -> Vector | None:
    """What becomes of the biases b and c of two convolutions, `then` being the second's sums."""
    if b.is_absent and c.is_absent:
        return None
    first = np.zeros(then.shape[1]) if b.is_absent else exact(b)
    with np.errstate(all="ignore"):
        made: Vector = then @ np.broadcast_to(first, then.shape[1:])
        return made if c.is_absent else made + exact(c)


def multiplied_table(
    root: Node, t: Node, i: Node, a: Attributes, uses: Uses
) -> Node | Declined | None:
    """gather(t, i) @ w + b as gather(t @ w + b, i)."""
    then, table = linear(root), t.constant
    if then is None or table is None:
        return NOT_LINEAR
    if len(table.shape) != 2 or a.get("axis", 0) % 2 or not t.dtype.is_float:
        return Declined("the rows of a matrix are taken")
    with np.errstate(all="ignore"):
        made = np.broadcast_to(exact(t), table.shape) @ then.weights
        made = made if then.bias is None else made + then.bias
    if made.size > MOST:
        return Declined("the table is not large")
    held = rounded(made, root.dtype, made.shape)
    if held is None:
        return EXTREME
    if grows([held], [t, *then.spent], uses):
        return GROWS
    result: Node = gather(held, i, axis=0)
    return result


def without_constants(root: Node, cat: Node, uses: Uses) -> Node | Declined | None:
    """concat(x, c) @ w + b, along the axis that is summed over, as x @ w[:k] + (c @ w[k:] + b)."""
    then, rank = linear(root), cat.rank
    if then is None or rank is None or cat.attrs["axis"] % rank != rank - 1:
        return NOT_LINEAR
    bias = np.zeros(then.weights.shape[1]) if then.bias is None else then.bias
    left: list[Node] = []
    rows: list[Vector] = []
    spent = then.spent
    at = 0
    for part in cat.inputs:
        size = part.shape[-1] if part.shape is not None else None
        if not isinstance(size, int):
            return Declined("where the parts begin is not known")
        taken, row = then.weights[at : at + size], _row(part)
        at += size
        if row is None:
            left.append(part)
            rows.append(taken)
            continue
        spent = (*spent, part)
        with np.errstate(all="ignore"):
            bias = bias + row @ taken
    if not left or len(left) == len(cat.inputs):
        return Declined("some parts are constants, with one element for each column")
    rest: Node = left[0] if len(left) == 1 else concat(*left, axis=-1)
    if rest.rank != root.rank:
        return NOT_LINEAR
    return type(then)(rest, np.concatenate(rows), bias, spent, then.as_gemm).of(
        rest, root.dtype, uses
    )


def _row(part: Node) -> Vector | None:
    """The one row that a constant repeats."""
    tensor = part.constant
    if tensor is None or not tensor.size:
        return None
    held = np.broadcast_to(exact(part), tensor.shape).reshape(-1, tensor.shape[-1])
    return held[0] if np.isfinite(held).all() and (held == held[0]).all() else None


def _layers(middle: int) -> Node:
    made: Node = matmul(matmul(example("float32[2, N, 4]"), weights(4, middle)), weights(middle, 4))
    return made


def _biased(middle: int) -> Node:
    first = add(matmul(example("float32[2, N, 4]"), weights(4, middle)), weights(middle, seed=2))
    made: Node = matmul(first, weights(middle, 4))
    return made


def _gemms(middle: int, *, bias: bool = True) -> Node:
    x, w = example("float32[N, 4]"), weights(4, middle)
    first = gemm(x, w, weights(middle, seed=2)) if bias else matmul(x, w)
    made: Node = gemm(first, weights(4, middle), weights(4, seed=3), transB=1)
    return made


def _mixed(middle: int) -> Node:
    first = gemm(example("float32[N, 4]"), weights(4, middle), weights(middle, seed=2))
    made: Node = matmul(first, weights(middle, 4))
    return made


def _convs(middle: int, border: int, *bias: int) -> Node:
    image = example("float32[N, 3, 5, 5]")
    first = conv(image, weights(middle, 3, 1, 1), weights(*bias) if bias else None)
    made: Node = conv(first, weights(4, middle, 3, 3), weights(4, seed=2), pads=(border,) * 4)
    return made


@rules(Soundness.FAST)
def composed(
    x: Float, w: Const, b: MaybeConst, v: Const, c: Maybe, d: MaybeConst, s: Const, inner: Value,
    p: Value, a: Attr, e: Attr,
) -> Equations:  # fmt: skip
    """(x @ w + b) @ v + c = x @ (w @ v) + (b @ v + c), and so for convolutions of size 1 first."""
    worth = (guards.used_once("inner"),)
    for name, left, more, shown in (
        ("matmul_matmul", matmul(inner.of(matmul(x, w)), v), (), _layers),
        ("matmul_sum", matmul(inner.of(add(p.of(matmul(x, w)), s)), v), (guards.used_once("p"),),
         _biased),
        ("matmul_gemm", matmul(inner.of(gemm(x, w, b, attrs=a)), v), (), _mixed),
        ("gemm_gemm", gemm(inner.of(gemm(x, w, b, attrs=a)), v, c, attrs=e), (), _gemms),
        ("gemm_matmul", gemm(inner.of(matmul(x, w)), v, c, attrs=e), (),
         partial(_gemms, bias=False)),
    ):  # fmt: skip
        yield Rule(
            name, left, once, worth=worth + more, fires=partial(shown, 6), misses=partial(shown, 1)
        )
    yield Rule(
        "conv_conv",
        conv(inner.of(conv(x, w, b, attrs=a)), v, d, attrs=e),
        pointwise_first,
        worth=worth,
        fires=partial(_convs, 6, 0, 6),
        misses=partial(_convs, 6, 1, 6),
    )


def _taken(axis: int, rows: int = 5) -> Node:
    made: Node = matmul(gather(weights(rows, 5), example("int64[N, 5]", "i"), axis=axis),
                        weights(5, 4))  # fmt: skip
    return made


def _taken_gemm(axis: int) -> Node:
    rows = gather(weights(5, 5), example("int64[5]", "i"), axis=axis)
    made: Node = gemm(rows, weights(4, 5), weights(4), transB=1)
    return made


def _extended(number: float = 1, *, gemmed: bool = False) -> Node:
    rows = (2,) if gemmed else (5, 2)
    f = "float32[2, 3]" if gemmed else "float32[5, 2, 3]"
    x = example(f)
    row = constant(np.broadcast_to(np.array([1, number], np.float32), (*rows, 2)))
    last = row if number == number else example(f, "y")
    width = 5 if number == number else 6
    whole = concat(x, last, axis=-1)
    made: Node = gemm(whole, weights(width, 4)) if gemmed else matmul(whole, weights(width, 4))
    return made


@rules(Soundness.ROUNDING)
def constant_rows(
    t: Const, i: Value, w: Const, c: MaybeConst, rows: Value, cat: Value, xs: Many, k: Attr,
    a: Attr, e: Attr,
) -> Equations:  # fmt: skip
    """table[i] @ w = (table @ w)[i], concat(x, c) @ w = x @ w[:k] + c @ w[k:] for constant c."""
    once_taken = (guards.used_once("rows"),)
    joined = guards.used_once("cat")
    for name, left, shown in (
        ("table_matmul", matmul(rows.of(gather(t, i, attrs=a)), w), _taken),
        ("table_gemm", gemm(rows.of(gather(t, i, attrs=a)), w, c, attrs=e), _taken_gemm),
    ):
        yield Rule(name, left, multiplied_table, worth=once_taken, fires=partial(shown, 0),
                   misses=partial(shown, 1))  # fmt: skip
    nan = float("nan")
    for name, left, gemmed in (
        ("concat_matmul", matmul(cat.of(concat(xs, axis=k)), w), False),
        ("concat_gemm", gemm(cat.of(concat(xs, axis=k)), w, c, attrs=e), True),
    ):
        yield Rule(name, left, without_constants, worth=joined,
                   fires=partial(_extended, gemmed=gemmed),
                   misses=partial(_extended, nan, gemmed=gemmed))  # fmt: skip


COMPOSED: RuleSet = composed + constant_rows
