"""Arrays made from numbers: ConstantOfShape, Range, EyeLike, OneHot."""

from __future__ import annotations

from math import ceil, prod
from typing import Any

from graphopt.dims import Size
from graphopt.ir import Node
from graphopt.op import Array, Facts, Xp, op, refuse
from graphopt.ops.bounds import TRUTH
from graphopt.ops.checks import check_dtype, check_single, check_vector, older_dtype, same_dtype
from graphopt.ops.common import shape_known, tensor
from graphopt.ops.dtypes import FLOATS
from graphopt.ops.examples import given
from graphopt.ops.intervals import within
from graphopt.ops.sizes import extent, length_of, places
from graphopt.ranges import ANYTHING, ValueFacts, epsilon, facts_of
from graphopt.structural import constant
from graphopt.tensor import Tensor
from graphopt.types import MAX_KNOWN, DType, TensorType, Type

RANGES = (*FLOATS, DType.INT16, DType.INT32, DType.INT64)
ONE_ZERO = Tensor.splat(DType.FLOAT32, (1,), 0)
"""What an array of a given shape is filled with by default."""


@op("ConstantOfShape", facts=Facts(host_inputs=(0,)))
def constant_of_shape(xp: Xp, input: Array, *, value: Tensor = ONE_ZERO) -> Array:
    """An array of shape `input` whose every element is the one of `value`."""
    return xp.full(tuple(input.tolist()), value.element, value.array.dtype)


@constant_of_shape.infer
def _(input: Node, *, value: Tensor) -> Type:
    check_vector(input, "a shape")
    if value.size != 1:
        raise refuse(f"the value has {value.size} elements, not 1")
    sizes = shape_known(input)
    if sizes is None:
        return tensor(value.dtype, None)
    if any(isinstance(size, int) and size < 0 for size in sizes):
        raise refuse(f"a size of {list(sizes)} is negative")
    made = tensor(value.dtype, sizes)
    ints = [size for size in sizes if isinstance(size, int)]
    if value.dtype.kind not in "iub" or value.dtype.bits < 8 or len(ints) < len(sizes):
        return made
    return made.with_known([value.element.item()] * prod(ints)) if prod(ints) <= MAX_KNOWN else made


@constant_of_shape.bounds
def _(node: Node, sizes: ValueFacts) -> ValueFacts:
    return facts_of(constant(node.op.arguments(node.attrs)["value"]))


@constant_of_shape.examples
def _() -> list[Node]:
    values = (Tensor.of([7], DType.INT64), Tensor.of([True]), Tensor.of([0.5], DType.BFLOAT16))
    shapes = [constant(sizes, DType.INT64) for sizes in ([2, 3], [], [0, 2])]
    made = [constant_of_shape(sizes, value=value) for sizes in shapes for value in values]
    return [*made, constant_of_shape(shapes[0])]


@op("Range", facts=Facts(host_inputs=(0, 1, 2)))
def range_(
    xp: Xp, start: Array, limit: Array, delta: Array, *, stash_type: DType = DType.FLOAT32
) -> Array:
    """start, start + delta, ... up to, but without, `limit`.

    float16 and bfloat16 are computed in `stash_type`. Raises ZeroDivisionError where delta is 0.
    """
    dtype = start.dtype
    start, limit, delta = (xp.reshape(item, ()) for item in (start, limit, delta))
    if dtype in (xp.dtype(DType.FLOAT16), xp.dtype(DType.BFLOAT16)):
        working = xp.dtype(stash_type)
        start, limit, delta = (item.astype(working) for item in (start, limit, delta))
    steps = xp.arange(_count(start.item(), limit.item(), delta.item()))
    return (start + steps.astype(start.dtype) * delta).astype(dtype)


