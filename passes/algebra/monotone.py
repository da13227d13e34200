"""Rules of monotone functions: what is increasing is applied after a maximum, to fewer elements.

Not so are functions that make NaN of a number, of which a maximum would then hide the NaN, and
positions of maxima, where a function that is not one-to-one makes ties.
"""

from __future__ import annotations

from typing import Any

from graphopt import dims
from graphopt.ir import Node
from graphopt.op import Op
from graphopt.ops.activation import relu, sigmoid, softplus
from graphopt.ops.arithmetic import mod
from graphopt.ops.functions import atan, ceil, erf, exp, floor, neg, round_, sinh, tanh
from graphopt.ops.pool import max_pool
from graphopt.ops.reduction import arg_max, arg_min, known_axes, reduce_max, reduce_min
from graphopt.ops.softmax import log_softmax, softmax
from graphopt.passes.algebra.clips import limit
from graphopt.passes.algebra.elements import no_negative_zero, shown
from graphopt.ranges import facts_of
from graphopt.rewriting import (
    Attr,
    Declined,
    Equations,
    Float,
    Guard,
    Maybe,
    Rule,
    Soundness,
    Value,
    guards,
    rules,
)
from graphopt.rewriting.examples import example, filled, ints
from graphopt.types import TensorType

X = example("float32[2, 3]")
EMPTY = "float32[2, 0]"
IMAGE = "float32[1, 2, 5, 5]"
FUSED = frozenset({"Add", "BatchNormalization", "Conv", "ConvTranspose", "Gemm", "MatMul", "Sum"})
"""Ops with whose results an activation is computed in one step."""
REDUCTIONS = (reduce_max, reduce_min)


def _has_elements(root: Node, x: Node) -> bool:
    """Whether every axis that is reduced is proven to have an element."""
    axes = root.inputs[1] if len(root.inputs) > 1 else None
    noop = bool(root.op.arguments(root.attrs)["noop_with_empty_axes"])
    chosen = known_axes(axes, x.rank, noop)
    return chosen is not None and all(dims.positive((x.shape or ())[axis]) for axis in chosen)


NONEMPTY = Guard("the reduced axes have elements", _has_elements, ("root", "x"))


def _never_least(x: Node) -> bool:
    return not x.dtype.is_integer or facts_of(x).low > limit(x.dtype, greatest=False)


UNFUSED = Guard("x is not computed together with it", lambda x: x.op.name not in FUSED)
NEVER_LEAST = Guard("x is never the least integer", _never_least, ("x",))


