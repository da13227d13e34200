"""Read nodes and bodies; what stands around them in a graph is `graphopt.text.parser`'s."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from graphopt.body import Body
from graphopt.errors import GraphoptError, TextError, nearest
from graphopt.ir import Node
from graphopt.op import Op, absent
from graphopt.ops import table
from graphopt.records import Record, Region
from graphopt.structural import bound, constant, opaque, out
from graphopt.tensor import Tensor
from graphopt.text.reader import Reader
from graphopt.text.side import SideFile
from graphopt.types import TensorType, TupleType, Type, map_shapes

_KINDS: Mapping[str, tuple[type, ...]] = {
    "int": (int,),
    "float": (float, int),
    "bool": (bool,),
    "str": (str,),
    "bytes": (bytes,),
    "Ints": (tuple,),
    "Floats": (tuple,),
    "Strings": (tuple,),
    "Tensor": (Tensor,),
    "Body": (Body,),
}


class NodeReader(Reader):
    """A reader of nodes. `scope` holds the values that can be named here.

    Tables also see the values in bodies: `everything`. `names` collects those that are no numbers.
    """

    def __init__(self, text: str, file: str, side: SideFile | None) -> None:
        super().__init__(text, file, side)
        self.ops: dict[tuple[str, str], Op] = dict(table())
        self.scope: dict[str, Node] = {}
        self.everything: dict[str, Node] = {}
        self.in_tables = False
        self.names: dict[Node, str] = {}

    def resolve(self) -> Node:
        """The value whose name stands here; raises TextError when it has none."""
        if self.take("_"):
            return absent
        start = self.start
        name = self.need("value")
        found = self.scope.get(name)
        if found is None and self.in_tables:
            found = self.everything.get(name)
        if found is None:
            hint = nearest(name, list(self.scope)[-1000:])
            raise self.error(f"no value {name} is defined before this{hint}", start)
        return found

    def define(self, name: str, node: Node, start: int) -> None:
        """Give a value its name; one that is not a number is also its name in the tables."""
        if name in self.scope:
            raise self.error(f"{name} is defined twice: choose another name", start)
        self.scope[name] = node
        self.everything[name] = node
        if not name[1:].isdigit():
            self.names[node] = name[1:]

    # Nodes

    def node(self) -> None:
        """A line that defines a node and its outputs."""
        groups: list[list[tuple[str, int]]] = []
        single: list[tuple[str, int]] = []
        while self.kind == "value" or self.token == "_":
            names = [self.target()]
            if self.token == "=":
                single += names
            else:
                while self.take(",") and self.token != "=":
                    names.append(self.target())
                groups.append(names)
            self.expect("=")
        start = self.start
        node = self.made()
        for name, place in single:
            self.define(name, node, place)
        kind = node.derived_type
        count = len(kind.elements) if isinstance(kind, TupleType) else 1
        for names in groups:
            if not isinstance(kind, TupleType) or len(names) != count:
                raise self.error(f"{node.op.name} has {count} outputs, not {len(names)}", start)
            for index, (name, place) in enumerate(names):
                if name != "_":
                    self.define(name, out(node, index), place)

    def target(self) -> tuple[str, int]:
        """The name of an output and its offset, `_` for one that is not used."""
        start = self.start
        return ("_", start) if self.take("_") else (self.need("value"), start)

    def made(self) -> Node:
        """The node that stands right of the `=`."""
        start = self.start
        if self.token in ("&", "tensor", "splat"):
            content = self.anchored()
            if not isinstance(content, Tensor):
                raise self.error("a body is no value", start)
            return constant(content)
        domain, name = "", self.word()
        if self.take("::"):
            domain, name = name, self.word()
        origin = self.integer() if self.take("#") else None
        op = None if origin is not None else self.known_op(domain, name, start)
        self.expect("(")
        inputs: tuple[Node, ...] = self.listed(self.resolve, ")")
        attrs = self.attributes(op) if self.take("{") else {}
        at = self.start
        stated = self.type() if self.take(":") else None
        try:
            if op is None:
                types = stated.elements if isinstance(stated, TupleType) else (stated,)
                if stated is None or origin is None:
                    raise self.error("an op that is not understood needs its type", at)
                return opaque(domain, name, inputs, origin=origin, types=types, attrs=attrs)  # type: ignore[arg-type]  # pyright: ignore
            node = Node(op, inputs, op.normal(attrs) if attrs else {})
        except TextError:
            raise
        except GraphoptError as error:
            raise self.error(str(error), start) from error
        except Exception as error:  # a type rule stumbled over what a person wrote
            raise self.error(f"{name} does not take this: {error}", start) from error
        if stated is not None and stated != without_known(node.derived_type):
            shown = without_known(node.derived_type)
            raise self.error(f"the type is {shown}, not {stated}: correct it or leave it out", at)
        return node

    def known_op(self, domain: str, name: str, start: int) -> Op:
        """The op of the table; raises TextError with the nearest name."""
        op = self.ops.get((domain, name))
        if op is None:
            full = f"{domain}::{name}" if domain else name
            known = [f"{d}::{n}" if d else n for d, n in self.ops]
            hint = nearest(full, known)
            message = f"no op is called {full}{hint}; one that is not understood is {full}#1(…)"
            raise self.error(message, start)
        return op

    def attributes(self, op: Op | None) -> dict[str, Any]:
        """Attributes in braces, of the kinds that the op declares."""
        found: dict[str, Any] = {}
        while not self.take("}"):
            start = self.start
            name = self.word()
            self.expect("=")
            at = self.start
            value = self.value()
            if name in found:
                raise self.error(f"attribute {name!r} is given twice", start)
            if op is not None and name not in op.attributes:
                hint = nearest(name, list(op.attributes))
                raise self.error(f"{op.name} has no attribute {name!r}{hint}", start)
            kind = "" if op is None else op.attributes[name].kind
            kinds = _KINDS.get(kind)
            if kinds is not None and value is not None and type(value) not in kinds:
                raise self.error(f"attribute {name!r} of {op!r} takes {kind}", at)
            found[name] = value
            if not self.take(","):
                self.expect("}")
                break
        return found

    def body(self) -> Body:
        """A body, after its first word."""
        start = self.start
        self.expect("(")
        outer, tables = self.scope, self.in_tables
        inner: dict[str, Node] = {}
        types: list[Type] = []
        while not self.take(")"):
            place = self.start
            name = self.need("value")
            self.expect(":")
            types.append(self.type())
            self.scope = inner
            self.define(name, bound(len(types) - 1, types[-1]), place)
            self.scope = outer
            if not self.take(","):
                self.expect(")")
                break
        captures = self.integer() if self.take("captures") else 0
        self.expect("{")
        self.scope, self.in_tables = inner, False
        while not self.take("return"):
            if self.kind != "value" and self.token != "_":
                raise self.unexpected("a node or 'return'")
            self.node()
        outputs = () if self.token == "}" else self._returned()
        self.expect("}")
        self.scope, self.in_tables = outer, tables
        try:
            return Body(tuple(types), outputs, captures)
        except GraphoptError as error:
            raise self.error(str(error), start) from error

    def _returned(self) -> tuple[Node, ...]:
        outputs = [self.resolve()]
        while self.take(","):
            outputs.append(self.resolve())
        return tuple(outputs)

    def fields(self, kind: Callable[..., Any]) -> Any:
        """A record of a dataclass."""
        start = self.start
        self.expect("{")
        found = self.attributes(None)
        known = [field.name for field in dataclasses.fields(kind)]  # type: ignore[arg-type]  # pyright: ignore
        for name in found:
            if name not in known:
                raise self.error(f"there is no field {name!r}{nearest(name, known)}", start)
        try:
            return kind(**found)
        except TypeError as error:
            raise self.error(str(error), start) from None

    def record(self) -> Record | Region:
        """A record inside another."""
        return self.fields(Record if self.advance() == "record" else Region)  # type: ignore[no-any-return]  # of that kind


def without_known(kind: Type) -> Type:
    """A type as it is written after a node: without the elements that are known."""
    return map_shapes(kind, lambda tensor: TensorType(tensor.dtype, tensor.shape))
