"""What the rules of algebra ask of constants and shapes, and the constants that they make."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np

from graphopt.analysis import same_shape
from graphopt.backends.reference import evaluate
from graphopt.ir import Node
from graphopt.op import Op
from graphopt.ops.generate import constant_of_shape
from graphopt.ops.shape import shape
from graphopt.ranges import facts_of
from graphopt.rewriting import Declined, Function, Guard
from graphopt.structural import constant
from graphopt.tensor import Tensor
from graphopt.types import TensorType

SMALL = 1 << 10
"""Constants of at most this many bytes may be stored a second time, changed."""


def element_of(value: Node) -> Any:
    """The number that every element of a constant is, as a Python number; None if there is none."""
    tensor = value.constant
    if tensor is None or not tensor.size or tensor.dtype.kind not in "biuf":
        return None
    tensor = tensor.compact()
    if not tensor.is_splat and tensor.size > 1:
        return None
    element = tensor.element
    return float(element) if tensor.dtype.is_float else element.item()


def scalar(like: Node, number: float | bool) -> Node:
    """A constant of rank 0 in the dtype of another value."""
    return constant(Tensor.of(np.array(number, like.dtype.numpy), like.dtype))


def shown(make: Function[Any], *given: Any) -> Callable[[], Node]:
    """An example of a rule made in a loop: the node that `make` makes of what the loop is at."""
    bound: Callable[..., Node] = make
    return lambda: bound(*given)


def filled_like(root: Node, number: float | bool, *alike: Node) -> Node | Declined:
    """What has the type of `root`, and `number` for every element.

    Where sizes are not numbers it takes them from one of `alike` that has the shape, and that is
    computed: of an input of the graph, two ops would replace one.
    """
    kind = root.tensor_type
    element = np.array(number, kind.dtype.numpy)
    if kind.is_static and kind.shape is not None:
        sizes = tuple(size for size in kind.shape if isinstance(size, int))
        return constant(Tensor.splat(kind.dtype, sizes, element))
    for value in alike:
        if value.inputs and same_shape(root, value):
            made: Node = constant_of_shape(
                shape(value), value=Tensor.of(element.reshape(1), kind.dtype)
            )
            return made
    return Declined("its sizes are known, or those of an operand that is computed")


def filling(number: float | bool) -> Callable[[Node, Node], Node | Declined]:
    """The right side that has one number for every element, and the shape of the root and x."""

    def right(root: Node, x: Node) -> Node | Declined:
        return filled_like(root, number, x)

    return right


def negated(value: Node) -> Node:
    """The negative of a constant; of the least integer, itself."""
    tensor = value.constant
    assert tensor is not None
    if tensor.is_splat:
        with np.errstate(all="ignore"):
            return constant(Tensor.splat(tensor.dtype, tensor.shape, np.negative(tensor.element)))
    return constant(Tensor.of(np.negative(tensor.array), tensor.dtype))


def evaluated(op: Op, *constants: Node, **attrs: Any) -> Node | Declined:
    """The constant that an element-wise op makes of constants, if it takes no more bytes."""
    root: Node = op(*constants, **attrs)
    given = [value.constant for value in constants if value.constant is not None]
    kind = root.derived_type
    if not isinstance(kind, TensorType) or not kind.is_static or kind.shape is None:
        return Declined("the constants' shapes are known")
    size = prod(size for size in kind.shape if isinstance(size, int))
    if size > max(tensor.size for tensor in given):
        return Declined("the combined constant is as small as the constants")
    with np.errstate(all="ignore"):
        made = Tensor.of(evaluate(root, [tensor.array for tensor in given]), kind.dtype).compact()
    if made.stored_bytes > sum(tensor.stored_bytes for tensor in given):
        return Declined("the combined constant is as small as the constants")
    return constant(made)


def no_larger(made: Node | Declined, *before: Node) -> Node | Declined:
    """A combined constant, declined where it takes more bytes than those that it replaces."""
    if isinstance(made, Declined) or made.constant is None:
        return made
    given = sum(value.constant.stored_bytes for value in before if value.constant is not None)
    if made.constant.stored_bytes > given:
        return Declined("the combined constant is as small as the constants")
    return made


def keeps_shape(a: str = "x") -> Guard:
    """The guard that the root has the shape of a value, whose rank may be unknown."""

    def test(root: Node, value: Node) -> bool:
        others = [item for item in root.inputs if item is not value]
        return same_shape(root, value) or all(item.rank == 0 for item in others)

    return Guard(f"nothing enlarges {a}", test, ("root", a))


def alike(*names: str) -> Guard:
    """The guard that some values have one shape."""

    def test(first: Node, *more: Node) -> bool:
        return all(same_shape(first, value) for value in more)

    return Guard(f"{', '.join(names)} have the same shape", test, names)


PAYLOAD = Guard("only the sign of a NaN differs", lambda root: True)
"""The proof for a rule of class VALUE whose sides agree on every number and on what is NaN."""


def no_negative_zero(*names: str) -> Guard:
    """The proof that no element of some values is -0.0."""

    def test(*values: Node) -> bool:
        return not any(facts_of(value).may_be_negative_zero for value in values)

    return Guard(f"{' and '.join(names)} are never -0.0", test, names)


REPLACEABLE = Guard(
    f"the constant takes at most {SMALL} bytes, or is used once",
    lambda c, uses: c.constant.stored_bytes <= SMALL or uses(c) == 1,
)
SIGNED = Guard("the dtype has negative numbers", lambda x: x.dtype.kind != "u")


def anything(dtype: str) -> Node:
    """An input of unknown rank, for near misses."""
    from graphopt.structural import graph_input
    from graphopt.types import BY_LABEL

    return graph_input("x", TensorType(BY_LABEL[dtype], None))
