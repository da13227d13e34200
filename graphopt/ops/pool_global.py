"""Pooling of whole channels, and what undoes a pooling by windows."""

from __future__ import annotations

from collections.abc import Callable
from math import inf, prod

from graphopt import dims
from graphopt.dims import Size
from graphopt.ir import Node
from graphopt.op import Array, Facts, Ints, Xp, op, refuse
from graphopt.ops.bounds import mean_of, size_range, with_zeros
from graphopt.ops.checks import (
    check_dtype,
    check_rank,
    check_rank_from,
    float_dtype,
    one_size,
    size_at,
)
from graphopt.ops.common import shape_known, tensor
from graphopt.ops.examples import given
from graphopt.ops.intervals import within
from graphopt.ops.kernels import mean_over, wide
from graphopt.ops.window import refusing, window
from graphopt.ranges import ValueFacts
from graphopt.structural import constant, graph_input
from graphopt.types import DType, TensorType, Type


def whole(x: Node) -> Type:
    """The type of x (N, C, D1, ...) with each channel pooled to one element."""
    check_rank_from(x, 2)
    shape = None if x.shape is None else (*x.shape[:2], *(1,) * (len(x.shape) - 2))
    return tensor(float_dtype(x), shape)


def whole_examples(make: Callable[[Node], Node]) -> list[Node]:
    """Example nodes of an op that pools whole channels."""
    batch = (dims.symbol("N"), 2, dims.symbol("H"), 3)
    return [
        make(given("x", 2, 3, 4, 5)),
        make(graph_input("x", TensorType(DType.FLOAT32, batch))),
        make(given("x", 2, 3, 4, dtype=DType.FLOAT16)),
        make(given("x", 1, 2, 2, 1, 3, dtype=DType.FLOAT64)),
    ]


@op("GlobalAveragePool", facts=Facts(signed_zero="passed", total=True))
def global_average_pool(xp: Xp, x: Array) -> Array:
    """The mean of each channel of x (N, C, D1, ...): (N, C, 1, ...)."""
    return xp.asarray(mean_over(xp, wide(xp, x)[0], range(2, x.ndim)), x.dtype)


@op("GlobalMaxPool", facts=Facts(signed_zero="passed"))
def global_max_pool(xp: Xp, x: Array) -> Array:
    """The greatest element of each channel of x (N, C, D1, ...), or NaN: (N, C, 1, ...).

    Fails on channels without elements.
    """
    return xp.max(x, axis=tuple(range(2, x.ndim)), keepdims=True)


@op("GlobalLpPool", facts=Facts(signed_zero="passed", total=True))
def global_lp_pool(xp: Xp, x: Array, *, p: int = 2) -> Array:
    """The p-norm of each channel of x (N, C, D1, ...): (N, C, 1, ...)."""
    (high,) = wide(xp, x)
    axes = tuple(range(2, x.ndim))
    if p == 2:
        made = xp.sqrt(xp.sum(high * high, axis=axes, keepdims=True))
    else:
        made = xp.sum(xp.abs(high) ** p, axis=axes, keepdims=True) ** (1 / p)
    return xp.asarray(made, x.dtype)


@global_lp_pool.infer
def _(x: Node, *, p: int) -> Type:
    if p < 1:
        raise refuse(f"p is {p}")
    return whole(x)


global_average_pool.infer(whole)
global_max_pool.infer(whole)


@global_average_pool.bounds
def _(node: Node, x: ValueFacts) -> ValueFacts:
    shape = node.inputs[0].shape
    return mean_of(node.dtype, x, *size_range(None if shape is None else shape[2:]))


@global_lp_pool.bounds
def _(node: Node, x: ValueFacts) -> ValueFacts:
    return within(0, inf, nan=x.may_be_nan)


global_max_pool.bounds(lambda node, x: x)


@global_average_pool.examples
def _() -> list[Node]:
    return whole_examples(global_average_pool)


@global_max_pool.examples
def _() -> list[Node]:
    return whole_examples(global_max_pool)


