"""Every function of the library gives what NumPy gives, on known and on symbolic sizes."""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter
from typing import Any

import numpy as np
import pytest
from numpy.testing import overrides

from graphopt.errors import GraphoptError, UnsupportedError
from graphopt.frontends.trace.library import CREATION, FUNCTIONS, UNSUPPORTED_FUNCTIONS
from tests.trace.library import (
    calls_creation,
    calls_lines,
    calls_movement,
    calls_products,
    calls_selection,
    calls_statistics,
)
from tests.trace.library.calls import Call
from tests.trace.library.harness import T, check, leaves, run, traced_call

TABLES = (
    calls_creation.CREATION,
    calls_lines.LINES,
    calls_movement.JOINING,
    calls_movement.MOVEMENT,
    calls_products.LINALG,
    calls_products.PRODUCTS,
    calls_selection.ORDER,
    calls_selection.SELECTION,
    calls_statistics.STATISTICS,
)
CALLS: dict[str, list[Call]] = {name: rows for table in TABLES for name, rows in table.items()}

NOT_COMPARED = {
    "empty": "NumPy's content is not defined",
    "empty_like": "NumPy's content is not defined",
}


def ordered_values(x: Any) -> Any:
    """numpy.unique_values in ascending order."""
    return np.sort(np.unique_values(x))


def function_of(name: str) -> Callable[..., Any]:
    """NumPy's function of a name, in order where NumPy leaves that open."""
    if name == "unique_values":
        return ordered_values
    found: Callable[..., Any] = attrgetter(name)(np)
    return found


def test_every_function_has_calls() -> None:
    assert set(CALLS) == set(FUNCTIONS)
    assert {name for name, rows in CALLS.items() if not rows} == set(NOT_COMPARED)
    assert set(CREATION) <= set(FUNCTIONS)


def test_every_function_of_numpy_is_told() -> None:
    """The table and the list of what is not supported have all that NumPy lets others override.

    Left out are NumPy's other modules (records, strings, polynomials), which register their
    functions once somebody imports them.
    """
    names: set[str] = set()
    for function in overrides.get_overridable_numpy_array_functions():
        module = function.__module__.removeprefix("numpy").removeprefix(".")
        if module in ("", "linalg", "fft"):
            names.add(f"{module}.{function.__name__}" if module else function.__name__)
    told = set(FUNCTIONS) | set(UNSUPPORTED_FUNCTIONS)
    assert names <= told
    assert not set(FUNCTIONS) & set(UNSUPPORTED_FUNCTIONS)
    assert all(callable(function_of(name)) for name in told)


@pytest.mark.parametrize("name", sorted(set(CALLS) - set(NOT_COMPARED)))
def test_function(name: str) -> None:
    for call in CALLS[name]:
        check(function_of(name), FUNCTIONS[name], call.args, call.kwargs, ulps=call.ulps)


SIZED = {"shape", "size"}
"""Functions whose result has the symbolic sizes themselves."""


@pytest.mark.parametrize("name", sorted(set(CALLS) - set(NOT_COMPARED) - SIZED))
def test_function_on_symbolic_sizes(name: str) -> None:
    """The same result, or an error that says what is not supported: never another result."""
    for call in CALLS[name]:
        try:
            traced_call(FUNCTIONS[name], call.args, call.kwargs, symbolic=True)
        except UnsupportedError:
            continue
        check(
            function_of(name), FUNCTIONS[name], call.args, call.kwargs, ulps=call.ulps,
            symbolic=True,
        )  # fmt: skip


NEED_SIZES = set(
    "convolve correlate cross delete diagonal dsplit fft.fftshift fft.ifftshift gradient insert"
    " linalg.cross linalg.diagonal linalg.trace median percentile quantile trace unstack"
    " vsplit".split()
)
"""Functions that refuse all of their calls on symbolic sizes."""


def test_most_functions_take_symbolic_sizes() -> None:
    refused: set[str] = set()
    for name in sorted(set(CALLS) - set(NOT_COMPARED)):
        made = 0
        for call in CALLS[name]:
            try:
                traced_call(FUNCTIONS[name], call.args, call.kwargs, symbolic=True)
            except UnsupportedError:
                continue
            made += 1
        refused |= set() if made else {name}
    assert refused == NEED_SIZES


@pytest.mark.parametrize("name", ["empty", "empty_like"])
def test_what_is_not_initialised_is_zero(name: str) -> None:
    args = (T(3),) if name == "empty" else (T([[1.0, 2.0]]),)
    made, feeds = traced_call(FUNCTIONS[name], args, {})
    (array,) = run(made, feeds)
    np.testing.assert_array_equal(array, np.zeros(3 if name == "empty" else (1, 2)))


