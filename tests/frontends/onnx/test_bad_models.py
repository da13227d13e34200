"""Broken and hostile models are refused quickly, in one line that names the file and the place."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import onnx
import pytest
from onnx import AttributeProto, TensorProto, helper

from graphopt.errors import ModelError
from graphopt.frontends.onnx import from_proto, load
from tests.frontends.onnx.models import model

GOOD = "g (float[2, 3] x) => (float[2, 3] y) { [first] t = Neg(x)  [second] y = Add(t, x) }"


def refused(content: bytes, tmp_path: Path, reason: str) -> None:
    """Loading must fail at once, for this reason."""
    path = tmp_path / "bad.onnx"
    path.write_bytes(content)
    start = time.perf_counter()
    with pytest.raises(ModelError) as caught:
        load(path)
    assert time.perf_counter() - start < 5
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert reason in message
    assert "\n" not in message
    assert len(message) < 400 + len(str(path))


BYTES = {
    "the file is empty": b"",
    "this is a text file": b"name: model\nlayers: 3\n",
    "Git LFS pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
    "not an ONNX model": bytes(range(256)) * 4,
    "not an ONNX model, or one that is cut short": b"\x08\x08\x3a\xff\x01",
}


@pytest.mark.parametrize("reason", BYTES)
def test_files_that_are_no_models(reason: str, tmp_path: Path) -> None:
    refused(BYTES[reason], tmp_path, reason)


def test_every_truncation_is_refused_and_trailing_bytes_too(tmp_path: Path) -> None:
    content = model(GOOD).SerializeToString()
    for length in range(len(content)):
        with pytest.raises(ModelError):
            load(content[:length])
    refused(content + b"\xfa\x7f\x03abc", tmp_path, "parts that no model has")
    refused(content + b"\xff\xff", tmp_path, "not an ONNX model")


def test_random_changes_of_a_model_do_nothing_worse_than_fail() -> None:
    content = model(GOOD).SerializeToString()
    chance = random.Random(7)
    for _ in range(2000):
        mutated = bytearray(content)
        for _ in range(chance.choice((1, 1, 2, 4))):
            mutated[chance.randrange(len(mutated))] = chance.randrange(256)
        with suppress(ModelError):
            load(bytes(mutated))


def test_a_missing_file_and_a_folder(tmp_path: Path) -> None:
    for path in (tmp_path / "none.onnx", tmp_path):
        with pytest.raises(ModelError, match="cannot be read"):
            load(path)


def node(proto: onnx.ModelProto, k: int = 0) -> onnx.NodeProto:
    found: onnx.NodeProto = proto.graph.node[k]
    return found


def no_opset(proto: onnx.ModelProto) -> None:
    del proto.opset_import[:]


def another_opset(version: int, domain: str = "") -> Callable[[onnx.ModelProto], None]:
    def change(proto: onnx.ModelProto) -> None:
        if domain:
            proto.opset_import.append(helper.make_opsetid(domain, version))
        else:
            proto.opset_import[0].version = version

    return change


def swap(proto: onnx.ModelProto) -> None:
    first = onnx.NodeProto()
    first.CopyFrom(node(proto))
    node(proto).CopyFrom(node(proto, 1))
    node(proto, 1).CopyFrom(first)


def setting(field: str, value: str | int, k: int = 0) -> Callable[[onnx.ModelProto], None]:
    return lambda proto: setattr(node(proto, k), field, value)


def attribute(**given: object) -> Callable[[onnx.ModelProto], None]:
    def change(proto: onnx.ModelProto) -> None:
        for name, value in given.items():
            node(proto).attribute.append(helper.make_attribute(name, value))

    return change


def initializer(**fields: object) -> Callable[[onnx.ModelProto], None]:
    def change(proto: onnx.ModelProto) -> None:
        tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[2])
        for name, value in fields.items():
            if isinstance(value, list):
                del getattr(tensor, name)[:]
                getattr(tensor, name).extend(value)
            else:
                setattr(tensor, name, value)
        proto.graph.initializer.append(tensor)

    return change


def twice(field: str) -> Callable[[onnx.ModelProto], None]:
    def change(proto: onnx.ModelProto) -> None:
        items = getattr(proto.graph, field)
        items.add().CopyFrom(items[0])

    return change


def size(value: int) -> Callable[[onnx.ModelProto], None]:
    def change(proto: onnx.ModelProto) -> None:
        proto.graph.input[0].type.tensor_type.shape.dim[0].dim_value = value

    return change


def constant_node(*attributes: AttributeProto) -> Callable[[onnx.ModelProto], None]:
    def change(proto: onnx.ModelProto) -> None:
        node(proto).CopyFrom(helper.make_node("Constant", [], ["t"], name="first"))
        node(proto).attribute.extend(attributes)

    return change


STRUCTURE: dict[str, tuple[Callable[[onnx.ModelProto], object], str]] = {
    "no IR version": (lambda m: m.ClearField("ir_version"), "no IR version"),
    "IR version 99": (lambda m: setattr(m, "ir_version", 99), "IR version 99"),
    "no opset": (no_opset, "imports no opset"),
    "opset 9999": (another_opset(9999), "opset 9999 of ai.onnx: the newest that is known is 28"),
    "opset 0": (another_opset(0), "opset 0"),
    "two opsets": (another_opset(3, "ai.onnx"), "opset 3 of ai.onnx: the model also imports"),
    "no domain": (setting("domain", "odd"), "node odd::Neg 'first': no opset of its domain"),
    "our own domain": (setting("domain", "graphopt"), "'graphopt' is reserved"),
    "no operator": (setting("op_type", ""), "has no operator"),
    "unsorted": (swap, "node Add 'second' reads 't', which is made after it"),
    "cycle": (lambda m: node(m).input.__setitem__(0, "y"), "which is made after it"),
    "undefined": (lambda m: node(m).input.__setitem__(0, "q"), "'q', which nothing makes"),
    "no output": (lambda m: node(m).output.pop(), "node Neg 'first' has no outputs"),
    "empty output": (lambda m: node(m).output.__setitem__(0, ""), "has no outputs"),
    "too many outputs": (lambda m: node(m).output.append("u"), "has 2 outputs, not 1"),
    "no inputs": (lambda m: node(m).input.pop(), "node Neg 'first': 0 inputs where 1"),
    "output of nothing": (
        lambda m: setattr(m.graph.output[0], "name", "q"),
        "output 'q' is made by no node",
    ),
    "duplicate node": (twice("node"), "node Neg 'first': the name 't' is given to two values"),
    "duplicate input": (twice("input"), "the name 'x' is given to two values"),
    "duplicate output": (twice("output"), "two outputs are called 'y'"),
    "input without a type": (lambda m: m.graph.input[0].ClearField("type"), "'x' has no type"),
    "negative size": (size(-5), "negative size -5"),
    "dtype 99": (
        lambda m: setattr(m.graph.input[0].type.tensor_type, "elem_type", 99),
        "input 'x': its dtype 99 is not known",
    ),
    "unknown attribute": (attribute(alpha=1.0), "node Neg 'first': no attribute 'alpha'"),
    "attribute twice": (attribute(a=1, b=2), "no attribute"),
    "reference": (
        lambda m: node(m).attribute.add(name="a", ref_attr_name="b", type=AttributeProto.INT),
        "attribute 'a' refers to that of a function",
    ),
    "short data": (initializer(raw_data=b"1234"), "initializer 'w': float32[2] takes 8 bytes"),
    "no multiple": (initializer(raw_data=b"1234567"), "it has 7"),
    "no data": (initializer(), "takes 2 items of float_data, it has 0"),
    "data twice": (initializer(raw_data=b"12345678", float_data=[1.0, 2.0]), "data twice"),
    "wrong field": (initializer(int64_data=[1, 2]), "stands in int64_data"),
    "no dtype": (initializer(data_type=0, raw_data=b""), "it has no dtype"),
    "negative shape": (initializer(dims=[-2], raw_data=b"12345678"), "has a negative size"),
    "huge shape": (initializer(dims=[1 << 62, 1 << 62], raw_data=b""), "it has 0"),
    "nameless": (initializer(name="", raw_data=b"12345678"), "an initializer has no name"),
    "constant without value": (constant_node(), "node Constant 'first' has 0 attributes"),
    "constant of two values": (
        constant_node(*(helper.make_attribute(f"value_{k}", 1) for k in ("int", "ints"))),
        "has 2 attributes",
    ),
    "constant of a wrong kind": (
        constant_node(helper.make_attribute("value_float", 3)),
        "node Constant 'first': value_float is 3",
    ),
}


@pytest.mark.parametrize("name", STRUCTURE)
def test_broken_structure(name: str, tmp_path: Path) -> None:
    change, reason = STRUCTURE[name]
    proto = model(GOOD)
    change(proto)
    refused(proto.SerializeToString(), tmp_path, reason)


SEMANTICS = {
    "ranks of a convolution": (
        "g (float[1, 3, 8, 8] x, float[4, 3, 3] w) => (float[1] y) { [n] y = Conv(x, w) }",
        "node Conv 'n': ",
    ),
    "dtypes": (
        "g (float[2] x, int64[2] w) => (float[2] y) { [n] y = Add(x, w) }",
        "node Add 'n': ",
    ),
    "shapes": (
        "g (float[2] x, float[3] w) => (float[2] y) { [n] y = Add(x, w) }",
        "node Add 'n': ",
    ),
    "permutation": (
        "g (float[2, 3] x) => (float[2] y) { [n] y = Transpose <perm = [0, 0]> (x) }",
        "node Transpose 'n': ",
    ),
    "einsum": (
        'g (float[2, 3] x) => (float[2] y) { [n] y = Einsum <equation = "ijk->i"> (x) }',
        "node Einsum 'n': ",
    ),
    "kind of an attribute": (
        "g (float[2, 3] x) => (float[2] y) { [n] y = Transpose <perm = 3> (x) }",
        "node Transpose 'n': attribute 'perm' is 3, not of kind Ints",
    ),
    "dtype of a cast": (
        "g (float[2] x) => (float[2] y) { [n] y = Cast <to = 77> (x) }",
        "node Cast 'n': attribute 'to' is 77, which is no dtype",
    ),
    "default of another type": (
        "g (float[2] x, int64[2] w) => (float[2] y) <float[2] w = {1, 2}> { y = Neg(x) }",
        "input 'w' is int64[2], its initializer float32",
    ),
}


@pytest.mark.parametrize("name", SEMANTICS)
def test_what_type_rules_refuse(name: str, tmp_path: Path) -> None:
    text, reason = SEMANTICS[name]
    refused(model(text).SerializeToString(), tmp_path, reason)


def test_a_function_that_calls_itself(tmp_path: Path) -> None:
    text = '<domain: "my", opset_import: ["my": 1]> f (a) => (b) { b = my.f(a) }'
    calling = "g (float[2] x) => (float[2] y) { y = my.f(x) }"
    proto = model(calling, more=', "my": 1', functions=text)
    refused(proto.SerializeToString(), tmp_path, "function 'f' calls itself")


def test_functions_that_double_forty_times(tmp_path: Path) -> None:
    head = '<domain: "my", opset_import: ["": 17, "my": 1]>'
    texts = [f"{head} f0 (a) => (b) {{ b = Neg(a) }}"]
    texts += [f"{head} f{k + 1} (a) => (b) {{ c = my.f{k}(a)  b = my.f{k}(c) }}" for k in range(40)]
    calling = "g (float[2] x) => (float[2] y) { y = my.f40(x) }"
    proto = model(calling, more=', "my": 1', functions="\n".join(texts))
    refused(proto.SerializeToString(), tmp_path, "its functions make it 1099511627776 nodes")


def field(number: int, content: bytes) -> bytes:
    """One length-delimited field of a protobuf message."""
    length, coded = len(content), b""
    while length > 127:
        coded, length = coded + bytes([length & 127 | 128]), length >> 7
    return bytes([number << 3 | 2]) + coded + bytes([length]) + content


@pytest.mark.parametrize("depth", [20, 2000])
def test_deeply_nested_subgraphs(depth: int, tmp_path: Path) -> None:
    body = field(2, b"b")
    for _ in range(depth):
        attribute = field(1, b"then_branch") + field(6, body)
        body = field(1, field(1, b"c") + field(2, b"y") + field(4, b"If") + field(5, attribute))
    reason = "" if depth == 20 else "not an ONNX model"
    refused(b"\x08\x08" + field(8, b"\x10\x11") + field(7, body), tmp_path, reason)


def test_nesting_that_protobuf_would_take() -> None:
    proto = model(GOOD)
    inner = proto.graph
    for _ in range(80):
        item = inner.node.add(op_type="If", input=["x"], output=["z"])
        inner = item.attribute.add(name="then_branch", type=AttributeProto.GRAPH).g
    with pytest.raises(ModelError, match="nested more than 64 deep"):
        from_proto(proto)


def test_external_data_needs_a_folder() -> None:
    proto = model(GOOD)
    tensor = proto.graph.initializer.add(name="w", data_type=TensorProto.FLOAT, dims=[2])
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="w.data")
    with pytest.raises(ModelError, match="<ModelProto>: initializer 'w': its data is external"):
        from_proto(proto)
