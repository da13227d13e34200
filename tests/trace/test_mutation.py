"""Arrays that functions write to: what NumPy does, or an error; never another result."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graphopt.errors import ExecutionError, GraphoptError
from graphopt.frontends.trace import TraceError
from tests.trace.helpers import Array, jit


def test_arguments_written_as_a_whole_are_written_back() -> None:
    def step(a: Array, b: Array, out: Array) -> Array:
        a[:] = a + b
        b *= 2
        np.multiply(a, b, out=out)
        out[...] += 1
        return a

    want = [np.arange(3.0), np.ones(3), np.zeros(3)]
    got = [array.copy() for array in want]
    traced = jit(step)
    for _ in range(2):
        expected, returned = step(*want), traced(*got)
        for a, b in zip(got, want, strict=True):
            np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(returned, expected)
        assert not any(np.shares_memory(returned, array) for array in got)


def test_swap_through_temporaries() -> None:
    def swap(a: Array, b: Array) -> None:
        t = a.T.copy()
        a[:] = b.T
        b[:] = t

    a, b = np.arange(4.0).reshape(2, 2), np.ones((2, 2))
    want = a.T.copy()
    assert jit(swap)(a, b) is None
    np.testing.assert_array_equal(b, want)
    np.testing.assert_array_equal(a, np.ones((2, 2)))


def test_write_casts_and_broadcasts_as_numpy_does() -> None:
    def write(a: Array, x: Array) -> Array:
        a[:] = x[None]
        y = np.zeros((2, 3), np.float32)
        y[:] = x
        y += 1
        return y

    a, x = np.zeros(3, np.int32), np.array([1.7, -2.5, 3.0])
    got, b = jit(write)(a, x), np.zeros(3, np.int32)
    want = write(b, x)
    np.testing.assert_array_equal(a, b)
    assert got.dtype == want.dtype
    np.testing.assert_array_equal(got, want)


def divide_integers(a: Array) -> None:
    a /= 2


def too_large(a: Array) -> None:
    a[:] = np.ones((2, 3))


def grow(a: Array) -> None:
    a += np.ones((2, 1))


@pytest.mark.parametrize("program", [divide_integers, too_large, grow])
def test_what_numpy_refuses_is_refused(program: Callable[[Array], None]) -> None:
    with pytest.raises((TypeError, ValueError)) as want:
        program(np.ones(4, np.int64))
    a = np.ones(4, np.int64)
    with pytest.raises((TypeError, ValueError, GraphoptError)) as got:
        jit(program)(a)
    assert (
        isinstance(got.value, GraphoptError) or got.type is want.type or want.type is not TypeError
    )
    notes = "\n".join(getattr(got.value, "__notes__", ()))
    assert "^" in notes
    np.testing.assert_array_equal(a, np.ones(4))


def add_to(a: Array, b: Array) -> None:
    a += b
    a += b


def test_overlapping_arguments_are_right_or_refused() -> None:
    traced, whole = jit(add_to), np.arange(8.0)
    traced(whole[:4], whole[4:])
    np.testing.assert_array_equal(whole[:4], np.arange(4.0) + 2 * np.arange(4.0, 8.0))
    before = whole.copy()
    with pytest.raises(ExecutionError, match="shares memory"):
        traced(whole[:4], whole[1:5])
    with pytest.raises(ExecutionError, match="shares memory"):
        traced(whole[:4], whole[:4])
    np.testing.assert_array_equal(whole, before)
    traced(whole[::2], whole[1::2])  # apart, though their bounds overlap
    np.testing.assert_array_equal(whole[::2], before[::2] + 2 * before[1::2])


def test_read_only_and_self_overlapping_arguments_are_refused() -> None:
    traced = jit(add_to)
    fixed = np.ones(4)
    fixed.flags.writeable = False
    with pytest.raises(ValueError, match="read-only"):
        traced(fixed, np.ones(4))
    windows = np.lib.stride_tricks.as_strided(np.zeros(6), (4,), (0,))
    with pytest.raises(ExecutionError, match="overlaps itself"):
        traced(windows, np.ones(4))


def test_captured_array_that_is_an_argument_too() -> None:
    shared = np.ones(4)

    def program(a: Array) -> Array:
        a += 1
        return a + shared

    traced = jit(program)
    np.testing.assert_array_equal(traced(np.ones(4)), np.full(4, 3.0))
    with pytest.raises(ExecutionError, match="shares memory"):
        traced(shared)


def test_doubtful_views_are_refused_only_when_it_matters() -> None:
    def reads_before(x: Array) -> Array:
        y = x * 2
        flat = y.reshape(-1)
        total = flat + 1
        y += 1
        return total + y.ravel()

    def reads_after(x: Array) -> Array:
        y = x * 2
        flat = y.reshape(-1)
        y += 1
        return flat

    def writes(x: Array) -> Array:
        y = x * 2
        flat = y.reshape(-1)
        flat += 1
        return y

    def alone(x: Array) -> Array:
        flat = (x * 2).reshape(-1)
        flat += 1
        return flat

    x = np.arange(4.0).reshape(2, 2)
    np.testing.assert_array_equal(jit(reads_before)(x), reads_before(x))
    np.testing.assert_array_equal(jit(alone)(x), alone(x))
    for program in (reads_after, writes):
        with pytest.raises(TraceError, match="may share memory"):
            jit(program)(x)


def test_arrays_of_one_element_without_axes_are_written() -> None:
    def program(x: Array) -> Any:
        y = np.array(x[0] * 2)
        z = y
        y += 1
        y[...] = y * 3
        return y, z

    x = np.arange(1.0, 3.0)
    for a, b in zip(jit(program)(x), program(x), strict=True):
        assert type(a) is type(b) is np.ndarray
        np.testing.assert_array_equal(a, b)


NAMES = ("a", "b", "c", "d")
Names = dict[str, Any]


def bind(own: Names, x: str, y: str) -> None:
    own[x] = own[y]


def view(own: Names, x: str, y: str) -> None:
    own[x] = own[y][:, :]


def turned(own: Names, x: str, y: str) -> None:
    own[x] = own[y][::-1]


def transposed(own: Names, x: str, y: str) -> None:
    own[x] = own[y].T


def reshaped(own: Names, x: str, y: str) -> None:
    own[x] = own[y].reshape(2, 2)


def as_array(own: Names, x: str, y: str) -> None:
    own[x] = np.asarray(own[y])


def known(own: Names, x: str, y: str) -> None:
    own[x] = np.zeros((2, 2)) + 1


def copied(own: Names, x: str, y: str) -> None:
    own[x] = own[y].copy()


def added(own: Names, x: str, y: str) -> None:
    own[x] = own[x] + 2 * own[y]


def write(own: Names, x: str, y: str) -> None:
    own[x][...] = own[y] + 1


def write_in_place(own: Names, x: str, y: str) -> None:
    own[x] *= own[y]


def write_all_in_place(own: Names, x: str, y: str) -> None:
    own[x][:] += own[y]


def write_out(own: Names, x: str, y: str) -> None:
    np.add(own[x], own[y], out=own[x])


def write_part(own: Names, x: str, y: str) -> None:
    own[x][0, 1] = 7


def copy_to(own: Names, x: str, y: str) -> None:
    np.copyto(own[x], own[y])


STATEMENTS = (bind, view, turned, transposed, reshaped, as_array, known, copied, added, write,
              write_in_place, write_all_in_place, write_out, write_part, copy_to)  # fmt: skip
STEPS = st.tuples(st.sampled_from(STATEMENTS), st.sampled_from(NAMES), st.sampled_from(NAMES))


@settings(max_examples=400)
@given(st.lists(STEPS, min_size=1, max_size=8))
def test_random_programs_do_what_numpy_does_or_are_refused(
    program: list[tuple[Callable[[Names, str, str], None], str, str]],
) -> None:
    def run(a: Array, b: Array) -> Any:
        own = {"a": a, "b": b, "c": a + b, "d": np.ones((2, 2))}
        for statement, x, y in program:
            statement(own, x, y)
        return tuple(own[name] for name in NAMES)

    a, b = np.arange(4.0).reshape(2, 2), np.arange(5.0, 9.0).reshape(2, 2)
    mine = (a.copy(), b.copy())
    try:
        got = jit(run)(*mine)
    except TraceError:
        np.testing.assert_array_equal(mine[0], a)
        np.testing.assert_array_equal(mine[1], b)
        return
    want = run(a, b)
    for left, right in zip((*got, *mine), (*want, a, b), strict=True):
        np.testing.assert_array_equal(left, right)


def test_new_arrays_like_an_argument_are_known() -> None:
    def program(x: Array) -> Array:
        y = np.zeros_like(x)
        z = np.full(x.shape, 2.0)
        y[1] = 3
        z[::2] += y[1]
        y[:] = y + x
        return y + z

    x = np.arange(4.0)
    np.testing.assert_array_equal(jit(program)(x), program(x))


def test_integers_to_negative_powers_are_refused_as_by_numpy() -> None:
    f = jit(lambda x, n: x**n)
    np.testing.assert_array_equal(f(np.array([2, 3]), 2), [4, 9])
    with pytest.raises(ValueError, match="negative integer powers"):
        f(np.array([2, 3]), -1)
