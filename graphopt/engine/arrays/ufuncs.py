"""Universal functions on arrays: `ufunc(a, b)` and its methods, pushed to the engine.

`binary` and `inplace` are what operators call and are as short as can be; `call` is the rest.
"""

from __future__ import annotations

import operator
import sys
from contextvars import copy_context
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from graphopt.engine.arrays import infer
from graphopt.engine.arrays.handle import PLAIN, Handle
from graphopt.engine.arrays.layout import Layout, is_raw, kind_of
from graphopt.engine.arrays.runtime import touch
from graphopt.engine.task import Task, Variable

if TYPE_CHECKING:
    from graphopt.engine.arrays.context import Arrays
    from graphopt.engine.arrays.ndarray import NDArray

_frame = sys._getframe  # pyright: ignore[reportPrivateUsage]  # the inspect module costs 10 µs
_quick: dict[Any, Layout] = {}  # the results of binary operations without further ado


# Operators. They are called from the operator's method, which the user's line calls.


def binary(of: np.ufunc, first: Any, second: Any) -> NDArray:
    """`of(first, second)`, NotImplemented for operands of a foreign type."""
    operands = first, second
    array: Any
    left: Any
    right: Any
    read: tuple[Variable, ...] = ()
    if isinstance(second, Handle):
        array, right, other = second, second.layout, second.data
        read = (second.block.variable,)
    else:
        array, right, other = first, _scalar(second), second
    if isinstance(first, Handle):
        left, one = first.layout, first.data
        read = (first.block.variable, *read)
    else:
        left, one, first = _scalar(first), first, array
    arrays, block, near = array.arrays, array.block, first.block
    layout = _quick.get((of, left, right))
    if layout is None or not arrays.quick or near.pool is not block.pool or copy_context():
        return _general(of, *operands)
    frame = _frame(2)
    out = arrays.new(layout, block.pool)
    task = Task(
        partial(of, one, other, out.data),
        read,
        (),
        block.pool.options,
        frame.f_code,
        frame.f_lasti,
    )
    task.overwrite = (out.block.variable,)
    arrays.submit(task)
    out.block.last = block.last = near.last = task
    return out


def _scalar(value: Any) -> Any:
    """What results depend on, of a Python scalar; None for others and large integers."""
    kind = kind_of(value)
    return kind if kind is float or (kind is int and 0 <= value < 128) else None


def _general(of: np.ufunc, first: Any, second: Any) -> NDArray:
    """A binary operation that is not plain, or not known yet."""
    operands = (first, second)
    if not all(isinstance(each, (Handle, *PLAIN)) for each in operands):
        return NotImplemented
    answer: Any = call(of, operands, {})
    keys = [each.layout if isinstance(each, Handle) else _scalar(each) for each in operands]
    made: object = answer  # an array, unless the other operand has its own ideas
    if isinstance(made, Handle) and None not in keys:
        _remember((of, *keys), made.layout)
    return answer


def inplace(of: np.ufunc, first: Any, second: Any) -> NDArray:
    """`of(first, second, out=first)`; a new array where NumPy would have a scalar."""
    block, arrays = first.block, first.arrays
    if isinstance(second, Handle):
        right: Any = second.layout
        value: Any = second.data
        plain = second.block.pool is block.pool
        read: tuple[Variable, ...] = (second.block.variable,)
    else:
        right, value, read = _scalar(second), second, ()
        plain = right is not None
    known = plain and (of, first.layout, right, True) in _quick
    if not known or not arrays.quick or not first.writable or copy_context():
        return _general_inplace(of, first, second, (of, first.layout, right, True), plain)
    data = first.data
    frame = _frame(2)
    task = Task(
        partial(of, data, value, data),
        read,
        (block.variable,),
        block.pool.options,
        frame.f_code,
        frame.f_lasti,
    )
    arrays.submit(task)
    touch(block, task)
    if read:
        second.block.last = task
    return first


def _general_inplace(of: np.ufunc, first: Any, second: Any, key: Any, plain: bool) -> NDArray:
    """An operation in place that is not plain, or not known yet."""
    operands: tuple[Any, Any] = first, second
    if not isinstance(second, (Handle, *PLAIN)):
        return NotImplemented
    if first.layout.scalar:
        return call(of, operands, {})
    call(of, operands, {"out": (first,)})
    if plain:
        _remember(key, first.layout)
    return first


def _remember(key: Any, layout: Layout) -> None:
    """Let the next operation of the kind go without questions."""
    if len(_quick) >= infer.REMEMBERED:
        _quick.clear()
    _quick[key] = layout


