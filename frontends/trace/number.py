"""A Python number that a traced function sees: an argument, what follows from it, or a size.

With arrays it is weak, as Python's numbers are: only its kind counts for the dtype. Of Python's own
arithmetic only that of floats without exceptions, and that of sizes, is traced; where more is
wanted the trace starts again with the number known.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from graphopt import dims
from graphopt.dims import Dim, Size
from graphopt.frontends.trace.array import TracedArray
from graphopt.frontends.trace.kinds import class_of
from graphopt.frontends.trace.trace import live_trace
from graphopt.ir import Node
from graphopt.ops import arithmetic
from graphopt.structural import constant

if TYPE_CHECKING:
    from graphopt.frontends.trace.record import Recorder

PYTHON = {"i": int, "f": float, "c": complex}
ARRAYS = (np.ndarray, np.generic)


class TracedNumber:
    """See the module's text. Of a size that is not known, `dim` is the expression."""

    __slots__ = ("_node", "dim", "trace")

    def __init__(self, trace: Recorder, node: Node, dim: Dim | None = None) -> None:
        self.trace = trace
        self._node = node
        self.dim = dim

    @property  # type: ignore[misc]  # isinstance(x, np.ndarray) must hold in the program
    def __class__(self) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        return PYTHON[self._node.dtype.kind]

    @property
    def node(self) -> Node:
        """The number as a value of the graph."""
        live_trace(self)
        return self._node

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        return self.trace.ufunc(ufunc, method, inputs, kwargs)

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        return self.trace.function(func, args, kwargs)

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        return np.array(self.value("the value of a number"), dtype)

    def value(self, what: str) -> Any:
        """Never returns: asks for the number to be known."""
        if self.dim is not None:
            raise self.trace.fail(
                f"{what}: the size {self.dim} is not known while the function is traced",
                "The function is traced for all sizes of an axis that has a name.",
                "Give the size as a number in the TensorSpec.",
            )
        raise self.trace.needs_value(self.node, what)

    def combine(self, name: str, other: Any, swapped: bool) -> Any:
        """The number ∘ other as Python has it."""
        if type(other) is not TracedNumber and type(other) not in (bool, int, float, complex):
            return NotImplemented
        mine, others = size_of(self), size_of(other)
        if mine is not None and others is not None and name in SIZES:
            a, b = (others, mine) if swapped else (mine, others)
            if name in ("add", "sub", "mul") or dims.positive(b):
                return self.trace.size(SIZES[name](a, b))
        kinds = {kind_of(self), kind_of(other)}
        if name in FLOATS and (kinds == {"f"} or (kinds == {"f", "i"} and type(other) is int)):
            x, y = as_float(self), as_float(other)
            node = FLOATS[name](y, x) if swapped else FLOATS[name](x, y)
            self.trace.record([node])
            return TracedNumber(self.trace, node)
        return getattr(math_of(self), f"__{'r' if swapped else ''}{name}__")(other)

    def __neg__(self) -> Any:
        return self.combine("mul", -1, False) if self.dim is not None else self.negated()

    def negated(self) -> Any:
        """-x of a float."""
        if kind_of(self) != "f":
            return -self.value("the value of a number")
        return self.combine("mul", -1.0, False)

    def __pos__(self) -> Any:
        return self

    def compare(self, other: Any, test: Callable[[int], bool], what: str) -> Any:
        """Whether a test holds of the difference to another number."""
        if isinstance(other, ARRAYS) or type(other) is TracedArray:
            return NotImplemented
        mine, others = size_of(self), size_of(other)
        if mine is not None and others is not None:
            decided = decide(mine - others, test)
            if decided is not None:
                return decided
        return self.value(what)

    def __eq__(self, other: object) -> Any:
        if isinstance(other, str | bytes | type(None)):
            return False
        return self.compare(other, lambda d: d == 0, "a comparison of a number")

    def __ne__(self, other: object) -> Any:
        if isinstance(other, str | bytes | type(None)):
            return True
        return self.compare(other, lambda d: d != 0, "a comparison of a number")

    def __lt__(self, other: Any) -> Any:
        return self.compare(other, lambda d: d < 0, "a comparison of a number")

    def __le__(self, other: Any) -> Any:
        return self.compare(other, lambda d: d <= 0, "a comparison of a number")

    def __gt__(self, other: Any) -> Any:
        return self.compare(other, lambda d: d > 0, "a comparison of a number")

    def __ge__(self, other: Any) -> Any:
        return self.compare(other, lambda d: d >= 0, "a comparison of a number")

    def __hash__(self) -> int:
        return hash(self.value("the hash of a number"))

    def __bool__(self) -> bool:
        if self.dim is not None and dims.positive(self.dim):
            return True
        return bool(self.value("the truth of a number"))

    def __index__(self) -> int:
        return int(self.value("a number used as an index, a size or a count"))

    def __int__(self) -> int:
        return int(self.value("the value of a number"))

    def __float__(self) -> float:
        return float(self.value("the value of a number"))

    def __abs__(self) -> Any:
        return abs(self.value("the value of a number"))

    def __round__(self, ndigits: int | None = None) -> Any:
        return round(self.value("the value of a number"), ndigits)

    def __floor__(self) -> int:
        floor: int = math.floor(self.value("the value of a number"))
        return floor

    def __complex__(self) -> complex:
        return complex(self.value("the value of a number"))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or not hasattr(PYTHON[self._node.dtype.kind], name):
            raise AttributeError(name)
        return getattr(self.value(f"the attribute {name} of a number"), name)

    def __repr__(self) -> str:
        return (
            f"traced {PYTHON[self._node.dtype.kind].__name__}"
            if self.dim is None
            else str(self.dim)
        )

    def __format__(self, spec: str) -> str:
        return repr(self)


