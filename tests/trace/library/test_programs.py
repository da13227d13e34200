"""Small programs in the library's functions, as numerical codes write them."""

from __future__ import annotations

import operator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from graphopt.frontends.trace.library import FUNCTIONS, UFUNCS, getitem
from tests.trace.library.harness import T, Traced, check

LIBRARY: Any = SimpleNamespace(**{**UFUNCS, **FUNCTIONS})
"""NumPy's functions by attribute, from the tables of the library."""

RNG = np.random.default_rng(0)
MATRIX = Traced(RNG.random((6, 6)))
VECTOR = Traced(RNG.random(6))
GRID = Traced(RNG.random((6, 6, 2)))


def softmax(np_: Any, x: Any) -> Any:
    powers = np_.exp(np_.subtract(x, np_.max(x, axis=-1, keepdims=True)))
    return np_.divide(powers, np_.sum(powers, axis=-1, keepdims=True))


def layer(np_: Any, x: Any, w: Any, b: Any) -> Any:
    return softmax(np_, np_.maximum(np_.add(np_.matmul(x, w), b), 0))


def distance(np_: Any, a: Any, b: Any, c: Any, d: Any) -> Any:
    half = np_.divide(np_.subtract(c, a), 2)
    turned = np_.power(np_.sin(half), 2)
    other = np_.power(np_.sin(np_.divide(np_.subtract(d, b), 2)), 2)
    found = np_.add(turned, np_.multiply(np_.multiply(np_.cos(a), np_.cos(c)), other))
    return np_.multiply(2, np_.arctan2(np_.sqrt(found), np_.sqrt(np_.subtract(1, found))))


def weighted_means(np_: Any, data: Any, radius: Any) -> Any:
    sums, _ = np_.histogram(radius, 5, weights=data)
    counts, edges = np_.histogram(radius, 5)
    return np_.divide(sums, counts), edges


def lower_factor(np_: Any, a: Any) -> Any:
    cholesky = FUNCTIONS["linalg.cholesky"] if np_ is LIBRARY else np.linalg.cholesky
    spd = np_.add(np_.matmul(a, np_.transpose(a)), np_.eye(6))
    return np_.add(np_.triu(a, 1), cholesky(spd))


def contraction(np_: Any, a: Any, c4: Any) -> Any:
    flat = np_.reshape(a, (6, 6, 1, 2))
    return np_.reshape(np_.matmul(flat, c4), (6, 6, 2))


def stencil(np_: Any, x: Any) -> Any:
    at: Any = getitem if np_ is LIBRARY else operator.getitem
    inner = at(x, (slice(1, -1), slice(1, -1)))
    around = np_.add(at(x, (slice(2, None), slice(1, -1))), at(x, (slice(None, -2), slice(1, -1))))
    flux = np_.subtract(around, np_.multiply(2, inner))
    return np_.where(np_.greater(np_.multiply(flux, inner), 0), 0, flux)


def scaled(np_: Any, alpha: Any, u: Any, v: Any, x: Any) -> Any:
    made = np_.add(np_.outer(u, v), np_.multiply(alpha, np_.outer(v, u)))
    return np_.matmul(np_.transpose(made), np_.add(x, np_.clip(x, 0.2, 0.5)))


PROGRAMS = {
    softmax: (GRID,),
    layer: (MATRIX, MATRIX, VECTOR),
    distance: (VECTOR, T(RNG.random(6)), T(RNG.random(6)), T(RNG.random(6))),
    weighted_means: (T(RNG.random(300)), T(RNG.random(300))),
    lower_factor: (MATRIX,),
    contraction: (GRID, T(RNG.random((2, 2)))),
    stencil: (MATRIX,),
    scaled: (1.5, VECTOR, T(RNG.random(6)), T(RNG.random(6))),
}


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.__name__)
@pytest.mark.parametrize("kind", [np.float64, np.float32])
def test_program(program: Any, kind: Any) -> None:
    args = tuple(
        Traced(arg.array.astype(kind)) if isinstance(arg, Traced) else arg
        for arg in PROGRAMS[program]
    )
    check(
        lambda *operands: program(np, *operands),
        lambda *operands: program(LIBRARY, *operands),
        args,
        ulps=64,
    )
