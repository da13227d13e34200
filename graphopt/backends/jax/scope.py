"""What JAX must be set to for NumPy's semantics: set for a block and a thread, never for good."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import AbstractContextManager, contextmanager
from importlib import import_module
from typing import Any

import numpy as np

from graphopt.backends.jax.library import jax


def _enable_x64(on: bool) -> AbstractContextManager[None]:
    """The context manager that 64-bit numbers depend on; it has moved between versions of JAX."""
    if hasattr(jax, "enable_x64"):
        made: AbstractContextManager[None] = jax.enable_x64(on)
        return made
    experimental: Any = import_module("jax.experimental")
    older: AbstractContextManager[None] = experimental.enable_x64(on)
    return older


def wide() -> AbstractContextManager[None]:
    """64-bit numbers stay 64-bit numbers."""
    return _enable_x64(True)


@contextmanager
def numpy_semantics() -> Generator[None]:
    """Numbers as NumPy has them, products without reduced precision: for tracing and compiling."""
    errors = np.errstate(all="ignore")
    with wide(), jax.default_matmul_precision("highest"), errors:
        yield
