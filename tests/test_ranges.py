"""What is proven of values: constants, sizes, overflow, NaN, the sign of zero; and at what cost."""

from __future__ import annotations

import gc
from math import inf, nan
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphopt import dims, ranges
from graphopt.ir import Node
from graphopt.ops import (
    activation,
    arithmetic,
    cast,
    functions,
    generate,
    indexing,
    logic,
    padding,
    pool,
    reduction,
    selection,
    shape,
    slicing,
    softmax,
)
from graphopt.ranges import ANYTHING, ValueFacts, facts_of, outward, top_of
from graphopt.rewriting import guards
from graphopt.structural import constant, graph_input, opaque, out, refine
from graphopt.tensor import Tensor
from graphopt.types import DType, SequenceType, TensorType, dtype_of
from tests.work import steps


def value(*sizes: Any, dtype: str = "float32", name: str = "x") -> Node:
    """A graph input; a size may be the name of a symbol."""
    shape = tuple(dims.symbol(size) if isinstance(size, str) else size for size in sizes)
    return graph_input(name, TensorType(dtype_of(dtype), shape))


def floats(*numbers: float, dtype: DType = DType.FLOAT32) -> Node:
    return constant(list(numbers), dtype)


# Where facts come from.


@pytest.mark.parametrize("dtype", list(DType))
def test_input_has_the_range_of_its_dtype(dtype: DType) -> None:
    facts = facts_of(graph_input("x", TensorType(dtype, (3,))))
    if dtype.is_integer:
        limits: Any = ml_dtypes.iinfo
        info = limits(dtype.numpy)
        assert (facts.low, facts.high) == (info.min, info.max)
        assert facts.integer_valued and facts.finite and not facts.may_be_negative_zero
    elif dtype is DType.BOOL:
        assert facts == ValueFacts(0, 1, integer_valued=True)
    else:
        assert facts == ANYTHING


def test_constants_are_read() -> None:
    assert facts_of(floats(1.5, -2)) == ValueFacts(-2, 1.5)
    assert facts_of(floats(3, 0.0)) == ValueFacts(0, 3, integer_valued=True)
    assert facts_of(floats(-0.0)).may_be_negative_zero
    assert facts_of(floats(1, nan)) == ValueFacts(1, 1, may_be_nan=True, integer_valued=True)
    assert facts_of(floats(nan)) == ANYTHING
    assert facts_of(floats(-inf, 2)) == ValueFacts(-inf, 2, integer_valued=True)
    assert facts_of(constant([], DType.FLOAT32)) == ANYTHING
    most = (1 << 64) - 1
    assert facts_of(constant([5, most], DType.UINT64)).high == most
    assert facts_of(constant([-8, 7], DType.INT4)).low == -8
    assert facts_of(constant(["a"])) == ANYTHING


def test_large_constants_are_not_read_but_splats_are() -> None:
    big = np.ones(1 << 19, np.float32)
    assert facts_of(constant(big)) == ANYTHING
    assert facts_of(constant(big[: 1 << 18])) == ValueFacts(1, 1, integer_valued=True)
    splat = constant(Tensor.splat(DType.FLOAT32, (1 << 30,), 0.5))
    assert facts_of(splat) == ValueFacts(0.5, 0.5)


def test_subnormal_bound_counts_as_zero() -> None:
    """A backend that flushes subnormal numbers finds 0 there."""
    assert not facts_of(floats(1e-40)).positive
    assert facts_of(floats(1e-37)).positive
    assert facts_of(floats(-1e-40)).high == 0


def test_sizes_are_not_negative() -> None:
    x = value("N", 3)
    assert facts_of(shape.shape(x)).low == 0
    assert facts_of(slicing.slice_(shape.shape(x), constant([1]), constant([2]))).high == 3
    assert facts_of(shape.size(graph_input("x", TensorType(DType.FLOAT32, None)))).low == 0
    assert facts_of(selection.non_zero(x)).non_negative
    assert facts_of(reduction.arg_max(x, axis=1)) == ValueFacts(0, 2, integer_valued=True)


