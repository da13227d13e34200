"""The names of NumPy's functions, and that the door and the library agree on them."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from graphopt.frontends.trace import TraceError, function, library
from graphopt.frontends.trace.catalogue import (
    ARRAYS,
    DOUBTFUL,
    VIEWS,
    WRITERS,
    is_frozen_module,
    names_of,
    part_of,
)
from graphopt.frontends.trace.kinds import is_a

TABLES = {**library.FUNCTIONS, **library.CREATION}


@pytest.mark.parametrize("name", sorted(TABLES))
def test_function_of_the_library_is_found_by_what_a_program_calls(name: str) -> None:
    function = part_of(name)
    if not isinstance(function, type):
        assert name in names_of(function)


def test_ufuncs_of_the_library_are_found() -> None:
    for name in library.UFUNCS:
        ufunc = getattr(np, name, None)
        if isinstance(ufunc, np.ufunc):
            assert ufunc.__name__ in library.UFUNCS


@pytest.mark.parametrize("table", [VIEWS, DOUBTFUL, ARRAYS, WRITERS])
def test_names_in_tables_exist(table: frozenset[str]) -> None:
    assert all(callable(part_of(name)) for name in table)


def test_frozen_modules() -> None:
    assert is_frozen_module("numpy.random.mtrand")
    assert is_frozen_module("random")
    assert not is_frozen_module("randomness")
    assert not is_frozen_module("numpy")


def test_what_shares_memory_is_in_a_table() -> None:
    """Every function of one array whose result shares its memory is known to."""
    shared: set[str] = set()
    x = np.arange(1.0, 5.0).reshape(2, 2)
    for name in library.FUNCTIONS:
        for args in ((x,), (x, 1), (x, (2, 2)), (x, 0, 1), (x.reshape(1, 2, 2, 1)[..., 0], 0)):
            try:
                with np.errstate(all="ignore"), warnings.catch_warnings():
                    warnings.simplefilter("ignore", DeprecationWarning)  # of arguments like these
                    made = part_of(name)(*args)
            except Exception:
                continue
            parts: list[Any] = list(made) if is_a(made, tuple | list) else [made]
            if any(np.may_share_memory(part, args[0]) for part in parts if np.size(part)):
                shared.add(name)
    sometimes = {"diff", "linalg.matrix_power"}  # which give back what they get: see below
    assert shared <= VIEWS | DOUBTFUL | sometimes
    assert {"ravel", "transpose", "reshape", "squeeze"} <= shared


def no_difference(x: Any) -> Any:
    return np.diff(x, n=0)


def first_power(x: Any) -> Any:
    return np.linalg.matrix_power(x, 1)


@pytest.mark.parametrize("same", [no_difference, first_power])
def test_what_gives_back_its_argument_may_share_memory(same: Callable[[Any], Any]) -> None:
    def writes(x: Any) -> Any:
        y = x * 2
        z = same(y)
        z += 1
        return y

    with pytest.raises(TraceError, match="may share memory"):
        function(writes, backend="reference")(np.ones((2, 2)))
