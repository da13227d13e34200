"""What the tests of tracing share: compiling for the reference backend, modules made of text."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable
from typing import Any

from graphopt.frontends.trace import function

Array = Any
Program = Callable[[Any], Any] | Callable[[Any, Any], Any] | Callable[..., Any]


def jit(python: Program, **options: Any) -> Any:
    """A function compiled for the backend that defines what a graph means."""
    return function(python, backend="reference", **options)


def module(name: str, text: str) -> Any:
    """A module of this name with this source."""
    made = types.ModuleType(name)
    sys.modules[name] = made
    exec(compile(text, f"<{name}>", "exec"), vars(made))
    return made
