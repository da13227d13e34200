"""What programs do, one thing at a time: the result is NumPy's, or the error shows the line."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest

from graphopt.frontends.trace import TraceError, function
from graphopt.frontends.trace.kinds import is_a
from graphopt.frontends.trace.tree import flatten
from tests.trace import probes

X = np.array([0.5, 3.0, -1.25, 2.0])


def agree(got: Any, want: Any) -> None:
    """Assert that two results have the same form, classes, dtypes and nearly the same content."""
    ours, form = flatten(got)
    theirs, wanted = flatten(want)
    assert form == wanted
    a: Any
    b: Any
    for a, b in zip(ours, theirs, strict=True):
        assert type(a) is type(b)
        if is_a(b, np.ndarray | np.generic):
            assert a.dtype == b.dtype
            assert a.shape == b.shape
            np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)
        else:
            assert a == b


@pytest.mark.parametrize("name", probes.WORKS)
def test_program_gives_what_numpy_gives(name: str) -> None:
    program = probes.WORKS[name]
    traced = function(program, backend="reference")
    for x in (X, X + 1):
        agree(traced(x.copy()), program(x.copy()))
    assert traced.retraces == 0


@pytest.mark.parametrize("name", probes.FAILS)
def test_error_shows_the_line(name: str) -> None:
    program, under, word = probes.FAILS[name]
    with pytest.raises(TraceError) as caught:
        function(program, backend="reference")(X.copy())
    error = caught.value
    assert word in error.message
    lines, first = inspect.getsourcelines(program)
    number = int(error.at.split(":")[-2])
    assert error.at.split(":")[0].endswith("probes.py")
    assert under in lines[number - first]
    line, caret = error.__notes__[0].split("\n")
    marked = line[caret.index("^") : caret.rindex("^") + 1]
    assert under in marked or marked in under
    assert error.__cause__ is None


def test_error_says_where_the_value_comes_from() -> None:
    with pytest.raises(TraceError) as caught:
        function(probes.if_on_value, backend="reference")(X)
    notes = "\n".join(caught.value.__notes__)
    line = inspect.getsourcelines(probes.if_on_value)[1] + 1
    assert f"It comes from x * 2 (tests/trace/probes.py:{line})" in notes
    assert "np.where" in notes


def test_error_has_no_frames_of_ours() -> None:
    with pytest.raises(TraceError) as caught:
        function(probes.if_on_value, backend="reference")(X)
    files = [entry.path for entry in caught.traceback]
    assert str(files[-1]).endswith("probes.py")
    ours = [file for file in files if "frontends/trace/" in str(file)]
    assert len(ours) <= 1


def test_nothing_is_patched() -> None:
    before = {name: id(getattr(np, name)) for name in dir(np)}
    function(probes.WORKS["helpers"], backend="reference")(X)
    assert {name: id(getattr(np, name)) for name in dir(np)} == before
    agree(probes.helper(X), np.tanh(X))
