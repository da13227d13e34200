"""What the rules of algebra make of programs, and what they leave alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from graphopt.ir import Node
from graphopt.ops.activation import prelu, relu, sigmoid
from graphopt.ops.arithmetic import add, clip, div, max_, min_, mod, mul, power, sub, sum_
from graphopt.ops.functions import absolute, exp, floor, log, neg, reciprocal, sqrt
from graphopt.ops.linalg import matmul
from graphopt.ops.logic import (
    and_,
    bitwise_and,
    equal,
    greater,
    greater_or_equal,
    less,
    not_,
    or_,
    where,
    xor,
)
from graphopt.ops.reduction import arg_max, reduce_max, reduce_sum
from graphopt.ops.softmax import softmax
from graphopt.rewriting.examples import example, filled, ints
from graphopt.rewriting.rule import Math
from graphopt.structural import constant
from graphopt.types import DType
from tests.passes.algebra import agree, ops, simplified, value_of
from tests.work import steps

A, B, C, D = (example("float32[N, 3]", name) for name in "abcd")
H, J, K = (example("int32[2, 3]", name) for name in "hjk")
P, Q = example("bool[2, 3]", "p"), example("bool[2, 3]", "q")
ONE, OTHER = example("float32[]", "s"), example("float32[]", "t")
BITS: dict[int, Any] = {2: np.uint16, 4: np.uint32, 8: np.uint64}


def whole(number: int, dtype: str = "int32") -> Node:
    """A scalar constant."""
    return filled(number, dtype=dtype)


REWRITES: list[tuple[str, Callable[[], Node], list[str]]] = [
    ("chain", lambda: add(add(add(A, B), C), D), ["Sum"]),
    ("turned chain", lambda: add(D, add(C, add(A, B))), ["Sum"]),
    ("nested sum", lambda: sum_(sum_(A, B, C), D), ["Sum"]),
    ("thrice", lambda: add(add(A, A), A), ["Mul"]),
    ("four times", lambda: add(add(A, A), add(A, A)), ["Mul"]),
    ("five times", lambda: add(add(add(add(A, A), A), A), A), ["Mul"]),
    ("sum of three", lambda: sum_(A, A, A), ["Mul"]),
    ("eight integers", lambda: add(mul(H, whole(7)), H), ["Mul"]),
    ("constants", lambda: add(add(A, filled(1)), filled(2)), ["Add"]),
    ("integer constants", lambda: sub(whole(5), sub(whole(3), H)), ["Add"]),
    ("constants across", lambda: add(add(H, whole(1)), add(J, whole(2))), ["Add", "Add"]),
    ("products", lambda: mul(mul(A, filled(3)), filled(5)), ["Mul"]),
    ("int x - x", lambda: sub(H, H), []),
    ("int x * 0", lambda: mul(H, whole(0)), []),
    ("int x + y - y", lambda: sub(add(H, J), J), []),
    ("where(p, a, a)", lambda: where(P, H, H), []),
    ("where(not p)", lambda: where(not_(P), H, J), ["Where"]),
    ("where on one predicate", lambda: where(P, where(P, H, J), K), ["Where"]),
    ("where to and", lambda: where(P, Q, whole(0, "bool")), ["And"]),
    ("where to max", lambda: where(greater(H, J), H, J), ["Max"]),
    ("not >", lambda: not_(greater(H, J)), ["LessOrEqual"]),
    ("de Morgan", lambda: and_(not_(P), not_(Q)), ["Or", "Not"]),
    ("x and (x or y)", lambda: and_(P, or_(P, Q)), []),
    ("not xor", lambda: not_(xor(P, Q)), ["Equal"]),
    ("x < x", lambda: less(H, H), []),
    ("max(x, y) < x", lambda: less(max_(H, J), H), []),
    ("mod < bound", lambda: less(mod(H, whole(7)), whole(7)), []),
    ("relu >= 0 of integers", lambda: greater_or_equal(relu(H), whole(0)), []),
    ("bits", lambda: bitwise_and(bitwise_and(H, whole(12)), whole(6)), ["BitwiseAnd"]),
    ("quotient twice", lambda: div(div(H, whole(3)), whole(5)), ["Div"]),
    ("rest", lambda: sub(H, mul(div(H, J), J)), ["Mod"]),
    ("whole", lambda: add(mul(div(H, J), J), mod(H, J, fmod=1)), []),
    ("a - -b", lambda: sub(A, neg(B)), ["Add"]),
    ("a + -b", lambda: add(A, neg(B)), ["Sub"]),
    ("-a * -b", lambda: mul(neg(A), neg(B)), ["Mul"]),
    ("-(i - j)", lambda: neg(sub(H, J)), ["Sub"]),
    ("|-a|", lambda: absolute(neg(A)), ["Abs"]),
    ("|a * a|, of exp", lambda: absolute(exp(A)), ["Exp"]),
    ("power 2", lambda: power(A, filled(2)), ["Mul"]),
    ("power -1", lambda: power(A, filled(-1)), ["Reciprocal"]),
    ("power 1", lambda: power(A, filled(1)), []),
    ("power 0", lambda: power(H, filled(0)), []),
    ("1 / a", lambda: div(filled(1), A), ["Reciprocal"]),
    ("a * (1 / b)", lambda: mul(A, reciprocal(B)), ["Div"]),
    ("a / 8", lambda: div(A, filled(8)), ["Mul"]),
    ("a / 3", lambda: div(A, filled(3)), ["Div"]),
    ("sum of squares", lambda: reduce_sum(mul(A, A), ints(1)), ["ReduceSumSquare"]),
    ("norm", lambda: sqrt(reduce_sum(mul(A, A), ints(1))), ["ReduceL2"]),
    ("log sum exp", lambda: log(reduce_sum(exp(A), ints(1))), ["ReduceLogSumExp"]),
    ("log softmax", lambda: log(softmax(A)), ["LogSoftmax"]),
    ("sigmoid", lambda: div(filled(1), add(filled(1), exp(neg(A)))), ["Sigmoid"]),
    ("softplus", lambda: log(add(exp(A), filled(1))), ["Softplus"]),
    ("relu of relu", lambda: relu(absolute(relu(H))), ["Relu"]),
    ("floor of whole", lambda: floor(neg(floor(A))), ["Floor", "Neg"]),
    ("clip twice", lambda: clip(clip(A, filled(-2), filled(6)), filled(-3), filled(4)), ["Clip"]),
    ("clip of sigmoid", lambda: clip(sigmoid(A), filled(-1), filled(2)), ["Sigmoid"]),
    ("min max", lambda: min_(max_(A, filled(-1)), filled(6)), ["Clip"]),
    ("max 0", lambda: max_(A, filled(0)), ["Relu"]),
    ("leaky", lambda: max_(A, mul(A, filled(0.25))), ["LeakyRelu"]),
    ("prelu", lambda: prelu(A, filled(0.25)), ["LeakyRelu"]),
    ("max of constants", lambda: max_(max_(filled(1), A), filled(2)), ["Max"]),
    ("max of relu", lambda: reduce_max(relu(A), ints(1)), ["ReduceMax", "Relu"]),
    ("max of exp", lambda: reduce_max(exp(A), ints(1)), ["ReduceMax", "Exp"]),
    ("argmax of -x", lambda: arg_max(neg(A), axis=1), ["ArgMin"]),
    ("common factor", lambda: add(mul(H, J), mul(K, H)), ["Add", "Mul"]),
    ("common power of two", lambda: add(mul(A, filled(4)), mul(B, filled(4))), ["Add", "Mul"]),
    ("equal true", lambda: equal(P, whole(1, "bool")), []),
]  # fmt: skip


@pytest.mark.parametrize(("make", "left"), [r[1:] for r in REWRITES], ids=[r[0] for r in REWRITES])
def test_rewrites(make: Callable[[], Node], left: list[str]) -> None:
    root = make()
    assert ops(simplified(root)) == left


FAST: list[tuple[str, Callable[[], Node], list[str]]] = [
    ("common factor", lambda: add(mul(A, B), mul(A, C)), ["Add", "Mul"]),
    ("sum of products", lambda: sum_(mul(A, B), mul(C, A), mul(A, D)), ["Sum", "Mul"]),
    ("common divisor", lambda: add(div(B, A), div(C, A)), ["Add", "Div"]),
    ("broadcasts", lambda: mul(mul(A, ONE), mul(B, OTHER)), ["Mul", "Mul", "Mul"]),
    ("a / 3", lambda: div(A, filled(3)), ["Mul"]),
    ("1 / (1 / a)", lambda: reciprocal(reciprocal(A)), []),
    ("exp * exp", lambda: mul(exp(A), exp(B)), ["Add", "Exp"]),
    ("exp / exp", lambda: div(exp(A), exp(B)), ["Sub", "Exp"]),
    ("log exp", lambda: log(exp(A)), []),
    ("sqrt * sqrt", lambda: mul(sqrt(A), sqrt(A)), []),
    ("softmax(x + c)", lambda: softmax(add(A, filled(3))), ["Softmax"]),
    ("constants of a sum", lambda: sum_(filled(1, 3), A, filled(2, 3), B), ["Sum"]),
]  # fmt: skip


@pytest.mark.parametrize(("make", "left"), [r[1:] for r in FAST], ids=[r[0] for r in FAST])
def test_rewrites_of_fast_math(make: Callable[[], Node], left: list[str]) -> None:
    root = make()
    made = simplified(root, Math.FAST)
    assert made is not root
    assert ops(made) == left
    assert simplified(root) is root


def sweep_of_bits(dtype: Any, count: int = 1 << 16) -> np.ndarray[Any, Any]:
    """Elements of all kinds: all of them of 16 bits, else random ones and each edge."""
    kind = BITS[np.dtype(dtype).itemsize]
    if kind is np.uint16:
        return np.arange(1 << 16, dtype=kind).view(dtype)
    rng = np.random.default_rng(0)
    made = rng.integers(0, np.iinfo(kind).max, count, kind)
    tiny = np.arange(4096, dtype=kind)
    top = np.asarray(np.finfo(dtype).max, dtype).view(kind) - tiny
    return np.concatenate([made, tiny, top, top | kind(1 << (8 * made.itemsize - 1))]).view(dtype)


DTYPES = [
    (DType.FLOAT16, np.float16),
    (DType.BFLOAT16, ml_dtypes.bfloat16),
    (DType.FLOAT32, np.float32),
    (DType.FLOAT64, np.float64),
]


@pytest.mark.parametrize(("kind", "dtype"), DTYPES, ids=[str(kind) for kind, _ in DTYPES])
@pytest.mark.parametrize("times", [2, 3, 4, 5])
def test_multiples_are_exact(kind: DType, dtype: Any, times: int) -> None:
    x = example(f"{kind}[N]")
    root = x
    for _ in range(times - 1):
        root = add(root, x)
    made = simplified(root)
    assert ops(made) == ["Mul"]
    data = sweep_of_bits(dtype)
    left, right = value_of(root, x=data), value_of(made, x=data)
    nan = np.isnan(left.astype(np.float64))
    assert (np.isnan(right.astype(np.float64)) == nan).all()
    assert left[~nan].tobytes() == right[~nan].tobytes()


@pytest.mark.parametrize("kind", [DType.FLOAT32, DType.FLOAT64])
def test_forty_doublings_are_one_product(kind: DType) -> None:
    def doubled(times: int) -> Node:
        made = x
        for _ in range(times):
            made = add(made, made)
        return made

    x = example(f"{kind}[N]")
    root = doubled(40)
    made = simplified(root)
    assert ops(made) == ["Mul"]
    assert steps(lambda: simplified(root)) < 2.4 * steps(lambda: simplified(doubled(20)))
    (factor,) = (item.constant for item in made.inputs if item is not x)
    assert factor is not None
    assert factor.element == 2.0**40
    data = sweep_of_bits(kind.numpy)
    agree(root, made, x=data)
    agree(root, made, x=[0.0, -0.0, np.inf, -np.inf, np.nan, np.finfo(kind.numpy).tiny / 4])


def test_forty_doublings_of_float16_are_not_one() -> None:
    root = example("float16[N]")
    for _ in range(40):
        root = add(root, root)
    made = simplified(root)
    assert ops(made) == ["Mul", "Mul", "Mul"]
    agree(root, made, x=sweep_of_bits(np.float16))


def test_six_times_a_float_is_not_one_product() -> None:
    root = add(mul(A, filled(5)), A)
    assert simplified(root) is root


def test_a_chain_of_sums_is_bit_identical() -> None:
    root = add(add(add(A, B), C), D)
    rng = np.random.default_rng(1)
    special = np.array([0, -0.0, np.inf, -np.inf, np.nan, 3e38, -3e38, 1e-40], np.float32)
    feeds = {
        name: np.where(
            rng.random((500, 3)) < 0.3,
            rng.choice(special, (500, 3)),
            rng.standard_normal((500, 3)) * 10.0 ** rng.integers(-8, 8, (500, 3)),
        )
        for name in "abcd"
    }
    agree(root, simplified(root), **feeds)


def test_a_tree_of_sums_keeps_its_order() -> None:
    root = add(add(A, B), add(C, D))
    assert ops(simplified(root)) == ["Add", "Sum"]


def test_a_bias_is_not_drawn_into_a_sum() -> None:
    product = matmul(A, example("float32[3, 3]", "w"))
    root = add(add(product, filled(1, 3)), B)
    assert ops(simplified(root)) == ["MatMul", "Add", "Add"]
    assert ops(simplified(add(add(product, B), C))) == ["MatMul", "Add", "Add"]


def test_a_sum_that_others_need_is_not_copied() -> None:
    inner = add(A, B)
    root = mul(add(inner, C), inner)
    assert simplified(root) is root


def test_unknown_shapes_are_not_enlarged() -> None:
    flags = example("bool[?, 3]", "p")
    x = example("float32[?, 3]")
    root = where(flags, x, x)
    assert simplified(root) is root


def test_differences_of_computed_values_without_known_sizes() -> None:
    x = neg(example("int32[N, 3]"))
    assert ops(simplified(sub(x, x))) == ["Neg", "Shape", "ConstantOfShape"]
    x = example("int32[N, 3]")
    assert ops(simplified(sub(x, x))) == ["Sub"]


def test_constants_do_not_grow() -> None:
    wide, tall = constant(np.ones((1, 100), np.int32)), constant(np.ones((100, 1), np.int32))
    x = example("int32[100, 100]")
    row, column = (
        constant(np.arange(100, dtype=np.int32).reshape(shape)) for shape in ((1, 100), (100, 1))
    )
    assert ops(simplified(add(add(x, row), column))) == ["Add", "Add"]
    assert ops(simplified(add(add(x, wide), tall))) == ["Add"]


@pytest.mark.parametrize("op", [add, max_])
def test_long_chains_take_linear_time(op: Any) -> None:
    def counted(length: int) -> int:
        root = A
        for k in range(length):
            root = op(root, example("float32[N, 3]", f"x{k}"))
        assert len(ops(simplified(root))) <= length / 30 + 2
        return steps(lambda: simplified(root))

    assert counted(1000) < 2.4 * counted(500)
