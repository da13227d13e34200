"""No test of the engine hangs: after a while its wait is interrupted, or else the process ends."""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType
from typing import NoReturn

import pytest

PATIENCE = float(os.environ.get("GRAPHOPT_PATIENCE", "60"))  # seconds


class HangError(BaseException):
    """A test did not end; no `except Exception` may hide that."""


def interrupt(signum: int, frame: FrameType | None) -> NoReturn:
    """Show where all threads are, and end the test's wait."""
    faulthandler.dump_traceback(file=sys.__stderr__ or 2)
    raise HangError(f"nothing came of it in {PATIENCE:g} s")


@pytest.fixture(autouse=True)
def watchdog() -> Iterator[None]:
    """Interrupt a test that hangs, and its teardown; if it does not listen, end the process."""
    faulthandler.dump_traceback_later(4 * PATIENCE, exit=True, file=sys.__stderr__ or 2)
    alarm = hasattr(signal, "setitimer") and threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGALRM, interrupt) if alarm else None
    if alarm:
        signal.setitimer(signal.ITIMER_REAL, PATIENCE, PATIENCE)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()
        if alarm:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)


@pytest.fixture
def fast_switches() -> Iterator[None]:
    """Threads take turns as often as possible."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(5e-6)
    yield
    sys.setswitchinterval(before)
