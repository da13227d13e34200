"""Every rule is reached: by the lowest pipeline that has it, it is applied to its own example.

A rule that another one always comes before is none: what it does is left to the other, or it is
tried first. What remains of such rules is told here, with what reaches them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from functools import partial
from typing import Any

import numpy as np
import pytest

import graphopt
from graphopt.graph import Graph
from graphopt.ir import Node, walk
from graphopt.op import Op
from graphopt.ops.arithmetic import add, div, max_, min_, mul, sub
from graphopt.ops.cast import cast
from graphopt.ops.conv import conv
from graphopt.ops.functions import exp, log, tanh
from graphopt.ops.linalg import matmul
from graphopt.ops.padding import pad
from graphopt.ops.pool import max_pool
from graphopt.ops.quantize import dequantize_linear
from graphopt.ops.reduction import reduce_max, reduce_mean, reduce_sum
from graphopt.ops.shape import reshape, squeeze
from graphopt.passes import RULES
from graphopt.passes.algebra.longer import LONGER, Lengthen
from graphopt.passes.simplify import SIMPLIFICATIONS
from graphopt.rewriting.examples import example, filled, ints, weights
from graphopt.rewriting.rule import Rule, Soundness
from graphopt.structural import constant
from graphopt.types import DType

LOW, LONG = ({rule.key for rule in rules} for rules in (SIMPLIFICATIONS, LONGER))
MATHS: Mapping[Soundness, Any] = {
    Soundness.EXACT: "strict",
    Soundness.VALUE: "default",
    Soundness.ROUNDING: "default",
    Soundness.FAST: "fast",
}
X = example("float32[N, 4]")


def graph_of(root: Node) -> Graph:
    inputs = tuple(node for node in walk((root,)) if node.op.name == "Input")
    return Graph(inputs, (root,), ("y",))


def applied(root: Node, pipeline: str, math: Any) -> set[str]:
    """The rules that remarks tell of."""
    made = graphopt.optimize(graph_of(root), pipeline, math=math, strict=True, remarks="passed")
    assert made.report is not None
    return {remark.rule for remark in made.report.remarks}


def lowest(rule: Rule) -> str:
    """The first pipeline that has a rule."""
    if rule.key in LONG:
        return Lengthen.name
    return "O1" if rule.key in LOW else "O2"


def mish() -> Node:
    x = example("float32[N, 1]")
    node: Node = mul(x, tanh(log(add(exp(x), filled(1, 4)))))
    return node


def leaky() -> Node:
    x = example("float64[N, 4]")
    node: Node = max_(x, mul(x, filled(0.1, dtype="float64")))
    return node


def stored(wide: Callable[[Node], Node]) -> Node:
    small = constant(np.arange(1 << 17, dtype=np.int8).reshape(4, -1))
    node: Node = matmul(X, wide(small))
    return node


def scaled(small: Node) -> Node:
    node: Node = mul(cast(small, to=DType.FLOAT32), filled(0.5, small.tensor_type.shape[1]))  # type: ignore[index, arg-type]
    return node


ALONE = "fuse"
ELSEWHERE: Mapping[str, tuple[str, str, Callable[[], Node] | None]] = {
    "*_norm*.div_pow": ("x ** 2 is x * x before", ALONE, None),
    "*_norm*.reciprocal_*": ("x * (1 / y) is x / y before", ALONE, None),
    "*_norm*.inverse_*": ("x * (1 / y) is x / y before", ALONE, None),
    "log_softmaxes.stable": ("log(sum(exp x)) is ReduceLogSumExp before", ALONE, None),
    "mishes.log": ("log(1 + exp x) is Softplus before, where nothing is broadcast", "O2", mish),
    "leaky_relus.max": ("it is LeakyRelu before, by a slope that is a float32", "O2", leaky),
    "composed.matmul_matmul": (
        "products of several matrices are ordered before",
        "O2",
        lambda: matmul(matmul(example("float32[1, N, 4]"), weights(4, 6)), weights(6, 4)),
    ),
    "stored_small.cast": ("small weights are folded", "O2", partial(stored, scaled)),
    "stored_small.dequantize": (
        "small weights are folded",
        "O2",
        lambda: stored(lambda small: dequantize_linear(small, filled(0.5))),
    ),
}
"""Globs over rules: what comes before on their examples, and the pipeline and example for them."""


def elsewhere(rule: Rule) -> list[str]:
    return [glob for glob in ELSEWHERE if fnmatchcase(rule.key, glob)]


@pytest.mark.parametrize("rule", list(RULES), ids=lambda rule: rule.key)
def test_rule_is_applied_to_its_example(rule: Rule) -> None:
    assert rule.fires is not None
    reached = rule.key in applied(rule.fires(), lowest(rule), MATHS[rule.soundness])
    globs = elsewhere(rule)
    assert reached == (not globs), globs or "which rule comes before?"
    for glob in globs:
        _, pipeline, other = ELSEWHERE[glob]
        example_of = other or rule.fires
        assert rule.key in applied(example_of(), pipeline, MATHS[rule.soundness])


def test_every_exception_is_one() -> None:
    used = {glob for rule in RULES for glob in elsewhere(rule)}
    assert used == set(ELSEWHERE)


# What was once said by rules that others always came before.


def many(op: Op, *more: Op) -> Node:
    """A value and constants that take more bytes than are stored twice."""
    node: Node = example("float32[N, 400]")
    for k, each in enumerate((op, *more)):
        node = each(node, constant(np.arange(1, 401, dtype=np.float32) * (1 + k)))
    return node


UNKNOWN = example("float32[...]")
LEFT: Mapping[str, tuple[Callable[[], Node], str, dict[str, int]]] = {
    "max(x, -inf)": (lambda: max_(X, filled(-np.inf)), "strict", {}),
    "min(x, inf)": (lambda: min_(X, filled(np.inf)), "strict", {}),
    "max of no axes": (
        lambda: reduce_max(UNKNOWN, ints(), noop_with_empty_axes=1),
        "strict",
        {},
    ),
    "mean of no axes": (
        lambda: exp(reduce_mean(exp(UNKNOWN), None, noop_with_empty_axes=1)),
        "default",
        {"Exp": 2},
    ),
    "(x - c) - d": (lambda: many(sub, sub), "default", {"Add": 1}),
    "(x - c) + d, fast": (lambda: many(sub, add), "fast", {"Add": 1}),
    "(x / c) * d, fast": (lambda: many(div, mul), "fast", {"Mul": 1}),
    "(x / c) / d, fast": (lambda: many(div, div), "fast", {"Mul": 1}),
    "c / (d / x), fast": (lambda: div(filled(3), div(filled(7), X)), "fast", {"Mul": 1}),
    "Conv - c": (
        lambda: sub(conv(example("float32[N, 3, 4, 4]"), weights(400, 3, 1, 1)),
                    weights(400, 1, 1)),
        "default",
        {"Conv": 1},
    ),
    "MaxPool(Pad -inf)": (
        lambda: max_pool(
            pad(example("float32[N, 2, 5]"), ints(0, 0, 1, 0, 0, 0), filled(-np.inf)),
            kernel_shape=(2,),
        ),
        "strict",
        {"MaxPool": 1},
    ),
    "a sum between reshapes": (
        lambda: reshape(
            reduce_sum(squeeze(example("float32[2, 1, N]"), ints(1)), ints(1), keepdims=0),
            ints(2, 1),
        ),
        "default",
        {"ReduceSum": 1},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", LEFT)
def test_what_is_left(name: str) -> None:
    make, math, wanted = LEFT[name]
    made = graphopt.optimize(graph_of(make()), "O1" if "Conv" not in name else "O2", math=math)  # type: ignore[arg-type]
    found: dict[str, int] = {}
    for node in made.nodes:
        if node.op.name not in ("Input", "Constant"):
            found[node.op.name] = found.get(node.op.name, 0) + 1
    assert found == wanted
