"""What is known of NumPy's public names: what they are called, and which results share memory."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from types import ModuleType
from typing import Any

import numpy as np

VIEWS = frozenset(
    "broadcast_to diagonal expand_dims flip fliplr flipud matrix_transpose moveaxis permute_dims"
    " real rollaxis rot90 squeeze swapaxes transpose linalg.diagonal"
    " linalg.matrix_transpose".split()
)
"""Functions whose result is always a view of the first argument."""

DOUBTFUL = frozenset(
    "array array_split asanyarray asarray asarray_chkfinite ascontiguousarray asfortranarray astype"
    " atleast_1d atleast_2d atleast_3d broadcast_arrays diag dsplit hsplit imag ix_ meshgrid"
    " nan_to_num ravel real_if_close require reshape split trim_zeros unstack vsplit"
    " lib.stride_tricks.as_strided lib.stride_tricks.sliding_window_view".split()
)
"""Functions whose result may share memory with an argument."""

ARRAYS = frozenset(
    "astype copy empty empty_like eye full full_like identity ones ones_like select tri where zeros"
    " zeros_like".split()
)
"""Functions that give an array where others give a scalar: with no axes."""

COPIES = frozenset("astype copy".split())
"""Functions that copy even where nothing changes."""

WRITERS = frozenset("copyto fill_diagonal place put put_along_axis putmask".split())
"""Functions that write to their first argument."""

FROZEN = ("numpy.random", "random", "secrets", "time")
"""Modules whose functions give something else at each call, which a trace would freeze."""

PARTS = ("linalg", "fft", "lib.stride_tricks", "emath", "polynomial.polynomial")
"""Submodules of NumPy whose functions count as public."""


@cache
def names() -> Mapping[int, tuple[str, ...]]:
    """The public names of NumPy's functions and ufuncs, by the object's id."""
    found: dict[int, tuple[str, ...]] = {}
    for prefix, module in (("", np), *((f"{part}.", part_of(part)) for part in PARTS)):
        for name in getattr(module, "__all__", ()):
            value = getattr(module, name, None)
            if callable(value) and not isinstance(value, type):
                found[id(value)] = (*found.get(id(value), ()), f"{prefix}{name}")
    return found


def part_of(path: str) -> Any:
    """A submodule of NumPy."""
    found: Any = np
    for name in path.split("."):
        found = getattr(found, name)
    return found


def names_of(function: Any) -> tuple[str, ...]:
    """The public names of a function, without `numpy.`; its own name if it has none."""
    known = names().get(id(function))
    return known or (getattr(function, "__name__", "?"),)


def is_frozen_module(module: str) -> bool:
    """Whether a trace would freeze what a module's functions give."""
    return any(module == name or module.startswith(f"{name}.") for name in FROZEN)


def is_numpy(value: Any) -> bool:
    """Whether a module, class or function is NumPy's."""
    name: Any = getattr(value, "__name__" if isinstance(value, ModuleType) else "__module__", "")
    return isinstance(name, str) and (name == "numpy" or name.startswith("numpy."))
