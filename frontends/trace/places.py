"""Where in the user's program something happens: frames, lines, columns, the text of a line.

While tracing a place is only (code, instruction), which is cheap to take; it is resolved to a line
and columns when a graph or a message asks for them.
"""

from __future__ import annotations

import linecache
import os
import sys
from functools import lru_cache
from itertools import islice
from pathlib import Path
from types import CodeType, FrameType, TracebackType
from typing import Any, NamedTuple

import numpy as np

from graphopt.records import Location

_PACKAGE = Path(__file__).resolve().parents[2]
_INTERNAL = tuple(
    f"{folder}{os.sep}"
    for folder in (
        Path(np.__file__).parent,
        Path(np.__file__).resolve().parent,
        *(_PACKAGE / name for name in ("graphopt", "passes", "frontends")),
        Path(__file__).absolute().parents[2],
    )
    if (folder / "__init__.py").exists()
)
"""Folders whose frames are not the user's: this package as it is imported and NumPy."""


@lru_cache(maxsize=4096)
def is_internal(file: str) -> bool:
    """Whether a file belongs to graphopt or NumPy, not to the user."""
    return file.startswith(_INTERNAL) or file.startswith("<graphopt")


class Place(NamedTuple):
    """An instruction of the user's program."""

    code: CodeType
    instruction: int

    @property
    def line(self) -> int:
        """The line, the first of the function when the code does not say."""
        return self._span()[0] or self.code.co_firstlineno

    @property
    def column(self) -> int:
        """The column, from 1; 1 where the interpreter does not keep columns."""
        start = self._span()[2]
        return 1 if start is None else len(self._bytes()[:start].decode("utf-8", "replace")) + 1

    @property
    def location(self) -> Location:
        """The place as a graph's tables hold it."""
        return Location(short(self.code.co_filename), self.line)

    @property
    def source(self) -> str:
        """The text of the line, without its end."""
        return linecache.getline(self.code.co_filename, self.line).rstrip()

    @property
    def expression(self) -> str:
        """The text that the instruction stands for, on one line; empty when it is not known."""
        _, last, start, end = self._span()
        if start is None or end is None:
            return ""
        text = self._bytes()
        return (text[start:end] if last == self.line else text[start:]).decode("utf-8", "replace")

    def __str__(self) -> str:
        return f"{short(self.code.co_filename)}:{self.line}:{self.column}"

    def caret(self) -> str:
        """The line with a caret under what the instruction stands for; empty without source."""
        line = self.source
        if not line:
            return ""
        body = line.lstrip()
        start = max(self.column - 1 - (len(line) - len(body)), 0)
        width = max(len(self.expression.rstrip()), 1) if self._span()[2] is not None else len(body)
        return f"    {body}\n    {' ' * start}{'^' * min(width, max(len(body) - start, 1))}"

    def _bytes(self) -> bytes:
        return linecache.getline(self.code.co_filename, self.line).rstrip("\n").encode()

    def _span(self) -> tuple[int | None, int | None, int | None, int | None]:
        found = next(islice(self.code.co_positions(), self.instruction // 2, None), None)
        return found or (None, None, None, None)


def short(file: str) -> str:
    """A file's path as a message shows it: from the working directory where it lies under it.

    A notebook's cell is shown as users know it, In[5].
    """
    if file.startswith("<"):
        return file
    if (cell := _cell(file)) is not None:
        return cell
    try:
        path = os.path.relpath(file)
    except ValueError:  # another drive
        return file
    return file if path.startswith("..") else path


def _cell(file: str) -> str | None:
    """The name of the notebook's cell that IPython has compiled as a file, if it has."""
    ipython = sys.modules.get("IPython")
    shell: Any = None if ipython is None else ipython.get_ipython()
    name = getattr(getattr(shell, "compile", None), "format_code_name", None)
    found: tuple[str, str] | None = None if name is None else name(file)
    return None if found is None else found[1]


def user_place() -> Place:
    """The instruction that the innermost frame of the user's program is at."""
    frame: FrameType | None = sys._getframe(1)  # pyright: ignore[reportPrivateUsage] # the cheap way
    innermost = frame
    while frame is not None:
        code = frame.f_code
        if not is_internal(code.co_filename):
            return Place(code, frame.f_lasti)
        frame = frame.f_back
    assert innermost is not None
    return Place(innermost.f_code, innermost.f_lasti)


def users_traceback(traceback: TracebackType | None) -> TracebackType | None:
    """A traceback without the frames of graphopt and NumPy."""
    frames: list[TracebackType] = []
    while traceback is not None:
        if not is_internal(traceback.tb_frame.f_code.co_filename):
            frames.append(traceback)
        traceback = traceback.tb_next
    kept: TracebackType | None = None
    for entry in reversed(frames):
        kept = TracebackType(kept, entry.tb_frame, entry.tb_lasti, entry.tb_lineno)
    return kept
