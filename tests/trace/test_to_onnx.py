"""Traced functions as ONNX models: valid, named as the function is, and computing the same."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator

import graphopt
from graphopt.errors import UnsupportedError, UsageError
from graphopt.frontends.onnx import to_proto
from graphopt.frontends.trace import TensorSpec
from graphopt.frontends.trace.library import FUNCTIONS, UFUNCS
from graphopt.frontends.trace.library.ufuncs import ufunc_of
from graphopt.graph import Graph
from graphopt.ir import Node
from tests.frontends.onnx.models import check, operators
from tests.frontends.onnx.models import run as by_runtime
from tests.trace.helpers import jit
from tests.trace.library.harness import Traced, by_numpy, check_equal, leaves, traced_call
from tests.trace.library.test_functions import CALLS, NOT_COMPARED, function_of
from tests.trace.library.test_ufuncs import ELEMENTWISE, dtype_rows, elements

Array = np.ndarray[Any, Any]

REFUSED = {
    "linalg": {f"linalg.{name}" for name in (
        "cholesky cond eigh eigvalsh inv matrix_norm matrix_power matrix_rank norm pinv qr slogdet"
        " solve svd svdvals").split()},
    "complex": set(
        "angle fft.fft fft.ifft fft.irfft fft.rfft imag iscomplex isreal real".split()
    ),
}  # fmt: skip
"""Functions some calls of which have no form in ONNX: a matrix is factored, a number complex."""

ANSWERS = {
    *"can_cast common_type iscomplexobj isrealobj min_scalar_type ndim result_type".split(),
    *"fromfunction geomspace indices shape size".split(),
}
"""Functions that answer without a graph: there is no model of them."""

VERSION = tuple(map(int, version("onnxruntime").split(".")[:2]))
WRONG_ELSEWHERE = {
    **dict.fromkeys(
        ["isin", "sort"] if VERSION < (1, 32) else [],
        "before ONNX Runtime 1.32, TopK puts a NaN anywhere",
    ),
    **dict.fromkeys(
        ["unique", "unique_all", "unique_inverse", "unique_values"],
        "ONNX Runtime's Unique puts a NaN anywhere",
    ),
    **dict.fromkeys(
        ["fmax", "fmin", "maximum", "minimum"], "ONNX Runtime's Max of int64 takes 32 bits of some"
    ),
}
"""Where ONNX Runtime computes something else than ONNX's own evaluator, which counts then."""


def by_evaluator(made: onnx.ModelProto, feeds: dict[str, Array]) -> list[Any]:
    """What ONNX's own evaluator computes."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        evaluator: Any = ReferenceEvaluator(made)
        return list(evaluator.run(None, feeds))


def computed(made: onnx.ModelProto, feeds: dict[str, Array]) -> tuple[list[Any], bool]:
    """What ONNX Runtime computes, or the evaluator what that cannot run; whether it was the first.

    ONNX Runtime has no kernels for some dtypes and none for the newest operators.
    """
    try:
        return by_runtime(made, feeds), True
    except Exception:  # it has its own errors and no common base for them
        return by_evaluator(made, feeds), False


def same(found: list[Any], wanted: list[Any], ulps: float) -> None:
    """Arrays are equal but for the sign of 0, and for as many ulps."""
    for one, other in zip(found, wanted, strict=True):
        check_equal(np.asarray(one), np.asarray(other), ulps)


def exported(name: str, numpy: Any, library: Any, args: Any, kwargs: Any, ulps: float) -> str:
    """Write one call as a model and run it: `run`, or `none` where there is nothing to write.

    Raises UnsupportedError where it has no form.
    """
    made, feeds = traced_call(library, args, kwargs)
    found = list(leaves(made))
    outputs = {k: item for k, item in enumerate(found) if isinstance(item, Node)}
    if not outputs:
        return "none"
    names = tuple(f"y{k}" for k in outputs)
    proto = to_proto(Graph(tuple(feeds), tuple(outputs.values()), names))
    check(proto)
    assert all(not node.domain for node in proto.graph.node)
    every = by_numpy(numpy, args, kwargs)
    wanted = [every[k] for k in outputs]
    named = {node.attrs["name"]: array for node, array in feeds.items()}
    results, first = computed(proto, named)
    try:
        same(results, wanted, ulps)
    except AssertionError:
        if not first or name not in WRONG_ELSEWHERE:
            raise
        same(by_evaluator(proto, named), wanted, ulps)
    return "run"


@pytest.mark.parametrize("name", sorted(set(CALLS) - set(NOT_COMPARED)))
def test_every_example_call_as_a_model(name: str) -> None:
    """Valid by ONNX's checker, and giving what NumPy gives; or refused with the reason."""
    ran, refusals = 0, set[str]()
    for call in CALLS[name]:
        numpy, library = function_of(name), FUNCTIONS[name]
        try:
            how = exported(name, numpy, library, call.args, call.kwargs, max(call.ulps, 64))
        except UnsupportedError as error:
            refusals.add(error.message)
            continue
        ran += how == "run"
    assert all("has no form in ONNX" in text for text in refusals)
    kinds = {"complex" if "complex numbers" in text else "linalg" for text in refusals}
    assert kinds == {kind for kind, names in REFUSED.items() if name in names}
    assert ran or refusals or name in ANSWERS


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_every_ufunc_as_a_model(name: str) -> None:
    """On every dtype that it takes."""
    ufunc, ran = ufunc_of(name), 0
    for seed, dtypes in enumerate(dtype_rows(ufunc)):
        arrays = [elements(dtype, (5, 6), seed * 7 + k) for k, dtype in enumerate(dtypes)]
        if name == "power" and dtypes[1].kind == "i":
            arrays[1] = np.abs(arrays[1] % 5)
        if name == "ldexp":
            arrays[1] = np.abs(arrays[1].view(f"i{arrays[1].itemsize}") % 9).astype(dtypes[1])
        operands = tuple(map(Traced, arrays))
        try:
            with np.errstate(all="ignore"):
                ufunc(*arrays)
        except TypeError:
            continue
        ran += exported(name, ufunc, UFUNCS[name], operands, {}, 16) == "run"
    assert ran


