"""The elements of tensors as words, exact by bits: decimal where that comes back, else hexadecimal.

A complex element is two words. Strings are not treated here: they are quoted.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from graphopt.tensor import Tensor
from graphopt.types import DType

_PARTS = {DType.COMPLEX64: DType.FLOAT32, DType.COMPLEX128: DType.FLOAT64}
_BOOLS = {"true": 1, "false": 0}


def words_of(tensor: Tensor) -> list[str]:
    """The elements of a tensor in C order; the one element of a splat."""
    part = _PARTS.get(tensor.dtype, tensor.dtype)
    source = tensor
    if tensor.is_splat:
        source = Tensor.from_raw(tensor.dtype, (1,), tensor.tobytes(compact=True))
    flat = np.ascontiguousarray(source.array).reshape(-1).view(part.numpy)
    words = [str(item).lower() for item in flat]
    bits = _bits(flat)
    for k in np.flatnonzero(_bits(_parse(part, words)) != bits).tolist():
        words[k] = f"0x{int(bits[k]):0{2 * flat.itemsize}x}"
    return words


def tensor_of(dtype: DType, shape: tuple[int, ...], words: Sequence[str], *, splat: bool) -> Tensor:
    """The tensor of these words; raises ValueError for words that do not fit."""
    part = _PARTS.get(dtype, dtype)
    size = 1
    for length in () if splat else shape:
        size *= length
    wanted = size * (1 if part is dtype else 2)
    if len(words) != wanted:
        raise ValueError(f"{dtype}{list(shape)} takes {wanted} elements, not {len(words)}")
    array = _parse(part, words).view(dtype.numpy)
    return Tensor(dtype, shape, array.reshape(() if splat else shape), is_splat=splat)


def _parse(dtype: DType, words: Sequence[str]) -> np.ndarray[Any, Any]:
    """An array of these words."""
    exact = {k: int(text, 16) for k, text in enumerate(words) if text.startswith("0x")}
    items = ["0" if k in exact else text for k, text in enumerate(words)] if exact else words
    if dtype.is_float:
        with np.errstate(over="ignore"):
            array = np.array([float(text) for text in items], np.float64).astype(dtype.numpy)
    else:
        array = _integers(dtype, items).astype(dtype.numpy)
    for k, bits in exact.items():
        if bits >> 8 * array.itemsize:
            raise ValueError(f"0x{bits:x} is too long for {dtype}")
        _bits(array)[k] = bits
    return array


def _integers(dtype: DType, words: Sequence[str]) -> np.ndarray[Any, Any]:
    if dtype is DType.BOOL:
        return np.array([_BOOLS[text] if text in _BOOLS else int(text) for text in words], np.bool_)
    low = -(1 << (dtype.bits - 1)) if dtype.kind == "i" else 0
    values = [int(text) for text in words]
    for value in values:
        if not low <= value < low + (1 << dtype.bits):
            raise ValueError(f"{value} does not fit {dtype}")
    return np.array(values, np.uint64 if dtype.kind == "u" else np.int64)


def _bits(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return array.view(f"u{array.itemsize}")
