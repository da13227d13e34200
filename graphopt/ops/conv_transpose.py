"""Transposed convolution, and the sum of blocks that it rests on.

Half-precision inputs are computed in float32 and rounded once.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from graphopt import dims
from graphopt.dims import Size
from graphopt.ir import Node
from graphopt.op import Array, Facts, Ints, Xp, op, refuse
from graphopt.ops.checks import check_dtype, check_rank, check_size, float_dtype, one_size, size_at
from graphopt.ops.common import shape_known, tensor
from graphopt.ops.conv import add_bias, all_known, kernel_of, kernel_sizes
from graphopt.ops.examples import given
from graphopt.ops.kernels import wide
from graphopt.ops.window import SAME, Window, concrete, fold, refusing, share, window
from graphopt.structural import constant, graph_input
from graphopt.types import DType, TensorType, Type


@op("ConvTranspose", facts=Facts(signed_zero="passed"))
def conv_transpose(
    xp: Xp,
    x: Array,
    w: Array,
    bias: Array | None = None,
    *,
    auto_pad: str = "NOTSET",
    dilations: Ints | None = None,
    group: int = 1,
    kernel_shape: Ints | None = None,
    output_padding: Ints | None = None,
    output_shape: Ints | None = None,
    pads: Ints | None = None,
    strides: Ints | None = None,
) -> Array:
    """The transpose of a convolution: (N, M, sizes).

    Every element of x (N, C, D1, ...) adds w (C, M / group, ...) times itself to the output, from
    which padding is cut. A size is (D - 1) * stride + reach of w + output_padding - padding, unless
    `output_shape` gives it: then, and where `auto_pad` asks for D * stride, the padding follows.
    """
    dtype = x.dtype
    x, w, bias = wide(xp, x, w, bias)
    win = window(kernel_of(x, w, kernel_shape), strides, pads, dilations, auto_pad)
    extents = transposed(win, x.shape[2:], output_padding, output_shape)
    n, c, *sizes = x.shape
    check_size("the number of channels", c, w.shape[0])
    filters = w.reshape(group, c // group, prod(w.shape[1:]))
    maps = x.reshape(n, group, c // group, prod(sizes))
    blocks = xp.matmul(xp.swapaxes(filters, 1, 2), maps)
    blocks = blocks.reshape(n, group * w.shape[1], *w.shape[2:], *sizes)
    return xp.asarray(add_bias(crop(xp, blocks, win, extents), bias), dtype)


Extents = Sequence[tuple[Size, Size]]


def transposed(
    win: Window, sizes: Sequence[Size], output_padding: Ints | None, output_shape: Ints | None
) -> Extents:
    """What is cut from the begin of each axis of a transposed convolution, and its size then.

    Raises ValueError for attributes that do not fit.
    """
    made: list[tuple[Size, Size]] = []
    more = output_padding or (0,) * len(sizes)
    if len(more) != len(sizes) or len(output_shape or more) != len(sizes):
        raise ValueError(f"output_padding or output_shape does not have {len(sizes)} entries")
    if min(*more, *(output_shape or more)) < 0:
        raise ValueError("output_padding or output_shape has a negative entry")
    for axis, size in enumerate(sizes):
        stride, reach = win.strides[axis], win.reach(axis)
        full = (size - 1) * stride + reach + more[axis]
        if output_shape:
            wanted = output_shape[axis]
            cut = dims.maximum(full - wanted, 0)
            begin = share(cut, win.auto_pad) if isinstance(cut, int) else 0
            made.append((begin, wanted))
        elif win.auto_pad in SAME:
            cut = dims.maximum(reach - stride + more[axis], 0)
            begin = share(cut, win.auto_pad) if isinstance(cut, int) else 0
            made.append((begin, full - cut))
        else:
            made.append((win.begins[axis], full - (win.begins[axis] + win.ends[axis])))
        if isinstance(left := made[-1][1], int) and left < 0:
            raise ValueError(f"the padding leaves {left} of axis {axis}")
    return made


def crop(xp: Xp, blocks: Array, win: Window, extents: Extents, first: int = 2) -> Array:
    """Blocks (N, M, *kernel, *counts) summed where they lie, the extents of that; see `fold`."""
    image = fold(xp, blocks, win, [concrete(begin + size) for begin, size in extents], first)
    return image[(*(slice(None),) * first, *(slice(begin, None) for begin, _ in extents))]


@conv_transpose.infer
def _(
    x: Node,
    w: Node,
    bias: Node | None,
    *,
    group: int,
    kernel_shape: Ints | None,
    strides: Ints | None,
    pads: Ints | None,
    dilations: Ints | None,
    auto_pad: str,
    output_padding: Ints | None,
    output_shape: Ints | None,
) -> Type:
    dtype = float_dtype(x, w, bias)
    check_rank(bias, (1,), "the bias")
    if group < 1:
        raise refuse(f"group is {group}")
    kernel = kernel_sizes(x, w, kernel_shape)
    channels = one_size("the number of channels", size_at(x, 1), size_at(w, 0))
    if isinstance(channels, int) and channels % group:
        raise refuse(f"{channels} channels do not make {group} groups")
    each = size_at(w, 1)
    each = None if each is None else each * group
    filters = one_size("the number of filters", each, size_at(bias, 0))
    if kernel is None:
        return tensor(dtype, None)
    sizes: Sequence[Size | None] = (None,) * len(kernel)
    if (known := all_known(kernel)) is not None:
        with refusing():
            win = window(known, strides, pads, dilations, auto_pad)
            if x.shape is not None:
                extents = transposed(win, x.shape[2:], output_padding, output_shape)
                sizes = [size for _, size in extents]
    return tensor(dtype, (size_at(x, 0), filters, *sizes))


@conv_transpose.examples
def _() -> list[Node]:
    x, w = given("x", 2, 4, 3, 4), given("w", 4, 3, 3, 2)
    batch = given("x", "N", 4, "H", 4)
    return [
        conv_transpose(x, w),
        conv_transpose(x, w, given("b", 3), strides=(2, 3), pads=(1, 0, 2, 1), dilations=(2, 1)),
        conv_transpose(x, w, strides=(3, 2), output_padding=(1, 1)),
        conv_transpose(x, w, strides=(3, 2), output_shape=(10, 8), output_padding=(1, 1)),
        conv_transpose(x, w, strides=(2, 1), auto_pad="SAME_UPPER"),
        conv_transpose(batch, w, strides=(2, 2), auto_pad="SAME_LOWER", kernel_shape=(3, 2)),
        conv_transpose(batch, given("w", 4, 2, 2, 2), group=2, strides=(2, 2)),
        conv_transpose(given("x", 1, 2, 3), given("w", 2, 1, 4), strides=(2,)),
    ]


@op("Col2Im", facts=Facts(host_inputs=(1, 2)))
def col2im(
    xp: Xp,
    x: Array,
    image_shape: Array,
    block_shape: Array,
    *,
    dilations: Ints | None = None,
    pads: Ints | None = None,
    strides: Ints | None = None,
) -> Array:
    """Columns x (N, C * taps, windows) laid where their windows lie, and summed: (N, C, *image)."""
    kernel, sizes = tuple(map(int, block_shape)), tuple(map(int, image_shape))
    check_size("the number of spatial axes", len(kernel), len(sizes))
    win = window(kernel, strides, pads, dilations)
    n, rows, _ = x.shape
    if rows % prod(kernel):
        raise ValueError(f"{rows} rows are not a multiple of {prod(kernel)} taps")
    blocks = x.reshape(n, rows // prod(kernel), *kernel, *win.counts(sizes))
    half = x.dtype.itemsize == 2 and x.dtype.kind not in "iu"
    made = crop(
        xp, wide(xp, blocks)[0] if half else blocks, win, list(zip(win.begins, sizes, strict=True))
    )
    return xp.asarray(made, x.dtype)


@col2im.infer
def _(
    x: Node,
    image_shape: Node,
    block_shape: Node,
    *,
    dilations: Ints | None,
    pads: Ints | None,
    strides: Ints | None,
) -> Type:
    if x.dtype is DType.STRING or x.dtype.code > DType.BFLOAT16.code:
        raise refuse(f"{x.dtype} is not taken")
    check_rank(x, (3,), "the input")
    for value in (image_shape, block_shape):
        check_dtype(value, (DType.INT64,), "a shape")
        check_rank(value, (1,), "a shape")
    image, block = shape_known(image_shape), shape_known(block_shape)
    if image is None:
        image = None if block is None else (None,) * len(block)
    if image is None:
        return tensor(x.dtype, None)
    channels = None
    taps = block_shape.ints
    with refusing():
        if taps is not None:
            win = window(taps, strides, pads, dilations)
            check_size("the number of spatial axes", len(taps), len(image))
            for axis, size in enumerate(image):
                if size is not None:
                    win.count(axis, size)
    rows = size_at(x, 1)
    if taps is not None and rows is not None:
        if isinstance(rows, int) and rows % prod(taps):
            raise refuse(f"{rows} rows are not a multiple of {prod(taps)} taps")
        channels = dims.floordiv(rows, prod(taps))  # running fails where a rest is left
    return tensor(x.dtype, (size_at(x, 0), channels, *image))


@col2im.examples
def _() -> list[Node]:
    def ints(*items: int) -> Node:
        return constant(list(items), DType.INT64)

    rows = TensorType(DType.FLOAT32, (dims.symbol("N"), dims.symbol("C") * 4, 9))
    return [
        col2im(given("x", 1, 5, 5), ints(5, 5), ints(1, 5)),
        col2im(given("x", 2, 18, 4), ints(5, 5), ints(3, 3), strides=(2, 2)),
        col2im(given("x", 1, 4, 16), ints(4, 4), ints(2, 2), pads=(0, 1, 1, 0)),
        col2im(given("x", 1, 4, 12), ints(6, 5), ints(2, 2), dilations=(3, 1)),
        col2im(given("x", 1, 8, 2, dtype=DType.INT32), ints(2, 2, 3), ints(2, 2, 2)),
        col2im(graph_input("x", rows), ints(4, 4), ints(2, 2)),
    ]
