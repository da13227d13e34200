"""Every ufunc gives what NumPy gives: dtypes, shapes, special values."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import overrides

import graphopt
from graphopt.errors import UnsupportedError
from graphopt.frontends.trace.library.forms import FORMS
from graphopt.frontends.trace.library.operands import WeakScalar
from graphopt.frontends.trace.library.ufuncs import (
    ALIASES,
    COMPARISONS,
    GENERALIZED,
    UFUNCS,
    UNSUPPORTED,
    call,
    outer,
    ufunc_of,
)
from graphopt.ir import Node
from tests.trace.library.harness import T, Traced, check, run, traced_call

DTYPES = [np.dtype(code) for code in "?bBhHiIlLefd"]
SPECIAL = [np.nan, 0.0, -0.0, np.inf, -np.inf, 1.0, -1.0, 0.5, -2.5, 3.0, 1e-3, 7.25]
ELEMENTWISE = sorted(set(FORMS) - set(GENERALIZED))

ULPS = {"spacing": 0, "tan": 4, "float_power": 4, "degrees": 2, "rad2deg": 2, "deg2rad": 2,
        "radians": 2}  # fmt: skip
"""How many ulps the kernel may differ: where a form is not NumPy's own ufunc."""


def elements(dtype: np.dtype[Any], shape: tuple[int, ...], seed: int) -> np.ndarray[Any, Any]:
    """An array with the extremes and the special values of its dtype."""
    rng = np.random.default_rng(seed)
    if dtype.kind == "b":
        return rng.integers(0, 2, shape).astype(bool)
    if dtype.kind in "iu":
        info = np.iinfo(dtype)
        top = [info.min, info.max, 0, 1, 2, 3, 7, info.max // 2, max(info.min, -3)]
        return np.array(rng.choice(np.array(top, object), shape)).astype(dtype)
    with np.errstate(all="ignore"):
        return np.array(rng.choice(SPECIAL, shape)).astype(dtype)


def test_every_ufunc_is_told() -> None:
    """The table and the list of what is not supported have all of NumPy's ufuncs, and no other."""
    names = {each.__name__ for each in overrides.get_overridable_numpy_ufuncs()}
    names -= {"real", "imag"}  # from NumPy 2.5 on; they are in the table of functions
    assert names <= set(FORMS) | set(UNSUPPORTED)
    assert not set(FORMS) & set(UNSUPPORTED)
    assert set(FORMS) <= names
    for alias, name in ALIASES.items():
        if hasattr(np, alias):
            assert getattr(np, alias).__name__ == name
            assert alias in UFUNCS


@pytest.mark.parametrize("name", sorted(UNSUPPORTED))
def test_unsupported_ufunc_is_refused(name: str) -> None:
    with pytest.raises(UnsupportedError, match="not supported"):
        call(name, 1)


def dtype_rows(ufunc: np.ufunc) -> list[tuple[np.dtype[Any], ...]]:
    """Dtypes of operands: every one with itself, and neighbours mixed."""
    count = len(DTYPES)
    rows = [(dtype,) * ufunc.nin for dtype in DTYPES]
    if ufunc.nin > 1:
        rows += [tuple(DTYPES[(k + 5 * j) % count] for j in range(ufunc.nin)) for k in range(count)]
    return rows


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_ufunc_on_every_dtype(name: str) -> None:
    ufunc, compared = ufunc_of(name), 0
    for seed, dtypes in enumerate(dtype_rows(ufunc)):
        arrays = [elements(dtype, (5, 6), seed * 7 + k) for k, dtype in enumerate(dtypes)]
        if name == "power" and dtypes[1].kind == "i":
            arrays[1] = np.abs(arrays[1] % 5)
        if name in ("ldexp",):
            arrays[1] = np.abs(arrays[1].view(f"i{arrays[1].itemsize}") % 9).astype(dtypes[1])
        try:
            with np.errstate(all="ignore"):
                ufunc(*arrays)
        except TypeError:
            with pytest.raises(TypeError):
                traced_call(UFUNCS[name], tuple(map(Traced, arrays)), {})
            continue
        check(ufunc, UFUNCS[name], tuple(map(Traced, arrays)), ulps=ULPS.get(name, 0))
        compared += 1
    assert compared


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_ufunc_on_odd_shapes(name: str) -> None:
    ufunc = ufunc_of(name)
    kind: np.dtype[Any] = np.dtype(np.float64)
    if not any(types.startswith("d" * ufunc.nin) for types in ufunc.types):
        kind = np.dtype(np.int64)
    for shapes in (((), (3,)), ((0, 2), (1, 2)), ((2, 1), (1, 3)), ((1,), ())):
        arrays = [elements(kind, shapes[k % 2], k) for k in range(ufunc.nin)]
        if name == "ldexp":
            arrays[1] = np.ones(shapes[1], np.int64)
        if name == "power":
            arrays[1] = np.abs(arrays[1])
        for symbolic in (False, True):
            check(
                ufunc, UFUNCS[name], tuple(map(Traced, arrays)), ulps=ULPS.get(name, 0),
                symbolic=symbolic,
            )  # fmt: skip


NUMBERS = [True, 0, 1, -1, 2, 300, -129, 2**40, 1.5, float("nan"), 1e300]


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(["add", "multiply", "divide", "maximum", "less", "equal", "greater_equal",
                     "floor_divide", "logical_and", "arctan2", "hypot", "subtract"]),
    st.sampled_from(DTYPES),
    st.sampled_from(NUMBERS),
    st.booleans(),
)  # fmt: skip
def test_python_numbers_are_weak(name: str, dtype: Any, number: Any, first: bool) -> None:
    """A Python number takes the array's dtype; one that does not fit raises as in NumPy."""
    array = Traced(elements(dtype, (7,), 3))
    args = (number, array) if first else (array, number)
    ufunc = ufunc_of(name)
    try:
        with np.errstate(all="ignore"):
            ufunc(*(x.array if isinstance(x, Traced) else x for x in args))
    except (OverflowError, TypeError) as error:
        with pytest.raises(type(error)):
            traced_call(UFUNCS[name], args, {})
        return
    check(ufunc, UFUNCS[name], args)