def test_several_outputs_have_facts_each() -> None:
    x = activation.relu(value(4))
    top = selection.top_k(x, constant([2]))
    assert facts_of(out(top, 0)) == facts_of(x)
    assert facts_of(out(top, 1)).non_negative and facts_of(out(top, 1)).integer_valued
    parts = slicing.split(x, num_outputs=2, outputs=2)
    assert facts_of(out(parts, 1)) == facts_of(x)
    assert facts_of(parts) == ANYTHING


def test_what_is_no_tensor_of_numbers_is_anything() -> None:
    sequence = graph_input("s", SequenceType(TensorType(DType.FLOAT32, ())))
    strange = opaque("odd", "Op", (value(2),), origin=1, types=(TensorType(DType.FLOAT32, (2,)),),
                     attrs={})  # fmt: skip
    for node in (sequence, strange, value(2, dtype="complex64"), arithmetic.add(strange, strange)):
        assert facts_of(node) == ANYTHING


def test_refined_value_keeps_its_facts() -> None:
    made = activation.sigmoid(value("N"))
    assert facts_of(refine(made, type=TensorType(DType.FLOAT32, (3,)))) == facts_of(made)


# What follows from them.


def test_activations() -> None:
    x = value(3)
    assert facts_of(activation.relu(x)) == ValueFacts(0, inf, may_be_nan=True)
    sigmoid = facts_of(activation.sigmoid(x))
    assert (sigmoid.low, sigmoid.high, sigmoid.may_be_nan) == (0, 1, True)
    assert facts_of(functions.tanh(x)).high == 1
    assert facts_of(functions.erf(x)).high > 1  # some backends exceed it by an ulp
    assert facts_of(functions.exp(x)) == ValueFacts(0, inf, may_be_nan=True)
    assert not facts_of(functions.exp(x)).positive  # it underflows
    assert facts_of(functions.exp(activation.relu(x))).positive
    assert not facts_of(softmax.softmax(activation.sigmoid(floats(1, 2)))).may_be_nan
    assert facts_of(softmax.softmax(x)).may_be_nan  # inf - inf
    assert not facts_of(activation.thresholded_relu(x)).may_be_nan
    assert facts_of(activation.swish(activation.relu(floats(-1, 2)))).non_negative


def test_squares_are_not_negative() -> None:
    x = value(3)
    for made in (arithmetic.mul(x, x), arithmetic.power(x, floats(2)), functions.absolute(x)):
        assert facts_of(made).non_negative
        assert not facts_of(made).may_be_negative_zero
        assert facts_of(made).may_be_nan
    assert not facts_of(arithmetic.mul(x, value(3, name="y"))).non_negative
    assert not facts_of(arithmetic.power(x, floats(3))).non_negative
    assert facts_of(arithmetic.power(activation.relu(x), floats(0.5))).non_negative


def test_negative_zero() -> None:
    x = value(3)
    assert facts_of(x).may_be_negative_zero
    assert not facts_of(arithmetic.add(x, floats(0.0))).may_be_negative_zero
    assert facts_of(arithmetic.add(x, floats(-0.0))).may_be_negative_zero
    assert facts_of(functions.neg(activation.relu(x))).may_be_negative_zero
    assert facts_of(functions.ceil(activation.sigmoid(x))).may_be_negative_zero is False
    assert facts_of(functions.ceil(functions.tanh(x))).may_be_negative_zero
    assert facts_of(functions.round_(floats(-0.3, 0.3))).may_be_negative_zero
    assert not facts_of(functions.floor(activation.sigmoid(x))).may_be_negative_zero
    assert facts_of(functions.sqrt(x)).may_be_negative_zero
    assert not facts_of(arithmetic.max_(x, floats(0.0))).may_be_negative_zero
    assert facts_of(arithmetic.min_(x, floats(0.0))).may_be_negative_zero
    assert facts_of(arithmetic.mul(floats(1e-30, 1), floats(-1e-30, 1))).may_be_negative_zero
    assert not facts_of(arithmetic.mul(activation.relu(x), floats(2))).may_be_negative_zero
    assert facts_of(arithmetic.mul(activation.relu(x), floats(-2))).may_be_negative_zero
    assert not facts_of(arithmetic.sub(x, x)).may_be_negative_zero


