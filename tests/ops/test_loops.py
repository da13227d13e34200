"""Loop and Scan: how often the body runs, what is carried and stacked, and the types of both."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

import graphopt
from graphopt.body import Body
from graphopt.dims import symbol
from graphopt.errors import ExecutionError, TypeRuleError, UnsupportedError
from graphopt.graph import Graph
from graphopt.ir import Node, types_of, walk
from graphopt.ops.arithmetic import add, mul
from graphopt.ops.indexing import gather
from graphopt.ops.logic import less
from graphopt.ops.loops import loop, scan
from graphopt.ops.reduction import reduce_sum
from graphopt.ops.slicing import concat
from graphopt.rewriting.examples import example
from graphopt.specialize import specialize
from graphopt.structural import constant, graph_input, results
from graphopt.text import parse_graph, print_graph
from graphopt.types import DType, SequenceType, TensorType

I64, F32 = DType.INT64, DType.FLOAT32
K, GO = example("int64[]", "k"), example("bool[]", "go")
TRIPS, COND = example("int64[]", "trips"), example("bool[]", "cond")
X, W = example("float32[2]", "x"), example("float32[2]", "w")
YES = constant(True)
BACKENDS = ("reference", "numpy", "jax")


def number(value: float) -> Node:
    return constant(value, F32)


def body(carried: Sequence[Node], captured: Sequence[Node], *made: Node, go: Node = YES) -> Body:
    """A Loop's body; K is the number of the iteration and GO the condition."""
    return Body.close((K, GO, *carried), captured, (go, *made))


def run(node: Node, *arrays: Any, backend: str = "reference") -> tuple[Any, ...]:
    """The outputs of a node on arrays for its inputs, in the order in which it needs them."""
    if backend == "jax":
        pytest.importorskip("jax", reason="the backend's library is an extra")
    inputs = tuple(item for item in walk((node,)) if item.op.name == "Input")
    made = results(node)
    graph = Graph(inputs, made, tuple(f"y{k}" for k in range(len(made))))
    return graphopt.compile(graph, backend)(*map(np.asarray, arrays))


ONES, TWOS = np.ones(2, np.float32), np.full(2, 2, np.float32)
DOUBLED = body((X,), (), add(X, X), X, K)
"""Doubles what it carries and shows what that was, and the iteration."""


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("trips", [-3, 0, 1, 3, 12])
def test_a_loop_that_counts(backend: str, trips: int) -> None:
    node = loop(constant(trips), None, X, body=DOUBLED, outputs=3)
    last, shown, counted = run(node, ONES, backend=backend)
    trips = max(trips, 0)
    np.testing.assert_array_equal(last, ONES * 2.0**trips)
    np.testing.assert_array_equal(shown, np.outer(2.0 ** np.arange(trips), ONES))
    assert (shown.shape, counted.tolist()) == ((trips, 2), list(range(trips)))
    kinds = types_of(node)
    assert kinds == (X.type, TensorType(F32, (trips, 2)), TensorType(I64, (trips,)))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("trips", [0, 5])
def test_a_loop_whose_count_is_an_input(backend: str, trips: int) -> None:
    node = loop(TRIPS, None, X, body=DOUBLED, outputs=3)
    assert types_of(node)[1:] == (TensorType(F32, (None, 2)), TensorType(I64, (None,)))
    last, shown, counted = run(node, trips, ONES, backend=backend)
    assert (last.tolist(), shown.shape) == ([2.0**trips] * 2, (trips, 2))
    assert counted.tolist() == list(range(trips))


SMALL = body((X,), (W,), add(X, W), go=less(reduce_sum(add(X, W), keepdims=0), number(9)))
"""Adds w as long as the sum is below 9."""


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("trips", "cond", "wanted"),
    [
        (None, True, 5.0),
        (100, True, 5.0),
        (2, True, 3.0),
        (0, True, 1.0),
        (100, False, 1.0),
        (3, None, 4.0),  # without a condition, that of the body does not count
        (7, None, 8.0),
    ],
)
def test_a_loop_that_stops(
    backend: str, trips: int | None, cond: bool | None, wanted: float
) -> None:
    given = [None if item is None else constant(item) for item in (trips, cond)]
    node = loop(*given, X, W, body=SMALL)
    (last,) = run(node, ONES, ONES, backend=backend)
    assert last.tolist() == [wanted, wanted]
    fed = loop(None if trips is None else TRIPS, None if cond is None else COND, X, W, body=SMALL)
    arrays = [item for item in (trips, cond) if item is not None]
    (again,) = run(fed, *arrays, ONES, ONES, backend=backend)
    assert again.tolist() == last.tolist()