def _windows_have_elements(x: Node, a: Any) -> bool:
    """Whether no window of a pooling sees nothing but padding."""
    pads, kernel = a.get("pads") or (), a["kernel_shape"]
    if a.get("ceil_mode", 0) or a.get("auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
        return False
    if not any(pads):
        return True
    narrow = all(pad < size for pad, size in zip(pads, kernel * 2, strict=True))
    sizes = (x.shape or ())[2:]
    return narrow and not a.get("dilations") and all(map(dims.positive, sizes)) and bool(sizes)


def _is_tensor(root: Node) -> bool:
    return isinstance(root.derived_type, TensorType)


def _few(x: Node) -> Node:
    """Small remainders."""
    made: Node = mod(x, filled(7, dtype="int32"))
    return made


def _applied_after(op: Op, function: Op) -> Any:
    """The function of the reduced x, unless that is the limit that a maximum of nothing gives."""

    def right(root: Node, x: Node) -> Node | Declined:
        if not _has_elements(root, x):
            return Declined("the reduced axes have elements")
        made: Node = function(op(x, *root.inputs[1:], **root.attrs))
        return made

    return right


@rules(Soundness.EXACT)
def rectified(x: Float, axes: Maybe, a: Attr, inner: Value) -> Equations:
    """max(relu(x)) = relu(max(x)) over axes that have elements, or windows."""
    yield Rule(
        "reduce_max",
        reduce_max(inner.of(relu(x)), axes, attrs=a),
        relu(reduce_max(x, axes, attrs=a)),
        when=NONEMPTY,
        worth=(guards.used_once("inner"), UNFUSED),
        fires=lambda: reduce_max(relu(X), ints(1)),
        misses=lambda: reduce_max(relu(example(EMPTY)), ints(1)),
    )
    yield Rule(
        "reduce_min",
        reduce_min(inner.of(relu(x)), axes, attrs=a),
        relu(reduce_min(x, axes, attrs=a)),
        worth=(guards.used_once("inner"), UNFUSED),
        fires=lambda: reduce_min(relu(X), ints(1)),
        misses=lambda: reduce_min(neg(X), ints(1)),
    )
    yield Rule(
        "max_pool",
        max_pool(inner.of(relu(x)), attrs=a),
        relu(max_pool(x, attrs=a)),
        when=Guard("every window has an element", _windows_have_elements, ("x", "a")),
        worth=(
            Guard("only the maxima are wanted", lambda root: _is_tensor(root)),
            guards.used_once("inner"),
            UNFUSED,
        ),
        fires=lambda: max_pool(relu(example(IMAGE)), kernel_shape=(2, 2)),
        misses=lambda: max_pool(
            relu(example(IMAGE)), kernel_shape=(1, 1), pads=(1, 1, 1, 1), strides=(2, 2)
        ),
    )


@rules(Soundness.VALUE)
def rounded(x: Value, axes: Maybe, a: Attr, inner: Value) -> Equations:
    """max(floor(x)) = floor(max(x)), max(-x) = -min(x); the latter over axes that have elements."""
    for op, other in (REDUCTIONS, REDUCTIONS[::-1]):
        for function in (floor, ceil, round_):
            yield Rule(
                f"{op.name.lower()}_{function.name.lower()}",
                op(inner.of(function(x)), axes, attrs=a),
                function(op(x, axes, attrs=a)),
                worth=guards.used_once("inner"),
                unobserved=no_negative_zero("inner"),
                fires=shown(lambda op, function: op(function(exp(X)), ints(1)), op, function),
                misses=shown(lambda op, function: op(function(X), ints(1)), op, function),
            )
        yield Rule(
            f"{op.name.lower()}_neg",
            op(inner.of(neg(x)), axes, attrs=a),
            neg(other(x, axes, attrs=a)),
            when=(NEVER_LEAST, NONEMPTY),
            worth=guards.used_once("inner"),
            unobserved=no_negative_zero("inner"),
            fires=shown(lambda op: op(neg(_few(example("int32[2, 3]"))), ints(1)), op),
            misses=(
                shown(lambda op: op(neg(example("int32[2, 3]")), ints(1)), op),
                shown(lambda op: op(neg(_few(example("int32[2, 0]"))), ints(1)), op),
            ),
        )


@rules(Soundness.ROUNDING)
def increasing(x: Float, axes: Maybe, a: Attr, inner: Value) -> Equations:
    """max(exp(x)) = exp(max(x)) over axes that have elements, and so on."""
    for function in (exp, sigmoid, tanh, erf, atan, softplus, sinh):
        assert function.facts.monotone == "increasing"
        for op in REDUCTIONS:
            yield Rule(
                f"{op.name.lower()}_{function.name.lower()}",
                op(inner.of(function(x)), axes, attrs=a),
                _applied_after(op, function),
                worth=guards.used_once("inner"),
                fires=shown(lambda op, function: op(function(X), ints(1)), op, function),
                misses=shown(
                    lambda op, function: op(function(example(EMPTY)), ints(1)), op, function
                ),
            )


@rules(Soundness.EXACT)
def positions(x: Value, a: Attr, inner: Value) -> Equations:
    """argmax(-x) = argmin(x)"""
    for op, other in ((arg_max, arg_min), (arg_min, arg_max)):
        yield Rule(
            op.name.lower(),
            op(inner.of(neg(x)), attrs=a),
            other(x, attrs=a),
            when=NEVER_LEAST,
            worth=guards.used_once("inner"),
            fires=shown(lambda op: op(neg(X), axis=1), op),
            misses=shown(lambda op: op(neg(example("int32[2, 3]")), axis=1), op),
        )


def _same_axis(root: Node, k: int) -> bool:
    rank = root.inputs[0].rank
    return rank is not None and (root.attrs.get("axis", 0) - k) % rank == 0


@rules(Soundness.FAST)
def tied_positions(x: Float, a: Attr, k: Attr, inner: Value) -> Equations:
    """argmax(softmax(x)) = argmax(x): but for ties that rounding makes, and for NaN."""
    for op in (arg_max, arg_min):
        for function in (softmax, log_softmax):
            yield Rule(
                f"{op.name.lower()}_{function.name.lower()}",
                op(inner.of(function(x, axis=k)), attrs=a),
                op(x, attrs=a),
                when=Guard("they are along one axis", _same_axis, ("root", "k")),
                worth=guards.used_once("inner"),
                fires=shown(lambda op, function: op(function(X, axis=1), axis=1), op, function),
                misses=shown(lambda op, function: op(function(X, axis=0), axis=1), op, function),
            )
        for function in (exp, sigmoid, tanh):
            yield Rule(
                f"{op.name.lower()}_{function.name.lower()}",
                op(inner.of(function(x)), attrs=a),
                op(x, attrs=a),
                worth=guards.used_once("inner"),
                fires=shown(lambda op, function: op(function(X), axis=1), op, function),
                misses=shown(lambda op, function: op(neg(function(X)), axis=1), op, function),
            )


MONOTONE = rectified + rounded + increasing + positions + tied_positions
