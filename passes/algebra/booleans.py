"""Rules of logic and of bits."""

from __future__ import annotations

from typing import Any

from graphopt.analysis import same_shape
from graphopt.ir import Node
from graphopt.op import Op
from graphopt.ops.logic import (
    and_,
    bit_shift,
    bitwise_and,
    bitwise_not,
    bitwise_or,
    bitwise_xor,
    equal,
    not_,
    or_,
    xor,
)
from graphopt.passes.algebra.elements import (
    anything,
    element_of,
    evaluated,
    filled_like,
    filling,
    keeps_shape,
    shown,
)
from graphopt.rewriting import (
    Boolean,
    Const,
    Declined,
    Equations,
    Guard,
    Integer,
    Rule,
    Soundness,
    guards,
    rules,
)
from graphopt.rewriting.examples import example, filled

P, Q = example("bool[2, 3]", "p"), example("bool[2, 3]", "q")
M, N = example("int32[2, 3]"), example("int32[2, 3]", "y")
FIRST = Guard("nothing enlarges x", lambda root, x: same_shape(root, x))


def _flag(value: bool) -> Node:
    return filled(value, dtype="bool")


def _whole(value: int, *shape: int) -> Node:
    return filled(value, *shape, dtype="int32")


@rules(Soundness.EXACT)
def logic(x: Boolean, y: Boolean) -> Equations:
    """x and false = false, x or x = x, x and (x or y) = x, x and not x = false, ..."""
    for op, other, absorbing in ((and_, or_, False), (or_, and_, True)):
        name = op.name.lower()
        yield Rule(
            f"{name}_absorbing",
            op(x, absorbing),
            filling(absorbing),
            fires=shown(lambda op, absorbing: op(P, _flag(absorbing)), op, absorbing),
            misses=shown(lambda op, absorbing: op(P, _flag(not absorbing)), op, absorbing),
        )
        yield Rule(
            f"{name}_itself",
            op(x, x),
            x,
            fires=shown(lambda op: op(P, P), op),
            misses=shown(lambda op: op(P, Q), op),
        )
        yield Rule(
            f"{name}_complement",
            op(x, not_(x)),
            filling(absorbing),
            fires=shown(lambda op: op(P, not_(P)), op),
            misses=shown(lambda op: op(P, not_(Q)), op),
        )
        yield Rule(
            f"{name}_absorption",
            op(x, other(x, y)),
            x,
            when=FIRST,
            fires=shown(lambda op, other: op(P, other(P, Q)), op, other),
            misses=shown(
                lambda op, other: op(
                    anything("bool"), other(anything("bool"), example("bool[4, 2, 3]", "q"))
                ),
                op,
                other,
            ),
        )
        yield Rule(
            f"{name}_of_{other.name.lower()}",
            op(not_(x), not_(y)),
            not_(other(x, y)),
            worth=Guard(
                "one of the negations is used once",
                lambda root, uses: any(uses(item) == 1 for item in root.inputs),
            ),
            fires=shown(lambda op: op(not_(P), not_(Q)), op),
            misses=shown(lambda op: op(not_(P), Q), op),
        )


@rules(Soundness.EXACT)
def equality(x: Boolean, y: Boolean, inner: Boolean) -> Equations:
    """x xor x = false, x xor true = not x, x = true is x, not (x xor y) is x = y."""
    yield Rule(
        "xor_itself",
        xor(x, x),
        filling(False),
        fires=lambda: xor(P, P),
        misses=lambda: xor(P, Q),
    )
    for name, op, number, kept in (
        ("xor_false", xor, False, True),
        ("xor_true", xor, True, False),
        ("equal_true", equal, True, True),
        ("equal_false", equal, False, False),
    ):
        yield Rule(
            name,
            op(x, number),
            x if kept else not_(x),
            when=keeps_shape(),
            fires=shown(lambda op, number: op(P, _flag(number)), op, number),
            misses=shown(
                lambda op, number: op(anything("bool"), filled(number, 4, 1, 1, dtype="bool")),
                op,
                number,
            ),
        )
    for name, op, other in (("xor", xor, equal), ("equal", equal, xor)):
        yield Rule(
            f"not_{name}",
            not_(inner.of(op(x, y))),
            other(x, y),
            worth=guards.used_once("inner"),
            fires=shown(lambda op: not_(op(P, Q)), op),
            misses=lambda: not_(and_(P, Q)),
        )
        yield Rule(
            f"{name}_of_nots",
            op(not_(x), not_(y)),
            op(x, y),
            fires=shown(lambda op: op(not_(P), not_(Q)), op),
            misses=shown(lambda op: op(not_(P), Q), op),
        )


