"""Fourier transforms of signals, whole and frame by frame.

A signal's last axis is its real and imaginary part, or the real part alone.
"""

from __future__ import annotations

from graphopt import dims
from graphopt.dims import Size
from graphopt.ir import Node
from graphopt.op import Array, Facts, Xp, op, refuse
from graphopt.ops.checks import (
    check_dtype,
    check_one_element,
    check_rank,
    check_rank_from,
    check_size,
    float_dtype,
    one_size,
    size_at,
)
from graphopt.ops.common import element, normal_axis
from graphopt.ops.dtypes import INDICES
from graphopt.ops.examples import given
from graphopt.ops.kernels import number, wide
from graphopt.structural import constant
from graphopt.types import DType, TensorType, Type


def as_parts(xp: Xp, spectrum: Array) -> Array:
    """Complex numbers as a last axis of real and imaginary parts."""
    return xp.stack((xp.real(spectrum), xp.imag(spectrum)), axis=-1)


def spectrum_of(xp: Xp, x: Array, length: int, axis: int, onesided: bool) -> Array:
    """The transform (..., 2) of real (..., 1) or complex (..., 2) signals, or half of it."""
    if x.shape[-1] == 1:
        transform = xp.fft.rfft if onesided else xp.fft.fft
        return as_parts(xp, transform(x[..., 0], n=length, axis=axis))
    if onesided:
        raise ValueError("the spectrum of a complex signal has two sides")
    return as_parts(xp, xp.fft.fft(x[..., 0] + 1j * x[..., 1], n=length, axis=axis))


def signal_of(xp: Xp, x: Array, length: int, axis: int, onesided: bool) -> Array:
    """The inverse of `spectrum_of`: real (..., 1) from one side, else complex (..., 2)."""
    if x.shape[-1] == 1:
        if onesided:
            raise ValueError("the inverse from one side takes complex elements")
        return as_parts(xp, xp.fft.ifft(x[..., 0], n=length, axis=axis))
    spectrum = x[..., 0] + 1j * x[..., 1]
    if onesided:
        return xp.fft.irfft(spectrum, n=length, axis=axis)[..., None]
    return as_parts(xp, xp.fft.ifft(spectrum, n=length, axis=axis))


@op("DFT", facts=Facts(host_inputs=(1, 2)))
def dft(
    xp: Xp,
    x: Array,
    dft_length: Array | None = None,
    axis: Array | None = None,
    *,
    inverse: int = 0,
    onesided: int = 0,
) -> Array:
    """The discrete Fourier transform along an axis (by default the last of the signal's).

    x is cut or padded with zeros to dft_length. Onesided, the forward transform of a real signal
    gives length // 2 + 1 elements only, and the inverse gives the real signal from those.
    """
    (full,) = wide(xp, x)
    if full.shape[-1] not in (1, 2):
        raise ValueError(f"the last axis has size {full.shape[-1]}")
    along = (-2 if axis is None else number(axis)) % x.ndim
    if along == x.ndim - 1:
        raise ValueError("the last axis holds the parts of complex elements")
    back = bool(inverse and onesided)
    length = x.shape[along] if dft_length is None else number(dft_length)
    if dft_length is None and back:
        length = 2 * (length - 1)
    transform = signal_of if inverse else spectrum_of
    return transform(xp, full, length, along, bool(onesided)).astype(x.dtype)


@dft.infer
def _(x: Node, dft_length: Node | None, axis: Node | None, *, inverse: int, onesided: int) -> Type:
    float_dtype(x)
    check_transform(x, dft_length, bool(inverse), bool(onesided))
    check_dtype(axis, (DType.INT64,), "axis")
    check_one_element(axis, "axis")
    if x.shape is None:
        return TensorType(x.dtype, None)
    rank = len(x.shape)
    parts = 1 if inverse and onesided else 2
    along = -2 if axis is None else element(axis)
    if not isinstance(along, int):
        return TensorType(x.dtype, (None,) * (rank - 1) + (parts,))
    along = normal_axis(along, rank)
    if along == rank - 1:
        raise refuse("the last axis holds the parts of complex elements")
    length = x.shape[along] if dft_length is None else element(dft_length)
    if length is not None and onesided:
        if not inverse:
            length = dims.floordiv(length, 2) + 1
        elif dft_length is None:
            length = 2 * (length - 1)
    if isinstance(length, int) and length < 1:
        raise refuse(f"a transform of length {length}")
    return TensorType(x.dtype, (*x.shape[:along], length, *x.shape[along + 1 : -1], parts))


