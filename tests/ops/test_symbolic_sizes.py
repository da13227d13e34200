"""Types hold where less is known: every example with sizes, ranks and contents taken away.

An inferred size may come from any input that shows it, as long as the kernel fails where another
input has a different one. So the arrays also get sizes that do not fit.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graphopt import dims, structural
from graphopt.dims import Size, Symbol, symbol
from graphopt.errors import ExecutionError
from graphopt.ir import Node, rebuild, walk
from graphopt.op import Op
from graphopt.ops import table
from graphopt.structural import graph_input
from graphopt.types import DType, TensorType
from tests.ops import harness

Array = Any
Change = Callable[[int, TensorType], TensorType]
"""(which of the inputs it is, its type) -> the type with less known."""

OPS = [op for op in table().values() if op not in structural.OPS and not op.has_bodies]
every_op = pytest.mark.parametrize("op", OPS, ids=lambda op: op.name)


def sources(node: Node, *, constants: bool) -> list[Node]:
    """The inputs, and with `constants` the constants, that are tensors and that a node takes."""
    kinds = ("Input", "Constant") if constants else ("Input",)
    found = [item for item in walk((node,)) if item.op.name in kinds]
    return [item for item in found if isinstance(item.derived_type, TensorType)]


def content(item: Node) -> Array:
    """The array of a constant."""
    assert item.constant is not None
    return item.constant.array


def feeds(node: Node) -> harness.Values:
    """Arrays that an example runs on."""
    for sizes in harness.bindings(node):
        arrays = harness.feeds(node, sizes)
        try:
            harness.run(node, arrays)
        except ExecutionError:
            continue
        return arrays
    raise AssertionError("the example fails under all bindings")


def changed(node: Node, change: Change, *, constants: bool) -> tuple[Node, harness.Values]:
    """The node over inputs of changed types, and arrays of the original types for those."""
    arrays = feeds(node)
    into: dict[Node, Node] = {}
    given: harness.Values = {}
    for k, item in enumerate(sources(node, constants=constants)):
        value = arrays[item] if item in arrays else content(item)
        kind = TensorType(item.dtype, np.shape(value))
        into[item] = graph_input(f"in{k}", change(k, kind))
        given[into[item]] = value
    given |= {item: value for item, value in arrays.items() if item not in into}
    (made,) = rebuild((node,), into.get)
    return made, given


def symbols_of(given: harness.Values) -> dict[harness.Atom, int]:
    """The sizes that arrays give to the symbols of the inputs' types."""
    sizes: dict[harness.Atom, int] = {}
    for item, value in given.items():
        kind = item.derived_type
        if isinstance(kind, TensorType) and kind.shape is not None:
            for size, real in zip(kind.shape, np.shape(value), strict=True):
                if isinstance(size, dims.Dim):
                    sizes[next(iter(dims.atoms(size)))] = real
    return sizes


CHANGES: dict[str, Change] = {
    "own symbols": lambda k, kind: kind.with_shape(
        symbol(f"S{k}x{axis}") for axis in range(len(kind.shape or ()))
    ),
    "shared symbols": lambda k, kind: kind.with_shape(symbol(f"S{n}") for n in kind.shape or ()),
    "sizes unknown": lambda k, kind: kind.with_shape(None for _ in kind.shape or ()),
    "ranks unknown": lambda k, kind: kind.with_shape(None),
}
NEEDS_CONTENT = {"Dropout": "it is a function only if it is known not to train"}
"""Ops that refuse an input whose content is not known, and why."""


@every_op
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("constants", [False, True], ids=["constants kept", "constants unknown"])
def test_type_holds_with_less_known(op: Op, change: Change, constants: bool) -> None:
    assert op.example is not None
    for example in op.example():
        if constants and op.name in NEEDS_CONTENT:
            continue
        node, given = changed(example, change, constants=constants)
        harness.check_types(node, harness.run(node, given), symbols_of(given))


@every_op
@settings(max_examples=25)
@given(data=st.data())
def test_kernel_fails_or_keeps_the_type(op: Op, data: st.DataObject) -> None:
    """Some sizes are known, and an array may have any size that is not."""
    assert op.example is not None
    example = data.draw(st.sampled_from(list(op.example())))
    known = st.sampled_from([True, True, False])

    def change(k: int, kind: TensorType) -> TensorType:
        shape: list[Size | None] = [n if data.draw(known) else None for n in kind.shape or ()]
        return TensorType(kind.dtype, tuple(shape))

    node, given = changed(example, change, constants=False)
    for item, value in given.items():
        given[item] = resized(item, value, lambda: data.draw(st.sampled_from([0, 1, 2, 3, 5])))
    try:
        values = harness.run(node, given)
    except ExecutionError:
        return
    harness.check_types(node, values, {})


def resized(item: Node, value: Array, size: Callable[[], int]) -> Array:
    """The array with one of the axes whose size is not known cut or repeated to some size."""
    kind = item.derived_type
    if not isinstance(kind, TensorType) or kind.shape is None:
        return value
    free = [axis for axis, known in enumerate(kind.shape) if known is None]
    if not free or not value.size:
        return value
    axis = free[size() % len(free)]
    return np.take(value, np.arange(size()) % value.shape[axis], axis=axis)


def test_a_wrong_size_is_noticed() -> None:
    x = graph_input("x", TensorType(DType.FLOAT32, (None, 3)))
    with pytest.raises(AssertionError, match="is inferred"):
        harness.check_types(x, {x: np.zeros((2, 4), np.float32)}, {Symbol("N"): 2})
