"""Reading and writing parts of traced arrays.

Written is the whole of an array that owns its memory: a new node takes the place of the old one in
its buffer, and whatever shares the buffer sees it. A write to a part is not supported yet, but to
an array whose content is known, with what is known.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from graphopt.frontends.trace import library
from graphopt.frontends.trace.array import TracedArray
from graphopt.frontends.trace.kinds import class_of, is_a
from graphopt.frontends.trace.library.operands import cast, castable, lift
from graphopt.frontends.trace.number import TracedNumber
from graphopt.frontends.trace.trace import Buffer
from graphopt.ir import Node

if TYPE_CHECKING:
    from graphopt.frontends.trace.record import Recorder

Array = Any


def parts_of(index: Any) -> tuple[Any, ...]:
    """The parts of an index."""
    return index if class_of(index) is tuple else (index,)


def basic(index: Any) -> bool:
    """Whether an index of known parts gives a view: of integers, slices, None and Ellipsis."""
    return all(
        part is None or part is Ellipsis or type(part) is slice or _is_integer(part)
        for part in parts_of(index)
    )


def _is_integer(part: Any) -> bool:
    return isinstance(part, int | np.integer) and not isinstance(part, bool | np.bool_)


def settled(trace: Recorder, part: Any) -> Any:
    """A part of an index: a number of Python's must be known, a known array is NumPy's."""
    if type(part) is TracedNumber:
        return trace.operands(part) if part.dim is not None else operator.index(part)
    if type(part) is slice:
        bounds = (part.start, part.stop, part.step)
        return slice(*(settled(trace, bound) for bound in bounds))
    if type(part) is TracedArray and part.static is not None:
        return part.static[()] if part.static.ndim == 0 else part.static
    return trace.operands(part)


def getitem(trace: Recorder, array: TracedArray, index: Any) -> Any:
    """array[index]: a view where NumPy gives one."""
    if not array.scalar and whole(array.kind[0], index):
        return array.alias()
    parts = tuple(settled(trace, part) for part in parts_of(index))
    if array.static is not None and not trace.any_traced(index):
        return _known_item(trace, array, parts)
    where = parts if type(index) is tuple else parts[0]
    with trace.located():
        made = library.getitem(array.node, where)
    if not basic(parts):
        traced_scalar = any(isinstance(part, Node) and part.rank == 0 for part in parts)
        return trace.wrap(made, doubts=array.doubt() if traced_scalar else ())
    scalar = made.rank == 0 and Ellipsis not in parts
    return trace.view(array, made, lambda node: library.getitem(node, where), scalar)


def known_of(array: TracedArray) -> Array:
    """The content of an array that is known."""
    assert array.static is not None
    return array.static


def _known_item(trace: Recorder, array: TracedArray, parts: tuple[Any, ...]) -> Any:
    with trace.located():
        made = known_of(array)[parts]
    if not is_a(made, np.ndarray):
        return made
    if not basic(parts):
        return TracedArray(trace, Buffer(made))
    return array.view_by(lambda node: library.getitem(node, parts), static=made)


def whole(shape: Sequence[Any], index: Any) -> bool:
    """Whether an index takes all elements in their order."""
    parts = parts_of(index)
    if not all(map(_plain, parts)) or parts.count(Ellipsis) > 1:
        return False
    if len(parts) - parts.count(Ellipsis) > len(shape):
        return False
    return all(part is Ellipsis or _all(part, size) for part, size in _by_axis(parts, shape))


def _plain(part: Any) -> bool:
    return part is Ellipsis or type(part) is slice


def _by_axis(parts: tuple[Any, ...], shape: Sequence[Any]) -> list[tuple[Any, Any]]:
    """Each slice with the size of its axis."""
    before = parts.index(Ellipsis) if Ellipsis in parts else len(parts)
    after = parts[before + 1 :]
    sizes = list(shape[:before]) + (list(shape[len(shape) - len(after) :]) if after else [])
    return list(zip((*parts[:before], *after), sizes, strict=True))


def _all(part: slice, size: Any) -> bool:
    if part == slice(None) or part == slice(None, None, 1):
        return True
    ends = (part.start, part.stop, part.step)
    if not isinstance(size, int) or not all(end is None or type(end) is int for end in ends):
        return False
    return part.indices(size) == (0, size, 1)


def setitem(trace: Recorder, array: TracedArray, index: Any, value: Any) -> None:
    """array[index] = value."""
    if array.scalar:
        raise TypeError(f"{array.dtype.type.__name__!r} object does not support item assignment")
    if array.static is not None and not trace.any_traced((index, value)):
        check_writable(trace, array, known=True)
        known = trace.statics(value, {})
        parts = tuple(settled(trace, part) for part in parts_of(index))
        with trace.located():
            known_of(array)[parts] = known
        array.buffer.touch()
        return
    if not whole(array.kind[0], index):
        raise trace.fail(
            "writing to a part of an array is not supported yet",
            "Write to the whole (x[:] = ...), or build the array by np.where, np.stack or "
            "np.concatenate.",
        )
    assign(trace, array, value, "unsafe")


def assign(trace: Recorder, array: TracedArray, value: Any, casting: str) -> None:
    """Write a value to the whole of an array, broadcast and cast as NumPy does."""
    check_writable(trace, array)
    shape, dtype = array.kind
    with trace.located():
        if type(value) is TracedArray and not castable(value.dtype, dtype, casting):
            raise TypeError(f"Cannot cast from {value.dtype!r} to {dtype!r} ({casting})")
        node = cast(lift(trace.operands(value)), dtype)
        if node.shape != shape:
            node = fitted(node, shape)
    trace.record([node])
    array.buffer.write(node)


def fitted(node: Node, shape: Sequence[Any]) -> Node:
    """A value broadcast to a shape; leading axes of size 1 may be too many."""
    excess = (node.rank or 0) - len(shape)
    if excess > 0 and all(size == 1 for size in (node.shape or ())[:excess]):
        node = library.FUNCTIONS["squeeze"](node, axis=tuple(range(excess)))
    made: Node = library.FUNCTIONS["broadcast_to"](node, tuple(shape))
    return made


def check_writable(trace: Recorder, array: TracedArray, *, known: bool = False) -> None:
    """Raise for an array that cannot be written to, or not yet; `known`: of what is known."""
    if array.static is not None and not array.static.flags.writeable:
        raise ValueError("assignment destination is read-only")
    if array.buffer.origin == "captured":
        raise trace.fail(
            "writing to an array from outside the function is not supported yet",
            "Pass the array as an argument.",
        )
    if known:
        return
    if array.path:
        raise trace.fail(
            "writing through a view of an array is not supported yet",
            "Write to the array itself, or to a .copy().",
        )
    array.check_certain()
    if any(buffer() is not None for buffer, _, _ in array.doubts):
        raise trace.fail(
            "this array may share memory with another one, so writing to it is not supported yet",
            "Write .copy() where the array is made.",
        )


def outputs(
    trace: Recorder, name: str, out: tuple[Any, ...], made: Any, casting: str, where: Any
) -> Any:
    """Write the results of a function to the arrays given as out=; returns those arrays."""
    results = made if is_a(made, tuple) else (made,)
    given = out if len(out) == len(results) else (*out, *([None] * (len(results) - len(out))))
    back: list[Any] = []
    for target, result in zip(given, results, strict=True):
        if target is None:
            back.append(trace.wrap(result))
            continue
        if type(target) is not TracedArray or target.scalar:
            raise trace.fail(f"numpy.{name}(out=...) to an array from outside is not supported")
        _write_result(trace, name, target, lift(result), casting, where)
        back.append(target)
    return tuple(back) if is_a(made, tuple) else back[0]


def _write_result(
    trace: Recorder, name: str, target: TracedArray, result: Node, casting: str, where: Any
) -> None:
    check_writable(trace, target)
    shape, dtype = target.kind
    with trace.located():
        if not castable(result.dtype.numpy, dtype, casting):
            raise TypeError(
                f"Cannot cast ufunc {name!r} output from {result.dtype.numpy!r} to {dtype!r} with"
                f" casting rule {casting!r}"
            )
        if len(result.shape or ()) > len(shape):
            raise ValueError(f"an output of shape {shape} is too small for the result")
        node = cast(result, dtype)
        if where is not True:
            old = target.node
            node = library.FUNCTIONS["where"](trace.operands(where), node, old)
        if node.shape != shape:
            node = library.FUNCTIONS["broadcast_to"](node, tuple(shape))
    trace.record([node])
    target.buffer.write(node)
