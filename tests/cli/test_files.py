"""Reading and writing: what comes in, what goes out, and that nothing is ever half-written."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

import graphopt
from tests.cli.conftest import Run, make_model, read_model

ROOT = Path(__file__).resolve().parents[2]
START = "import sys; from graphopt.cli import opt; sys.exit(opt())"


def shell(*arguments: object, **options: object) -> subprocess.CompletedProcess[bytes]:
    """Run `graphopt-opt` in a process of its own."""
    command = [sys.executable, "-c", START, *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, capture_output=True, check=False, env=environment, **options)  # type: ignore[call-overload, no-any-return]  # pyright: ignore


def op_types(path: Path) -> list[str]:
    return [node.op_type for node in read_model(path).graph.node]


def test_optimized_model_is_written(run: Run, model: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.onnx"
    done = run(model, "-o", out)
    assert done.status == 0
    assert op_types(out) == ["Add", "Relu"]
    checker: Any = onnx.checker
    checker.check_model(out.read_bytes(), full_check=True)
    assert "OK 5->2 nodes" in done.err
    assert f"{model.stat().st_size}->{out.stat().st_size} B" in done.err
    assert "Neg " in done.out


def test_without_output_nothing_is_written(run: Run, model: Path, tmp_path: Path) -> None:
    done = run(model, "--check")
    assert done.status == 0
    assert "nothing written; use -o" in done.err
    assert list(tmp_path.iterdir()) == [model]


def test_level_zero_writes_the_model_as_it_was(run: Run, model: Path, tmp_path: Path) -> None:
    assert run(model, "-O0", "-o", tmp_path / "out.onnx").status == 0
    assert op_types(tmp_path / "out.onnx") == op_types(model)


def test_text_is_written_and_read(run: Run, model: Path, tmp_path: Path) -> None:
    text = tmp_path / "out.gir"
    assert run(model, "-O0", "-o", text).status == 0
    assert text.read_text().startswith("graphopt 1")
    assert run(text, "-o", tmp_path / "out.onnx", "--check").status == 0
    assert op_types(tmp_path / "out.onnx") == ["Add", "Relu"]


def test_content_tells_the_format_not_the_name(run: Run, model: Path, tmp_path: Path) -> None:
    assert run(model, "-o", tmp_path / "out.gir").status == 0
    renamed = tmp_path / "really_text.onnx"
    (tmp_path / "out.gir").rename(renamed)
    assert run(renamed).status == 0
    renamed = tmp_path / "really_onnx.gir"
    model.rename(renamed)
    assert run(renamed).status == 0


def test_standard_streams(model: Path) -> None:
    with model.open("rb") as file:
        done = shell("-", "-o", "-", stdin=file)
    assert done.returncode == 0
    made = onnx.load_from_string(done.stdout)
    assert [node.op_type for node in made.graph.node] == ["Add", "Relu"]
    assert b"OK 5->2 nodes" in done.stderr


def test_text_to_standard_output(run: Run, model: Path) -> None:
    done = run(model, "-S", "-o", "-")
    assert done.status == 0
    assert done.out.startswith("graphopt 1")
    assert "output y" in done.out
    assert "OK 5->2 nodes" in done.err


def test_binary_to_a_terminal_is_refused(
    run: Run, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    done = run(model, "-o", "-")
    assert done.status == 2
    assert "-f to force" in done.err


@pytest.mark.parametrize("other", ["model.onnx", "./model.onnx", "link.onnx", "hard.onnx"])
def test_model_itself_is_not_replaced_unasked(
    run: Run, model: Path, tmp_path: Path, other: str
) -> None:
    (tmp_path / "link.onnx").symlink_to(model)
    os.link(model, tmp_path / "hard.onnx")
    before = model.read_bytes()
    done = run(model, "-o", other)
    assert done.status == 2
    assert "--in-place" in done.err
    assert model.read_bytes() == before
    assert run(model, "-o", other, "--in-place").status == 0
    assert op_types(tmp_path / other) == ["Add", "Relu"]


def test_external_data(run: Run, tmp_path: Path) -> None:
    weights = np.arange(1 << 12, dtype=np.float32).reshape(1 << 10, 4).sum(0)
    nodes = [
        helper.make_node("MatMul", ["x", "k"], ["a"]),
        helper.make_node("Add", ["a", "w"], ["y"]),
    ]
    model = make_model(tmp_path / "m.onnx", nodes, w=weights, k=np.eye(4))
    big = make_model(
        tmp_path / "big.onnx",
        [
            helper.make_node("MatMul", ["x", "k"], ["a"]),
            helper.make_node("MatMul", ["a", "l"], ["y"]),
        ],
        k=np.random.default_rng(0).random((4, 1000)),
        l=np.random.default_rng(1).random((1000, 4)),
    )
    out = tmp_path / "out.onnx"
    assert run(big, "-o", out, "--external-data", "always", "--check").status == 0
    assert (tmp_path / "out.onnx.data").stat().st_size >= 32000
    assert out.stat().st_size < 1000
    again = run(out, "-o", out, "--in-place", "--external-data", "always", "--check", "--json")
    assert again.status == 0
    assert again.json["bytes"]["after"] > 32000
    assert run(out, "-o", tmp_path / "one.onnx", "--external-data", "never", "--check").status == 0
    assert (tmp_path / "one.onnx").stat().st_size >= 32000
    assert run(model, "-o", tmp_path / "small.onnx").status == 0
    assert not (tmp_path / "small.onnx.data").exists()


def test_opset_is_written(run: Run, model: Path, tmp_path: Path) -> None:
    assert run(model, "-o", tmp_path / "o.onnx", "--opset", "20", "--check").status == 0
    assert read_model(tmp_path / "o.onnx").opset_import[0].version == 20


def leftovers(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.mark.parametrize("target", ["out.onnx", "out.gir"])
def test_failure_at_the_last_moment_leaves_the_old_file(
    run: Run, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: str
) -> None:
    (tmp_path / target).write_text("old")

    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", fail)
    done = run(model, "-o", target)
    assert done.status == 3
    assert f"{target}: cannot be written: No space left on device" in done.err
    assert (tmp_path / target).read_text() == "old"
    assert leftovers(tmp_path) == {"model.onnx", target}


@pytest.mark.parametrize("external", ["never", "always"])
def test_full_disk_leaves_the_old_file(tmp_path: Path, external: str) -> None:
    rng = np.random.default_rng(0)
    model = make_model(
        tmp_path / "model.onnx",
        [
            helper.make_node("MatMul", ["x", "k"], ["a"]),
            helper.make_node("MatMul", ["a", "l"], ["y"]),
        ],
        k=rng.random((4, 5000)),
        l=rng.random((5000, 4)),
    )
    (tmp_path / "out.onnx").write_text("old")

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))

    arguments = (model, "-o", tmp_path / "out.onnx", "--external-data", external)
    done = shell(*arguments, preexec_fn=limit, cwd=tmp_path)
    assert done.returncode == 3
    assert b"cannot be written" in done.stderr
    assert b"Traceback" not in done.stderr
    assert (tmp_path / "out.onnx").read_text() == "old"
    assert leftovers(tmp_path) == {"model.onnx", "out.onnx"}


def test_missing_folder_is_named(run: Run, model: Path) -> None:
    done = run(model, "-o", "nowhere/out.onnx")
    assert done.status == 3
    assert "nowhere/out.onnx: cannot be written: No such file" in done.err


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty"),
        (b"\x08\x09garbage", "not an ONNX model"),
        (b"some prose", "bad.onnx:1:"),
        (b"\x08\x09\xff\xfe\x00", ""),
        (None, "No such file"),
    ],
)
def test_unreadable_input(run: Run, tmp_path: Path, content: bytes | None, message: str) -> None:
    if content is not None:
        (tmp_path / "bad.onnx").write_bytes(content)
    done = run("bad.onnx", "-o", "out.onnx")
    assert done.status == 3
    assert "bad.onnx" in done.err
    assert message in done.err
    assert "Traceback" not in done.err
    assert not (tmp_path / "out.onnx").exists()


def test_cut_model_and_folder_are_unreadable(run: Run, model: Path, tmp_path: Path) -> None:
    (tmp_path / "cut.onnx").write_bytes(model.read_bytes()[:-20])
    assert run("cut.onnx").status == 3
    done = run(tmp_path)
    assert done.status == 3
    assert "folder" in done.err


def test_closed_pipe_is_quiet(model: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-c", START, str(model), "-S", "-o", "-"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    try:
        done = subprocess.run(
            command, stdout=writing, stderr=subprocess.PIPE, check=False, env=environment
        )
    finally:
        os.close(writing)
    assert done.returncode == 141
    assert b"Broken" not in done.stderr
    assert b"Traceback" not in done.stderr


def test_interrupt(run: Run, model: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(graphopt.api, "optimize", interrupted)
    done = run(model, "-o", "out.onnx")
    assert done.status == 130
    assert "interrupted" in done.err
    assert not (tmp_path / "out.onnx").exists()
