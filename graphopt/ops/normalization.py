"""Normalization by mean and deviation: of a batch, an instance, a layer, or groups of channels.

Half-precision inputs are computed in float32, float64 inputs in float64 whatever `stash_type` says:
it only types the saved statistics. RMSNormalization rounds to x's dtype before it scales, which
shows where scale's is wider; the others round once.
"""

from __future__ import annotations

from collections.abc import Sequence

from graphopt.dims import Size
from graphopt.ir import Node
from graphopt.op import Array, Facts, Xp, op, refuse
from graphopt.ops.checks import (
    check_dtype,
    check_rank,
    check_rank_from,
    float_dtype,
    one_size,
    size_at,
)
from graphopt.ops.common import normal_axis
from graphopt.ops.dtypes import FLOATS
from graphopt.ops.examples import given
from graphopt.ops.kernels import mean_over, wide
from graphopt.structural import constant
from graphopt.types import DType, TensorType, Type

STASH_TYPES = (DType.FLOAT32, DType.BFLOAT16)


def per_channel(vector: Array, x: Array) -> Array:
    """A vector with one element a channel, shaped to be broadcast against x (N, C, D1, ...)."""
    channels = x.shape[1] if x.ndim > 1 else 1
    return vector.reshape((channels,) + (1,) * (x.ndim - 2))


def check_channels(x: Node, *vectors: Node) -> Size | None:
    """The number of channels of x; refuses vectors that are not one element a channel."""
    channels = 1 if x.rank == 1 else size_at(x, 1)
    for vector in vectors:
        check_rank(vector, (1,), "a vector over the channels")
        channels = one_size("the number of channels", channels, size_at(vector, 0))
    return channels


def check_stash_type(stash_type: DType) -> None:
    """Refuse dtypes in which statistics cannot be kept."""
    if stash_type not in STASH_TYPES:
        raise refuse(f"stash_type is {stash_type}")


def check_fits(x: Node, value: Node | None) -> None:
    """Refuse a value that is proven not to broadcast to the shape of x."""
    if value is None or x.shape is None or value.shape is None:
        return
    if len(value.shape) > len(x.shape):
        raise refuse(f"an input of rank {value.rank} does not broadcast to rank {x.rank}")
    for size, wanted in zip(reversed(value.shape), reversed(x.shape), strict=False):
        if size != 1:
            one_size("an axis of an input", size, wanted)


def standardize(
    xp: Xp, x: Array, axes: Sequence[int], epsilon: float
) -> tuple[Array, Array, Array]:
    """x with mean 0 and variance 1 over some axes, the mean, and 1 / the standard deviation."""
    mean = mean_over(xp, x, axes)
    centered = x - mean
    inverse = 1 / xp.sqrt(mean_over(xp, centered * centered, axes) + epsilon)
    return centered * inverse, mean, inverse


@op("BatchNormalization", facts=Facts(signed_zero="passed"))
def batch_normalization(
    xp: Xp,
    x: Array,
    scale: Array,
    bias: Array,
    mean: Array,
    var: Array,
    *,
    epsilon: float = 1e-5,
    momentum: float = 0.9,
    training_mode: int = 0,
) -> Array:
    """(x - mean) / sqrt(var + epsilon) * scale + bias for x (N, C, D1, ...) and vectors (C).

    A vector x has one channel. Training mode, which updates statistics, is refused.
    """
    dtype = x.dtype
    x, scale, bias, mean, var = wide(xp, x, scale, bias, mean, var)
    scale, bias, mean, var = (per_channel(v, x) for v in (scale, bias, mean, var))
    return ((x - mean) / xp.sqrt(var + epsilon) * scale + bias).astype(dtype)


@batch_normalization.infer
def _(
    x: Node,
    scale: Node,
    bias: Node,
    mean: Node,
    var: Node,
    *,
    epsilon: float,
    momentum: float,
    training_mode: int,
) -> Type:
    if training_mode:
        raise refuse("training mode is not supported")
    check_dtype(x, FLOATS, "x")
    float_dtype(scale, bias)
    float_dtype(mean, var)
    check_rank_from(x, 1)
    check_channels(x, scale, bias, mean, var)
    return TensorType(x.dtype, x.shape)


