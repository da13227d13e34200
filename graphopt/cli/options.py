"""The options of `graphopt-opt`: what they are, their help, and what is wrong with those given."""

from __future__ import annotations

import argparse
import sys

from graphopt import __version__

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Literal, NoReturn

    Add = Callable[..., object]

PROGRAM = "graphopt-opt"
HELP = """\
usage: graphopt-opt [OPTIONS] MODEL        (MODEL: an ONNX model or .gir text; -: standard input)

  graphopt-opt model.onnx -o small.onnx              optimize
  graphopt-opt model.onnx -o small.onnx --check      ... and write only what computes the same
  graphopt-opt model.onnx                            only say what would become of it
  graphopt-opt model.onnx --dim N=8 -o fixed.onnx    with the dimension N known
  graphopt-opt model.onnx -S -o - | less             read the result as text
  graphopt-opt model.onnx --print-ir-after-change    watch what each pass does

output       -o PATH      where to write; - for standard output    -S    as text
             --in-place   allow to replace MODEL itself            -f    binary to a terminal
             --external-data auto|never|always    --opset N    --target portable|ort
pipeline     -O0 ... -O3 (default: -O2)           --passes 'prune,fold{max-bytes=4096}'
             --disable GLOB     switch off a pass or a rule; may be repeated
             --fuel N  --only LOG   only the first N rewrites; only those of a log
             --list-passes  --list-rules  --dump-pipeline
model        --dim NAME=SIZE    --shape INPUT=1,3,224,224         may be repeated
numerics     --math strict|default|fast
             --check[=N]        compare with the original on N inputs (default: 3)
             --check-inputs F.npz  --rtol X  --atol X  --seed N
telling      --json  --timing  --print-ir-after-change  -v  -q
             --remarks PATH     what was done and what was not, and why, as JSON lines
             --remarks-filter passed,missed,failed,analysis
limits       --time-budget SECONDS              for each pass
bugs         --crash-reproducer PATH|off  --run-reproducer FILE

exit status  0 done    1 the check failed, nothing written    2 wrong usage
             3 the model is invalid, or the output cannot be written    4 a bug of graphopt
--help-all   every option, explained               --version
"""


class Options(argparse.Namespace):
    """The options as given; see `--help-all`."""

    model: str | None
    output: str | None
    force: bool
    in_place: bool
    text: bool
    external_data: str
    opset: int | None
    target: Literal["portable", "ort"]
    level: str | None
    passes: str | None
    disable: list[str]
    list_passes: bool
    list_rules: bool
    dump_pipeline: bool
    dim: list[tuple[str, int]]
    shape: list[tuple[str, tuple[int, ...]]]
    math: str
    check: int
    check_inputs: str | None
    rtol: float | None
    atol: float | None
    seed: int
    json: bool
    timing: bool
    print_ir_after_change: bool
    verbose: int
    quiet: bool
    time_budget: float | None
    crash_reproducer: str
    run_reproducer: str | None
    remarks: str | None
    remarks_filter: frozenset[str]
    fuel: int | None
    only: str | None

    @property
    def pipeline(self) -> str:
        """The pipeline's text or the name of a level."""
        return self.passes if self.passes is not None else f"O{self.level or 2}"


class Parser(argparse.ArgumentParser):
    """A parser that names the place, the cause and the nearest option, in one line."""

    def error(self, message: str) -> NoReturn:
        """Print what is wrong with the usage and end with status 2."""
        print(f"{PROGRAM}: {message}; see {PROGRAM} -h", file=sys.stderr)
        raise SystemExit(2)


class _Help(argparse.Action):
    """Print the help of one screen."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        print(HELP, end="")
        raise SystemExit(0)


class _HelpAll(argparse.Action):
    """Print everything."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        parser.print_help()
        raise SystemExit(0)


