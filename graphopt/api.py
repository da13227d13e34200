"""The three verbs: load a program, optimize it, save it.

Beside the shell's commands this is the only module that reaches both the passes and the doors, and
it does so inside functions, so that importing it costs nothing.
"""

from __future__ import annotations

import gc
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal

from graphopt.errors import ModelError, PipelineError, TextError, UsageError, nearest

if TYPE_CHECKING:
    from graphopt.frontends.onnx import Saved
    from graphopt.graph import Graph
    from graphopt.pipeline import Budget, Listener, Pass
    from graphopt.remarks import Remark

Source = str | PathLike[str] | bytes | BinaryIO
MathName = Literal["strict", "default", "fast"]
SNIFFED = 4096
LFS_POINTER = b"version https://git-lfs"
CONTROLS = frozenset(range(32)) - frozenset(b"\t\n\r\f")


def is_text(head: bytes) -> bool:
    """Whether a file that begins with `head` is text.

    An ONNX model never is: the tag of its first field, or the length of its graph, is a control
    character.

    >>> is_text(b"graph {"), is_text(bytes([8, 10]))
    (True, False)
    """
    if CONTROLS.intersection(head):
        return False
    try:
        head.decode("utf-8")
    except UnicodeDecodeError as error:
        return len(head) - error.start < 4 <= len(head)  # a character cut in two by the limit
    return True


@contextmanager
def collector_paused() -> Generator[None]:
    """No search for cyclic garbage meanwhile.

    Graphs have no cycles, and every search walks all of a graph as it grows: it costs more the
    larger the graph is, and finds nothing.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


@collector_paused()
def load(source: Source) -> Graph:
    """The graph of a model: a path, the bytes of a file, or an open binary file.

    The content tells an ONNX model from the textual form, not the name. Raises ModelError or
    TextError when it is neither or is invalid, and OSError when it cannot be read.
    """
    if isinstance(source, bytes):
        head, name = source[:SNIFFED], "<bytes>"
    elif isinstance(source, str | PathLike):
        with Path(source).open("rb") as file:
            head, name = file.read(SNIFFED), fspath(source)
    else:
        return load(source.read())
    if not head:
        raise ModelError("the file is empty", at=name)
    if head.startswith(LFS_POINTER):
        raise ModelError("this is a Git LFS pointer, not the model that it stands for", at=name)
    return _load_text(source, name) if is_text(head) else _load_onnx(source)


def _load_text(source: str | PathLike[str] | bytes, name: str) -> Graph:
    from graphopt.text import parse_graph, read_text

    try:
        if not isinstance(source, bytes):
            return read_text(Path(source))
        return parse_graph(source.decode("utf-8"), file=name)
    except UnicodeDecodeError as error:
        raise ModelError(f"neither an ONNX model nor text: {error}", at=name) from error
    except TextError as error:
        if error.at == f"{name}:1:1":  # not even its first word is one of ours
            error.message += "; this text is no graph, and an ONNX model is no text"
        raise


def _load_onnx(source: str | PathLike[str] | bytes) -> Graph:
    from graphopt.frontends import onnx

    return onnx.load(source)


@collector_paused()
def save(
    graph: Graph,
    target: str | PathLike[str] | BinaryIO,
    *,
    opset: int | None = None,
    external_data: Literal["auto", "never", "always"] = "auto",
) -> Saved | None:
    """Write a graph: the textual form where the name ends in `.gir`, else an ONNX model.

    `opset` forces the version of ONNX's operators, `external_data` says whether weights go to a
    file beside the model (auto: when it would be too large without). The target is replaced at
    once, or not touched when writing fails. Returns how an ONNX model was written. Raises OSError,
    and UnsupportedError when the graph has no form at that opset.
    """
    if isinstance(target, str | PathLike) and fspath(target).endswith(".gir"):
        from graphopt.text import write_text

        write_text(graph, Path(target))
        return None
    from graphopt.frontends import onnx

    return onnx.save(graph, target, opset=opset, external_data=external_data)


@collector_paused()
def optimize(
    graph: Graph,
    pipeline: str | Sequence[Pass] = "O2",
    *,
    math: MathName = "default",
    disable: Iterable[str] = (),
    budget: Budget | None = None,
    listeners: Sequence[Listener] = (),
    strict: bool = False,
    remarks: str | Iterable[str] = (),
    only: Iterable[Remark | str] | None = None,
    fuel: int | None = None,
) -> Graph:
    """The optimized graph; its `report` says what was done.

    `pipeline` is a level, O0 to O3, a pipeline's text, or passes. `math` says which classes of
    rules are admitted, `disable` holds globs over the names of passes and rules, `budget` bounds
    what a run of a pass may spend. A pass that fails is undone and reported; with `strict` it
    raises. `remarks` names the kinds of remarks that the report keeps (passed, missed, failed,
    analysis); `only` allows the rewrites among remarks, or lines of a file of them, and no others;
    `fuel` allows so many rewrites. Raises PipelineError and UsageError for a name that does not
    exist.
    """
    from graphopt.pipeline import Budget, Context, run_pipeline
    from graphopt.remarks import Log, Replay, parse_kinds
    from graphopt.rewriting.rule import Math

    try:
        admitted = Math[math.upper()]
    except KeyError:
        hint = nearest(math, ["strict", "default", "fast"])
        raise UsageError(f"no math mode is called {math!r}{hint}") from None
    kinds = parse_kinds(remarks if isinstance(remarks, str) else ",".join(remarks))
    context = Context(
        math=admitted,
        disabled=checked_globs(disable),
        budget=budget or Budget(),
        listeners=listeners,
        strict=strict,
        log=Log(kinds) if kinds else None,
        only=None if only is None else Replay(only),
        fuel=fuel,
    )
    return run_pipeline(graph, resolve_pipeline(pipeline), context)


def resolve_pipeline(pipeline: str | Sequence[Pass]) -> list[Pass]:
    """The passes that a level or a pipeline's text names; raises PipelineError."""
    if not isinstance(pipeline, str):
        return list(pipeline)
    from graphopt.passes import PIPELINES
    from graphopt.pipeline_text import parse_pipeline

    if pipeline in PIPELINES:
        return list(PIPELINES[pipeline])
    return parse_pipeline(pipeline, known_passes()) if pipeline.strip() else []


def known_passes() -> Mapping[str, type[Pass]]:
    """The passes that a pipeline's text may name."""
    from graphopt.passes import PASSES

    return PASSES


def known_rules() -> Iterable[Any]:
    """The rules of all passes."""
    from graphopt.passes import RULES

    return RULES


def checked_globs(globs: Iterable[str]) -> tuple[str, ...]:
    """The globs, each of which names a pass, a rule, or a family of rules; raises PipelineError."""
    given = tuple(globs)
    if not given:
        return ()
    names = {*known_passes(), *(rule.key for rule in known_rules())}
    names |= {name.split(".")[0] for name in names}
    for glob in given:
        if not any(fnmatchcase(name, glob) for name in names):
            hint = nearest(glob, sorted(names))
            raise PipelineError(f"no pass or rule is called {glob!r}{hint}", at="disable")
    return given
