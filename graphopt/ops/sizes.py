"""What the ops that move data share: sizes of slices and reshapes, known elements on the move."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from graphopt import dims
from graphopt.dims import Size
from graphopt.ir import Node
from graphopt.op import Array, Op, Xp, refuse
from graphopt.ops.common import Shape

FAR = 2**31 - 1
"""A position of at least this means the end of an axis: exporters write INT_MAX for it."""


def length_of(value: Node) -> int | None:
    """The number of elements of a vector when it is known."""
    shape = value.shape
    return shape[0] if shape is not None and isinstance(shape[0], int) else None


def extent(length: Size, step: int) -> Size:
    """How many steps of `step` > 0 begin within `length`, which may be negative.

    >>> extent(7, 2), extent(-3, 1)
    (4, 0)
    """
    length = dims.maximum(0, length)
    return length if step == 1 else dims.floordiv(length + (step - 1), step)


def effective(size: int, start: int, end: int, step: int) -> slice:
    """What ONNX's Slice takes of an axis: unlike Python, it clamps a start before the axis to 0.

    >>> effective(5, -9, -(2**63), -1)
    slice(0, None, -1)
    """
    if step == 0:
        raise ValueError("a step of a slice is 0")
    low, high = (0, size) if step > 0 else (-1, size - 1)
    start = min(max(start + size if start < 0 else start, 0), high)
    end = min(max(end + size if end < 0 else end, low), high)
    return slice(start, None if end < 0 else end, step)


def _position(size: Size, at: Size) -> Size | None:
    """Where between 0 and `size` a bound of a slice lies, None when its sign is not known."""
    if isinstance(at, int) and (at == 0 or abs(at) >= FAR):
        return size if at > 0 else 0
    low = dims.lower(at)
    if low is not None and low >= 0:
        return dims.minimum(at, size)
    return dims.maximum(size + at, 0) if dims.at_most(at, -1) else None


def slice_size(size: Size, start: Size | None, end: Size | None, step: int) -> Size | None:
    """How much of an axis a slice takes, None where that is not known.

    >>> n = dims.symbol("N")
    >>> print(slice_size(n, 0, -2, 1), slice_size(n, -2, FAR, 1), slice_size(n, -1, -FAR, -1))
    max(0, N - 2) min(2, N) N
    """
    if isinstance(size, int) and isinstance(start, int) and isinstance(end, int):
        return len(range(*effective(size, start, end, step).indices(size)))
    if start is None or end is None:
        return None
    if step < 0:
        first = start == -1 or (isinstance(start, int) and start >= FAR)
        whole = first and isinstance(end, int) and end <= -FAR
        return extent(size, -step) if whole else None
    begin, stop = _position(size, start), _position(size, end)
    if begin is None or stop is None:
        return None
    if begin == 0 and stop == size:  # no axis has less than 0 elements
        return size if step == 1 else dims.floordiv(size + (step - 1), step)
    low = dims.lower(start)
    if low is not None and low >= 0:  # also where start lies behind the stop: then it is 0
        from_end = isinstance(end, int) and -FAR < end < 0
        return extent((size + end if from_end else stop) - start, step)
    if stop == size and begin != 0:
        return extent(dims.minimum(-start, size), step)
    return extent(stop - begin, step)


def reshape_sizes(
    given: Shape | None, target: Sequence[Size | None], *, allowzero: bool
) -> list[Size | None]:
    """The sizes of a Reshape of an array of sizes `given` to `target`.

    A size of the target which may be 0 at run time would then mean "as in the data". It is believed
    where it divides the data's size there, or where the products of both sides are one polynomial:
    then running either fails or the data is empty. Raises TypeRuleError for what always fails.
    """
    if sum(item == -1 for item in target) > 1:
        raise refuse("more than one size is -1")
    if allowzero and 0 in target and -1 in target:
        raise refuse("a size is -1 beside one of 0")
    made: list[Size | None] = []
    doubtful: list[int] = []
    for axis, item in enumerate(target):
        size = None if item is None or item == -1 else item
        there = given[axis] if given is not None and axis < len(given) else None
        if size == 0 and not allowzero:
            if given is not None and there is None:
                raise refuse(f"size {axis} is to be copied from an axis that is missing")
            size = there
        elif isinstance(size, int) and size < 0:
            raise refuse(f"size {size} is negative")
        elif size is not None and not _believed(size, there, allowzero=allowzero):
            doubtful.append(axis)
        made.append(size)
    if given is None:
        for axis in doubtful:
            made[axis] = None
        return made
    return _balanced(given, made, target, doubtful)


def _believed(size: Size, there: Size | None, *, allowzero: bool) -> bool:
    if size == there:
        return True
    low = dims.lower(size)
    if low is None or low < 0:
        return False
    divides = there is not None and dims.divide_exact(there, size) is not None
    return low > 0 or allowzero or divides


def _balanced(
    given: Shape, made: list[Size | None], target: Sequence[Size | None], doubtful: list[int]
) -> list[Size | None]:
    """`made` with its one open size, if any, such that there are as many elements as before."""
    total, product = _uncancelled(given, made)
    holes = [axis for axis, size in enumerate(made) if size is None]
    possible = whole = not holes and total == product
    if len(holes) == 1:
        # For -1, running fails where the product is 0; an unknown number may then be anything.
        certain = target[holes[0]] == -1 or all(s is None or dims.positive(s) for s in made)
        made[holes[0]] = quotient = _quotient(total, product) if certain else None
        possible = dims.divide_exact(total, product) is not None
        whole = quotient is not None and quotient * product == total
    # With a size that may be 0, both sides may be.
    static = all(isinstance(size, int) and size for size in given)
    if static and len(holes) < 2 and isinstance(product, int) and product and not possible:
        raise refuse(f"an array of sizes {list(given)} cannot be reshaped to {list(target)}")
    if whole or not doubtful:
        return made
    return _balanced(
        given, [None if k in doubtful else size for k, size in enumerate(made)], target, []
    )


def _uncancelled(given: Shape, made: Sequence[Size | None]) -> tuple[Size, Size]:
    """The products of the sizes given and made, without factors that both sides have."""
    rest: list[Size] = list(given)
    others: list[Size] = []
    for size in made:
        if size is not None and size in rest:
            rest.remove(size)
        elif size is not None:
            others.append(size)
    return dims.product(rest), dims.product(others)


def _quotient(total: Size, product: Size) -> Size | None:
    if product == 0:
        return None
    exact = dims.divide_exact(total, product)
    if exact is not None or (isinstance(total, int) and isinstance(product, int)):
        return exact
    return dims.floordiv(total, product)


def moved(op: Op, data: Node, *others: Node | None, **attrs: Any) -> list[Any] | None:
    """The known elements of an op that moves `data`: its kernel, run on an array of them.

    None when nothing is known of the data, or too little of the other inputs.
    """
    array = None if data.known is None else known_array(data)
    if array is None:
        return None
    import numpy as np

    arrays: list[Array] = [array]
    for other in others:
        made = None
        if other is not None:
            made = None if other.ints is None else known_array(other)
            if made is None:
                return None
            made = made.astype(np.int64)
        arrays.append(made)
    try:
        result: list[Any] = np.asarray(op.kernel(np, *arrays, **attrs), object).reshape(-1).tolist()
    except (IndexError, ValueError):
        return None  # running will say so
    return result


def known_array(value: Node) -> Array | None:
    """An array of objects of the known elements of a tensor, None of one that is not so known."""
    known, sizes = value.known, value.shape
    if known is None or sizes is None or not all(isinstance(size, int) for size in sizes):
        return None
    import numpy as np

    made = np.empty(len(known), object)
    made[:] = known
    return made.reshape([int(size) for size in sizes if isinstance(size, int)])


def places(xp: Xp, shape: Sequence[int], axis: int) -> Array:
    """Each element's index along one axis, as an array that broadcasts against one of `shape`."""
    sizes = [1] * len(shape)
    sizes[axis] = -1
    return xp.reshape(xp.arange(shape[axis]), sizes)


def blank(xp: Xp, dtype: Any) -> Array:
    """A scalar of what fills arrays of a dtype: 0, False or the empty string."""
    return xp.asarray("" if dtype.kind == "O" else 0, dtype)
