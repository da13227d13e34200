"""Maps x @ w + b by constants: read off nodes, and made of other weights."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from graphopt.ir import Node
from graphopt.ops.arithmetic import add
from graphopt.ops.linalg import gemm, matmul
from graphopt.passes.contractions.maps import (
    EXTREME,
    GROWS,
    ORDINARY,
    Uses,
    Vector,
    exact,
    grows,
    rounded,
    rounded_factors,
)
from graphopt.rewriting import Declined
from graphopt.types import DType

NOT_LINEAR = Declined("it is no product by constants with a bias for each column")


@dataclass(frozen=True, eq=False)
class Linear:
    """x @ weights + bias, in float64; `spent` are the constants that it is made of.

    `as_gemm`: it is written as a Gemm, of which the bias is an operand.
    """

    x: Node
    weights: Vector
    bias: Vector | None
    spent: tuple[Node, ...]
    as_gemm: bool = False

    def behind(self, weights: Vector, bias: Vector | None, spent: tuple[Node, ...]) -> Linear:
        """The map x @ weights + bias, and then this one."""
        total = self.bias
        if bias is not None:
            with np.errstate(all="ignore"):
                total = bias @ self.weights + (0 if total is None else total)
        with np.errstate(all="ignore"):
            made = weights @ self.weights
        return replace(self, weights=made, bias=total, spent=(*self.spent, *spent))

    def of(self, x: Node, dtype: DType, uses: Uses) -> Node | Declined:
        """The map of x, as a node; unless a constant overflows, or they take more bytes."""
        w = product_weights(self.weights, dtype, -1)
        b = None if self.bias is None else rounded(self.bias, dtype, self.bias.shape)
        if w is None or (b is None and self.bias is not None):
            return EXTREME
        if grows([w, *([b] if b else [])], self.spent, uses):
            return GROWS
        if self.as_gemm and x.rank == 2:
            made: Node = gemm(x, w, b)
            return made
        product: Node = matmul(x, w)
        return product if b is None else add(product, b)


def product_weights(made: Vector, dtype: DType, along: int) -> Node | None:
    """Products of weights as weights; None when they, or sums of products, could overflow."""
    with np.errstate(all="ignore"):
        total = float(np.abs(made).sum()) * ORDINARY
    if dtype is not DType.FLOAT16 and not total <= float(np.finfo(np.float32).max):
        return None
    return rounded_factors(made, dtype, made.shape, along)


def columns(value: Node, width: int) -> Vector | None:
    """A constant with one element for each column, as a vector."""
    tensor = value.constant
    if tensor is None or not tensor.dtype.is_float or any(s != 1 for s in tensor.shape[:-1]):
        return None
    if tensor.shape[-1:] not in ((), (1,), (width,)):
        return None
    return np.broadcast_to(exact(value).reshape(-1), (width,))


def linear(node: Node) -> Linear | None:
    """A node as such a map: a product, a Gemm, or the sum of a product and a bias."""
    if node.op is add:
        for k in (0, 1):
            inner = linear(node.inputs[k]) if node.inputs[k].op is matmul else None
            bias = None if inner is None else columns(node.inputs[1 - k], inner.weights.shape[1])
            if inner is not None and bias is not None and node.rank == node.inputs[k].rank:
                return replace(inner, bias=bias, spent=(*inner.spent, node.inputs[1 - k]))
        return None
    if node.op not in (matmul, gemm):
        return None
    x, w, *more = node.inputs
    arguments = node.op.arguments(node.attrs)
    if w.constant is None or w.rank != 2 or not w.dtype.is_float or x.rank is None or x.rank < 2:
        return None
    if any(arguments.get(name, 1) != 1 for name in ("alpha", "beta")) or arguments.get("transA"):
        return None
    weights = np.broadcast_to(exact(w), w.constant.shape)
    weights = weights.T if arguments.get("transB") else weights
    bias = None
    if more and not more[0].is_absent:
        bias = columns(more[0], weights.shape[1])
        if bias is None:
            return None
    return Linear(x, weights, bias, (w, *more), node.op is gemm)
