"""What stands in a model before and after: counted as in its ONNX file, text as if written so."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from graphopt import api
from graphopt.body import all_nodes
from graphopt.errors import UnsupportedError
from graphopt.graph import Graph, operations

if TYPE_CHECKING:
    from graphopt.frontends.onnx import Saved


@dataclass(frozen=True)
class Facts:
    """The size of a model: nodes by operator, bytes of its parameters and of its ONNX files.

    Nodes of subgraphs count too; Constant nodes are parameters.
    """

    ops: Mapping[str, int]
    params_bytes: int
    bytes: int | None = None

    @property
    def nodes(self) -> int:
        return sum(self.ops.values())


def facts_of_source(source: str | bytes, graph: Graph) -> Facts:
    """The facts of the model that a graph was loaded from."""
    from graphopt.frontends import onnx

    if api.is_text(head_of(source)):
        try:
            census = onnx.measure(graph).census
        except UnsupportedError:
            return facts_of_graph(graph)
        return Facts(census.ops, census.params_bytes)
    census = onnx.census_of_file(graph)
    return Facts(census.ops, census.params_bytes, _size_of(source, graph))


def facts_of_saved(saved: Saved, *, as_text: bool = False) -> Facts:
    """The facts of a model that is written; the size of a text says nothing beside that of one."""
    census = saved.census
    return Facts(census.ops, census.params_bytes, None if as_text else saved.bytes)


def facts_of_graph(graph: Graph) -> Facts:
    """The facts of a graph that has no form in ONNX; equal bodies count once."""
    nodes = list(all_nodes(graph.roots))
    ops = Counter(repr(node.op) for node in operations(nodes))
    tensors = {node.constant for node in nodes} | set(graph.defaults.values())
    return Facts(dict(ops.most_common()), sum(item.nbytes for item in tensors if item is not None))


def _size_of(source: str | bytes, graph: Graph) -> int:
    """The bytes of a model, with those of the files of weights that it names."""
    if isinstance(source, bytes):
        return len(source)
    info, path = graph.tables.info, Path(source)
    files = [path.resolve().parent / name for name in (info.data_files if info else ())]
    return sum(file.stat().st_size for file in (path, *files))


def head_of(source: str | bytes) -> bytes:
    """The first bytes of a model: of its file, or of its content."""
    if isinstance(source, bytes):
        return source[: api.SNIFFED]
    with Path(source).open("rb") as file:
        return file.read(api.SNIFFED)
