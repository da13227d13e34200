"""The benchmark of traced functions measures what it says, and its limit can be missed."""

from __future__ import annotations

from unittest import mock

import numpy as np
import pytest

from tools import bench_function

CASES = {
    "NumPy's x + 1": 0.5,
    "x + 1": 0.9,
    "x + an array from outside": 1.2,
    "five arrays, no program": 1.0,
    "tracing an operation": 30.0,
}


def test_every_case_is_measured() -> None:
    found = bench_function.measure(bursts=2, size=2)
    assert list(found) == list(CASES)
    assert all(taken > 0 for taken in found.values())


def test_a_call_without_program_runs_none() -> None:
    x = np.full(4, 7.0)
    np.testing.assert_array_equal(bench_function.without_program()(x, x, x, x, x), np.ones(4))


@pytest.mark.parametrize(("slow", "status"), [({}, 0), ({"x + 1": 1.6}, 1)])
def test_a_slow_call_is_told(
    slow: dict[str, float], status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    with mock.patch.object(bench_function, "measure", return_value={**CASES, **slow}):
        assert bench_function.main() == status
    told = capsys.readouterr().out
    assert all(name in told for name in CASES)
