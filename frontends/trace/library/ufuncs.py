"""NumPy's universal functions: the loop that NumPy would choose, on values of the graph."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from graphopt.errors import UnsupportedError
from graphopt.frontends.trace.library.complex_forms import COMPLEX_FORMS
from graphopt.frontends.trace.library.forms import FORMS
from graphopt.frontends.trace.library.nodes import broadcast_sizes, expand, full_like, unsqueeze
from graphopt.frontends.trace.library.operands import (
    NumpyDType,
    cast,
    is_sequence,
    is_weak,
    lift,
    loop_kind,
    rank_of,
    refuse,
    traced,
)
from graphopt.ir import Node

COMPARISONS = ("equal", "not_equal", "less", "less_equal", "greater", "greater_equal")
GENERALIZED = ("matmul", "matvec", "vecdot", "vecmat")

ALIASES = {
    "true_divide": "divide",
    "abs": "absolute",
    "acos": "arccos",
    "acosh": "arccosh",
    "asin": "arcsin",
    "asinh": "arcsinh",
    "atan": "arctan",
    "atan2": "arctan2",
    "atanh": "arctanh",
    "bitwise_invert": "invert",
    "bitwise_left_shift": "left_shift",
    "bitwise_not": "invert",
    "bitwise_right_shift": "right_shift",
    "conj": "conjugate",
    "mod": "remainder",
    "pow": "power",
}
"""Other names of ufuncs in the namespace."""

STRINGS = (
    "_center _expandtabs _expandtabs_length _ljust _lstrip_chars _lstrip_whitespace _partition"
    " _partition_index _replace _rjust _rpartition _rpartition_index _rstrip_chars"
    " _rstrip_whitespace _slice _strip_chars _strip_whitespace _zfill count endswith find index"
    " isalnum isalpha isdecimal isdigit islower isnumeric isspace istitle isupper rfind rindex"
    " startswith str_len"
)

UNSUPPORTED: Mapping[str, str] = {
    **dict.fromkeys(STRINGS.split(), "the graph has no functions of strings"),
    "_ones_like": "it is internal to NumPy",
    "isnat": "the graph has no dates",
}
"""The ufuncs that the graph cannot say, and why."""


def ufunc_of(name: str) -> np.ufunc:
    """NumPy's ufunc of a name; raises UnsupportedError for one that the graph cannot say."""
    name = ALIASES.get(name, name)
    if name not in FORMS:
        reason = UNSUPPORTED.get(name, "there is no such ufunc")
        raise UnsupportedError(f"numpy.{name} is not supported: {reason}")
    if name == "clip":
        from numpy._core import umath

        return umath.clip  # type: ignore[attr-defined, no-any-return]
    found: np.ufunc = getattr(np, name)
    return found


def has_complex(ufunc: np.ufunc) -> bool:
    """Whether the graph can say a ufunc of complex numbers."""
    return ufunc.__name__ in COMPLEX_FORMS


def loop_dtypes(
    ufunc: np.ufunc, kinds: list[Any], dtype: Any, casting: Any
) -> tuple[NumpyDType, ...]:
    """The dtypes of the loop that NumPy would run: of the inputs, then of the outputs.

    Raises TypeError as NumPy does where there is none.
    """
    wanted: dict[str, Any] = {"casting": casting}
    if dtype is not None:
        wanted["signature"] = (*([None] * ufunc.nin), *([np.dtype(dtype)] * ufunc.nout))
    given = (*kinds, *([None] * ufunc.nout))
    if all(isinstance(kind, type) for kind in kinds):
        given = (*(np.result_type(kind(0)) for kind in kinds), *([None] * ufunc.nout))
    found = ufunc.resolve_dtypes(given, **wanted)
    for each in found:
        size = each.itemsize // 2 if each.kind == "c" else each.itemsize
        if each.kind not in "biufc" or size > 8 or (each.kind == "c" and not has_complex(ufunc)):
            raise UnsupportedError(f"numpy.{ufunc.__name__} on {each} is not supported")
    return found


def call(
    name: str, *operands: Any, dtype: Any = None, casting: str = "same_kind", where: Any = True
) -> Any:
    """A ufunc applied to operands: a Node, or a tuple of several.

    Raises TypeError where NumPy has no loop, OverflowError for a Python integer that does not fit
    the loop, and UnsupportedError for what the graph cannot say.
    """
    ufunc = ufunc_of(name)
    if where is not True:
        refuse(f"numpy.{ufunc.__name__}", where=where)
    if len(operands) != ufunc.nin:
        raise TypeError(f"{ufunc.__name__}() takes {ufunc.nin} arguments, not {len(operands)}")
    operands = tuple(lift(x) if is_sequence(x) and traced(x) else x for x in operands)
    found = loop_dtypes(ufunc, [loop_kind(x) for x in operands], dtype, casting)
    if ufunc.__name__ in COMPARISONS and (known := _beyond(ufunc, operands, found)) is not None:
        return known
    values = [lift(x, each) for x, each in zip(operands, found[: ufunc.nin], strict=True)]
    if ufunc.__name__ not in GENERALIZED:
        broadcast_sizes(*values)
    whole = any(item.dtype.kind == "c" for item in values)
    made = (COMPLEX_FORMS if whole else FORMS)[ufunc.__name__](*values)
    if ufunc.nout == 1:
        return cast(made, found[-1])
    return tuple(cast(item, each) for item, each in zip(made, found[ufunc.nin :], strict=True))


def value(name: str, *operands: Any, **keywords: Any) -> Node:
    """A ufunc of one output applied to operands."""
    made = call(name, *operands, **keywords)
    assert isinstance(made, Node)
    return made


def _beyond(ufunc: np.ufunc, operands: tuple[Any, ...], found: tuple[Any, ...]) -> Node | None:
    """The comparison with a Python integer that the other operand's dtype cannot hold."""
    for position, value in enumerate(operands):
        kind = found[position]
        if type(value) is not int or kind.kind not in "iu":
            continue
        info = np.iinfo(kind)
        if not info.min <= value <= info.max and not is_weak(operands[1 - position]):
            inside = [0, 0]
            inside[position] = 1 if value > 0 else -1
            return full_like(lift(operands[1 - position]), bool(ufunc(*inside)), bool)
    return None


def outer(name: str, a: Any, b: Any, **keywords: Any) -> Any:
    """A binary ufunc of every element of a with every element of b."""
    one, other = (x if is_weak(x) else lift(x) for x in (a, b))
    if isinstance(one, Node) and isinstance(other, Node):
        rank = rank_of(one)
        one = unsqueeze(one, list(range(rank, rank + rank_of(other))))
    return call(name, one, other, **keywords)


def broadcast(*operands: Any) -> list[Node]:
    """Operands, each in its dtype, expanded to one shape."""
    values = [lift(x) for x in operands]
    sizes = broadcast_sizes(*values)
    return [expand(value, sizes, values) for value in values]


UFUNCS: dict[str, Callable[..., Any]] = {
    **{name: partial(call, name) for name in FORMS},
    **{alias: partial(call, name) for alias, name in ALIASES.items()},
}
"""Every ufunc that the graph can say: f(*operands, dtype=None, casting=..., where=True)."""
