"""What holds for every op of the table, tested on its examples."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from dataclasses import fields
from typing import Any

import numpy as np
import pytest

from graphopt import structural
from graphopt.backends import reference
from graphopt.backends.namespace import NUMPY
from graphopt.ir import Node
from graphopt.op import Facts, Op
from graphopt.ops import table
from graphopt.types import TensorType
from tests.ops import harness, oracle

OPS = [op for op in table().values() if op not in structural.OPS]
Array = Any


def named(wanted: Callable[[Facts], object]) -> pytest.MarkDecorator:
    """Parametrize a test by the ops with a fact."""
    found = [op for op in OPS if wanted(op.facts)]
    return pytest.mark.parametrize("op", found, ids=lambda op: op.name)


every_op = named(lambda facts: True)


def examples(op: Op) -> list[Node]:
    assert op.example is not None, f"{op!r} has no examples"
    return list(op.example())


@every_op
def test_op_is_described(op: Op) -> None:
    assert op.__doc__ and op.rule is not None
    assert examples(op)


@every_op
def test_examples_have_their_types_and_results(op: Op) -> None:
    compared = [harness.check_everywhere(node) for node in examples(op)]
    assert any(compared) or op.domain == "graphopt" or op.has_bodies or op.name in WITHOUT_ORACLE


WITHOUT_ORACLE: dict[str, str] = {
    "GlobalLpPool": "ONNX Runtime has it up to opset 21 only, the reference not at all",
    "MaxRoiPool": "ONNX Runtime has it up to opset 21 only, the reference not at all",
}
"""Ops that neither onnx.reference nor ONNX Runtime can run, and why."""


def operands(node: Node, seed: int = 0, *, special: bool = True) -> list[Array] | None:
    """Arrays for the inputs of a node whose inputs are graph inputs of one shape, else None."""
    kinds = [item.type for item in node.inputs]
    shapes = {kind.shape for kind in kinds if isinstance(kind, TensorType)}
    if len(shapes) != 1 or not all(item.op.name == "Input" for item in node.inputs):
        return None
    (sizes, *_) = harness.bindings(node)
    wide = node.op.facts.total
    given = harness.feeds(node, sizes, seed, special=special, wide=wide)
    return [given[item] for item in node.inputs]


def apply(node: Node, *values: Array) -> Array:
    """The result of a node's kernel on arrays."""
    with np.errstate(all="ignore"):
        made = reference.evaluate(node, values)
    return (oracle.elements_of(made) or [made])[0]


def applications(op: Op, count: int | None = None) -> list[tuple[Node, list[Array]]]:
    """Examples with operands of one shape (and with `count`, so many of them)."""
    found = [(node, operands(node)) for node in examples(op)]
    ready = [(node, values) for node, values in found if values is not None]
    return [(node, values) for node, values in ready if count in (None, len(values))]


def same_bits(one: Array, other: Array) -> bool:
    """Equality bit by bit, but for the payload of a NaN."""
    if one.dtype == object:
        return bool((one == other).all())
    nan = (one != one) & (other != other)
    zero = np.zeros((), one.dtype)
    return np.where(nan, zero, one).tobytes() == np.where(nan, zero, other).tobytes()


@named(lambda facts: facts.commutative)
def test_commutative_ops_commute(op: Op) -> None:
    assert applications(op, 2)
    for node, (x, y) in applications(op, 2):
        assert same_bits(apply(node, x, y), apply(node, y, x)), node


@named(lambda facts: facts.involution)
def test_involutions_undo_themselves(op: Op) -> None:
    assert applications(op, 1)
    for node, (x,) in applications(op, 1):
        assert same_bits(apply(node, apply(node, x)), x), node


@named(lambda facts: facts.idempotent)
def test_idempotent_ops_do_nothing_twice(op: Op) -> None:
    """Of one variable: f(f(x)) = f(x); of two: f(x, x) = x."""
    assert applications(op)
    for node, values in applications(op):
        if len(values) == 1:
            once = apply(node, *values)
            assert same_bits(apply(node, once), once), node
        else:
            assert same_bits(apply(node, values[0], values[0]), values[0]), node


@named(lambda facts: facts.unit is not None)
def test_units_change_nothing(op: Op) -> None:
    assert applications(op, 2)
    for node, (x, _) in applications(op, 2):
        unit = np.full(x.shape, op.facts.unit).astype(x.dtype)
        assert same_bits(apply(node, x, unit), x), node
        if op.facts.unit_side == "both":
            assert same_bits(apply(node, unit, x), x), node


@named(lambda facts: facts.monotone)
def test_monotone_ops_keep_the_order(op: Op) -> None:
    assert applications(op, 1)
    for node, (x,) in applications(op, 1):
        if x.dtype == object:
            continue
        line = np.sort(x.reshape(-1)[x.reshape(-1) == x.reshape(-1)])
        made = apply(node, line).astype(np.longdouble)
        if op.facts.monotone == "decreasing":
            made = -made
        with np.errstate(all="ignore"):
            slack = op.facts.ulps * 1e-7 * np.abs(made[:-1])
            assert not (made[1:] < made[:-1] - slack).any(), node


@named(lambda facts: facts.elementwise)
def test_elementwise_ops_look_at_one_element(op: Op) -> None:
    """Operands turned around give the result turned around."""
    assert applications(op)
    for node, values in applications(op):
        result = apply(node, *values)
        back = apply(node, *(value.reshape(-1)[::-1].reshape(value.shape) for value in values))
        harness.check_close(back.reshape(-1)[::-1].reshape(result.shape), result, op.facts.ulps)


@named(lambda facts: facts.moves)
def test_moving_ops_make_no_new_elements(op: Op) -> None:
    for node in examples(op):
        for sizes in harness.bindings(node):
            values = harness.run(node, harness.feeds(node, sizes))
            source, made = values[node.inputs[0]], values[node]
            if oracle.is_array(source) and oracle.is_array(made):
                assert set(elements(made)) <= set(elements(source)), node


def elements(array: Array) -> list[Any]:
    """The elements of an array as what can be compared: texts or bits."""
    flat = array.reshape(-1)
    return flat.tolist() if array.dtype == object else [element.tobytes() for element in flat]


@named(lambda facts: facts.ufunc)
def test_ufuncs_are_in_the_namespace(op: Op) -> None:
    assert op.facts.elementwise
    function = getattr(NUMPY, op.facts.ufunc)
    for node, values in applications(op, 2 if op.variadic else None):
        with np.errstate(all="ignore"):
            harness.check_close(function(*values), apply(node, *values), 0)


@every_op
def test_nodes_survive_copy_and_pickle(op: Op) -> None:
    for node in examples(op)[:3]:
        assert copy.deepcopy(node) is node
        assert pickle.loads(pickle.dumps(node)) is node


@every_op
def test_facts_are_consistent(op: Op) -> None:
    facts = op.facts
    assert not (facts.commutative and len(op.inputs) < 2)
    assert facts.unit_side == "both" or facts.unit is not None
    assert all(position < len(op.inputs) for position in facts.host_inputs)
    assert {field.name for field in fields(facts)} == set(Facts.__slots__)
