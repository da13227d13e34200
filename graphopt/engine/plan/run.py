"""Running a plan: a flat list of calls a lane, and nothing else.

A lane's list holds its steps and, between them, the ends of locks: a step that others wait for is
followed by a `release`, one that waits is preceded by an `acquire`. Every lock starts out held and
is released and acquired once a run, so after a run it is ready for the next.

A lane that fails overwrites what is left of all lists, so that each lane stops at its next call,
and releases every lock, so that none waits for ever.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from operator import length_hint
from threading import Lock

from graphopt.engine.plan.plan import Plan
from graphopt.engine.plan.steps import PlanError
from graphopt.errors import ExecutionError

Call = Callable[[], object]


class Program:
    """A plan with a call for each step, to be run any number of times, one run at a time.

    Either `run()` runs it all, or `run_lane(k)` for each lane k, each on a thread of its own at
    the same time. `read` and `mutate` are the resources by which a scheduler orders runs among
    other work. After a failure in a lane, `rearm()` must come before the next run.
    """

    def __init__(
        self,
        plan: Plan,
        calls: Mapping[str, Call] | None = None,
        *,
        read: Sequence[object] = (),
        mutate: Sequence[object] = (),
    ) -> None:
        self.plan = plan
        self.read, self.mutate = tuple(read), tuple(mutate)
        self.lanes = len(plan.lanes)
        self.failure: BaseException | None = None
        self._failing = Lock()
        self._failed_step = -1
        self._calls = [
            _bound(step.name, (calls or {}).get(step.name, step.run)) for step in plan.graph.steps
        ]
        self._in_order = [self._calls[step] for step in plan.line.order]
        self.rearm()

    def rearm(self) -> None:
        """Make all lanes ready to run from their start. No lane may be running."""
        self.failure, self._failed_step = None, -1
        locks = {edge: Lock() for edge in self.plan.syncs}
        for lock in locks.values():
            lock.acquire()
        self._locks = list(locks.values())
        waits: dict[int, list[Call]] = {}
        signals: dict[int, list[Call]] = {}
        for (earlier, step), lock in locks.items():
            signals.setdefault(earlier, []).append(lock.release)
            waits.setdefault(step, []).append(lock.acquire)
        self._lists: list[list[Call]] = []
        self._steps: list[list[int]] = []  # which step each call of a list is, -1 for locks
        for lane in self.plan.line.lanes:
            calls, steps = list[Call](), list[int]()
            for step in lane:
                before, after = waits.get(step, ()), signals.get(step, ())
                calls += [*before, self._calls[step], *after]
                steps += [-1] * len(before) + [step] + [-1] * len(after)
            self._lists.append(calls)
            self._steps.append(steps)

    def run(self) -> None:
        """Run everything on this thread. Raises ExecutionError naming a step that fails."""
        rest = iter(self._in_order)
        try:
            for call in rest:
                call()
        except Exception as error:
            step = self.plan.line.order[len(self._in_order) - length_hint(rest) - 1]
            raise self._blame(step, error) from error

    def run_lane(self, lane: int) -> None:
        """Run one lane while other threads run the others.

        Raises ExecutionError naming a step of this lane that fails; `failure` is then, once all
        lanes have returned, what failed first in program order. The other lanes stop and return.
        """
        calls = self._lists[lane]
        rest = iter(calls)
        try:
            for call in rest:
                call()
        except _StoppedError:
            return
        except BaseException as error:
            step = self._steps[lane][len(calls) - length_hint(rest) - 1]
            if step < 0 and self.failure is not None and isinstance(error, RuntimeError):
                return  # the lane that failed had released this lock already
            blamed = step >= 0 and isinstance(error, Exception)
            failure = self._blame(step, error) if blamed else error
            self._fail(step, failure)
            if failure is error:
                raise
            raise failure from error

    def _blame(self, step: int, error: BaseException) -> ExecutionError:
        """What to raise for an error in a step."""
        return ExecutionError(f"{type(error).__name__}: {error}", at=self.plan.name(step))

    def _fail(self, step: int, error: BaseException) -> None:
        """Keep the error that comes first in program order, and stop all lanes."""
        with self._failing:
            if self.failure is None or step < self._failed_step:
                self.failure, self._failed_step = error, step
        for calls in self._lists:
            calls[:] = [_stop] * len(calls)
        for lock in self._locks:
            with suppress(RuntimeError):
                lock.release()


class _StoppedError(Exception):
    """Another lane has failed."""


def _stop() -> None:
    """Stands for every call of every lane once one has failed."""
    raise _StoppedError


def _bound(step: str, call: Call | None) -> Call:
    """A step's call, if there is one."""
    if call is None:
        raise PlanError("there is nothing to call for this step", at=step)
    return call
