"""Products of matrices and Einstein sums: types of symbolic sizes, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graphopt import dims
from graphopt.backends.reference import evaluate
from graphopt.errors import TypeRuleError
from graphopt.ir import Node
from graphopt.ops.einsum import parse
from graphopt.ops.integer import matmul_integer
from graphopt.ops.linalg import det, einsum, gemm, matmul
from graphopt.ops.qlinear import qlinear_matmul
from graphopt.structural import constant, graph_input
from graphopt.types import DType, TensorType
from tests.ops import harness
from tests.ops.harness import tensor


def value(name: str, *shape: int | str, dtype: str = "float32") -> Node:
    return graph_input(name, tensor(dtype, *shape))


def shape_of(node: Node) -> str:
    return str(node.type)


@settings(max_examples=100)
@given(st.data())
def test_einsum_is_numpys(data: st.DataObject) -> None:
    """Letters are drawn, with and without dots and an output; a size may be 1, which broadcasts."""
    letters = st.text("abCD", max_size=3)
    terms = data.draw(st.lists(letters, min_size=1, max_size=3))
    sizes = {letter: data.draw(st.integers(0, 3)) for letter in "abCD"}
    dots = data.draw(st.lists(st.sampled_from([1, 2]), max_size=2))
    inputs: list[str] = []
    shapes: list[tuple[int, ...]] = []
    for term in terms:
        own = {c: data.draw(st.sampled_from([1, sizes[c]])) for c in term}
        front = [data.draw(st.sampled_from([1, size])) for size in dots]
        inputs.append(f"...{term}" if dots else term)
        shapes.append((*front, *(own[c] for c in term)))
    equation = ",".join(inputs)
    if data.draw(st.booleans()):
        found = sorted(set("".join(terms)))
        chosen = data.draw(st.permutations(found))[: data.draw(st.integers(0, len(found)))]
        equation += " -> " + "..." * bool(dots) + "".join(chosen)
    arrays = [np.random.default_rng(k).integers(-3, 4, s) for k, s in enumerate(shapes)]
    values = [value(f"x{k}", *shape, dtype="int64") for k, shape in enumerate(shapes)]
    node = einsum(*values, equation=equation)
    wanted = np.asarray(np.einsum(equation, *arrays))
    assert node.type == tensor("int64", *wanted.shape)
    np.testing.assert_array_equal(evaluate(node, arrays), wanted)


def test_einsum_knows_symbolic_sizes() -> None:
    x, y = value("x", "N", "M", 3), value("y", "N", 3, "K")
    assert shape_of(einsum(x, y, equation="bij,bjk")) == "float32[M, K]"
    assert shape_of(einsum(x, y, equation="...ij,...jk->...ik")) == "float32[N, M, K]"
    assert shape_of(einsum(x, value("y", 5, 1, 3), equation="bij,bkj->bik")) == "float32[5, M, 1]"
    rankless = graph_input("r", TensorType(DType.FLOAT32, None))
    assert shape_of(einsum(x, rankless, equation="bij,bj->bij")).endswith(", M, 3]")
    assert shape_of(einsum(x, rankless, equation="bij,...->...bij")) == "float32[...]"


@pytest.mark.parametrize(
    ("equation", "message"),
    [
        ("ij,jk->il", "names an axis twice, or one that is not there"),
        ("ij,jk->ii", "names an axis twice"),
        ("i1,jk", "is not an equation"),
        ("...i...j,jk", "is not an equation"),
        ("...ij,jk->ik", "lacks the dots"),
        ("ij,jk,kl", "2 inputs for 3 terms"),
        ("ijk,jk", "an input of rank 2 is called 'ijk'"),
        ("ii,jk", "axis 'i' of one input is both 2 and 3"),
        ("ij,ik", "axis 'i' is both 2 and 4"),
        ("...,...k", "the dots stand for 2 axes and for 1"),
    ],
)
def test_wrong_equations_are_refused(equation: str, message: str) -> None:
    with pytest.raises(TypeRuleError, match=message):
        einsum(value("x", 2, 3), value("y", 4, 5), equation=equation)


def test_implicit_output_is_in_order_of_ascii() -> None:
    assert parse("bA...,c").output == ".Abc"


@given(st.data())
def test_matmul_has_its_type(data: st.DataObject) -> None:
    size = st.sampled_from([0, 1, 2, 3])
    inner, batch = data.draw(size), data.draw(st.lists(size, max_size=2))
    nodes: list[Node] = []
    bound: dict[harness.Atom, int] = {}
    for name, vector in (("a", data.draw(st.booleans())), ("b", data.draw(st.booleans()))):
        front = [data.draw(st.sampled_from([1, item])) for item in batch]
        matrix = [data.draw(size), inner] if name == "a" else [inner, data.draw(size)]
        shape = [inner] if vector else front[data.draw(st.integers(0, 2)) :] + matrix
        symbols = [dims.symbol(f"{name}{k}") for k in range(len(shape))]
        nodes.append(graph_input(name, TensorType(DType.FLOAT32, tuple(symbols))))
        bound |= {dims.Symbol(f"{name}{k}"): n for k, n in enumerate(shape)}
    node = matmul(*nodes)
    harness.check_types(node, harness.run(node, harness.feeds(node, bound)), bound)


def test_half_precision_is_accumulated_in_float32() -> None:
    ones = np.ones((1, 4096), np.float16)
    node = matmul(value("a", 1, 4096, dtype="float16"), value("b", 4096, 1, dtype="float16"))
    assert evaluate(node, [ones, ones.T]).item() == 4096


def test_gemm_leaves_out_what_beta_scales_with_zero() -> None:
    node = gemm(value("a", 1, 2), value("b", 2, 1), value("c"), beta=0.0)
    arrays = [np.ones((1, 2), np.float32), np.ones((2, 1), np.float32), np.float32(np.nan)]
    assert evaluate(node, [*arrays[:2], np.asarray(arrays[2])]).item() == 2


def test_gemm_takes_unknown_sizes_from_c() -> None:
    a, b = value("a", "M", 3), graph_input("b", tensor("float32", 3, "N"))
    assert shape_of(gemm(a, b, value("c", 5))) == "float32[M, 5]"
    assert shape_of(gemm(a, b, value("c", 1))) == "float32[M, N]"


def test_products_round_before_they_add_the_zero_point() -> None:
    """Halves go to the even quotient, as in ONNX Runtime, whatever the zero point."""
    scalar = {name: value(name, dtype=kind) for name, kind in (("s", "float32"), ("z", "uint8"))}
    a = value("a", 1, 1, dtype="uint8")
    node = qlinear_matmul(a, scalar["s"], scalar["z"], a, *scalar.values(), *scalar.values())
    for zero in (0, 1, 2):
        half, one, z = np.float32(0.5), np.float32(1), np.uint8(0)
        for k, wanted in ((1, 0), (3, 2), (5, 2), (7, 4)):
            x, unit = np.full((1, 1), k, np.uint8), np.ones((1, 1), np.uint8)
            operands = [x, half, z, unit, one, z, one, np.uint8(zero)]
            made = evaluate(node, [np.asarray(item) for item in operands])
            assert made.item() == wanted + zero


def test_zero_points_of_rows_and_columns() -> None:
    a, b = np.array([[3, 1], [4, 2]], np.uint8), np.array([[1, 2], [3, 4]], np.uint8)
    zeros = np.array([1, 2], np.uint8)
    square, vector = value("a", 2, 2, dtype="uint8"), value("z", 2, dtype="uint8")
    made = evaluate(matmul_integer(square, square, vector, vector), [a, b, zeros, zeros])
    wide = a.astype(int) - zeros[:, None], b.astype(int) - zeros
    np.testing.assert_array_equal(made, wide[0] @ wide[1])


A = value("a", 2, 3)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: matmul(A, A), "the inner size is both 3 and 2"),
        (lambda: matmul(A, value("b")), "a scalar is not a matrix"),
        (lambda: matmul(value("a", 2, 1, 3), value("b", 3, 3, 2)), "cannot be broadcast"),
        (lambda: matmul(*[value("a", 3, 3, dtype="int8")] * 2), "int8"),
        (lambda: gemm(A, value("b", 3, 4), value("c", 3)), "is both 4 and 3"),
        (lambda: gemm(A, value("b", 3, 4), value("c", 1, 2, 4)), "rank 3"),
        (lambda: gemm(A, value("b", 3, 4), transA=1), "the inner size is both 2 and 3"),
        (lambda: det(A), "the matrices' size is both 2 and 3"),
        (lambda: matmul_integer(A, A), "float32"),
        (lambda: matmul_integer(*[value("a", 3, 3, dtype="int8")] * 2, constant(1)), "int64"),
    ],
)
def test_misfits_are_refused(make: Any, message: str) -> None:
    with pytest.raises(TypeRuleError, match=message):
        make()
