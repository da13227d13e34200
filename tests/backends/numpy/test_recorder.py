"""Functions of NumPy recorded on refs, and run: the same arrays that NumPy itself returns."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, event, given, settings
from hypothesis import strategies as st

import graphopt
from graphopt.backends import reference
from graphopt.backends.numpy.block import ConcretizedError, DataDependentError, RecordingError
from graphopt.errors import ExecutionError
from graphopt.graph import Graph
from graphopt.ops.indexing import gather
from graphopt.ops.movement import transpose
from graphopt.ops.shape import reshape
from graphopt.ops.slicing import concat
from graphopt.structural import constant, graph_input
from graphopt.types import DType
from tests.backends.numpy import sketches
from tests.backends.numpy.programs import (
    Array,
    all_of,
    check_equal,
    check_unshared,
    lanes_of,
    poison,
    recorded,
    watched_arenas,
    with_lanes,
)
from tests.ops.harness import tensor

SHAPES = ((2, 3), (3,), (), (4, 2), (2, 1, 3), (1, 3), (0, 3), (6,))
X = np.arange(1.0, 7.0).reshape(2, 3)
Y = np.arange(6.0).reshape(2, 3) * 2


def functions(*funcs: Callable[[Any], Any]) -> list[Callable[[Any], Any]]:
    """Functions of an array, as parameters of a test."""
    return list(funcs)


def functions_of_two(*funcs: Callable[[Any, Any], Any]) -> list[Callable[[Any, Any], Any]]:
    """Functions of two arrays, as parameters of a test."""
    return list(funcs)


def drawn_array(draw: sketches.Draw, shape: tuple[int, ...], dtype: Any) -> Array:
    size = int(np.prod(shape))
    numbers = draw(st.lists(st.integers(-3, 4), min_size=size, max_size=size))
    return np.array(numbers).reshape(shape).astype(dtype)


def strided(array: Array) -> Array:
    """The same numbers where no two lie one behind the other."""
    wide = np.zeros(tuple(2 * size for size in array.shape[::-1]), array.dtype).T
    every_other: Any = (..., *[slice(None, None, 2)] * array.ndim)
    part = wide[every_other]
    part[...] = array
    return part


@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_any_program_is_numpy_s(data: st.DataObject) -> None:
    """Outputs may be views, inputs, constants or twice the same; lanes do not matter."""
    kinds = st.tuples(st.sampled_from(SHAPES), st.sampled_from(sketches.DTYPES))
    inputs = [
        drawn_array(data.draw, *kind) for kind in data.draw(st.lists(kinds, min_size=1, max_size=3))
    ]
    with np.errstate(all="ignore"):
        sketch = sketches.sketch(data.draw, [item.copy() for item in inputs], 10)
        outputs = data.draw(st.lists(st.sampled_from(sketch.all), min_size=1, max_size=4))

        def func(*arrays: Any) -> tuple[Any, ...]:
            values = sketches.play(sketch.instructions, arrays)
            return tuple(values[k] for k in outputs)

        try:
            program = recorded(func, inputs, threads=2)
        except RecordingError as error:
            event(f"not recorded: {error}"[:40])
            assume(False)
        wanted = [np.array(item) for item in func(*[item.copy() for item in inputs])]
        again = [drawn_array(data.draw, item.shape, item.dtype) for item in inputs]
        other = [np.array(item) for item in func(*[item.copy() for item in again])]
    with watched_arenas() as arenas:
        for lanes in (1, 2):
            with_lanes(program, lanes)
            for given_, ideal in ((inputs, wanted), (list(map(strided, again)), other)):
                kept = [item.copy() for item in given_]
                made = program(*given_)
                check_equal(made, ideal)
                check_unshared(made, given_, arenas)
                check_equal(given_, kept)
                for item in (*made, *(each.bytes for each in arenas)):
                    item[...] = 0
                poison(arenas)


def alone(func: Callable[..., Any], *arrays: Array) -> None:
    """A recorded function gives what NumPy gives, over memory full of rubbish."""
    made = func(*[item.copy() for item in arrays])
    wanted = all_of(made)
    with watched_arenas() as arenas:
        program = recorded(func, arrays)
        for _ in range(2):
            check_equal(program(*arrays), wanted)
            poison(arenas)


def test_same_array_for_two_inputs() -> None:
    def func(x: Any, y: Any) -> Any:
        return np.add(x, y), x * 2, y

    program = recorded(func, (X, X))
    made = program(X, X)
    check_equal(made, func(X, X))
    check_unshared(made, [X], [])


def over(keep: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Something that is made of a value, kept while much else is computed."""

    def func(x: Any) -> Any:
        kept = keep(x * 2)
        other = np.sqrt(np.sqrt(x * 3)) * 2 + 1
        return kept, np.flip(other) * 2, kept + 0

    return func