@batch_normalization.examples
def _() -> list[Node]:
    var, half = constant([0.5, 1.0, 2.0], DType.FLOAT32), DType.FLOAT16
    c = [*(given(name, 3) for name in "sbm"), var]
    one = [*(given(name, 1) for name in "sbm"), constant([2.0], DType.FLOAT32)]
    f16 = [given(name, 3, dtype=half) for name in "sb"]
    return [
        batch_normalization(given("x", 2, 3, 4, 5), *c),
        batch_normalization(given("x", 2, 3), *c, epsilon=0.1),
        batch_normalization(given("x", 0, 3, 4), *c),
        batch_normalization(given("x", 4), *one),
        batch_normalization(given("x", 2, 3, 4, dtype=half), *f16, *c[2:]),
    ]


@op("InstanceNormalization", facts=Facts(signed_zero="passed"))
def instance_normalization(
    xp: Xp, x: Array, scale: Array, bias: Array, *, epsilon: float = 1e-5
) -> Array:
    """x (N, C, D1, ...) standardized over D1, ..., times scale (C) plus bias (C)."""
    full, scale, bias = wide(xp, x, scale, bias)
    made, _, _ = standardize(xp, full, range(2, x.ndim), epsilon)
    return (made * per_channel(scale, x) + per_channel(bias, x)).astype(x.dtype)


@instance_normalization.infer
def _(x: Node, scale: Node, bias: Node, *, epsilon: float) -> Type:
    float_dtype(x, scale, bias)
    check_rank_from(x, 3)
    check_channels(x, scale, bias)
    return TensorType(x.dtype, x.shape)


@instance_normalization.examples
def _() -> list[Node]:
    return [
        instance_normalization(given("x", *shape), given("s", shape[1]), given("b", shape[1]))
        for shape in ((2, 3, 4, 5), (1, 1, 1), (2, 3, 0), (0, 2, 3))
    ] + [instance_normalization(given("x", 2, 3, 4), given("s", 3), given("b", 3), epsilon=0.5)]


@op("LayerNormalization", facts=Facts(signed_zero="passed"))
def layer_normalization(
    xp: Xp,
    x: Array,
    scale: Array,
    bias: Array | None = None,
    *,
    axis: int = -1,
    epsilon: float = 1e-5,
    stash_type: DType = DType.FLOAT32,
    outputs: int = 1,
) -> Array:
    """x standardized over the axes from `axis` on, times scale plus bias, which broadcast to x.

    Outputs: y, the mean, 1 / the standard deviation, both with size 1 in the axes reduced.
    """
    full, scale, bias = wide(xp, x, scale, bias)
    axes = range(axis % x.ndim, x.ndim)
    made, mean, inverse = standardize(xp, full, axes, epsilon)
    made = made * xp.broadcast_to(scale, x.shape)
    if bias is not None:
        made = made + xp.broadcast_to(bias, x.shape)
    kept = xp.dtype(stash_type)
    found = (made.astype(x.dtype), mean.astype(kept), inverse.astype(kept))
    return found[:outputs] if outputs > 1 else found[0]


@layer_normalization.infer
def _(
    x: Node,
    scale: Node,
    bias: Node | None,
    *,
    axis: int,
    epsilon: float,
    stash_type: DType,
    outputs: int,
) -> Type | tuple[Type, ...]:
    float_dtype(x, scale, bias)
    check_stash_type(stash_type)
    if not 1 <= outputs <= 3:
        raise refuse(f"{outputs} outputs")
    check_fits(x, scale)
    check_fits(x, bias)
    kept: tuple[Size, ...] | None = None
    if x.shape is not None:
        first = normal_axis(axis, len(x.shape))
        kept = x.shape[:first] + (1,) * (len(x.shape) - first)
    saved = TensorType(stash_type, kept)
    made = (TensorType(x.dtype, x.shape), saved, saved)
    return made[:outputs] if outputs > 1 else made[0]


