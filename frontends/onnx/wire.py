"""Serializing a model without ever holding its weights twice.

Protobuf copies a tensor into its message and again out of it. Here it serializes all but the
weights, and these are put between by hand, as views: a field is its tag, its length, its content.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import BinaryIO

import onnx

from graphopt.errors import UnsupportedError
from graphopt.frontends.onnx.emit import Emitter, is_initializer
from graphopt.frontends.onnx.external import Embedded, Sink, chunks
from graphopt.frontends.onnx.tensors import write_tensor
from graphopt.records import ModelInfo, Record, Region
from graphopt.tensor import Tensor

MAX_MESSAGE = (1 << 31) - 1
"""The most bytes that a protobuf message may have."""


@dataclass(frozen=True, slots=True)
class Message:
    """A model as a file of `size` bytes: all but the weights, then these, each after its head."""

    size: int
    start: bytes
    weights: tuple[tuple[bytes, Tensor | None], ...]

    def write(self, stream: BinaryIO) -> None:
        """Write the file."""
        stream.write(self.start)
        for head, content in self.weights:
            stream.write(head)
            for chunk in () if content is None else chunks(content):
                stream.write(chunk)


def serialized(region: Region, info: ModelInfo, sink: Sink | None = None) -> Message:
    """The file of a model; `sink` may take the content of tensors.

    Raises UnsupportedError when it would be too large for one message.
    """
    weights = tuple(item for item in region.records if is_initializer(item))
    others = tuple(item for item in region.records if not is_initializer(item))
    model = Emitter(sink, dict(info.opsets)).model(replace(region, records=others), info)
    graph = _bytes(model.graph)
    model.ClearField("graph")
    rest = _bytes(model)
    heads = tuple(_head(item, sink or Embedded()) for item in weights)
    length = len(graph) + sum(len(head) + _nbytes(content) for head, content in heads)
    start = rest + _field(onnx.ModelProto.GRAPH_FIELD_NUMBER, length) + graph
    size = len(start) - len(graph) + length
    if size > MAX_MESSAGE:
        raise UnsupportedError(f"the model does not fit into one file: it takes {size} bytes")
    return Message(size, start, heads)


def _bytes(message: onnx.GraphProto | onnx.ModelProto) -> bytes:
    try:
        content: bytes = message.SerializeToString()
    except Exception as error:  # protobuf's own error class differs between its implementations
        raise UnsupportedError(f"the model does not fit into one file: {error}") from error
    return content


def _nbytes(content: Tensor | None) -> int:
    return 0 if content is None else content.nbytes


def _head(record: Record, sink: Sink) -> tuple[bytes, Tensor | None]:
    """The bytes of an initializer up to its content, and the content if that comes next."""
    proto = onnx.TensorProto(name=record.outputs[0])
    apart = _Apart(sink)
    write_tensor(record.attributes[0][1], proto, apart)
    head: bytes = proto.SerializeToString()
    content = apart.content
    if content is not None:
        head += _field(onnx.TensorProto.RAW_DATA_FIELD_NUMBER, content.nbytes)
    length = len(head) + _nbytes(content)
    return _field(onnx.GraphProto.INITIALIZER_FIELD_NUMBER, length) + head, content


class _Apart:
    """Keeps apart the content that another sink would leave in the message."""

    def __init__(self, sink: Sink) -> None:
        self.sink = sink
        self.content: Tensor | None = None

    def take(self, tensor: Tensor, proto: onnx.TensorProto) -> bool:
        if not self.sink.take(tensor, proto):
            self.content = tensor
        return True


def _field(number: int, length: int) -> bytes:
    """The tag of a field that has a length, and the length."""
    made = bytearray()
    for word in (number << 3 | 2, length):
        while word > 127:
            made.append(word & 127 | 128)
            word >>= 7
        made.append(word)
    return bytes(made)