@pytest.mark.parametrize(
    "keep",
    functions(
        np.rot90,
        np.flipud,
        lambda z: np.array_split(z, 2)[1],
        lambda z: np.broadcast_arrays(z, np.zeros((2, 2, 3)))[0],
        lambda z: np.lib.stride_tricks.sliding_window_view(z, 2, axis=1),
        lambda z: np.atleast_2d(z),
        lambda z: np.rollaxis(z, 1),
    ),
)
def test_views_that_functions_return_outlive_their_base(keep: Callable[[Any], Any]) -> None:
    alone(over(keep), X)


@pytest.mark.parametrize(
    "func",
    functions(lambda x: x[0] * 2, lambda x: x[-1, ...], lambda x: x[1] + x),
)
def test_one_element(func: Callable[[Any], Any]) -> None:
    alone(func, X.reshape(-1))


@pytest.mark.parametrize(
    "func",
    functions(
        lambda x: np.sum(x[0, 0], axis=0),
        lambda x: np.max(x[0, 0], axis=-1, keepdims=True),
        lambda x: np.concatenate([x, x], axis=None),
        lambda x: np.pad(x * 2, 1, constant_values=(1, 2)),
        lambda x: tuple(np.split(x[:0], 2)),
        lambda x: tuple(np.split(x, [1, 5], axis=1)),
        lambda x: np.divmod(x, 2),
        lambda x: np.mean(x, axis=0),
        lambda x: np.einsum("ij,kj->ik", x, x),
        lambda x: np.where(x > 2, x, np.nan),
        lambda x: np.take(x, [0, -1], axis=-1),
        lambda x: x[:, [0, 2]],
        lambda x: x[np.array([True, False])],
    ),
)
def test_functions(func: Callable[[Any], Any]) -> None:
    alone(func, X)


def into_a_mask(x: Any, y: Any) -> Any:
    made = x * 1
    np.add(x, y, out=made, where=np.array([True, False, True]))
    return made


def into_two(x: Any, y: Any) -> Any:
    quotient, rest = x * 1, y * 1
    np.divmod(x, y + 1, out=(quotient, rest))
    return quotient, rest


@pytest.mark.parametrize(
    "func",
    functions_of_two(
        into_a_mask, into_two, lambda x, y: np.vecdot(x, y), lambda x, y: np.imag(x) + y
    ),
)
def test_what_cannot_be_recorded_is_refused_or_right(func: Callable[[Any, Any], Any]) -> None:
    try:
        recorded(func, (X, Y))
    except RecordingError:
        return
    alone(func, X, Y)


def test_assignment_to_itself_overlaps() -> None:
    def func(x: Any) -> Any:
        made = x * 2
        made.reshape(-1)[1:] = made.reshape(-1)[:-1]
        return made

    alone(func, X)


def test_one_element_is_a_copy_and_more_are_a_view() -> None:
    def func(x: Any) -> Any:
        made = x * 2
        first, row, all_ = made[0, 0], made[0], made[0, 0, ...]
        made[0] = 7
        return first, row, all_

    alone(func, X)


def test_updates_of_one_element_add_up() -> None:
    def func(x: Any) -> Any:
        made = x * 2
        np.add.at(made, (np.array([0, 0, 1]), np.array([1, 1, 2])), 5.0)
        return made

    alone(func, X)


def test_views_of_other_dtypes_on_strided_inputs() -> None:
    x = np.arange(12).reshape(2, 6)
    program = recorded(lambda x: x.view(np.int32) + 1, (x,))
    check_equal(program(x), [x.view(np.int32) + 1])
    part = np.arange(24).reshape(2, 12)[:, ::2]
    check_equal(program(part), [part.copy().view(np.int32) + 1])


def test_objects_stay_out_of_the_arena() -> None:
    words = np.array(["ab", "c"], object)
    with pytest.raises(RecordingError, match="objects"):
        recorded(lambda s: np.concatenate([np.concatenate([s, s]), s]), (words,))


