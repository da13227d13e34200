"""Arrays on an engine: what they mean, when they wait, how they fail, what they hold on to."""

from __future__ import annotations

import gc
import pickle
import time
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from itertools import product
from typing import Any, cast

import numpy as np
import pytest

from graphopt.engine import Engine
from graphopt.engine.arrays import Arrays, NDArray
from graphopt.engine.errors import (
    DoubleDeleteError,
    TaskFailedError,
    UndeclaredAccessError,
    UseAfterDeleteError,
)

# The serial program.


def test_the_program_of_the_lecture(arrays: Arrays) -> None:
    A = arrays.full((), 2.0)
    B = A + 1
    C = A + 2
    A[...] = 3
    D = B * C
    assert (float(A), float(B), float(C), float(D)) == (3, 3, 4, 12)


def slowly(seconds: float, source: Any, target: Any = None) -> None:
    """Take some time; then the target is the source plus one."""
    time.sleep(seconds)
    if target is not None:
        target[...] = source + 1


def test_what_is_independent_runs_at_once() -> None:
    with Engine(workers=2) as engine, engine.record() as recording:
        arrays = Arrays(engine)
        A = arrays.zeros(3)
        B, C = arrays.empty(3), arrays.empty(3)

        arrays.push(partial(slowly, 0.05), [A], overwrite=[B], name="B")
        arrays.push(partial(slowly, 0.05), [A], overwrite=[C], name="C")
        A[...] = 7
        D = B * C
        assert D.numpy().tolist() == [1, 1, 1]
    tasks = {task.name: task for task in recording}
    b, c, change, product_ = tasks["B"], tasks["C"], tasks["setitem"], tasks["multiply"]
    assert max(b.started, c.started) < min(b.finished, c.finished)
    assert change.started > max(b.completed, c.completed)
    assert product_.started > max(b.completed, c.completed)


def test_nothing_known_at_once_waits() -> None:
    with Engine(workers=1) as engine:
        arrays = Arrays(engine)
        a = arrays.zeros((2, 3), np.float32)
        gate = arrays.push(partial(slowly, 0.3), mutate=[a])
        began = time.perf_counter()
        b = (a @ a.T + np.float64(1)).sum(axis=0)[:, None]
        known = b.shape, b.dtype, b.ndim, b.size, len(b), b.device
        assert not gate.done
        assert time.perf_counter() - began < 0.2
        assert known == ((2, 1), np.float64, 2, 2, 2, "cpu:0")


# Types, as NumPy has them.

DTYPES = "? i1 u1 i2 u2 i4 u4 i8 u8 f2 f4 f8 c8 c16".split()
FUNCTIONS = (np.add, np.divide, np.power, np.maximum, np.less, np.arctan2, np.bitwise_or, np.matmul)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("function", FUNCTIONS)
def test_promotion_is_numpys(function: np.ufunc) -> None:
    arrays = Arrays(Engine(mode="serial"))
    ones = {name: np.ones((1, 1), name) for name in DTYPES}
    scalars: list[Any] = [1, 1.0, 1j, True, 200, -1, np.float32(1), np.int8(1), np.array([[1]])]
    for name, other in product(DTYPES, [*ones.values(), *scalars]):
        ours = arrays.array(other) if type(other) is np.ndarray else other
        outcomes: list[Any] = []
        for left, right in ((ones[name], other), (arrays.array(ones[name]), ours)):
            try:
                found = function(left, right)
                values = np.asarray(found).tobytes()
            except (TypeError, OverflowError, ValueError) as error:
                outcomes.append(type(error))
            except TaskFailedError as error:  # it depends on the values
                outcomes.append(type(error.__cause__))
            else:
                outcomes.append((found.dtype, found.shape, values))
        assert outcomes[0] == outcomes[1], (name, other)


xp: Any = np  # for functions whose types say too little
MISTAKES = (ValueError, TypeError, IndexError)


WRONG: list[Callable[[Any], Any]] = [
    lambda a: a + np.ones(7),
    lambda a: a @ np.ones(7),
    lambda a: a[5],
    lambda a: a[0, 0, 0],
    lambda a: a.sum(axis=3),
    lambda a: a.reshape(5),
    lambda a: a.__setitem__(0, np.ones(9)),
    lambda a: a.__setitem__(0, 1j),
    lambda a: np.add(a, 1, out=np.ones((1, 3))),
    lambda a: np.concatenate([a, np.ones(3)]),
    lambda a: a & 1,
    lambda a: a.__iadd__(1j),
    lambda a: cast(Any, np.add)(a, a, bogus=1),
    lambda a: xp.linalg.inv(a),
    lambda a: np.broadcast_to(a, (4, 2, 3)).__setitem__(0, 1),
    lambda a: a + object(),
    lambda a: a[[9]],
    lambda a: np.max(a[:0]),
]