def parse(argv: list[str]) -> Options:
    """The options that a command line gives.

    Raises SystemExit: 0 after help and version, 2 when the usage is wrong.
    """
    parser = make_parser()
    # argparse would take the model for the number in `--check model.onnx`
    known, strange = parser.parse_known_args(
        ["--check=3" if item == "--check" else item for item in argv], Options()
    )
    for item in strange:
        if item.startswith("-") and item != "-":
            from graphopt.errors import nearest

            name = item.partition("=")[0]
            hint = nearest(name, [option for option in option_names(parser) if len(option) > 2])
            parser.error(f"there is no option {name}{hint}")
        parser.error(f"one model at a time: {item!r} is one too many")
    _check(parser, known)
    return known


def option_names(parser: argparse.ArgumentParser) -> list[str]:
    """All the ways in which options are written."""
    return [name for action in parser._actions for name in action.option_strings]  # pyright: ignore[reportPrivateUsage]


def _check(parser: Parser, options: Options) -> None:
    """Refuse options that do not go together."""
    lists = options.list_passes or options.list_rules or options.dump_pipeline
    if options.model is None and not lists and options.run_reproducer is None:
        parser.error("the MODEL is missing")
    if options.level is not None and options.passes is not None:
        parser.error(f"-O{options.level} and --passes are two pipelines: give one")
    if options.quiet and options.verbose:
        parser.error("-q and -v contradict each other")
    if options.check_inputs is not None and not options.check:
        options.check = 1


def make_parser() -> Parser:
    """The parser of `graphopt-opt`."""
    parser = Parser(
        prog=PROGRAM,
        usage=f"{PROGRAM} [OPTIONS] MODEL",
        description="Optimize a model. MODEL is an ONNX model or the textual form (.gir), told "
        "apart by content; - is standard input.",
        add_help=False,
        allow_abbrev=False,
    )
    parser.add_argument("model", metavar="MODEL", nargs="?", help=argparse.SUPPRESS)
    _add_output(parser.add_argument_group("output").add_argument)
    _add_pipeline(parser.add_argument_group("pipeline").add_argument)
    _add_model(parser.add_argument_group("facts about the model").add_argument)
    _add_check(parser.add_argument_group("numerics").add_argument)
    _add_telling(parser.add_argument_group("what is told, and how").add_argument)
    return parser


def _add_output(add: Add) -> None:
    add(
        "-o",
        "--output",
        metavar="PATH",
        help="where to write the result, - for standard output;"
        " as text when it ends in .gir; without it nothing is written",
    )
    add("-f", "--force", action="store_true", help="write a binary model to a terminal")
    add("--in-place", action="store_true", help="allow the output to be the model itself")
    add("-S", "--text", action="store_true", help="write the textual form")
    add(
        "--external-data",
        choices=("auto", "never", "always"),
        default="auto",
        help="put weights into a file beside the model (auto: when it is too large without)",
    )
    add("--opset", type=number, metavar="N", help="the version of ONNX's operators to write")
    add(
        "--target",
        choices=("portable", "ort"),
        default="portable",
        help="for whom to write: with standard operators only, or with those of ONNX Runtime too",
    )


def _add_pipeline(add: Add) -> None:
    add("-O", dest="level", choices=("0", "1", "2", "3"), help="how much to do (default: -O2)")
    add(
        "--passes",
        metavar="TEXT",
        help="a pipeline of your own: 'prune,fold{max-bytes=1MB},fixpoint{max-iter=4}(prune,fold)'",
    )
    add(
        "--disable",
        metavar="GLOB",
        action="append",
        default=[],
        help="switch off passes and rules by name: fold, 'algebra.*'; may be repeated",
    )
    add("--fuel", type=number, metavar="N", help="make only the first N rewrites")
    add("--only", metavar="LOG", help="make only the rewrites in a file that --remarks wrote")
    add("--list-passes", action="store_true", help="list the passes and their options")
    add("--list-rules", action="store_true", help="list the rules and how sound they are")
    add("--dump-pipeline", action="store_true", help="print the pipeline as --passes takes it")
    add(
        "--time-budget",
        type=seconds,
        metavar="SECONDS",
        help="what a run of a pass may take (default: 600); one that takes longer is undone",
    )


