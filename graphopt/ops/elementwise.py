"""How element-wise ops are declared: by ufunc, dtypes, and what is known of small integers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import prod
from typing import Any

from graphopt.dims import Dim, lower
from graphopt.ir import Node
from graphopt.op import PLAIN, Array, Facts, Op, Xp, refuse
from graphopt.ops.checks import check_dtype
from graphopt.ops.common import broadcast_shapes
from graphopt.ops.dtypes import FLOATS, NUMBERS, Dtypes
from graphopt.ops.examples import given
from graphopt.structural import graph_input
from graphopt.types import MAX_KNOWN, DType, TensorType, Type

Combine = Callable[..., Any]
"""From known elements (no None among them) to one: a number, a Dim, or None where not known."""


def nonnegative(value: Any) -> bool:
    """Whether a known element is proven to be at least 0."""
    low = lower(value)
    return low is not None and low >= 0


def fit(value: Any, dtype: DType) -> Any:
    """`value` if a tensor of `dtype` can have it as an element, else None: it may have wrapped.

    A size is taken to fit 32 bits, as it is by all who compute shapes in them, but not to be
    negative in an unsigned dtype.
    """
    if type(value) is int:
        low = -(1 << (dtype.bits - 1)) if dtype.kind == "i" else 0
        return value if low <= value < low + (1 << dtype.bits) else None
    if isinstance(value, Dim):
        return value if dtype.bits >= 32 and (dtype.kind == "i" or nonnegative(value)) else None
    return value


def known_absolute(a: Any) -> Any:
    """|a| of a known element."""
    return abs(a) if type(a) is int else a if nonnegative(a) else None


def combine_known(
    kinds: Sequence[TensorType],
    shape: tuple[Any, ...] | None,
    dtype: DType,
    combine: Combine,
    *,
    partial: bool = False,
) -> tuple[Any, ...] | None:
    """The known elements of an element-wise result, None when there is nothing to know.

    With `partial`, `combine` also takes None for elements that are not known.
    """
    if shape is None or not all(type(size) is int for size in shape):
        return None
    if (size := prod(shape)) > MAX_KNOWN or all(kind.known is None for kind in kinds):
        return None
    rows = zip(*(_spread(kind, shape, size) for kind in kinds), strict=True)
    return tuple(fit(combine(*row), dtype) if partial or None not in row else None for row in rows)


def _spread(kind: TensorType, shape: tuple[int, ...], size: int) -> Sequence[Any]:
    """The known elements of an operand, broadcast to `shape`."""
    known = kind.known
    if known is None or kind.shape is None or len(known) == size:
        return known or (None,) * size
    if len(known) == 1:
        return known * size
    positions = [0]
    for axis, count in enumerate(shape, len(kind.shape) - len(shape)):
        own: Any = kind.shape[axis] if axis >= 0 else 1
        step = 0 if own == 1 else 1
        positions = [at * own + step * i for at in positions for i in range(count)]
    return [known[at] for at in positions]


def unary_rule(
    dtypes: Dtypes, known: Combine | None = None, result: DType | None = None
) -> Callable[..., Type]:
    """The type rule of a function of one variable: same shape, same dtype or `result`."""

    def rule(x: Node, **attrs: Any) -> Type:
        check_dtype(x, dtypes)
        kind = x.tensor_type
        dtype = result or kind.dtype
        made = TensorType(dtype, kind.shape)
        if known is None or kind.known is None:
            return made
        return made.with_known(combine_known((kind,), kind.shape, dtype, known))

    return rule


def broadcast_rule(
    dtypes: Dtypes, known: Combine | None = None, result: DType | None = None
) -> Callable[..., Type]:
    """The type rule of a function of one or more variables of one dtype, which are broadcast."""

    def rule(*values: Node | None, **attrs: Any) -> Type:
        kinds: list[TensorType] = []
        for value in values:
            if value is None:
                raise refuse("an input is missing")
            check_dtype(value, dtypes)
            kinds.append(value.tensor_type)
        return broadcast_type(kinds, known, result)

    return rule


def broadcast_type(
    kinds: Sequence[TensorType], known: Combine | None = None, result: DType | None = None
) -> TensorType:
    """The type of an element-wise function of operands of one dtype, which are broadcast."""
    first = kinds[0]
    shape: Any = first.shape
    for kind in kinds:
        if kind.dtype is not first.dtype:
            raise refuse(f"the inputs' dtypes differ: {first.dtype} and {kind.dtype}")
        if kind.shape != shape:
            shapes: Any = [each.shape for each in kinds]
            shape = broadcast_shapes(shapes)
            break
    dtype = result or first.dtype
    made = TensorType(dtype, shape)
    if known is None or all(kind.known is None for kind in kinds):
        return made
    return made.with_known(combine_known(kinds, shape, dtype, known))


def unary(
    name: str,
    ufunc: str,
    text: str,
    dtypes: Dtypes = FLOATS,
    facts: Facts = PLAIN,
    *,
    known: Combine | None = None,
    result: DType | None = None,
    domain: str = "",
) -> Op:
    """A function of one variable that NumPy has as a ufunc."""

    def kernel(xp: Xp, x: Array) -> Array:
        return getattr(xp, ufunc)(x)

    kernel.__doc__ = text
    facts = replace(facts, elementwise=True, total=True, ufunc=ufunc)
    op = Op(name, kernel, domain=domain, facts=facts)
    op.infer(unary_rule(dtypes, known, result))
    op.examples(lambda: unary_examples(op, dtypes))
    return op


def binary(
    name: str,
    ufunc: str,
    text: str,
    dtypes: Dtypes = NUMBERS,
    facts: Facts = PLAIN,
    *,
    known: Combine | None = None,
    result: DType | None = None,
    domain: str = "",
) -> Op:
    """A function of two variables that NumPy has as a ufunc, and that cannot fail."""

    def kernel(xp: Xp, x: Array, y: Array) -> Array:
        return getattr(xp, ufunc)(x, y)

    kernel.__doc__ = text
    facts = replace(facts, elementwise=True, total=True, ufunc=ufunc)
    op = Op(name, kernel, domain=domain, facts=facts)
    op.infer(broadcast_rule(dtypes, known, result))
    op.examples(lambda: binary_examples(op, dtypes))
    return op


def unary_examples(op: Op, dtypes: Dtypes, **attrs: Any) -> list[Node]:
    """Examples of a function of one variable."""
    first = dtypes[0]
    shapes: list[tuple[int | str, ...]] = [("N", 3), (), (0, 2), (1,)]
    operands = [given("x", 5, 7, dtype=dtype) for dtype in dtypes]
    operands += [given("x", *shape, dtype=first) for shape in shapes]
    operands.append(graph_input("x", TensorType(first, None)))
    return [op(x, **attrs) for x in operands]


def binary_examples(op: Op, dtypes: Dtypes, **attrs: Any) -> list[Node]:
    """Examples of a function of two variables that are broadcast."""
    first = dtypes[0]
    pairs = [(given("x", 5, 7, dtype=dtype), given("y", 5, 7, dtype=dtype)) for dtype in dtypes]
    pairs += [
        (given("x", "N", 3, dtype=first), given("y", 3, dtype=first)),
        (given("x", 2, 1, dtype=first), given("y", 1, 0, dtype=first)),
        (given("x", dtype=first), given("y", 1, dtype=first)),
        (given("x", "N", dtype=first), given("y", "M", dtype=first)),
        (given("x", 4, "N", 1, dtype=first), given("y", "N", 5, dtype=first)),
        (graph_input("x", TensorType(first, None)), given("y", 3, dtype=first)),
    ]
    return [op(x, y, **attrs) for x, y in pairs]
