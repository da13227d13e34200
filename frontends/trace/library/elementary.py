"""Functions of single elements that are no ufuncs, and questions with known answers."""

from __future__ import annotations

from collections.abc import Callable
from math import pi
from typing import Any

import numpy as np

from graphopt import dims
from graphopt.errors import UnsupportedError
from graphopt.frontends.trace.library import nodes
from graphopt.frontends.trace.library.nodes import where
from graphopt.frontends.trace.library.operands import (
    WeakScalar,
    cast,
    castable,
    lift,
    numpy_dtype,
    rank_of,
    refuse,
    result_dtype,
    sizes_of,
    static,
    untyped,
)
from graphopt.frontends.trace.library.ufuncs import value
from graphopt.ir import Node
from graphopt.ops import complexes


def round_(a: Any, decimals: int = 0, out: Any = None) -> Node:
    """numpy.round, to a known number of decimals."""
    refuse("round", out=out)
    x, places = lift(a), int(static(decimals, "round's decimals"))
    if x.dtype.kind == "b":
        if places:
            raise UnsupportedError("round() of bools")
        return cast(x, np.float16)
    if x.dtype.is_integer and places >= 0:
        return x
    if places == 0:
        return value("rint", x)
    factor = 10.0 ** abs(places)
    away, back = ("multiply", "divide") if places > 0 else ("divide", "multiply")
    made = value(back, value("rint", value(away, x, factor)), factor)
    return cast(made, x.dtype.numpy)


def fix(x: Any, out: Any = None) -> Node:
    """numpy.fix."""
    refuse("fix", out=out)
    return value("trunc", x)


def astype(x: Any, dtype: Any, /, *, copy: bool = True, device: Any = None) -> Node:
    """numpy.astype; real numbers are made of the real parts of complex ones."""
    made, wanted = lift(x), np.dtype(dtype)
    return cast(real(made) if wanted.kind in "iuf" else made, wanted)


def sinc(x: Any) -> Node:
    """numpy.sinc."""
    at = lift(x)
    at = at if at.dtype.kind == "f" else cast(at, np.float64)
    small = nodes.scalar(1e-20 if at.dtype.bits > 16 else 1e-7, at)
    turned = value("multiply", pi, where(value("equal", at, 0), small, at))
    made = value("divide", value("sin", turned), turned)
    return where(value("equal", at, 0), 1, made)


def real(val: Any) -> Node:
    """numpy.real."""
    x = lift(val)
    return nodes.apply(complexes.real, x) if x.dtype.kind == "c" else x


def imag(val: Any) -> Node:
    """numpy.imag."""
    x = lift(val)
    return nodes.apply(complexes.imag, x) if x.dtype.kind == "c" else nodes.full_like(x, 0)


def real_if_close(a: Any, tol: float = 100) -> Node:
    """numpy.real_if_close of real numbers."""
    x = lift(a)
    if x.dtype.kind == "c":
        raise UnsupportedError("real_if_close() of complex numbers: its dtype depends on them")
    return x


def angle(z: Any, deg: bool = False) -> Node:
    """numpy.angle."""
    x = lift(z)
    turned = value("arctan2", imag(x) if x.dtype.kind == "c" else 0, real(x))
    return value("multiply", turned, 180 / pi) if deg else turned


def is_real(name: str, comparison: str) -> Callable[[Any], Node]:
    """numpy.isreal or numpy.iscomplex: how the imaginary part compares with 0."""

    def function(x: Any) -> Node:
        return value(comparison, imag(x), 0)

    function.__doc__ = f"numpy.{name}."
    return function


def infinite(name: str, comparison: str) -> Callable[..., Node]:
    """numpy.isposinf or numpy.isneginf."""

    def function(x: Any, out: Any = None) -> Node:
        refuse(name, out=out)
        at = lift(x)
        return value("logical_and", value("isinf", at), value(comparison, at, 0))

    function.__doc__ = f"numpy.{name}."
    return function


def shape(a: Any) -> tuple[dims.Size, ...]:
    """numpy.shape: sizes, symbolic ones as they are."""
    return sizes_of(lift(a))


def ndim(a: Any) -> int:
    """numpy.ndim."""
    return rank_of(lift(a))


def size(a: Any, axis: Any = None) -> dims.Size:
    """numpy.size: a number, or a symbolic size."""
    sizes = sizes_of(lift(a))
    axes = nodes.normal_axes(axis, len(sizes))
    return dims.product(sizes[k] for k in axes)


def result_type(*arrays_and_dtypes: Any) -> np.dtype[Any]:
    """numpy.result_type."""
    known = (bool, int, float, complex, np.ndarray, np.generic, Node, WeakScalar, np.dtype)
    return result_dtype(
        *(item if isinstance(item, known) else np.dtype(item) for item in arrays_and_dtypes)
    )


def can_cast(from_: Any, to: Any, casting: str = "safe") -> bool:
    """numpy.can_cast."""
    if isinstance(from_, Node | WeakScalar):
        from_ = numpy_dtype(from_)
    return castable(from_, to, casting)


def common_type(*arrays: Any) -> type[Any]:
    """numpy.common_type."""
    made: type[Any] = untyped.common_type(*(np.empty(0, numpy_dtype(item)) for item in arrays))
    return made


def min_scalar_type(a: Any, /) -> np.dtype[Any]:
    """numpy.min_scalar_type of arrays."""
    x = lift(a)
    if not rank_of(x):
        raise UnsupportedError("min_scalar_type() of a traced scalar")
    return x.dtype.numpy


def iscomplexobj(x: Any) -> bool:
    """numpy.iscomplexobj."""
    return numpy_dtype(x).kind == "c"


def isrealobj(x: Any) -> bool:
    """numpy.isrealobj."""
    return not iscomplexobj(x)
