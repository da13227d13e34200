"""Writing files so that a reader never sees half of one."""

from __future__ import annotations

import os
from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def replacing(*paths: Path) -> Generator[Sequence[BinaryIO]]:
    """Files that take the places of `paths`, in this order, when the block ends without an error.

    They are written beside their targets; after an error nothing of them is left.
    """
    fresh = [path.with_name(f".{path.name}.{os.getpid()}.tmp") for path in paths]
    try:
        with ExitStack() as stack:
            files = [stack.enter_context(path.open("wb")) for path in fresh]
            yield files
            for file in files:
                file.flush()
                os.fsync(file.fileno())
        for made, path in zip(fresh, paths, strict=True):
            made.replace(path)
    finally:
        for made in fresh:
            made.unlink(missing_ok=True)