def test_nan_arises() -> None:
    x = floats(-inf, inf)
    zero, tame = floats(0, 1), floats(2, 3)
    for made in (
        arithmetic.add(x, x), arithmetic.sub(x, x), arithmetic.mul(x, zero),
        arithmetic.div(zero, zero), arithmetic.div(x, x), functions.sin(x), functions.sqrt(x),
        functions.log(floats(-1, 1)), functions.asin(tame), functions.acosh(zero),
        arithmetic.mod(tame, zero), arithmetic.power(floats(-1, 2), floats(0.5)),
        reduction.reduce_sum(x), reduction.reduce_mean(value(0, 2)), activation.swish(x),
    ):  # fmt: skip
        assert facts_of(made).may_be_nan, made
    for made in (
        arithmetic.add(tame, x), arithmetic.mul(tame, x), arithmetic.div(zero, tame),
        functions.exp(x), functions.sqrt(zero), functions.log(tame), functions.tanh(x),
        arithmetic.max_(x, tame), reduction.reduce_max(x), functions.sin(tame),
        reduction.reduce_mean(tame),
    ):  # fmt: skip
        assert not facts_of(made).may_be_nan, made


def test_floats_overflow() -> None:
    for dtype, most in ((DType.FLOAT16, 6e4), (DType.FLOAT32, 3e38), (DType.FLOAT64, 1.7e308)):
        x = floats(most, dtype=dtype)
        assert facts_of(arithmetic.add(x, x)).high == inf
        assert not facts_of(arithmetic.mul(x, x)).finite
        assert facts_of(arithmetic.sub(x, x)).finite
        assert facts_of(arithmetic.mul(x, floats(0.5, dtype=dtype))).finite
    both = floats(-3e38, 3e38)
    assert facts_of(reduction.reduce_sum(both)).may_be_nan  # inf - inf, of parts of the sum


def test_integers_wrap_around() -> None:
    x = value(3, dtype="int32")
    small = arithmetic.clip(x, constant(0, DType.INT32), constant(1000, DType.INT32))
    million = arithmetic.mul(small, small)
    assert (facts_of(million).low, facts_of(million).high) == (0, 1000_000)
    assert facts_of(arithmetic.mul(million, million)) == top_of(DType.INT32)
    assert facts_of(arithmetic.add(x, constant([1], DType.INT32))) == top_of(DType.INT32)
    assert facts_of(functions.absolute(x)) == top_of(DType.INT32)  # |-2^31| is -2^31
    assert facts_of(functions.absolute(functions.neg(small))).high == 1000
    assert facts_of(functions.neg(x)) == top_of(DType.INT32)
    assert facts_of(arithmetic.div(x, constant([-1], DType.INT32))) == top_of(DType.INT32)
    assert facts_of(arithmetic.div(x, constant([2], DType.INT32))).high == (1 << 30) - 1
    assert facts_of(reduction.reduce_sum(small)).high == 3000
    assert facts_of(arithmetic.mod(x, constant([5], DType.INT32))).high == 4
    huge = arithmetic.power(value(3, dtype="int64"), constant([60]))
    assert facts_of(huge) == top_of(DType.INT64)
    assert facts_of(arithmetic.power(small, constant([3], DType.INT32))).high == 10**9