def test_a_condition_that_does_not_count_is_handed_on() -> None:
    no, seen = constant(False), example("bool[]", "seen")
    ignored = Body.close((K, GO, seen), (), (no, GO))
    for trips, wanted in ((1, True), (2, False)):
        (made,) = run(loop(constant(trips), None, constant(False), body=ignored))
        assert made.item() is wanted


@pytest.mark.parametrize("backend", ["reference", "numpy"])
def test_a_loop_that_stops_and_stacks(backend: str) -> None:
    shown = body((X,), (W,), add(X, W), X, go=SMALL.open((K, GO, X, W))[1][0])
    node = loop(None, YES, X, W, body=shown, outputs=2)
    last, stacked = run(node, ONES, ONES, backend=backend)
    assert (last.tolist(), stacked[:, 0].tolist()) == ([5, 5], [1, 2, 3, 4])
    assert types_of(node)[1] == TensorType(F32, (None, 2))


def test_jax_says_that_what_is_stacked_depends_on_content() -> None:
    pytest.importorskip("jax", reason="the backend's library is an extra")
    shown = body((X,), (W,), add(X, W), X, go=SMALL.open((K, GO, X, W))[1][0])
    with pytest.raises(UnsupportedError, match="backend='numpy'"):
        run(loop(None, YES, X, W, body=shown, outputs=2), ONES, ONES, backend="jax")


GROWN = graph_input("grown", TensorType(F32, (None,)))
GROWING = body((GROWN,), (W,), concat(GROWN, W, axis=0))


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_loop_that_grows(backend: str) -> None:
    node = loop(constant(10), None, X, W, body=GROWING)
    assert node.derived_type == TensorType(F32, (None,))
    (made,) = run(node, ONES, TWOS, backend=backend)
    assert made.tolist() == [1.0] * 2 + [2.0] * 20


def test_jax_refuses_to_grow_without_a_known_end() -> None:
    pytest.importorskip("jax", reason="the backend's library is an extra")
    ending = body((GROWN,), (W,), concat(GROWN, W, axis=0), go=less(reduce_sum(GROWN, keepdims=0),
                                                                  number(9)))  # fmt: skip
    (made,) = run(loop(None, YES, X, W, body=ending), ONES, TWOS, backend="numpy")
    assert made.shape == (8,)
    with pytest.raises(UnsupportedError, match="shapes change.*backend='numpy'"):
        run(loop(None, YES, X, W, body=ending), ONES, TWOS, backend="jax")


@pytest.mark.parametrize("backend", BACKENDS)
def test_many_iterations(backend: str) -> None:
    """More than are worth writing down one by one."""
    node = loop(constant(20_000), None, X, W, body=body((X,), (W,), add(mul(X, W), W)))
    half = np.full(2, 0.5, np.float32)
    (made,) = run(node, ONES, half, backend=backend)
    assert made.tolist() == [1.0, 1.0]


def test_a_loop_in_a_loop_and_in_a_branch() -> None:
    inner = loop(constant(2), None, X, W, body=body((X,), (W,), add(X, W)))
    node = loop(constant(3), None, X, W, body=body((X,), (W,), inner))
    for backend in BACKENDS:
        (made,) = run(node, ONES, ONES, backend=backend)
        assert made.tolist() == [7.0, 7.0]


def test_a_sequence_may_be_carried() -> None:
    kind = SequenceType(TensorType(F32, (2,)))
    held = graph_input("held", kind)
    node = loop(constant(2), None, held, body=Body.close((K, GO, held), (), (YES, held)))
    assert node.derived_type == kind
    (made,) = run_lists(node, [ONES])
    assert [item.tolist() for item in made] == [[1, 1]]


def run_lists(node: Node, value: list[Any]) -> tuple[Any, ...]:
    from graphopt.backends import reference

    return (reference.evaluate(node, [np.array(2), None, value]),)


# Types

N = symbol("N")
ROWS = graph_input("rows", TensorType(F32, (N, 3)))


