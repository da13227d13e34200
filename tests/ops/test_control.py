"""If: which branch runs, and the type of what may come from either."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from graphopt.body import Body
from graphopt.dims import symbol
from graphopt.errors import ExecutionError, TypeRuleError
from graphopt.ir import Node, types_of
from graphopt.ops.control import fits, if_, join
from graphopt.ops.indexing import gather
from graphopt.ops.shape import reshape, shape
from graphopt.ops.slicing import concat
from graphopt.structural import constant, graph_input, opaque, results
from graphopt.types import (
    UNKNOWN,
    DType,
    MapType,
    OptionalType,
    ResourceType,
    SequenceType,
    TensorType,
    Type,
)
from tests.ops import harness

F32, I64 = DType.FLOAT32, DType.INT64
N, M = symbol("N"), symbol("M")
COND = graph_input("cond", TensorType(DType.BOOL, ()))
X = graph_input("x", TensorType(F32, (N, 3)))
Y = graph_input("y", TensorType(F32, (1, 3)))


def branches(one: Any, other: Any, *captured: Node) -> dict[str, Body]:
    """The two bodies over captures, each of one output or a tuple of them."""

    def body(made: Any) -> Body:
        return Body.close((), captured, [made] if isinstance(made, Node) else made)

    return {"then_branch": body(one), "else_branch": body(other)}


@pytest.mark.parametrize("cond", [True, False])
@pytest.mark.parametrize("shape", [(), (1,), (1, 1)])
def test_one_branch_runs(cond: bool, shape: tuple[int, ...]) -> None:
    of = graph_input("cond", TensorType(DType.BOOL, shape))
    node = if_(of, X, Y, outputs=2, **branches((X, Y), (Y, concat(X, Y, axis=0)), X, Y))
    x, y = np.ones((2, 3), np.float32), np.zeros((1, 3), np.float32)
    made = harness.run(node, {of: np.full(shape, cond), X: x, Y: y})[node]
    wanted = (x, y) if cond else (y, np.concatenate([x, y]))
    for one, other in zip(made, wanted, strict=True):
        np.testing.assert_array_equal(one, other)


def test_only_the_branch_that_is_taken_can_fail() -> None:
    at = graph_input("at", TensorType(I64, ()))
    node = if_(COND, Y, at, **branches(gather(Y, at), reshape(Y, constant([3], I64)), Y, at))
    y, outside = np.zeros((1, 3), np.float32), np.array(5)
    assert harness.run(node, {COND: np.array(False), Y: y, at: outside})[node].shape == (3,)
    with pytest.raises(ExecutionError, match="IndexError"):
        harness.run(node, {COND: np.array(True), Y: y, at: outside})


def test_sizes_that_agree_are_kept() -> None:
    node = if_(COND, X, Y, **branches(X, concat(X, Y, axis=0), X, Y))
    assert node.derived_type == TensorType(F32, (None, 3))
    both = if_(COND, X, Y, **branches(concat(X, Y, axis=0), concat(Y, X, axis=0), X, Y))
    assert both.derived_type == TensorType(F32, (N + 1, 3))
    flat = if_(COND, Y, **branches(Y, reshape(Y, constant([3], I64)), Y))
    assert flat.derived_type == TensorType(F32, None)


def test_known_elements_that_agree_are_kept() -> None:
    more = graph_input("more", TensorType(F32, (N, M)))
    node = if_(COND, X, more, **branches(shape(X), shape(more), X, more))
    assert node.derived_type == TensorType(I64, (2,), (N, None))
    node = if_(COND, **branches(constant(1), constant(2)))
    assert node.derived_type == TensorType(I64, ())


def test_branches_of_unknown_type() -> None:
    strange = opaque("other", "Strange", (), origin=1, types=(UNKNOWN,), attrs={})
    node = if_(COND, Y, outputs=2, **branches((strange, Y), (Y, Y), Y))
    assert types_of(node) == (UNKNOWN, Y.type)
    assert [item.type for item in results(node)] == [UNKNOWN, Y.type]


def test_a_branch_over_captures_that_are_better_known_now() -> None:
    node = if_(COND, X, **branches(X, X, X))
    two = graph_input("x", TensorType(F32, (2, 3)))
    assert node.with_inputs((COND, two)).inputs == (COND, two)
    assert not fits(X.type, TensorType(F32, (N, 4)))


def tensor(*shape: Any, known: Any = None, dtype: DType = F32) -> TensorType:
    return TensorType(dtype, shape, known)


JOINS: list[tuple[Type, Type, Type]] = [
    (tensor(2, N), tensor(2, N), tensor(2, N)),
    (tensor(2, N), tensor(2, M), tensor(2, None)),
    (tensor(2), tensor(2, 3), TensorType(F32, None)),
    (tensor(2), TensorType(F32, None), TensorType(F32, None)),
    (tensor(2, known=(1, N), dtype=I64), tensor(2, known=(1, 2), dtype=I64),
     tensor(2, known=(1, None), dtype=I64)),
    (tensor(2, known=(1, N), dtype=I64), tensor(2, dtype=I64), tensor(2, dtype=I64)),
    (UNKNOWN, tensor(2), UNKNOWN),
    (SequenceType(tensor(2)), SequenceType(tensor(3)), SequenceType(tensor(None))),
    (OptionalType(tensor(2)), OptionalType(tensor(2)), OptionalType(tensor(2))),
    (OptionalType(tensor(2)), OptionalType(tensor(1, 1)), OptionalType(TensorType(F32, None))),
]  # fmt: skip


@pytest.mark.parametrize(("one", "other", "wanted"), JOINS)
def test_join(one: Type, other: Type, wanted: Type) -> None:
    assert join(one, other) == wanted
    assert join(other, one) == wanted


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (tensor(2), tensor(2, dtype=I64)),
        (tensor(2), SequenceType(tensor(2))),
        (OptionalType(tensor(2)), SequenceType(tensor(2))),
        (ResourceType("variable"), ResourceType("generator")),
    ],
)
def test_types_that_cannot_be_joined(one: Type, other: Type) -> None:
    with pytest.raises(TypeRuleError, match="the other"):
        join(one, other)


FITS: list[tuple[Type, Type, bool]] = [
    (tensor(N, 3), tensor(2, 3), True),
    (tensor(None, 3), tensor(N, 3), True),
    (tensor(2, 3), tensor(2, 4), False),
    (tensor(2, 3), TensorType(F32, None), False),
    (TensorType(F32, None), tensor(2), True),
    (tensor(2), tensor(2, dtype=I64), False),
    (UNKNOWN, tensor(2), True),
    (SequenceType(tensor(None)), SequenceType(tensor(2)), True),
    (OptionalType(tensor(1)), OptionalType(tensor(2)), False),
    (MapType(I64, tensor(1)), MapType(I64, tensor(1)), True),
    (MapType(I64, tensor(None)), MapType(DType.STRING, tensor(1)), False),
    (ResourceType("variable"), ResourceType("variable"), True),
]


@pytest.mark.parametrize(("wanted", "given", "fitting"), FITS)
def test_fits(wanted: Type, given: Type, fitting: bool) -> None:
    assert fits(wanted, given) is fitting


REFUSED: list[tuple[Callable[[], object], str]] = [
    (lambda: if_(Y, **branches(constant(1), constant(2))), "not bool"),
    (lambda: if_(constant([True, True]), **branches(constant(1), constant(2))), "one element"),
    (lambda: if_(COND, **branches(constant(1), constant(2.5))), "the other"),
    (lambda: if_(COND, outputs=2, **branches(constant(1), constant(2))), "1 outputs, not 2"),
    (lambda: if_(COND, Y, **branches(constant(1), constant(2))), "takes 0 captures, not 1"),
    (lambda: if_(COND, None, X, **branches(Y, X, Y, X)), "capture is missing"),
    (lambda: if_(COND, X, X, **branches(Y, X, X, Y)), "then_branch takes float32"),
]


@pytest.mark.parametrize(("make", "message"), REFUSED)
def test_refusals(make: Callable[[], object], message: str) -> None:
    with pytest.raises(TypeRuleError, match=message):
        make()
