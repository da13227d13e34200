"""The function object: signatures, trees of arguments, retraces, methods, threads, lowering."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

import graphopt
from graphopt.backends.reference import run
from graphopt.errors import UsageError
from graphopt.frontends.trace import TensorSpec, TraceError
from graphopt.ops.activation import relu
from graphopt.ops.conv import conv
from graphopt.passes.layout.layout import Layout
from graphopt.pipeline import Pass
from graphopt.structural import constant
from tests.trace.helpers import Array, jit


def test_bare_and_with_options() -> None:
    @graphopt.function
    def bare(x: Array) -> Array:
        """Doc."""
        return x + 1

    @graphopt.function(backend="reference", math="strict")
    def with_options(x: Array, *, k: float = 2.0) -> Array:
        return x * k

    np.testing.assert_array_equal(bare(np.ones(3)), np.full(3, 2.0))
    np.testing.assert_array_equal(with_options(np.ones(3)), np.full(3, 2.0))
    np.testing.assert_array_equal(with_options(x=np.ones(3), k=4.0), np.full(3, 4.0))
    assert bare.__name__ == "bare"
    assert bare.__doc__ == "Doc."


def test_one_trace_a_signature() -> None:
    calls: list[int] = []

    def counted(x: Array, k: float) -> Array:
        assert calls_append(1) is None
        return x * k

    calls_append = calls.append  # a built-in method, which is not traced
    f = jit(counted)
    for shape in ((2,), (3,), (2,)):
        for dtype in (np.float64, np.float32):
            for k in (1.5, 2.5):
                x = np.ones(shape, dtype)
                got = f(x, k)
                assert got.dtype == dtype
                np.testing.assert_array_equal(got, x * np.asarray(k, dtype))
    assert len(calls) == 4
    assert f.retraces == 3
    assert "argument x: float64[2] → float32[2]" in f.explain_retraces()
    assert "argument x: float64[2] → float64[3]" in f.explain_retraces()


def test_methods() -> None:
    class Layer:
        def __init__(self, w: Array) -> None:
            self.w = w
            self.gain = 2.0

        @graphopt.function(backend="reference")
        def forward(self, x: Array) -> Array:
            return self.scaled(x @ self.w) + np.zeros(2)

        def scaled(self, x: Array) -> Array:
            return x * self.gain

    one, two = Layer(np.ones((3, 2))), Layer(np.arange(6.0).reshape(3, 2))
    x = np.ones(3)
    for layer in (one, two, one):
        np.testing.assert_array_equal(layer.forward(x), x @ layer.w * 2)
    one.w[:] = 5  # in place
    np.testing.assert_array_equal(one.forward(x), x @ one.w * 2)
    one.w = np.zeros((3, 2))  # another array
    np.testing.assert_array_equal(one.forward(x), np.zeros(2))
    one.w = np.ones((3, 2), np.float32)  # of another dtype
    np.testing.assert_array_equal(one.forward(x), x @ one.w * 2)
    one.gain = 3.0
    np.testing.assert_array_equal(one.forward(x), x @ one.w * 3)
    assert "gain" in Layer.forward.explain_retraces()


def test_functions_call_each_other() -> None:
    @graphopt.function(backend="reference")
    def inner(x: Array, k: int = 2) -> Array:
        return x * k

    @graphopt.function(backend="reference")
    def outer(x: Array) -> Array:
        return inner(x) + inner(x + 1, 3)

    np.testing.assert_array_equal(outer(np.ones(2)), np.full(2, 8.0))
    assert inner.retraces == 0
    assert len(outer.graph(np.ones(2))) == 4


def test_results_share_no_memory() -> None:
    fixed = np.arange(3)

    def program(x: Array, y: Array) -> Any:
        return x, x.T, y[:1], (y, y), np.arange(3), fixed + 0, x + y

    x, y = np.ones((2, 2)), np.ones((2, 2))
    f = jit(program)
    first, second = f(x, y), f(x, y)

    def arrays(result: Any) -> list[Array]:
        return [*result[:3], *result[3], *result[4:]]

    every = [x, y, fixed, *arrays(first), *arrays(second)]
    for k, a in enumerate(every):
        assert a.flags.writeable
        assert not any(np.shares_memory(a, b) for b in every[k + 1 :])


def test_graph_lower_compile() -> None:
    def program(x: Array, p: dict[str, Array], k: float) -> dict[str, Array]:
        return {"y": np.tanh(x @ p["w"]) * k}

    f = jit(program)
    x, p = np.ones((5, 3), np.float32), {"w": np.ones((3, 2), np.float32)}
    graph = f.graph(x, p, 2.0)
    assert graph.input_names == ("x", "p.w", "k")
    assert graph.output_names == ("output.y",)
    want = program(x, p, 2.0)["y"]
    (got,) = run(graph, {"x": x, "p.w": p["w"], "k": np.float64(2)})
    np.testing.assert_allclose(got, want, rtol=1e-6)
    specs = (TensorSpec(("N", 3), "float32"), {"w": TensorSpec((3, 2), np.float32)}, 2.0)
    lowered = f.lower(*specs)
    assert "N" in str(lowered.graph.inputs[0].type)
    compiled = lowered.optimize("O2").compile("reference")
    for n in (1, 7):
        x = np.full((n, 3), 0.25, np.float32)
        np.testing.assert_allclose(compiled(x, p, 3.0)["y"], program(x, p, 3.0)["y"], rtol=1e-6)
    with pytest.raises(UsageError, match="form"):
        compiled(x, p["w"], 3.0)


def test_results_without_arrays_and_with_odd_keys() -> None:
    x = np.ones(2)

    def odd(x: Array) -> Any:
        return {1: x + 1, "1": x + 2, (2, "a"): x * 3}

    def none() -> Any:
        return np.arange(3), 4

    got = jit(odd)(x)
    assert list(got) == [1, "1", (2, "a")]
    np.testing.assert_array_equal(got["1"], x + 2)
    assert len(set(jit(odd).graph(x).output_names)) == 3
    f = jit(none)
    for _ in range(2):
        np.testing.assert_array_equal(f()[0], np.arange(3))
    assert jit(gives_nothing)(x) is None


def gives_nothing(x: Array) -> None:
    assert np.abs(x) is not x


def test_locations_are_the_users() -> None:
    def program(x: Array) -> Array:
        y = np.exp(x)
        return y + 1

    graph = jit(program).graph(np.ones(2))
    first = program.__code__.co_firstlineno
    lines = {node.op.name: at.line for node, at in graph.tables.locations.items()}
    assert lines == {"Exp": first + 1, "Add": first + 2}
    assert {at.file for at in graph.tables.locations.values()} == {"tests/trace/test_function.py"}


def test_symbolic_sizes() -> None:
    def program(x: Array) -> Array:
        n, m = x.shape
        assert m == 4
        y = x.reshape(n * 2, 2) + np.zeros((1, 2), x.dtype)
        return y.sum(axis=0) / n

    def needs(x: Array) -> Array:
        return x * (1 if x.shape[0] == 4 else 2)

    def loops(x: Array) -> Array:
        return sum(x[k] for k in range(x.shape[0]))

    spec = TensorSpec(("N", 4), "float64")
    compiled = jit(program).lower(spec).compile("reference")
    for n in (1, 3):
        x = np.arange(4.0 * n).reshape(n, 4)
        np.testing.assert_allclose(compiled(x), program(x))
    for bad in (needs, loops):
        with pytest.raises(TraceError, match="size N is not known"):
            jit(bad).lower(spec)


def test_input_signature_gives_one_trace() -> None:
    f = jit(
        lambda x, y: x + y, input_signature=[TensorSpec(("N",), float), TensorSpec(("N",), float)]
    )
    for n in (1, 2, 5):
        np.testing.assert_array_equal(f(np.ones(n), np.ones(n)), np.full(n, 2.0))
    assert f.retraces == 0
    with pytest.raises(UsageError, match="is taken"):
        f(np.ones((2, 2)), np.ones(2))
    with pytest.raises(graphopt.GraphoptError):
        f(np.ones(2), np.ones(3))


captured_weights = np.ones((3, 2), np.float32)


def test_to_onnx(tmp_path: Path) -> None:
    def program(x: Array) -> Array:
        return np.maximum(x @ captured_weights, 0)

    path = tmp_path / "f.onnx"
    f = jit(program)
    f.to_onnx(path, TensorSpec(("N", 3), "float32"))
    graph = graphopt.load(path)
    assert graph.input_names == ("x",)
    x = np.full((4, 3), 0.5, np.float32)
    np.testing.assert_allclose(run(graph, {"x": x})[0], program(x))
    assert f.graph(x).input_names == ("x", "captured_weights")
    np.testing.assert_allclose(run(f.graph(x), {"x": x})[0], program(x))


@pytest.mark.parametrize("shape", [(-1,), ("a b",), (1.5,)])
def test_bad_specs_are_refused(shape: Any) -> None:
    with pytest.raises(UsageError, match="a size is"):
        TensorSpec(shape)


def test_many_threads() -> None:
    def program(x: Array, k: int) -> Array:
        y = np.zeros(k)
        return y + x.sum() * k

    f = jit(program)
    wrong: list[Any] = []

    def work(seed: int) -> None:
        for step in range(60):
            n, k = 1 + (seed + step) % 5, 1 + step % 3
            x = np.full(n, float(seed))
            if not np.array_equal(f(x, k), program(x, k)):
                wrong.append((seed, step))

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert f.retraces == 14


def test_traced_values_that_escape_are_refused() -> None:
    kept: dict[str, Any] = {}
    keep = kept.__setitem__

    def program(x: Array) -> Array:
        keep("x", x)
        return x + 1

    jit(program)(np.ones(2))
    with pytest.raises(TraceError, match="after the function"):
        _ = kept["x"] + 1
    assert "over" in repr(kept["x"])


def test_what_cannot_be_returned_is_refused() -> None:
    def generates(x: Array) -> Any:
        return (x + k for k in range(3))

    with pytest.raises(TraceError, match="is returned"):
        jit(generates)(np.ones(2))


@dataclass(frozen=True)
class Convolved(Pass):
    """Three convolutions in place of what a function computes, which has none of images."""

    name: ClassVar[str] = "convolved"

    def run(self, graph: graphopt.Graph, context: graphopt.Context) -> graphopt.Graph:
        filters = constant(np.full((32, 32, 3, 3), 0.01, np.float32))
        value = graph.inputs[0]
        for _ in range(3):
            value = relu(conv(value, filters, pads=(1, 1, 1, 1)))
        return graph.with_outputs([value])


def test_images_have_the_layout_that_compile_gives_them(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen: list[bool] = []
    run_layout = Layout.run

    def run_and_note(self: Layout, graph: graphopt.Graph, context: graphopt.Context) -> Any:
        made = run_layout(self, graph, context)
        chosen.append(made is not graph)
        return made

    def convolved(graph: graphopt.Graph, *args: Any, **options: Any) -> graphopt.Graph:
        return graphopt.optimize(graph, [Convolved()])

    monkeypatch.setattr(Layout, "run", run_and_note)
    monkeypatch.setattr("graphopt.frontends.trace.functions.optimize", convolved)
    x = np.random.default_rng(0).standard_normal((1, 32, 24, 24)).astype(np.float32)

    def more(x: Array) -> Array:
        return x + 1

    plain = graphopt.function(more)
    lowered = plain.lower(x).optimize([Convolved()])
    (expected,) = run(lowered.graph, {lowered.graph.input_names[0]: x})
    results: list[tuple[Array, list[bool]]] = [
        (plain(x), [True]),
        (graphopt.function(more, math="strict")(x), []),
        (lowered.compile()(x), [True]),
        (lowered.compile(layout="keep")(x), []),
    ]
    for made, _ in results:
        np.testing.assert_allclose(made, expected, rtol=1e-4, atol=1e-5)
    assert chosen == [each for _, noted in results for each in noted]
