"""Functions of NumPy that ask for less than the content of arrays, or write to them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from graphopt.frontends.trace import writes
from graphopt.frontends.trace.array import TracedArray
from graphopt.frontends.trace.number import TracedNumber
from graphopt.frontends.trace.parts import deeply

if TYPE_CHECKING:
    from graphopt.frontends.trace.record import Recorder


def _as_array(trace: Recorder, a: Any, dtype: Any = None, *args: Any, **kwargs: Any) -> Any:
    """numpy.asarray of an array is that array."""
    real = deeply(lambda item: item, dtype)
    if type(a) is not TracedArray or a.scalar or args or kwargs.get("copy"):
        return NotImplemented
    return a if real is None or np.dtype(real) == a.dtype else NotImplemented


def _copy_to(
    trace: Recorder, dst: Any, src: Any, casting: Any = "same_kind", where: Any = True
) -> Any:
    """numpy.copyto to the whole of an array."""
    if not trace.any_traced((dst, src, where)):
        return NotImplemented
    if where is not True or type(dst) is not TracedArray:
        raise trace.fail("numpy.copyto is supported to the whole of an array alone")
    writes.assign(trace, dst, src, casting)
    return None


def _result_type(trace: Recorder, *items: Any) -> Any:
    """numpy.result_type, which asks for dtypes only."""

    def stand(item: Any) -> Any:
        if type(item) is TracedArray:
            return item.dtype
        return item.__class__(0) if type(item) is TracedNumber else deeply(stand, item)

    return np.result_type(*map(stand, items))


def _size(trace: Recorder, a: Any, axis: Any = None) -> Any:
    """numpy.size."""
    if type(a) is not TracedArray:
        return NotImplemented
    return a.size if axis is None else a.shape[axis]


def _attribute(name: str) -> Callable[..., Any]:
    """A function that asks for an attribute."""

    def get(trace: Recorder, a: Any) -> Any:
        return getattr(a, name) if type(a) is TracedArray else NotImplemented

    return get


def _kind_test(complex_: bool) -> Callable[..., Any]:
    """Whether the dtype is complex, or is not."""

    def test(trace: Recorder, x: Any) -> Any:
        return (x.dtype.kind == "c") is complex_ if type(x) is TracedArray else NotImplemented

    return test


SPECIAL: dict[int, Callable[..., Any]] = {
    id(np.asarray): _as_array,
    id(np.asanyarray): _as_array,
    id(np.copyto): _copy_to,
    id(np.ndim): _attribute("ndim"),
    id(np.result_type): _result_type,
    id(np.shape): _attribute("shape"),
    id(np.size): _size,
    id(np.iscomplexobj): _kind_test(True),
    id(np.isrealobj): _kind_test(False),
}
"""Functions that ask for less than the content, or write; by the function's id."""
