"""What a call should take, in seconds, from the bytes that it moves and the sums that it does.

The figures are those of one core of a present-day server; they need only be right enough to tell
what is worth a thread of its own. Where it matters, the first run measures (`program`).
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from graphopt.backends.numpy.block import Call, Ref

CALL = 0.4e-6
"""A call of NumPy that does nothing."""
BYTE = 1 / 12e9
"""Reading or writing a byte."""
FLOP = 1 / 80e9
"""A floating-point operation of a matrix product in float32, on one core."""
WHOLE = 20e-6
"""A node that is run as a whole."""
STRIDED = 3.0
"""How many times longer elements take that do not lie one behind the other."""

ELEMENT: dict[Any, float] = {
    np.exp: 0.6e-9, np.log: 0.8e-9, np.tanh: 1.5e-9, np.sin: 2e-9, np.cos: 2e-9,
    np.power: 10e-9, np.float_power: 10e-9, np.expm1: 6e-9, np.log1p: 6e-9, np.arctan2: 10e-9,
    np.true_divide: 0.4e-9, np.sqrt: 0.4e-9, np.floor_divide: 3e-9, np.remainder: 6e-9,
    np.fmod: 6e-9,
}  # fmt: skip
"""What an element takes beyond being read and written."""


def estimate(call: Call) -> float:
    """The seconds that a call should take."""
    reads, writes = list(call.reads), [*call.writes, *call.returns]
    if not all(ref.is_known for ref in (*reads, *writes)):
        return WHOLE
    moved = sum(_moved(ref) for ref in reads) + sum(_moved(ref) for ref in writes)
    element = ELEMENT.get(call.func, 0.0)
    seconds = CALL + moved * BYTE + sum(ref.size for ref in writes) * element
    return seconds + product_flops(call) * FLOP


def product_flops(call: Call) -> float:
    """The operations of a matrix product, 0 of another call; weighted by the dtype."""
    if call.func is not np.matmul:
        return 0.0
    a, out = call.args[0], call.writes[0]
    inner = (a.shape if isinstance(a, Ref) else np.shape(a))[-1]
    weight = out.dtype.itemsize / 4 if out.dtype.kind in "fc" else 40.0  # no BLAS for integers
    return 2.0 * prod(out.shape) * inner * weight


def _moved(ref: Ref) -> float:
    return ref.nbytes * (1.0 if ref.meta.flags.c_contiguous else STRIDED)
