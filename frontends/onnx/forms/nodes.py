"""What forms are written with: ops of ai.onnx over values and Python numbers."""

from __future__ import annotations

from collections.abc import Callable

from graphopt.ir import Node
from graphopt.op import Op
from graphopt.ops import arithmetic, functions, logic
from graphopt.ops.cast import cast as cast_op
from graphopt.structural import constant
from graphopt.types import DType

Operand = Node | int | float
"""A number stands for a constant in the dtype of the values beside it."""
Form = Callable[..., Node]


def apply(op: Op, *operands: Operand) -> Node:
    """The value of an op whose operands have one dtype."""
    dtype = next(item.dtype for item in operands if isinstance(item, Node))
    made: Node = op(*(_lifted(item, dtype) for item in operands))
    return made


def _lifted(operand: Operand, dtype: DType) -> Node:
    return operand if isinstance(operand, Node) else constant(operand, dtype)


def add(x: Operand, y: Operand) -> Node:
    """x + y."""
    return apply(arithmetic.add, x, y)


def sub(x: Operand, y: Operand) -> Node:
    """x - y."""
    return apply(arithmetic.sub, x, y)


def mul(x: Operand, y: Operand) -> Node:
    """x * y."""
    return apply(arithmetic.mul, x, y)


def div(x: Operand, y: Operand) -> Node:
    """x / y; of integers rounded toward 0."""
    return apply(arithmetic.div, x, y)


def mod(x: Operand, y: Operand, *, fmod: int = 0) -> Node:
    """The remainder with the sign of y (integers), with `fmod` that of x."""
    dtype = next(item.dtype for item in (x, y) if isinstance(item, Node))
    made: Node = arithmetic.mod(_lifted(x, dtype), _lifted(y, dtype), fmod=fmod)
    return made


def minus(x: Node) -> Node:
    """-x; integers wrap around."""
    return apply(functions.neg, x) if x.dtype.kind == "f" else sub(0, x)


def absolute(x: Node) -> Node:
    """|x|."""
    return apply(functions.absolute, x)


def equal(x: Operand, y: Operand) -> Node:
    """Whether x = y."""
    return apply(logic.equal, x, y)


def less(x: Operand, y: Operand) -> Node:
    """Whether x < y."""
    return apply(logic.less, x, y)


def either(*tests: Node) -> Node:
    """Whether a test holds."""
    made, *rest = tests
    for test in rest:
        made = apply(logic.or_, made, test)
    return made


def negation(test: Node) -> Node:
    """Whether a test does not hold."""
    return apply(logic.not_, test)


def is_nan(x: Node) -> Node:
    """Whether x is not a number."""
    return apply(logic.is_nan, x)


def is_inf(x: Node) -> Node:
    """Whether x is infinite."""
    return apply(logic.is_inf, x)


def where(test: Node, x: Operand, y: Operand) -> Node:
    """x where the test holds, else y; one of them is no number."""
    dtype = next(item.dtype for item in (x, y) if isinstance(item, Node))
    made: Node = logic.where(test, _lifted(x, dtype), _lifted(y, dtype))
    return made


def cast(x: Node, dtype: DType) -> Node:
    """x in another dtype; itself where it has it. Known integers stay known."""
    if x.dtype is dtype:
        return x
    known = x.constant
    if known is not None and known.dtype.is_integer and dtype.is_integer:
        return constant(known.array.astype(dtype.numpy))
    made: Node = cast_op(x, to=dtype)
    return made


def widened(form: Form) -> Form:
    """A form whose float16 operands are computed in float32 and rounded once."""

    def wide(*values: Node) -> Node:
        if values[0].dtype is not DType.FLOAT16:
            return form(*values)
        narrow = DType.FLOAT16
        made = form(*(cast(v, DType.FLOAT32) if v.dtype is narrow else v for v in values))
        return cast(made, narrow)

    wide.__doc__ = form.__doc__
    return wide


WIDE = {
    **dict.fromkeys((DType.INT8, DType.INT16, DType.UINT8, DType.UINT16), DType.INT32),
    DType.UINT32: DType.INT64,
}
"""The dtype in which integers are computed whose own has few kernels; it has all their values."""


def in_wide_integers(form: Form) -> Form:
    """A form whose narrow integers are computed in wide ones, and wrap around in the end."""

    def wide(*values: Node) -> Node:
        dtype = values[0].dtype
        target = WIDE.get(dtype, dtype)
        return cast(form(*(cast(value, target) for value in values)), dtype)

    wide.__doc__ = form.__doc__
    return wide