@pytest.mark.parametrize("name", COMPARISONS)
@pytest.mark.parametrize("number", [300, -1, 2**70])
def test_comparison_with_a_number_out_of_range(name: str, number: int) -> None:
    check(ufunc_of(name), UFUNCS[name], (T([0, 7, 255], np.uint8), number))
    check(ufunc_of(name), UFUNCS[name], (number, T([0, 7, 255], np.uint8)))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("number", [3, 0.5])
def test_traced_numbers_are_weak(dtype: Any, number: float) -> None:
    def weak(x: Node, y: Node) -> Any:
        return call("multiply", x, WeakScalar(y))

    array = elements(dtype, (4,), 1)
    made, feeds = traced_call(weak, (Traced(array), T(number)), {})
    with np.errstate(all="ignore"):
        wanted = array * number
    np.testing.assert_array_equal(run(made, feeds)[0], wanted)
    assert made.dtype.numpy == wanted.dtype


@pytest.mark.parametrize(
    ("name", "shapes"),
    [
        ("matmul", ((2, 3), (3, 4))),
        ("matmul", ((5, 2, 3), (3, 1))),
        ("matmul", ((3,), (3,))),
        ("matmul", ((2, 0), (0, 3))),
        ("matvec", ((2, 3, 4), (4,))),
        ("vecmat", ((3,), (2, 3, 4))),
        ("vecdot", ((2, 3), (3,))),
        ("vecdot", ((2, 1, 3), (4, 3))),
    ],
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int8, np.uint16, np.int64])
def test_products(name: str, shapes: tuple[tuple[int, ...], ...], dtype: Any) -> None:
    rng = np.random.default_rng(0)
    args = tuple(Traced(rng.integers(0, 9, shape).astype(dtype)) for shape in shapes)
    check(ufunc_of(name), UFUNCS[name], args, ulps=4)
    check(ufunc_of(name), UFUNCS[name], args, ulps=4, symbolic=True)


def test_dtype_and_casting_choose_the_loop() -> None:
    x = T([1.5, 2.5], np.float32)
    check(np.add, UFUNCS["add"], (x, 1), {"dtype": np.float64})
    check(np.sqrt, UFUNCS["sqrt"], (x,), {"dtype": "f8"})
    with pytest.raises(TypeError):
        traced_call(UFUNCS["add"], (x, 1), {"dtype": np.int32})
    check(np.add, UFUNCS["add"], (x, 1), {"dtype": np.int32, "casting": "unsafe"})


def test_outer() -> None:
    args = (T([[1, 2], [3, 4]], np.int32), T([0.5, 1.5, 2.5], np.float32))
    for name in ("add", "multiply", "arctan2"):
        check(ufunc_of(name).outer, partial(outer, name), args)
    check(np.add.outer, partial(outer, "add"), (T(2), T([1, 2])))


def test_what_cannot_be_said_is_refused() -> None:
    with pytest.raises(UnsupportedError, match="arctan on complex128"):
        traced_call(UFUNCS["arctan"], (T([1.0j]),), {})
    with pytest.raises(UnsupportedError, match="where"):
        traced_call(UFUNCS["add"], (T([1.0]), 1), {"where": [True]})
    with pytest.raises(ValueError, match="negative integer powers"):
        traced_call(UFUNCS["power"], (T([1, 2]), -1), {})
    with pytest.raises(ValueError, match="broadcast"):
        traced_call(UFUNCS["add"], (T([1, 2]), T([1, 2, 3])), {})


@pytest.mark.parametrize("exponent", [0.5, np.float32(0.5)])
def test_power_of_a_half_is_the_root(exponent: Any) -> None:
    """NumPy's is, of -0 and -inf, by one number; by an array of more numbers it is not."""
    x = np.array([-np.inf, -0.0, 0.0, 4.0, np.inf], np.float32)
    halves = np.full(x.shape, 0.5, np.float32)

    def powers(x: Any, y: Any) -> Any:
        return x**exponent, np.power(x, exponent), np.power(x, y)

    with np.errstate(invalid="ignore"):
        expected = powers(x, halves)
    for made, wanted in zip(graphopt.function(powers)(x, halves), expected, strict=True):
        np.testing.assert_array_equal(made, wanted)
        np.testing.assert_array_equal(np.signbit(made[1:]), np.signbit(wanted[1:]))
