"""NPBench's programs as functions of ours, and the tool that runs them, on programs made here."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphopt
from tools import npbench, npbench_programs
from tools.models import FetchError
from tools.npbench import Outcome, Runner, Settings
from tools.npbench_programs import Program

FULL = os.environ.get("GRAPHOPT_FULL") == "1"

MADE = {
    "right": ("return x @ x.T + n, [x.sum(axis=0)]", ""),
    "mutates": ("x[:] = x * n", ""),
    "partly": ("x[0] = n", ""),
    "branches": ("return x if x.sum() > 0 else -x", ""),
    "raises": ("return {}['absent']", ""),
    "strange": ("return x", "class Odd(Exception): ...\nraise Odd('a\\nlong story')"),
}
"""The body of each program's function of x and n, and what stands before it."""


def write(folder: Path, name: str, body: str, before: str = "", **info: Any) -> None:
    """Put a program into a folder that is laid out as NPBench is."""
    place = folder / "npbench" / "benchmarks" / "group" / name
    place.mkdir(parents=True)
    start = "import numpy as np\ndef initialize(n):\n    return np.arange(n * 4.0).reshape(n, 4)\n"
    (place / f"{name}.py").write_text(start)
    text = f"import numpy as np\n{before}\ndef kernel(x, n):\n    {body}\n"
    (place / f"{name}_numpy.py").write_text(text)
    fields = {
        "relative_path": f"group/{name}",
        "module_name": name,
        "func_name": "kernel",
        "parameters": {"S": {"n": 3}, "M": {"n": 5}},
        "init": {"func_name": "initialize", "input_args": ["n"], "output_args": ["x"]},
        "input_args": ["x", "n"],
        **info,
    }
    (folder / "bench_info").mkdir(exist_ok=True)
    (folder / "bench_info" / f"{name}.json").write_text(json.dumps({"benchmark": fields}))


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """A folder with the programs of MADE."""
    for name, (body, before) in MADE.items():
        write(tmp_path, name, body, before)
    return tmp_path


def measured(folder: Path, name: str, backend: str = "numpy") -> Outcome:
    """What comes of a program, in this process."""
    return npbench.measure(Program(folder, name, "S"), name, backend, repeats=2)


@pytest.mark.parametrize("backend", ["numpy", "jax", "reference"])
@pytest.mark.parametrize("name", ["right", "mutates"])
def test_right_programs_are_measured(made: Path, name: str, backend: str) -> None:
    outcome = measured(made, name, backend)
    assert (outcome.verdict, outcome.message, outcome.is_failure) == ("ok", "", False)
    assert outcome.nodes and outcome.first_s and outcome.run_ms and outcome.numpy_ms
    assert outcome.first_s * 1000 > outcome.run_ms


@pytest.mark.parametrize(
    ("name", "verdict", "text"),
    [
        ("partly", "not yet", "TraceError: partly_numpy.py:4:5: writing to a part"),
        ("branches", "not yet", "TraceError: branches_numpy.py:4:17: the truth of a value"),
        ("raises", "crash", "KeyError: 'absent'"),
        ("strange", "crash", "Odd: a long story"),
    ],
)
def test_what_a_program_raises_is_its_outcome(
    made: Path, name: str, verdict: str, text: str
) -> None:
    outcome = measured(made, name)
    assert outcome.verdict == verdict
    assert outcome.message.startswith(text) and "\n" not in outcome.message
    assert outcome.run_ms is None
    assert outcome.is_failure is (verdict == "crash")


def replaced(
    monkeypatch: pytest.MonkeyPatch, call: Callable[[Any, Any], Any], *, retraced: bool = False
) -> None:
    """Let `graphopt.function` make a function that does what `call` does."""

    class Fake:
        retraces = int(retraced)

        def __init__(self, python: Any, backend: str) -> None:
            assert backend == "numpy"

        def explain_retraces(self) -> str:
            return "other\nsizes"

        __call__ = staticmethod(call)

    monkeypatch.setattr(graphopt, "function", Fake)


