"""The array namespace that kernels are written against: NumPy, plus what ONNX defines otherwise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np

from graphopt.types import DType, dtype_of

if TYPE_CHECKING:
    from graphopt.body import Body

Array = Any

EXTENSION = 256
"""The type numbers of dtypes that are not NumPy's own start here (NPY_USERDEF)."""


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
        return _converted(_native(x, source), dtype, saturate, round_mode)

    def call(self, body: Body, arguments: Sequence[Array]) -> tuple[Array, ...]:
        """The outputs of a body run on arguments."""
        from graphopt.backends.reference import run_body

        return run_body(body, arguments)


def _parse(texts: Array, dtype: DType) -> Array:
    """Strings as the widest numbers of the kind of `dtype`."""
    for kind in (np.int64, np.uint64) if dtype.is_integer else ():
        try:
            return texts.astype(kind)
        except (OverflowError, ValueError):
            pass  # "18446744073709551615", "100.5", "1e3"
    return texts.astype(np.float64)


def _native(x: Array, source: DType) -> Array:
    """x as a dtype of NumPy's own; ml_dtypes cannot cast all of its dtypes to each other."""
    if source.bits < 8 and source.is_integer:
        return x.astype(np.int8)
    return x.astype(np.float32) if x.dtype.num >= EXTENSION else x


def _converted(x: Array, dtype: DType, saturate: bool, round_mode: str) -> Array:
    """Numbers of a dtype of NumPy's own as another dtype."""
    if dtype is DType.STRING:
        return np.asarray(x.astype(np.str_).astype(object))
    if dtype is DType.FLOAT8E8M0:
        return _powers_of_two(x.astype(np.float32), saturate, round_mode).view(dtype.numpy)
    if dtype.is_integer and x.dtype.kind == "f":
        return _truncated(x, dtype)
    if dtype.is_float and dtype.bits == 8:
        x = x if x.dtype.kind == "f" else x.astype(np.float32)
        if saturate:
            info: Any = ml_dtypes.finfo
            top = float(info(dtype.numpy).max)
            x = np.clip(x, -top, top)
    return x.astype(dtype.numpy)


def _truncated(x: Array, dtype: DType) -> Array:
    """Floats rounded toward zero; higher bits than those of `dtype` are discarded.

    Of NaN and of what even 64 bits do not hold, the bits are those of the least integer. ONNX
    leaves all this open; it is what x86 does, and does not depend on the position in the array.
    """
    wide = np.int32 if dtype is DType.INT32 else np.int64
    low = float(np.iinfo(wide).min)
    inside = (x > low) & (x < -low)
    whole = np.where(inside, x, low).astype(wide)
    if dtype is DType.UINT64:
        above = (x >= -low) & (x < -2 * low)
        return np.where(above, x, 0).astype(np.uint64) | np.where(above, 0, whole).astype(np.uint64)
    return whole.astype(dtype.numpy)


def _powers_of_two(x: Array, saturate: bool, round_mode: str) -> Array:
    """The codes of float8_e8m0fnu that float32 numbers round to: the exponents; 255 is NaN."""
    bits = x.view(np.uint32)
    exponent, fraction = (bits >> 23) & 0xFF, bits & 0x7FFFFF
    half = 0x400000
    small = exponent == 0  # subnormal: 2**-127, the least number, has the fraction one half
    if round_mode == "up":
        more = fraction > np.where(small, half, 0)
    elif round_mode == "nearest":
        more = fraction >= np.where(small, half + half // 2, half)
    else:
        more = np.zeros_like(small)
    if saturate:
        code = np.minimum(exponent + more, 0xFE)
    else:
        code = np.where(small & (fraction < half), 0xFF, np.minimum(exponent + more, 0xFF))
    return np.where(np.isnan(x), 0xFF, code).astype(np.uint8)


NUMPY = NumpyNamespace()