@pytest.mark.parametrize(
    ("name", "args", "kwargs"),
    [
        ("sum", (T([1.0]),), {"out": np.zeros(())}),
        ("nanargmax", (T([1.0]),), {}),
        ("quantile", (T([1.0]), T(0.5)), {}),
        ("quantile", (T([1.0]), 0.5), {"method": "weibull"}),
        ("digitize", (T([1.0]), T([1.0])), {}),
        ("repeat", (T([1.0, 2.0]), T([1, 2])), {}),
        ("pad", (T([1.0]), 1, "maximum"), {}),
        ("choose", (T([0]), [[1], [2]]), {}),
        ("cross", (T([1.0, 2.0]), T([1.0, 2.0])), {}),
        ("linalg.qr", (T(np.eye(2)), "raw"), {}),
        ("histogram", (T([1.0]), "auto"), {}),
        ("roll", (T([1.0, 2.0]), T(1)), {}),
        ("var", (T([1.0 + 1j]),), {}),
        ("cov", (T([1.0 + 1j]),), {}),
        ("nansum", (T([1.0 + 1j]),), {}),
        ("nanmean", (T([1.0 + 1j]),), {}),
        ("nan_to_num", (T([1.0 + 1j]),), {}),
        ("correlate", (T([1.0 + 1j]), [1]), {}),
        ("linalg.inv", (T([[1.0 + 1j]]),), {}),
        ("linalg.norm", (T([1.0 + 1j]),), {}),
        ("unique_values", (T([1.0 + 1j]),), {}),
        ("cumsum", (T([1.0 + 1j]),), {}),
        ("max", (T([1.0 + 1j]),), {}),
        ("fft.fft", (T([1.0]),), {"norm": "ortho"}),
    ],
)
def test_what_cannot_be_said_is_refused(name: str, args: Any, kwargs: Any) -> None:
    with pytest.raises(UnsupportedError) as caught:
        traced_call(FUNCTIONS[name], args, kwargs)
    assert caught.value.message


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("reshape", (T([1, 2, 3]), (2, 2))),
        ("reshape", (T([1, 2, 3]), (-1, -1))),
        ("concatenate", ([T([1]), T([[1]])],)),
        ("concatenate", ([T([[1]]), T([[1, 2]])],)),
        ("stack", ([T([1]), T([1, 2])],)),
        ("max", (T([]),)),
        ("argmax", (T([]),)),
        ("sum", (T([1]), 1)),
        ("split", (T([1, 2, 3]), 2)),
        ("squeeze", (T([1, 2, 3]), 0)),
        ("broadcast_to", (T([1, 2, 3]), (2,))),
        ("take", (T([1, 2, 3]), 3)),
        ("dot", (T([1, 2, 3]), T([1, 2]))),
        ("linalg.inv", (T([1.0]),)),
        ("linalg.inv", (T(np.ones((2, 2), np.float16)),)),
        ("linalg.det", (T(np.ones((2, 3))),)),
        ("clip", (T([1, 2], np.uint8), 300, 400)),
        ("bincount", (T([1.5]),)),
        ("transpose", (T([[1]]), (0,))),
        ("swapaxes", (T([1]), 0, 1)),
        ("where", (T([True]), 1)),
    ],
)
def test_what_numpy_refuses_raises_the_same(name: str, args: Any) -> None:
    plain = [[x.array if hasattr(x, "array") else x for x in leaves(a)] if isinstance(a, list)
             else a.array if hasattr(a, "array") else a for a in args]  # fmt: skip
    with pytest.raises((ValueError, TypeError, IndexError, OverflowError)) as wanted:
        function_of(name)(*plain)
    with pytest.raises(wanted.type):
        traced_call(FUNCTIONS[name], args, {})


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("bincount", (T([-1, 2]),)),
        ("histogram", (T([np.nan, 1.0]),)),
        ("linalg.inv", (T(np.zeros((2, 2))),)),
        ("linalg.cholesky", (T(-np.eye(2)),)),
    ],
)
def test_what_only_running_tells_fails_then(name: str, args: Any) -> None:
    with pytest.raises((ValueError, np.linalg.LinAlgError)):
        function_of(name)(*(x.array for x in args))
    made, feeds = traced_call(FUNCTIONS[name], args, {})
    with pytest.raises(GraphoptError):
        run(made, feeds)


def test_can_cast_takes_traced_operands() -> None:
    for array in (np.zeros(2, np.int8), np.zeros(2)):
        made, _ = traced_call(FUNCTIONS["can_cast"], (T(array), np.float32), {})
        assert made == np.can_cast(array.dtype, np.float32)


def test_symbolic_sizes_are_answers() -> None:
    made, feeds = traced_call(FUNCTIONS["shape"], (T(np.ones((2, 3))),), {}, symbolic=True)
    (node,) = feeds
    assert made == node.shape
    made, _ = traced_call(FUNCTIONS["size"], (T(np.ones((2, 3))),), {}, symbolic=True)
    assert str(made) == "n2*n3"
