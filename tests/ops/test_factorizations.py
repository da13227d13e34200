"""Factorizations, inverses, solutions and searches of the domain `graphopt`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from graphopt.backends.reference import evaluate
from graphopt.dims import symbol
from graphopt.errors import ExecutionError, TypeRuleError
from graphopt.ir import types_of
from graphopt.ops import factorizations as f
from graphopt.ops.examples import given
from graphopt.ops.search import search_sorted
from graphopt.types import DType, TensorType

RNG = np.random.default_rng(1)
MATRIX = RNG.normal(size=(2, 4, 4))
DEFINITE = MATRIX @ np.swapaxes(MATRIX, -1, -2) + np.eye(4)
TALL = RNG.normal(size=(5, 3))


def apply(op: Any, *arrays: Any, **attrs: Any) -> Any:
    """What the kernel of an op makes of arrays."""
    inputs = [
        given(f"x{k}", *array.shape, dtype=DType[array.dtype.name.upper()])
        for k, array in enumerate(arrays)
    ]
    return evaluate(op(*inputs, **attrs), arrays)


def close(made: Any, wanted: Any) -> None:
    np.testing.assert_allclose(made, wanted, rtol=1e-10, atol=1e-10)


def transposed(x: Any) -> Any:
    return np.swapaxes(x, -1, -2)


def test_cholesky_factors() -> None:
    lower = apply(f.cholesky, DEFINITE)
    close(lower @ transposed(lower), DEFINITE)
    assert (np.triu(lower, 1) == 0).all()
    upper = apply(f.cholesky, DEFINITE, upper=1)
    close(transposed(upper) @ upper, DEFINITE)
    with pytest.raises(ExecutionError, match="positive definite"):
        apply(f.cholesky, -DEFINITE)


def test_inverses_and_solutions() -> None:
    close(apply(f.inverse, MATRIX) @ MATRIX, np.broadcast_to(np.eye(4), (2, 4, 4)))
    right = RNG.normal(size=(4, 2))
    close(MATRIX @ apply(f.solve, MATRIX, right), np.broadcast_to(right, (2, 4, 2)))
    vector = RNG.normal(size=4)
    close(MATRIX[0] @ apply(f.solve, MATRIX[0], vector), vector)
    with pytest.raises(ExecutionError, match="[Ss]ingular"):
        apply(f.inverse, np.zeros((2, 2)))


@pytest.mark.parametrize("full", [0, 1])
def test_orthogonal_factors(full: int) -> None:
    q, r = apply(f.qr, TALL, full=full, outputs=2)
    close(q @ r, TALL)
    close(q.T @ q, np.eye(5 if full else 3))
    u, s, v = apply(f.svd, TALL, full=full, outputs=3)
    close(u[:, :3] * s @ v, TALL)
    close(s, apply(f.singular_values, TALL))


def test_eigenvalues_of_symmetric_matrices() -> None:
    values, vectors = apply(f.eigh, DEFINITE, outputs=2)
    close(DEFINITE @ vectors, vectors * values[:, None, :])
    upper = np.triu(DEFINITE) + 0 * DEFINITE
    close(apply(f.eigh, upper, upper=1, outputs=2)[0], values)


def test_determinants_without_overflow() -> None:
    sign, logarithm = apply(f.sign_and_log_det, -1e200 * np.eye(3), outputs=2)
    assert sign == -1 and logarithm == pytest.approx(600 * np.log(10))


def test_half_precision_is_rounded_once() -> None:
    half = DEFINITE[0].astype(np.float16)
    single = apply(f.inverse, half.astype(np.float32))
    np.testing.assert_array_equal(apply(f.inverse, half), single.astype(np.float16))


def test_shapes_of_symbolic_matrices() -> None:
    n, m = symbol("N"), symbol("M")
    x = given("x", "N", 2, 3)
    assert [kind_of(kind) for kind in types_of(f.svd(x, outputs=3))] == [
        (n, 2, 2), (n, 2), (n, 2, 3),
    ]  # fmt: skip
    wide = given("x", "N", "M")
    q, r = (kind_of(kind) for kind in types_of(f.qr(wide, outputs=2)))
    assert q[0] == n and r[1] == m and q[1] == r[0]


def kind_of(kind: Any) -> Any:
    assert isinstance(kind, TensorType)
    return kind.shape


def test_search_finds_places() -> None:
    line = np.array([1, 2, 2, 5])
    values = np.array([[0, 2], [5, 6]])
    assert apply(search_sorted, line, values).tolist() == [[0, 1], [3, 4]]
    assert apply(search_sorted, line, values, side="right").tolist() == [[0, 3], [4, 4]]


A, SQUARE = given("a", 2, 3), given("a", 3, 3)


@pytest.mark.parametrize(
    "make",
    [
        lambda: f.cholesky(A),
        lambda: f.inverse(given("a", 3)),
        lambda: f.inverse(given("a", 3, 3, dtype=DType.INT64)),
        lambda: f.solve(SQUARE, given("b", 2)),
        lambda: f.solve(SQUARE, given("b", 3, dtype=DType.FLOAT64)),
        lambda: f.qr(A, outputs=3),
        lambda: f.eigh(A, outputs=2),
        lambda: f.eigh(SQUARE, outputs=1),
        lambda: f.singular_values(given("a", 3)),
        lambda: search_sorted(A, A),
        lambda: search_sorted(given("a", 3), given("b", 3), side="middle"),
        lambda: search_sorted(given("a", 3), given("b", 3, dtype=DType.INT64)),
    ],
)
def test_misfits_are_refused(make: Any) -> None:
    with pytest.raises(TypeRuleError):
        make()
