"""Normalization, and channels as blocks of pixels, of images whose channels are the last axis."""

from __future__ import annotations

from graphopt.ir import Node
from graphopt.op import Array, Facts, Xp, op
from graphopt.ops.channels_last import repeated, type_as
from graphopt.ops.examples import given
from graphopt.ops.kernels import mean_over, wide
from graphopt.ops.movement import depth_to_space, space_to_depth
from graphopt.ops.normalization import (
    batch_normalization,
    group_normalization,
    instance_normalization,
)
from graphopt.ops.norms import lrn, squares_nearby
from graphopt.structural import constant
from graphopt.types import DType


@op("BatchNormalizationLast", domain="graphopt", facts=Facts(signed_zero="passed"))
def batch_normalization_last(
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
    """(x - mean) / sqrt(var + epsilon) * scale + bias for x (N, H, W, C) and vectors (C)."""
    dtype, width = x.dtype, x.shape[2]
    x, scale, bias, mean, var = wide(xp, x, scale, bias, mean, var)
    vectors = (mean, xp.sqrt(var + epsilon), scale, bias)
    mean, spread, scale, bias = (repeated(xp, vector, width) for vector in vectors)
    return ((x - mean) / spread * scale + bias).astype(dtype)


def standardized(xp: Xp, x: Array, scale: Array, bias: Array, groups: int, epsilon: float) -> Array:
    """Each image's groups of channels with mean 0 and variance 1, times scale (C) plus bias (C)."""
    n, _, width, channels = x.shape
    each = (n, 1, 1, groups, channels // groups)

    def mean(values: Array) -> Array:
        """That of its group, for each channel."""
        found = mean_over(xp, mean_over(xp, values, (1, 2)).reshape(each), (4,))
        return xp.broadcast_to(found, each).reshape(n, 1, 1, channels)

    full, scale, bias = wide(xp, x, scale, bias)
    centered = full - repeated(xp, mean(full), width)
    factors = scale / xp.sqrt(mean(centered * centered) + epsilon)
    made = centered * repeated(xp, factors, width) + repeated(xp, bias, width)
    return made.astype(x.dtype)


@op("InstanceNormalizationLast", domain="graphopt", facts=Facts(signed_zero="passed"))
def instance_normalization_last(
    xp: Xp, x: Array, scale: Array, bias: Array, *, epsilon: float = 1e-5
) -> Array:
    """Each image's channels of x (N, H, W, C) standardized, times scale (C) plus bias (C)."""
    return standardized(xp, x, scale, bias, x.shape[3], epsilon)


@op("GroupNormalizationLast", domain="graphopt", facts=Facts(signed_zero="passed"))
def group_normalization_last(
    xp: Xp,
    x: Array,
    scale: Array,
    bias: Array,
    *,
    num_groups: int,
    epsilon: float = 1e-5,
    stash_type: DType = DType.FLOAT32,
) -> Array:
    """x (N, H, W, C) standardized over each group of channels, times scale (C) plus bias (C)."""
    return standardized(xp, x, scale, bias, num_groups, epsilon)


@op("LRNLast", domain="graphopt", facts=Facts(signed_zero="passed"))
def lrn_last(
    xp: Xp, x: Array, *, alpha: float = 1e-4, beta: float = 0.75, bias: float = 1.0, size: int
) -> Array:
    """As LRN, of x (N, H, W, C)."""
    (full,) = wide(xp, x)
    total = squares_nearby(xp, full, 3, size)
    return (full / (bias + alpha / size * total) ** beta).astype(x.dtype)


@op("DepthToSpaceLast", domain="graphopt", facts=Facts(moves=True))
def depth_to_space_last(xp: Xp, input: Array, *, blocksize: int, mode: str = "DCR") -> Array:
    """Channels of [N, H, W, C] as blocks of pixels, as DepthToSpace: [N, H·b, W·b, C / b²]."""
    n, h, w, c = input.shape
    b, left = blocksize, c // (blocksize * blocksize)
    if mode == "DCR":
        blocks = xp.transpose(xp.reshape(input, (n, h, w, b, b, left)), (0, 1, 3, 2, 4, 5))
    else:
        blocks = xp.transpose(xp.reshape(input, (n, h, w, left, b, b)), (0, 1, 4, 2, 5, 3))
    return xp.reshape(blocks, (n, h * b, w * b, left))


@op("SpaceToDepthLast", domain="graphopt", facts=Facts(moves=True))
def space_to_depth_last(xp: Xp, input: Array, *, blocksize: int, mode: str = "DCR") -> Array:
    """Blocks of pixels of [N, H, W, C] as channels, as SpaceToDepth: [N, H / b, W / b, C·b²]."""
    n, h, w, c = input.shape
    b = blocksize
    blocks = xp.reshape(input, (n, h // b, b, w // b, b, c))
    order = (0, 1, 3, 2, 4, 5) if mode == "DCR" else (0, 1, 3, 5, 2, 4)
    return xp.reshape(xp.transpose(blocks, order), (n, h // b, w // b, c * b * b))


batch_normalization_last.infer(type_as(batch_normalization))
instance_normalization_last.infer(type_as(instance_normalization))
group_normalization_last.infer(type_as(group_normalization))
lrn_last.infer(type_as(lrn))
depth_to_space_last.infer(type_as(depth_to_space))
space_to_depth_last.infer(type_as(space_to_depth))


@batch_normalization_last.examples
def _() -> list[Node]:
    var, half = constant([0.5, 1.0, 2.0], DType.FLOAT32), DType.FLOAT16
    vectors = [*(given(name, 3) for name in "sbm"), var]
    return [
        batch_normalization_last(given("x", 2, 4, 5, 3), *vectors),
        batch_normalization_last(given("x", "N", 4, "W", 3), *vectors, epsilon=0.1),
        batch_normalization_last(given("x", 0, 1, 1, 3, dtype=half), *vectors),
    ]


@instance_normalization_last.examples
def _() -> list[Node]:
    s, b = given("s", 3), given("b", 3)
    shapes = ((2, 4, 5, 3), (1, 1, 1, 3), (2, 0, 1, 3), (0, 2, 2, 3), ("N", "H", 2, 3))
    return [instance_normalization_last(given("x", *shape), s, b) for shape in shapes]


@group_normalization_last.examples
def _() -> list[Node]:
    s, b = given("s", 4), given("b", 4)
    shapes = ((2, 3, 2, 4), (0, 2, 1, 4), (2, 0, 1, 4), ("N", 3, "W", 4))
    return [group_normalization_last(given("x", *shape), s, b, num_groups=2) for shape in shapes]


@lrn_last.examples
def _() -> list[Node]:
    x = given("x", 2, 3, 2, 5)
    return [lrn_last(x, size=size) for size in (1, 2, 3, 8)] + [
        lrn_last(x, size=3, alpha=0.5, beta=0.4, bias=2.0),
        lrn_last(given("x", 2, 3, 0, 1), size=5),
    ]


@depth_to_space_last.examples
def _() -> list[Node]:
    x = given("x", 2, 1, 3, 8)
    made = [depth_to_space_last(x, blocksize=2, mode=mode) for mode in ("DCR", "CRD")]
    nothing = given("x", 0, 3, 3, 9, dtype=DType.INT32)
    return [*made, depth_to_space_last(nothing, blocksize=3)]


@space_to_depth_last.examples
def _() -> list[Node]:
    x = given("x", 2, 4, 6, 3)
    made = [space_to_depth_last(x, blocksize=2, mode=mode) for mode in ("DCR", "CRD")]
    nothing = given("x", 0, 3, 3, 1, dtype=DType.INT32)
    return [*made, space_to_depth_last(nothing, blocksize=3)]
