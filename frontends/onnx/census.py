"""What stands in a model: its nodes by operator, and how much room its parameters take."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from graphopt.frontends.onnx.operators import constant_value
from graphopt.frontends.onnx.replay import nested
from graphopt.graph import Graph
from graphopt.records import INITIALIZER, Record, Region


@dataclass(frozen=True, slots=True)
class Census:
    """Nodes by operator, those of subgraphs too, and bytes of initializers and Constant nodes.

    Constant nodes count among the parameters, not among the nodes: a file may write them as either.
    """

    ops: Mapping[str, int]
    params_bytes: int


def census_of_file(graph: Graph) -> Census:
    """What stands in the file that a graph was loaded from, its functions inlined."""
    there = {record.ordinal: record for found in graph.tables.records.values() for record in found}
    defaults = sum(tensor.nbytes for tensor in graph.defaults.values())
    return _census(there.values(), defaults)


def census_of_region(region: Region) -> Census:
    """What stands in a region that is to be written."""
    return _census(inner for record in region.records for inner in (record, *nested(record)))


def _census(records: Iterable[Record], params_bytes: int = 0) -> Census:
    ops: Counter[str] = Counter()
    for record in records:
        if record.op_type == INITIALIZER and record.domain == "graphopt":
            params_bytes += record.attributes[0][1].nbytes
        elif record.op_type == "Constant" and not record.domain:
            params_bytes += constant_value(record).nbytes
        else:
            ops[f"{record.domain}::{record.op_type}" if record.domain else record.op_type] += 1
    return Census(dict(ops.most_common()), params_bytes)
