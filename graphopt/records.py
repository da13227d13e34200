"""What a graph remembers of where it came from: tables beside the nodes, never inside them.

Nodes are shared between graphs, so nothing about one graph is stored on them. A graph's tables map
its values to these records; a rewrite adds derivations and leaves the rest.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from graphopt.ir import Node
from graphopt.types import Type

Pairs = tuple[tuple[str, str], ...]
Ports = tuple[tuple[str, Type], ...]
"""Named values with the types that a file declares for them, UNKNOWN where it is silent."""


@dataclass(frozen=True, slots=True)
class Record:
    """One node of a model as its file had it; written out again as it is where nothing changed.

    Several may belong to one value, since equal nodes are one. `ordinal` is the place in the file;
    `inputs` and `outputs` are names, "" for one left out. An attribute that is a subgraph is a
    `Region`. An initializer is a record too: its op_type is INITIALIZER, its attribute `value`.
    """

    ordinal: int
    op_type: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: tuple[tuple[str, Any], ...] = ()
    domain: str = ""
    name: str = ""
    overload: str = ""
    doc: str = ""
    metadata: Pairs = ()


INITIALIZER = "Initializer"
"""The op_type of a record of an initializer; its domain is `graphopt`."""


@dataclass(frozen=True, slots=True)
class Region:
    """A graph or subgraph as its file had it: names, records in order, declared types."""

    inputs: Ports
    outputs: Ports
    records: tuple[Record, ...]
    name: str = ""
    declared: Ports = ()
    doc: str = ""
    metadata: Pairs = ()
    annotations: tuple[tuple[str, Pairs], ...] = ()


@dataclass(frozen=True, slots=True)
class Derivation:
    """That a rule made a value in place of others; those may be derived themselves (a DAG)."""

    rule: str
    olds: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Location:
    """A place in the user's Python program."""

    file: str
    line: int


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """What an ONNX file says beside its nodes. `opsets` holds (domain, version) pairs.

    `declared` holds the types that the file claims for its outputs and for values inside it; they
    are never believed, only written out again where they do not contradict what was derived.
    `annotations` are those of quantized values, by name. `data_files` are the files with its
    weights, by their paths from its folder.
    """

    ir_version: int = 10
    opsets: tuple[tuple[str, int], ...] = ()
    producer_name: str = ""
    producer_version: str = ""
    domain: str = ""
    model_version: int = 0
    doc: str = ""
    graph_doc: str = ""
    metadata: Pairs = ()
    graph_metadata: Pairs = ()
    declared: Ports = ()
    annotations: tuple[tuple[str, Pairs], ...] = ()
    data_files: tuple[str, ...] = ()

    def opset(self, domain: str = "") -> int | None:
        """The version of a domain's operators that the file imports, None if it does not."""
        return dict(self.opsets).get("" if domain == "ai.onnx" else domain)


@dataclass(frozen=True, slots=True)
class Tables:
    """A graph's tables by value; see the module's text.

    `names`: the name of a value in its file (an initializer's, a node output's). `origin` holds the
    outputs and effects as loaded: while they are the graph's, nothing was changed.
    """

    info: ModelInfo | None = None
    names: Mapping[Node, str] = field(default_factory=dict[Node, str])
    records: Mapping[Node, tuple[Record, ...]] = field(
        default_factory=dict[Node, tuple[Record, ...]]
    )
    locations: Mapping[Node, Location] = field(default_factory=dict[Node, Location])
    derivations: Mapping[Node, Derivation] = field(default_factory=dict[Node, Derivation])
    origin: tuple[Node, ...] = ()
