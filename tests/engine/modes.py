"""Tests of behaviour run in every mode of the engine: which these are, and small helpers."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable
from functools import partial

import pytest

from graphopt.engine import Engine

Make = Callable[..., Engine]

MODES: dict[str, Make] = {
    "threads1": partial(Engine, 1),
    "threads2": partial(Engine, 2),
    "plain2": partial(Engine, 2, accelerated=False),
    "serial": partial(Engine, 2, "serial"),
    "sim": partial(Engine, 2, "sim"),
    "sim7": partial(Engine, 2, "sim", seed=7),
}
every_mode = pytest.mark.parametrize("make", MODES.values(), ids=list(MODES))
threads = pytest.mark.parametrize("make", [MODES["threads1"], MODES["threads2"]], ids=["1", "2"])


def next_line() -> str:
    """The line after the one that calls this, as file:line."""
    frame = inspect.currentframe()
    assert frame is not None and frame.f_back is not None
    return f"{frame.f_back.f_code.co_filename}:{frame.f_back.f_lineno + 1}"


def nothing() -> None:
    """Does nothing."""


def boom() -> None:
    """Fails."""
    raise ValueError("boom")


def until(condition: Callable[[], object], seconds: float = 10.0) -> None:
    """Wait until something holds; fails if it does not in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.0005)
