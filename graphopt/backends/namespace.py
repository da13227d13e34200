"""The array namespace that kernels are written against: NumPy, plus what ONNX defines otherwise."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from graphopt.backends.conversion import converted, native
from graphopt.types import DType, dtype_of

if TYPE_CHECKING:
    from graphopt.body import Body

Array = Any
Index = tuple[Array, ...]
States = tuple[Array, ...]
Step = Callable[[Any, States], tuple[States, Array]]

COMBINED = {"add": np.add, "mul": np.multiply, "max": np.maximum, "min": np.minimum}
"""What reduces several updates of one element of a scatter."""


class NumpyNamespace:
    """NumPy's functions, and the few that differ from one backend to another."""

    def __getattr__(self, name: str) -> Any:
        return getattr(np, name)

    def dtype(self, kind: DType) -> Any:
        """The array dtype of a DType."""
        return kind.numpy

    def divide_integers(self, x: Array, y: Array) -> Array:
        """x / y rounded toward zero; raises ZeroDivisionError, and INT_MIN / -1 wraps around."""
        x, y = np.broadcast_arrays(x, y)
        if not y.all():
            raise ZeroDivisionError("integer division by zero")
        if x.dtype.kind == "u":
            return np.asarray(x // y)
        quotient = np.asarray(x // y)
        inexact = (quotient * y != x) & ((x < 0) != (y < 0))
        return np.asarray(quotient + inexact.astype(x.dtype))

    def power(self, x: Array, y: Array) -> Array:
        """x to the power of y; NumPy's own is the root where one 0.5 is y: not of -0 and -inf."""
        return exact_roots(np.power(x, y), x, y)

    def cast(self, x: Array, dtype: DType, saturate: bool = True, round_mode: str = "up") -> Array:
        """x as another dtype, by the rules of ONNX's Cast.

        `saturate` counts for 8-bit floats: what is too large becomes the greatest number, else
        infinity or NaN. `round_mode` counts for float8_e8m0fnu: up, down or nearest. Raises
        ValueError for a string that is not a number.
        """
        source = dtype_of(x.dtype)
        if source is dtype:
            return x
        if source is DType.STRING:
            return self.cast(_parse(x, dtype), dtype, saturate, round_mode)
        ready = native(x, source)
        if dtype is DType.STRING:
            return np.asarray(ready.astype(np.str_).astype(object))
        return converted(np, ready, dtype, saturate, round_mode)

    def scatter(self, data: Array, at: Index, updates: Array, reduction: str = "none") -> Array:
        """A copy of data with `updates` written at, or combined with what is at, an index.

        `reduction` is none, add, mul, max or min. Of several updates of one element without a
        reduction, the last is kept. Raises IndexError for an index that lies outside.
        """
        made = np.array(data)
        if reduction == "none":
            made[at] = updates
        else:
            COMBINED[reduction].at(made, at, updates)
        return made

    def scan(self, step: Step, states: States, count: int, backward: bool = False) -> States:
        """Run `step(k, states)`, which returns the next states and an array to show, `count` times.

        k counts from 0, or `backward` from count - 1 down. Returns the last states and behind them
        what was shown, stacked by k; `count` is not 0.
        """
        shown: list[Array] = []
        for k in reversed(range(count)) if backward else range(count):
            states, item = step(k, states)
            shown.append(item)
        return (*states, np.stack(shown[::-1] if backward else shown))

    def call(self, body: Body, arguments: Sequence[Array]) -> tuple[Array, ...]:
        """The outputs of a body run on arguments."""
        from graphopt.backends.reference import run_body

        return run_body(body, arguments, self)


def exact_roots(made: np.ndarray[Any, Any], x: Array, y: Array) -> Array:
    """NumPy's x to the power of y, that of 0.5 mended: of -0 it is 0, of -inf it is inf."""
    half: Array = np.equal(y, 0.5)
    if made.dtype.kind != "f" or not half.any():
        return made
    size: np.ndarray[Any, Any] = np.abs(x)
    return np.where(half & ((size == 0) | (size == np.inf)), size, made)


def _parse(texts: Array, dtype: DType) -> Array:
    """Strings as the widest numbers of the kind of `dtype`."""
    for kind in (np.int64, np.uint64) if dtype.is_integer else ():
        try:
            return texts.astype(kind)
        except (OverflowError, ValueError):
            pass  # "18446744073709551615", "100.5", "1e3"
    return texts.astype(np.float64)


NUMPY = NumpyNamespace()
