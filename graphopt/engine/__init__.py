"""The engine: push operations with what they read and mutate; they run in parallel, serially meant.

    from graphopt.engine import Engine

    with Engine(workers=2) as engine:
        a, b = engine.new_variable("a"), engine.new_variable("b")
        engine.push(load, mutate=[a])
        engine.push(transform, read=[a], mutate=[b])
        engine.wait(b)

The engine knows nothing of graphs or arrays: a variable is a token for any resource. What may run
beside what is derived from the accesses, in the order of the pushes, and nothing else.

    engine, pushing      what users call; a task out of a push, checked
    task, lanes, scope   tasks and variables; where tasks run; tasks with one fate
    scheduler, groups    what may run: the critical section (`accelerate`: its hot half in C)
    waits                waiting, cancelling, deadlocks
    threads              who runs it: threads; or one thread (`inline`, `policies`); see `driver`
    running              tasks that are more than a plain call
    lifetime             stop, fork, exit
    recordings/          what happened, and all that reads it
    plan/                static plans: schedule, memory, signals; a plan runs as one task
    arrays/              NumPy's arrays on the engine
"""

from graphopt.engine.engine import Engine
from graphopt.engine.lanes import Link
from graphopt.engine.recordings.recording import Recording
from graphopt.engine.running import Completion
from graphopt.engine.scope import Scope
from graphopt.engine.task import Task, Variable

__all__ = ["Completion", "Engine", "Link", "Recording", "Scope", "Task", "Variable"]
