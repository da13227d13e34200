"""Guards that rules share: what must be proven of the values that variables stand for.

They name variables: `never_nan("x")` holds where the value bound to x is proven never to be NaN.
Each says one thing alone: of `non_negative` and `within`, a NaN is no exception.
"""

from __future__ import annotations

from collections.abc import Callable

from graphopt import analysis
from graphopt.ir import Node
from graphopt.ranges import ValueFacts, facts_of
from graphopt.rewriting.rule import Guard


def same_shape(a: str, b: str) -> Guard:
    """Two values are proven to have one shape."""
    return Guard(f"{a} and {b} have the same shape", analysis.same_shape, (a, b))


def used_once(a: str) -> Guard:
    """Nothing else uses a value."""

    def test(value: Node, uses: Callable[[Node], int]) -> bool:
        return uses(value) == 1

    return Guard(f"{a} is used once", test, (a, "uses"))


def _proven(name: str, a: str, test: Callable[[ValueFacts], bool]) -> Guard:
    def holds(value: Node) -> bool:
        return test(facts_of(value))

    return Guard(name, holds, (a,))


def never_nan(a: str) -> Guard:
    """No element is NaN."""
    return _proven(f"{a} is never NaN", a, lambda facts: not facts.may_be_nan)


def never_negative_zero(a: str) -> Guard:
    """No element is -0.0."""
    return _proven(f"{a} is never -0.0", a, lambda facts: not facts.may_be_negative_zero)


def non_negative(a: str) -> Guard:
    """No element is less than 0; one may be NaN or -0.0."""
    return _proven(f"{a} is never negative", a, lambda facts: facts.non_negative)


def positive(a: str) -> Guard:
    """Every element is greater than 0, or NaN."""
    return _proven(f"{a} is positive", a, lambda facts: facts.positive)


def finite(a: str) -> Guard:
    """No element is NaN or infinite."""
    return _proven(f"{a} is finite", a, lambda facts: facts.finite)


def integer_valued(a: str) -> Guard:
    """Every finite element is a whole number; one may be NaN or infinite."""
    return _proven(f"{a} has whole numbers only", a, lambda facts: facts.integer_valued)


def within(a: str, low: float, high: float) -> Guard:
    """Every element lies between two numbers, inclusively, or is NaN."""
    name = f"{a} is between {low:g} and {high:g}"
    return _proven(name, a, lambda facts: low <= facts.low and facts.high <= high)
