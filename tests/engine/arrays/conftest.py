"""An engine in each mode, and arrays on it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from graphopt.engine import Engine
from graphopt.engine.arrays import Arrays


@pytest.fixture(params=["serial", "threads", "sim"])
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    made = Engine(workers=2, mode=request.param)
    made.add_device("cpu:1")
    yield made
    made.stop(abort=True)


@pytest.fixture
def arrays(engine: Engine) -> Arrays:
    return Arrays(engine)
