"""The engine: push operations with what they read and mutate; they run in parallel, serially meant.

    from graphopt.engine import Engine

    with Engine(workers=2) as engine:
        a, b = engine.new_variable("a"), engine.new_variable("b")
        engine.push(load, mutate=[a])
        engine.push(transform, read=[a], mutate=[b])
        engine.wait(b)

The engine knows nothing of graphs or arrays: a variable is a token for any resource. What may run
beside what is derived from the accesses, in the order of the pushes, and nothing else.
"""

from graphopt.engine.engine import Engine
from graphopt.engine.lanes import Link
from graphopt.engine.recording import Recording
from graphopt.engine.running import Completion
from graphopt.engine.scope import Scope
from graphopt.engine.task import Task, Variable

__all__ = ["Completion", "Engine", "Link", "Recording", "Scope", "Task", "Variable"]
