"""Newest forms written at older opsets: the same meaning, or a refusal that names an opset."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from graphopt.dims import symbol
from graphopt.frontends.onnx.opsets import CannotLower, lower
from graphopt.ir import Node, walk
from graphopt.ops import table
from graphopt.structural import constant, graph_input, results
from graphopt.types import BY_LABEL, DType, TensorType, dtype_of
from tests.frontends.onnx.calls import Lowered, call_of, evaluate, run_elsewhere, same

RANDOM = np.random.default_rng(11)


def floats(*shape: int) -> np.ndarray[Any, Any]:
    """Random numbers between -2 and 2."""
    return RANDOM.uniform(-2, 2, shape).astype(np.float32)


FEEDS = {
    "x": floats(2, 3, 4),
    "image": floats(1, 2, 4, 6),
    "column": floats(2, 3, 1),
    "row": floats(1, 2, 2),
    "matrix": floats(4, 5),
    "index": np.array([[0, 1, 2]], np.int64),
    "place": np.array([[[1, 0, 1, 0]]], np.int64),
    "update": floats(1, 1, 4),
}
X, IMAGE, COLUMN, ROW, MATRIX, INDEX, PLACE, UPDATE = (
    graph_input(name, TensorType(dtype_of(array.dtype), array.shape))
    for name, array in FEEDS.items()
)


def unknown(name: str, dtype: str = "float32", shape: tuple[Any, ...] | None = None) -> Node:
    """An input whose content, and perhaps shape, only running tells."""
    return graph_input(name, TensorType(BY_LABEL[dtype], shape))


def ints(*items: int) -> Node:
    """A constant of int64."""
    return constant(list(items), DType.INT64)


def numbers(*items: float) -> Node:
    """A constant of float32."""
    return constant(list(items), DType.FLOAT32)


def scalar(item: Any, dtype: DType = DType.FLOAT32) -> Node:
    """A constant without axes."""
    return constant(item, dtype)


def case(name: str, version: int, *inputs: Node | None, **attributes: Any) -> Any:
    """A node of the newest opset, and the opset to write it at."""

    def make() -> Node:
        made: Node = table()["", name](*inputs, **attributes)
        return made

    return pytest.param(make, version, id=f"{name}-{version}")


ASYMMETRIC = {"coordinate_transformation_mode": "asymmetric"}
WINDOW = {"kernel_shape": (2, 2), "dilations": (1, 1)}
BOUNDS = (ints(1), ints(3))
SIZES = ints(1, 2, 3, 9)
HALF_PIXEL = {"coordinate_transformation_mode": "half_pixel_symmetric"}
GATES = (("GRU", 3), ("LSTM", 4), ("RNN", 1))


def gates(count: int) -> tuple[Node, ...]:
    """The inputs of a recurrent network that has so many gates."""
    w, r = (unknown(name, shape=(1, count * 5, size)) for name, size in (("w", 4), ("r", 5)))
    return (X, w, r)


SAME = [
    case("ArgMax", 10, X, axis=-2),
    case("AveragePool", 7, IMAGE, **WINDOW),
    case("Clip", 10, X, scalar(-0.5), None),
    case("Clip", 7, X, None, scalar(0.5)),
    case("Concat", 9, X, COLUMN, axis=-1),
    case("DFT", 17, ROW, None, scalar(1, DType.INT64)),
    case("DFT", 19, ROW),
    case("Dropout", 7, X, scalar(0.25), scalar(False, DType.BOOL)),
    case("Flatten", 9, X, axis=-1),
    case("Gather", 9, X, ints(-1, 0), axis=1),
    case("Gemm", 10, MATRIX, MATRIX, transB=1),
    case("Hardmax", 11, X),
    case("LogSoftmax", 12, X, axis=2),
    case("LpPool", 11, IMAGE, **WINDOW),
    case("Max", 7, X, X),
    case("MaxPool", 7, IMAGE, **WINDOW),
    case("Mod", 13, INDEX, ints(2)),
    case("Mod", 26, X, COLUMN, fmod=1),
    case("OneHot", 10, INDEX, scalar(3, DType.INT64), numbers(0, 1), axis=-2),
    case("Pad", 17, X, ints(1, 0, 0, 2), scalar(1.5), ints(-1, 0)),
    case("Pad", 9, X, ints(1, 2), None, ints(1), mode="edge"),
    case("Pad", 7, X, ints(0, 0, 0, 1, 0, 0), scalar(1.5)),
    case("QuantizeLinear", 13, X, scalar(0.1), output_dtype=DType.INT8),
    case("QuantizeLinear", 10, X, scalar(0.1), scalar(0, DType.INT8)),
    case("ReduceMean", 13, X, ints(-1, 0), keepdims=0),
    case("ReduceMean", 10, X, ints(-1)),
    case("ReduceSum", 10, X, ints(-2)),
    case("ReduceSum", 7, X),
    case("Reshape", 13, X, ints(6, -1)),
    case("Reshape", 9, X, ints(6, 4), allowzero=1),
    case("Resize", 17, IMAGE, None, numbers(2, 1.5), axes=(-1, 2)),
    case("Resize", 17, IMAGE, None, None, ints(3, 9), axes=(2, 3), mode="linear"),
    case("Resize", 11, IMAGE, None, None, ints(1, 2, 3, 9)),
    case("Resize", 10, IMAGE, None, numbers(1, 1, 0.5, 0.6), nearest_mode="ceil", **ASYMMETRIC),
    case("Resize", 9, IMAGE, None, numbers(1, 1, 2, 1.5), mode="linear", **ASYMMETRIC),
    case("Resize", 7, IMAGE, None, numbers(1, 1, 2, 2), nearest_mode="floor", **ASYMMETRIC),
    case("ScatterElements", 9, X, PLACE, UPDATE, axis=1),
    case("Shape", 13, X),
    case("Slice", 10, X, *BOUNDS, ints(-2), ints(1)),
    case("Slice", 9, X, ints(0, 1), ints(1, 4), ints(0, 2)),
    case("Softmax", 10, X),
    case("Softmax", 9, COLUMN, axis=1),
    case("Split", 17, X, None, num_outputs=2, axis=2, outputs=2),
    case("Split", 17, X, None, num_outputs=3, axis=2, outputs=3),
    case("Split", 12, X, ints(1, 3), axis=-1, outputs=2),
    case("Squeeze", 12, COLUMN, ints(-1)),
    case("Squeeze", 9, COLUMN),
    case("TopK", 10, X, ints(2), sorted=0),
    case("TopK", 9, X, ints(2), axis=-2),
    case("Unsqueeze", 10, X, ints(-1, 0)),
]


Make = Callable[[], Node]


@pytest.mark.parametrize(("make", "version"), SAME)
def test_lowered_means_the_same(make: Make, version: int) -> None:
    values = results(make())
    names = [node.attrs["name"] for node in walk(values) if node.op.name == "Input"]
    feeds = {name: FEEDS[name] for name in names}
    model = Lowered(values, version).model(feeds)
    same(run_elsewhere(model, feeds), evaluate(values, feeds))


UNRANKED = unknown("unranked")
LONG = unknown("long", shape=(symbol("n"), 4))
SOME = unknown("some", "int64", (1,))
NUMBER = unknown("number", shape=())
HALF = unknown("half", "float16", (2, 3, 4))
DOUBLE = unknown("double", "float64", (2, 3, 4))
QUERY = unknown("query", shape=(1, 2, 3, 4))
MASK = unknown("mask", shape=(1, 2))
LENGTHS = unknown("lengths", "int64", (1,))
GROUPED = unknown("grouped", shape=(2, 6, 4))
PER_CHANNEL = unknown("channel", shape=(6,))


def refused(name: str, version: int, needed: int, *inputs: Node | None, **attributes: Any) -> Any:
    """A case, and the lowest opset that has a form for it."""
    make, at = case(name, version, *inputs, **attributes).values
    return pytest.param(make, at, needed, id=f"{name}-{version}-{needed}")


REFUSED = [
    refused("ArgMax", 10, 12, X, select_last_index=1),
    refused("ArgMax", 10, 11, UNRANKED, axis=-2),
    refused("Attention", 23, 25, QUERY, QUERY, QUERY, left_window_size=1),
    refused("Attention", 23, 24, QUERY, QUERY, QUERY, None, None, None, LENGTHS),
    refused("Attention", 23, 24, QUERY, QUERY, QUERY, MASK),
    refused("Attention", 22, 23, QUERY, QUERY, QUERY),
    refused("AveragePool", 18, 19, IMAGE, kernel_shape=(2, 2), dilations=(2, 1)),
    refused("AveragePool", 9, 10, IMAGE, kernel_shape=(2, 2), ceil_mode=1),
    refused("Clip", 10, 11, X, NUMBER),
    refused("Clip", 7, 11, DOUBLE, scalar(0.1, DType.FLOAT64)),
    refused("DFT", 19, 20, ROW, None, unknown("axis", "int64", ())),
    refused("DepthToSpace", 10, 11, unknown("d", shape=(1, 4, 2, 2)), blocksize=2, mode="CRD"),
    refused("DequantizeLinear", 12, 13, unknown("q", "int8", (2, 6)), PER_CHANNEL),
    refused("Dropout", 11, 12, X, NUMBER),
    refused("Dropout", 9, 10, X, outputs=2),
    refused("Flatten", 10, 11, UNRANKED, axis=-1),
    refused("Gather", 10, 11, LONG, ints(-1)),
    refused("GatherND", 11, 12, X, unknown("at", "int64", (2, 1)), batch_dims=1),
    refused("Gelu", 13, 20, X),
    refused("GroupNormalization", 20, 21, GROUPED, PER_CHANNEL, PER_CHANNEL, num_groups=3),
    refused("GridSample", 19, 20, unknown("v", shape=(1, 1, 2, 2, 2)), unknown("g")),
    refused("MaxPool", 7, 10, IMAGE, kernel_shape=(2, 2), dilations=(2, 1)),
    refused("Max", 7, 8, X, COLUMN),
    refused("Mod", 27, 28, X, COLUMN),
    refused("Pad", 18, 19, X, ints(0, 1, 0, 0, 0, 0), mode="wrap"),
    refused("Pad", 17, 18, X, unknown("pads", "int64", (2,)), None, ints(0)),
    refused("Pad", 10, 11, X, unknown("pads", "int64", (6,))),
    refused("Pow", 11, 12, X, unknown("exponent", "int64", ())),
    refused("QuantizeLinear", 22, 23, HALF, scalar(0.1)),
    refused("QuantizeLinear", 20, 21, X, unknown("scale"), output_dtype=DType.INT8),
    refused("QuantizeLinear", 12, 13, X, unknown("scale", shape=(3,))),
    refused("ReduceMean", 17, 18, X, SOME),
    refused("ReduceSum", 12, 13, X, None, noop_with_empty_axes=1),
    refused("Reshape", 13, 14, X, unknown("shape", "int64", (2,)), allowzero=1),
    refused("Resize", 18, 19, IMAGE, None, numbers(1, 1, 2, 2), **HALF_PIXEL),
    refused("Resize", 17, 18, IMAGE, None, None, SIZES, keep_aspect_ratio_policy="not_larger"),
    refused("Resize", 17, 18, LONG, None, None, ints(3), axes=(1,)),
    refused("Resize", 10, 11, IMAGE, None, None, SIZES),
    refused("Resize", 10, 11, IMAGE, None, numbers(1, 1, 2, 2)),
    refused("Resize", 10, 11, IMAGE, None, numbers(1, 1, 2, 2), mode="cubic", **ASYMMETRIC),
    refused("Resize", 10, 11, IMAGE, None, numbers(1, 1, 2, 2), nearest_mode="ceil", **ASYMMETRIC),
    refused("Resize", 9, 10, IMAGE, None, numbers(1, 1, 2, 0.5), mode="linear", **ASYMMETRIC),
    refused("RoiAlign", 15, 16, IMAGE, unknown("rois", shape=(1, 4)), SOME),
    refused("ScatterElements", 17, 18, X, PLACE, UPDATE, reduction="max"),
    refused("ScatterElements", 15, 16, X, PLACE, UPDATE, reduction="add"),
    refused("ScatterElements", 8, 9, X, PLACE, UPDATE),
    refused("Shape", 14, 15, X, start=1),
    refused("Slice", 9, 10, X, *BOUNDS, ints(1), ints(2)),
    refused("Slice", 9, 10, X, SOME, ints(2), ints(1)),
    refused("Slice", 9, 10, X, *BOUNDS, SOME),
    refused("Softmax", 12, 13, X, axis=1),
    refused("SpaceToDepth", 27, 28, IMAGE, blocksize=2, mode="CRD"),
    refused("Split", 17, 18, LONG, None, num_outputs=2, outputs=2),
    refused("Squeeze", 12, 13, COLUMN, SOME),
    refused("TopK", 10, 11, X, ints(2), largest=0),
    refused("TopK", 9, 10, X, SOME),
    refused("Unsqueeze", 10, 11, UNRANKED, ints(-1)),
    *(refused(name, 13, 14, *gates(count), hidden_size=5, layout=1) for name, count in GATES),
]


@pytest.mark.parametrize(("make", "version", "needed"), REFUSED)
def test_what_an_opset_cannot_say(make: Make, version: int, needed: int) -> None:
    call = call_of(make())
    with pytest.raises(CannotLower, match=f"opset {needed}") as info:
        lower(call, version)
    assert info.value.needed == needed
    lower(call, needed)
