"""Loops that need not run, or of which something is known: rules on Loop and Scan.

A Loop is taken as ONNX and its runtimes agree on it: where the condition is left out yet the body
may return false, some stop and some do not, and how often it runs counts as not known.
"""

from __future__ import annotations

import numpy as np

from graphopt.body import Body
from graphopt.ir import Node
from graphopt.ops.arithmetic import add
from graphopt.ops.loops import CONDITION, goes_on, loop, param_shape, scan
from graphopt.passes.branches.control import Values, of_outputs
from graphopt.passes.branches.loop_parts import parts_of
from graphopt.rewriting import (
    Attr,
    Equations,
    Guard,
    Many,
    Maybe,
    Rule,
    Soundness,
    Value,
    rules,
)
from graphopt.rewriting.examples import example
from graphopt.structural import constant, out_op, results
from graphopt.tensor import Tensor
from graphopt.types import DType, TensorType

K, GO, FLAG = example("int64[]", "k"), example("bool[]", "go"), example("bool[]", "flag")
X, Y = example("float32[3]", "x"), example("float32[3]", "y")
YES, NO = constant(True), constant(False)


def _counting(outputs: int, trips: int = 2, *, keeps: bool = False) -> Node:
    """A Loop that doubles what it carries, but for the last value if it keeps that."""
    carried = (X, Y)[:outputs]
    made = [add(value, value) for value in carried]
    made[-1] = carried[-1] if keeps else made[-1]
    body = Body.close((K, GO, *carried), (), (YES, *made))
    node: Node = loop(constant(trips), None, *carried, body=body, outputs=outputs)
    return node


def _scanning(outputs: int, length: int = 2, *, keeps: bool = False) -> Node:
    """A Scan that adds what it scans to what it carries, but to the last if it keeps that."""
    carried, item = (X, Y)[:outputs], example("float32[3]", "item")
    made = [add(value, item) for value in carried]
    made[-1] = carried[-1] if keeps else made[-1]
    body = Body.close((*carried, item), (), made)
    rows = example(f"float32[{length}, 3]", "rows")
    node: Node = scan(*carried, rows, body=body, num_scan_inputs=1, outputs=outputs)
    return node


# Loops that do not run


def unrun(node: Node) -> Values:
    """The outputs of a loop that does not run: what it carries, and of the rest nothing."""
    parts = parts_of(node)
    return [*parts.carried, *map(_emptied, results(node)[len(parts.carried) :])]


def _emptied(value: Node) -> Node:
    """An empty constant in place of a value that is empty, if its shape is known."""
    kind = value.derived_type
    if not isinstance(kind, TensorType) or not kind.is_static:
        return value
    sizes = [size for size in kind.shape or () if isinstance(size, int)]
    return constant(Tensor.of(np.zeros(sizes, kind.dtype.numpy), kind.dtype))


def _never_runs(node: Node, index: int) -> bool:
    return parts_of(node).count == 0


@rules(Soundness.EXACT)
def zero_trips(m: Maybe, p: Maybe, v: Many, a: Attr, i: Attr, node: Value) -> Equations:
    """loop 0 times from x = x"""
    yield from of_outputs(
        loop(m, p, v, attrs=a),
        out_op(node.of(loop(m, p, v, attrs=a)), index=i),
        unrun,
        when=("the body never runs", _never_runs),
        fires=lambda outputs: _counting(outputs, 0),
        misses=lambda outputs: _counting(outputs, 1),
    )


@rules(Soundness.EXACT)
def empty_scan(v: Many, a: Attr, i: Attr, node: Value) -> Equations:
    """scan nothing from x = x"""
    yield from of_outputs(
        scan(v, attrs=a),
        out_op(node.of(scan(v, attrs=a)), index=i),
        unrun,
        when=("the body never runs", _never_runs),
        fires=lambda outputs: _scanning(outputs, 0),
        misses=lambda outputs: _scanning(outputs, 1),
    )


# Values that a loop carries and does not change


def first_values(node: Node) -> Values:
    """What a loop carries first, in place of what it carries last."""
    carried = parts_of(node).carried
    return [*carried, *results(node)[len(carried) :]]


def _is_kept(node: Node, index: int) -> bool:
    parts = parts_of(node)
    return index < len(parts.carried) and parts.never_changes(index)


@rules(Soundness.EXACT)
def kept_value(m: Maybe, p: Maybe, v: Many, a: Attr, i: Attr, node: Value) -> Equations:
    """loop x -> x from a = a"""
    yield from of_outputs(
        loop(m, p, v, attrs=a),
        out_op(node.of(loop(m, p, v, attrs=a)), index=i),
        first_values,
        when=("the body does not change the value", _is_kept),
        fires=lambda outputs: _counting(outputs, keeps=True),
        misses=lambda outputs: _counting(outputs),
    )


@rules(Soundness.EXACT)
def kept_state(v: Many, a: Attr, i: Attr, node: Value) -> Equations:
    """scan x -> x from a = a"""
    yield from of_outputs(
        scan(v, attrs=a),
        out_op(node.of(scan(v, attrs=a)), index=i),
        first_values,
        when=("the body does not change the value", _is_kept),
        fires=lambda outputs: _scanning(outputs, keeps=True),
        misses=lambda outputs: _scanning(outputs),
    )


# What a loop's body knows


def told(root: Node) -> Node:
    """A Loop whose body knows that the condition it is given holds."""
    body: Body = root.attrs["body"]
    formals, _ = body.open()
    known = constant(np.full(param_shape(body, CONDITION), True), DType.BOOL)
    arguments = [*formals[:CONDITION], known, *formals[CONDITION + 1 :]]
    own = len(formals) - body.captures
    made = Body.close(formals[:own], formals[own:], body.open(arguments)[1])
    return root if made is body else Node(loop, root.inputs, {**root.attrs, "body": made})


def _holds(root: Node) -> bool:
    return parts_of(root).heads[CONDITION] is not None or goes_on(root.attrs["body"])


def _asking(cond: Node | None) -> Node:
    body = Body.close((K, GO, FLAG), (), (NO, GO))
    node: Node = loop(constant(2), cond, FLAG, body=body)
    return node


@rules(Soundness.EXACT)
def loop_facts(m: Maybe, p: Maybe, v: Many, a: Attr) -> Equations:
    """while p do f(p) = while p do f(true)"""
    yield Rule(
        "told",
        loop(m, p, v, attrs=a),
        told,
        when=Guard("the condition holds in every iteration", _holds),
        fires=lambda: _asking(example("bool[]", "p")),
        misses=lambda: _asking(None),
    )


LOOPS = zero_trips + empty_scan + kept_value + kept_state + loop_facts