def _add_model(add: Add) -> None:
    add(
        "--dim",
        type=dimension,
        metavar="NAME=SIZE",
        action="append",
        default=[],
        help="fix a named dimension; may be repeated",
    )
    add(
        "--shape",
        type=shape,
        metavar="INPUT=1,3,224,224",
        action="append",
        default=[],
        help="fix the shape of an input; may be repeated",
    )


def _add_check(add: Add) -> None:
    add(
        "--math",
        choices=("strict", "default", "fast"),
        default="default",
        help="which rules are admitted: those exact to the bit; to rounding; or all",
    )
    add(
        "--check",
        type=number,
        metavar="N",
        default=0,
        help="run the result and the original on N drawn inputs (--check alone: 3), by the"
        " reference backend and by ONNX Runtime where it is installed; write nothing when they"
        " differ or the original runs on no input",
    )
    add("--check-inputs", metavar="F.npz", help="inputs for --check; those not in it are drawn")
    add(
        "--rtol",
        type=amount,
        metavar="X",
        help="allowed difference, relative to an output's largest value (default: by its dtype:"
        " 1e-9, 1e-4, 1e-2 for 64, 32, fewer bits)",
    )
    add("--atol", type=amount, metavar="X", help="allowed absolute difference (default: 0)")
    add("--seed", type=number, metavar="N", default=0, help="of the drawn inputs (default: 0)")


def _add_telling(add: Add) -> None:
    add(
        "--json",
        action="store_true",
        help="one JSON object on standard output (on standard"
        " error with -o -), everything else on standard error",
    )
    add("--timing", action="store_true", help="how long each pass took")
    add(
        "--remarks",
        metavar="PATH",
        help="write what was done, what was refused and why, and which pass failed, as JSON lines;"
        " - for standard error",
    )
    add(
        "--remarks-filter",
        type=kinds_of_remarks,
        metavar="KINDS",
        default=frozenset(),
        help="which: passed,missed,failed,analysis (default: all)",
    )
    add("--print-ir-after-change", action="store_true", help="the difference that each pass made")
    add("-v", "--verbose", action="count", default=0, help="how often each rule was applied")
    add("-q", "--quiet", action="store_true", help="only errors")
    add(
        "--crash-reproducer",
        metavar="PATH|off",
        default="",
        help="where a bug of graphopt leaves what repeats it, without the weights"
        " (default: graphopt-crash-XXXX.tar in the current folder)",
    )
    add("--run-reproducer", metavar="FILE", help="repeat what such a file tells of")
    add("-h", "--help", action=_Help, nargs=0, help="help on one screen")
    add("--help-all", action=_HelpAll, nargs=0, help="this text")
    add("--version", action="version", version=f"graphopt {__version__}", help="the version")


def kinds_of_remarks(text: str) -> frozenset[str]:
    """A list of kinds; argparse turns the error into its message."""
    from graphopt.errors import UsageError
    from graphopt.remarks import parse_kinds

    try:
        return parse_kinds(text)
    except UsageError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def number(text: str) -> int:
    """A count; argparse turns the error into its message."""
    if not text.isascii() or not text.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is no number")
    return int(text)


def amount(text: str) -> float:
    """A number that is not negative."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not value >= 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 0")
    return value


def seconds(text: str) -> float:
    """A time such as 30, 30s or 2m."""
    unit = {"s": 1.0, "m": 60.0}.get(text[-1:], 0.0)
    return amount(text[:-1]) * unit if unit else amount(text)


def dimension(text: str) -> tuple[str, int]:
    """NAME=SIZE."""
    name, _, size = text.rpartition("=")
    if not name or not size.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form NAME=SIZE, as in N=8")
    return name, int(size)


def shape(text: str) -> tuple[str, tuple[int, ...]]:
    """INPUT=SIZE,SIZE,...; nothing after the sign is a scalar."""
    name, sign, rest = text.rpartition("=")
    sizes = [size.strip() for size in rest.split(",")] if rest.strip() else []
    if not sign or not name or not all(size.isdigit() for size in sizes):
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form INPUT=1,3,224,224")
    return name, tuple(map(int, sizes))
