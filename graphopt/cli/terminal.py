"""What is drawn while passes run: progress, and the difference that each of them made."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator
from types import TracebackType
from typing import Self, TextIO

from graphopt.graph import Graph
from graphopt.pipeline import Pass
from graphopt.report import PassRecord

COLOURS = {"+": "\033[32m", "-": "\033[31m", "@": "\033[36m"}
PLAIN = "\033[0m"
PATIENCE = 0.5
"""Seconds before progress is shown: what is done by then needs none."""


def is_terminal(stream: TextIO) -> bool:
    """Whether somebody watches who sees a line being rewritten."""
    dumb = os.environ.get("TERM") == "dumb" or bool(os.environ.get("CI"))
    return stream.isatty() and not dumb


def wants_colour(stream: TextIO) -> bool:
    """Whether to colour: a terminal that can, and no NO_COLOR; FORCE_COLOR overrules."""
    if os.environ.get("FORCE_COLOR"):
        return True
    return is_terminal(stream) and not os.environ.get("NO_COLOR")


class Progress:
    """A line on standard error that says what goes on and for how long, once it takes a while.

    A listener of passes, and a context: the line is gone when it ends.
    """

    def __init__(self, stream: TextIO, *, shown: bool) -> None:
        self.stage = ""
        self._stream = stream
        self._shown = shown
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._draw, daemon=True)

    def __enter__(self) -> Self:
        if self._shown:
            self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._done.set()
        if self._shown:
            self._thread.join()

    def before(self, pass_: Pass, graph: Graph) -> None:
        """Show the pass."""
        self.stage = pass_.name

    def after(self, pass_: Pass, before: Graph, after: Graph, record: PassRecord) -> None:
        """Nothing: the next stage shows itself."""

    def _draw(self) -> None:
        started = time.monotonic()
        drawn = False
        while not self._done.wait(0.1 if drawn else PATIENCE):
            drawn = True
            spent = time.monotonic() - started
            self._stream.write(f"\r\033[K{self.stage} {spent:.1f} s")
            self._stream.flush()
        if drawn:
            self._stream.write("\r\033[K")
            self._stream.flush()


class ShowChanges:
    """A listener that prints, as a text difference, what each pass changed."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._colour = wants_colour(stream)

    def before(self, pass_: Pass, graph: Graph) -> None:
        """Nothing: only what a pass made is of interest."""

    def after(self, pass_: Pass, before: Graph, after: Graph, record: PassRecord) -> None:
        """Print the difference between the two graphs."""
        if after is not before:
            for line in changes(before, after, pass_.text()):
                print(coloured(line) if self._colour else line, file=self._stream)


def changes(before: Graph, after: Graph, title: str) -> Iterator[str]:
    """The lines of a difference between the texts of two graphs."""
    from difflib import unified_diff

    from graphopt.text import print_graph

    old, new = (print_graph(graph, max_lines=sys.maxsize).splitlines() for graph in (before, after))
    return unified_diff(old, new, f"before {title}", f"after {title}", lineterm="")


def coloured(line: str) -> str:
    """A line of a difference, coloured by its first character."""
    colour = COLOURS.get(line[:1])
    return f"{colour}{line}{PLAIN}" if colour else line
