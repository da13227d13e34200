"""Channels first or last: what changes, what is left alone, and that results stay the same."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

import graphopt
from graphopt import dims
from graphopt.backends import reference
from graphopt.errors import PipelineError, UsageError
from graphopt.graph import Graph, operations
from graphopt.ir import Node, walk
from graphopt.ops.activation import prelu, relu
from graphopt.ops.arithmetic import add, mul
from graphopt.ops.channels_last import TO_FIRST, TO_LAST, conv_last, max_pool_last
from graphopt.ops.conv import conv
from graphopt.ops.conv_transpose import conv_transpose
from graphopt.ops.logic import where
from graphopt.ops.movement import depth_to_space, transpose
from graphopt.ops.normalization import batch_normalization
from graphopt.ops.norms import lrn
from graphopt.ops.pool import average_pool, max_pool
from graphopt.ops.pool_global import global_average_pool, global_max_pool
from graphopt.ops.reduction import reduce_mean
from graphopt.ops.resize import resize
from graphopt.ops.shape import reshape
from graphopt.ops.slicing import concat
from graphopt.ops.softmax import softmax
from graphopt.passes.layout.cost import TARGETS, Amounts, Target, amounts_of
from graphopt.passes.layout.layout import Layout
from graphopt.specialize import specialize
from graphopt.structural import constant, graph_input, out
from graphopt.types import DType, TensorType
from tests.passes.before_after import graph_of

KINDS = ("conv", "point", "depthwise", "group", "pool", "whole")
FREE, DEAR = Amounts(), Amounts(calls=1e6)
TO_BE_LAST = Target("last", dict.fromkeys(KINDS, (DEAR, FREE)), (Amounts(1), Amounts(1)))
TO_BE_FIRST = Target("first", dict.fromkeys(KINDS, (FREE, DEAR)), (Amounts(1), Amounts(1)))
N, H, W = dims.symbol("N"), dims.symbol("H"), dims.symbol("W")
RNG = np.random.default_rng(5)


@pytest.fixture(autouse=True)
def targets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two targets more, which are as fast as can be in one of the layouts."""
    for target in (TO_BE_LAST, TO_BE_FIRST):
        monkeypatch.setitem(TARGETS, target.name, target)


def image(*shape: dims.Size | None, name: str = "x", dtype: DType = DType.FLOAT32) -> Node:
    """An input."""
    return graph_input(name, TensorType(dtype, shape))


def weights(*shape: int) -> Node:
    """A constant."""
    return constant(RNG.standard_normal(shape).astype(np.float32))


def relaid(graph: Graph, target: str = "last", **options: Any) -> Graph:
    """A graph in the layouts that suit a target."""
    return graphopt.optimize(graph, [Layout(target)], strict=True, **options)


def ops(graph: Graph) -> Counter[str]:
    """How many nodes of each op there are."""
    return Counter(node.op.name for node in operations(walk(graph.roots)))


def held(
    graph: Graph, made: Graph, sizes: Mapping[str, int] | None = None, tolerance: float = 1e-4
) -> None:
    """Assert that two graphs compute the same up to rounding, also as backends run the second."""
    if sizes:
        graph, made = specialize(graph, sizes), specialize(made, sizes)
    feeds: dict[str, Any] = {}
    for node in graph.inputs:
        shape = [size if isinstance(size, int) else 5 for size in node.shape or ()]
        feeds[node.attrs["name"]] = RNG.standard_normal(shape).astype(node.dtype.numpy)
    expected = reference.run(graph, feeds)
    for backend in ("reference", "numpy", "jax"):
        found = graphopt.compile(made, backend, layout="keep")(**feeds)
        for ours, theirs in zip(found, expected, strict=True):
            assert np.shape(ours) == theirs.shape
            np.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=tolerance)


