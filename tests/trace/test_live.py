"""What a function reads from outside: seen as it is, and at each call as it is then."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphopt
from graphopt.frontends.trace import TraceError, constant
from tests.trace.helpers import Array, jit, module

X = np.arange(1.0, 5.0)


def test_globals_are_read_at_each_call() -> None:
    m = module(
        "live_globals",
        "import numpy as np\n"
        "k = 2\nw = np.ones(4)\nopts = {'s': 3.0, 'v': [np.ones(4)]}\n"
        "def helper(x): return x * k\n"
        "def f(x): return helper(x) + w * opts['s'] + opts['v'][0]\n",
    )
    f = jit(m.f)

    def check(traces: int) -> None:
        np.testing.assert_array_equal(f(X), m.f(X))
        assert f.retraces == traces

    check(0)
    m.w[:] = 7
    check(0)
    m.w = np.full(4, 9.0)
    check(0)
    m.opts["v"][0] = np.full(4, 5.0)
    check(0)
    m.k = 3
    check(1)
    m.k = 2
    check(1)  # the first trace holds again
    m.helper = np.negative
    check(2)
    m.opts["s"] = -0.0
    check(3)
    m.opts["new"] = 1
    check(4)
    m.opts["v"].append(1)
    check(5)
    m.w = np.ones(4, np.float32)
    check(6)
    m.opts = {"s": 1.0, "v": (np.zeros(4),)}
    check(7)
    text = f.explain_retraces()
    assert "global k: 2 → 3" in text
    assert "global helper" in text


def test_name_that_shadows_a_builtin_later() -> None:
    m = module("live_builtin", "def f(x): return abs(x)\n")
    f = jit(m.f)
    np.testing.assert_array_equal(f(-X), X)
    m.abs = np.asarray
    np.testing.assert_array_equal(f(-X), -X)


def test_closures_are_read_at_each_call() -> None:
    k, w = 2.0, np.ones(4)

    def set_to(a: float, b: Array) -> None:
        nonlocal k, w
        k, w = a, b

    def f(x: Array) -> Array:
        return x * k + w

    traced = jit(f)
    for a, b in ((2.0, np.ones(4)), (3.0, np.ones(4)), (3.0, np.arange(4.0))):
        set_to(a, b)
        np.testing.assert_array_equal(traced(X), f(X))
    w += 1
    np.testing.assert_array_equal(traced(X), f(X))
    assert traced.retraces == 1
    assert "enclosing variable k: 2.0 → 3.0" in traced.explain_retraces()


def test_decorated_helpers_partials_and_caches() -> None:
    def decorate(inner: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(inner)
        def wrapper(*args: Any) -> Any:
            return np.negative(inner(*args)) + np.zeros(4)

        return wrapper

    @decorate
    def helper(x: Array) -> Array:
        return x * 2

    @functools.lru_cache
    def grid(n: int) -> Array:
        return np.arange(n) * 1.0

    add = functools.partial(helper, X)

    def f(x: Array) -> Array:
        return helper(x) + grid(4) + add()

    np.testing.assert_array_equal(jit(f)(X), f(X))


def test_constants_are_in_the_graph() -> None:
    w = constant(np.arange(4.0))
    view = np.arange(8.0)
    part = view[:4]
    part.flags.writeable = False

    def f(x: Array) -> Array:
        return x * w + part

    traced = jit(f)
    assert traced.graph(X).input_names == ("x", "part")  # of which the rest is still written to
    np.testing.assert_array_equal(traced(X), f(X))
    view[:] = 3
    np.testing.assert_array_equal(traced(X), f(X))
    with pytest.raises(ValueError, match="read-only"):
        w[0] = 1


def test_one_array_under_two_names() -> None:
    a = np.ones(4)
    b = a

    def rebind(first: Array, second: Array) -> None:
        nonlocal a, b
        a, b = first, second

    def f(x: Array) -> Array:
        return x * a + b

    traced = jit(f)
    np.testing.assert_array_equal(traced(X), f(X))
    assert len(traced.graph(X).inputs) == 2
    rebind(np.full(4, 7.0), b)
    np.testing.assert_array_equal(traced(X), f(X))
    rebind(a, np.zeros(4))
    np.testing.assert_array_equal(traced(X), f(X))
    same = np.arange(4.0)
    rebind(same, same)
    np.testing.assert_array_equal(traced(X), f(X))
    rebind(np.full(4, 9.0), same)
    np.testing.assert_array_equal(traced(X), f(X))


LEAKS = {
    "generator": "rng = np.random.default_rng(0)\ndef f(x): return x + rng.random(4)\n",
    "legacy": "from numpy.random import rand\ndef f(x): return x + rand(4)\n",
    "module": "from numpy import random as r\ndef f(x): return x + r.rand(4)\n",
    "local": "def f(x):\n    import numpy.random\n    return x + numpy.random.rand(4)\n",
    "python": "import random\ndef f(x): return x + random.random()\n",
    "python name": "from random import random\ndef f(x): return x + random()\n",
    "clock": "import time\ndef f(x): return x + time.time()\n",
    "clock name": "from time import perf_counter as now\ndef f(x): return x + now()\n",
    "input": "def f(x): return x + len(input())\n",
    "nested": "class A:\n    def m(self): return np.random.rand(4)\na = A()\n"
    "def f(x): return x + a.m()\n",
}


@pytest.mark.parametrize("name", LEAKS)
def test_what_a_trace_would_freeze_is_refused(name: str) -> None:
    m = module(f"live_{name.replace(' ', '_')}", f"import numpy as np\n{LEAKS[name]}")
    with pytest.raises(TraceError, match="freeze"):
        jit(m.f)(X)


def test_compiled_functions_that_ask_for_the_content_are_named() -> None:
    import math

    def root(x: Array) -> float:
        return math.sqrt(x[0])

    def masked(x: Array) -> Any:
        return np.ma.masked_array(x)

    with pytest.raises(TraceError, match="number of a value") as caught:
        jit(root)(X)
    assert "math.sqrt(x[0])" in "\n".join(caught.value.__notes__)
    with pytest.raises(TraceError, match="asked for"):
        jit(masked)(X)


def test_error_that_the_program_swallows_is_raised_in_the_end() -> None:
    def f(x: Array) -> Array:
        try:
            return x if x.sum() > 0 else -x
        except Exception:
            return x * 0

    with pytest.raises(TraceError, match="truth"):
        jit(f)(X)


def test_exceptions_of_the_program_pass() -> None:
    def f(x: Array) -> Array:
        if x.shape[0] != 3:
            raise KeyError("three are wanted")
        return x

    with pytest.raises(KeyError, match="three"):
        jit(f)(X)


def test_errors_of_types_show_the_line() -> None:
    def f(x: Array) -> Array:
        y = x * 2
        return y @ np.ones((3, 3)) + y

    with pytest.raises((ValueError, graphopt.GraphoptError)) as caught:
        jit(f)(X)
    assert "y @ np.ones((3, 3))" in "\n".join(caught.value.__notes__)


def test_numpys_own_python_is_traced(monkeypatch: pytest.MonkeyPatch) -> None:
    from graphopt.frontends.trace import library

    for name in ("average", "sinc", "trapezoid", "polyval"):
        if name in library.FUNCTIONS:
            monkeypatch.delitem(library.FUNCTIONS, name)

    def f(x: Array) -> Any:
        return np.average(x), np.sinc(x), np.polyval([1.0, 2.0], x)

    for got, want in zip(jit(f)(X), f(X), strict=True):
        np.testing.assert_allclose(got, want)


def test_compiled_functions_inside_are_traced_even_without_arrays() -> None:
    w = np.ones(2)

    @graphopt.function(backend="reference")
    def weights(k: float) -> Array:
        return w * k

    weights(2.0)

    def f(x: Array) -> Array:
        return x + weights(2.0)

    traced = jit(f)
    np.testing.assert_array_equal(traced(np.ones(2)), np.full(2, 3.0))
    w[:] = 5
    np.testing.assert_array_equal(traced(np.ones(2)), np.full(2, 11.0))


def test_bare_except_does_not_hide_that_a_value_is_needed() -> None:
    def f(x: Array, n: float) -> Array:
        try:
            return x + 1 if n > 2 else x - 1
        except:  # noqa: E722 - what is tested
            return x * 0

    traced = jit(f)
    for n in (1.0, 3.0):
        np.testing.assert_array_equal(traced(X, n), f(X, n))


def test_long_lists_of_numbers_are_one_guard() -> None:
    taps = [float(k) for k in range(500)]

    def f(x: Array) -> Array:
        return x * sum(taps)

    traced = jit(f)
    np.testing.assert_array_equal(traced(X), f(X))
    taps[3] = -1.0
    np.testing.assert_array_equal(traced(X), f(X))
    assert traced.retraces == 1
