"""What this machine can do at best, measured in this process, and whether it may be measured.

Peaks are what steps of a program are held to: matrix products, copies, exponentials, and a call of
NumPy that does nothing. BLAS has to run the kernels that it chooses itself; a choice that the
environment makes for it would be measured instead of the machine.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import threadpoolctl

from graphopt.backends.executable import processors
from graphopt.backends.numpy.blas import budget
from graphopt.errors import UsageError

OVERRIDES = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")
"""Variables that make OpenBLAS run other kernels than its own choice for the processor."""

BUSY = 0.6
"""Below this share of a thread's peak, threads together do not have a processor each."""


@dataclass(frozen=True)
class Peaks:
    """The machine at its best.

    `flops`: float32 operations of a matrix product a second, by threads. `bandwidth`: bytes read
    and written a second by a copy larger than the caches, on one thread. `exp`: float32
    exponentials a second on one thread. `call`: the seconds of a timed call on arrays of one
    element.
    """

    flops: Mapping[int, float]
    bandwidth: float
    exp: float
    call: float

    @property
    def is_disturbed(self) -> bool:
        """Whether several threads were so slow that others must have used their processors."""
        return any(each < BUSY * count * self.flops[1] for count, each in self.flops.items())

    def __str__(self) -> str:
        products = ", ".join(f"{v / 1e9:.0f} on {n}" for n, v in sorted(self.flops.items()))
        return (
            f"peaks: float32 products GFLOP/s by threads: {products}; "
            f"copies {self.bandwidth / 1e9:.1f} GB/s; exp {self.exp / 1e9:.2f} G/s; "
            f"a call {self.call * 1e6:.2f} µs"
        )


def blas_kernels(environment: Mapping[str, str] = os.environ) -> str:
    """The BLAS that NumPy calls and the processor whose kernels it runs.

    Raises UsageError when a variable of the environment has chosen them.
    """
    info: Any = threadpoolctl.threadpool_info
    every: list[dict[str, Any]] = info()
    texts = [
        f"{each['internal_api']} {each['version']}, {each.get('architecture', 'unknown')} kernels"
        for each in every
        if each.get("user_api") == "blas"
    ]
    told = "; ".join(dict.fromkeys(texts)) or "no BLAS that threadpoolctl knows"
    if forced := [name for name in OVERRIDES if environment.get(name)]:
        settings = ", ".join(f"{name}={environment[name]}" for name in forced)
        text = f"BLAS does not run at its native kernels: {settings} ({told})"
        raise UsageError(f"{text}; start again after: unset {' '.join(forced)}", at="environment")
    return told


@contextmanager
def on_processors(count: int) -> Generator[None]:
    """Run on so many processors meanwhile, so that all whom one cannot tell use no more threads.

    Raises UsageError when there are not so many.
    """
    if not 1 <= count <= processors():
        raise UsageError(f"{count} threads on {processors()} processors", at="threads")
    if count == processors() or not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(before)[:count])
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def settle(most: float = 0.5, step: float = 0.01) -> None:
    """Wait until no thread of this process is busy any more.

    Threads of BLAS and of others go on looking for work for up to a tenth of a second after they
    had some, and would take it from whoever is measured next.
    """
    end = time.perf_counter() + most
    while time.perf_counter() < end:
        start, used = time.perf_counter(), time.process_time()
        time.sleep(step)
        if time.process_time() - used < 0.1 * (time.perf_counter() - start):
            return


def best(call: Callable[[], object], rounds: int) -> float:
    """The least seconds that a call took."""
    least = float("inf")
    for _ in range(rounds):
        start = time.perf_counter()
        call()
        least = min(least, time.perf_counter() - start)
    return least


def measure(threads: Iterable[int], size: int = 1024, rounds: int = 12) -> Peaks:
    """Measure the peaks, products on these numbers of threads, 1 among them; `size` is their side.

    Copies are 16 times as large as such a matrix.
    """
    a, out = np.ones((size, size), np.float32), np.empty((size, size), np.float32)
    flops: dict[int, float] = {}
    for count in threads:
        with budget().limited(count):
            flops[count] = 2.0 * size**3 / best(lambda: np.matmul(a, a, out), rounds)
        settle()
    large = np.ones(16 * a.size, np.float32)
    target = np.empty_like(large)
    bandwidth = 2 * large.nbytes / best(lambda: np.copyto(target, large), rounds)
    few, made = np.ones(1 << 14, np.float32), np.empty(1 << 14, np.float32)  # fits into a cache
    exp = few.size / best(lambda: np.exp(few, made), 20 * rounds)
    one, sum_ = np.ones(1, np.float32), np.empty(1, np.float32)
    call = best(lambda: np.add(one, one, sum_), 1000 * rounds)
    return Peaks(flops, bandwidth, exp, call)
