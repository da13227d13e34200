"""Read a graph from text: `parse_graph`."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from graphopt.errors import TextError, nearest
from graphopt.graph import Graph
from graphopt.ir import Node
from graphopt.op import OPSET, Op
from graphopt.records import Derivation, Location, ModelInfo, Record, Tables
from graphopt.structural import graph_input
from graphopt.tensor import Tensor
from graphopt.text.nodes import NodeReader
from graphopt.text.printer import VERSION
from graphopt.text.side import SideFile


def parse_graph(
    text: str, *, side: SideFile | None = None, file: str = "<text>", ops: Iterable[Op] = ()
) -> Graph:
    """The graph of a text that `print_graph` made, or a person.

    A person may leave out the first line and the last, and the types after nodes. `ops` are known
    beside those of the table. Raises TextError with file, line and column.
    """
    try:
        parser = Parser(text, side, file)
        parser.ops.update({op.key: op for op in ops})
        return parser.graph()
    except RecursionError:
        raise TextError("bodies or values are nested too deeply", at=file) from None


class Parser(NodeReader):
    """The reader of one text."""

    def __init__(self, text: str, side: SideFile | None, file: str) -> None:
        super().__init__(text, file, side)
        self.inputs: list[Node] = []
        self.outputs: list[tuple[str, Node]] = []
        self.effects: list[Node] = []
        self.defaults: dict[Node, Tensor] = {}
        self.title = "graph"
        self.info: ModelInfo | None = None
        self.records: dict[Node, tuple[Record, ...]] = {}
        self.locations: dict[Node, Location] = {}
        self.derivations: dict[Node, Derivation] = {}
        self.origin: tuple[Node, ...] = ()

    def graph(self) -> Graph:
        """The whole text."""
        headed = self.token == "graphopt"
        if headed:
            self.header()
        statements = self.statements()
        while self.kind != "end" and self.token != "end":
            if self.kind == "value" or self.token == "_":
                self.node()
                continue
            statement = statements.get(self.token) if self.kind == "name" else None
            if statement is None:
                hint = nearest(self.token, list(statements))
                raise self.unexpected(f"a node or a section{hint}")
            self.advance()
            statement()
        if headed or self.kind != "end":
            self.expect("end")
        if self.kind != "end":
            raise self.unexpected("nothing more")
        tables = Tables(
            self.info, self.names, self.records, self.locations, self.derivations, self.origin
        )
        return Graph(
            tuple(self.inputs),
            tuple(node for _, node in self.outputs),
            tuple(name for name, _ in self.outputs),
            self.title,
            tuple(self.effects),
            self.defaults,
            tables,
        )

    def header(self) -> None:
        """The first line: versions; then the mark of the side file."""
        self.expect("graphopt")
        start = self.start
        version = self.integer()
        if version != VERSION:
            message = f"the text has format {version}; this graphopt reads format {VERSION}"
            raise self.error(message, start)
        self.expect("opset")
        start = self.start
        opset = self.integer()
        if opset != OPSET:
            message = f"the text has ops of opset {opset}; those of this graphopt are of {OPSET}"
            raise self.error(f"{message}: exchange it as an ONNX model", start)
        if self.take("data"):
            start = self.start
            tag = self.string()
            if self.side is None:
                raise self.error("the text has a side file: read it by read_text", start)
            if tag != self.side.tag:
                raise self.error("the side file belongs to another text: write both anew", start)

    def statements(self) -> dict[str, Callable[[], None]]:
        """What reads each statement, after the word with which it begins."""
        return {
            "graph": self.read_title,
            "input": self.read_input,
            "output": self.read_output,
            "effect": lambda: self.effects.append(self.resolve()),
            "history": self.read_history,
            "info": self.read_info,
            "names": lambda: self.rows(self.read_name),
            "records": lambda: self.rows(self.read_record),
            "locations": lambda: self.rows(self.read_location),
            "derivations": lambda: self.rows(self.read_derivation),
            "origin": self.read_origin,
        }

    # Statements and tables

    def read_title(self) -> None:
        self.title = self.word()

    def read_input(self) -> None:
        start = self.start
        shown = self.need("value")
        name = shown[1:] if self.token == ":" else self.word()
        self.expect(":")
        node = graph_input(name, self.type())
        self.inputs.append(node)
        self.define(shown, node, start)
        self.names.pop(node, None)  # an input has its name as an attribute
        if self.take("="):
            start = self.start
            content = self.anchored()
            if not isinstance(content, Tensor):
                raise self.error("a default is a tensor", start)
            self.defaults[node] = content

    def read_output(self) -> None:
        name = self.word()
        self.expect("=")
        self.outputs.append((name, self.resolve()))

    def read_history(self) -> None:
        self.in_tables = True
        self.expect("{")
        while not self.take("}"):
            if self.kind != "value" and self.token != "_":
                raise self.unexpected("a node or '}'")
            self.node()

    def read_info(self) -> None:
        self.info = self.fields(ModelInfo)

    def read_origin(self) -> None:
        self.in_tables = True
        self.expect("(")
        self.origin = self.listed(self.resolve, ")")

    def rows(self, row: Callable[[Node], None]) -> None:
        """A section of rows `%value = …`."""
        self.in_tables = True
        self.expect("{")
        while not self.take("}"):
            node = self.resolve()
            self.expect("=")
            row(node)

    def read_name(self, node: Node) -> None:
        self.names[node] = self.string()

    def read_record(self, node: Node) -> None:
        self.records[node] = (*self.records.get(node, ()), self.fields(Record))

    def read_location(self, node: Node) -> None:
        self.locations[node] = Location(self.string(), self.integer())

    def read_derivation(self, node: Node) -> None:
        rule = self.string()
        self.expect("(")
        self.derivations[node] = Derivation(rule, self.listed(self.resolve, ")"))