@pytest.mark.parametrize("wrong", WRONG)
def test_mistakes_are_raised_at_the_call_as_numpy_words_them(
    arrays: Arrays, wrong: Callable[[Any], Any]
) -> None:
    plain = np.arange(6.0).reshape(2, 3)
    with pytest.raises(MISTAKES) as theirs:
        wrong(plain)
    with pytest.raises(theirs.type) as mine:
        wrong(arrays.array(plain))
    if "NDArray" not in str(mine.value) and "read-only" not in str(mine.value):
        assert str(mine.value) == str(theirs.value)


def test_scalars_are_not_changed_in_place(arrays: Arrays) -> None:
    total = kept = arrays.ones(3).sum()
    total += 1
    assert (float(total), float(kept)) == (4, 3)
    with pytest.raises(ValueError, match="read-only"):
        kept[...] = 1


def test_arrays_of_numpy_are_taken_as_they_are_now(arrays: Arrays) -> None:
    values = np.ones(3)
    a = arrays.array(values)
    b = a + values
    values[...] = 7
    assert a.tolist() == [1, 1, 1]
    assert b.tolist() == [2, 2, 2]


def test_what_is_given_out_does_not_change(arrays: Arrays) -> None:
    a = arrays.zeros(3)
    before = a.numpy()
    a += 1
    assert before.tolist() == [0, 0, 0]
    assert a.tolist() == [1, 1, 1]


def test_numpys_functions_take_them(arrays: Arrays) -> None:
    plain = np.arange(12.0).reshape(3, 4) - 5
    a = arrays.array(plain)
    calls: list[Callable[[Any], Any]] = [
        np.median, np.unique, np.count_nonzero, lambda x: np.percentile(x, 30), np.histogram,
        xp.linalg.svd, lambda x: xp.linalg.solve(x[:, :3] + 9 * xp.eye(3), x[:, 0]), xp.trace,
        lambda x: np.allclose(x, x), lambda x: np.array_equal(x, x), lambda x: np.argwhere(x > 1),
        lambda x: xp.interp(x, [0.0, 1.0], [5.0, 6.0]), lambda x: xp.where(x > 0), xp.shape,
        lambda x: np.frexp(x), lambda x: np.linalg.qr(x)[0], lambda x: np.split(x, 2, axis=1),
        lambda x: np.tril(x), lambda x: np.insert(x, 1, 0, axis=0), lambda x: np.moveaxis(x, 0, 1),
        lambda x: xp.take_along_axis(x, xp.argsort(x, axis=1), axis=1), lambda x: xp.round(x, 1),
        lambda x: xp.meshgrid(x[0], x[1]), lambda x: xp.nan_to_num(x / 0), lambda x: xp.average(x),
    ]  # fmt: skip
    with np.errstate(all="ignore"):
        for call in calls:
            alike(call(a), call(plain))


def alike(mine: Any, theirs: Any) -> None:
    """Equal bit for bit, also in the structure."""
    if isinstance(theirs, (tuple, list)):
        assert type(mine) is type(cast(Any, theirs))
        pairs: Iterator[tuple[Any, Any]] = zip(mine, cast(Any, theirs), strict=True)
        for one, other in pairs:
            alike(one, other)
        return
    found = np.asarray(mine)
    assert found.dtype == np.asarray(theirs).dtype
    assert found.tobytes() == np.asarray(theirs).tobytes()
    assert isinstance(mine, NDArray) == isinstance(theirs, np.ndarray) or np.ndim(theirs) == 0


def test_arrays_of_numpy_can_be_written(arrays: Arrays) -> None:
    kept = plain = np.ones(3)
    a = arrays.arange(3.0)
    plain += a
    np.multiply(plain, a, out=plain)
    assert plain is kept
    assert plain.tolist() == [0, 2, 6]
    np.sum(arrays.ones((2, 3)), axis=0, out=plain)
    np.copyto(plain[:1], a[2:])
    plain[1] = a[1]
    assert plain.tolist() == [2, 1, 2]


# Failures.


def test_a_failure_is_raised_at_every_read_with_the_line_that_pushed_it(arrays: Arrays) -> None:
    a = arrays.zeros((2, 2))
    b: Any = np.linalg.inv(a)
    c = b + 1
    for _ in range(2):
        with pytest.raises(TaskFailedError, match=r"'inv'.*test_arrays.py") as caught:
            b.numpy()
        assert isinstance(caught.value.__cause__, np.linalg.LinAlgError)
        with pytest.raises(TaskFailedError, match="Singular"):
            print(c)
    b[...] = 1
    assert b.tolist() == [[1, 1], [1, 1]]
    with pytest.raises(TaskFailedError):
        c.wait_to_read()


