"""The Python door: functions of NumPy arrays as graphs.

A function is run once on stand-ins for its arguments, with its globals and what it encloses seen
through a view; what the stand-ins are asked to do is recorded as a graph, compiled, and kept.

    functions, calls, retraces          `graphopt.function`; the code of a cached call; why anew
    arguments, tree, parts, specs       what it is called with, taken apart
    run, trace, record, places          one run: inputs and readings, nodes, their lines
    array, members, operators, number   the stand-ins of arrays and numbers
    writes, special                     writes to arrays; functions of more than values
    live, outside, objects, containers  the view of what is not an argument
    sources                             how what it showed is read again at a call
    numpy_view, catalogue               NumPy in that view; what is known of its names
    library/                            what NumPy's functions mean as nodes
    lowered, portable                   ahead of time; as an ONNX model
"""

from graphopt.frontends.trace.errors import TraceError
from graphopt.frontends.trace.functions import Function, constant, function
from graphopt.frontends.trace.lowered import Compiled, Lowered
from graphopt.frontends.trace.specs import TensorSpec

__all__ = ["Compiled", "Function", "Lowered", "TensorSpec", "TraceError", "constant", "function"]
