"""Calls of products and of linear algebra."""

from __future__ import annotations

import numpy as np

from tests.trace.library.calls import (
    EMPTY,
    F3,
    INTS,
    NESTED,
    RNG,
    SMALL,
    SORTED,
    ZERO,
    C,
    Call,
    F,
    U,
    V,
    W,
)
from tests.trace.library.harness import T, Traced

M = Traced(RNG.normal(size=(4, 4)))
STACK = Traced(RNG.normal(size=(2, 3, 3)))
SQUARE = Traced(RNG.normal(size=(3, 3)).astype(np.float32))
SPD = Traced((lambda x: x @ x.T + np.eye(3))(RNG.normal(size=(3, 3))))
TALL = Traced(RNG.normal(size=(4, 2)))
COLUMN = Traced(RNG.normal(size=(4,)))
OTHER = T(SORTED)

PRODUCTS: dict[str, list[Call]] = {
    "dot": [
        C(F, M, ulps=16),
        C(COLUMN, COLUMN, ulps=16),
        C(F3, COLUMN, ulps=16),
        C(ZERO, F),
        C(INTS, INTS.array.T),
        C(F, F3.array.transpose(1, 2, 0), ulps=64),
        C(SMALL, SMALL.array.T),
    ],
    "vdot": [C(F, F, ulps=16), C(INTS, INTS)],
    "inner": [C(F, F, ulps=16), C(COLUMN, F, ulps=16), C(NESTED, NESTED), C(ZERO, F)],
    "outer": [C(V, W), C(F, V), C(SMALL, U), C(ZERO, V)],
    "linalg.outer": [C(V, W)],
    "linalg.matmul": [C(F, M, ulps=16), C(STACK, STACK, ulps=16)],
    "linalg.vecdot": [C(F, F, ulps=16), C(F, F, axis=0, ulps=16)],
    "linalg.cross": [C(SQUARE, SQUARE, ulps=2)],
    "linalg.tensordot": [C(F, F, axes=2, ulps=16)],
    "linalg.trace": [C(STACK, ulps=4), C(NESTED, offset=1), C(NESTED, dtype=float)],
    "linalg.multi_dot": [C([F, M, COLUMN], ulps=64), C([F, M], ulps=16)],
    "tensordot": [
        C(F, F, ulps=16),
        C(F3, F3, ([1, 2], [1, 2]), ulps=64),
        C(NESTED, NESTED, (0, 0)),
        C(F, V, 0),
        C(F, M, 1, ulps=16),
        C(F3, F3, ([2, 0], [2, 0]), ulps=64),
    ],
    "kron": [C(F, V), C(V, W), C(NESTED, F), C(ZERO, V)],
    "cross": [
        C(SQUARE, SQUARE, ulps=2),
        C(STACK, SQUARE, axis=-1, ulps=4),
        C(SQUARE, [1.0, 2, 3], axisa=0, ulps=2),
        C(STACK, STACK, axisa=1, axisb=2, axisc=1),
    ],
    "trace": [C(F, ulps=4), C(NESTED), C(SMALL, 1), C(NESTED, 1, 1, 2), C(U, dtype=np.uint8)],
    "einsum": [
        C("ij,jk->ik", F, M, ulps=16),
        C("ii", SPD, ulps=4),
        C("ij->j", F, ulps=4),
        C("bij, bjk -> bik", STACK, STACK, ulps=16),
        C("...i,...i", F, F, ulps=16),
        C(F, [0, 1], M, [1, 2], [0, 2], ulps=16),
        C("i,j", V, W),
        C("ij->ji", INTS),
    ],
    "cov": [
        C(F, ulps=32),
        C(F, rowvar=False, ulps=32),
        C(V, ulps=16),
        C(V, OTHER, ulps=32),
        C(F, bias=True, ulps=32),
        C(F, ddof=0, ulps=32),
        C(F3.array[0] @ np.eye(4), F, ulps=64),
        C(F, aweights=T([1.0, 2, 3, 0.5]), ulps=64),
        C(INTS, dtype=np.float32, ulps=32),
        C(F, aweights=[1.0, 2, 3, 0.5], ddof=0, ulps=64),
        C(T([[1.0], [2.0]])),
    ],
    "corrcoef": [C(F, ulps=32), C(V, OTHER, ulps=32), C(V), C(F, rowvar=False, ulps=64)],
}

