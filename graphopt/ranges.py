"""What is proven of all elements of a value: bounds, NaN, the sign of zero, whole numbers.

    facts_of(relu(x))        # low 0, high inf, perhaps NaN, never -0.0

An op declares beside its kernel how the facts of its result follow from those of its inputs
(`Op.bounds`). Facts are a function of the node alone, as its type is, so they are kept for as long
as the node lives. Bounds hold on every backend, as far as the op's error bound (`Facts.ulps`) does;
whether a zero is negative is told of the reference backend's arithmetic.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from math import floor, frexp, inf, isinf, ldexp
from typing import TYPE_CHECKING, Any, cast
from weakref import WeakKeyDictionary

from graphopt.dims import lower
from graphopt.ir import Node
from graphopt.types import DType, TensorType, TupleType, Type

if TYPE_CHECKING:
    import numpy as np

    from graphopt.op import BoundsRule, Proven
    from graphopt.tensor import Tensor

MAX_READ = 1 << 20
"""Constants of more bytes are not read (those that store one element for all are)."""


@dataclass(frozen=True, slots=True)
class ValueFacts:
    """What holds of every element of a value; of an empty one everything does.

    `low` and `high` bound, inclusively, every element that is not NaN: exact ints where the dtype
    is one of integers, 0 and 1 for bools. `integer_valued`: every finite element is a whole number.
    """

    low: float
    high: float
    may_be_nan: bool = False
    may_be_negative_zero: bool = False
    integer_valued: bool = False

    @property
    def non_negative(self) -> bool:
        """Whether no element is less than 0; one may be NaN or -0.0."""
        return self.low >= 0

    @property
    def positive(self) -> bool:
        """Whether every element is greater than 0, or NaN."""
        return self.low > 0

    @property
    def finite(self) -> bool:
        """Whether no element is NaN or infinite."""
        return not self.may_be_nan and self.low > -inf and self.high < inf

    @property
    def has_zero(self) -> bool:
        """Whether an element may be 0.0 or -0.0."""
        return self.low <= 0 <= self.high

    def union(self, other: ValueFacts) -> ValueFacts:
        """What holds of the elements of two values."""
        if other is self:
            return self
        return ValueFacts(
            min(self.low, other.low),
            max(self.high, other.high),
            self.may_be_nan or other.may_be_nan,
            self.may_be_negative_zero or other.may_be_negative_zero,
            self.integer_valued and other.integer_valued,
        )


ANYTHING = ValueFacts(-inf, inf, may_be_nan=True, may_be_negative_zero=True)
"""What is known of a value that is no tensor of real numbers."""


@cache
def top_of(dtype: DType) -> ValueFacts:
    """What holds of any tensor of a dtype."""
    if dtype.is_integer:
        low, high = integer_limits(dtype)
        return ValueFacts(low, high, integer_valued=True)
    return ValueFacts(0, 1, integer_valued=True) if dtype is DType.BOOL else ANYTHING


def integer_limits(dtype: DType) -> tuple[int, int]:
    """The least and the greatest number of a dtype of integers."""
    low = -(1 << (dtype.bits - 1)) if dtype.kind == "i" else 0
    return low, low + (1 << dtype.bits) - 1


# Rounding outwards.

_FORMATS = {
    "float64": (53, -1021, 1024),
    "float32": (24, -125, 128),
    "float16": (11, -13, 16),
    "bfloat16": (8, -125, 128),
}
"""The bits of a number, and the exponents (as by frexp) of the least normal and the greatest."""


def epsilon(dtype: DType) -> float:
    """The distance from 1 to the next greater number of a float dtype of 16 bits or more."""
    return ldexp(1.0, 1 - _FORMATS[dtype.label][0])


def outward(dtype: DType, low: float, high: float) -> tuple[float, float]:
    """The nearest numbers of a float dtype that enclose an interval, infinities among them.

    A bound that is subnormal becomes 0, since some backends flush such numbers.
    """
    return -_ceiling(dtype, -low), _ceiling(dtype, high)


def _ceiling(dtype: DType, bound: float) -> float:
    """The least number of a dtype that is no less than `bound`, or 0 for a negative subnormal."""
    if bound == 0 or isinf(bound):
        return bound + 0.0
    bits, least, greatest = _FORMATS[dtype.label]
    _, exponent = frexp(bound)
    if exponent > greatest:
        return inf if bound > 0 else -_greatest(dtype)
    if exponent < least:
        return ldexp(1.0, least - 1) if bound > 0 else 0.0
    shift = exponent - bits
    made = -floor(-ldexp(bound, -shift))
    return inf if exponent == greatest and made == 1 << bits else ldexp(made, shift)


def _greatest(dtype: DType) -> float:
    bits, _, greatest = _FORMATS[dtype.label]
    return ldexp((1 << bits) - 1, greatest - bits)


# Facts of nodes.

Found = ValueFacts | tuple[ValueFacts, ...] | None
"""The facts of a node: of each output if it has several; None of an input that is left out."""
_memo: WeakKeyDictionary[Node, Found] = WeakKeyDictionary()


def facts_of(value: Node) -> ValueFacts:
    """What is proven of a value. Never raises; of no tensor of numbers it is `ANYTHING`."""
    found = _memo.get(value)
    if found is None:
        _derive(value)
        found = _memo[value]
    return found if isinstance(found, ValueFacts) else ANYTHING


def _derive(value: Node) -> None:
    """Note the facts of a value and of all that they follow from, operands first."""
    stack = [value]
    while stack:
        node = stack[-1]
        if node in _memo:
            stack.pop()
            continue
        pending = [item for item in _asked(node) if item not in _memo]
        if pending:
            stack += pending
        else:
            _memo[node] = _found(node)
            stack.pop()


def _asked(node: Node) -> tuple[Node, ...]:
    """The operands that a node's facts follow from."""
    if _is_known(node.derived_type):
        return ()
    if node.op.bounds_rule is not None:
        return node.inputs
    moves = node.op.facts.moves or node.op.name in _WHOLE
    return node.inputs[:1] if moves and node.inputs else ()


