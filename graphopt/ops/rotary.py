"""The rotary embedding: positions as rotations of pairs of elements."""

from __future__ import annotations

from graphopt.ir import Node
from graphopt.op import Array, Facts, Xp, op, refuse
from graphopt.ops.attention import merge_heads, split_heads
from graphopt.ops.checks import check_dtype, check_rank, one_size, same_dtype, size_at
from graphopt.ops.dtypes import SHORT_FLOATS
from graphopt.ops.examples import given
from graphopt.ops.kernels import wide
from graphopt.structural import constant
from graphopt.types import DType, TensorType, Type


def angles(xp: Xp, cache: Array, positions: Array | None, shape: tuple[int, ...]) -> Array:
    """The sines or cosines for every batch and position, broadcast to (batch, 1, length, half)."""
    picked = cache if positions is None else xp.take(cache, positions, axis=0)
    return xp.broadcast_to(xp.expand_dims(picked, 1), shape)


@op("RotaryEmbedding", facts=Facts(signed_zero="passed"))
def rotary_embedding(
    xp: Xp,
    x: Array,
    cos_cache: Array,
    sin_cache: Array,
    position_ids: Array | None = None,
    *,
    interleaved: int = 0,
    num_heads: int | None = None,
    rotary_embedding_dim: int = 0,
) -> Array:
    """x (batch, heads, length, size) with pairs of each head's elements turned by an angle.

    x may be (batch, length, heads * size). A pair is elements i and i + half, or 2i and 2i + 1 if
    interleaved, of the first rotary_embedding_dim elements (0: all). The caches are (batch, length,
    half), or (positions, half) from which position_ids (batch, length) pick.
    """
    dtype = x.dtype
    full, cos, sin = wide(xp, split_heads(xp, x, num_heads), cos_cache, sin_cache)
    batch, _, length, size = full.shape
    turned_size = rotary_embedding_dim or size
    half = turned_size // 2
    if turned_size > size or turned_size % 2:
        raise ValueError(f"{turned_size} elements of heads of size {size} cannot be turned")
    cos, sin = (angles(xp, c, position_ids, (batch, 1, length, half)) for c in (cos, sin))
    turned, kept = full[..., :turned_size], full[..., turned_size:]
    if interleaved:
        a, b = turned[..., 0::2], turned[..., 1::2]
    else:
        a, b = turned[..., :half], turned[..., half:]
    parts = (cos * a - sin * b, sin * a + cos * b)
    if interleaved:
        turned = xp.stack(parts, axis=-1).reshape(turned.shape)
    else:
        turned = xp.concatenate(parts, axis=-1)
    made = xp.concatenate((turned, kept), axis=-1)
    return (made if x.ndim == 4 else merge_heads(xp, made)).astype(dtype)


@rotary_embedding.infer
def _(
    x: Node,
    cos_cache: Node,
    sin_cache: Node,
    position_ids: Node | None,
    *,
    interleaved: int,
    num_heads: int | None,
    rotary_embedding_dim: int,
) -> Type:
    same_dtype(x, cos_cache, sin_cache, among=SHORT_FLOATS)
    check_rank(x, (3, 4), "x")
    check_dtype(position_ids, (DType.INT64,), "position_ids")
    check_rank(position_ids, (2,), "position_ids")
    size = size_at(x, 3) if x.rank == 4 else None
    if x.rank == 3:
        hidden = size_at(x, 2)
        if not num_heads or (isinstance(hidden, int) and hidden % num_heads):
            raise refuse(f"{hidden} elements cannot be split into {num_heads} heads")
        size = hidden // num_heads if isinstance(hidden, int) else None
    turned = rotary_embedding_dim or size
    if isinstance(turned, int) and (turned % 2 or (isinstance(size, int) and turned > size)):
        raise refuse(f"{turned} elements of heads of size {size} cannot be turned")
    half = turned // 2 if isinstance(turned, int) else None
    for cache in (cos_cache, sin_cache):
        check_rank(cache, (3,) if position_ids is None else (2,), "a cache")
        one_size("half of what is turned", half, size_at(cache, -1))
    return TensorType(x.dtype, x.shape)


@rotary_embedding.examples
def _() -> list[Node]:
    x, flat = given("x", 2, 3, 4, 8), given("x", 2, 4, 24)
    caches = given("c", 2, 4, 4), given("s", 2, 4, 4)
    table = given("c", 9, 4), given("s", 9, 4)
    narrow = given("c", 9, 2), given("s", 9, 2)
    ids = constant([[0, 1, 2, 3], [8, 0, 5, 5]])
    half = [given(n, *s, dtype=DType.FLOAT16) for n, s in (("x", (1, 1, 2, 4)), ("c", (1, 2, 2)))]
    return [
        rotary_embedding(x, *caches),
        rotary_embedding(x, *table, ids, interleaved=1),
        rotary_embedding(flat, *table, ids, num_heads=3),
        rotary_embedding(x, *narrow, ids, rotary_embedding_dim=4),
        rotary_embedding(flat, *narrow, ids, num_heads=3, rotary_embedding_dim=4, interleaved=1),
        rotary_embedding(half[0], half[1], half[1]),
    ]
