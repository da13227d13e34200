"""Random programs give NumPy's results bit for bit, in every mode."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from graphopt.engine import Engine
from graphopt.engine.arrays import Arrays
from tests.engine.arrays.programs import Step, Twin

numbers = st.integers(0, 127)
programs = st.lists(st.tuples(numbers, numbers, numbers, numbers), min_size=15, max_size=40)
MODES: dict[str, dict[str, Any]] = {
    "serial": {"mode": "serial"},
    "sim": {"mode": "sim", "seed": 7},
    "one": {"workers": 1},
    "two": {"workers": 2},
    "four": {"workers": 4},
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("debug", [False, True])
@pytest.mark.parametrize("mode", MODES)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(programs, st.integers(0, 9))
def test_numpys_results_bit_for_bit(mode: str, debug: bool, program: list[Step], seed: int) -> None:
    with Engine(**MODES[mode]) as engine:
        engine.add_device("cpu:1", compute=1)
        Twin(Arrays(engine, limit=2048, debug=debug), seed).run(program)
