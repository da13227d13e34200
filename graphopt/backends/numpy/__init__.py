"""The numpy backend: a graph as steps of NumPy calls in one arena, on one or several threads.

block, recorder, functions    kernels run on stand-ins for arrays write their calls down
namespace, lowering           what kernels see meanwhile; a graph's nodes in order
steps, cost                   the recording as steps of a plan, and what they should take
emit, instance, program       source, arenas, and what is called
kernels, blas                 what steps call beside NumPy; one budget of threads
plan, profile                 what a plan looks like; what steps took
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from graphopt.backends.executable import Options
from graphopt.backends.numpy.lowering import Lowering
from graphopt.backends.numpy.program import NumpyProgram
from graphopt.backends.numpy.steps import finish
from graphopt.graph import Graph


def lower(
    graph: Graph, inputs: Sequence[Any], by_value: Mapping[int, Any], options: Options
) -> NumpyProgram:
    """A graph as a program for inputs of these shapes and dtypes."""
    lowering = Lowering(ask=options.ask)
    results = lowering.graph(graph, inputs, by_value)
    return NumpyProgram(graph, finish(lowering.recorder, results), options)
