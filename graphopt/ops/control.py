"""Control flow: If."""

from __future__ import annotations

from graphopt.body import Body
from graphopt.ir import Node
from graphopt.op import Array, Facts, Xp, op, refuse
from graphopt.ops.examples import given
from graphopt.structural import constant
from graphopt.types import (
    UNKNOWN,
    DType,
    MapType,
    OptionalType,
    SequenceType,
    TensorType,
    Type,
    UnknownType,
)


@op("If", facts=Facts(host_inputs=(0,)))
def if_(
    xp: Xp, cond: Array, *captures: Array, then_branch: Body, else_branch: Body, outputs: int = 1
) -> Array | tuple[Array, ...]:
    """The outputs of one of two bodies, both over the captures; cond has one element."""
    made: tuple[Array, ...] = xp.call(then_branch if cond.item() else else_branch, captures)
    return made if outputs > 1 else made[0]


@if_.infer
def _(
    cond: Node, *captures: Node | None, then_branch: Body, else_branch: Body, outputs: int
) -> Type | tuple[Type, ...]:
    if cond.dtype is not DType.BOOL:
        raise refuse(f"the condition is {cond.type}, not bool")
    if any(isinstance(size, int) and size != 1 for size in cond.shape or ()):
        raise refuse(f"the condition is {cond.type}, not one element")
    values = [value for value in captures if value is not None]
    if len(values) < len(captures):
        raise refuse("a capture is missing")
    for name, body in (("then_branch", then_branch), ("else_branch", else_branch)):
        if len(body.outputs) != outputs or outputs < 1:
            raise refuse(f"{name} has {len(body.outputs)} outputs, not {outputs}")
        check_arguments(name, body, values)
    both = zip(then_branch.result_types(values), else_branch.result_types(values), strict=True)
    kinds = tuple(join(a, b) for a, b in both)
    return kinds if outputs > 1 else kinds[0]


def check_arguments(name: str, body: Body, values: list[Node]) -> None:
    """Refuse values that a body's parameters do not take."""
    if len(body.params) != len(values):
        raise refuse(f"{name} takes {len(body.params)} captures, not {len(values)}")
    for wanted, value in zip(body.params, values, strict=True):
        if not fits(wanted, value.derived_type):
            raise refuse(f"{name} takes {wanted}, not {value.type}")


def fits(wanted: Type, given: Type) -> bool:
    """Whether a value of a type may be one of another: named sizes may be any."""
    if isinstance(wanted, TensorType) and isinstance(given, TensorType):
        if wanted.dtype is not given.dtype:
            return False
        if wanted.shape is None or given.shape is None:
            return wanted.shape is None
        return len(wanted.shape) == len(given.shape) and all(
            a == b or not isinstance(a, int) for a, b in zip(wanted.shape, given.shape, strict=True)
        )
    if isinstance(wanted, MapType) and isinstance(given, MapType):
        return wanted.key is given.key and fits(wanted.element, given.element)
    if isinstance(wanted, SequenceType) and isinstance(given, SequenceType):
        return fits(wanted.element, given.element)
    if isinstance(wanted, OptionalType) and isinstance(given, OptionalType):
        return fits(wanted.element, given.element)
    return isinstance(wanted, UnknownType) or wanted == given


def join(a: Type, b: Type) -> Type:
    """The type of a value that is of type a or of type b; raises TypeRuleError if there is none.

    >>> print(join(TensorType(DType.INT8, (2, 3)), TensorType(DType.INT8, (2, 4))))
    int8[2, ?]
    """
    if a == b:
        return a
    if isinstance(a, UnknownType) or isinstance(b, UnknownType):
        return UNKNOWN
    if isinstance(a, TensorType) and isinstance(b, TensorType) and a.dtype is b.dtype:
        if a.shape is None or b.shape is None or len(a.shape) != len(b.shape):
            return TensorType(a.dtype, None)
        made = TensorType(
            a.dtype, tuple(x if x == y else None for x, y in zip(a.shape, b.shape, strict=True))
        )
        if a.known is None or b.known is None or len(a.known) != len(b.known):
            return made
        return made.with_known(x if x == y else None for x, y in zip(a.known, b.known, strict=True))
    if isinstance(a, SequenceType) and isinstance(b, SequenceType):
        return SequenceType(join(a.element, b.element))
    if isinstance(a, OptionalType) and isinstance(b, OptionalType):
        return OptionalType(join(a.element, b.element))
    raise refuse(f"one branch gives {a}, the other {b}")


@if_.examples
def _() -> list[Node]:
    cond = given("cond", dtype=DType.BOOL)
    x = given("x", 2, 3)
    y = given("y", 1, 3)
    first, second = Body.close((), (x, y), (x,)), Body.close((), (x, y), (y,))
    both, swapped = Body.close((), (x, y), (x, y)), Body.close((), (x, y), (y, x))
    number = Body.close((), (), (constant(1),)), Body.close((), (), (constant(2),))
    return [
        if_(cond, x, y, then_branch=first, else_branch=second),
        if_(cond, x, y, then_branch=both, else_branch=swapped, outputs=2),
        if_(cond, then_branch=number[0], else_branch=number[1]),
        if_(constant([True]), x, y, then_branch=second, else_branch=second),
    ]
