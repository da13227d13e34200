"""The graph's one building block: an immutable, interned node.

A node is (op, inputs, attributes). Building the same node twice returns the same object, so
equality is identity, common subexpressions are shared as they are made, and a rewrite changed
something exactly when its result *is not* what it was given. Inputs count by identity, attributes
by kind and bits: 1, True, 1.0, 0.0 and -0.0 all differ.

A value is a node with one output, or `out(node, i)`, itself a node, of a node with several.
The table of nodes is weak: what nothing refers to is gone. (Idea: the UOp of tinygrad.)
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from threading import RLock
from types import MappingProxyType
from typing import TYPE_CHECKING, Any
from weakref import ref

from graphopt.dims import Size, dim_of
from graphopt.errors import TypeRuleError, UntypedError
from graphopt.types import DType, TensorType, TupleType, Type, UnknownType

if TYPE_CHECKING:
    from graphopt.body import Body
    from graphopt.op import Op
    from graphopt.tensor import Tensor

Attributes = Mapping[str, Any]
NO_ATTRIBUTES: Attributes = MappingProxyType({})


class _Entry(ref["Node"]):
    """A weak reference that knows under which key its node is interned."""

    __slots__ = ("key",)
    key: tuple[Any, ...]


_table: dict[tuple[Any, ...], _Entry] = {}
_lock = RLock()  # re-entrant: a collection inside the locked region may forget other nodes


def _forget(
    entry: _Entry,
    table: dict[tuple[Any, ...], _Entry] = _table,  # bound here: at exit, globals are gone first
    lock: RLock = _lock,
) -> None:
    with lock:
        if table.get(entry.key) is entry:
            del table[entry.key]


class Node:
    """One operation and its result. Built by calling its op: `add(x, y)`, `transpose(x, perm=p)`.

    `type` is derived by the op's rule from the inputs; for a node of several outputs it is a
    `TupleType` and the values are `results(node)`. Raises TypeRuleError when the rule refuses.
    """

    __slots__ = ("__weakref__", "_open", "_type", "attrs", "inputs", "op")
    op: Op
    inputs: tuple[Node, ...]
    attrs: Attributes
    _type: Type
    _open: bool

    def __new__(
        cls,
        op: Op,
        inputs: tuple[Node, ...] = (),
        attrs: Attributes = NO_ATTRIBUTES,
        derived: Type | None = None,
    ) -> Node:
        """`derived` is the type where it is known already to be what the rule derives."""
        key = (op, inputs, attributes_key(attrs)) if attrs else (op, inputs)
        entry = _table.get(key)
        if entry is not None and (known := entry()) is not None:
            return known
        node = object.__new__(cls)
        node.op = op
        node.inputs = inputs
        node.attrs = MappingProxyType(dict(attrs)) if attrs else NO_ATTRIBUTES
        node._type = kind = op.infer_type(inputs, node.attrs) if derived is None else derived
        node._open = type(kind) is TensorType and kind.shape is not None and None in kind.shape
        made = _Entry(node, _forget)
        made.key = key
        with _lock:
            entry = _table.get(key)
            if entry is not None and (known := entry()) is not None:
                return known
            _table[key] = made
        return node

    @property
    def type(self) -> Type:
        """What the value is; a size that only running tells is shown as `DimOf(self, axis)`."""
        kind = self._type
        if self._open:
            assert isinstance(kind, TensorType) and kind.shape is not None
            shape = tuple(
                dim_of(self, axis) if size is None else size for axis, size in enumerate(kind.shape)
            )
            return TensorType(kind.dtype, shape, kind.known)
        return kind

    @property
    def derived_type(self) -> Type:
        """The type as the op's rule gave it, with None for a size that only running tells."""
        return self._type

    @property
    def tensor_type(self) -> TensorType:
        """The type of a value that must be a tensor; raises TypeRuleError if it is not, and of it
        UntypedError if that is not known."""
        return self._tensor(self.type)

    def _tensor(self, kind: Type) -> TensorType:
        if isinstance(kind, TensorType):
            return kind
        wrong = UntypedError if isinstance(kind, UnknownType) else TypeRuleError
        raise wrong(f"a tensor is wanted, not {kind}", at=self.label)

    def _told(self, kind: Type) -> TensorType | None:
        """The type of a tensor; None where nothing is known of it, not even that it is one."""
        return None if isinstance(kind, UnknownType) else self._tensor(kind)

    @property
    def dtype(self) -> DType:
        """The dtype of a tensor."""
        return self._tensor(self._type).dtype

    @property
    def shape(self) -> tuple[Size, ...] | None:
        """The shape of a tensor, None when even the rank is not known."""
        kind = self._told(self.type)
        return None if kind is None else kind.shape  # type: ignore[return-value]  # pyright: ignore[reportReturnType]

    @property
    def rank(self) -> int | None:
        """The number of axes of a tensor, None when it is not known."""
        kind = self._told(self._type)
        return None if kind is None else kind.rank

    @property
    def known(self) -> tuple[Any, ...] | None:
        """The elements of a small tensor in C order, as far as known: numbers, Dims, None."""
        kind = self._told(self.type)
        return None if kind is None else kind.known

    @property
    def ints(self) -> tuple[int, ...] | None:
        """The elements of a small integer tensor when all are known numbers, else None."""
        known = self.known
        if known is None or not all(type(item) is int for item in known):
            return None
        return known

    @property
    def constant(self) -> Tensor | None:
        """The content of a constant, None of any other value."""
        return self.attrs["value"] if self.op.name == "Constant" else None

    @property
    def is_absent(self) -> bool:
        """Whether this stands for an optional input that is left out."""
        return self.op.name == "Absent"

    @property
    def bodies(self) -> Iterator[tuple[str, Body]]:
        """The attributes that are bodies, by name."""
        if self.op.has_bodies:
            from graphopt.body import Body

            for name, value in self.attrs.items():
                if isinstance(value, Body):
                    yield name, value

    @property
    def label(self) -> str:
        """A short name for messages: not unique, not parsed back."""
        if self.op.name == "Out":
            return f"{self.inputs[0].label}:{self.attrs['index']}"
        title = self.title
        return title if title[0] == "%" else f"{self.op.name}@{id(self) & 0xFFFFFF:x}"

    @property
    def title(self) -> str:
        """As `label`, but the same in every process, and of different values of one op."""
        name = self.attrs.get("name")
        if self.op.name == "Input" and isinstance(name, str):
            return f"%{name}"
        if self.op.name == "Out":
            return f"{self.inputs[0].title}:{self.attrs['index']}"
        return f"Bound:{self.attrs['index']}" if self.op.name == "Bound" else self.op.name

    def with_inputs(self, inputs: tuple[Node, ...]) -> Node:
        """This node over other inputs; itself when they are the same objects."""
        if inputs == self.inputs:  # nodes are equal when they are the same object
            return self
        same = len(inputs) == len(self.inputs) and all(map(Node._alike, inputs, self.inputs))
        return Node(self.op, inputs, self.attrs, self._type if same else None)

    def _alike(self, other: Node) -> bool:
        """Whether type rules, which see types and constants, cannot tell two values apart."""
        return self is other or (
            not self._open
            and self._type == other._type
            and type(self._type) is TensorType
            and "Constant" not in (self.op.name, other.op.name)
        )

    def __copy__(self) -> Node:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Node:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return (unflatten_one, (flatten((self,)),))

    def __repr__(self) -> str:
        names = ", ".join(item.label for item in self.inputs)
        extra = "".join(f", {k}={v!r}" for k, v in self.attrs.items() if k != "type")
        return f"{self.op.name}({names}{extra}) : {self.type}"