GEOMETRY: Mapping[str, tuple[tuple[int, ...], dict[str, Any]]] = {
    "plain": ((6, 4, 3, 2), {}),
    "asymmetric pads": ((6, 4, 3, 3), {"pads": (0, 2, 1, 3), "strides": (1, 2)}),
    "dilations": ((6, 4, 3, 3), {"pads": (2, 2, 2, 2), "dilations": (2, 1), "strides": (2, 1)}),
    "dilated columns": ((6, 4, 2, 3), {"dilations": (1, 2)}),
    "point": ((7, 4, 1, 1), {}),
    "point with strides": ((7, 4, 1, 1), {"strides": (2, 3)}),
    "padded point": ((7, 4, 1, 1), {"pads": (1, 0, 2, 1)}),
    "groups": ((6, 2, 3, 3), {"group": 2, "pads": (1, 1, 1, 1)}),
    "depthwise": ((4, 1, 3, 3), {"group": 4, "auto_pad": "SAME_LOWER", "strides": (2, 2)}),
    "two filters a channel": ((8, 1, 2, 3), {"group": 4, "auto_pad": "VALID"}),
    "one filter": ((1, 4, 3, 3), {"auto_pad": "SAME_UPPER", "strides": (2, 2)}),
}


@pytest.mark.parametrize("name", GEOMETRY)
@pytest.mark.parametrize("bias", [False, True])
def test_convolution(name: str, bias: bool) -> None:
    shape, attrs = GEOMETRY[name]
    filters = (weights(*shape), weights(shape[0])) if bias else (weights(*shape),)
    graph = graph_of(conv(image(2, 4, 8, 7), *filters, **attrs))
    made = relaid(graph)
    assert ops(made)["ConvLast"] == 1
    assert len(made) == 3  # between two transposes, or what moves no element
    assert made.outputs[0].type == graph.outputs[0].type
    held(graph, made)
    again = relaid(made, "first")
    assert ops(again)["Conv"] == 1
    held(graph, again)


def test_filters_that_are_no_constants() -> None:
    graph = graph_of(conv(image(1, 4, 6, 5), image(3, 4, 2, 2, name="w"), image(3, name="b")))
    made = relaid(graph)
    assert ops(made)["ConvLast"] == 1
    held(graph, made)


@pytest.mark.parametrize("size", [0, 1])
def test_empty_and_smallest(size: int) -> None:
    graph = graph_of(relu(conv(image(size, 1, 3, 3), weights(1, 1, 3, 3))))
    made = relaid(graph)
    assert ops(made)["ConvLast"] == 1
    held(graph, made)


POOLS: Mapping[str, Callable[[Node], Node]] = {
    "max": lambda x: max_pool(x, kernel_shape=(3, 2), strides=(2, 1), pads=(1, 0, 1, 1)),
    "ceil": lambda x: max_pool(x, kernel_shape=(2, 2), strides=(2, 3), ceil_mode=1),
    "dilated": lambda x: max_pool(x, kernel_shape=(2, 2), dilations=(2, 3)),
    "mean": lambda x: average_pool(x, kernel_shape=(3, 3), pads=(1, 2, 0, 1)),
    "mean of padding": lambda x: average_pool(
        x, kernel_shape=(3, 3), pads=(1, 2, 0, 1), count_include_pad=1, strides=(2, 2)
    ),
    "whole mean": global_average_pool,
    "whole max": global_max_pool,
}


@pytest.mark.parametrize("name", POOLS)
def test_pooling(name: str) -> None:
    graph = graph_of(POOLS[name](image(2, 3, 7, 6)))
    made = relaid(graph)
    assert not {"MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool"} & {*ops(made)}
    held(graph, made)


def test_pooling_shows_special_values_alike() -> None:
    x = image(1, 2, 4, 4)
    graph = graph_of(max_pool(x, kernel_shape=(2, 2), strides=(2, 2), pads=(1, 1, 1, 1)))
    array = np.full((1, 2, 4, 4), -np.inf, np.float32)
    array[0, 1, 2, 2] = np.nan
    made = relaid(graph)
    assert ops(made)["MaxPoolLast"] == 1
    for ours in (reference.run(made, {"x": array}), graphopt.compile(made, "jax")(array)):
        np.testing.assert_array_equal(ours[0], reference.run(graph, {"x": array})[0])


