"""What NumPy's functions take: values of the graph, arrays and Python numbers, and their dtypes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

import numpy as np

from graphopt.dims import Size
from graphopt.errors import UnsupportedError
from graphopt.ir import Node
from graphopt.ops import complexes
from graphopt.ops.cast import cast as cast_op
from graphopt.ops.logic import or_
from graphopt.ops.shape import unsqueeze
from graphopt.ops.slicing import concat
from graphopt.structural import constant
from graphopt.types import dtype_of

Array = np.ndarray[Any, Any]
NumpyDType = np.dtype[Any]


@dataclass(frozen=True, slots=True)
class WeakScalar:
    """A Python number that is traced: in a promotion only its kind counts, not its dtype."""

    node: Node


Operand = Node | WeakScalar | bool | int | float | complex | np.ndarray | np.generic
"""An argument of a function: traced (`Node`, `WeakScalar`) or known."""

untyped: Any = np
"""NumPy, to judge for itself what it is given."""

WEAK: dict[str, type[Any]] = {"i": int, "u": int, "f": float, "c": complex}
"""The Python type that stands for a weak number of a dtype's kind; bool is not weak."""


def is_sequence(value: object) -> TypeGuard[Sequence[Any]]:
    """Whether a value is a list or a tuple."""
    return isinstance(value, list | tuple)


def is_array(value: object) -> TypeGuard[Array]:
    """Whether a value is an array of NumPy."""
    return isinstance(value, np.ndarray)


def is_slice(value: object) -> TypeGuard[Any]:
    """Whether a value is a slice, of whose bounds nothing is known."""
    return isinstance(value, slice)


def traced(value: object) -> bool:
    """Whether a value, or an element of a nested list or tuple, is traced.

    >>> traced([1, (2.0, np.zeros(3))])
    False
    """
    if is_sequence(value):
        return any(map(traced, value))
    return isinstance(value, Node | WeakScalar)


def loop_kind(operand: Any) -> Any:
    """What stands for an operand in a promotion: its dtype, or the type of a Python number."""
    if isinstance(operand, WeakScalar):
        return WEAK.get(operand.node.dtype.kind, operand.node.dtype.numpy)
    if isinstance(operand, Node):
        return operand.dtype.numpy
    if isinstance(operand, bool):
        return np.dtype(bool)
    if type(operand) in WEAK.values():
        return operand.__class__
    return untyped.asarray(operand).dtype


def result_dtype(*operands: Any) -> NumpyDType:
    """The dtype that operands have together, by NumPy's promotion; arrays, dtypes and numbers."""
    kinds: list[Any] = [x if isinstance(x, np.dtype) else loop_kind(x) for x in operands]
    made: NumpyDType = np.result_type(*(k(0) if isinstance(k, type) else k for k in kinds))
    return made


def is_weak(operand: Any) -> bool:
    """Whether an operand is a Python number (traced or not) that takes the dtype of others."""
    return isinstance(loop_kind(operand), type)


def lift(operand: Any, dtype: Any = None) -> Node:
    """An operand as a value of the graph, cast to `dtype` where it is given.

    Nested lists become one array, as numpy.array makes it. Raises OverflowError for a Python
    integer that the dtype cannot hold, UnsupportedError for a dtype that tensors cannot have.
    """
    wanted = None if dtype is None else np.dtype(dtype)
    if isinstance(operand, WeakScalar):
        operand = operand.node
    if isinstance(operand, Node):
        return operand if wanted is None else cast(operand, wanted)
    if is_sequence(operand) and traced(operand):
        return _stacked(operand, wanted)
    if type(operand) in (int, float, complex) and wanted is not None:
        return constant(np.array(operand, wanted))
    array: Array = untyped.asarray(operand)
    if wanted is not None and array.dtype != wanted:
        array = array.astype(wanted)
    try:
        dtype_of(array.dtype)
    except TypeError as error:
        raise UnsupportedError(str(error)) from error
    if array.dtype.kind in "OUST":
        raise UnsupportedError(f"an array of {array.dtype} cannot be traced")
    return constant(array)


