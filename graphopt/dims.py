"""Symbolic sizes: the dimensions of tensors whose shapes are not all known.

A `Size` is a Python int or a `Dim`: a polynomial with integer coefficients over atoms, in one
normal form, so that equal polynomials are equal objects and `2*N + N` is `3*N`. The atoms are

    Symbol(name)          a size that a graph's signature names; never negative
    DimOf(value, axis)    the size of one axis of one value, which nothing else is known about
    FloorDiv(a, b)        floor of a quotient that the normal form could not resolve
    Extreme("min"|"max")  the smallest or greatest of some sizes
    Broadcast(sizes)      the size that sizes broadcast to: the one that is not 1

Every atom but the quotients and extremes of negative sizes is at least 0, and may be 0: a factor
cancels only where it is proven to be positive.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from graphopt.ir import Node


@dataclass(frozen=True, slots=True)
class Symbol:
    """A named size; symbols of one graph with one name are one size."""

    name: str


@dataclass(frozen=True, slots=True)
class DimOf:
    """The size of axis `axis` of `value`."""

    value: Node
    axis: int


@dataclass(frozen=True, slots=True)
class FloorDiv:
    """floor(numerator / denominator), the denominator positive."""

    numerator: Size
    denominator: Size


@dataclass(frozen=True, slots=True)
class Extreme:
    """The smallest or the greatest of some sizes."""

    kind: Literal["min", "max"]
    sizes: frozenset[Size]


@dataclass(frozen=True, slots=True)
class Broadcast:
    """The common size of axes that are broadcast against each other."""

    sizes: frozenset[Size]


Atom = Symbol | DimOf | FloorDiv | Extreme | Broadcast
Monomial = frozenset[tuple[Atom, int]]
ONE: Monomial = frozenset()


class Dim:
    """A polynomial that is not a constant. Build it by arithmetic on `symbol` and `dim_of`.

    >>> n = symbol("N")
    >>> print(2 * n + 1 - n, (4 * n + 2) // 2, n - n)
    N + 1 2*N + 1 0
    """

    __slots__ = ("_hash", "terms")

    def __init__(self, terms: Mapping[Monomial, int]) -> None:
        self.terms = terms
        self._hash = hash(frozenset(terms.items()))

    def __eq__(self, other: object) -> bool:
        return self is other or (
            isinstance(other, Dim) and self._hash == other._hash and self.terms == other.terms
        )

    def __hash__(self) -> int:
        return self._hash

    def __add__(self, other: Size) -> Size:
        terms = dict(self.terms)
        for mono, coefficient in _terms(other).items():
            terms[mono] = terms.get(mono, 0) + coefficient
        return _make(terms)

    __radd__ = __add__

    def __neg__(self) -> Size:
        return self * -1

    def __sub__(self, other: Size) -> Size:
        return self + (-other)

    def __rsub__(self, other: Size) -> Size:
        return -self + other

    def __mul__(self, other: Size) -> Size:
        terms: dict[Monomial, int] = {}
        for mono, coefficient in self.terms.items():
            for mono2, coefficient2 in _terms(other).items():
                both = _times(mono, mono2)
                terms[both] = terms.get(both, 0) + coefficient * coefficient2
        return _make(terms)

    __rmul__ = __mul__

    def __floordiv__(self, other: Size) -> Size:
        return floordiv(self, other)

    def __rfloordiv__(self, other: Size) -> Size:
        return floordiv(other, self)

    def __reduce__(self) -> tuple[Any, ...]:
        return (Dim, (dict(self.terms),))  # the hash of another process is not this one's

    def __str__(self) -> str:
        from graphopt.text.types import size_text

        return size_text(self, lambda value: value.title)

    __repr__ = __str__


Size = int | Dim


def _terms(size: Size) -> Mapping[Monomial, int]:
    return size.terms if isinstance(size, Dim) else {ONE: size}


def _make(terms: dict[Monomial, int]) -> Size:
    terms = {mono: c for mono, c in terms.items() if c}
    if not terms:
        return 0
    if len(terms) == 1 and ONE in terms:
        return terms[ONE]
    return Dim(terms)


def _times(a: Monomial, b: Monomial) -> Monomial:
    if not a or not b:
        return a or b
    powers = dict(a)
    for atom, power in b:
        powers[atom] = powers.get(atom, 0) + power
    return frozenset(powers.items())


def _of(atom: Atom) -> Dim:
    return Dim({frozenset({(atom, 1)}): 1})


def symbol(name: str) -> Dim:
    """The size that is called `name` in a graph's signature."""
    return _of(Symbol(name))


def dim_of(value: Node, axis: int) -> Dim:
    """The size of one axis of a value of which nothing else is known."""
    return _of(DimOf(value, axis))


def product(sizes: Iterable[Size]) -> Size:
    """The product of some sizes; 1 of none."""
    total: Size = 1
    for size in sizes:
        total = total * size
    return total


def lower(size: Size) -> int | None:
    """A proven lower bound, or None.

    >>> n = symbol("N")
    >>> lower(2 * n + 3), lower(n - 1), lower(4 - n)
    (3, -1, None)
    """
    if isinstance(size, int):
        return size
    bound = 0
    for mono, coefficient in size.terms.items():
        if not mono:
            bound += coefficient
        elif coefficient < 0:
            return None
        else:
            least = 1
            for atom, power in mono:
                low = _atom_lower(atom)
                if low is None or low < 0:
                    return None
                least *= low**power
            bound += coefficient * least
    return bound


def _atom_lower(atom: Atom) -> int | None:
    if isinstance(atom, Symbol | DimOf):
        return 0
    if isinstance(atom, FloorDiv):
        low = lower(atom.numerator)
        return 0 if low is not None and low >= 0 else None
    if isinstance(atom, Broadcast):
        return 0
    known = [low for low in map(lower, atom.sizes) if low is not None]
    if atom.kind == "max":
        return max(known, default=None)
    return min(known) if len(known) == len(atom.sizes) else None


def positive(size: Size) -> bool:
    """Whether `size` is proven to be at least 1."""
    low = lower(size)
    return low is not None and low >= 1


def at_most(a: Size, b: Size) -> bool:
    """Whether a <= b is proven."""
    low = lower(b - a)
    return low is not None and low >= 0


def divide_exact(a: Size, b: Size) -> Size | None:
    """a / b where the polynomial division by one term leaves no rest, else None.

    The caller must know that b is not 0: the factors of b are cancelled.

    >>> n = symbol("N")
    >>> print(divide_exact(6 * n, 2 * n), divide_exact(n, 2))
    3 None
    """
    if b == 0:
        return None
    if isinstance(a, int) and isinstance(b, int):
        return a // b if a % b == 0 else None
    if a == b:
        return 1
    divisor = _terms(b)
    if len(divisor) != 1:
        return None
    ((mono, coefficient),) = divisor.items()
    out: dict[Monomial, int] = {}
    for term, c in _terms(a).items():
        rest = _cancel(term, mono)
        if rest is None or c % coefficient:
            return None
        out[rest] = c // coefficient
    return _make(out)


def _cancel(a: Monomial, b: Monomial) -> Monomial | None:
    powers = dict(a)
    for atom, power in b:
        powers[atom] = powers.get(atom, 0) - power
    if min(powers.values(), default=0) < 0:
        return None
    return frozenset((atom, power) for atom, power in powers.items() if power)


def floordiv(a: Size, b: Size) -> Size:
    """floor(a / b); b must be positive where it is known.

    Raises ZeroDivisionError when b is the constant 0.
    """
    if isinstance(a, int) and isinstance(b, int):
        return a // b
    if b == 1:
        return a
    if isinstance(b, int):
        quotient = _make({m: c // b for m, c in _terms(a).items() if c % b == 0 or not m})
        rest = _make({m: c % b if not m else c for m, c in _terms(a).items() if c % b})
        return quotient if isinstance(rest, int) else quotient + _of(FloorDiv(rest, b))
    exact = divide_exact(a, b) if positive(b) else None
    return exact if exact is not None else _of(FloorDiv(a, b))


def minimum(a: Size, b: Size) -> Size:
    """The smaller of two sizes; of a number and a maximum, the maximum of their minima."""
    if at_most(a, b) or at_most(b, a):
        return a if at_most(a, b) else b
    for number, size in ((a, b), (b, a)):
        atom = sole_atom(size - (term := _terms(size).get(ONE, 0)))
        if isinstance(number, int) and isinstance(atom, Extreme) and atom.kind == "max":
            return _extreme("max", *(minimum(number, each + term) for each in atom.sizes))
    shift = min(_terms(size).get(ONE, 0) for size in (a, b) if not isinstance(size, int))
    return _extreme("min", a - shift, b - shift) + shift


def maximum(a: Size, b: Size) -> Size:
    """The greater of two sizes."""
    return b if at_most(a, b) else a if at_most(b, a) else _extreme("max", a, b)


def _extreme(kind: Literal["min", "max"], *sizes: Size) -> Size:
    flat: set[Size] = set()
    for size in sizes:
        atom = sole_atom(size - (term := _terms(size).get(ONE, 0)))
        inner = atom.sizes if isinstance(atom, Extreme) and atom.kind == kind else {size - term}
        flat |= {each + term for each in inner}

    def needless(a: Size, b: Size) -> bool:
        return a != b and (at_most(b, a) if kind == "min" else at_most(a, b))

    kept = frozenset(a for a in flat if not any(needless(a, b) for b in flat))
    return next(iter(kept)) if len(kept) == 1 else _of(Extreme(kind, kept))


def sole_atom(size: Size) -> Atom | None:
    """The atom that `size` is, or None when it is a constant or a larger expression."""
    factors = [factor for mono in _terms(size) for factor in mono]
    alone = len(factors) == 1 and list(_terms(size).values()) == [1] and factors[0][1] == 1
    return factors[0][0] if alone else None


def broadcast(a: Size, b: Size) -> Size | None:
    """The size of an axis of size a broadcast against one of size b; None if they cannot be.

    >>> n = symbol("N")
    >>> print(broadcast(n, 1), broadcast(n, 7), broadcast(3, 7), broadcast(n, symbol("M")))
    N 7 None broadcast(M, N)
    """
    if a == b or b == 1:
        return a
    if a == 1:
        return b
    if isinstance(a, int):
        return None if isinstance(b, int) else a
    if isinstance(b, int):
        return b
    flat: set[Size] = set()
    for size in (a, b):
        atom = sole_atom(size)
        flat |= atom.sizes if isinstance(atom, Broadcast) else {size}
    kept = frozenset(a for a in flat if not any(_clamps(a, b) for b in flat))
    return next(iter(kept)) if len(kept) == 1 else _of(Broadcast(kept))


def _clamps(clamped: Size, size: Size) -> bool:
    """Whether `clamped` is min(size, c) with c > 1: broadcast together they can only be `size`."""
    atom = sole_atom(clamped)
    if not isinstance(atom, Extreme) or atom.kind != "min" or size not in atom.sizes:
        return False
    return all(other == size or (isinstance(other, int) and other > 1) for other in atom.sizes)


def atoms(size: Size) -> set[Symbol | DimOf]:
    """The symbols and axes that `size` depends on."""
    found: set[Symbol | DimOf] = set()
    pending: list[Size] = [size]
    while pending:
        for mono in _terms(pending.pop()):
            for atom, _ in mono:
                if isinstance(atom, Symbol | DimOf):
                    found.add(atom)
                elif isinstance(atom, FloorDiv):
                    pending += (atom.numerator, atom.denominator)
                else:
                    pending += atom.sizes
    return found


def substitute(size: Size, replace: Callable[[Symbol | DimOf], Size | None]) -> Size | None:
    """`size` with its symbols and axes replaced; None where a replacement is None."""
    if isinstance(size, int):
        return size
    if (alone := sole_atom(size)) is not None:
        return _substitute_atom(alone, replace)
    total: Size = 0
    for mono, coefficient in size.terms.items():
        term: Size = coefficient
        for atom, power in mono:
            if (new := _substitute_atom(atom, replace)) is None:
                return None
            term = term * product([new] * power)
        total = total + term
    return total


def _substitute_atom(atom: Atom, replace: Callable[[Symbol | DimOf], Size | None]) -> Size | None:
    if isinstance(atom, Symbol | DimOf):
        return replace(atom)
    if isinstance(atom, FloorDiv):
        a, b = substitute(atom.numerator, replace), substitute(atom.denominator, replace)
        return None if a is None or b is None or b == 0 else floordiv(a, b)
    fold = broadcast if isinstance(atom, Broadcast) else minimum if atom.kind == "min" else maximum
    result, *others = (substitute(size, replace) for size in atom.sizes)
    for other in others:
        result = None if result is None or other is None else fold(result, other)
    return result
