"""Rules that make nothing smaller by themselves, for saturation alone: it undoes what is no use.

Sums and products of integers wrap around and so may be grouped and distributed in any way. Those of
floats then round, cancel and overflow otherwise.
"""

from __future__ import annotations

from typing import Any

from graphopt.ir import Node
from graphopt.ops.arithmetic import add, mul
from graphopt.ops.functions import exp, log
from graphopt.ops.linalg import gemm, matmul
from graphopt.ops.movement import transpose
from graphopt.passes.algebra.elements import shown
from graphopt.rewriting import (
    Attr,
    Equations,
    Float,
    Guard,
    Integer,
    Rule,
    RuleSet,
    Soundness,
    Value,
    rules,
)
from graphopt.rewriting.examples import example


def _are_matrices(*names: str) -> Guard:
    """The values have two axes or more: a vector is a row on the left and a column on the right."""

    def test(*values: Node) -> bool:
        return all(value.rank is not None and value.rank > 1 for value in values)

    verb = "is a matrix" if len(names) == 1 else "are matrices"
    return Guard(f"{' and '.join(names)} {verb}", test, names)


def _as_many_axes(x: Node, y: Node) -> bool:
    """Whether the ranks are known and equal: of other ranks, other axes are aligned."""
    return x.rank is not None and x.rank == y.rank


def _elementwise(x: Any, y: Any, z: Any, dtype: str) -> Equations:
    """(x + y) + z = x + (y + z), and so of products; x * (y + z) = x * y + x * z."""
    a, b, c = (example(f"{dtype}[2, 3]", name) for name in "abc")
    for op in (add, mul):
        yield Rule(
            f"group_{op.name.lower()}",
            op(op(x, y), z),
            op(x, op(y, z)),
            fires=shown(lambda op: op(op(a, b), c), op),
            misses=shown(lambda op: op(a, mul(b, c) if op is add else add(b, c)), op),
        )
    yield Rule(
        "distribute",
        mul(x, add(y, z)),
        add(mul(x, y), mul(x, z)),
        fires=lambda: mul(a, add(b, c)),
        misses=lambda: add(a, mul(b, c)),
    )


def _products(x: Any, y: Any, z: Any, dtype: str) -> Equations:
    """(x @ y) @ z = x @ (y @ z), x @ y + x @ z = x @ (y + z) and x @ z + y @ z = (x + y) @ z."""
    a, b, c = (example(f"{dtype}[2, 2]", name) for name in "abc")
    v = example(f"{dtype}[2]", "v")
    yield Rule(
        "group_left",
        matmul(matmul(x, y), z),
        matmul(x, matmul(y, z)),
        when=_are_matrices("y"),
        fires=lambda: matmul(matmul(a, b), c),
        misses=lambda: matmul(matmul(a, v), c),
    )
    yield Rule(
        "group_right",
        matmul(x, matmul(y, z)),
        matmul(matmul(x, y), z),
        when=_are_matrices("y"),
        fires=lambda: matmul(a, matmul(b, c)),
        misses=lambda: matmul(a, matmul(v, c)),
    )
    yield Rule(
        "factor_left",
        add(matmul(x, y), matmul(x, z)),
        matmul(x, add(y, z)),
        when=_are_matrices("y", "z"),
        fires=lambda: add(matmul(a, b), matmul(a, c)),
        misses=lambda: add(matmul(a, b), matmul(a, v)),
    )
    yield Rule(
        "factor_right",
        add(matmul(x, z), matmul(y, z)),
        matmul(add(x, y), z),
        fires=lambda: add(matmul(a, c), matmul(b, c)),
        misses=lambda: add(matmul(a, b), matmul(b, c)),
    )


@rules(Soundness.EXACT)
def integer_orders(x: Integer, y: Integer, z: Integer) -> Equations:
    """Sums and products of integers are grouped and distributed in any way."""
    yield from _elementwise(x, y, z, "int32")
    yield from _products(x, y, z, "int32")


@rules(Soundness.FAST)
def float_orders(x: Float, y: Float, z: Float) -> Equations:
    """Sums and products of floats are grouped and distributed in any way."""
    yield from _elementwise(x, y, z, "float32")
    yield from _products(x, y, z, "float32")


@rules(Soundness.FAST)
def logarithms(x: Float, y: Float) -> Equations:
    """The logarithm of a product is a sum of logarithms, whatever overflows or is negative."""
    a, b = example("float32[2, 3]", "a"), example("float32[2, 3]", "b")
    yield Rule(
        "of_product",
        log(mul(x, y)),
        add(log(x), log(y)),
        fires=lambda: log(mul(a, b)),
        misses=lambda: log(add(a, b)),
    )
    yield Rule(
        "sum",
        add(log(x), log(y)),
        log(mul(x, y)),
        fires=lambda: add(log(a), log(b)),
        misses=lambda: add(exp(a), log(b)),
    )


@rules(Soundness.EXACT)
def turned_elements(x: Value, y: Value, p: Attr) -> Equations:
    """What is done element by element is done before or after both operands are transposed."""
    a, b = example("float32[2, 3]", "a"), example("float32[2, 3]", "b")
    square, row = example("float32[2, 2]", "a"), example("float32[2]", "b")
    for op in (add, mul):
        yield Rule(
            f"after_{op.name.lower()}",
            op(transpose(x, perm=p), transpose(y, perm=p)),
            transpose(op(x, y), perm=p),
            when=Guard("x and y have as many axes", _as_many_axes),
            fires=shown(lambda op: op(transpose(a, perm=(1, 0)), transpose(b, perm=(1, 0))), op),
            misses=shown(lambda op: op(transpose(square), transpose(row)), op),
        )


@rules(Soundness.ROUNDING)
def opened_gemms(x: Float, y: Float, c: Float) -> Equations:
    """A Gemm is a product of matrices and a sum, of which each may go with others."""
    a, b = example("float32[N, 3]", "a"), example("float32[3, 4]", "b")
    yield Rule(
        "sum",
        gemm(x, y, c),
        add(matmul(x, y), c),
        fires=lambda: gemm(a, b, example("float32[4]", "c")),
        misses=lambda: gemm(a, b, example("float32[4]", "c"), beta=2.0),
    )


EXPANSIONS: RuleSet = integer_orders + float_orders + logarithms + turned_elements + opened_gemms
