"""What a NumPy function will return, found out without its operands' values.

The judge is NumPy itself: it is asked with operands that cost nothing where a rule is known, with
stand-ins of the same layout otherwise. So dtypes, shapes, strides and errors are NumPy's, and
errors of shape and dtype are raised where the operation is pushed. Answers are remembered.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import numpy as np

from graphopt.engine.arrays.layout import (
    Layout,
    Raw,
    Shape,
    as_tuple,
    intern,
    is_raw,
    is_scalar,
    kind_of,
    layout_of,
)

REMEMBERED = 8192  # answers, after which all are forgotten
_answers: dict[Any, Any] = {}


class NotInferableError(Exception):
    """The result is no array, or its shape depends on values."""


def remember(key: Any, find: Callable[[], Any]) -> Any:
    """The answer to a question, asked once."""
    try:
        return _answers[key]
    except KeyError:
        hashable = True
    except TypeError:  # an operand that cannot be hashed
        hashable = False
    with quietly():
        answer = find()
    if hashable:
        if len(_answers) >= REMEMBERED:
            _answers.clear()
        _answers[key] = answer
    return answer


@contextmanager
def quietly() -> Generator[None]:
    """Without complaints about the values of stand-ins."""
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def mapped(tree: Any, leaf: Callable[[Any], Any]) -> Any:
    """A structure of tuples, lists, dictionaries and slices with its leaves replaced."""
    kind = kind_of(tree)
    if kind is tuple:
        return tuple(mapped(each, leaf) for each in tree)
    if kind is list:
        return [mapped(each, leaf) for each in tree]
    if kind is dict:
        return {name: mapped(each, leaf) for name, each in tree.items()}
    if kind is slice:
        return slice(leaf(tree.start), leaf(tree.stop), leaf(tree.step))
    if tuple in kind.__mro__:  # a named one
        return kind(*(mapped(each, leaf) for each in tree))
    return leaf(tree)


def frozen(tree: Any) -> Any:
    """A structure as something that can be hashed, if its leaves can; 1, 1.0 and True differ."""
    kind = kind_of(tree)
    if issubclass(kind, (tuple, list)):
        return kind, *(frozen(each) for each in tree)
    if kind is dict:
        return kind, *((name, frozen(tree[name])) for name in sorted(tree))
    if kind is slice:
        return kind, frozen(tree.start), frozen(tree.stop), frozen(tree.step)
    return tree if kind is Layout else (kind, tree)


def result(value: Any) -> Any:
    """The layouts of what a function returned: of one array, or of each of several."""
    if is_raw(value):
        if value.dtype.hasobject:
            raise NotInferableError
        return layout_of(value)
    if is_scalar(value):
        return intern((), value.dtype, None, scalar=True)
    kind = kind_of(value)
    if issubclass(kind, (tuple, list)) and value:
        return mapped(value, result)
    raise NotInferableError


# Functions.


def function(
    call: Callable[..., Any],
    args: Any,
    kwargs: dict[str, Any],
    stand_in: Callable[[Layout], Raw] = Layout.stand_in,
) -> Any:
    """The layouts that a function returns, given layouts in the places of arrays."""

    def find() -> Any:
        def leaf(value: Any) -> Any:
            return stand_in(value) if isinstance(value, Layout) else value

        return result(call(*mapped(args, leaf), **mapped(kwargs, leaf)))

    return remember((call, frozen(args), frozen(kwargs)), find)


# Universal functions.


def ufunc(
    of: np.ufunc, operands: tuple[Any, ...], kwargs: dict[str, Any], out: tuple[Layout | None, ...]
) -> tuple[Layout, ...]:
    """The layouts of a universal function's results, or of its `out` where given.

    Operands are layouts, or scalars as they are. `kwargs` may have `where`, a layout too.
    """
    values = tuple(each if isinstance(each, Layout) else _kind(each) for each in operands)
    key = (of, values, frozen(kwargs), out)
    if of.signature is not None:
        return tuple(remember(key, lambda: _generalized(of, operands, kwargs, out)))
    return tuple(remember(key, lambda: _elementwise(of, operands, kwargs, out)))


def _kind(value: Any) -> Any:
    """What the result's layout can depend on, of a scalar: a small integer fits everywhere."""
    kind = kind_of(value)
    small = kind is int and 0 <= value < 128
    return kind if small or kind in (float, complex, bool) else (kind, value)


