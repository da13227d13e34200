"""`a[index]` and `a[index] = value`."""

from __future__ import annotations

import operator
from types import EllipsisType
from typing import TYPE_CHECKING, Any

import numpy as np

from graphopt.engine.arrays import infer
from graphopt.engine.arrays.access import writable
from graphopt.engine.arrays.handle import Handle
from graphopt.engine.arrays.layout import Layout, Raw, Shape, as_tuple, intern, is_raw, kind_of

if TYPE_CHECKING:
    from graphopt.engine.arrays.ndarray import NDArray

_BASIC = (int, np.integer, slice, EllipsisType, type(None), str)


def get(array: NDArray, index: Any) -> NDArray:
    """A view for a basic index; a copy for a full one, and for arrays as indices.

    A boolean mask is waited for, as the shape of the result depends on it; and a scalar, as it
    chooses a view.
    """
    arrays = array.arrays
    arrays.usable(array)
    parts = tuple(map(_chosen, as_tuple(index)))
    index = parts if len(parts) != 1 else parts[0]
    if _basic(parts):
        if array.layout.scalar:
            array = thawed(array)
        raw = array.data[index]
        if is_raw(raw):
            return arrays.view(raw, array)
        element = arrays.view(_part(array.data, parts), array)
        layout = intern((), element.layout.dtype, None, scalar=True)
        return arrays.run(copied, (element,), {}, (layout,), (None,))[0]
    parts = tuple(_known(each) for each in parts)
    layout = infer.function(operator.getitem, (array.layout, arrays.layouts_only(parts)), {})
    return arrays.run(operator.getitem, (array, parts), {}, (layout,), (None,), "assigned")[0]


def put(array: NDArray, index: Any, value: Any) -> None:
    """Assign to a part of an array."""
    arrays = array.arrays
    arrays.usable(array)
    writable([array])
    parts = as_tuple(index)
    _check_value(array.layout.dtype, value)
    if not isinstance(value, Handle) and not isinstance(value, (int, float, complex, str, bytes)):
        value = np.array(value)
    if _basic(parts):
        raw = _part(array.data, parts)
        if isinstance(value, Handle) and value.block is array.block and _same(value.data, raw):
            return  # the end of `a[index] += ...`
        _check(raw.shape, array.layout.dtype, value)
        if raw.shape == array.data.shape and array.base is None and not _overlaps(value, array):
            arrays.replace(operator.setitem, array, (Ellipsis, value))
        else:
            arrays.change(operator.setitem, array, (Ellipsis, value), {}, raw)
        return
    parts = tuple(as_array(each) for each in parts)
    if not any(isinstance(each, Handle) and each.layout.dtype == bool for each in parts):
        chosen = infer.function(operator.getitem, (array.layout, arrays.layouts_only(parts)), {})
        _check(chosen.shape, array.layout.dtype, value)
    arrays.change(operator.setitem, array, (parts, value), {})


def thawed(scalar: Handle) -> NDArray:
    """A copy of a scalar that can be assigned to: views of scalars are views of copies."""
    layout = intern((), scalar.layout.dtype)
    return scalar.arrays.run(copied, (scalar,), {}, (layout,), (None,))[0]


def copied(source: Raw, target: Raw) -> None:
    """Copy values, converting them."""
    np.copyto(target, source, casting="unsafe")


def _basic(parts: tuple[Any, ...]) -> bool:
    """Whether an index only takes a view."""
    return all(isinstance(each, _BASIC) and kind_of(each) is not bool for each in parts)


def _part(raw: Raw, parts: tuple[Any, ...]) -> Raw:
    """The view that a basic index chooses, of no dimension rather than a scalar."""
    if not any(each is Ellipsis for each in parts):
        parts = (*parts, Ellipsis)
    found: Raw = raw[parts]
    return found


def _chosen(part: Any) -> Any:
    """A part of an index with scalars as values."""
    return int(part.arrays.fetch(part)) if isinstance(part, Handle) and _is_integer(part) else part


def _is_integer(scalar: Handle) -> bool:
    """Whether NumPy would have an integer for it, and no array."""
    return scalar.layout.scalar and scalar.layout.dtype.kind in "iu"


def as_array(value: Any) -> Any:
    """A list, a tuple, or an array that its owner may change, as an array of NumPy's."""
    return np.array(value) if issubclass(kind_of(value), (list, tuple, np.ndarray)) else value


def _known(part: Any) -> Any:
    """A part of an index with masks as values."""
    if isinstance(part, Handle) and part.layout.dtype == bool:
        return part.arrays.fetch(part)
    return as_array(part)


def _same(one: Raw, other: Raw) -> bool:
    """Whether two views are of the very same elements."""
    return (
        one.shape == other.shape
        and one.strides == other.strides
        and one.dtype == other.dtype
        and one.__array_interface__["data"] == other.__array_interface__["data"]
    )


def _overlaps(value: Any, array: Handle) -> bool:
    """Whether a value is read from the array that it is assigned to."""
    return isinstance(value, Handle) and value.block is array.block


def _check(shape: Shape, dtype: np.dtype[Any], value: Any) -> None:
    """Raise what NumPy raises for a value that cannot be assigned."""
    given: Shape = getattr(value, "shape", ())
    leading = max(0, len(given) - len(shape))
    if given[:leading] == (1,) * leading:
        given = given[leading:]
    try:
        fits = np.broadcast_shapes(given, shape) == shape
    except ValueError:
        fits = False
    if not fits:
        found: Any = value
        target = intern(shape, dtype).hollow()
        target[...] = Layout(found.shape, found.dtype, None, scalar=False).hollow()


def _check_value(dtype: np.dtype[Any], value: Any) -> None:
    """Raise for too large an integer, a complex number as a real one, and the like."""
    if isinstance(value, Handle):
        np.empty(0, dtype)[...] = np.empty(0, value.layout.dtype)
    elif is_raw(value):
        np.empty(0, dtype)[...] = np.empty(0, value.dtype)
    elif isinstance(value, (int, float, complex, np.generic)):
        np.empty(1, dtype)[...] = value
