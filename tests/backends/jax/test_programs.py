"""Calls of the jax backend's programs, and the kernels that it has of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

import graphopt
from graphopt.backends import executable
from graphopt.graph import Graph
from graphopt.ir import Node
from graphopt.op import Op
from graphopt.ops import arithmetic, complexes
from graphopt.ops.activation import sigmoid
from graphopt.ops.arithmetic import add, mul
from graphopt.ops.indexing import gather
from graphopt.ops.linalg import matmul
from graphopt.ops.shape import expand
from graphopt.structural import constant, graph_input
from tests.ops.harness import check_close, tensor

pytest.importorskip("jax", reason="the backend's library is an extra")

from graphopt.backends.jax import lowering, program
from graphopt.backends.jax.library import jax
from graphopt.backends.jax.scope import wide

Array = Any


def given(name: str, *sizes: int | str, dtype: str = "float32") -> Node:
    return graph_input(name, tensor(dtype, *sizes))


def compiled(inputs: Sequence[Node], *outputs: Node) -> executable.Executable:
    names = tuple(f"y{k}" for k in range(len(outputs)))
    return graphopt.compile(Graph(tuple(inputs), outputs, names), "jax")


@pytest.fixture
def lowered(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """The arguments of the lowerings so far."""
    seen: list[tuple[Any, ...]] = []
    inner = lowering.compiled

    def counted(*arguments: Any) -> Any:
        seen.append(arguments)
        return inner(*arguments)

    monkeypatch.setattr(lowering, "compiled", counted)
    return seen


# One program for arrays of NumPy's and of JAX's.


@pytest.mark.parametrize("first", ["numpy", "jax"])
def test_arrays_of_both_kinds_run_one_program(first: str, lowered: list[Any]) -> None:
    x, y = given("x", "n"), given("y", "n")
    run = compiled([x, y], add(x, y))
    one = np.arange(3, dtype=np.float32)
    other = jax.device_put(one)
    calls = [(one, one), (other, other), (one, other), (other, one)]
    for a, b in calls if first == "numpy" else reversed(calls):
        for _ in range(2):
            (made,) = run(a, b)
            assert isinstance(made, np.ndarray) is (a is one and b is one)
            np.testing.assert_array_equal(made, one + one)
    assert run.program(one, one) is run.program(other, other)
    assert len(lowered) == 1


def test_arrays_of_both_kinds_by_value(lowered: list[Any]) -> None:
    x, sizes = given("x", 1), given("sizes", 1, dtype="int64")
    run = compiled([x, sizes], expand(x, sizes))
    one = np.ones(1, np.float32)
    for size in (2, 3):
        wanted = np.array([size])
        with wide():
            placed = jax.device_put(wanted)
        for a, b in ((one, wanted), (jax.device_put(one), placed)):
            assert run(a, b)[0].shape == (size,)
    known = [by_value for _, _, by_value, _ in lowered if by_value]
    assert [each[1].tolist() for each in known] == [[2], [3]]


def test_programs_are_bounded_with_both_kinds() -> None:
    x = given("x", "n")
    run = compiled([x], add(x, x))
    for size in range(1, 20):
        for array in (np.ones(size, np.float32), jax.device_put(np.ones(size, np.float32))):
            assert run(array)[0].shape == (size,)
    programs = run._programs  # pyright: ignore[reportPrivateUsage]
    assert len(programs) == executable.MAX_PROGRAMS


# The way of a call.


def test_call_without_what_jax_hides() -> None:
    def plain(*arrays: Array) -> tuple[Array, ...]:
        return tuple(array + 1 for array in arrays)

    made = program.JaxProgram(plain, (np.ones(2),), [0], 2, wide=False)
    first, second = made(np.zeros(2), np.ones(5))
    np.testing.assert_array_equal(first, [2, 2])  # the argument comes first
    np.testing.assert_array_equal(second, [1, 1])


def test_call_is_jaxs_own_fast_way() -> None:
    x = given("x", 4)
    run = compiled([x], mul(x, x)).prepare(np.ones(4, np.float32))
    assert isinstance(run, program.JaxProgram)
    inner = program._direct(run.compiled)  # pyright: ignore[reportPrivateUsage]
    assert inner is not run.compiled
    np.testing.assert_array_equal(inner(np.full(4, 3, np.float32))[0], np.full(4, 9))


def test_wide_arrays_of_both_kinds_in_one_call() -> None:
    x, y = given("x", 2, dtype="int64"), given("y", 2, dtype="int64")
    run = compiled([x, y], mul(x, y))
    one = np.array([1 << 40, -3])
    with wide():
        placed = jax.device_put(one)
    for a, b in ((one, one), (placed, one), (one, placed), (placed, placed)):
        made = run(a, b)[0]
        assert made.dtype == np.int64
        np.testing.assert_array_equal(np.asarray(made), one * one)


# Kernels.


@pytest.mark.parametrize("count", [1, 37])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("op", [arithmetic.max_, arithmetic.min_], ids=str)
def test_extremes_order_zeros(op: Op, dtype: str, count: int) -> None:
    pairs = [(0.0, -0.0), (-0.0, 0.0), (-0.0, -0.0), (0.0, 0.0), (np.nan, 1), (1, np.nan), (2, 3)]
    for pair in pairs:
        a, b = (np.full(count, item, dtype) for item in pair)
        x, y = given("x", count, dtype=dtype), given("y", count, dtype=dtype)
        made = compiled([x, y], op(x, y), op(x, constant(b)), op(y, x))(a, b)
        (wanted,) = graphopt.compile(Graph((x, y), (op(x, y),), ("z",)), "reference")(a, b)
        for each in made:
            np.testing.assert_array_equal(each, wanted)
            np.testing.assert_array_equal(np.signbit(each), np.signbit(wanted))


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("dtype", ["int32", "int64"])
def test_gather_counts_from_the_end(axis: int, dtype: str) -> None:
    data = np.arange(12, dtype=np.float32).reshape(3, 4)
    x, at = given("x", 3, 4), given("at", 2, dtype=dtype)
    run = compiled([x, at], gather(x, at, axis=axis))
    for found in ([-1, 0], [-3, 2], [1, -2]):
        (made,) = run(data, np.array(found, dtype))
        np.testing.assert_array_equal(made, np.take(data, found, axis))


def test_sigmoid_of_large_numbers() -> None:
    numbers = np.array([-1e4, -89, -1, -0.0, 0.5, 89, 1e4, np.inf, -np.inf, np.nan], np.float32)
    x = given("x", len(numbers))
    (made,) = compiled([x], sigmoid(x))(numbers)
    (wanted,) = graphopt.compile(Graph((x,), (sigmoid(x),), ("y",)), "reference")(numbers)
    check_close(made, wanted, 8)


@pytest.mark.parametrize(
    ("a", "b"),
    [((3, 4), (4, 5)), ((2, 3, 4), (2, 4, 5)), ((2, 1, 3, 4), (5, 4, 2)), ((4,), (2, 4, 3)),
     ((2, 3, 4), (4,)), ((2, 3, 0), (2, 0, 5)), ((1, 2, 3), (4, 3, 2))],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("dtype", ["float32", "int32"])
def test_products(a: tuple[int, ...], b: tuple[int, ...], dtype: str) -> None:
    rng = np.random.default_rng(0)
    first, second = (rng.integers(-9, 9, sizes).astype(dtype) for sizes in (a, b))
    x, y = given("x", *a, dtype=dtype), given("y", *b, dtype=dtype)
    (made,) = compiled([x, y], matmul(x, y))(first, second)
    assert made.dtype == dtype
    np.testing.assert_array_equal(made, first @ second)


def test_complex_powers_of_zero_and_infinity() -> None:
    bases = np.array([0, 0, 0, 1 + 2j, complex(np.inf, 0.5), 0, 2], np.complex128)
    powers = np.array([1 + 2j, 0, 0.5, -np.inf, -1 + 0.2j, -1, 0])
    x, y = (given(name, len(bases), dtype="complex128") for name in "xy")
    (made,) = compiled([x, y], complexes.power(x, y))(bases, powers)
    np.testing.assert_array_equal(made[[0, 1, 2, 3, 4, 6]], [0, 1, 0, 0, 0, 1])
    assert np.isnan(made[5])


def test_complex_parts_may_be_infinite() -> None:
    x, y = given("x", 2), given("y", 2)
    parts = np.array([np.inf, 1], np.float32), np.array([2, -np.inf], np.float32)
    (made,) = compiled([x, y], complexes.complex_of(x, y))(*parts)
    np.testing.assert_array_equal(made.real, parts[0])
    np.testing.assert_array_equal(made.imag, parts[1])


@pytest.mark.parametrize("at", [0, 2, -1, -3, [1], [[-2]]])
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_gather_of_one_known_index_is_a_slice(axis: int, at: Any) -> None:
    data = np.arange(12, dtype=np.float32).reshape(4, 3)
    x = given("x", 4, 3)
    run = compiled([x], gather(x, constant(np.array(at)), axis=axis))
    np.testing.assert_array_equal(run(data)[0], np.take(data, at, axis))
    made = run.prepare(data)
    assert isinstance(made, program.JaxProgram)
    compiled_text: Any = made.compiled
    assert "gather(" not in compiled_text.as_text()
