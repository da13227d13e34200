"""Remarks in and out: JSON lines of what was done and what was not."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from graphopt.cli.options import Options
from graphopt.errors import ModelError, UsageError
from graphopt.files import replacing
from graphopt.graph import Graph
from graphopt.remarks import KINDS, lines_of


def wanted(options: Options) -> frozenset[str]:
    """The kinds of remarks to keep; none when nobody reads them."""
    if options.remarks is None:
        return frozenset()
    return options.remarks_filter or frozenset(KINDS)


def write(options: Options, graph: Graph) -> None:
    """Write the remarks of an optimization where the options say, in whole or not at all."""
    if options.remarks is None or graph.report is None:
        return
    text = "".join(f"{line}\n" for line in lines_of(graph.report.remarks))
    if options.remarks == "-":
        sys.stderr.write(text)
        return
    try:
        with replacing(Path(options.remarks)) as (file,):
            file.write(text.encode())
    except OSError as error:
        raise ModelError(f"cannot be written: {error.strerror}", at=options.remarks) from error


def read_log(name: str | None) -> list[str] | None:
    """The lines of a file of remarks; raises UsageError for what is none."""
    if name is None:
        return None
    try:
        lines = Path(name).read_text("utf-8").splitlines()
    except OSError as error:
        raise ModelError(f"cannot be read: {error.strerror}", at=name) from error
    except UnicodeDecodeError as error:
        raise UsageError("this is no file of remarks", at=name) from error
    for number, line in enumerate(lines, 1):
        try:
            told = json.loads(line)
            complete = told["kind"] != "passed" or {"pass_name", "rule", "fingerprint"} <= {*told}
        except (ValueError, TypeError, KeyError):
            complete = False
        if not complete:
            raise UsageError("this is no remark as --remarks writes them", at=f"{name}:{number}")
    return lines