def normalized(x: Node) -> Node:
    """A batch normalization by constants."""
    vectors = (constant(np.abs(RNG.standard_normal(6)).astype(np.float32) + 0.5) for _ in range(4))
    made: Node = batch_normalization(x, *vectors)
    return made


BETWEEN: Mapping[str, Callable[[Node], Node]] = {
    "scalar": lambda x: mul(x, constant(2.0, DType.FLOAT32)),
    "vector of one": lambda x: mul(x, constant([2.0], DType.FLOAT32)),
    "vector over the last axis": lambda x: add(x, weights(8)),
    "one for each channel": lambda x: add(x, weights(6, 1, 1)),
    "a row": lambda x: add(x, weights(1, 1, 8)),
    "a choice of scalars": lambda x: where(constant(True), x, constant(0.0, DType.FLOAT32)),
    "slopes": lambda x: prelu(x, weights(6, 1, 1)),
    "normalization": normalized,
    "nearest": lambda x: resize(x, None, constant([1, 1, 2, 2], DType.FLOAT32)),
    "linear": lambda x: resize(
        x, None, None, constant([7, 3], DType.INT64), axes=(2, 3), mode="linear"
    ),
    "images one below the other": lambda x: concat(x, mul(x, x), axis=2),
    "mean of the plane": lambda x: add(x, reduce_mean(x, constant([2, 3], DType.INT64))),
}


@pytest.mark.parametrize("name", BETWEEN)
def test_what_lies_between_is_in_the_layout(name: str) -> None:
    first = conv(image(1, 6, 8, 8), weights(6, 6, 3, 3), pads=(1, 1, 1, 1))
    graph = graph_of(conv(BETWEEN[name](first), weights(2, 6, 1, 1)))
    made = relaid(graph)
    assert (ops(made)["ConvLast"], ops(made)["Transpose"]) == (2, 2)
    held(graph, made)


@pytest.mark.parametrize("shape", [(), (8,), (6, 1, 1), (1, 6, 1, 1), (1, 1, 8, 8)])
def test_operand_that_is_given_at_run_time(shape: tuple[int, ...]) -> None:
    first = conv(image(1, 6, 8, 8), weights(6, 6, 1, 1))
    graph = graph_of(conv(add(first, image(*shape, name="y")), weights(2, 6, 1, 1)))
    made = relaid(graph)
    assert ops(made)["ConvLast"] == 2
    held(graph, made)


def test_what_cannot_follow_costs_transposes_and_nothing_else() -> None:
    """A pool that tells places stays as it is; what lies around it does not."""
    first = conv(image(1, 4, 8, 8), weights(4, 4, 3, 3))
    pooled = max_pool(first, kernel_shape=(2, 2), outputs=2)
    graph = graph_of((conv(out(pooled, 0), weights(2, 4, 1, 1)), out(pooled, 1)))
    made = relaid(graph)
    assert (ops(made)["ConvLast"], ops(made)["MaxPool"]) == (2, 1)
    held(graph, made)


def test_sizes_that_only_running_tells() -> None:
    x = image(N, 3, H, W)
    made_of = conv(x, weights(4, 3, 3, 3), pads=(1, 1, 1, 1), strides=(2, 2))
    graph = graph_of(reshape(global_average_pool(relu(made_of)), constant([0, 4], DType.INT64)))
    made = relaid(graph)
    assert ops(made)["ConvLast"] == 1
    for n, h, w in ((1, 9, 6), (3, 4, 4)):
        held(graph, made, {"N": n, "H": h, "W": w})


def test_sizes_that_are_not_known_at_all() -> None:
    x = graph_input("x", TensorType(DType.FLOAT32, (None, 3, None, None)))
    graph = graph_of(relu(conv(x, weights(4, 3, 2, 2))))
    made = relaid(graph)
    assert ops(made)["ConvLast"] == 1
    array = RNG.standard_normal((2, 3, 5, 4)).astype(np.float32)
    (ours,), (theirs,) = (reference.run(each, {"x": array}) for each in (made, graph))
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)


