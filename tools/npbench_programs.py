"""NPBench (github.com/spcl/npbench): fetching it, its programs, their inputs and its rule.

The files of a pinned commit are kept in the folder of `tools/models.py`; GRAPHOPT_NPBENCH names
another copy. Nothing of it is part of this project.
"""

from __future__ import annotations

import importlib.util
import io
import json
import os
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Callable, Sequence
from copy import deepcopy
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from graphopt.errors import UsageError, nearest
from tools import models

URL = "https://github.com/spcl/npbench"
COMMIT = "f2d7f27d87ba4881991e62c18a607aa6ba52b260"
PARTS = ("bench_info", "npbench/benchmarks")


def _git(*arguments: str | Path) -> bytes:
    """What git writes; raises FetchError with its last line."""
    quiet = {**os.environ, "GIT_TERMINAL_PROMPT": "0"}
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, check=False, env=quiet)
    except OSError as error:
        raise models.FetchError(f"git is needed to get NPBench: {error}") from error
    if done.returncode:
        lines = done.stderr.decode(errors="replace").strip().splitlines() or ["no reason"]
        raise models.FetchError(f"cannot get NPBench {COMMIT[:7]}; git says: {lines[-1]}")
    return done.stdout


def _unpack(git_folder: Path, target: Path) -> None:
    """Put the programs of the pinned commit into a folder, at once."""
    content = _git("--git-dir", git_folder, "archive", COMMIT, *PARTS)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as beside:
        with tarfile.open(fileobj=io.BytesIO(content)) as archive:
            archive.extractall(Path(beside) / "made", filter="data")
        (Path(beside) / "made").rename(target)


def is_here() -> bool:
    """Whether a copy can be had without a network."""
    return bool(os.environ.get("GRAPHOPT_NPBENCH")) or _target().is_dir()


def _target() -> Path:
    found: Path = models.cache() / f"npbench-{COMMIT}"
    return found


def fetch(source: str | None = None) -> Path:
    """The folder of an unpacked NPBench: `source` itself, or of the pinned commit, in the cache.

    Raises FetchError when `source` (or GRAPHOPT_NPBENCH) is none, and when it cannot be downloaded.
    """
    copy = source or os.environ.get("GRAPHOPT_NPBENCH")
    if copy and (Path(copy) / "bench_info").is_dir():
        return Path(copy)
    if copy and not (Path(copy) / "HEAD").is_file():
        raise models.FetchError("neither an unpacked NPBench nor a bare git folder", at=copy)
    target = _target()
    if target.is_dir():
        return target
    if copy:
        _unpack(Path(copy), target)
        return target
    with tempfile.TemporaryDirectory() as folder:
        _git("init", "--quiet", "--bare", folder)
        _git("--git-dir", folder, "fetch", "--quiet", "--depth=1", URL, COMMIT)
        _unpack(Path(folder), target)
    return target


def names(folder: Path) -> list[str]:
    """The programs of an unpacked NPBench."""
    return sorted(file.stem for file in (folder / "bench_info").glob("*.json"))


class Program:
    """A program of an unpacked NPBench at a preset: its function, arguments and tolerances.

    Raises UsageError for a name or a preset that there is not.
    """

    def __init__(self, folder: Path, name: str, preset: str) -> None:
        file = folder / "bench_info" / f"{name}.json"
        if name not in names(folder):
            raise UsageError(f"unknown program {name!r}{nearest(name, names(folder))}")
        self.info: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))["benchmark"]
        module = self.info["module_name"]
        if preset not in self.info["parameters"]:
            known = ", ".join(self.info["parameters"])
            raise UsageError(f"{name} has no preset {preset!r}; it has {known}")
        self.file = folder / "npbench" / "benchmarks" / self.info["relative_path"] / f"{module}.py"
        self.preset = preset

    @property
    def numpy_file(self) -> Path:
        """The file of the function."""
        found: Path = self.file.with_name(f"{self.file.stem}_numpy.py")
        return found

    @cached_property
    def function(self) -> Callable[..., Any]:
        """The function, as it stands there."""
        found: Callable[..., Any] = load(self.numpy_file)[self.info["func_name"]]
        return found

    def arguments(self) -> list[Any]:
        """What the function is called with."""
        values = dict(self.info["parameters"][self.preset])
        if init := self.info.get("init"):
            made = load(self.file)[init["func_name"]](*(values[n] for n in init["input_args"]))
            names = init["output_args"]
            values.update(zip(names, made if len(names) > 1 else [made], strict=True))
        return [values[name] for name in self.info["input_args"]]

    def difference(self, got: Any, want: Any, at: str = "result") -> str:
        """How two results differ, by NPBench's rule, and in class, shape or dtype; "" if not."""
        if type(got) is not type(want):
            return f"{at} is of class {type(got).__name__}, NumPy's {type(want).__name__}"
        if type(want) in (tuple, list):
            if len(got) != len(want):
                return f"{at} has {len(got)} items, NumPy's {len(want)}"
            pairs = enumerate(zip(got, want, strict=True))
            found = (self.difference(a, b, f"{at}[{k}]") for k, (a, b) in pairs)
            return next(filter(None, found), "")
        if want is None:
            return ""
        got, want = np.asarray(got), np.asarray(want)
        if got.shape != want.shape or got.dtype != want.dtype:
            return f"{at} is {got.dtype}{got.shape}, NumPy's {want.dtype}{want.shape}"
        rtol, atol = self.info.get("rtol", 1e-5), self.info.get("atol", 1e-8)
        if np.allclose(got, want, rtol=rtol, atol=atol, equal_nan=True):
            return ""
        if not np.issubdtype(want.dtype, np.inexact):
            return f"{at} differs in {np.count_nonzero(got != want)} elements"
        error = float(np.linalg.norm(want - got) / np.linalg.norm(want))
        return "" if error < self.info.get("norm_error", 1e-5) else f"{at} is off by {error:.2g}"

    def compare(self, function: Callable[..., Any], arguments: Sequence[Any]) -> tuple[str, float]:
        """How what a function returns and does to its arguments differs from NumPy's ("": not).

        Also the seconds that its call takes.
        """
        given, expected = deepcopy(arguments), deepcopy(arguments)
        want = self.function(*expected)
        start = time.perf_counter()
        got = function(*given)
        seconds = time.perf_counter() - start
        names = [f"argument {name}" for name in self.info["input_args"]]
        found = [self.difference(got, want), *map(self.difference, given, expected, names)]
        return next(filter(None, found), ""), seconds


def load(file: Path) -> dict[str, Any]:
    """The names in a Python file that is run as a module."""
    spec = importlib.util.spec_from_file_location(f"npbench_{file.stem}", file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return vars(module)
