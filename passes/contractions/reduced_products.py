"""Sums and means over the rows of a product: products of the sums and means of its operand.

All are sums of the same products of x and w, so the bound gamma |x| |w| holds of either order.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from graphopt.analysis import same_shape
from graphopt.ir import Node
from graphopt.ops.arithmetic import add
from graphopt.ops.conv import conv
from graphopt.ops.linalg import gemm, matmul
from graphopt.ops.pool_global import global_average_pool
from graphopt.ops.reduction import reduce_mean, reduce_sum
from graphopt.ops.shape import expand, shape
from graphopt.passes.contractions.expectations import is_pointwise
from graphopt.passes.contractions.linear import linear
from graphopt.passes.movement.expands import left_to_op
from graphopt.passes.movement.kept_axes import keeps, reduced, reduced_axes
from graphopt.rewriting import (
    Attr,
    Const,
    Declined,
    Equations,
    Float,
    Maybe,
    MaybeConst,
    Rule,
    RuleSet,
    Soundness,
    Value,
    guards,
    rules,
)
from graphopt.rewriting.examples import example, ints, weights

COLUMNS = Declined("the columns of the product are reduced, or it is no product by a matrix")


def of_rows(root: Node, inner: Node) -> Node | Declined | None:
    """mean(x @ w + b) over rows as mean(x) @ w + b, and sum(x @ w) as sum(x) @ w."""
    product = inner if inner.op in (matmul, gemm) else next(
        (item for item in inner.inputs if item.op is matmul), inner
    )  # fmt: skip
    x, w = product.inputs[:2]
    axes = reduced_axes(root)
    if axes is None or not axes or x.rank is None or w.rank != 2 or x.rank < 2:
        return COLUMNS
    if product.rank != inner.rank or max(axes) >= x.rank - 1:
        return COLUMNS
    if inner is not product or product.op is gemm:
        map_ = linear(inner)
        if map_ is None or (root.op is reduce_sum and map_.bias is not None):
            return Declined("the bias is one for each column, and of a mean")
    small = reduced(root.op, x, axes, keepdims=keeps(root) or product.op is gemm)
    made = product.with_inputs((small, *product.inputs[1:]))
    if product.op is gemm and not keeps(root):
        return Declined("a Gemm takes no vector")
    if inner is not product:
        made = inner.with_inputs(tuple(made if item is product else item for item in inner.inputs))
    return made if same_shape(made, root) else Declined("the shape is not known")


def pooled_first(x: Node, w: Node, b: Node, a: dict[str, Any], root: Node) -> Node | Declined:
    """The average of a convolution of size 1 as one of the average."""
    if not is_pointwise(w, a):
        return Declined("the filters are of size 1")
    means: Node = global_average_pool(x)
    made: Node = conv(means, w, None if b.is_absent else b, **a)
    return made if same_shape(made, root) else Declined("the shape is not known")


def _rows(op: Any, *axes: int) -> Node:
    product = matmul(example("float32[2, 3, 4]"), weights(4, 5))
    made: Node = op(product, ints(*axes), keepdims=0)
    return made


def _biased(bias: int) -> Node:
    product = add(matmul(example("float32[2, 3, 4]"), weights(4, 5)), weights(bias, 5, seed=2))
    made: Node = reduce_mean(product, ints(1))
    return made


def _gemm(keepdims: int) -> Node:
    product = gemm(example("float32[3, 4]"), weights(4, 5), weights(5, seed=2))
    made: Node = reduce_mean(product, ints(0), keepdims=keepdims)
    return made


def _image(size: int) -> Node:
    made: Node = conv(example("float32[N, 3, 5, 5]"), weights(4, 3, size, size), weights(4))
    return made


@rules(Soundness.ROUNDING)
def reduced_products(
    x: Float, w: Value, b: Const, c: Maybe, i: Maybe, inner: Value, p: Value, a: Attr, q: Attr
) -> Equations:
    """mean(x @ w + b) = mean(x) @ w + b, sum(x @ w) = sum(x) @ w, over rows."""
    worth = guards.used_once("inner")
    for op in (reduce_sum, reduce_mean):
        yield Rule(
            f"{op.name.lower()}_matmul",
            op(inner.of(matmul(x, w)), i, attrs=q),
            of_rows,
            worth=worth,
            fires=partial(_rows, op, 1),
            misses=partial(_rows, op, 2),
        )
    yield Rule(
        "mean_sum",
        reduce_mean(inner.of(add(p.of(matmul(x, w)), b)), i, attrs=q),
        of_rows,
        worth=(worth, guards.used_once("p")),
        fires=lambda: _biased(1),
        misses=lambda: _biased(3),
    )
    yield Rule(
        "mean_gemm",
        reduce_mean(inner.of(gemm(x, w, c, attrs=a)), i, attrs=q),
        of_rows,
        worth=worth,
        fires=lambda: _gemm(1),
        misses=lambda: _gemm(0),
    )


@rules(Soundness.ROUNDING)
def pooled_convolutions(x: Float, w: Const, b: MaybeConst, y: Value, a: Attr) -> Equations:
    """average(conv(x)) = conv(average(x)), by filters of size 1."""
    yield Rule(
        "average",
        global_average_pool(y.of(conv(x, w, b, attrs=a))),
        pooled_first,
        worth=guards.used_once("y"),
        fires=lambda: global_average_pool(_image(1)),
        misses=lambda: global_average_pool(_image(2)),
    )


def of_batches(root: Node) -> Node | Declined | None:
    """A product of what batches of matrices were broadcast from; the matrices are as they were."""
    made = left_to_op(root)
    if not isinstance(made, Node):
        return made
    pairs = zip(made.inputs, root.inputs, strict=True)
    same = all(x.shape and y.shape and x.shape[-2:] == y.shape[-2:] for x, y in pairs)
    return made if same else Declined("rows or columns are broadcast")


def _columns() -> Node:
    like = shape(example("float32[3, K]", "like"))
    made: Node = matmul(expand(example("float32[3, 1]"), like), example("float32[K, 5]", "y"))
    return made


def _batches(*sizes: int) -> Node:
    wide = expand(example("float32[3, 4]"), ints(*sizes))
    made: Node = matmul(wide, example("float32[2, 4, 5]", "y"))
    return made


@rules(Soundness.ROUNDING)
def broadcast_products(x: Value, y: Value) -> Equations:
    """expand(x) @ y = x @ y, where batches of matrices are broadcast anyway."""
    yield Rule(
        "matmul",
        matmul(x, y),
        of_batches,
        fires=lambda: _batches(2, 3, 4),
        misses=(lambda: _batches(6, 1, 3, 4), _columns),
    )


REDUCED_PRODUCTS: RuleSet = reduced_products + pooled_convolutions + broadcast_products
