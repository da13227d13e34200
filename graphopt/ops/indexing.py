"""Elements read and written at computed positions: the Gather and Scatter ops.

Negative indices count from the end of their axis; indices outside it raise IndexError at run time.
"""

from __future__ import annotations

from graphopt.dims import Size
from graphopt.ir import Node
from graphopt.op import Array, Facts, Xp, op, refuse
from graphopt.ops.bounds import attribute
from graphopt.ops.checks import check_dtype, check_vector, older_dtype, one_size, same_dtype
from graphopt.ops.common import normal_axis, tensor
from graphopt.ops.dtypes import INDICES
from graphopt.ops.examples import given
from graphopt.ops.intervals import union
from graphopt.ops.sizes import moved, places
from graphopt.ranges import ANYTHING, ValueFacts
from graphopt.structural import constant
from graphopt.tensor import Tensor
from graphopt.types import DType, Type

REDUCTIONS = ("add", "mul", "max", "min")


@op("Gather", facts=Facts(moves=True))
def gather(xp: Xp, data: Array, indices: Array, *, axis: int = 0) -> Array:
    """The slices of data at `indices` along `axis`, in whose place the indices' axes stand."""
    taken = xp.take(data, xp.reshape(indices, -1), axis)
    axis += data.ndim if axis < 0 else 0
    return xp.reshape(taken, data.shape[:axis] + indices.shape + data.shape[axis + 1 :])


@gather.infer
def _(data: Node, indices: Node, *, axis: int) -> Type:
    dtype = older_dtype(data)
    check_dtype(indices, INDICES, "indices")
    sizes, wanted = data.shape, indices.shape
    if sizes is None:
        return tensor(dtype, None)
    axis = normal_axis(axis, len(sizes))
    if wanted is None:
        return tensor(dtype, None)
    made = tensor(dtype, sizes[:axis] + wanted + sizes[axis + 1 :])
    return made.with_known(moved(gather, data, indices, axis=axis))


@gather.examples
def _() -> list[Node]:
    x = given("x", 3, 4, 2)
    wide = constant([[0, -1], [2, 1]], DType.INT64)
    return [
        gather(x, constant([2, 0, -3], DType.INT32)),
        gather(x, constant(-1, DType.INT64), axis=1),
        gather(x, wide, axis=-2),
        gather(x, constant([], DType.INT64), axis=2),
        gather(given("x", 2, 0, dtype=DType.BOOL), constant([1], DType.INT64)),
        gather(constant([5, 6, 7], DType.INT64), constant(1, DType.INT64)),
    ]


@op("GatherElements", facts=Facts(moves=True))
def gather_elements(xp: Xp, data: Array, indices: Array, *, axis: int = 0) -> Array:
    """For each index, the element of data that is there along `axis` and at its place otherwise."""
    return data[_at(xp, indices, axis)]


def _at(xp: Xp, indices: Array, axis: int) -> tuple[Array, ...]:
    at = [places(xp, indices.shape, k) for k in range(indices.ndim)]
    at[axis] = indices
    return tuple(at)


def _check_ranks(data: Node, indices: Node, axis: int) -> int | None:
    rank = indices.rank if data.rank is None else data.rank
    if rank is None:
        return None
    if indices.rank not in (rank, None):
        raise refuse(f"the indices have {indices.rank} axes, the data {rank}")
    normal_axis(axis, rank)
    return rank


@gather_elements.infer
def _(data: Node, indices: Node, *, axis: int) -> Type:
    dtype = older_dtype(data)
    check_dtype(indices, INDICES, "indices")
    rank = _check_ranks(data, indices, axis)
    if indices.shape is None:
        return tensor(dtype, None if rank is None else (None,) * rank)
    made = tensor(dtype, indices.shape)
    return made.with_known(moved(gather_elements, data, indices, axis=axis))


@gather_elements.examples
def _() -> list[Node]:
    x, at = given("x", 3, 2), constant([[0, 1], [-1, 0]], DType.INT64)
    return [
        gather_elements(x, at),
        gather_elements(x, constant([[1, 0, -2]] * 3, DType.INT32), axis=1),
        gather_elements(given("x", 3), constant([2, 2, 0, 1], DType.INT64), axis=-1),
        gather_elements(x, constant(Tensor.splat(DType.INT64, (0, 2), 0))),
    ]


