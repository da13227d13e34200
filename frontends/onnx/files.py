"""Reading a model's bytes and writing files so that a crash never leaves half of one."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4

import onnx
from google.protobuf.message import DecodeError
from google.protobuf.unknown_fields import UnknownFieldSet

from graphopt.errors import ModelError

Source = str | os.PathLike[str] | bytes | BinaryIO


def read_source(source: Source) -> tuple[bytes, str, str | None]:
    """(content, name for messages, folder of external data) of a path, bytes or a stream."""
    if isinstance(source, bytes):
        return source, "<bytes>", None
    if not isinstance(source, str | os.PathLike):
        return source.read(), str(getattr(source, "name", "<stream>")), None
    path = Path(source)
    try:
        content = path.read_bytes()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ModelError(f"cannot be read: {reason}", at=str(path)) from error
    return content, str(path), str(path.resolve().parent)


def parse(content: bytes) -> onnx.ModelProto:
    """The ModelProto of a file's content; raises ModelError saying what it is instead."""
    try:
        model: onnx.ModelProto = onnx.ModelProto.FromString(content)
    except (DecodeError, ValueError) as error:
        raise ModelError(_what_is(content)) from error
    if not model.HasField("graph"):
        raise ModelError(_what_is(content))
    if len(UnknownFieldSet(model)):
        raise ModelError("not a sound ONNX model: it has parts that no model has, maybe at its end")
    return model


def _what_is(content: bytes) -> str:
    if not content:
        return "the file is empty"
    if content.startswith(b"version https://git-lfs"):
        return "this is a Git LFS pointer, not the model that it stands for"
    try:
        text = content[:4096].decode()
    except UnicodeDecodeError:
        text = "\0"
    if all(mark.isprintable() or mark.isspace() for mark in text):
        return "this is a text file, not an ONNX model"
    return "not an ONNX model, or one that is cut short"


@contextmanager
def replacing() -> Generator[Callable[[Path], BinaryIO]]:
    """Files that appear together when the block ends well, in the order in which they were opened.

    They are written beside their targets and renamed; when the block raises, nothing has changed.
    A target that is no plain file (a pipe, a device) is written directly.
    """
    renames: list[tuple[Path, Path]] = []
    with ExitStack() as opened:

        def create(target: Path) -> BinaryIO:
            if target.exists() and not stat.S_ISREG(target.stat().st_mode):
                return opened.enter_context(target.open("wb"))
            beside = target.with_name(f".{target.name[:100]}.{uuid4().hex[:12]}.tmp")
            stream = opened.enter_context(beside.open("xb"))
            renames.append((beside, target))
            return stream

        try:
            yield create
            opened.close()  # before the renames: an open file cannot be renamed everywhere
            for beside, target in renames:
                if target.exists():
                    beside.chmod(stat.S_IMODE(target.stat().st_mode))
                beside.replace(target)
        finally:
            opened.close()
            for beside, _ in renames:
                beside.unlink(missing_ok=True)