ALONE: Mapping[str, Callable[[], Node]] = {
    "one axis": lambda: conv(image(2, 3, 8), weights(4, 3, 3)),
    "three axes": lambda: conv(image(1, 2, 4, 3, 5), weights(2, 2, 2, 1, 3)),
    "no rank": lambda: max_pool(
        graph_input("x", TensorType(DType.FLOAT32, None)), kernel_shape=(2, 2)
    ),
    "no image": lambda: relu(image(1, 3, 4, 4)),
    "normalization by inputs": lambda: batch_normalization(
        image(1, 2, 4, 4), *(image(2, name=name) for name in "sbmv")
    ),
}


@pytest.mark.parametrize("name", ALONE)
def test_left_alone(name: str) -> None:
    graph = graph_of(ALONE[name]())
    assert relaid(graph).outputs == graph.outputs


def test_other_bits_are_not_for_strict_math() -> None:
    graph = graph_of(conv(image(1, 3, 8, 8), weights(4, 3, 3, 3)))
    assert relaid(graph, math="strict").outputs == graph.outputs
    assert relaid(graph).outputs != graph.outputs


def test_transposes_of_the_model_are_cancelled() -> None:
    """Three convolutions, each between transposes, of images that have their channels last."""
    x = image(1, 8, 8, 4)
    value = x
    for _ in range(3):
        inner = conv(transpose(value, perm=TO_FIRST), weights(4, 4, 3, 3), pads=(1, 1, 1, 1))
        value = relu(transpose(inner, perm=TO_LAST))
    graph = graph_of(value)
    made = relaid(graph)
    assert ops(made) == {"ConvLast": 3, "Relu": 3}
    held(graph, made)


def test_image_that_is_seen_in_both_ways() -> None:
    """What is called channels here is columns there: no layout suits both."""
    x = conv(image(1, 4, 4, 4), weights(4, 4, 1, 1))
    graph = graph_of(conv(add(x, transpose(x, perm=TO_LAST)), weights(4, 4, 3, 3)))
    held(graph, relaid(graph))


def test_costs_decide() -> None:
    """A chain of wide convolutions is worth two transposes, a lone small one is not."""
    small = graph_of(conv(image(1, 4, 6, 6), weights(4, 4, 3, 3)))
    x = image(1, 64, 28, 28)
    for _ in range(4):
        x = relu(conv(x, weights(64, 64, 3, 3), pads=(1, 1, 1, 1)))
    chain = graph_of(max_pool(x, kernel_shape=(3, 3), strides=(2, 2)))
    for target in ("numpy", "jax"):
        assert relaid(small, target).outputs == small.outputs
        made = relaid(chain, target)
        expected = {"ConvLast": 4, "MaxPoolLast": 1, "Relu": 4, "Transpose": 2}
        assert ops(made) == expected, target
        assert relaid(made, target).outputs == made.outputs


def test_parts_of_a_graph_may_differ() -> None:
    """Grouped products are cheaper with channels first, though transposes stand between."""
    x = image(1, 64, 56, 56)
    for _ in range(3):
        x = relu(conv(x, weights(64, 64, 3, 3), pads=(1, 1, 1, 1)))
    for _ in range(8):
        x = relu(conv(x, weights(64, 16, 1, 1), group=4))
    made = relaid(graph_of(x), "numpy")
    assert (ops(made)["ConvLast"], ops(made)["Conv"]) == (3, 8)


