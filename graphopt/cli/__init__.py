"""The shell's door: `graphopt-opt`, and `graphopt` with its subcommands.

Nothing heavy is imported before the arguments are known to be right: help, the version and a
misspelt option answer at once.
"""

from __future__ import annotations

import sys

USAGE, UNREADABLE, INTERNAL, INTERRUPTED, PIPE = 2, 3, 4, 130, 141

GRAPHOPT_HELP = """\
usage: graphopt COMMAND [OPTIONS]

  opt MODEL      optimize a model; the same as graphopt-opt
  passes         list the passes

  -h, --help     this text; `graphopt opt -h` for that of a command
  --version      the version
"""


def opt(argv: list[str] | None = None) -> int:
    """`graphopt-opt`: optimize a model. Returns the exit status."""
    from graphopt.cli.options import parse

    arguments = _given(argv)
    try:
        options = parse(arguments)
    except SystemExit as stop:
        return _finish(stop.code if isinstance(stop.code, int) else USAGE)
    from graphopt.cli.guard import guarded

    return guarded(options, arguments)


def main(argv: list[str] | None = None) -> int:
    """`graphopt`: the commands. Returns the exit status."""
    arguments = _given(argv)
    command, rest = (arguments[0], arguments[1:]) if arguments else ("", [])
    if command == "opt":
        return opt(rest)
    if command == "passes":
        return opt(["--list-passes", *rest])
    if command in ("-h", "--help"):
        print(GRAPHOPT_HELP, end="")
        return 0
    if command in ("--version", "-V"):
        return opt(["--version"])
    from graphopt.errors import nearest

    hint = nearest(command, ["opt", "passes", "--help", "--version"])
    wrong = f"no command is called {command!r}{hint}" if command else "a command is missing"
    print(f"graphopt: {wrong}; see graphopt --help", file=sys.stderr)
    return USAGE


def _given(argv: list[str] | None) -> list[str]:
    """The arguments. Those of the process say that it is all ours: no search for cyclic garbage
    then, which finds next to nothing while modules are imported, models loaded, and at the end."""
    if argv is not None:
        return argv
    import gc

    gc.disable()
    return sys.argv[1:]


def _finish(status: int) -> int:
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        close_pipe()
        return PIPE
    return status


def close_pipe() -> None:
    """Keep the interpreter from complaining at its end that nobody reads the output any more."""
    import os

    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
