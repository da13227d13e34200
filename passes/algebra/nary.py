"""Rules of sums of several operands: chains of additions become one Sum, in the order they had.

A Sum adds from left to right, so that ((a + b) + c) + d is Sum(a, b, c, d) bit for bit; that of
16-bit floats is computed in float32, and that of integers does not exist.
"""

from __future__ import annotations

from collections.abc import Callable

from graphopt.analysis import same_shape
from graphopt.ir import Node
from graphopt.ops.arithmetic import add, max_, mean, min_, mul, sum_
from graphopt.passes.algebra.elements import alike, no_larger, scalar, shown
from graphopt.rewriting import (
    Declined,
    Equations,
    Float,
    Guard,
    Many,
    Rule,
    Soundness,
    Value,
    guards,
    rules,
)
from graphopt.rewriting.examples import example, filled
from graphopt.rewriting.reassociate import combined_sum
from graphopt.types import DType

CONTRACTIONS = frozenset({"Conv", "ConvTranspose", "Einsum", "Gemm", "MatMul"})
X, Y, Z = (example("float32[2, N]", name) for name in "xyz")
H = example("float16[2, N]", "h")

WIDE_FLOATS = (DType.FLOAT32, DType.FLOAT64)
WIDE = Guard("the elements have 32 bits or more", lambda z: z.dtype in WIDE_FLOATS)
MOST = 32
"""Longer chains become several sums: each one that is longer by one is another tuple."""
FEW = Guard("there are few summands", lambda xs: len(xs) < MOST)
FEW_ALL = Guard("there are few summands", lambda xs, ys: len(xs) + len(ys) < MOST)
SAME = Guard("all have the same shape", lambda xs, z: all(same_shape(z, item) for item in xs))


def _plain(value: Node, uses: Callable[[Node], int]) -> bool:
    """Whether a summand is neither a bias nor what a bias is added to."""
    contracted = value.op.name in CONTRACTIONS and uses(value) == 1
    return value.constant is None and not contracted


def _plain_sum(*names: str) -> Guard:
    def test(uses: Callable[[Node], int], *values: Node) -> bool:
        return all(_plain(value, uses) for value in values)

    return Guard("no summand is a constant or a product of matrices", test, ("uses", *names))


def half(name: str) -> Node:
    """An input of 16-bit floats."""
    return example("float16[2, N]", name)


def _gathered(x: Node, xs: tuple[Node, ...]) -> Node | Declined:
    """The sum with its first two constants as one, at its end."""
    summands = (x, *xs)
    places = [k for k, item in enumerate(summands) if item.constant is not None][:2]
    if len(places) < 2:
        return Declined("two summands are constants")
    first, second = (summands[k] for k in places)
    made = no_larger(combined_sum(first, second), first, second)
    if isinstance(made, Declined):
        return made
    rest = [item for k, item in enumerate(summands) if k not in places]
    node: Node = sum_(*rest, made)
    return node


@rules(Soundness.EXACT)
def chains(x: Float, y: Float, z: Float, inner: Value, xs: Many, ys: Many) -> Equations:
    """((a + b) + c) + d = Sum(a, b, c, d), where all have one shape."""
    yield Rule(
        "three",
        add(inner.of(add(x, y)), z),
        sum_(x, y, z),
        when=WIDE,
        worth=(alike("x", "y", "z"), guards.used_once("inner"), _plain_sum("x", "y", "z")),
        fires=lambda: add(add(X, Y), Z),
        misses=lambda: add(add(H, half("i")), half("j")),
    )
    yield Rule(
        "more",
        add(inner.of(sum_(xs)), z),
        sum_(xs, z),
        when=WIDE,
        worth=(FEW, SAME, guards.used_once("inner"), _plain_sum("z")),
        fires=lambda: add(sum_(X, Y, X), Z),
        misses=lambda: add(sum_(H, half("i"), H), half("j")),
    )
    yield Rule(
        "nested",
        sum_(inner.of(sum_(xs)), z, ys),
        sum_(xs, z, ys),
        when=WIDE,
        worth=(FEW_ALL, SAME, guards.used_once("inner")),
        fires=lambda: sum_(sum_(X, Y, X), Z, Y),
        misses=lambda: sum_(sum_(H, half("i"), H), half("j"), H),
    )


@rules(Soundness.EXACT)
def short_sums(x: Value, y: Value, xs: Many) -> Equations:
    """Sum(x) = Max(x) = x, Sum(x, y) = x + y, Sum(x, x, x) = 3 * x, up to 5 times x."""
    for op in (sum_, mean, max_, min_):
        yield Rule(
            f"{op.name.lower()}_of_one",
            op(x),
            x,
            fires=shown(lambda op: op(X), op),
            misses=shown(lambda op: op(X, Y), op),
        )
    yield Rule(
        "sum_of_two",
        sum_(x, y),
        add(x, y),
        fires=lambda: sum_(X, Y),
        misses=lambda: sum_(X, Y, Z),
    )
    yield Rule(
        "multiple",
        sum_(x, x, x, xs),
        lambda x, xs: mul(x, scalar(x, 3 + len(xs))),
        when=(
            Guard("all are the same", lambda x, xs: all(item is x for item in xs)),
            Guard("they are at most 5", lambda xs: len(xs) <= 2),
        ),
        fires=lambda: sum_(X, X, X, X, X),
        misses=(lambda: sum_(X, X, X, Y), lambda: sum_(X, X, X, X, X, X)),
    )


def _flat(
    root: Node, x: Node, xs: tuple[Node, ...], uses: Callable[[Node], int]
) -> Node | Declined:
    """The sum with the summands of its summands in their place."""
    found: list[Node] = []
    for item in (x, *xs):
        inner = item.op in (add, sum_) and uses(item) == 1
        whole = inner and all(same_shape(root, part) for part in item.inputs)
        found += item.inputs if whole and all(_plain(p, uses) for p in item.inputs) else (item,)
    if len(found) == len(xs) + 1 or len(found) > MOST:
        return Declined("a summand is a sum that nobody else uses, and there are few")
    made: Node = sum_(*found)
    return made


@rules(Soundness.FAST)
def trees(x: Float, xs: Many) -> Equations:
    """Sum(a, b, c + d) = Sum(a, b, c, d), which is added up in another order."""
    yield Rule(
        "sum",
        sum_(x, xs),
        _flat,
        fires=lambda: sum_(X, Y, add(X, Z)),
        misses=lambda: sum_(X, Y, mul(X, Z)),
    )


@rules(Soundness.FAST)
def constant_summands(x: Float, xs: Many) -> Equations:
    """Sum(c, x, d, y) = Sum(x, y, c + d) where c + d is exact and of one sign."""
    yield Rule(
        "combined",
        sum_(x, xs),
        _gathered,
        fires=lambda: sum_(filled(2), X, filled(3), Y),
        misses=lambda: sum_(filled(2), X, Y),
    )


NARY = chains + short_sums + trees + constant_summands