def _stacked(operand: Sequence[Any], wanted: NumpyDType | None) -> Node:
    rows = [_stacked(row, None) if _nested(row) else row for row in operand]
    dtype = result_dtype(*rows) if wanted is None else wanted
    lifted = [lift(row, dtype) for row in rows]
    first: Node = constant([0])
    made: Node = concat(*(unsqueeze(row, first) for row in lifted), axis=0)
    return made


def _nested(value: object) -> bool:
    return is_sequence(value) and traced(value)  # pyright: ignore[reportUnknownArgumentType]


def cast(x: Node, dtype: Any) -> Node:
    """x as another dtype; itself where it has it.

    Raises UnsupportedError for complex numbers as real ones: no function drops their imaginary part
    without saying so.
    """
    to = dtype_of(np.dtype(dtype))
    if x.dtype is to:
        return x
    made: Node
    if to.kind == "c":
        part = complexes.PARTS[to].numpy
        parts = (x, constant(np.zeros((), part)))
        if x.dtype.kind == "c":
            parts = (complexes.real(x), complexes.imag(x))
        made = complexes.complex_of(*(cast(each, part) for each in parts))
    elif x.dtype.kind == "c" and to.kind == "b":
        made = or_(cast(complexes.real(x), bool), cast(complexes.imag(x), bool))
    elif x.dtype.kind == "c":
        raise UnsupportedError(f"complex numbers where {to} is wanted")
    else:
        made = cast_op(x, to=to)
    return made


def real_only(function: str, *operands: Node) -> None:
    """Refuse complex numbers, for which a function does something else."""
    if any(x.dtype.kind == "c" for x in operands):
        raise UnsupportedError(f"{function}() of complex numbers is not supported")


def numpy_dtype(operand: Any) -> NumpyDType:
    """The dtype that an operand has as an array."""
    if isinstance(operand, WeakScalar):
        operand = operand.node
    if isinstance(operand, Node):
        return operand.dtype.numpy
    if is_sequence(operand) and traced(operand):
        return lift(operand).dtype.numpy
    dtype: NumpyDType = untyped.asarray(operand).dtype
    return dtype


def sizes_of(x: Node) -> tuple[Size, ...]:
    """The sizes of a value; raises UnsupportedError where not even their number is known."""
    shape = x.shape
    if shape is None:
        raise UnsupportedError("the number of axes is not known", at=x.label)
    return shape


def rank_of(x: Node) -> int:
    """The number of axes of a value; raises UnsupportedError where it is not known."""
    return len(sizes_of(x))


def static_size(size: Size, what: str) -> int:
    """A size that must be a number."""
    if isinstance(size, int):
        return size
    raise UnsupportedError(
        f"{what} along an axis whose size ({size}) is not known is not supported"
    )


def static(value: Any, what: str) -> Any:
    """An argument that must not be traced, as it is, but for a traced number that is known.

    Raises UnsupportedError naming the argument.
    """
    node = value.node if isinstance(value, WeakScalar) else value
    if isinstance(node, Node):
        known = node.ints
        if known is None:
            raise UnsupportedError(f"{what} depends on traced values, which is not supported")
        return known[0] if node.rank == 0 else list(known)
    if is_sequence(value):
        made = [static(item, what) for item in value]
        return made if isinstance(value, list) else tuple(made)
    return value


def refuse(function: str, **arguments: Any) -> None:
    """Raise UnsupportedError for an argument that is not None, False or NumPy's "no value"."""
    for name, value in arguments.items():
        if value is not None and value is not False and value is not NO_VALUE:
            raise UnsupportedError(f"{function}({name}=...) is not supported")


NO_VALUE: Any = getattr(np, "_NoValue")  # noqa: B009 - NumPy's own mark, to compare with
"""NumPy's default of arguments that are left out."""


def castable(source: Any, target: Any, casting: Any) -> bool:
    """Whether NumPy casts one dtype to another under a rule that is given by name."""
    return bool(np.can_cast(source, target, casting))
