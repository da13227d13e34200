"""Broken and hostile models end in one line that names file and place, and write nothing."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from tests.cli.conftest import Run
from tests.cli.spent import MAX_KIB, MAX_SECONDS, Make, measured, place, written
from tests.frontends.onnx.models import model

GOOD = "g (float[2, 3] x) => (float[2, 3] y) { [first] t = Neg(x)  [second] y = Add(t, x) }"
SIZE = 1024
WEIGHTS = np.arange(SIZE, dtype=np.float32).tobytes()


def good() -> ModelProto:
    return model(GOOD)


def content(found: bytes) -> Make:
    return lambda folder: found


def changed(change: Callable[[ModelProto], object]) -> Make:
    """The good model after a change."""

    def make(folder: Path) -> bytes:
        proto = good()
        change(proto)
        return written(proto)

    return make


def of(text: str) -> Make:
    """A model in ONNX's text syntax."""
    return lambda folder: written(model(text))


def node(proto: ModelProto, k: int = 0) -> onnx.NodeProto:
    found: onnx.NodeProto = proto.graph.node[k]
    return found


def opset(version: int) -> Make:
    return changed(lambda m: setattr(m.opset_import[0], "version", version))


def initializer(raw: bytes, *dims: int, name: str = "w", kind: int = 1) -> Make:
    return changed(
        lambda m: m.graph.initializer.add(name=name, data_type=kind, dims=dims, raw_data=raw)
    )


def sized(*sizes: int) -> Make:
    def change(proto: ModelProto) -> None:
        for dim, size in zip(proto.graph.input[0].type.tensor_type.shape.dim, sizes, strict=True):
            dim.dim_value = size

    return changed(change)


def twice(field: str) -> Make:
    return changed(lambda m: getattr(m.graph, field).add().CopyFrom(getattr(m.graph, field)[0]))


def two_initializers(folder: Path) -> bytes:
    proto = good()
    for _ in range(2):
        proto.graph.initializer.append(numpy_helper.from_array(np.ones(3, np.float32), "w"))
    return written(proto)


def swapped(proto: ModelProto) -> None:
    nodes = list(proto.graph.node)
    del proto.graph.node[:]
    proto.graph.node.extend(reversed(nodes))


def valueless(proto: ModelProto) -> None:
    node(proto).CopyFrom(helper.make_node("Constant", [], ["t"], name="first"))


def nested(depth: int) -> Make:
    """If inside If: as bytes, for the onnx package does not write what it cannot read."""

    def field(number: int, inner: bytes) -> bytes:
        length, coded = len(inner), b""
        while length > 127:
            coded, length = coded + bytes([length & 127 | 128]), length >> 7
        return bytes([number << 3 | 2]) + coded + bytes([length]) + inner

    def make(folder: Path) -> bytes:
        body = field(2, b"b")
        for _ in range(depth):
            attribute = field(1, b"then_branch") + field(6, body)
            called = field(1, b"c") + field(2, b"y") + field(4, b"If") + field(5, attribute)
            body = field(1, called)
        return b"\x08\x08" + field(8, b"\x10\x11") + field(7, body)

    return make


def functions(*texts: str, main: str) -> Make:
    head = '<domain: "my", opset_import: ["": 17, "my": 1]>'
    return lambda folder: model(
        f"g (float[2] x) => (float[2] y) {{ y = my.{main}(x) }}",
        more=', "my": 1',
        functions="\n".join(f"{head} {text}" for text in texts),
    ).SerializeToString()


DOUBLING = [f"f{k + 1} (a) => (b) {{ c = my.f{k}(a)  b = my.f{k}(c) }}" for k in range(60)]


def external(change: Make | None = None, /, **entries: str) -> Callable[[Path], bytes]:
    """A model with its weights in w.data, or wherever the entries say; `change` makes the file."""

    def make(folder: Path) -> bytes:
        proto = model(f"g (float[{SIZE}] x) => (float[{SIZE}] y) {{ y = Add(x, w) }}")
        tensor = proto.graph.initializer.add(name="w", data_type=TensorProto.FLOAT, dims=[SIZE])
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in ({"location": "w.data"} | entries).items():
            tensor.external_data.add(key=key, value=value)
        if change is None:
            (folder / "w.data").write_bytes(WEIGHTS)
        else:
            change(folder)
        return written(proto)

    return make


def secret(folder: Path) -> Path:
    """A file outside the model's folder."""
    path = folder.parent / "secret"
    path.write_bytes(WEIGHTS)
    return path


def folder_beside(folder: Path) -> Path:
    """A folder with weights, outside the model's."""
    path = folder.parent / "beside"
    path.mkdir()
    (path / "w").write_bytes(WEIGHTS)
    return path


