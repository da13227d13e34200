"""Runs random programs on the engine until one does not mean what its serial program means.

    python -m tools.fuzz_engine --mode sim --programs 100000 --jobs 1

Each run is compared with an interpreter, value by value, and its recording goes through the
happens-before check. A failing program is shrunk where its schedule repeats, and printed with its
seed; a program that hangs is printed with the stacks of all threads.
"""

from __future__ import annotations

import argparse
import faulthandler
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from threading import Thread

from graphopt.engine.accelerate import AVAILABLE
from tests.engine.programs import Program, generate, without
from tests.engine.runs import examine, make

MODES = ("sim", "timed", "serial", "threads", "replay")
CHUNK = 50  # programs that a process is given at once


@dataclass
class Watchdog:
    """Ends the process where one program takes too long."""

    patience: float  # seconds
    seed: int = -1
    since: float = 0.0

    def start(self) -> None:
        """Watch from now on."""
        Thread(target=self.run, daemon=True).start()

    def run(self) -> None:
        """Look twice a second."""
        while True:
            time.sleep(0.5)
            seed, since = self.seed, self.since
            if seed >= 0 and time.monotonic() - since > self.patience:
                print(f"seed {seed} hangs:\n{generate(seed)}", file=sys.stderr)
                faulthandler.dump_traceback(all_threads=True)
                os._exit(3)


_watchdog = Watchdog(60.0)


def begin(patience: float) -> None:
    """Prepare a process."""
    sys.setswitchinterval(1e-4)
    _watchdog.patience = patience
    _watchdog.start()


def run_one(program: Program, mode: str) -> int:
    """Run a program; returns how many tasks it had. Raises AssertionError."""
    _watchdog.seed, _watchdog.since = program.seed, time.monotonic()
    if mode == "threads":
        program = replace(program, workers=(1, 2, 4)[program.seed % 3])
    kind = "sim" if mode == "replay" else mode
    recorded = mode != "threads" or program.seed % 4 != 0  # what is not recorded runs another path
    accelerated = AVAILABLE and program.seed % 2 == 0
    engine = make(program, kind, program.seed, accelerated=accelerated)
    run, recording = examine(program, engine, recorded)
    waits = any(op.awaits or op.joins for op in program)  # inside of tasks: no recording has them
    if mode == "replay" and not (program.timed or program.cancels or waits):
        again, _ = examine(program, make(program, "sim", replay=recording))
        if again.cells != run.cells or again.ran != run.ran:
            raise AssertionError(f"replayed in another order\n{program}")
    _watchdog.seed = -1
    return len(run.tasks)


def failure(program: Program, mode: str) -> str:
    """What is wrong with a program, or an empty text."""
    try:
        run_one(program, mode)
    except AssertionError as error:
        return str(error)
    return ""


def shrink(program: Program, mode: str, seconds: float = 30.0) -> Program:
    """A smaller program that fails too: half of the steps are dropped, at the end single ones."""
    deadline = time.monotonic() + seconds
    size = max(1, len(program.threads[0]) // 2)
    while size and time.monotonic() < deadline:
        dropped = False
        steps = [op.number for steps in program.threads for op in steps if op.completes < 0]
        for place in range(0, len(steps), size):
            smaller = without(program, steps[place : place + size])
            if time.monotonic() < deadline and failure(smaller, mode):
                program, dropped = smaller, True
        if not dropped:
            size //= 2
    return program


def run_some(mode: str, seeds: range, threads: bool | None) -> tuple[int, int, str]:
    """Run programs; returns how many tasks they had, and the first seed that failed, with why."""
    tasks = 0
    for seed in seeds:
        program = generate(seed, threads=threads)
        try:
            tasks += run_one(program, mode)
        except AssertionError as error:
            return tasks, seed, str(error)
    return tasks, -1, ""


def report(mode: str, seed: int, why: str) -> None:
    """Print a failure, and a smaller one."""
    print(f"\nseed {seed} fails in mode {mode}:\n{why}")
    small = shrink(generate(seed), mode)
    print(f"\nshrunk:\n{failure(small, mode) or small}")


def main(argv: list[str] | None = None) -> int:
    """The command line. Returns 1 if a program failed."""
    parser = argparse.ArgumentParser(prog="fuzz_engine", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--mode", choices=MODES, default="sim")
    parser.add_argument("--programs", type=int, default=1000)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--hang", type=float, default=60.0, help="seconds that a program may take")
    args = parser.parse_args(argv)
    end = args.first + args.programs
    parts = [range(first, min(first + CHUNK, end)) for first in range(args.first, end, CHUNK)]
    begun, programs, tasks, shown = time.monotonic(), 0, 0, 0.0
    begin(args.hang)
    with ProcessPoolExecutor(
        args.jobs, get_context("spawn"), initializer=begin, initargs=(args.hang,)
    ) as pool:
        modes, nobody = [args.mode] * len(parts), [None] * len(parts)
        results = pool.map(run_some, modes, parts, nobody) if args.jobs > 1 else None
        for number, part in enumerate(parts):
            done, seed, why = next(results) if results else run_some(args.mode, part, None)
            programs, tasks = programs + len(part), tasks + done
            seconds = time.monotonic() - begun
            if why:
                pool.shutdown(wait=False, cancel_futures=True)
                report(args.mode, seed, why)
                return 1
            if seconds - shown > 10 or number == len(parts) - 1:
                shown = seconds
                print(f"{programs} programs, {tasks} tasks, {seconds:.0f} s", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
