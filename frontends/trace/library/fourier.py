"""numpy.fft: transforms along one axis, by the op DFT on real and imaginary parts."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphopt.errors import UnsupportedError
from graphopt.frontends.trace.library import nodes
from graphopt.frontends.trace.library.elementary import imag, real
from graphopt.frontends.trace.library.movement import roll
from graphopt.frontends.trace.library.nodes import apply, normal, take_axis
from graphopt.frontends.trace.library.operands import (
    cast,
    lift,
    rank_of,
    real_only,
    sizes_of,
    static,
    static_size,
)
from graphopt.ir import Node
from graphopt.ops.complexes import complex_of
from graphopt.ops.signal import dft


def _parts(x: Node) -> Node:
    """Complex numbers as pairs along a last axis; real ones as single elements."""
    last = [rank_of(x)]
    if x.dtype.kind != "c":
        return nodes.unsqueeze(x, last)
    return nodes.concat([nodes.unsqueeze(part, last) for part in (real(x), imag(x))], last[0])


def _transformed(a: Any, n: Any, axis: int, norm: Any, *, inverse: bool, onesided: bool) -> Node:
    """A transform of the first n elements along an axis, or of those and zeros."""
    if norm not in (None, "backward"):
        raise UnsupportedError(f"fft(norm={norm!r}) is not supported")
    x = lift(a)
    if x.dtype.numpy == np.float16:
        raise UnsupportedError("fft() of float16 is not supported")
    x = x if x.dtype.kind in "fc" else cast(x, np.float64)
    along = normal(axis, rank_of(x))
    if inverse and onesided and x.dtype.kind != "c":
        x = cast(x, np.result_type(x.dtype.numpy, np.complex64))
    length = None if n is None else int(static(n, "fft's length"))
    if (length is not None and length < 1) or sizes_of(x)[along] == 0:
        raise ValueError(f"Invalid number of FFT data points ({length}) specified.")
    count = None if length is None else lift(np.int64(length))
    attrs = {"inverse": int(inverse), "onesided": int(onesided)}
    made = apply(dft, _parts(x), count, lift(np.int64(along)), **attrs)
    last = rank_of(made) - 1
    if inverse and onesided:
        return nodes.squeeze(made, [last])
    return apply(complex_of, take_axis(made, 0, last), take_axis(made, 1, last))


def fft(a: Any, n: Any = None, axis: int = -1, norm: Any = None, out: Any = None) -> Node:
    """numpy.fft.fft."""
    return _transformed(a, n, axis, norm, inverse=False, onesided=False)


def ifft(a: Any, n: Any = None, axis: int = -1, norm: Any = None, out: Any = None) -> Node:
    """numpy.fft.ifft."""
    return _transformed(a, n, axis, norm, inverse=True, onesided=False)


def rfft(a: Any, n: Any = None, axis: int = -1, norm: Any = None, out: Any = None) -> Node:
    """numpy.fft.rfft."""
    real_only("rfft", lift(a))
    return _transformed(a, n, axis, norm, inverse=False, onesided=True)


def irfft(a: Any, n: Any = None, axis: int = -1, norm: Any = None, out: Any = None) -> Node:
    """numpy.fft.irfft."""
    return _transformed(a, n, axis, norm, inverse=True, onesided=True)


def _halves(x: Any, axes: Any, *, back: bool) -> Any:
    values = lift(x)
    chosen = nodes.normal_axes(axes, rank_of(values))
    sizes = [static_size(sizes_of(values)[axis], "fftshift()") for axis in chosen]
    shifts = [-(size // 2) if back else size // 2 for size in sizes]
    return roll(values, shifts, chosen)


def fftshift(x: Any, axes: Any = None) -> Any:
    """numpy.fft.fftshift."""
    return _halves(x, axes, back=False)


def ifftshift(x: Any, axes: Any = None) -> Any:
    """numpy.fft.ifftshift."""
    return _halves(x, axes, back=True)
