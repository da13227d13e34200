"""Windows that slide over the spatial axes of x (N, C, D1, D2, ...): their number and contents.

What is wrong with a window raises ValueError, which kernels let pass; type rules say `refusing()`.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache, reduce
from itertools import product
from math import prod

from graphopt.dims import Size, floordiv
from graphopt.op import Array, Ints, Xp, refuse

SAME = ("SAME_UPPER", "SAME_LOWER")
AUTO_PADS = ("NOTSET", "VALID", *SAME)
MAX_TAPS = 16
"""Windows that do not overlap, of at most so many taps, are combined tap by tap."""

Parts = tuple[Array, ...]
Combine = Callable[[Parts, Parts], Parts]
"""What two parts of a window make together, the one that lies before first; associative."""


@dataclass(frozen=True, slots=True)
class Window:
    """A window of `kernel` taps, one entry an axis, and how it steps; make one with `window`.

    `begins` and `ends` are what pads an axis, unless `auto_pad` is one of SAME. With `ceil`, the
    last window may reach over the end, but not start behind the input and what pads its begin.
    """

    kernel: tuple[Size, ...]
    strides: Ints
    dilations: Ints
    begins: Ints
    ends: Ints
    auto_pad: str
    ceil: bool

    def reach(self, axis: int) -> Size:
        """From the first tap to behind the last."""
        return (self.kernel[axis] - 1) * self.dilations[axis] + 1

    def count(self, axis: int, size: Size) -> Size:
        """How many windows an axis of some size has; raises ValueError when none fits."""
        stride = self.strides[axis]
        if self.auto_pad in SAME:
            return floordiv(size + (stride - 1), stride)
        reach, begin, end = self.reach(axis), self.begins[axis], self.ends[axis]
        if self.ceil:
            # The lesser of both bounds: the padded size and the begin of the padding at the end.
            room: Size = begin - 1 + min(end - concrete(reach) + stride, 0)
        else:
            room = begin + end - reach
        count = floordiv(size + (room + stride), stride)
        if isinstance(count, int) and count < 1:
            raise ValueError(f"a window of {reach} does not fit axis {axis} of size {size}")
        return count  # where it is symbolic and turns out to be less than 1, running fails

    def counts(self, sizes: Sequence[Size]) -> tuple[Size, ...]:
        """The number of windows on each axis; raises ValueError when none fits."""
        return tuple(self.count(axis, size) for axis, size in enumerate(sizes))

    def needed(self, axis: int, count: int) -> int:
        """From the begin of the first of some windows to the end of the last."""
        return concrete((count - 1) * self.strides[axis] + self.reach(axis))

    def padding(self, axis: int, size: int) -> tuple[int, int]:
        """What pads the begin and the end of an axis of some size."""
        if self.auto_pad not in SAME:
            return self.begins[axis], self.ends[axis]
        total = max(self.needed(axis, concrete(self.count(axis, size))) - size, 0)
        begin = share(total, self.auto_pad)
        return begin, total - begin


def concrete(size: Size) -> int:
    """A size that is a number, as it is wherever there are arrays."""
    assert isinstance(size, int)
    return size


def share(total: int, auto_pad: str) -> int:
    """The part of a padding that goes to the begin; an odd one's rest to the side that is named.

    >>> share(3, "SAME_UPPER"), share(3, "SAME_LOWER")
    (1, 2)
    """
    return total // 2 if auto_pad == "SAME_UPPER" else total - total // 2


@lru_cache(maxsize=1024)
def window(
    kernel: tuple[Size, ...],
    strides: Ints | None,
    pads: Ints | None,
    dilations: Ints | None,
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
) -> Window:
    """A window from ONNX's attributes; raises ValueError when they make no sense together."""
    axes = len(kernel)
    strides, dilations = strides or (1,) * axes, dilations or (1,) * axes
    pads = pads if pads and auto_pad == "NOTSET" else (0,) * (2 * axes)
    if auto_pad not in AUTO_PADS:
        raise ValueError(f"auto_pad is {auto_pad!r}")
    for name, values, count, least in (
        ("kernel_shape", kernel, axes, 1),
        ("strides", strides, axes, 1),
        ("dilations", dilations, axes, 1),
        ("pads", pads, 2 * axes, 0),
    ):
        if len(values) != count:
            raise ValueError(f"{name} has {len(values)} entries for {axes} spatial axes")
        if any(isinstance(value, int) and value < least for value in values):
            raise ValueError(f"{name} has an entry less than {least}")
    return Window(kernel, strides, dilations, pads[:axes], pads[axes:], auto_pad, ceil_mode != 0)


@contextmanager
def refusing() -> Generator[None]:
    """Turn a ValueError into the refusal of a type rule."""
    try:
        yield
    except ValueError as error:
        raise refuse(str(error)) from error


def reached(win: Window, sizes: Ints) -> tuple[Ints, list[tuple[int, int]]]:
    """The numbers of windows over axes of some sizes, and what pads them so that all are inside."""
    counts: list[int] = []
    widths: list[tuple[int, int]] = []
    for axis, size in enumerate(sizes):
        count, (begin, _) = concrete(win.count(axis, size)), win.padding(axis, size)
        counts.append(count)
        widths.append((begin, max(win.needed(axis, count) - begin - size, 0)))
    return tuple(counts), widths


