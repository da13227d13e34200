"""Values whose elements are all one number, although their shape is known only when it runs."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphopt.backends.reference import evaluate
from graphopt.errors import GraphoptError
from graphopt.ir import Node
from graphopt.ops.generate import constant_of_shape
from graphopt.ops.shape import expand
from graphopt.tensor import Tensor
from graphopt.types import TensorType

Element = tuple[Any, Node | None]
"""The one element of a value, as an array of size 1, and the shape as a value (None: of size 1)."""


def element_of(value: Node) -> Element | None:
    """The element that a value is filled with, None when it is not known to be filled with one."""
    tensor = value.constant
    if tensor is not None:
        return (tensor.array.reshape(-1)[:1], None) if tensor.size == 1 else None
    if value.op is constant_of_shape:
        given: Tensor | None = value.attrs.get("value")
        held = np.zeros(1, np.float32) if given is None else given.array.reshape(-1)[:1]
        return held, value.inputs[0]
    if value.op is expand:
        inner = value.inputs[0].constant
        if inner is not None and inner.size == 1 and len(inner.shape) <= _length(value.inputs[1]):
            return inner.array.reshape(-1)[:1], value.inputs[1]
    return None


def _length(shape: Node) -> int:
    """The number of elements of a shape operand, 0 when it is not known."""
    size = None if not shape.shape else shape.shape[0]
    return size if isinstance(size, int) else 0


def filled_map(node: Node) -> Node | None:
    """An element-wise node over filled values as a filled value of its own.

    f(ConstantOfShape(s) of v, w) = ConstantOfShape(s) of f(v, w), for w of size 1 and of no more
    axes. Bit for bit: f is computed by the reference backend, on one element.
    """
    kind = node.derived_type
    if not node.op.facts.elementwise or not node.inputs or not isinstance(kind, TensorType):
        return None
    found = [each for each in map(element_of, node.inputs) if each is not None]
    shapes = dict.fromkeys(shape for _, shape in found if shape is not None)
    if len(found) < len(node.inputs) or len(shapes) != 1 or kind.dtype.kind not in "biuf":
        return None
    (shape,) = shapes
    if any(len(i.constant.shape) > _length(shape) for i in node.inputs if i.constant is not None):
        return None
    try:
        with np.errstate(all="ignore"):
            made = evaluate(node, [element for element, _ in found])
    except GraphoptError:
        return None  # it fails when it runs, too: that is not for us to say
    filled: Node = constant_of_shape(
        shape, value=Tensor.of(np.asarray(made).reshape(1), kind.dtype)
    )
    return filled
