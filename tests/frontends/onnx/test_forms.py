"""Ops that ONNX lacks, written by ops that it has: the models compute what the kernels do."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from itertools import product
from typing import Any

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator

from graphopt.backends import reference
from graphopt.body import Body
from graphopt.errors import UnsupportedError
from graphopt.frontends.onnx import to_proto
from graphopt.frontends.onnx.forms import FORMS, expressed
from graphopt.graph import Graph
from graphopt.ir import Node, walk
from graphopt.ops import (
    arithmetic,
    complexes,
    division,
    functions,
    logic,
    mathematics,
    movement,
    table,
)
from graphopt.ops.control import if_
from graphopt.ops.search import search_sorted
from graphopt.structural import constant, graph_input, results
from graphopt.types import DType, TensorType, dtype_of
from tests.frontends.onnx.models import Array, check, operators
from tests.frontends.onnx.models import graph as graph_of

SPECIAL = [np.nan, 0.0, -0.0, np.inf, -np.inf, 1.0, -1.0, 0.5, -2.5, 3.0, 1e-3, 7.25, 5.96e-8]
INTEGERS = [np.dtype(code) for code in "bhilBHIL"]
REALS = [np.dtype(code) for code in "efd"]
BY_PART = {"ImagPart", "RealPart"}
"""Forms that there are of what complex numbers are made of, not of any."""


def model_of(node: Node) -> tuple[Graph, onnx.ModelProto]:
    """A graph whose outputs are a node's, and the model of it, which ONNX's checker accepts."""
    values = results(node)
    inputs = tuple(item for item in walk(values) if item.op.name == "Input")
    given = Graph(inputs, values, tuple(f"y{k}" for k in range(len(values))))
    made = to_proto(given)
    if all(item.rank is not None for item in inputs):  # the checker wants them to have shapes
        check(made)
    assert all(not item.domain for item in made.graph.node)
    return given, made


def compared(node: Node, *arrays: Array, ulps: float = 0) -> None:
    """The model of a node gives by ONNX's own evaluator what the kernel gives."""
    given, made = model_of(node)
    feeds = dict(zip(given.input_names, arrays, strict=True))
    wanted = reference.run(given, feeds)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        evaluator: Any = ReferenceEvaluator(made)
        found: list[Any] = list(evaluator.run(None, feeds))
    for real, expected in zip(found, wanted, strict=True):
        assert (real.dtype, real.shape) == (expected.dtype, expected.shape)
        if ulps and expected.dtype.kind == "f":
            slack = ulps * float(np.finfo(expected.dtype).eps)
            np.testing.assert_allclose(real, expected, rtol=slack, atol=slack * 1e-30)
        else:
            np.testing.assert_array_equal(real, expected)


def inputs(*arrays: Array) -> list[Node]:
    """An input for each array."""
    kinds = (TensorType(dtype_of(array.dtype), array.shape) for array in arrays)
    return [graph_input(f"x{k}", kind) for k, kind in enumerate(kinds)]


def grid(values: Sequence[Any], dtype: np.dtype[Any]) -> tuple[Array, Array]:
    """Every value with every other."""
    line = np.array(values, object).astype(dtype)
    return np.repeat(line, len(line)), np.tile(line, len(line))


def extremes(dtype: np.dtype[Any]) -> list[int]:
    """The ends of an integer dtype and small numbers of it."""
    info = np.iinfo(dtype)
    numbers = [info.min, info.min + 1, -7, -3, -2, -1, 0, 1, 2, 3, 5, 7, 12, info.max - 1, info.max]
    return [n for n in numbers if n >= info.min]


def example_nodes(name: str) -> Sequence[Node]:
    """The examples of an op of the domain."""
    example = table()["graphopt", name].example
    assert example is not None
    return example()


def test_every_op_is_told() -> None:
    """Each op of the domain that computes has a form or says that it has none."""
    structural = {"Input", "Bound", "Absent", "Out", "State", "Barrier", "Refine"}
    by_body = {"Fused"}
    names = {name for domain, name in table() if domain == "graphopt"} - structural - by_body
    assert set(FORMS) <= names
    refused: set[str] = set()
    for name in sorted(names - set(FORMS)):
        for node in example_nodes(name):
            with pytest.raises(UnsupportedError, match="has no form in ONNX"):
                model_of(node)
            refused.add(name)
    assert refused == names - set(FORMS)


