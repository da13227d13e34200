"""Elements in another place: transposes, blocks, reversed sequences, triangles."""

from __future__ import annotations

from graphopt.ir import Node
from graphopt.op import Array, Facts, Ints, Op, Xp, op, refuse
from graphopt.ops.bounds import with_zeros
from graphopt.ops.checks import check_dtype, check_single, check_vector, older_dtype, one_size
from graphopt.ops.common import tensor
from graphopt.ops.examples import given
from graphopt.ops.sizes import blank, moved, places
from graphopt.structural import constant
from graphopt.types import DType, Type


@op("Transpose", facts=Facts(moves=True, total=True))
def transpose(xp: Xp, data: Array, *, perm: Ints | None = None) -> Array:
    """data with its axes permuted: axis i of the result is axis perm[i]; reversed by default."""
    return xp.transpose(data, perm)


@transpose.infer
def _(data: Node, *, perm: Ints | None) -> Type:
    sizes = data.shape
    if perm is None:
        return tensor(data.dtype, None if sizes is None else sizes[::-1])
    if sorted(perm) != list(range(len(perm))):
        raise refuse(f"{list(perm)} is no permutation")
    if sizes is None:
        return tensor(data.dtype, (None,) * len(perm))
    if len(perm) != len(sizes):
        raise refuse(f"{list(perm)} does not permute {len(sizes)} axes")
    made = tensor(data.dtype, [sizes[axis] for axis in perm])
    return made.with_known(moved(transpose, data, perm=perm))


@transpose.examples
def _() -> list[Node]:
    x = given("x", 2, 1, 3)
    made = [transpose(x, perm=perm) for perm in ((0, 1, 2), (2, 0, 1), (1, 0, 2))]
    flags = given("x", 0, 2, dtype=DType.BOOL)
    return [*made, transpose(x), transpose(given("x")), transpose(flags, perm=(1, 0))]


def _check_blocks(mode: str, blocksize: int, rank: int) -> None:
    if mode not in ("DCR", "CRD"):
        raise refuse(f"mode {mode!r} is neither DCR nor CRD")
    if blocksize < 1:
        raise refuse(f"blocksize {blocksize} is not positive")
    if rank != 4:
        raise refuse(f"the input has {rank} axes, not 4")


