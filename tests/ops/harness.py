"""What the tests of ops share: inputs for example nodes, and checks of types and of results.

    node = op(graph_input("x", tensor("float32", "N", 3)))
    for sizes in bindings(node):                    # {N: 2}, then {N: 1}
        values = run(node, feeds(node, sizes))      # every value that the node depends on
        check_types(node, values, sizes)            # inferred type == real result
        check_oracle(node, values)                  # onnx.reference agrees

`check_everywhere(node)` does all of this.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from graphopt import dims
from graphopt.backends import reference
from graphopt.dims import DimOf, Size, Symbol
from graphopt.errors import ExecutionError
from graphopt.ir import Node, types_of, walk
from graphopt.types import DType, OptionalType, SequenceType, TensorType, Type, dtype_of
from tests.ops import oracle

Array = Any
Atom = Symbol | DimOf
Sizes = Mapping[Atom, int]
Values = dict[Node, Array]

SPECIAL = (np.nan, 0.0, -0.0, np.inf, -np.inf, 1.0, -1.0, 0.5, -2.5, 1e-30, -1e30)
WORDS = ("1", "20", "-3", "0", "7")


def tensor(dtype: str | DType, *shape: int | str | Size) -> TensorType:
    """A tensor type; a size may be the name of a symbol."""
    sizes = (dims.symbol(size) if isinstance(size, str) else size for size in shape)
    return TensorType(dtype_of(dtype), tuple(sizes))


def inputs_of(node: Node) -> list[Node]:
    """The graph inputs that a node depends on."""
    return [item for item in walk((node,)) if item.op.name == "Input"]


def bindings(node: Node) -> Iterator[dict[Atom, int]]:
    """Sizes for the symbols of a node's inputs: all different, then all 1.

    Symbols that must be equal to broadcast make the node fail under the first; `run` tells.
    """
    found: dict[Atom, None] = {}
    for item in inputs_of(node):
        kind = item.type
        for size in (kind.shape or ()) if isinstance(kind, TensorType) else ():
            if isinstance(size, dims.Dim):
                found.update(dict.fromkeys(sorted(dims.atoms(size), key=str)))
    yield {atom: 2 + k for k, atom in enumerate(found)}
    if found:
        yield dict.fromkeys(found, 1)


def feeds(
    node: Node, sizes: Sizes, seed: int = 0, *, special: bool = False, wide: bool = False
) -> Values:
    """Arrays for the inputs of a node.

    Floats are normal, or with `special` NaN, zeros, infinities and the like; integers are 1, 2, 3,
    or with `wide` of both signs up to the extremes of their dtype.
    """
    rng = np.random.default_rng(seed)
    return {item: _draw(item.type, sizes, rng, special, wide) for item in inputs_of(node)}


def _draw(kind: Type, sizes: Sizes, rng: np.random.Generator, special: bool, wide: bool) -> Any:
    if isinstance(kind, SequenceType):
        return [_draw(kind.element, sizes, rng, special, wide) for _ in range(2)]
    if isinstance(kind, OptionalType):
        return _draw(kind.element, sizes, rng, special, wide)
    assert isinstance(kind, TensorType)
    shape: tuple[int, ...] = (2, 3)
    if kind.shape is not None:
        shape = tuple(_number(size, sizes.__getitem__) for size in kind.shape)
    return draw(kind.dtype, shape, rng, special=special, wide=wide)


def _number(size: Size | None, value: Callable[[Atom], int | None]) -> int:
    made = None if size is None else dims.substitute(size, value)
    assert isinstance(made, int)
    return made


def draw(
    dtype: DType,
    shape: Sequence[int],
    rng: np.random.Generator,
    *,
    special: bool = False,
    wide: bool = False,
) -> Array:
    """A random array; see `feeds`."""
    if dtype is DType.STRING:
        return rng.choice(np.array(WORDS, object), shape)
    if dtype is DType.BOOL:
        return rng.integers(0, 2, shape).astype(bool)
    if dtype.is_integer:
        low, high = (0, 1) if dtype.bits < 3 else (1, 3)
        made = rng.integers(low, high, shape, endpoint=True)
        if wide:
            top = 1 << (dtype.bits - (dtype.kind == "i"))
            least = -top if dtype.kind == "i" else 0
            choice = np.array([least, top - 1, 0, 1, top // 2, *range(max(least, -4), 1)], object)
            made = rng.choice(choice, shape)
            return (made.astype(np.int64) if dtype.bits < 8 else made).astype(dtype.numpy)
        return made.astype(dtype.numpy)
    real = rng.normal(size=shape) * 2
    real = np.abs(real) if dtype is DType.FLOAT8E8M0 else real
    if special:
        real = np.where(rng.random(shape) < 0.7, rng.choice(SPECIAL, shape), real)
    with np.errstate(all="ignore"):
        if dtype.kind == "c":
            return (real + 1j * rng.normal(size=shape)).astype(dtype.numpy)
        return real.astype(np.float32).astype(dtype.numpy)


def run(node: Node, given: Values) -> Values:
    """Every value that `node` depends on, by the reference backend, from those of its inputs.

    Raises ExecutionError where a kernel fails.
    """
    values = dict(given)
    with np.errstate(all="ignore"):
        for item in walk((node,)):
            if item not in values:
                values[item] = reference.evaluate(item, [values[i] for i in item.inputs])
    return values


def outputs_of(node: Node, values: Values) -> list[Array]:
    """The arrays of a node's outputs."""
    made = values[node]
    several = types_of(node) != (node.derived_type,)
    return list(made) if several else [made]


