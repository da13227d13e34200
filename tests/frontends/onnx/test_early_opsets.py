"""Models of opsets 1 to 6: read with the meaning that they had, written at opset 7."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import graphopt
from graphopt.errors import GraphoptError, ModelError
from graphopt.frontends.onnx import from_proto, to_proto
from tests.frontends.onnx.calls import Case, Const, evaluate, run_elsewhere, same

RANDOM = np.random.default_rng(3)


def floats(*shape: int) -> Any:
    """Random numbers between -2 and 2."""
    return RANDOM.uniform(-2, 2, shape).astype(np.float32)


X, IMAGE, CHANNELS = floats(2, 3, 4), floats(2, 3, 4, 5), floats(3)
ONE = np.float32(1)


def column(values: Any) -> Any:
    """A value for each channel of an image."""
    return values.reshape(3, 1, 1)


def normalized(x: Any, scale: Any, bias: Any, mean: Any, variance: Any) -> Any:
    """What BatchNormalization is."""
    normal = (x - column(mean)) / np.sqrt(column(variance) + np.float32(1e-5))
    return normal * column(scale) + column(bias)


STATISTICS = [CHANNELS, floats(3), floats(3), abs(floats(3))]
GEMM = floats(2, 3), floats(3, 4), floats(4)

CASES: list[tuple[Case, Any]] = [
    (Case("Add", 6, [IMAGE, CHANNELS], {"broadcast": 1, "axis": 1}), IMAGE + column(CHANNELS)),
    (Case("Mul", 1, [IMAGE, CHANNELS], {"broadcast": 1, "axis": -3}), IMAGE * column(CHANNELS)),
    (Case("Sub", 6, [X, floats(4)], {"broadcast": 1}), None),
    (Case("Div", 6, [X, X + 3]), X / (X + 3)),
    (Case("Less", 1, [X, X[0]], {"broadcast": 1, "axis": 1}), np.less(X, X[0])),
    (Case("Relu", 1, [X], {"consumed_inputs": [0]}), np.maximum(X, 0)),
    (Case("PRelu", 6, [IMAGE, CHANNELS]), np.where(IMAGE < 0, column(CHANNELS) * IMAGE, IMAGE)),
    (Case("PRelu", 6, [IMAGE, floats(1)]), None),
    (Case("PRelu", 6, [floats(3, 3), CHANNELS]), None),
    (Case("Gemm", 6, [*GEMM], {"broadcast": 1}), GEMM[0] @ GEMM[1] + GEMM[2]),
    (
        Case("BatchNormalization", 6, [IMAGE, *STATISTICS], {"is_test": 1}),
        normalized(IMAGE, *STATISTICS),
    ),
    (
        Case(
            "BatchNormalization",
            1,
            [IMAGE, *STATISTICS],
            {"is_test": 1, "consumed_inputs": [0, 0, 0, 1, 1]},
        ),
        normalized(IMAGE, *STATISTICS),
    ),
    (Case("Dropout", 6, [X], {"is_test": 1}), X),
    (Case("Pad", 1, [X], {"paddings": [0, 1, 0, 0, 0, 2]}), np.pad(X, ((0, 0), (1, 0), (0, 2)))),
    (Case("Reshape", 1, [X], {"shape": [0, -1]}), X.reshape(2, -1)),
    (Case("Concat", 1, [X, X]), np.concatenate([X, X], 1)),
    (Case("Cast", 1, [X], {"to": "INT32"}), X.astype(np.int32)),
    (Case("Tile", 1, [X, Const([2.0]), Const([1.0])]), np.tile(X, (1, 2, 1))),
    (
        Case("Upsample", 1, [IMAGE], {"height_scale": 2.0, "width_scale": 3.0, "mode": "nearest"}),
        IMAGE.repeat(2, 2).repeat(3, 3),
    ),
    (
        Case("GlobalLpPool", 1, [IMAGE], {"p": 1.0}),
        np.abs(IMAGE).sum((2, 3), keepdims=True),
    ),
    (
        Case("Selu", 1, [X]),
        np.float32(1.0507) * np.where(X > 0, X, np.float32(1.6732) * np.expm1(X)),
    ),
    (Case("Clip", 1, [X], {"max": 0.5}), np.minimum(X, np.float32(0.5))),
]


@pytest.mark.parametrize(("case", "wanted"), CASES, ids=lambda item: str(item)[:40])
def test_an_operator_means_what_it_did(case: Case, wanted: Any) -> None:
    if wanted is None:
        (wanted,) = run_elsewhere(case.model, case.feeds)
    same(evaluate(case.values, case.feeds), (wanted,))


def test_split_took_its_sizes_as_an_input() -> None:
    case = Case("Split", 1, [X, Const([1, 3], "float32")], {"axis": 2}, outputs=2)
    same(evaluate(case.values, case.feeds), (X[..., :1], X[..., 1:]))


def test_a_recurrence_says_no_more_which_outputs_it_has() -> None:
    x, w, r = floats(5, 2, 3), floats(1, 4, 3), floats(1, 4, 4)
    attributes = {"hidden_size": 4, "output_sequence": 1}
    old = Case("RNN", 1, [x, w, r], attributes, outputs=2)
    new = Case("RNN", 7, [x, w, r], {"hidden_size": 4}, outputs=2)
    assert old.values == new.values


@pytest.mark.parametrize(
    "case",
    [
        Case("Dropout", 6, [X]),
        Case("BatchNormalization", 6, [IMAGE, *STATISTICS]),
        Case("Add", 6, [X, CHANNELS], {"broadcast": 1, "axis": 3}),
        Case("Add", 6, [X, IMAGE[0]], {"broadcast": 1, "axis": 1}),
        Case("Cast", 1, [X], {"to": "FLOAT99"}),
        Case("LpPool", 1, [IMAGE], {"p": 1.5, "kernel_shape": [2, 2]}),
        Case("Tile", 1, [X, np.ones(1, np.float32), Const([1.0])]),
    ],
    ids=str,
)
def test_what_newer_opsets_cannot_say_is_refused(case: Case) -> None:
    with pytest.raises(GraphoptError):
        _ = case.values


def model(*nodes: onnx.NodeProto, opset: int = 6) -> onnx.ModelProto:
    """A model of an image x and a bias for each channel."""
    kind = helper.make_tensor_value_info
    inputs = [
        kind("x", TensorProto.FLOAT, ["N", 3, 4, 5]),
        kind("b", TensorProto.FLOAT, [3]),
    ]
    outputs = [kind("y", TensorProto.FLOAT, None)]
    graph = helper.make_graph(nodes, "old", inputs, outputs)
    opsets = [helper.make_opsetid("", opset)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=3)


def test_a_model_is_written_at_the_oldest_opset_there_is() -> None:
    add = helper.make_node("Add", ["x", "b"], ["s"], broadcast=1, axis=1)
    old = model(add, helper.make_node("Relu", ["s"], ["y"]))
    for graph in (from_proto(old), graphopt.optimize(from_proto(old))):
        new = to_proto(graph)
        onnx.checker.check_model(new, full_check=True)  # pyright: ignore[reportUnknownMemberType]
        assert [item.version for item in new.opset_import] == [7]
        feeds = {"x": IMAGE, "b": CHANNELS}
        same(run_elsewhere(new, feeds), (np.maximum(IMAGE + column(CHANNELS), 0),))


def test_what_is_not_understood_is_not_moved_to_another_opset() -> None:
    crop = helper.make_node("Crop", ["x"], ["y"], border=[1, 1, 1, 1])
    with pytest.raises(ModelError, match=r"node Crop of 'y' is of opset 6, which would become 7"):
        from_proto(model(crop))
    training = helper.make_node("Dropout", ["x"], ["y"], name="drop")
    with pytest.raises(ModelError, match="node Dropout 'drop' is of opset 6"):
        from_proto(model(training))