@pytest.mark.parametrize("name", sorted(set(FORMS) - BY_PART))
def test_every_example_becomes_a_valid_model(name: str) -> None:
    """At every dtype, on known, symbolic and unknown sizes."""
    count = 0
    for node in example_nodes(name):
        if any(item.dtype.kind == "c" for item in node.inputs):
            with pytest.raises(UnsupportedError, match="real and imaginary parts"):
                model_of(node)
            continue
        given, made = model_of(node)
        ours = Graph(given.inputs, expressed(given).outputs, given.output_names)
        assert [v.dtype for v in ours.outputs] == [v.dtype for v in given.outputs]
        assert len(made.graph.output) == len(given.outputs)
        count += 1
    assert count or name.startswith("Complex")


UNARY = ("Cbrt", "Exp2", "Expm1", "Log10", "Log1p", "Log2", "Spacing")
EXACT = {"Spacing", "NextAfter", "CopySign"}


@pytest.mark.parametrize("name", UNARY)
def test_unary_on_all_of_float16(name: str) -> None:
    x = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    (given,) = inputs(x)
    compared(table()["graphopt", name](given), x, ulps=0 if name in EXACT else 1)


@pytest.mark.parametrize("dtype", REALS[1:], ids=str)
@pytest.mark.parametrize("name", UNARY)
def test_unary_on_all_magnitudes(name: str, dtype: np.dtype[Any]) -> None:
    info = np.finfo(dtype)
    rng = np.random.default_rng(1)
    sizes = np.exp2(rng.uniform(info.minexp, info.maxexp, 4000))
    small = [info.tiny, info.max, info.smallest_subnormal, info.eps, -info.eps, info.eps**2]
    x = np.concatenate([sizes, -sizes, rng.uniform(-3, 3, 4000), SPECIAL, small]).astype(dtype)
    (given,) = inputs(x)
    compared(table()["graphopt", name](given), x, ulps=0 if name in EXACT else 4)


@pytest.mark.parametrize("dtype", REALS, ids=str)
@pytest.mark.parametrize(
    "name", ["Atan2", "CopySign", "Hypot", "LogAddExp", "LogAddExp2", "NextAfter"]
)
def test_binary_on_special_values(name: str, dtype: np.dtype[Any]) -> None:
    info = np.finfo(dtype)
    values = [*SPECIAL, float(info.max), -float(info.max), float(info.tiny), 88.5, -88.5]
    x, y = grid(values, dtype)
    one, other = inputs(x, y)
    compared(table()["graphopt", name](one, other), x, y, ulps=0 if name in EXACT else 4)


@pytest.mark.parametrize("dtype", REALS, ids=str)
@pytest.mark.parametrize("op", [division.floor_divide, division.remainder, arithmetic.mod], ids=str)
def test_division_of_floats(op: Any, dtype: np.dtype[Any]) -> None:
    """Bit for bit, but for the sign of 0; ONNX has Mod with the sign of y of integers alone."""
    rng = np.random.default_rng(2)
    x, y = grid([*SPECIAL, 0.1, 0.3, -0.7, 1e4], dtype)
    x = np.concatenate([x, rng.normal(size=2000).astype(dtype)])
    y = np.concatenate([y, rng.normal(size=2000).astype(dtype) / 8])
    node = op(*inputs(x, y))
    compared(node, x, y)
    _, made = model_of(node)
    marks = [item.attribute[0].i for item in made.graph.node if item.op_type == "Mod"]
    assert marks and all(marks)


@pytest.mark.parametrize("dtype", INTEGERS, ids=str)
@pytest.mark.parametrize(
    "op", [division.floor_divide, division.remainder, division.fmod, mathematics.lcm], ids=str
)
def test_division_of_integers(op: Any, dtype: np.dtype[Any]) -> None:
    """By 0 and by -1 too, of all ends; lcm goes through gcd."""
    x, y = grid(extremes(dtype), dtype)
    compared(op(*inputs(x, y)), x, y)


