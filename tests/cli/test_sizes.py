"""What is counted is what stands in the files."""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper

from graphopt.errors import UnsupportedError
from graphopt.frontends import onnx as door
from tests.cli.conftest import Run, read_model
from tests.frontends.onnx.models import model

BRANCHES = """
g (float[4] x, bool c) => (float[4] y) <float[4] w = {1, 2, 3, 4}, float[4] v = {1, 2, 3, 4}> {
  a = Add(x, w)  b = Add(x, v)  s = Mul(a, b)  k = Constant <value = float[2] {1, 2}> ()
  y = If (c) <
    then_branch = t () => (float[4] p) { n = Neg(s)  m = Neg(s)  p = Add(n, m) },
    else_branch = e () => (float[4] q) { r = Neg(s)  q = Exp(r) }>
}"""
FUNCTION = '<domain: "my", opset_import: ["": 17]> twice (a) => (b) { c = Exp(a)  b = Exp(c) }'


def nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """The nodes of a graph and its subgraphs."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            yield from nodes(attribute.g)


def counted(path: Path) -> Counter[str]:
    """The nodes of a file by operator."""
    found = Counter(node.op_type for node in nodes(read_model(path).graph))
    found.pop("Constant", None)
    return found


@pytest.fixture
def branches(tmp_path: Path) -> Path:
    """A model with equal nodes, in its graph and in its branches."""
    path = tmp_path / "model.onnx"
    path.write_bytes(model(BRANCHES).SerializeToString())
    return path


@pytest.mark.parametrize("level", ["-O0", "-O2"])
def test_nodes_are_those_of_the_files(run: Run, branches: Path, level: str) -> None:
    told = run(branches, level, "-o", "out.onnx", "--json").json
    assert (
        told["ops_before"] == counted(branches) == {"Add": 3, "Mul": 1, "If": 1, "Neg": 3, "Exp": 1}
    )
    assert told["ops_after"] == counted(Path("out.onnx"))
    assert told["nodes"]["before"] == 9
    assert told["params_bytes"]["before"] == 40
    sizes = [branches.stat().st_size, Path("out.onnx").stat().st_size]
    assert list(told["bytes"].values()) == sizes
    dry = run(branches, level, "--json").json
    for key in ("ops_after", "nodes", "bytes", "params_bytes"):
        assert dry[key] == told[key]


def test_functions_count_where_they_are_called(run: Run, tmp_path: Path) -> None:
    text = "g (float[2] x) => (float[2] y) { a = my.twice(x)  y = my.twice(a) }"
    proto = model(text, more=', "my": 1', functions=FUNCTION)
    (tmp_path / "m.onnx").write_bytes(proto.SerializeToString())
    assert run("m.onnx", "--json").json["ops_before"] == {"Exp": 4}


def test_fixed_sizes_do_not_change_what_the_file_has(run: Run, model: Path) -> None:
    assert run(model, "--dim", "N=3", "--json").json["nodes"]["before"] == 5


def test_text_counts_as_the_model_that_it_would_be(run: Run, branches: Path) -> None:
    model = run(branches, "-o", "out.onnx", "--json").json
    text = run(branches, "-o", "out.gir", "--json").json
    again = run("out.gir", "-O0", "--json").json
    assert model["ops_after"] == text["ops_after"] == again["ops_before"] == again["ops_after"]
    assert text["bytes"]["after"] is again["bytes"]["before"] is None


def test_what_has_no_form_in_onnx_is_counted_too(
    run: Run, branches: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(branches, "-O0", "-o", "m.gir").status == 0

    def refuse(*_: object, **__: object) -> None:
        raise UnsupportedError("planted")

    monkeypatch.setattr(door, "measure", refuse)
    told = run("m.gir", "--json").json
    assert told["ops_before"] == {"Neg": 2, "Add": 2, "Mul": 1, "If": 1, "Exp": 1}
    assert told["bytes"] == {"before": None, "after": None}
    assert told["notes"] == ["it cannot be written as ONNX: planted"]


def external(path: Path, proto: onnx.ModelProto, name: str) -> None:
    """Write a model with its first initializer in a file of its own."""
    tensor = proto.graph.initializer[0]
    (path.parent / name).write_bytes(tensor.raw_data)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=name)
    path.write_bytes(proto.SerializeToString())


def test_weights_beside_a_model_count(run: Run, tmp_path: Path) -> None:
    proto = model("g (float[1000] x) => (float[1000] y) { y = Add(x, w) }")
    proto.graph.initializer.append(numpy_helper.from_array(np.arange(1000, dtype=np.float32), "w"))
    external(tmp_path / "m.onnx", proto, "weights")
    (tmp_path / "m.onnx.data").write_bytes(b"of another model")
    told = run("m.onnx", "-o", "out.onnx", "--external-data", "always", "--json").json
    assert told["bytes"]["before"] == (tmp_path / "m.onnx").stat().st_size + 4000
    files = [(tmp_path / name).stat().st_size for name in ("out.onnx", "out.onnx.data")]
    assert told["bytes"]["after"] == sum(files)
    again = run("m.onnx", "-o", "out.onnx", "--json").json
    assert again["bytes"]["after"] == (tmp_path / "out.onnx").stat().st_size
    dry = run("m.onnx", "--external-data", "always", "--json").json
    assert abs(dry["bytes"]["after"] - sum(files)) < 10  # a model names the file of its weights


def test_model_from_a_pipe(run: Run, branches: Path) -> None:
    os.mkfifo("pipe")
    content = branches.read_bytes()
    writer = threading.Thread(target=lambda: Path("pipe").write_bytes(content))
    writer.start()
    told = run("pipe", "--json").json
    writer.join()
    assert told["nodes"]["before"] == 9
    assert told["bytes"]["before"] == len(content)
