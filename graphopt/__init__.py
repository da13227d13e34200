"""graphopt: an optimizing compiler for tensor graphs.

    g = graphopt.load("model.onnx")
    h = graphopt.optimize(g, "O2")
    graphopt.save(h, "out.onnx")

Everything is imported when it is first asked for: `import graphopt` itself imports nothing heavy.
"""

from importlib import import_module

__version__ = "0.1.0"

TYPE_CHECKING = False  # typing's own would double what `import graphopt` costs

if TYPE_CHECKING:
    from graphopt.api import compile, load, optimize, save
    from graphopt.check import check_equivalent
    from graphopt.check_backends import compare_backends
    from graphopt.errors import GraphoptError
    from graphopt.from_functions import rewrite
    from graphopt.frontends.trace import TensorSpec, constant, function
    from graphopt.graph import Graph
    from graphopt.ir import Node
    from graphopt.pipeline import Context, Pass
    from graphopt.rewriting.rule import Rule, Soundness, rules
    from graphopt.tensor import Tensor
    from graphopt.types import DType, TensorType
    from graphopt.verify import verify

_HOMES = {
    "Context": "graphopt.pipeline",
    "DType": "graphopt.types",
    "Graph": "graphopt.graph",
    "GraphoptError": "graphopt.errors",
    "Node": "graphopt.ir",
    "Pass": "graphopt.pipeline",
    "Rule": "graphopt.rewriting.rule",
    "Soundness": "graphopt.rewriting.rule",
    "Tensor": "graphopt.tensor",
    "TensorSpec": "graphopt.frontends.trace",
    "TensorType": "graphopt.types",
    "check_equivalent": "graphopt.check",
    "compare_backends": "graphopt.check_backends",
    "compile": "graphopt.api",
    "constant": "graphopt.frontends.trace",
    "function": "graphopt.frontends.trace",
    "load": "graphopt.api",
    "optimize": "graphopt.api",
    "rewrite": "graphopt.from_functions",
    "rules": "graphopt.rewriting.rule",
    "save": "graphopt.api",
    "verify": "graphopt.verify",
}

__all__ = [
    "Context",
    "DType",
    "Graph",
    "GraphoptError",
    "Node",
    "Pass",
    "Rule",
    "Soundness",
    "Tensor",
    "TensorSpec",
    "TensorType",
    "check_equivalent",
    "compare_backends",
    "compile",
    "constant",
    "function",
    "load",
    "optimize",
    "rewrite",
    "rules",
    "save",
    "verify",
]


_PACKAGES = ("engine",)


def __getattr__(name: str) -> object:
    if name in _PACKAGES:
        return import_module(f"graphopt.{name}")
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'graphopt' has no attribute {name!r}")
    value: object = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
