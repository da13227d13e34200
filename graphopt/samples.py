"""Inputs for trying a graph out: valid as far as its types tell, seeded, of sizes that vary.

What an input must look like beyond its type is not known, so there is a ladder of guesses: sizes
from small to those that images have, integers that fit ever smaller tables. A caller tries them in
turn until the program runs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from graphopt import dims
from graphopt.dims import DimOf, Size, Symbol
from graphopt.errors import UnsupportedError
from graphopt.graph import Graph
from graphopt.ir import Node
from graphopt.types import DType, OptionalType, SequenceType, TensorType, Type

Feeds = dict[str, Any]
WORDS = ("", "a", "graph", "opt", "ä", "two words")


@dataclass(frozen=True, slots=True)
class Guess:
    """One guess at what a program takes.

    `batch` is the size of a leading axis that is not fixed, `other` that of all other such axes
    (`last`: of the last ones, all others are `batch`), and integers are drawn from 0 to `high`,
    inclusive.
    """

    batch: int
    other: int
    high: int = 3
    last: bool = False


LADDER = (
    *(Guess(batch, other) for batch, other in ((1, 1), (2, 2), (1, 8), (1, 16), (1, 32), (1, 64))),
    *(Guess(2, 8, high) for high in (1, 0)),
    *(Guess(1, other) for other in (128, 224, 299)),
    Guess(1, 1, 0),
    *(Guess(1, other, last=True) for other in (256, 512, 2048, 16000)),  # sound
)
LARGE, MOST = 512, 1 << 22
"""Guesses from LARGE on are not for inputs that would have more than MOST elements with them."""


def guesses(trial: int, last: Guess | None = None) -> Iterator[Guess]:
    """The guesses for a trial: one that differs between trials, the `last` good one, the ladder."""
    yield Guess(1 + (trial + 1) % 3, 3 + 2 * trial)
    if last is not None:
        yield last
    yield from (guess for guess in LADDER if guess != last)


def sample_inputs(
    graph: Graph,
    seed: int = 0,
    sizes: Mapping[str, int] | None = None,
    *,
    guess: Guess | None = None,
    given: Mapping[str, Any] | None = None,
) -> Feeds:
    """Arrays for the inputs of a graph by name; inputs that have a default are left out.

    `sizes` fixes named dimensions and `given` whole inputs; a dimension of a given array fixes the
    name that stands there. The rest follows `guess`. Raises UnsupportedError for an input that
    cannot be drawn, such as a map or a tensor of unknown rank.
    """
    given = dict(given or {})
    guess = guess or next(guesses(seed))
    bound = {Symbol(name): size for name, size in (sizes or {}).items()}
    for node in graph.inputs:
        if node.attrs["name"] in given:
            _bind_sizes(node, given[node.attrs["name"]], bound)
    batch = _batch_axes(graph, guess)
    feeds: Feeds = {}
    for position, node in enumerate(graph.inputs):
        name = node.attrs["name"]
        if name in given:
            feeds[name] = given[name]
        elif node not in graph.defaults:
            rng = np.random.default_rng((seed, position))
            drawer = _Drawer(rng, guess, bound, batch)
            feeds[name] = drawer.value(node.type, f"input {name!r}")
    return feeds


def _bind_sizes(node: Node, value: Any, bound: dict[Symbol, int]) -> None:
    shape = node.type.shape if isinstance(node.type, TensorType) else None
    for wanted, size in zip(shape or (), np.shape(value), strict=False):
        atom = None if wanted is None else dims.sole_atom(wanted)
        if isinstance(atom, Symbol):
            bound.setdefault(atom, size)


def _batch_axes(graph: Graph, guess: Guess) -> frozenset[Symbol | DimOf]:
    """The sizes that count samples: the first of several axes, or (`last`) all but the last."""
    found: set[Symbol | DimOf] = set()
    for node in graph.inputs:
        shape = node.type.shape if isinstance(node.type, TensorType) else None
        for size in (shape or ())[: -1 if guess.last else 1]:
            if size is not None and shape is not None and len(shape) > 1:
                found |= dims.atoms(size)
    return frozenset(found)


@dataclass(frozen=True, slots=True)
class _Drawer:
    rng: np.random.Generator
    guess: Guess
    bound: Mapping[Symbol, int]
    batch: frozenset[Symbol | DimOf]

    def value(self, kind: Type, at: str) -> Any:
        """A value of a type."""
        if isinstance(kind, SequenceType):
            return [self.value(kind.element, at) for _ in range(2)]
        if isinstance(kind, OptionalType):
            return self.value(kind.element, at)
        if not isinstance(kind, TensorType) or kind.shape is None:
            raise UnsupportedError(f"no value of type {kind} can be drawn", at=at)
        shape = tuple(map(self.size, kind.shape))
        if self.guess.other >= LARGE and prod(shape) > MOST:
            raise UnsupportedError(f"{list(shape)} is too large for a guess", at=at)
        return draw(self.rng, kind.dtype, shape, self.guess.high)

    def size(self, size: Size | None) -> int:
        """A size as a number."""
        made = self.guess.other if size is None else dims.substitute(size, self.atom)
        return max(made, 0) if isinstance(made, int) else self.guess.other

    def atom(self, atom: Symbol | DimOf) -> Size:
        if isinstance(atom, Symbol) and atom in self.bound:
            return self.bound[atom]
        return self.guess.batch if atom in self.batch else self.guess.other


def draw(rng: np.random.Generator, dtype: DType, shape: tuple[int, ...], high: int = 3) -> Any:
    """An array: floats of the standard normal distribution, integers from 0 to `high`."""
    if dtype is DType.STRING:
        return np.asarray(rng.choice(np.array(WORDS, object), shape), object)
    if dtype is DType.BOOL:
        return np.asarray(rng.random(shape) < 0.5)
    if dtype.is_integer:
        top = min(high, 2 ** (dtype.bits - 1) - 1)
        return np.asarray(rng.integers(0, top + 1, shape)).astype(dtype.numpy)
    values = rng.standard_normal(shape)
    if dtype.kind == "c":
        values = values + 1j * rng.standard_normal(shape)
    return np.asarray(values).astype(dtype.numpy)
