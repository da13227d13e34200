"""What is pushed: a task out of a function and its accesses, checked."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from types import CodeType, FrameType
from typing import TYPE_CHECKING, Any, NoReturn, TypedDict

from graphopt.engine.errors import EngineError, ForeignVariableError, UseAfterDeleteError
from graphopt.engine.lanes import Kind
from graphopt.engine.task import Accumulation, Options, Task, Variable

if TYPE_CHECKING:
    from graphopt.engine.scheduler import Scheduler
    from graphopt.engine.scope import Scope

# The options for which the plain path has no eyes.
SPECIAL = ("priority", "nbytes", "always", "cheap", "scope")


EnterPlain = Callable[
    [Callable[[], Any], Iterable[Variable], Iterable[Variable], Options, "Scheduler", FrameType],
    Task | None,
]


class TaskOptions(TypedDict, total=False):
    """How a task is run.

    `priority`: higher goes first, among those that are ready. `kind`: the lane, "compute" unless
    given. `device`: its name, "cpu:0" unless given. `nbytes`: that it moves or holds, for links and
    the bound on the backlog. `cost`: seconds that it is thought to take. `always`: it runs though
    what it needs was not written, or it was cancelled; what it mutates stays poisoned. `cheap`: it
    takes less than waking a thread does, so whoever is awake runs it.
    """

    name: str
    priority: int
    kind: Kind
    device: str
    nbytes: int
    cost: float | None
    always: bool
    cheap: bool
    scope: Scope | None


def enter_plain(
    fn: Callable[[], Any],
    read: Iterable[Variable],
    mutate: Iterable[Variable],
    options: Options,
    scheduler: Scheduler,
    frame: FrameType,
) -> Task | None:
    """Push a plain task; None where its variables are no good, or there is no room for it.

    Whether somebody must wake up for it is left to the caller.
    """
    if scheduler.full or not isinstance(read, tuple) or not isinstance(mutate, tuple):
        return None
    for variable in read:
        if type(variable) is not Variable or variable.owner is not scheduler:
            return None
    for variable in mutate:
        if type(variable) is not Variable or variable.owner is not scheduler:
            return None
    task = Task(fn, read, mutate, options, frame.f_code, frame.f_lasti)
    scheduler.inbox.append(task)
    return task


def make_task(
    fn: Callable[..., Any],
    accesses: tuple[Iterable[Variable], ...],
    options: Options,
    code: CodeType,
    lasti: int,
) -> Task:
    """A task of read, mutate, overwrite, accumulate."""
    read, mutate, overwrite, accumulate = map(variables, accesses)
    if accumulate:
        how = options if options.special else replace(options, special=True)
        summing = Accumulation(fn, read, mutate, how, code, lasti)
        summing.accumulate = accumulate
        task: Task = summing
    else:
        task = Task(fn, read, mutate, options, code, lasti)
    task.overwrite = overwrite
    return task


def variables(given: Iterable[Variable]) -> tuple[Variable, ...]:
    """The variables of an access as a tuple. Raises EngineError for one that stands alone."""
    if isinstance(given, tuple):
        return given
    if isinstance(given, Variable):
        raise EngineError(f"give the variables in a sequence, [{given.name or 'v'}], not one alone")
    return tuple(given)


def normalize(task: Accumulation, in_order: bool) -> None:
    """Leave each variable that a task accumulates in one mode, the strongest."""
    distinct = [each for each in dict.fromkeys(task.accumulate) if each not in task.mutate]
    needed = (*task.read, *task.overwrite)  # with these it is a mutation
    mutated = [each for each in distinct if in_order or each in needed]
    task.mutate = (*task.mutate, *mutated)
    task.accumulate = tuple(each for each in distinct if each not in mutated)


def check_options(given: Mapping[str, Any], scheduler: Scheduler) -> None:
    """Refuse values that options cannot have. Raises EngineError."""
    problems = {
        **{each: not isinstance(given.get(each, ""), str) for each in ("name", "kind", "device")},
        "priority": not isinstance(given.get("priority", 0), int),
        "nbytes": not isinstance(nbytes := given.get("nbytes", 0), int) or nbytes < 0,
        "cost": not isinstance(cost := given.get("cost") or 0.0, (int, float)) or not cost >= 0,
        "scope": given.get("scope") is not None
        and getattr(given.get("scope"), "scheduler", None) is not scheduler,
    }
    for name, wrong in problems.items():
        if wrong:
            raise EngineError(f"a push cannot have {name}={given[name]!r}")


def check_lanes(plan: Any) -> None:
    """Refuse a plan that has no number of lanes. Raises EngineError."""
    if not isinstance(plan.lanes, int) or plan.lanes < 1:
        raise EngineError(f"a plan has at least one lane, not {plan.lanes!r}")


def check(task: Task, scheduler: Scheduler) -> None:
    """Refuse a task of variables that cannot be used."""
    for variables_of in (task.read, task.mutate, task.overwrite, task.accumulate):
        for variable in variables_of:
            if type(variable) is not Variable or variable.owner is not scheduler:
                refuse(variable, task)


def refuse(variable: object, task: Task) -> NoReturn:
    """Raise for a variable that cannot be used."""
    if not isinstance(variable, Variable):
        raise ForeignVariableError(f"{variable!r} is no variable", at=task.describe())
    if variable.owner is None:
        raise UseAfterDeleteError(f"{variable!r} was deleted before", at=task.describe())
    raise ForeignVariableError(f"{variable!r} belongs to another engine", at=task.describe())
