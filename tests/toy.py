"""A few ops of the tests' own, so that tests of the machinery do not hang on the table of ops."""

from __future__ import annotations

from graphopt.graph import Graph
from graphopt.ir import Node
from graphopt.op import Array, Facts, Xp, op
from graphopt.structural import graph_input
from graphopt.types import DType, TensorType, Type


@op("ToyNeg", domain="toy")
def neg(xp: Xp, x: Array) -> Array:
    """-x"""
    return -x


@neg.infer
def _(x: Node) -> Type:
    return x.derived_type


@op("ToyAdd", domain="toy", facts=Facts(commutative=True))
def add(xp: Xp, x: Array, y: Array) -> Array:
    """x + y"""
    return x + y


@op("ToySub", domain="toy")
def sub(xp: Xp, x: Array, y: Array) -> Array:
    """x - y"""
    return x - y


@add.infer
@sub.infer
def _(x: Node, y: Node) -> Type:
    return TensorType(x.dtype, x.shape)


@op("ToySum", domain="toy")
def total(xp: Xp, *xs: Array) -> Array:
    """The sum of all inputs."""
    return sum(xs)


@total.infer
def _(*xs: Node) -> Type:
    return TensorType(xs[0].dtype, xs[0].shape)


@op("ToyScale", domain="toy")
def scale(
    xp: Xp, x: Array, bias: Array | None = None, *, by: float = 1.0, axis: int = 0, mode: str = ""
) -> Array:
    """by * x + bias"""
    return x * by if bias is None else x * by + bias


@scale.infer
def _(x: Node, bias: Node | None, *, by: float, axis: int, mode: str) -> Type:
    return x.derived_type


@op("ToyForget", domain="toy")
def forget(xp: Xp, x: Array) -> Array:
    """x, of whose sizes nothing is known."""
    return x


@forget.infer
def _(x: Node) -> Type:
    shape = x.shape
    return TensorType(x.dtype, None if shape is None else (None,) * len(shape))


OPS = (neg, add, sub, total, scale, forget)


def floats(name: str, *shape: int) -> Node:
    """An input of float32."""
    return graph_input(name, TensorType(DType.FLOAT32, shape))


def graph_of(*outputs: Node, inputs: tuple[Node, ...]) -> Graph:
    """A graph whose outputs are called y0, y1, ..."""
    return Graph(inputs, outputs, tuple(f"y{k}" for k in range(len(outputs))))