@pytest.mark.parametrize("name", ["sort"])
def test_wrong_elsewhere_is_wrong_there_and_nowhere_else(name: str) -> None:
    """The table of what ONNX Runtime computes otherwise has nothing that it computes right."""
    x = np.array([np.nan, 3.0, np.inf, np.nan, -1.0, 2.0])
    f = partial(np.sort, axis=None)
    made, feeds = traced_call(FUNCTIONS[name], (Traced(x),), {})
    proto = to_proto(Graph(tuple(feeds), (made,), ("y",)))
    with pytest.raises(AssertionError) if name in WRONG_ELSEWHERE else nullcontext():
        same(by_runtime(proto, {"x0": x}), [f(x)], 0)
    same(by_evaluator(proto, {"x0": x}), [f(x)], 0)


def traced(program: Callable[[Any], Any], **options: Any) -> Any:
    """A function of one argument, traced."""
    return jit(program, **options)


def model_of(f: Any, path: Path, *args: Any, **kwargs: Any) -> onnx.ModelProto:
    """The model that `to_onnx` writes, which ONNX's checker accepts."""
    file = path / "f.onnx"
    f.to_onnx(file, *args, **kwargs)
    made = onnx.load(file)  # pyright: ignore[reportUnknownMemberType]
    check(made)
    return made


def dims_of(value: onnx.ValueInfoProto) -> list[Any]:
    """The sizes of a value, names as text."""
    return [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]


weights = np.arange(6.0).reshape(3, 2)
bias = np.array([0.5, -0.5])


