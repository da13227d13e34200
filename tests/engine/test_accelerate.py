"""The compiled half of the scheduler refuses what it cannot work on; the engine runs without it."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from typing import Any

import pytest

from graphopt.engine import Engine, accelerate
from graphopt.engine.errors import EngineError

built = pytest.mark.skipif(not accelerate.AVAILABLE, reason="there was no C compiler")


@built
@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("next", (1, 2)),
        ("next", ()),
        ("drain", (3,)),
        ("enter", (1, 2, 3, 4, 5, 6)),
        ("enter", (1,)),
        ("bind", (1,)),
    ],
)
def test_wrong_arguments_are_refused(name: str, arguments: tuple[Any, ...]) -> None:
    compiled = import_module("graphopt.engine._accel")
    with pytest.raises(TypeError, match="it takes|not what is wanted"):
        getattr(compiled, name)(*arguments)


@built
def test_classes_are_bound_once() -> None:
    compiled = import_module("graphopt.engine._accel")
    with pytest.raises(TypeError, match="bound already"):
        compiled.bind(int, int, int, int, int)
    with Engine(1) as engine:
        assert engine.push(lambda: 3).result() == 3


@built
def test_classes_without_the_slots_are_refused() -> None:
    code = (
        "import importlib.machinery, importlib.util, sys\n"
        "spec = importlib.util.spec_from_file_location('_accel', sys.argv[1])\n"
        "compiled = importlib.util.module_from_spec(spec)\n"
        "for call in (lambda: compiled.bind(int, int, int, int, int), lambda: compiled.drain(3)):\n"
        "    try:\n"
        "        call()\n"
        "    except (AttributeError, TypeError) as error:\n"
        "        print(error)\n"
    )
    file = import_module("graphopt.engine._accel").__file__
    done = subprocess.run(
        [sys.executable, "-c", code, str(file)], check=True, capture_output=True, text=True
    )
    assert "has no attribute 'fn'" in done.stdout and "`bind` was not called" in done.stdout


def test_engine_without_the_compiled_half() -> None:
    code = (
        "import sys\n"
        "sys.modules['graphopt.engine._accel'] = None\n"
        "from graphopt.engine import Engine, accelerate\n"
        "assert not accelerate.AVAILABLE\n"
        "with Engine(2) as engine:\n"
        "    x = engine.new_variable()\n"
        "    print([engine.push(lambda k=k: k, mutate=(x,)).result() for k in range(3)])\n"
        "try:\n"
        "    Engine(accelerated=True)\n"
        "except Exception as error:\n"
        "    print(type(error).__name__, error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.startswith("[0, 1, 2]\nEngineError the accelerated scheduler was not built")


def test_engine_that_asks_for_what_was_not_built(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accelerate, "AVAILABLE", False)
    with pytest.raises(EngineError, match="was not built: install with a C compiler"):
        Engine(accelerated=True)
