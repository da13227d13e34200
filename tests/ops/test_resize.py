"""Resize, GridSample and AffineGrid: sizes, ties and edges where ONNX is a matter of detail."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graphopt import dims
from graphopt.backends.reference import evaluate
from graphopt.errors import TypeRuleError
from graphopt.ir import Node
from graphopt.op import float32
from graphopt.ops.interpolation import NEAREST, scaled_size
from graphopt.ops.resize import resize
from graphopt.ops.sampling import affine_grid, grid_sample
from graphopt.structural import constant, graph_input
from graphopt.types import DType
from tests.ops import harness
from tests.ops.harness import tensor

Array = Any
CROPS: dict[str, Any] = {"coordinate_transformation_mode": "tf_crop_and_resize"}
SCALES = st.sampled_from([0.25, 0.5, 0.6, 0.75, 1.0, 1.3, 1.5, 2.0, 3.0])


def value(name: str, *shape: int | str, dtype: str = "float32") -> Node:
    return graph_input(name, tensor(dtype, *shape))


def by(*scales: float) -> Node:
    return constant(list(scales), DType.FLOAT32)


def to(*sizes: int) -> Node:
    return constant(list(sizes), DType.INT64)


@settings(max_examples=100)
@given(st.data())
def test_resize_is_onnx_runtimes(data: st.DataObject) -> None:
    sizes: harness.Sizes = {dims.Symbol(name): data.draw(st.integers(4, 9)) for name in "HW"}
    mode = data.draw(st.sampled_from(["nearest", "linear", "cubic"]))
    # The rest have fractional sizes, a region, or ties that rounding decides.
    kinds = ["half_pixel", "pytorch_half_pixel", "asymmetric"]
    kinds += ["half_pixel_symmetric"] * (mode != "nearest")
    attrs = {
        "mode": mode,
        "coordinate_transformation_mode": data.draw(st.sampled_from(kinds)),
        "nearest_mode": data.draw(st.sampled_from(NEAREST)),
        "exclude_outside": data.draw(st.integers(0, 1)) if mode == "cubic" else 0,
    }
    x = value("x", 2, 1, "H", "W")
    scales = data.draw(SCALES), data.draw(SCALES)
    node = resize(x, None, by(1, 1, *scales), **attrs)
    values = harness.run(node, harness.feeds(node, sizes))
    harness.check_types(node, values, sizes)
    if values[node].shape != values[x].shape:  # then ONNX Runtime copies, whatever the scale
        harness.check_runtime(node, values, 2000)


@given(st.integers(0, 5000), st.floats(0.0078125, 50, width=32))
def test_scaled_size_is_the_products_floor(size: int, scale: float) -> None:
    made = scaled_size(size, scale)
    assert isinstance(made, int)
    assert abs(made - size * scale) < 1.001
    symbolic = scaled_size(dims.symbol("N"), scale)
    assert symbolic is None or dims.substitute(symbolic, lambda _: size) == made


def test_scale_rounds_up_to_what_was_meant() -> None:
    """0.7 is a little less in float32, but so is its product with 10 rounded."""
    assert scaled_size(10, float32(0.7)) == 7
    assert str(resize(value("x", "N", 10), None, by(2, 0.7)).type) == "float32[2*N, 7]"
    assert str(resize(value("x", "N"), None, by(0.7)).type).startswith("float32[dim(")


def line(x: list[float], *rest: Any, dtype: str = "float32", **attrs: Any) -> list[float]:
    node = resize(value("x", len(x), dtype=dtype), *rest, **attrs)
    inputs = [None if item.is_absent else item.constant for item in node.inputs[1:]]
    arrays = [None if item is None else item.array for item in inputs]
    made: list[float] = evaluate(node, [np.array(x, dtype), *arrays]).tolist()
    return made


def test_corners_are_met_exactly() -> None:
    """Where the nearest element below is wanted, the last coordinate must not be a hair less."""
    attrs = {"coordinate_transformation_mode": "align_corners", "nearest_mode": "floor"}
    for size in range(2, 30):
        for new in range(2, 60, 7):
            made = line(list(range(size)), None, None, to(new), **attrs)
            assert made[0] == 0 and made[-1] == size - 1


def test_crop_to_one_element_takes_the_center() -> None:
    for size in range(3, 12):
        made = line(list(range(size)), by(0.25, 0.75), None, to(1), mode="linear", **CROPS)
        assert abs(made[0] - (size - 1) / 2) < 1e-6


def test_crop_outside_is_the_extrapolation_value() -> None:
    attrs: dict[str, Any] = {**CROPS, "extrapolation_value": 9.0}
    for mode in ("nearest", "linear", "cubic"):
        made = line([1, 2, 3], by(-0.5, 1.5), None, to(5), mode=mode, **attrs)
        assert made == [9, 1, 2, 3, 9]


def test_integers_are_rounded_and_saturated() -> None:
    attrs: dict[str, Any] = {"dtype": "uint8", "mode": "linear"}
    assert line([0, 1, 2, 255], None, by(2), **attrs) == [0, 0, 1, 1, 2, 65, 192, 255]
    attrs["mode"] = "cubic"
    assert line([0, 255, 255, 0], None, by(2), **attrs)[3] == 255


def test_proportions_are_kept() -> None:
    x = value("x", 1, 8, 4)
    for policy, wanted in (("not_larger", [6, 3]), ("not_smaller", [12, 6])):
        node = resize(x, None, None, to(12, 3), axes=(1, 2), keep_aspect_ratio_policy=policy)
        assert node.type == tensor("float32", 1, *wanted)
        made = evaluate(node, [np.zeros((1, 8, 4), np.float32), None, None, np.array([12, 3])])
        assert made.shape == (1, *wanted)


def test_empty_scales_stand_for_none() -> None:
    empty = constant([], DType.FLOAT32)
    assert resize(value("x", 4), empty, empty, to(2)).type == tensor("float32", 2)
    made = evaluate(
        resize(value("x", 4), empty, empty, to(2)),
        [np.arange(4, dtype=np.float32), *[np.zeros(0, np.float32)] * 2, np.array([2])],
    )
    assert made.shape == (2,)


@settings(max_examples=50)
@given(st.data())
def test_grid_sample_is_onnx_runtimes(data: st.DataObject) -> None:
    """Cubic sampling of borders too, where the reference moves positions and PyTorch neighbours."""
    rank = data.draw(st.sampled_from([2, 3]))
    modes = ["nearest", "linear", "cubic"][: 5 - rank]
    sizes = [data.draw(st.integers(1, 5)) for _ in range(rank)]
    x, grid = value("x", "N", 2, *sizes), value("grid", "N", *[2] * rank, rank)
    node = grid_sample(
        x,
        grid,
        mode=data.draw(st.sampled_from(modes)),
        padding_mode=data.draw(st.sampled_from(["zeros", "border", "reflection"])),
        align_corners=data.draw(st.integers(0, 1)),
    )
    bound: harness.Sizes = {dims.Symbol("N"): 2}
    values = harness.run(node, harness.feeds(node, bound, data.draw(st.integers(0, 99))))
    harness.check_types(node, values, bound)
    if 1 not in sizes:  # ONNX Runtime divides by 0 where it reflects such an axis
        harness.check_runtime(node, values, 2000)


def test_positions_far_away_do_no_harm() -> None:
    x, far = np.ones((1, 1, 2, 2), np.float32), [1e30, -1e30, np.inf, -np.inf, np.nan, 5]
    for padding in ("zeros", "border", "reflection"):
        grid = np.array(far, np.float32).reshape(1, 1, 3, 2)
        node = grid_sample(value("x", *x.shape), value("g", *grid.shape), padding_mode=padding)
        with np.errstate(all="ignore"):
            assert evaluate(node, [x, grid]).shape == (1, 1, 1, 3)


def test_affine_grid_samples_the_identity() -> None:
    x = np.random.default_rng(0).normal(size=(1, 2, 3, 4)).astype(np.float32)
    same = np.eye(2, 3, dtype=np.float32)[None]
    for corners in (0, 1):
        grid = affine_grid(constant(same), to(1, 2, 3, 4), align_corners=corners)
        made = harness.run(node := grid_sample(constant(x), grid, align_corners=corners), {})
        np.testing.assert_allclose(made[node], x, atol=1e-6)


X = value("x", 1, 2, 4, 4)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: resize(X, None, by(1, 1, 2)), "3 scales for 4 axes"),
        (lambda: resize(X), "one of scales and sizes"),
        (lambda: resize(X, None, by(1, 1, 2, 2), to(1, 1, 2, 2)), "one of scales and sizes"),
        (lambda: resize(X, None, by(1, 1, 0, 2)), "a scale is 0"),
        (lambda: resize(X, None, None, to(1, 1, -2, 2)), "the sizes"),
        (lambda: resize(X, None, by(2, 2), axes=(2, 2)), "named twice"),
        (lambda: resize(X, None, by(2), axes=(4,)), "no axis 4"),
        (lambda: resize(X, None, by(1, 1, 2, 2), mode="area"), "mode is 'area'"),
        (lambda: resize(X, None, by(1, 1, 2, 2), antialias=1), "cannot be antialiased"),
        (lambda: resize(value("x", 2, dtype="bool"), None, by(2), mode="linear"), "bool"),
        (lambda: resize(X, None, by(1, 1, 2, 2), **CROPS), "needs a roi"),
        (lambda: grid_sample(X, value("g", 1, 2, 2, 3)), "is both 3 and 2"),
        (lambda: grid_sample(X, value("g", 2, 2, 2, 2)), "the batch size is both 1 and 2"),
        (lambda: grid_sample(X, value("g", 1, 2, 2, 2), mode="bilinear"), "mode is 'bilinear'"),
        (lambda: affine_grid(value("t", 1, 2, 3), to(1, 1, 2, 2, 2)), "the number of axes is both"),
    ],
)
def test_misfits_are_refused(make: Any, message: str) -> None:
    with pytest.raises(TypeRuleError, match=message):
        make()
