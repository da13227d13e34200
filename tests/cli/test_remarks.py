"""`--remarks`, `--only` and `--fuel` on the command line."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from graphopt.cli import opt as main

TEXT = """graph g
input %x : float32[N]
%1 = Neg(%x)
%2 = Neg(%1)
%one = tensor(float32[1], [1.0])
%3 = Mul(%2, %one)
output y = %3
"""


def written(folder: Path) -> Path:
    path = folder / "g.gir"
    path.write_text(TEXT)
    return path


def test_remarks_are_written_and_replayed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, log = written(tmp_path), tmp_path / "log.jsonl"
    assert main([str(model), "--remarks", str(log), "-q"]) == 0
    told = [json.loads(line) for line in log.read_text().splitlines()]
    assert {"involutions.neg", "neutral.mul_one"} <= {item["rule"] for item in told}
    log.write_text("".join(f"{json.dumps(i)}\n" for i in told if i["rule"] == "involutions.neg"))
    capsys.readouterr()
    assert main([str(model), "--only", str(log), "--json", "-q"]) == 0
    assert json.loads(capsys.readouterr().out)["rules"] == {"involutions.neg": 1}


def test_kinds_are_filtered_and_go_to_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [str(written(tmp_path)), "--remarks", "-", "--remarks-filter", "missed", "-q"]
    assert main(arguments) == 0
    lines = capsys.readouterr().err.splitlines()
    assert all(json.loads(line)["kind"] == "missed" for line in lines)


def test_fuel(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(written(tmp_path)), "--fuel", "1", "--json", "-q"]) == 0
    assert sum(json.loads(capsys.readouterr().out)["rules"].values()) == 1


def test_what_is_no_log_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, log = written(tmp_path), tmp_path / "log.jsonl"
    for content in ("hello\n", '{"kind": "passed"}\n', "[1]\n"):
        log.write_text(content)
        assert main([str(model), "--only", str(log)]) == 2
        assert f"{log}:1" in capsys.readouterr().err
    log.write_bytes(b"\xff\xfe")
    assert main([str(model), "--only", str(log)]) == 2
    assert main([str(model), "--only", str(tmp_path / "none")]) == 3
    assert main([str(model), "--remarks", str(tmp_path / "no" / "folder")]) == 3


def test_catalogue_shows_equations_and_examples(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--list-rules"]) == 0
    text = capsys.readouterr().out
    assert "neutral.mul_one (exact)" in text
    assert "Mul(x, 1.0) = x" in text
    assert re.search(r"0x[0-9a-f]{6,}|@[0-9a-f]{4,}", text) is None
    assert main(["--list-rules", "--json"]) == 0
    rules = json.loads(capsys.readouterr().out)["rules"]
    assert all(rule["equation"] and rule["fires"] and rule["misses"] for rule in rules)
