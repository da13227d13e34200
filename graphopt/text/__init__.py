"""The textual form of graphs (`.gir`): everything of a graph, printed and parsed back.

    graphopt 1 opset 28
    graph main
    input %x : float32[N, 4]
    %w = tensor(float32[], [2.0])
    %a, _ = Split(%x) {axis = 1, outputs = 2} : (float32[N, 2], float32[N, 2])
    %y = Mul(%a, %w) : float32[N, 2]
    output y = %y
    end

A name that is not a number is the value's name in the tables. Types after nodes are for the reader:
they are compared with what is derived. Then come the tables, each in a section.
"""

from __future__ import annotations

from pathlib import Path

from graphopt.errors import TextError
from graphopt.files import replacing
from graphopt.graph import Graph
from graphopt.text.parser import parse_graph
from graphopt.text.printer import print_graph
from graphopt.text.side import SideFile

__all__ = ["SideFile", "parse_graph", "print_graph", "read_text", "write_text"]


def write_text(graph: Graph, path: str | Path) -> None:
    """Write a graph to `path`, and its large constants to `path` with `.data` added.

    Either both files are replaced or none that a reader would take for whole.
    """
    path = Path(path)
    side = SideFile()
    text = print_graph(graph, side=side).encode()
    if len(side):
        with replacing(_data_path(path), path) as (data, file):
            side.write(data)
            file.write(text)
    else:
        with replacing(path) as (file,):
            file.write(text)


def read_text(path: str | Path) -> Graph:
    """The graph that `write_text` wrote; large constants are memory-mapped, not read.

    Raises TextError, and OSError when there is no such file.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise TextError(f"this is not a text: {error}", at=str(path)) from None
    data = _data_path(path)
    side = SideFile.open(data) if data.exists() else None
    return parse_graph(text, side=side, file=str(path))


def _data_path(path: Path) -> Path:
    return path.with_name(path.name + ".data")
