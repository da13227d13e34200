"""The parameters of bodies: what its operator gives them, not what it declares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from graphopt.body import Body, param_type
from graphopt.errors import ModelError
from graphopt.frontends.onnx.parse import describe
from graphopt.ir import Node
from graphopt.records import Record, Region
from graphopt.types import (
    UNKNOWN,
    DType,
    OptionalType,
    SequenceType,
    TensorType,
    Type,
    UnknownType,
)

MAX_WIDENINGS = 2
"""How often the shapes of values that a loop carries are widened before they are given up."""


def parameter_types(
    record: Record,
    region: Region,
    inputs: Sequence[Node],
    attributes: Mapping[str, Any],
    version: int,
) -> tuple[tuple[Type, ...], range]:
    """(types of the parameters, which of them are carried from one run of the body to the next).

    Raises ModelError when the body has another number of inputs than its operator gives it.
    """
    given: list[Type] | None = None
    carried = range(0)
    kinds = [param_type(value.derived_type) for value in inputs]
    match (record.domain, record.op_type):
        case ("", "If"):
            given = []
        case ("", "Loop"):
            if len(kinds) < 2:
                raise ModelError(f"node {describe(record)} has fewer inputs than a Loop")
            own = zip((DType.INT64, DType.BOOL), region.inputs, strict=False)
            given = [*(_single(dtype, declared) for dtype, (_, declared) in own), *kinds[2:]]
            carried = range(2, len(given))
        case ("", "Scan") if version > 8:  # before, there was a batch: it is not understood
            count = attributes.get("num_scan_inputs", 0)
            states = len(kinds) - count
            if not 0 <= states <= len(kinds):
                raise ModelError(f"node {describe(record)} has fewer inputs than it scans")
            axes = attributes.get("scan_input_axes", ()) or (0,) * count
            slices = map(_slice, kinds[states:], axes)
            given = [*kinds[:states], *slices]
            carried = range(states)
        case ("", "SequenceMap"):
            given = [k.element if isinstance(k, SequenceType) else k for k in kinds]
        case _:
            return tuple(kind for _, kind in region.inputs), carried
    if len(given) != len(region.inputs):
        raise ModelError(
            f"node {describe(record)} gives its body {len(given)} inputs, it has"
            f" {len(region.inputs)}"
        )
    declared = (kind for _, kind in region.inputs)
    return tuple(_unknown_as(a, b) for a, b in zip(given, declared, strict=True)), carried


def output_count(record: Record, attributes: Mapping[str, Any]) -> int:
    """How many outputs a node has: of a loop all that its body returns, though none is named."""
    named = max(k + 1 for k, name in enumerate(record.outputs) if name)
    body = attributes.get("body")
    if record.domain or record.op_type not in ("Loop", "Scan") or not isinstance(body, Body):
        return named
    return max(named, len(body.outputs) - (record.op_type == "Loop"))


def _single(dtype: DType, declared: Type) -> Type:
    """The type of a Loop's own parameter: a scalar, or a vector where the body declares one."""
    vector = isinstance(declared, TensorType) and declared.rank == 1
    return TensorType(dtype, (1,) if vector else ())


def _unknown_as(given: Type, declared: Type) -> Type:
    if isinstance(given, TensorType):
        return TensorType(given.dtype, given.shape)  # its content changes from run to run
    return declared if isinstance(given, UnknownType) else given


def _slice(kind: Type, axis: int) -> Type:
    if not isinstance(kind, TensorType):
        return UNKNOWN
    if kind.shape is None or not -len(kind.shape) <= axis < len(kind.shape):
        return TensorType(kind.dtype, None)
    axis %= len(kind.shape)
    return TensorType(kind.dtype, kind.shape[:axis] + kind.shape[axis + 1 :])


def widened(old: Type, new: Type, *, give_up: bool) -> Type:
    """A type for a carried value that is `old` at first and `new` after a run.

    Raises ModelError when no type takes both.
    """
    if isinstance(old, TensorType) and isinstance(new, TensorType):
        if old.dtype is not new.dtype:
            raise ModelError(f"a value that it carries is {old.dtype}, then {new.dtype}")
        shape, other = old.shape, new.shape
        if shape is None or other is None or len(shape) != len(other):
            return TensorType(old.dtype, None)
        if shape == tuple(b if a is not None else None for a, b in zip(shape, other, strict=True)):
            return old
        if give_up:
            return TensorType(old.dtype, None)
        sizes = zip(shape, other, strict=True)
        return TensorType(old.dtype, tuple(a if a == b else None for a, b in sizes))
    if isinstance(old, SequenceType) and isinstance(new, SequenceType):
        return SequenceType(widened(old.element, new.element, give_up=give_up))
    if isinstance(old, OptionalType) and isinstance(new, OptionalType):
        return OptionalType(widened(old.element, new.element, give_up=give_up))
    if old == new:
        return old
    return UNKNOWN