def test_casts() -> None:
    x = value(3)
    unit = activation.sigmoid(floats(-100, 100))
    assert facts_of(cast.cast(x, to=DType.INT32)) == top_of(DType.INT32)  # of NaN, anything
    assert facts_of(cast.cast(unit, to=DType.INT32)) == ValueFacts(0, 1, integer_valued=True)
    whole = facts_of(cast.cast(value(3, dtype="int64"), to=DType.FLOAT32))
    assert whole.integer_valued and whole.finite and not whole.may_be_negative_zero
    assert whole.high >= 2.0**63
    half = facts_of(cast.cast(value(3, dtype="int32"), to=DType.FLOAT16))
    assert half.high == inf and not half.may_be_nan
    wide = floats(-1e-300, 1e300, dtype=DType.FLOAT64)
    narrow = facts_of(cast.cast(wide, to=DType.FLOAT32))
    assert narrow.high == inf and narrow.may_be_negative_zero
    assert facts_of(cast.cast(floats(1, 2), to=DType.BOOL)).low == 1
    assert facts_of(cast.cast(constant([300]), to=DType.UINT8)) == top_of(DType.UINT8)
    big = cast.cast(arithmetic.clip(value(3, dtype="int32"), constant(0, DType.INT32)),
                    to=DType.INT8)  # fmt: skip
    assert facts_of(big) == top_of(DType.INT8)


def test_reductions_of_nothing() -> None:
    unit = activation.sigmoid(value("N", 4))
    last, first = constant([1]), constant([0])
    assert facts_of(reduction.reduce_max(unit, last)).low == 0
    assert facts_of(reduction.reduce_max(unit, first)).low == -inf
    assert facts_of(reduction.reduce_min(unit, first)).high == inf
    assert facts_of(reduction.reduce_mean(floats(1, 2))).positive
    assert facts_of(reduction.reduce_sum(functions.exp(activation.relu(value("N"))))).low == 0
    assert facts_of(reduction.reduce_sum_square(value(3))).non_negative
    total = facts_of(reduction.reduce_sum(floats(1, 2)))
    assert total.low == pytest.approx(2, rel=1e-5)
    assert total.high == pytest.approx(4, rel=1e-5)
    assert not facts_of(reduction.reduce_l2(floats(1, 2))).may_be_negative_zero


def test_movement_and_choice() -> None:
    unit, half = activation.sigmoid(value(3)), floats(0.5)
    joined = slicing.concat(unit, functions.neg(unit), axis=0)
    assert (facts_of(joined).low, facts_of(joined).high) == (-1, 1)
    assert facts_of(indexing.gather(unit, constant([0]))) == facts_of(unit)
    pads = constant([1, 1])
    assert facts_of(padding.pad(half, pads)).low == 0
    assert facts_of(padding.pad(half, pads, constant(-3, DType.FLOAT32))).low == -3
    assert facts_of(padding.pad(half, pads, mode="edge")) == facts_of(half)
    condition = value(3, dtype="bool")
    assert facts_of(logic.where(condition, half, floats(2))) == ValueFacts(0.5, 2)
    assert facts_of(logic.greater_or_equal(activation.relu(floats(-1, 2)), floats(0))).low == 1
    assert facts_of(logic.less(unit, floats(0))).high == 0
    assert facts_of(logic.greater_or_equal(unit, floats(0))).low == 0  # false of NaN
    filled = generate.constant_of_shape(shape.shape(value("N")), value=Tensor.of([7.0]))
    assert facts_of(filled).low == 7
    steps = generate.range_(constant(0), shape.size(value("N", 3)), constant(1))
    assert facts_of(steps).non_negative


def test_windows_that_see_only_padding() -> None:
    x = activation.sigmoid(value(1, 2, "H", 6))
    wide = pool.max_pool(x, kernel_shape=(3, 3), pads=(1, 1, 1, 1), strides=(2, 2))
    assert facts_of(wide).low == 0
    assert facts_of(pool.max_pool(x, kernel_shape=(2, 2), pads=(1, 1, 1, 1))).low == -inf
    still = activation.sigmoid(value(1, 2, 5, 6))
    assert facts_of(pool.max_pool(still, kernel_shape=(2, 2), pads=(1, 1, 1, 1))).low == 0
    apart = pool.max_pool(still, kernel_shape=(2, 2), pads=(1, 1, 1, 1), dilations=(4, 4))
    assert facts_of(apart).low == -inf
    high = arithmetic.clip(value(1, 2, 5, 6), constant(0.5, DType.FLOAT32))
    mean = pool.average_pool(high, kernel_shape=(2, 2))
    assert facts_of(mean).positive


