"""Checks random typed graphs through every pipeline and math mode until something is wrong.

    python -m tools.fuzz --graphs 10000 --seed 0 --jobs 2 --jax

A graph is evaluated by the reference backend as it is and as each pipeline leaves it: bit for bit
the same where only exact rules were applied, else within what rounding explains. Every finding is
shrunk and printed with its seed, as text that `graphopt-opt` reads. Exit status 1: found something.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import time
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from multiprocessing import get_context
from typing import Any

import numpy as np

from graphopt.ir import Node
from graphopt.text import print_graph
from tools.fuzz_check import Case, Checker, Finding, Plan, make_case, without_saturation
from tools.fuzz_graphs import sample
from tools.fuzz_shrink import shrink

CHUNK = 25  # graphs that a process is given at once
SHOWN = 3  # findings that are shrunk, of those that look alike


@dataclass
class Tally:
    """What some seeds gave: graphs and trials that counted, rules fired, findings told."""

    graphs: int = 0
    trials: int = 0
    rules: Counter[str] = field(default_factory=Counter[str])
    found: Counter[str] = field(default_factory=Counter[str])
    told: list[str] = field(default_factory=list[str])

    def add(self, other: Tally) -> None:
        """Add what other seeds gave."""
        self.graphs += other.graphs
        self.trials += other.trials
        self.rules += other.rules
        self.found += other.found
        self.told += other.told


def case_of(seed: int, examples: Sequence[Node] = ()) -> Case:
    """The graph of a seed, and its trials; see `sample`."""
    made = sample(seed, examples)
    return make_case(made.graph, made.inputs, made.sizes, seed)


def plan_of(seed: int, plan: Plan, jax: bool) -> Plan:
    """A plan without what costs most, but for a twentieth of the seeds each."""
    chosen = replace(plan, jax=jax and seed % 20 == 0, onnx=seed % 10 == 0, turn=seed)
    if seed % 20 == 10:
        return chosen
    return replace(chosen, pipelines=without_saturation(plan.pipelines))


def run_seeds(seeds: Sequence[int], plan: Plan, jax: bool = False, every: bool = False) -> Tally:
    """Check the graphs of some seeds; at most one finding each, or with `every` all of them."""
    tally = Tally()
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for seed in seeds:
            case = case_of(seed)
            chosen = plan_of(seed, plan, jax)
            checker = Checker(case, chosen)
            tally.graphs += 1
            tally.trials += len(case.trials)
            for finding in checker.findings():
                label = label_of(finding)
                tally.found[label] += 1
                if tally.found[label] <= SHOWN:
                    tally.told.append(told(seed, case, chosen, finding))
                if not every:
                    break
            tally.rules.update(checker.fired)
    return tally


def label_of(finding: Finding) -> str:
    """What findings that look alike have in common."""
    if finding.rules and finding.kind != "crash":
        return f"{finding.kind}: {', '.join(sorted(finding.rules))}"
    plain = re.sub(r"@[0-9a-f]+|\[.*?\]|\d[\d.e+-]*", "", finding.text)
    return f"{finding.kind}: {plain[:60]}"


def told(seed: int, case: Case, plan: Plan, finding: Finding) -> str:
    """A finding in words: shrunk, as text, with the inputs that show it."""
    small, found = shrink(case, plan, finding)
    lines = [
        f"seed {seed}: {found.kind} in {found.pipeline} ({found.math}): {found.text}",
        f"rules: {', '.join(f'{rule} {n}' for rule, n in found.rules.items()) or 'none'}",
        print_graph(small.graph).rstrip(),
    ]
    trial = small.trials[max(found.trial, 0)] if small.trials else None
    for node, value in trial.inputs.items() if trial else ():
        lines.append(f"{node.label} = {shown(value)}")
    return "\n".join(lines)


def shown(value: Any) -> str:
    """An array in short: its shape and first elements."""
    array = np.asarray(value)
    first = ", ".join(repr(item) for item in array.reshape(-1)[:12].tolist())
    return f"{array.dtype}{list(array.shape)} {first}{', …' if array.size > 12 else ''}"


def results(args: argparse.Namespace) -> Iterator[Tally]:
    """What parts of the seeds gave, in order."""
    end = args.seed + args.graphs
    parts = [range(k, min(k + CHUNK, end)) for k in range(args.seed, end, CHUNK)]
    work = partial(run_part, jax=args.jax, every=args.all, payloads=args.payloads)
    if args.jobs <= 1:
        yield from map(work, parts)
        return
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(name, "1")  # the processes take them over, and share the machine
    with ProcessPoolExecutor(args.jobs, get_context("spawn")) as pool:
        yield from pool.map(work, parts)


def run_part(seeds: range, jax: bool, every: bool, payloads: bool) -> Tally:
    """`run_seeds` of everything, as the command line says."""
    return run_seeds(seeds, replace(Plan(), payloads=payloads), jax, every)


def main(argv: list[str] | None = None) -> int:
    """The command line. Returns 1 if something is wrong."""
    parser = argparse.ArgumentParser(prog="fuzz", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--graphs", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0, help="the first seed")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--jax", action="store_true", help="run a twentieth of the graphs on jax")
    parser.add_argument("--all", action="store_true", help="all findings of a graph, not the first")
    parser.add_argument("--payloads", action="store_true", help="tell NaNs apart by their bits")
    parser.add_argument("--rules", action="store_true", help="say how often each rule was applied")
    args = parser.parse_args(argv)
    total, begun, shown = Tally(), time.monotonic(), 0.0
    alike: Counter[str] = Counter()
    for tally in results(args):
        for text in tally.told:
            alike[text.split("\n")[1]] += 1
            if alike[text.split("\n")[1]] <= SHOWN:
                print(f"\n{text}", flush=True)
        tally.told.clear()
        total.add(tally)
        seconds = time.monotonic() - begun
        if seconds - shown > 10 or total.graphs == args.graphs:
            shown, speed = seconds, total.graphs / seconds
            print(
                f"{total.graphs} graphs, {speed:.0f}/s, {total.found.total()} findings", flush=True
            )
    for label, count in total.found.most_common():
        print(f"{count:>6}  {label}")
    for rule, count in total.rules.most_common() if args.rules else ():
        print(f"{count:>6}  {rule}")
    return 1 if total.found else 0


if __name__ == "__main__":
    sys.exit(main())
