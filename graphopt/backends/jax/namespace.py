"""The array namespace over JAX: what is known on the host is computed there, by NumPy.

A function is NumPy's unless an argument is a JAX array, so shapes, axes and constants stay numbers
while a program is traced. What NumPy and JAX do differently has a method here.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from types import ModuleType
from typing import Any

import numpy as np

from graphopt.backends.conversion import converted, native
from graphopt.backends.jax.library import jax, jnp, lax
from graphopt.backends.namespace import NUMPY, Index, States, Step
from graphopt.errors import UnsupportedError
from graphopt.types import DType, dtype_of

Array = Any

UNROLLED = 8
"""Scans of at most this many steps are written out: a loop costs XLA more than a small step."""


def on_device(value: object) -> bool:
    """Whether a value is a JAX array, traced or not, or a sequence with one."""
    if isinstance(value, list | tuple):
        return any(map(on_device, value))  # pyright: ignore[reportUnknownArgumentType]
    return isinstance(value, jax.Array)


@cache
def either(plain: Callable[..., Any], traced: Callable[..., Any]) -> Callable[..., Any]:
    """A function that is `traced` where an argument is a JAX array, else `plain`."""

    def call(*args: Any, **kwargs: Any) -> Any:
        device = any(map(on_device, args)) or any(map(on_device, kwargs.values()))
        return (traced if device else plain)(*args, **kwargs)

    return call


class Module:
    """The functions of a module of NumPy and of its counterpart in JAX, each where it belongs."""

    def __init__(self, plain: ModuleType, traced: ModuleType) -> None:
        self._plain = plain
        self._traced = traced

    def __getattr__(self, name: str) -> Any:
        plain = getattr(self._plain, name)
        if isinstance(plain, ModuleType):
            return Module(plain, getattr(self._traced, name))
        if isinstance(plain, type) or not callable(plain):
            return plain
        traced = getattr(self._traced, name, None)
        return plain if traced is None else either(plain, traced)


def _typed(x: Array, options: dict[str, Any]) -> dict[str, Any]:
    """Options with `initial` in the dtype of x: JAX takes no Python number beyond int64."""
    if "initial" in options:
        return {**options, "initial": np.asarray(options["initial"], x.dtype)}
    return options


def _common_divisor(x: Array, y: Array) -> tuple[Array, Array, Array]:
    """The greatest common divisor of integers, and their absolute values, unsigned.

    JAX's own does not end for the least signed number, whose absolute value is negative.
    """
    unsigned = np.dtype(f"u{x.dtype.name.removeprefix('u')}")
    high, low = (jnp.abs(item).astype(unsigned) for item in jnp.broadcast_arrays(x, y))
    return jnp.gcd(high, low), high, low


class LinearAlgebra(Module):
    """`linalg`: NumPy looks at one triangle of a symmetric matrix alone."""

    def cholesky(self, x: Array) -> Array:
        """The lower triangular factor; NaN of a matrix that is not positive definite."""
        if not on_device(x):
            plain: Any = np.linalg
            return plain.cholesky(x)
        return jnp.linalg.cholesky(_from_lower(x))

    def eigh(self, x: Array, UPLO: Any = "L") -> Any:
        """The eigenvalues, ascending, and eigenvectors of a symmetric matrix."""
        if not on_device(x):
            return np.linalg.eigh(x, UPLO)
        lower = x if UPLO == "L" else jnp.swapaxes(x, -1, -2).conj()
        return jnp.linalg.eigh(_from_lower(lower))


def _from_lower(x: Array) -> Array:
    """The symmetric or Hermitian matrices with the lower triangles of x."""
    return jnp.tril(x) + jnp.swapaxes(jnp.tril(x, -1), -1, -2).conj()


def _integer_power(x: Array, y: Array) -> Array:
    """x to the power of y >= 0, by squaring as often as the greatest y asks for."""
    base, exponent = jnp.broadcast_arrays(x, y)

    def step(state: States) -> States:
        made, square, left = state
        return jnp.where(left & 1 == 1, made * square, made), square * square, left >> 1

    def is_left(state: States) -> Array:
        return jnp.any(state[2] > 0)

    start = (jnp.ones_like(base), base, exponent)
    if on_device(y):
        return lax.while_loop(is_left, step, start)[0]
    for _ in range(int(np.max(y, initial=0)).bit_length()):
        start = step(start)
    return start[0]


def _complex_power(x: Array, y: Array) -> Array:
    """x to the power of y; JAX's own is NaN where x is 0, and for most infinities."""
    log = jnp.log(x)
    exponent = jnp.real(y) * jnp.real(log) - jnp.imag(y) * jnp.imag(log)
    made = jnp.where(exponent == -np.inf, 0, jnp.power(x, y))
    return jnp.where(y == 0, 1, made)