def check_types(node: Node, values: Values, sizes: Sizes) -> None:
    """The inferred types are those of the results: dtype, rank, every size, the known elements."""

    def size_of(atom: Atom) -> int | None:
        if isinstance(atom, Symbol) or atom in sizes:
            return sizes[atom]
        return np.shape(values[atom.value])[atom.axis] if atom.value in values else None

    made = outputs_of(node, values)
    kinds = types_of(node)
    assert len(made) == len(kinds), f"{len(made)} results for {len(kinds)} types"
    for kind, value in zip(kinds, made, strict=True):
        check_type(kind, value, size_of)


def check_type(kind: Type, value: Array, size_of: Callable[[Atom], int | None]) -> None:
    """`value` has type `kind`, where `size_of` gives the symbols' values (None: not known)."""
    if isinstance(kind, SequenceType):
        for element in value:
            check_type(kind.element, element, size_of)
    elif isinstance(kind, OptionalType):
        if value is not None:
            check_type(kind.element, value, size_of)
    elif isinstance(kind, TensorType):
        assert oracle.is_array(value), f"{type(value)} where an array is wanted"
        assert value.dtype == kind.dtype.numpy, f"{value.dtype} where {kind} is inferred"
        if kind.shape is not None:
            check_numbers(kind.shape, value.shape, size_of)
        if kind.known is not None:
            check_numbers(kind.known, value.reshape(-1).tolist(), size_of)


def check_numbers(
    inferred: Sequence[Any], real: Sequence[Any], size_of: Callable[[Atom], int | None]
) -> None:
    """Inferred sizes or elements, None for what is not known, are the real ones."""
    message = f"{real} where {inferred} is inferred"
    assert len(real) == len(inferred), message
    for element, number in zip(inferred, real, strict=True):
        wanted = None if element is None else dims.substitute(element, size_of)
        assert wanted is None or wanted == number, message


def tolerance(node: Node) -> float:
    """How many ulps of max(1, |result|) a result may be off: 0 for what is exact.

    Of ops that contract, the greatest result counts, and the bound is a rough one.
    """
    facts = node.op.facts
    return facts.ulps if facts.ulps or facts.elementwise or facts.moves else 64


def check_close(actual: Array, wanted: Array, ulps: float, *, overall: bool = False) -> None:
    """`actual` is `wanted` up to `ulps` units of max(1, |wanted|); exact where it is 0.

    With `overall`, of the greatest |wanted| of all elements. NaN equals NaN, -0 equals 0.
    """
    if (elements := oracle.elements_of(actual)) is not None:
        assert len(elements) == len(wanted)
        for one, other in zip(elements, wanted, strict=True):
            check_close(one, other, ulps, overall=overall)
        return
    assert np.shape(actual) == np.shape(wanted)
    dtype = dtype_of(actual.dtype)
    if dtype is DType.STRING:
        assert actual.tolist() == np.asarray(wanted).astype(object).tolist()
    elif dtype.kind not in "fc":
        np.testing.assert_array_equal(actual.astype(object), np.asarray(wanted).astype(object))
    else:
        high: Any = np.complex128 if dtype.kind == "c" else np.float64
        real, ideal = actual.astype(high), np.asarray(wanted).astype(high)
        size = np.abs(np.where(np.isfinite(ideal), ideal, 0))
        size = np.maximum(1, size.max(initial=0) if overall else size)
        with np.errstate(all="ignore"):
            close = np.abs(real - ideal) <= ulps * epsilon(dtype) * size
            same = (real == ideal) | (np.isnan(real) & np.isnan(ideal)) | close
        assert same.all(), f"{real[~same][:5]} where {ideal[~same][:5]} is wanted"


def epsilon(dtype: DType) -> float:
    """The distance from 1 to the next number of a float or complex dtype."""
    import ml_dtypes

    info: Any = ml_dtypes.finfo
    return float(info(dtype.numpy).eps)


def check_oracle(node: Node, values: Values) -> bool:
    """The result is that of ONNX's reference, or else of ONNX Runtime; whether one could run it."""
    wanted = oracle.run(node, [values[item] for item in node.inputs])
    if wanted is None:
        return False
    facts = node.op.facts
    for one, other in zip(outputs_of(node, values), wanted, strict=True):
        check_close(one, other, tolerance(node), overall=not facts.elementwise)
    return True


def check_runtime(node: Node, values: Values, ulps: float = 64) -> None:
    """The results are ONNX Runtime's, where that can run the node."""
    wanted = oracle.runtime(node, [values[item] for item in node.inputs])
    for one, other in zip(outputs_of(node, values), wanted or (), strict=wanted is not None):
        check_close(one, other, ulps, overall=True)


def check_interned(node: Node) -> None:
    """Building the node again gives the same object."""
    inputs = [None if item.is_absent else item for item in node.inputs]
    assert node.op(*inputs, **node.attrs) is node
    assert node.op(*inputs, **node.op.arguments(node.attrs)) is node


def check_everywhere(node: Node) -> bool:
    """All checks of an example under all its bindings; whether an oracle could run it.

    Elementwise ops also get special floats, and if total, extreme integers.
    """
    check_interned(node)
    facts, compared, ran = node.op.facts, False, False
    for sizes in bindings(node):
        for seed in range(2):
            hard = facts.elementwise and seed == 1
            given = feeds(node, sizes, seed, special=hard, wide=hard and facts.total)
            try:
                values = run(node, given)
            except ExecutionError:
                if facts.total and all(size == 1 for size in sizes.values()):
                    raise
                continue
            ran = True
            check_types(node, values, sizes)
            if not (hard and node.op.name in oracle.UNDEFINED):
                compared = check_oracle(node, values) or compared
    assert ran, "the example fails under all bindings"
    return compared
