"""Whether two ONNX models compute the same, run by ONNX Runtime with its optimizations off.

It is a second opinion on what the reference backend says, and the only one on models with
operators that graphopt does not know.
"""

from __future__ import annotations

import threading
from collections.abc import Generator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from math import inf
from os import PathLike, fspath
from typing import Any

from graphopt.body import all_nodes
from graphopt.check import PATIENCE, CheckResult, Run, Tolerance, Trials, compare
from graphopt.errors import CheckError, LimitError, MissingExtraError, UnsupportedError
from graphopt.graph import Graph
from graphopt.ops.loops import loop

Model = str | PathLike[str] | bytes
QUIET = 4
"""ONNX Runtime's severity of fatal errors: all else comes as exceptions."""


def available() -> bool:
    """Whether ONNX Runtime is installed."""
    return find_spec("onnxruntime") is not None


def session(model: Model, seconds: float = inf) -> Run:
    """A model as ONNX Runtime runs it, unoptimized; a run is stopped after so many seconds.

    Raises MissingExtraError when it is not installed, UnsupportedError when it refuses the model.
    """
    if not available():
        raise MissingExtraError("onnxruntime", "check")
    onnxruntime: Any = import_module("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = QUIET
    source = model if isinstance(model, bytes) else fspath(model)
    try:
        made = onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise UnsupportedError(f"ONNX Runtime refuses the model: {_line(error)}") from error

    def run(feeds: dict[str, Any]) -> list[Any]:
        running = onnxruntime.RunOptions()
        with stopped_after(seconds, running):
            return list(made.run(None, feeds, running))

    return run


@contextmanager
def stopped_after(seconds: float, running: Any) -> Generator[None]:
    """Have ONNX Runtime stop what it runs with these options; raises LimitError then."""
    timer = threading.Timer(
        min(seconds, threading.TIMEOUT_MAX), setattr, (running, "terminate", True)
    )
    timer.daemon = True
    timer.start()
    try:
        yield
    except Exception as error:
        if running.terminate:
            raise LimitError(f"stopped after {seconds:g} s of running") from error
        raise
    finally:
        timer.cancel()


def check_models(
    graph: Graph, before: Model, after: Model, trials: Trials, tolerance: Tolerance
) -> CheckResult:
    """Check that the model `after` computes what `before` does; `graph` is what `before` holds.

    Only runs with loops are stopped. Raises UnsupportedError when ONNX Runtime cannot load
    `before`, CheckError when it cannot load `after` or their outputs differ, NoTrialError when
    `before` ran on no inputs.
    """
    seconds = trials.seconds if any(node.op is loop for node in all_nodes(graph.roots)) else inf
    first = session(before, seconds)
    try:
        second = session(after, PATIENCE * seconds)
    except UnsupportedError as error:
        raise CheckError(f"the original loads, the result does not: {error}") from error
    return compare(graph, first, second, trials, tolerance)


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:400]
