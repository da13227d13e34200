"""The Python door: functions of NumPy arrays as graphs."""

from graphopt.frontends.trace.errors import TraceError
from graphopt.frontends.trace.functions import Function, constant, function
from graphopt.frontends.trace.lowered import Compiled, Lowered
from graphopt.frontends.trace.specs import TensorSpec

__all__ = ["Compiled", "Function", "Lowered", "TensorSpec", "TraceError", "constant", "function"]