@pytest.mark.parametrize("dtype", INTEGERS, ids=str)
@pytest.mark.parametrize("divisor", [3, 1, 0])
def test_known_divisors_need_no_guard(dtype: np.dtype[Any], divisor: int) -> None:
    x = np.array(extremes(dtype), dtype)
    (given,) = inputs(x)
    node = division.remainder(given, constant(divisor, dtype_of(dtype)))
    compared(node, x)
    assert ("Where" in operators(model_of(node)[1])) == (divisor == 0)


@pytest.mark.parametrize("dtype", INTEGERS, ids=str)
def test_greatest_common_divisor(dtype: np.dtype[Any]) -> None:
    """Neighbours in Fibonacci's sequence need the most steps."""
    line = [1, 1]
    while line[-1] + line[-2] <= np.iinfo(dtype).max:
        line.append(line[-1] + line[-2])
    x, y = grid(extremes(dtype), dtype)
    x = np.concatenate([x, np.array(line[-2:], dtype), np.array(line[:-3:-1], dtype)])
    y = np.concatenate([y, np.array(line[:-3:-1], dtype), np.array(line[-2:], dtype)])
    compared(mathematics.gcd(*inputs(x, y)), x, y)


@pytest.mark.parametrize("dtype", INTEGERS, ids=str)
def test_integer_power_wraps_around(dtype: np.dtype[Any]) -> None:
    x, _ = grid(extremes(dtype), dtype)
    _, y = grid([max(n, 0) for n in extremes(dtype)], dtype)
    compared(division.integer_power(*inputs(x, y)), x, y)
    (given,) = inputs(x)
    for exponent in (0, 1, 7, 100):
        node = division.integer_power(given, constant(exponent, dtype_of(dtype)))
        compared(node, x)
        assert len(model_of(node)[1].graph.node) <= 3 + 7 * max(exponent.bit_length(), 1)


@pytest.mark.parametrize("dtype", INTEGERS, ids=str)
def test_bits_are_counted(dtype: np.dtype[Any]) -> None:
    x = np.random.default_rng(3).integers(*_ends(dtype), 500, dtype=dtype, endpoint=True)
    x = np.concatenate([x, np.array(extremes(dtype), dtype)])
    compared(mathematics.bit_count(*inputs(x)), x)


def _ends(dtype: np.dtype[Any]) -> tuple[int, int]:
    info = np.iinfo(dtype)
    return int(info.min), int(info.max)


@pytest.mark.parametrize("dtype", REALS, ids=str)
def test_exponents(dtype: np.dtype[Any]) -> None:
    """ldexp and frexp are exact, of subnormal numbers too."""
    info = np.finfo(dtype)
    top = 60 if dtype == np.float16 else info.maxexp - info.minexp + info.nmant
    small = [info.smallest_subnormal, info.smallest_subnormal * 5, info.tiny]
    numbers = [*SPECIAL, info.max, -info.max, *small, 1 - info.epsneg, 8, 1 << 10]
    x = np.array(numbers).astype(dtype)
    compared(mathematics.frexp(*inputs(x), outputs=2), x)
    powers = np.array([0, 1, -1, 5, -9, info.maxexp, info.minexp, top, 9999], np.int32)
    pairs = np.array(list(product(x, powers)), object)
    x, n = pairs[:, 0].astype(dtype), pairs[:, 1].astype(np.int32)
    compared(mathematics.ldexp(*inputs(x, n)), x, n)
    with np.errstate(all="ignore"):
        whole = np.array([1.0, -0.5, 2.0], dtype)
    tiny = np.array([info.minexp - 3, info.minexp - 5, -9999], np.int32)
    compared(mathematics.ldexp(*inputs(whole, tiny)), whole, tiny)


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("dtype", [*REALS, *INTEGERS], ids=str)
def test_search_in_a_sorted_vector(side: str, dtype: np.dtype[Any]) -> None:
    line: list[Any] = [0, 1, 1, 2, 5, 7]
    wanted: list[Any] = [[0, 1, 2], [3, 5, 9]]
    if dtype.kind == "f":
        line, wanted = [-np.inf, *line, np.inf, np.nan], [[np.nan, np.inf, 1.0], [-np.inf, 0, 3]]
    arrays = np.array(line, dtype), np.array(wanted, dtype)
    compared(search_sorted(*inputs(*arrays), side=side), *arrays)
    empty = np.zeros(0, dtype), arrays[1]
    compared(search_sorted(*inputs(*empty), side=side), *empty)


