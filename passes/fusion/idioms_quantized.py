"""Idioms of quantized models: what is computed on small integers though it is spelled otherwise."""

from __future__ import annotations

from functools import partial

from graphopt.ir import Node
from graphopt.ops.arithmetic import mul
from graphopt.ops.cast import cast
from graphopt.ops.conv import conv
from graphopt.ops.integer import conv_integer, matmul_integer
from graphopt.ops.linalg import matmul
from graphopt.ops.quantize import dequantize_linear, dynamic_quantize_linear, quantize_linear
from graphopt.passes.fusion.idioms import Grouping, unused_outside
from graphopt.rewriting import (
    Attr,
    Const,
    Equations,
    Float,
    Guard,
    Integer,
    Maybe,
    MaybeConst,
    Rule,
    Soundness,
    Value,
    rules,
)
from graphopt.rewriting.examples import example, filled
from graphopt.structural import constant, out, out_op
from graphopt.types import DType

FLOAT = DType.FLOAT32


def _small(*shape: int, dtype: str = "int8") -> Node:
    """A constant of small integers."""
    import numpy as np

    return constant(np.arange(np.prod(shape)).reshape(shape).astype(dtype))


def _dynamic(product: Node, scale: Node, to: DType = FLOAT) -> Node:
    made: Node = mul(cast(product, to=to), scale)
    return made


def _quantized_input() -> tuple[Node, Node, Node]:
    made = dynamic_quantize_linear(example("float32[N, 4]"))
    return out(made, 0), out(made, 1), out(made, 2)


def _dynamic_product(*, shifted: bool = True) -> Node:
    q, s, z = _quantized_input()
    product = matmul_integer(q, _small(4, 3), z if shifted else None, _small())
    return _dynamic(product, mul(s, filled(0.5)))


def _integer_product(to: DType = FLOAT) -> Node:
    product = matmul_integer(example("uint8[N, 4]"), _small(4, 3))
    return _dynamic(product, filled(0.5, dtype=to.label), to)


def _integer_conv(to: DType = FLOAT) -> Node:
    product = conv_integer(example("uint8[N, 4, 5]"), _small(3, 4, 1))
    return _dynamic(product, filled(0.5, dtype=to.label), to)


@rules(Soundness.ROUNDING)
def dynamic_products(
    x: Float, q: Integer, w: Integer, s: Float, y: Maybe, z: Maybe, t: Attr, a: Attr
) -> Equations:
    """cast(MatMulInteger(x, w)) * scale: a product on integers that gives floats"""
    single = Guard("the floats are float32", lambda t: t is FLOAT)
    parts = dynamic_quantize_linear(x)
    whole = matmul_integer(out_op(parts, index=0), w, out_op(parts, index=2), z)
    yield Rule(
        "quantized_here",
        mul(cast(whole, to=t), mul(out_op(parts, index=1), s)),
        Grouping("DynamicQuantizeMatMul", ("x", "w", "z", "s")),
        worth=unused_outside("x", "w", "z", "s"),
        fires=_dynamic_product,
        misses=partial(_dynamic_product, shifted=False),
    )
    yield Rule(
        "matmul",
        mul(cast(matmul_integer(q, w, y, z), to=t), s),
        Grouping("MatMulIntegerToFloat", ("q", "w", "y", "z", "s")),
        when=single,
        worth=unused_outside("q", "w", "y", "z", "s"),
        fires=_integer_product,
        misses=partial(_integer_product, DType.FLOAT64),
    )
    yield Rule(
        "conv",
        mul(cast(conv_integer(q, w, y, z, attrs=a), to=t), s),
        Grouping("ConvIntegerToFloat", ("q", "w", "y", "z", "s")),
        when=single,
        worth=unused_outside("q", "w", "y", "z", "s"),
        fires=_integer_conv,
        misses=partial(_integer_conv, DType.FLOAT64),
    )


def _real(name: str, kind: str, scale: Node) -> Node:
    made: Node = dequantize_linear(example(kind, name), scale)
    return made


def _requantized(op: str, *, small: bool = True) -> Node:
    scale = filled(0.25)
    if op == "matmul":
        made = matmul(_real("x", "uint8[N, 4]", scale), _real("w", "uint8[4, 3]", scale))
    else:
        made = conv(_real("x", "uint8[N, 4, 5]", scale), _real("w", "uint8[3, 4, 1]", scale))
    done: Node = quantize_linear(made, scale, output_dtype=DType.UINT8 if small else DType.INT16)
    return done


@rules(Soundness.ROUNDING)
def requantized(
    x: Integer, w: Integer, s: Value, t: Value, u: Value, y: Maybe, z: Maybe, v: Maybe, b: Maybe,
    a: Attr, c: Attr, d: Attr, f: Attr,
) -> Equations:  # fmt: skip
    """quantize(op(dequantize(x), dequantize(w))): an operator on integers"""
    small = Guard("the result has 8 bits", lambda root: root.dtype.bits == 8)
    left, right = dequantize_linear(x, s, y, attrs=c), dequantize_linear(w, t, z, attrs=d)
    leaves = ("x", "s", "y", "w", "t", "z", "u", "v")
    yield Rule(
        "matmul",
        quantize_linear(matmul(left, right), u, v, attrs=f),
        Grouping("QLinearMatMul", leaves),
        when=small,
        worth=unused_outside(*leaves),
        fires=partial(_requantized, "matmul"),
        misses=partial(_requantized, "matmul", small=False),
    )
    yield Rule(
        "conv",
        quantize_linear(conv(left, right, b, attrs=a), u, v, attrs=f),
        Grouping("QLinearConv", (*leaves, "b")),
        when=small,
        worth=unused_outside(*leaves, "b"),
        fires=partial(_requantized, "conv"),
        misses=partial(_requantized, "conv", small=False),
    )


def _dequantized(kind: str = "int8") -> Node:
    weight = dequantize_linear(_small(4, 3, dtype=kind), filled(0.5))
    made: Node = matmul(example("float32[N, 4]"), weight)
    return made


def _stored(kind: str = "int8") -> Node:
    made: Node = matmul(example("float32[N, 4]"), _scaled(kind))
    return made


def _scaled(kind: str) -> Node:
    made: Node = mul(cast(_small(4, 3, dtype=kind), to=FLOAT), filled(0.5, 3))
    return made


@rules(Soundness.ROUNDING)
def stored_small(x: Float, w: Const, s: Const, z: MaybeConst, t: Attr, a: Attr) -> Equations:
    """x @ (cast(w) * scale): weights that are stored as small integers"""
    small = Guard("the weights have at most 8 bits", lambda w: w.dtype.bits <= 8)
    yield Rule(
        "cast",
        matmul(x, mul(cast(w, to=t), s)),
        Grouping("DequantizeMatMul", ("x",)),
        when=small,
        worth=unused_outside("x"),
        fires=_stored,
        misses=partial(_stored, "int32"),
    )
    yield Rule(
        "dequantize",
        matmul(x, dequantize_linear(w, s, z, attrs=a)),
        Grouping("DequantizeMatMul", ("x",)),
        when=small,
        worth=unused_outside("x"),
        fires=_dequantized,
        misses=partial(_dequantized, "int32"),
    )


FIRST = dynamic_products + requantized
SECOND = stored_small
