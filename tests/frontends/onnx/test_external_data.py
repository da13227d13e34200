"""Weights beside the model: mapped lazily, followed nowhere but into the folder, streamed out."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper

from graphopt.errors import ModelError, UnsupportedError
from graphopt.frontends import onnx as door
from graphopt.frontends.onnx import load, save
from graphopt.frontends.onnx.external import ALIGNMENT, DataWriter
from graphopt.tensor import Tensor
from graphopt.types import DType
from tests.frontends.onnx.models import assert_same, changed, check, model, read, run

SIZE = 1024
WEIGHTS = np.arange(SIZE, dtype=np.float32)
TEXT = f"g (float[{SIZE}] x) => (float[{SIZE}] y) {{ y = Add(x, w) }}"


def plain() -> onnx.ModelProto:
    """A model with its weights in it."""
    proto = model(TEXT)
    proto.graph.initializer.append(numpy_helper.from_array(WEIGHTS, "w"))
    return proto


def external(folder: Path, content: bytes | None = WEIGHTS.tobytes(), **entries: str) -> Path:
    """The same with its weights in w.data, or wherever the entries say."""
    proto = model(TEXT)
    tensor = proto.graph.initializer.add(name="w", data_type=TensorProto.FLOAT, dims=[SIZE])
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in ({"location": "w.data"} | entries).items():
        tensor.external_data.add(key=key, value=value)
    if content is not None:
        (folder / "w.data").write_bytes(content)
    path = folder / "m.onnx"
    path.write_bytes(proto.SerializeToString())
    return path


def weights(path: Path) -> Tensor:
    """The weights of the model at a path."""
    tensor = load(path).outputs[0].inputs[1].constant
    assert tensor is not None
    return tensor


@pytest.mark.parametrize(
    ("content", "entries"),
    [
        (WEIGHTS.tobytes(), {}),
        (WEIGHTS.tobytes() + b"more", {"length": "4096", "checksum": "0"}),
        (b"\0" * 8 + WEIGHTS.tobytes(), {"offset": "8", "length": "4096"}),
        (b"\0" * 3 + WEIGHTS.tobytes(), {"offset": "3"}),
        (WEIGHTS.tobytes(), {"location": "./w.data"}),
    ],
)
def test_data_is_found(content: bytes, entries: dict[str, str], tmp_path: Path) -> None:
    assert weights(external(tmp_path, content, **entries)).array.tolist() == WEIGHTS.tolist()


def test_data_in_a_folder_below_and_of_several_tensors(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "w").write_bytes(WEIGHTS.tobytes())
    assert weights(external(tmp_path, None, location="sub/w")).array.tolist() == WEIGHTS.tolist()


def test_data_is_mapped_and_not_read(tmp_path: Path) -> None:
    path = external(tmp_path, None)
    with (tmp_path / "w.data").open("wb") as file:
        file.truncate(1 << 40)  # sparse: reading it would take hours
    proto = read(path, external=False)
    proto.graph.initializer[0].dims[0] = 1 << 38
    for value in (proto.graph.input[0], proto.graph.output[0]):
        value.type.tensor_type.shape.dim[0].dim_value = 1 << 38
    path.write_bytes(proto.SerializeToString())
    assert weights(path).nbytes == 1 << 40


ENTRIES = {
    "dots first": ({"location": "../w.data"}, "not inside the model's folder"),
    "dots in the middle": ({"location": "a/../../w.data"}, "not inside the model's folder"),
    "dots that come back": ({"location": "a/../w.data"}, "not inside the model's folder"),
    "absolute": ({"location": "/etc/passwd"}, "not inside the model's folder"),
    "empty": ({"location": ""}, "not inside the model's folder"),
    "the folder": ({"location": "."}, "not inside the model's folder"),
    "zero byte": ({"location": "w.data\0"}, "not inside the model's folder"),
    "missing": ({"location": "none"}, "No such file"),
    "past the end": ({"offset": "8"}, "ends after the file 'w.data' of 4096 bytes"),
    "far past the end": ({"offset": str(1 << 62)}, "ends after the file"),
    "negative offset": ({"offset": "-4"}, "offset of its external data is '-4'"),
    "no number": ({"offset": "four"}, "offset of its external data is 'four'"),
    "huge length": ({"length": str(1 << 62)}, "bytes where it takes 4096"),
    "short length": ({"length": "8"}, "has 8 bytes where it takes 4096"),
    "negative length": ({"length": "-8"}, "length of its external data is '-8'"),
    "unknown key": ({"__class__": "x"}, "its external data has '__class__'"),
}


@pytest.mark.parametrize("name", ENTRIES)
def test_entries_that_are_refused(name: str, tmp_path: Path) -> None:
    entries, reason = ENTRIES[name]
    path = external(tmp_path, WEIGHTS.tobytes(), **entries)
    with pytest.raises(ModelError) as caught:
        load(path)
    assert str(caught.value).startswith(f"{path}: initializer 'w': ")
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


def link(folder: Path) -> None:
    (folder / "real").write_bytes(WEIGHTS.tobytes())
    (folder / "w.data").symlink_to(folder / "real")


def link_of_folder(folder: Path) -> None:
    (folder / "there").mkdir()
    (folder / "there" / "w.data").write_bytes(WEIGHTS.tobytes())
    (folder / "sub").symlink_to(folder / "there")


def hard_link(folder: Path) -> None:
    (folder / "real").write_bytes(WEIGHTS.tobytes())
    (folder / "w.data").hardlink_to(folder / "real")


def fifo(folder: Path) -> None:
    os.mkfifo(folder / "w.data")


def directory(folder: Path) -> None:
    (folder / "w.data").mkdir()


@pytest.mark.skipif(os.name != "posix", reason="links and pipes of POSIX")
@pytest.mark.parametrize(
    ("make", "location", "reason"),
    [
        (link, "w.data", "without following links"),
        (link_of_folder, "sub/w.data", "without following links"),
        (hard_link, "w.data", "a file with several names"),
        (fifo, "w.data", "not a plain file"),
        (directory, "w.data", "not a plain file"),
    ],
)
def test_only_plain_files_are_opened(
    make: Callable[[Path], None], location: str, reason: str, tmp_path: Path
) -> None:
    make(tmp_path)
    path = external(tmp_path, None, location=location)
    done = threading.Event()

    def attempt() -> None:
        with pytest.raises(ModelError, match=reason):
            load(path)
        done.set()

    threading.Thread(target=attempt, daemon=True).start()
    assert done.wait(5), "it waits for a writer"


@pytest.mark.parametrize("where", ["attribute", "sparse initializer"])
def test_data_elsewhere_is_guarded_alike(where: str, tmp_path: Path) -> None:
    proto = model("g (float[2] x) => (float[2] y) { y = Add(x, w) }")
    node = onnx.helper.make_node("Constant", [], ["w"])
    if where == "attribute":
        tensor = node.attribute.add(name="value", type=onnx.AttributeProto.TENSOR).t
    else:
        sparse = proto.graph.sparse_initializer.add(dims=[2])
        sparse.indices.CopyFrom(numpy_helper.from_array(np.array([0, 1])))
        tensor = sparse.values
        tensor.name = "w"
    tensor.data_type = TensorProto.FLOAT
    tensor.dims.append(2)
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../w")
    if where == "attribute":
        proto.graph.node.insert(0, node)
    path = tmp_path / "m.onnx"
    path.write_bytes(proto.SerializeToString())
    with pytest.raises(ModelError, match=f"{where}.*not inside the model's folder"):
        load(path)


def test_a_model_behind_a_link_finds_the_data_beside_its_file(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    external(tmp_path / "real")
    (tmp_path / "m.onnx").symlink_to(tmp_path / "real" / "m.onnx")
    assert weights(tmp_path / "m.onnx").array.tolist() == WEIGHTS.tolist()


def test_data_is_written_beside_the_model(tmp_path: Path) -> None:
    graph = load(plain().SerializeToString())
    for given in (graph, changed(graph)):
        path = tmp_path / "out.onnx"
        saved = save(given, path, external_data="always")
        assert saved.data_file == tmp_path / "out.onnx.data"
        assert (tmp_path / "out.onnx.data").read_bytes() == WEIGHTS.tobytes()
        check(path)
        assert sorted(file.name for file in tmp_path.iterdir()) == ["out.onnx", "out.onnx.data"]
        feeds = {"x": WEIGHTS}
        assert_same(run(read(path), feeds), run(plain(), feeds))
        assert weights(path).array.tolist() == WEIGHTS.tolist()


def test_a_model_may_be_written_over_the_one_that_it_was_loaded_from(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    save(load(plain().SerializeToString()), path, external_data="always")
    graph = load(path)
    save(changed(graph), path, external_data="always")
    assert weights(path).array.tolist() == WEIGHTS.tolist()
    assert graph.outputs[0].inputs[1].constant == graph.outputs[0].inputs[1].constant


def test_offsets_are_aligned_and_small_tensors_stay(tmp_path: Path) -> None:
    proto = model(TEXT.replace("Add(x, w)", "Sum(x, w, v, s)"))
    for name, array in (("w", WEIGHTS), ("v", -WEIGHTS), ("s", WEIGHTS[:1])):
        proto.graph.initializer.append(numpy_helper.from_array(array, name))
    path = tmp_path / "out.onnx"
    save(load(proto.SerializeToString()), path, external_data="always")
    made = read(path, external=False)
    offsets = [
        int(entry.value)
        for tensor in made.graph.initializer
        for entry in tensor.external_data
        if entry.key == "offset"
    ]
    assert len(offsets) == 2
    assert all(offset % ALIGNMENT == 0 for offset in offsets)
    assert made.graph.initializer[2].HasField("raw_data")


def test_a_model_that_fits_no_message_is_written_in_two_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = load(plain().SerializeToString())
    assert save(graph, tmp_path / "a.onnx").data_file is None
    monkeypatch.setattr(door, "MAX_MESSAGE", 1000)
    assert save(graph, tmp_path / "a.onnx").data_file is not None
    with (tmp_path / "s").open("wb") as stream, pytest.raises(UnsupportedError, match="a stream"):
        save(graph, stream)


def test_splats_and_packed_tensors_are_streamed(tmp_path: Path) -> None:
    for tensor in (
        Tensor.splat(DType.FLOAT32, (3000,), 1.5),
        Tensor.of(np.arange(4000).astype(DType.INT4.numpy)),
    ):
        path = tmp_path / "w"
        with path.open("wb") as stream:
            writer = DataWriter(stream, "w")
            assert writer.take(tensor, onnx.TensorProto())
        assert path.read_bytes() == tensor.tobytes()


@pytest.mark.parametrize("external_data", ["always", "never"])
def test_a_failed_save_changes_nothing(
    external_data: door.ExternalData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "out.onnx"
    path.write_bytes(b"old")
    (tmp_path / "out.onnx.data").write_bytes(b"old data")

    def fail(*_: object) -> bytes:
        raise UnsupportedError("no")

    monkeypatch.setattr(door, "serialized", fail)
    with pytest.raises(UnsupportedError):
        save(load(plain().SerializeToString()), path, external_data=external_data)
    assert path.read_bytes() == b"old"
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == {
        "out.onnx": b"old",
        "out.onnx.data": b"old data",
    }


def test_targets_keep_their_mode_and_special_files_are_not_replaced(tmp_path: Path) -> None:
    graph = load(plain().SerializeToString())
    path = tmp_path / "out.onnx"
    path.write_bytes(b"")
    path.chmod(0o600)
    save(graph, path)
    assert path.stat().st_mode & 0o777 == 0o600
    save(graph, os.devnull)
    assert not Path(os.devnull).is_file()
