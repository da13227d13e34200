"""Bodies: the closed graphs inside nodes such as If, Loop and Scan.

A body refers to nothing outside it: what it captures stands among its node's inputs and comes in
through its last parameters. Parameters are `Bound(k, type)` nodes and constants are free, so equal
bodies are one object. To work on a body, `open` it over fresh inputs and `close` the result.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from threading import RLock
from typing import Any
from weakref import WeakValueDictionary

from graphopt import dims
from graphopt.dims import Dim, Size
from graphopt.errors import VerifyError
from graphopt.ir import Node, flatten, rebuild, unflatten, walk
from graphopt.types import TensorType, Type, map_shapes

FREE = frozenset({"Input", "State"})
_table: WeakValueDictionary[Any, Body] = WeakValueDictionary()
_lock = RLock()


class Body:
    """A closed graph: parameter types, outputs over `Bound` nodes, and how many captures there are.

    The last `captures` parameters are captured values; those before are the op's own. Interned:
    equal bodies are the same object. Raises VerifyError when the outputs refer to what is outside.
    """

    __slots__ = ("__weakref__", "captures", "outputs", "params")
    params: tuple[Type, ...]
    outputs: tuple[Node, ...]
    captures: int

    def __new__(
        cls, params: tuple[Type, ...], outputs: tuple[Node, ...], captures: int = 0
    ) -> Body:
        key = (params, outputs, captures)
        with _lock:
            known = _table.get(key)
            if known is None:
                check_closed(params, outputs)
                known = object.__new__(cls)
                known.params, known.outputs, known.captures = params, outputs, captures
                _table[key] = known
        return known

    @classmethod
    def close(
        cls, formals: Sequence[Node], captured: Sequence[Node], outputs: Sequence[Node]
    ) -> Body:
        """The body of outputs that depend on the `formals` and `captured` inputs and nothing else.

        Raises VerifyError where they depend on more, or a formal stands twice among the parameters.
        """
        from graphopt.structural import bound

        params = (*formals, *captured)
        if any(params.count(formal) > 1 for formal in formals):
            raise VerifyError("two parameters of the body are one value")
        types = tuple(param_type(param.derived_type) for param in params)
        into = {param: bound(k, types[k]) for k, param in enumerate(params)}

        def is_inside(node: Node) -> bool:
            return not any(item.op.name in FREE for item in walk((node,)))

        return cls(types, _over(outputs, into.get, is_inside), len(captured))

    def open(
        self, arguments: Sequence[Node] | None = None
    ) -> tuple[Sequence[Node], Sequence[Node]]:
        """(arguments, outputs) with the parameters replaced, by fresh inputs when none are given.

        Fresh inputs are those of this body alone: no graph has them, nor has another body.
        """
        from graphopt.structural import graph_input

        if arguments is None:
            name = f"p{{}} of body {id(self):x}".format
            arguments = [graph_input(name(k), kind) for k, kind in enumerate(self.params)]
        given = tuple(arguments)

        def replace(node: Node) -> Node | None:
            index: int = node.attrs["index"] if node.op.name == "Bound" else -1
            return None if index < 0 else given[index]

        return given, _over(self.outputs, replace, lambda node: True, opens=True)

    def result_types(self, arguments: Sequence[Node]) -> tuple[Type, ...]:
        """The outputs' types as the node that has this body over `arguments` sees them.

        A named size of a parameter is what the argument has there.
        """
        named = _named_sizes(self.params, arguments)

        def outside(atom: dims.Symbol | dims.DimOf) -> Size | None:
            if isinstance(atom, dims.Symbol):
                return named.get(atom.name, dims.symbol(atom.name))
            if atom.value.op.name != "Bound":
                return None
            index: int = atom.value.attrs["index"]
            shape = arguments[index].shape
            return None if shape is None or len(shape) <= atom.axis else shape[atom.axis]

        return tuple(map_shapes(output.type, _resized(outside)) for output in self.outputs)

    def __reduce__(self) -> tuple[Any, ...]:
        rows = flatten(self.outputs)
        position = {node: k for k, node in enumerate(walk(self.outputs))}
        return (_rebuilt, (self.params, rows, [position[o] for o in self.outputs], self.captures))

    def __repr__(self) -> str:
        return f"Body({', '.join(map(str, self.params))} -> {len(self.outputs)} outputs)"


def _rebuilt(params: tuple[Type, ...], rows: Any, outputs: list[int], captures: int) -> Body:
    nodes = unflatten(rows)
    return Body(params, tuple(nodes[k] for k in outputs), captures)


def _over(
    outputs: Sequence[Node],
    replace: Callable[[Node], Node | None],
    is_inside: Callable[[Node], bool],
    *,
    opens: bool = False,
) -> tuple[Node, ...]:
    """The outputs with some nodes replaced, also where types among attributes speak of their axes.

    An axis of a value that does not lie inside is not known there. `opens` says that it is the
    outputs that are closed, not what is made of them: the graph around a body is not looked at.
    """
    made = rebuild(outputs, replace)
    inner = walk(outputs if opens else made)
    named = _named_values(chain(*(kinds for node in inner for _, kinds in _types_among(node))))
    if not named:
        return made
    images = dict(zip(named, rebuild(named, replace), strict=True))
    memo: dict[Node, Node] = {}

    def size_of(atom: dims.Symbol | dims.DimOf) -> Size | None:
        if isinstance(atom, dims.Symbol):
            return dims.symbol(atom.name)
        image = images.get(atom.value, atom.value)
        shape = memo.get(image, image).shape if is_inside(image) else None
        return None if shape is None or len(shape) <= atom.axis else shape[atom.axis]

    for node in walk((*filter(is_inside, images.values()), *made)):
        attrs = dict(node.attrs)
        for name, kinds in _types_among(node):
            resized = tuple(map_shapes(kind, _resized(size_of)) for kind in kinds)
            attrs[name] = resized if type(attrs[name]) is tuple else resized[0]
        memo[node] = Node(node.op, tuple(memo[item] for item in node.inputs), attrs)
    return tuple(memo[node] for node in made)


def _named_sizes(params: Sequence[Type], arguments: Sequence[Node]) -> dict[str, Size | None]:
    """What the named sizes of parameters are for these arguments; None for what is not known.

    Only those are told that differ from their names.
    """
    found: dict[str, Size | None] = {}
    for param, argument in zip(params, arguments, strict=True):
        kind = argument.type
        if not isinstance(param, TensorType) or not isinstance(kind, TensorType):
            continue
        if param.shape == kind.shape or param.shape is None:
            continue
        given = kind.shape or (None,) * len(param.shape)
        for wanted, size in zip(param.shape, given, strict=True):
            if not isinstance(wanted, dims.Dim) or wanted == size:
                continue
            alone = dims.sole_atom(wanted)
            for atom in dims.atoms(wanted):
                if isinstance(atom, dims.Symbol) and found.get(atom.name) is None:
                    found[atom.name] = size if atom == alone else None
    return found


def _types_among(node: Node) -> Iterator[tuple[str, tuple[Type, ...]]]:
    """The attributes of a node that are types or tuples of them; a parameter's is left out."""
    if node.attrs and node.op.name != "Bound":
        for name, value in node.attrs.items():
            kinds = tuple(value) if isinstance(value, tuple) else (value,)  # pyright: ignore
            if kinds and isinstance(kinds[0], Type):
                yield name, kinds