class JaxNamespace(Module):
    """JAX's functions, and the few that differ from NumPy's; see `NumpyNamespace`."""

    def __init__(self) -> None:
        super().__init__(np, jnp)

        self.linalg = LinearAlgebra(np.linalg, jnp.linalg)

    def dtype(self, kind: DType) -> Any:
        """The array dtype of a DType."""
        return kind.numpy

    def argsort(self, x: Array, axis: int = -1, kind: Any = None) -> Array:
        """Where the elements of sorted x were; JAX's is always stable."""
        return jnp.argsort(x, axis) if on_device(x) else np.argsort(x, axis, kind=kind)

    def take(self, x: Array, indices: Array, axis: int = 0) -> Array:
        """The slices of x at indices; raises IndexError for indices known to lie outside."""
        if not on_device((x, indices)):
            return np.take(x, indices, axis)
        size = x.shape[axis]
        if on_device(indices):
            if indices.dtype.kind == "i":
                indices = jnp.where(indices < 0, indices + size, indices)
            return jnp.take(x, indices, axis, mode="clip" if size else None)
        if np.any((indices < -size) | (indices >= size)):
            raise IndexError(f"an index is out of bounds for axis {axis} of size {size}")
        if indices.shape == (1,):  # less for XLA than a gather
            at = int(indices[0]) % size
            return lax.slice_in_dim(x, at, at + 1, axis=axis)
        return jnp.take(x, np.where(indices < 0, indices + size, indices), axis, mode="clip")

    def matmul(self, x: Array, y: Array) -> Array:
        """The products of matrices; JAX's own takes long to find out that these fit as they are."""
        batch = tuple(range(x.ndim - 2))
        fit = on_device(x) and on_device(y) and x.ndim == y.ndim >= 2 and x.dtype == y.dtype
        if not fit or x.shape[:-2] != y.shape[:-2] or x.dtype.kind == "b":
            return either(np.matmul, jnp.matmul)(x, y)
        return lax.dot_general(x, y, (((x.ndim - 1,), (y.ndim - 2,)), (batch, batch)))

    def max(self, x: Array, **options: Any) -> Array:
        """The greatest element over axes; `initial` may be any number of the dtype of x."""
        return either(np.max, jnp.max)(x, **_typed(x, options))

    def min(self, x: Array, **options: Any) -> Array:
        """The least element over axes; `initial` may be any number of the dtype of x."""
        return either(np.min, jnp.min)(x, **_typed(x, options))

    def power(self, x: Array, y: Array) -> Array:
        """x to the power of y; JAX's own looks at six bits of an integer y only."""
        if not on_device((x, y)):
            return NUMPY.power(x, y)
        kind = np.result_type(x, y).kind
        if kind in "iu":
            return _integer_power(x, y)
        return jnp.power(x, y) if kind != "c" else _complex_power(x, y)

    def sign(self, x: Array) -> Array:
        """-1, 0 or 1; 0 of -0."""
        if not on_device(x):
            return np.sign(x)
        made = jnp.sign(x)
        return jnp.where(x == 0, jnp.zeros_like(made), made)

    def mod(self, x: Array, y: Array) -> Array:
        """x - floor(x / y) * y; a zero has the sign of y, too."""
        if not on_device((x, y)):
            return np.mod(x, y)
        made = jnp.mod(x, y)
        return (
            made if made.dtype.kind in "iu" else jnp.where(made == 0, jnp.copysign(made, y), made)
        )

    remainder = mod

    def floor_divide(self, x: Array, y: Array) -> Array:
        """The floor of x / y; of floats an infinity where y is 0, which older versions lack."""
        if not on_device((x, y)):
            return np.floor_divide(x, y)
        made = jnp.floor_divide(x, y)
        return made if made.dtype.kind in "iu" else jnp.where(y == 0, jnp.true_divide(x, y), made)

    def gcd(self, x: Array, y: Array) -> Array:
        """The greatest common divisor of integers."""
        if not on_device((x, y)):
            return np.gcd(x, y)
        return _common_divisor(x, y)[0].astype(x.dtype)

    def lcm(self, x: Array, y: Array) -> Array:
        """The least common multiple of integers."""
        if not on_device((x, y)):
            return np.lcm(x, y)
        divisor, high, low = _common_divisor(x, y)
        made = high // jnp.maximum(divisor, jnp.ones_like(divisor)) * low
        return made.astype(x.dtype)

    def spacing(self, x: Array) -> Array:
        """The distance to the next number away from 0, with the sign of x; NaN of infinity."""
        if not on_device(x):
            return np.spacing(x)
        made = jnp.spacing(x)
        made = jnp.where(jnp.isinf(x), jnp.nan, made)
        return jnp.where(x == 0, jnp.abs(made), made)

    def divide_integers(self, x: Array, y: Array) -> Array:
        """x / y rounded toward zero; raises ZeroDivisionError only for a y known on the host."""
        if not on_device((x, y)):
            return NUMPY.divide_integers(x, y)
        if not on_device(y) and not np.all(y):
            raise ZeroDivisionError("integer division by zero")
        return lax.div(*jnp.broadcast_arrays(x, y))

    def cast(self, x: Array, dtype: DType, saturate: bool = True, round_mode: str = "up") -> Array:
        """x as another dtype, by the rules of ONNX's Cast; raises UnsupportedError for strings."""
        if not on_device(x):
            return NUMPY.cast(x, dtype, saturate, round_mode)
        source = dtype_of(x.dtype)
        if source is dtype:
            return x
        if dtype is DType.STRING:
            raise UnsupportedError("jax has no strings, so numbers cannot become some")
        return converted(self, native(x, source), dtype, saturate, round_mode)

    def scatter(self, data: Array, at: Index, updates: Array, reduction: str = "none") -> Array:
        """data with `updates` written at, or combined with what is at, an index."""
        if not on_device((data, at, updates)):
            return NUMPY.scatter(data, at, updates, reduction)
        where = jnp.asarray(data).at[at]
        return getattr(where, "set" if reduction == "none" else reduction)(updates)

    def scan(self, step: Step, states: States, count: int, backward: bool = False) -> States:
        """Run `step(k, states)` for each k; the last states, and what was shown, stacked."""
        if count <= UNROLLED:
            shown: list[Array] = [None] * count
            for k in reversed(range(count)) if backward else range(count):
                states, shown[k] = step(k, states)
            return (*states, self.stack(shown))

        def body(carry: States, k: Array) -> tuple[States, Array]:
            return step(k, carry)

        carry = tuple([jnp.asarray(state) for state in states])
        lasts, stacked = lax.scan(body, carry, np.arange(count), reverse=backward)
        return (*lasts, stacked)


JAX = JaxNamespace()
