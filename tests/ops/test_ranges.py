"""What ops prove of their results holds of real results, for all inputs that the facts allow."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphopt import ranges
from graphopt.errors import GraphoptError
from graphopt.ir import Node, rebuild
from graphopt.op import Op
from graphopt.ops import (
    activation,
    arithmetic,
    cast,
    functions,
    logic,
    pool,
    reduction,
    softmax,
    table,
)
from graphopt.ranges import ValueFacts, facts_of
from graphopt.structural import constant, graph_input, results
from graphopt.types import DType, TensorType
from tests.ops import harness

Array = Any

# What holds of an array.


def violations(facts: ValueFacts, array: Array) -> Iterator[str]:
    """In what ways facts are wrong of an array of numbers."""
    array = np.asarray(array)
    if array.dtype.kind in "biu" or array.dtype.name.startswith(("int", "uint")):
        whole = [int(item) for item in array.reshape(-1)]
        if whole and not facts.low <= min(whole) <= max(whole) <= facts.high:
            yield f"{min(whole)} to {max(whole)}"
        return
    real = array.astype(np.float64)
    numbers = real[~np.isnan(real)]
    if numbers.size < real.size and not facts.may_be_nan:
        yield "NaN"
    if numbers.size and not facts.low <= numbers.min() <= numbers.max() <= facts.high:
        yield f"{numbers.min()} to {numbers.max()}"
    if ((numbers == 0) & np.signbit(numbers)).any() and not facts.may_be_negative_zero:
        yield "-0.0"
    finite = numbers[np.isfinite(numbers)]
    if facts.integer_valued and (finite != np.rint(finite)).any():
        yield "a fraction"


def wrong_facts(values: harness.Values) -> list[str]:
    """What is said of computed values and does not hold."""
    found: list[str] = []
    for node in values:
        if node.is_absent:
            continue
        made = harness.outputs_of(node, values)
        for value, array in zip(results(node), made, strict=True):
            kind = value.derived_type
            if isinstance(kind, TensorType) and kind.dtype.kind in "biuf":
                facts = facts_of(value)
                found += [f"{wrong} of {facts}: {value!r}" for wrong in violations(facts, array)]
    return found


# Every op, by its examples.


def example_nodes() -> list[tuple[str, Op]]:
    return sorted((f"{op!r}", op) for op in table().values() if op.example is not None)


def check_op(op: Op) -> list[str]:
    """Violations by an op's examples on ordinary, special and extreme inputs."""
    assert op.example is not None
    found: list[str] = []
    for node in op.example():
        for sizes in harness.bindings(node):
            for seed, hard in ((0, False), (1, True), (2, True)):
                given = harness.feeds(node, sizes, seed, special=hard, wide=hard)
                try:
                    found += wrong_facts(harness.run(node, given))
                except GraphoptError:
                    continue  # kernels may refuse such inputs
    return found


@pytest.mark.parametrize("op", [pytest.param(op, id=name) for name, op in example_nodes()])
def test_facts_of_examples_hold(op: Op) -> None:
    assert check_op(op) == []


# Every op, on inputs of which something is proven.


def promise_kernel(
    xp: Any, x: Array, *, low: float, high: float, nan: int, zero: int, whole: int
) -> Array:
    """x, of which its author vouches that these facts hold."""
    return x


promise = Op("Promise", promise_kernel, domain="test")


@promise.infer
def _(x: Node, **attrs: Any) -> TensorType:
    return TensorType(x.dtype, x.tensor_type.shape)


@promise.bounds
def _(node: Node, x: ValueFacts) -> ValueFacts:
    low, high, nan, zero, whole = (
        node.attrs[key] for key in ("low", "high", "nan", "zero", "whole")
    )
    if node.dtype.is_integer:
        low, high = int(low), int(high)
    return ValueFacts(low, high, bool(nan), bool(zero), bool(whole))


FLOATS = (0.0, 1e-40, 1e-7, 0.3, 0.5, 1.0, 1.5, 2.0, 3.0, 7.7, 80.0, 300.0, 1e5, 1e20, 3e38, np.inf)
SIGNED = np.array([*FLOATS, *(-x for x in FLOATS)])


def as_numbers_of(dtype: DType, numbers: Array) -> Array:
    """Numbers rounded to a dtype, as float64."""
    with np.errstate(over="ignore"):
        return numbers.astype(dtype.numpy).astype(np.float64)


