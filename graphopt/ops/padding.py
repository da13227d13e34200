"""Arrays made larger or smaller at their borders: Pad, CenterCropPad."""

from __future__ import annotations

from collections.abc import Sequence

from graphopt.dims import Size
from graphopt.ir import Node
from graphopt.op import Array, Facts, Ints, Xp, op, refuse
from graphopt.ops.bounds import NOTHING, attribute, with_zeros
from graphopt.ops.checks import check_dtype, check_vector, older_dtype, same_dtype
from graphopt.ops.common import normal_axes, shape_known, tensor
from graphopt.ops.dtypes import INDICES
from graphopt.ops.examples import given
from graphopt.ops.sizes import blank, known_array, length_of
from graphopt.ranges import ValueFacts
from graphopt.structural import constant
from graphopt.types import DType, Type

MODES = ("constant", "reflect", "edge", "wrap")


@op("Pad", facts=Facts(signed_zero="passed", host_inputs=(1, 3)))
def pad(
    xp: Xp,
    data: Array,
    pads: Array,
    constant_value: Array | None = None,
    axes: Array | None = None,
    *,
    mode: str = "constant",
) -> Array:
    """data with pads[i] elements before and pads[i + n] after it along axes[i], of n axes.

    They are `constant_value` (0 by default), or mirrored from the data without its border
    (reflect), or the border's (edge), or the data's again (wrap). Negative pads remove elements.
    """
    numbers = pads.tolist()
    which = range(data.ndim) if axes is None else axes.tolist()
    widths = [(0, 0)] * data.ndim
    for axis, before, after in zip(
        which, numbers[: len(which)], numbers[len(which) :], strict=True
    ):
        widths[axis] = (before, after)
    if any(min(width) < 0 for width in widths):
        sizes = list(zip(data.shape, widths, strict=True))
        if any(min(n + b + a, n + b, n + a) < 0 for n, (b, a) in sizes):
            raise ValueError("more elements are removed than there are")
        data = data[tuple(slice(max(-b, 0), n + min(a, 0)) for n, (b, a) in sizes)]
        widths = [(max(b, 0), max(a, 0)) for b, a in widths]
    if not widths:
        return data
    if mode != "constant":
        return xp.pad(data, widths, mode)
    value = blank(xp, data.dtype) if constant_value is None else xp.reshape(constant_value, ())
    return xp.pad(data, widths, constant_values=value)


@pad.infer
def _(data: Node, pads: Node, constant_value: Node | None, axes: Node | None, *, mode: str) -> Type:
    dtype = same_dtype(data, constant_value)
    check_vector(pads, "pads")
    check_dtype(axes, INDICES, "axes")
    if mode not in MODES:
        raise refuse(f"mode {mode!r} is none of {', '.join(MODES)}")
    sizes, numbers = data.shape, shape_known(pads)
    if sizes is None:
        count = None if axes is not None or numbers is None else len(numbers) // 2
        return tensor(dtype, None if count is None else (None,) * count)
    which = tuple(range(len(sizes))) if axes is None else axes.ints
    if numbers is None or which is None:
        return tensor(dtype, (None,) * len(sizes))
    if len(numbers) != 2 * len(which):
        raise refuse(f"{len(numbers)} pads for {len(which)} axes")
    made: list[Size | None] = list(sizes)
    for k, axis in enumerate(normal_axes(which, len(sizes))):
        before, after = numbers[k], numbers[k + len(which)]
        made[axis] = None if before is None or after is None else sizes[axis] + before + after
        if isinstance(size := made[axis], int) and size < 0:
            raise refuse(f"{-size} more elements of axis {axis} are removed than there are")
    return tensor(dtype, made).with_known(_pad_known(data, pads, constant_value, axes, mode))


