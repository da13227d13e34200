"""Whether backends compute what the reference says: each is held against it on drawn inputs.

>>> from graphopt.ops.functions import sin
>>> from graphopt.structural import graph_input
>>> from graphopt.types import DType, TensorType
>>> x = graph_input("x", TensorType(DType.FLOAT32, (2, 3)))
>>> graph = Graph((x,), (sin(x),), ("y",))
>>> print(compare_backends(graph, ["numpy"])["numpy"])
3/3 ok
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from graphopt.api import compile
from graphopt.check import CheckResult, Run, Tolerance, Trials, by_reference, compare
from graphopt.errors import (
    CheckError,
    ExecutionError,
    MissingExtraError,
    NoTrialError,
    UnsupportedError,
    UsageError,
)
from graphopt.graph import Graph
from graphopt.samples import Feeds


def compare_backends(
    graph: Graph,
    backends: Sequence[str] = ("numpy", "jax"),
    *,
    trials: int = 3,
    rtol: float | None = None,
    atol: float | None = None,
    seed: int = 0,
    inputs: Mapping[str, Any] | None = None,
    threads: int | None = None,
) -> dict[str, CheckResult]:
    """Check that each backend computes what the reference does; returns a result for each.

    Inputs, tolerances and `trials` are those of `check_equivalent`; `threads` is that of `compile`.
    Raises CheckError naming the first backend and output that differ, NoTrialError when the
    reference ran on none of the inputs, UsageError for a backend that there is not or none at all,
    MissingExtraError for one that is not installed and UnsupportedError for one that cannot run
    the graph.
    """
    names = [backends] if isinstance(backends, str) else list(backends)
    if not names:
        raise UsageError("no backend to compare", at="backends")
    runs = {name: _runs(graph, name, threads) for name in names}
    drawn, tolerance = Trials(trials, seed, inputs or {}), Tolerance(rtol, atol)
    return {name: _held(graph, name, run, drawn, tolerance) for name, run in runs.items()}


def _runs(graph: Graph, backend: str, threads: int | None) -> Run:
    """A graph as a backend runs it; a compilation that fails is a run that does."""
    try:
        executable = compile(graph, backend, threads=threads)
    except ExecutionError as error:
        failure = error

        def fails(feeds: Feeds) -> Sequence[Any]:
            raise failure

        return fails
    return lambda feeds: executable(**feeds)


def _held(
    graph: Graph, backend: str, run: Run, trials: Trials, tolerance: Tolerance
) -> CheckResult:
    try:
        return compare(graph, by_reference(graph, trials), run, trials, tolerance)
    except NoTrialError:
        raise
    except CheckError as error:
        if isinstance(error.__cause__, MissingExtraError | UnsupportedError):
            raise error.__cause__ from None
        raise CheckError(error.message, at=f"{backend} backend, {error.at}") from error
