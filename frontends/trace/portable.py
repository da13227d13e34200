"""A traced function as a graph that stands for itself: what is written as an ONNX model."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from graphopt.api import MathName, optimize
from graphopt.errors import UsageError
from graphopt.frontends.trace.run import Traced, dotted
from graphopt.frontends.trace.tree import paths
from graphopt.graph import Graph
from graphopt.ir import Node
from graphopt.records import ModelInfo
from graphopt.structural import constant


def is_numeric(value: object) -> bool:
    """Whether a value that is returned as it is is an array or a number, of a dtype of NumPy's."""
    if not isinstance(value, bool | int | float | complex | np.ndarray | np.generic):
        return False
    return np.asarray(value).dtype.kind in "biufc"


def portable(traced: Traced, *, math: MathName, doc: str) -> Graph:
    """The optimized graph with arrays from outside as constants that are named after them.

    Outputs are called `output` and by their places in it, those of a returned dict, dataclass or
    named tuple by their keys alone where no input is called so. Arrays and numbers that the
    function returns as they are are constants; `doc` is the model's document. Raises UsageError
    where nothing is left to return.
    """
    from graphopt.frontends.onnx.forms import expressed

    closed = traced.closed_graph()
    closed = _with_results(closed, traced)
    if not closed.outputs:
        raise UsageError("the function returns no array and no number", at=closed.name)
    names = {constant(array): node.attrs["name"] for node, array in traced.captures().items()}
    tables = replace(closed.tables, names=names, info=ModelInfo(doc=doc))
    graph = optimize(replace(closed, tables=tables), "O2", math=math)
    plain = expressed(graph)
    if plain is graph:
        return graph
    # The forms rely on how sums are rounded: what `fast` allows is done already.
    return optimize(plain, "O2", math="default" if math == "fast" else math)


def _with_results(graph: Graph, traced: Traced) -> Graph:
    """The graph with an output for each array and number that the function returns."""
    outputs: list[Node] = []
    names: list[str] = []
    taken = set(graph.input_names)
    for path, result in zip(paths(traced.tree, "output"), traced.results, strict=True):
        if result.position >= 0:
            outputs.append(graph.outputs[result.position])
        elif is_numeric(result.value):
            outputs.append(constant(np.asarray(result.value)))
        else:
            continue
        names.append(_free(dotted(path), bool(traced.tree.keys), taken))
    written = len(graph.outputs) - len(traced.writes)
    names += [_free(name, False, taken) for name in graph.output_names[written:]]
    outputs += graph.outputs[written:]
    return replace(graph, outputs=tuple(outputs), output_names=tuple(names))


def _free(name: str, keyed: bool, taken: set[str]) -> str:
    """A name that nothing has yet: of one with a key the key where it is free."""
    short = name.removeprefix("output.")
    made = short if keyed and short and short not in taken else name
    count = 0
    while made in taken:
        count += 1
        made = f"{name}_{count}"
    taken.add(made)
    return made
