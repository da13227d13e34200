"""The wavefront and the overlap that the engine is to find, on the virtual clock."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from graphopt.engine.recordings.timeline import makespan, overlap
from graphopt.engine.recordings.whatif import simulate
from tools import overlap as transfers
from tools.wavefront import COST, DEVICES, LINK, Model, main, overlapped, run

STEPS, LAYERS = 12, 4


@pytest.mark.parametrize("devices", DEVICES)
def test_the_wavefront_is_as_short_as_it_can_be(devices: int) -> None:
    model = Model.make(LAYERS, STEPS, batch=2, width=8)
    recording, right = run(model, devices, "sim")
    assert right
    cells = STEPS * LAYERS // devices + devices - 1 if devices != 2 else STEPS * 2 + 2
    hops = (devices - 1) * LINK.seconds(2 * 8 * 4)
    assert makespan(recording) == pytest.approx(cells * COST + hops)
    copied, together = overlapped(recording)
    assert together >= 0.6 * copied
    order = {
        (task.name, number): task.start
        for layer in range(LAYERS)
        for number, task in enumerate(t for t in recording if t.name == f"layer {layer}")
    }
    if devices == LAYERS:
        for step in range(1, STEPS):
            for layer in range(1, LAYERS):
                later, earlier = (
                    order[f"layer {layer}", step - 1],
                    order[f"layer {layer - 1}", step],
                )
                assert later is not None
                assert earlier is not None
                assert abs(later - earlier) < LAYERS * LINK.seconds(64)


@pytest.mark.parametrize("devices", [1, 4])
def test_threads_compute_what_the_loop_does(devices: int) -> None:
    assert run(Model.make(2, 8, batch=4, width=16), devices, "threads")[1]


def test_a_trace_is_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "out.json"
    assert main(["--steps", "2", "--repeats", "0", "--trace", str(file)]) == 0
    assert json.loads(file.read_text())["traceEvents"]
    assert "bit for bit" in capsys.readouterr().out


@pytest.mark.parametrize("name", transfers.PROGRAMS)
def test_transfers_run_beside_computation(name: str) -> None:
    virtual = transfers.run(name, "sim")
    _, lanes, _ = transfers.PROGRAMS[name]
    first = transfers.LINK.seconds(transfers.BYTES)
    ends = first * len(lanes)  # before the first computation, and after the last
    expected = transfers.COUNT * transfers.COST + ends
    assert makespan(virtual) == pytest.approx(expected)
    assert makespan(simulate(virtual)) == makespan(virtual)
    took = transfers.run(name, "threads")
    assert makespan(took) == pytest.approx(expected, rel=0.25)  # 0.01 on a quiet machine
    for lane in lanes:
        assert overlap(took, lane, "gpu:0/compute") > 3 * first
