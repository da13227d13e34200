"""The content of constants: typed, read-only, and not read before somebody needs it.

A tensor is told from another by its bits when it is small, and by the memory that it occupies when
it is large, so that making a constant of a memory-mapped gigabyte reads nothing. A splat (every
element the same) stores one element whatever its shape.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from math import prod
from typing import Any

import numpy as np

from graphopt.types import DType, dtype_of

BY_BITS = 1024
"""Tensors of at most this many bytes are equal when their bits are."""
SKETCHED = 64
"""How many elements a sketch is made of."""


class Tensor:
    """An immutable array of a dtype. Make one with `of`, `from_raw` or `splat`.

    `key` is what equality of constants means: see the module's text. Raises ValueError for sizes
    that do not fit.
    """

    __slots__ = ("_packed", "_stored", "dtype", "is_splat", "key", "shape")

    def __init__(
        self,
        dtype: DType,
        shape: tuple[int, ...],
        stored: np.ndarray[Any, Any],
        *,
        is_splat: bool = False,
        packed: bool = False,
    ) -> None:
        stored.flags.writeable = False
        self.dtype = dtype
        self.shape = shape
        self.is_splat = is_splat
        self._stored = stored
        self._packed = packed
        self.key = self._key()

    def _key(self) -> tuple[Any, ...]:
        if self.is_splat or self.dtype is DType.STRING or self.stored_bytes <= BY_BITS:
            return (self.dtype, self.shape, self.is_splat, self.tobytes(compact=True))
        return (self.dtype, self.shape, self._stored.__array_interface__["data"][0])

    @classmethod
    def of(cls, data: Any, dtype: DType | None = None) -> Tensor:
        """The tensor of an array, a scalar or nested lists; writable memory is copied."""
        array = np.asarray(data, None if dtype is None else dtype.numpy)
        kind = dtype or dtype_of(array.dtype)
        if kind is DType.STRING:
            flat = [_text_bytes(item) for item in array.reshape(-1).tolist()]
            array = _object_array(flat).reshape(array.shape)
        elif array.flags.writeable or not array.flags.c_contiguous:
            array = np.array(array, order="C", copy=True)
        return cls(kind, array.shape, array)

    @classmethod
    def from_raw(cls, dtype: DType, shape: Sequence[int], buffer: Any) -> Tensor:
        """The tensor over little-endian bytes as ONNX's raw_data lays them out; nothing is read.

        `buffer` is bytes or anything with the buffer protocol, such as a memory map.
        """
        shape = tuple(shape)
        raw = np.frombuffer(buffer, np.uint8)
        wanted = file_bytes(dtype, prod(shape))
        if raw.nbytes != wanted:
            raise ValueError(f"{dtype}{list(shape)} takes {wanted} bytes, not {raw.nbytes}")
        if dtype.bits % 8:
            return cls(dtype, shape, raw, packed=True)
        if raw.ctypes.data % dtype.numpy.alignment:
            raw = raw.copy()
        return cls(dtype, shape, raw.view(dtype.numpy).reshape(shape))

    @classmethod
    def strings(cls, items: Sequence[bytes], shape: Sequence[int]) -> Tensor:
        """A tensor of strings, each as UTF-8 bytes."""
        if len(items) != prod(shape):
            raise ValueError(f"string{list(shape)} takes {prod(shape)} items, not {len(items)}")
        return cls(DType.STRING, tuple(shape), _object_array(list(items)).reshape(tuple(shape)))

    @classmethod
    def splat(cls, dtype: DType, shape: Sequence[int], item: Any) -> Tensor:
        """A tensor whose every element is `item`, stored once; strings are stored one by one."""
        if dtype is DType.STRING:
            return cls.strings([_text_bytes(item)] * prod(shape), shape)
        stored = np.array(item, dtype.numpy).reshape(())
        return cls(dtype, tuple(shape), stored, is_splat=True)

    @property
    def size(self) -> int:
        """The number of elements."""
        return prod(self.shape)

    @property
    def nbytes(self) -> int:
        """The bytes that the elements take in a file (those of strings without their lengths)."""
        if self.dtype is DType.STRING:
            return sum(map(len, self._stored.reshape(-1).tolist()))
        return file_bytes(self.dtype, self.size)

    @property
    def stored_bytes(self) -> int:
        """The bytes that are kept: those of one element for a splat."""
        return file_bytes(self.dtype, 1) if self.is_splat else self.nbytes

    @property
    def array(self) -> np.ndarray[Any, Any]:
        """The elements, read-only; strings as an object array of str."""
        if self.dtype is DType.STRING:
            texts = [item.decode("utf-8", "surrogateescape") for item in self._stored.reshape(-1)]
            return _object_array(texts).reshape(self.shape)
        if self._packed:
            elements = unpack(self._stored, self.dtype, self.size).reshape(self.shape)
            elements.flags.writeable = False
            return elements
        return np.broadcast_to(self._stored, self.shape) if self.is_splat else self._stored

    @property
    def items(self) -> list[bytes]:
        """The elements of a tensor of strings, as bytes."""
        return list(self._stored.reshape(-1))

    @property
    def element(self) -> Any:
        """The one element of a splat or of a tensor of size 1, as a NumPy scalar or str."""
        if self.is_splat:
            return self._stored[()]
        if self.size != 1:
            raise ValueError(f"a tensor of {self.size} elements is not one element")
        return self.array.reshape(-1)[0]

    def compact(self) -> Tensor:
        """This tensor as a splat when all its elements have the same bits, else itself."""
        if self.is_splat or self._packed or self.dtype is DType.STRING or self.size < 2:
            return self
        flat = self._stored.reshape(-1)
        words = flat.view(np.dtype((np.void, flat.itemsize)))
        first = words[:1].tobytes()
        if flat[-1:].tobytes() != first or not bool((words == words[0]).all()):
            return self
        return Tensor.splat(self.dtype, self.shape, flat[0])

    def dense(self) -> Tensor:
        """This tensor with every element stored."""
        return Tensor(self.dtype, self.shape, np.array(self.array)) if self.is_splat else self

    def tobytes(self, *, compact: bool = False) -> bytes:
        """Little-endian bytes as in ONNX's raw_data; with `compact`, one element of a splat."""
        if self.dtype is DType.STRING:
            return b"".join(len(item).to_bytes(8, "little") + item for item in self.items)
        if self._packed:
            return self._stored.tobytes()
        array = self._stored if compact else self.array
        if self.dtype.bits % 8:
            return pack(np.ascontiguousarray(array), self.dtype)
        owner: Any = array.base
        while isinstance(owner, np.ndarray):
            owner = owner.base
        if type(owner) is bytes and len(owner) == array.nbytes and array.flags.c_contiguous:
            return owner  # the array is a view of all of it
        return array.tobytes()

    def sketch(self) -> bytes:
        """A few bytes of the content: equal for equal tensors, mostly not for others."""
        if self._packed or self.dtype is DType.STRING or not self.size:
            return b""
        step = -(-self.size // SKETCHED)
        if self.is_splat:
            return self._stored.tobytes() * len(range(0, self.size, step))
        return self._stored.reshape(-1)[::step].tobytes()

    def digest(self) -> bytes:
        """A hash of dtype, shape and content; reads everything."""
        seed = f"{self.dtype}{self.shape}".encode()
        if self.is_splat or self._packed or self.dtype is DType.STRING:
            return blake2b(seed + self.dense().tobytes(), digest_size=16).digest()
        state = blake2b(seed, digest_size=16)
        state.update(np.ascontiguousarray(self._stored).reshape(-1).view(np.uint8).data)
        return state.digest()

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Tensor) and self.key == other.key)

    def __hash__(self) -> int:
        return hash(self.key)

    def __reduce__(self) -> tuple[Any, ...]:
        if self.dtype is DType.STRING:
            return (Tensor.strings, (self.items, self.shape))
        if self.is_splat:
            return (_splat_of_raw, (self.dtype, self.shape, self.tobytes(compact=True)))
        return (Tensor.from_raw, (self.dtype, self.shape, self.tobytes()))

    def __repr__(self) -> str:
        return f"Tensor({self.dtype}{list(self.shape)}{', splat' if self.is_splat else ''})"


