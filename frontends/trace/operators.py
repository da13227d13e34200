"""Python's operators on traced arrays: each is one ufunc, as on numpy.ndarray."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from graphopt.frontends.trace.kinds import class_of, is_a

BINARY = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "truediv": np.true_divide,
    "floordiv": np.floor_divide,
    "mod": np.remainder,
    "divmod": np.divmod,
    "pow": np.power,
    "lshift": np.left_shift,
    "rshift": np.right_shift,
    "and": np.bitwise_and,
    "or": np.bitwise_or,
    "xor": np.bitwise_xor,
    "matmul": np.matmul,
}
COMPARISONS = {
    "eq": np.equal,
    "ne": np.not_equal,
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
}
UNARY = {
    "neg": np.negative,
    "pos": np.positive,
    "abs": np.absolute,
    "invert": np.invert,
}
FOREIGN = (str, bytes, type(None))
"""What an array is never operated with; comparing for equality gives False."""


def defers(other: Any) -> bool:
    """Whether an operator leaves the work to the other operand, as ndarray's do."""
    own = getattr(class_of(other), "__array_ufunc__", True)
    return own is None or is_a(other, dict | set)


def forward(ufunc: Any) -> Callable[[Any, Any], Any]:
    """x ∘ other."""

    def method(self: Any, other: Any) -> Any:
        if defers(other):
            return NotImplemented
        return self.trace.ufunc(ufunc, "__call__", (self, other), {})

    return method


def reflected(ufunc: Any) -> Callable[[Any, Any], Any]:
    """other ∘ x."""

    def method(self: Any, other: Any) -> Any:
        if defers(other):
            return NotImplemented
        return self.trace.ufunc(ufunc, "__call__", (other, self), {})

    return method


def in_place(ufunc: Any) -> Callable[[Any, Any], Any]:
    """x ∘= other: writes to an array, and binds the name anew where x is a scalar."""

    def method(self: Any, other: Any) -> Any:
        if self.scalar:
            return self.trace.ufunc(ufunc, "__call__", (self, other), {})
        return self.trace.ufunc(ufunc, "__call__", (self, other), {"out": (self,)})

    return method


def comparison(ufunc: Any, name: str) -> Callable[[Any, Any], Any]:
    """A comparison; with None and text only equality means something."""

    def method(self: Any, other: Any) -> Any:
        if isinstance(other, FOREIGN):
            if name in ("eq", "ne"):
                full = np.full(self.kind[0], name == "ne")
                return self.trace.wrap(full if full.ndim else full[()])
            return NotImplemented
        if defers(other):
            return NotImplemented
        return self.trace.ufunc(ufunc, "__call__", (self, other), {})

    return method


def unary(ufunc: Any) -> Callable[[Any], Any]:
    """∘x."""

    def method(self: Any) -> Any:
        return self.trace.ufunc(ufunc, "__call__", (self,), {})

    return method


class Operators:
    """The operators; the functions are set below from the tables."""

    __slots__ = ()


for _name, _ufunc in BINARY.items():
    setattr(Operators, f"__{_name}__", forward(_ufunc))
    setattr(Operators, f"__r{_name}__", reflected(_ufunc))
    if _name != "divmod":
        setattr(Operators, f"__i{_name}__", in_place(_ufunc))
for _name, _ufunc in COMPARISONS.items():
    setattr(Operators, f"__{_name}__", comparison(_ufunc, _name))
for _name, _ufunc in UNARY.items():
    setattr(Operators, f"__{_name}__", unary(_ufunc))
