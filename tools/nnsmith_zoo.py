"""Optimize models of NNSmith, which generates valid ones at random, and hold them to the originals.

    nnsmith.model_gen model.type=onnx mgen.max_nodes=10 mgen.seed=1 mgen.save=out/1 debug.viz=false
    python -m tools.nnsmith_zoo out

The first line makes one model; its packages want an environment of their own (nnsmith 0.1.0, torch
2.4, numpy 1, onnx 1.16) and, for some seeds, a limit on memory. The second takes every .onnx file
under the folders that it names. Each is loaded, optimized at each level in each math mode, and
saved; onnx.checker accepts the result (full check). The reference backend gives what it gives for
the original, bit for bit where the mode is strict, else within what rounding explains; and within
that what is saved gives, loaded again, the same there, and in ONNX Runtime, its optimizations off,
what the original gives there. Where both run the original and differ, a note says so. Exit status:
0 when all of that held, 1 when it did not, or no model ran.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx

import graphopt
from graphopt import passes
from graphopt.check import float_bits
from graphopt.frontends.onnx import from_proto, to_proto
from graphopt.graph import Graph
from tools.fuzz_check import Case, Checker, Finding, Pipelines, Plan, Trial, applied, make_case
from tools.fuzz_compare import Noise, bits_differ, evaluate, is_array, is_finite
from tools.fuzz_values import Values, draw_inputs
from tools.zoo import check_valid, runtime

LEVELS = ("O1", "O2", "O3")
MATHS: Sequence[Literal["strict", "default", "fast"]] = ("strict", "default", "fast")
SHARED_MOODS = ("tame", "positive")
"""The inputs that ONNX Runtime is given, too: what it makes of NaN is often its own affair."""
TALLIED = ("run by ONNX Runtime", "differ there", "run by none", "failed")
LARGEST = 1 << 14
"""The elements of the largest window: a run takes a step for each, and there are many runs."""
SINGLE = 32
"""The bits of the narrowest floats that ONNX Runtime is a judge of: it seldom rounds to halves."""
Outputs = Sequence[Any]


@dataclass
class Outcome:
    """What one model showed: its size, the trials that counted in each place, what was wrong."""

    name: str
    nodes: int = 0
    smallest: int = 0
    trials: int = 0
    shared: int = 0
    findings: list[Finding] = field(default_factory=list[Finding])
    note: str = ""


def levels() -> Pipelines:
    """The levels that a model is optimized at."""
    return {name: tuple(passes.PIPELINES[name]) for name in LEVELS}


def files_of(places: Iterable[Path]) -> list[Path]:
    """The models among files, and under folders; by the numbers in their names."""
    found: set[Path] = set()
    for place in places:
        found.update(place.rglob("*.onnx") if place.is_dir() else (place,))
    return sorted(found, key=lambda path: ([len(part) for part in path.parts], path.parts))


def check_file(path: Path, seed: int = 0) -> Outcome:
    """Optimize a model and hold every result to it."""
    name = path.parent.name if path.stem == "model" else path.stem
    outcome = Outcome(name)
    try:
        model = onnx.load(path)  # pyright: ignore[reportUnknownMemberType]
        graph = from_proto(model)
    except Exception as error:  # whatever it is, a valid model must load
        outcome.findings.append(Finding("load", f"{type(error).__name__}: {error}"))
        return outcome
    outcome.nodes = outcome.smallest = size_of(graph)
    if any(prod(node.attrs.get("kernel_shape") or ()) > LARGEST for node in graph.nodes):
        outcome.note = "a window is too large"
        return outcome
    draw = draw_inputs(graph, {}, np.random.default_rng(seed), "tame")
    case = make_case(graph, draw, {}, seed)
    outcome.trials = len(case.trials)
    plan = Plan(levels(), MATHS, others=False)
    outcome.findings += Checker(case, plan).findings()
    Files(case, model, outcome).check()
    return outcome


def size_of(graph: Graph) -> int:
    """How many nodes compute something."""
    return sum(bool(node.inputs) for node in graph.nodes)


class Files:
    """The checks of what is saved of one model; `outcome` takes what they find."""

    def __init__(self, case: Case, model: onnx.ModelProto, outcome: Outcome) -> None:
        self.graph, self.outcome = case.graph, outcome
        self.trials = [trial for trial in case.trials if trial.mood in SHARED_MOODS]
        self.noises = [Noise(self.graph.outputs, t.inputs, coarse=True) for t in self.trials]
        self.tame = [t.mood == "positive" and is_finite([*t.values.values()]) for t in self.trials]
        self.bits = [float_bits(self.graph, k) for k in range(len(self.graph.outputs))]
        self.wanted: list[Outputs] = []
        try:
            original = runtime(model)
            self.wanted = [original.run(None, feeds_of(trial)) for trial in self.trials]
        except Exception as error:  # a model that it cannot run is no fault of ours
            outcome.note = " ".join(str(error).split())[:120]
        outcome.shared = len(self.wanted)

    def check(self) -> None:
        """Hold what each level saves in each mode to the original, where that ran."""
        for k, (wanted, trial) in enumerate(zip(self.wanted, self.trials, strict=False)):
            wrong = self.difference(k, self.originals(trial), wanted, "default", SINGLE)
            if wrong:  # often where a kernel is inexact and a cast or a comparison shows it
                self.outcome.note = f"ONNX Runtime differs from the reference: {wrong}"
        judged: set[Any] = set()
        for level in LEVELS:
            for math in MATHS:
                self.outcome.findings += self.saved(level, math, judged)

    def saved(self, level: str, math: Any, judged: set[Any]) -> Iterator[Finding]:
        """What is wrong with the file of a result; one that was `judged` before is not, again."""
        try:
            made = graphopt.optimize(self.graph, level, math=math, strict=True)
            self.outcome.smallest = min(self.outcome.smallest, size_of(made))
            if made.roots in judged:
                return
            judged.add(made.roots)
            file = to_proto(made)
            check_valid(file)
            if wrong := self.reloaded(file, math) or self.rerun(file, math):
                yield Finding("saved", wrong, level, math, applied(made))
        except Exception as error:  # whatever it is, it is a bug
            yield Finding("save", f"{type(error).__name__}: {error}", level, math)

    def reloaded(self, file: onnx.ModelProto, math: str) -> str:
        """What is wrong with a file as the reference runs it, "" if nothing."""
        graph = from_proto(file)
        for k, trial in enumerate(self.trials):
            feeds = feeds_of(trial)
            values: Values = {node: feeds[node.attrs["name"]] for node in graph.inputs}
            got = evaluate(values, graph.outputs)
            if wrong := self.difference(k, self.originals(trial), got, math):
                return f"{wrong}, loaded again"
        return ""

    def rerun(self, file: onnx.ModelProto, math: str) -> str:
        """What is wrong with a file as ONNX Runtime runs it, "" if nothing."""
        session = runtime(file) if self.wanted else None
        for k, wanted in enumerate(self.wanted):
            got = session.run(None, feeds_of(self.trials[k])) if session else ()
            if wrong := self.difference(k, wanted, got, math, SINGLE):
                return f"{wrong}, in ONNX Runtime"
        return ""

    def originals(self, trial: Trial) -> Outputs:
        """The outputs of the original for a trial."""
        return [trial.values[node] for node in self.graph.outputs]

    def difference(self, k: int, wanted: Outputs, got: Outputs, math: str, bits: int = 0) -> str:
        """What is wrong with the outputs for trial k, "" if rounding explains it.

        Of what comes from floats of fewer `bits` only the type counts, and of what fast rules do to
        numbers that they are not meant for.
        """
        mood = self.trials[k].mood
        if len(wanted) != len(got):
            return f"{len(got)} outputs instead of {len(wanted)}"
        for place, (old, new) in enumerate(zip(wanted, got, strict=True)):
            wrong = bits_differ(old, new)
            untold = self.bits[place] < bits or (math == "fast" and not self.tame[k])
            if not wrong or wrong == "payload" or (untold and alike(old, new)):
                continue
            if wrong := self.noises[k].explains(place, old, new, loose=math == "fast"):
                return f"output {place}: {wrong} ({mood})"
        return ""


def alike(old: Any, new: Any) -> bool:
    """Whether two arrays have one type."""
    return is_array(old) and (old.shape, old.dtype) == (new.shape, new.dtype)


def feeds_of(trial: Trial) -> dict[str, Any]:
    """The arrays of a trial by the names of the inputs."""
    return {node.attrs["name"]: np.asarray(item) for node, item in trial.inputs.items()}


def told(outcome: Outcome) -> str:
    """A line for a model, and one for each finding."""
    row = f"{outcome.name:<16}{outcome.nodes:>5} -> {outcome.smallest:<5}"
    row += f"{outcome.trials:>3} trials,{outcome.shared:>2} in ONNX Runtime"
    lines = [row + (f" ({outcome.note})" if outcome.note else "")]
    for finding in outcome.findings:
        place = f"{finding.pipeline} {finding.math}".strip()
        lines.append(f"    {finding.kind} {place}: {finding.text}")
        if finding.rules:
            lines.append(f"        {', '.join(sorted(finding.rules))}")
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Check the models that the command line names; the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("places", nargs="+", type=Path, metavar="PLACE", help="a model or folder")
    parser.add_argument("--seed", type=int, default=0, help="draw other inputs")
    parser.add_argument("--verbose", action="store_true", help="list models without a finding, too")
    options = parser.parse_args(argv)
    tally: Counter[str] = Counter()
    begun = time.monotonic()
    files = files_of(options.places)
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for path in files:
            seen = check_file(path, options.seed)
            tally["failed"] += bool(seen.findings)
            tally["run by ONNX Runtime"] += bool(seen.shared)
            tally["held"] += seen.trials > 0
            tally["run by none"] += not (seen.trials or seen.findings)
            tally["differ there"] += "differs" in seen.note
            if seen.findings or options.verbose:
                print(told(seen), flush=True)
    parts = [f"{tally[kind]} {kind}" for kind in TALLIED]
    print(f"{len(files)} models, {', '.join(parts)}, {time.monotonic() - begun:.0f} s")
    return 1 if tally["failed"] or not tally["held"] else 0


if __name__ == "__main__":
    sys.exit(main())
