"""The steps by which a generated graph grows into what rules look for.

Each takes the graph so far (a `Grower`) and returns a node over its values, or None when it has no
fitting one; what a type rule refuses is raised and taken for the same.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from graphopt.body import Body
from graphopt.ir import Node
from graphopt.structural import constant, graph_input, out
from graphopt.types import DType
from tools.fuzz_moves import (
    axes,
    cut,
    join,
    pad,
    reshape,
    shapes,
    split,
    spread,
    take,
    transpose,
)
from tools.fuzz_parts import UNARY, call, ints, is_float, number, real_shape, weights
from tools.fuzz_values import FLOATS, INTEGERS, draw_constant, kind_of

if TYPE_CHECKING:
    from tools.fuzz_graphs import Grower

Step = Callable[["Grower"], Node | None]

BINARY = (
    *("Add", "Add", "Add", "Add", "Sub", "Sub", "Mul", "Mul", "Mul", "Mul", "Div", "Div"),
    *("Max", "Min", "Pow", "Mod", "Sum", "Mean"),
)
COMPARISONS = ("Equal", "Less", "Greater", "LessOrEqual", "GreaterOrEqual")
LOGIC = ("And", "Or", "Xor", "BitwiseAnd", "BitwiseOr", "BitwiseXor")
REDUCTIONS = (
    "ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2",
    "ReduceSumSquare", "ReduceLogSum", "ReduceLogSumExp",
)  # fmt: skip


def unary(grower: Grower) -> Node | None:
    """A function of one value; sometimes the same again."""
    x = grower.pick()
    if x is None:
        return None
    if len(x.inputs) == 1 and grower.rng.random() < 0.3:
        return Node(x.op, (x,), x.attrs)
    return call(grower.rng.choice(UNARY), x)


def binary(grower: Grower) -> Node | None:
    """An operation of a value and itself, another, or a constant."""
    rng, x = grower.rng, grower.pick()
    if x is None:
        return None
    y: Node | None = x
    if rng.random() < 0.9:
        y = grower.pick(lambda node: node.dtype is x.dtype)
    if rng.random() < 0.5:
        y = number(grower, x)
    both = (x, y) if rng.random() < 0.7 else (y, x)
    name = rng.choice(BINARY)
    if name in ("Sum", "Max") and rng.random() < 0.4:
        return call(name, *both, grower.pick(lambda node: node.dtype is x.dtype))
    return call(name, *both)


def again(grower: Grower) -> Node | None:
    """What a value is made by, with another constant, or of itself twice."""
    rng, x = grower.rng, grower.pick(lambda node: len(node.inputs) == 2)
    if x is None:
        return None
    if rng.random() < 0.3:
        return call(rng.choice(("Add", "Mul", "Sub", "Max")), x, x)
    other = number(grower, x) if x.inputs[1].constant is not None else x.inputs[1]
    both = (x, other) if rng.random() < 0.6 else (other, x)
    return Node(x.op, both, x.attrs)


def compare(grower: Grower) -> Node | None:
    """A comparison, or an operation on bools."""
    rng = grower.rng
    flag = grower.pick(lambda node: node.dtype is DType.BOOL)
    if flag is not None and rng.random() < 0.5:
        if rng.random() < 0.4:
            return call("Not", flag)
        other = grower.pick(lambda node: node.dtype is DType.BOOL)
        return call(rng.choice(LOGIC), flag, other if rng.random() < 0.6 else number(grower, flag))
    x = grower.pick(lambda node: node.dtype is not DType.BOOL)
    if x is None:
        return None
    y = number(grower, x) if rng.random() < 0.5 else grower.pick(lambda n: n.dtype is x.dtype)
    return call(rng.choice(COMPARISONS), x, y)


def select(grower: Grower) -> Node | None:
    """A Where, by a condition that is known or not, of different values or equal ones."""
    rng, x = grower.rng, grower.pick()
    flag = grower.pick(lambda node: node.dtype is DType.BOOL)
    if x is None:
        return None
    if flag is None or rng.random() < 0.3:
        flag = constant(
            draw_constant(rng, DType.BOOL, rng.choice(((), (1,), real_shape(grower, x))))
        )
    y = x if rng.random() < 0.3 else grower.pick(lambda node: node.dtype is x.dtype)
    y = number(grower, x) if rng.random() < 0.3 else y
    return call("Where", flag, *((x, y) if rng.random() < 0.7 else (y, x)))


def convert(grower: Grower) -> Node | None:
    """A cast: to any dtype, or back to where the value came from."""
    rng, x = grower.rng, grower.pick()
    if x is None:
        return None
    if x.op.name == "Cast" and rng.random() < 0.6:
        return call("Cast", x, to=x.inputs[0].dtype)
    return call("Cast", x, to=rng.choice((*FLOATS, *FLOATS, *INTEGERS, DType.BOOL)))


def reduce_(grower: Grower) -> Node | None:
    """A reduction over some axes, or where the greatest element is."""
    rng, x = grower.rng, grower.pick(lambda node: node.dtype is not DType.BOOL)
    if x is None or x.rank is None:
        return None
    keep = {"keepdims": rng.randint(0, 1)}
    if rng.random() < 0.15 and x.rank:
        return call(rng.choice(("ArgMax", "ArgMin")), x, axis=rng.randrange(x.rank), **keep)
    name = rng.choice(REDUCTIONS)
    if rng.random() < 0.2 or not x.rank:
        return call(name, x, **keep)
    chosen = rng.sample(range(x.rank), rng.randint(1, x.rank))
    chosen = [k - x.rank if rng.random() < 0.2 else k for k in chosen]
    return call(name, x, ints(*chosen), **keep)


def product(grower: Grower) -> Node | None:
    """A product of matrices: with a constant, a transpose, or another value; as a Gemm."""
    rng, x = grower.rng, grower.pick(lambda node: is_float(node) and (node.rank or 0) >= 2)
    if x is None:
        return None
    inner = real_shape(grower, x)[-1]
    wide = rng.choice((1, 2, 3))
    y: Node | None = weights(grower, x, inner, wide)
    if rng.random() < 0.3:
        y = grower.pick(lambda n: n.dtype is x.dtype and real_shape(grower, n)[-2:-1] == (inner,))
    elif rng.random() < 0.2:
        y = call("Transpose", weights(grower, x, wide, inner), perm=(1, 0))
    if x.rank == 2 and rng.random() < 0.4:
        bias = weights(grower, x, wide) if rng.random() < 0.6 else None
        scale = rng.choice((1.0, 1.0, 0.5, 2.0))
        if rng.random() < 0.3:
            return call("Gemm", x, weights(grower, x, wide, inner), bias, alpha=scale, transB=1)
        return call("Gemm", x, y, bias, alpha=scale, beta=rng.choice((1.0, 1.0, 0.5)))
    return call("MatMul", x, y)


def convolve(grower: Grower) -> Node | None:
    """A convolution with constant weights."""
    rng = grower.rng

    def fits(node: Node) -> bool:
        sizes = list(kind_of(node).shape or ())
        return is_float(node) and len(sizes) in (3, 4) and isinstance(sizes[1], int)

    x = grower.pick(fits)
    if x is None and len(grower.inputs) < 6:
        plane = [rng.choice((2, 3, 4)) for _ in range(rng.choice((1, 2)))]
        x = grower.input(rng.choice(FLOATS[:2]), [grower.size(), rng.choice((1, 2, 3, 4)), *plane])
    if x is None:
        return None
    channels, spatial = real_shape(grower, x)[1], (x.rank or 0) - 2
    group = channels if rng.random() < 0.2 and channels else 1
    kernel = [rng.choice((1, 1, 2)) for _ in range(spatial)]
    many = group * rng.choice((1, 2))
    w = weights(grower, x, many, channels // max(group, 1), *kernel)
    bias = weights(grower, x, many) if rng.random() < 0.5 else None
    pads = tuple(rng.choice((0, 1)) for _ in range(2 * spatial)) if rng.random() < 0.4 else None
    return call("Conv", x, w, bias, group=group, pads=pads)


def affine(grower: Grower) -> Node | None:
    """A map per channel of a convolution or a product: normalization, a factor, a shift."""
    rng = grower.rng
    x = grower.pick(
        lambda n: (
            n.op.name in ("Conv", "MatMul", "Gemm", "BatchNormalization", "Mul", "Add")
            and is_float(n)
        )
    )
    if x is None or not x.rank:
        return None
    shape = real_shape(grower, x)
    if x.rank >= 2 and rng.random() < 0.4:
        c = shape[1]
        first = [weights(grower, x, c) for _ in range(3)]
        return call("BatchNormalization", x, *first, weights(grower, x, c, positive=True))
    axis = 1 if x.op.name == "Conv" and x.rank >= 3 else x.rank - 1
    factor = weights(grower, x, shape[axis], *(1,) * (x.rank - 1 - axis))
    return call(
        rng.choice(("Add", "Mul", "Sub", "Div")),
        *((x, factor) if rng.random() < 0.8 else (factor, x)),
    )


def normalize(grower: Grower) -> Node | None:
    """A softmax, or the first steps of one or of a normalization."""
    rng, x = grower.rng, grower.pick(lambda node: is_float(node) and (node.rank or 0) >= 1)
    if x is None:
        return None
    how = rng.random()
    if how < 0.4:
        return call(rng.choice(("Softmax", "LogSoftmax")), x, axis=-1)
    kept = call("ReduceMean" if how < 0.7 else "ReduceMax", x, ints(-1))
    moved = call("Sub", x, kept)
    if how > 0.7:
        powers = call("Exp", moved)
        return call("Div", powers, call("ReduceSum", powers, ints(-1)))
    squares = (
        call("Mul", moved, moved)
        if rng.random() < 0.5
        else call("Pow", moved, constant(np.array(2, x.dtype.numpy)))
    )
    small = constant(np.array(1e-3).astype(x.dtype.numpy))
    root = call("Sqrt", call("Add", call("ReduceMean", squares, ints(-1)), small))
    return call("Div", moved, root)


def clamp(grower: Grower) -> Node | None:
    """A value kept within bounds: by Clip, Min, Max or Relu."""
    rng, x = grower.rng, grower.pick(lambda node: node.dtype is not DType.BOOL)
    if x is None:
        return None
    low, high = (constant(draw_constant(rng, x.dtype, ())) for _ in range(2))
    how = rng.random()
    if how < 0.4:
        return call("Clip", x, low if rng.random() < 0.8 else None, high)
    return (
        call("Min", call("Max", x, low), high)
        if how < 0.8
        else call("Clip", call("Relu", x), None, high)
    )


def choose(grower: Grower) -> Node | None:
    """An If, of one or two outputs, by a condition that is known or not; with a common prefix."""
    rng, x = grower.rng, grower.pick()
    if x is None:
        return None
    y = grower.pick(lambda n: n.dtype is x.dtype and n.derived_type == x.derived_type) or x
    formals = [graph_input(f"c{k}", v.derived_type) for k, v in enumerate((x, y))]
    a, b = formals
    common = call(rng.choice(("Neg", "Identity", "Abs", "Relu")), a)
    first = call(rng.choice(("Add", "Mul", "Sub")), common, b)
    second = [common, b, call("Add", a, a)][rng.randrange(3)]
    bodies = [Body.close((), formals, outs) for outs in ([first, a], [second, b])]
    flag = grower.pick(lambda node: node.dtype is DType.BOOL and kind_of(node).shape == ())
    if flag is None or rng.random() < 0.4:
        flag = constant(np.array(rng.random() < 0.5))
    made = call("If", flag, x, y, then_branch=bodies[0], else_branch=bodies[1], outputs=2)
    return made if rng.random() < 0.5 else out(made, rng.randrange(2))


STEPS: tuple[Step, ...] = (
    unary, unary, binary, binary, binary, binary, binary, binary, binary, again, again, again,
    compare, select, select, convert, convert, transpose, reshape, reshape, axes, join, split, cut,
    pad, spread, take, reduce_, reduce_, product, convolve, affine, affine, normalize, clamp,
    shapes, choose,
)  # fmt: skip
