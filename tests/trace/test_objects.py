"""Objects, classes and modules of the user's, read from outside."""

from __future__ import annotations

import collections
import types
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest

from graphopt.frontends.trace import TraceError
from tests.trace.helpers import Array, jit, module

X = np.arange(1.0, 5.0)


class Pair(NamedTuple):
    """An array and a number."""

    w: Array
    k: float


def test_modules_of_the_user() -> None:
    m = module(
        "live_helpers",
        "import numpy as np\nscale = 2.0\ndef fill(n): return np.zeros(n)\n"
        "class Norm:\n    def __init__(self, eps): self.eps = eps\n"
        "    def __call__(self, x):\n        y = np.zeros(4)\n        y[:] = x\n"
        "        return y + self.eps\n",
    )

    def f(x: Array) -> Array:
        y = m.fill(4)
        y += x * m.scale
        return m.Norm(0.5)(y)

    traced = jit(f)
    np.testing.assert_array_equal(traced(X), f(X))
    m.scale = 4.0
    np.testing.assert_array_equal(traced(X), f(X))


def test_class_hierarchies() -> None:
    m = module(
        "live_classes",
        "import numpy as np\nbias = 1.0\n"
        "class Base:\n    unit = 2.0\n"
        "    def run(self, x): return np.zeros(4) + x * self.unit + bias\n"
        "    @staticmethod\n    def twice(x): return x + np.add(x, 0)\n"
        "    @classmethod\n    def make(cls, k): made = cls(); made.k = k; return made\n"
        "class Child(Base):\n    __slots__ = ('k',)\n"
        "    def run(self, x): return super().run(x) * self.k + self.twice(x)\n"
        "obj = Child.make(3.0)\n"
        "def f(x):\n    new = Child.make(2.0)\n"
        "    assert isinstance(obj, Base) and isinstance(new, Child)\n"
        "    return obj.run(x) + new.run(x)\n",
    )
    traced = jit(m.f)
    np.testing.assert_array_equal(traced(X), m.f(X))
    m.bias = 5.0
    np.testing.assert_array_equal(traced(X), m.f(X))
    m.obj.k = 7.0
    np.testing.assert_array_equal(traced(X), m.f(X))
    m.Base.unit = 0.5
    np.testing.assert_array_equal(traced(X), m.f(X))


def test_arrays_in_objects_that_are_not_seen_through() -> None:
    class Plain:
        __slots__ = ("w",)

        def __init__(self) -> None:
            self.w = np.ones(4)

    holders: Any = (Plain(), [Plain()])

    def f(x: Array) -> Array:
        return x + holders[0].w + holders[1][0].w

    traced = jit(f)
    np.testing.assert_array_equal(traced(X), f(X))
    holders[0].w = X
    holders[1][0].w[:] = 2
    np.testing.assert_array_equal(traced(X), f(X))


def test_attributes_that_come_later() -> None:
    config = types.SimpleNamespace(k=2.0)
    m = module("live_later", "w = 1.0\n")

    def f(x: Array) -> Array:
        offset = getattr(config, "offset", 0.0) + getattr(m, "more", 0.0)
        return x * config.k + offset

    traced = jit(f)
    np.testing.assert_array_equal(traced(X), f(X))
    config.k = 3.0
    np.testing.assert_array_equal(traced(X), f(X))
    config.offset = np.ones(4)
    np.testing.assert_array_equal(traced(X), f(X))
    m.more = 7.0
    np.testing.assert_array_equal(traced(X), f(X))


@pytest.mark.parametrize("make", [lambda: collections.deque([1.0]), lambda: iter([1.0, 2.0])])
def test_containers_that_keep_state_are_refused(make: Callable[[], Any]) -> None:
    kept = make()

    def f(x: Array) -> Array:
        return x + next(iter(kept))

    with pytest.raises(TraceError, match="from outside is not supported"):
        jit(f)(X)


def test_named_tuples_of_arrays() -> None:
    pair = Pair(np.ones(4), 2.0)

    def f(x: Array) -> Array:
        return x * pair.w + pair.k

    def writes(x: Array) -> Array:
        pair.w[0] = 3
        return x

    traced = jit(f)
    np.testing.assert_array_equal(traced(X), f(X))
    pair.w[:] = 4
    np.testing.assert_array_equal(traced(X), f(X))
    with pytest.raises(TraceError, match="part"):
        jit(writes)(X)
    assert pair.w[0] == 4


def test_classes_asked_for() -> None:
    def f(x: Array, k: float) -> Any:
        kind: Any = type
        made: Any = kind("New", (), {"a": 3})
        assert type(x) is np.ndarray
        assert type(x) == np.ndarray  # noqa: E721 - what is tested
        assert isinstance(kind, type)
        assert type(made.a) is int
        assert type(k) is float
        assert type(x[0]) is np.float64
        assert np.dtype(np.float32).itemsize == 4
        assert np.issubdtype(x.dtype, np.floating)
        assert x.dtype in (np.float32, np.float64)
        assert {np.float64: 1}[np.float64] == 1
        return x * made.a * np.finfo(np.float64).eps + np.iinfo(np.int32).max

    np.testing.assert_array_equal(jit(f)(X, 2.0), f(X, 2.0))
