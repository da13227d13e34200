"""The ONNX door: models become graphs, and graphs models.

    graph = load("model.onnx")
    save(graph, "out.onnx")

A graph that nobody changed is written as it was: every node, name, document and attribute. A
changed one is written in canonical order at the file's own opset, raised only as far as its nodes
need.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO, Literal

import onnx

from graphopt.errors import ModelError, UnsupportedError
from graphopt.frontends.onnx.build import build_graph
from graphopt.frontends.onnx.call import items_of
from graphopt.frontends.onnx.census import Census, census_of_file, census_of_region
from graphopt.frontends.onnx.emit import Emitter
from graphopt.frontends.onnx.external import DataFiles, DataWriter, Sink
from graphopt.frontends.onnx.files import Source, parse, read_source, replacing
from graphopt.frontends.onnx.parse import OLDEST_OPSET, read_model
from graphopt.frontends.onnx.replay import nested, replayed
from graphopt.frontends.onnx.schemas import OLDEST_IR, own_opset
from graphopt.frontends.onnx.targets import TARGETS, suited
from graphopt.frontends.onnx.versions import exported
from graphopt.frontends.onnx.wire import MAX_MESSAGE, Message, serialized
from graphopt.graph import Graph
from graphopt.op import OPSET
from graphopt.records import ModelInfo, Region
from graphopt.tensor import Tensor

__all__ = [
    "TARGETS",
    "Census",
    "Saved",
    "census_of_file",
    "from_proto",
    "load",
    "measure",
    "save",
    "to_proto",
]

NODE_BYTES = 1 << 10
"""What a node is reckoned to take beside its tensors when the size of a model is estimated."""

PORTABLE = "portable"
ExternalData = Literal["auto", "always", "never"]


@dataclass(frozen=True, slots=True)
class Saved:
    """How a model is written: its versions, who raised the opset, what it has, how large it is.

    `data_file` is the file of weights beside it; its bytes are among `bytes`.
    """

    opset: int | None
    ir_version: int
    raised_by: str
    census: Census
    bytes: int
    data_file: Path | None = None


def load(source: Source) -> Graph:
    """The graph of an ONNX model: a path, the content of a file, or a binary stream.

    Weights in external files stay there, mapped. Raises ModelError, in one line that names the file
    and the node, for what cannot be read or is invalid.
    """
    content, name, folder = read_source(source)
    try:
        return _graph(parse(content), DataFiles(folder))
    except ModelError as error:
        error.at = error.at or name
        raise


def from_proto(
    model: onnx.ModelProto, *, folder: str | os.PathLike[str] | None = None, name: str = ""
) -> Graph:
    """The graph of a ModelProto; `folder` is where its external data is, `name` is for messages.

    Raises ModelError for what is invalid.
    """
    try:
        return _graph(model, DataFiles(folder))
    except ModelError as error:
        error.at = error.at or name or "<ModelProto>"
        raise


def _graph(proto: onnx.ModelProto, files: DataFiles) -> Graph:
    return build_graph(read_model(proto, files))


def to_proto(graph: Graph, *, opset: int | None = None, target: str = PORTABLE) -> onnx.ModelProto:
    """The ModelProto of a graph, weights included, written for a target as `save` does.

    Raises UnsupportedError, naming the node, for what ONNX or the wanted opset cannot express.
    """
    region, info, _ = _region(graph, opset, target)
    return Emitter(None, dict(info.opsets)).model(region, info)


def save(
    graph: Graph,
    path: str | os.PathLike[str] | BinaryIO,
    *,
    opset: int | None = None,
    external_data: ExternalData = "auto",
    target: str = PORTABLE,
) -> Saved:
    """Write a graph as an ONNX model to a path or a binary stream.

    The opset is the file's own, raised only where a node needs it; `opset` forces one. Weights go
    to a second file, named like the model with `.data` added, if the model would not fit into one
    message ("auto"), "always" or "never". `target` says for whom: "portable", standard operators
    only, or "ort", those of ONNX Runtime besides. Files appear when they are complete. Raises
    UnsupportedError, naming the node, for what ONNX or the wanted opset cannot express, and
    UsageError for an unknown target.
    """
    plan = _plan(graph, opset, external_data, target)
    if not isinstance(path, str | os.PathLike):
        if plan.outside:
            raise UnsupportedError(
                "external data needs a path: a stream is one file", at=graph.name
            )
        message = plan.message()
        message.write(path)
        return plan.saved(message.size)
    file = Path(os.path.realpath(path))
    data_path = file.with_name(f"{file.name}.data") if plan.outside else None
    with replacing() as create:
        writer = DataWriter(create(data_path), data_path.name) if data_path else None
        message = plan.message(writer)
        message.write(create(file))
    return plan.saved(message.size + (writer.size if writer else 0), data_path)


def measure(
    graph: Graph,
    *,
    opset: int | None = None,
    external_data: ExternalData = "auto",
    target: str = PORTABLE,
) -> Saved:
    """What `save` would write, and nothing is written; raises what `save` would raise."""
    plan = _plan(graph, opset, external_data, target)
    if not plan.outside:
        return plan.saved(plan.message().size)
    with Path(os.devnull).open("wb") as nowhere:
        writer = DataWriter(nowhere, "model.onnx.data")
        return plan.saved(plan.message(writer).size + writer.size)


@dataclass(frozen=True, slots=True)
class _Plan:
    """What is to be written: the graph as records, what the file says beside it, and where."""

    region: Region
    info: ModelInfo
    raised_by: str
    outside: bool

    def message(self, sink: Sink | None = None) -> Message:
        return serialized(self.region, self.info, sink)

    def saved(self, size: int, data_file: Path | None = None) -> Saved:
        census = census_of_region(self.region)
        versions = self.info.opset(), self.info.ir_version
        return Saved(*versions, self.raised_by, census, size, data_file)


def _plan(graph: Graph, opset: int | None, external_data: ExternalData, target: str) -> _Plan:
    region, info, reason = _region(graph, opset, target)
    outside = external_data == "always"
    if external_data == "auto":
        outside = _estimated_bytes(region) > MAX_MESSAGE
    return _Plan(region, info, reason, outside)


def _region(graph: Graph, opset: int | None, target: str) -> tuple[Region, ModelInfo, str]:
    """The graph as records: those of its file where it is as it was, else in canonical order."""
    if opset is not None and not OLDEST_OPSET <= opset <= OPSET:
        raise UnsupportedError(f"opset {opset} is not one of {OLDEST_OPSET} to {OPSET}")
    info = graph.tables.info
    if info is not None and opset in (None, info.opset()):
        region = replayed(suited(graph, target, own_opset(info)))
        if region is not None:
            return region, replace(info, ir_version=max(info.ir_version, OLDEST_IR)), ""
    return exported(graph, opset, target)


def _estimated_bytes(region: Region) -> int:
    total = 0
    for outer in region.records:
        for record in (outer, *nested(outer)):
            total += NODE_BYTES + sum(_tensor_bytes(value) for _, value in record.attributes)
    return total


def _tensor_bytes(value: Any) -> int:
    return sum(item.nbytes for item in items_of(value) if isinstance(item, Tensor))