# Bounds of floats.


@given(
    st.floats(allow_nan=False),
    st.sampled_from([DType.FLOAT16, DType.BFLOAT16, DType.FLOAT32, DType.FLOAT64]),
)
def test_outward_bounds_are_the_nearest_numbers(number: float, dtype: DType) -> None:
    low, high = outward(dtype, number, number)
    assert low <= number <= high
    for bound in (low, high):
        assert float(np.asarray(bound).astype(dtype.numpy)) == bound
    limits: Any = ml_dtypes.finfo
    tiny = float(limits(dtype.numpy).tiny)
    if low < high and tiny <= abs(number):
        with np.errstate(over="ignore"):
            after = np.nextafter(np.asarray(low).astype(dtype.numpy), dtype.numpy.type(inf))
        assert float(after) == high


def test_union() -> None:
    one = ValueFacts(0, 1, integer_valued=True)
    other = ValueFacts(-2, 0.5, may_be_nan=True)
    assert one.union(other) == ValueFacts(-2, 1, may_be_nan=True)
    assert one.union(one) is one


def test_properties() -> None:
    assert ValueFacts(0, 1).non_negative and not ValueFacts(0, 1).positive
    assert ValueFacts(0.5, 1).positive
    assert ValueFacts(-1, 1).finite and not ValueFacts(-1, 1, may_be_nan=True).finite
    assert not ValueFacts(0, inf).finite and not ValueFacts(-inf, 0).finite


# Cost.


def test_twice_the_chain_is_twice_the_work() -> None:
    def counted(length: int) -> int:
        node = value(3, name=f"of {length}")
        for k in range(length):
            node = arithmetic.add(activation.relu(node), floats(k % 7))
        found: list[ValueFacts] = []
        made = steps(lambda: found.append(facts_of(node)))
        assert found[0].non_negative
        return made

    counted(10)
    assert counted(4000) < 2.2 * counted(2000)


def test_only_what_is_asked_for_is_worked_out() -> None:
    deep = arithmetic.add(value(3), floats(0.125))
    made = functions.floor(deep)
    known = shape.shape(made)
    facts_of(known)
    assert deep not in ranges._memo  # pyright: ignore[reportPrivateUsage]
    facts_of(made)
    assert deep in ranges._memo  # pyright: ignore[reportPrivateUsage]


def test_facts_die_with_their_nodes() -> None:
    before = len(ranges._memo)  # pyright: ignore[reportPrivateUsage]
    node = arithmetic.add(value(3, name="gone"), floats(0.1875))
    facts_of(node)
    assert len(ranges._memo) > before  # pyright: ignore[reportPrivateUsage]
    del node
    gc.collect()
    assert len(ranges._memo) <= before  # pyright: ignore[reportPrivateUsage]


# Guards.


def test_guards_ask_for_facts() -> None:
    x, unit = value(3), activation.sigmoid(activation.relu(floats(-1, 2)))
    for guard in (
        guards.never_nan("a"), guards.never_negative_zero("a"), guards.non_negative("a"),
        guards.positive("a"), guards.finite("a"), guards.within("a", 0, 1),
        guards.integer_valued("a"),
    ):  # fmt: skip
        assert guard.wants == ("a",)
        assert guard.test(x) is False  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    for guard in (guards.never_nan("a"), guards.positive("a"), guards.within("a", 0, 1)):
        assert guard.test(unit) is True  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    assert guards.never_nan("c").name == "c is never NaN"
    assert guards.within("a", 0, 6).name == "a is between 0 and 6"


def test_guards_of_shapes_and_uses() -> None:
    x, y = value("N", 3), value("N", 3, name="y")
    same: Any = guards.same_shape("x", "y").test
    assert same(x, y) and not same(x, value(3))
    once: Any = guards.used_once("x").test

    def twice(node: Node) -> int:
        return 2 if node is x else 1

    assert once(y, twice) and not once(x, twice)
