"""Measure how much faster two workers of the engine are than NumPy in a plain loop.

    python -m tools.bench_engine_speedup [--enough 15] [--limit 60] [--pin] [--only TEXT]...

Operations that take 0.05 to 2 ms, fit in the cache and write to a given array, as independent
chains. BLAS has one thread and chooses its kernels by itself (threadpoolctl, if installed, tells
which). A repetition runs some 30 ms of work in the loop, then under each system: the engine, a
thread pool, and threads that were given their halves in advance, which shows what the machine has
to give.

On a machine that others use too, a run counts only when its threads waited for a core for less than
4 % of the time, as Linux tells in schedstat. But threads that wake each other are often put on one
core while the other idles, and then they wait for themselves; so the median over all repetitions
stands beside the one over those where both the loop's run and the system's counted. With --pin each
worker keeps to a core of its own. Repetitions end when --enough counted for all, or at --limit.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from queue import SimpleQueue
from threading import Barrier, BrokenBarrierError, Semaphore, Thread
from typing import NamedTuple

from tools.bench_engine_peers import Graphopt, Loop, Pool, System
from tools.bench_engine_programs import Call, Program, Task

CHAINS = 4
SECONDS = 0.03  # of the loop's run in a repetition
PAUSE = 0.02  # before each run: whoever has slept is given a core at once
LIMIT = 0.04  # of a run's time
BUSY = 0.05  # of the time that the busiest thread ran: below it, a thread does not work
TASKS = Path("/proc/self/task")
ONE_THREAD = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS")
CHOSEN_KERNELS = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")


class Run(NamedTuple):
    """The seconds of a run: wall time, CPU time of all threads, and their waiting for a core."""

    wall: float
    cpu: float
    waited: float

    @property
    def counts(self) -> bool:
        """Whether the run was disturbed little enough."""
        return self.waited < LIMIT * self.wall


class Result(NamedTuple):
    """What a system gained over the loop, as medians, and how many repetitions counted."""

    speedup: float | None  # of those that count
    overall: float  # the speed-up in all
    cpu: float  # in all, relative to the loop
    counted: int
    repetitions: int


class Split:
    """Threads that share the chains among them in advance: a system with nothing to decide."""

    def __init__(self, workers: int) -> None:
        self.lists: list[SimpleQueue[list[Call]]] = [SimpleQueue() for _ in range(workers)]
        self.ended = Semaphore(0)

    def start(self) -> str:
        for calls in self.lists:
            Thread(target=self.work, args=(calls,), daemon=True).start()
        return "threads"

    def work(self, lists: SimpleQueue[list[Call]]) -> None:
        """Run lists of calls until one is empty."""
        while calls := lists.get():
            for call in calls:
                call()
            self.ended.release()

    def prepare(self, program: Program) -> Call:
        count = len(self.lists)
        shares = [[task.call for task in program if task.cell % count == k] for k in range(count)]

        def run() -> None:
            for queue, share in zip(self.lists, shares, strict=True):
                queue.put(share)
            for _ in shares:
                self.ended.acquire()

        return run

    def close(self) -> None:
        for queue in self.lists:
            queue.put([])


def environment(inherited: Mapping[str, str]) -> dict[str, str]:
    """The environment with one BLAS thread and no choice of kernels."""
    kept = {key: value for key, value in inherited.items() if key not in CHOSEN_KERNELS}
    return kept | dict.fromkeys(ONE_THREAD, "1")


def queue_times(tasks: Path = TASKS) -> dict[str, tuple[int, int]]:
    """The nanoseconds that each thread has run and has waited for a core, where Linux counts."""
    times: dict[str, tuple[int, int]] = {}
    for folder in tasks.iterdir() if tasks.is_dir() else ():
        try:
            ran, waited, _ = (folder / "schedstat").read_text().split()
        except (OSError, ValueError):  # the thread has ended, or the kernel does not count
            continue
        times[folder.name] = int(ran), int(waited)
    return times


def timed(call: Call, tasks: Path = TASKS) -> Run:
    """Run a call after a pause. The waiting of threads that hardly ever work does not count."""
    time.sleep(PAUSE)
    before, cpu, wall = queue_times(tasks), time.process_time(), time.perf_counter()
    call()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    after = queue_times(tasks)
    busy = max((ran for ran, _ in after.values()), default=0) * BUSY
    waits = [
        waited - before.get(thread, (0, 0))[1]
        for thread, (ran, waited) in after.items()
        if ran >= busy
    ]
    return Run(wall, cpu, sum(waits) * 1e-9)


def operations() -> dict[str, Callable[[], list[Call]]]:
    """By name, what makes the calls of an operation, one a chain; each call has its own result."""
    import numpy as np

    random = np.random.default_rng(0)

    def matmul(size: int, dtype: str) -> list[Call]:
        a, b = random.random((2, size, size)).astype(dtype)
        return [partial(np.matmul, a, b, np.empty_like(a)) for _ in range(CHAINS)]

    def exp(size: int, dtype: str) -> list[Call]:
        a = random.random(size).astype(dtype)
        return [partial(np.exp, a, np.empty_like(a)) for _ in range(CHAINS)]

    def add(size: int, dtype: str) -> list[Call]:
        a, b = random.random((2, size)).astype(dtype)
        return [partial(np.add, a, b, np.empty_like(a)) for _ in range(CHAINS)]

    sizes = [(matmul, 192), (matmul, 256), (matmul, 384), (exp, 300_000), (add, 300_000)]
    return {
        f"{make.__name__} {size} {dtype}": partial(make, size, dtype)
        for make, size in sizes
        for dtype in ("float32", "float64")
    }


def program(calls: Sequence[Call]) -> Program:
    """As many tasks in turn as take the time of a repetition."""
    runs = [timed(call).wall for call in [*calls, *calls]]
    turns = max(1, round(SECONDS / min(runs) / len(calls)))
    return [Task(call, (), k) for k, call in enumerate(calls)] * turns


def repeat(loop: Call, calls: Mapping[str, Call], enough: int, limit: int) -> list[dict[str, Run]]:
    """The runs of each repetition, until enough of them count for each system.

    The loop's run has the empty name.
    """
    for call in (loop, *calls.values()):
        call()
    done: list[dict[str, Run]] = []
    short = dict.fromkeys(calls, enough)
    while any(left > 0 for left in short.values()) and len(done) < limit:
        runs = {name: timed(call) for name, call in {"": loop, **calls}.items()}
        done.append(runs)
        for name in calls:
            short[name] -= runs[""].counts and runs[name].counts
    return done


def result(repetitions: Sequence[Mapping[str, Run]], name: str) -> Result:
    """What a system gained over the loop."""
    pairs = [(each[""], each[name]) for each in repetitions]
    counted = [loop.wall / run.wall for loop, run in pairs if loop.counts and run.counts]
    return Result(
        statistics.median(counted) if counted else None,
        statistics.median(loop.wall / run.wall for loop, run in pairs),
        statistics.median(run.cpu / loop.cpu for loop, run in pairs),
        len(counted),
        len(pairs),
    )


def row(name: str, microseconds: float, results: Sequence[Result]) -> str:
    """A line of the table."""
    cells = [
        f"{'–' if each.speedup is None else format(each.speedup, '.2f')} / {each.overall:.2f} / "
        f"{each.cpu:.2f} / {each.counted} of {each.repetitions}"
        for each in results
    ]
    return f"| {name} | {microseconds:.0f} | {' | '.join(cells)} |"


def pin(system: System, workers: int) -> bool:
    """Keep each worker to a core of its own; False if the system does not use them all at once."""
    cores = sorted(os.sched_getaffinity(0))
    barrier, pinned = Barrier(workers), list[int]()

    def keep(core: int) -> None:
        try:
            barrier.wait(timeout=2)  # so that each worker has one of these calls
        except BrokenBarrierError:
            return
        os.sched_setaffinity(0, {core})
        pinned.append(core)

    calls = [partial(keep, cores[k % len(cores)]) for k in range(workers)]
    run = system.prepare([Task(call, (), k) for k, call in enumerate(calls)])
    if run is not None:
        run()
    return len(pinned) == workers


def kernels() -> str:
    """What NumPy's BLAS tells about itself."""
    import_module("numpy")
    if find_spec("threadpoolctl") is None:
        return "threadpoolctl is not installed: kernels unknown"
    found = import_module("threadpoolctl").threadpool_info()
    keys = ("internal_api", "version", "architecture", "num_threads")
    return "; ".join(" ".join(f"{key} {each.get(key)}" for key in keys) for each in found)