def test_sizes_that_an_iteration_keeps_are_kept() -> None:
    loose = graph_input("loose", TensorType(F32, (None, 3)))
    kept = loop(TRIPS, COND, ROWS, body=body((loose,), (), add(loose, loose)))
    assert kept.derived_type == TensorType(F32, (N, 3))
    grown = loop(TRIPS, COND, ROWS, body=body((loose,), (), concat(loose, loose, axis=0)))
    assert grown.derived_type == TensorType(F32, (None, 3))
    other = graph_input("other", TensorType(F32, (None, 3)))
    swapped = loop(TRIPS, COND, ROWS, ROWS, body=body((loose, other), (), other, loose), outputs=2)
    assert types_of(swapped) == (TensorType(F32, (None, 3)),) * 2


def test_names_of_the_body_stand_for_sizes_of_the_arguments() -> None:
    one = example("float32[1, 3]", "one")
    inner = body((ROWS,), (), add(ROWS, ROWS), ROWS)
    node = loop(constant(2), None, one, body=inner, outputs=2)
    assert types_of(node) == (one.type, TensorType(F32, (2, 1, 3)))


def test_sizes_of_what_is_stacked() -> None:
    item = body((X,), (ROWS,), X, ROWS)
    for trips, size in ((constant(4), 4), (constant(0), 0), (TRIPS, None)):
        node = loop(trips, None, X, ROWS, body=item, outputs=2)
        assert types_of(node)[1] == TensorType(F32, (size, N, 3))
    (_, empty) = run(loop(constant(0), None, X, ROWS, body=item, outputs=2), ONES, np.ones((5, 3),
                     np.float32))  # fmt: skip
    assert empty.shape == (0, 5, 3)


def test_a_count_is_known_only_if_nothing_can_stop() -> None:
    for cond, going, size in (
        (YES, YES, 4),
        (YES, GO, 4),
        (None, GO, 4),
        (COND, YES, None),
        (YES, SMALL.open((K, GO, X, X))[1][0], None),
        (None, constant(False), None),
        (constant(False), YES, 0),
    ):
        shown = body((X,), (), X, X, go=going)
        node = loop(constant(4), cond, X, body=shown, outputs=2)
        assert types_of(node)[1] == TensorType(F32, (size, 2))


REFUSED: list[tuple[Callable[[], object], str]] = [
    (lambda: loop(X, None, X, body=DOUBLED, outputs=3), "trips is float32"),
    (lambda: loop(constant([1, 2]), None, X, body=DOUBLED, outputs=3), "not one int64"),
    (lambda: loop(None, TRIPS, X, body=DOUBLED, outputs=3), "cond is int64"),
    (lambda: loop(None, None, X, body=DOUBLED, outputs=2), "3 outputs, not 2"),
    (lambda: loop(None, None, X, X, body=DOUBLED, outputs=3), "takes 3 values, not 4"),
    (lambda: loop(None, None, None, X, body=body((X, W), (), X, W)), "is missing"),
    (lambda: loop(None, None, ROWS, body=DOUBLED, outputs=3), r"takes float32\[2\], not"),
    (lambda: loop(None, None, X, body=Body.close((X,), (), (X,))), "does not take the number"),
    (lambda: loop(None, None, X, body=body((X,), (), X, go=K)), "is not the condition"),
    (lambda: loop(None, None, X, body=body((X,), (), concat(X, X, axis=0))), "carries float32"),
    (lambda: loop(None, None, X, X, body=body((X, W), (), X)), "returns 2 values, and carries 2"),
    (lambda: loop(None, None, body=Body.close((K, GO), (), (YES,)), outputs=0), "0 outputs"),
]


@pytest.mark.parametrize(("make", "message"), REFUSED)
def test_refusals(make: Callable[[], object], message: str) -> None:
    with pytest.raises(TypeRuleError, match=message):
        make()


# Scan

