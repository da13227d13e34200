"""What works on images with channels first (N, C, H, W) and last (N, H, W, C), and its forms."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from graphopt.ir import Node
from graphopt.op import Op
from graphopt.ops.channels_last import TO_LAST
from graphopt.ops.channels_last_table import FIRST, LAST
from graphopt.ops.pool import max_pool
from graphopt.ops.pool_global import global_average_pool, global_max_pool
from graphopt.ops.reduction import reduce_max, reduce_mean
from graphopt.ops.resize import resize
from graphopt.passes.movement.permuted import Perm
from graphopt.passes.movement.positions import vector

WHOLE: Mapping[Op, Op] = {global_average_pool: reduce_mean, global_max_pool: reduce_max}


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
    elif node.op is resize:
        axes = node.attrs.get("axes") or range(4)
        attrs = {**node.attrs, "axes": tuple(perm.index(axis % 4) for axis in axes)}
        made = resize(x, *more, **attrs)
    else:
        made = (LAST if perm == TO_LAST else FIRST)[node.op](x, *more, **node.attrs)
    return made


def _always(node: Node) -> bool:
    return True


BOUND: Mapping[Op, Callable[[Node], bool]] = {
    **dict.fromkeys((*LAST, *WHOLE), _always),
    max_pool: lambda node: "outputs" not in node.attrs and "storage_order" not in node.attrs,
}
FREE: Mapping[Op, Callable[[Node], bool]] = {
    **BOUND,
    **dict.fromkeys((*FIRST, resize), _always),
}
"""By op: whether a node of it, over an image, works in either layout."""