@op("DepthToSpace", facts=Facts(moves=True))
def depth_to_space(xp: Xp, input: Array, *, blocksize: int, mode: str = "DCR") -> Array:
    """Channels of [N, C, H, W] as blocks of pixels: [N, C / b², H·b, W·b].

    A channel's place in its block varies slowest (DCR) or fastest (CRD) among the channels.
    """
    n, c, h, w = input.shape
    b = blocksize
    if mode == "DCR":
        blocks = xp.reshape(input, (n, b, b, c // (b * b), h, w))
        return xp.reshape(xp.transpose(blocks, (0, 3, 4, 1, 5, 2)), (n, c // (b * b), h * b, w * b))
    blocks = xp.reshape(input, (n, c // (b * b), b, b, h, w))
    return xp.reshape(xp.transpose(blocks, (0, 1, 4, 2, 5, 3)), (n, c // (b * b), h * b, w * b))


@depth_to_space.infer
def _(input: Node, *, blocksize: int, mode: str) -> Type:
    sizes, dtype, area = input.shape, older_dtype(input), blocksize * blocksize
    _check_blocks(mode, blocksize, 4 if sizes is None else len(sizes))
    if sizes is None:
        return tensor(dtype, (None,) * 4)
    n, c, h, w = sizes
    if isinstance(c, int) and c % area:
        raise refuse(f"{c} channels are not divisible by {area}")
    return tensor(dtype, (n, c // area, h * blocksize, w * blocksize))


@op("SpaceToDepth", facts=Facts(moves=True))
def space_to_depth(xp: Xp, input: Array, *, blocksize: int, mode: str = "DCR") -> Array:
    """Blocks of pixels of [N, C, H, W] as channels: [N, C·b², H / b, W / b].

    A pixel's place in its block varies slowest (DCR) or fastest (CRD) among the channels.
    """
    n, c, h, w = input.shape
    b = blocksize
    blocks = xp.reshape(input, (n, c, h // b, b, w // b, b))
    order = (0, 3, 5, 1, 2, 4) if mode == "DCR" else (0, 1, 3, 5, 2, 4)
    return xp.reshape(xp.transpose(blocks, order), (n, c * b * b, h // b, w // b))


@space_to_depth.infer
def _(input: Node, *, blocksize: int, mode: str) -> Type:
    sizes, dtype = input.shape, older_dtype(input)
    _check_blocks(mode, blocksize, 4 if sizes is None else len(sizes))
    if sizes is None:
        return tensor(dtype, (None,) * 4)
    n, c, h, w = sizes
    for size in (h, w):
        if isinstance(size, int) and size % blocksize:
            raise refuse(f"an axis of size {size} is not divisible by {blocksize}")
    return tensor(dtype, (n, c * (blocksize * blocksize), h // blocksize, w // blocksize))


def _block_examples(change: Op, *shape: int) -> list[Node]:
    made = [change(given("x", *shape), blocksize=2, mode=mode) for mode in ("DCR", "CRD")]
    made.append(change(given("x", 0, 9, 3, 3, dtype=DType.INT32), blocksize=3))
    return [*made, change(given("x", 1, 1, 2, 2), blocksize=1)]


depth_to_space.examples(lambda: _block_examples(depth_to_space, 2, 8, 1, 3))
space_to_depth.examples(lambda: _block_examples(space_to_depth, 2, 1, 4, 6))


@op("ReverseSequence", facts=Facts(moves=True))
def reverse_sequence(
    xp: Xp, input: Array, sequence_lens: Array, *, batch_axis: int = 1, time_axis: int = 0
) -> Array:
    """input with the first sequence_lens[i] steps of sequence i reversed.

    Raises ValueError unless there is a length, from 0 to all steps, for each sequence.
    """
    if sequence_lens.shape != input.shape[batch_axis : batch_axis + 1]:
        raise ValueError(f"{sequence_lens.size} lengths for {input.shape[batch_axis]} sequences")
    at = [places(xp, input.shape, axis) for axis in range(input.ndim)]
    time, lens = at[time_axis], sequence_lens[at[batch_axis]]
    at[time_axis] = xp.where(time < lens, lens - 1 - time, time)
    return input[tuple(at)]


@reverse_sequence.infer
def _(input: Node, sequence_lens: Node, *, batch_axis: int, time_axis: int) -> Type:
    dtype, sizes = older_dtype(input), input.shape
    check_vector(sequence_lens, "sequence_lens")
    if sorted((batch_axis, time_axis)) != [0, 1]:
        raise refuse(f"batch_axis {batch_axis} and time_axis {time_axis} are not 0 and 1")
    if sizes is None:
        return tensor(dtype, None)
    if len(sizes) < 2:
        raise refuse(f"the input has {len(sizes)} axes, not 2 or more")
    made = list(sizes)
    if sequence_lens.shape is not None:
        made[batch_axis] = one_size("the batch size", sizes[batch_axis], sequence_lens.shape[0])
    return tensor(dtype, made)


@reverse_sequence.examples
def _() -> list[Node]:
    lens, x = constant([1, 3, 0], DType.INT64), given("x", 4, 3, 2)
    y = given("x", 3, 4, dtype=DType.INT32)
    return [reverse_sequence(x, lens), reverse_sequence(y, lens, batch_axis=0, time_axis=1)]


@op("Trilu", facts=Facts(signed_zero="passed", total=True))
def trilu(xp: Xp, input: Array, k: Array | None = None, *, upper: int = 1) -> Array:
    """The triangles of the matrices in the last two axes, 0 elsewhere.

    What is kept lies on or above (`upper`), or on or below, the diagonal k, 0 being the main one.
    """
    diagonal = 0 if k is None else xp.reshape(k, ())
    column = places(xp, input.shape, input.ndim - 1) - diagonal
    row = places(xp, input.shape, input.ndim - 2)
    return xp.where(column >= row if upper else column <= row, input, blank(xp, input.dtype))


@trilu.infer
def _(input: Node, k: Node | None, *, upper: int) -> Type:
    dtype, sizes = older_dtype(input), input.shape
    if sizes is not None and len(sizes) < 2:
        raise refuse(f"the input has {len(sizes)} axes, not 2 or more")
    if k is not None:
        check_single(k, "k")
        check_dtype(k, (DType.INT64,), "k")
    return tensor(dtype, sizes)


trilu.bounds(with_zeros)


@trilu.examples
def _() -> list[Node]:
    x = given("x", 2, 3, 4)
    made = [
        trilu(x, constant(k, DType.INT64), upper=upper) for k in (-9, -1, 0, 2) for upper in (0, 1)
    ]
    return [
        *made,
        trilu(x),
        trilu(given("x", 0, 2, dtype=DType.BOOL)),
        trilu(given("x", 1, 1), upper=0),
    ]