def test_strings_move() -> None:
    """What moves strings is right though it has no place in the arena."""
    s, u = (graph_input(name, tensor("string", 2)) for name in "su")
    both = concat(concat(s, u, axis=0), s, axis=0)
    rows = transpose(reshape(both, constant([3, 2], DType.INT64)))
    made = Graph((s, u), (gather(rows, constant([1, 0], DType.INT64)), both), ("y", "z"))
    arrays = [np.array([f"word {k}", "x" * 50], object) for k in range(2)]
    with watched_arenas() as arenas:
        run = graphopt.compile(made)
        for _ in range(3):
            wanted = reference.run(made, dict(zip("su", arrays, strict=True)))
            check_equal(run(*arrays), wanted)
            poison(arenas)


@pytest.mark.parametrize(
    "func",
    functions(
        lambda x: np.sum(x, axis=5),
        lambda x: np.sum(x, axis=(0, 0)),
        lambda x: np.sum(x, axis=-3),
        lambda x: np.split(x, 2, 1)[0],
        lambda x: np.concatenate([x, x], 5),
        lambda x: np.stack([x, x], 5),
        lambda x: np.squeeze(x, 0),
        lambda x: np.take(x, [0], 7),
        lambda x: np.take(x, [3], 1),
        lambda x: np.cumsum(x, 7),
        lambda x: np.argmax(x, 7),
        lambda x: np.max(x[:0], axis=0),
        lambda x: np.matmul(x, x),
        lambda x: np.add(x, x[:, :2]),
        lambda x: np.broadcast_to(x, (2, 2)),
        lambda x: np.reshape(x, (4, 2)),
        lambda x: x[5],
    ),
)
def test_what_numpy_refuses_fails(func: Callable[[Any], Any]) -> None:
    with pytest.raises((ValueError, IndexError)):
        func(X)
    with pytest.raises((ValueError, IndexError, RecordingError, ExecutionError)):
        recorded(func, (X,))(X)


@pytest.mark.parametrize(
    "ask", functions(bool, int, float, lambda x: x.tolist(), lambda x: x.item())
)
def test_content_is_not_there(ask: Callable[[Any], Any]) -> None:
    with pytest.raises(ConcretizedError):
        recorded(ask, (np.array(1.0),))


@pytest.mark.parametrize(
    "func",
    functions(np.nonzero, np.unique, lambda x: x[x > 1], lambda x: np.compress([True], x[x > 1])),
)
def test_shapes_that_depend_on_content(func: Callable[[Any], Any]) -> None:
    with pytest.raises(DataDependentError):
        recorded(func, (X,))


def test_inputs_are_not_written() -> None:
    def func(x: Any) -> Any:
        x += 1
        return x

    with pytest.raises(RecordingError, match="did not make"):
        recorded(func, (X,))


def test_known_results_are_the_caller_s_own() -> None:
    known = np.arange(3.0)
    program = recorded(lambda x: (known, known), (X,))
    first = program(X)
    first[0][...] = -1
    check_equal(first[1:], [known])
    check_equal(program(X), [np.arange(3.0)] * 2)


def test_many_steps() -> None:
    def func(x: Any) -> Any:
        for _ in range(3000):
            x = x + 1
        return x

    program = recorded(func, (X,), threads=2)
    check_equal(program(X), [X + 3000])
    assert program.plan.arena <= 3 * 64
    with_lanes(program, 2)
    assert lanes_of(program) in (1, 2)
    check_equal(program(X), [X + 3000])


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16, np.int32])
@pytest.mark.parametrize("shape", [(3, 40, 5), (2, 6, 7, 3), (50, 2), (1, 4, 4, 8), (0, 3, 2)])
@pytest.mark.parametrize("keepdims", [False, True])
def test_sums_over_rows(dtype: Any, shape: tuple[int, ...], keepdims: bool) -> None:
    """Over neighbouring axes that are not the last they are products with ones."""
    array = np.random.default_rng(1).integers(-9, 9, shape).astype(dtype)
    for axes in ((0,), (1,), (0, 1), tuple(range(1, len(shape))), (0, len(shape) - 1)):

        def total(x: Any, axes: tuple[int, ...] = axes) -> Any:
            turned = np.transpose(x)  # which does not lie in order
            return np.sum(x, axis=axes, keepdims=keepdims), np.sum(turned, axis=axes)

        check_equal(recorded(total, [array])(array), total(array))


def test_sums_over_rows_show_what_is_not_finite() -> None:
    array = np.ones((30, 4), np.float32)
    array[3, 0], array[4, 1], array[5, 1], array[6, 2] = np.nan, np.inf, -np.inf, -np.inf
    program = recorded(lambda x: np.sum(x, axis=0), [array])
    assert [call.func for call in program.recording.calls] == [np.matmul]
    np.testing.assert_array_equal(program(array)[0], [np.nan, np.nan, -np.inf, 30])