@op("GatherND", facts=Facts(moves=True))
def gather_nd(xp: Xp, data: Array, indices: Array, *, batch_dims: int = 0) -> Array:
    """The slices of data at the tuples of positions which the last axis of `indices` holds.

    The first `batch_dims` axes of both are walked together. Raises ValueError where they differ.
    """
    lead, depth = indices.shape[:-1], indices.shape[-1]
    if data.shape[:batch_dims] != lead[:batch_dims]:
        raise ValueError(f"batches of {data.shape} and {indices.shape} differ")
    at = [xp.broadcast_to(places(xp, lead, k), lead) for k in range(batch_dims)]
    at += [indices[..., k] for k in range(depth)]
    made = data[tuple(xp.reshape(item, -1) for item in at)]
    return xp.reshape(made, lead + data.shape[batch_dims + depth :])


@gather_nd.infer
def _(data: Node, indices: Node, *, batch_dims: int) -> Type:
    dtype = older_dtype(data)
    check_dtype(indices, (DType.INT64,), "indices")
    sizes, lead = data.shape, indices.shape
    for value in (sizes, lead):
        if value is not None and not 0 <= batch_dims < len(value):
            raise refuse(f"batch_dims is {batch_dims} where there are {len(value)} axes")
    if sizes is None or lead is None or not isinstance(depth := lead[-1], int):
        return tensor(dtype, None)
    if not 1 <= depth <= len(sizes) - batch_dims:
        raise refuse(f"tuples of {depth} positions for {len(sizes) - batch_dims} axes")
    both = [
        one_size("a batch size", a, b) for a, b in zip(sizes[:batch_dims], lead[:-1], strict=False)
    ]
    return tensor(dtype, [*both, *lead[batch_dims:-1], *sizes[batch_dims + depth :]])


@gather_nd.examples
def _() -> list[Node]:
    x = given("x", 2, 3, 4)
    return [
        gather_nd(x, constant([[0, 1, 2], [-1, 0, -4]], DType.INT64)),
        gather_nd(x, constant([[[1]], [[0]]], DType.INT64)),
        gather_nd(x, constant([1, 2], DType.INT64)),
        gather_nd(x, constant([[[0], [2]], [[-1], [1]]], DType.INT64), batch_dims=1),
        gather_nd(
            given("x", 2, 2, dtype=DType.BOOL), constant([[0], [1]], DType.INT64), batch_dims=1
        ),
    ]


def _check_updates(data: Node, updates: Node, reduction: str) -> DType:
    dtype = older_dtype(data, updates)
    if reduction != "none" and reduction not in REDUCTIONS:
        raise refuse(f"reduction {reduction!r} is none of none, {', '.join(REDUCTIONS)}")
    if reduction != "none" and dtype is DType.STRING:
        raise refuse("strings cannot be reduced")
    return dtype


@op("ScatterElements", facts=Facts(signed_zero="passed"))
def scatter_elements(
    xp: Xp,
    data: Array,
    indices: Array,
    updates: Array,
    *,
    axis: int = 0,
    reduction: str = "none",
) -> Array:
    """data with each update written where its index says along `axis`, at its own place otherwise.

    With a reduction (add, mul, max, min) it is combined with what is there.
    """
    return xp.scatter(data, _at(xp, indices, axis), updates, reduction)


@scatter_elements.infer
def _(data: Node, indices: Node, updates: Node, *, axis: int, reduction: str) -> Type:
    dtype = _check_updates(data, updates, reduction)
    check_dtype(indices, INDICES, "indices")
    _check_ranks(data, indices, axis)
    if indices.shape is not None and updates.shape is not None:
        _check_equal(indices.shape, updates.shape)
    return tensor(dtype, data.shape)


def _scattered(
    node: Node, data: ValueFacts, indices: ValueFacts, updates: ValueFacts
) -> ValueFacts:
    combined = attribute(node, "reduction") in ("add", "mul")
    return ANYTHING if combined else data.union(updates)


def _check_equal(wanted: tuple[Size, ...], updates: tuple[Size, ...]) -> None:
    if len(wanted) != len(updates):
        raise refuse(f"the updates have {len(updates)} axes, not {len(wanted)}")
    for a, b in zip(wanted, updates, strict=True):
        one_size("a size", a, b)


scatter_elements.bounds(_scattered)


@scatter_elements.examples
def _() -> list[Node]:
    x, updates = given("x", 3, 3), given("u", 2, 3)
    at = constant([[1, 0, 2], [0, 2, -2]], DType.INT64)
    twice = constant([[0, 0, 1], [-1, 2, 1]], DType.INT32)
    made = [
        scatter_elements(x, twice, updates, axis=1, reduction=reduction) for reduction in REDUCTIONS
    ]
    ints = given("x", 4, dtype=DType.INT64), given("u", 1, dtype=DType.INT64)
    return [
        *made,
        scatter_elements(x, at, updates),
        scatter_elements(ints[0], constant([-1], DType.INT64), ints[1], axis=-1),
    ]


