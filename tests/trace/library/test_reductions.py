"""ufunc.reduce and ufunc.accumulate give what NumPy gives, over dtypes, shapes and axes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from graphopt.errors import UnsupportedError
from graphopt.frontends.trace.library import ACCUMULATIONS, FUNCTIONS, REDUCTIONS
from graphopt.frontends.trace.library.ufuncs import ufunc_of
from tests.trace.library.harness import T, Traced, check, traced_call

KINDS = [np.dtype(code) for code in "?bBhHiIlLefd"]
INTEGERS = [kind for kind in KINDS if kind.kind in "iu"]
BITS = ("bitwise_and", "bitwise_or", "bitwise_xor")
ROUNDED = ("add", "multiply")
"""Reductions whose kernel adds in another order or precision: a few ulps apart on floats."""


def kinds_of(name: str) -> list[np.dtype[Any]]:
    """The dtypes that a reduction is tried on."""
    if name == "gcd":
        return INTEGERS
    return [kind for kind in KINDS if kind.kind != "f"] if name in BITS else KINDS


def elements(data: st.DataObject, kind: np.dtype[Any], shape: tuple[int, ...]) -> Any:
    """A small array; its sums and products have no rounding that depends on their order."""
    if kind.kind == "f":
        numbers = st.sampled_from([0.0, -0.0, 1.0, -1.0, 0.5, 2.0, -2.0, np.inf, np.nan])
        return data.draw(hnp.arrays(kind, shape, elements=numbers))
    if kind.kind == "b":
        return data.draw(hnp.arrays(kind, shape))
    low = 0 if kind.kind == "u" else -6
    return data.draw(hnp.arrays(kind, shape, elements=st.integers(low, 100)))


@pytest.mark.parametrize("name", sorted(REDUCTIONS))
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_reduce(name: str, data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(kinds_of(name)))
    shape = data.draw(hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4))
    axes = st.one_of(st.none(), hnp.valid_tuple_axes(len(shape)))
    axis = data.draw(axes if len(shape) else st.none())
    array = Traced(elements(data, kind, shape))
    kwargs: dict[str, Any] = {"axis": axis, "keepdims": data.draw(st.booleans())}
    reduce = ufunc_of(name).reduce
    try:
        with np.errstate(all="ignore"):
            reduce(array.array, **kwargs)
    except ValueError:
        with pytest.raises(ValueError, match="no identity|not reorderable"):
            traced_call(REDUCTIONS[name], (array,), kwargs)
        return
    check(reduce, REDUCTIONS[name], (array,), kwargs, ulps=4 if name in ROUNDED else 0)


@pytest.mark.parametrize("name", sorted(ACCUMULATIONS))
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_accumulate(name: str, data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(kinds_of(name)))
    shape = data.draw(hnp.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=5))
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    array = Traced(elements(data, kind, shape))
    accumulate = ufunc_of(name).accumulate
    ulps = 4 if name in ROUNDED else 0
    check(accumulate, ACCUMULATIONS[name], (array,), {"axis": axis}, ulps=ulps)


MEANS = {"mean": 8, "var": 16, "std": 16, "sum": 8, "nansum": 8, "nanmean": 8}


@pytest.mark.parametrize("name", sorted(MEANS))
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_means(name: str, data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(KINDS))
    shape = data.draw(hnp.array_shapes(min_dims=0, max_dims=3, min_side=1, max_side=4))
    axis = data.draw(st.one_of(st.none(), hnp.valid_tuple_axes(len(shape))) if shape else st.none())
    array = Traced(elements(data, kind, shape))
    kwargs = {"axis": axis, "keepdims": data.draw(st.booleans())}
    function = getattr(np, name)
    symbolic = data.draw(st.booleans())
    check(function, FUNCTIONS[name], (array,), kwargs, ulps=MEANS[name], symbolic=symbolic)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_order(data: st.DataObject) -> None:
    """Sorted elements and stable positions, of NaN and equal elements too."""
    kind = data.draw(st.sampled_from(KINDS))
    shape = data.draw(hnp.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=6))
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    array = Traced(elements(data, kind, shape))
    check(np.sort, FUNCTIONS["sort"], (array, axis))
    check(np.argsort, FUNCTIONS["argsort"], (array, axis), {"kind": "stable"})


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_histogram_decides_at_edges_as_numpy(data: st.DataObject) -> None:
    """Elements that lie on edges, or within rounding of them, are counted where NumPy does."""
    count = data.draw(st.integers(1, 12))
    low, high = sorted(data.draw(st.tuples(st.integers(-9, 9), st.integers(-9, 9))))
    kind = data.draw(st.sampled_from([np.float64, np.float32]))
    edges = np.linspace(low / 10, high / 10, count + 1)
    near = [np.nextafter(edge, side) for edge in edges for side in (-9, 9)]
    numbers = st.sampled_from([*edges.tolist(), *map(float, near), 0.0, 0.3])
    chosen = data.draw(st.lists(numbers, min_size=1, max_size=12))
    array = T(chosen, kind)
    limits = data.draw(st.sampled_from([None, (low / 10, high / 10)]))
    try:
        np.histogram(array.array, count, limits)
    except ValueError:
        return  # too many bins for the range
    check(np.histogram, FUNCTIONS["histogram"], (array, count, limits), ulps=1)


def test_unsupported_reductions_are_not_in_the_tables() -> None:
    for name in ("subtract", "divide", "power", "arctan2"):
        assert name not in REDUCTIONS and name not in ACCUMULATIONS


def test_halving_needs_a_size() -> None:
    for table in (REDUCTIONS, ACCUMULATIONS):
        with pytest.raises(UnsupportedError, match="not known"):
            traced_call(table["bitwise_xor"], (T([1, 2, 3]),), {}, symbolic=True)


def test_mask_needs_a_start() -> None:
    with pytest.raises(ValueError, match="identity"):
        traced_call(REDUCTIONS["maximum"], (T([1, 2]),), {"where": [True, False]})
