"""What other implementations of ONNX make of one node: onnx.reference, else ONNX Runtime."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper
from onnx.reference import ReferenceEvaluator

from graphopt.ir import Node, types_of
from graphopt.tensor import Tensor
from graphopt.types import DType, TensorType, Type, dtype_of

Array = Any

RUNTIME_OPSET = 26
"""The newest opset that ONNX Runtime takes."""

WRONG = {
    ("ConvTranspose", ""): "cuts an odd output_shape from the end only",
    ("Erf", "float64"): "computed in float32",
    ("Gelu", "float64"): "computed in float32",
    ("GlobalMaxPool", ""): "wrong shape but for two spatial axes",
    ("HardSwish", "float64"): "computed in float32",
    ("GRU", ""): "ignores lengths, activations and clip",
    ("LRN", ""): "takes the batch for the channels",
    ("LSTM", ""): "ignores lengths, activations, clip and input_forget",
    ("LpNormalization", ""): "adds elements up for p = 1, not their absolute values",
    ("MaxPool", ""): "wrong indices with padding, and wrong SAME_LOWER",
    ("QLinearConv", ""): "adds the zero point before rounding",
    ("QLinearMatMul", ""): "adds the zero point before rounding",
    ("RMSNormalization", "float16"): "computed in float16",
    ("RNN", ""): "ignores lengths and clip",
    ("ReduceSumSquare", "int32"): "gives int64",
    ("ReduceSumSquare", "uint32"): "gives uint64",
}
"""Ops whose reference is wrong for a dtype of the first input ('': any), and how."""

RUNTIME_WRONG = {
    ("Cast", "string"): "makes 78 of '7' as an 8-bit float",
    ("Gelu", "float64"): "takes constants of float32",
}
"""The same of ONNX Runtime, which is asked where the reference is wrong or fails."""

UNDEFINED = {
    "Cast": "a float out of an integer's range",
    "CastLike": "a float out of an integer's range",
    "PRelu": "the reference multiplies 0 by an infinite slope",
    "Pow": "an integer to a power that is no integer",
    "Shrink": "a float out of an integer's range",
}
"""Element-wise ops that are not compared on special values, and for what."""


def run(node: Node, operands: Sequence[Array]) -> list[Array] | None:
    """The node's outputs, or None when nobody can run it who is not known to be wrong."""
    if node.op.domain == "graphopt":
        return None
    proto = node_proto(node)
    if proto is None:
        return None
    first = next((v for v in operands if is_array(v)), None)
    label = "" if first is None else dtype_of(first.dtype).label
    named = {f"i{k}": value for k, value in enumerate(operands) if value is not None}
    keys = {(node.op.name, ""), (node.op.name, label)}
    if not keys & set(WRONG) and (made := _reference(proto, named)) is not None:
        return _of_types(made, types_of(node))
    return None if keys & set(RUNTIME_WRONG) else _runtime(node, proto, named)


def runtime(node: Node, operands: Sequence[Array]) -> list[Array] | None:
    """The node's outputs by ONNX Runtime alone, None when it cannot run it."""
    proto = node_proto(node)
    named = {f"i{k}": value for k, value in enumerate(operands) if value is not None}
    return None if proto is None else _runtime(node, proto, named)


def is_array(value: object) -> bool:
    """Whether a value is an array: not a list, None, or nothing at all."""
    return isinstance(value, np.ndarray)


def elements_of(value: Array) -> list[Array] | None:
    """The elements of a list or tuple, None of anything else."""
    elements: Any = value
    return list(elements) if isinstance(value, list | tuple) else None


def node_proto(node: Node) -> onnx.NodeProto | None:
    """The node in ONNX's form over inputs i0, i1, …; None when it has bodies.

    Only attributes that are not at our defaults are written, so that ONNX's are checked too.
    """
    attrs: dict[str, Any] = {}
    for name, value in node.attrs.items():
        kind = node.op.attributes[name].kind
        if kind in ("Body", "Type"):
            return None
        if name != "outputs":
            attrs[name] = _attribute(value)
    names = ["" if item.is_absent else f"i{k}" for k, item in enumerate(node.inputs)]
    outputs = [f"o{k}" for k in range(len(types_of(node)))]
    return helper.make_node(node.op.name, names, outputs, domain=node.op.domain, **attrs)


def _attribute(value: Any) -> Any:
    if isinstance(value, DType):
        return value.code
    if isinstance(value, Tensor):
        return onnx.numpy_helper.from_array(np.array(value.array))
    return elements_of(value) or value


def _reference(proto: onnx.NodeProto, named: dict[str, Array]) -> list[Array] | None:
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            evaluator: Any = ReferenceEvaluator(proto)
            return list(evaluator.run(None, dict(named)))
    except Exception:
        return None


def _of_types(made: list[Array], kinds: Sequence[Type]) -> list[Array]:
    """The results as arrays; the reference is sloppy with bfloat16, whose result may be wider."""
    return [_of_type(value, kind) for value, kind in zip(made, kinds, strict=True)]


def _of_type(value: Array, kind: Type) -> Array:
    if not isinstance(kind, TensorType) or elements_of(value) is not None:
        return value
    array = np.asarray(value)
    if array.dtype != kind.dtype.numpy and kind.dtype.bits == 16:
        array = array.astype(kind.dtype.numpy)
    same = array.dtype == kind.dtype.numpy or kind.dtype is DType.STRING
    assert same, f"the reference gives {array.dtype} where {kind} is inferred"
    return array


def _runtime(node: Node, proto: onnx.NodeProto, named: dict[str, Array]) -> list[Array] | None:
    import onnxruntime

    library: Any = onnxruntime
    if not all(is_array(value) for value in named.values()):
        return None
    made = [_value_info(name, dtype_of(a.dtype), a.shape) for name, a in named.items()]
    wanted = [
        _value_info(name, kind.dtype, None)
        for name, kind in zip(proto.output, types_of(node), strict=True)
        if isinstance(kind, TensorType)
    ]
    graph = helper.make_graph([proto], "one", made, wanted)
    versions = [helper.make_opsetid("", RUNTIME_OPSET)]
    if node.op.domain:
        versions.append(helper.make_opsetid(node.op.domain, 1))
    model = helper.make_model(graph, opset_imports=versions, ir_version=10)
    options = library.SessionOptions()
    options.log_severity_level = 4
    try:
        session = library.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        return list(session.run(None, named))
    except Exception:
        return None


def _value_info(name: str, dtype: DType, shape: Sequence[int] | None) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, dtype.code, shape)