@pytest.mark.parametrize(
    ("name", "wrong", "text"),
    [
        ("right", "x @ x.T + n", "result is of class ndarray, NumPy's tuple"),
        ("right", "(x @ x.T + n,)", "result has 1 items, NumPy's 2"),
        ("right", "(x @ x.T, [x.sum(0)])", "result[0] is off by 0.0"),
        ("right", "(x @ x.T + n, [x.sum()])", "result[1][0] is of class float64"),
        ("right", "(x @ x.T + n, [x.sum(1)])", "result[1][0] is float64(3,), NumPy's"),
        ("right", "(np.float32(x @ x.T + n), [x.sum(0)])", "result[0] is float32(3, 3)"),
        ("mutates", "None", "argument x is off by 0.67"),
        ("mutates", "x * n", "result is of class ndarray, NumPy's NoneType"),
    ],
)
def test_a_wrong_result_is_seen(
    made: Path, monkeypatch: pytest.MonkeyPatch, name: str, wrong: str, text: str
) -> None:
    replaced(monkeypatch, eval(f"lambda x, n: {wrong}", {"np": np}))
    outcome = measured(made, name)
    assert outcome.verdict == "wrong" and outcome.message.startswith(text)
    assert outcome.is_failure


def test_a_result_that_is_wrong_from_the_second_call_on_is_seen(
    made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[Any] = []

    def stale(x: Any, n: int) -> Any:
        kept[:] = kept or [(x @ x.T + n, [x.sum(axis=0)])]
        return kept[0]

    replaced(monkeypatch, stale)
    outcome = measured(made, "right")
    assert (outcome.verdict, outcome.message) == ("wrong", "result[0] is off by 0.36")


def test_a_trace_made_anew_for_the_same_sizes_is_seen(
    made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replaced(monkeypatch, lambda x, n: (x @ x.T + n, [x.sum(axis=0)]), retraced=True)
    outcome = measured(made, "right")
    assert outcome.message == "traced again at a later call: other sizes"
    assert outcome.is_failure


def test_npbenchs_rule(tmp_path: Path) -> None:
    write(tmp_path, "plain", "return x")
    write(tmp_path, "loose", "return x", norm_error=1e-2)
    write(tmp_path, "near", "return x", rtol=1e-2)
    plain, loose, near = (Program(tmp_path, name, "S") for name in ("plain", "loose", "near"))
    want = np.array([1.0, 1000.0, np.nan])
    assert plain.difference(want * (1 + 1e-6), want) == ""
    assert (
        plain.difference(want[:2] + np.array([1e-4, 0]), want[:2]) == ""
    )  # small for the whole array
    assert plain.difference(want[:2] * 1.001, want[:2]) == "result is off by 0.001"
    assert loose.difference(want[:2] * 1.001, want[:2]) == ""
    assert near.difference(want * 1.001, want) == ""
    assert plain.difference(np.array([1, 2]), np.array([1, 3])) == "result differs in 1 elements"
    assert plain.difference(np.array([True]), np.array([False])) == "result differs in 1 elements"
    assert plain.difference(np.full(3, np.nan), want) == "result is off by nan"


@pytest.fixture
def runner(made: Path) -> Iterator[Callable[[float], Runner]]:
    """Makes a runner with a limit, and ends its process."""
    runners: list[Runner] = []

    def make(limit: float) -> Runner:
        runners.append(Runner(Settings(made, "S", limit, 1)))
        return runners[-1]

    yield make
    for each in runners:
        each.close()


def test_a_process_that_dies_is_a_crash_and_the_next_program_runs(
    made: Path, runner: Callable[[float], Runner]
) -> None:
    write(made, "dies", "return x", "import os\nos._exit(3)")
    both = runner(60)
    outcome = both.outcome("dies", "numpy")
    assert (outcome.verdict, outcome.message) == ("crash", "the process died: 3")
    assert both.outcome("right", "numpy").verdict == "ok"


def test_a_program_that_takes_too_long_is_ended(
    made: Path, runner: Callable[[float], Runner]
) -> None:
    write(made, "endless", "return x", "while True: pass")
    outcome = runner(0.5).outcome("endless", "numpy")
    assert (outcome.verdict, outcome.message) == ("time-out", "took more than 0.5 s")
    assert not outcome.is_failure


def test_what_fails() -> None:
    for verdict in ("wrong", "crash", "not yet", "time-out"):
        assert Outcome("gemm", "jax", verdict).is_failure
        assert Outcome("lu", "jax", verdict).is_failure is (verdict in ("wrong", "crash"))
    assert not Outcome("gemm", "jax", "ok").is_failure


def test_command_line(made: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "out.json"
    source = ["--source", str(made), "--backends", "numpy,reference", "--repeats", "1"]
    assert npbench.main(["right", "partly", *source, "--preset", "M", "--json", str(file)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:3] for line in lines[1:-1]] == [
        ["right", "numpy", "ok"],
        ["right", "reference", "ok"],
        ["partly", "numpy", "not"],
        ["partly", "reference", "not"],
    ]
    assert lines[-1] == "2 of 4 right, 0 failures"
    assert [each["verdict"] for each in json.loads(file.read_text())] == ["ok"] * 2 + [
        "not yet"
    ] * 2
    write(made, "gemm", "x[0] = n")
    assert npbench.main(["gemm", "raises", *source]) == 1
    assert capsys.readouterr().out.splitlines()[-1] == "0 of 4 right, 4 failures"


def test_wrong_usage(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = ["--source", str(made)]
    assert npbench.main(["rigth", *source]) == 2
    assert "unknown program 'rigth' (did you mean 'right'?)" in capsys.readouterr().err
    assert npbench.main(["right", "--preset", "L", *source]) == 2
    assert capsys.readouterr().err == "npbench: right has no preset 'L'; it has S, M\n"
    with pytest.raises(SystemExit, match="2"):
        npbench.main(["right", "--backends", "nunpy", *source])
    assert npbench.main(["--source", str(made / "npbench")]) == 3
    assert "neither an unpacked NPBench nor a bare git folder" in capsys.readouterr().err


def git(*arguments: str | Path) -> str:
    """What git writes."""
    identity = ["-c", "user.name=n", "-c", "user.email=e"]
    return subprocess.run(
        ["git", *identity, *arguments], check=True, capture_output=True, text=True
    ).stdout.strip()


@pytest.fixture
def bare(made: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A bare repository with the programs, whose commit is the pinned one; and an empty cache."""
    (made / "README.md").write_text("not a program")
    work, folder = made / "work", made / "bare"
    git("init", "--quiet", work)
    for part in ("bench_info", "npbench", "README.md"):
        (made / part).rename(work / part)
    git("-C", work, "add", "--all")
    git("-C", work, "commit", "--quiet", "--message", "made")
    git("clone", "--quiet", "--bare", work, folder)
    monkeypatch.setattr(npbench_programs, "COMMIT", git("-C", work, "rev-parse", "HEAD"))
    monkeypatch.setenv("GRAPHOPT_MODELS", str(made / "cache"))
    monkeypatch.delenv("GRAPHOPT_NPBENCH", raising=False)
    return folder


def test_a_bare_copy_is_unpacked_into_the_cache(bare: Path, made: Path) -> None:
    assert not npbench_programs.is_here()
    folder = npbench_programs.fetch(str(bare))
    assert folder.parent == made / "cache" and npbench_programs.is_here()
    assert npbench_programs.names(folder) == sorted(MADE)
    assert sorted(file.name for file in folder.iterdir()) == ["bench_info", "npbench"]
    bare.rename(made / "elsewhere")
    assert npbench_programs.fetch() == folder  # from the cache
    assert list(folder.parent.iterdir()) == [folder]


def test_the_pinned_commit_is_downloaded(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(npbench_programs, "URL", bare.as_uri())
    assert npbench_programs.names(npbench_programs.fetch()) == sorted(MADE)


def test_why_it_cannot_be_had(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(npbench_programs, "URL", (bare.parent / "nowhere").as_uri())
    with pytest.raises(FetchError, match="cannot get NPBench .*; git says: .*") as info:
        npbench_programs.fetch()
    assert "\n" not in str(info.value)
    monkeypatch.setattr(npbench_programs, "COMMIT", "0" * 40)
    with pytest.raises(FetchError, match="cannot get NPBench 0000000; git says: "):
        npbench_programs.fetch(str(bare))
    monkeypatch.setenv("PATH", "")
    with pytest.raises(FetchError, match="git is needed"):
        npbench_programs.fetch()


@pytest.mark.skipif(not npbench_programs.is_here(), reason="no copy of NPBench: run tools.npbench")
def test_programs_without_loops(capsys: pytest.CaptureFixture[str]) -> None:
    status = npbench.main(["--repeats", "1"])
    assert status == 0, capsys.readouterr().out


@pytest.mark.conformance
@pytest.mark.skipif(not FULL, reason="all programs with GRAPHOPT_FULL=1")
def test_every_program_is_right_or_refused(capsys: pytest.CaptureFixture[str]) -> None:
    try:
        npbench_programs.fetch()
    except FetchError as error:
        pytest.skip(str(error))
    assert npbench.main(["--all"]) == 0, capsys.readouterr().out