def padded(xp: Xp, x: Array, win: Window, fill: object, first: int = 2) -> tuple[Array, Ints]:
    """x with every window inside, and the numbers of windows; axes before `first` have none."""
    last = first + len(win.kernel)
    counts, inner = reached(win, x.shape[first:last])
    widths = [(0, 0)] * first + inner + [(0, 0)] * (x.ndim - last)
    if any(width != (0, 0) for width in widths):
        x = xp.pad(x, widths, constant_values=fill)
    return x, counts


def taps(x: Array, win: Window, counts: Sequence[int], first: int = 2) -> list[Array]:
    """What each tap of the windows sees of a padded x, in C order: arrays (N, C, *counts).

    The windows slide over the axes from `first`; all others are seen whole.
    """
    found: list[Array] = []
    for tap in product(*(range(concrete(size)) for size in win.kernel)):
        slices = [slice(None)] * first
        for at, count, stride, step in zip(tap, counts, win.strides, win.dilations, strict=True):
            slices.append(slice(at * step, at * step + max((count - 1) * stride + 1, 0), stride))
        found.append(x[tuple(slices)])
    return found


def combined(
    combine: Combine, arrays: Parts, win: Window, counts: Sequence[int], first: int = 2
) -> Parts:
    """What all that each window sees of padded arrays makes together: arrays (N, C, *counts).

    The arrays have one shape; the windows slide over their axes from `first`. It is done axis by
    axis, in a number of calls that grows with the logarithm of the kernel's sizes, but where tap by
    tap is no more work.
    """
    kernel = [concrete(size) for size in win.kernel]
    apart = all(stride >= size for stride, size in zip(win.strides, kernel, strict=True))
    if apart and prod(kernel) <= MAX_TAPS:
        seen = (taps(item, win, counts, first) for item in arrays)
        return reduce(combine, zip(*seen, strict=True))
    for axis in reversed(range(len(counts))):
        arrays = _along(combine, arrays, win, axis, counts[axis], first)
    return arrays


def _along(
    combine: Combine, arrays: Parts, win: Window, axis: int, count: int, first: int
) -> Parts:
    """As `combined`, along one axis: of blocks of 1, 2, 4, ... taps, those that make a window."""
    width, step, stride = concrete(win.kernel[axis]), win.dilations[axis], win.strides[axis]

    def cut(start: int, stop: int | None, stride: int = 1) -> Parts:
        index = (slice(None),) * (first + axis) + (slice(start, stop, stride),)
        return tuple(item[index] for item in arrays)

    found: list[Parts] = []
    begin, size = 0, 1
    while True:
        if width & size:
            found.append(cut(begin, begin + max((count - 1) * stride + 1, 0), stride))
            begin += size * step
        if 2 * size > width:
            return reduce(combine, found)
        arrays = combine(cut(0, -size * step), cut(size * step, None))
        size *= 2


def columns(xp: Xp, x: Array, win: Window, counts: Sequence[int], group: int) -> Array:
    """The windows' contents as matrices (N, group, channels of a group * taps, windows)."""
    found = taps(x, win, counts)
    stacked = found[0] if len(found) == 1 else xp.stack(found, axis=2)
    n, channels = x.shape[:2]
    return stacked.reshape(n, group, channels // group * len(found), prod(counts))


def fold(xp: Xp, blocks: Array, win: Window, lengths: Sequence[int], first: int = 2) -> Array:
    """The sum of blocks (N, C, *kernel, *counts) laid where their windows lie: (N, C, *lengths).

    The padding counts among the lengths. What lies behind them is cut off. `first` is the first of
    the kernel's axes; behind the counts there may be more axes, which stay.
    """
    for axis in reversed(range(len(win.kernel))):
        # The axes behind this one are done: their kernel axes are gone.
        blocks = _fold_axis(
            xp,
            blocks,
            first + axis,
            first + 2 * axis,
            win.strides[axis],
            win.dilations[axis],
            lengths[axis],
        )
    return blocks


def _fold_axis(
    xp: Xp, blocks: Array, tap: int, axis: int, stride: int, step: int, length: int
) -> Array:
    count = blocks.shape[axis + 1]
    rows = axis + 2 < blocks.ndim
    if rows and stride > 1 and step == 1:  # so many taps, one behind the other, fill the gaps
        kernel = blocks.shape[tap]
        widths = [(0, 0)] * blocks.ndim
        widths[tap] = (0, -kernel % stride)
        blocks = xp.pad(blocks, widths) if kernel % stride else blocks
        shape = (*blocks.shape[:tap], -(-kernel // stride), stride, *blocks.shape[tap + 1 :])
        blocks = xp.moveaxis(blocks.reshape(shape), tap + 1, axis + 2)
        shape = (*blocks.shape[: axis + 1], count * stride, *blocks.shape[axis + 3 :])
        blocks, step = blocks.reshape(shape), stride
    elif stride > 1:  # spread by zeros
        widths = [(0, 0)] * (blocks.ndim + 1)
        widths[axis + 2] = (0, stride - 1)
        spread = xp.pad(xp.expand_dims(blocks, axis + 2), widths)
        shape = (*blocks.shape[: axis + 1], count * stride, *blocks.shape[axis + 2 :])
        blocks = spread.reshape(shape)
    total: Array | None = None
    for at in range(blocks.shape[tap]):
        part = blocks[(slice(None),) * tap + (at,)]
        begin = min(at * step, length)
        part = part[(slice(None),) * axis + (slice(0, length - begin),)]
        widths = [(0, 0)] * part.ndim
        widths[axis] = (begin, length - begin - part.shape[axis])
        part = xp.pad(part, widths)
        total = part if total is None else total + part
    return total