def layer(x: Any, scale: Any = 2.0) -> Any:
    """A layer.

    With a second paragraph.
    """
    made = np.tanh(x @ weights + bias) * scale
    return {"made": made, "halves": (made // 0.5, made % 0.5), "weights": weights, "count": 3}


def test_names_sizes_documents_and_constants(tmp_path: Path) -> None:
    made = model_of(jit(layer), tmp_path, TensorSpec(("N", 3), "float64"))
    assert made.doc_string == "A layer.\n\nWith a second paragraph."
    assert made.graph.name == "layer"
    inputs = [item.name for item in made.graph.input]
    assert inputs == ["x"] or inputs == ["x", "scale"]
    assert dims_of(made.graph.input[0]) == ["N", 3]
    outputs = {item.name: dims_of(item) for item in made.graph.output}
    assert outputs == {
        "made": ["N", 2], "halves.0": ["N", 2], "halves.1": ["N", 2], "weights": [3, 2],
        "count": [],
    }  # fmt: skip
    held = {item.name: numpy_helper.to_array(item) for item in made.graph.initializer}
    np.testing.assert_array_equal(held["weights"], weights)
    np.testing.assert_array_equal(held["bias"], bias)


def test_the_model_computes_what_the_function_does(tmp_path: Path) -> None:
    made = model_of(jit(layer), tmp_path, TensorSpec(("N", 3), "float64"))
    x = np.random.default_rng(0).normal(size=(5, 3))
    feeds: dict[str, Any] = {"x": x, "scale": np.array(2.0)}
    feeds = {item.name: feeds[item.name] for item in made.graph.input}
    wanted = layer(x)
    found, first = computed(made, feeds)
    assert first
    same(found, [wanted["made"], *wanted["halves"], weights, np.int64(3)], 8)


@dataclass
class Pair:
    """Two arrays."""

    first: Any
    second: Any


def test_names_of_other_results(tmp_path: Path) -> None:
    def names(program: Callable[[Any], Any], *specs: Any) -> list[str]:
        made = model_of(traced(program), tmp_path, *specs)
        return [item.name for item in made.graph.output]

    spec = TensorSpec(("N",))
    assert names(lambda x: x + 1, spec) == ["output"]
    assert names(lambda x: (x + 1, [x - 1]), spec) == ["output.0", "output.1.0"]
    assert names(lambda x: Pair(x + 1, x - 1), spec) == ["first", "second"]
    assert names(lambda x: {"x": x + 1, "y": x}, spec) == ["output.x", "y"]
    assert names(lambda x: {1: x + 1, "1": x - 1}, spec) == ["1", "output.1"]
    assert names(lambda x: (x + 1, "text", 1 << 70, 2), spec) == ["output.0", "output.3"]


def test_a_changed_argument_is_an_output(tmp_path: Path) -> None:
    def program(x: Any) -> Any:
        x += 1
        return np.multiply(x, 2)

    made = model_of(jit(program), tmp_path, TensorSpec((2,), "float64"))
    assert [item.name for item in made.graph.output] == ["output", "x.after"]
    found, _ = computed(made, {"x": np.array([1.0, 2.0])})
    same(found, [[4.0, 6.0], [2.0, 3.0]], 0)


def test_a_function_that_returns_no_array_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="returns no array and no number"):
        traced(lambda x: "text").to_onnx(tmp_path / "f.onnx", TensorSpec((2,)))
    assert not (tmp_path / "f.onnx").exists()


def test_what_has_no_form_names_the_line(tmp_path: Path) -> None:
    def program(x: Array) -> Array:
        y = x + 1
        return np.linalg.inv(y)

    line = program.__code__.co_firstlineno + 2
    with pytest.raises(UnsupportedError) as caught:
        jit(program).to_onnx(tmp_path / "f.onnx", TensorSpec((3, 3), "float64"))
    assert f"test_to_onnx.py:{line}" in str(caught.value)
    assert "numpy.linalg.inv has no form in ONNX" in str(caught.value)
    assert not (tmp_path / "f.onnx").exists()


def test_complex_numbers_stay_inside(tmp_path: Path) -> None:
    def program(x: Any) -> Any:
        spectrum = np.fft.fft(x) * np.exp(-1j * np.arange(8))
        return np.abs(spectrum), np.fft.ifft(spectrum).real

    made = model_of(jit(program), tmp_path, TensorSpec(("N", 8), "float64"))
    x = np.random.default_rng(1).normal(size=(3, 8))
    found, _ = computed(made, {"x": x})
    same(found, list(program(x)), 64)

    def complex_result(x: Any) -> Any:
        return x * 1j

    line = complex_result.__code__.co_firstlineno + 1
    with pytest.raises(UnsupportedError, match="real and imaginary parts") as caught:
        jit(complex_result).to_onnx(tmp_path / "f.onnx", TensorSpec((3,)))
    assert f"test_to_onnx.py:{line}" in str(caught.value)


@pytest.mark.parametrize("math", ["strict", "default", "fast"])
def test_forms_keep_their_precision(tmp_path: Path, math: str) -> None:
    """What cancels in a form is not simplified away when its model is optimized."""

    def program(x: Any) -> Any:
        return np.log1p(x), np.expm1(x)

    made = model_of(jit(program, math=math), tmp_path, TensorSpec(("N",), "float64"))
    x = np.array([1e-20, -3e-17, 1e-9, -0.3, 1.5])
    found, _ = computed(made, {"x": x})
    for one, other in zip(found, program(x), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-15)


def test_division_by_a_number_is_short(tmp_path: Path) -> None:
    """Tests of the divisor are done when the model is written."""
    made = model_of(traced(lambda x: x // 3), tmp_path, TensorSpec(("N",), "int64"))
    assert "Where" not in operators(made)
    x = np.arange(-7, 8)
    found, _ = computed(made, {"x": x})
    same(found, [x // 3], 0)


def test_saving_a_traced_graph_says_the_same() -> None:
    def program(x: Any) -> Any:
        return np.hypot(x, 1)

    given = jit(program).graph(TensorSpec(("N",), "float32"))
    assert isinstance(given, graphopt.Graph)
    proto = to_proto(given)
    check(proto)
    x = np.array([0.0, 3.0, -1e30], np.float32)
    found, _ = computed(proto, {"x": x})
    same(found, [program(x)], 4)