def promised(item: Node, rng: np.random.Generator) -> Node:
    """An input of numbers with drawn facts."""
    dtype = item.dtype
    if dtype.is_integer:
        top = 1 << (dtype.bits - (dtype.kind == "i"))
        least = -top if dtype.kind == "i" else 0
        ends = [
            least,
            top - 1,
            *(x for x in range(-4, 9) if least <= x < top),
            least // 2,
            top // 3,
        ]
        least, most = sorted(int(rng.choice(np.array(ends, object))) for _ in range(2))
        return Node(promise, (item,), {"low": least, "high": most, "nan": 0, "zero": 0, "whole": 1})
    numbers = as_numbers_of(dtype, SIGNED)
    whole = bool(rng.integers(2))
    if whole:
        numbers = np.rint(numbers)
    low, high = sorted(map(float, rng.choice(numbers[~np.isnan(numbers)], 2) + 0.0))
    nan, zero = bool(rng.integers(4) == 0), bool(rng.integers(2)) and low <= 0 <= high
    attrs = {"low": low, "high": high, "nan": int(nan), "zero": int(zero), "whole": int(whole)}
    return Node(promise, (item,), attrs)


def kept(node: Node, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    """An array of which the facts of a promise hold, its ends among the elements."""
    facts, dtype = facts_of(node), node.dtype
    if dtype.is_integer:
        low, high = int(facts.low), int(facts.high)
        middle = [x for x in (*range(-3, 4), (low + high) // 2) if low <= x <= high]
        made = rng.choice(np.array([low, high, low, high, *middle], object), shape)
        return (made.astype(np.int64) if dtype.bits < 8 else made).astype(dtype.numpy)
    start, end = float(node.attrs["low"]), float(node.attrs["high"])
    span = np.concatenate([SIGNED, rng.normal(size=20), 30 * rng.normal(size=8)])
    span = as_numbers_of(dtype, span)
    span = np.rint(span) if facts.integer_valued else span
    span = span[(span >= start) & (span <= end)] + 0.0
    choice = [start, end, start, end, *span]
    choice += [np.nan] * 5 if facts.may_be_nan else []
    choice += [-0.0] * 5 if facts.may_be_negative_zero else []
    return rng.choice(np.array(choice), shape).astype(dtype.numpy)


def is_numeric(item: Node) -> bool:
    kind = item.derived_type
    if not isinstance(kind, TensorType):
        return False
    return kind.dtype.bits >= (16 if kind.dtype.is_float else 8) and kind.dtype.kind in "iuf"


def check_promises(op: Op, trials: int) -> list[str]:
    """Violations by an op's examples on inputs of which facts are promised, and hold."""
    assert op.example is not None
    found: list[str] = []
    for number, node in enumerate(op.example()):
        for sizes in harness.bindings(node):
            for trial in range(trials):
                rng = np.random.default_rng((number, trial))
                found += _broken_promises(node, sizes, rng)
    return found


def _broken_promises(node: Node, sizes: harness.Sizes, rng: np.random.Generator) -> list[str]:
    given = harness.feeds(node, sizes, int(rng.integers(9)))
    if node.op.has_bodies:
        return []  # numbers may be those of iterations
    sizes_of = {node.inputs[k] for k in node.op.facts.host_inputs if k < len(node.inputs)}
    free = [item for item in given if is_numeric(item) and item not in sizes_of]
    known = {item: promised(item, rng) for item in free}
    for item, made in known.items():
        given[item] = kept(made, np.shape(given[item]), rng)
    try:
        (root,) = rebuild((node,), known.get)
        values = harness.run(root, given)
    except GraphoptError:
        return []  # such numbers may be refused
    return wrong_facts(values)


PROVING = [(name, op) for name, op in example_nodes() if op.bounds_rule or op.facts.moves]


@pytest.mark.parametrize("op", [pytest.param(op, id=name) for name, op in PROVING])
def test_facts_of_results_follow_from_those_of_inputs(op: Op) -> None:
    assert check_promises(op, 12) == []


# A fault in a rule is found.


def without_nan(facts: ValueFacts) -> ValueFacts:
    return replace(facts, may_be_nan=False)


def without_negative_zero(facts: ValueFacts) -> ValueFacts:
    return replace(facts, may_be_negative_zero=False)


def only_whole(facts: ValueFacts) -> ValueFacts:
    return replace(facts, integer_valued=True)


def too_high(facts: ValueFacts) -> ValueFacts:
    return replace(facts, low=facts.low + 0.01 * (1 + abs(facts.low))) if facts.low < 0 else facts


def too_low(facts: ValueFacts) -> ValueFacts:
    return replace(facts, high=facts.high * 0.99) if facts.high > 0 else facts


FAULTS = [
    (arithmetic.add, without_nan),
    (arithmetic.mul, without_nan),
    (arithmetic.div, without_nan),
    (functions.sqrt, without_nan),
    (functions.log, without_nan),
    (activation.swish, without_nan),
    (reduction.reduce_mean, without_nan),
    (softmax.softmax, without_nan),
    (cast.cast, without_nan),
    (arithmetic.mul, without_negative_zero),
    (functions.neg, without_negative_zero),
    (functions.ceil, without_negative_zero),
    (functions.sqrt, without_negative_zero),
    (arithmetic.mul, only_whole),
    (reduction.reduce_mean, only_whole),
    (arithmetic.sub, too_high),
    (activation.leaky_relu, too_high),
    (activation.gelu, too_high),
    (functions.tanh, too_low),
    (functions.exp, too_low),
    (arithmetic.div, too_low),
    (reduction.reduce_sum, too_low),
    (pool.average_pool, too_low),
    (cast.cast, too_low),
]


@pytest.mark.parametrize(
    ("op", "fault"), [pytest.param(*x, id=f"{x[0]}-{x[1].__name__}") for x in FAULTS]
)
def test_fault_in_a_rule_is_found(
    op: Op, fault: Callable[[ValueFacts], ValueFacts], monkeypatch: pytest.MonkeyPatch
) -> None:
    right = op.bounds_rule
    assert right is not None

    def wrong(node: Node, *inputs: ValueFacts | None) -> ValueFacts:
        made = right(node, *inputs)
        assert isinstance(made, ValueFacts)
        return fault(made)

    monkeypatch.setattr(op, "bounds_rule", wrong)
    memo: WeakKeyDictionary[Node, ranges.Found] = WeakKeyDictionary()
    monkeypatch.setattr(ranges, "_memo", memo)
    assert check_promises(op, 3 if op is cast.cast else 12) != []


# Chains of element-wise ops.

UNARY = (
    functions.absolute, functions.neg, functions.sign, functions.floor, functions.ceil,
    functions.reciprocal, functions.sqrt, functions.exp, functions.log, functions.sin,
    functions.tanh, functions.erf, activation.relu, activation.leaky_relu, activation.sigmoid,
    activation.elu, activation.hard_sigmoid, activation.swish, activation.softplus,
    activation.gelu, activation.thresholded_relu, activation.softsign,
)  # fmt: skip
BINARY = (
    arithmetic.add, arithmetic.sub, arithmetic.mul, arithmetic.div, arithmetic.max_,
    arithmetic.min_, arithmetic.mod, arithmetic.power, arithmetic.mean, arithmetic.sum_,
)  # fmt: skip
NUMBERS = (0.0, -0.0, 1.0, -1.0, 0.5, 2.0, -3.0, 1e-30, 1e30, np.inf, -np.inf, np.nan)
KINDS = (DType.FLOAT32, DType.FLOAT64, DType.FLOAT16, DType.BFLOAT16)


@given(st.data(), st.sampled_from(KINDS), st.integers(0, 2**32 - 1))
def test_facts_of_chains_hold(data: st.DataObject, dtype: DType, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, y = (graph_input(name, TensorType(dtype, (40,))) for name in "xy")
    made = [promised(x, rng), promised(y, rng)]
    given = {item: kept(each, (40,), rng) for item, each in zip((x, y), list(made), strict=True)}
    made.append(constant(data.draw(st.sampled_from(NUMBERS)), dtype))
    for _ in range(3):
        one, other = (data.draw(st.sampled_from(made)) for _ in "ab")
        if data.draw(st.booleans()):
            made.append(data.draw(st.sampled_from(UNARY))(one))
        elif data.draw(st.booleans()):
            made.append(data.draw(st.sampled_from(BINARY))(one, other))
        else:
            made.append(logic.where(logic.less(one, other), one, other))
    values = dict(given)
    for node in made:
        values |= harness.run(node, values)
    assert wrong_facts(values) == []
