"""What functions are called with: numbers, trees, dataclasses, static arguments."""

from __future__ import annotations

import dataclasses
from collections import OrderedDict
from typing import Any, NamedTuple

import numpy as np
import pytest

from graphopt.errors import UsageError
from graphopt.frontends.trace import TraceError, function
from tests.trace.helpers import Array, jit


class Pair(NamedTuple):
    """Two things."""

    first: Any
    second: Any


@dataclasses.dataclass
class Parameters:
    """Weights and a number."""

    w: Array
    b: Array
    rate: float = 0.5

    def apply(self, x: Array) -> Array:
        return x @ self.w + self.b * self.rate + np.zeros(2)


def test_numbers_whose_value_is_needed_are_static() -> None:
    def program(x: Array, n: int, flag: bool, alpha: float) -> Array:
        y = np.zeros(n) + alpha
        if flag:
            y = y * 2
        return x.sum() + y

    f = jit(program)
    for n in (2, 3):
        for flag in (True, False):
            for alpha in (0.5, 1.5):
                x = np.ones(2)
                np.testing.assert_array_equal(f(x, n, flag, alpha), program(x, n, flag, alpha))
    assert f.retraces == 3  # not for alpha
    text = f.explain_retraces()
    assert "argument n is static: " in text
    assert "test_arguments.py" in text
    assert text.count("is static") == 1
    assert "argument n: 2 → 3" in text


@pytest.mark.parametrize("value", [0.0, -0.0, 2.0, -1.5, float("nan"), float("inf"), 3, -2])
def test_arithmetic_of_numbers_is_pythons(value: Any) -> None:
    def program(x: Array, a: Any) -> Any:
        b = a * 2 + 1 - a
        return x * b + (-a) * x, b, abs(a) + 1, a if a == a else 0.0

    f = jit(program)
    x = np.array([1.0, -2.0])
    for got, want in zip(f(x, value), program(x, value), strict=True):
        assert type(got) is type(want)
        np.testing.assert_array_equal(got, want)
        np.testing.assert_array_equal(np.signbit(got), np.signbit(want))


def test_numbers_are_weak() -> None:
    def program(x: Array, a: Any) -> Array:
        return x * a

    f = jit(program)
    for dtype in (np.float16, np.float32, np.int8, np.int64, np.bool_, np.complex64):
        for a in (2, 0.5):
            x = np.ones(3, dtype)
            if dtype is np.complex64:
                continue
            got, want = f(x, a), program(x, a)
            assert got.dtype == want.dtype
            np.testing.assert_array_equal(got, want)
    with pytest.raises(OverflowError):
        f(np.ones(3, np.int8), 300)
    big = 1 << 70
    np.testing.assert_array_equal(f(np.ones(3), big), np.full(3, float(big)))
    strong = f(np.ones(3, np.float32), np.float64(2))
    assert strong.dtype == np.float64


def test_trees_in_and_out() -> None:
    def program(p: Any, q: Any, r: Any = None, *rest: Any, **named: Any) -> Any:
        out = {key: value + q[0] for key, value in p.items()}
        assert r is None
        extra = sum(rest, start=q[1].first)
        return out, [extra, q[1]], named["s"] * 2, OrderedDict(z=extra), None

    p, q = {"b": np.ones(2), "a": np.arange(2.0)}, (np.ones(2), Pair(np.ones(2), 3.5))
    f = jit(program)
    for _ in range(2):
        got, want = (g(p, q, None, np.ones(2), 4.0, s=np.float32(3)) for g in (f, program))
        assert repr(got) == repr(want)
    assert f.retraces == 0
    f({"a": np.ones(2), "b": np.arange(2.0)}, q, None, np.ones(2), 4.0, s=np.float32(3))
    assert f.retraces == 1


def test_dataclasses_in_and_out() -> None:
    def step(p: Parameters, x: Array) -> tuple[Parameters, Array]:
        y = p.apply(x)
        return dataclasses.replace(p, w=p.w - y.sum() * p.rate), y

    p = Parameters(np.ones((3, 2)), np.arange(2.0))
    x = np.ones((4, 3))
    f = jit(step)
    for _ in range(2):
        (got, y), (want, z) = f(p, x), step(p, x)
        np.testing.assert_allclose(got.w, want.w)
        np.testing.assert_allclose(y, z)
        assert type(got) is Parameters
        assert got.rate == want.rate


def test_writing_to_an_object_that_is_an_argument_is_refused() -> None:
    def program(p: Parameters, x: Array) -> Array:
        p.rate = 2.0
        return p.apply(x)

    with pytest.raises(TraceError, match="setting the attribute rate"):
        jit(program)(Parameters(np.ones((3, 2)), np.ones(2)), np.ones((4, 3)))


def test_writing_to_a_container_that_is_an_argument_is_refused() -> None:
    def program(p: dict[str, Array]) -> Array:
        p["a"] = p["a"] + 1
        return p["a"]

    with pytest.raises(TraceError, match="changing a dict"):
        jit(program)({"a": np.ones(2)})


def test_static_arguments() -> None:
    def program(x: Array, mode: tuple[float, float], name: str = "a") -> Array:
        return x * mode[0] + mode[1] if name == "a" else x

    f = jit(program, static_argnames=["mode"])
    x = np.ones(2)
    for mode in ((1, 0.0), (1, -0.0), (2, 0.0), (1, 0.0), (1.0, 0.0)):
        got, want = f(x, mode), program(x, mode)
        np.testing.assert_array_equal(got, want)
    assert f.retraces == 3
    np.testing.assert_array_equal(f(x, (1, 2.0), "b"), x)
    with pytest.raises(UsageError, match="hashable"):
        f(x, [1, 2])
    with pytest.raises(UsageError, match="did you mean 'mode'"):
        jit(program, static_argnames="mod")


def test_errors_of_calls_are_pythons() -> None:
    f = jit(lambda x, y: x)
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'y'"):
        f(np.ones(2))
    with pytest.raises(TypeError, match="unexpected keyword"):
        f(np.ones(2), z=1)
    with pytest.raises(UsageError, match="no backend"):
        function(np.sin, backend="numpi")
    with pytest.raises(UsageError, match="dtype"):
        f(np.array([object()]), 1)
    with pytest.raises(UsageError, match="MaskedArray"):
        f(np.ma.masked_array([1.0]), 1)
