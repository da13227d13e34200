"""What the tests of the numpy backend share: functions as programs, arenas to look into, lanes.

program = recorded(lambda x, y: x + y, arrays)      # what kernels do, without a graph
with_lanes(program, 2)                              # several lanes however small it is
with watched_arenas() as arenas: ...; poison(arenas)
"""

# pyright: reportPrivateUsage=false

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any
from unittest import mock

import numpy as np

from graphopt.backends.executable import Executable, Options
from graphopt.backends.numpy import program as programs
from graphopt.backends.numpy.instance import Arena
from graphopt.backends.numpy.lowering import run_node
from graphopt.backends.numpy.program import NumpyProgram
from graphopt.backends.numpy.recorder import Recorder
from graphopt.backends.numpy.steps import finish, step_graph
from graphopt.backends.numpy.ways import Way
from graphopt.engine.plan import Policy, check_plan, make_plan
from graphopt.graph import Graph

Array = Any
Func = Callable[[Any], Any] | Callable[[Any, Any], Any]
EMPTY = Graph((), (), ())
EAGER = Policy(crossing=1e-9, small=0.0, branch=0.0, gain=-1.0)
"""Another lane is free and worth any step."""


def recorded(func: Func, arrays: Sequence[Array], *, threads: int = 1) -> NumpyProgram:
    """A function of arrays as a program, recorded for arrays like these."""
    recorder = Recorder()
    call: Callable[..., Any] = func
    made = call(*[recorder.given(array.shape, array.dtype) for array in arrays])
    return NumpyProgram(EMPTY, finish(recorder, all_of(made)), Options(threads))


def all_of(made: Any) -> tuple[Any, ...]:
    """What a function returned, as a tuple."""
    return tuple(made) if isinstance(made, tuple) else (made,)  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]


def program_of(executable: Executable) -> NumpyProgram:
    """The program that an executable has made last."""
    program = executable._latest
    assert isinstance(program, NumpyProgram)
    return program


def with_lanes(program: NumpyProgram, lanes: int) -> NumpyProgram:
    """The same program, planned as if lanes cost nothing."""
    plan = make_plan(step_graph(program.recording), lanes, EAGER)
    check_plan(plan)
    program.adopt(Way(plan, 1))
    return program


def lanes_of(program: NumpyProgram) -> int:
    """On how many lanes it runs."""
    return program.plan.lanes


def whole_nodes(program: NumpyProgram) -> list[str]:
    """The ops of the nodes that are run as a whole."""
    found: list[str] = []
    for call in program.recording.calls:
        func: Any = call.func
        if type(func) is partial and func.func is run_node:
            assert call.node is not None
            found.append(call.node.op.name)
    return found


@contextmanager
def watched_arenas() -> Generator[list[Arena]]:
    """The arenas that are made meanwhile, full of 0xFF: NaN, -1, no valid pointer."""
    found: list[Arena] = []

    def made(*args: Any) -> Arena:
        found.append(Arena(*args))
        poison(found[-1:])
        return found[-1]

    with mock.patch.object(programs, "Arena", made):
        yield found


def poison(arenas: Sequence[Arena]) -> None:
    """Overwrite all memory of some arenas."""
    for arena in arenas:
        arena.bytes.fill(0xFF)


def check_no_objects(program: NumpyProgram) -> None:
    """Python objects never lie in an arena, whose bytes nobody initializes or releases."""
    for buffer in program.recording.buffers:
        if buffer.kind == "temp" and buffer.meta is not None:
            assert not buffer.meta.dtype.hasobject


def check_unshared(
    outputs: Sequence[Array], inputs: Sequence[Array], arenas: Sequence[Arena]
) -> None:
    """No output has memory of another, of an input or of an arena."""
    for index, output in enumerate(outputs):
        others = [*outputs[:index], *inputs, *(arena.bytes for arena in arenas)]
        assert not any(np.shares_memory(output, other) for other in others), f"output {index}"


def check_equal(actual: Sequence[Array], wanted: Sequence[Array]) -> None:
    """Arrays with the same shapes, dtypes and elements, NaN for NaN."""
    assert len(actual) == len(wanted)
    for one, other in zip(actual, wanted, strict=True):
        assert type(one) is np.ndarray
        assert (one.shape, one.dtype) == (np.shape(other), np.asarray(other).dtype)
        np.testing.assert_array_equal(one, other)
