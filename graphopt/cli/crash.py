"""Reproducers of our own bugs: a tar file with the model, but not its weights, and what was asked.

Weights are taken out of the ONNX model, which keeps their dtypes and shapes; `--run-reproducer`
puts seeded numbers in their place. Nothing in such a file is executed when it is read.
"""

from __future__ import annotations

import io
import json
import os
import platform
import sys
import tarfile
import tempfile
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from graphopt import __version__, api
from graphopt.cli.options import PROGRAM, Options
from graphopt.errors import ModelError
from graphopt.ir import Node

if TYPE_CHECKING:
    from onnx import AttributeProto, GraphProto, ModelProto, TensorProto

KEPT = 64
"""Tensors of at most this many elements stay: shapes, axes and scalars decide what happens."""
CHUNK = 1 << 20
"""How many numbers are drawn at once."""
WEIGHTS = "weights.bin"
MEMBERS = ("model.onnx", "model.gir", "request.json", "traceback.txt")


def write_reproducer(options: Options, argv: list[str], error: Exception) -> Path:
    """Write a reproducer of an error; the path. Raises OSError."""
    name, model = _stripped_model(options.model)
    request = {
        "schema_version": 1,
        "arguments": _portable(argv, options),
        "pipeline": options.pipeline,
        "versions": _versions(),
        "error": f"{type(error).__name__}: {error}",
    }
    told = "".join(traceback.format_exception(error)).encode()
    members = {"request.json": json.dumps(request, indent=2).encode(), "traceback.txt": told}
    if model:
        members[name] = model
    path = Path(options.crash_reproducer or f"graphopt-crash-{os.urandom(2).hex()}.tar")
    with tarfile.open(path, "w") as archive:
        for member, content in members.items():
            entry = tarfile.TarInfo(member)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return path


def run_reproducer(file: str) -> int:
    """Do again what a reproducer tells of; the exit status that comes of it."""
    from graphopt.cli import opt

    try:
        with tarfile.open(file) as archive:
            members = {name: _member(archive, name) for name in MEMBERS}
        request = json.loads(members["request.json"])
        arguments = [str(item) for item in request["arguments"]]
    except (tarfile.TarError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"not a reproducer: {error}", at=file) from error
    print(f"{PROGRAM}: {request.get('error', '')}, with {request.get('versions')}", file=sys.stderr)
    name = next((name for name in MEMBERS[:2] if members[name]), None)
    if name is None:
        raise ModelError("the reproducer has no model, only the traceback in it", at=file)
    with tempfile.TemporaryDirectory(prefix="graphopt-") as folder:
        model = Path(folder, name)
        model.write_bytes(members[name])
        if name == "model.onnx":
            _write_weights(members[name], Path(folder, WEIGHTS))
        result = str(Path(folder, "result.onnx"))
        return opt([*arguments, "--crash-reproducer=off", "-o", result, str(model)])


def _member(archive: tarfile.TarFile, name: str) -> bytes:
    try:
        stream = archive.extractfile(name)
    except KeyError:
        return b""
    return stream.read() if stream is not None else b""


def _portable(argv: list[str], options: Options) -> list[str]:
    """The arguments without the names of files, which are not there where it is repeated."""
    kept: list[str] = []
    skip = False
    for item in argv:
        name, sign, _ = item.partition("=")
        file = name in ("-o", "--output", "--crash-reproducer", "--check-inputs")
        if not (skip or file or item in (options.model, "--in-place", "-S", "--text")):
            kept.append(item)
        skip = file and not sign and not skip
    return kept