LINALG: dict[str, list[Call]] = {
    "linalg.norm": [
        C(F, ulps=8),
        C(V, ulps=4),
        C(F, axis=0, ulps=4),
        C(INTS, ulps=4),
        C(F3, axis=(0, 2), ulps=8),
        *(C(F, order, ulps=64) for order in (1, -1, 2, -2, np.inf, -np.inf, "fro", "nuc")),
        *(C(F, order, 1, ulps=8) for order in (0, 1, 2, 3, 0.5, np.inf, -np.inf, -1)),
        C(F3, 2, (2, 0), True, ulps=64),
        C(F, keepdims=True, ulps=8),
        C(F3, 1, (2, 1), ulps=8),
        C(F3, np.inf, (0, 1), ulps=8),
        C(F, None, 1, True, ulps=8),
    ],
    "linalg.matrix_norm": [C(STACK, ulps=8), C(STACK, keepdims=True, ord=2, ulps=64)],
    "linalg.vector_norm": [
        C(F, ulps=8),
        C(F3, axis=(0, 2), ulps=8),
        C(F, axis=1, keepdims=True, ord=1, ulps=8),
        C(F, axis=(0, 1), keepdims=True, ord=np.inf),
    ],
    "linalg.det": [
        C(M, ulps=64),
        C(STACK, ulps=64),
        C(SQUARE, ulps=64),
        C(T([[1, 2], [3, 5]]), ulps=64),
    ],
    "linalg.slogdet": [C(M, ulps=64), C(STACK, ulps=64)],
    "linalg.inv": [
        C(M, ulps=64),
        C(STACK, ulps=64),
        C(SQUARE, ulps=64),
        C(T([[1, 2], [3, 5]]), ulps=64),
    ],
    "linalg.solve": [
        C(M, COLUMN, ulps=64),
        C(M, TALL, ulps=64),
        C(SQUARE, STACK, ulps=64),
        C(STACK, np.ones((3, 1)), ulps=64),
    ],
    "linalg.cholesky": [C(SPD, ulps=8), C(SPD, upper=True, ulps=8)],
    "linalg.qr": [C(TALL, ulps=16), C(TALL, "complete", ulps=16), C(STACK, mode="r", ulps=16)],
    "linalg.svd": [C(TALL, ulps=16), C(TALL, False, ulps=16), C(STACK, compute_uv=False, ulps=16)],
    "linalg.svdvals": [C(TALL, ulps=16)],
    "linalg.eigh": [C(SPD, ulps=64), C(SPD, "U", ulps=64)],
    "linalg.eigvalsh": [C(SPD, ulps=64)],
    "linalg.pinv": [
        C(TALL, ulps=64),
        C(STACK, ulps=256),
        C(T(np.ones((2, 3))), ulps=64),
        C(TALL, rtol=None, ulps=64),
        C(TALL, 0.9, ulps=64),
        C(EMPTY),
    ],
    "linalg.matrix_rank": [
        C(TALL),
        C(STACK),
        C(T(np.ones((3, 3)))),
        C(V),
        C(TALL, 10.0),
        C(TALL, rtol=0.9),
    ],
    "linalg.cond": [
        C(TALL, ulps=64),
        C(M, 1, ulps=64),
        C(SQUARE, "fro", ulps=64),
        C(STACK, -2, ulps=64),
    ],
    "linalg.matrix_power": [
        C(M, 3, ulps=64),
        C(STACK, 0),
        C(T([[1, 2], [3, 4]]), 5),
        C(M, -2, ulps=256),
        C(M, 1),
    ],
}
