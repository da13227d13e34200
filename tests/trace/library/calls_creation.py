"""Calls of functions that make arrays."""

from __future__ import annotations

import numpy as np

from tests.trace.library.calls import F3, INTS, LINE, SMALL, ZERO, C, Call, F, V
from tests.trace.library.harness import T

CREATION: dict[str, list[Call]] = {
    "zeros": [C((2, T(3))), C(T(4), dtype=np.int8), C((2, 3)), C(3, "i4", "F")],
    "ones": [C((2, T(3))), C([T(2), T(0)]), C(2)],
    "full": [
        C((2, 3), T(1.5)),
        C(T(3), 7),
        C((2, 2), T([1, 2])),
        C(2, 1, np.uint8),
        C((), T(1), "f4"),
    ],
    "zeros_like": [C(F), C(INTS, dtype=bool), C(F, shape=(2, 2)), C(np.ones(2))],
    "ones_like": [C(F3), C(SMALL), C(F, np.int64)],
    "full_like": [C(F, 3), C(INTS, 2.7), C(F, T(1.0)), C(F, [1, 2, 3, 4])],
    "arange": [
        C(T(5)),
        C(1, T(7)),
        C(T(0), 10, 3),
        C(T(0.5), 4),
        C(5),
        C(1, 7, 2),
        C(T(6), dtype=np.int16),
        C(T(6), dtype=np.float32),
        C(T(5), -1, -2),
    ],
    "linspace": [
        C(T(0.0), 1.0, 5, ulps=1),
        C(0, T([1.0, 2.0]), 4, ulps=1),
        C(T(3), 3, 4),
        C(T(0.0), 9, 4, dtype=int),
        C(T(0.0), 1, 5, endpoint=False, ulps=1),
        C(T(1.0), 2, 1),
        C(T(1.0), 2, 0),
        C(T(np.float32(1)), 2, 7, retstep=True, ulps=1),
        C(T([0.0, 1.0]), [1.0, 1.0], 3, axis=1, ulps=1),
        C(0, 1, 5),
    ],
    "logspace": [
        C(T(0.0), 2, 4, ulps=4),
        C(0, 2, 4),
        C(T(0.0), 3, 4, base=2.0, ulps=4),
        C(T(0.0), 3, 4, dtype=np.float32, ulps=4),
    ],
    "geomspace": [C(1, 100, 3)],
    "eye": [C(T(3)), C(3), C(2, T(4), 1, np.int32), C(3, k=T(-1))],
    "identity": [C(T(3)), C(2, np.int8)],
    "tri": [C(T(3)), C(3, T(4), -1), C(3, 4, 1, bool)],
    "array": [
        C([T(1), 2, 3.5]),
        C([F, F]),
        C([[T(1.0), 2], [3, 4]]),
        C(F, np.float32),
        C([1, 2]),
        C(LINE, ndmin=3),
        C([[T(1), T(2)]], dtype=np.int8),
    ],
    "asarray": [C([T(1), 2]), C(F), C([1.0])],
    "asanyarray": [C(F, np.float32)],
    "ascontiguousarray": [C(F), C(ZERO), C(1.0)],
    "asfortranarray": [C(F)],
    "require": [C(F, np.float32)],
    "meshgrid": [
        C(LINE, V),
        C(LINE, V, ZERO, indexing="ij"),
        C(LINE, V, sparse=True),
        C(LINE),
        C([1, 2], [3]),
    ],
    "vander": [C(V), C(LINE, 3), C(V, 2, increasing=True), C(LINE, 1), C(LINE, 0), C(V, 4, ulps=4)],
    "empty": [],
    "empty_like": [],
    "fromfunction": [C(np.add, (2, 3))],
    "indices": [C((2, 3)), C((2, 3), sparse=True)],
}
