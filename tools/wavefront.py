"""Model parallelism on one host: layers of an LSTM on virtual devices, in a wavefront.

    python -m tools.wavefront [--trace out.json]

The program is serial: for each step, for each layer, one cell. Layers live on devices. That layer 1
is at step t while layer 2 is at step t - 1, and that states are copied meanwhile, follows from what
the cells read and write. On the virtual clock a cell takes a millisecond; the real run, in a
process with one BLAS thread, takes what it takes on the cores there are. Each result is compared
bit for bit with that of a loop in NumPy. `--trace` writes the widest virtual run for Perfetto.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from graphopt.engine import Engine, Link, Recording
from graphopt.engine.arrays import Arrays, NDArray
from graphopt.engine.recordings.timeline import makespan, overlap, summary
from graphopt.engine.recordings.trace import write_trace

Raw = np.ndarray[Any, np.dtype[np.float32]]
DEVICES = (1, 2, 4)  # how many devices are tried
COST = 1e-3  # seconds of a cell, on the virtual clock
LINK = Link(bandwidth=10e9, latency=20e-6)


@dataclass(frozen=True)
class Model:
    """Weights and inputs of an LSTM; all layers are as wide as the input."""

    weights: list[Raw]  # of a layer: [2 width, 4 width]
    inputs: list[Raw]  # of a step: [batch, width]

    @staticmethod
    def make(layers: int = 4, steps: int = 40, batch: int = 128, width: int = 256) -> Model:
        """One with random numbers."""
        draw = np.random.default_rng(0).normal
        weights = [draw(0, 0.1, (2 * width, 4 * width)).astype("f4") for _ in range(layers)]
        return Model(weights, [draw(0, 1, (batch, width)).astype("f4") for _ in range(steps)])


def cell(x: Raw, h: Raw, weight: Raw, c: Raw, out: Raw) -> None:
    """One step of a layer: from its input and its states h and c to a new h, all [batch, width]."""
    i, f, g, o = np.split(np.concatenate([x, h], axis=1) @ weight, 4, axis=1)
    c *= 1 / (1 + np.exp(-f))
    c += np.tanh(g) / (1 + np.exp(-i))
    np.multiply(np.tanh(c), 1 / (1 + np.exp(-o)), out=out)


def serial(model: Model) -> list[Raw]:
    """The outputs of the last layer, by a loop in NumPy."""
    h, c = ([np.zeros_like(model.inputs[0]) for _ in model.weights] for _ in range(2))
    outputs: list[Raw] = []
    for x in model.inputs:
        for layer, weight in enumerate(model.weights):
            cell(x, h[layer], weight, c[layer], out := np.empty_like(x))
            h[layer] = x = out
        outputs.append(x)
    return outputs


def pushed(model: Model, arrays: Arrays, devices: list[str]) -> list[NDArray]:
    """The same, pushed: each layer on its device."""
    count, shape = len(model.weights), model.inputs[0].shape
    places = [devices[layer * len(devices) // count] for layer in range(count)]
    weights: list[NDArray] = []
    h: list[NDArray] = []
    c: list[NDArray] = []
    for place, values in zip(places, model.weights, strict=True):
        with arrays.device(place):
            weights.append(arrays.array(values))
            h.append(arrays.zeros(shape, "f4"))
            c.append(arrays.zeros(shape, "f4"))
    outputs: list[NDArray] = []
    for values in model.inputs:
        state = arrays.array(values)
        for layer, weight in enumerate(weights):
            with arrays.device(places[layer]):
                out = arrays.empty(shape, "f4")
            read = [state, h[layer], weight]
            arrays.push(cell, read, [c[layer]], [out], name=f"layer {layer}", cost=COST)
            h[layer] = state = out
        outputs.append(state)
    return outputs


def run(model: Model, count: int, mode: Any) -> tuple[Recording, bool]:
    """Run it on so many devices; returns what happened, and whether the result is right."""
    with Engine(workers=1, mode=mode) as engine:
        devices = ["cpu:0"]
        for number in range(1, count):
            devices.append(f"cpu:{number}")
            links = {"copy_in": LINK, "copy_out": LINK} if mode == "sim" else {}
            engine.add_device(devices[-1], compute=1, links=links)  # type: ignore[arg-type]  # keys
        arrays = Arrays(engine)
        with engine.record() as recording:
            outputs = pushed(model, arrays, devices)
        found = [each.numpy().tobytes() for each in outputs]
    return recording, found == [each.tobytes() for each in serial(model)]


def overlapped(recording: Recording) -> tuple[float, float]:
    """Seconds of copying into devices, and how many of them beside computing there."""
    copied = together = 0.0
    for name in recording.lanes:
        if name.endswith("/copy_in"):
            compute = name.replace("copy_in", "compute")
            copied += overlap(recording, name, name)
            together += overlap(recording, name, compute) if compute in recording.lanes else 0.0
    return copied, together


def real(model: Model, repeats: int) -> dict[str, Any]:
    """Seconds of the loop and by number of devices; the best of some runs."""
    times: dict[str, float] = {}
    same = True
    for _ in range(repeats):
        began = time.perf_counter()
        serial(model)
        times["serial"] = min(times.get("serial", 1e9), time.perf_counter() - began)
        for count in DEVICES:
            recording, right = run(model, count, "threads")
            times[str(count)] = min(times.get(str(count), 1e9), makespan(recording))
            same = same and right
    return {"times": times, "same": same}


def in_a_child(repeats: int) -> dict[str, Any]:
    """The real figures, measured in a process with one BLAS thread."""
    unwanted = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")
    env = {name: value for name, value in os.environ.items() if name not in unwanted}
    env |= dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    env["PYTHONPATH"] = str(Path(__file__).parents[1])
    command = [sys.executable, "-m", "tools.wavefront", "--real", str(repeats)]
    child = subprocess.run(command, env=env, check=True, capture_output=True, text=True)
    found: dict[str, Any] = json.loads(child.stdout)
    return found


def main(arguments: list[str] | None = None) -> int:
    """Print the figures. Returns 1 if a result is not the serial one."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--trace", metavar="FILE", help="write the widest virtual run for Perfetto")
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--repeats", type=int, default=3, help="of the real run; 0 leaves it out")
    parser.add_argument("--real", type=int, metavar="REPEATS", help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.real:
        print(json.dumps(real(Model.make(), given.real)))
        return 0
    model = Model.make(steps=given.steps)
    right = True
    first = 0.0
    print(f"4 layers, {given.steps} steps; a cell takes {COST * 1e3:g} ms of the virtual clock")
    for count in DEVICES:
        recording, same = run(model, count, "sim")
        right = right and same
        whole = makespan(recording)
        first = first or whole
        copied, together = overlapped(recording)
        print(
            f"virtual, {count} devices: {whole * 1e3:7.2f} ms, {first / whole:.2f}x;"
            f" {together * 1e3:.2f} of {copied * 1e3:.2f} ms of copying beside computing"
        )
        if count == DEVICES[-1]:
            print(summary(recording))
            if given.trace:
                write_trace(recording, given.trace)
    if given.repeats:
        found = in_a_child(given.repeats)
        right = right and found["same"]
        times = found["times"]
        print(f"real, a loop in NumPy: {times['serial'] * 1e3:7.2f} ms")
        for count in DEVICES:
            mine = times[str(count)]
            gain = f"{times[str(DEVICES[0])] / mine:.2f}x, {times['serial'] / mine:.2f}x the loop"
            print(f"real, {count} devices: {mine * 1e3:7.2f} ms, {gain}")
    print("the results are those of NumPy bit for bit" if right else "THE RESULTS DIFFER")
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())
