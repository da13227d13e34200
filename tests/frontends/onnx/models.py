"""Small models for tests, written in ONNX's own text syntax, and how others see them."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from onnx import checker, parser

from graphopt.frontends.onnx import load, save
from graphopt.graph import Graph

Array = np.ndarray[Any, Any]


def model(
    text: str, opset: int = 17, ir: int = 8, more: str = "", functions: str = ""
) -> onnx.ModelProto:
    """The model of a graph such as `g (float[2] x) => (float[2] y) { y = Neg(x) }`.

    `more` are further opset imports, such as `, "my.domain": 1`.
    """
    head = f'<ir_version: {ir}, opset_import: ["": {opset}{more}]>'
    return parser.parse_model(f"{head}\n{text}\n{functions}")


def graph(text: str, opset: int = 17, ir: int = 8, more: str = "", functions: str = "") -> Graph:
    """The graph that such a model is loaded as."""
    return load(model(text, opset, ir, more, functions).SerializeToString())


def changed(given: Graph) -> Graph:
    """The same graph, which no longer counts as untouched: it is written in canonical order."""
    return replace(given, tables=replace(given.tables, origin=()))


def written(given: Graph, **options: Any) -> onnx.ModelProto:
    """The model that a graph is saved as; ONNX's checker must accept it."""
    stream = io.BytesIO()
    save(given, stream, **options)
    made = onnx.load_from_string(stream.getvalue())
    check(made)
    return made


def check(made: onnx.ModelProto | Path) -> None:
    """ONNX's checker must accept a model, with the types that it infers."""
    checker.check_model(made, full_check=True)  # pyright: ignore[reportUnknownMemberType]


def read(path: Path, *, external: bool = True) -> onnx.ModelProto:
    """The model of a file, as the onnx package reads it."""
    return onnx.load(path, load_external_data=external)  # pyright: ignore[reportUnknownMemberType]


def operators(made: onnx.ModelProto) -> list[str]:
    """The operators of a model's nodes, in order."""
    return [node.op_type for node in made.graph.node]


def run(made: onnx.ModelProto, feeds: Mapping[str, Any]) -> list[Any]:
    """What ONNX Runtime computes, its own optimizations off."""
    runtime: Any = ort  # it has no types
    options = runtime.SessionOptions()
    options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    content = made.SerializeToString()
    session = runtime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return list(session.run(None, dict(feeds)))


def assert_same(first: list[Any], second: list[Any]) -> None:
    """Outputs must be equal bit for bit."""
    assert len(first) == len(second)
    for a, b in zip(first, second, strict=True):
        assert (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes())
