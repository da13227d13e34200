"""Steps between opsets: none is missing, each keeps the meaning, and what has no form is told."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from onnx import defs, helper

from graphopt.backends import reference
from graphopt.errors import TypeRuleError, UnsupportedError
from graphopt.frontends.onnx.call import Call
from graphopt.frontends.onnx.operators import values_of
from graphopt.frontends.onnx.opsets import CannotLower, first_opset, lower, upgrade
from graphopt.frontends.onnx.opsets.tables import LOWERINGS, UPGRADES
from graphopt.frontends.onnx.opsets.unchanged import OPTIONAL, TYPES, UNCHANGED
from graphopt.frontends.onnx.parse import OLDEST_OPSET
from graphopt.graph import Graph
from graphopt.op import OPSET
from graphopt.structural import graph_input
from graphopt.types import BY_LABEL, TensorType
from tests.frontends.onnx.calls import Case, Const, Lowered, evaluate, run_elsewhere, same

# Nothing is missing.


def history(oldest: int = 1) -> Iterator[tuple[defs.OpSchema, defs.OpSchema]]:
    """Each schema of ai.onnx that came after an opset, behind the one it replaced."""
    schemas: dict[str, list[defs.OpSchema]] = {}
    for schema in defs.get_all_schemas_with_history():
        if not schema.domain:
            schemas.setdefault(schema.name, []).append(schema)
    for versions in schemas.values():
        versions.sort(key=lambda schema: schema.since_version)
        for old, new in pairwise(versions):
            if oldest < new.since_version <= OPSET:
                yield old, new


def test_every_version_has_a_step_or_needs_none() -> None:
    for _, new in history():
        stepped = new.since_version in dict(UPGRADES.get(new.name, ()))
        listed = new.since_version in UNCHANGED.get(new.name, {})
        gone = new.deprecated and any(since > new.since_version for since, _ in UPGRADES[new.name])
        assert (stepped or gone) != listed, f"{new.name} {new.since_version}"


def attributes(schema: defs.OpSchema) -> dict[str, Any]:
    """The attributes with their kinds and defaults."""
    return {
        name: (
            item.type,
            item.required,
            helper.get_attribute_value(item.default_value) if item.default_value.name else None,
        )
        for name, item in schema.attributes.items()
    }


def arity(schema: defs.OpSchema) -> tuple[list[Any], list[Any]]:
    """Which inputs and outputs there are, and which of them may be left out."""
    return [item.option for item in schema.inputs], [item.option for item in schema.outputs]


def test_unchanged_versions_have_the_same_form() -> None:
    for old, new in history():
        reason = UNCHANGED.get(new.name, {}).get(new.since_version)
        if reason is TYPES:
            assert attributes(old) == attributes(new), f"{new.name} {new.since_version}"
            assert arity(old) == arity(new), f"{new.name} {new.since_version}"
        elif reason is OPTIONAL and new.name != "Constant":
            assert attributes(old).items() <= attributes(new).items(), new.name


WITHOUT_OLD_FORM = {"Constant", "GroupNormalization", "OptionalHasElement", "Scan"}
"""Ops whose form changed, yet that the table need not lower."""


def test_every_change_of_form_can_be_undone_or_refused() -> None:
    for old, new in history(OLDEST_OPSET):
        if new.name in WITHOUT_OLD_FORM or new.deprecated:
            continue
        if attributes(old) != attributes(new) or len(arity(old)[0]) != len(arity(new)[0]):
            if set(attributes(old)) - set(attributes(new)) == {"spatial"}:
                continue  # what is written since is what was its default
            assert new.since_version in dict(LOWERINGS[new.name]), f"{new.name} {new.since_version}"


def test_rows_are_in_order() -> None:
    for name, steps in UPGRADES.items():
        assert [since for since, _ in steps] == sorted({since for since, _ in steps}), name
    for name, lowerings in LOWERINGS.items():
        versions = [since for since, _ in lowerings]
        assert versions == sorted(set(versions), reverse=True), name


def test_operators_come_with_some_opset() -> None:
    assert [first_opset(name) for name in ("Add", "Gelu", "Nothing")] == [1, 20, 0]


# Each step keeps the meaning: ONNX Runtime runs the old form, the reference backend the new.

RANDOM = np.random.default_rng(7)


def floats(*shape: int) -> np.ndarray[Any, Any]:
    """Random numbers between -2 and 2."""
    return RANDOM.uniform(-2, 2, shape).astype(np.float32)


X = floats(2, 3, 4)
IMAGE = floats(1, 2, 4, 6)


def resize(scales: list[float], **modes: Any) -> Case:
    """A Resize as opset 10 had it."""
    return Case("Resize", 10, [IMAGE, Const([1, 1, *scales])], modes)


def normalized(shape: tuple[int, ...]) -> list[Any]:
    """Scale, bias, mean and variance."""
    return [floats(*shape), floats(*shape), floats(*shape), abs(floats(*shape))]


ONE_WAY = [
    Case("Resize", 10, [IMAGE, np.array([1, 1, 0.6, 1.7], np.float32)]),
    Case("Upsample", 9, [IMAGE, np.array([1, 1, 2, 3], np.float32)]),
]
"""What cannot be lowered again: it is not known whether an axis shrinks."""

CASES = [
    Case("Clip", 7, [X], {"min": -0.5, "max": 0.5}),
    Case("Clip", 10, [X], {"max": 0.25}),
    Case("Pad", 7, [X], {"pads": [0, 1, 0, 0, 0, 2], "value": 1.5}),
    Case("Pad", 10, [X], {"pads": [0, 1, 0, 0, 0, -2], "mode": "reflect"}),
    Case("Pad", 13, [X, Const([0, 1, 0, 0, 0, 2], "int64")]),
    Case("Slice", 9, [X], {"starts": [1, -3], "ends": [2**31 - 1, -1], "axes": [1, 2]}),
    Case("Slice", 7, [X], {"starts": [1], "ends": [2]}),
    Case("Split", 11, [X], {"axis": 2, "split": [1, 3]}, outputs=2),
    Case("Split", 7, [X], {"axis": 2}, outputs=2),
    Case("Split", 13, [X], {"axis": -2}, outputs=3),
    Case("Squeeze", 11, [floats(2, 1, 3, 1)], {"axes": [1]}),
    Case("Squeeze", 7, [floats(2, 1, 3, 1)]),
    Case("Unsqueeze", 12, [X], {"axes": [-1, 0]}),
    Case("TopK", 9, [X], {"k": 2, "axis": 1}, outputs=2),
    Case("TopK", 10, [X, Const([2], "int64")], outputs=2),
    Case("Dropout", 7, [X], {"ratio": 0.25}),
    Case("Dropout", 12, [X, Const(0.25)], outputs=2),
    Case("DFT", 17, [floats(2, 4, 1)]),
    Case("DFT", 19, [floats(2, 4, 6, 2)], {"axis": 2, "inverse": 1}),
    *(Case(op, 11, [X], {"axis": a}) for op in ("Softmax", "LogSoftmax") for a in (0, 1, -1)),
    Case("Hardmax", 7, [X]),
    Case("Softmax", 12, [floats(2, 3, 1, 1)]),
    Case("ReduceSum", 11, [X], {"axes": [0, -1], "keepdims": 0}),
    Case("ReduceSum", 7, [X]),
    Case("ReduceMean", 13, [X], {"axes": [1]}),
    Case("ReduceMax", 12, [X], {"axes": [-2], "keepdims": 0}),
    Case("ReduceL2", 7, [X]),
    Case("BatchNormalization", 7, [IMAGE, *normalized((2,))], {"epsilon": 0.01, "spatial": 1}),
    Case("BatchNormalization", 9, [IMAGE, *normalized((2,))]),
    Case("GridSample", 16, [IMAGE, floats(1, 3, 3, 2)], {"mode": "bicubic"}),
    Case("GridSample", 16, [IMAGE, floats(1, 3, 3, 2)]),
    Case(
        "RoiAlign",
        10,
        [IMAGE, np.array([[0, 0, 4, 3]], np.float32), np.array([0])],
        {"output_height": 2, "output_width": 2, "sampling_ratio": 2},
    ),
    Case("Scatter", 10, [floats(2, 3), np.array([[1, 0, 1]]), floats(1, 3)], {"axis": 0}),
    Case("Upsample", 7, [IMAGE], {"scales": [1.0, 1.0, 2.0, 1.5]}),
    Case("Upsample", 9, [IMAGE, Const([1, 1, 2, 2])], {"mode": "linear"}),
    resize([2, 1.5]),
    resize([0.6, 0.6]),
    resize([0.6, 1.7]),
    resize([0.6, 1.7], mode="linear"),
    *ONE_WAY,
    Case("Resize", 11, [IMAGE, Const([]), Const([1, 1, 0.8, 2])], {"mode": "cubic"}),
    Case("Resize", 11, [IMAGE, Const([]), Const([]), Const([1, 2, 3, 9], "int64")]),
    *(
        Case(
            "Resize",
            11,
            [IMAGE, Const([]), Const([1, 1, 0.7, 1.6])],
            {"coordinate_transformation_mode": "tf_half_pixel_for_nn", "nearest_mode": mode},
        )
        for mode in ("floor", "round_prefer_floor")
    ),
    Case("OneHot", 9, [np.array([[0, 2]]), Const(3, "int64"), Const([0, 1])], {"axis": 0}),
    Case("Gemm", 7, [floats(2, 3), floats(3, 4), floats(4)], {"alpha": 0.5}),
    Case("Max", 7, [X, X[::-1].copy()]),
    Case("MaxPool", 7, [IMAGE], {"kernel_shape": [2, 3], "strides": [2, 1]}),
    Case("AveragePool", 10, [IMAGE], {"kernel_shape": [2, 3], "pads": [1, 1, 0, 0]}),
    Case("Flatten", 7, [X], {"axis": 2}),
    Case("QuantizeLinear", 10, [X, Const(0.1), Const(3, "uint8")]),
    Case("Reshape", 7, [X, Const([0, -1], "int64")]),
    Case("Shape", 13, [X]),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_upgraded_means_the_same(case: Case) -> None:
    same(evaluate(case.values, case.feeds), run_elsewhere(case.model, case.feeds))


@pytest.mark.parametrize("case", CASES, ids=str)
def test_upgraded_and_lowered_means_the_same(case: Case) -> None:
    wanted = run_elsewhere(case.model, case.feeds)
    try:
        lowered = Lowered(case.values, case.version)
    except CannotLower:
        if case in ONE_WAY:
            return
        raise
    same(run_elsewhere(lowered.model(case.feeds), case.feeds), wanted)


def test_mask_of_dropout_had_the_dtype_of_the_data() -> None:
    case = Case("Dropout", 7, [X], outputs=2)
    output, mask = evaluate(case.values, case.feeds)
    same((output, mask), (X, np.ones_like(X)))


def test_statistics_an_element() -> None:
    x, scale, bias, mean, variance = floats(3, 2, 4, 6), *normalized((2, 4, 6))
    statistics = [Const(scale), Const(bias), Const(mean), Const(variance)]
    case = Case("BatchNormalization", 7, [x, *statistics], {"spatial": 0, "epsilon": 0.01})
    wanted = (x - mean) / np.sqrt(variance + np.float32(0.01)) * scale + bias
    same(evaluate(case.values, case.feeds), (wanted,))


def test_scale_a_group() -> None:
    x, scale, bias = floats(2, 6, 4), floats(3), floats(3)
    case = Case("GroupNormalization", 18, [x, scale, bias], {"num_groups": 3})
    groups = x.reshape(2, 3, 8)
    mean, variance = groups.mean(2, keepdims=True), groups.var(2, keepdims=True)
    normal = (groups - mean) / np.sqrt(variance + np.float32(1e-5))
    wanted = normal * scale[:, None] + bias[:, None]
    same(evaluate(case.values, case.feeds), (wanted.reshape(x.shape),))


def test_scale_a_group_of_unknown_size() -> None:
    x = graph_input("x", TensorType(BY_LABEL["float32"], None))
    statistics = [graph_input(name, TensorType(BY_LABEL["float32"], (3,))) for name in "sb"]
    call = Call("GroupNormalization", (x, *statistics), {"num_groups": 3})
    (value,) = values_of(call, 18)
    data = floats(2, 6, 4)
    run = reference.run(
        Graph((x, *statistics), (value,), ("y",)), {"x": data, "s": floats(3), "b": floats(3)}
    )
    assert run[0].shape == data.shape


def test_softmax_of_an_empty_tensor_of_any_rank() -> None:
    for shape in ((0, 3, 4), (2, 3, 0), (2, 0, 4)):
        x = graph_input("x", TensorType(BY_LABEL["float32"], None))
        (value,) = values_of(Call("Softmax", (x,), {"axis": 1}), 11)
        made = reference.run(Graph((x,), (value,), ("y",)), {"x": np.zeros(shape, np.float32)})
        assert made[0].shape == shape


def test_heads_are_told_by_the_inputs() -> None:
    q = floats(1, 2, 3, 4)
    plain = Case("Attention", 23, [q, q, q])
    told = Case("Attention", 23, [q, q, q], {"q_num_heads": 2, "kv_num_heads": 2})
    assert plain.values == told.values


@pytest.mark.parametrize(
    "call",
    [
        Case("BatchNormalization", 7, [IMAGE, *normalized((2, 4, 6))], {"spatial": 0}, 5),
        Case("BatchNormalization", 9, [IMAGE, *normalized((2,))], outputs=5),
        Case(
            "Resize",
            11,
            [IMAGE, Const([]), Const([1, 1, 2, 2])],
            {"mode": "linear", "coordinate_transformation_mode": "tf_half_pixel_for_nn"},
        ),
        Case("Scan", 8, [X, X], {"body": "", "num_scan_inputs": 1}),
    ],
    ids=str,
)
def test_what_the_newest_opset_cannot_say(call: Case) -> None:
    with pytest.raises(UnsupportedError):
        upgrade(call.call, call.version)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (Case("Pad", 7, [X]), "attribute 'pads' is missing"),
        (Case("Pad", 7, [X], {"pads": "none"}), "attribute 'pads' is 'none'"),
        (Case("TopK", 9, [X], {"k": 1.5}), "attribute 'k' is 1.5"),
        (Case("Resize", 10, [X]), "cannot have 1 inputs"),
        (Case("Resize", 10, [None, X]), "input 'X' is missing"),
        (Case("GroupNormalization", 18, [X, X, X], {"num_groups": 0}), "there are 0 groups"),
    ],
    ids=str,
)
def test_invalid_calls_are_refused(call: Case, message: str) -> None:
    with pytest.raises(TypeRuleError, match=message):
        upgrade(call.call, call.version)


def test_other_domains_are_left_alone() -> None:
    call = Call("Clip", (), {"min": 1.0}, domain="com.example")
    assert upgrade(call, 7) is call
    assert lower(call, 7) is call
