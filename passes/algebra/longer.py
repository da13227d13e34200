"""Rules that make more or other nodes than a file should have, for those who run them at once.

A cube by two products is far faster than Pow where that is a call per element, and log1p keeps
the digits that log(1 + x) loses; but the former is a node more in a file, and the latter has no
operator in ONNX, whose form of it would be longer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from graphopt.graph import Graph
from graphopt.ops.arithmetic import add, mul, power, sub
from graphopt.ops.functions import exp, log, reciprocal, sqrt
from graphopt.ops.mathematics import REALS, expm1, log1p
from graphopt.passes.algebra.elements import anything, keeps_shape, shown
from graphopt.pipeline import Context, Pass
from graphopt.rewriting import Equations, Float, Guard, Rule, Soundness, guards, rules
from graphopt.rewriting.examples import example, filled

X = example("float32[2, 3]")
WIDER = (4, 1, 1)
TAKEN = Guard("the op takes the dtype", lambda x: x.dtype in REALS)


@rules(Soundness.ROUNDING)
def longer_powers(x: Float) -> Equations:
    """x ** 3 = x * x * x, x ** -0.5 = 1 / sqrt(x) where x is at least 0."""
    yield Rule(
        "cube",
        power(x, 3.0),
        mul(mul(x, x), x),
        when=keeps_shape(),
        fires=lambda: power(X, filled(3)),
        misses=lambda: power(anything("float32"), filled(3, *WIDER)),
    )
    yield Rule(
        "inverse_root",
        power(x, -0.5),
        reciprocal(sqrt(x)),
        when=keeps_shape(),
        worth=(guards.non_negative("x"), guards.never_negative_zero("x")),
        fires=lambda: power(exp(X), filled(-0.5)),
        misses=lambda: power(exp(anything("float32")), filled(-0.5, *WIDER)),
    )


@rules(Soundness.FAST)
def accurate(x: Float, p: Float) -> Equations:
    """log(x + 1) = log1p(x), exp(x) - 1 = expm1(x): as exact as x is, which can be seen."""
    yield Rule(
        "log1p",
        log(p.of(add(x, 1.0))),
        log1p(x),
        when=keeps_shape(),
        worth=(TAKEN, guards.used_once("p")),
        fires=lambda: log(add(X, filled(1))),
        misses=lambda: log(add(anything("float32"), filled(1, *WIDER))),
    )
    for name, op, one in (("expm1", sub, 1.0), ("expm1_sum", add, -1.0)):
        yield Rule(
            name,
            op(p.of(exp(x)), one),
            expm1(x),
            when=keeps_shape(),
            worth=(TAKEN, guards.used_once("p")),
            fires=shown(lambda op, one: op(exp(X), filled(one)), op, one),
            misses=shown(
                lambda op, one: op(exp(anything("float32")), filled(one, *WIDER)), op, one
            ),
        )


LONGER = longer_powers + accurate


@dataclass(frozen=True)
class Lengthen(Pass):
    """Write cubes as products and log(1 + x) as log1p: faster to run at once, longer in a file.

    Given:   %1 = Pow(%x, 3.0)
    Result:  %1 = Mul(%x, %x); %2 = Mul(%1, %x)
    """

    name: ClassVar[str] = "lengthen"

    def run(self, graph: Graph, context: Context) -> Graph:
        return context.rewrite(graph, LONGER)
