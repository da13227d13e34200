"""`graphopt-opt` in a process of its own, and what it spent there."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from onnx import ModelProto

ROOT = Path(__file__).resolve().parents[2]
MEASURED = """\
import resource, sys
from graphopt.cli import opt
status = opt()
spent = resource.getrusage(resource.RUSAGE_SELF)
kib = spent.ru_maxrss  # on Linux no less than what the process that started this one had
try:
    with open("/proc/self/status") as file:
        kib = next(int(line.split()[1]) for line in file if line.startswith("VmHWM:"))
except (OSError, StopIteration):
    pass
print(spent.ru_utime + spent.ru_stime, kib, file=sys.stderr)
sys.exit(status)
"""
MAX_SECONDS, MAX_KIB = 2.0, 300 << 10

Array = np.ndarray[Any, Any]
Make = Callable[[Path], object]
"""Puts a model, and what it needs, into a folder; the content of the model, or it is there."""


def written(proto: ModelProto) -> bytes:
    """The content of a model's file."""
    found: bytes = proto.SerializeToString()
    return found


def place(folder: Path, make: Make) -> Path:
    """The model in a folder of its own."""
    folder.mkdir(exist_ok=True)
    made = make(folder)
    path = folder / "bad.onnx"
    if isinstance(made, bytes):
        path.write_bytes(made)
    return path


class Measured(NamedTuple):
    """How a command ended in a process of its own, and what it spent."""

    status: int
    told: str
    seconds: float
    kib: int


def measured(folder: Path, *arguments: str) -> Measured:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", MEASURED, "bad.onnx", "-o", "out.onnx", *arguments]
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    told, _, spent = done.stderr.rstrip("\n").rpartition("\n")
    seconds, kib = spent.split()
    return Measured(done.returncode, f"{told}\n", float(seconds), int(kib))
