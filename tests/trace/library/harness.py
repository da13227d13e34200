"""What the library's tests share: a call by NumPy and the same call as a graph, compared.

    check(np.add, UFUNCS["add"], (T([1.0, 2.0]), 3), {})

runs both: every `T(array)` is an array for NumPy and an input of the graph for the library.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from graphopt.backends import reference
from graphopt.dims import Size, symbol
from graphopt.graph import Graph
from graphopt.ir import Node
from graphopt.structural import graph_input
from graphopt.types import TensorType, dtype_of

Array = np.ndarray[Any, Any]
Function = Callable[..., Any]


@dataclass(frozen=True, eq=False)
class Traced:
    """An operand that is an array for NumPy and an input for the library."""

    array: Array


def T(data: Any, dtype: Any = None) -> Traced:  # noqa: N802 - stands for a kind of value
    """A traced operand."""
    return Traced(np.array(data, dtype))


def mapped(value: Any, change: Callable[[Traced], Any]) -> Any:
    """Nested lists, tuples, slices and dicts with the traced operands in them changed."""
    if isinstance(value, Traced):
        return change(value)
    elements: Any = value
    if isinstance(value, list | tuple):
        made = [mapped(item, change) for item in elements]
        return made if isinstance(value, list) else tuple(made)
    if isinstance(value, slice):
        bounds = (elements.start, elements.stop, elements.step)
        return slice(*(mapped(item, change) for item in bounds))
    if isinstance(value, dict):
        return {key: mapped(item, change) for key, item in elements.items()}
    return elements


def leaves(value: Any) -> Iterator[Any]:
    """What nested lists and tuples hold."""
    elements: Any = value
    if isinstance(value, list | tuple):
        for item in elements:
            yield from leaves(item)
    else:
        yield elements


def traced_call(
    function: Function, args: tuple[Any, ...], kwargs: dict[str, Any], *, symbolic: bool = False
) -> tuple[Any, dict[Node, Array]]:
    """What the library makes of a call, and the arrays of the graph's inputs.

    With `symbolic`, sizes above 1 are symbols, equal ones the same.
    """
    feeds: dict[Node, Array] = {}

    def change(operand: Traced) -> Node:
        sizes: tuple[Size, ...] = operand.array.shape
        if symbolic:
            sizes = tuple(symbol(f"n{n}") if isinstance(n, int) and n > 1 else n for n in sizes)
        kind = TensorType(dtype_of(operand.array.dtype), sizes)
        node = graph_input(f"x{len(feeds)}", kind)
        feeds[node] = operand.array
        return node

    args, kwargs = mapped(args, change), mapped(kwargs, change)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        return function(*args, **kwargs), feeds


def run(made: Any, feeds: dict[Node, Array]) -> list[Any]:
    """The leaves of what the library made, values of the graph as arrays."""
    found = list(leaves(made))
    outputs = [item for item in found if isinstance(item, Node)]
    graph = Graph(tuple(feeds), tuple(outputs), tuple(f"y{k}" for k in range(len(outputs))))
    named = {node.attrs["name"]: array for node, array in feeds.items()}
    arrays = iter(reference.run(graph, named)) if outputs else iter(())
    return [next(arrays) if isinstance(item, Node) else item for item in found]


def by_numpy(function: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Any]:
    """The leaves of what NumPy gives."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        made = function(
            *mapped(args, lambda item: item.array.copy()),
            **mapped(kwargs, lambda item: item.array.copy()),
        )
    return list(leaves(made))


def check(
    numpy: Function,
    library: Function,
    args: tuple[Any, ...],
    kwargs: dict[str, Any] | None = None,
    *,
    ulps: float = 0,
    symbolic: bool = False,
) -> None:
    """The library gives what NumPy does: structure, dtypes, shapes, and values within `ulps`."""
    kwargs = kwargs or {}
    wanted = by_numpy(numpy, args, kwargs)
    made, feeds = traced_call(library, args, kwargs, symbolic=symbolic)
    results = run(made, feeds)
    assert len(results) == len(wanted), f"{len(results)} results, not {len(wanted)}"
    for item, real, expected in zip(leaves(made), results, wanted, strict=True):
        if isinstance(item, Node):
            check_type(item, real)
        check_equal(real, expected, ulps)


def check_type(node: Node, real: Array) -> None:
    """The inferred type is that of the array."""
    assert real.dtype == node.dtype.numpy
    for size, number in zip(node.shape or real.shape, real.shape, strict=True):
        assert not isinstance(size, int) or size == number, f"{node.type} is {real.shape}"


def arrays(*values: Any) -> list[Array]:
    """Values as arrays."""
    return [np.asarray(value) for value in values]


def check_equal(made: Any, wanted: Any, ulps: float) -> None:
    """Two arrays (or numbers, or other values) are equal but for the sign of 0."""
    if not isinstance(wanted, np.ndarray | np.generic):
        assert type(made) is type(wanted) or isinstance(made, np.ndarray)
    one, other = arrays(made, wanted)
    assert one.dtype == other.dtype, f"{one.dtype} is not {other.dtype}"
    assert one.shape == other.shape, f"{one.shape} is not {other.shape}"
    if not ulps or one.dtype.kind not in "fc":
        np.testing.assert_array_equal(one, other)
        return
    slack = ulps * float(np.finfo(other.dtype).eps)
    np.testing.assert_allclose(one, other, rtol=slack, atol=slack)