X, Y = np.array([[1.5, -2.0], [0.0, 3.0]]), np.array([[0.5, 1e3], [-1.0, 2.0]])


def complex_numbers() -> tuple[Node, Node]:
    """Two matrices of complex numbers that are made of real inputs X and Y, and one of them."""
    x, y = inputs(X, Y)
    z = complexes.complex_of(x, y)
    return z, complexes.conjugate(complexes.add(z, constant(np.array([2 - 1j, 0.5j]))))


COMPLEX_FORMS: list[Callable[[Node, Node], Node]] = [
    lambda z, w: complexes.multiply(z, complexes.negate(w)),
    complexes.divide,
    complexes.subtract,
    lambda z, w: complexes.exp(complexes.divide(z, w)),
    lambda z, w: complexes.matmul(movement.transpose(z, perm=(1, 0)), w),
    lambda z, w: logic.where(constant([[True], [False]]), z, w),
]


@pytest.mark.parametrize("form", COMPLEX_FORMS)
def test_complex_numbers_between_real_ones(form: Callable[[Node, Node], Node]) -> None:
    made = form(*complex_numbers())
    for node in (complexes.real(made), complexes.imag(made), complexes.magnitude(made)):
        compared(node, X, Y, ulps=16)


def test_a_quotient_and_a_magnitude_do_not_overflow() -> None:
    z = complexes.complex_of(*inputs(X, Y))
    large = complexes.multiply(z, constant(np.array(1e200 + 0j)))
    quotient = complexes.divide(z, large)
    for node in (complexes.real(quotient), complexes.imag(quotient), complexes.magnitude(large)):
        compared(node, X, Y, ulps=16)


def test_comparisons_of_complex_numbers() -> None:
    z, w = complex_numbers()
    for node in (complexes.equal(z, w), complexes.equal(w, w)):
        compared(node, X, Y)


def test_complex_results_are_refused() -> None:
    z, w = complex_numbers()
    for node in (z, complexes.add(z, w), complexes.real(complexes.sqrt(z))):
        with pytest.raises(UnsupportedError, match="take and return their real and imaginary"):
            model_of(node)


def test_bodies_are_expressed() -> None:
    x, y = inputs(X, Y)
    branches = (
        Body.close((), (x, y), (mathematics.hypot(x, y),)),
        Body.close((), (x, y), (mathematics.atan2(x, y),)),
    )
    cond = logic.less(functions.absolute(constant(-1.0)), graph_input("c", TensorType(
        DType.FLOAT64, ())))  # fmt: skip
    node = if_(cond, x, y, then_branch=branches[0], else_branch=branches[1])
    for number in (0.0, 2.0):
        compared(node, np.array(number), X, Y, ulps=4)


def test_a_graph_without_them_is_itself() -> None:
    more = ', "my.domain": 1'
    for text in (
        "g (float[2] x) => (float[2] y) { y = Neg(x) }",
        "g (int32[2] x) => (int32[2] y) { y = Mod(x, x) }",
        "g (float[2] x) => (float[2] y) { y = Mod <fmod = 1> (x, x) }",
        "g (float[2] x) => (y) { t = my.domain.Own(x)  y = Mod(t, t) }",
    ):
        given = graph_of(text, more=more)
        assert expressed(given) is given


def test_what_replaces_an_op_knows_where_it_comes_from() -> None:
    x, y = inputs(X, Y)
    node = mathematics.hypot(x, y)
    given = Graph((x, y), (functions.neg(node),), ("y",))
    made = expressed(given)
    assert made.history(made.outputs[0].inputs[0])[0] == "form of Hypot"


def test_a_model_of_constants_alone_names_its_opset() -> None:
    made = to_proto(Graph((), (constant([1.0]),), ("y",)))
    check(made)
    assert [item.domain for item in made.opset_import] == [""]