def test_the_error_state_is_that_of_the_line(arrays: Arrays) -> None:
    a = arrays.zeros(3)
    with np.errstate(divide="raise"):
        b = 1 / a
    with pytest.raises(TaskFailedError, match="divide by zero"):
        b.numpy()
    with np.errstate(divide="ignore"):
        c = 1 / a
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.isinf(c).all()


def test_a_deleted_array_cannot_be_used(arrays: Arrays) -> None:
    a = arrays.zeros((2, 3))
    view, b = a[0], a + 1
    a.delete()
    for use in (lambda: a + 1, lambda: a[0], lambda: view.sum(), a.numpy, lambda: a.T):
        with pytest.raises(UseAfterDeleteError, match=r"float64\[2, 3\]"):
            use()
    with pytest.raises(DoubleDeleteError):
        a.delete()
    assert b.sum().item() == 6


def test_a_task_touches_only_what_it_declares() -> None:
    with Engine(workers=2) as engine:
        arrays = Arrays(engine, debug=True)
        a, b, c = arrays.zeros(3), arrays.zeros(3), arrays.zeros(3)

        def writes(a: Any) -> None:
            a[0] = 1

        def reaches() -> None:
            c.numpy()

        def alters(view: Any) -> None:
            c[...] = 1

        def behaves(a: Any, b: Any) -> None:
            b[...] = a + (arrays.ones(3) + 1).numpy()

        for task in (arrays.push(writes, [a]), arrays.push(reaches), arrays.push(alters, [c])):
            with pytest.raises(TaskFailedError, match="declare") as caught:
                task.result()
            assert isinstance(caught.value.__cause__, UndeclaredAccessError)
            assert "test_arrays.py" in str(caught.value.__cause__)
        arrays.push(behaves, [a], [b]).result()
        assert b.tolist() == [2, 2, 2]
        with pytest.raises(ExceptionGroup):
            engine.wait_all()


# Random numbers.


def test_a_stream_is_numpys(arrays: Arrays) -> None:
    mine, theirs = arrays.random(5), np.random.Generator(np.random.PCG64(5))
    a, b = arrays.arange(10), np.arange(10)
    mine.shuffle(a)
    theirs.shuffle(b)
    pairs = [
        (mine.normal(2.0, 3.0, (2, 3)), theirs.normal(2.0, 3.0, (2, 3))),
        (mine.integers(10, size=4), theirs.integers(10, size=4)),
        (mine.random(), np.float64(theirs.random())),
        (mine.permutation(a), theirs.permutation(b)),
        (mine.permutation(5), theirs.permutation(5)),
        (mine.choice(a, 3, replace=False), theirs.choice(b, 3, replace=False)),
        (mine.uniform(a - 1.0, a, size=10), theirs.uniform(b - 1.0, b, size=10)),
        (mine.exponential(size=2), theirs.exponential(size=2)),
        (mine.draw("multinomial", 9, [0.5, 0.5]), theirs.multinomial(9, [0.5, 0.5])),
    ]
    for one, other in pairs:
        alike(one, other)
    with pytest.raises(ValueError, match="scale < 0"):
        mine.normal(0.0, -1.0, 3)
    alike(mine.standard_normal(2), theirs.standard_normal(2))


# Exchange.


def test_dlpack_shares_memory_that_is_not_recycled(arrays: Arrays) -> None:
    a = arrays.arange(4.0)
    shared = np.from_dlpack(a)
    b = arrays.from_dlpack(shared)
    assert b.sum().item() == 6
    del a, b
    gc.collect()
    arrays.zeros(4).wait_to_read()
    assert shared.tolist() == [0, 1, 2, 3]


def test_what_waits_and_what_is_refused(arrays: Arrays) -> None:
    a = arrays.arange(3.0)
    assert np.asarray(a).tolist() == [0, 1, 2]
    assert repr(a) == "array([0., 1., 2.])"
    assert f"{a.sum():.1f}" == "3.0"
    assert [int(each) for each in a] == [0, 1, 2]
    assert 2.0 in a
    assert range(3)[a.argmax()] == 2
    with pytest.raises(ValueError, match="from_dlpack"):
        np.asarray(a, copy=False)
    with pytest.raises(TypeError, match="numpy"):
        pickle.dumps(a)
    with pytest.raises(TypeError, match="plain memory"):
        arrays.array([None])
    with pytest.raises(TypeError, match="unhashable"):
        hash(a)
