"""The engine's benchmarks: the programs' dependencies, what counts, and how results are shown."""

from __future__ import annotations

import io
import itertools
import json
import os
import random
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pytest

from tools import bench_engine, bench_engine_speedup
from tools.bench_engine import Child, Sample, figure, measure, started, table
from tools.bench_engine_peers import Graphopt, Loop, Pool, Static, System, serve
from tools.bench_engine_programs import (
    MESH,
    PROGRAMS,
    Call,
    Program,
    Task,
    cell_count,
    nothing,
    predecessors,
)
from tools.bench_engine_speedup import (
    Run,
    Split,
    environment,
    pin,
    queue_times,
    repeat,
    result,
    row,
    timed,
)

TASKS = 350


class Shuffled:
    """A fake system: it runs any task whose predecessors are done, drawn by a seed."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def start(self) -> str:
        return "fake"

    def prepare(self, program: Program) -> Call:
        before = predecessors(program)

        def run() -> None:
            done: set[int] = set()
            left = list(range(len(program)))
            while left:
                ready = [k for k in left if done.issuperset(before[k])]
                k = self.random.choice(ready)
                program[k].call()
                done.add(k)
                left.remove(k)

        return run

    def close(self) -> None:
        pass


def observed(program: Program) -> tuple[list[Task], list[int]]:
    """The program with calls that hash what they read into their cell, and the cells."""
    cells = list(range(cell_count(program)))

    def call(k: int, reads: Sequence[int], cell: int) -> None:
        cells[cell] = hash((k, cells[cell], *(cells[each] for each in reads)))

    tasks = [Task(partial(call, k, *task[1:]), *task[1:]) for k, task in enumerate(program)]
    return tasks, cells


def outcome(system: System, program: Program) -> list[int]:
    """What the cells hold after a system ran the program."""
    tasks, cells = observed(program)
    system.start()
    run = system.prepare(tasks)
    assert run is not None
    run()
    system.close()
    return cells


SYSTEMS: list[System] = [
    *(Shuffled(seed) for seed in range(3)),
    Split(1),
    Static(),
    Graphopt(workers=2),
    Graphopt(mode="serial"),
    *(Pool(workers, way) for workers in (1, 2) for way in ("results", "inside", "when ready")),
]


@pytest.mark.parametrize("name", PROGRAMS)
@pytest.mark.parametrize("system", SYSTEMS)
def test_edges_keep_the_serial_result(system: System, name: str) -> None:
    program = PROGRAMS[name](TASKS)
    assert outcome(system, program) == outcome(Loop(), program)


def test_edges_are_those_that_the_programs_promise() -> None:
    assert predecessors(PROGRAMS["chain"](4)) == [[], [0], [1], [2]]
    assert predecessors(PROGRAMS["independent"](3)) == [[], [], []]
    before = predecessors(PROGRAMS["mesh"](3 * MESH))
    assert before[1] == [0]
    # Both neighbours of cell 5 wrote what it reads now, and read what it is about to replace.
    assert before[2 * MESH + 5] == [MESH + 6, 2 * MESH + 4]


def test_an_order_against_an_edge_is_seen() -> None:
    program = PROGRAMS["mesh"](TASKS)
    right = outcome(Loop(), program)
    tasks, cells = observed(program)
    swapped = [1, 0, *range(2, TASKS)]
    for k in swapped:
        tasks[k].call()
    assert cells != right


def test_a_served_system_answers_each_request() -> None:
    answers = io.StringIO()
    serve(Loop(), ["chain 10", "mesh 10", "chain 10"], answers)
    first, *samples = [json.loads(line) for line in answers.getvalue().splitlines()]
    assert first["version"].startswith("Python 3")
    assert [sorted(each) for each in samples] == [["cpu", "wall"]] * 3


def test_a_system_without_its_module_says_so() -> None:
    class Absent(Loop):
        def start(self) -> str:
            raise ModuleNotFoundError("No module named 'absent'")

    answers = io.StringIO()
    serve(Absent(), ["chain 10"], answers)
    assert json.loads(answers.getvalue()) == {
        "missing": "ModuleNotFoundError: No module named 'absent'"
    }


class Fake:
    """A runner that answers from a list; an exception in it is raised."""

    def __init__(self, name: str, *answers: Sample | Exception, missing: str = "") -> None:
        self.name = name
        self.answers = list(answers)
        self.missing = missing

    def start(self) -> dict[str, str]:
        return {"missing": self.missing} if self.missing else {"version": "1.0"}

    def run(self, program: str, tasks: int) -> Sample:
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def close(self) -> None:
        pass


def sample(cpu: float, wall: float) -> Sample:
    return {"cpu": cpu, "wall": wall}


def test_a_missing_peer_is_left_out_and_reported() -> None:
    here, absent = Fake("here"), Fake("absent", missing="No module named 'absent'")
    ready, lines = started([here, absent])
    assert ready == [here]
    assert lines == ["here: 1.0", "absent is left out: No module named 'absent'"]


def test_an_interpreter_that_is_not_there_is_reported() -> None:
    child = Child("mxnet, naive, calls", "no-such-python")
    assert "no-such-python" in child.start()["missing"]
    child.close()


def test_a_child_of_its_own_process_answers() -> None:
    child = Child("plain loop", sys.executable)
    assert child.start()["version"].startswith("Python")
    assert child.run("chain", 100)["cpu"] > 0
    with pytest.raises(RuntimeError, match="ended with code 1"):
        child.run("no-such-program", 1)
    child.close()


def test_the_first_round_does_not_count_and_medians_are_shown() -> None:
    ours = [sample(99, 99), sample(3, 5), sample(0.5, 1), sample(1, 0.8)]
    theirs = [sample(1, 1), sample(120, 150), sample(120, 150), sample(120, 150)]
    loop: list[Sample] = [{}] * 4  # which cannot express the program
    systems = [Fake(bench_engine.REFERENCE, *ours), Fake("peer", *theirs), Fake("none", *loop)]
    samples, broken = measure(systems, ["chain"], 10, 3)
    assert not broken
    assert table(samples, [system.name for system in systems], ["chain"]).splitlines() == [
        "| CPU / wall µs a task | chain |",
        "|---|---|",
        "| graphopt, 1 worker | 1.00 / 1.00 (1.0x) |",
        "| peer | 120 / 150 (120x) |",
        "| none | – |",
    ]


def test_without_the_reference_there_is_no_ratio() -> None:
    samples, _ = measure([Fake("peer", sample(1, 1), sample(0.0168, 20))], ["mesh"], 10, 1)
    assert table(samples, ["peer"], ["mesh"]).splitlines()[-1] == "| peer | 0.0168 / 20.0 |"


def test_a_system_that_breaks_off_does_not_stop_the_others() -> None:
    systems = [Fake("weak", RuntimeError("ended")), Fake("strong", sample(1, 1), sample(2, 2))]
    samples, broken = measure(systems, ["chain"], 10, 1)
    assert broken == ["weak broke off in chain: ended"]
    assert list(samples) == [("strong", "chain")]


def test_figures_have_the_digits_that_count() -> None:
    assert [figure(x) for x in (0.01678, 0.7, 8.766, 103.4)] == ["0.0168", "0.700", "8.77", "103"]


# The speed-up.


def plant(tasks: Path, **times: tuple[int, int]) -> Path:
    """A folder like Linux's: of each thread the time run, that waited for a core, and turns."""
    for thread, (ran, waited) in times.items():
        (tasks / thread).mkdir(parents=True, exist_ok=True)
        (tasks / thread / "schedstat").write_text(f"{ran} {waited} 42\n")
    return tasks


