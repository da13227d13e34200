"""What works on images with channels first (N, C, H, W) and last (N, H, W, C), and its forms."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from graphopt.backends.namespace import NUMPY
from graphopt.ir import Node
from graphopt.op import Op
from graphopt.ops.arithmetic import add, div, mul, sub
from graphopt.ops.channels_last import TO_LAST, average_pool_last, conv_last, max_pool_last
from graphopt.ops.conv import conv
from graphopt.ops.kernels import wide
from graphopt.ops.normalization import batch_normalization
from graphopt.ops.pool import average_pool, max_pool
from graphopt.ops.pool_global import global_average_pool, global_max_pool
from graphopt.ops.reduction import reduce_max, reduce_mean
from graphopt.ops.resize import resize
from graphopt.passes.movement.permuted import Perm
from graphopt.passes.movement.positions import vector
from graphopt.structural import constant
from graphopt.types import DType

LAST: Mapping[Op, Op] = {
    conv: conv_last,
    max_pool: max_pool_last,
    average_pool: average_pool_last,
}
"""Ops of images with channels first, and the same with channels last."""
FIRST: Mapping[Op, Op] = {last: first for first, last in LAST.items()}
WHOLE: Mapping[Op, Op] = {global_average_pool: reduce_mean, global_max_pool: reduce_max}
FLOATS = (DType.FLOAT32, DType.FLOAT64)


def has_channels_first(node: Node) -> bool | None:
    """Whether an op that is bound to one layout has channels first; None of any other."""
    if node.op in FIRST:
        return False
    return True if node.op in BOUND else None


def works(node: Node) -> bool:
    """Whether a node that takes an image has a form in either layout."""
    test = FREE.get(node.op)
    return test is not None and node.inputs[0].rank == 4 and test(node)


def relaid(node: Node, perm: Perm, inputs: Sequence[Node]) -> Node:
    """The node over an image whose axes are permuted, where `works` says so."""
    x, *more = inputs
    made: Node
    if node.op in WHOLE:
        made = WHOLE[node.op](x, vector((1, 2)), keepdims=1)
    elif node.op is batch_normalization:
        made = _normalized(x, node)
    elif node.op is resize:
        axes = node.attrs.get("axes") or range(4)
        attrs = {**node.attrs, "axes": tuple(perm.index(axis % 4) for axis in axes)}
        made = resize(x, *more, **attrs)
    else:
        made = (LAST if perm == TO_LAST else FIRST)[node.op](x, *more, **node.attrs)
    return made


def _normalized(x: Node, node: Node) -> Node:
    """BatchNormalization step by step as its kernel does it, along the last axis."""
    held = [item.constant for item in node.inputs[1:]]
    arrays = [item.array for item in held if item is not None]
    scale, bias, mean, var = wide(NUMPY, *arrays)
    epsilon = node.op.arguments(node.attrs)["epsilon"]
    with np.errstate(all="ignore"):
        spread = np.sqrt(var + epsilon)
    steps = ((sub, mean), (div, spread), (mul, scale), (add, bias))
    for op, array in steps:
        x = op(x, constant(array.astype(x.dtype.numpy), x.dtype))
    return x


def _always(node: Node) -> bool:
    return True


def _constant(node: Node) -> bool:
    return all(
        item.constant is not None and item.dtype is node.dtype for item in node.inputs[1:]
    ) and (node.dtype in FLOATS)


BOUND: Mapping[Op, Callable[[Node], bool]] = {
    conv: _always,
    max_pool: lambda node: "outputs" not in node.attrs and "storage_order" not in node.attrs,
    average_pool: _always,
    global_average_pool: _always,
    global_max_pool: _always,
    batch_normalization: _constant,
}
FREE: Mapping[Op, Callable[[Node], bool]] = {
    **BOUND,
    **dict.fromkeys(FIRST, _always),
    resize: _always,
}
"""By op: whether a node of it, over an image, works in either layout."""
