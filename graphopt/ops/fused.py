"""Fused: several nodes as one."""

from __future__ import annotations

from typing import Any

from graphopt.body import Body
from graphopt.ir import Node
from graphopt.op import Array, Facts, Xp, op, refuse
from graphopt.ops.activation import gelu
from graphopt.ops.arithmetic import add, mul
from graphopt.ops.control import check_arguments
from graphopt.ops.examples import given
from graphopt.ops.functions import cos, exp, tanh
from graphopt.ops.linalg import matmul
from graphopt.structural import constant
from graphopt.types import DType, TensorType, Type


@op("Fused", domain="graphopt", facts=Facts(sealed=True))
def fused(
    xp: Xp, *inputs: Array, body: Body, kind: str = "", form: Body | None = None
) -> Array | tuple[Array, ...]:
    """The outputs of a body on the inputs: its nodes, taken for one.

    `kind` says what is recognized in them, as "Gelu" or "MatMul+Add+Relu". `form`, if there is one,
    computes the same up to rounding by an operator of its own; who has that may run it instead.
    """
    made: list[Array] = list(xp.call(body, inputs))
    return tuple(made) if len(made) > 1 else made[0]


@fused.infer
def _(*inputs: Node | None, body: Body, kind: str, form: Body | None) -> Type | tuple[Type, ...]:
    values = [value for value in inputs if value is not None]
    if len(values) < len(inputs):
        raise refuse("an input is missing")
    check_arguments("the body", body, values)
    if not body.outputs:
        raise refuse("the body has no output")
    if form is not None and (form.params != body.params or dtypes(form) != dtypes(body)):
        raise refuse("the form has other parameters or outputs than the body")
    kinds = body.result_types(values)
    return kinds if len(body.outputs) > 1 else kinds[0]


def dtypes(body: Body) -> list[Any]:
    """The dtypes of a body's outputs; their types where they are no tensors."""
    kinds = [output.derived_type for output in body.outputs]
    return [kind.dtype if isinstance(kind, TensorType) else kind for kind in kinds]


@fused.examples
def _() -> list[Node]:
    x, y, w, b = given("x", "N", 3), given("y", 1, 3), given("w", 3, 4), given("b", 4)
    half = given("x", 2, 3, dtype=DType.FLOAT16)
    product = Body.close((x, w, b), (), (add(matmul(x, w), b),))
    both = Body.close((x, y), (), (exp(x), mul(x, y)))
    inner = fused(x, body=Body.close((x,), (), (exp(cos(x)),)), kind="Cos+Exp")
    slow = mul(mul(x, constant(0.5, DType.FLOAT32)), add(tanh(x), constant(1.0, DType.FLOAT32)))
    return [
        inner,
        fused(half, body=Body.close((half,), (), (exp(cos(half)),)), kind="Cos+Exp"),
        fused(x, w, b, body=product, kind="MatMul+Add"),
        fused(x, y, body=both),
        fused(x, y, body=Body.close((x, y), (), (add(inner, y),)), kind="Cos+Exp+Add"),
        fused(x, body=Body.close((x,), (), (slow,)), form=Body.close((x,), (), (gelu(x),))),
        fused(body=Body.close((), (), (constant([1, 2]),))),
    ]
