"""Check what ships: build the wheel, install it alone, import every module, check its types.

    python -m tools.check_wheel

The wheel is built from the source distribution, so nothing that lies about in the checkout can get
into it; it is left in dist/. The environment is clean: a module that needs an extra, or a file that
was not packaged, fails here. Exit status: 0 done, 1 a check failed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

IMPORT_ALL = """
import importlib, pkgutil, graphopt

def failed(name):
    raise ImportError(f"cannot import {name}")

count, left = 1, 0
for module in pkgutil.walk_packages(graphopt.__path__, "graphopt.", onerror=failed):
    if module.name.endswith(".__main__"):
        continue
    try:
        importlib.import_module(module.name)
        count += 1
    except ModuleNotFoundError as error:  # only what needs an extra, where it needs it
        if error.name != "jax" or not module.name.startswith("graphopt.backends.jax."):
            raise
        left += 1
print(f"imported {count} modules of {graphopt.__path__[0]}; {left} need an extra")
"""


def build(folder: Path) -> Path:
    """Build the source distribution, and from it the wheel; the wheel's path."""
    command = [sys.executable, "-m", "build", "--outdir", str(folder), str(ROOT)]
    run("build", command, ROOT, quiet=True)
    (wheel,) = folder.glob("*.whl")
    return wheel


def install(wheel: Path, environment: Path) -> Path:
    """Make an environment with the wheel and its dependencies; the folder of its programs."""
    venv.create(environment, with_pip=True)
    programs = Path(sysconfig.get_path("scripts", "venv", {"base": str(environment)}))
    command = [str(programs / "python"), "-m", "pip", "install", "--quiet", str(wheel)]
    run("install", command, environment)
    return programs


def run(step: str, command: list[str], folder: Path, *, quiet: bool = False) -> None:
    """Run a command in a folder, with no path into the checkout; CalledProcessError if it fails.

    A quiet command shows its output only then.
    """
    print(f"== {step}", flush=True)
    done = subprocess.run(
        command,
        cwd=folder,
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        check=False,
        text=True,
        stdout=subprocess.PIPE if quiet else None,
        stderr=subprocess.STDOUT if quiet else None,
    )
    if done.returncode:
        print(done.stdout or "", end="", file=sys.stderr)
        raise subprocess.CalledProcessError(done.returncode, command)


def check(wheel: Path, folder: Path) -> None:
    """Install the wheel in a new environment under `folder` and use it; CalledProcessError."""
    programs = install(wheel, folder / "environment")
    python = str(programs / "python")
    run("import every module", [python, "-c", IMPORT_ALL], folder)
    run("graphopt-opt --version", [str(programs / "graphopt-opt"), "--version"], folder)
    mypy = [sys.executable, "-m", "mypy", "-p", "graphopt", "--python-executable", python]
    run("mypy", [*mypy, "--config-file", str(ROOT / "pyproject.toml")], folder)


def main() -> int:
    """Build and check; the exit status."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        try:
            wheel = build(folder / "dist")
            check(wheel, folder)
        except subprocess.CalledProcessError as error:
            print(f"check_wheel: {error}", file=sys.stderr)
            return 1
        (ROOT / "dist").mkdir(exist_ok=True)
        shutil.copy(wheel, ROOT / "dist")
    print(f"dist/{wheel.name} is good")
    return 0


if __name__ == "__main__":
    sys.exit(main())