@dataclass(frozen=True)
class Case:
    """How to make it, and what the message must name beside the file."""

    make: Make
    named: str = ""


BEGIN = "g (float[2] x) => (float[2] y) { [n] y = "
BAD: dict[str, Case] = {
    "a missing file": Case(lambda folder: None, "No such file"),
    "a folder": Case(lambda folder: (folder / "bad.onnx").mkdir(), "a folder"),
    "an empty file": Case(content(b""), "empty"),
    "cut short": Case(lambda folder: good().SerializeToString()[:-9], "cut short"),
    "plain text": Case(content(b"hello world\n"), "an ONNX model is no text"),
    "random bytes": Case(content(random.Random(0).randbytes(5000)), "not an ONNX model"),
    "a picture": Case(content(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\1"), "not an ONNX model"),
    "zeros": Case(content(bytes(1000)), "not an ONNX model"),
    "bytes at the end": Case(lambda folder: good().SerializeToString() + b"\xff\xff\xff"),
    "a field at the end": Case(lambda folder: good().SerializeToString() + b"\xfa\x7f\x03abc"),
    "a pointer of Git LFS": Case(
        content(b"version https://git-lfs.github.com/spec/v1\n"), "Git LFS"
    ),
    "opset 9999": Case(opset(9999), "opset 9999"),
    "opset 0": Case(opset(0), "opset 0"),
    "opset -1": Case(opset(-1), "opset -1"),
    "no opset": Case(changed(lambda m: m.ClearField("opset_import")), "no opset"),
    "no IR version": Case(changed(lambda m: m.ClearField("ir_version")), "IR version"),
    "IR version 99": Case(changed(lambda m: setattr(m, "ir_version", 99)), "IR version 99"),
    "no graph": Case(changed(lambda m: m.ClearField("graph"))),
    "dangling input": Case(changed(lambda m: node(m).input.__setitem__(0, "q")), "Neg 'first'"),
    "dangling output": Case(changed(lambda m: setattr(m.graph.output[0], "name", "q")), "'q'"),
    "two nodes make one": Case(twice("node"), "Neg 'first'"),
    "two inputs of one name": Case(twice("input"), "'x'"),
    "two outputs of one name": Case(twice("output"), "'y'"),
    "two initializers of one name": Case(two_initializers, "'w'"),
    "a node makes an input": Case(changed(lambda m: node(m).output.__setitem__(0, "x")), "'x'"),
    "cycle": Case(changed(lambda m: node(m).input.__setitem__(0, "y")), "Neg 'first'"),
    "own input": Case(changed(lambda m: node(m).input.__setitem__(0, "t")), "Neg 'first'"),
    "unsorted": Case(changed(swapped), "Add 'second'"),
    "no outputs": Case(changed(lambda m: node(m).ClearField("output")), "Neg 'first'"),
    "no operator": Case(changed(lambda m: node(m).ClearField("op_type")), "'first'"),
    "short raw_data": Case(initializer(b"1234", 2), "'w'"),
    "raw_data of no multiple": Case(initializer(b"1234567", 2), "'w'"),
    "long raw_data": Case(initializer(b"123456789abc", 2), "'w'"),
    "no data": Case(initializer(b"", 1 << 20, 1 << 20), "'w'"),
    "negative dims": Case(initializer(b"12345678", -2), "'w'"),
    "overflowing dims": Case(initializer(b"", 1 << 32, 1 << 32), "'w'"),
    "overflowing dims of nothing": Case(initializer(b"12345678", *[1 << 62] * 9), "'w'"),
    "dtype 99 of an initializer": Case(initializer(b"1234", 1, kind=99), "'w'"),
    "a long name": Case(initializer(b"1234", 2, name="w" * 100_000), "'www"),
    "a name of two lines": Case(initializer(b"1234", 2, name="w\nTraceback"), "'w\\nTraceback'"),
    "a name with colours": Case(initializer(b"1234", 2, name="\033[31mw"), "'\\x1b[31mw'"),
    "a domain of many lines": Case(
        changed(lambda m: m.opset_import.add(domain="odd\n" * 10_000, version=0)), "opset 0"
    ),
    "many dims": Case(initializer(b"1234", *range(1, 10_000)), "'w'"),
    "dtype 99 of an input": Case(
        changed(lambda m: setattr(m.graph.input[0].type.tensor_type, "elem_type", 99)), "'x'"
    ),
    "negative size of an input": Case(sized(-7, 3), "'x'"),
    "Constant without a value": Case(changed(valueless), "Constant 'first'"),
    "dtypes that differ": Case(
        of(BEGIN.replace("x)", "x, int64[2] i)") + "Add(x, i) }"), "Add 'n'"
    ),
    "permutation": Case(of(BEGIN + "Transpose <perm = [1]> (x) }"), "Transpose 'n'"),
    "axis": Case(of(BEGIN + "Softmax <axis = 3> (x) }"), "Softmax 'n'"),
    "huge axis": Case(of(BEGIN + f"Concat <axis = {1 << 62}> (x, x) }}"), "Concat 'n'"),
    "equation": Case(of(BEGIN + 'Einsum <equation = "a->aa.."> (x) }'), "Einsum 'n'"),
    "no inputs": Case(of(BEGIN + 'Einsum <equation = ""> () }'), "Einsum 'n'"),
    "dtype of a cast": Case(of(BEGIN + "Cast <to = 77> (x) }"), "Cast 'n'"),
    "recursive function": Case(functions("f (a) => (b) { b = my.f(a) }", main="f"), "'f'"),
    "functions in a circle": Case(
        functions("f (a) => (b) { b = my.g(a) }", "g (a) => (b) { b = my.f(a) }", main="f")
    ),
    "functions that double": Case(
        functions("f0 (a) => (b) { b = Neg(a) }", *DOUBLING, main="f60"), "its functions"
    ),
    "nested too deep": Case(nested(2000)),
    "data in the folder above": Case(external(secret, location="../secret"), "'w'"),
    "data by a detour": Case(external(secret, location="a/../../secret"), "'w'"),
    "data by an absolute path": Case(external(location="/etc/passwd"), "'w'"),
    "data by a link": Case(
        external(lambda folder: (folder / "w.data").symlink_to(secret(folder))), "'w'"
    ),
    "data by a link to a folder": Case(
        external(lambda d: (d / "sub").symlink_to(folder_beside(d)), location="sub/w"), "'w'"
    ),
    "data by a hard link": Case(
        external(lambda folder: (folder / "w.data").hardlink_to(secret(folder))), "'w'"
    ),
    "data from a pipe": Case(external(lambda folder: os.mkfifo(folder / "w.data")), "'w'"),
    "data from a device": Case(
        external(lambda folder: (folder / "w.data").symlink_to("/dev/zero")), "'w'"
    ),
    "data from a folder": Case(external(lambda folder: (folder / "w.data").mkdir()), "'w'"),
    "data at a path of bytes": Case(
        lambda folder: external()(folder).replace(b"w.data", b"w.\xff\xfe\xfda"), "'w'"
    ),
    "data from the model": Case(external(location="bad.onnx"), "'w'"),
    "data that is missing": Case(external(location="none"), "'w'"),
    "data that is short": Case(
        external(lambda folder: (folder / "w.data").write_bytes(WEIGHTS[:-1])), "'w'"
    ),
    "data past the end": Case(external(offset="4"), "'w'"),
    "data far past the end": Case(external(offset=str(1 << 63)), "'w'"),
    "data before the start": Case(external(offset="-4"), "'w'"),
    "data of a huge length": Case(external(length=str(1 << 62)), "'w'"),
    "data with a long path": Case(external(location="\n/" * 50_000), "'w'"),
    "data with a long key": Case(external(**{"\n" * 50_000: "1"}), "'w'"),
    "data with a strange key": Case(external(__class__="os"), "'w'"),
}


def told_in_one_line(told: str, named: str) -> None:
    line, end, rest = told.partition("\n")
    assert (end, rest) == ("\n", "")
    assert line.startswith(("graphopt-opt: bad.onnx: ", "graphopt-opt: bad.onnx:1:"))
    assert named in line
    assert len(line) < 1100
    assert line.isprintable()


@pytest.mark.parametrize("name", BAD)
def test_bad_model_is_refused(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    folder = tmp_path / "models"
    place(folder, BAD[name].make)
    monkeypatch.chdir(folder)
    before = sorted(folder.iterdir())
    done = run("bad.onnx", "-o", "out.onnx")
    assert (done.status, done.out) == (3, "")
    told_in_one_line(done.err, BAD[name].named)
    assert sorted(folder.iterdir()) == before


@pytest.mark.parametrize(
    "name", ["a folder", "random bytes", "functions that double", "data from a pipe"]
)
def test_refusing_costs_little(tmp_path: Path, name: str) -> None:
    place(tmp_path, BAD[name].make)
    done = measured(tmp_path)
    assert done.status == 3
    told_in_one_line(done.told, BAD[name].named)
    assert (done.seconds < MAX_SECONDS, done.kib < MAX_KIB) == (True, True)
