"""The ops that make a graph rather than compute: inputs, constants, outputs of a node, captures.

Their domain is `graphopt`. `Constant` has ONNX's meaning; here it only ever carries a `value`.
"""

from __future__ import annotations

from typing import Any

from graphopt.ir import Attributes, Node
from graphopt.op import ABSENT_OP, Array, Facts, Op, Xp, absent, op, refuse
from graphopt.tensor import Tensor
from graphopt.types import (
    MAX_KNOWN,
    DType,
    ResourceType,
    TensorType,
    TupleType,
    Type,
    UnknownType,
)

__all__ = ["OPS", "absent", "constant", "graph_input", "opaque", "out", "results"]

TOTAL = Facts(total=True)


@op("Input", domain="graphopt", facts=TOTAL)
def input_op(xp: Xp, *, name: str, type: Type) -> Array:
    """An input of a graph."""
    raise AssertionError("an input has no kernel")


@input_op.infer
def _(*, name: str, type: Type) -> Type:
    return type


@op("Bound", domain="graphopt", facts=TOTAL)
def bound_op(xp: Xp, *, index: int, type: Type) -> Array:
    """Parameter `index` of the body that it stands in."""
    raise AssertionError("a parameter has no kernel")


@bound_op.infer
def _(*, index: int, type: Type) -> Type:
    return type


@op("Constant", facts=TOTAL)
def constant_op(xp: Xp, *, value: Tensor) -> Array:
    """A tensor that is known."""
    return xp.asarray(value.array)


@constant_op.infer
def _(*, value: Tensor) -> Type:
    known = None
    if value.dtype.kind in "iub" and value.size <= MAX_KNOWN and value.dtype.bits >= 8:
        known = tuple(value.array.reshape(-1).tolist())
    return TensorType(value.dtype, value.shape, known)


class OutOp(Op):
    """The only op that takes a tuple, so that an output's index cannot be dropped elsewhere."""

    def infer_type(self, inputs: tuple[Node, ...], attrs: Attributes) -> Type:
        (node,) = inputs
        kind = node.derived_type
        if not isinstance(kind, TupleType):
            raise refuse(f"{node.label} has one output")
        index: int = attrs["index"]
        return kind.elements[index]


def _out_kernel(xp: Xp, node: Array, *, index: int) -> Array:
    """Output `index` of a node that has several."""
    return node[index]


out_op = OutOp("Out", _out_kernel, domain="graphopt", facts=TOTAL)


@op("State", domain="graphopt", facts=TOTAL)
def state_op(xp: Xp, *, name: str, kind: str) -> Array:
    """The first version of a resource."""
    raise AssertionError("a resource's first version comes from the caller")


@state_op.infer
def _(*, name: str, kind: str) -> Type:
    return ResourceType(kind)


@op("Barrier", domain="graphopt", facts=TOTAL)
def barrier(xp: Xp, x: Array, *, k: int) -> Array:
    """x itself; two barriers with different k are never merged."""
    return x


@barrier.infer
def _(x: Node, *, k: int) -> Type:
    return x.derived_type


@op("Refine", domain="graphopt")
def refine(xp: Xp, x: Array, *, type: Type) -> Array:
    """x, of which somebody outside the graph vouches that it has this type."""
    return x


@refine.infer
def _(x: Node, *, type: Type) -> Type:
    if isinstance(type, TensorType) and isinstance(x.derived_type, TensorType):
        if type.dtype is not x.dtype:
            raise refuse(f"{x.type} cannot be refined to {type}")
    elif not isinstance(x.derived_type, UnknownType) and x.derived_type != type:
        raise refuse(f"{x.type} cannot be refined to {type}")
    return type


OPS = (ABSENT_OP, input_op, bound_op, constant_op, out_op, state_op, barrier, refine)


def graph_input(name: str, type: Type) -> Node:
    """An input of a graph; graphs name their inputs uniquely."""
    return Node(input_op, (), {"name": name, "type": type})


def bound(index: int, type: Type) -> Node:
    """Parameter `index` of a body."""
    return Node(bound_op, (), {"index": index, "type": type})


def constant(data: Any, dtype: DType | None = None) -> Node:
    """A constant of a Tensor, an array, a scalar or nested lists."""
    tensor = data if isinstance(data, Tensor) else Tensor.of(data, dtype)
    return Node(constant_op, (), {"value": tensor})


def state(name: str, kind: str) -> Node:
    """The first version of the resource called `name`."""
    return Node(state_op, (), {"name": name, "kind": kind})


def out(node: Node, index: int) -> Node:
    """Output `index` of a node of several outputs."""
    kind = node.derived_type
    if not isinstance(kind, TupleType) or not 0 <= index < len(kind.elements):
        raise refuse(f"{node.label} has no output {index}")
    return Node(out_op, (node,), {"index": index})


def results(node: Node) -> tuple[Node, ...]:
    """The values of a node: itself, or one `Out` for each of several outputs."""
    kind = node.derived_type
    if isinstance(kind, TupleType):
        return tuple(Node(out_op, (node,), {"index": i}) for i in range(len(kind.elements)))
    return (node,)


class OpaqueOp(Op):
    """An op that is not understood: kept as it is, with the types that its model declares."""

    def __init__(self, domain: str, name: str) -> None:
        super().__init__(name, _opaque_kernel, domain=domain, facts=Facts(opaque=True))
        self.infer(_infer_opaque)

    def normal(self, attrs: Any) -> Any:
        return attrs

    def __eq__(self, other: object) -> bool:
        return isinstance(other, OpaqueOp) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)

    def __reduce__(self) -> tuple[Any, ...]:
        return (OpaqueOp, self.key)


def _opaque_kernel(xp: Xp, *inputs: Array, origin: int, types: Any, **attrs: Any) -> Array:
    raise AssertionError("an opaque op has no kernel")


def _infer_opaque(*inputs: Node | None, types: tuple[Type, ...], **attrs: Any) -> Type | Any:
    return types if types[1:] else types[0]


def opaque(
    domain: str,
    name: str,
    inputs: tuple[Node, ...],
    *,
    origin: int,
    types: tuple[Type, ...],
    attrs: dict[str, Any],
) -> Node:
    """A node of an op that is not understood.

    `origin` tells it from every other, so that two are never merged; `types` are its outputs' types
    as its model declares them.
    """
    return Node(OpaqueOp(domain, name), inputs, {**attrs, "origin": origin, "types": types})