def _splat_of_raw(dtype: DType, shape: tuple[int, ...], raw: bytes) -> Tensor:
    return Tensor.splat(dtype, shape, Tensor.from_raw(dtype, (), raw).array)


def _text_bytes(item: str | bytes) -> bytes:
    return item if isinstance(item, bytes) else str(item).encode("utf-8", "surrogateescape")


def _object_array(items: Sequence[Any]) -> np.ndarray[Any, Any]:
    array = np.empty(len(items), object)
    array[:] = items
    return array


def file_bytes(dtype: DType, size: int) -> int:
    """The bytes that `size` elements take in a file; sub-byte elements are packed."""
    return (size * dtype.bits + 7) // 8


def unpack(raw: np.ndarray[Any, Any], dtype: DType, size: int) -> np.ndarray[Any, Any]:
    """Elements of less than a byte, first element in the low bits, as one array element each."""
    bits = dtype.bits
    shifts = np.arange(0, 8, bits, dtype=np.uint8)
    codes = ((raw[:, None] >> shifts) & ((1 << bits) - 1)).reshape(-1)[:size]
    if dtype.kind == "i":
        codes = ((codes ^ (1 << (bits - 1))).astype(np.int8) - (1 << (bits - 1))).astype(np.int8)
    return codes.view(dtype.numpy) if dtype.kind == "f" else codes.astype(dtype.numpy)


def pack(array: np.ndarray[Any, Any], dtype: DType) -> bytes:
    """The inverse of `unpack`."""
    bits, per = dtype.bits, 8 // dtype.bits
    flat = array.reshape(-1)
    codes = flat.view(np.uint8) if dtype.kind == "f" else flat.astype(np.int8).view(np.uint8)
    padded = np.zeros(-(-len(codes) // per) * per, np.uint8)
    padded[: len(codes)] = codes & ((1 << bits) - 1)
    shifts = np.arange(0, 8, bits, dtype=np.uint8)
    return bytes(np.bitwise_or.reduce(padded.reshape(-1, per) << shifts, axis=1).astype(np.uint8))
