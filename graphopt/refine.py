"""Refinement of types: whether one value may stand in another's place."""

from __future__ import annotations

from graphopt import dims
from graphopt.dims import Dim, Size
from graphopt.ir import Node
from graphopt.types import TensorType, TupleType, Type, UnknownType


def refines(new: Node, old: Node) -> bool:
    """Whether `new` may replace `old`: the same dtype, and a shape that says as much or more."""
    before, after = old.derived_type, new.derived_type
    if before is after or before == after or isinstance(before, UnknownType):
        return True
    if isinstance(before, TensorType) and isinstance(after, TensorType):
        if before.dtype is not after.dtype:
            return False
        return before.shape is None or shape_refines(new.tensor_type.shape, before.shape)
    if isinstance(before, TupleType) and isinstance(after, TupleType):
        return len(before.elements) == len(after.elements) and all(
            map(type_refines, after.elements, before.elements)
        )
    return False


def type_refines(new: Type, old: Type) -> bool:
    """Whether a type, as derived, says as much as `old` does of one of several outputs."""
    if isinstance(new, TensorType) and isinstance(old, TensorType):
        if new.dtype is not old.dtype:
            return False
        return old.shape is None or shape_refines(new.shape, old.shape)
    return new == old or isinstance(old, UnknownType)


def shape_refines(new: tuple[Size | None, ...] | None, old: tuple[Size | None, ...]) -> bool:
    """Whether a shape says as much as `old`, in which None is a size that nothing is known of."""
    if new is None or len(new) != len(old):
        return False
    return all(b is None or a == b for a, b in zip(new, old, strict=True))


def signature_refines(new: Node, old: Node) -> bool:
    """As `refines`, between two graphs: sizes that only running tells cannot be compared."""
    before, after = old.derived_type, new.derived_type
    if not isinstance(before, TensorType) or not isinstance(after, TensorType):
        return refines(new, old)
    if before.dtype is not after.dtype:
        return False
    if before.shape is None:
        return True
    shape = tuple(None if runtime(size) else size for size in before.shape)
    return shape_refines(new.tensor_type.shape, shape)


def runtime(size: Size | None) -> bool:
    """Whether a size has no name: nothing is known of it, or it is that of an axis of a value.

    Where an operator demands equal sizes, a result has those of the operand that is known best.
    """
    if not isinstance(size, Dim):
        return size is None
    return any(isinstance(atom, dims.DimOf) for atom in dims.atoms(size))
