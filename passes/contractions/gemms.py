"""Products of matrices with what stands around them: biases, factors, other products."""

from __future__ import annotations

import numpy as np

from graphopt.analysis import same_shape
from graphopt.ir import Node
from graphopt.ops.arithmetic import add, mul
from graphopt.ops.linalg import gemm, matmul
from graphopt.passes.contractions.gemm_transposes import GEMM_TRANSPOSES, NO_MATRICES
from graphopt.passes.contractions.maps import (
    EXTREME,
    GROWS,
    ONE,
    Affine,
    Uses,
    exact,
    grows,
    rounded,
    shifted,
)
from graphopt.rewriting import (
    Attr,
    Const,
    Declined,
    Equations,
    Guard,
    Rule,
    RuleSet,
    Soundness,
    Value,
    guards,
    rules,
)
from graphopt.rewriting.examples import example, filled, weights

WIDE = Guard("the sum is not of 16-bit floats", lambda root: root.dtype.bits > 16)
"""Of 16-bit floats a Gemm rounds once what a product and a sum round twice."""
BROADCAST = Declined("the product is broadcast")


def biased(x: Node, y: Node, c: Node, inner: Node, root: Node) -> Node | Declined:
    """x @ y + c as a Gemm."""
    if not x.rank == y.rank == 2:
        return NO_MATRICES
    if not same_shape(root, inner):
        return BROADCAST
    made: Node = gemm(x, y, c)
    return made


def summed(
    x: Node, y: Node, c: Node, a: dict[str, object], inner: Node, root: Node
) -> Node | Declined:
    """A Gemm without a C, plus c, as one."""
    if not same_shape(root, inner):
        return BROADCAST
    made: Node = gemm(x, y, c, **{**a, "beta": 1.0})
    return made


def scaled_by(x: Node, y: Node, s: Node, inner: Node, root: Node) -> Node | Declined:
    """(x @ y) * s as a Gemm with alpha s."""
    tensor = s.constant
    assert tensor is not None
    if not x.rank == y.rank == 2 or not x.dtype.is_float:
        return NO_MATRICES
    if not same_shape(root, inner):
        return BROADCAST
    if not (tensor.is_splat or tensor.size == 1):
        return Declined("the factor is not one number")
    alpha = float(exact(s).reshape(-1)[0])
    with np.errstate(all="ignore"):
        if float(np.float32(alpha)) != alpha:
            return Declined("the factor is not one of float32, as alpha is")
    made: Node = gemm(x, y, alpha=alpha)
    return made


def product(rows: str = "N", dtype: str = "float32") -> Node:
    """A product of matrices of three by four, for examples."""
    made: Node = matmul(example(f"{dtype}[{rows}, 3]"), example(f"{dtype}[3, 4]", "w"))
    return made


def row(dtype: str = "float32") -> Node:
    """A vector of four, for examples."""
    return example(f"{dtype}[4]", "b")


def short_gemm() -> Node:
    """A Gemm of 16-bit floats, for examples."""
    made: Node = gemm(example("float16[N, 3]"), example("float16[3, 4]", "w"), alpha=2)
    return made