ITEM = example("float32[3]", "item")
STATE = example("float32[3]", "state")
SUMS = Body.close((STATE, ITEM), (), (add(STATE, ITEM), mul(STATE, ITEM)))
TABLE = np.arange(60, dtype=np.float32).reshape(20, 3)
ZEROS = np.zeros(3, np.float32)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("count", [0, 1, 20])
@pytest.mark.parametrize("way", [0, 1])
def test_a_scan(backend: str, count: int, way: int) -> None:
    data = graph_input("data", TensorType(F32, (3, N)))
    node = scan(
        STATE,
        data,
        body=SUMS,
        num_scan_inputs=1,
        scan_input_axes=(1,),
        scan_input_directions=(way,),
        scan_output_axes=(-1,),
        scan_output_directions=(1,),
        outputs=2,
    )
    assert types_of(node) == (STATE.type, TensorType(F32, (3, N)))
    rows = TABLE[:count]
    last, shown = run(node, ZEROS, rows.T.copy(), backend=backend)
    ordered = rows[::-1] if way else rows
    sums = np.cumsum(ordered, 0)
    wanted = np.concatenate([np.zeros((1, 3)), sums])[:-1] * ordered if count else np.zeros((0, 3))
    np.testing.assert_array_equal(last, sums[-1] if count else ZEROS)
    np.testing.assert_array_equal(shown, wanted[::-1].T)


def test_a_scan_of_scalars() -> None:
    state, item = example("float32[]", "s"), example("float32[]", "i")
    inner = Body.close((state, item), (), (add(state, item), add(state, item)))
    node = scan(state, X, body=inner, num_scan_inputs=1, outputs=2)
    for backend in BACKENDS:
        last, shown = run(node, np.float32(1), TWOS, backend=backend)
        assert (last.item(), shown.tolist()) == (5, [3, 5])


def test_what_is_scanned_has_one_length() -> None:
    inner = Body.close((ITEM, STATE), (), (add(ITEM, STATE),))
    one, other = example("float32[N, 3]", "one"), example("float32[M, 3]", "other")
    node = scan(one, other, body=inner, num_scan_inputs=2)
    with pytest.raises(ExecutionError, match=r"lengths \[2, 3\]"):
        run(node, np.ones((2, 3), np.float32), np.ones((3, 3), np.float32))
    with pytest.raises(TypeRuleError, match="lengths 4 and 5"):
        scan(example("float32[4, 3]", "one"), example("float32[5, 3]", "other"), body=inner,
             num_scan_inputs=2)  # fmt: skip


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_scan_inputs": 0}, "scans 0 of 2"),
        ({"num_scan_inputs": 3}, "scans 3 of 2"),
        ({"num_scan_inputs": 1, "scan_input_axes": (0, 0)}, r"\[0, 0\] for 1 values"),
        ({"num_scan_inputs": 1, "scan_input_axes": (2,)}, "no axis 2"),
        ({"num_scan_inputs": 1, "scan_output_axes": (2,)}, "no axis 2"),
        ({"num_scan_inputs": 1, "outputs": 1}, "2 outputs, not 1"),
    ],
)
def test_refused_scans(options: dict[str, Any], message: str) -> None:
    data = example("float32[5, 3]", "data")
    with pytest.raises(TypeRuleError, match=message):
        scan(STATE, data, **{"body": SUMS, "outputs": 2, **options})


def test_a_body_may_fail_when_it_runs() -> None:
    at = example("int64[]", "at")
    inner = body((X,), (at,), add(X, gather(X, at)))
    outside = np.array(5)
    assert run(loop(constant(0), None, X, at, body=inner), ONES, outside)[0].tolist() == [1, 1]
    with pytest.raises(ExecutionError, match="IndexError"):
        run(loop(constant(1), None, X, at, body=inner), ONES, outside)


def test_a_loop_over_sizes_that_become_known() -> None:
    other = example("float32[N, 3]", "other")
    inner = body((ROWS,), (other,), add(ROWS, other), ROWS)
    node = loop(constant(2), None, ROWS, other, body=inner, outputs=2)
    graph = Graph((ROWS, other), results(node), ("y", "z"))
    made = specialize(graph, {"N": 4})
    assert [str(item.type) for item in made.outputs] == ["float32[4, 3]", "float32[2, 4, 3]"]


def test_text() -> None:
    inner = body((X,), (W,), add(X, W), X)
    node = loop(TRIPS, None, X, W, body=inner, outputs=2)
    swept = scan(STATE, ROWS, body=SUMS, num_scan_inputs=1, outputs=2)
    graph = Graph((TRIPS, X, W, STATE, ROWS), (*results(node), *results(swept)),
                  tuple("abcd"))  # fmt: skip
    again = parse_graph(print_graph(graph))
    assert again.outputs == graph.outputs
