from collections.abc import Callable, Iterable
from types import FrameType
from typing import Any

from graphopt.engine.lanes import Lane
from graphopt.engine.scheduler import Scheduler
from graphopt.engine.task import Options, Task, Variable

def bind(*types: type) -> None: ...
def drain(scheduler: Scheduler, /) -> None: ...
def next(scheduler: Scheduler, lane: Lane, /) -> Task | None: ...
def enter(
    fn: Callable[[], Any],
    read: Iterable[Variable],
    mutate: Iterable[Variable],
    options: Options,
    scheduler: Scheduler,
    frame: FrameType,
    /,
) -> Task | None: ...