@layer_normalization.examples
def _() -> list[Node]:
    x, s, b = given("x", 2, 3, 4), given("s", 4), given("b", 4)
    half = [given(n, *shape, dtype=DType.FLOAT16) for n, shape in (("x", (2, 4)), ("s", (4,)))]
    return [
        layer_normalization(x, s),
        layer_normalization(x, s, b, outputs=3),
        layer_normalization(x, given("s", 3, 4), given("b", 1, 1), axis=1, epsilon=0.1, outputs=2),
        layer_normalization(x, given("s", 2, 3, 4), axis=-3),
        layer_normalization(given("x", 2, 0), given("s", 0), given("b", 0), outputs=3),
        layer_normalization(given("x", 3, 1), given("s", 1)),
        layer_normalization(*half),
    ]


@op("GroupNormalization", facts=Facts(signed_zero="passed"))
def group_normalization(
    xp: Xp,
    x: Array,
    scale: Array,
    bias: Array,
    *,
    num_groups: int,
    epsilon: float = 1e-5,
    stash_type: DType = DType.FLOAT32,
) -> Array:
    """x (N, C, D1, ...) standardized over each group of channels, times scale (C) plus bias (C)."""
    full, scale, bias = wide(xp, x, scale, bias)
    grouped = full.reshape(x.shape[0], num_groups, x.shape[1] // num_groups, *x.shape[2:])
    made, _, _ = standardize(xp, grouped, range(2, grouped.ndim), epsilon)
    made = made.reshape(x.shape) * per_channel(scale, x) + per_channel(bias, x)
    return made.astype(x.dtype)


@group_normalization.infer
def _(
    x: Node, scale: Node, bias: Node, *, num_groups: int, epsilon: float, stash_type: DType
) -> Type:
    float_dtype(x, scale, bias)
    check_stash_type(stash_type)
    check_rank_from(x, 2)
    channels = check_channels(x, scale, bias)
    if num_groups < 1 or (isinstance(channels, int) and channels % num_groups):
        raise refuse(f"{channels} channels cannot be split into {num_groups} groups")
    return TensorType(x.dtype, x.shape)


@group_normalization.examples
def _() -> list[Node]:
    s, b = given("s", 4), given("b", 4)
    shapes = ((2, 4, 3, 2), (3, 4), (0, 4, 2), (2, 4, 0))
    return [group_normalization(given("x", *shape), s, b, num_groups=2) for shape in shapes] + [
        group_normalization(given("x", 2, 4, 3), s, b, num_groups=n, epsilon=0.1) for n in (1, 4)
    ]


@op("RMSNormalization", facts=Facts(signed_zero="passed"))
def rms_normalization(
    xp: Xp,
    x: Array,
    scale: Array,
    *,
    axis: int = -1,
    epsilon: float = 1e-5,
    stash_type: DType = DType.FLOAT32,
) -> Array:
    """x / sqrt(mean(x²) + epsilon) over the axes from `axis` on, times scale, of scale's dtype."""
    (full,) = wide(xp, x)
    root = xp.sqrt(mean_over(xp, full * full, range(axis % x.ndim, x.ndim)) + epsilon)
    made, factors = wide(xp, (full / root).astype(x.dtype), scale)
    return (made * xp.broadcast_to(factors, x.shape)).astype(scale.dtype)


@rms_normalization.infer
def _(x: Node, scale: Node, *, axis: int, epsilon: float, stash_type: DType) -> Type:
    check_dtype(x, FLOATS, "x")
    check_dtype(scale, FLOATS, "scale")
    check_stash_type(stash_type)
    check_fits(x, scale)
    if x.shape is not None:
        normal_axis(axis, len(x.shape))
    return TensorType(scale.dtype, x.shape)


@rms_normalization.examples
def _() -> list[Node]:
    x, half = given("x", 2, 3, 4), given("x", 2, 4, dtype=DType.FLOAT16)
    return [
        rms_normalization(x, given("s", 4)),
        rms_normalization(x, given("s", 3, 1), axis=1, epsilon=0.1),
        rms_normalization(x, given("s", 2, 3, 4), axis=0),
        rms_normalization(given("x", 2, 0), given("s", 0)),
        rms_normalization(half, given("s", 4)),
    ]