@global_lp_pool.examples
def _() -> list[Node]:
    return [*whole_examples(global_lp_pool), global_lp_pool(given("x", 2, 3, 4), p=3)]


def unpooled_sizes(
    sizes: tuple[Size, ...], kernel_shape: Ints, strides: Ints | None, pads: Ints | None
) -> tuple[Size, ...]:
    """The spatial sizes that pooling makes the given ones of, the least if there are several.

    Raises ValueError for attributes that do not fit.
    """
    win = window(kernel_shape, strides, pads, None)
    made: list[Size] = []
    for axis, size in enumerate(sizes):
        padding = win.begins[axis] + win.ends[axis]
        made.append((size - 1) * win.strides[axis] + kernel_shape[axis] - padding)
        if isinstance(made[-1], int) and made[-1] < 0:
            raise ValueError(f"the padding leaves {made[-1]} of axis {axis}")
    return tuple(made)


@op("MaxUnpool", facts=Facts(host_inputs=(2,)))
def max_unpool(
    xp: Xp,
    x: Array,
    indices: Array,
    output_shape: Array | None = None,
    *,
    kernel_shape: Ints,
    pads: Ints | None = None,
    strides: Ints | None = None,
) -> Array:
    """Zeros but for the elements of x (N, C, D1, ...), put where MaxPool's `indices` say.

    The indices count in the shape that follows from x and the attributes. `output_shape`, which may
    not be smaller, adds zeros behind it on each axis. Of equal indices the last one counts.
    """
    inner = (*x.shape[:2], *unpooled_sizes(x.shape[2:], kernel_shape, strides, pads))
    if indices.shape != x.shape:
        raise ValueError(f"indices of shape {indices.shape} for x of shape {x.shape}")
    nothing = xp.zeros(prod(inner), x.dtype)
    image = xp.scatter(nothing, (indices.reshape(-1),), x.reshape(-1)).reshape(inner)
    if output_shape is None:
        return image
    wanted = tuple(map(int, output_shape))
    return xp.pad(image, [(0, b - a) for a, b in zip(inner, wanted, strict=True)])


max_unpool.bounds(with_zeros)


@max_unpool.infer
def _(
    x: Node,
    indices: Node,
    output_shape: Node | None,
    *,
    kernel_shape: Ints,
    pads: Ints | None,
    strides: Ints | None,
) -> Type:
    dtype = float_dtype(x)
    check_dtype(indices, (DType.INT64,), "the indices")
    check_dtype(output_shape, (DType.INT64,), "output_shape")
    check_rank(output_shape, (1,), "output_shape")
    rank = len(kernel_shape) + 2
    check_rank(x, (rank,), "the input")
    check_rank(indices, (rank,), "the indices")
    for axis, size in enumerate(x.shape or ()):
        one_size("a size of the indices and the input", size, size_at(indices, axis))
    made: tuple[Size | None, ...] = (None,) * rank
    if x.shape is not None:
        with refusing():
            sizes = unpooled_sizes(x.shape[2:], kernel_shape, strides, pads)
        made = (*x.shape[:2], *sizes)
    if output_shape is not None:
        made = shape_known(output_shape) or (None,) * rank
        one_size("the rank", rank, len(made))
    return tensor(dtype, made)


@max_unpool.examples
def _() -> list[Node]:
    x = given("x", 1, 1, 2, 2)
    batch = given("x", "N", 1, 2)
    places = given("i", "N", 1, 2, dtype=DType.INT64)
    indices = constant([[[[5, 7], [13, 15]]]], DType.INT64)
    return [
        max_unpool(x, indices, kernel_shape=(2, 2), strides=(2, 2)),
        max_unpool(
            x, indices, constant([1, 1, 5, 6], DType.INT64), kernel_shape=(2, 2), strides=(2, 2)
        ),
        max_unpool(batch, places, kernel_shape=(3,), strides=(2,), pads=(1, 0)),
    ]
