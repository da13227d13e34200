"""`--check`: the result against the original, by the reference backend and by ONNX Runtime."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from graphopt import api, check_onnx
from graphopt.check import (
    PATIENCE,
    CheckResult,
    Tolerance,
    Trials,
    by_reference,
    compare,
    why_unrunnable,
)
from graphopt.cli.options import Options
from graphopt.cli.sizes import head_of
from graphopt.errors import (
    CheckError,
    MissingExtraError,
    NoTrialError,
    UnsupportedError,
    UsageError,
)
from graphopt.graph import Graph


@dataclass(frozen=True)
class Checked:
    """The checks that found no difference: who made them, the result, and why others did not."""

    result: CheckResult
    by: tuple[str, ...]
    notes: tuple[str, ...] = ()


def trials_of(options: Options) -> Trials:
    """The trials that the options ask for; raises UsageError for a file that holds no arrays."""
    inputs = {}
    if options.check_inputs is not None:
        import numpy as np

        try:
            with np.load(options.check_inputs, allow_pickle=False) as archive:
                inputs = {name: archive[name] for name in archive.files}
        except (ValueError, AttributeError, TypeError) as error:
            raise UsageError(
                f"not a .npz file of arrays: {error}", at=options.check_inputs
            ) from error
    return Trials(options.check, options.seed, inputs)


def check(
    source: str | bytes, before: Graph, after: Graph, options: Options, trials: Trials
) -> Checked:
    """Check a result against the original, by all that can run it.

    Raises CheckError when they differ, NoTrialError when nobody could tell, and MissingExtraError
    when only ONNX Runtime could and it is not installed.
    """
    unknown = sorted(set(trials.inputs) - set(before.input_names))
    if unknown:
        raise UsageError(f"the model has no input {unknown[0]!r}", at=options.check_inputs or "")
    tolerance = Tolerance(options.rtol, options.atol)
    found: dict[str, CheckResult] = {}
    notes: list[str] = []
    for name, attempt in _checks(source, before, after, options, trials, tolerance).items():
        try:
            found[name] = attempt()
        except (NoTrialError, UnsupportedError) as error:
            notes.append(f"not checked by {name}: {error.message}")
        except CheckError as error:
            error.message += f" (run by {name})"
            raise
    if not found:
        raise NoTrialError(f"{'; '.join(notes)}; --shape and --check-inputs say what it takes")
    results = found.values()
    worst = CheckResult(
        trials.count,
        max(result.valid for result in results),
        max(result.max_abs for result in results),
        max(result.max_rel for result in results),
        any(result.sensitive for result in results),
    )
    return Checked(worst, tuple(found), tuple(notes))


def _checks(
    source: str | bytes,
    before: Graph,
    after: Graph,
    options: Options,
    trials: Trials,
    tolerance: Tolerance,
) -> dict[str, Callable[[], CheckResult]]:
    """The checks that can be made here, by the name of who makes them."""

    def referred() -> CheckResult:
        why = why_unrunnable(before) or why_unrunnable(after)
        if why:
            raise UnsupportedError(why)
        runs = by_reference(before, trials), by_reference(after, trials, PATIENCE)
        return compare(before, *runs, trials, tolerance)

    def by_onnx() -> CheckResult:
        with tempfile.TemporaryDirectory(prefix="graphopt-") as folder:
            result = Path(folder, "after.onnx")
            api.save(after, result, opset=options.opset, target=options.target)
            original: str | bytes | Path = source
            if api.is_text(head_of(source)):
                original = Path(folder, "before.onnx")
                api.save(before, original)
            return check_onnx.check_models(before, original, result, trials, tolerance)

    checks = {"reference": referred}
    if check_onnx.available():
        checks["ONNX Runtime"] = by_onnx
    elif why_unrunnable(before):
        raise MissingExtraError("onnxruntime", "check")
    return checks
