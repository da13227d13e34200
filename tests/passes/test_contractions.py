"""Products of matrices and convolutions: what rewrites make of them, and what they must not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from graphopt import save
from graphopt.ir import Node
from graphopt.op import Op
from graphopt.ops.activation import relu
from graphopt.ops.arithmetic import add, div, mul, sub
from graphopt.ops.conv import conv
from graphopt.ops.conv_transpose import conv_transpose
from graphopt.ops.functions import erf
from graphopt.ops.linalg import gemm, matmul
from graphopt.ops.movement import transpose
from graphopt.ops.normalization import batch_normalization
from graphopt.ops.padding import pad
from graphopt.ops.pool import average_pool, max_pool
from graphopt.ops.shape import reshape, squeeze
from graphopt.ops.softmax import softmax
from graphopt.passes.contractions.affine import statistics
from graphopt.rewriting.examples import example, filled, ints, weights
from graphopt.rewriting.rule import Math
from graphopt.structural import constant
from tests.passes.contracted import IMAGE, ROWS, SMALL, both, close, left, optimized

# Gemm.


@pytest.mark.parametrize("bias", [weights(4), weights(1, 4), example("float32[N, 4]", "c")])
def test_a_product_and_a_bias_are_a_gemm_bit_for_bit(bias: Node) -> None:
    y = add(matmul(ROWS, weights(6, 4)), bias)
    assert left(y, math=Math.STRICT) == {"Gemm": 1}
    old, new = both(y, math=Math.STRICT)
    assert old.tobytes() == new.tobytes()


def test_what_is_no_gemm_stays() -> None:
    batch = matmul(example("float32[2, N, 6]"), weights(6, 4))
    assert left(add(batch, weights(4))) == {"MatMul": 1, "Add": 1}
    widened = add(matmul(SMALL, weights(6, 4)), example("float32[5, 4]", "c"))
    assert left(widened) == {"MatMul": 1, "Add": 1}
    product = matmul(ROWS, weights(6, 4))
    assert left(add(product, weights(4)), relu(product)) == {"MatMul": 1, "Add": 1, "Relu": 1}


def test_gemm_takes_in_what_follows() -> None:
    y: Node = gemm(ROWS, weights(4, 6), weights(4), transB=1, alpha=0.5, beta=3)
    y = sub(mul(y, weights(4, seed=2)), weights(4, seed=3))
    y = batch_normalization(div(y, filled(3.0)), *statistics())
    assert left(y) == {"Gemm": 1}
    assert close(y)


def test_two_gemms_that_are_added_need_no_sum() -> None:
    """A cell of a recurrent network."""
    state = example("float32[N, 5]", "state")
    y = add(gemm(ROWS, weights(6, 4), weights(4)), gemm(state, weights(4, 5), weights(4), transB=1))
    assert left(y) == {"Gemm": 2}
    assert close(y)


def test_transposes_of_matrices_are_flags() -> None:
    columns, turned = example("float32[6, N]", "columns"), example("float32[4, 6]", "w")
    y = matmul(transpose(columns), transpose(turned))
    assert left(y) == {"Gemm": 1}
    assert left(transpose(y)) == {"MatMul": 1}  # (A'B')' = B A
    assert left(transpose(gemm(ROWS, weights(6, 4), weights(4)))) == {"Gemm": 1}
    for value in (y, transpose(y), transpose(gemm(ROWS, weights(6, 4), weights(4)))):
        assert close(value)


def test_a_gemm_without_a_bias_is_written_for_old_opsets(tmp_path: Path) -> None:
    """Before opset 11 a Gemm had a bias."""
    onnx = pytest.importorskip("onnx")
    y = matmul(transpose(example("float32[6, N]", "columns")), weights(6, 4))
    for opset in (None, 9):
        save(optimized(y), tmp_path / "model.onnx", opset=opset)
        made = onnx.load(tmp_path / "model.onnx")
        onnx.checker.check_model(made, full_check=True)
        assert [node.op_type for node in made.graph.node] == ["Gemm"]


# Factors.


def attention(scale: Callable[[Node], Node], shared: bool = False) -> Node:
    """softmax(scale(q k')) v of two heads."""
    x = example("float32[N, 5, 6]")

    def heads(seed: int) -> Node:
        rows = add(matmul(x, weights(6, 8, seed=0 if shared else seed)), weights(8, seed=seed + 9))
        made: Node = transpose(reshape(rows, ints(0, 5, 2, 4)), perm=(0, 2, 1, 3))
        return made

    q, k, v = map(heads, range(3))
    made: Node = matmul(softmax(scale(matmul(q, transpose(k, perm=(0, 1, 3, 2)))), axis=-1), v)
    return made


@pytest.mark.parametrize("op", [mul, div])
def test_the_scale_of_attention_goes_into_the_weights(op: Op) -> None:
    number = filled(0.3 if op is mul else 1 / 0.3)
    y = attention(lambda scores: op(scores, number))
    counts = left(y)
    assert not counts.keys() & {"Mul", "Div"}
    assert counts["MatMul"] == 5
    assert close(y)


def test_weights_that_others_use_are_not_copied() -> None:
    y = attention(lambda scores: mul(scores, filled(0.3)), shared=True)
    assert left(y)["Mul"] == 1


@pytest.mark.parametrize("number", [3.0, 1e-12, 0.0])
def test_factors_that_are_large_or_tiny_stay_behind_products(number: float) -> None:
    assert left(attention(lambda scores: mul(scores, filled(number))))["Mul"] == 1


def test_factors_of_both_operands_are_one() -> None:
    other = example("float32[6, 4]", "w")
    assert left(matmul(mul(ROWS, filled(0.5)), mul(other, filled(0.25)))) == {"Mul": 1, "MatMul": 1}


@pytest.mark.parametrize("x", [1e-30, 0.0, 1.0])
@pytest.mark.parametrize("numbers", [(1e30, 1e30), (1e-30, 1e-30)])
def test_weights_do_not_overflow_or_vanish(x: float, numbers: tuple[float, float]) -> None:
    """Wrong answer 16: conv(x * 1e30, 1e30) at 1e-30 and at 0."""
    factor, weight = numbers
    image = example("float32[1, 1, 2, 2]")
    y = conv(mul(image, filled(factor)), filled(weight, 1, 1, 1, 1))
    old, new = both(y, x=np.full((1, 1, 2, 2), x, np.float32))
    assert old.tobytes() == new.tobytes()
    z = matmul(mul(example("float32[2, 2]"), filled(factor)), filled(weight, 2, 2))
    old, new = both(z, x=np.full((2, 2), x, np.float32))
    assert old.tobytes() == new.tobytes()


def test_sums_with_larger_weights_do_not_overflow() -> None:
    """The products of x and w cancel; with w * 1000 they would be infinite."""
    w = np.array([[1e28], [-1e28]], np.float32)
    y = mul(matmul(example("float32[1, 2]"), constant(w)), filled(1e3))
    old, new = both(y, x=np.full((1, 2), 4e9, np.float32))
    assert old.tobytes() == new.tobytes() == np.zeros((1, 1), np.float32).tobytes()


def test_constants_that_round_to_a_grid_on_purpose_stay() -> None:
    grid = filled(1.5 * 2**23, 4)
    y = sub(add(matmul(example("float32[2, N, 6]"), weights(6, 4)), grid), grid)
    old, new = both(y)
    assert old.tobytes() == new.tobytes()
    z = sub(gemm(ROWS, weights(6, 4), grid), grid)
    old, new = both(z)
    assert old.tobytes() == new.tobytes()


def test_factors_by_input_column_go_into_the_weights() -> None:
    batch = example("float32[2, N, 6]", "batch")
    assert left(matmul(mul(batch, weights(6)), weights(6, 4))) == {"MatMul": 1}
    y = gemm(mul(ROWS, weights(6)), weights(4, 6), weights(4), transB=1)
    assert left(y) == {"Gemm": 1}
    assert close(y)
    square = example("float32[6, 6]", "square")
    assert left(gemm(mul(square, weights(6)), weights(6, 4), transA=1)) == {"Mul": 1, "Gemm": 1}


# Convolutions.


def test_a_transposed_convolution_takes_in_a_whole_chain() -> None:
    y: Node = conv_transpose(IMAGE, weights(4, 2, 3, 3), group=2, strides=(2, 2))
    y = batch_normalization(add(y, weights(4, 1, 1)), *statistics())
    assert left(y) == {"ConvTranspose": 1}
    assert close(y)


def test_factors_by_input_channel_go_into_the_weights() -> None:
    y = conv(mul(IMAGE, weights(4, 1, 1)), weights(6, 2, 3, 3), weights(6), group=2, pads=(1,) * 4)
    assert left(y) == {"Conv": 1}
    assert close(y)


def test_a_map_before_a_convolution_without_padding_is_folded() -> None:
    image = batch_normalization(add(mul(IMAGE, filled(0.3)), filled(2.0)), *statistics())
    y = conv(image, weights(6, 4, 3, 3), weights(6))
    assert left(y) == {"Conv": 1}
    assert close(y)


def test_a_sum_that_padding_or_rounding_would_show_stays() -> None:
    padded = conv(add(IMAGE, filled(2.0)), weights(6, 4, 3, 3), pads=(1, 0, 0, 0))
    assert left(padded) == {"Add": 1, "Conv": 1}
    for number in (1.5 * 2**23, 257.0):
        y = conv(add(IMAGE, filled(number)), weights(6, 4, 1, 1))
        old, new = both(y)
        assert old.tobytes() == new.tobytes()
    short = example("float16[N, 4, 8, 8]", "short")
    w = np.ones((6, 4, 1, 1), np.float16)
    y = conv(add(short, filled(96.0, dtype="float16")), constant(w))
    assert left(y) == {"Add": 1, "Conv": 1}


def test_maps_behind_what_moves_the_channels() -> None:
    y = conv(IMAGE, weights(8, 4, 8, 1), weights(8))
    for moved, by_channel, by_place in (
        (squeeze(y, ints(2)), weights(8, 1), weights(8)),
        (transpose(y, perm=(0, 2, 3, 1)), weights(8), weights(8, 1)),
        (reshape(y, ints(0, 8, 8)), weights(8, 1), weights(8)),
    ):
        mapped = add(mul(moved, by_channel), by_channel)
        assert set(left(mapped)) == {"Conv", moved.op.name}
        assert close(mapped)
        assert "Add" in left(add(moved, by_place))


def test_padding_goes_into_windows() -> None:
    border = ints(0, 0, 1, 2, 0, 0, 0, 1)
    padded = pad(IMAGE, border, filled(0.0))
    for y in (
        conv(padded, weights(6, 4, 3, 3), pads=(1, 0, 0, 1)),
        average_pool(padded, kernel_shape=(3, 3)),
        max_pool(pad(IMAGE, border, filled(-np.inf)), kernel_shape=(3, 3)),
        max_pool(pad(relu(IMAGE), border), kernel_shape=(3, 3)),
    ):
        assert "Pad" not in left(y, math=Math.STRICT)
        old, new = both(y, math=Math.STRICT)
        assert old.tobytes() == new.tobytes()


def test_padding_that_windows_cannot_make_stays() -> None:
    border, channels = ints(0, 0, 1, 2, 0, 0, 0, 1), ints(0, 1, 0, 0, 0, 1, 0, 0)
    for y in (
        conv(pad(IMAGE, border, filled(1.0)), weights(6, 4, 3, 3)),
        conv(pad(IMAGE, border, mode="edge"), weights(6, 4, 3, 3)),
        conv(pad(IMAGE, channels), weights(6, 6, 3, 3)),
        average_pool(pad(IMAGE, border), kernel_shape=(3, 3), ceil_mode=1),
        average_pool(pad(IMAGE, border), kernel_shape=(2, 2)),  # a window of padding alone
        max_pool(pad(IMAGE, border), kernel_shape=(3, 3)),
    ):
        assert left(y)["Pad"] == 1


@pytest.mark.parametrize("kind", ["matmul", "conv"])
def test_the_half_of_a_gelu_stays_with_it(kind: str) -> None:
    """In the weights behind it, it would take from runtimes what they have one operator for."""
    x = example("float32[N, 3, 4, 4]")
    gated = mul(x, add(erf(div(x, filled(2**0.5))), filled(1.0)))
    half = mul(gated, filled(0.5))
    behind = matmul(half, weights(4, 5)) if kind == "matmul" else conv(half, weights(2, 3, 1, 1))
    assert optimized(behind).outputs == (behind,)
