"""What a traced function is called with: the leaves of its arguments, and what each is to it.

A leaf is an array or a scalar of NumPy (an input of the graph), a number of Python (an input too,
unless its value is needed), a TensorSpec, or static: known while tracing. The trace is kept under
the keys of the leaves.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from inspect import Parameter, Signature, signature
from typing import Any

import numpy as np

from graphopt.errors import UsageError, nearest
from graphopt.frontends.trace.array import TracedArray
from graphopt.frontends.trace.kinds import class_of, is_a
from graphopt.frontends.trace.number import TracedNumber
from graphopt.frontends.trace.specs import TensorSpec
from graphopt.frontends.trace.tree import LEAF, Tree, flatten, paths
from graphopt.types import dtype_of

NUMBERS = (int, float, complex)
PLAIN = (bool, int, str, bytes, type(Ellipsis), range, type)
"""Classes whose static values are told apart by equality."""
Key = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Leaf:
    """A leaf of the arguments: array, scalar, number, spec, value (static), object (static)."""

    kind: str
    key: Key
    path: str


class Parameters:
    """The parameters of a function, in their order.

    `static` are the names of those whose whole argument is static. Raises UsageError for a name
    that the function does not have.
    """

    def __init__(self, function: Callable[..., Any], static: Sequence[str]) -> None:
        try:
            found: Signature = signature(function)
        except (TypeError, ValueError):
            raise UsageError(
                f"{function!r} has no signature that can be read", at="function"
            ) from None
        self.all = tuple(found.parameters.values())
        names = [param.name for param in self.all]
        for name in static:
            if name not in names:
                raise UsageError(
                    f"no parameter is called {name!r}{nearest(name, names)}", at="static_argnames"
                )
        self.static = frozenset(static)
        self.signature = found

    def bind(self, args: Sequence[Any], kwargs: dict[str, Any]) -> tuple[Any, ...]:
        """The arguments in the parameters' order; raises TypeError as a call does."""
        bound = self.signature.bind(*args, **kwargs)
        bound.apply_defaults()
        return tuple(bound.arguments[param.name] for param in self.all)

    def call(self, function: Callable[..., Any], values: Sequence[Any]) -> Any:
        """function called with one value for each parameter."""
        args: list[Any] = []
        kwargs: dict[str, Any] = {}
        for param, value in zip(self.all, values, strict=True):
            if param.kind is Parameter.VAR_POSITIONAL:
                args += value
            elif param.kind is Parameter.VAR_KEYWORD:
                kwargs.update(value)
            elif param.kind is Parameter.KEYWORD_ONLY:
                kwargs[param.name] = value
            else:
                args.append(value)
        return function(*args, **kwargs)

    def flatten(self, values: Sequence[Any]) -> tuple[list[Any], Tree, list[str]]:
        """The leaves of the arguments, the form of all of them, and a name for each leaf."""
        leaves: list[Any] = []
        parts: list[Tree] = []
        names: list[str] = []
        for param, value in zip(self.all, values, strict=True):
            found, tree = ([value], LEAF) if param.name in self.static else flatten(value)
            leaves += found
            parts.append(tree)
            names += paths(tree, param.name)
        return leaves, Tree(tuple, (), tuple(parts)), names

    def is_static(self, path: str) -> bool:
        """Whether a leaf is the whole argument of a static parameter."""
        return path in self.static


def describe(value: Any, path: str, static: bool, known: bool) -> Leaf:
    """What a leaf is to the trace; `known` says that a number's value is needed.

    Raises UsageError for arrays that a graph cannot hold, and for static arguments without a hash.
    """
    kind = class_of(value)
    if static:
        return Leaf("value", ("static", static_key(value, path)), path)
    if kind is np.ndarray:
        check_dtype(value.dtype, path)
        return Leaf("array", ("array", value.shape, value.dtype), path)
    if kind in NUMBERS and not known and fits(value):
        return Leaf("number", ("number", kind), path)
    if kind is TensorSpec:
        return Leaf("spec", ("spec", value), path)
    if is_a(value, np.generic):
        check_dtype(value.dtype, path)
        return Leaf("scalar", ("scalar", kind), path)
    if is_a(value, np.ndarray):
        raise UsageError(f"{kind.__module__}.{kind.__qualname__} is not a plain array", at=path)
    if kind in PLAIN or kind in NUMBERS or is_a(value, enum.Enum | np.dtype):
        return Leaf("value", ("static", static_key(value, path)), path)
    return Leaf("object", ("object", kind, id(value)), path)


def fits(number: Any) -> bool:
    """Whether an int can be held by a graph; other numbers can."""
    return type(number) is not int or -(1 << 63) <= number < 1 << 63


def check_dtype(dtype: np.dtype[Any], path: str) -> None:
    """Raise UsageError for a dtype that a graph cannot hold."""
    try:
        found = dtype_of(dtype)
    except TypeError as error:
        raise UsageError(str(error), at=path) from None
    if found.numpy != dtype or dtype.kind == "O":
        raise UsageError(f"arrays of dtype {dtype!r} are not supported", at=path)


def static_key(value: Any, path: str = "") -> Any:
    """What a static value is compared by: its class and its value, 0.0 apart from -0.0.

    Raises UsageError for what cannot be hashed.
    """
    kind = class_of(value)
    if kind in (float, complex):
        return (kind, repr(value))
    if kind is tuple:
        return (tuple, *(static_key(item, path) for item in value))
    try:
        hash(value)
    except TypeError:
        raise UsageError(
            f"a static argument must be hashable, not a {kind.__name__}", at=path
        ) from None
    return (kind, value)


def as_array(value: Any) -> Any:
    """A leaf as an array of NumPy where it is an array of another library, else itself."""
    if is_a(value, np.ndarray | np.generic) or not hasattr(class_of(value), "__array__"):
        return value
    return value if type(value) in (TracedArray, TracedNumber) else np.asarray(value)