def _short(op: Op) -> str:
    return op.name.removeprefix("Bitwise").lower()


def _all_ones(c: Node) -> bool:
    element = element_of(c)
    return element is not None and element == (-1 if c.dtype.kind == "i" else 2**c.dtype.bits - 1)


def _combined(op: Op) -> Any:
    def right(x: Node, c: Node, d: Node) -> Node | Declined:
        made = evaluated(op, c, d)
        if isinstance(made, Declined):
            return made
        node: Node = op(x, made)
        return node

    return right


@rules(Soundness.EXACT)
def bits(x: Integer, c: Const) -> Equations:
    """x & 0 = 0, x | ~0 = ~0, x & ~0 = x, x ^ ~0 = ~x."""
    yield Rule(
        "and_zero",
        bitwise_and(x, 0.0),
        filling(0),
        fires=lambda: bitwise_and(M, _whole(0)),
        misses=lambda: bitwise_and(M, _whole(1)),
    )
    yield Rule(
        "or_ones",
        bitwise_or(x, c),
        lambda root, c, x: filled_like(root, element_of(c), x),
        when=Guard("every bit of the constant is 1", lambda c: _all_ones(c)),
        fires=lambda: bitwise_or(M, _whole(-1)),
        misses=lambda: bitwise_or(M, _whole(1)),
    )
    yield Rule(
        "and_ones",
        bitwise_and(x, c),
        x,
        when=(Guard("every bit of the constant is 1", lambda c: _all_ones(c)), keeps_shape()),
        fires=lambda: bitwise_and(M, _whole(-1)),
        misses=(
            lambda: bitwise_and(M, _whole(1)),
            lambda: bitwise_and(anything("int32"), _whole(-1, 4, 1, 1)),
        ),
    )
    yield Rule(
        "xor_ones",
        bitwise_xor(x, c),
        bitwise_not(x),
        when=(Guard("every bit of the constant is 1", lambda c: _all_ones(c)), keeps_shape()),
        fires=lambda: bitwise_xor(M, _whole(-1)),
        misses=(
            lambda: bitwise_xor(M, _whole(1)),
            lambda: bitwise_xor(anything("int32"), _whole(-1, 4, 1, 1)),
        ),
    )


@rules(Soundness.EXACT)
def needless_bits(x: Integer, c: Const, d: Const, inner: Integer) -> Equations:
    """x | 0 = x ^ 0 = x, shifts by 0, x & x = x, x ^ x = 0, (x & c) & d = x & (c & d), ..."""
    for op in (bitwise_or, bitwise_xor):
        yield Rule(
            f"{_short(op)}_zero",
            op(x, 0.0),
            x,
            when=keeps_shape(),
            fires=shown(lambda op: op(M, _whole(0)), op),
            misses=shown(lambda op: op(anything("int32"), _whole(0, 4, 1, 1)), op),
        )
    for direction in ("LEFT", "RIGHT"):
        yield Rule(
            f"shift_{direction.lower()}_zero",
            bit_shift(x, 0.0, direction=direction),
            x,
            when=keeps_shape(),
            fires=shown(lambda direction: bit_shift(M, _whole(0), direction=direction), direction),
            misses=shown(
                lambda direction: bit_shift(
                    anything("int32"), _whole(0, 4, 1, 1), direction=direction
                ),
                direction,
            ),
        )
    for op in (bitwise_and, bitwise_or):
        yield Rule(
            f"{_short(op)}_itself",
            op(x, x),
            x,
            fires=shown(lambda op: op(M, M), op),
            misses=shown(lambda op: op(M, N), op),
        )
    yield Rule(
        "xor_itself",
        bitwise_xor(x, x),
        filling(0),
        fires=lambda: bitwise_xor(M, M),
        misses=lambda: bitwise_xor(M, N),
    )
    for op in (bitwise_and, bitwise_or, bitwise_xor):
        yield Rule(
            f"{_short(op)}_constants",
            op(inner.of(op(x, c)), d),
            _combined(op),
            worth=guards.used_once("inner"),
            fires=shown(lambda op: op(op(M, _whole(12)), _whole(10)), op),
            misses=shown(lambda op: op(op(M, N), _whole(10)), op),
        )


BOOLEANS = logic + equality + bits + needless_bits
