"""External data: weights in files beside the model, mapped when read, streamed when written.

A model names those files, and a model may come from anybody, so a name is only followed inside the
model's folder, through no link of any kind, to a plain file that has no second name.
"""

from __future__ import annotations

import mmap
import os
import stat
import sys
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, Protocol

import numpy as np
import onnx

from graphopt.errors import ModelError
from graphopt.tensor import Tensor

KEYS = frozenset({"location", "offset", "length", "checksum"})
ALIGNMENT = 4096
CHUNK = 1 << 24
SMALL = 1 << 14
"""Files of fewer bytes are read: a map would keep one open for each of a thousand tensors."""
MIN_EXTERNAL = 1024
"""Tensors of fewer bytes stay in the model."""


class DataFiles:
    """The files with external data of one model, each mapped once.

    `folder` is the model's, None when the model did not come from a file: then there are none.
    """

    def __init__(self, folder: str | os.PathLike[str] | None) -> None:
        self.folder = None if folder is None else os.path.realpath(folder)
        self._mapped: dict[str, memoryview] = {}

    @property
    def locations(self) -> tuple[str, ...]:
        """The files that were read, as the model calls them."""
        return tuple(self._mapped)

    def read(self, proto: onnx.TensorProto, wanted: int) -> memoryview:
        """The `wanted` bytes that a tensor refers to; raises ModelError when they are not there."""
        entries = [(entry.key, entry.value) for entry in proto.external_data]
        if any(type(text) is not str for entry in entries for text in entry):  # protobuf's bytes
            raise ModelError("the description of its external data is not UTF-8 text")
        found = dict(entries)
        if len(found) != len(entries) or not found.keys() <= KEYS:
            odd = [key for key, _ in entries if key not in KEYS] or ["a key that stands twice"]
            raise ModelError(f"its external data has {odd[0]!r}, which is not understood")
        location = found.get("location", "")
        content = self._file(location)
        offset = _number(found.get("offset", "0"), "offset")
        length = _number(found["length"], "length") if "length" in found else wanted
        if length != wanted:
            raise ModelError(f"its external data has {length} bytes where it takes {wanted}")
        if offset + length > len(content):
            raise ModelError(
                f"its external data, {length} bytes at {offset}, ends after the file"
                f" {location!r} of {len(content)} bytes"
            )
        return content[offset : offset + length]

    def _file(self, location: str) -> memoryview:
        if location not in self._mapped:
            if self.folder is None:
                raise ModelError("its data is external, and the model was not read from a file")
            path = PurePosixPath(location.replace(os.sep, "/"))
            if path.is_absolute() or ".." in path.parts or not path.parts or "\0" in location:
                raise ModelError(f"its external data {location!r} is not inside the model's folder")
            if Path(location).is_absolute() or Path(location).drive:
                raise ModelError(f"its external data {location!r} is not inside the model's folder")
            self._mapped[location] = _map(self.folder, path.parts, location)
        return self._mapped[location]


def _number(text: str, what: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 20):
        raise ModelError(f"the {what} of its external data is {text[:30]!r}")
    return int(text)


def _map(folder: str, parts: tuple[str, ...], location: str) -> memoryview:
    try:
        handle = _open_plainly(folder, parts)
    except OSError as error:
        reason = error.strerror or str(error)
        message = f"its external data {location!r} cannot be opened without following links"
        raise ModelError(f"{message}: {reason}") from error
    try:
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode):
            raise ModelError(f"its external data {location!r} is not a plain file")
        if found.st_nlink != 1:
            raise ModelError(f"its external data {location!r} is a file with several names")
        if found.st_size < SMALL:
            return memoryview(os.read(handle, SMALL))
        # before 3.13 a map keeps a descriptor open, which nobody needs
        options: dict[str, Any] = {"trackfd": False} if sys.version_info >= (3, 13) else {}
        return memoryview(mmap.mmap(handle, 0, access=mmap.ACCESS_READ, **options))
    finally:
        os.close(handle)


def _open_plainly(folder: str, parts: tuple[str, ...]) -> int:
    """Open folder/parts, refusing a link at every step; a FIFO does not block."""
    if os.open not in os.supports_dir_fd or not hasattr(os, "O_NOFOLLOW"):
        path = os.path.join(folder, *parts)  # noqa: PTH118 - a Path would tidy it
        if os.path.realpath(path) != path:
            raise OSError("it is a link")
        return os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    for k, part in enumerate(parts):
        try:
            inner = os.open(
                part, flags | (os.O_DIRECTORY if k < len(parts) - 1 else 0), dir_fd=handle
            )
        finally:
            os.close(handle)
        handle = inner
    return handle


class Sink(Protocol):
    """Where the content of tensors goes when a model is written."""

    def take(self, tensor: Tensor, proto: onnx.TensorProto) -> bool:
        """Put the content of `tensor` elsewhere and say so in `proto`; False to leave it in it."""
        ...


class Embedded:
    """All content stays in the model."""

    def take(self, tensor: Tensor, proto: onnx.TensorProto) -> bool:
        return False


class DataWriter:
    """Streams the content of large tensors into one file, which the model calls `location`.

    The same tensor is written once, however often it is taken.
    """

    def __init__(self, stream: BinaryIO, location: str, minimum: int = MIN_EXTERNAL) -> None:
        self.stream = stream
        self.location = location
        self.minimum = minimum
        self.size = 0
        self._offsets: dict[Tensor, int] = {}

    def take(self, tensor: Tensor, proto: onnx.TensorProto) -> bool:
        length = tensor.nbytes
        if length < self.minimum:
            return False
        offset = self._offsets.get(tensor)
        if offset is None:
            padding = -self.size % ALIGNMENT
            self.stream.write(bytes(padding))
            offset = self._offsets[tensor] = self.size + padding
            for chunk in chunks(tensor):
                self.stream.write(chunk)
            self.size = offset + length
        proto.data_location = onnx.TensorProto.EXTERNAL
        for key, value in (("location", self.location), ("offset", offset), ("length", length)):
            proto.external_data.add(key=key, value=str(value))
        return True


def chunks(tensor: Tensor) -> Iterator[memoryview]:
    """The bytes of a tensor piece by piece: a mapped file is never in memory as a whole."""
    if tensor.dtype.bits % 8:
        yield memoryview(tensor.tobytes())
        return
    if tensor.is_splat:
        per = max(1, CHUNK // (tensor.dtype.bits // 8))
        for start in range(0, tensor.size, per):
            count = min(per, tensor.size - start)
            yield memoryview(Tensor.splat(tensor.dtype, (count,), tensor.element).tobytes())
        return
    raw = tensor.array.reshape(-1).view(np.uint8)
    for start in range(0, raw.nbytes, CHUNK):
        yield raw[start : start + CHUNK].data
