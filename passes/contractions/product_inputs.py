"""Factors of the columns that a product of matrices sums over, folded into its weights."""

from __future__ import annotations

from graphopt.analysis import same_shape
from graphopt.ir import Node
from graphopt.ops.arithmetic import mul
from graphopt.ops.linalg import gemm, matmul
from graphopt.passes.contractions.maps import (
    AXIS,
    EXTREME,
    GROWS,
    Uses,
    channels,
    grows,
    scaled,
    whole_gelu,
)
from graphopt.rewriting import (
    Attr,
    Const,
    Declined,
    Equations,
    Maybe,
    Rule,
    RuleSet,
    Soundness,
    Value,
    guards,
    rules,
)
from graphopt.rewriting.examples import example, weights


def folded_columns(
    x: Node, w: Node, c: Node, inner: Node, root: Node, uses: Uses
) -> Node | Declined:
    """(x * c) @ w as x @ (c' * w), where c has one element for each row of w."""
    held, rank = w.constant, inner.rank
    assert held is not None
    if rank is None or len(held.shape) != 2 or not same_shape(inner, x) or not x.dtype.is_float:
        return AXIS
    if root.attrs.get("transA"):
        return Declined("the rows of the product are scaled")
    flipped = bool(root.attrs.get("transB"))
    vector = channels(c, inner, rank - 1)
    if vector is None or vector.size not in (1, held.shape[1 if flipped else 0]):
        return AXIS
    factor, bias = vector.reshape((1, -1) if flipped else (-1, 1)), (*root.inputs[2:], None)[0]
    made = scaled(w, factor, 0 if flipped else 1, bias if root.attrs.get("beta", 1) == 1 else None)
    if made is None:
        return EXTREME
    if grows([made], [w, c], uses):
        return GROWS
    return root.with_inputs((x, made, *root.inputs[2:]))


def _scaled(*shape: int) -> Node:
    made: Node = mul(example("float32[N, 3, 3]"), weights(*shape, seed=3))
    return made


def _rows(*shape: int) -> Node:
    made: Node = mul(example("float32[3, 3]"), weights(*shape, seed=3))
    return made


def _affine(*shape: int) -> Node:
    made: Node = gemm(_rows(*shape), weights(4, 3), weights(4), transB=1, alpha=2)
    return made


@rules(Soundness.ROUNDING)
def product_inputs(x: Value, w: Const, c: Const, b: Maybe, inner: Value, a: Attr) -> Equations:
    """A product with a number for each column goes into the weights of the product behind it."""
    worth = (guards.used_once("inner"), whole_gelu)
    yield Rule(
        "matmul",
        matmul(inner.of(mul(x, c)), w),
        folded_columns,
        worth=worth,
        fires=lambda: matmul(_scaled(3), weights(3, 4)),
        misses=lambda: matmul(_scaled(3, 1), weights(3, 4)),
    )
    yield Rule(
        "gemm",
        gemm(inner.of(mul(x, c)), w, b, attrs=a),
        folded_columns,
        worth=worth,
        fires=lambda: _affine(3),
        misses=lambda: _affine(3, 1),
    )


PRODUCT_INPUTS: RuleSet = product_inputs
