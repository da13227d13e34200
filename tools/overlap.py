"""Transfers beside computation on virtual devices: what the clock predicts, and what it takes.

    python -m tools.overlap [--trace out.json]

- copy: batches go to a device, are computed on there and come back: three lanes, a pipeline.
- comm: a backward pass; each layer's gradient is summed with others' while the next is computed.

Both are serial programs of arrays. Each runs on the virtual clock, again by simulation of that
recording, and for real in mode threads, where a link of 60 ms really takes 60 ms.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from graphopt.engine import Engine, Link, Recording
from graphopt.engine.arrays import Arrays, NDArray
from graphopt.engine.recordings.timeline import makespan, overlap, work
from graphopt.engine.recordings.trace import write_trace
from graphopt.engine.recordings.whatif import simulate

Raw = np.ndarray[Any, np.dtype[Any]]
BYTES = 6000  # of a batch, and of a gradient
LINK = Link(bandwidth=BYTES / 0.05, latency=0.01)  # 60 ms
COST = 0.08  # seconds of a computation
COUNT = 6  # batches, or layers


def copy(arrays: Arrays) -> list[NDArray]:
    """Double batches on a device."""
    results: list[NDArray] = []
    for number in range(COUNT):
        batch = arrays.full(BYTES // 8, float(number)).to("gpu:0")
        arrays.push(np.add, [batch, batch], [batch], device="gpu:0", cost=COST)
        results.append(batch.to("cpu:0"))
    return results


def comm(arrays: Arrays) -> list[NDArray]:
    """Compute gradients from the last layer to the first, and sum each over four ranks."""
    with arrays.device("gpu:0"):
        delta = arrays.ones(BYTES // 8)
        gradients: list[NDArray] = []
        for _ in range(COUNT):
            gradient = arrays.empty(BYTES // 8)
            arrays.push(np.square, [delta], [], [gradient], cost=COST, name="backward")
            arrays.push(four, [], [gradient], kind="comm", nbytes=BYTES, name="allreduce")
            gradients.append(gradient)
    return gradients


def four(gradient: Raw) -> None:
    """The sum over four ranks that have the same."""
    gradient *= 4


PROGRAMS: dict[str, tuple[Callable[[Arrays], list[NDArray]], tuple[str, ...], list[int]]] = {
    "copy": (copy, ("gpu:0/copy_in", "gpu:0/copy_out"), [0, 2, 4, 6, 8, 10]),
    "comm": (comm, ("gpu:0/comm",), [4] * COUNT),
}


def run(name: str, mode: Any) -> Recording:
    """Run a program; returns what happened. Raises AssertionError for a wrong result."""
    program, _, expected = PROGRAMS[name]
    with Engine(workers=1, mode=mode) as engine:
        links: Any = dict.fromkeys(("copy_in", "copy_out", "comm"), LINK)
        engine.add_device("gpu:0", compute=1, links=links, paced=True)
        with engine.record() as recording:
            results = program(Arrays(engine))
        assert [each[0].item() for each in results] == expected
    return recording


def main(arguments: list[str] | None = None) -> int:
    """Print the figures. Returns 1 if the clock and the simulation differ."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--trace", metavar="FILE", help="write the real run of `copy` for Perfetto")
    given = parser.parse_args(arguments)
    agree = True
    for name, (_, lanes, _) in PROGRAMS.items():
        virtual = run(name, "sim")
        predicted, again = makespan(virtual), makespan(simulate(virtual))
        agree = agree and predicted == again
        took = run(name, "threads")
        measured = makespan(took)
        print(
            f"{name}: in a row {sum(work(virtual).values()):.3f} s, virtual {predicted:.3f},"
            f" simulated {again:.3f}, measured {measured:.3f} ({measured / predicted - 1:+.1%})"
        )
        for lane in lanes:
            beside = overlap(took, lane, "gpu:0/compute")
            print(f"  {lane}: {beside:.3f} of {work(took)[lane]:.3f} s beside computing")
        if given.trace and name == "copy":
            write_trace(took, given.trace)
    return 0 if agree else 1


if __name__ == "__main__":
    sys.exit(main())