def power(first: Any, second: Any) -> NDArray:
    """`first ** second`, which for some exponents is another function: a square, a root."""
    if np.ndim(second) or not all(isinstance(each, (Handle, *PLAIN)) for each in (first, second)):
        return binary(np.power, first, second)
    arrays = arrays_of((first, second))
    scalars = tuple(isinstance(e, Handle) and e.layout.scalar for e in (first, second))
    operands = (*arrays.settled((first, second)), scalars)
    layout = infer.function(_power, arrays.layouts(operands), {})
    return arrays.run(_power, operands, {}, (layout,), (None,), "assigned")[0]


def _power(first: Any, second: Any, scalars: tuple[bool, bool]) -> Any:
    """As Python has it; for scalars it is not always what it is for arrays of no dimension."""
    base, exponent = scalars
    return (first[()] if base else first) ** (second[()] if exponent else second)


def inplace_power(first: Any, second: Any) -> NDArray:
    """`first **= second`."""
    if np.ndim(second) or first.layout.scalar or not isinstance(second, (Handle, *PLAIN)):
        return inplace(np.power, first, second)
    infer.function(_power_into, first.arrays.layouts((first, second)), {})
    first.arrays.change(_power_into, first, (second,), {})
    return first


def _power_into(first: Any, second: Any) -> Any:
    """`**=` as Python has it."""
    first **= second
    return first


# All of them.


def call(of: np.ufunc, inputs: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """`of(*inputs, **kwargs)`: pushes it, and returns its results, one or several."""
    kwargs = {name: value for name, value in kwargs.items() if value is not None}
    out = kwargs.pop("out", ())
    if kwargs.get("where") is True:
        del kwargs["where"]
    arrays = arrays_of((*out, *inputs, kwargs.get("where")))
    inputs, kwargs = arrays.settled(inputs), arrays.settled(kwargs)
    try:
        if any(is_raw(each) for each in out):
            raise infer.NotInferableError
        layouts = infer.ufunc(
            of, arrays.layouts(inputs), arrays.layouts(kwargs), arrays.layouts(out)
        )
    except infer.NotInferableError:
        return arrays.at_once(of, inputs, {**kwargs, "out": out} if out else kwargs)
    results = arrays.run(of, inputs, kwargs, layouts, out or (None,) * of.nout)
    return results[0] if of.nout == 1 else results


def method(of: np.ufunc, name: str, inputs: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """`of.reduce(...)` and its like: pushes it, and returns its result."""
    function = getattr(of, name)
    arrays = arrays_of((*kwargs.get("out", ()), *inputs))
    kwargs = {key: value for key, value in kwargs.items() if key != "out" or value[0] is not None}
    if name == "at":
        target, *others = inputs
        if not isinstance(target, Handle):
            return arrays.at_once(function, inputs, kwargs)
        infer.function(operator.getitem, (target.layout, arrays.layouts_only(others[0])), {})
        return arrays.change(function, target, tuple(others), kwargs)
    out = kwargs.pop("out", (None,))
    inputs, kwargs = arrays.settled(inputs), arrays.settled(kwargs)
    try:
        if any(is_raw(each) for each in out):
            raise infer.NotInferableError
        layout = _method_layout(arrays, function, name, inputs, kwargs, out[0])
    except infer.NotInferableError:
        return arrays.at_once(
            function, inputs, {**kwargs, "out": out} if out[0] is not None else kwargs
        )
    return arrays.run(function, inputs, kwargs, (layout,), out, "keyword")[0]


def _method_layout(
    arrays: Arrays,
    function: Any,
    name: str,
    inputs: tuple[Any, ...],
    kwargs: dict[str, Any],
    out: Handle | None,
) -> Layout:
    """The layout of a method's result."""
    operand = inputs[0]
    plain = "where" not in kwargs and "initial" not in kwargs and out is None
    if name == "reduce" and plain and isinstance(operand, Handle) and len(inputs) <= 2:
        options = dict(kwargs)
        axis = options.pop("axis", inputs[1] if len(inputs) == 2 else 0)
        return infer.reduction(function, operand.layout, options, axis)
    options = arrays.layouts(kwargs)
    if out is not None:
        options = {**options, "out": (out.layout,)}
    known = arrays.layouts_only if name == "reduceat" else arrays.layouts
    found = infer.function(function, known(inputs), options)
    if not isinstance(found, Layout):
        raise infer.NotInferableError
    return found if out is None else out.layout


def arrays_of(tree: Any) -> Arrays:
    """The first array's `Arrays`, of those in a structure."""
    found: list[Handle] = []

    def leaf(value: Any) -> Any:
        if isinstance(value, Handle):
            found.append(value)
        return value

    infer.mapped(tree, leaf)
    return found[0].arrays
