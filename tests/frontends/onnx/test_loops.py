"""Loop and Scan in models: what is read, what is written, and what ONNX Runtime makes of both."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

import graphopt
from graphopt.backends import reference
from graphopt.body import Body
from graphopt.errors import ModelError, UnsupportedError
from graphopt.frontends.onnx import load
from graphopt.graph import Graph
from graphopt.ir import walk
from graphopt.ops.arithmetic import add
from graphopt.ops.loops import loop
from graphopt.passes.branches.loop_motion import Loops
from graphopt.passes.fold import FoldConstants
from graphopt.passes.prune import Prune
from graphopt.passes.simplify import Simplify
from graphopt.pipeline import Context, UntilStable, run_pipeline
from graphopt.rewriting.examples import example
from graphopt.rewriting.rule import Math
from graphopt.structural import constant
from tests.frontends.onnx.models import assert_same, changed, graph, model, run, written
from tests.passes.flows import draw
from tests.passes.test_control_drawn import Draw

ONES = np.ones(2, np.float32)
POWERS = (
    "g (int64 n, bool c, float[2] v, float[2] w) => (float[2] y, float[K, 2] s, int64[K] i) {"
    "u = Neg(w)"
    "y, s, i = Loop <body = b (int64 k, bool d, float[2] x) => (bool e, float[2] z, float[2] t,"
    " int64 j) { e = Identity(d) z = Mul(x, u) t = Add(x, w) j = Identity(k) }> (n, c, v) }"
)
WHILE = (
    "g (float[2] v, float[2] w) => (float[2] y) <bool c = {1}, float top = {9.0}> {"
    "y = Loop <body = b (int64 k, bool d, float[2] x) => (bool e, float[2] z) { z = Add(x, w)"
    ' r = ReduceSum <keepdims = 0> (z) e = Less(r, top) }> ("", c, v) }'
)
FOREVER = (
    "g (float[2] v) => (float[2] y) {"
    "y = Loop <body = b (int64 k, bool d, float[2] x) => (bool e, float[2] z) { z = Add(x, x)"
    " five = Constant <value = int64 {5}> () e = Less(k, five) }> (n, c, v) }"
).replace(
    "y = Loop", "c = Constant <value = bool {1}> () n = Constant <value = int64 {50}> () y = Loop"
)
NESTED = (
    "g (int64 n, float[2] v, float[2] w) => (float[2] y) {"
    "y = Loop <body = b (int64 k, bool d, float[2] x) => (bool e, float[2] z) {"
    " e = Identity(d) o = Add(w, x)"
    " z = Loop <body = bb (int64 kk, bool dd, float[2] xx) => (bool ee, float[2] zz) {"
    ' ee = Identity(dd) zz = Add(xx, o) }> (n, "", x) }> (n, "", v) }'
)
SCAN = (
    "g (float[2] s, float[3, N] x, float[2] w) => (float[2] t, float[2, N] y) {"
    "t, y = Scan <num_scan_inputs = 1, scan_input_axes = [1], scan_output_axes = [1],"
    " scan_input_directions = [1], body = b (float[2] a, float[3] p) => (float[2] c, float[2] q) {"
    " r = ReduceSum <keepdims = 0> (p) c = Add(a, r) q = Mul(c, w) }> (s, x) }"
)
FEEDS: list[tuple[str, Mapping[str, Any]]] = [
    *(
        (POWERS, {"n": np.array(n), "c": np.array(c), "v": ONES, "w": ONES * 2})
        for n, c in ((0, True), (3, True), (3, False))
    ),
    (WHILE, {"v": ONES, "w": ONES}),
    (FOREVER, {"v": ONES}),
    (NESTED, {"n": np.array(3), "v": ONES, "w": ONES}),
    (SCAN, {"s": ONES, "x": np.arange(12, dtype=np.float32).reshape(3, 4), "w": ONES * 3}),
]


@pytest.mark.parametrize("rewritten", [False, True])
@pytest.mark.parametrize("opset", [11, 13, 16, 21])
@pytest.mark.parametrize(("text", "feeds"), FEEDS)
def test_a_model_keeps_its_meaning(
    text: str, feeds: Mapping[str, Any], opset: int, rewritten: bool
) -> None:
    wanted = run(model(text, opset), feeds)
    given = graph(text, opset)
    assert not any(node.op.facts.opaque for node in given.nodes)
    assert_same(list(reference.run(given, feeds)), wanted)
    assert_same(list(graphopt.compile(given, "numpy")(**feeds)), wanted)
    assert_same(run(written(changed(given) if rewritten else given), feeds), wanted)


@pytest.mark.parametrize(("text", "feeds"), FEEDS)
def test_an_optimized_model_keeps_its_meaning(text: str, feeds: Mapping[str, Any]) -> None:
    passes = (UntilStable((Prune(), Simplify(), FoldConstants(), Loops())),)
    made = run_pipeline(graph(text), passes, Context(Math.STRICT, strict=True))
    assert_same(list(reference.run(made, feeds)), run(model(text), feeds))
    assert_same(run(written(made), feeds), run(model(text), feeds))


@pytest.mark.parametrize("seed", range(20))
def test_drawn_programs_are_written_and_read(seed: int) -> None:
    outputs = Draw(seed).program()
    inputs = tuple(node for node in walk(outputs) if node.op.name == "Input")
    given = Graph(inputs, tuple(outputs), tuple(f"y{k}" for k in range(len(outputs))))
    proto = written(given)
    again = load(proto.SerializeToString())
    rng = np.random.default_rng(seed)
    for trips in (0, 3):
        feeds = {node.attrs["name"]: draw(node, rng, trips) for node in inputs}
        wanted = reference.run(given, feeds)
        assert_same(list(reference.run(again, feeds)), list(wanted))
        for one, other in zip(run(proto, feeds), wanted, strict=True):
            np.testing.assert_allclose(one, other, 1e-4, 1e-4)


def test_a_loop_whose_inputs_are_left_out() -> None:
    """The checker wants at least two inputs, though nothing be in them."""
    k, go = example("int64[]", "k"), example("bool[]", "go")
    x = example("float32[2]", "x")
    body = Body.close((k, go), (x,), (constant(True), add(x, x)))
    made = Graph((x,), (loop(constant(3), None, x, body=body),), ("y",))
    proto = written(made)
    assert list(proto.graph.node[-1].input)[1:] == [""]
    (y,) = run(proto, {"x": ONES})
    assert y.tolist() == [[2, 2]] * 3
    with pytest.raises(UnsupportedError, match="nothing is carried .opset 11"):
        written(made, opset=10)


def test_the_body_may_take_vectors_of_one_element() -> None:
    text = (
        "g (int64 n, float[2] v) => (float[2] y, int64[K] i) {"
        "y, i = Loop <body = b (int64[1] k, bool[1] d, float[2] x) => (bool[1] e, float[2] z,"
        ' int64[2] j) { e = Identity(d) z = Add(x, x) j = Concat <axis = 0> (k, k) }> (n, "", v) }'
    )
    feeds = {"n": np.array(3), "v": ONES}
    given = graph(text)
    assert_same(list(reference.run(given, feeds)), run(model(text), feeds))
    assert_same(run(written(changed(given)), feeds), run(model(text), feeds))


def test_outputs_that_nobody_named() -> None:
    """ONNX Runtime does not take such a Loop, though ONNX does."""
    text = POWERS.replace("y, s, i = Loop", 'y, "", i = Loop').replace("float[K, 2] s, ", "")
    feeds = {"n": np.array(3), "c": np.array(True), "v": ONES, "w": ONES * 2}
    y, _, i = run(model(POWERS), feeds)
    assert_same(list(reference.run(graph(text), feeds)), [y, i])
    again = load(written(changed(graph(text))).SerializeToString())
    assert_same(list(reference.run(again, feeds)), [y, i])


def test_a_loop_without_its_two_inputs_is_refused() -> None:
    with pytest.raises(ModelError, match="fewer inputs than a Loop"):
        graph(
            "g (int64 n) => (float[K] y) { y = Loop <body = b (int64 k, bool d) =>"
            " (bool e, float z) { e = Identity(d) z = Cast <to = 1> (k) }> (n) }"
        )


BATCHES = (
    "g (float[B, 2] s, float[B, N, 2] x) => (float[B, 2] t, float[B, N, 2] y) {"
    "t, y = Scan <num_scan_inputs = 1, directions = [1], body = b (float[2] a, float[2] p) =>"
    " (float[2] c, float[2] q) { c = Add(a, p) q = Identity(c) }> (LENGTHS, s, x) }"
)


def test_a_scan_of_opset_8_goes_over_batches() -> None:
    text = BATCHES.replace("LENGTHS", '""')
    feeds = {
        "s": np.ones((3, 2), np.float32),
        "x": np.arange(24, dtype=np.float32).reshape(3, 4, 2),
    }
    given = graph(text, 8, 3)
    t, y = reference.run(given, feeds)
    wanted = 1 + np.cumsum(feeds["x"][:, ::-1], 1)
    np.testing.assert_array_equal(t, wanted[:, -1])
    np.testing.assert_array_equal(y, wanted)
    with pytest.raises(UnsupportedError, match="without batches .opset 9"):
        written(changed(given), opset=8)


def test_a_scan_of_opset_8_over_lengths_is_kept() -> None:
    text = BATCHES.replace("LENGTHS", "l").replace("g (", "g (int64[B] l, ")
    given = graph(text, 8, 3)
    assert given.outputs[0].inputs[0].op.facts.opaque
