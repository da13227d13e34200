"""Backends held against the reference: three lines of a test."""

from __future__ import annotations

from typing import Any
from unittest import mock

import numpy as np
import pytest

import graphopt
from graphopt import compare_backends
from graphopt.backends import numpy as backend
from graphopt.check import CheckResult
from graphopt.errors import (
    CheckError,
    MissingExtraError,
    NoTrialError,
    UnsupportedError,
    UsageError,
)
from graphopt.graph import Graph
from graphopt.ir import Node
from graphopt.op import Array, Xp, op
from graphopt.ops.arithmetic import add, div
from graphopt.ops.functions import exp, neg
from graphopt.structural import constant, graph_input
from graphopt.types import DType, Type
from tests.ops.harness import tensor

X = graph_input("x", tensor("float32", "N", 3))
Y = graph_input("y", tensor("float32", "N", 3))


@op("OffByOne", domain="test")
def off_by_one(xp: Xp, x: Array) -> Array:
    """x, but x + 1 where it is recorded: a kernel with a fault."""
    return x if type(x) is np.ndarray else x + 1


@op("Refuses", domain="test")
def refuses(xp: Xp, x: Array) -> Array:
    """x, but nothing where it is recorded."""
    if type(x) is not np.ndarray:
        raise ValueError("not here")
    return x


@off_by_one.infer
@refuses.infer
def _(x: Node) -> Type:
    return x.derived_type


def graph(*outputs: Node, inputs: tuple[Node, ...] = (X,)) -> Graph:
    return Graph(inputs, outputs, tuple(f"y{k}" for k in range(len(outputs))))


def test_backends_that_agree() -> None:
    pytest.importorskip("jax", reason="the backend's library is an extra")
    found = compare_backends(graph(exp(add(X, Y)), neg(X), inputs=(X, Y)))
    assert list(found) == ["numpy", "jax"]
    assert all(result.valid == 3 for result in found.values())


def test_result_of_each_backend() -> None:
    found = compare_backends(graph(neg(X)), ("reference", "numpy"), trials=5, threads=2)
    assert found == {name: CheckResult(5, 5) for name in ("reference", "numpy")}
    assert compare_backends(graph(neg(X)), "numpy") == {"numpy": CheckResult(3, 3)}


@pytest.mark.parametrize("size", ["N", 2])
def test_planted_fault_is_found(size: Any) -> None:
    x = graph_input("x", tensor("float32", size))
    faulty = graph(neg(x), neg(off_by_one(x)), inputs=(x,))
    assert compare_backends(faulty, ["reference"])["reference"].valid == 3
    with pytest.raises(CheckError, match=r"numpy backend, output 'y1'\[\d\]: .* original has") as e:
        compare_backends(faulty, ["reference", "numpy"])
    assert not isinstance(e.value, NoTrialError)


def test_tolerance_and_inputs_are_the_caller_s() -> None:
    big = {"x": np.full((1, 3), 1e6, np.float32)}
    faulty = graph(off_by_one(X))
    assert compare_backends(faulty, ["numpy"], inputs=big, rtol=1e-4)["numpy"].max_abs == 1
    assert compare_backends(faulty, ["numpy"], atol=1.5)["numpy"].max_abs == pytest.approx(1)
    with pytest.raises(CheckError, match="numpy backend, output 'y0'"):
        compare_backends(faulty, ["numpy"], inputs=big, rtol=1e-8)


@pytest.mark.parametrize("size", ["N", 2])
def test_backend_that_fails_differs(size: Any) -> None:
    x = graph_input("x", tensor("float32", size))
    with pytest.raises(CheckError, match="numpy backend, inputs x.*fails where.*not here"):
        compare_backends(graph(refuses(x), inputs=(x,)), ["numpy"])


def test_reference_that_fails_is_no_trial() -> None:
    zero = constant(np.zeros(2, np.int32), DType.INT32)
    x = graph_input("x", tensor("int32", 2))
    with pytest.raises(NoTrialError, match="division by zero"):
        compare_backends(graph(div(x, zero), inputs=(x,)), ["numpy"])


@pytest.mark.parametrize("error", [MissingExtraError("jax", "jax"), UnsupportedError("no")])
@pytest.mark.parametrize("size", ["N", 2])
def test_backend_that_is_missing_is_no_difference(size: Any, error: Exception) -> None:
    x = graph_input("x", tensor("float32", size))
    with mock.patch.object(backend, "lower", side_effect=error), pytest.raises(type(error)):
        compare_backends(graph(neg(x), inputs=(x,)), ["numpy"])


def test_what_makes_no_sense() -> None:
    with pytest.raises(UsageError, match=r"no backend is called 'nunpy' \(did you mean 'numpy'"):
        compare_backends(graph(neg(X)), ["reference", "nunpy"])
    with pytest.raises(UsageError, match="no backend to compare"):
        compare_backends(graph(neg(X)), [])
    with pytest.raises(UsageError, match="0 threads"):
        compare_backends(graph(neg(X)), ["numpy"], threads=0)


def test_it_is_exported() -> None:
    assert "compare_backends" in graphopt.__all__
    assert graphopt.compare_backends is compare_backends
