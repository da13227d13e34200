"""Rules of common factors, and of broadcasts: what is small is combined before what is large.

They are exact for integers, which wrap around. Of floats they change what is rounded and what
overflows: (1e20 * 1e20) - (1e20 * 1e20) is NaN, 1e20 * (1e20 - 1e20) is 0.
"""

from __future__ import annotations

from collections import Counter
from math import frexp, prod
from typing import Any

from graphopt.ir import Node
from graphopt.op import Op
from graphopt.ops.arithmetic import add, div, mul, sub, sum_
from graphopt.passes.algebra.elements import alike, element_of, shown
from graphopt.rewriting import (
    Const,
    Declined,
    Equations,
    Float,
    Guard,
    Integer,
    Many,
    Rule,
    Soundness,
    guards,
    rules,
)
from graphopt.rewriting.examples import example, filled
from graphopt.rewriting.reassociate import exact_product
from graphopt.types import DType

SMALLEST = 2.0**-32
"""Lesser factors may make subnormals of ordinary numbers."""
ONCE = (guards.used_once("p"), guards.used_once("q"))


def _common(x: Any, y: Any, z: Any, p: Any, q: Any, dtype: str) -> Equations:
    """x * y + x * z = x * (y + z), and so for differences."""
    a, b, c = (example(f"{dtype}[2, 3]", name) for name in "abc")
    for op in (add, sub):
        yield Rule(
            f"factor_{op.name.lower()}",
            op(p.of(mul(x, y)), q.of(mul(x, z))),
            mul(x, op(y, z)),
            worth=(alike("y", "z"), *ONCE),
            fires=shown(lambda op: op(mul(a, b), mul(a, c)), op),
            misses=shown(lambda op: op(mul(a, b), mul(c, c)), op),
        )


def _smaller(x: Node, made: Node) -> bool:
    """Whether `made` has fewer elements than x, and any."""
    small, large = made.tensor_type, x.tensor_type
    if not small.is_static or small.shape is None or large.shape is None:
        return False
    count = prod(size for size in small.shape if isinstance(size, int))
    if large.is_static:
        return 0 < count < prod(size for size in large.shape if isinstance(size, int))
    return count == 1 and bool(large.shape)


def _is_smaller(op: Op) -> Guard:
    """What is combined first has fewer elements than x, and is not all known."""

    def test(x: Node, y: Node, z: Node) -> bool:
        known = y.constant is not None and z.constant is not None
        return not known and _smaller(x, op(y, z))

    return Guard("y and z together have fewer elements than x", test, ("x", "y", "z"))


def _broadcasts(x: Any, y: Any, z: Any, w: Any, p: Any, q: Any, dtype: str) -> Equations:
    """(x + y) + z = x + (y + z) and (x + y) + (w + z) = (x + w) + (y + z), y and z being small."""
    large, other = example(f"{dtype}[2, 3]"), example(f"{dtype}[2, 3]", "w")
    small, tiny = example(f"{dtype}[3]", "y"), example(f"{dtype}[1]", "z")
    for op in (add, mul):
        yield Rule(
            f"small_{op.name.lower()}",
            op(p.of(op(x, y)), z),
            op(x, op(y, z)),
            worth=(_is_smaller(op), guards.used_once("p")),
            fires=shown(lambda op: op(op(large, small), tiny), op),
            misses=shown(lambda op: op(op(small, tiny), large), op),
        )
        yield Rule(
            f"small_{op.name.lower()}_both",
            op(p.of(op(x, y)), q.of(op(w, z))),
            op(op(x, w), op(y, z)),
            worth=(alike("x", "w"), _is_smaller(op), *ONCE),
            fires=shown(lambda op: op(op(large, small), op(other, tiny)), op),
            misses=shown(lambda op: op(op(large, other), op(small, tiny)), op),
        )


@rules(Soundness.EXACT)
def integer_factors(
    x: Integer, y: Integer, z: Integer, w: Integer, p: Integer, q: Integer
) -> Equations:
    """x * y + x * z = x * (y + z), (x + y) + z = x + (y + z) with small y and z: of integers."""
    yield from _common(x, y, z, p, q, "int32")
    yield from _broadcasts(x, y, z, w, p, q, "int32")


def _unrounded(x: Node, c: Node) -> bool:
    """Whether products by c are exact but for subnormal ones, and sums do not overflow early."""
    element = element_of(c)
    if element is None or exact_product(c, c):
        return exact_product(c, c)
    small = SMALLEST <= abs(element) < 1 and x.dtype is not DType.FLOAT16
    return small and frexp(element)[0] in (0.5, -0.5)


@rules(Soundness.ROUNDING)
def scaled_sums(x: Float, y: Float, c: Const, p: Float, q: Float) -> Equations:
    """x * c + y * c = (x + y) * c for a power of two: it rounds nothing but subnormals."""
    a, b = example("float32[2, 3]", "a"), example("float32[2, 3]", "b")
    for op in (add, sub):
        yield Rule(
            op.name.lower(),
            op(p.of(mul(x, c)), q.of(mul(y, c))),
            mul(op(x, y), c),
            worth=(
                Guard("the factor is a power of two", lambda x, c: _unrounded(x, c)),
                alike("x", "y"),
                *ONCE,
            ),
            fires=shown(lambda op: op(mul(a, filled(4)), mul(b, filled(4))), op),
            misses=shown(lambda op: op(mul(a, filled(3)), mul(b, filled(3))), op),
        )


def _hoisted(xs: tuple[Node, ...]) -> Node | Declined:
    """A Sum of products as the factor that all have, times the Sum of what remains."""
    if not all(item.op is mul for item in xs):
        return Declined("every summand is a product")
    counts = Counter(factor for item in xs for factor in set(item.inputs))
    shared = next((f for f in xs[0].inputs if counts[f] == len(xs)), None)
    if shared is None:
        return Declined("the products have a factor in common")
    rest = [item.inputs[item.inputs[0] is shared] for item in xs]
    made: Node = mul(shared, sum_(*rest))
    return made


@rules(Soundness.FAST)
def float_factors(
    x: Float, y: Float, z: Float, w: Float, p: Float, q: Float, xs: Many
) -> Equations:
    """x * y + x * z = x * (y + z), y / x + z / x = (y + z) / x, small operands first: of floats."""
    a, b, c = (example("float32[2, 3]", name) for name in "abc")
    yield from _common(x, y, z, p, q, "float32")
    yield from _broadcasts(x, y, z, w, p, q, "float32")
    for op in (add, sub):
        yield Rule(
            f"divisor_{op.name.lower()}",
            op(p.of(div(y, x)), q.of(div(z, x))),
            div(op(y, z), x),
            worth=(alike("y", "z"), *ONCE),
            fires=shown(lambda op: op(div(a, b), div(c, b)), op),
            misses=shown(lambda op: op(div(a, b), div(a, c)), op),
        )
    yield Rule(
        "factor_sum",
        sum_(xs),
        _hoisted,
        worth=Guard(
            "each product is used once", lambda xs, uses: all(uses(item) == 1 for item in xs)
        ),
        fires=lambda: sum_(mul(a, b), mul(c, a), mul(a, a)),
        misses=lambda: sum_(mul(a, b), mul(c, a), mul(b, c)),
    )


FACTORS = integer_factors + scaled_sums + float_factors
