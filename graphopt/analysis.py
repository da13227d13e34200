"""What is known of single values, for the guards of rules: never more than is proven."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphopt.ir import Node
from graphopt.ranges import facts_of
from graphopt.types import TensorType


def never_negative_zero(value: Node) -> bool:
    """Whether no element of a value can be -0.0, so that x + 0.0 is x bit for bit."""
    return not facts_of(value).may_be_negative_zero


def same_shape(a: Node, b: Node) -> bool:
    """Whether two values are tensors that are proven to have equal shapes."""
    if type(a.derived_type) is not TensorType or type(b.derived_type) is not TensorType:
        return False
    return a.shape is not None and a.shape == b.shape


def finite_and_normal(array: np.ndarray[Any, np.dtype[Any]]) -> bool:
    """Whether every element is finite and not subnormal: what a folded weight must be."""
    import ml_dtypes

    if array.size == 0:
        return True
    with np.errstate(all="ignore"):
        magnitude = np.abs(array)
        if not np.isfinite(magnitude.max()):  # a NaN is the largest
            return False
    tiny = array.dtype.type(ml_dtypes.finfo(array.dtype).tiny)  # type: ignore[no-untyped-call]
    if magnitude.min() >= tiny:
        return True
    return bool(np.all((magnitude >= tiny) | (magnitude == 0)))
