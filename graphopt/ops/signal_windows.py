"""Windows for signals, and the weights that gather a spectrum into bands of the mel scale."""

from __future__ import annotations

from math import pi

from graphopt import dims
from graphopt.ir import Node
from graphopt.op import Array, Facts, Op, Xp, op, refuse
from graphopt.ops.checks import check_dtype, check_one_element
from graphopt.ops.common import element
from graphopt.ops.dtypes import FLOATS, INDICES, NUMBERS
from graphopt.ops.kernels import number
from graphopt.structural import constant
from graphopt.types import DType, TensorType, Type


def cosine_window(name: str, constant_term: float, first: float, second: float, text: str) -> Op:
    """A window that is a sum of cosines: constant_term - first * cos(t) + second * cos(2t)."""

    def kernel(
        xp: Xp, size: Array, *, output_datatype: DType = DType.FLOAT32, periodic: int = 1
    ) -> Array:
        count = number(size)
        turns = xp.arange(count, dtype=xp.float64) / (count if periodic else count - 1)
        phase = 2 * pi * turns
        made = constant_term - first * xp.cos(phase) + second * xp.cos(2 * phase)
        return made.astype(xp.dtype(output_datatype))

    def infer(size: Node, *, output_datatype: DType, periodic: int) -> Type:
        check_dtype(size, INDICES, "size")
        check_one_element(size, "size")
        if output_datatype not in NUMBERS:
            raise refuse(f"output_datatype is {output_datatype}")
        count = element(size)
        if isinstance(count, int) and count < 0:
            raise refuse(f"a window of {count} elements")
        return TensorType(output_datatype, (count,))

    def examples() -> list[Node]:
        made = [window(constant(n), periodic=p) for n in (0, 2, 10) for p in (0, 1)]
        return [*made, window(constant(8, DType.INT32), output_datatype=DType.FLOAT64)]

    kernel.__doc__ = text + "; over size - 1 steps unless periodic. The result is (size)."
    window = Op(name, kernel, facts=Facts(host_inputs=(0,)))
    window.infer(infer)
    window.examples(examples)
    return window


hann_window = cosine_window("HannWindow", 0.5, 0.5, 0.0, "sin²(πn / size)")
hamming_window = cosine_window(
    "HammingWindow", 25 / 46, 21 / 46, 0.0, "25/46 - 21/46 cos(2πn / size)"
)
blackman_window = cosine_window(
    "BlackmanWindow", 0.42, 0.5, 0.08, "0.42 - 0.5 cos(2πn / size) + 0.08 cos(4πn / size)"
)


@op("MelWeightMatrix", facts=Facts(host_inputs=(0, 1)))
def mel_weight_matrix(
    xp: Xp,
    num_mel_bins: Array,
    dft_length: Array,
    sample_rate: Array,
    lower_edge_hertz: Array,
    upper_edge_hertz: Array,
    *,
    output_datatype: DType = DType.FLOAT32,
) -> Array:
    """Triangles that weigh a onesided spectrum into bands of the mel scale.

    The result is (dft_length // 2 + 1, num_mel_bins).
    """
    bands, length = number(num_mel_bins), number(dft_length)
    low, high = (
        2595 * xp.log10(1 + xp.asarray(edge, xp.float64).reshape(()) / 700)
        for edge in (lower_edge_hertz, upper_edge_hertz)
    )
    mels = xp.arange(bands + 2) * ((high - low) / (bands + 2)) + low
    hertz = 700 * (10 ** (mels / 2595) - 1)
    corners = xp.floor((length + 1) * hertz / sample_rate.reshape(()))
    left, peak, right = corners[:-2], corners[1:-1], corners[2:]
    at = xp.arange(length // 2 + 1)[:, None]
    rising = (at >= left) & (at <= peak)
    falling = (at > peak) & (at < right)
    up = xp.where(at == peak, 1.0, (at - left) / (peak - left))
    down = (right - at) / (right - peak)
    made = xp.where(rising, up, xp.where(falling, down, 0.0))
    return made.astype(xp.dtype(output_datatype))


@mel_weight_matrix.infer
def _(
    num_mel_bins: Node,
    dft_length: Node,
    sample_rate: Node,
    lower_edge_hertz: Node,
    upper_edge_hertz: Node,
    *,
    output_datatype: DType,
) -> Type:
    for value in (num_mel_bins, dft_length, sample_rate):
        check_dtype(value, INDICES, "a size")
        check_one_element(value, "a size")
    for value in (lower_edge_hertz, upper_edge_hertz):
        check_dtype(value, FLOATS, "an edge")
        check_one_element(value, "an edge")
    if output_datatype not in NUMBERS:
        raise refuse(f"output_datatype is {output_datatype}")
    bands, length = element(num_mel_bins), element(dft_length)
    if (isinstance(bands, int) and bands < 0) or (isinstance(length, int) and length < 0):
        raise refuse(f"{bands} bands of a transform of length {length}")
    bins = None if length is None else dims.floordiv(length, 2) + 1
    return TensorType(output_datatype, (bins, bands))


@mel_weight_matrix.examples
def _() -> list[Node]:
    sizes = [constant(n) for n in (8, 16, 8192)]
    edges = [constant(e, DType.FLOAT32) for e in (0.0, 4096.0)]
    return [
        mel_weight_matrix(*sizes, *edges),
        mel_weight_matrix(*sizes, *edges, output_datatype=DType.FLOAT64),
    ]
