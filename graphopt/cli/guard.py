"""From what happened to an exit status: a line for what the user can mend, a file for our bugs."""

from __future__ import annotations

import json
import sys

from graphopt.cli import INTERNAL, INTERRUPTED, PIPE, UNREADABLE, USAGE, close_pipe
from graphopt.cli.options import PROGRAM, Options
from graphopt.errors import (
    CheckError,
    GraphoptError,
    MissingExtraError,
    PassError,
    PipelineError,
    RewriteError,
    SpecializeError,
    UsageError,
    VerifyError,
)

FINDING = 1
LONGEST = 1000
"""The most characters of a message about a model."""
OURS = (PassError, RewriteError, VerifyError)
STATUSES: tuple[tuple[int, tuple[type[GraphoptError], ...]], ...] = (
    (FINDING, (CheckError,)),
    (USAGE, (UsageError, PipelineError, SpecializeError, MissingExtraError)),
)


def guarded(options: Options, argv: list[str]) -> int:
    """Do what the options ask for; the exit status, whatever happens."""
    try:
        from graphopt.cli.run import run  # takes a while: within reach of Ctrl-C

        status = run(options)
        sys.stdout.flush()
    except BrokenPipeError:
        close_pipe()
        return PIPE
    except KeyboardInterrupt:
        print(f"{PROGRAM}: interrupted, nothing written", file=sys.stderr)
        return INTERRUPTED
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        return _tell(options, UNREADABLE, f"{where}{error.strerror or error}")
    except Exception as error:
        if not isinstance(error, GraphoptError) or isinstance(error, OURS):
            return _internal(options, argv, error)
        found = [status for status, kinds in STATUSES if isinstance(error, kinds)]
        message = str(error) if found else one_line(str(error))
        return _tell(options, found[0] if found else UNREADABLE, message)
    return status


def one_line(message: str) -> str:
    """A message with what a hostile model put into it: no control characters, not too long."""
    escaped = "".join(mark if mark.isprintable() else repr(mark)[1:-1] for mark in message)
    if len(escaped) <= LONGEST:
        return escaped
    return f"{escaped[: LONGEST - 100]}…{escaped[-99:]}"


def _tell(options: Options, status: int, message: str) -> int:
    """Print what is wrong; the status."""
    if options.json:
        told: dict[str, object] = {"schema_version": 1, "input": options.model, "output": None}
        told |= {"check": {"ok": False}} if status == FINDING else {}
        stream = sys.stderr if options.output == "-" else sys.stdout
        print(json.dumps({**told, "error": message, "exit_status": status}), file=stream)
    verdict = "CHECK FAILED, nothing written: " if status == FINDING else ""
    print(f"{PROGRAM}: {verdict}{message}", file=sys.stderr)
    return status


def _internal(options: Options, argv: list[str], error: Exception) -> int:
    """Leave a reproducer behind and say how to use it."""
    import traceback

    kind = type(error).__name__
    message = f"internal error: {kind}: {error}"
    if options.crash_reproducer != "off" and options.run_reproducer is None:
        from graphopt.cli.crash import write_reproducer

        try:
            path = write_reproducer(options, argv, error)
            message += f"\n{PROGRAM}: reproduce: {PROGRAM} --run-reproducer {path}"
        except Exception as second:
            message += f"\n{PROGRAM}: no reproducer could be written: {second}"
    else:
        traceback.print_exception(error)
    return _tell(options, INTERNAL, message)
