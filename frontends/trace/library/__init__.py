"""What NumPy's functions mean on values of a graph.

Every table is by NumPy's own names, every function has NumPy's own parameters and takes values of
the graph (`Node`), traced Python numbers (`WeakScalar`), arrays and numbers. What a function cannot
say raises UnsupportedError; what NumPy itself refuses raises what NumPy raises.

    UFUNCS["add"](x, 1)                            a Node (of divmod, modf and frexp a tuple)
    REDUCTIONS["add"](x, axis=0)                   np.add.reduce
    ACCUMULATIONS["add"](x, axis=0)                np.add.accumulate
    outer("add", x, y)                             np.add.outer
    FUNCTIONS["linalg.norm"](x, axis=-1)
    CREATION["zeros"]((2, n))                      an array, or of a traced size a Node
    getitem(x, (..., 0))                           x[..., 0]
"""

from __future__ import annotations

from graphopt.frontends.trace.library.creation import CREATION
from graphopt.frontends.trace.library.functions import FUNCTIONS, UNSUPPORTED_FUNCTIONS
from graphopt.frontends.trace.library.indexing import getitem
from graphopt.frontends.trace.library.operands import Operand, WeakScalar, lift
from graphopt.frontends.trace.library.reductions import ACCUMULATIONS, REDUCTIONS
from graphopt.frontends.trace.library.ufuncs import UFUNCS, UNSUPPORTED, outer

__all__ = [
    "ACCUMULATIONS",
    "CREATION",
    "FUNCTIONS",
    "REDUCTIONS",
    "UFUNCS",
    "UNSUPPORTED",
    "UNSUPPORTED_FUNCTIONS",
    "Operand",
    "WeakScalar",
    "getitem",
    "lift",
    "outer",
]
