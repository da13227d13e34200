"""What the onnx package's table of operators says: since when an operator takes which dtypes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from onnx import defs, helper

from graphopt.op import OPSET
from graphopt.records import ModelInfo
from graphopt.types import DType, OptionalType, SequenceType, TensorType, Type

_LABELS = {
    DType.FLOAT32: "float",
    DType.FLOAT64: "double",
    DType.FLOAT8E4M3FN: "float8e4m3fn",
    DType.FLOAT8E4M3FNUZ: "float8e4m3fnuz",
    DType.FLOAT8E5M2: "float8e5m2",
    DType.FLOAT8E5M2FNUZ: "float8e5m2fnuz",
    DType.FLOAT8E8M0: "float8e8m0",
    DType.FLOAT4E2M1: "float4e2m1",
}
_IR_OF_DTYPE = {
    DType.BFLOAT16: 4,
    DType.FLOAT8E4M3FN: 9,
    DType.FLOAT8E4M3FNUZ: 9,
    DType.FLOAT8E5M2: 9,
    DType.FLOAT8E5M2FNUZ: 9,
    DType.UINT4: 10,
    DType.INT4: 10,
    DType.FLOAT4E2M1: 11,
    DType.FLOAT8E8M0: 12,
    DType.UINT2: 13,
    DType.INT2: 13,
}
OLDEST_IR = 4
"""The oldest IR version that is written: before, an initializer had to be an input too."""


def type_text(kind: Type | None) -> str:
    """A type as the operators' constraints spell it, '' of one that they say nothing about."""
    match kind:
        case TensorType(dtype):
            return f"tensor({_LABELS.get(dtype, dtype.label)})"
        case SequenceType(element) if inner := type_text(element):
            return f"seq({inner})"
        case OptionalType(element) if inner := type_text(element):
            return f"optional({inner})"
        case _:
            return ""


@lru_cache(4096)
def opset_for(
    op_type: str, version: int, inputs: tuple[str, ...], outputs: tuple[str, ...]
) -> int | None:
    """The lowest opset from `version` on at which the operator takes these types, None if none."""
    for candidate in range(version, OPSET + 1):
        if defs.has(op_type, candidate):
            schema = defs.get_schema(op_type, candidate)
            if _takes(schema.inputs, inputs) and _takes(schema.outputs, outputs):
                return candidate
    return None


def _takes(formals: Sequence[defs.OpSchema.FormalParameter], texts: tuple[str, ...]) -> bool:
    if not formals:
        return not texts
    return all(
        not text or text in formals[min(k, len(formals) - 1)].types for k, text in enumerate(texts)
    )


@lru_cache(1024)
def least_inputs(op_type: str, version: int) -> int:
    """How many inputs an operator of ai.onnx must have at an opset, those left out included."""
    known = defs.has(op_type, version)
    return defs.get_schema(op_type, version).min_input if known else 0


@lru_cache(1024)
def same_operator(domain: str, op_type: str, version: int, other: int) -> bool:
    """Whether an operator is the same at two opsets; for an unknown one they must be equal."""
    if version == other:
        return True
    if not (defs.has(op_type, version, domain) and defs.has(op_type, other, domain)):
        return False
    a, b = (defs.get_schema(op_type, v, domain) for v in (version, other))
    return a.since_version == b.since_version


@lru_cache(64)
def ir_of_opset(opset: int) -> int:
    """The IR version of the onnx release that brought an opset of ai.onnx."""
    return min((row[1] for row in helper.VERSION_TABLE if row[2] >= opset), default=OLDEST_IR)


def ir_of_dtype(dtype: DType) -> int:
    """The IR version that brought a dtype."""
    return _IR_OF_DTYPE.get(dtype, OLDEST_IR)


def newest_opset(ir_version: int) -> int:
    """The newest opset of ai.onnx that goes with an IR version."""
    return max((row[2] for row in helper.VERSION_TABLE if row[1] <= ir_version), default=OPSET)


def own_opset(info: ModelInfo | None) -> int:
    """The opset of ai.onnx of a file; of a graph without one, what goes with its IR version."""
    known = info.opset() if info else None
    return known or newest_opset(info.ir_version if info else ModelInfo().ir_version)
