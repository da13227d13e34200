"""The side file: large constants beside a text, memory-mapped when they are read.

The file begins with 64 bytes of mark and tag, a hash of the content that the text repeats, so that
a text is never read with the constants of another. Each constant begins at a multiple of 64.
"""

from __future__ import annotations

import mmap
from collections.abc import Sequence
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from typing import Any, BinaryIO

from graphopt.errors import TextError
from graphopt.tensor import Tensor, file_bytes
from graphopt.types import DType

_ALIGNMENT = 64
_MARK = b"graphopt data 1\n"
_TAG_BYTES = 16


class SideFile:
    """Large constants by offset. `put` collects those of a text; `open` maps those of a file."""

    def __init__(self, content: Any = b"") -> None:
        self._content = memoryview(content)
        self._tensors: dict[int, Tensor] = {}
        self._offsets: dict[Tensor, int] = {}
        self._end = _ALIGNMENT

    @classmethod
    def open(cls, path: Path) -> SideFile:
        """The constants of a file, mapped. Raises TextError when it is not a side file."""
        with path.open("rb") as file:
            if file.read(len(_MARK)) != _MARK:
                raise TextError("this is not a file of constants", at=str(path))
            return cls(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))

    def __len__(self) -> int:
        return len(self._tensors)

    def put(self, tensor: Tensor) -> int:
        """The offset of a tensor, which is added unless it is there."""
        offset = self._offsets.get(tensor)
        if offset is None:
            offset = self._end
            self._offsets[tensor] = offset
            self._tensors[offset] = tensor
            self._end += -(-tensor.nbytes // _ALIGNMENT) * _ALIGNMENT
            self.__dict__.pop("tag", None)
        return offset

    def tensor(self, dtype: DType, shape: Sequence[int], offset: int) -> Tensor:
        """The tensor at an offset; raises ValueError when there is none of this size."""
        known = self._tensors.get(offset)
        if known is not None and (known.dtype, known.shape) == (dtype, tuple(shape)):
            return known
        size = 1
        for length in shape:
            size *= length
        made = Tensor.from_raw(
            dtype, shape, self._content[offset : offset + file_bytes(dtype, size)]
        )
        self._tensors[offset] = made
        return made

    @cached_property
    def tag(self) -> str:
        """What tells these constants from others; of a file, what it says."""
        if len(self._content):
            return bytes(self._content[len(_MARK) : len(_MARK) + 2 * _TAG_BYTES]).decode("latin-1")
        state = blake2b(digest_size=_TAG_BYTES)
        for offset, tensor in self._tensors.items():
            state.update(f"{offset} {tensor.dtype}{tensor.shape}".encode())
            state.update(tensor.tobytes())
        return state.hexdigest()

    def write(self, file: BinaryIO) -> None:
        """Write all that was put."""
        file.write(_MARK + self.tag.encode())
        for offset, tensor in self._tensors.items():
            file.write(bytes(offset - file.tell()))
            file.write(tensor.tobytes())
        file.write(bytes(self._end - file.tell()))
