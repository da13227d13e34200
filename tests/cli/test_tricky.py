"""Models that are right but tricky go through unharmed, and compute the same afterwards."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.cli.conftest import Run, read_model
from tests.cli.spent import MAX_KIB, measured
from tests.frontends.onnx.models import check, model

FULL = os.environ.get("GRAPHOPT_FULL") == "1"
LONG = "n" * 100_000

SOUND = {
    "an output that is an input": "g (float[2] x) => (float[2] x, float[2] y) { y = Neg(x) }",
    "an output that is an initializer": (
        "g (float[2] x) => (float[2] w, float[2] y) <float[2] w = {1, 2}> { y = Add(x, w) }"
    ),
    "an output that is an initializer and nothing else": (
        "g (float[2] x) => (float[2] w) <float[2] w = {1, 2}> { y = Neg(x) }"
    ),
    "an overridable initializer": (
        "g (float[2] x, float[2] w) => (float[2] y) <float[2] w = {1, 2}>"
        " { z = Add(w, w)  y = Add(x, z) }"
    ),
    "no inputs": "g () => (float[2] y) <float[2] w = {1, 2}> { y = Neg(w) }",
    "no nodes": "g (float[2] x) => (float[2] x) {}",
    "zero-size dims": (
        "g (float[0, 3] x) => (float[0, 3] y, float m)"
        " { y = Neg(x)  s = ReduceSum <keepdims = 0> (x)  m = Exp(s) }"
    ),
    "a zero-size constant": (
        "g (float[3] x) => (float[3] y) { e = Constant <value = float[0] {}> ()"
        "  y = Concat <axis = 0> (x, e) }"
    ),
    "names that differ by case": (
        "g (float[2] x, float[2] X) => (float[2] y, float[2] Y)"
        " { a = Neg(x)  A = Exp(X)  y = Add(a, A)  Y = Sub(a, A) }"
    ),
    "unused inputs": "g (float[2] x, float[n, m] unused) => (float[2] y) { y = Neg(x) }",
    "two outputs of one value": (
        "g (float[2] x) => (float[2] y, float[2] z)"
        " { a = Neg(x)  y = Identity(a)  z = Identity(a) }"
    ),
    "two outputs of equal nodes": (
        "g (float[2] x) => (float[2] y, float[2] z) { y = Neg(x)  z = Neg(x) }"
    ),
    "optional inputs in the middle": (
        "g (float[1, 1, 4, 4] x, float[2] v, float t) => (float[1, 1, 8, 8] y, float[2] z)"
        " <float[4] s = {1, 1, 2, 2}> { a = Neg(x)  y = Resize(a, , s)  z = Clip(v, , t) }"
    ),
    "an optional output in the middle": (
        "g (float[2, 1, 3] x, float[1, 8, 3] w, float[1, 8, 2] r) => (float[1, 1, 2] c)"
        " { , , c = LSTM <hidden_size = 2> (x, w, r) }"
    ),
}


@pytest.mark.parametrize("name", SOUND)
def test_sound_model_stays_sound(run: Run, name: str) -> None:
    proto = model(SOUND[name])
    Path("m.onnx").write_bytes(proto.SerializeToString())
    for level in ("-O0", "-O3"):
        done = run("m.onnx", level, "-o", "out.onnx", "--check", "--json")
        assert (done.status, done.json["notes"]) == (0, [])
        assert "ONNX Runtime" in done.json["check"]["by"]
        made = read_model("out.onnx")
        check(made)
        for field in ("input", "output"):
            before, after = (getattr(m.graph, field) for m in (proto, made))
            assert [item.name for item in after] == [item.name for item in before]


def test_overridable_initializer_stays_one(run: Run) -> None:
    Path("m.onnx").write_bytes(model(SOUND["an overridable initializer"]).SerializeToString())
    assert run("m.onnx", "-o", "out.onnx").status == 0
    graph = read_model("out.onnx").graph
    assert "w" in [item.name for item in graph.input], "it may be given another value"
    assert [node.op_type for node in graph.node] == ["Mul", "Add"], "w + w is not folded"
    assert next(iter(graph.node[0].input)) == "w"


DRAWS = "g (float[2] x) => (float[2] y) { a = DRAW  b = DRAW  c = Sub(a, b)  y = Add(x, c) }"
DRAWN = {
    "RandomNormal": "RandomNormal <shape = [2]> ()",
    "RandomUniform": "RandomUniform <shape = [2], seed = 1.0> ()",
    "RandomNormalLike": "RandomNormalLike(x)",
    "Dropout": "Dropout(x, r, t)",
}


@pytest.mark.parametrize("name", DRAWN)
def test_draws_are_neither_combined_nor_folded(run: Run, name: str) -> None:
    proto = model(DRAWS.replace("DRAW", DRAWN[name]))
    if name == "Dropout":
        half, training = np.array(0.5, np.float32), np.array(True)
        proto.graph.initializer.append(numpy_helper.from_array(half, "r"))
        proto.graph.initializer.append(numpy_helper.from_array(training, "t"))
    Path("m.onnx").write_bytes(proto.SerializeToString())
    done = run("m.onnx", "-O3", "--math", "fast", "-o", "out.onnx", "--json")
    assert done.status == 0
    assert done.json["ops_after"] == done.json["ops_before"] == {name: 2, "Sub": 1, "Add": 1}
    check(read_model("out.onnx"))


@pytest.mark.parametrize("name", [LONG, "größe/层:0 😀", "a b\tc\n", "'\"\\%", "../x", "%0", "0"])
def test_strange_names_are_kept(run: Run, name: str) -> None:
    proto = model(
        "g (float[2] x) => (float[2] y) { a = Exp(x)  b = Neg(a)  c = Neg(b)  y = Add(c, w) }"
    )
    proto.graph.initializer.append(helper.make_tensor(f"{name}w", 1, [2], [1.0, 2.0]))
    proto.graph.input[0].name = proto.graph.node[0].input[0] = f"{name}x"
    proto.graph.output[0].name = proto.graph.node[3].output[0] = f"{name}y"
    proto.graph.node[0].output[0] = proto.graph.node[1].input[0] = f"{name}a"
    proto.graph.node[0].name = name
    proto.graph.node[3].input[1] = f"{name}w"
    Path("m.onnx").write_bytes(proto.SerializeToString())
    assert run("m.onnx", "-o", "out.onnx", "--check").status == 0
    graph = read_model("out.onnx").graph
    assert graph.input[0].name == f"{name}x"
    assert graph.output[0].name == f"{name}y"
    assert graph.initializer[0].name == f"{name}w"
    assert (graph.node[0].name, graph.node[0].output[0]) == (name, f"{name}a")
    assert [node.op_type for node in graph.node] == ["Exp", "Add"]
    assert run("m.onnx", "-o", "m.gir").status == 0
    assert run("m.gir", "-o", "again.onnx", "--check").status == 0
    assert read_model("again.onnx").graph.output[0].name == f"{name}y"


def test_strange_operator_with_subgraphs_is_kept(run: Run) -> None:
    text = (
        "g (float[2] x) => (float[2] y) { a = Neg(x)  b = Neg(a)  s = Exp(b)"
        "  y = odd.Twist <body = t (float[2] v) => (float[2] p) { q = Neg(v)  p = Add(q, s) },"
        " depth = 3> (b) }"
    )
    Path("m.onnx").write_bytes(model(text, more=', "odd": 1').SerializeToString())
    assert run("m.onnx", "-o", "out.onnx").status == 0
    first, second = read_model("out.onnx").graph.node
    assert (first.op_type, second.domain, second.op_type) == ("Exp", "odd", "Twist")
    assert list(second.input) == ["x"]
    body = next(item.g for item in second.attribute if item.name == "body")
    assert [node.op_type for node in body.node] == ["Neg", "Add"]
    assert body.node[1].input[1] == first.output[0]
    assert next(item.i for item in second.attribute if item.name == "depth") == 3


def weighty(path: Path, rows: int, extra: str = "") -> None:
    """y = x[rows] of weights of 1 MiB a row, in a file that has room for them but is not filled."""
    text = f"g (int64 x) => (float[{1 << 18}] y) {{ a = Neg(x)  b = Neg(a)  y = Gather(w, b) }}"
    proto = model(text)
    tensor = proto.graph.initializer.add(name="w", data_type=TensorProto.FLOAT)
    tensor.dims.extend([rows, 1 << 18])
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="w.data")
    with (path.parent / "w.data").open("wb") as file:
        file.truncate(rows << 20)
        file.write(np.float32(7).tobytes())
    path.write_bytes(proto.SerializeToString())


@pytest.mark.parametrize("external", ["auto", "always", "never"])
def test_weights_beside_the_model_in_and_out(run: Run, tmp_path: Path, external: str) -> None:
    weighty(tmp_path / "m.onnx", 2)
    done = run("m.onnx", "-o", "out.onnx", "--external-data", external, "--check")
    assert done.status == 0
    assert (tmp_path / "out.onnx.data").exists() == (external == "always")
    made = onnx.load("out.onnx")  # pyright: ignore[reportUnknownMemberType]
    assert float(numpy_helper.to_array(made.graph.initializer[0])[0, 0]) == 7
    assert [node.op_type for node in made.graph.node] == ["Gather"]


@pytest.mark.fuzz
@pytest.mark.skipif(not FULL, reason="takes some seconds and, for a moment, 2 GB of disk")
def test_model_above_two_gigabytes(tmp_path: Path) -> None:
    rows = (2 << 10) + 1
    weighty(tmp_path / "bad.onnx", rows)
    done = measured(tmp_path)
    mapped = rows << 10  # what is read of a file that is mapped counts until somebody needs room
    assert (done.status, done.kib < MAX_KIB + mapped) == (0, True)
    data = tmp_path / "out.onnx.data"
    assert data.stat().st_size == rows << 20
    with data.open("rb") as file:
        assert file.read(4) == np.float32(7).tobytes()
    data.unlink()