def started(candidates: Mapping[str, System]) -> dict[str, System]:
    """Those that start; a line is printed on each that does not."""
    ready: dict[str, System] = {}
    for name, system in candidates.items():
        try:
            system.start()
        except Exception as error:
            print(f"{name} is left out: {type(error).__name__}: {error}")
        else:
            ready[name] = system
    return ready


def compare(systems: Mapping[str, System], only: Sequence[str], enough: int, limit: int) -> None:
    """Print the table of all operations."""
    print(f"\n| speed-up counted / in all / CPU / counted | µs | {' | '.join(systems)} |")
    print("|---" * (len(systems) + 2) + "|")
    for name, make in operations().items():
        if only and not any(text in name for text in only):
            continue
        work = program(make())
        loop = Loop().prepare(work)
        calls = {key: system.prepare(work) for key, system in systems.items()}
        runs = repeat(loop, {key: call for key, call in calls.items() if call}, enough, limit)
        microseconds = statistics.median(each[""].wall for each in runs) / len(work) * 1e6
        print(row(name, microseconds, [result(runs, key) for key in systems]), flush=True)


def main() -> int:
    """Run what the command line asks for, in an environment that leaves BLAS alone."""
    wanted = environment(os.environ)
    if wanted != dict(os.environ):
        command = [sys.executable, "-m", "tools.bench_engine_speedup", *sys.argv[1:]]
        os.execve(sys.executable, command, wanted)
    parser = argparse.ArgumentParser(description="Measure what two workers gain.")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--enough", type=int, default=15, metavar="RUNS")
    parser.add_argument("--limit", type=int, default=60, metavar="RUNS")
    parser.add_argument("--pin", action="store_true")
    parser.add_argument("--only", action="append", default=[], metavar="TEXT")
    chosen = parser.parse_args()
    workers = chosen.workers
    print(kernels())
    if not queue_times():
        print("no schedstat on this system: every repetition counts")
    systems = started(
        {
            f"graphopt, {workers} workers": Graphopt(workers=workers),
            f"thread pool, {workers}": Pool(workers, "when ready"),
            f"split in advance, {workers}": Split(workers),
        }
    )
    for name, system in systems.items():
        if chosen.pin and not pin(system, workers):
            print(f"{name} is not pinned: it does not use all workers at once")
    compare(systems, chosen.only, chosen.enough, chosen.limit)
    for system in systems.values():
        system.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
