"""A file is what protobuf would write, but for the order of its fields."""

from io import BytesIO

import numpy as np
import onnx
import pytest

from graphopt.errors import UnsupportedError
from graphopt.frontends.onnx.emit import Emitter
from graphopt.frontends.onnx.wire import MAX_MESSAGE, serialized
from graphopt.records import INITIALIZER, ModelInfo, Record, Region
from graphopt.tensor import Tensor
from graphopt.types import DType

INFO = ModelInfo(8, (("", 17),), "somebody", doc="a model")


def region(**weights: Tensor) -> Region:
    records = [
        Record(k, INITIALIZER, (), (name,), (("value", weight),), "graphopt", name)
        for k, (name, weight) in enumerate(weights.items())
    ]
    node = Record(len(records), "Add", ("x", "y"), ("z",))
    return Region((), (), (*records, node), "g")


def test_message_is_that_of_protobuf() -> None:
    held = region(
        dense=Tensor.of(np.arange(1 << 16, dtype=np.float32).reshape(256, 256)),
        flag=Tensor.of(True),
        packed=Tensor.from_raw(DType.INT4, (3,), b"\x21\x03"),
        splat=Tensor.splat(DType.FLOAT16, (1000, 1000), 0.5),
        text=Tensor.strings([b"a", b""], (2,)),
        empty=Tensor.of(np.zeros((0, 3), np.int64)),
    )
    message, stream = serialized(held, INFO), BytesIO()
    message.write(stream)
    assert message.size == len(stream.getvalue())
    wanted = Emitter(None, dict(INFO.opsets)).model(held, INFO)
    assert onnx.ModelProto.FromString(stream.getvalue()) == wanted


def test_message_that_is_too_large_is_refused_before_it_is_made() -> None:
    huge = Tensor.splat(DType.FLOAT32, (MAX_MESSAGE // 4,), 1.0)
    with pytest.raises(UnsupportedError, match="does not fit into one file"):
        serialized(region(w=huge, v=huge), INFO)
