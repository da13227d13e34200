"""What `graphopt-opt` does: load, optimize, check, write, tell."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

from graphopt import api
from graphopt.cli import remarks
from graphopt.cli.options import PROGRAM, Options
from graphopt.cli.sizes import Facts, facts_of_graph, facts_of_saved, facts_of_source
from graphopt.cli.summary import Outcome, print_table
from graphopt.cli.terminal import Progress, ShowChanges, is_terminal
from graphopt.errors import GraphoptError, ModelError, UnsupportedError, UsageError
from graphopt.graph import Graph
from graphopt.pipeline import Budget, Listener
from graphopt.pipeline_text import print_pipeline
from graphopt.report import Report
from graphopt.specialize import specialize

if TYPE_CHECKING:
    from graphopt.frontends.onnx import Saved

External = Literal["auto", "never", "always"]


def run(options: Options) -> int:
    """Do what the options ask for; the exit status. Raises what goes wrong."""
    if options.run_reproducer is not None:
        from graphopt.cli.crash import run_reproducer

        return run_reproducer(options.run_reproducer)
    if options.list_passes or options.list_rules or options.dump_pipeline:
        from graphopt.cli.listing import show_lists

        return show_lists(options)
    return optimize(options)


def optimize(options: Options) -> int:
    """Optimize one model."""
    started = time.monotonic()
    model = options.model or "-"
    _check_output(options)
    _check_opset(options.opset)
    pipeline = api.resolve_pipeline(options.pipeline)
    disabled = api.checked_globs(options.disable)
    with Progress(sys.stderr, shown=not options.quiet and is_terminal(sys.stderr)) as progress:
        progress.stage = f"load {model}"
        source = source_of(model)
        loaded = load(source, "<stdin>" if model == "-" else model)
        before = specialize(loaded, dict(options.dim), dict(options.shape))
        listeners: list[Listener] = [progress]
        if options.print_ir_after_change:
            listeners.append(ShowChanges(sys.stderr))
        budget = None if options.time_budget is None else Budget(seconds=options.time_budget)
        after = api.optimize(
            before,
            pipeline,
            math=cast(api.MathName, options.math),
            disable=disabled,
            budget=budget,
            listeners=listeners,
            remarks=remarks.wanted(options),
            only=remarks.read_log(options.only),
            fuel=options.fuel,
        )
        remarks.write(options, after)
        facts = facts_of_source(source, loaded)
        outcome = Outcome(
            model,
            options.output,
            facts,
            facts,
            after.report or Report(),
            print_pipeline(pipeline),
            options.math,
        )
        if options.check:
            progress.stage = "check"
            _check(options, source, before, after, outcome)
        progress.stage = f"write {options.output}" if options.output else "measure"
        outcome.after = finish(after, options, outcome.notes)
    outcome.seconds = time.monotonic() - started
    tell(outcome, options)
    return 0


def source_of(model: str) -> str | bytes:
    """A model's path; the content of what can be read only once."""
    if model == "-":
        return sys.stdin.buffer.read()
    path = Path(model)
    if path.is_dir():
        raise ModelError("this is a folder, not a model", at=model)
    return path.read_bytes() if path.exists() and not path.is_file() else model


def load(source: str | bytes, name: str) -> Graph:
    """The graph of a model; raises ModelError or TextError naming the file."""
    try:
        return api.load(source)
    except GraphoptError as error:
        error.at = error.at.replace("<bytes>", name, 1)
        raise


def _check(
    options: Options, source: str | bytes, before: Graph, after: Graph, outcome: Outcome
) -> None:
    from graphopt.cli import checking

    checked = checking.check(source, before, after, options, checking.trials_of(options))
    outcome.check, outcome.checkers = checked.result, checked.by
    outcome.notes += checked.notes


def _check_output(options: Options) -> None:
    """Refuse, before any work is done, an output that must not or cannot be written."""
    output, model = options.output, options.model or "-"
    if output is None:
        if options.in_place:
            raise UsageError("--in-place replaces a file: name it with -o too")
        return
    if output == "-":
        if sys.stdout.isatty() and not options.text and not options.force:
            raise UsageError(
                "a binary model is not written to a terminal: -S for text, -f to force"
            )
        if options.external_data == "always":
            raise UsageError("--external-data always needs a file to write beside: not -o -")
        return
    same = model != "-" and Path(output).exists() and Path(output).samefile(model)
    if same and not options.in_place:
        raise UsageError(f"{output} is the model itself: --in-place replaces it")
    if options.text and not output.endswith(".gir"):
        raise UsageError(f"text is written to files called *.gir, not {output}")


def _check_opset(opset: int | None) -> None:
    if opset is not None:
        from graphopt.frontends.onnx.parse import OLDEST_OPSET
        from graphopt.op import OPSET

        if not OLDEST_OPSET <= opset <= OPSET:
            raise UsageError(f"--opset {opset} is not one of {OLDEST_OPSET} to {OPSET}")


def finish(graph: Graph, options: Options, notes: list[str]) -> Facts:
    """Write a graph where the options say; what is in the result, or would be if it were written.

    Raises ModelError when the output cannot be written, UnsupportedError when ONNX cannot express
    the graph and it was to.
    """
    saved = None
    if options.output is not None:
        try:
            saved = write(graph, options, options.output)
        except BrokenPipeError:
            raise
        except OSError as error:  # its own name for the file is that of a temporary one
            raise ModelError(f"cannot be written: {error.strerror}", at=options.output) from error
    as_text = options.output is not None and saved is None
    if saved is None:
        from graphopt.frontends.onnx import measure

        try:
            saved = measure(
                graph,
                opset=options.opset,
                external_data=cast(External, options.external_data),
                target=options.target,
            )
        except UnsupportedError as error:
            if not as_text:
                notes.append(f"it cannot be written as ONNX: {error}")
            return facts_of_graph(graph)
    if saved.raised_by and not as_text:
        notes.append(f"opset {saved.opset} is needed by {saved.raised_by}")
    return facts_of_saved(saved, as_text=as_text)


def write(graph: Graph, options: Options, output: str) -> Saved | None:
    """Write a graph as the options say; how it was written as ONNX, None as text."""
    external = cast(External, options.external_data)
    target = sys.stdout.buffer if output == "-" else output
    saved = None
    if output == "-" and options.text:
        from graphopt.text import print_graph

        sys.stdout.buffer.write(print_graph(graph).encode())
    else:
        saved = api.save(
            graph, target, opset=options.opset, external_data=external, target=options.target
        )
    if output == "-":
        sys.stdout.buffer.flush()
    return saved


def tell(outcome: Outcome, options: Options) -> None:
    """Print the summary: to standard output, unless the result or a JSON object goes there."""
    to_pipe = options.output == "-"
    if options.json:
        print(json.dumps(outcome.json()), file=sys.stderr if to_pipe else sys.stdout)
    if options.quiet:
        return
    human = sys.stderr if to_pipe or options.json else sys.stdout
    for record in outcome.report.failures:
        told = f"the pass {record.name} was undone (harmless, the others ran): {record.error}"
        print(f"{PROGRAM}: remark: {told}", file=sys.stderr)
    for note in outcome.notes:
        print(f"{PROGRAM}: note: {note}", file=sys.stderr)
    if options.timing:
        print(outcome.report, file=sys.stderr)
    if options.verbose:
        for name, count in outcome.report.rules.items():
            print(f"{count:>6}  {name}", file=sys.stderr)
    if not (options.json and to_pipe):
        print_table(outcome, human)
        human.flush()
        print(f"{PROGRAM}: {outcome.verdict()}", file=sys.stderr)
