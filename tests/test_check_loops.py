"""Checks of loops that run long, or for ever: what is not run, what is stopped, what is told."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from graphopt.body import Body
from graphopt.check import Tolerance, Trials, by_reference, check_equivalent, compare
from graphopt.check_backends import compare_backends
from graphopt.errors import CheckError, NoTrialError
from graphopt.graph import Graph
from graphopt.ops.arithmetic import add
from graphopt.ops.control import if_
from graphopt.ops.logic import greater, less
from graphopt.ops.loops import loop
from graphopt.samples import Feeds
from graphopt.structural import constant, graph_input
from graphopt.types import DType, TensorType
from tests.toy import graph_of

K, GO = graph_input("k", TensorType(DType.INT64, ())), graph_input("go", TensorType(DType.BOOL, ()))
S, FAR = graph_input("s", TensorType(DType.INT64, ())), constant(1 << 62)


def counting(trips: Any, stop: int | None = None) -> Graph:
    """A loop that counts, without end or up to `stop`."""
    more = add(S, constant(1))
    again = constant(True) if stop is None else less(more, constant(stop))
    node = loop(trips, constant(True), S, body=Body.close((K, GO, S), (), (again, more)))
    return graph_of(node, inputs=(S,))


def test_a_loop_that_is_known_to_run_too_long_is_not_run() -> None:
    graph = counting(FAR)
    with pytest.raises(NoTrialError, match=r"the loop Loop.* would run 4611686018427387904 "):
        check_equivalent(graph, graph)
    with pytest.raises(NoTrialError, match="would run"):
        compare_backends(graph, ["numpy"])


@pytest.mark.parametrize(("trips", "stop"), [(constant(9), None), (FAR, 7), (None, 7)])
def test_a_loop_that_ends_is_run(trips: Any, stop: int | None) -> None:
    graph = counting(trips, stop)
    assert check_equivalent(graph, graph).valid == 3


def test_a_loop_that_turns_out_to_run_too_long_is_stopped() -> None:
    graph, trials = counting(None), Trials(3, seconds=0.2)
    tried: list[Feeds] = []
    run = by_reference(graph, trials)

    def noted(feeds: Feeds) -> Sequence[Any]:
        tried.append(feeds)
        return run(feeds)

    with pytest.raises(NoTrialError, match=r"Loop.*: stopped after 0\.2 s of running"):
        compare(graph, noted, run, trials, Tolerance())
    assert len(tried) == 1  # no other inputs are tried


def test_a_result_that_does_not_end_differs() -> None:
    trials = Trials(1, seconds=0.05)
    runs = by_reference(counting(None, 7), trials), by_reference(counting(None), trials)
    with pytest.raises(CheckError, match=r"fails where the original runs: .*stopped") as raised:
        compare(counting(None, 7), *runs, trials, Tolerance())
    assert not isinstance(raised.value, NoTrialError)


def test_a_loop_in_a_branch_or_a_loop_is_stopped() -> None:
    inner = Body.close((K, GO, S), (), (constant(True), add(S, constant(1))))
    endless = loop(None, constant(True), S, body=inner)
    outer = loop(constant(2), None, S, body=Body.close((K, GO, S), (), (GO, endless)))
    sides = Body.close((), (S,), (endless,)), Body.close((), (S,), (S,))
    branch = if_(greater(S, constant(-1)), S, then_branch=sides[0], else_branch=sides[1])
    for node in (outer, branch):
        graph, trials = graph_of(node, inputs=(S,)), Trials(1, seconds=0.05)
        run = by_reference(graph, trials)
        with pytest.raises(NoTrialError, match="stopped after"):
            compare(graph, run, run, trials, Tolerance())
