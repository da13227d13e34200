"""What is known of single values, for the guards of rules: never more than is proven."""

from __future__ import annotations

import numpy as np

from graphopt.ir import Node
from graphopt.types import TensorType

SIGNLESS_ZERO = frozenset({"Exp", "Sigmoid", "Softmax", "Softplus"})
"""Ops whose result is never -0.0, whatever they are given."""


def never_negative_zero(value: Node) -> bool:
    """Whether no element of a value can be -0.0, so that x + 0.0 is x bit for bit."""
    if not value.dtype.is_float:
        return True
    tensor = value.constant
    if tensor is not None:
        array = tensor.array if not tensor.is_splat else np.asarray(tensor.element)
        return not bool(np.any((array == 0) & np.signbit(array)))
    return value.op.name in SIGNLESS_ZERO


def same_shape(a: Node, b: Node) -> bool:
    """Whether two values are tensors that are proven to have equal shapes."""
    if type(a.derived_type) is not TensorType or type(b.derived_type) is not TensorType:
        return False
    return a.shape is not None and a.shape == b.shape


def finite_and_normal(array: np.ndarray[tuple[int, ...], np.dtype[np.floating]]) -> bool:
    """Whether every element is finite and not subnormal: what a folded weight must be."""
    magnitude = np.abs(array)
    tiny = np.finfo(array.dtype).tiny
    return bool(np.all(np.isfinite(array) & ((magnitude >= tiny) | (magnitude == 0))))