def test_kinds_of_work() -> None:
    x, count = image(1, 8, 10, 10), 8 * 10 * 10
    pads = (1, 1, 1, 1)
    kinds = {
        "conv": conv(x, weights(8, 8, 3, 3), pads=pads),
        "point": conv(x, weights(8, 8, 1, 1)),
        "depthwise": conv(x, weights(8, 1, 3, 3), group=8, pads=pads),
        "group": conv(x, weights(8, 4, 3, 3), group=2, pads=pads),
        "pool": max_pool(x, kernel_shape=(2, 2)),
        "whole": global_max_pool(x),
        "channels": mul(x, weights(8, 1, 1)),
        "concat": concat(x, relu(x), axis=1),
        "softmax": softmax(x, axis=1),
        "near": lrn(x, size=3),
        "blocks": depth_to_space(x, blocksize=2),
        "nearest": resize(x, None, constant([1, 1, 2, 2], DType.FLOAT32)),
        "transposed": conv_transpose(x, weights(8, 4, 2, 2)),
        "": mul(x, image(1, 8, 10, 10, name="y")),
    }
    assert [amounts_of(node, True)[0] for node in kinds.values()] == list(kinds)
    first, last = amounts_of(kinds["conv"], True)[1]
    assert first.flops == last.flops == 2 * count * 8 * 9
    assert (first.elements, last.elements) == (10 * count, 10 * count)
    assert (first.runs, last.runs) == (80 + 9 * 80, 10 + 10 * 10 * 3)
    turned = conv_last(transpose(x, perm=TO_LAST), weights(8, 8, 3, 3), pads=pads)
    assert amounts_of(turned, False)[1] == (first, last)
    pooled = max_pool_last(transpose(x, perm=TO_LAST), kernel_shape=(2, 2))
    assert amounts_of(pooled, False) == amounts_of(kinds["pool"], True)


def test_unknown_target() -> None:
    graph = graph_of(conv(image(1, 3, 8, 8), weights(4, 3, 3, 3)))
    with pytest.raises(PipelineError, match=r"no target is called 'nump'.*numpy"):
        graphopt.optimize(graph, "layout{target=nump}", strict=True)
    assert graphopt.optimize(graph, "layout{target=jax}").report is not None


def test_written_as_onnx_the_layout_is_between_transposes(tmp_path: Path) -> None:
    x = image(1, 3, 8, 8)
    pooled = max_pool(relu(conv(x, weights(4, 3, 3, 3))), kernel_shape=(2, 2))
    graph = graph_of(average_pool(pooled, kernel_shape=(2, 2)))
    made = relaid(graph)
    assert {"ConvLast", "MaxPoolLast", "AveragePoolLast"} < {*ops(made)}
    graphopt.save(made, tmp_path / "m.onnx")
    array = RNG.standard_normal((1, 3, 8, 8)).astype(np.float32)
    session: Any = onnxruntime.InferenceSession(tmp_path / "m.onnx")
    (theirs,) = session.run(None, {"x": array})
    np.testing.assert_allclose(theirs, reference.run(graph, {"x": array})[0], rtol=1e-4, atol=1e-5)
    graphopt.save(made, tmp_path / "m.gir")
    assert graphopt.load(tmp_path / "m.gir").outputs == made.outputs


def test_compile_lays_images_out() -> None:
    x = image(1, 32, 24, 24)
    for _ in range(3):
        filters = constant(RNG.standard_normal((32, 32, 3, 3)).astype(np.float32) / 17)
        x = relu(conv(x, filters, pads=(1, 1, 1, 1)))
    graph = graph_of(x)
    array = RNG.standard_normal((1, 32, 24, 24)).astype(np.float32)
    (expected,) = reference.run(graph, {"x": array})
    for backend in ("numpy", "jax"):
        for layout in ("auto", "keep"):
            (ours,) = graphopt.compile(graph, backend, layout=layout)(array)
            np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-4)
    plans = [graphopt.compile(graph, threads=1, layout=each).plan for each in ("auto", "keep")]
    assert str(plans[0]) != str(plans[1])
    (exact,) = graphopt.compile(graph, "reference")(array)
    np.testing.assert_array_equal(exact, expected)
    with pytest.raises(UsageError, match=r"no layout is called 'kep'.*keep"):
        graphopt.compile(graph, layout="kep")  # type: ignore[arg-type]  # what is tested
