"""Help, version, misspelt options: fast, short, and the way out named."""

from __future__ import annotations

import os
import re
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from graphopt import __version__
from graphopt.cli import main
from graphopt.cli.options import HELP, make_parser, option_names, parse
from tests.cli.conftest import Run

ROOT = Path(__file__).resolve().parents[2]
START = "import sys; from graphopt.cli import opt; sys.exit(opt())"


def test_help_fits_on_a_screen_and_names_only_options_that_exist(run: Run) -> None:
    done = run("-h")
    assert done.status == 0
    assert done.out == HELP
    assert done.out.count("\n") <= 40
    assert max(map(len, done.out.splitlines())) <= 100
    known = set(option_names(make_parser())) | {f"-O{k}" for k in range(4)}
    named = set(re.findall(r"(?<![\w-])--?[a-zA-Z][\w-]*", HELP))
    assert named <= known
    assert HELP.index("graphopt-opt model.onnx -o") < HELP.index("output   ")


def test_full_help_has_every_option(run: Run) -> None:
    done = run("--help-all")
    assert done.status == 0
    for name in option_names(make_parser()):
        assert name in done.out


def test_version(run: Run) -> None:
    assert run("--version").out == f"graphopt {__version__}\n"
    assert main(["--version"]) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["m.onnx", "--outptu", "o"], "no option --outptu (did you mean '--output'?)"),
        (["m.onnx", "--chekc"], "no option --chekc (did you mean '--check'?)"),
        (["m.onnx", "--outp", "o"], "no option --outp"),
        ([], "the MODEL is missing"),
        (["a.onnx", "b.onnx"], "'b.onnx' is one too many"),
        (["m.onnx", "-O5"], "invalid choice: '5'"),
        (["m.onnx", "-O1", "--passes", "fold"], "two pipelines"),
        (["m.onnx", "-q", "-v"], "contradict"),
        (["m.onnx", "--check=many"], "'many' is no number"),
        (["m.onnx", "--dim", "N"], "NAME=SIZE"),
        (["m.onnx", "--dim", "N=-1"], "NAME=SIZE"),
        (["m.onnx", "--shape", "x=1,y"], "INPUT=1,3,224,224"),
        (["m.onnx", "--rtol", "-1"], "no number from 0"),
        (["m.onnx", "--math", "loose"], "invalid choice: 'loose'"),
        (["m.onnx", "-o"], "expected one argument"),
        (["m.onnx", "--passes", "fodl"], "no pass is called 'fodl' (did you mean 'fold'?)"),
        (["m.onnx", "--passes", "fold{max=1}"], "no option 'max'"),
        (["m.onnx", "--disable", "fodl"], "no pass or rule is called 'fodl'"),
        (["m.onnx", "--opset", "99", "-o", "o.onnx"], "--opset 99 is not one of"),
        (["m.onnx", "--in-place"], "name it with -o"),
        (["m.onnx", "--text", "-o", "o.onnx"], "*.gir"),
        (["m.onnx", "-o", "-", "--external-data", "always"], "needs a file"),
    ],
)
def test_wrong_usage_is_told_in_one_line(run: Run, arguments: list[str], message: str) -> None:
    done = run(*arguments)
    assert done.status == 2
    assert done.out == ""
    assert message in done.err.splitlines()[0]
    assert done.err.startswith("graphopt-opt: ")
    assert "Traceback" not in done.err


def test_caret_stands_under_what_is_wrong(run: Run) -> None:
    lines = run("m.onnx", "--passes", "simplify,fodl").err.splitlines()
    assert lines[1].index("fodl") == lines[2].index("^")


def test_check_alone_does_not_take_the_model() -> None:
    options = parse(["--check", "m.onnx"])
    assert (options.check, options.model) == (3, "m.onnx")
    assert parse(["m.onnx", "--check=7"]).check == 7
    assert parse(["m.onnx"]).check == 0
    assert parse(["m.onnx", "--check-inputs", "f.npz"]).check == 1


def test_values_of_options() -> None:
    given = ["m", "--dim", "N=8", "--dim", "a=b=2", "--shape", "x=1, 3", "--shape", "s="]
    options = parse([*given, "--time-budget", "2m"])
    assert options.dim == [("N", 8), ("a=b", 2)]
    assert options.shape == [("x", (1, 3)), ("s", ())]
    assert options.time_budget == 120
    assert parse(["m", "--time-budget", "1.5s"]).time_budget == 1.5
    assert parse(["m"]).pipeline == "O2"
    assert parse(["m", "-O0"]).pipeline == "O0"


def test_lists(run: Run) -> None:
    done = run("--list-passes")
    assert done.status == 0
    assert "fixpoint{max-iter=8}(...)" in done.out
    listed = run("--list-passes", "--json").json
    assert listed["schema_version"] == 1
    assert all(item["doc"] for item in listed["passes"])
    rules = run("--list-rules", "--json").json["rules"]
    assert {rule["soundness"] for rule in rules} <= {"exact", "value", "rounding", "fast"}
    told = run("--list-rules").out.splitlines()
    assert sum(not line.startswith(" ") for line in told) == len(rules)


def test_dumped_pipeline_is_taken_again(run: Run) -> None:
    for level in range(4):
        text = run(f"-O{level}", "--dump-pipeline").out.strip()
        assert run("--passes", text, "--dump-pipeline").out.strip() == text


def test_commands(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    assert "opt MODEL" in capfd.readouterr().out
    assert main(["passes"]) == 0
    assert "prune" in capfd.readouterr().out
    assert main(["otp"]) == 2
    assert "did you mean 'opt'?" in capfd.readouterr().err
    assert main([]) == 2
    assert "missing" in capfd.readouterr().err


def processor_time(code: str, *arguments: str) -> float:
    """The least processor time of an interpreter that runs some code, which load disturbs least."""
    spent: list[float] = []
    for _ in range(7):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        command = [sys.executable, "-c", code, *arguments]
        subprocess.run(command, cwd=ROOT, capture_output=True, check=False, env=os.environ)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        spent.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(spent)


@pytest.mark.parametrize("arguments", [["--version"], ["-h"], ["--wrong"]])
def test_answers_start_up_within_four_bare_interpreters(arguments: list[str]) -> None:
    assert processor_time(START, *arguments) <= 4 * processor_time("pass")


@pytest.mark.parametrize("arguments", [["--version"], ["-h"], ["--help-all"], ["m", "--wrong"]])
def test_answers_import_nothing_heavy(arguments: list[str]) -> None:
    heavy = ("numpy", "onnx", "rich", "dataclasses", "typing", "graphopt.graph")
    code = (
        "import sys; from graphopt.cli import opt; opt(); "
        f"print([n for n in {heavy} if n in sys.modules], file=sys.stderr)"
    )
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stderr.splitlines()[-1] == "[]"
