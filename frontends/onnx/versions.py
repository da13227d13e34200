"""At which opset and IR version a changed graph is written."""

from __future__ import annotations

from dataclasses import replace

from graphopt.errors import UnsupportedError
from graphopt.frontends.onnx.export import Exporter
from graphopt.frontends.onnx.forms import expressed
from graphopt.frontends.onnx.microsoft_nodes import DOMAIN
from graphopt.frontends.onnx.schemas import ir_of_opset, own_opset
from graphopt.frontends.onnx.targets import suited
from graphopt.graph import Graph
from graphopt.records import ModelInfo, Region


def exported(
    graph: Graph, opset: int | None = None, target: str = "portable"
) -> tuple[Region, ModelInfo, str]:
    """(region, what the file says beside it, which node raised its opset) of a changed graph.

    The opset is the file's own, raised as far as the nodes need; `opset` forces it. What is fused
    is written as the `target` has it, ops that ONNX lacks by others where they have a form. Raises
    UnsupportedError when a node has no form there.
    """
    info = graph.tables.info or ModelInfo()
    original = own_opset(graph.tables.info)
    exporter = _exporter(graph, target, opset or original)
    region, reason = exporter.region(), ""
    while exporter.needed > exporter.version:
        reason = exporter.reason
        if opset is not None:
            raise UnsupportedError(f"it cannot be written at opset {opset}: {reason}")
        exporter = _exporter(graph, target, exporter.needed)
        region = exporter.region()
    opsets = dict(info.opsets)
    used = "" in opsets or "" in exporter.domains or not opsets
    if used and exporter.version != opsets.get(""):
        opsets[""] = exporter.version
    for domain in exporter.domains & {DOMAIN}:
        opsets.setdefault(domain, 1)
    ir_version = max(info.ir_version, exporter.ir_version)
    if exporter.version > original:
        ir_version = max(ir_version, ir_of_opset(exporter.version))
    return region, replace(info, opsets=tuple(opsets.items()), ir_version=ir_version), reason


def _exporter(graph: Graph, target: str, version: int) -> Exporter:
    return Exporter(expressed(suited(graph, target, version)), version)
