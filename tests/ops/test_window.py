"""Windows: their number against its definition, and gathering against its transpose."""

from __future__ import annotations

from functools import reduce
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphopt import dims
from graphopt.backends.namespace import NUMPY
from graphopt.ops.window import SAME, Window, combined, concrete, fold, padded, taps, window

small = st.integers(1, 4)
PADS = ("NOTSET", "NOTSET", "VALID", *SAME)


@st.composite
def windows(draw: st.DrawFn, axes: int = 1) -> Window:
    """Windows that fit axes of size 9 or more."""

    def ints(low: int, high: int, count: int = axes) -> tuple[int, ...]:
        return tuple(draw(st.integers(low, high)) for _ in range(count))

    auto_pad = draw(st.sampled_from(PADS))
    kernel, strides, dilations = ints(1, 4), ints(1, 3), ints(1, 2)
    pads = ints(0, 3, 2 * axes) if auto_pad == "NOTSET" else None
    return window(kernel, strides, pads, dilations, auto_pad, draw(st.integers(0, 1)))


def starts(win: Window, size: int) -> int:
    """The number of windows, by going through them."""
    begin, end = win.padding(0, size)
    reach, stride = (win.kernel[0] - 1) * win.dilations[0] + 1, win.strides[0]
    assert isinstance(reach, int)
    length = begin + size + end
    if win.ceil and win.auto_pad not in SAME:
        inside = [at for at in range(0, begin + size, stride) if at < length - reach + stride]
    else:
        inside = [at for at in range(0, length, stride) if at + reach <= length]
    return len(inside)


@given(windows(), st.integers(9, 14))
def test_number_of_windows(win: Window, size: int) -> None:
    assert win.count(0, size) == starts(win, size)
    if win.auto_pad in SAME:
        assert win.count(0, size) == -(-size // win.strides[0])


@given(windows(), st.integers(9, 14))
def test_symbolic_number_is_the_number(win: Window, size: int) -> None:
    count = win.count(0, dims.symbol("N"))
    assert dims.substitute(count, lambda _: size) == win.count(0, size)


def test_number_is_in_normal_form() -> None:
    n = dims.symbol("N")
    same = window((3,), (1,), (1, 1), None)
    assert same.count(0, n) == n
    half = window((2,), (2,), None, None)
    assert half.count(0, 2 * n) == n
    assert str(window((3,), (2,), (1, 1), None, ceil_mode=1).count(0, 2 * n)) == "N + 1"


def test_padding_of_same_goes_to_the_named_side() -> None:
    assert window((4,), None, None, None, "SAME_UPPER").padding(0, 5) == (1, 2)
    assert window((4,), None, None, None, "SAME_LOWER").padding(0, 5) == (2, 1)
    assert window((1,), (3,), None, None, "SAME_UPPER").padding(0, 8) == (0, 0)


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        (((3,), None, (1,), None), "pads has 1 entries for 1"),
        (((3,), (0,), None, None), "strides has an entry less than 1"),
        (((3,), None, (0, -1), None), "pads has an entry less than 0"),
        (((3, 3), None, None, (1,)), "dilations has 1 entries for 2"),
        (((3,), None, None, None, "SAME"), "auto_pad is 'SAME'"),
    ],
)
def test_nonsense_is_noticed(attributes: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        window(*attributes)


def test_window_that_does_not_fit_is_noticed() -> None:
    with pytest.raises(ValueError, match="a window of 5 does not fit axis 0 of size 4"):
        window((3,), None, None, (2,)).count(0, 4)


@given(windows(2), st.integers(9, 11), st.integers(9, 11), st.integers(0, 99))
def test_fold_is_the_transpose_of_taps(win: Window, h: int, w: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    room, counts = padded(NUMPY, rng.integers(-9, 9, (1, 2, h, w)), win, 0)
    seen: Any = np.stack(taps(room, win, counts), 2)
    blocks: Any = rng.integers(-9, 9, (1, 2, *map(concrete, win.kernel), *counts))
    image = fold(NUMPY, blocks, win, room.shape[2:])
    assert image.shape == room.shape
    assert (image * room).sum() == (blocks.reshape(seen.shape) * seen).sum()


@given(windows(axes=2), st.integers(9, 14), st.integers(9, 14), st.sampled_from([1, 2]))
def test_windows_combined_are_their_taps_in_order(
    win: Window, rows: int, columns: int, first: int
) -> None:
    """Strings show which taps were combined, and that what lies before comes first."""
    names = [[chr(97 + k) + chr(97 + j) for j in range(columns)] for k in range(rows)]
    shape = (1,) * first + (rows, columns) + (1,) * (2 - first)
    image, counts = padded(NUMPY, np.array(names, object).reshape(shape), win, ".", first)
    (made,) = combined(lambda a, b: (a[0] + b[0],), (image,), win, counts, first)
    np.testing.assert_array_equal(made, reduce(np.add, taps(image, win, counts, first)))


def test_many_taps_are_few_calls() -> None:
    calls: list[int] = []

    def most(a: Any, b: Any) -> Any:
        calls.append(a[0].size)
        return (np.maximum(a[0], b[0]),)

    image = np.random.default_rng(0).standard_normal((1, 1, 90, 80))
    for kernel, strides in (((64, 50), (1, 1)), ((31, 33), (40, 40)), ((90, 1), (1, 1))):
        calls.clear()
        win = window(kernel, strides, None, None)
        counts = tuple(concrete(count) for count in win.counts(image.shape[2:]))
        (made,) = combined(most, (image,), win, counts)
        seen = np.lib.stride_tricks.sliding_window_view(image, kernel, (2, 3))
        np.testing.assert_array_equal(made, seen[:, :, :: strides[0], :: strides[1]].max((-1, -2)))
        assert len(calls) <= 2 * sum(size.bit_length() for size in kernel)