def attribute_key(value: Any) -> Any:
    """What an attribute's value is compared by: its kind and its bits.

    >>> len({attribute_key(v) for v in (1, True, 1.0, 0.0, -0.0)})
    5
    """
    if type(value) is float:
        return (float, struct.pack("<d", value))
    if type(value) is tuple:
        return (tuple, *map(attribute_key, value))  # pyright: ignore[reportUnknownArgumentType]
    if type(value) is TensorType and value.known:
        return (TensorType, value, tuple(map(type, value.known)))
    return (type(value), value)


def attributes_key(attrs: Attributes) -> tuple[Any, ...]:
    """What a set of attributes is compared by; order does not count."""
    return tuple((name, attribute_key(attrs[name])) for name in sorted(attrs))


def walk(roots: Iterable[Node]) -> Iterator[Node]:
    """Every node that the roots depend on, inputs before users, each once; bodies are not entered.

    Deterministic: depth first, inputs from left to right. Nothing recurses.
    """
    seen: set[Node] = set()
    stack: list[tuple[Node, Iterator[Node]]] = []
    for root in roots:
        if root in seen:
            continue
        seen.add(root)
        stack.append((root, iter(root.inputs)))
        while stack:
            node, pending = stack[-1]
            for item in pending:
                if item not in seen:
                    seen.add(item)
                    stack.append((item, iter(item.inputs)))
                    break
            else:
                stack.pop()
                yield node


def rebuild(roots: Sequence[Node], replace: Callable[[Node], Node | None]) -> tuple[Node, ...]:
    """The roots with some nodes replaced and everything that depends on them built anew.

    `replace` is asked once for every node, before its inputs are looked at; None keeps it.
    """
    memo: dict[Node, Node] = {}
    kept: set[Node] = set()  # asked about and kept; in the memo once its inputs are
    stack = list(reversed(roots))
    while stack:
        node = stack.pop()
        if node in memo:
            continue
        if node in kept:
            memo[node] = node.with_inputs(tuple(memo[item] for item in node.inputs))
        elif (new := replace(node)) is not None:
            memo[node] = new
        else:
            kept.add(node)
            stack += (node, *reversed(node.inputs))
    return tuple(memo[root] for root in roots)


def flatten(roots: Sequence[Node]) -> list[tuple[Op, tuple[int, ...], dict[str, Any]]]:
    """The nodes under the roots as a flat list, inputs as positions in it; the roots are in it."""
    position: dict[Node, int] = {}
    rows: list[tuple[Op, tuple[int, ...], dict[str, Any]]] = []
    for node in walk(roots):
        position[node] = len(rows)
        rows.append((node.op, tuple(position[i] for i in node.inputs), dict(node.attrs)))
    return rows


def unflatten(rows: Iterable[tuple[Op, tuple[int, ...], dict[str, Any]]]) -> list[Node]:
    """The nodes of a flat list, interned again."""
    nodes: list[Node] = []
    for op, inputs, attrs in rows:
        nodes.append(Node(op, tuple(nodes[i] for i in inputs), attrs))
    return nodes


def unflatten_one(rows: list[tuple[Op, tuple[int, ...], dict[str, Any]]]) -> Node:
    """The last node of a flat list."""
    return unflatten(rows)[-1]


def types_of(node: Node) -> tuple[Type, ...]:
    """The types of a node's outputs."""
    kind = node.derived_type
    return kind.elements if isinstance(kind, TupleType) else (kind,)


def table_size() -> int:
    """How many nodes are alive, for tests and diagnostics."""
    return len(_table)