def _pad_known(
    data: Node, pads: Node, value: Node | None, axes: Node | None, mode: str
) -> Sequence[object] | None:
    if data.known is None or pads.ints is None or (axes is not None and axes.ints is None):
        return None
    import numpy as np

    elements, widths = known_array(data), np.array(pads.ints)
    if elements is None or (value is not None and not value.known):
        return None
    filler = np.empty((), object)
    filler[()] = data.dtype is not DType.BOOL and 0 if value is None else (value.known or (0,))[0]
    which = None if axes is None else np.array(axes.ints)
    try:
        made = pad.kernel(np, elements, widths, filler, which, mode=mode)
    except ValueError:
        return None  # running will say so
    return list(made.reshape(-1))


@pad.bounds
def _(
    node: Node,
    data: ValueFacts,
    pads: ValueFacts,
    value: ValueFacts | None,
    axes: ValueFacts | None,
) -> ValueFacts:
    return data.union(value or NOTHING) if attribute(node, "mode") == "constant" else data


@pad.examples
def _() -> list[Node]:
    def ints(*numbers: int) -> Node:
        return constant(numbers, DType.INT64)

    x, empty = given("x", 3, 4), given("x", 0, 2, dtype=DType.INT32)
    value = given("v")
    made = [pad(x, ints(1, 0, 2, 3), mode=mode) for mode in MODES]
    made += [pad(x, ints(2, -1), None, ints(-1), mode=mode) for mode in MODES]
    return [
        *made,
        pad(x, ints(0, 1, 2, -2), value),
        pad(x, ints(-1, 1), value, constant([0], DType.INT64)),
        pad(empty, ints(1, 0, 1, 0)),
        pad(given("x", 2, dtype=DType.BOOL), ints(1, 1)),
    ]


@op("CenterCropPad", facts=Facts(signed_zero="passed", host_inputs=(1,)))
def center_crop_pad(xp: Xp, input_data: Array, shape: Array, *, axes: Ints | None = None) -> Array:
    """input_data cut, or padded with zeros, on both sides to the given sizes along `axes`.

    An odd element is cut from the end, or added there.
    """
    which = range(input_data.ndim) if axes is None else axes
    taken, widths = [slice(None)] * input_data.ndim, [(0, 0)] * input_data.ndim
    for axis, size in zip(which, shape.tolist(), strict=True):
        given = input_data.shape[axis]
        begin, before = max(given - size, 0) // 2, max(size - given, 0) // 2
        taken[axis] = slice(begin, begin + min(size, given))
        widths[axis] = (before, max(size - given, 0) - before)
    part = input_data[tuple(taken)]
    return xp.pad(part, widths, constant_values=blank(xp, part.dtype)) if widths else part


@center_crop_pad.infer
def _(input_data: Node, shape: Node, *, axes: Ints | None) -> Type:
    dtype, sizes = older_dtype(input_data), input_data.shape
    check_dtype(shape, INDICES, "a shape")
    if sizes is None:
        count = length_of(shape) if axes is None else None
        return tensor(dtype, None if count is None else (None,) * count)
    which = normal_axes(range(len(sizes)) if axes is None else axes, len(sizes))
    target = shape_known(shape)
    if target is None:
        target = (None,) * len(which)
    if len(target) != len(which):
        raise refuse(f"{len(target)} sizes for {len(which)} axes")
    if any(isinstance(size, int) and size < 0 for size in target):
        raise refuse(f"a size of {list(target)} is negative")
    made: list[Size | None] = list(sizes)
    for axis, size in zip(which, target, strict=True):
        made[axis] = size
    return tensor(dtype, made)


center_crop_pad.bounds(with_zeros)


@center_crop_pad.examples
def _() -> list[Node]:
    x = given("x", 5, 4, 3)
    targets = ((5, 4, 3), (2, 1, 0), (8, 7, 6), (3, 6, 3))
    made = [center_crop_pad(x, constant(target, DType.INT64)) for target in targets]
    return [
        *made,
        center_crop_pad(x, constant([2, 6], DType.INT64), axes=(-1, 0)),
        center_crop_pad(given("x", 0, dtype=DType.UINT8), constant([3], DType.INT64)),
    ]