@rules(Soundness.EXACT)
def gemm_terms(x: Value, y: Value, c: Value, inner: Value, s: Const, a: Attr) -> Equations:
    """A sum or a factor behind a product of matrices is its C or its alpha."""
    worth = guards.used_once("inner")
    behind = add(inner.of(matmul(x, y)), c)
    plain, short = (
        (lambda: add(row(), product())),
        (lambda: add(row("float16"), product("N", "float16"))),
    )
    yield Rule("bias", behind, biased, when=WIDE, worth=worth, fires=plain, misses=short)
    yield Rule(
        "bias_of_16_bits",
        behind,
        biased,
        worth=worth,
        soundness=Soundness.ROUNDING,
        fires=short,
        misses=lambda: add(
            matmul(example("float16[2, N, 3]"), example("float16[3, 4]", "w")), row("float16")
        ),
    )
    behind = add(inner.of(gemm(x, y, attrs=a)), c)
    yield Rule(
        "sum",
        behind,
        summed,
        when=WIDE,
        worth=worth,
        fires=lambda: add(gemm(example("float32[N, 3]"), weights(3, 4), alpha=2), row()),
        misses=lambda: add(short_gemm(), row("float16")),
    )
    yield Rule(
        "sum_of_16_bits",
        behind,
        summed,
        worth=worth,
        soundness=Soundness.ROUNDING,
        fires=lambda: add(short_gemm(), row("float16")),
        misses=lambda: add(short_gemm(), example("float16[2, 1, 4]", "b")),
    )
    behind = mul(inner.of(matmul(x, y)), s)
    yield Rule(
        "scale",
        behind,
        scaled_by,
        when=WIDE,
        worth=worth,
        fires=lambda: mul(product(), filled(0.3)),
        misses=lambda: mul(product("N", "float16"), filled(0.3, dtype="float16")),
    )


@rules(Soundness.EXACT)
def gemm_forms(x: Value, y: Value, c: Value, a: Attr) -> Equations:
    """A Gemm of nothing but two matrices is a MatMul; one that multiplies C by 0 has none."""
    yield Rule(
        "plain",
        gemm(x, y),
        matmul(x, y),
        fires=lambda: gemm(example("float32[2, 3]"), weights(3, 4)),
        misses=lambda: gemm(example("float32[2, 3]"), weights(3, 4), alpha=2.0),
    )
    yield Rule(
        "no_beta",
        gemm(x, y, c, beta=0.0, attrs=a),
        gemm(x, y, attrs=a),
        fires=lambda: gemm(example("float32[2, 3]"), weights(3, 4), row(), beta=0.0, alpha=2.0),
        misses=lambda: gemm(example("float32[2, 3]"), weights(3, 4), row(), beta=2.0),
    )


def both_sums(
    x: Node, y: Node, c: Node, u: Node, v: Node, d: Node, p: Node, q: Node, a: dict[str, object],
    b: dict[str, object], root: Node, uses: Uses,
) -> Node | Declined:  # fmt: skip
    """(x @ y + c) + (u @ v + d) as a Gemm whose C is a Gemm."""
    if not same_shape(p, q) or not same_shape(root, p):
        return BROADCAST
    if not root.dtype.is_float:
        return Declined("only biases of floats are combined so")
    total = shifted(exact(c), Affine(ONE, exact(d), (d,), bare=True))
    if isinstance(total, Declined):
        return total
    assert c.constant is not None and d.constant is not None
    shape = np.broadcast_shapes(c.constant.shape, d.constant.shape)
    bias = rounded(total, c.dtype, shape)
    if bias is None:
        return EXTREME
    if grows([bias], [c, d], uses):
        return GROWS
    made: Node = gemm(u, v, gemm(x, y, bias, **a), **b)
    return made


@rules(Soundness.ROUNDING)
def gemm_sums(
    x: Value, y: Value, c: Const, u: Value, v: Value, d: Const, p: Value, q: Value, a: Attr, b: Attr
) -> Equations:
    """The sum of two products with constant biases: one product is the C of the other."""

    def recurrent(second: str) -> Node:
        first = gemm(example("float32[N, 3]"), weights(3, 4), weights(4))
        then = gemm(example(f"float32[{second}, 5]", "h"), weights(5, 4), weights(4, seed=1))
        made: Node = add(first, then)
        return made

    yield Rule(
        "nested",
        add(p.of(gemm(x, y, c, beta=1.0, attrs=a)), q.of(gemm(u, v, d, beta=1.0, attrs=b))),
        both_sums,
        worth=(guards.used_once("p"), guards.used_once("q")),
        fires=lambda: recurrent("N"),
        misses=lambda: recurrent("1"),
    )


GEMMS: RuleSet = GEMM_TRANSPOSES + gemm_terms + gemm_forms + gemm_sums