def _count(start: float, limit: float, delta: float) -> int:
    if isinstance(delta, int) and isinstance(start, int) and isinstance(limit, int):
        return max(-((start - limit) // delta), 0)
    return max(ceil((limit - start) / delta), 0)


@range_.infer
def _(start: Node, limit: Node, delta: Node, *, stash_type: DType) -> Type:
    dtype = same_dtype(start, limit, delta)
    check_dtype(start, RANGES, "a range")
    if stash_type not in (DType.FLOAT32, DType.FLOAT64):
        raise refuse(f"stash_type cannot be {stash_type}")
    for item in (start, limit, delta):
        check_single(item, "a bound of a range")
    first, last, step = (_scalar(item) for item in (start, limit, delta))
    if step == 0:
        raise refuse("delta is 0")
    if first is None or last is None or step is None:
        return tensor(dtype, (None,))
    if isinstance(first, float) or isinstance(step, float) or isinstance(last, float):
        return tensor(dtype, (_float_count(first, last, step),))
    if not isinstance(step, int):
        return tensor(dtype, (None,))
    count = extent(last - first if step > 0 else first - last, abs(step))
    made = TensorType(dtype, (count,))
    if isinstance(count, int) and count <= MAX_KNOWN:
        return made.with_known(first + k * step for k in range(count))
    return made


def _scalar(value: Node) -> Any:
    """The number that a scalar is: a size, or a float of a constant; None if it is not known."""
    if value.known is not None:
        return value.known[0]
    return None if value.constant is None else float(value.constant.element)


def _float_count(first: float, last: float, step: float) -> int | None:
    try:
        return _count(first, last, step)
    except (ValueError, OverflowError):
        return None  # not a number, or no end: running will say so


@range_.bounds
def _(node: Node, start: ValueFacts, limit: ValueFacts, delta: ValueFacts) -> ValueFacts:
    if not (start.finite and limit.finite and delta.finite) or delta.has_zero:
        return ANYTHING
    one = 0 if node.dtype.is_float else 1  # how far integers stay from the limit
    low, high = start.low, limit.high - one
    if delta.high < 0:
        low, high = limit.low + one, start.high
    if not node.dtype.is_float:
        return within(low, high, whole=True)
    error = 8 * epsilon(node.dtype) * (abs(low) + abs(high))
    whole = start.integer_valued and delta.integer_valued
    zero = start.may_be_negative_zero
    return within(low - error, high + error, zero=zero, whole=whole)


@range_.examples
def _() -> list[Node]:
    def over(dtype: DType, *bounds: float) -> Node:
        made: Node = range_(*(constant(bound, dtype) for bound in bounds))
        return made

    return [
        *(over(dtype, 1, 7, 2) for dtype in RANGES),
        over(DType.INT64, 5, -4, -3),
        over(DType.INT32, 5, 5, 1),
        over(DType.INT64, 0, 3, -1),
        over(DType.FLOAT32, 0.5, 2.25, 0.5),
        over(DType.FLOAT16, 0, 3000, 1),
    ]


@op("EyeLike", facts=Facts(total=True))
def eye_like(xp: Xp, input: Array, *, dtype: DType | None = None, k: int = 0) -> Array:
    """A matrix of input's shape and of `dtype` (or input's): 1 on diagonal k, 0 elsewhere."""
    made = places(xp, input.shape, 1) - places(xp, input.shape, 0) == k
    return made.astype(input.dtype if dtype is None else xp.dtype(dtype))


@eye_like.infer
def _(input: Node, *, dtype: DType | None, k: int) -> Type:
    made = older_dtype(input) if dtype is None else dtype
    if made.kind in "cS" or made.code > DType.BFLOAT16.code or input.dtype.kind in "cS":
        raise refuse(f"the dtypes {input.dtype} and {made} are not taken")
    if input.rank not in (2, None):
        raise refuse(f"the input has {input.rank} axes, not 2")
    return tensor(made, (None, None) if input.shape is None else input.shape)


eye_like.bounds(lambda node, x: TRUTH)


@eye_like.examples
def _() -> list[Node]:
    x = given("x", 3, 4)
    made = [eye_like(x, k=k) for k in (-5, -1, 0, 2)]
    made += [eye_like(x, dtype=dtype) for dtype in (DType.BOOL, DType.INT64, DType.BFLOAT16)]
    return [*made, eye_like(given("x", 0, 2, dtype=DType.UINT8)), eye_like(given("x", 1, 1))]


@op("OneHot", facts=Facts(host_inputs=(1,)))
def one_hot(xp: Xp, indices: Array, depth: Array, values: Array, *, axis: int = -1) -> Array:
    """values[1] where an index equals its place along a new axis of size `depth`, else values[0].

    Negative indices count from the end; one outside the axis is nowhere.
    """
    count = int(depth.reshape(-1)[0])
    if count < 1:
        raise ValueError(f"depth {count} is not positive")
    at = xp.expand_dims(indices.astype(xp.dtype(DType.INT64)), axis)
    at = xp.where(at < 0, at + count, at)
    shape = [*at.shape]
    shape[axis] = count
    off, on = xp.reshape(values[:1], ()), xp.reshape(values[1:], ())
    return xp.where(places(xp, shape, axis) == at, on, off)


@one_hot.infer
def _(indices: Node, depth: Node, values: Node, *, axis: int) -> Type:
    dtype = older_dtype(values)
    for item in (indices, depth):
        if not item.dtype.is_numeric or item.dtype.kind == "c" or item.dtype is DType.BFLOAT16:
            raise refuse(f"indices and depth cannot be of {item.dtype}")
    check_single(depth, "depth")
    if values.rank not in (1, None) or length_of(values) not in (2, None):
        raise refuse(f"values is {values.type}, not a vector of 2")
    sizes = indices.shape
    if sizes is None:
        return tensor(dtype, None)
    if not -len(sizes) - 1 <= axis <= len(sizes):
        raise refuse(f"there is no place {axis} among {len(sizes)} axes")
    axis += len(sizes) + 1 if axis < 0 else 0
    count: Size | float | None = _scalar(depth)
    if isinstance(count, float):
        count = int(count)
    if isinstance(count, int) and count < 1:
        raise refuse(f"depth {count} is not positive")
    return tensor(dtype, (*sizes[:axis], count, *sizes[axis:]))


one_hot.bounds(lambda node, indices, depth, values: values)


@one_hot.examples
def _() -> list[Node]:
    at, depth = constant([[0, -1, 3], [2, 9, -9]], DType.INT64), constant(4, DType.INT64)
    values, flags = constant([0.5, 2.0], DType.FLOAT32), constant([True, False])
    return [
        *(one_hot(at, depth, values, axis=axis) for axis in (-3, -1, 0, 1, 2)),
        one_hot(constant([2], DType.INT32), constant(3.0, DType.FLOAT32), flags),
        one_hot(constant([1, 0], DType.FLOAT32), depth, constant([0, 1], DType.INT8)),
        one_hot(given("x", 0, dtype=DType.INT64), depth, values),
    ]
