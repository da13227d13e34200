"""Measure what the engine costs: CPU time of a task that does nothing, beside its peers.

    python -m tools.bench_engine [--mxnet PYTHON] [--tasks 20000] [--rounds 5] [--only TEXT]...

Three programs: a chain (every task mutates one variable), independent tasks (each mutates its own),
and a mesh (task k reads both neighbours of cell k of a ring, and mutates it). Each system runs in a
process of its own that stays for the whole time, so that rounds interleave; the medians are shown
and the first round does not count. Peers are ThreadPoolExecutor, dask, joblib, and MXNet under the
interpreter that --mxnet names (mxnet 1.9.1 wants numpy<1.24 and Python<=3.11); one that is not
installed is left out. --profile tells how to see where the time goes. How much two workers gain on
real operations is measured by `tools/bench_engine_speedup.py`.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from threading import Timer
from typing import Any, Protocol

from tools.bench_engine_peers import SYSTEMS
from tools.bench_engine_programs import PROGRAMS

ROOT = Path(__file__).resolve().parent.parent
REFERENCE = "graphopt, 1 worker"
PROFILE = """\
python -m pip install py-spy
py-spy record --subprocesses --rate 500 --output engine.svg -- \\
    python -m tools.bench_engine --tasks 100000 --rounds 20 --only '{REFERENCE}'
For lines on the terminal instead of a picture: --format raw --output engine.txt"""

Sample = dict[str, float]
Samples = dict[tuple[str, str], list[Sample]]


class Runner(Protocol):
    """A system as the rounds see it: it tells how it started, then a sample a run."""

    name: str

    def start(self) -> dict[str, str]:
        """Its version, or what is missing."""
        ...

    def run(self, program: str, tasks: int) -> Sample:
        """The microseconds a task; nothing when the system cannot express the program."""
        ...

    def close(self) -> None:
        """Stop it."""
        ...


class Child:
    """A system that `tools/bench_engine_peers.py` serves in a process of its own."""

    def __init__(self, name: str, python: str, limit: float = 120.0) -> None:
        self.name = name
        self.python = python
        self.limit = limit
        self.process: subprocess.Popen[str] | None = None

    def start(self) -> dict[str, str]:
        command = [self.python, "-m", "tools.bench_engine_peers", self.name]
        try:
            self.process = subprocess.Popen(
                command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
            return self.ask("")
        except (OSError, RuntimeError) as error:
            return {"missing": str(error)}

    def ask(self, request: str) -> dict[str, Any]:
        """Send a line, none if empty, and wait for the answer; a child that hangs is ended."""
        process = self.process
        assert process is not None and process.stdin is not None and process.stdout is not None
        timer = Timer(self.limit, process.kill)
        timer.start()
        try:
            if request:
                print(request, file=process.stdin, flush=True)
            answer = process.stdout.readline()
        finally:
            timer.cancel()
        if not answer:
            raise RuntimeError(f"{self.name} ended with code {process.wait()}")
        return dict(json.loads(answer))

    def run(self, program: str, tasks: int) -> Sample:
        return self.ask(f"{program} {tasks}")

    def close(self) -> None:
        if self.process is not None:
            try:
                self.process.communicate(timeout=self.limit)
            except subprocess.TimeoutExpired:
                self.process.kill()


def runners(only: Sequence[str], mxnet: str) -> list[Child]:
    """The systems whose name has one of the texts; all if there are none."""
    return [
        Child(name, mxnet if name.startswith("mxnet") else sys.executable)
        for name in SYSTEMS
        if not only or any(text in name for text in only)
    ]


def started(systems: Sequence[Runner]) -> tuple[list[Runner], list[str]]:
    """Those that start, and a line on each of the systems."""
    ready: list[Runner] = []
    lines: list[str] = []
    for system in systems:
        told = system.start()
        if "missing" in told:
            lines.append(f"{system.name} is left out: {told['missing']}")
        else:
            ready.append(system)
            lines.append(f"{system.name}: {told['version']}")
    return ready, lines


def measure(
    systems: Sequence[Runner], programs: Sequence[str], tasks: int, rounds: int
) -> tuple[Samples, list[str]]:
    """The samples of all systems and programs, and a line on each system that broke off."""
    samples: Samples = {}
    broken: dict[str, str] = {}
    for number in range(rounds + 1):
        for program in programs:
            for system in systems:
                if system.name in broken:
                    continue
                try:
                    sample = system.run(program, tasks)
                except (OSError, RuntimeError) as error:
                    broken[system.name] = f"{system.name} broke off in {program}: {error}"
                    continue
                if sample and number:
                    samples.setdefault((system.name, program), []).append(sample)
    return samples, list(broken.values())


def figure(value: float, digits: int = 3) -> str:
    """A positive number with so many digits that count, and no exponent.

    >>> figure(0.01678), figure(3.9), figure(103.4), figure(123.4, 2)
    ('0.0168', '3.90', '103', '123')
    """
    return f"{value:.{max(0, digits - 1 - math.floor(math.log10(value)))}f}"


def cell(samples: Samples, system: str, program: str) -> str:
    """The medians of CPU and wall time, and how many times the reference's CPU time it is."""
    found = samples.get((system, program))
    if not found:
        return "–"
    cpu, wall = (statistics.median(each[key] for each in found) for key in ("cpu", "wall"))
    text = f"{figure(cpu)} / {figure(wall)}"
    if reference := samples.get((REFERENCE, program)):
        times = cpu / statistics.median(each["cpu"] for each in reference)
        text += f" ({figure(times, 2)}x)"
    return text


def table(samples: Samples, systems: Sequence[str], programs: Sequence[str]) -> str:
    """All cells as a table."""
    lines = [f"| CPU / wall µs a task | {' | '.join(programs)} |"]
    lines.append("|---" * (len(programs) + 1) + "|")
    for system in systems:
        cells = [cell(samples, system, program) for program in programs]
        lines.append(f"| {system} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> int:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description="Measure the engine's cost of a task.")
    parser.add_argument("--mxnet", default=sys.executable, metavar="PYTHON")
    parser.add_argument("--tasks", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", action="append", default=[], metavar="TEXT")
    parser.add_argument("--profile", action="store_true")
    chosen = parser.parse_args()
    if chosen.profile:
        print(PROFILE.format(REFERENCE=REFERENCE))
        return 0
    systems = runners(chosen.only, chosen.mxnet)
    try:
        ready, lines = started(systems)
        print(*lines, sep="\n", end="\n\n", flush=True)
        samples, broken = measure(ready, list(PROGRAMS), chosen.tasks, chosen.rounds)
        print(table(samples, [system.name for system in ready], list(PROGRAMS)))
        print(*broken, sep="\n")
    finally:
        for system in systems:
            system.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
