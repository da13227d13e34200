"""The scheduler with its hot half in C, where that was built (see `_accel.c`)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from types import ModuleType

from graphopt.engine.errors import EngineError
from graphopt.engine.lanes import Lane
from graphopt.engine.pushing import EnterPlain, enter_plain
from graphopt.engine.scheduler import Scheduler
from graphopt.engine.task import Options, Task, Variable


def _compiled() -> ModuleType | None:
    """The compiled half, if there is one."""
    try:
        from graphopt.engine import _accel
    except ImportError:
        return None
    return _accel


_c = _compiled()
AVAILABLE = _c is not None
enter: EnterPlain = enter_plain if _c is None else _c.enter
if _c is not None:
    _c.bind(Task, Variable, Options, Lane, Scheduler)


class AcceleratedScheduler(Scheduler):
    """The same scheduler; what is not plain goes to the methods that it inherits."""

    __slots__ = ()

    def drain(self) -> None:
        """Take every entry of the inbox, in order."""
        assert _c is not None
        _c.drain(self)

    def turn(self) -> Callable[[Lane], Task | None]:
        """What a worker calls for its next task."""
        assert _c is not None
        return partial(_c.next, self)


def scheduler() -> Scheduler:
    """An accelerated scheduler. Raises EngineError where it was not built."""
    if not AVAILABLE:
        raise EngineError("the accelerated scheduler was not built: install with a C compiler")
    return AcceleratedScheduler()