def check_transform(x: Node, length: Node | None, inverse: bool, onesided: bool) -> None:
    """Refuse signals without a last axis of parts, or whose transform has not that side alone."""
    check_rank_from(x, 2)
    check_dtype(length, INDICES, "the length")
    check_one_element(length, "the length")
    parts = size_at(x, -1)
    if isinstance(parts, int) and (parts not in (1, 2) or (onesided and parts != 1 + inverse)):
        raise refuse(f"the last axis has size {parts}")


@op("STFT", facts=Facts(host_inputs=(1, 3)))
def stft(
    xp: Xp,
    signal: Array,
    frame_step: Array,
    window: Array | None = None,
    frame_length: Array | None = None,
    *,
    onesided: int = 1,
) -> Array:
    """The transforms of frames of a signal (batch, length, 1 or 2), a step apart, times a window.

    The result is (batch, frames, bins, 2). A frame is as long as the window, or as frame_length, or
    as the signal.
    """
    full, wave = wide(xp, signal, window)
    step, total = number(frame_step), signal.shape[1]
    if frame_length is not None:
        length = number(frame_length)
    else:
        length = total if window is None else window.shape[0]
    if not 0 < length <= total or step < 1:
        raise ValueError(f"frames of {length} every {step} in a signal of {total}")
    starts = xp.arange((total - length) // step + 1) * step
    frames = full[:, starts[:, None] + xp.arange(length), :]
    if wave is not None:
        check_size("the length of a frame", length, wave.shape[0])
        frames = frames * wave[:, None]
    return spectrum_of(xp, frames, length, 2, bool(onesided)).astype(signal.dtype)


@stft.infer
def _(
    signal: Node,
    frame_step: Node,
    window: Node | None,
    frame_length: Node | None,
    *,
    onesided: int,
) -> Type:
    float_dtype(signal, window)
    check_transform(signal, frame_length, False, bool(onesided))
    check_rank(signal, (3,), "the signal")
    check_rank(window, (1,), "the window")
    check_dtype(frame_step, INDICES, "frame_step")
    check_one_element(frame_step, "frame_step")
    total, step = size_at(signal, 1), element(frame_step)
    length = one_size("the length of a frame", element(frame_length), size_at(window, 0))
    if frame_length is None and window is None:
        length = total
    if (isinstance(step, int) and step < 1) or (isinstance(length, int) and length < 1):
        raise refuse(f"frames of {length} every {step}")
    bins = length if length is None or not onesided else dims.floordiv(length, 2) + 1
    frames: Size | None = None
    if total is not None and length is not None and step is not None:
        # Running fails where the step is not positive.
        frames = dims.floordiv(total - length, step) + 1
    if isinstance(frames, int) and frames < 1:
        raise refuse(f"frames of {length} in a signal of {total}")
    return TensorType(signal.dtype, (size_at(signal, 0), frames, bins, 2))


@dft.examples
def _() -> list[Node]:
    x, z = given("x", 2, 6, 5, 1), given("x", 2, 6, 5, 2)
    axis = constant(1)
    return [
        dft(x),
        dft(x, None, axis, onesided=1),
        dft(z, constant(4), axis),
        dft(z, constant(8), axis, inverse=1),
        dft(z, None, None, inverse=1, onesided=1),
        dft(x, constant(7, DType.INT32), onesided=1),
        dft(given("x", 3, 4, 1, dtype=DType.FLOAT64)),
        dft(given("x", 0, 4, 1)),
    ]


@stft.examples
def _() -> list[Node]:
    real, window, step = given("x", 2, 16, 1), given("w", 6), constant(3)
    return [
        stft(real, step, window),
        stft(real, step, window, constant(6), onesided=0),
        stft(real, step, None, constant(5)),
        stft(given("x", 1, 8, 2), constant(2, DType.INT32), given("w", 4), onesided=0),
    ]
