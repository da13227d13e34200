"""The equations of Einstein sums: "ij,jk->ik" as the letters of each input and of the output."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from graphopt import dims
from graphopt.dims import Size
from graphopt.op import refuse
from graphopt.ops.checks import one_size
from graphopt.ops.common import Shape, broadcast_shapes


@dataclass(frozen=True, slots=True)
class Equation:
    """One term an input and one for the output: letters, and "." for any number of axes."""

    inputs: tuple[str, ...]
    output: str

    def output_shape(self, shapes: Sequence[Shape | None]) -> tuple[Size | None, ...] | None:
        """The output's shape from those of the inputs; refuses shapes that do not fit."""
        if len(shapes) != len(self.inputs):
            raise refuse(f"{len(shapes)} inputs for {len(self.inputs)} terms")
        sizes: dict[str, Size] = {}
        dots: Shape | None = None
        doubtful: set[str] = set()  # an input of unknown rank may broadcast what is not above 1
        for term, shape in zip(self.inputs, shapes, strict=True):
            if shape is None:
                doubtful.update(term)
                continue
            letters = _axes(term, len(shape))
            for letter, size in _own_sizes(letters, shape).items():
                sizes[letter] = _broadcast(letter, sizes.get(letter, 1), size)
            if "." in term:
                mine = tuple(s for c, s in zip(letters, shape, strict=True) if c == ".")
                dots = mine if dots is None else _both(dots, mine)
        made: list[Size | None] = []
        for letter in self.output:
            if letter == "." and dots is None:
                return None
            for part in (dots or ()) if letter == "." else (sizes.get(letter),):
                sure = letter not in doubtful or (isinstance(part, int) and part > 1)
                made.append(part if sure else None)
        return tuple(made)


def _axes(term: str, rank: int) -> str:
    """The letters of an input's axes, "." for each that the dots stand for."""
    rest = rank - len(term.replace(".", ""))
    if rest < 0 or (rest > 0 and "." not in term):
        raise refuse(f"an input of rank {rank} is called {term.replace('.', '...')!r}")
    return term.replace(".", "." * rest)


def _own_sizes(letters: str, shape: Shape) -> dict[str, Size]:
    """The sizes of one input's letters; refuses a letter that has two."""
    own: dict[str, Size] = {}
    for letter, size in zip(letters, shape, strict=True):
        if letter != ".":
            one_size(f"axis {letter!r} of one input", own.setdefault(letter, size), size)
    return own


def _broadcast(letter: str, a: Size, b: Size) -> Size:
    both = dims.broadcast(a, b)
    if both is None:
        raise refuse(f"axis {letter!r} is both {a} and {b}")
    return both


def _both(a: Shape, b: Shape) -> Shape:
    if len(a) != len(b):
        raise refuse(f"the dots stand for {len(a)} axes and for {len(b)}")
    both = broadcast_shapes([a, b])
    assert both is not None
    return both


@lru_cache(maxsize=256)
def parse(equation: str) -> Equation:
    """The terms of an equation; the output that is left out follows from the inputs.

    Raises TypeRuleError for what is not an equation.

    >>> parse("b...j, jk")
    Equation(inputs=('b.j', 'jk'), output='.bk')
    """
    text = equation.replace(" ", "").replace(".", "?").replace("???", ".")
    left, arrow, output = text.partition("->")
    terms = tuple(left.split(","))
    used = "".join(terms)
    for term in (*terms, output):
        letters = term.replace(".", "", 1)
        if letters and not (letters.isascii() and letters.isalpha()):
            raise refuse(f"{equation!r} is not an equation")
    if not arrow:
        once = sorted(letter for letter in set(used) - {"."} if used.count(letter) == 1)
        output = "." * ("." in used) + "".join(once)
    if len(set(output)) < len(output) or not set(output) <= set(used):
        raise refuse(f"the output of {equation!r} names an axis twice, or one that is not there")
    if "." in used and "." not in output:
        raise refuse(f"the output of {equation!r} lacks the dots of its inputs")
    return Equation(terms, output)
