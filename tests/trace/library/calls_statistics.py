"""Calls of reductions, means and quantiles."""

from __future__ import annotations

import numpy as np

from tests.trace.library.calls import (
    EMPTY,
    F3,
    HALF,
    INTS,
    MASK,
    ODD,
    SMALL,
    ZERO,
    B,
    C,
    Call,
    F,
    U,
    V,
)
from tests.trace.library.harness import T

ALL_KINDS = [F3, HALF, INTS, SMALL, U, B, EMPTY, ZERO]


def reductions(*, ulps: float = 0, empty: bool = True, mask: bool = True) -> list[Call]:
    """Calls of a reduction: axes, dtypes, kept axes, masks."""
    made = [C(x, ulps=ulps) for x in ALL_KINDS if empty or x is not EMPTY]
    made += [C(F, axis=axis, ulps=ulps) for axis in (0, 1, -1, (0, 1), ())]
    made += [C(F3, axis=(0, -1), keepdims=True, ulps=ulps), C(ODD, ulps=ulps)]
    made += [C(ODD, 0, ulps=ulps), C(U, axis=1, ulps=ulps), C(SMALL, 0, ulps=ulps)]
    return made + ([C(F, 1, where=MASK, ulps=ulps)] if mask else [])


SUMS = [
    *reductions(ulps=4),
    C(F, dtype=np.float32, ulps=4),
    C(SMALL, dtype=np.int8),
    C(INTS, 0, initial=5),
    C(F, where=MASK, initial=2.0, ulps=4),
    C(B, dtype=bool),
    C(HALF, 0, ulps=4),
]
EXTREMES = [
    *reductions(empty=False, mask=False),
    C(F, 1, initial=0.1, where=MASK),
    C(EMPTY, 1),
    C(T([1, 300], np.int16)),
    C(T([1, 300], np.uint16)),
    C(INTS, initial=3),
]
MEANS = [c for c in reductions(ulps=8) if not any(a is ODD for a in c.args)]
RUNNING = [
    C(F, ulps=4),
    C(F, 0, ulps=4),
    C(INTS, -1),
    C(SMALL, 1),
    C(U),
    C(B, 0),
    C(SMALL, 0, dtype=np.int8),
    C(EMPTY, 0),
    C(HALF, 1, ulps=8),
    C(ZERO),
]
NUMBERS_ONLY = [
    C(ODD),
    C(ODD, 0),
    C(F, axis=1, keepdims=True),
    C(INTS, 0),
    C(B),
    C(F3, (0, 2)),
    C(T([np.nan, np.nan])),
]

STATISTICS: dict[str, list[Call]] = {
    "all": reductions(),
    "any": reductions(),
    "amax": EXTREMES,
    "amin": EXTREMES,
    "max": EXTREMES,
    "min": EXTREMES,
    "sum": SUMS,
    "prod": SUMS,
    "mean": [*MEANS, C(F, dtype=np.float32, ulps=8), C(INTS, 1, dtype=np.float32, ulps=4)],
    "var": [*MEANS, C(F, ddof=1, ulps=8), C(F, 1, correction=1, ulps=8)],
    "std": [*MEANS, C(F, ddof=1, ulps=8), C(F, 0, mean=np.zeros((1, 4)), ulps=8)],
    "ptp": [C(F), C(INTS, 1), C(F3, (0, 1), keepdims=True)],
    "average": [
        C(F, ulps=4),
        C(F, 0, ulps=4),
        C(F, weights=F, ulps=64),
        C(F, 1, T([1.0, 2.0, 3.0, 0.5]), ulps=16),
        C(INTS, 0, [1, 2, 3], returned=True, ulps=4),
        C(F3, 1, np.ones(3), keepdims=True, ulps=8),
        C(F, returned=True, ulps=4),
    ],
    "argmax": [C(F), C(F, 0), C(ODD, 1), C(INTS, -1, keepdims=True), C(B, 1), C(F, keepdims=True)],
    "argmin": [C(F), C(F, 0), C(ODD, 1), C(INTS, -1, keepdims=True), C(U), C(ZERO)],
    "count_nonzero": [C(F), C(INTS, 0), C(B, 1, keepdims=True), C(ODD), C(EMPTY, 0)],
    "cumsum": RUNNING,
    "cumprod": [*RUNNING[:-1], C(T([2, 3]), dtype=np.float32)],
    "cumulative_sum": [C(V, ulps=4), C(INTS, axis=0, include_initial=True), C(F, axis=1, ulps=4)],
    "cumulative_prod": [C(V, ulps=4), C(INTS, axis=0, include_initial=True), C(F, axis=1, ulps=4)],
    "nancumsum": [C(ODD), C(ODD, 1), C(INTS, 0)],
    "nancumprod": [C(ODD), C(ODD, 1), C(INTS, 0)],
    "nansum": NUMBERS_ONLY,
    "nanprod": [*NUMBERS_ONLY[:-3], C(F3, (0, 2), ulps=4)],
    "nanmax": NUMBERS_ONLY,
    "nanmin": NUMBERS_ONLY,
    "nanargmax": [C(INTS), C(INTS, 0), C(B, 1)],
    "nanargmin": [C(INTS), C(INTS, 1, keepdims=True)],
    "nanmean": [C(T([[1.0, np.nan], [np.nan, np.nan]]), 1), C(F, 0, ulps=4), C(INTS)],
    "nanvar": [
        C(T([[1.0, np.nan, 4], [np.nan] * 3]), 1),
        C(F, 0, ulps=8),
        C(INTS, ulps=4),
        C(T([1.0, np.nan]), ddof=1),
    ],
    "nanstd": [C(T([[1.0, np.nan, 4], [np.nan] * 3]), 1), C(F, 0, ulps=8), C(INTS, ulps=4)],
    "median": [
        C(F),
        C(F, 0),
        C(F, 1, keepdims=True),
        C(INTS, ulps=2),
        C(ODD, 1),
        C(F3, (0, 2)),
        C(B),
        C(HALF, 0),
    ],
    "quantile": [
        C(F, 0.3, ulps=2),
        C(F, [0.0, 0.25, 1.0], 1, ulps=2),
        C(INTS, 0.5, 0),
        C(F3, np.float32(0.7), (0, 1), keepdims=True, ulps=2),
        C(ODD, 0.5, 1),
        C(F, [[0.1], [0.9]], method="nearest"),
        C(F, 0.37, 0, method="lower"),
        C(F, 0.37, method="higher"),
        C(F, 0.37, 1, method="midpoint", ulps=2),
    ],
    "percentile": [
        C(F, 30, ulps=2),
        C(F, [0, 25.5, 100], 1, ulps=2),
        C(INTS, 50, 0),
        C(F3, 90, ulps=4),
    ],
}
