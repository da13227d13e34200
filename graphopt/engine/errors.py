"""The errors of the engine: each names the task and the line that pushed it.

A failure stays where it belongs: a task that raised has *failed*, what it was to write is
*poisoned*, and tasks that need a poisoned value are *skipped*, with the failure as their cause.
Whoever waits for one of them gets an error of these classes, as often as they ask.
"""

from __future__ import annotations

from graphopt.errors import GraphoptError


class EngineError(GraphoptError):
    """Base of the engine's errors. `at` is the task and the line that pushed it."""


class UseAfterDeleteError(EngineError):
    """A task was pushed, or a wait asked for, on a variable whose deletion was pushed before."""


class DoubleDeleteError(UseAfterDeleteError):
    """A variable was deleted twice."""


class ForeignVariableError(EngineError):
    """A variable belongs to another engine, or what was given is no variable."""


class EngineStoppedError(EngineError):
    """The engine was stopped: nothing can be pushed or waited for any more."""


class EngineBrokenError(EngineError):
    """The scheduler itself was interrupted or failed: its state cannot be trusted."""


class TaskFailedError(EngineError):
    """A task raised; `__cause__` is what it raised."""


class TaskSkippedError(TaskFailedError):
    """A task did not run, for it needs what another failed to write; `__cause__` is that failure.

    The message names the chain of tasks from this one to the one that raised.
    """


class TaskCancelledError(EngineError):
    """A task was cancelled before it ran, by its handle, its scope, or an engine that stopped."""


class DoubleCompletionError(EngineError):
    """The completion of an asynchronous task was called a second time."""


class MissingCompletionError(EngineError):
    """The completion of an asynchronous task was dropped: nobody can call it any more."""


class DeadlockError(EngineError):
    """A task waits for something that needs the task itself; the message has the cycle."""


class WaitTimeoutError(EngineError, TimeoutError):
    """What was waited for did not happen in the given time."""


class StallError(EngineError):
    """Nothing finished for long; the message has the tasks that run or were not completed."""


class ForkedError(EngineError):
    """The task was running in the parent when the process forked: it cannot end in the child."""


class UndeclaredAccessError(EngineError):
    """A task touched a resource that it did not declare, or wrote to one it declared to read."""


class RecordingError(EngineError):
    """A stored recording is malformed, or a program does not follow the one that is replayed."""


class StallWarning(UserWarning):
    """Nothing finished for a long time; the text has what `StallError` has."""