_WHOLE = frozenset({"Out", "Barrier", "Refine"})
"""Ops of the graph's structure whose result is their operand, or one output of it."""


def _found(node: Node) -> Found:
    kind, op = node.derived_type, node.op
    if op.bounds_rule is not None and not _is_known(kind):
        return _by_rule(node, kind, op.bounds_rule)
    if node.is_absent:
        return None
    if _is_known(kind):
        return _with_known(kind, top_of_type(kind))
    if op.name == "Out":
        several, index = _memo[node.inputs[0]], int(node.attrs["index"])
        made = several[index] if isinstance(several, tuple) else top_of_type(kind)
        return _with_known(kind, made)
    if op.name == "Constant":
        return _of_constant(node.attrs["value"])
    if (op.facts.moves or op.name in _WHOLE) and node.inputs:
        found = _memo[node.inputs[0]]
        if isinstance(found, ValueFacts):
            if isinstance(kind, TupleType):
                return (found,) * len(kind.elements)
            return _with_known(kind, found)
    if isinstance(kind, TupleType):
        return tuple(map(top_of_type, kind.elements))
    return _with_known(kind, top_of_type(kind))


def _by_rule(node: Node, kind: Type, rule: BoundsRule) -> Found:
    """The facts by the op's own rule, which sees those of the inputs (None: absent)."""
    kinds = kind.elements if isinstance(kind, TupleType) else (kind,)
    for each in kinds:
        if not isinstance(each, TensorType):
            return tuple(map(top_of_type, kinds)) if isinstance(kind, TupleType) else ANYTHING
    operands: list[ValueFacts | None] = []
    for item in node.inputs:
        found = _memo[item]
        operands.append(found if isinstance(found, ValueFacts) else None)
    if not node.op.variadic:
        operands += [None] * (len(node.op.inputs) - len(operands))
    made = cast("Callable[..., Proven]", rule)(node, *operands)
    if isinstance(made, tuple):
        return tuple(map(_settled, kinds, made))
    return _settled(kind, made)


def top_of_type(kind: Type) -> ValueFacts:
    """What holds of any value of a type."""
    return top_of(kind.dtype) if isinstance(kind, TensorType) else ANYTHING


def _settled(kind: Type, made: ValueFacts) -> ValueFacts:
    """What a rule found, in terms of the dtype: integers wrap around, floats overflow."""
    assert isinstance(kind, TensorType)
    dtype, low, high = kind.dtype, made.low, made.high
    if dtype.label in _FORMATS:
        if not low <= high:  # nothing was found, or no element is a number
            return ANYTHING
        low, high = outward(dtype, low, high)
        zero = made.may_be_negative_zero and low <= 0 <= high
        if low == made.low and high == made.high and zero == made.may_be_negative_zero:
            return made
        return ValueFacts(low, high, made.may_be_nan, zero, made.integer_valued)
    top = top_of(dtype)
    if dtype.is_float or not top.low <= low <= high <= top.high:
        return _with_known(kind, top)
    return _with_known(kind, ValueFacts(low, high, integer_valued=True))


def _is_known(kind: Type) -> bool:
    """Whether a type tells every element of its values."""
    if type(kind) is not TensorType or not kind.known:
        return False
    return all(isinstance(item, int) for item in kind.known)


def _with_known(kind: Type, made: ValueFacts) -> ValueFacts:
    """`made`, narrowed by the elements that the type itself knows."""
    if not isinstance(kind, TensorType) or not kind.known or kind.dtype.kind not in "iub":
        return made
    top = top_of(kind.dtype)
    lows: list[Any] = [top.low if item is None else lower(item) for item in kind.known]
    exact = all(isinstance(item, int) for item in kind.known)
    low = min(top.low if item is None else int(item) for item in lows)
    high = max(map(int, kind.known)) if exact else top.high
    narrowed = ValueFacts(max(low, made.low), min(high, made.high), integer_valued=True)
    return narrowed if narrowed.low <= narrowed.high else made


def _of_constant(tensor: Tensor) -> ValueFacts:
    """What holds of a constant: all that its elements show, if they are few enough to be read."""
    dtype = tensor.dtype
    if dtype.kind not in "iubf" or not tensor.size:
        return top_of(dtype)
    if not tensor.is_splat and tensor.nbytes > MAX_READ:
        return top_of(dtype)
    import numpy as np

    array = np.asarray(tensor.element) if tensor.is_splat else tensor.array
    if not dtype.is_float:
        wide = array.astype(np.int8) if 0 < dtype.bits < 8 else array
        return ValueFacts(int(wide.min()), int(wide.max()), integer_valued=True)
    return _of_floats(dtype, array.astype(np.float32 if dtype.bits < 32 else array.dtype))


def _of_floats(dtype: DType, array: np.ndarray[Any, Any]) -> ValueFacts:
    import numpy as np

    numbers = array[~np.isnan(array)]
    if not numbers.size:
        return ANYTHING
    finite = numbers[np.isfinite(numbers)]
    low, high = float(numbers.min()), float(numbers.max())
    if dtype.label in _FORMATS:
        low, high = outward(dtype, low, high)
    return ValueFacts(
        low,
        high,
        numbers.size < array.size,
        bool(np.any((numbers == 0) & np.signbit(numbers))),
        bool(np.all(finite == np.rint(finite))),
    )
