"""Idioms: groups of nodes that are one well-known function, fused into one node.

A rule here says nothing new: its right side is `Fused` over the very nodes that its left side
matched. What it adds is a name, the `kind`, and a `form`: the operator that computes the same up to
rounding, which whoever has it may run instead.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from inspect import signature
from typing import Any

import numpy as np

from graphopt.analysis import same_shape
from graphopt.fusion import between, fuse, used_outside
from graphopt.ir import Node
from graphopt.refine import refines
from graphopt.rewriting import Apply, Declined, Guard
from graphopt.rewriting.pattern import build, variables

Names = tuple[str, ...]
Form = Apply | Callable[..., Node | None] | None


@dataclass(frozen=True, eq=False)
class Grouping:
    """The right side of an idiom: what was matched down to the variables `leaves`, as one node.

    `form` is a pattern of the variables, or a function of some of them by its parameters' names
    that gives None where there is no form after all.
    """

    kind: str
    leaves: Names
    form: Form = None

    @property
    def needs(self) -> Names:
        """The variables that the form is made of."""
        if isinstance(self.form, Apply):
            return tuple(sorted(variables(self.form)))
        return tuple(signature(self.form).parameters) if self.form else ()

    @property
    def wants(self) -> Names:
        """The names of what a call takes, in order."""
        return tuple(dict.fromkeys(("root", *self.leaves, *self.needs)))

    def __call__(self, *values: Any) -> Node | Declined:
        """The fused node; Declined where it would say less of its type than the root does."""
        bound = dict(zip(self.wants, values, strict=True))
        root: Node = bound["root"]
        form: Node | None
        if isinstance(self.form, Apply):
            form = build(self.form, bound)
        else:
            form = self.form(*(bound[name] for name in self.needs)) if self.form else None
        if form is not None and not same_shape(form, root):
            form = None  # a constant of many elements may have made the root larger
        leaves = [bound[name] for name in self.leaves]
        inner = between(root, leaves)
        known = {item for node in inner for item in node.inputs}
        if any(leaf is not None and not leaf.is_absent and leaf not in known for leaf in leaves):
            return Declined("a part of it is one of its operands, too")
        made = fuse(root, inner, self.kind, form)
        return made if refines(made, root) else Declined("the type would be less known")


def unused_outside(*leaves: str) -> Guard:
    """Nothing between the root and the leaves is used by others; the profitability of an idiom."""

    def test(root: Node, uses: Callable[[Node], int], *values: Node) -> bool:
        return not used_outside(between(root, values), root, uses)

    return Guard("nothing inside is used elsewhere", test, ("root", "uses", *leaves))


def number(value: Node) -> float | None:
    """The element of a constant of one element, or of one that is the same everywhere."""
    tensor = value.constant
    if tensor is None or tensor.size == 0 or tensor.dtype.kind != "f":
        return None
    if not tensor.is_splat and tensor.size > 1:
        tensor = tensor.compact()
        if not tensor.is_splat:
            return None
    return float(tensor.element)


def is_about(value: Node, wanted: float) -> bool:
    """Whether a constant is a number to one unit in the last place of its dtype."""
    found = number(value)
    if found is None:
        return False
    kind = value.dtype.numpy
    near = float(np.asarray(wanted).astype(kind))
    return abs(found - near) <= float(spacing(near, kind))


def spacing(number: float, kind: np.dtype[Any]) -> float:
    """The distance to the next greater number of a dtype."""
    import ml_dtypes

    digits = int(ml_dtypes.finfo(kind).nmant)  # type: ignore[no-untyped-call]  # it has no types
    return float(2.0 ** (np.floor(np.log2(abs(number))) - digits)) if number else 0.0


def about(wanted: float, *names: str) -> Guard:
    """Constants are a number to one unit in the last place."""

    def test(*values: Node) -> bool:
        return all(is_about(value, wanted) for value in values)

    return Guard(f"{' and '.join(names)} is {wanted:.6g} to an ulp", test, names)


def epsilon_of(value: Node, x: Node) -> float | None:
    """A constant as the float32 attribute epsilon; None where that would not be it."""
    found = number(value)
    if found is None or not 0 <= found < np.inf:
        return None
    return found if x.dtype.bits <= 32 or found == float(np.float32(found)) else None


def last_axes(axes: Node, x: Node) -> int | None:
    """The first of the axes that a reduction takes, counted from the end: -2 for the last two.

    None where they are not the last of x, or not known.
    """
    known, rank = axes.ints, x.rank
    if not known:
        return None
    if rank is None:
        return -1 if known == (-1,) else None
    found = sorted(axis % rank for axis in known)
    return -len(found) if found == list(range(rank - len(found), rank)) else None
