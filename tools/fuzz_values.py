"""Values for generated graphs: dtypes, sizes, constants and the arrays that inputs are given.

An input is drawn in one of several moods (`MOODS`): what a rule may do wrong shows with ordinary
numbers, with NaN, infinities and zeros of both signs, or only near the ends of a dtype's range.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import numpy as np

from graphopt import dims
from graphopt.dims import DimOf, Size, Symbol
from graphopt.graph import Graph
from graphopt.ir import Node
from graphopt.types import DType, TensorType

Array = Any
Values = dict[Node, Array]
Atom = Symbol | DimOf
Sizes = Mapping[str, int]

FLOATS = (DType.FLOAT32, DType.FLOAT64, DType.FLOAT16, DType.BFLOAT16)
INTEGERS = (
    DType.INT64, DType.INT32, DType.INT8, DType.INT16,
    DType.UINT8, DType.UINT16, DType.UINT32, DType.UINT64,
)  # fmt: skip
DRAWN = (DType.FLOAT32,) * 12 + FLOATS * 2 + (DType.INT64,) * 3 + INTEGERS + (DType.BOOL,) * 2
"""The dtypes of inputs, the usual ones more often."""

MOODS = ("tame", "positive", "strange", "extreme")
STRANGE = (np.nan, 0.0, -0.0, -0.0, np.inf, -np.inf, 1.0, -1.0, 0.5, -2.0, 3.0)
EXTREME = (*STRANGE, 1e-30, -1e30, 1e38, -1e-39, 3e38, 6e4, -6e-8, 1e-45)
CONSTANTS = (
    *(0.0, 0.0, 0.0, -0.0, 1.0, 1.0, -1.0, 2.0, 2.0, 0.5, 3.0, -2.0),
    *(0.1, 1e-3, 2.0**-8, 6.0, 1e8, -1e8),
)
"""The elements of constants, those that rules know more often."""
RARE = (np.inf, -np.inf, np.nan, 1e30, 1e-30, 3e38, -3e38)
SYMBOLS = ("N", "M", "K")


def draw_sizes(rng: random.Random) -> dict[str, int]:
    """Sizes for the symbols: mostly small and different, some equal, 1, or 0."""
    if rng.random() < 0.25:
        same = rng.choice((1, 1, 0, 2, 3))
        return dict.fromkeys(SYMBOLS, same)
    return {name: rng.choice((1, 2, 2, 3, 3, 4, 5)) for name in SYMBOLS}


def number(size: Size | None, sizes: Sizes) -> int:
    """A size as a number; 2 where the type does not tell."""
    if size is None:
        return 2
    made = dims.substitute(size, lambda atom: sizes.get(getattr(atom, "name", ""), 2))
    return max(made, 0) if isinstance(made, int) else 2


def kind_of(node: Node) -> TensorType:
    """The type of an input, which is a tensor."""
    assert isinstance(node.derived_type, TensorType)
    return node.derived_type


def draw_input(kind: TensorType, sizes: Sizes, rng: np.random.Generator, mood: str) -> Array:
    """An array for an input of a type with a known rank, in a mood."""
    assert kind.shape is not None
    return draw_array(kind.dtype, tuple(number(s, sizes) for s in kind.shape), rng, mood)


def draw_inputs(graph: Graph, sizes: Sizes, rng: np.random.Generator, mood: str) -> Values:
    """Arrays for all inputs of a graph."""
    return {item: draw_input(kind_of(item), sizes, rng, mood) for item in graph.inputs}


def draw_array(dtype: DType, shape: tuple[int, ...], rng: np.random.Generator, mood: str) -> Array:
    """An array of a dtype in a mood."""
    if dtype is DType.STRING:
        return rng.choice(np.array(["", "a", "1", "-3"], object), shape)
    if dtype is DType.BOOL:
        return rng.integers(0, 2, shape).astype(bool)
    if dtype.is_integer:
        return _integers(dtype, shape, rng, mood)
    real = _reals(shape, rng, mood)
    with np.errstate(all="ignore"):
        if dtype.kind == "c":
            return (real + 1j * _reals(shape, rng, mood)).astype(dtype.numpy)
        return real.astype(dtype.numpy)


def _reals(shape: tuple[int, ...], rng: np.random.Generator, mood: str) -> Array:
    if mood == "positive":
        return rng.uniform(0.5, 2.0, shape)
    real = rng.normal(size=shape) * 2
    if mood == "tame":
        return real
    special = rng.choice(STRANGE if mood == "strange" else EXTREME, shape)
    return np.where(rng.random(shape) < 0.6, special, real)


def _integers(dtype: DType, shape: tuple[int, ...], rng: np.random.Generator, mood: str) -> Array:
    signed = dtype.kind == "i"
    top = (1 << (dtype.bits - signed)) - 1
    least = -top - 1 if signed else 0
    if mood == "extreme":
        choice = [least, top, 0, 1, 2, top // 2, max(least, -1), max(least, -3)]
        made = rng.choice(np.array(choice, object), shape)
        return (made.astype(np.int64) if dtype.bits < 8 else made).astype(dtype.numpy)
    low = 1 if mood == "positive" else max(least, -2) if mood == "strange" else 0
    return rng.integers(min(low, top), min(3, top), shape, endpoint=True).astype(dtype.numpy)


def draw_constant(rng: random.Random, dtype: DType, shape: tuple[int, ...]) -> Array:
    """The content of a constant: all elements the same and special, or random ones."""
    noise = np.random.default_rng(rng.getrandbits(32))
    if dtype is DType.BOOL:
        if rng.random() < 0.6:
            return np.full(shape, rng.random() < 0.5)
        return draw_array(dtype, shape, noise, "tame")
    if rng.random() < 0.35:
        mood = rng.choice(("tame", "tame", "positive", "strange"))
        return draw_array(dtype, shape, noise, mood)
    value: Any = rng.choice(CONSTANTS if rng.random() < 0.85 else RARE)
    if dtype.is_integer:
        top = (1 << (dtype.bits - (dtype.kind == "i"))) - 1
        least = -top - 1 if dtype.kind == "i" else 0
        value = rng.choice((0, 1, 1, 2, 2, 3, 4, -1, -2, top, least))
        value = min(max(value, least), top)
    with np.errstate(all="ignore"):
        return np.full(shape, value).astype(dtype.numpy)