def test_times_are_read_for_each_thread(tmp_path: Path) -> None:
    times = {"t10": (9_000, 1_500), "t11": (0, 0)}
    assert queue_times(plant(tmp_path, **times)) == times
    (tmp_path / "t12").mkdir()  # a thread that has just ended
    assert queue_times(tmp_path) == times
    assert queue_times(tmp_path / "absent") == {}


def test_a_run_sums_what_its_threads_waited(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench_engine_speedup, "PAUSE", 0)
    second, ms = 10**9, 10**6
    plant(tmp_path, t10=(second, ms), t11=(second, 5 * ms), idle=(ms, 0))

    def call() -> None:
        plant(tmp_path, t10=(2 * second, 3 * ms), t11=(second, 6 * ms), idle=(ms, 900 * ms))
        plant(tmp_path, new=(second, 4 * ms))

    assert timed(call, tmp_path).waited == pytest.approx(7e-3)
    assert timed(call, tmp_path / "absent").waited == 0


@pytest.mark.parametrize(("waited", "counts"), [(0, True), (0.0019, True), (0.0021, False)])
def test_a_run_counts_when_it_waited_little(waited: float, counts: bool) -> None:
    assert Run(wall=0.05, cpu=0.09, waited=waited).counts is counts


def test_only_pairs_of_undisturbed_runs_count() -> None:
    quiet, disturbed = Run(2, 2, 0), Run(2, 2, 1)
    repetitions = [
        {"": quiet, "ours": Run(1, 2.5, 0)},
        {"": quiet, "ours": Run(0.5, 9, 0.4)},
        {"": disturbed, "ours": Run(0.1, 9, 0)},
        {"": quiet, "ours": Run(1.25, 2.5, 0.01)},
    ]
    found = result(repetitions, "ours")
    assert (found.counted, found.repetitions) == (2, 4)
    assert found.speedup == pytest.approx(1.8)
    assert found.overall == pytest.approx(3)
    none = result(repetitions[1:3], "ours")
    assert (none.speedup, none.counted) == (None, 0)
    assert row("add", 41.2, [found, none]) == (
        "| add | 41 | 1.80 / 3.00 / 2.88 / 2 of 4 | – / 12.00 / 4.50 / 0 of 2 |"
    )


def test_repetitions_end_when_enough_count_or_at_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    turns = itertools.cycle([0.0, 0.0, 0.0, 1.0])  # loop, ours, loop, ours disturbed

    def planted(_: Call) -> Run:
        return Run(1, 1, next(turns))

    monkeypatch.setattr(bench_engine_speedup, "timed", planted)
    assert len(repeat(nothing, {"ours": nothing}, enough=3, limit=9)) == 5
    assert len(repeat(nothing, {"ours": nothing}, enough=3, limit=4)) == 4


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="only Linux pins threads")
def test_each_worker_is_pinned_to_a_core() -> None:
    cores = os.sched_getaffinity(0)
    split = Split(2)
    split.start()
    assert pin(split, 2)
    seen: list[set[int]] = []
    split.prepare([Task(lambda: seen.append(os.sched_getaffinity(0)), (), k) for k in (0, 1)])()
    assert [len(each) for each in seen] == [1, 1]
    assert os.sched_getaffinity(0) == cores
    split.close()


def test_the_environment_leaves_the_kernels_to_blas() -> None:
    inherited = {"PATH": "p", "OPENBLAS_CORETYPE": "Haswell", "OMP_NUM_THREADS": "8"}
    ones = dict.fromkeys(bench_engine_speedup.ONE_THREAD, "1")
    assert environment(inherited) == {"PATH": "p", **ones}
    assert environment(environment(inherited)) == environment(inherited)
