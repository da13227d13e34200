"""The budget of threads that BLAS and lanes share."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any
from unittest import mock

import numpy as np
import pytest

import graphopt
from graphopt.backends.numpy import blas
from graphopt.backends.numpy import program as programs
from graphopt.backends.numpy.blas import Budget
from graphopt.graph import Graph
from graphopt.ops.linalg import matmul
from graphopt.structural import graph_input
from tests.backends.numpy.programs import program_of
from tests.ops.harness import tensor


class Library:
    """A BLAS library that notes what it is told."""

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self.told: list[int] = []

    def get_num_threads(self) -> int:
        return self.threads

    def set_num_threads(self, threads: int) -> None:
        self.told.append(threads)
        self.threads = threads


def test_limits_end() -> None:
    libraries = [Library(8), Library(4)]
    budget = Budget(libraries)
    assert budget.threads == 8
    with budget.limited(1):
        assert [each.threads for each in libraries] == [1, 1]
    assert [each.threads for each in libraries] == [8, 4]
    with pytest.raises(ValueError, match="inside"), budget.limited(2):
        raise ValueError("inside")
    assert [each.threads for each in libraries] == [8, 4]


def test_what_is_so_already_is_not_told() -> None:
    library = Library(2)
    with Budget([library]).limited(2):
        pass
    assert library.told == []


def test_of_nested_limits_the_least_counts() -> None:
    library = Library(8)
    budget = Budget([library])
    with budget.limited(4):
        with budget.limited(1):
            assert library.threads == 1
            with budget.limited(2):
                assert library.threads == 1
        assert library.threads <= 4
    assert library.threads == 8


def test_no_library() -> None:
    budget = Budget([])
    with budget.limited(3):
        assert budget.threads == 1


def test_limits_of_many_threads_end() -> None:
    library = Library(8)
    budget = Budget([library])

    def work(seed: int) -> bool:
        for _ in range(200):
            with budget.limited(1 + seed % 3):
                if library.threads > 3:
                    return False
        return True

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(work, range(8)))
    assert library.threads == 8


@pytest.mark.parametrize("make", [blas.budget, lambda: programs.engine(7)])
def test_threads_that_ask_at_once_get_the_same(make: Callable[[], Any]) -> None:
    start = Barrier(4)

    def ask(_: int) -> Any:
        start.wait()
        return make()

    with ThreadPoolExecutor(4) as pool:
        first, *others = pool.map(ask, range(4))
    assert all(each is first for each in others)


@pytest.mark.parametrize("threads", [1, 2])
def test_products_run_on_the_program_s_threads(threads: int) -> None:
    """What BLAS has is the program's while it runs, and as before it afterwards."""
    library = Library(4)
    seen: list[int] = []

    def product(*args: Any, **more: Any) -> Any:
        seen.append(library.threads)
        return np.matmul(*args, **more)

    x = graph_input("x", tensor("float32", 128, 128))
    graph = Graph((x,), (matmul(x, x),), ("y",))
    values = np.eye(128, dtype=np.float32)
    with mock.patch.object(blas, "budget", return_value=Budget([library])):
        run = graphopt.compile(graph, threads=threads)
        for call in program_of(run).recording.calls:
            if call.func is np.matmul:
                call.func = product
        for _ in range(30):
            np.testing.assert_array_equal(run(values), [values])
    assert set(seen) <= set(range(1, threads + 1))
    assert seen
    assert library.threads == 4