def math_of(number: TracedNumber) -> Any:
    """The number itself as Python has it, which is asked for by raising."""
    return number.value("the value of a number")


def size_of(value: Any) -> Size | None:
    """A number as a size, None of what is none."""
    if type(value) is TracedNumber:
        return value.dim
    return int(value) if type(value) in (int, bool) else None


def kind_of(value: Any) -> str:
    """The kind of a Python number, traced or not."""
    return value.node.dtype.kind if type(value) is TracedNumber else np.dtype(class_of(value)).kind


def as_float(value: Any) -> Node:
    """A float, or an int that is known, as a float64 of the graph."""
    return value.node if type(value) is TracedNumber else constant(float(value))


def decide(difference: Size, test: Callable[[int], bool]) -> bool | None:
    """What a test says of a difference of sizes, None where it is not proven."""
    if isinstance(difference, int):
        return test(difference)
    low, high = dims.lower(difference), dims.lower(-difference)
    signs = (1,) if low is not None and low > 0 else (0, 1) if low == 0 else (-1, 0, 1)
    if high is not None and high >= 0:
        signs = (-1,) if high > 0 else (-1, 0)
    answers = {test(sign) for sign in signs}
    return answers.pop() if len(answers) == 1 else None


def modulo(a: Size, b: Size) -> Size:
    """a % b of sizes."""
    return a - dims.floordiv(a, b) * b


SIZES: dict[str, Callable[[Size, Size], Size]] = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "floordiv": dims.floordiv,
    "mod": modulo,
}
FLOATS = {"add": arithmetic.add, "sub": arithmetic.sub, "mul": arithmetic.mul}
NAMES = "add sub mul truediv floordiv mod divmod pow lshift rshift and or xor".split()


def operator(name: str, swapped: bool) -> Callable[[Any, Any], Any]:
    """An operator of Python on traced numbers."""
    return lambda self, other: self.combine(name, other, swapped)


for _name in NAMES:
    setattr(TracedNumber, f"__{_name}__", operator(_name, False))
    setattr(TracedNumber, f"__r{_name}__", operator(_name, True))