def _elementwise(
    of: np.ufunc, operands: tuple[Any, ...], kwargs: dict[str, Any], out: tuple[Layout | None, ...]
) -> tuple[Layout, ...]:
    """Ask for the dtypes with empty operands; shapes broadcast."""
    given = [each for each in out if each is not None]
    arrays = [each for each in (*operands, *kwargs.values()) if isinstance(each, Layout)]
    everything = [*arrays, *given]
    if "order" in kwargs or any(each.strides is not None for each in everything):
        return _asked(of, operands, kwargs, out)
    try:
        shape = np.broadcast_shapes(*(each.shape for each in everything))
    except ValueError:
        shape = None
    if shape is None or any(each.shape != shape for each in given):
        return _asked(of, operands, kwargs, out, Layout.hollow)

    def empty(value: Any) -> Any:
        return np.empty((0,) * bool(shape), value.dtype) if isinstance(value, Layout) else value

    answer = of(*map(empty, operands), **_with_out(mapped(kwargs, empty), mapped(out, empty)))
    answers = as_tuple(answer)
    layouts = (
        each or intern(shape, found.dtype, None, is_scalar(found))
        for each, found in zip(out or (None,) * of.nout, answers, strict=True)
    )
    return _storable(layouts)


def _generalized(
    of: np.ufunc, operands: tuple[Any, ...], kwargs: dict[str, Any], out: tuple[Layout | None, ...]
) -> tuple[Layout, ...]:
    """Ask with an empty batch of matrices, which computes nothing; with stand-ins otherwise."""
    plain = not kwargs and not out and of is np.matmul
    if not plain or not all(isinstance(each, Layout) and len(each.shape) == 2 for each in operands):
        return _asked(of, operands, kwargs, out)
    batch = [np.empty((0, *each.shape), each.dtype) for each in operands]
    try:
        answer = of(*batch)
    except ValueError:
        return _asked(of, operands, kwargs, out, Layout.hollow)
    return _storable([intern(answer.shape[1:], answer.dtype)])


def _asked(
    of: Callable[..., Any],
    operands: tuple[Any, ...],
    kwargs: dict[str, Any],
    out: tuple[Layout | None, ...],
    stand_in: Callable[[Layout], Raw] = Layout.stand_in,
) -> tuple[Layout, ...]:
    """Ask with stand-ins."""

    def leaf(value: Any) -> Any:
        return stand_in(value) if isinstance(value, Layout) else value

    answer = of(*mapped(operands, leaf), **_with_out(mapped(kwargs, leaf), mapped(out, leaf)))
    answers = as_tuple(answer)
    found = (result(each) for each in answers)
    return _storable(
        each or other for each, other in zip(out or (None,) * len(answers), found, strict=True)
    )


def _with_out(kwargs: dict[str, Any], out: tuple[Any, ...]) -> dict[str, Any]:
    """Keyword arguments with `out`, if there is one."""
    return {**kwargs, "out": out} if any(each is not None for each in out) else kwargs


def _storable(layouts: Any) -> tuple[Layout, ...]:
    """Refuse what is no plain memory."""
    found: tuple[Layout, ...] = tuple(layouts)
    if any(each.dtype.hasobject for each in found):
        raise NotInferableError
    return found


# Reductions.


def reduction(
    call: Callable[..., Any],
    operand: Layout,
    kwargs: dict[str, Any],
    axis: Any,
) -> Layout:
    """The layout of a reduction along an axis, several, or all."""

    def find() -> Layout:
        if operand.strides is not None or operand.size == 0:
            answer = result(call(operand.stand_in(), axis=axis, **kwargs))
        else:
            answer = _reduced(operand.shape, axis, call, operand.dtype, kwargs)
        if not isinstance(answer, Layout):
            raise NotInferableError
        return answer

    found = remember((call, operand, frozen(axis), frozen(kwargs)), find)
    assert isinstance(found, Layout)
    return found


def _reduced(
    shape: Shape,
    axis: Any,
    call: Callable[..., Any],
    dtype: np.dtype[Any],
    kwargs: dict[str, Any],
) -> Layout:
    """Ask with one element: it has the same number of axes."""
    answer: Any = call(np.ones((1,) * len(shape), dtype), axis=axis, **kwargs)
    if not isinstance(result(answer), Layout):
        raise NotInferableError
    if axis is None or not shape:
        gone = set(range(len(shape)))
    else:
        axes = as_tuple(axis)
        gone = {int(each) % len(shape) for each in axes}
    if kwargs.get("keepdims"):
        kept: Shape = tuple(1 if place in gone else n for place, n in enumerate(shape))
    else:
        kept = tuple(n for place, n in enumerate(shape) if place not in gone)
    return intern(kept, answer.dtype, None, is_scalar(answer))
