"""Sizes and types as text; `graphopt.text.reader` reads them back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from graphopt.dims import Atom, Dim, DimOf, Extreme, FloorDiv, Monomial, Size, Symbol
from graphopt.ir import Node
from graphopt.text.words import RESERVED, float_text, is_plain, quote
from graphopt.types import (
    MapType,
    OptionalType,
    ResourceType,
    SequenceType,
    TensorType,
    TupleType,
    Type,
)

Label = Callable[[Node], str]


def size_text(size: Size, label: Label) -> str:
    """`size` as text; `label` names the values whose axes occur in it."""
    if not isinstance(size, Dim):
        return str(size)
    terms = [(_monomial_text(mono, label), c) for mono, c in size.terms.items()]
    terms.sort(key=lambda term: (not term[0], term[0]))
    text = ""
    for factors, coefficient in terms:
        sign = "-" if coefficient < 0 else "+"
        text += f" {sign} " if text else sign.strip("+")
        count = "" if factors and abs(coefficient) == 1 else str(abs(coefficient))
        text += "*".join(part for part in (count, factors) if part)
    return text


def _monomial_text(mono: Monomial, label: Label) -> str:
    factors = ((_atom_text(atom, label), power) for atom, power in mono)
    return "*".join(sorted(f if power == 1 else f"{f}^{power}" for f, power in factors))


def _atom_text(atom: Atom, label: Label) -> str:
    match atom:
        case Symbol(name):
            return name if is_plain(name) and name not in RESERVED else quote(name)
        case DimOf(value, axis):
            return f"dim({label(value)}, {axis})"
        case FloorDiv(a, b):
            return f"div({size_text(a, label)}, {size_text(b, label)})"
        case _:
            word = atom.kind if isinstance(atom, Extreme) else "broadcast"
            return f"{word}({', '.join(sorted(size_text(size, label) for size in atom.sizes))})"


def type_text(kind: Type, label: Label, *, known: bool = False) -> str:
    """A type as text, with `known` also the elements that are known: `int64[2]{3, N}`."""

    def inner(element: Type) -> str:
        return type_text(element, label, known=known)

    match kind:
        case TensorType(dtype, shape, elements):
            sizes = "..." if shape is None else ", ".join(_known_text(s, label) for s in shape)
            text = f"{dtype.label}[{sizes}]"
            if known and elements is not None:
                text += f"{{{', '.join(_known_text(e, label) for e in elements)}}}"
            return text
        case SequenceType(element):
            return f"sequence({inner(element)})"
        case OptionalType(element):
            return f"optional({inner(element)})"
        case MapType(key, element):
            return f"map({key.label}, {inner(element)})"
        case ResourceType(resource):
            return f"resource({resource if is_plain(resource) else quote(resource)})"
        case TupleType(types):
            return f"({', '.join(map(inner, types))}{',' if len(types) == 1 else ''})"
        case _:
            return str(kind)


def _known_text(element: Any, label: Label) -> str:
    if element is None:
        return "?"
    if isinstance(element, bool):
        return str(element).lower()
    if isinstance(element, float):
        return f"float({float_text(element)})"
    return size_text(element, label)
