"""Element-wise ops: broadcasting of types, what is known of integers, and their corner cases."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import graphopt
from graphopt import dims
from graphopt.backends import reference
from graphopt.errors import ExecutionError, TypeRuleError
from graphopt.graph import Graph
from graphopt.ir import Node
from graphopt.op import Op
from graphopt.ops import activation, arithmetic, functions, logic
from graphopt.structural import constant, graph_input
from graphopt.types import DType, TensorType, dtype_of
from tests.ops import harness

BINARY = (arithmetic.add, arithmetic.mul, arithmetic.max_, logic.less, logic.equal)
KNOWING = (
    *BINARY, arithmetic.sub, arithmetic.div, arithmetic.mod, arithmetic.min_, arithmetic.power,
    logic.greater, logic.less_or_equal, logic.greater_or_equal,
)  # fmt: skip
INFINITY = float("inf")
sizes = st.integers(0, 3)
small = st.sampled_from([-(2**31), -7, -2, -1, 0, 1, 2, 3, 7, 2**16, 2**31 - 1])


def compute(op: Op, *values: Any, dtype: str = "float32", **attrs: Any) -> Any:
    """The result of an op on constants."""
    arrays = [np.asarray(value, dtype) for value in values]
    node = op(*(over(array) for array in arrays), **attrs)
    with np.errstate(all="ignore"):
        made = reference.evaluate(node, arrays)
    assert made.dtype == node.dtype.numpy
    return made


def over(array: np.ndarray[Any, Any], name: str = "x") -> Node:
    return graph_input(f"{name}{array.ndim}", TensorType(dtype_of(array.dtype), array.shape))


@given(st.data(), st.sampled_from(BINARY), st.lists(sizes, max_size=3))
def test_symbolic_shapes_broadcast_as_real_ones(
    data: st.DataObject, op: Op, shape: list[int]
) -> None:
    """Some sizes of two operands that can be broadcast are replaced by symbols."""
    operands: list[Node] = []
    bound: dict[harness.Atom, int] = {}
    for name in "xy":
        own = [data.draw(st.sampled_from([size, 1])) for size in shape]
        own = own[data.draw(st.integers(0, len(own))) :]
        kind: list[dims.Size] = list(own)
        for axis, size in enumerate(own):
            if data.draw(st.booleans()):
                named = dims.symbol(f"S{size}" if data.draw(st.booleans()) else f"{name}{axis}")
                bound[next(iter(dims.atoms(named)))] = size
                kind[axis] = named
        operands.append(graph_input(name, TensorType(DType.FLOAT32, tuple(kind))))
    node = op(*operands)
    values = harness.run(node, harness.feeds(node, bound))
    harness.check_types(node, values, bound)


@given(
    st.sampled_from(KNOWING),
    st.lists(small, max_size=3),
    small,
    st.sampled_from([DType.INT64, DType.INT32]),
)
def test_known_integers_are_the_real_ones(op: Op, row: list[int], one: int, dtype: DType) -> None:
    node = op(constant(row, dtype), constant([one], dtype))
    try:
        values = harness.run(node, {})
    except ExecutionError:
        return
    harness.check_types(node, values, {})
    if op in (logic.less, logic.equal, arithmetic.max_):
        assert node.known is not None and None not in node.known


@given(st.integers(0, 5), st.integers(0, 5), st.integers(-3, 3), st.sampled_from(KNOWING))
def test_known_sizes_are_the_real_ones(n: int, m: int, shift: int, op: Op) -> None:
    """Expressions of two sizes, as computed by the op, are those of the types."""
    atoms = [next(iter(dims.atoms(dims.symbol(name)))) for name in "NM"]
    bound = dict(zip(atoms, (n, m), strict=True))
    x, y = sized("N", n), sized("M", m)
    node = op(arithmetic.add(x, constant([shift])), y)
    try:
        values = harness.run(node, {x: np.array([n]), y: np.array([m])})
    except ExecutionError:
        return
    harness.check_types(node, values, bound)


def sized(name: str, size: int) -> Node:
    """A vector of one element, the size of an axis."""
    kind = TensorType(DType.INT64, (1,)).with_known([dims.symbol(name)])
    return graph_input(name, kind)


def test_shape_arithmetic_stays_symbolic() -> None:
    n = sized("N", 0)
    six = arithmetic.mul(n, constant([6]))
    assert arithmetic.div(six, constant([3])).known == (2 * dims.symbol("N"),)
    assert arithmetic.mod(six, constant([2])).known == (0,)
    assert arithmetic.sub(six, six).known == (0,)
    assert logic.less(n, arithmetic.add(n, constant([1]))).known == (True,)
    assert logic.equal(n, constant([-1])).known == (False,)
    assert logic.where(logic.equal(n, constant([-1])), constant([5]), n).known == (
        dims.symbol("N"),
    )
    assert logic.where(logic.equal(n, constant([3])), constant([5]), n).known is None
    assert arithmetic.clip(n, constant(0)).known == (dims.symbol("N"),)


def test_known_elements_are_clipped_by_the_bounds_that_there_are() -> None:
    x, low, high = constant([-4, 1, 9]), constant(0), constant(5)
    assert arithmetic.clip(x).known == (-4, 1, 9)
    assert arithmetic.clip(x, low).known == (0, 1, 9)
    assert arithmetic.clip(x, None, high).known == (-4, 1, 5)
    assert arithmetic.clip(x, low, high).known == (0, 1, 5)
    assert arithmetic.clip(x, high, low).known == (0, 0, 0)


def test_unknown_ranks_are_taken() -> None:
    x = graph_input("x", TensorType(DType.FLOAT32, None))
    y = graph_input("y", TensorType(DType.FLOAT32, (2, 3)))
    assert arithmetic.add(x, y).shape is None
    assert activation.prelu(x, y).shape is None
    assert logic.where(logic.less(x, y), x, y).type == TensorType(DType.FLOAT32, None)


F32 = graph_input("f", TensorType(DType.FLOAT32, (2, 3)))
F64 = graph_input("d", TensorType(DType.FLOAT64, (2, 3)))
I32 = graph_input("i", TensorType(DType.INT32, (2, 3)))
TWO = graph_input("t", TensorType(DType.FLOAT32, (2,)))
ONE = graph_input("o", TensorType(DType.FLOAT32, (1,)))
TEXT = graph_input("s", TensorType(DType.STRING, (2, 3)))


@pytest.mark.parametrize(
    ("op", "inputs", "attrs", "message"),
    [
        (arithmetic.add, (F32, F64), {}, "dtypes differ"),
        (arithmetic.add, (F32, TWO), {}, "cannot be broadcast"),
        (arithmetic.add, (TEXT, TEXT), {}, "string is not taken"),
        (arithmetic.mod, (I32, I32), {"fmod": 2}, "fmod is 0 or 1"),
        (arithmetic.power, (TEXT, F32), {}, "string is not taken"),
        (arithmetic.max_, (), {}, "0 inputs"),
        (arithmetic.max_, (F32, None, F32), {}, "an input is missing"),
        (arithmetic.clip, (F32, TWO), {}, "the bounds are scalars"),
        (functions.exp, (I32,), {}, "int32 is not taken"),
        (functions.neg, (graph_input("u", TensorType(DType.UINT8, ())),), {}, "uint8 is not taken"),
        (logic.and_, (I32, I32), {}, "int32 is not taken"),
        (logic.where, (F32, F32, F32), {}, "float32 is not taken"),
        (logic.where, (logic.less(F32, F32), F32, F64), {}, "dtypes differ"),
        (logic.bit_shift, (I32, I32), {"direction": "UP"}, "LEFT or RIGHT"),
        (logic.bit_shift, (I32, I32), {}, "'direction' is missing"),
        (activation.gelu, (F32,), {"approximate": "erf"}, "'none' or 'tanh'"),
        (activation.prelu, (TWO, F32), {}, "cannot be broadcast"),
        (activation.prelu, (ONE, TWO), {}, "cannot be broadcast"),
        (activation.swiglu, (F32, TWO), {}, "shapes differ"),
    ],
)  # fmt: skip
def test_wrong_use_is_refused(
    op: Op, inputs: tuple[Any, ...], attrs: dict[str, Any], message: str
) -> None:
    with pytest.raises(TypeRuleError, match=message):
        op(*inputs, **attrs)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_erf_is_accurate(dtype: str) -> None:
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(size=2000) * 2, np.linspace(-7, 7, 2001), [1e-30, -1e-30, 0.0]])
    x = x.astype(dtype)
    wanted = np.array([math.erf(value) for value in x.tolist()])
    made = compute(functions.erf, x, dtype=dtype).astype(np.float64)
    spacing = np.spacing(np.abs(wanted).astype(dtype)).astype(np.float64)
    assert (np.abs(made - wanted) <= 1.6 * spacing).all()


def test_erf_of_special_numbers() -> None:
    made = compute(functions.erf, [INFINITY, -INFINITY, -0.0, math.nan])
    assert made[:3].tolist() == [1, -1, 0] and np.signbit(made[2]) and np.isnan(made[3])


@pytest.mark.parametrize("approximate", ["none", "tanh"])
def test_gelu_in_double_precision(approximate: str) -> None:
    x = np.linspace(-5, 5, 101)
    made = compute(activation.gelu, x, dtype="float64", approximate=approximate)
    if approximate == "none":
        wanted = [0.5 * v * (1 + math.erf(v / math.sqrt(2))) for v in x.tolist()]
    else:
        wanted = [
            0.5 * v * (1 + math.tanh(math.sqrt(2 / math.pi) * (v + 0.044715 * v**3)))
            for v in x.tolist()
        ]
    np.testing.assert_allclose(made, wanted, rtol=0, atol=2e-15)


def test_integer_arithmetic_wraps_and_truncates() -> None:
    low = -128
    assert compute(functions.neg, [low, 5], dtype="int8").tolist() == [low, -5]
    assert compute(functions.absolute, [low, -5], dtype="int8").tolist() == [low, 5]
    assert compute(arithmetic.div, [-7, 7, low], [2, -2, -1], dtype="int8").tolist() == [
        -3,
        -3,
        low,
    ]
    rest = [[-7, 7, -7, low], [3, -3, -3, -1]]
    assert compute(arithmetic.mod, *rest, dtype="int8").tolist() == [2, -2, -1, 0]
    assert compute(arithmetic.mod, *rest, dtype="int8", fmod=1).tolist() == [-1, 1, -1, 0]
    powers = compute(
        arithmetic.power, [2, -1, -1, 1, 0, 3], [-1, -2, -3, -5, -1, 41], dtype="int64"
    )
    assert powers.tolist() == [0, 1, -1, 1, 0, 3**41 - 2**65]


def test_power_of_the_greatest_exponent() -> None:
    x, y = np.array([-1, 3, 2]), np.array([2**64 - 1, 2**63 + 1, 2**63 + 70], np.uint64)
    node = arithmetic.power(over(x), graph_input("y", TensorType(DType.UINT64, (3,))))
    wanted = [pow(a, int(b), 2**64) for a, b in zip(x.tolist(), y, strict=True)]
    assert reference.evaluate(node, [x, y]).astype(np.uint64).tolist() == wanted


@pytest.mark.parametrize("op", [arithmetic.div, arithmetic.mod])
def test_integer_division_by_zero_fails(op: Op) -> None:
    with pytest.raises(ExecutionError, match="division by zero"):
        compute(op, [1, 2], [1, 0], dtype="int32")
    assert compute(op, [], [], dtype="int32").shape == (0,)


def test_float_remainder_of_special_numbers() -> None:
    x, y = [5, -5, -0.0, INFINITY, 5], [INFINITY, INFINITY, 2, 2, 0]
    assert str(compute(arithmetic.mod, x, y).tolist()) == "[5.0, inf, 0.0, nan, nan]"
    assert str(compute(arithmetic.mod, x, y, fmod=1).tolist()) == "[5.0, -5.0, -0.0, nan, nan]"


def test_extremes_order_zeros_and_keep_nan() -> None:
    zeros = [0.0, -0.0, 0.0, -0.0] * 9
    other = [0.0, 0.0, -0.0, -0.0] * 9
    assert np.signbit(compute(arithmetic.max_, zeros, other)).tolist() == [0, 0, 0, 1] * 9
    assert np.signbit(compute(arithmetic.min_, zeros, other)).tolist() == [0, 1, 1, 1] * 9
    assert np.isnan(compute(arithmetic.max_, [math.nan, 1], [1, math.nan])).all()
    assert np.isnan(compute(arithmetic.clip, [math.nan], 0, 1)).all()
    assert compute(arithmetic.clip, [-9, 9], 5, 3).tolist() == [3, 3]


def test_activations_of_special_numbers() -> None:
    x = [math.nan, -0.0, INFINITY, -INFINITY, -200, 200]
    assert str(compute(activation.relu, x).tolist()) == "[nan, 0.0, inf, 0.0, 0.0, 200.0]"
    assert str(compute(activation.softplus, x[2:]).tolist()) == "[inf, 0.0, 0.0, 200.0]"
    assert str(compute(activation.sigmoid, x[2:4]).tolist()) == "[1.0, 0.0]"
    assert 0 < compute(activation.sigmoid, -200, dtype="float64") < 1e-80
    slope = compute(activation.prelu, [0.0, -2, math.nan], [INFINITY, 0.5, 1])
    assert str(slope.tolist()) == "[0.0, -1.0, nan]"


def test_shifts_out_of_range() -> None:
    x, y = [-5, -5, 5, 5, 64], [1, 8, -1, 8, 1]
    assert compute(logic.bit_shift, x, y, dtype="int8", direction="RIGHT").tolist() == [
        -3,
        -1,
        0,
        0,
        32,
    ]
    assert compute(logic.bit_shift, x, y, dtype="int8", direction="LEFT").tolist() == [
        -10,
        0,
        0,
        0,
        -128,
    ]


ROOTS = ([-INFINITY, -0.0, 0.0, INFINITY, -2.0], [INFINITY, 0.0, 0.0, INFINITY, math.nan])


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("shape", [(), (1,), (5,), (2, 1), (2, 5)])
@pytest.mark.parametrize("exponent", ["float32", "float64", "constant"])
def test_power_of_a_half_is_no_root(dtype: str, shape: tuple[int, ...], exponent: str) -> None:
    """NumPy's power by one 0.5 is its square root: NaN of -inf, and -0 of -0."""
    x = np.array(ROOTS[0], dtype)
    y = np.full(shape, 0.5, dtype if exponent == "constant" else exponent)
    node = arithmetic.power(over(x), constant(y) if exponent == "constant" else over(y, "y"))
    expected = np.broadcast_to(ROOTS[1], np.broadcast_shapes(x.shape, shape))
    inputs = tuple(item for item in node.inputs if item.constant is None)
    graph = Graph(inputs, (node,), ("z",))
    for backend in ("reference", "numpy", "jax"):
        (made,) = graphopt.compile(graph, backend)(*(x, y)[: len(inputs)])
        assert made.dtype == dtype
        np.testing.assert_array_equal(made, expected)
        assert not np.signbit(made[made == 0]).any()