def _versions() -> dict[str, str]:
    from importlib.metadata import PackageNotFoundError, version

    found = {"graphopt": __version__, "python": platform.python_version()}
    for package in ("numpy", "onnx", "ml_dtypes", "onnxruntime"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _stripped_model(model: str | None) -> tuple[str, bytes]:
    """(member name, content) of a model without its weights; no content where that fails."""
    if model is None or not Path(model).is_file():  # a pipe can be read only once
        return "", b""
    try:
        content = Path(model).read_bytes()
        if not api.is_text(content[: api.SNIFFED]):
            return "model.onnx", _stripped_onnx(content)
        return "model.gir", _stripped_text(model)
    except Exception:  # what cannot be read must not hide the error that is reported
        return "", b""


def _stripped_text(model: str) -> bytes:
    """The text of a graph whose large constants are zeros."""
    from graphopt.rewriting.sweep import sweep
    from graphopt.structural import constant
    from graphopt.tensor import Tensor
    from graphopt.text import print_graph

    def strip(node: Node) -> tuple[Node, str] | None:
        tensor = node.constant
        if tensor is None or tensor.size <= KEPT or tensor.is_splat or not tensor.dtype.bits:
            return None
        return constant(Tensor.splat(tensor.dtype, tensor.shape, 0)), "strip"

    return print_graph(sweep(api.load(model), strip)[0]).encode()


def _stripped_onnx(content: bytes) -> bytes:
    """A model whose large tensors refer to a file that is not there."""
    import onnx
    from google.protobuf.message import DecodeError

    model = onnx.ModelProto()
    try:
        model.ParseFromString(content)
    except DecodeError:
        return b""
    offset = 0
    for attribute in attributes(model):
        if len(attribute.floats) > KEPT:
            attribute.floats[:] = [0.0] * len(attribute.floats)
    for tensor in tensors(model):
        size = _stored_bytes(tensor)
        if size:
            kept = onnx.TensorProto(name=tensor.name, dims=tensor.dims, data_type=tensor.data_type)
            kept.data_location = onnx.TensorProto.EXTERNAL
            for key, value in (("location", WEIGHTS), ("offset", offset), ("length", size)):
                kept.external_data.add(key=key, value=str(value))
            tensor.CopyFrom(kept)
            offset += size + -size % 4096
    stripped: bytes = model.SerializeToString()
    return stripped


def _stored_bytes(tensor: TensorProto) -> int:
    """The bytes of a tensor whose content is taken out; 0 of one that is kept."""
    from math import prod

    from graphopt.tensor import file_bytes
    from graphopt.types import BY_CODE, DType

    dtype = BY_CODE.get(tensor.data_type)
    size = prod(tensor.dims)
    outside = bool(tensor.external_data)  # its file is not there where it is repeated
    if dtype is None or dtype is DType.STRING or (size <= KEPT and not outside):
        return 0
    return file_bytes(dtype, size)


def _write_weights(content: bytes, path: Path) -> None:
    """Write seeded numbers where the tensors of a stripped model look for them."""
    import numpy as np
    import onnx

    from graphopt.types import BY_CODE

    rng = np.random.default_rng(0)
    model = onnx.ModelProto.FromString(content)
    with path.open("wb") as file:
        for tensor in tensors(model):
            entries = {entry.key: entry.value for entry in tensor.external_data}
            if entries.get("location") != WEIGHTS:
                continue
            dtype, size = BY_CODE[tensor.data_type], int(entries["length"])
            file.seek(int(entries["offset"]))
            count = size * 8 // dtype.bits if dtype.kind == "f" and dtype.bits >= 16 else 0
            for start in range(0, count, CHUNK):
                values = rng.standard_normal(min(CHUNK, count - start)) * 0.05
                file.write(values.astype(dtype.numpy).tobytes())
            file.truncate(int(entries["offset"]) + size)  # what is not written is 0


def tensors(model: ModelProto) -> Iterator[TensorProto]:
    """All tensors of a model, those in attributes, subgraphs and functions too."""
    for graph in graphs(model):
        yield from graph.initializer
        yield from (sparse.values for sparse in graph.sparse_initializer)
    for attribute in attributes(model):
        if attribute.HasField("t"):
            yield attribute.t
        if attribute.HasField("sparse_tensor"):
            yield attribute.sparse_tensor.values
        yield from attribute.tensors


def graphs(model: ModelProto) -> Iterator[GraphProto]:
    """The graph of a model and all subgraphs."""
    yield model.graph
    for attribute in attributes(model):
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def attributes(model: ModelProto) -> Iterator[AttributeProto]:
    """The attributes of all nodes of a model, those in subgraphs and functions too."""
    pending = [*model.graph.node, *(node for function in model.functions for node in function.node)]
    while pending:
        for attribute in pending.pop().attribute:
            yield attribute
            pending += attribute.g.node
            for graph in attribute.graphs:
                pending += graph.node
