"""Strategies of property tests: sizes, types, tensors, attributes, and graphs with everything.

The ops are declared here, in the domain `test`, so that no test of the graph depends on an op that
computes. Texts with them are parsed with `ops=TEST_OPS`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, reduce
from math import prod
from typing import Any

from hypothesis import strategies as st

from graphopt import dims
from graphopt.body import Body
from graphopt.dims import Size
from graphopt.graph import Graph
from graphopt.ir import Node
from graphopt.op import Array, Facts, Xp, absent, op
from graphopt.records import Derivation, Location, ModelInfo, Record, Region, Tables
from graphopt.structural import barrier, constant, graph_input, opaque, refine, results, state
from graphopt.tensor import Tensor, file_bytes
from graphopt.text.words import float_of_bits
from graphopt.types import (
    UNKNOWN,
    DType,
    MapType,
    OptionalType,
    ResourceType,
    SequenceType,
    TensorType,
    Type,
)

Draw = Callable[[st.SearchStrategy[Any]], Any]
F32 = TensorType(DType.FLOAT32, (2,))


@op("Neg", domain="test")
def neg(xp: Xp, x: Array) -> Array:
    """One input, one output of its type."""


@neg.infer
def _(x: Node) -> Type:
    return x.derived_type


@op("Join", domain="test")
def join(xp: Xp, *xs: Array, body: Body | None = None, scale: float = 1.0) -> Array:
    """Any number of inputs, of which some may be absent; a size that only running tells."""


@join.infer
def _(*xs: Node | None, body: Body | None, scale: float) -> Type:
    return TensorType(DType.FLOAT32, (None, 2))


@op("Pair", domain="test")
def pair(xp: Xp, x: Array, y: Array = None, *, axis: int = 0) -> Array:
    """Two outputs."""


@pair.infer
def _(x: Node, y: Node | None, *, axis: int) -> tuple[Type, ...]:
    return (x.derived_type, TensorType(DType.INT64, (None,)))


@op("Read", domain="test")
def read(xp: Xp, v: Array) -> Array:
    """Reads a version."""


@read.infer
def _(v: Node) -> Type:
    return F32


@op("Assign", domain="test", facts=Facts(mutates=(0,)))
def assign(xp: Xp, v: Array, x: Array) -> Array:
    """Ends a version and returns the next."""


@assign.infer
def _(v: Node, x: Node) -> Type:
    return v.derived_type


@op("Draw", domain="test", facts=Facts(mutates=(0,)))
def draw_from(xp: Xp, g: Array) -> Array:
    """Ends a version and returns the next, and a number."""


@draw_from.infer
def _(g: Node) -> tuple[Type, ...]:
    return (g.derived_type, F32)


TEST_OPS = (neg, join, pair, read, assign, draw_from)

# Sizes

SYMBOLS = ("N", "M", "batch size", "a + -b", "dim", "layer.0")
texts = st.text(max_size=6) | st.sampled_from(["", "\udc80", "\ud83d\ude00", '"\\', "a\nb", "é😀"])


def _quotient(a: Size, b: Size) -> Size:
    return dims.floordiv(a, b if isinstance(b, int) and b > 0 else dims.maximum(b, 1))


def _broadcast(a: Size, b: Size) -> Size:
    both = dims.broadcast(dims.maximum(a, 0), dims.maximum(b, 0))
    return 1 if both is None else both


@cache
def sizes(atoms: st.SearchStrategy[Size] | None = None) -> st.SearchStrategy[Size]:
    """Polynomials over symbols, quotients, extremes and broadcasts."""
    leaves = st.integers(0, 5) | st.sampled_from(SYMBOLS).map(dims.symbol)
    if atoms is not None:
        leaves |= atoms

    def fold(f: Callable[[Size, Size], Size], a: Size, b: Size) -> Size:
        return f(a, b)

    def larger(inner: st.SearchStrategy[Size]) -> st.SearchStrategy[Size]:
        return st.builds(fold, st.sampled_from(folds), inner, inner)

    folds: list[Callable[[Size, Size], Size]] = [
        lambda a, b: a + b,
        lambda a, b: a - b,
        lambda a, b: a * b,
        dims.minimum,
        dims.maximum,
        _quotient,
        _broadcast,
    ]
    return st.recursive(leaves, larger, max_leaves=5)


# Types, tensors, attributes

dtypes = st.sampled_from(list(DType))
shapes = st.lists(st.integers(0, 3), max_size=3).map(tuple)


@st.composite
def tensor_types(draw: Draw, size: st.SearchStrategy[Size] | None = None) -> TensorType:
    """Tensor types, some without a rank, some with known elements."""
    size = sizes() if size is None else size
    shape = draw(st.none() | st.lists(st.none() | size, max_size=3).map(tuple))
    known = draw(st.none() | st.lists(st.none() | st.booleans() | size, max_size=3).map(tuple))
    return TensorType(draw(dtypes), shape, known)


@cache
def types(size: st.SearchStrategy[Size] | None = None) -> st.SearchStrategy[Type]:
    """Types of values."""
    leaves: st.SearchStrategy[Type] = (
        tensor_types(size) | st.just(UNKNOWN) | st.builds(ResourceType, texts)
    )
    return st.recursive(
        leaves,
        lambda inner: (
            st.builds(SequenceType, inner)
            | st.builds(OptionalType, inner)
            | st.builds(MapType, st.sampled_from([DType.STRING, DType.INT64]), inner)
        ),
        max_leaves=3,
    )


@st.composite
def tensors(draw: Draw) -> Tensor:
    """Tensors of every dtype with any bits, those that pad the last byte included; splats."""
    dtype: DType = draw(dtypes)
    shape: tuple[int, ...] = draw(shapes)
    size = prod(shape)
    if dtype is DType.STRING:
        return Tensor.strings(
            draw(st.lists(st.binary(max_size=4), min_size=size, max_size=size)), shape
        )
    if draw(st.booleans()):
        raw = draw(st.binary(min_size=file_bytes(dtype, 1), max_size=file_bytes(dtype, 1)))
        element = Tensor.from_raw(dtype, (), raw).array
        return Tensor(dtype, shape, element.copy(), is_splat=True)
    count = file_bytes(dtype, size)
    return Tensor.from_raw(dtype, shape, draw(st.binary(min_size=count, max_size=count)))


@cache
def bodies() -> st.SearchStrategy[Body]:
    """Small closed bodies, some with a capture and constants."""

    def make(kind: Type, tensor: Tensor, captures: int, many: int) -> Body:
        x, c = graph_input("x", kind), graph_input("c", F32)
        first, second = results(pair(reduce(lambda v, _: neg(v), range(many), x)))
        return Body.close([x], [c][:captures], [first, second, constant(tensor), neg(first)])

    return st.builds(make, tensor_types(), tensors(), st.integers(0, 1), st.integers(0, 2))


@cache
def attributes() -> st.SearchStrategy[Any]:
    """The value of an attribute, of every kind."""
    bits = st.integers(0, (1 << 64) - 1).map(float_of_bits)
    leaves: st.SearchStrategy[Any] = (
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats()
        | bits
        | texts
        | st.binary(max_size=5)
    )
    leaves = leaves | dtypes | types() | sizes() | tensors() | bodies()
    return st.recursive(leaves, lambda inner: st.lists(inner, max_size=3).map(tuple), max_leaves=4)


# Graphs

# No surrogates: names stand unquoted in messages, which a terminal must be able to show.
names = st.sampled_from(["a", "b", "c.d", "e/f", "0", "x y", "tensor", "_", "end"]) | st.text(
    st.characters(exclude_categories=["Cs"]), max_size=6
)


@st.composite
def graphs(draw: Draw) -> Graph:
    """Graphs with outputs, effects, defaults, opaque ops, bodies, absent inputs, and tables."""
    unique = st.lists(names, min_size=1, max_size=3, unique=True)
    inputs = [graph_input(name, draw(tensor_types())) for name in draw(unique)]
    values: list[Node] = list(inputs)
    version = state("v", "variable")
    for k in range(draw(st.integers(0, 8))):
        version = draw(_step(values, version, k))
    outputs = draw(st.lists(st.sampled_from(values), min_size=1, max_size=3))
    named = draw(st.lists(names, min_size=len(outputs), max_size=len(outputs), unique=True))
    effects = (version,) if version.op is not state("v", "variable").op else ()
    defaults = {inputs[0]: draw(tensors())} if draw(st.booleans()) else {}
    title = draw(names)
    made = draw(tables(values))
    return Graph(tuple(inputs), tuple(outputs), tuple(named), title, effects, defaults, made)


@st.composite
def _step(draw: Draw, values: list[Node], version: Node, k: int) -> Node:
    """Add a value or two to `values`; the version of the resource after it."""
    some = st.sampled_from(values)
    match draw(st.integers(0, 8)):
        case 0:
            values += results(pair(draw(some), draw(some | st.none()), axis=k))
        case 1:
            values.append(join(draw(some), None, draw(some), body=draw(st.none() | bodies())))
        case 2:
            values.append(constant(draw(tensors())))
        case 3:
            attrs = draw(st.dictionaries(names, attributes(), max_size=3))
            kinds = tuple(draw(st.lists(types(), min_size=1, max_size=2)))
            inputs = (draw(some), absent)
            domain = draw(st.sampled_from(["", "com.microsoft", "odd domain"]))
            made = opaque(domain, draw(names), inputs, origin=k, types=kinds, attrs=attrs)
            values += results(made)
        case 4:
            version = assign(version, draw(some))
        case 5:
            version, number = results(draw_from(version))
            values.append(number)
        case 6:
            values.append(read(version))
        case 7:
            axes = some.map(lambda value: dims.dim_of(value, 0))
            values.append(
                refine(join(draw(some)), type=TensorType(DType.FLOAT32, (draw(sizes(axes)),)))
            )
        case _:
            values.append(barrier(neg(draw(some)), k=k))
    return version


@st.composite
def records(draw: Draw) -> Record:
    """Records of nodes of a model, some with a region."""
    some = st.lists(names, max_size=2).map(tuple)
    pairs = st.lists(st.tuples(names, attributes()), max_size=2).map(tuple)
    record = Record(draw(st.integers(0, 9)), draw(names), draw(some), draw(some), draw(pairs))
    if draw(st.booleans()):
        ports = st.lists(st.tuples(names, types()), max_size=2).map(tuple)
        region = Region(draw(ports), draw(ports), (record,), draw(names))
        return Record(1, "If", (), ("y",), (("then_branch", region),), name=draw(names))
    return record


@st.composite
def tables(draw: Draw, values: list[Node]) -> Tables:
    """Tables that refer to values of a graph and to some that it no longer has."""
    gone = neg(neg(neg(values[-1])))
    some = st.sampled_from([*values, gone, *results(pair(gone)), pair(gone)])

    def table(content: st.SearchStrategy[Any]) -> dict[Node, Any]:
        found: dict[Node, Any] = draw(st.dictionaries(some, content, max_size=3))
        return found

    nodes = st.lists(some, max_size=2).map(tuple)
    infos = st.builds(
        ModelInfo,
        ir_version=st.integers(3, 13),
        opsets=st.just((("", 18), ("com.microsoft", 1))),
        doc=texts,
        declared=st.lists(st.tuples(names, types()), max_size=1).map(tuple),
    )
    return Tables(
        draw(st.none() | infos),
        table(names | texts),
        table(st.lists(records(), min_size=1, max_size=2).map(tuple)),
        table(st.builds(Location, texts, st.integers(0, 99))),
        table(st.builds(Derivation, texts, nodes)),
        draw(nodes),
    )
