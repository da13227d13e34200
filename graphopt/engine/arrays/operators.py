"""The operators of arrays: each pushes a universal function."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from graphopt.engine.arrays import ufuncs
from graphopt.engine.arrays.handle import Handle, Operand

if TYPE_CHECKING:
    from graphopt.engine.arrays.ndarray import NDArray

# An operator is one call above `binary`, which looks two frames up for the user's line.


class Operators(Handle):
    """Arithmetic, comparisons and bit operations, element by element, and the matrix product."""

    __slots__ = ()
    __hash__ = None  # type: ignore[assignment]  # == is element by element

    def __add__(self, other: Operand) -> NDArray:
        return ufuncs.binary(np.add, self, other)

    def __radd__(self, other: Operand) -> NDArray:
        return ufuncs.binary(np.add, other, self)

    def __iadd__(self, other: Operand) -> NDArray:
        return ufuncs.inplace(np.add, self, other)

    def __sub__(self, other: Operand) -> NDArray:
        return ufuncs.binary(np.subtract, self, other)

    def __rsub__(self, other: Operand) -> NDArray:
        return ufuncs.binary(np.subtract, other, self)

    def __isub__(self, other: Operand) -> NDArray:
        return ufuncs.inplace(np.subtract, self, other)

    def __mul__(self, other: Operand) -> NDArray:
        return ufuncs.binary(np.multiply, self, other)

    def __rmul__(self, other: Operand) -> NDArray:
        return ufuncs.binary(np.multiply, other, self)

    def __imul__(self, other: Operand) -> NDArray:
        return ufuncs.inplace(np.multiply, self, other)

    def __truediv__(self, other: Operand) -> NDArray:
        return ufuncs.binary(np.divide, self, other)

    def __rtruediv__(self, other: Operand) -> NDArray:
        return ufuncs.binary(np.divide, other, self)

    def __itruediv__(self, other: Operand) -> NDArray:
        return ufuncs.inplace(np.divide, self, other)

    def __floordiv__(self, other: Operand) -> NDArray:
        return ufuncs.binary(np.floor_divide, self, other)

    def __rfloordiv__(self, other: Operand) -> NDArray:
        return ufuncs.binary(np.floor_divide, other, self)

    def __ifloordiv__(self, other: Operand) -> NDArray:
        return ufuncs.inplace(np.floor_divide, self, other)

    def __mod__(self, other: Operand) -> NDArray:
        return ufuncs.binary(np.remainder, self, other)

    def __rmod__(self, other: Operand) -> NDArray:
        return ufuncs.binary(np.remainder, other, self)

    def __imod__(self, other: Operand) -> NDArray:
        return ufuncs.inplace(np.remainder, self, other)

    def __pow__(self, other: Operand) -> NDArray:
        return ufuncs.power(self, other)

    def __rpow__(self, other: Operand) -> NDArray:
        return ufuncs.power(other, self)

    def __ipow__(self, other: Operand) -> NDArray:
        return ufuncs.inplace_power(self, other)

    def __matmul__(self, other: Operand) -> NDArray:
        return ufuncs.binary(np.matmul, self, other)

    def __rmatmul__(self, other: Operand) -> NDArray:
        return ufuncs.binary(np.matmul, other, self)

    def __imatmul__(self, other: Operand) -> NDArray:
        return ufuncs.inplace(np.matmul, self, other)

    def __and__(self, other: Operand) -> NDArray:
        return ufuncs.binary(np.bitwise_and, self, other)

    def __rand__(self, other: Operand) -> NDArray:
        return ufuncs.binary(np.bitwise_and, other, self)

    def __iand__(self, other: Operand) -> NDArray:
        return ufuncs.inplace(np.bitwise_and, self, other)

    def __or__(self, other: Operand) -> NDArray:
        return ufuncs.binary(np.bitwise_or, self, other)

    def __ror__(self, other: Operand) -> NDArray:
        return ufuncs.binary(np.bitwise_or, other, self)

    def __ior__(self, other: Operand) -> NDArray:
        return ufuncs.inplace(np.bitwise_or, self, other)

    def __xor__(self, other: Operand) -> NDArray:
        return ufuncs.binary(np.bitwise_xor, self, other)

    def __rxor__(self, other: Operand) -> NDArray:
        return ufuncs.binary(np.bitwise_xor, other, self)

    def __ixor__(self, other: Operand) -> NDArray:
        return ufuncs.inplace(np.bitwise_xor, self, other)

    def __lshift__(self, other: Operand) -> NDArray:
        return ufuncs.binary(np.left_shift, self, other)

    def __rlshift__(self, other: Operand) -> NDArray:
        return ufuncs.binary(np.left_shift, other, self)

    def __ilshift__(self, other: Operand) -> NDArray:
        return ufuncs.inplace(np.left_shift, self, other)

    def __rshift__(self, other: Operand) -> NDArray:
        return ufuncs.binary(np.right_shift, self, other)

    def __rrshift__(self, other: Operand) -> NDArray:
        return ufuncs.binary(np.right_shift, other, self)

    def __irshift__(self, other: Operand) -> NDArray:
        return ufuncs.inplace(np.right_shift, self, other)

    def __lt__(self, other: Operand) -> NDArray:
        return ufuncs.binary(np.less, self, other)

    def __le__(self, other: Operand) -> NDArray:
        return ufuncs.binary(np.less_equal, self, other)

    def __gt__(self, other: Operand) -> NDArray:
        return ufuncs.binary(np.greater, self, other)

    def __ge__(self, other: Operand) -> NDArray:
        return ufuncs.binary(np.greater_equal, self, other)

    def __eq__(self, other: Operand) -> NDArray:  # type: ignore[override]  # no bool
        return ufuncs.binary(np.equal, self, other)

    def __ne__(self, other: Operand) -> NDArray:  # type: ignore[override]  # no bool
        return ufuncs.binary(np.not_equal, self, other)

    def __neg__(self) -> NDArray:
        return ufuncs.call(np.negative, (self,), {})

    def __pos__(self) -> NDArray:
        return ufuncs.call(np.positive, (self,), {})

    def __abs__(self) -> NDArray:
        return ufuncs.call(np.absolute, (self,), {})

    def __invert__(self) -> NDArray:
        return ufuncs.call(np.invert, (self,), {})

    def __divmod__(self, other: Operand) -> tuple[NDArray, NDArray]:
        return ufuncs.call(np.divmod, (self, other), {})

    def __rdivmod__(self, other: Operand) -> tuple[NDArray, NDArray]:
        return ufuncs.call(np.divmod, (other, self), {})