def _named_values(kinds: Iterable[Type]) -> list[Node]:
    """The values of whose axes types speak."""
    found: list[Node] = []

    def look(kind: TensorType) -> TensorType:
        for size in (*(kind.shape or ()), *(kind.known or ())):
            if isinstance(size, dims.Dim):
                atoms = dims.atoms(size)
                found.extend(atom.value for atom in atoms if isinstance(atom, dims.DimOf))
        return kind

    for kind in kinds:
        map_shapes(kind, look)
    return found


def _sized(change: Callable[[Dim], Size | None]) -> Callable[[TensorType], TensorType]:
    """From a type to the one with other sizes, and other elements that are sizes."""

    def resize(kind: TensorType) -> TensorType:
        held = (*(kind.shape or ()), *(kind.known or ()))
        if not any(isinstance(item, Dim) for item in held):
            return kind
        made = [change(item) if isinstance(item, Dim) else item for item in held]
        count = len(kind.shape or ())
        shape = None if kind.shape is None else tuple(made[:count])
        known = None if kind.known is None else tuple(made[count:])
        return TensorType(kind.dtype, shape).with_known(known)

    return resize


def _resized(
    change: Callable[[dims.Symbol | dims.DimOf], Size | None],
) -> Callable[[TensorType], TensorType]:
    return _sized(lambda size: dims.substitute(size, change))


def _named_alone(size: Dim) -> Size | None:
    """A size that depends on named ones alone; None for others: axes outside are outside."""
    return None if any(isinstance(a, dims.DimOf) for a in dims.atoms(size)) else size


_without_axes = _sized(_named_alone)


def param_type(kind: Type) -> Type:
    """The type of a parameter that stands for a value of type `kind` outside the body."""
    return map_shapes(kind, _without_axes)


def check_closed(params: tuple[Type, ...], outputs: tuple[Node, ...]) -> None:
    """Raise VerifyError when the outputs depend on an input, a resource, another body's parameter.

    Nor may the values of whose axes types among the attributes speak.
    """
    if _named_values(params):
        raise VerifyError("a parameter's type speaks of an axis of a value")
    seen: set[Node] = set()
    pending: Sequence[Node] = outputs
    while pending:
        named: list[Node] = []
        for node in walk(pending):
            if node in seen:
                continue
            seen.add(node)
            if node.op.name in FREE:
                raise VerifyError("the body refers to a value outside it", at=node.label)
            if node.op.name == "Bound":
                index = node.attrs["index"]
                if index >= len(params) or params[index] != node.attrs["type"]:
                    raise VerifyError("the parameter belongs to another body", at=node.label)
            for _, kinds in _types_among(node):
                named += _named_values(kinds)
        pending = named


def all_nodes(roots: tuple[Node, ...]) -> Iterator[Node]:
    """Every node under the roots and in their bodies, equal bodies once."""
    pending, seen = [roots], set[Body]()
    while pending:
        for node in walk(pending.pop()):
            yield node
            for _, body in node.bodies if node.op.has_bodies else ():
                if body not in seen:
                    seen.add(body)
                    pending.append(body.outputs)