@op("ScatterND", facts=Facts(signed_zero="passed"))
def scatter_nd(
    xp: Xp, data: Array, indices: Array, updates: Array, *, reduction: str = "none"
) -> Array:
    """data with slices of `updates` written at the tuples of positions in indices' last axis.

    With a reduction (add, mul, max, min) they are combined with what is there.
    """
    at = tuple(indices[..., k] for k in range(indices.shape[-1]))
    return xp.scatter(data, at, updates, reduction)


@scatter_nd.infer
def _(data: Node, indices: Node, updates: Node, *, reduction: str) -> Type:
    dtype = _check_updates(data, updates, reduction)
    check_dtype(indices, (DType.INT64,), "indices")
    sizes, lead = data.shape, indices.shape
    if sizes == () or lead == ():
        raise refuse("data and indices need an axis or more")
    if sizes is not None and lead is not None and isinstance(depth := lead[-1], int):
        if not 1 <= depth <= len(sizes):
            raise refuse(f"tuples of {depth} positions for {len(sizes)} axes")
        if updates.shape is not None:
            _check_equal(lead[:-1] + sizes[depth:], updates.shape)
    return tensor(dtype, sizes)


scatter_nd.bounds(_scattered)


@scatter_nd.examples
def _() -> list[Node]:
    x, rows = given("x", 4, 2), given("u", 2, 2)
    twice = constant([[1], [1]], DType.INT64)
    made = [scatter_nd(x, twice, rows, reduction=reduction) for reduction in REDUCTIONS]
    ints, cells = given("x", 4, 2, dtype=DType.INT32), given("u", 3, dtype=DType.INT32)
    return [
        *made,
        scatter_nd(x, constant([[-1], [0]], DType.INT64), rows),
        scatter_nd(ints, constant([[0, 1], [3, -2], [1, 1]], DType.INT64), cells),
    ]


@op("TensorScatter")
def tensor_scatter(
    xp: Xp,
    past_cache: Array,
    update: Array,
    write_indices: Array | None = None,
    *,
    axis: int = -2,
    mode: str = "linear",
) -> Array:
    """past_cache with `update` written along `axis`, in batch i from write_indices[i] (or 0).

    In mode circular the writing goes on at the beginning of the axis where it reaches its end.
    """
    wanted = list(past_cache.shape)
    wanted[axis] = update.shape[axis]
    if update.shape != tuple(wanted) or wanted[axis] > past_cache.shape[axis]:
        raise ValueError(f"{update.shape} cannot be written in {past_cache.shape}")
    at = [places(xp, update.shape, k) for k in range(update.ndim)]
    if write_indices is not None:
        at[axis] = at[axis] + write_indices[at[0]]
    if mode == "circular":
        at[axis] = at[axis] % past_cache.shape[axis]
    return xp.scatter(past_cache, tuple(at), update)


@tensor_scatter.infer
def _(past_cache: Node, update: Node, write_indices: Node | None, *, axis: int, mode: str) -> Type:
    same_dtype(past_cache, update)
    check_vector(write_indices, "write_indices")
    if mode not in ("linear", "circular"):
        raise refuse(f"mode {mode!r} is neither linear nor circular")
    sizes, new = past_cache.shape, update.shape
    if sizes is None or new is None:
        return tensor(past_cache.dtype, sizes)
    axis = normal_axis(axis, len(sizes))
    if axis == 0 or len(new) != len(sizes):
        raise refuse(f"{len(new)} axes cannot be written in {len(sizes)} along axis {axis}")
    for k, (a, b) in enumerate(zip(sizes, new, strict=True)):
        if k != axis:
            one_size("a size", a, b)
        elif isinstance(a, int) and isinstance(b, int) and b > a:
            raise refuse(f"{b} elements cannot be written in {a}")
    return tensor(past_cache.dtype, sizes)


tensor_scatter.bounds(lambda node, data, new, at: union(data, new))


@tensor_scatter.examples
def _() -> list[Node]:
    x, update = given("x", 2, 3, 4, 5), given("u", 2, 3, 1, 5)
    at = constant([1, 3], DType.INT64)
    thin = given("x", 2, 4), given("u", 2, 3)
    return [
        tensor_scatter(x, update, at),
        tensor_scatter(x, update),
        tensor_scatter(*thin, constant([3, 2], DType.INT64), axis=1, mode="circular"),
    ]
